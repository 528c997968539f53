//! `spinglass ca`: a small authority for those who have none, and a look at anybody's certificates.

mod folder;
mod issue;
mod look;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::{Args, Subcommand};
use spinglass_crypto::certificates::Lifetime;

use crate::output::{Format, Verdict};

pub(crate) use folder::{check_new, write};

/// What `ca` does.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A member is called spiffe://DOMAIN/ZONE/NODE, and proves it by a certificate. Any authority that
issues X.509 certificates with Ed25519 keys and such names will do; this is one for those who have
none:

  spinglass ca init example.org --dir ca                      once, where it is safe: the root
  spinglass ca certify-zone /usa --ca ca --dir usa            for whoever runs the zone /usa
  spinglass ca issue /usa/ithaca/n1 --ca usa --out n1         n1.crt and n1.key, for 7 days
  spinglass ca verify n1.crt --root ca/ca.crt                 what every member will check
  spinglass ca revoke n1.crt --ca usa                         usa/revoked.crl lists it from now on

Keys stay where they are made if members make their own:

  spinglass keygen --identity n1.key --public n1.pub          on the member
  spinglass ca issue /usa/ithaca/n1 --ca usa --public-key n1.pub --out n1

docs/security.md explains names, zones and lifetimes, and how to do the same with openssl.")]
pub(crate) enum Ca {
    /// Make a root: a folder with its key and its certificate
    Init(issue::Init),
    /// Make a certifier that can only name members of one zone
    CertifyZone(issue::CertifyZone),
    /// Issue a member's certificate, or renew it
    Issue(issue::Issue),
    /// Revoke certificates that this authority issued
    Revoke(issue::Revoke),
    /// Show what certificates, or lists of revocations, say
    Show(look::Show),
    /// Check a member's certificates as another member would
    Verify(look::Verify),
}

/// For how long a certificate holds.
#[derive(Debug, Args)]
struct Lasting {
    /// For how many days it holds [default: a root 3650, a certifier 365, a member 7]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: Option<u64>,
    /// For how many hours it holds
    #[arg(long, value_name = "HOURS", conflicts_with = "days",
        value_parser = clap::value_parser!(u64).range(1..=876_000))]
    hours: Option<u64>,
}

impl Lasting {
    fn lifetime(&self, default_days: u64) -> Lifetime {
        let hours = self.hours.unwrap_or_else(|| self.days.unwrap_or(default_days) * 24);
        Lifetime { now: now_s(), seconds: hours * 3600 }
    }
}

/// Where an authority is kept, and where what it makes goes.
#[derive(Debug, Args)]
struct From {
    /// The authority's folder, with ca.crt and ca.key in it
    #[arg(long, value_name = "FOLDER")]
    ca: PathBuf,
}

/// Seconds of the wall clock since 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// Does it.
///
/// # Errors
/// What it should do is not possible.
pub(crate) fn run(command: &Ca, format: Format) -> Result<Verdict> {
    match command {
        Ca::Init(options) => issue::init(options, format),
        Ca::CertifyZone(options) => issue::certify_zone(options, format),
        Ca::Issue(options) => issue::issue(options, format),
        Ca::Revoke(options) => issue::revoke(options, format),
        Ca::Show(options) => look::show(options, format),
        Ca::Verify(options) => look::verify(options, format),
    }
}
