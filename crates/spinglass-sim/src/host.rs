//! A simulated member's host: where its outputs go, and the address it has.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;

use spinglass_core::query::{Answer, QuestionId};
use spinglass_core::{Event, Host, Sighting, Stats, Transmit};

/// Datagrams that a member may send in one offloaded call.
const SEGMENTS_MAX: usize = 64;

/// The port at which all members receive, but for what is behind a door.
pub(crate) const PORT: u16 = 7710;

/// What one member's outputs meet, and buffers to use again.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) sent: Vec<(Transmit, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
    pub(crate) answers: Vec<(QuestionId, Answer)>,
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) spare: Vec<Vec<u8>>,
    pub(crate) segments: Vec<u8>,
    /// Whether the member's socket takes nothing now.
    pub(crate) refuses: bool,
}

impl Host for Outside {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        if self.refuses {
            return ControlFlow::Break(());
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(segments);
        self.sent.push((transmit.clone(), bytes));
        ControlFlow::Continue(())
    }

    fn deliver(&mut self, event: Event) {
        self.events.push(event);
    }

    fn answer(&mut self, question: QuestionId, answer: Answer) {
        self.answers.push((question, answer));
    }

    fn sight(&mut self, sighting: Sighting) {
        self.sightings.push(sighting);
    }

    fn segments_max(&self) -> usize {
        SEGMENTS_MAX
    }
}

pub(crate) fn address(member: usize) -> SocketAddr {
    let bits = 0x0a00_0000 | u32::try_from(member).unwrap_or(u32::MAX) & 0x00ff_ffff;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(bits)), PORT)
}

pub(crate) fn member_at(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(ip) => (ip.to_bits() & 0x00ff_ffff) as usize,
        IpAddr::V6(_) => usize::MAX,
    }
}

/// Adds up counters of two lives; what may fall is taken from the later.
pub(crate) fn add(sum: &mut Stats, life: &Stats) {
    let earlier = std::mem::replace(sum, life.clone());
    sum.inputs += earlier.inputs;
    sum.rounds += earlier.rounds;
    sum.digests_sent += earlier.digests_sent;
    sum.tails_sent += earlier.tails_sent;
    sum.solicits_sent += earlier.solicits_sent;
    sum.solicits_late += earlier.solicits_late;
    sum.repairs_sent += earlier.repairs_sent;
    sum.repair_bytes_sent += earlier.repair_bytes_sent;
    sum.bytes_sent += earlier.bytes_sent;
    sum.messages_published += earlier.messages_published;
    sum.messages_delivered += earlier.messages_delivered;
    sum.gaps += earlier.gaps;
    sum.rows_issued += earlier.rows_issued;
    sum.rows_sent += earlier.rows_sent;
    sum.accusations_made += earlier.accusations_made;
    sum.agents_removed += earlier.agents_removed;
    sum.questions_taken += earlier.questions_taken;
    sum.asks_sent += earlier.asks_sent;
    for (sum, earlier) in sum.rejected.iter_mut().zip(earlier.rejected) {
        *sum += earlier;
    }
}
