//! What a member knows of its gossip partners' clocks, and what it has served whom in this round.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::{MemberId, StreamId};
use crate::rng::Prng;
use crate::time::Instant;

/// Partners remembered: those heard last. Enough to choose among, and the same in every group.
const PEERS_MAX: usize = 64;
/// Members that must ask one member for a packet in one round before the region is served at once,
/// at least: askers choose at random, so two may meet by chance where a few in thousands lack it,
/// and a multicast would cost everybody. The larger the group and the loss, the more may.
pub(super) const MULTICAST_REQUESTS_MIN: u32 = 3;
/// How long what was heard of a partner's round serves to guess its present one: clocks that drift
/// by 1 % are then less than half a round apart.
const CLOCK_LIFE_ROUNDS: u32 = 50;

/// Requests in vain after which a partner is asked only if there is no other: some are under way at
/// once, and some are lost.
pub(super) const SILENT_AFTER: u32 = 3;
/// Rounds after which a partner is forgiven one of them: it may have been slow, or cut off.
const FORGIVE_ROUNDS: u32 = 50;
/// Partners whose answers are counted. When full, those that owe least are forgotten.
const OWING_MAX: usize = 256;
/// The longest time that an answer is thought to take: a path around the world, queues and all.
pub(super) const TRIP_MAX: Duration = Duration::from_secs(2);
/// By how much more than an eighth one longer answer lengthens what is expected.
const TRIP_STEP: Duration = Duration::from_millis(1);
/// Draws for a partner that answers.
const DRAWS: usize = 4;

/// Partners heard from of late.
#[derive(Debug, Default)]
pub(super) struct Peers {
    recent: VecDeque<Peer>,
    /// How often each was asked for packets since it last sent any: some only say that they have
    /// them.
    owing: BTreeMap<SocketAddr, u32>,
    /// None until somebody has answered.
    trips: Option<Box<Trips>>,
}

/// How long partners take to answer.
///
/// Of each the shortest answer counts, and longer ones only bit by bit: one that sleeps now and
/// then is no farther away than before. Only that of whoever was asked first for a packet counts:
/// what comes from others may be the answer to an earlier request (Karn and Partridge, SIGCOMM
/// 1987).
#[derive(Debug, Default)]
struct Trips {
    known: BTreeMap<SocketAddr, Duration>,
    /// What one may take that has not answered yet: as long as all but the slowest.
    usual: Duration,
}

impl Trips {
    fn note(&mut self, address: SocketAddr, trip: Duration, first_max: Duration) {
        let trip = trip.min(TRIP_MAX);
        if self.known.len() >= OWING_MAX && !self.known.contains_key(&address) {
            self.known.pop_first();
        }
        let lengthened = |known: Duration| trip.min(known + known / 8 + TRIP_STEP);
        let known = self.known.entry(address);
        known
            .and_modify(|known| *known = lengthened(*known))
            .or_insert_with(|| trip.min(first_max));
    }

    fn of(&self, address: SocketAddr) -> Duration {
        self.known.get(&address).copied().unwrap_or(self.usual)
    }

    fn on_round(&mut self) {
        let mut trips: Vec<Duration> = self.known.values().copied().collect();
        trips.sort_unstable();
        let all_but_slowest = trips.len().saturating_sub(1) * 7 / 8;
        self.usual = trips.get(all_but_slowest).copied().unwrap_or_default();
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) id: MemberId,
    pub(super) address: SocketAddr,
    round: u32,
    heard: Instant,
}

impl Peer {
    /// The partner's present round, as far as one can tell: each numbers its own.
    pub(super) fn round_at(&self, now: Instant, interval: Duration) -> u32 {
        rounds_later(self.round, now.since(self.heard), interval)
    }
}

/// The round of a member that was in `round` a while ago.
pub(super) fn rounds_later(round: u32, ago: Duration, interval: Duration) -> u32 {
    let passed = ago.as_nanos() / interval.as_nanos().max(1);
    round.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX))
}

impl Peers {
    pub(super) fn heard(&mut self, id: MemberId, address: SocketAddr, round: u32, now: Instant) {
        if let Some(at) = self.recent.iter().position(|peer| peer.id == id) {
            self.recent.remove(at);
        } else if self.recent.len() >= PEERS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Peer { id, address, round, heard: now });
    }

    /// A random partner whose round can be guessed, of those who may have what is asked for.
    pub(super) fn choose(
        &self,
        now: Instant,
        interval: Duration,
        mut may_have: impl FnMut(SocketAddr) -> bool,
        rng: &mut Prng,
    ) -> Option<Peer> {
        let old = now - interval * CLOCK_LIFE_ROUNDS;
        let fresh = self.recent.iter().filter(|peer| peer.heard >= old);
        let fresh: Vec<&Peer> = fresh.filter(|peer| may_have(peer.address)).collect();
        if fresh.is_empty() {
            return None;
        }
        let mut drawn = *fresh.get(rng.index(fresh.len()))?;
        for _ in 1..DRAWS {
            if !self.is_silent(drawn.address) {
                break;
            }
            drawn = *fresh.get(rng.index(fresh.len()))?;
        }
        Some(*drawn)
    }

    /// Notes that a partner was asked for packets.
    pub(super) fn asked(&mut self, address: SocketAddr) {
        if self.owing.len() >= OWING_MAX && !self.owing.contains_key(&address) {
            let least = self.owing.values().min().copied().unwrap_or(0);
            self.owing.retain(|_, owed| *owed > least);
        }
        let owed = self.owing.entry(address).or_default();
        *owed = owed.saturating_add(1);
    }

    /// Notes that a partner has sent a packet that it was asked for, perhaps.
    pub(super) fn answered(&mut self, address: SocketAddr) {
        self.owing.remove(&address);
    }

    /// Notes how long a partner took to answer; of one of whom nothing is known, `first_max` at
    /// most is believed.
    pub(super) fn took(&mut self, address: SocketAddr, trip: Duration, first_max: Duration) {
        self.trips.get_or_insert_default().note(address, trip, first_max);
    }

    /// How long a partner takes to answer, as far as is known; zero: nobody has answered yet.
    pub(super) fn trip(&self, address: SocketAddr) -> Duration {
        self.trips.as_ref().map_or(Duration::ZERO, |trips| trips.of(address))
    }

    /// How long one takes of which nothing is known.
    pub(super) fn usual_trip(&self) -> Duration {
        self.trips.as_ref().map_or(Duration::ZERO, |trips| trips.usual)
    }

    /// How often a partner was asked in vain.
    pub(super) fn owes(&self, address: SocketAddr) -> u32 {
        self.owing.get(&address).copied().unwrap_or(0)
    }

    /// Whether a partner has been asked so often in vain that others are asked first.
    pub(super) fn is_silent(&self, address: SocketAddr) -> bool {
        self.owes(address) >= SILENT_AFTER
    }

    pub(super) fn on_round(&mut self, round: u32) {
        self.trips.iter_mut().for_each(|trips| trips.on_round());
        if round.is_multiple_of(FORGIVE_ROUNDS) {
            self.owing.retain(|_, owed| {
                *owed = (*owed - 1).min(2 * SILENT_AFTER);
                *owed > 0
            });
        }
    }

    pub(super) fn find(&self, address: SocketAddr) -> Option<&Peer> {
        self.recent.iter().find(|peer| peer.address == address)
    }

    pub(super) fn forget(&mut self, id: MemberId) {
        self.recent.retain(|peer| peer.id != id);
    }
}

/// What repair may still cost in this round, and what it went to.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    repair_bytes: usize,
    solicit_bytes: usize,
    served: BTreeSet<(MemberId, StreamId, u64)>,
    /// How many members asked for a packet in this round.
    requests: BTreeMap<(StreamId, u64), Requests>,
}

/// Members that asked for one packet in one round.
#[derive(Debug, Clone, Copy, Default)]
struct Requests {
    count: u32,
    multicast: bool,
}

/// How a packet that was asked for is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To the one who asked.
    Unicast,
    /// Several near members lack it: to the region, once.
    Multicast,
    /// This member was served, or the region was, in this round.
    Repeated,
    /// The round's bytes are spent.
    OverBudget,
}

impl Ledger {
    pub(super) fn begin_round(&mut self, repair_bytes: usize, solicit_bytes: usize) {
        (self.repair_bytes, self.solicit_bytes) = (repair_bytes, solicit_bytes);
        self.served.clear();
        self.requests.clear();
    }

    /// Bytes of packets that may still be asked for.
    pub(super) const fn solicit_bytes(&self) -> usize {
        self.solicit_bytes
    }

    pub(super) fn spend_solicit(&mut self, bytes: usize) {
        self.solicit_bytes = self.solicit_bytes.saturating_sub(bytes);
    }

    /// Books a repair of `bytes` for `to`. `reserve`: bytes that must be left for others.
    /// `multicast_from`: how many must ask for it to be multicast; none if there is no IP
    /// multicast, or the one who asks is not near.
    pub(super) fn book(
        &mut self,
        to: MemberId,
        (stream, sequence): (StreamId, u64),
        bytes: usize,
        reserve: usize,
        multicast_from: Option<u32>,
    ) -> Verdict {
        #[cfg(not(spinglass_bug = "repair_unbounded"))]
        if self.repair_bytes < bytes + reserve {
            return Verdict::OverBudget;
        }
        let requests = self.requests.entry((stream, sequence)).or_default();
        if requests.multicast {
            return Verdict::Repeated;
        }
        #[cfg(not(spinglass_bug = "repair_repeated"))]
        if !self.served.insert((to, stream, sequence)) {
            return Verdict::Repeated;
        }
        #[cfg(spinglass_bug = "repair_repeated")]
        let _ = to;
        requests.count += 1;
        self.repair_bytes = self.repair_bytes.saturating_sub(bytes);
        if Some(requests.count) == multicast_from {
            requests.multicast = true;
            return Verdict::Multicast;
        }
        Verdict::Unicast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_late_answer_hardly_lengthens_what_is_expected_and_a_soon_one_shortens_it() {
        let mut peers = Peers::default();
        let mut expected = |took| {
            peers.took(address(1), took, TRIP_MAX);
            peers.trip(address(1))
        };
        assert_eq!(expected(MS(40)), MS(40));
        assert_eq!(expected(MS(900)), MS(46), "it slept");
        assert_eq!(expected(MS(20)), MS(20));
    }

    #[test]
    fn what_may_be_no_answer_is_believed_bit_by_bit() {
        let mut peers = Peers::default();
        let mut expected = |took| {
            peers.took(address(1), took, MS(90));
            peers.trip(address(1))
        };
        assert_eq!([expected(MS(700)), expected(MS(700))], [MS(90), MS(90) / 8 * 9 + TRIP_STEP]);
        assert_eq!((0..20).map(|_| expected(MS(700))).last(), Some(MS(700)), "it is that far away");
    }

    #[test]
    fn of_whom_nothing_is_known_as_much_is_expected_as_most_take() {
        let mut peers = Peers::default();
        for port in 1..=8 {
            peers.took(address(port), MS(u64::from(port) * 10), TRIP_MAX);
        }
        assert_eq!(peers.trip(address(99)), Duration::ZERO, "before the first round");
        peers.on_round(1);
        assert_eq!((peers.trip(address(99)), peers.usual_trip()), (MS(70), MS(70)));
        for port in 100..2_000 {
            peers.took(address(port), MS(5), TRIP_MAX);
        }
        assert!(peers.trips.is_some_and(|trips| trips.known.len() == OWING_MAX));
    }
}
