//! A classic group under load: an eager sender, members that sleep, and what a healthy member gets.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use spinglass_sim::scenario::Summary;
use spinglass_sim::scenario::perturb::{SAMPLE, WARM_UP};

use super::{SettingError, within};
use crate::opponents::virtual_synchrony::{Settings, VirtualSynchrony};
use crate::stage::{Audience, Costs, Stage, Wires};

/// How far an application that was blocked lags behind its pace at most: it does not make up for
/// more than that.
const ARREARS_MAX: Duration = Duration::from_secs(1);

/// What a group is sent, and what that costs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Messages per second.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
    /// What a host of the paper's time takes for a datagram, in microseconds; what it takes for an
    /// acknowledgement is what makes the classic protocol's knee move with the group.
    pub datagram_us: u64,
    /// The same for each KiB.
    pub kibibyte_us: u64,
}

impl Load {
    /// Whether it can be run, with messages of at most so many bytes.
    pub(super) fn check(&self, bytes_max: usize) -> Result<(), SettingError> {
        within("load.rate", [self.rate as f64], 1.0, 10_000.0)?;
        within("load.bytes", [self.bytes as f64], 1.0, bytes_max as f64)?;
        within("load.datagram_us", [self.datagram_us as f64], 0.0, 10_000.0)?;
        within("load.kibibyte_us", [self.kibibyte_us as f64], 0.0, 10_000.0)
    }

    /// What hosts take that are so many times faster.
    pub(super) fn costs(&self, faster: u32) -> Costs {
        Costs {
            datagram: Duration::from_micros(self.datagram_us) / faster,
            kibibyte: Duration::from_micros(self.kibibyte_us) / faster,
        }
    }
}

/// What is run.
#[derive(Debug, Clone)]
pub(super) struct Classic {
    /// The group's size. Member 0 sends, the last one is looked at.
    pub members: usize,
    /// The protocol's settings.
    pub settings: Settings,
    /// What processors take.
    pub costs: Costs,
    /// Who sleeps, and in which share of slots.
    pub sleepers: Vec<(usize, f64)>,
    /// The share of datagrams that is lost.
    pub loss: f64,
    /// How much longer than usual a datagram takes at most.
    pub delay: Duration,
    /// Messages per second.
    pub rate: u64,
    /// Bytes per message.
    pub bytes: usize,
    /// Samples.
    pub samples: usize,
    /// The seed.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Messages per second at the member that is looked at.
    pub throughput: Summary,
    /// Views that the sender has been through.
    pub views: u64,
    /// The share of members that are outside their group, on average.
    pub outside: f64,
}

/// Counts what one member hears.
struct Listener {
    member: usize,
    heard: u64,
}

impl Audience for Listener {
    fn delivered(&mut self, _at: u64, member: usize, _sender: usize, _sequence: u64) {
        self.heard += u64::from(member == self.member);
    }
}

impl Classic {
    fn stage(&self) -> Stage<VirtualSynchrony> {
        let member = |own| VirtualSynchrony::new(own, self.members, self.settings);
        let members = (0..self.members).map(member).collect();
        let (least, most) = (Duration::from_micros(50), Duration::from_micros(250) + self.delay);
        let wires = Wires::Flat { least, most, loss_ppm: (self.loss * 1e6) as u32 };
        let mut stage = Stage::new(members, wires, self.costs, self.seed);
        for (member, share) in &self.sleepers {
            stage.set_sleep(*member, (share * 1e6) as u32);
        }
        stage
    }

    /// The sender's application is at its pace, or makes up for it.
    pub(super) fn run(&self) -> Seen {
        let mut stage = self.stage();
        let mut listener = Listener { member: self.members - 1, heard: 0 };
        let gap = Duration::from_nanos(1_000_000_000 / self.rate);
        let arrears_max = (ARREARS_MAX.as_nanos() / gap.as_nanos()) as u64;
        let per_sample = SAMPLE.as_nanos() / gap.as_nanos();
        let warm_up = (WARM_UP.as_nanos() / SAMPLE.as_nanos()) as usize;
        let (mut samples, mut arrears, mut outside, mut views) = (Vec::new(), 0, 0, 0);
        for sample in 0..warm_up + self.samples {
            listener.heard = 0;
            for _ in 0..per_sample {
                arrears = (arrears + 1).min(arrears_max);
                // It looks several times while it is behind, as a blocked writer is woken.
                for _ in 0..4 {
                    while arrears > 0 && stage.publish(0, self.bytes, &mut listener) {
                        arrears -= 1;
                    }
                    stage.run(gap / 4, &mut listener);
                }
            }
            if sample < warm_up {
                views = stage.member(0).views();
                continue;
            }
            samples.push(listener.heard as f64 / SAMPLE.as_secs_f64());
            outside += (0..self.members).filter(|at| stage.member(*at).is_outside()).count();
        }
        Seen {
            throughput: Summary::of(&samples),
            views: stage.member(0).views() - views,
            outside: outside as f64 / (self.members * samples.len()) as f64,
        }
    }
}
