//! The analysis: from a wished-for reliability to rounds, fan-out and buffer time.
//!
//! Two models of the papers, kept apart [FACTS 13]. *Pull repair*, which is what the protocol does:
//! of the members that lack a message, a share `exp(-F (1-u) (1-loss)^3)` still lacks it a round
//! later, since a digest, a solicitation and a repair must all arrive. *Gossip once*, the analysis
//! of the TOCS paper: the first multicast reaches nobody but its sender, and everyone gossips once,
//! in the round after it was reached; the distribution of how many are reached is bimodal.
//!
//! Floats live here and nowhere else in the core; what protocols use is rounded to integers.

use alloc::vec::Vec;

/// The most askers that are put down to chance.
const CROWD_MAX: u32 = 64;

/// What a member wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The group's size.
    pub members: usize,
    /// The share of packets that dissemination does not bring and links lose, in per cent, 1 to 99.
    pub loss_percent: u32,
    /// The wished-for probability of a miss is `10^-nines`.
    pub nines: u8,
    /// Digests per round.
    pub fanout: u8,
}

/// Rounds that the answers stop at.
const ROUNDS_MAX: u32 = 10_000;

/// After how many rounds a message that is still missing may be given up: the first round in which
/// the pull recurrence falls below the target.
#[must_use]
pub fn give_up_rounds(question: &Question) -> u32 {
    let loss = f64::from(question.loss_percent.clamp(1, 99)) / 100.0;
    let target = libm::pow(10.0, -f64::from(question.nines));
    let mut pull = PullRepair::new(loss, loss, f64::from(question.fanout));
    // A group of two asks one another: no randomness in whom, the same loss.
    let _ = question.members;
    (1..=ROUNDS_MAX).find(|_| pull.next_round() <= target).unwrap_or(ROUNDS_MAX)
}

/// The pull recurrence: the share of members that lack a message, round by round [FACTS 2.7].
#[derive(Debug, Clone, Copy)]
pub struct PullRepair {
    missing: f64,
    /// Successful exchanges per round with a partner that has the message.
    exchanges: f64,
}

impl PullRepair {
    /// A share `missing` did not get the message at first; each packet is lost with probability
    /// `loss`; each member sends `fanout` digests a round.
    #[must_use]
    pub fn new(missing: f64, loss: f64, fanout: f64) -> Self {
        let arrives = 1.0 - loss;
        Self { missing, exchanges: fanout * arrives * arrives * arrives }
    }

    /// The share that still lacks it.
    #[must_use]
    pub const fn missing(&self) -> f64 {
        self.missing
    }

    /// One round on; returns the share that still lacks it then.
    pub fn next_round(&mut self) -> f64 {
        self.missing *= libm::exp(-self.exchanges * (1.0 - self.missing));
        self.missing
    }
}

/// What a reliability costs: the answer of `spinglass plan`.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Rounds after which a message is given up, and for which it is buffered by somebody.
    pub rounds: u32,
    /// Mean rounds until a missing message is repaired.
    pub mean_repair_rounds: f64,
    /// The probability that a given member misses a given message, by the recurrence.
    pub miss: f64,
    /// Digests that a member sends, and receives on average, per second.
    pub digests_per_second: f64,
    /// Solicitations that a member sends per second.
    pub solicits_per_second: f64,
    /// Bytes of repairs that a member sends, and receives, per second, on average.
    pub repair_bytes_per_second: f64,
    /// Bytes that a member buffers, on average.
    pub buffer_bytes: f64,
    /// Members that keep a packet until it is given up.
    pub bufferers: u32,
}

/// What to plan for.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Messages per second in the whole group.
    pub messages_per_second: f64,
    /// Bytes per message.
    pub message_bytes: f64,
    /// The gossip round, in seconds.
    pub round_seconds: f64,
    /// Rounds that everybody buffers every packet for.
    pub idle_rounds: u32,
    /// Members that buffer it for longer.
    pub bufferers: u32,
}

/// Plans for a reliability of `1 - 10^-nines` under a load.
#[must_use]
pub fn plan(question: &Question, load: &Load) -> Plan {
    let rounds = give_up_rounds(question);
    let loss = f64::from(question.loss_percent.clamp(1, 99)) / 100.0;
    let mut pull = PullRepair::new(loss, loss, f64::from(question.fanout));
    let mut lacking_rounds = 0.0;
    for _ in 0..rounds {
        lacking_rounds += pull.missing();
        pull.next_round();
    }
    let tries = 1.0 / libm::pow(1.0 - loss, 3.0) / (1.0 - loss);
    let stream_bytes = load.messages_per_second * load.message_bytes;
    let everybody = f64::from(load.idle_rounds.min(rounds)) * load.round_seconds;
    let longer = f64::from(rounds.saturating_sub(load.idle_rounds)) * load.round_seconds;
    let share = (f64::from(load.bufferers) / question.members.max(1) as f64).min(1.0);
    Plan {
        rounds,
        mean_repair_rounds: lacking_rounds / loss,
        miss: pull.missing(),
        digests_per_second: f64::from(question.fanout) / load.round_seconds,
        solicits_per_second: load.messages_per_second * loss * tries,
        repair_bytes_per_second: stream_bytes * loss * tries * (1.0 - loss),
        buffer_bytes: stream_bytes * (everybody + longer * share),
        bufferers: load.bufferers.min(u32::try_from(question.members).unwrap_or(u32::MAX)),
    }
}

/// The fewest askers in a round that tell a member to serve everybody near at once; at most 64.
///
/// If each of `members` lacks a packet with probability u, `loss_percent`, by itself and asks a
/// random one, some members are asked by several, by chance; and serving everybody costs everybody
/// a packet, which a share u needs. So many askers are waited for that chance alone brings about
/// `2 u^2 / (1 - u)` servings of a packet at most. That is hardly any where little is lost, and
/// repairs go to those who ask; and one where half is lost, and all are best served at once.
///
/// The bound grows with the group, since what each member has a small chance of comes up for
/// somebody sooner or later (paper, section 3).
#[must_use]
pub fn crowd(members: usize, loss_percent: u32) -> u32 {
    let mean = f64::from(loss_percent) / 100.0;
    let often = 2.0 * mean * mean / (1.0 - mean).max(0.01);
    // Poisson: exactly so many ask, and fewer.
    let mut exactly = libm::exp(-mean);
    let mut fewer = 0.0;
    for askers in 0..CROWD_MAX {
        if members as f64 * (1.0 - fewer) <= often {
            return askers;
        }
        fewer += exactly;
        exactly *= mean / f64::from(askers + 1);
    }
    CROWD_MAX
}

/// The distribution of how many of `members` a message reaches when each gossips once, with
/// probability `fanout / members` to each other one, for `rounds` rounds: the TOCS paper's model,
/// with message loss `loss` and process failure `failure` [FACTS 2.7].
///
/// The result has one probability per count from 0 to `members`. Costs members^3 steps a round.
#[must_use]
pub fn gossip_once(members: usize, fanout: f64, loss: f64, failure: f64, rounds: u32) -> Vec<f64> {
    let reach = fanout / members as f64 * (1.0 - loss) * (1.0 - failure);
    let choose = log_factorials(members);
    let mut states = StateTable::new(members);
    states.add(1, members - 1, 1.0);
    for _ in 0..rounds {
        let mut next = StateTable::new(members);
        for (fresh, untouched, probability) in states.iter() {
            if fresh == 0 {
                next.add(0, untouched, probability);
                continue;
            }
            let hit = 1.0 - libm::pow(1.0 - reach, fresh as f64);
            for reached in 0..=untouched {
                let share = binomial(untouched, reached, hit, &choose);
                next.add(reached, untouched - reached, probability * share);
            }
        }
        states = next;
    }
    let mut counts = alloc::vec![0.0; members + 1];
    for (_, untouched, probability) in states.iter() {
        if let Some(count) = counts.get_mut(members - untouched) {
            *count += probability;
        }
    }
    counts
}

/// The probability that a message reaches more than 10 % but fewer than 90 % of a group: the
/// paper's predicate I.
#[must_use]
pub fn neither_few_nor_most(distribution: &[f64]) -> f64 {
    let members = distribution.len().saturating_sub(1) as f64;
    let between = |count: usize| {
        let share = count as f64 / members;
        share > 0.1 && share < 0.9
    };
    distribution.iter().enumerate().filter(|(count, _)| between(*count)).map(|(_, p)| p).sum()
}

/// The fan-out, to within 0.01, at which predicate I holds with probability below `target`.
#[must_use]
pub fn fanout_needed(members: usize, target: f64, loss: f64, failure: f64, rounds: u32) -> f64 {
    let (mut low, mut high) = (1.0, members as f64);
    while high - low > 0.01 {
        let middle = (low + high) / 2.0;
        let distribution = gossip_once(members, middle, loss, failure, rounds);
        // Below the peak of the curve a smaller fan-out looks better because nobody is reached.
        if neither_few_nor_most(&distribution) > target || middle < 3.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

fn log_factorials(most: usize) -> Vec<f64> {
    let mut logs = Vec::with_capacity(most + 1);
    let mut sum = 0.0;
    for number in 0..=most {
        sum += if number == 0 { 0.0 } else { libm::log(number as f64) };
        logs.push(sum);
    }
    logs
}

fn binomial(from: usize, taken: usize, hit: f64, logs: &[f64]) -> f64 {
    let log = |number: usize| logs.get(number).copied().unwrap_or(0.0);
    if hit >= 1.0 {
        return f64::from(u8::from(taken == from));
    }
    let ways = log(from) - log(taken) - log(from - taken);
    let odds = taken as f64 * libm::log(hit) + (from - taken) as f64 * libm::log1p(-hit);
    libm::exp(ways + odds)
}

/// Probabilities of (newly reached, not reached) pairs.
#[derive(Debug)]
struct StateTable {
    width: usize,
    cells: Vec<f64>,
}

/// What is rarer is left out: far below every figure that is printed.
const NEGLIGIBLE: f64 = 1e-300;

impl StateTable {
    fn new(members: usize) -> Self {
        let width = members + 1;
        Self { width, cells: alloc::vec![0.0; width * width] }
    }

    fn add(&mut self, fresh: usize, untouched: usize, probability: f64) {
        if let Some(cell) = self.cells.get_mut(fresh * self.width + untouched) {
            *cell += probability;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        let width = self.width;
        let cells = self.cells.iter().enumerate().filter(|(_, cell)| **cell > NEGLIGIBLE);
        cells.map(move |(place, cell)| (place / width, place % width, *cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal in the digits that FACTS prints.
    fn close(got: f64, printed: f64, digits: i32) -> bool {
        (got / printed - 1.0).abs() <= 0.5 * 10_f64.powi(1 - digits)
    }

    #[test]
    fn a_crowd_is_what_chance_hardly_brings_together() {
        // By hand: 5 % missing, so 5.3e-3 times; P(2 or more) = 1.2e-3, P(3 or more) = 2.0e-5.
        assert_eq!((crowd(4, 5), crowd(8, 5), crowd(200, 5)), (2, 3, 3));
        // P(4 or more) = 2.5e-7, of 2,048 members 5.1e-4; of 100,000 it takes five.
        assert_eq!((crowd(2_048, 5), crowd(100_000, 5)), (4, 5));
        // 20 %: P(3 or more) = 1.15e-3, of 64 members 0.073 of 0.1; half: 0.0144, 0.92 of 1.
        assert_eq!((crowd(64, 20), crowd(64, 50), crowd(128, 50)), (3, 3, 4));
        let sizes = [10, 1_000, 1_000_000, usize::MAX];
        let crowds = sizes.map(|members| [1, 20, 99].map(|loss| crowd(members, loss)));
        assert!(crowds.is_sorted() && crowds.iter().flatten().all(|it| *it <= CROWD_MAX));
    }

    #[test]
    fn pull_repair_matches_the_table() {
        let table = [
            (0.01, 0.0, [3.7e-3, 5.1e-4, 6.8e-5, 4.6e-7, 3.1e-9, 2.1e-11]),
            (0.05, 0.05, [2.2e-2, 4.1e-3, 7.4e-4, 1.0e-5, 1.4e-7, 1.9e-9]),
            (0.20, 0.20, [0.13, 5.3e-2, 2.0e-2, 1.6e-3, 1.2e-4, 9.5e-6]),
            (0.50, 0.20, [0.39, 0.20, 8.3e-2, 7.1e-3, 5.5e-4, 4.3e-5]),
            (0.99, 0.05, [0.98, 0.94, 0.81, 0.10, 1.6e-3, 2.3e-5]),
        ];
        for (missing, loss, printed) in table {
            let mut pull = PullRepair::new(missing, loss, 1.0);
            let rounds: Vec<f64> = (0..20).map(|_| pull.next_round()).collect();
            for (round, printed) in [1, 3, 5, 10, 15, 20].into_iter().zip(printed) {
                let got = rounds[round - 1];
                assert!(close(got, printed, 2), "{missing} {loss} r{round}: {got} not {printed}");
            }
        }
    }

    #[test]
    fn gossip_once_matches_the_table() {
        let table = [
            (1.0, 2.8e-1, 5.0),
            (2.0, 7.0e-1, 28.3),
            (3.0, 1.6e-1, 43.3),
            (4.0, 3.9e-3, 47.8),
            (5.0, 3.3e-5, 49.2),
            (6.0, 1.6e-7, 49.7),
            (7.0, 5.9e-10, 49.9),
            (8.0, 1.8e-12, 49.97),
            (10.0, 1.0e-17, 50.0),
        ];
        for (fanout, between, mean) in table {
            let counts = gossip_once(50, fanout, 0.05, 0.001, 10);
            let got = neither_few_nor_most(&counts);
            assert!(close(got, between, 2), "fan-out {fanout}: {got} not {between}");
            let got: f64 = counts.iter().enumerate().map(|(count, p)| count as f64 * p).sum();
            assert!(close(got, mean, 3) || close(got, mean, 2), "fan-out {fanout}: mean {got}");
        }
    }

    #[test]
    fn the_histogram_is_u_shaped() {
        let counts = gossip_once(50, 5.0, 0.05, 0.001, 10);
        let printed = [
            (1, 7.6e-3),
            (2, 3.2e-4),
            (3, 2.3e-5),
            (5, 2.6e-7),
            (10, 4.5e-11),
            (25, 1.1e-11),
            (40, 1.7e-8),
            (45, 2.0e-4),
            (48, 5.2e-2),
            (49, 0.25),
            (50, 0.68),
        ];
        for (count, probability) in printed {
            assert!(close(counts[count], probability, 2), "P[{count}] = {}", counts[count]);
        }
        let least = (1..50).min_by(|a, b| counts[*a].total_cmp(&counts[*b])).unwrap();
        assert!((14..=16).contains(&least), "the U's bottom is at {least}");
        assert!(close(counts[15], 2.5e-12, 2), "{}", counts[15]);
    }

    #[test]
    fn larger_groups_are_more_reliable() {
        let printed = [(20, 1.2e-6), (30, 1.2e-7), (40, 8.7e-9), (50, 5.9e-10), (60, 3.9e-11)];
        for (members, probability) in printed {
            let got = neither_few_nor_most(&gossip_once(members, 7.0, 0.05, 0.001, 10));
            assert!(close(got, probability, 2), "n = {members}: {got} not {probability}");
        }
        for (members, fanout) in [(20, 8.3), (30, 7.6), (40, 7.0), (50, 6.55)] {
            let got = fanout_needed(members, 1e-8, 0.05, 0.001, 10);
            assert!((got - fanout).abs() <= 0.06, "n = {members}: {got} not {fanout}");
        }
    }

    #[test]
    fn more_nines_take_more_rounds() {
        let ask = |nines, loss_percent| {
            give_up_rounds(&Question { members: 100, loss_percent, nines, fanout: 1 })
        };
        assert!(ask(12, 5) > ask(9, 5));
        assert!(ask(9, 20) > ask(9, 5));
    }
}
