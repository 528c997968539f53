//! How much dissemination does not bring: what the plan's rounds follow from.

/// Packets expected before a measured loss counts.
const LOSS_SAMPLE_MIN: u64 = 50;

/// The loss, in parts per million, from which it is more likely that a request or its answer was
/// lost than that whoever was asked lacked the packet, too. It is above one in the fifty packets
/// that a measurement takes at least.
const MUCH_LOSS_PPM: u32 = 30_000;

/// The share of packets that dissemination did not bring.
#[derive(Debug, Default)]
pub(super) struct LossMeter {
    pub(super) expected: u64,
    pub(super) missed: u64,
    pub(super) ppm: u32,
    /// Whether it has been measured at all.
    is_known: bool,
}

impl LossMeter {
    pub(super) fn end_round(&mut self) {
        if self.expected < LOSS_SAMPLE_MIN {
            return;
        }
        // Counts that a member's packets made up are no share of anything: they saturate.
        let missed = self.missed.min(self.expected).saturating_mul(1_000_000);
        let sample = (missed / self.expected).min(1_000_000) as u32;
        self.is_known = true;
        self.ppm = if self.ppm == 0 { sample } else { (self.ppm / 4 * 3) + sample / 4 };
        (self.expected, self.missed) = (0, 0);
    }

    /// Whether little is known to be lost, or nothing.
    pub(super) const fn is_little(&self) -> bool {
        self.is_known && self.ppm < MUCH_LOSS_PPM
    }
}
