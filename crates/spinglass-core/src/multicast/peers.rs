//! What a member knows of its gossip partners' clocks, and what it has served whom in this round.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::{MemberId, StreamId};
use crate::rng::Prng;
use crate::time::Instant;

/// Partners remembered: those heard last. Enough to choose among, and the same in every group.
const PEERS_MAX: usize = 64;
/// Members that must ask one member for a packet in one round before the region is served at once:
/// askers choose at random, so two may meet by chance where a few in thousands lack it, and a
/// multicast would cost everybody.
const MULTICAST_REQUESTS: u32 = 3;
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
/// Draws for a partner that answers.
const DRAWS: usize = 4;

/// Partners heard from of late.
#[derive(Debug, Default)]
pub(super) struct Peers {
    recent: VecDeque<Peer>,
    /// How often each was asked for packets since it last sent any: some only say that they have
    /// them.
    owing: BTreeMap<SocketAddr, u32>,
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

    /// A random partner whose round can be guessed.
    pub(super) fn choose(&self, now: Instant, interval: Duration, rng: &mut Prng) -> Option<Peer> {
        let old = now - interval * CLOCK_LIFE_ROUNDS;
        let fresh = self.recent.iter().position(|peer| peer.heard >= old)?;
        let choices = self.recent.len() - fresh;
        let mut drawn = self.recent.get(fresh + rng.index(choices))?;
        for _ in 1..DRAWS {
            if !self.is_silent(drawn.address) {
                break;
            }
            drawn = self.recent.get(fresh + rng.index(choices))?;
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

    /// How often a partner was asked in vain.
    pub(super) fn owes(&self, address: SocketAddr) -> u32 {
        self.owing.get(&address).copied().unwrap_or(0)
    }

    /// Whether a partner has been asked so often in vain that others are asked first.
    pub(super) fn is_silent(&self, address: SocketAddr) -> bool {
        self.owes(address) >= SILENT_AFTER
    }

    pub(super) fn on_round(&mut self, round: u32) {
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
    /// `can_multicast`: there is IP multicast, and the one who asks is near.
    pub(super) fn book(
        &mut self,
        to: MemberId,
        (stream, sequence): (StreamId, u64),
        bytes: usize,
        reserve: usize,
        can_multicast: bool,
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
        if can_multicast && requests.count == MULTICAST_REQUESTS {
            requests.multicast = true;
            return Verdict::Multicast;
        }
        Verdict::Unicast
    }
}
