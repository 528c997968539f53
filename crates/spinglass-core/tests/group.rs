//! A few nodes in one process, with instant, lossy delivery: what must work before anything else.

#![expect(clippy::unwrap_used, reason = "whatever fails here fails the test")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use spinglass_core::crypto::{Crypto, Domain, Epoch, Hash, LinkKey, PublicKey, Salt, Signature};
use spinglass_core::table::ZonePath;
use spinglass_core::{
    Config, Datagram, Destinations, Dissemination, Driver, Event, Host, Identity, Incarnation,
    Instant, MemberId, Node, Now, Prng, Start, TopicId, Transmit,
};

/// A checksum in the place of cryptography: enough to tell keys and messages apart.
struct Checksum {
    own: u64,
    keys: BTreeMap<u32, u64>,
}

fn mix(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
    })
}

fn public(own: u64) -> PublicKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&own.to_le_bytes());
    PublicKey(key)
}

fn signature(key: &PublicKey, message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&mix(mix(1, &key.0), message).to_le_bytes());
    Signature(bytes)
}

impl Crypto for Checksum {
    fn public_key(&self) -> PublicKey {
        public(self.own)
    }
    fn sign(&mut self, message: &[u8]) -> Signature {
        signature(&public(self.own), message)
    }
    fn verify(&mut self, signer: &PublicKey, message: &[u8], given: &Signature) -> bool {
        signature(signer, message) == *given
    }
    fn hash(&mut self, domain: Domain, message: &[u8]) -> Hash {
        let (a, b) = (mix(domain as u64, message), mix(99 + domain as u64, message));
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&a.to_le_bytes());
        hash[8..].copy_from_slice(&b.to_le_bytes());
        Hash(hash)
    }
    fn hash_many(&mut self, domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>) {
        hashes.extend(messages.iter().map(|message| self.hash(domain, message)));
    }
    fn link_key(&mut self, _: Epoch, id: &MemberId, salt: &Salt, gen_: u32) -> Option<LinkKey> {
        let key = mix(mix(u64::from(gen_), &id.0), &salt.0);
        let handle = (0..).find(|handle| !self.keys.contains_key(handle))?;
        self.keys.insert(handle, key);
        Some(LinkKey(handle))
    }
    fn forget(&mut self, key: LinkKey) {
        self.keys.remove(&key.0);
    }
    fn seal(&mut self, key: LinkKey, counter: u64, header: &[u8], frames: &mut [u8]) -> [u8; 16] {
        let tag = mix(mix(self.keys[&key.0] ^ counter, header), frames);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&tag.to_le_bytes());
        bytes
    }
    fn open(&mut self, key: LinkKey, counter: u64, header: &[u8], sealed: &mut [u8]) -> bool {
        let (frames, tag) = sealed.split_at_mut(sealed.len() - 16);
        self.seal(key, counter, header, frames) == tag
    }
}

/// What one node's outputs meet.
#[derive(Default)]
struct Outside {
    sent: Vec<(Destinations, Vec<u8>)>,
    events: Vec<Event>,
}

impl Host for Outside {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        for segment in segments.chunks(transmit.segment_bytes) {
            self.sent.push((transmit.to.clone(), segment.to_vec()));
        }
        ControlFlow::Continue(())
    }
    fn deliver(&mut self, event: Event) {
        self.events.push(event);
    }
    fn segments_max(&self) -> usize {
        16
    }
}

struct Group {
    nodes: Vec<(Driver, Outside)>,
    now: Duration,
    loss_ppm: u32,
    rng: Prng,
    flying: VecDeque<(usize, SocketAddr, Vec<u8>)>,
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1000 + u16::try_from(index).unwrap()))
}

impl Group {
    fn new(count: usize, config: &Config, loss_ppm: u32) -> Self {
        let node = |index: usize| {
            let crypto = Checksum { own: index as u64 + 1, keys: BTreeMap::new() };
            let identity = Identity {
                incarnation: Incarnation(7),
                salt: Salt([u8::try_from(index).unwrap(); 16]),
                address: address(index),
                region: ZonePath::root(),
                name: String::new(),
            };
            let (config, seeds) = (config.clone().check().unwrap(), vec![address(0)]);
            let node =
                Node::new(config, identity, Box::new(crypto), index as u64, seeds, Now::default());
            (Driver::new(node.unwrap()), Outside::default())
        };
        let nodes = (0..count).map(node).collect();
        let (rng, flying) = (Prng::new(3), VecDeque::new());
        Self { nodes, now: Duration::ZERO, loss_ppm, rng, flying }
    }

    fn now(&self) -> Now {
        Now { monotonic: Instant::START + self.now, wall_ms: 0 }
    }

    fn drain(&mut self, index: usize) {
        let now = self.now();
        let (driver, outside) = &mut self.nodes[index];
        driver.drain(now, outside);
        for (to, bytes) in outside.sent.drain(..).collect::<Vec<_>>() {
            let receivers: Vec<usize> = match to {
                Destinations::Multicast => (0..self.nodes.len()).collect(),
                Destinations::Own(to) | Destinations::Fresh(to) => {
                    vec![usize::from(to.port()) - 1000]
                }
                Destinations::Members(members) => {
                    members.iter().map(|member| usize::from(member.port()) - 1000).collect()
                }
            };
            for receiver in receivers {
                if !self.rng.chance_ppm(self.loss_ppm) {
                    self.flying.push_back((receiver, address(index), bytes.clone()));
                }
            }
        }
    }

    /// Runs for `span`, in steps of a millisecond.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now += Duration::from_millis(1);
            let now = self.now();
            for index in 0..self.nodes.len() {
                let due = self.nodes[index].0.node().poll_timeout();
                if due.is_some_and(|due| due <= now.monotonic) {
                    self.nodes[index].0.handle_timeout(now);
                }
                self.drain(index);
            }
            for _ in 0..self.flying.len() {
                let (receiver, from, mut bytes) = self.flying.pop_front().unwrap();
                let datagram = Datagram { from, bytes: &mut bytes };
                self.nodes[receiver].0.handle_datagrams(now, &mut [datagram]);
                self.drain(receiver);
            }
        }
        self.nodes.iter().for_each(|(driver, _)| driver.node().check_invariants());
    }

    fn topic(&mut self) -> TopicId {
        let now = self.now();
        let topic = self.nodes[0].0.node_mut().topic("news");
        for (driver, _) in &mut self.nodes {
            driver.subscribe(now, topic, Start::Live).unwrap();
        }
        topic
    }

    fn messages(&self, index: usize) -> Vec<Bytes> {
        let message = |event: &Event| match event {
            Event::Message(message) => Some(message.payload.clone()),
            _ => None,
        };
        self.nodes[index].1.events.iter().filter_map(message).collect()
    }

    fn gaps(&self, index: usize) -> usize {
        self.nodes[index].1.events.iter().filter(|event| matches!(event, Event::Gap(_))).count()
    }
}

fn everybody_hears(config: &Config, count: usize, loss_ppm: u32, sizes: &[usize]) {
    let mut group = Group::new(count, config, loss_ppm);
    let topic = group.topic();
    // Some rounds of the table, since an exchange may be lost as anything else.
    group.run(Duration::from_secs(6));
    for (driver, _) in &group.nodes {
        assert_eq!(driver.node().member_count(), count, "everybody knows everybody");
    }
    let messages: Vec<Bytes> =
        (0_u8..).zip(sizes).map(|(tag, size)| Bytes::from(vec![tag; *size])).collect();
    for message in &messages {
        let now = group.now();
        group.nodes[1].0.publish(now, topic, message.clone().into()).unwrap();
        group.run(Duration::from_millis(5));
    }
    group.run(Duration::from_secs(2));
    for index in (0..count).filter(|index| *index != 1) {
        let stats = group.nodes[index].0.node().stats();
        assert_eq!(group.gaps(index), 0, "node {index}: {stats:#?}");
        assert!(group.messages(index) == messages, "node {index}: {stats:#?}");
    }
}

#[test]
fn a_clean_group_hears_everything() {
    everybody_hears(&Config::lan(), 12, 0, &[0, 1, 100, 1000, 5000, 200_000, 3]);
}

#[test]
fn a_lossy_group_hears_everything_by_trees() {
    everybody_hears(&Config::lan(), 12, 200_000, &[100; 200]);
}

#[test]
fn a_lossy_group_hears_everything_by_multicast() {
    let mut config = Config::lan();
    config.multicast.dissemination = Dissemination::Multicast;
    config.link.datagram_bytes = 9000;
    everybody_hears(&config, 12, 200_000, &[3000; 200]);
}

#[test]
fn a_message_with_none_after_it_is_heard_all_the_same() {
    for seed in 0..500 {
        let mut group = Group::new(3, &Config::lan(), 200_000);
        group.rng = Prng::new(seed);
        let topic = group.topic();
        let known =
            |group: &Group| group.nodes.iter().all(|(driver, _)| driver.node().member_count() == 3);
        for _ in 0..100 {
            if !known(&group) {
                group.run(Duration::from_millis(50));
            }
        }
        let now = group.now();
        group.nodes[1].0.publish(now, topic, "alone".into()).unwrap();
        group.run(Duration::from_secs(4));
        for index in [0, 2] {
            let stats = group.nodes[index].0.node().stats();
            assert_eq!(group.messages(index).len(), 1, "seed {seed}, node {index}: {stats:#?}");
        }
    }
}

#[test]
fn a_leaver_is_gone_at_once() {
    let mut group = Group::new(6, &Config::lan(), 0);
    group.run(Duration::from_secs(2));
    let now = group.now();
    group.nodes[5].0.leave(now);
    group.run(Duration::from_secs(1));
    for (driver, _) in group.nodes.iter().take(5) {
        assert_eq!(driver.node().member_count(), 5);
    }
}
