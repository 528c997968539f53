//! A whole member under hostile input from one who holds the group's key: behind every seal and
//! every signature, since all of them check out here.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use spinglass_core::crypto::{Crypto, Domain, Epoch, Hash, LinkKey, PublicKey, Salt, Signature};
use spinglass_core::frame;
use spinglass_core::link::{Boot, Link};
use spinglass_core::members::MemberRecord;
use spinglass_core::table::ZonePath;
use spinglass_core::wire::Reader;
use spinglass_core::{
    Config, Datagram, Destinations, Driver, Event, Host, Identity, Incarnation, Instant, MemberId,
    Node, Now, Start, Transmit,
};

/// Operations of an input that are carried out: more would only be slow.
const OPERATIONS_MAX: usize = 256;
/// Operations up to this let so many milliseconds pass; the ones after it follow.
pub const PASS_MAX: u8 = 0xef;
/// Frames from the peer come in: `length u16 | frames`.
pub const FRAMES: u8 = 0xf0;
/// The member publishes this many bytes: `length u16`.
pub const PUBLISH: u8 = 0xf1;
/// The member subscribes to the peer's topic, from what is buffered.
pub const SUBSCRIBE: u8 = 0xf2;
/// The member says good-bye.
pub const LEAVE: u8 = 0xf3;

/// Agrees with everybody: every seal opens, every signature is good.
#[derive(Clone, Copy)]
pub struct Gullible(pub u8);

impl Crypto for Gullible {
    fn public_key(&self) -> PublicKey {
        PublicKey([self.0; 32])
    }
    fn sign(&mut self, _: &[u8]) -> Signature {
        Signature([self.0; 64])
    }
    fn verify(&mut self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
        true
    }
    fn hash(&mut self, domain: Domain, message: &[u8]) -> Hash {
        let mut hash = [domain as u8; 16];
        for (at, byte) in message.iter().enumerate() {
            let place = &mut hash[at % 16];
            *place = (*place ^ byte).wrapping_mul(167).rotate_left(3);
        }
        Hash(hash)
    }
    fn hash_many(&mut self, domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>) {
        hashes.extend(messages.iter().map(|message| self.hash(domain, message)));
    }
    fn link_key(&mut self, _: Epoch, _: &MemberId, _: &Salt, _: u32) -> Option<LinkKey> {
        Some(LinkKey(0))
    }
    fn forget(&mut self, _: LinkKey) {}
    fn seal(&mut self, _: LinkKey, _: u64, _: &[u8], _: &mut [u8]) -> [u8; 16] {
        [0; 16]
    }
    fn open(&mut self, _: LinkKey, _: u64, _: &[u8], _: &mut [u8]) -> bool {
        true
    }
}

/// Where outputs go: looked at, then dropped.
#[derive(Default)]
struct Nowhere {
    messages: usize,
}

impl Host for Nowhere {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        let Transmit { to, segment_bytes } = transmit;
        assert!((1..=1200).contains(segment_bytes) && segments.len() <= 4 * segment_bytes);
        assert!(!matches!(to, Destinations::Members(members) if members.is_empty()));
        ControlFlow::Continue(())
    }
    fn deliver(&mut self, event: Event) {
        self.messages += usize::from(matches!(event, Event::Message(_)));
    }
    fn segments_max(&self) -> usize {
        4
    }
}

fn peer_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 2], 2))
}

/// The boot of the peer that the hostile frames come from.
pub fn peer_boot() -> Boot {
    let id = Gullible(2).hash(Domain::Member, &[2; 32]);
    Boot { sender: MemberId::from_hash(id), salt: Salt([2; 16]), generation: 0 }
}

/// The peer's record.
pub fn peer_record() -> MemberRecord {
    let (boot, region) = (peer_boot(), ZonePath::root());
    MemberRecord::sign(&boot, Incarnation(1), peer_address(), (region, None), &mut Gullible(2))
}

/// One run of a member that knows one peer.
struct Run {
    driver: Driver,
    host: Nowhere,
    link: Link,
    elapsed: Duration,
}

impl Run {
    fn new() -> Self {
        let identity = Identity {
            incarnation: Incarnation(1),
            salt: Salt([1; 16]),
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            region: ZonePath::root(),
            name: String::new(),
        };
        let config = Config::lan().check().expect("the default is good");
        let crypto = Box::new(Gullible(1));
        let node = Node::new(config, identity, crypto, 1, Vec::new(), Now::default());
        let driver = Driver::new(node.expect("every epoch has a key"));
        let link = Link::new(Epoch(0), peer_boot(), &mut Gullible(2)).expect("as above");
        let mut run = Self { driver, host: Nowhere::default(), link, elapsed: Duration::ZERO };
        let mut introduction = Vec::new();
        frame::put_record(|buffer| peer_record().encode(buffer), &mut introduction);
        run.receive(true, &introduction);
        assert_eq!(run.driver.node().stats().rejected.iter().sum::<u64>(), 0, "the peer is known");
        run
    }

    fn now(&self) -> Now {
        let monotonic = Instant::START + self.elapsed;
        Now { monotonic, wall_ms: u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX) }
    }

    fn receive(&mut self, long: bool, frames: &[u8]) {
        let mut datagram = Vec::new();
        let begun = self.link.begin(long, &mut datagram);
        datagram.extend_from_slice(frames);
        self.link.seal(&begun, &mut datagram, &mut Gullible(2));
        let datagram = Datagram { from: peer_address(), bytes: &mut datagram };
        self.driver.handle_datagrams(self.now(), &mut [datagram]);
    }

    /// Carries out the input's next operation; `None` at its end.
    fn step(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let now = self.now();
        let topic = self.driver.node_mut().topic("fuzz");
        match reader.u8().ok()? {
            pass @ 0..=PASS_MAX => {
                self.elapsed += Duration::from_millis(pass.into());
                self.driver.handle_timeout(self.now());
            }
            FRAMES => {
                let length = reader.u16().ok()?;
                let frames = reader.bytes(reader.rest().len().min(length.into())).ok()?;
                self.receive(false, frames);
            }
            PUBLISH => {
                let payload = vec![7; reader.u16().ok()?.into()];
                // A full queue is the caller's to hear about, not a fault.
                let _ = self.driver.publish(now, topic, payload.into());
            }
            SUBSCRIBE => drop(self.driver.subscribe(now, topic, Start::Buffered)),
            LEAVE => self.driver.leave(now),
            _ => (),
        }
        self.driver.drain(self.now(), &mut self.host);
        self.driver.node().check_invariants();
        Some(())
    }
}

/// A member's life among frames and the passing of time; returns the messages it was told.
pub fn member_messages(bytes: &[u8]) -> usize {
    let mut run = Run::new();
    let mut reader = Reader::new(bytes);
    for _ in 0..OPERATIONS_MAX {
        if run.step(&mut reader).is_none() {
            break;
        }
    }
    run.host.messages
}

/// The same, as a body: nothing panics, every invariant holds after every step.
pub fn member(bytes: &[u8]) {
    member_messages(bytes);
}
