//! Certificates from strangers: the fuzz target's body on its corpus and mutations of it.

#[expect(unreachable_pub, reason = "the crate in fuzz/ includes the same file and exports it")]
mod body;

use std::fs;
use std::path::{Path, PathBuf};

use spinglass_core::Prng;
use spinglass_core::identity::{Scope, SpiffeId, TrustDomain};
use spinglass_crypto::SigningKey;
use spinglass_crypto::certificates::{Authority, Lifetime, parse_chain};

/// Mutations of each file that one test run tries.
const MUTATIONS: usize = 5000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/certificates")
}

/// Writes the corpus. Serial numbers are drawn, so it is not the same twice.
#[test]
fn the_corpus_is_there_or_is_written() {
    if std::env::var_os("SPINGLASS_BLESS").is_none() {
        assert!(corpus().join("seed-root.der").exists(), "run once with SPINGLASS_BLESS=1");
        return;
    }
    let key = |seed| SigningKey::from_seed([seed; 32]);
    let lifetime = Lifetime { now: body::NOW, seconds: 86_400 };
    let domain = TrustDomain::parse("example.org").expect("a name");
    let root = Authority::root(&domain, key(1), lifetime).expect("a root");
    let scope = Scope::parse("spiffe://example.org/usa").expect("a zone");
    let usa = root.certify_zone(&scope, &key(2).public_key(), lifetime).expect("in its scope");
    let usa = parse_chain(root.chain_pem(&usa).as_bytes(), Path::new("usa")).expect("as written");
    let usa = Authority::new(usa, key(2)).expect("its own key");
    let name = SpiffeId::parse("spiffe://example.org/usa/ithaca/n1").expect("a name");
    let member = usa.issue(&name, &key(3).public_key(), lifetime).expect("in its scope");
    let list = usa.revoke(None, &[member.serial()], body::NOW).expect("room");
    for (file, bytes) in [
        ("seed-root.der", root.certificate().der()),
        ("seed-member.der", member.der()),
        ("seed-chain.pem", usa.chain_pem(&member).as_bytes()),
        ("seed-list.der", list.der()),
    ] {
        fs::write(corpus().join(file), bytes).expect("a file");
    }
}

#[test]
fn no_certificate_is_too_odd() {
    let mut rng = Prng::new(2026);
    let mut files: Vec<PathBuf> = fs::read_dir(corpus())
        .expect("the target has a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 4, "one seed of each kind");
    for file in files {
        let file = fs::read(file).expect("a file");
        body::certificates(&file);
        for _ in 0..MUTATIONS {
            let mut bytes = file.clone();
            for _ in 0..=rng.index(3) {
                let (at, other) = (rng.index(bytes.len()), rng.index(bytes.len()));
                match rng.index(5) {
                    0 => bytes.swap(at, other),
                    1 => bytes[at] = [0, 1, 0x30, 0x7f, 0x80, 0x84, 0xff][rng.index(7)],
                    2 => bytes.insert(at, rng.next_u64() as u8),
                    3 => bytes[at] ^= 1 << rng.index(8),
                    _ => drop(bytes.split_off(at.max(1))),
                }
            }
            body::certificates(&bytes);
        }
    }
}
