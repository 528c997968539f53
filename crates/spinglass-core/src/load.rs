//! Loads: how busy a stream is, and how busy a one somebody bears.
//!
//! A member that caps what it receives can't wait for others to hear that it has too much: a storm
//! would be over it by then. So each packet says how busy its stream is, each row how busy a stream
//! its member bears in full, and everybody computes from both who takes the packet: of a stream
//! twice as busy as one bears, the even half of what one takes ([`Share::under`]).
//!
//! [`Share::under`]: crate::rating::Share::under

use core::time::Duration;

use crate::time::Instant;

/// Steps from one power of two to the next: one is 19 %, and a byte tells any number of bytes.
const STEPS: u8 = 4;
/// The powers of two of the steps, in 2^16ths.
const POWERS: [u64; STEPS as usize] = [65_536, 77_936, 92_682, 110_218];
/// What the steps leave of a share, in 2^16ths.
const SHARES: [u64; STEPS as usize] = [65_536, 55_109, 46_341, 38_968];

/// Bytes per second, as one byte tells them: quarters of an octave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Load(pub u8);

impl Load {
    /// Next to nothing, which everybody bears.
    pub const NONE: Self = Self(0);
    /// More than any stream.
    pub const ANY: Self = Self(u8::MAX);

    /// The largest that is no more than this.
    #[must_use]
    pub fn of(bytes_per_second: u64) -> Self {
        let Some(octave) = bytes_per_second.checked_ilog2() else { return Self::NONE };
        let mantissa = (u128::from(bytes_per_second) << 16 >> octave) as u64;
        let step = POWERS.iter().filter(|power| **power <= mantissa).count().saturating_sub(1);
        Self(octave as u8 * STEPS + step as u8)
    }

    /// In bytes per second.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        let power = POWERS.get(usize::from(self.0 % STEPS)).copied().unwrap_or_default();
        let bytes = u128::from(power) << (self.0 / STEPS) >> 16;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// So many steps more.
    #[must_use]
    pub const fn more(self, steps: u8) -> Self {
        Self(self.0.saturating_add(steps))
    }

    /// What is left of `share` where a stream is so busy and this is what is borne of it.
    pub(crate) fn leaves(self, of: Self, share: u32) -> u32 {
        let steps = of.0.saturating_sub(self.0);
        let part = SHARES.get(usize::from(steps % STEPS)).copied().unwrap_or_default();
        ((u64::from(share) * part) >> 16 >> (steps / STEPS)) as u32
    }
}

/// Parts of the window in which a stream's bytes are counted.
const SLOTS: usize = 10;
/// One part.
const SLOT: Duration = Duration::from_millis(10);
/// Windows in a second.
const WINDOWS: u64 = 10;
/// Packets of a window that count for nothing: two that happen to be close are no storm.
const FREE_PACKETS: u64 = 2;

/// How busy a stream is, as its sender sees it: over the last tenth of a second. A much longer
/// window, and the start of a storm would be there before anybody knew.
#[derive(Debug, Default)]
pub(crate) struct LoadMeter {
    slots: [u64; SLOTS],
    /// The slot counted last, since the clock's zero.
    last: u64,
    load: Load,
}

impl LoadMeter {
    /// Counts a packet, and tells the load with it. It stays what it was in the midst of a message,
    /// which has its receivers; and it falls only where two steps less would do: whatever it is,
    /// everybody computes who takes what under it.
    pub(crate) fn note(&mut self, bytes: usize, is_in_message: bool, now: Instant) -> Load {
        let slot = now.as_nanos() / SLOT.as_nanos() as u64;
        for passed in self.last.max(slot.saturating_sub(SLOTS as u64)) + 1..=slot {
            self.slot_mut(passed).for_each(|slot| *slot = 0);
        }
        self.last = self.last.max(slot);
        self.slot_mut(self.last).for_each(|slot| *slot += bytes as u64);
        let counted = self.slots.iter().sum::<u64>().saturating_sub(FREE_PACKETS * bytes as u64);
        let load = Load::of(counted.saturating_mul(WINDOWS)).more(1);
        if !is_in_message && (load > self.load || load.more(1) < self.load) {
            self.load = load;
        }
        self.load
    }

    fn slot_mut(&mut self, slot: u64) -> impl Iterator<Item = &mut u64> {
        self.slots.iter_mut().skip((slot % SLOTS as u64) as usize).take(1)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_byte_tells_any_number_of_bytes_to_a_fifth() {
        for bytes in [1, 2, 3, 1_000, 48_000, 125_000_000, u64::MAX / 2] {
            let told = Load::of(bytes).bytes_per_second();
            assert!(told <= bytes && bytes - told <= bytes / 5 + 1, "{bytes} as {told}");
            assert_eq!(Load::of(told.max(bytes)), Load::of(bytes));
        }
        assert_eq!([Load::of(0), Load::of(1), Load::of(u64::MAX)], [Load(0), Load(0), Load::ANY]);
        assert!(
            (0..u8::MAX)
                .all(|load| { Load(load).bytes_per_second() <= Load(load + 1).bytes_per_second() })
        );
    }

    #[test]
    fn of_what_is_twice_as_busy_half_is_left() {
        let ceiling = Load::of(1_024);
        let left = |times: u64| ceiling.leaves(Load::of(1_024 * times), 1_000_000);
        assert_eq!([left(1), left(2), left(32)], [1_000_000, 500_000, 31_250]);
        assert_eq!(ceiling.leaves(ceiling.more(1), 1_000_000), 840_896);
        assert_eq!(Load::ANY.leaves(Load::ANY, 7), 7);
    }

    #[test]
    fn a_load_is_that_of_the_last_tenth_of_a_second() {
        let mut meter = LoadMeter::default();
        let mut note =
            |bytes, ms: u64| meter.note(bytes, false, Instant::from_nanos(ms * 1_000_000));
        let steady: Vec<Load> = (0..100).map(|tick| note(1_000, tick * 10)).collect();
        let told = steady.last().unwrap().bytes_per_second();
        assert!((80_000..120_000).contains(&told), "{told}");
        assert_eq!(steady[50], steady[99], "it does not waver");
        let storm: Vec<Load> = (0..100).map(|_| note(1_000, 1_000)).collect();
        assert!(storm[99] > steady[99].more(12), "{storm:?}");
        assert_eq!(
            [note(1_000, 5_000), note(1_000, 5_010)],
            [Load(1), Load(1)],
            "two are no storm"
        );
    }

    #[test]
    fn a_long_message_has_one_load_and_what_follows_it_a_higher_one() {
        let mut meter = LoadMeter::default();
        let first = meter.note(1_000, false, Instant::START);
        assert!((0..100).all(|_| meter.note(1_000, true, Instant::START) == first));
        assert!(meter.note(1_000, false, Instant::START) > first.more(40));
    }
}
