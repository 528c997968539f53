//! What lies between members: delay, loss, and everything else that networks do to datagrams.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spinglass_core::Prng;

use crate::host::{PORT, member_at};
use crate::queue::nanos;
use crate::topology::Topology;

/// What the network does, on every path alike. Shares are in parts per million.
#[derive(Debug, Clone)]
pub struct Network {
    /// The shortest delay, one way.
    pub delay_min: Duration,
    /// The longest; each datagram's delay is drawn evenly between the two, so they overtake.
    pub delay_max: Duration,
    /// Datagrams lost, each by itself, at each receiver.
    pub loss_ppm: u32,
    /// Bursts of loss, path by path.
    pub burst: Option<Burst>,
    /// Datagrams that arrive twice.
    pub duplicate_ppm: u32,
    /// Datagrams that arrive damaged: bits flipped, cut short, or spliced with another's end.
    pub corrupt_ppm: u32,
    /// Datagrams at whose arrival some earlier one, of anybody to anybody, arrives again.
    pub replay_ppm: u32,
    /// The part of the network each member is in; different parts hear nothing of each other.
    /// Empty: everybody is in one.
    pub parts: Vec<u8>,
    /// Members that lose more than others: of what comes in, and of what goes out.
    pub lossy: BTreeMap<usize, Lossy>,
    /// Paths that carry nothing, in this direction: (from, to).
    pub blocked: BTreeSet<(usize, usize)>,
    /// The links between members; none: all are at the same distance, by the delays above. With
    /// links, datagrams are delayed and lost as these say, and not repeated, damaged or replayed.
    pub topology: Option<Arc<Topology>>,
    /// Members that are behind something.
    pub doors: BTreeMap<usize, Door>,
}

/// What a member is behind: a NAT or a firewall, and perhaps a relay on the other side. Only its
/// port differs from that of others, as in the simulator a member is its host.
#[derive(Debug, Clone, Default)]
pub struct Door {
    /// The port that others see it at.
    pub port: u16,
    /// Whom it lets in.
    pub lets_in: LetsIn,
    /// The relay's port at which it is reached whatever the door lets in.
    pub relay: Option<u16>,
    /// Whom the member has sent to by its own socket.
    pub known: BTreeSet<usize>,
}

/// Whom a door lets in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LetsIn {
    /// Everybody: endpoint-independent filtering (RFC 4787, section 5).
    #[default]
    Everybody,
    /// Those to whom the member has sent, from the port that it sent to.
    Known,
    /// Nobody.
    Nobody,
}

/// What is lost at one member, in parts per million.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lossy {
    /// Of what comes in.
    pub in_ppm: u32,
    /// Of what goes out.
    pub out_ppm: u32,
}

/// The Gilbert-Elliott model, in time: a path is bad in some slots, and loses more in them.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    /// How long a slot is.
    pub slot: Duration,
    /// The share of slots that are bad.
    pub bad_ppm: u32,
    /// The loss in a bad slot.
    pub loss_ppm: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(50),
            delay_max: Duration::from_micros(250),
            loss_ppm: 0,
            burst: None,
            duplicate_ppm: 0,
            corrupt_ppm: 0,
            replay_ppm: 0,
            parts: Vec::new(),
            lossy: BTreeMap::new(),
            blocked: BTreeSet::new(),
            topology: None,
            doors: BTreeMap::new(),
        }
    }
}

/// Datagrams that may be replayed: a bounded sample of all that were sent.
const CAPTURED_MAX: usize = 512;

/// The network's own state.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    datagrams: Vec<Arc<[u8]>>,
}

impl Captured {
    pub(crate) fn keep(&mut self, datagram: &Arc<[u8]>, rng: &mut Prng) {
        if self.datagrams.len() < CAPTURED_MAX {
            self.datagrams.push(Arc::clone(datagram));
        } else if let Some(slot) = self.datagrams.get_mut(rng.index(CAPTURED_MAX)) {
            *slot = Arc::clone(datagram);
        }
    }

    pub(crate) fn draw(&self, rng: &mut Prng) -> Option<Arc<[u8]>> {
        self.datagrams.get(rng.index(self.datagrams.len())).cloned()
    }
}

impl Network {
    /// Whether what a member sends to this address gets to whoever is there, as far as doors go.
    /// `fresh`: it sends from a port that nobody has sent to.
    pub(crate) fn opens(&self, from: usize, address: SocketAddr, fresh: bool) -> bool {
        if self.doors.is_empty() {
            return true;
        }
        let port = address.port();
        match self.doors.get(&member_at(address)) {
            None => port == PORT,
            Some(door) if door.relay == Some(port) => true,
            Some(door) if door.port != port => false,
            Some(door) => match door.lets_in {
                LetsIn::Everybody => true,
                LetsIn::Known => !fresh && door.known.contains(&from),
                LetsIn::Nobody => false,
            },
        }
    }

    /// Notes that a member has sent by its own socket; returns its port as others see it.
    pub(crate) fn leaves(&mut self, from: usize, to: usize) -> Option<u16> {
        let door = self.doors.get_mut(&from)?;
        door.known.insert(to);
        Some(door.port)
    }

    /// Whether a datagram sent at `at` (nanoseconds) gets through.
    pub(crate) fn carries(&self, from: usize, to: usize, at: u64, rng: &mut Prng) -> bool {
        if self.loss_ppm > 0 && rng.chance_ppm(self.loss_ppm) {
            return false;
        }
        if !self.parts.is_empty() && self.parts.get(from) != self.parts.get(to) {
            return false;
        }
        if !self.blocked.is_empty() && self.blocked.contains(&(from, to)) {
            return false;
        }
        if !self.lossy.is_empty() {
            let out_ppm = self.lossy.get(&from).map_or(0, |lossy| lossy.out_ppm);
            let in_ppm = self.lossy.get(&to).map_or(0, |lossy| lossy.in_ppm);
            if rng.chance_ppm(out_ppm) || rng.chance_ppm(in_ppm) {
                return false;
            }
        }
        let Some(burst) = self.burst else { return true };
        let slot = u128::from(at) / burst.slot.as_nanos().max(1);
        let path = (from as u64) << 32 | to as u64;
        let drawn = crate::crypto::mix(path, &slot.to_le_bytes()) % 1_000_000;
        drawn >= u64::from(burst.bad_ppm) || !rng.chance_ppm(burst.loss_ppm)
    }

    pub(crate) fn delay(&self, rng: &mut Prng) -> u64 {
        let (least, most) = (nanos(self.delay_min), nanos(self.delay_max));
        least + rng.below(most.saturating_sub(least) + 1)
    }
}

/// Damages a datagram: flips up to 64 bits, cuts it short, or splices it with another's end.
pub fn damage(datagram: &[u8], other: Option<&[u8]>, rng: &mut Prng) -> Vec<u8> {
    let mut bytes = datagram.to_vec();
    match rng.below(4) {
        0 => bytes.truncate(rng.index(bytes.len())),
        1 => {
            let at = rng.index(bytes.len());
            bytes.truncate(at);
            let other = other.unwrap_or(&[0xa5; 40]);
            bytes.extend_from_slice(other.split_at(at.min(other.len())).1);
        }
        _ => {
            for _ in 0..=rng.below(64) {
                let at = rng.index(bytes.len());
                let bit = rng.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
        }
    }
    if bytes == datagram {
        bytes.iter_mut().take(1).for_each(|byte| *byte ^= 0x40);
    }
    bytes
}
