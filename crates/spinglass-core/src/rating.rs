//! Ratings: which share of a topic's messages a subscriber takes (Gravitational Gossip: Jenkins,
//! Hopkinson, Birman, 2001; section 6 of the paper).
//!
//! The paper's mechanism gossips to a member as often as its rating says, so chance decides what it
//! gets. Here a packet's number decides: each has a *rank* below one, and a member takes it if its
//! rating is larger. So a sample is
//! - *nested*: who takes a fifth takes a part of what one that takes half does, and can ask it;
//! - *even in time*: ranks are a radical inverse (van der Corput, 1935) in the bases 5, 2, 5, 2, …,
//!   so a fifth is every fifth packet, a tenth every tenth, a hundredth every hundredth;
//! - *the same for all* that have the same rating, with no word about it.

use core::fmt;
use core::str::FromStr;

use crate::id::{StreamId, TopicId};
use crate::load::Load;
use crate::rng::mix;

/// What a rank and a rating are counted in: six pairs of the bases 5 and 2.
const ONE: u32 = 1_000_000;
const PAIRS: u32 = 6;

/// The share of a topic's messages that a member takes, from none to all, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rating(u32);

/// A rating is a share: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoShare;

impl fmt::Display for NoShare {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a rating is a share between 0 (nothing) and 1 (everything)")
    }
}

impl core::error::Error for NoShare {}

impl Rating {
    /// Everything, with every guarantee.
    pub const ALL: Self = Self(ONE);
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// A share of all messages, rounded to a millionth.
    ///
    /// # Errors
    /// It is none: below 0, above 1, or not a number.
    pub fn new(share: f64) -> Result<Self, NoShare> {
        if !(0.0..=1.0).contains(&share) {
            return Err(NoShare);
        }
        // Rounded: `no_std` has no `round`, and it is not negative.
        Ok(Self((share * f64::from(ONE) + 0.5) as u32))
    }

    /// So many millionths.
    ///
    /// # Errors
    /// They are more than one.
    pub const fn from_millionths(millionths: u32) -> Result<Self, NoShare> {
        if millionths > ONE { Err(NoShare) } else { Ok(Self(millionths)) }
    }

    /// What whoever takes so much of a topic takes of a name of it: of what is
    /// [for all](TopicId::for_all), everything.
    pub(crate) fn of_topic(self, topic: TopicId) -> Self {
        if topic.is_for_all() && self > Self::NONE { Self::ALL } else { self }
    }

    /// In millionths.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// As a share, 0 to 1.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(ONE)
    }
}

impl Default for Rating {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for Rating {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.share())
    }
}

impl FromStr for Rating {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        text.parse().map_err(|_| NoShare).and_then(Self::new)
    }
}

/// What a member takes of a topic: a share of all packets, of streams that are busier than it bears
/// the less ([`Load`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Of a stream that it bears.
    pub rating: Rating,
    /// The busiest stream that it bears.
    pub ceiling: Load,
}

impl Share {
    /// Everything, however busy.
    pub const ALL: Self = Self { rating: Rating::ALL, ceiling: Load::ANY };
    /// Nothing.
    pub const NONE: Self = Self { rating: Rating::NONE, ceiling: Load::NONE };

    /// The share of a stream that is so busy. Of something, however little, something is left.
    #[must_use]
    pub fn under(self, load: Load) -> Rating {
        if load <= self.ceiling {
            return self.rating;
        }
        Rating(self.ceiling.leaves(load, self.rating.0).max(1).min(self.rating.0))
    }

    /// What two take together, at most.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let ceiling = match (self.rating, other.rating) {
            (_, Rating::NONE) => self.ceiling,
            (Rating::NONE, _) => other.ceiling,
            _ => self.ceiling.max(other.ceiling),
        };
        Self { rating: self.rating.max(other.rating), ceiling }
    }
}

/// Which packets of one stream a share takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sieve {
    share: Share,
    /// Where in the sequence of ranks the stream begins: streams that send in step would otherwise
    /// be taken in step, a burst each time.
    offset: u64,
}

impl Sieve {
    /// That of a stream.
    #[must_use]
    pub fn new(share: Share, stream: &StreamId) -> Self {
        Self { share, offset: offset_of(stream) }
    }

    /// What is taken of all.
    #[must_use]
    pub const fn share(&self) -> Share {
        self.share
    }

    /// The share of all packets, where no stream is too busy.
    #[must_use]
    pub const fn rating(&self) -> Rating {
        self.share.rating
    }

    /// Whether the packet of this number is meant for whoever takes this share.
    #[must_use]
    pub fn takes(&self, sequence: u64) -> bool {
        self.is_within(sequence, self.share.rating)
    }

    /// Whether it is sent there, too, where the stream is so busy.
    #[must_use]
    pub fn bears(&self, sequence: u64, load: Load) -> bool {
        self.is_within(sequence, self.share.under(load))
    }

    fn is_within(&self, sequence: u64, rating: Rating) -> bool {
        rating == Rating::ALL || rank(self.offset.wrapping_add(sequence)) < rating.0
    }
}

/// What decides who takes a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketKey {
    pub(crate) stream: StreamId,
    pub(crate) sequence: u64,
    /// How busy the stream was.
    pub(crate) load: Load,
}

/// The largest rating that does not take a packet.
pub(crate) fn too_small(packet: &PacketKey) -> Rating {
    Rating(rank(offset_of(&packet.stream).wrapping_add(packet.sequence)))
}

fn offset_of(stream: &StreamId) -> u64 {
    let topic = u64::from_le_bytes(stream.topic.0);
    mix(u128::from_le_bytes(stream.sender.0), topic) % u64::from(ONE)
}

/// A number's rank, in millionths; every million numbers in a row have each one once.
fn rank(number: u64) -> u32 {
    let (mut rest, mut rank, mut unit) = ((number % u64::from(ONE)) as u32, 0, ONE);
    for _ in 0..PAIRS {
        // Every other one of five first: two fifths are then two and three apart.
        let fifth = rest % 5 * 3 % 5;
        unit /= 5;
        rank += fifth * unit;
        let half = rest / 5 % 2;
        unit /= 2;
        rank += half * unit;
        rest /= 10;
    }
    rank
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn sieve(share: f64) -> Sieve {
        let rating = Rating::new(share).unwrap();
        Sieve::new(Share { rating, ceiling: Load::ANY }, &StreamId::default())
    }

    /// The gaps between the numbers taken, of so many.
    fn gaps(share: f64, numbers: u64) -> Vec<u64> {
        let sieve = sieve(share);
        let taken: Vec<u64> = (0..numbers).filter(|number| sieve.takes(*number)).collect();
        taken.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn every_million_numbers_have_every_rank() {
        let mut seen = alloc::vec![false; ONE as usize];
        (7..7 + u64::from(ONE)).for_each(|number| seen[rank(number) as usize] = true);
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn a_fifth_is_every_fifth() {
        for (share, apart) in [(0.2, 5), (0.1, 10), (0.02, 50), (0.01, 100), (0.001, 1_000)] {
            assert!(gaps(share, 20_000).iter().all(|gap| *gap == apart), "{share}");
        }
        assert!(gaps(0.4, 1_000).iter().all(|gap| (2..=3).contains(gap)));
    }

    #[test]
    fn a_share_is_taken_of_any_run() {
        for share in [0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 0.75, 0.9, 1.0] {
            let sieve = sieve(share);
            for start in [0, 17, 123_456, 1 << 60] {
                let taken = (start..start + 10_000).filter(|at| sieve.takes(*at)).count();
                let off = (taken as f64 / 10_000.0 - share).abs();
                assert!(off < 0.000_5, "{share} from {start}: off by {off}");
            }
        }
    }

    #[test]
    fn who_takes_less_takes_a_part_of_what_one_takes_who_takes_more() {
        let (less, more) = (sieve(0.37), sieve(0.62));
        assert!((0..10_000).all(|number| !less.takes(number) || more.takes(number)));
        assert!((0..10_000).all(|number| !sieve(0.0).takes(number) && sieve(1.0).takes(number)));
    }

    /// As docs/wire.md says it.
    #[test]
    fn a_rank_is_made_of_decimal_digits() {
        for number in [0_u32, 5, 123_456, 999_999, 700_001] {
            let digit = |at: u32| number / 10_u32.pow(at) % 10;
            let worth = |at: u32| 10_u32.pow(PAIRS - 1 - at);
            let of = |at| (digit(at) * 3 % 5 * 2 + digit(at) / 5 % 2) * worth(at);
            assert_eq!(rank(number.into()), (0..PAIRS).map(of).sum::<u32>());
        }
    }

    #[test]
    fn a_rating_takes_what_is_not_too_much_for_it() {
        let stream = StreamId::default();
        let sieve = sieve(0.3);
        for number in 0..1_000 {
            let too_small = too_small(&PacketKey { stream, sequence: number, load: Load::NONE });
            assert_eq!(sieve.takes(number), sieve.rating() > too_small);
            assert!(Rating::ALL > too_small);
        }
    }

    #[test]
    fn of_a_stream_busier_than_one_bears_a_part_of_ones_share_is_left() {
        let ceiling = Load::of(8_192);
        let share = Share { rating: Rating::new(0.5).unwrap(), ceiling };
        let sieve = Sieve::new(share, &StreamId::default());
        let (calm, storm) = (ceiling, Load::of(8_192 * 32));
        assert_eq!(share.under(calm), share.rating);
        let left = |number: &u64| sieve.bears(*number, storm);
        let taken: Vec<u64> = (0..64_000).filter(left).collect();
        assert!((995..1_005).contains(&taken.len()), "a thirty-second of half: {}", taken.len());
        assert!(taken.iter().all(|number| sieve.bears(*number, calm)), "nested");
        let apart = taken.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(apart.clone().max() < Some(130) && apart.min() > Some(30), "even");
        assert!(Share::NONE.under(Load::ANY) == Rating::NONE);
    }

    #[test]
    fn only_shares_are_ratings() {
        for text in ["-0.1", "1.01", "NaN", "inf", "", "half"] {
            assert_eq!(text.parse::<Rating>(), Err(NoShare), "{text}");
        }
        assert_eq!("0.2".parse::<Rating>().map(Rating::millionths), Ok(200_000));
        assert_eq!(Rating::from_millionths(1_000_001), Err(NoShare));
    }
}
