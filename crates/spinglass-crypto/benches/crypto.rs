//! What each primitive costs: `cargo bench -p spinglass-crypto`.

use divan::Bencher;
use spinglass_core::MemberId;
use spinglass_core::crypto::{Crypto, Domain, Epoch, Salt};
use spinglass_core::link::{Boot, BootName, Header, HeaderBoot, Link};
use spinglass_crypto::{GroupKeys, RealCrypto, SigningKey};

fn main() {
    divan::main();
}

fn crypto() -> RealCrypto {
    RealCrypto::new(SigningKey::from_seed([1; 32]), GroupKeys::development())
}

#[divan::bench]
fn hash_64_packets_side_by_side(bencher: Bencher<'_, '_>) {
    let packets = vec![vec![7; 1000]; 64];
    let leaves: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let mut hashes = Vec::with_capacity(64);
    bencher.bench_local(|| {
        hashes.clear();
        spinglass_crypto::hash_many(Domain::Leaf, &leaves, &mut hashes);
    });
}

#[divan::bench]
fn hash_64_packets_one_by_one(bencher: Bencher<'_, '_>) {
    let packets = vec![vec![7; 1000]; 64];
    bencher.bench_local(|| {
        for packet in &packets {
            divan::black_box(spinglass_crypto::hash(Domain::Leaf, packet));
        }
    });
}

#[divan::bench]
fn hash_60_kb(bencher: Bencher<'_, '_>) {
    let packet = vec![7; 60_000];
    bencher.bench_local(|| spinglass_crypto::hash(Domain::Leaf, &packet));
}

#[divan::bench]
fn hash_a_node(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| spinglass_crypto::hash(Domain::Node, &[3; 32]));
}

#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let mut crypto = crypto();
    bencher.bench_local(|| crypto.sign(&[5; 35]));
}

/// A signature of a busy sender, whose key has a table.
#[divan::bench]
fn verify_a_busy_sender(bencher: Bencher<'_, '_>) {
    let mut crypto = crypto();
    let (key, signature) = (crypto.public_key(), crypto.sign(&[5; 35]));
    (0..2000).for_each(|_| assert!(crypto.verify(&key, &[5; 35], &signature)));
    bencher.bench_local(|| crypto.verify(&key, &[5; 35], &signature));
}

/// The first signature of a member: its key is new.
#[divan::bench]
fn verify_a_stranger(bencher: Bencher<'_, '_>) {
    let mut own = crypto();
    let (key, signature) = (own.public_key(), own.sign(&[5; 35]));
    bencher.bench_local(|| spinglass_crypto::verify(&key, &[5; 35], &signature));
}

#[divan::bench(args = [1200, 7168, 60_000])]
fn seal(bencher: Bencher<'_, '_>, bytes: usize) {
    let mut crypto = crypto();
    let key = crypto.link_key(Epoch(0), &MemberId([1; 16]), &Salt([2; 16]), 0);
    let key = key.expect("epoch 0 has a key");
    let mut frames = vec![9; bytes];
    bencher.bench_local(|| crypto.seal(key, 1, &[0; 16], &mut frames));
}

/// A datagram of 400 bytes that nobody sealed, and the link that refuses it.
fn refuse(bencher: Bencher<'_, '_>, boot: HeaderBoot) {
    let mut crypto = crypto();
    let own = Boot { sender: MemberId([1; 16]), salt: Salt([2; 16]), generation: 0 };
    let mut link = Link::new(Epoch(0), own, &mut crypto).expect("there is a key");
    let mut datagram = Vec::new();
    Header { epoch: Epoch(0), boot, counter: 1 }.encode(&mut datagram);
    datagram.resize(400, 9);
    bencher.bench_local(|| link.open(&mut datagram, |_| None, &mut crypto).is_err());
}

#[divan::bench]
fn refuse_a_boot_that_nobody_has(bencher: Bencher<'_, '_>) {
    refuse(bencher, HeaderBoot::Short(BootName([9; 8])));
}

#[divan::bench]
fn refuse_a_boot_that_is_told_in_full(bencher: Bencher<'_, '_>) {
    let boot = Boot { sender: MemberId([3; 16]), salt: Salt([4; 16]), generation: 5 };
    refuse(bencher, HeaderBoot::Long(boot));
}
