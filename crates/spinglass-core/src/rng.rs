//! The core's own random numbers, so that a run is a function of its seed.
//!
//! xoshiro256++ (Blackman and Vigna, 2019), seeded through SplitMix64. It is not for secrets: keys
//! and salts come from the host.

/// A deterministic generator. Each sub-protocol owns one, forked by label.
#[derive(Debug, Clone)]
pub struct Prng {
    state: [u64; 4],
}

impl Prng {
    /// A generator whose whole sequence follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Self { state: core::array::from_fn(|_| split_mix(&mut mixer)) }
    }

    /// An independent generator for the sub-protocol called `label`.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let mut mixer = label.bytes().fold(self.state[0] ^ self.state[2], |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { state: core::array::from_fn(|_| split_mix(&mut mixer)) }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, without bias worth measuring (Lemire's multiply-shift); 0 if `bound`
    /// is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An index below `length`; 0 if `length` is 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True with probability `parts / 1 000 000`.
    pub fn chance_ppm(&mut self, parts: u32) -> bool {
        self.below(1_000_000) < u64::from(parts)
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// What the FNV-1a hash of no bytes is, of 64 bits.
pub(crate) const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// The FNV-1a hash of bytes, after what is hashed already. For what an adversary may guess.
pub(crate) fn fnv1a(hash: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(hash, step)
}

/// A well-spread function of two numbers; not for secrets.
pub(crate) fn mix(wide: u128, word: u64) -> u64 {
    let mut hash = word;
    for half in [wide as u64, (wide >> 64) as u64] {
        hash = (hash ^ half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 32;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_sequence_and_labels_give_others() {
        let mut first = Prng::new(7);
        let mut again = Prng::new(7);
        let mut fork = Prng::new(7).fork("digest");
        let drawn: [u64; 4] = core::array::from_fn(|_| first.next_u64());
        assert_eq!(drawn, core::array::from_fn(|_| again.next_u64()));
        assert_ne!(drawn, core::array::from_fn(|_| fork.next_u64()));
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = Prng::new(1);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[rng.index(7)] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(rng.below(0), 0);
    }
}
