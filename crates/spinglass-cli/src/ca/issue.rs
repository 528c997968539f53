//! What an authority makes: itself, zone certifiers, members' certificates, revocations.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use spinglass_core::crypto::PublicKey;
use spinglass_core::identity::{Scope, SpiffeId, TrustDomain};
use spinglass_core::table::ZonePath;
use spinglass_crypto::SigningKey;
use spinglass_crypto::certificates::{Authority, Certificate, date, load_chain, read_public_key};

use super::folder::{self, Folder};
use super::look::{hex, parse_serial};
use super::{From, Lasting, now_s};
use crate::output::{Format, Verdict};

/// How long a root holds unless told otherwise, in days: roots are replaced by hand.
const ROOT_DAYS: u64 = 3650;
/// How long a zone's certifier holds, in days.
const CERTIFIER_DAYS: u64 = 365;
/// How long a member's certificate holds, in days: short, since it is renewed by a program.
const MEMBER_DAYS: u64 = 7;

/// Options of `ca init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The trust domain, such as example.org: the first part of every member's name
    domain: String,
    /// The folder to make
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    #[command(flatten)]
    lasting: Lasting,
    /// Overwrite what is there: all that was issued under the old root is lost with it
    #[arg(long)]
    force: bool,
}

/// Options of `ca certify-zone`.
#[derive(Debug, Args)]
pub(crate) struct CertifyZone {
    /// The zone, such as /usa or spiffe://example.org/usa
    zone: String,
    #[command(flatten)]
    from: From,
    /// The folder to make; without --public-key it also gets the new certifier's key
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// Certify this key instead of a new one: Ed25519, in PEM
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    #[command(flatten)]
    lasting: Lasting,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

/// Options of `ca issue`.
#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// The member's name, such as /usa/ithaca/n1 or spiffe://example.org/usa/ithaca/n1
    name: String,
    #[command(flatten)]
    from: From,
    /// Write OUT.crt and, unless the member has its own key, OUT.key
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// The member's public key: Ed25519, in PEM; its private key stays with it
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    public_key: Option<PathBuf>,
    /// The member's private key, if it is at hand: to renew a certificate
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    lasting: Lasting,
    /// Overwrite what is there; without --public-key or --identity the member gets a new key
    #[arg(long)]
    force: bool,
}

/// Options of `ca revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Certificates to revoke: of each file the first one
    #[arg(required_unless_present = "serial")]
    certificates: Vec<PathBuf>,
    /// Serial numbers to revoke, in hexadecimal, of certificates that are not at hand
    #[arg(long, value_name = "SERIAL")]
    serial: Vec<String>,
    #[command(flatten)]
    from: From,
}

/// What was made. Never a key.
#[derive(Debug, Serialize)]
struct Made {
    name: String,
    certificate: PathBuf,
    key: Option<PathBuf>,
    serial: String,
    not_after: u64,
    not_after_date: String,
}

impl Made {
    fn new(name: impl ToString, issued: &Certificate, paths: (PathBuf, Option<PathBuf>)) -> Self {
        Self {
            name: name.to_string(),
            certificate: paths.0,
            key: paths.1,
            serial: hex(issued.serial()),
            not_after: issued.not_after(),
            not_after_date: date(issued.not_after()),
        }
    }

    fn text(&self, next: &str) -> String {
        let mut text = format!("{}\n  certificate: {}\n", self.name, self.certificate.display());
        if let Some(key) = &self.key {
            text += &format!("  key:         {} (keep it secret)\n", key.display());
        }
        text += &format!("  serial:      {}\n", self.serial);
        text += &format!("  until:       {}\n{next}\n", self.not_after_date);
        text
    }
}

/// Makes a root.
pub(super) fn init(options: &Init, format: Format) -> Result<Verdict> {
    let domain = TrustDomain::parse(&options.domain)?;
    let folder = Folder::new(&options.dir);
    let (certificate, key) = (folder.certificate(), folder.key());
    folder::check_new(&[&certificate, &key], options.force)?;
    let lifetime = options.lasting.lifetime(ROOT_DAYS);
    let root = Authority::root(&domain, SigningKey::generate(), lifetime)?;
    folder.create()?;
    root.key().store_pem(&key, options.force)?;
    folder::write(&certificate, &root.certificate().pem(), options.force)?;
    let scope = Scope { domain, zone: ZonePath::root() };
    let made = Made::new(scope, root.certificate(), (certificate, Some(key)));
    format.print(&made, |made| {
        made.text(&format!(
            "Give {} to every member; keep the folder off the network. Next:\n  spinglass ca \
             certify-zone /ZONE --ca {} --dir ZONE",
            made.certificate.display(),
            options.dir.display()
        ))
    })?;
    Ok(Verdict::Good)
}

/// The trust domain that an authority names members of.
fn domain(authority: &Authority) -> Result<TrustDomain> {
    let scope = authority.certificate().scope()?.context(
        "this authority's certificate names no trust domain: write whole names, \
         spiffe://DOMAIN/ZONE/NODE",
    )?;
    Ok(scope.domain)
}

/// A whole name from one that may lack its trust domain; `form` is what is wanted behind that.
fn whole(text: &str, form: &str, authority: &Authority) -> Result<String> {
    match text {
        text if text.starts_with("spiffe://") => Ok(text.to_owned()),
        "/" => Ok(format!("spiffe://{}", domain(authority)?)),
        text if text.starts_with('/') => Ok(format!("spiffe://{}{text}", domain(authority)?)),
        _ => bail!("{text:?} is no name: write {form}, or spiffe://DOMAIN{form}"),
    }
}

/// Makes a zone's certifier.
pub(super) fn certify_zone(options: &CertifyZone, format: Format) -> Result<Verdict> {
    let authority = Folder::new(&options.from.ca).load()?;
    let text = whole(&options.zone, "/ZONE", &authority)?;
    let scope = Scope::parse(&text).with_context(|| format!("{text} is no zone"))?;
    let folder = Folder::new(&options.dir);
    let (certificate, key) = (folder.certificate(), folder.key());
    let (public_key, signing) = choose_key(options.public_key.as_deref())?;
    let key = signing.as_ref().map(|_| key);
    let paths: Vec<&Path> = core::iter::once(certificate.as_path()).chain(key.as_deref()).collect();
    folder::check_new(&paths, options.force)?;
    let lifetime = options.lasting.lifetime(CERTIFIER_DAYS);
    let issued = authority.certify_zone(&scope, &public_key, lifetime)?;
    folder.create()?;
    store_key(signing.as_ref(), key.as_deref(), options.force)?;
    folder::write(&certificate, &authority.chain_pem(&issued), options.force)?;
    let made = Made::new(scope, &issued, (certificate, key));
    format.print(&made, |made| {
        made.text(&format!(
            "It can name members of this zone and of those below it, and nothing else. Next:\n  \
             spinglass ca issue {}/NODE --ca {} --out NODE",
            made.name,
            options.dir.display()
        ))
    })?;
    Ok(Verdict::Good)
}

/// The key to certify: one that is given, or a new one.
fn choose_key(public: Option<&Path>) -> Result<(PublicKey, Option<SigningKey>)> {
    if let Some(path) = public {
        return Ok((read_public_key(path)?, None));
    }
    let key = SigningKey::generate();
    Ok((key.public_key(), Some(key)))
}

fn store_key(key: Option<&SigningKey>, path: Option<&Path>, force: bool) -> Result<()> {
    if let (Some(key), Some(path)) = (key, path) {
        key.store_pem(path, force)?;
    }
    Ok(())
}

/// The path with something behind its name.
fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Issues a member's certificate.
pub(super) fn issue(options: &Issue, format: Format) -> Result<Verdict> {
    let authority = Folder::new(&options.from.ca).load()?;
    let text = whole(&options.name, "/ZONE/NODE", &authority)?;
    let name = SpiffeId::parse(&text).with_context(|| format!("{text} is no member's name"))?;
    let (certificate, key) = (with(&options.out, ".crt"), with(&options.out, ".key"));
    let (public_key, signing) = match &options.identity {
        Some(path) => (SigningKey::load(path)?.public_key(), None),
        None => choose_key(options.public_key.as_deref())?,
    };
    let key = signing.as_ref().map(|_| key);
    let paths: Vec<&Path> = core::iter::once(certificate.as_path()).chain(key.as_deref()).collect();
    folder::check_new(&paths, options.force)?;
    let issued = authority.issue(&name, &public_key, options.lasting.lifetime(MEMBER_DAYS))?;
    store_key(signing.as_ref(), key.as_deref(), options.force)?;
    folder::write(&certificate, &authority.chain_pem(&issued), options.force)?;
    let made = Made::new(name, &issued, (certificate, key));
    format.print(&made, |made| {
        made.text(&format!(
            "Renew it before then: the same command with --force and the member's key, by \
             --public-key or --identity. Check it:\n  spinglass ca verify {} --root ROOT.crt",
            made.certificate.display()
        ))
    })?;
    Ok(Verdict::Good)
}

/// What was revoked.
#[derive(Debug, Serialize)]
struct Revoked {
    list: PathBuf,
    revoked: Vec<String>,
    all: usize,
}

/// Adds to the authority's list of revocations.
pub(super) fn revoke(options: &Revoke, format: Format) -> Result<Verdict> {
    let folder = Folder::new(&options.from.ca);
    let authority = folder.load()?;
    let mut serials = Vec::new();
    for path in &options.certificates {
        let chain = load_chain(path)?;
        let certificate = chain.first().context("a chain has a first certificate")?;
        let own = authority.certificate();
        ensure!(
            certificate.issuer() == own.subject(),
            "{} was issued by {}, and only that authority can revoke it; this one is {}",
            path.display(),
            certificate.issuer(),
            own.subject()
        );
        serials.push(certificate.serial().to_vec());
    }
    for serial in &options.serial {
        serials.push(parse_serial(serial)?);
    }
    let before = folder.load_revocations()?;
    let borrowed: Vec<&[u8]> = serials.iter().map(Vec::as_slice).collect();
    let list = authority.revoke(before.as_ref(), &borrowed, now_s())?;
    folder::replace(&folder.revoked(), &list.pem())?;
    let report = Revoked {
        list: folder.revoked(),
        revoked: serials.iter().map(|serial| hex(serial)).collect(),
        all: list.revoked().count(),
    };
    format.print(&report, |report| {
        let mut text = String::new();
        for serial in &report.revoked {
            text += &format!("revoked:     {serial}\n");
        }
        text + &format!(
            "list:        {} ({} in all)\nGive the list to members: they refuse what is on it.\n",
            report.list.display(),
            report.all
        )
    })?;
    Ok(Verdict::Good)
}
