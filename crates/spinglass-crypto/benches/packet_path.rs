//! The packet path without sockets: one sender's core, one receiver's core, the real cryptography.
//!
//! `cargo bench -p spinglass-crypto --bench packet_path` prints nanoseconds per message on each
//! side. What a socket, a kernel and a scheduler add is the rest of `spinglass bench multicast`.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use spinglass_core::crypto::Salt;
use spinglass_core::table::ZonePath;
use spinglass_core::{
    Config, Datagram, Dissemination, Driver, Event, Host, Identity, Incarnation, Instant, Node,
    Now, Start, Transmit,
};
use spinglass_crypto::{GroupKeys, RealCrypto, SigningKey};

/// Messages per run: several bursts.
const MESSAGES: usize = 20_000;
/// Messages published between two drains, as a busy event loop does.
const BATCH: usize = 256;

#[derive(Default)]
struct Outside {
    datagrams: Vec<Vec<u8>>,
    messages: usize,
}

impl Host for Outside {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        self.datagrams.extend(segments.chunks(transmit.segment_bytes).map(<[u8]>::to_vec));
        ControlFlow::Continue(())
    }

    fn deliver(&mut self, event: Event) {
        self.messages += usize::from(matches!(event, Event::Message(_)));
    }

    fn segments_max(&self) -> usize {
        64
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn member(index: u8, datagram_bytes: usize) -> Driver {
    let mut config = Config::lan();
    config.link.datagram_bytes = datagram_bytes;
    config.multicast.dissemination = Dissemination::Multicast;
    config.multicast.send_rate = 1 << 34;
    config.multicast.send_burst_bytes = 1 << 30;
    let crypto = RealCrypto::new(SigningKey::from_seed([index; 32]), GroupKeys::development());
    let identity = Identity {
        incarnation: Incarnation(1),
        salt: Salt([index; 16]),
        address: address(index.into()),
        region: ZonePath::root(),
        name: String::new(),
    };
    let config = config.check().expect("the defaults are good");
    let node =
        Node::new(config, identity, Box::new(crypto), index.into(), Vec::new(), Now::default());
    Driver::new(node.expect("epoch 0 has a key"))
}

/// Publishes [`MESSAGES`] of `size` bytes; returns the sender's and the receiver's time.
fn run(size: usize, datagram_bytes: usize) -> (Duration, Duration) {
    let (mut sender, mut receiver) = (member(1, datagram_bytes), member(2, datagram_bytes));
    receiver.node_mut().adopt_rows(Now::default(), &[]);
    let row = receiver.node().table().own_row().map(Arc::clone);
    sender.node_mut().adopt_rows(Now::default(), row.as_slice());
    let topic = sender.node_mut().topic("bench");
    receiver.subscribe(Now::default(), topic, Start::Live).expect("no rules");
    let (mut outside, mut inside) = (Outside::default(), Outside::default());
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    let payload = Bytes::from(vec![7; size]);
    let mut now = Now::default();
    for _ in 0..MESSAGES / BATCH {
        now.monotonic = Instant::from_nanos(now.monotonic.as_nanos() + 5_000_000);
        let start = Clock::now();
        for _ in 0..BATCH {
            sender.publish(now, topic, payload.clone().into()).expect("the queue has room");
        }
        if sender.node().poll_timeout().is_some_and(|due| due <= now.monotonic) {
            sender.handle_timeout(now);
        }
        sender.drain(now, &mut outside);
        sending += start.elapsed();
        let mut datagrams = std::mem::take(&mut outside.datagrams);
        let mut batch: Vec<_> = datagrams
            .iter_mut()
            .map(|bytes| Datagram { from: address(1), bytes: bytes.as_mut_slice() })
            .collect();
        let start = Clock::now();
        for batch in batch.chunks_mut(64) {
            receiver.handle_datagrams(now, batch);
        }
        if receiver.node().poll_timeout().is_some_and(|due| due <= now.monotonic) {
            receiver.handle_timeout(now);
        }
        receiver.drain(now, &mut inside);
        receiving += start.elapsed();
    }
    assert_eq!(inside.messages, MESSAGES / BATCH * BATCH, "{:#?}", receiver.node().stats());
    (sending, receiving)
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo test` runs benches too: once, to see that they work.
    let runs = if std::env::args().any(|argument| argument == "--bench") { 5 } else { 1 };
    println!("{:>8} {:>9} {:>12} {:>12}", "message", "datagram", "send ns", "receive ns");
    for (size, datagram) in [(100, 1200), (1024, 1200), (7168, 1200), (100, 60_000), (1024, 60_000)]
    {
        let mut best = (Duration::MAX, Duration::MAX);
        for _ in 0..runs {
            let (sending, receiving) = run(size, datagram);
            best = (best.0.min(sending), best.1.min(receiving));
        }
        let per_message = |time: Duration| time.as_nanos() / MESSAGES as u128;
        let (send, receive) = (per_message(best.0), per_message(best.1));
        println!("{size:>8} {datagram:>9} {send:>12} {receive:>12}");
    }
}
