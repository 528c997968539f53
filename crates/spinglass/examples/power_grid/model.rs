//! A small model of a power grid: regions that each keep a frequency, joined by lines.
//!
//! A region's frequency follows the swing equation (Kundur, *Power System Stability and Control*,
//! 1994, 3.9 and 11.1): it rises while more is made than used, by as much as its masses let it.
//! What flows along a line follows the angle between the regions that it joins. All power is a
//! share of what a region can make.

use std::f64::consts::TAU;

/// The frequency that all regions ought to have, in hertz.
pub(crate) const NOMINAL_HZ: f64 = 60.0;
/// Seconds for which a region's masses could make its power: what a fleet of turbines has.
const INERTIA_S: f64 = 5.0;
/// How much less is used per share of the frequency that is missing.
const DAMPING: f64 = 1.0;
/// How much power a line carries per radian.
const LINE: f64 = 0.1;
/// The share of the frequency that makes a producer give all it has ("droop").
const DROOP: f64 = 0.05;
/// Seconds in which a producer gets two thirds of the way to what it wants to make: a battery.
const PRODUCER_S: f64 = 0.3;

/// One region.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) hz: f64,
    angle: f64,
    made: f64,
    /// What its consumers use.
    pub(crate) used: f64,
    /// What its producer wants to make.
    pub(crate) wanted: f64,
}

/// Regions in a ring.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) regions: Vec<Region>,
    seconds: f64,
    noise: u64,
}

impl Grid {
    pub(crate) fn new(regions: usize) -> Self {
        let calm = Region { hz: NOMINAL_HZ, angle: 0.0, made: 0.8, used: 0.8, wanted: 0.8 };
        Self { regions: vec![calm; regions], seconds: 0.0, noise: 1 }
    }

    /// Lets time pass, a step of some milliseconds. In a storm consumers come and go.
    pub(crate) fn step(&mut self, seconds: f64, is_storm: bool) {
        self.seconds += seconds;
        let count = self.regions.len();
        let before = self.regions.clone();
        for at in 0..count {
            let swing = if is_storm { 0.1 } else { 0.01 };
            let day = (self.seconds / 10.0 + at as f64).sin() * 0.02;
            let target = 0.8 + day + swing * self.draw();
            let (left, own, right) =
                (&before[(at + count - 1) % count], before[at], &before[(at + 1) % count]);
            let flowing = LINE * (left.angle + right.angle - 2.0 * own.angle);
            let off = (own.hz - NOMINAL_HZ) / NOMINAL_HZ;
            let surplus = own.made - own.used + flowing - DAMPING * off;
            let region = &mut self.regions[at];
            region.hz += surplus * NOMINAL_HZ / (2.0 * INERTIA_S) * seconds;
            region.angle += (own.hz - NOMINAL_HZ) * TAU * seconds;
            region.used += (target - own.used) * seconds;
            region.made += (own.wanted - own.made) * (seconds / PRODUCER_S);
        }
    }

    /// A number between -1 and 1 (xorshift: Marsaglia, 2003).
    fn draw(&mut self) -> f64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        (self.noise >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// What a producer wants to make, by what it has heard: the load of its contract, and its region's
/// frequency.
pub(crate) fn wanted(load: f64, hz: f64) -> f64 {
    (load - (hz - NOMINAL_HZ) / NOMINAL_HZ / DROOP).clamp(0.0, 1.0)
}

#[test]
fn producers_that_hear_hold_the_frequency_and_deaf_ones_do_not() {
    let farthest = |hears: bool| {
        let mut grid = Grid::new(4);
        let mut worst = 0.0_f64;
        for _ in 0..5_000 {
            grid.step(0.01, true);
            for region in &mut grid.regions {
                region.wanted = if hears { wanted(region.used, region.hz) } else { 0.75 };
                worst = worst.max((region.hz - NOMINAL_HZ).abs());
            }
        }
        worst
    };
    assert!(farthest(true) < 0.2, "{}", farthest(true));
    assert!(farthest(false) > 1.0, "{}", farthest(false));
}
