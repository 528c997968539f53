//! How an agent itself is doing, as its own probes tell it, and when one that was removed may come
//! back.

use crate::table::Table;

/// Half rounds in a row with answers to most probes after which an earlier sickness is forgotten.
const WELL_TICKS: u32 = 20;
/// The longest sickness that counts, in half rounds: whoever was away for a day isn't kept out for
/// another one.
const SICK_TICKS_MAX: u32 = 60;
/// Half rounds of health that one of sickness takes back: all of them would keep an agent away for
/// ever in a network that loses one probe in five.
const RELAPSE_TICKS: u32 = 2;
/// Half rounds in a row without a single answer after which an agent was cut off, by a partition or
/// its own network, rather than flapping: a minute, longer than the troubles of Rapid's and
/// Lifeguard's measurements. It has been away for so long that it need not be kept away for longer.
pub(super) const CUT_OFF_TICKS: u32 = 120;
/// Such half rounds that are no sickness yet: single probes are lost.
const SICK_TICKS_MIN: u32 = 3;

/// A strain at which nobody answers.
const STRAIN_ONE: i32 = 1 << 12;
/// Probes over which the strain is smoothed.
const STRAIN_MEMORY: i32 = 8;
/// What a silence and an answer weigh if 1, 2 .. 7 of 10 probes of well agents are lost:
/// 100 ln(0.85 / lost), 100 ln(0.15 / (1 - lost)).
const WEIGHTS: [(i32, i32); 7] =
    [(214, 179), (145, 167), (104, 154), (75, 139), (53, 120), (35, 98), (19, 69)];

/// How an agent is doing.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Half rounds in which most probes were not answered, since it was last well for long.
    sick: u32,
    /// Half rounds in which most were, less [`RELAPSE_TICKS`] for each in which they were not.
    well: u32,
    /// Half rounds in a row in which nobody answered, or nobody was left to be probed.
    silent: u32,
    /// Whether the region removed this agent, in its present life.
    is_removed: bool,
    /// How often agents that nobody doubts are silent: of [`STRAIN_ONE`], smoothed.
    strain: i32,
}

impl Health {
    pub(crate) const fn is_removed(&self) -> bool {
        self.is_removed
    }

    pub(crate) const fn on_removed(&mut self) {
        // How well it was before it fell sick is no sign that it is well again.
        (self.is_removed, self.well) = (true, 0);
    }

    /// Notes whether an agent that nobody doubts answered in a half round in which others did: what
    /// the network loses, and how slow this agent is, shows in how many don't.
    pub(crate) fn weigh(&mut self, answered: bool) {
        let target = if answered { 0 } else { STRAIN_ONE };
        self.strain += (target - self.strain) / STRAIN_MEMORY;
    }

    /// Which share of probes of agents that nobody doubts got no answer lately, in millionths.
    pub(crate) const fn lost_ppm(&self) -> u32 {
        self.strain.unsigned_abs() * (1_000_000 / STRAIN_ONE.unsigned_abs())
    }

    /// What a silence adds to a subject's score, and what an answer takes off.
    ///
    /// The score is the sequential test of Wald (1945): the logarithm of how much likelier what was
    /// seen is of an agent that is dead or nearly so than of a well one, in hundredths, never below
    /// zero. The one is silent 85 times in 100; the other as often as agents that nobody doubts.
    pub(crate) fn weights(&self) -> (i32, i32) {
        let tenths = (self.strain * 10 + STRAIN_ONE / 2) / STRAIN_ONE;
        let row = usize::try_from(tenths).unwrap_or(0).clamp(1, WEIGHTS.len());
        WEIGHTS.get(row - 1).copied().unwrap_or((0, 0))
    }

    /// Takes in how many of a half round's probes were answered.
    pub(crate) fn judge(&mut self, sent: usize, answered: usize) {
        if answered > 0 {
            if self.silent >= CUT_OFF_TICKS {
                self.sick = 0;
            }
            self.silent = 0;
        } else {
            // Nobody left to be probed is silence too: the last one may have said good-bye.
            self.silent = self.silent.saturating_add(1);
        }
        if sent == 0 {
            return;
        }
        if answered * 2 < sent {
            self.sick = (self.sick + 1).min(SICK_TICKS_MAX);
            self.well = self.well.saturating_sub(RELAPSE_TICKS);
            return;
        }
        self.well += 1;
        if self.well >= WELL_TICKS && !self.is_removed {
            self.sick = 0;
        }
    }

    fn may_return(&self, return_rounds: u32) -> bool {
        let is_sick = self.sick >= SICK_TICKS_MIN;
        let wait = if is_sick { self.sick.saturating_add(return_rounds) } else { 0 };
        self.is_removed && self.well >= wait
    }

    /// Lets a removed agent begin a new life once it has been well for long enough: for as long as
    /// it was sick, and `return_rounds` more if it was sick at all. One that a partition parted
    /// from its observers, and that was never sick, or was alone for long, returns at once.
    pub(crate) fn on_tick(&mut self, table: &mut Table, return_rounds: u32) {
        if self.may_return(return_rounds) {
            (self.sick, self.well, self.is_removed) = (0, 0, false);
            table.begin_new_life();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that heard nobody for so many half rounds, then somebody.
    fn after_silence(ticks: u32) -> Health {
        let mut health = Health::default();
        health.judge(2, 2);
        (0..ticks.min(30)).for_each(|_| health.judge(2, 0));
        // Those whom it could not reach are gone from its table: it is alone.
        (30..ticks).for_each(|_| health.judge(0, 0));
        health.judge(1, 1);
        health
    }

    #[test]
    fn who_was_alone_for_long_is_not_kept_away_for_longer() {
        assert_eq!(after_silence(20).sick, 20);
        assert_eq!(after_silence(CUT_OFF_TICKS - 1).sick, 30);
        assert_eq!(after_silence(CUT_OFF_TICKS).sick, 0);
    }

    #[test]
    fn nobody_left_to_probe_is_silence() {
        let mut health = Health::default();
        (0..30).for_each(|_| health.judge(3, 1));
        // The only one who answered says good-bye; the others are gone from the table.
        (0..CUT_OFF_TICKS).for_each(|_| health.judge(0, 0));
        assert_eq!(health.sick, 30);
        health.judge(1, 1);
        assert_eq!(health.sick, 0);
    }

    #[test]
    fn who_was_well_before_it_fell_sick_waits_all_the_same() {
        let mut health = Health::default();
        (0..100).for_each(|_| health.judge(1, 1));
        (0..10).for_each(|_| health.judge(2, 0));
        assert!(!health.may_return(10), "it was not removed");
        health.on_removed();
        assert!(!health.may_return(10));
        (0..20).for_each(|_| health.judge(1, 1));
        assert!(health.may_return(10));
    }

    #[test]
    fn who_flaps_stays_sick() {
        let mut health = Health::default();
        health.on_removed();
        for _ in 0..10 {
            (0..40).for_each(|_| health.judge(2, 0));
            (0..20).for_each(|_| health.judge(1, 1));
        }
        assert_eq!((health.sick, health.well), (SICK_TICKS_MAX, 20));
    }
}
