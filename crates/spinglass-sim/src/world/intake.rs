//! What members' hosts read of what arrives, when somebody floods them: the model of Badishi,
//! Keidar and Sasson (DSN 2004). A host reads so many datagrams of each of its ports in a round,
//! chosen at random among those that came, and the rest is lost.
//!
//! Fabricated datagrams only take the place of others here: what a core makes of one that it reads
//! (nothing) is shown elsewhere.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use spinglass_core::Prng;

use super::World;
use crate::host::PORT;

/// Reply ports are drawn from here up: the range that systems draw theirs from.
const REPLY_PORT_MIN: u64 = 32_768;

/// How much is read of what arrives, and who is flooded with what.
#[derive(Debug)]
pub struct Intake {
    /// Datagrams that a host reads of each of its ports in a round.
    pub per_round: u32,
    /// The length of a round.
    pub round: Duration,
    /// Fabricated datagrams that come to the known port of each attacked member in a round.
    pub fabricated: u32,
    /// Who is attacked.
    pub attacked: BTreeSet<usize>,
    /// Genuine datagrams that were not read.
    lost: u64,
    /// By member: what came to its known port, and to its others.
    arrivals: Vec<[Arrivals; 2]>,
    rng: Prng,
}

/// Genuine datagrams that came to a port, in this round and the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Arrivals {
    round: u64,
    now: u32,
    before: u32,
}

impl Arrivals {
    /// One more comes; how many come in a round, as far as one can tell.
    fn add(&mut self, round: u64) -> u32 {
        if self.round != round {
            self.before = if self.round + 1 == round { self.now } else { 0 };
            (self.round, self.now) = (round, 0);
        }
        self.now += 1;
        self.now.max(self.before)
    }
}

impl Intake {
    /// Hosts that read `per_round` datagrams of each port, of which nobody is attacked yet.
    #[must_use]
    pub fn new(per_round: u32, round: Duration, seed: u64) -> Self {
        Self {
            per_round,
            round,
            fabricated: 0,
            attacked: BTreeSet::new(),
            lost: 0,
            arrivals: Vec::new(),
            rng: Prng::new(seed).fork("intake"),
        }
    }

    /// Genuine datagrams that were lost because others were read in their place.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether one that arrives is among those that are read.
    fn reads(&mut self, member: usize, is_known: bool, now: u64) -> bool {
        let round = u128::from(now) / self.round.as_nanos().max(1);
        if self.arrivals.len() <= member {
            self.arrivals.resize(member + 1, [Arrivals::default(); 2]);
        }
        let port = self.arrivals.get_mut(member);
        let port = port.and_then(|ports| ports.get_mut(usize::from(!is_known)));
        let genuine = port.map_or(1, |port| port.add(u64::try_from(round).unwrap_or(u64::MAX)));
        let is_flooded = is_known && self.attacked.contains(&member);
        let arrived = genuine + if is_flooded { self.fabricated } else { 0 };
        let reads = self.rng.below(u64::from(arrived.max(1))) < u64::from(self.per_round);
        self.lost += u64::from(!reads);
        reads
    }
}

/// Where members want answers: by member, the port that it names now, and the one before.
#[derive(Debug, Default)]
pub(super) struct Ports(Vec<[Option<NonZeroU16>; 2]>);

impl Ports {
    /// Whether a member listens at a port.
    fn are_open(&self, member: usize, port: u16) -> bool {
        let open = self.0.get(member).into_iter().flatten().flatten();
        port == PORT || open.into_iter().any(|open| open.get() == port)
    }
}

impl World {
    /// Limits what hosts read from now on.
    pub fn limit_intake(&mut self, intake: Intake) {
        self.intake = Some(Box::new(intake));
    }

    /// What hosts read, if that is limited.
    #[must_use]
    pub fn intake(&self) -> Option<&Intake> {
        self.intake.as_deref()
    }

    /// Gives every member a new port for answers; the one before is read until the next time.
    /// `draw` chooses them.
    pub fn renew_reply_ports(&mut self, draw: &mut Prng) {
        for index in 0..self.members.len() {
            let port = REPLY_PORT_MIN + draw.below(u64::from(u16::MAX) + 1 - REPLY_PORT_MIN);
            self.set_reply_port(index, u16::try_from(port).ok().and_then(NonZeroU16::new));
        }
    }

    /// Gives a member another port for answers, or takes its own away.
    pub fn set_reply_port(&mut self, index: usize, port: Option<NonZeroU16>) {
        let now = self.local_now(index);
        if self.ports.0.len() <= index {
            self.ports.0.resize(index + 1, [None; 2]);
        }
        if let Some(ports) = self.ports.0.get_mut(index) {
            let [before, _] = *ports;
            *ports = [port, before];
        }
        if let Some(driver) = self.driver(index) {
            driver.set_reply_port(now, port);
            self.set_timer(index, now.monotonic.as_nanos());
        }
    }

    /// Whether a member's host reads what arrives at a port.
    pub(super) fn is_read(&mut self, member: usize, port: u16) -> bool {
        if port != PORT && !self.ports.are_open(member, port) {
            return false;
        }
        let now = self.now;
        self.intake.as_mut().is_none_or(|intake| intake.reads(member, port == PORT, now))
    }
}
