//! The perturbation of the papers: members that are stopped and continued in random 100 ms slots.

use std::time::Duration;

use rustix::process::Pid;
use spinglass_core::Prng;
use tokio::time::{MissedTickBehavior, interval};

use crate::herd::set_stopped;

/// The length of a slot [Birman et al. 1999].
pub(crate) const SLOT: Duration = Duration::from_millis(100);

/// Stops and continues processes until it is dropped; then all are continued.
#[derive(Debug)]
pub(crate) struct Sleepers {
    task: tokio::task::JoinHandle<()>,
    pids: Vec<Pid>,
}

impl Sleepers {
    /// In every slot, each process is stopped with this probability, whatever it was before.
    pub(crate) fn start(pids: Vec<Pid>, probability: f64, seed: u64) -> Self {
        let sleepers = pids.clone();
        let parts = ppm(probability);
        let task = tokio::spawn(async move {
            let mut rng = Prng::new(seed).fork("sleepers");
            let mut slots = interval(SLOT);
            slots.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut stopped = vec![false; sleepers.len()];
            loop {
                slots.tick().await;
                for (pid, stopped) in sleepers.iter().zip(&mut stopped) {
                    let stop = rng.chance_ppm(parts);
                    if stop != *stopped {
                        set_stopped(*pid, stop);
                        *stopped = stop;
                    }
                }
            }
        });
        Self { task, pids }
    }

    /// Stops none of them any more.
    pub(crate) fn wake(&self) {
        self.task.abort();
        for pid in &self.pids {
            set_stopped(*pid, false);
        }
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        self.wake();
    }
}

/// A probability in parts per million.
fn ppm(probability: f64) -> u32 {
    // In range after the clamp.
    (probability.clamp(0.0, 1.0) * 1e6).round() as u32
}
