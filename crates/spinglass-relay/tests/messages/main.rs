//! What members and relays say to each other: the fuzz target's body on its corpus and mutations
//! of it.

#[expect(unreachable_pub, reason = "the crate in fuzz/ includes the same file and exports it")]
mod body;

use std::fs;
use std::path::{Path, PathBuf};

use spinglass_core::Prng;
use spinglass_core::crypto::{Epoch, PublicKey, Signature};
use spinglass_relay::Refusal;
use spinglass_relay::message::{FromRelay, Proof, VERSION, incoming, outgoing};

/// Mutations of each file that one test run tries.
const MUTATIONS: usize = 5000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/relay")
}

/// One message of each kind, and a URL.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let near = "192.0.2.1:7".parse().expect("an address");
    let far = "[fd00::1]:8".parse().expect("an address");
    let proof = |mac, chain| Proof {
        port: 700,
        public_key: PublicKey([1; 32]),
        signature: Signature([2; 64]),
        mac,
        chain,
    };
    let arrived = [incoming(far, 3), b"aaabbbc".to_vec()].concat();
    let challenge = FromRelay::Challenge { version: VERSION, nonce: [7; 32] };
    vec![
        ("seed-challenge", challenge.encode().to_vec()),
        ("seed-welcome", FromRelay::Welcome(near).encode().to_vec()),
        ("seed-refusal", FromRelay::Refusal(Refusal::Full).encode().to_vec()),
        ("seed-key", proof(Some((Epoch(3), [4; 32])), None).encode().to_vec()),
        ("seed-chain", proof(None, Some(vec![5; 40])).encode().to_vec()),
        ("seed-outgoing", outgoing(&[near, far], 3, b"aaabbbc").to_vec()),
        ("seed-incoming", arrived),
        ("seed-url", b"wss://[fd00::1]:8443/".to_vec()),
    ]
}

#[test]
fn the_corpus_has_one_message_of_each_kind() {
    for (name, bytes) in seeds() {
        let path = corpus().join(name);
        if std::env::var_os("SPINGLASS_BLESS").is_some() {
            fs::create_dir_all(corpus()).expect("a folder");
            fs::write(&path, &bytes).expect("a file");
        }
        let stored = fs::read(&path).expect("SPINGLASS_BLESS=1 writes it");
        assert_eq!(stored, bytes, "{name} is of before: SPINGLASS_BLESS=1 writes it anew");
    }
}

#[test]
fn no_message_is_too_odd() {
    let mut rng = Prng::new(2026);
    for entry in fs::read_dir(corpus()).expect("the target has a corpus") {
        let message = fs::read(entry.expect("an entry").path()).expect("a file");
        body::relay(&message);
        for _ in 0..MUTATIONS {
            let mut bytes = message.clone();
            for _ in 0..=rng.index(3) {
                let (at, other) = (rng.index(bytes.len()), rng.index(bytes.len()));
                match rng.index(4) {
                    0 => bytes.swap(at, other),
                    1 => bytes[at] = [0, 1, 2, 4, 6, 64, 255][rng.index(7)],
                    2 => bytes.insert(at, [0, 1, 2, 4, 6, 64, 255][rng.index(7)]),
                    _ => drop(bytes.split_off(at.max(1))),
                }
            }
            body::relay(&bytes);
        }
    }
}
