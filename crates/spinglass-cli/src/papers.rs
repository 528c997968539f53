//! Certificates and rules for a herd of members: an authority that lives as long as its herd.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use spinglass::{Builder, PolicyFile, SigningKey};
use spinglass_core::Security;
use spinglass_core::identity::{SpiffeId, TrustDomain};
use spinglass_crypto::certificates::{Authority, Lifetime, Verifier, chain_of, load_chain};

/// The members' trust domain.
const DOMAIN: &str = "herd.example";
/// Longer than any run.
const LIFETIME_S: u64 = 86_400;
/// What members are held to: enough rules that looking for one is work, and one that lets them.
const POLICY: &str = r#"
[[rule]]
who = "spiffe://herd.example/usa/**"
deny = ["publish **"]

[[rule]]
who = "spiffe://herd.example/*"
allow = ["join /", "write * in /", "publish measured", "subscribe **", "install * in /**"]
"#;

/// A folder with what the authority issued; gone with this value.
#[derive(Debug)]
pub(crate) struct Papers {
    folder: PathBuf,
}

impl Papers {
    /// An authority, rules, and certificates for so many members, in a folder of their own.
    ///
    /// # Errors
    /// The folder or a file can't be written.
    pub(crate) fn issue(members: usize) -> Result<Self> {
        let unique = u64::from_le_bytes(spinglass_crypto::random());
        let folder = std::env::temp_dir().join(format!("spinglass-papers-{unique:016x}"));
        let papers = Self { folder };
        papers.fill(members).with_context(|| {
            format!("cannot write the members' certificates to {}", papers.folder.display())
        })?;
        Ok(papers)
    }

    fn fill(&self, members: usize) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().mode(0o700).create(&self.folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let lifetime = Lifetime { now, seconds: LIFETIME_S };
        let root = Authority::root(&TrustDomain::parse(DOMAIN)?, SigningKey::generate(), lifetime)?;
        fs::write(root_path(&self.folder), root.certificate().pem())?;
        fs::write(policy_path(&self.folder), POLICY)?;
        for index in 0..members {
            let key = SigningKey::generate();
            let name = SpiffeId::parse(&format!("spiffe://{DOMAIN}/n{index:02}"))?;
            let issued = root.issue(&name, &key.public_key(), lifetime)?;
            fs::write(certificate_path(&self.folder, index), root.chain_pem(&issued))?;
            key.store_pem(&key_path(&self.folder, index), false)?;
        }
        Ok(())
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        // What is left of a folder of temporary keys harms nobody once its herd is gone.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The member that has this turn, with its papers from the folder.
pub(crate) fn member(builder: Builder, folder: &Path, index: usize) -> Builder {
    builder
        .signing_key_file(key_path(folder, index))
        .certificate_file(certificate_path(folder, index))
        .trust_file(root_path(folder))
        .policy_file(policy_path(folder))
}

/// The same papers, for a member whose core is not the library's.
pub(crate) fn security(folder: &Path, index: usize) -> Result<Security> {
    let chain = load_chain(&certificate_path(folder, index))?;
    let policy = PolicyFile::load(&policy_path(folder))?.policy().clone();
    Ok(Security { chain: chain_of(&chain)?, policy: Some(policy) })
}

/// Its private key.
pub(crate) fn signing_key(folder: &Path, index: usize) -> Result<SigningKey> {
    Ok(SigningKey::load(&key_path(folder, index))?)
}

/// What verifies the others' certificates.
pub(crate) fn verifier(folder: &Path) -> Result<Verifier> {
    Ok(Verifier::new(TrustDomain::parse(DOMAIN)?, load_chain(&root_path(folder))?)?)
}

fn root_path(folder: &Path) -> PathBuf {
    folder.join("root.crt")
}

fn policy_path(folder: &Path) -> PathBuf {
    folder.join("policy.toml")
}

fn certificate_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("n{index:02}.crt"))
}

fn key_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("n{index:02}.key"))
}
