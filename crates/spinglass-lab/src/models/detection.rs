//! Failure detectors: van Renesse, Minsky and Hayden's by gossiped counters (Middleware 1998), and
//! SWIM's by pings (DSN 2002) [FACTS 8, 10].

use spinglass_core::Prng;

/// Bytes that a member's entry takes in a gossip.
const ENTRY_BYTES: f64 = 8.0;

/// Gossip about counters: of a group of `members`, `failed` are gone, a message arrives with
/// probability `arrives`, and a mistake may have probability `mistake`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gossip {
    /// All members.
    pub members: usize,
    /// Those that are gone.
    pub failed: usize,
    /// The probability that a message arrives.
    pub arrives: f64,
    /// The probability of a mistake that is borne.
    pub mistake: f64,
}

impl Gossip {
    /// The probability that one more member learns of a counter when so many know it and somebody
    /// gossips.
    fn grows(&self, know: usize) -> f64 {
        let (n, alive) = (self.members as f64, (self.members - self.failed) as f64);
        know as f64 / n * (alive - know as f64) / (n - 1.0) * self.arrives
    }

    /// Rounds until a counter is known to all that live, but for a mistake: the paper's recurrence.
    /// Somebody gossips `members` times a round.
    #[must_use]
    pub fn rounds(&self) -> f64 {
        let alive = self.members - self.failed;
        // know[k]: the probability that exactly k know.
        let mut know = vec![0.0; alive + 1];
        know[1.min(alive)] = 1.0;
        let mut steps = 0_u64;
        loop {
            let missing: f64 = know[..alive].iter().sum();
            if alive as f64 * missing <= self.mistake {
                return steps as f64 / self.members as f64;
            }
            for k in (1..alive).rev() {
                let moved = know[k] * self.grows(k);
                know[k] -= moved;
                know[k + 1] += moved;
            }
            steps += 1;
        }
    }

    /// The share of so many runs in which a counter is not known to all after these rounds: drawn.
    #[must_use]
    pub fn late_drawn(&self, rounds: f64, runs: u32, seed: u64) -> f64 {
        let mut rng = Prng::new(seed).fork("detection");
        let alive = self.members - self.failed;
        let steps = (rounds * self.members as f64).round() as u64;
        let arrives_ppm = (self.arrives * 1e6) as u64;
        let mut late = 0;
        for _ in 0..runs {
            // Members below `alive` live, and member 0 knows.
            let mut knows = vec![false; self.members];
            knows[0] = true;
            let mut count = 1;
            for _ in 0..steps {
                let from = rng.index(self.members);
                let to = (from + 1 + rng.index(self.members - 1)) % self.members;
                let is_told = knows[from] && to < alive && !knows[to];
                if is_told && rng.below(1_000_000) < arrives_ppm {
                    knows[to] = true;
                    count += 1;
                }
            }
            late += u32::from(count < alive);
        }
        f64::from(late) / f64::from(runs)
    }

    /// Seconds until a failure is detected where each member may send so many bytes a second: an
    /// entry a member in each gossip.
    #[must_use]
    pub fn seconds(&self, bytes_per_second: f64) -> f64 {
        self.rounds() * ENTRY_BYTES * self.members as f64 / bytes_per_second
    }
}

/// Seconds after which everybody certainly broadcasts.
const BROADCAST_BOUND: u32 = 20;

/// After a catastrophe each of `members` broadcasts with probability `(t / 20)^a` in the second
/// number t since it last heard one: the mean time of the first broadcast, in seconds.
#[must_use]
pub fn first_broadcast(members: usize, a: f64) -> f64 {
    let mut none = 1.0;
    let mut mean = 0.0;
    for t in 1..=BROADCAST_BOUND {
        mean += none;
        let each = (f64::from(t) / f64::from(BROADCAST_BOUND)).powf(a);
        none *= (1.0 - each).powf(members as f64);
    }
    mean
}

/// The exponent that makes the first broadcast come after ten seconds on average.
#[must_use]
pub fn broadcast_exponent(members: usize) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if first_broadcast(members, middle) < 10.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The same mean, drawn.
#[must_use]
pub fn first_broadcast_drawn(members: usize, a: f64, runs: u32, seed: u64) -> f64 {
    let mut rng = Prng::new(seed).fork("broadcast");
    let mut sum = 0;
    for _ in 0..runs {
        let second = (1..=BROADCAST_BOUND).find(|t| {
            let each = (f64::from(*t) / f64::from(BROADCAST_BOUND)).powf(a);
            (0..members).any(|_| (rng.below(1_000_000_000) as f64) < each * 1e9)
        });
        sum += second.unwrap_or(BROADCAST_BOUND);
    }
    f64::from(sum) / f64::from(runs)
}

/// Periods until somebody first pings a member that is gone, where each of the others pings one
/// member a period, chosen at random: e / (e - 1) in large groups.
#[must_use]
pub fn first_ping(members: usize) -> f64 {
    let others = (members - 1) as f64;
    1.0 / (1.0 - (1.0 - 1.0 / others).powf(others))
}

/// The same, drawn.
#[must_use]
pub fn first_ping_drawn(members: usize, runs: u32, seed: u64) -> f64 {
    let mut rng = Prng::new(seed).fork("ping");
    let mut periods = 0_u64;
    for _ in 0..runs {
        loop {
            periods += 1;
            if (1..members).any(|_| rng.index(members - 1) == 0) {
                break;
            }
        }
    }
    periods as f64 / f64::from(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_exponents() {
        for (members, wanted) in [(10, 4.76), (100, 7.54), (1_000, 10.43), (10_000, 13.40)] {
            let a = broadcast_exponent(members);
            assert!((a - wanted).abs() < 0.006, "{members}: {a}");
        }
        let drawn = first_broadcast_drawn(1_000, 10.43, 2_000, 1);
        assert!((drawn - 10.0).abs() < 0.15, "{drawn}");
    }

    #[test]
    fn the_papers_detection_times() {
        let seconds = |members, failed, mistake| {
            Gossip { members, failed, arrives: 1.0, mistake }.seconds(250.0)
        };
        for (members, mistake, wanted) in
            [(50, 1e-6, 46.0), (100, 1e-9, 122.0), (200, 1e-3, 163.0), (200, 1e-6, 210.0)]
        {
            let it = seconds(members, 1, mistake);
            assert!((it - wanted).abs() < 1.0, "{members} {mistake}: {it}");
        }
        let half = seconds(100, 50, 1e-6);
        assert!((half - 184.0).abs() < 1.0, "{half}");
    }

    #[test]
    fn drawn_as_computed() {
        let gossip = Gossip { members: 50, failed: 1, arrives: 0.95, mistake: 2.0 };
        // 49 times the probability is at most 2.
        let late = gossip.late_drawn(gossip.rounds(), 5_000, 3);
        assert!((late - 2.0 / 49.0).abs() < 0.012, "{late}");
        assert!((first_ping(1_000) - 1.582).abs() < 0.002);
        assert!((first_ping_drawn(100, 5_000, 2) - first_ping(100)).abs() < 0.05);
    }
}
