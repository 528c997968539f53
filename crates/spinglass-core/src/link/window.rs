//! Replay windows: which counters of a boot were seen.

use alloc::boxed::Box;

/// Counters below the highest one that are still told apart. It must cover what waits in a socket's
/// receive buffer while another socket is read: 4 MiB / 576 B.
const WINDOW_COUNTERS: u64 = 8192;
/// The last of the counters, which have 48 bits.
const COUNTER_MAX: u64 = (1 << 48) - 1;
const WINDOW_WORDS: usize = (WINDOW_COUNTERS / 64) as usize;
/// Counters below the highest one that are told apart of a boot that has sent little: a member that
/// gossips with thousands of others is to stay small.
const SMALL_WINDOW_COUNTERS: u64 = u128::BITS as u64;
/// Datagrams after which a boot gets a full window.
const SMALL_WINDOW_DATAGRAMS: u8 = 64;

/// Which counters of a boot were seen: everything below the window counts as seen. As few bits as
/// do.
#[derive(Debug)]
pub enum Window {
    /// Of a boot that has sent little.
    Small {
        /// One above the highest counter seen.
        end: [u8; 6],
        /// How many datagrams came.
        datagrams: u8,
        /// The counters below the end, the highest in the lowest bit; in little-endian order.
        bits: [u8; 16],
    },
    /// Of one that has sent much.
    Large(Box<Large>),
}

/// A full window.
#[derive(Debug)]
pub struct Large {
    /// One above the highest counter seen.
    end: u64,
    /// Bit `counter % WINDOW_COUNTERS`, for counters in the window.
    words: [u64; WINDOW_WORDS],
    /// Counters below this, which were too old for the small window, count as seen.
    floor: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self::Small { end: [0; 6], datagrams: 0, bits: [0; 16] }
    }
}

impl Window {
    /// Whether `counter` was seen, or is too old to tell.
    #[must_use]
    pub fn contains(&self, counter: u64) -> bool {
        match self {
            Self::Small { end, bits, .. } => {
                let Some(age) = wide(*end).checked_sub(counter + 1) else { return false };
                age >= SMALL_WINDOW_COUNTERS || u128::from_le_bytes(*bits) >> age & 1 == 1
            }
            Self::Large(large) => {
                let Some(age) = large.end.checked_sub(counter + 1) else { return false };
                #[cfg(not(spinglass_bug = "replay_window"))]
                let outside = age >= WINDOW_COUNTERS;
                #[cfg(spinglass_bug = "replay_window")]
                let outside = age > u64::MAX;
                counter < large.floor || outside || large.contains(counter)
            }
        }
    }

    /// Marks `counter` as seen.
    pub fn insert(&mut self, counter: u64) {
        let Self::Small { end, datagrams, bits } = self else {
            if let Self::Large(large) = self {
                large.insert(counter);
            }
            return;
        };
        let (old_end, seen) = (wide(*end), u128::from_le_bytes(*bits));
        let advance = (counter + 1).saturating_sub(old_end);
        *datagrams += 1;
        if *datagrams > SMALL_WINDOW_DATAGRAMS || counter >= COUNTER_MAX {
            let mut large = Box::new(Large::of(seen, old_end));
            large.insert(counter);
            *self = Self::Large(large);
            return;
        }
        let new_end = old_end.max(counter + 1);
        let seen = seen.checked_shl(u32::try_from(advance).unwrap_or(u32::MAX)).unwrap_or(0);
        let age = new_end - 1 - counter;
        let own = if age < SMALL_WINDOW_COUNTERS { 1 << age } else { 0 };
        *bits = (seen | own).to_le_bytes();
        let [low @ .., _, _] = new_end.to_le_bytes();
        *end = low;
    }
}

const fn wide([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

impl Large {
    /// What was seen of the counters below `end`. What was too old for those stays refused.
    fn of(bits: u128, end: u64) -> Self {
        let floor = end.saturating_sub(SMALL_WINDOW_COUNTERS);
        let mut large = Self { end, words: [0; WINDOW_WORDS], floor };
        for counter in large.floor..end {
            let age = end - 1 - counter;
            large.set(counter, bits >> age & 1 == 1);
        }
        large
    }

    fn insert(&mut self, counter: u64) {
        let advance = (counter + 1).saturating_sub(self.end);
        for skipped in 0..advance.min(WINDOW_COUNTERS) {
            self.set(counter - skipped, false);
        }
        self.set(counter, true);
        self.end = self.end.max(counter + 1);
    }

    fn place(counter: u64) -> (usize, u32) {
        let index = counter % WINDOW_COUNTERS;
        ((index / 64) as usize, (index % 64) as u32)
    }

    fn contains(&self, counter: u64) -> bool {
        let (word, bit) = Self::place(counter);
        self.words.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn set(&mut self, counter: u64, seen: bool) {
        let (word, bit) = Self::place(counter);
        if let Some(word) = self.words.get_mut(word) {
            *word = *word & !(1 << bit) | u64::from(seen) << bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        /// Against a set that remembers everything: what the window calls new was never inserted,
        /// and what it refuses was inserted or is old.
        #[test]
        fn a_window_never_accepts_twice(
            steps in prop::collection::vec((0_u64..40, 0_u64..9000), 1..400),
        ) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            let mut base = 0;
            for (forward, back) in steps {
                base += forward * forward;
                let counter = base.saturating_sub(back);
                if window.contains(counter) {
                    let old = seen.last().is_some_and(|last| last - counter >= 127);
                    prop_assert!(seen.contains(&counter) || old);
                } else {
                    prop_assert!(!seen.contains(&counter), "accepted {counter} twice");
                    window.insert(counter);
                    seen.insert(counter);
                }
            }
        }
    }

    #[test]
    fn a_busy_boot_is_told_apart_over_the_whole_window() {
        let mut window = Window::default();
        for counter in (0..20_000).step_by(2) {
            assert!(!window.contains(counter));
            window.insert(counter);
        }
        assert!(!window.contains(19_998 - 8191 + 2), "odd counters in the window are new");
        assert!(window.contains(19_998 - 8192), "older ones are refused");
        assert!(window.contains(19_998 - 8193), "odd ones too");
    }
}
