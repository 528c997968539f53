//! What certificates say, and whether it is true.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;
use spinglass_core::identity::{Certified, TrustDomain};
use spinglass_crypto::certificates::{
    Certificate, CertificateError, Revocations, Verifier, chain_of, date, load_chain,
    load_revocations,
};

use super::now_s;
use crate::output::{Format, Verdict};

/// Options of `ca show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Files in PEM: certificates, or lists of revocations
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Options of `ca verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0: it holds. Exit code 1: it does not; the reason is told.

While one root replaces another, members trust both: --root old.crt --root new.crt")]
pub(crate) struct Verify {
    /// The member's certificate, with the certifiers between it and the root behind it
    file: PathBuf,
    /// The root's certificate; more than one may be trusted
    #[arg(long = "root", value_name = "FILE", required = true)]
    roots: Vec<PathBuf>,
    /// The trust domain [default: the one that the first root names]
    #[arg(long)]
    domain: Option<String>,
    /// Lists of what was revoked
    #[arg(long, value_name = "FILE")]
    revoked: Vec<PathBuf>,
    /// Verify as of this time, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A serial number from its digits, which may stand in pairs with colons between.
pub(super) fn parse_serial(text: &str) -> Result<Vec<u8>> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let digits = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
    let advice = || format!("{text:?} is no serial number: up to 40 hexadecimal digits");
    if digits.is_empty() || digits.len() > 40 || !digits.is_ascii() {
        bail!(advice());
    }
    let pair = |at| {
        let pair: &str = digits.get(at..at + 2)?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    bytes.with_context(advice)
}

/// A certificate as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    kind: &'static str,
    names: Vec<String>,
    subject: String,
    issuer: String,
    serial: String,
    hash: String,
    not_before: u64,
    not_after: u64,
    state: String,
}

/// A list of revocations as it is shown.
#[derive(Debug, Serialize)]
struct ShownList {
    issuer: String,
    this_update: u64,
    revoked: Vec<(String, u64)>,
}

#[derive(Debug, Serialize)]
struct ShownFile {
    file: PathBuf,
    certificates: Vec<Shown>,
    revocations: Option<ShownList>,
}

impl Shown {
    fn new(certificate: &Certificate) -> Self {
        let kind = match (certificate.is_root(), certificate.is_certifier()) {
            (true, _) => "root",
            (false, true) => "certifier",
            (false, false) => "member",
        };
        let names = match kind {
            "member" => certificate.member().map(|_| ()),
            _ => certificate.scope().map(|_| ()),
        };
        let state = match (names, certificate.check_time(now_s())) {
            (Err(refusal), _) => refusal.to_string(),
            (Ok(()), Err(refusal)) => refusal.to_string(),
            (Ok(()), Ok(())) => "holds, if its issuer is trusted".to_owned(),
        };
        Self {
            kind,
            names: certificate.uris().to_vec(),
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: hex(certificate.serial()),
            hash: hex(&certificate.hash().0),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            state,
        }
    }

    fn text(&self) -> String {
        let names = match self.names.as_slice() {
            [] => "no name".to_owned(),
            names => names.join(", "),
        };
        format!(
            "{}: {names}\n  subject:  {}\n  issuer:   {}\n  serial:   {}\n  hash:     {}\n  \
             from:     {}\n  until:    {}\n  state:    {}\n",
            self.kind,
            self.subject,
            self.issuer,
            self.serial,
            self.hash,
            date(self.not_before),
            date(self.not_after),
            self.state
        )
    }
}

impl ShownList {
    fn new(list: &Revocations) -> Self {
        Self {
            issuer: list.issuer(),
            this_update: list.this_update(),
            revoked: list.revoked().map(|(serial, at)| (hex(serial), at)).collect(),
        }
    }

    fn text(&self) -> String {
        let at = date(self.this_update);
        let mut text = format!("revocations\n  issuer:   {}\n  of:       {at}\n", self.issuer);
        for (serial, at) in &self.revoked {
            text += &format!("  revoked:  {serial} ({})\n", date(*at));
        }
        text
    }
}

fn show_file(path: &Path) -> Result<ShownFile> {
    let file = path.to_owned();
    match load_revocations(path) {
        Ok(list) => {
            let revocations = Some(ShownList::new(&list));
            return Ok(ShownFile { file, certificates: Vec::new(), revocations });
        }
        Err(CertificateError::Nothing { .. }) => (),
        Err(error) => return Err(error.into()),
    }
    let certificates = load_chain(path)?.iter().map(Shown::new).collect();
    Ok(ShownFile { file, certificates, revocations: None })
}

/// Shows files.
pub(super) fn show(options: &Show, format: Format) -> Result<Verdict> {
    let files: Result<Vec<ShownFile>> = options.files.iter().map(|path| show_file(path)).collect();
    format.print(&files?, |files| {
        let certificates = files.iter().flat_map(|file| &file.certificates).map(Shown::text);
        let lists = files.iter().filter_map(|file| file.revocations.as_ref()).map(ShownList::text);
        certificates.chain(lists).collect()
    })?;
    Ok(Verdict::Good)
}

/// What verification found.
#[derive(Debug, Default, Serialize)]
struct Verified {
    holds: bool,
    reason: Option<String>,
    name: Option<String>,
    scope: Option<String>,
    hash: Option<String>,
    not_before: Option<u64>,
    not_after: Option<u64>,
}

/// Verifies a member's chain.
pub(super) fn verify(options: &Verify, format: Format) -> Result<Verdict> {
    let mut roots = Vec::new();
    for path in &options.roots {
        roots.extend(load_chain(path)?);
    }
    let named = roots.first().and_then(|root| root.scope().ok().flatten());
    let domain = match (&options.domain, named) {
        (Some(domain), _) => TrustDomain::parse(domain)?,
        (None, Some(scope)) => scope.domain,
        (None, None) => bail!("the root names no trust domain: say which by --domain"),
    };
    let mut verifier = Verifier::new(domain, roots)?;
    for path in &options.revoked {
        verifier.add_revocations(load_revocations(path)?)?;
    }
    let chain = match load_chain(&options.file) {
        Ok(chain) => chain_of(&chain),
        Err(CertificateError::Refused { refusal, .. }) => Err(refusal),
        Err(error) => return Err(error.into()),
    };
    let at = options.at.unwrap_or_else(now_s);
    let report = match chain.and_then(|chain| Certified::verify(&chain, at, &verifier)) {
        Ok(certified) => Verified {
            holds: true,
            reason: None,
            name: Some(certified.name().to_string()),
            scope: Some(certified.scope().to_string()),
            hash: Some(hex(&certified.hash().0)),
            not_before: Some(certified.not_before()),
            not_after: Some(certified.not_after()),
        },
        Err(refusal) => Verified { reason: Some(refusal.to_string()), ..Verified::default() },
    };
    let holds = report.holds;
    format.print(&report, |report| match report {
        Verified { name: Some(name), scope: Some(scope), not_after: Some(until), .. } => {
            format!(
                "holds:       {name}\ncertified:   within {scope}\nuntil:       {}\n",
                date(*until)
            )
        }
        other => format!(
            "refused:     {}: {}\n",
            options.file.display(),
            other.reason.as_deref().unwrap_or("for no reason")
        ),
    })?;
    Ok(holds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_read_as_openssl_writes_them() {
        assert_eq!(parse_serial("0A:ff").unwrap(), [10, 255]);
        assert_eq!(parse_serial("aff").unwrap(), [10, 255]);
        for text in ["", "x", "é1", &"1".repeat(41)] {
            assert!(parse_serial(text).is_err(), "{text}");
        }
    }
}
