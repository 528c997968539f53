//! What a fabricated datagram costs whoever gets it: no memory, no signature check, no answer.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use allocation_counter::measure;
use spinglass_core::crypto::{Crypto as _, Domain, Epoch, Salt};
use spinglass_core::frame;
use spinglass_core::link::{Boot, BootName, Header, HeaderBoot, Link};
use spinglass_core::members::MemberRecord;
use spinglass_core::table::ZonePath;
use spinglass_core::{
    Config, Datagram, Driver, Event, Host, Identity, Incarnation, Instant, MemberId, Node, Now,
    Prng, Reject, Start, TopicId, Transmit,
};
use spinglass_crypto::{GroupKeys, RealCrypto, SigningKey};

/// What the library takes for a moment when it derives a key.
const DERIVATION_BYTES_MAX: u64 = 128;
/// Fabricated datagrams of each kind.
const DATAGRAMS: u32 = 2000;

#[derive(Default)]
struct Outside(Vec<Vec<u8>>);

impl Host for Outside {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        self.0.extend(segments.chunks(transmit.segment_bytes.max(1)).map(<[u8]>::to_vec));
        ControlFlow::Continue(())
    }

    fn deliver(&mut self, _event: Event) {}

    fn segments_max(&self) -> usize {
        16
    }
}

fn address(index: u8) -> SocketAddr {
    ([127, 0, 0, index], 7710).into()
}

fn now(ms: u64) -> Now {
    let monotonic = Instant::START + Duration::from_millis(ms);
    Now { monotonic, wall_ms: 1_800_000_000_000 + ms }
}

fn member(index: u8, seeds: Vec<SocketAddr>) -> Driver {
    let crypto = RealCrypto::new(SigningKey::from_seed([index; 32]), GroupKeys::development());
    let identity = Identity {
        incarnation: Incarnation(7),
        salt: Salt([index; 16]),
        address: address(index),
        region: ZonePath::root(),
        name: String::new(),
    };
    let config = Config::lan().check().expect("the defaults are good");
    let node = Node::new(config, identity, Box::new(crypto), index.into(), seeds, now(0));
    Driver::new(node.expect("the defaults are good"))
}

/// A member that has met another, and a datagram of the other's that it has not seen.
fn victim() -> (Driver, Vec<u8>) {
    let (mut victim, mut peer) = (member(1, Vec::new()), member(2, vec![address(1)]));
    // Who takes nothing does not say so each round.
    peer.subscribe(now(0), TopicId([1; 8]), Start::Live).expect("there are no rules");
    let mut sent = Vec::new();
    for ms in (0..3000).step_by(50) {
        let mut outside = Outside::default();
        peer.handle_timeout(now(ms));
        peer.drain(now(ms), &mut outside);
        sent.extend(outside.0.last().cloned());
        for mut bytes in outside.0 {
            // The last one stays on its way.
            if ms < 2900 {
                let from = address(2);
                victim.handle_datagrams(now(ms), &mut [Datagram { from, bytes: &mut bytes }]);
            }
        }
        let mut answers = Outside::default();
        victim.handle_timeout(now(ms));
        victim.drain(now(ms), &mut answers);
        for mut bytes in answers.0 {
            let from = address(1);
            peer.handle_datagrams(now(ms), &mut [Datagram { from, bytes: &mut bytes }]);
        }
    }
    let short = sent.into_iter().rev().find(|bytes| bytes.first() == Some(&1));
    (victim, short.expect("they know each other, so its headers are short"))
}

/// Gives a member fabricated datagrams; returns the most memory that one took. What is counted is
/// what this thread's Rust code asks for; what the C code of aws-lc takes is not seen.
fn give(victim: &mut Driver, mut next: impl FnMut(u32, &mut [u8]) -> usize) -> u64 {
    let (mut buffer, mut most) = ([0; 1200], 0);
    for number in 0..DATAGRAMS {
        let length = next(number, &mut buffer);
        let mut bytes = buffer.split_at(length).0.to_vec();
        let from = address(9);
        let took = measure(|| {
            victim.handle_datagrams(now(3000), &mut [Datagram { from, bytes: &mut bytes }]);
        });
        // The first one may need room for a key, which serves all others.
        if number > 0 {
            assert!(took.bytes_current <= 0, "{} bytes of one stay", took.bytes_current);
            most = most.max(took.bytes_max);
        }
    }
    most
}

/// A datagram that the link key seals, with a record whose signature is wrong: each in the name of
/// another member.
fn sealed_forgery(number: u32, crypto: &mut RealCrypto) -> Vec<u8> {
    let mut public_key = crypto.public_key();
    public_key.0.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, more)| *byte ^= more);
    let sender = MemberId::from_hash(crypto.hash(Domain::Member, &public_key.0));
    let boot = Boot { sender, salt: Salt([3; 16]), generation: 0 };
    let mut link = Link::new(Epoch(0), boot, crypto).expect("the group's key is there");
    let (mut bytes, mut record) = (Vec::new(), Vec::new());
    let said = (ZonePath::root(), None);
    let signed = MemberRecord::sign(&boot, Incarnation(1), address(8), said, crypto);
    signed.encode(&mut record);
    // Its own name, and somebody else's signature.
    record.splice(..32, public_key.0);
    let begun = link.begin(true, &mut bytes);
    frame::put_record(|buffer| buffer.extend_from_slice(&record), &mut bytes);
    link.seal(&begun, &mut bytes, crypto);
    bytes
}

#[test]
fn whoever_sends_what_does_not_verify_is_checked_less_and_others_are_not() {
    let (mut victim, genuine) = victim();
    victim.handle_timeout(now(3000));
    let before = victim.node().stats();
    let mut crypto = RealCrypto::new(SigningKey::from_seed([9; 32]), GroupKeys::development());
    for number in 1..=DATAGRAMS {
        let mut bytes = sealed_forgery(number, &mut crypto);
        let from = address(9);
        victim.handle_datagrams(now(3000), &mut [Datagram { from, bytes: &mut bytes }]);
    }
    let after = victim.node().stats();
    let (checked, refused) = (
        after.signatures_checked - before.signatures_checked,
        after.rejected(Reject::Forged) - before.rejected(Reject::Forged),
    );
    assert_eq!(refused, u64::from(DATAGRAMS), "none of them counts");
    assert!(checked <= u64::from(DATAGRAMS / 20), "{checked} signatures checked");
    assert!(checked >= 4, "the first ones are");
    let mut bytes = genuine;
    victim.handle_datagrams(now(3000), &mut [Datagram { from: address(2), bytes: &mut bytes }]);
    let last = victim.node().stats();
    assert_eq!(last.rejected, after.rejected, "another's datagram counts");
}

#[test]
fn a_fabricated_datagram_takes_no_memory_and_no_signature_check_and_has_no_answer() {
    let (mut victim, genuine) = victim();
    let mut quiet = Outside::default();
    victim.handle_timeout(now(3000));
    victim.drain(now(3000), &mut quiet);
    let before = victim.node().stats();
    let mut rng = Prng::new(1);
    let headed = |header: Header, buffer: &mut [u8]| {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        bytes.resize(400, 0x5a);
        buffer.split_at_mut(400).0.copy_from_slice(&bytes);
        400
    };
    let boot = BootName([0xee; 8]);
    let strange = give(&mut victim, |number, buffer| {
        let counter = number.into();
        let boot = HeaderBoot::Short(boot);
        headed(Header { epoch: Epoch(0), boot, counter }, buffer)
    });
    let full = give(&mut victim, |number, buffer| {
        let sender = MemberId(u128::from(number).to_le_bytes());
        let salt = Salt([7; 16]);
        let boot = HeaderBoot::Long(Boot { sender, salt, generation: 0 });
        headed(Header { epoch: Epoch(0), boot, counter: number.into() }, buffer)
    });
    // An observer on the way has seen the header of a member that the victim knows.
    let observed = give(&mut victim, |_, buffer| {
        let damaged = 16 + rng.index(genuine.len() - 16);
        buffer.split_at_mut(genuine.len()).0.copy_from_slice(&genuine);
        buffer.iter_mut().skip(damaged).take(1).for_each(|byte| *byte ^= 1);
        genuine.len()
    });
    assert_eq!([strange, observed], [0, 0], "bytes of memory that one takes");
    assert!(full <= DERIVATION_BYTES_MAX, "{full} bytes for a key, while it is derived");
    let after = victim.node().stats();
    assert_eq!(after.signatures_checked, before.signatures_checked);
    let refused = |reject| after.rejected(reject) - before.rejected(reject);
    assert_eq!(refused(Reject::UnknownBoot), u64::from(DATAGRAMS));
    assert_eq!(refused(Reject::Unsealed), u64::from(2 * DATAGRAMS));
    let mut answers = Outside::default();
    victim.drain(now(3000), &mut answers);
    assert!(answers.0.is_empty(), "{} datagrams answer a flood", answers.0.len());
    // And the genuine one still counts.
    let mut bytes = genuine;
    victim.handle_datagrams(now(3000), &mut [Datagram { from: address(2), bytes: &mut bytes }]);
    let last = victim.node().stats();
    assert_eq!(last.rejected.iter().sum::<u64>(), after.rejected.iter().sum::<u64>());
}
