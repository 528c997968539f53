//! Interest: which topics an agent, or anybody in a zone, takes, and how much of each, as rows of
//! the table say it (section 6 of the paper: who forwards what to whom follows from ratings).
//!
//! ```text
//!  list      'L' | ceiling u8 | patterns | (tag 4 | passed over varint)…   by rising tag
//!  filter    'F' | ceiling u8 | patterns | passed over varint | bits 192   3 bits per topic
//!  patterns  count u8 | (tag 4 | passed over varint)…                      by rising tag
//! ```
//!
//! The ceiling tells how busy a stream is borne in full ([`Load`]); that of a zone, the most that
//! anybody in it bears.
//!
//! A tag is the front of a topic's name: two topics with one tag cost those who take one of them
//! what is sent of the other, and nobody a message. Patterns have [tags of their own](Pattern); of
//! more than fit a row says "anything". So does whatever a filter takes for what it
//! holds: whoever reads interest is told too much, never too little. A row that says nothing of it
//! may take everything.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::iter::Take;

use spinglass_summary::{Row, Value};

use crate::id::TopicId;
use crate::load::Load;
use crate::pattern::{Matching, Pattern, Tag};
use crate::rating::{Rating, Share};
use crate::rng::mix;
use crate::wire::{Put, Reader};

/// The attribute that tells it.
pub(crate) const TOPICS: &str = "&topics";
/// Bytes of the longest value: 90 topics of which all is taken, 64 with odd ratings.
const BYTES_MAX: usize = 453;
const LIST: u8 = b'L';
/// Where in a value it stands how many patterns there are.
const PATTERNS_AT: usize = 2;
const FILTER: u8 = b'F';
/// Bytes of a filter: of 300 topics it takes 9 in 100 others for its own.
const FILTER_BYTES: usize = 192;
const FILTER_BITS: u64 = FILTER_BYTES as u64 * 8;
/// Bits set per topic.
const FILTER_HASHES: u64 = 3;
/// Patterns that a row tells at most.
const PATTERNS_MAX: usize = 24;
/// A filter with so many bits set tells a quarter of all topics wrongly, and is not worth its room.
const FILTER_FULL: u32 = FILTER_BITS as u32 * 5 / 8;

type Filter = [u8; FILTER_BYTES];

/// What somebody takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interest {
    topics: Topics,
    patterns: BTreeMap<Tag, Rating>,
    ceiling: Load,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Topics {
    /// These topics, so much of each.
    Some(BTreeMap<Tag, Rating>),
    /// Topics in the filter, at most so much of each.
    Many(Box<Filter>, Rating),
    /// Anything.
    All,
}

impl Interest {
    /// Of whoever takes these, of streams no busier than that in full.
    pub(crate) fn of(topics: impl Iterator<Item = (TopicId, Rating)>, ceiling: Load) -> Self {
        let (mut taken, patterns) = (Topics::Some(BTreeMap::new()), BTreeMap::new());
        topics.for_each(|(topic, rating)| taken.add(tag(topic), rating));
        Self { topics: taken, patterns, ceiling }
    }

    /// The same, and so much of whatever a pattern matches.
    pub(crate) fn and(mut self, pattern: &Pattern, rating: Rating) -> Self {
        add(&mut self.patterns, pattern.tag(), rating);
        self
    }

    /// Of all who have these rows.
    pub(crate) fn of_rows<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        let mut all = Self::of(core::iter::empty(), Load::NONE);
        for row in rows {
            let said = Said::read(said(row).map(AsRef::as_ref));
            let topics = &mut all.topics;
            match said.topics {
                SaidTopics::All => {
                    return Self { topics: Topics::All, ..Self::of([].into_iter(), Load::ANY) };
                }
                SaidTopics::Some(entries) => entries.for_each(|(tag, it)| topics.add(tag, it)),
                SaidTopics::Many(filter, rating) => topics.unite(filter, rating),
            }
            said.patterns.for_each(|(tag, rating)| add(&mut all.patterns, tag, rating));
            all.ceiling = all.ceiling.max(said.ceiling);
        }
        all
    }

    /// As an attribute's value of at most `room` bytes: topic by topic, else as a filter. `None`:
    /// anything, or there is no room.
    pub(crate) fn encode(self, room: usize) -> Option<Value> {
        let Self { topics, patterns, ceiling } = self;
        if patterns.len() > PATTERNS_MAX {
            return None;
        }
        let head = |kind| {
            let mut bytes = alloc::vec![kind, ceiling.0, patterns.len() as u8];
            patterns.iter().for_each(|entry| put_entry(entry, &mut bytes));
            bytes
        };
        let fits = |bytes: &Vec<u8>| Value::bytes(bytes).encoded_bytes() <= room.min(BYTES_MAX);
        if let Topics::Some(topics) = &topics {
            let mut bytes = head(LIST);
            topics.iter().for_each(|entry| put_entry(entry, &mut bytes));
            if fits(&bytes) {
                return Some(Value::bytes(&bytes));
            }
        }
        let (filter, rating) = topics.into_filter()?;
        if filter.iter().map(|byte| byte.count_ones()).sum::<u32>() > FILTER_FULL {
            return None;
        }
        let mut bytes = head(FILTER);
        put_rating(rating, &mut bytes);
        bytes.put(&*filter);
        fits(&bytes).then(|| Value::bytes(&bytes))
    }
}

impl Topics {
    fn add(&mut self, tag: Tag, rating: Rating) {
        match self {
            _ if rating == Rating::NONE => (),
            Self::Some(topics) => add(topics, tag, rating),
            Self::Many(filter, most) => {
                bits(tag).for_each(|(byte, bit)| set(filter, byte, bit));
                *most = rating.max(*most);
            }
            Self::All => (),
        }
    }

    fn unite(&mut self, other: &Filter, rating: Rating) {
        *self = match core::mem::replace(self, Self::All).into_filter() {
            Some((mut filter, most)) => {
                filter.iter_mut().zip(other).for_each(|(own, other)| *own |= other);
                Self::Many(filter, most.max(rating))
            }
            None => Self::All,
        };
    }

    /// `None`: anything.
    fn into_filter(self) -> Option<(Box<Filter>, Rating)> {
        match self {
            Self::All => None,
            Self::Many(filter, rating) => Some((filter, rating)),
            Self::Some(topics) => {
                let mut many = Self::Many(Box::new([0; FILTER_BYTES]), Rating::NONE);
                topics.into_iter().for_each(|(tag, rating)| many.add(tag, rating));
                many.into_filter()
            }
        }
    }
}

fn add(ratings: &mut BTreeMap<Tag, Rating>, tag: Tag, rating: Rating) {
    if rating > Rating::NONE {
        let known = ratings.entry(tag).or_insert(rating);
        *known = rating.max(*known);
    }
}

fn put_entry((tag, rating): (&Tag, &Rating), buffer: &mut Vec<u8>) {
    buffer.put(tag);
    put_rating(*rating, buffer);
}

/// What a row says of topics, as it stands there.
pub(crate) fn said(row: &Row) -> Option<&Arc<[u8]>> {
    match row.get(TOPICS) {
        Some(Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

/// Whether whoever said this takes whatever some pattern matches.
pub(crate) fn has_patterns(said: Option<&[u8]>) -> bool {
    said.and_then(|bytes| bytes.get(PATTERNS_AT)).is_some_and(|count| *count > 0)
}

/// How much of a topic, which these patterns match, whoever said this may take.
pub(crate) fn share_in(said: Option<&[u8]>, topic: TopicId, matching: &Matching) -> Share {
    let wanted = tag(topic);
    let Said { topics, patterns, ceiling } = Said::read(said);
    let matched = patterns.filter(|(tag, _)| matching.has(*tag)).map(|(_, rating)| rating).max();
    let rating = match topics {
        SaidTopics::All => Rating::ALL,
        SaidTopics::Some(mut entries) => {
            entries.find(|(tag, _)| *tag == wanted).map_or(Rating::NONE, |(_, rating)| rating)
        }
        SaidTopics::Many(filter, rating) => {
            let is_set = |(byte, bit): (usize, u8)| filter.get(byte).is_some_and(|it| it & bit > 0);
            if bits(wanted).all(is_set) { rating } else { Rating::NONE }
        }
    };
    let rating = matched.map_or(rating, |matched| rating.max(matched));
    Share { rating: rating.of_topic(topic), ceiling }
}

/// What was said, made out.
struct Said<'a> {
    topics: SaidTopics<'a>,
    patterns: Take<Entries<'a>>,
    ceiling: Load,
}

enum SaidTopics<'a> {
    Some(Entries<'a>),
    Many(&'a Filter, Rating),
    All,
}

/// The entries of a list. What can't be read ends it.
struct Entries<'a>(Reader<'a>);

impl Iterator for Entries<'_> {
    type Item = (Tag, Rating);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.array().ok()?, rating(&mut self.0)?))
    }
}

impl<'a> Said<'a> {
    fn read(said: Option<&'a [u8]>) -> Self {
        said.and_then(Self::parse).unwrap_or_else(|| {
            let patterns = Entries(Reader::new(&[])).take(0);
            Self { topics: SaidTopics::All, patterns, ceiling: Load::ANY }
        })
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8().ok()?;
        let (ceiling, count) = (Load(reader.u8().ok()?), reader.u8().ok()?.into());
        let patterns = Entries(Reader::new(reader.rest())).take(count);
        for _ in 0..count {
            reader.array::<4>().ok()?;
            rating(&mut reader)?;
        }
        let topics = match kind {
            LIST => SaidTopics::Some(Entries(reader)),
            FILTER => SaidTopics::Many(bytes.last_chunk()?, rating(&mut reader)?),
            _ => return None,
        };
        Some(Self { topics, patterns, ceiling })
    }
}

fn tag(topic: TopicId) -> Tag {
    let [a, b, c, d, ..] = topic.0;
    [a, b, c, d]
}

/// The bits of a filter that stand for a topic: which byte, and which of its bits.
fn bits(tag: Tag) -> impl Iterator<Item = (usize, u8)> {
    let drawn = (0..FILTER_HASHES).map(move |number| mix(u32::from_le_bytes(tag).into(), number));
    drawn.map(|drawn| drawn % FILTER_BITS).map(|bit| ((bit / 8) as usize, 1 << (bit % 8)))
}

fn set(filter: &mut Filter, byte: usize, bit: u8) {
    filter.iter_mut().skip(byte).take(1).for_each(|byte| *byte |= bit);
}

/// Ratings are told as what is passed over, in millionths: everything is one byte.
fn put_rating(rating: Rating, buffer: &mut Vec<u8>) {
    buffer.put_varint((Rating::ALL.millionths() - rating.millionths()).into());
}

fn rating(reader: &mut Reader<'_>) -> Option<Rating> {
    let passed_over = u32::try_from(reader.varint().ok()?).ok()?;
    let millionths = Rating::ALL.millionths().checked_sub(passed_over)?;
    Rating::from_millionths(millionths).ok()
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use spinglass_summary::{Name, RowBuilder};

    use super::*;

    fn topic(number: u32) -> TopicId {
        let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_le_bytes();
        TopicId([a, b, c, d, 0, 0, 0, 0])
    }

    fn row(interest: Interest) -> Row {
        let mut builder = RowBuilder::default();
        let value = interest.encode(usize::MAX);
        value.into_iter().for_each(|value| builder.set(Name::new(TOPICS).unwrap(), value));
        builder.build()
    }

    fn of_topics(topics: impl Iterator<Item = (TopicId, Rating)>) -> Interest {
        Interest::of(topics, Load::ANY)
    }

    fn of(row: &Row, number: u32) -> Rating {
        share_in(said(row).map(AsRef::as_ref), topic(number), &Matching::Any).rating
    }

    fn share(share: f64) -> Rating {
        Rating::new(share).unwrap()
    }

    /// Who takes all of these.
    fn taker(topics: core::ops::Range<u32>) -> Row {
        row(of_topics(topics.map(|number| (topic(number), Rating::ALL))))
    }

    #[test]
    fn a_row_tells_what_is_taken_of_each_topic() {
        let taken = [(topic(1), Rating::ALL), (topic(2), share(0.01)), (topic(3), Rating::NONE)];
        let row = row(of_topics(taken.into_iter()));
        let read = [1, 2, 3, 4].map(|number| of(&row, number));
        assert_eq!(read, [Rating::ALL, share(0.01), Rating::NONE, Rating::NONE]);
    }

    #[test]
    fn a_row_that_says_nothing_takes_all_and_so_does_one_that_cannot_be_read() {
        assert_eq!(of(&Row::default(), 1), Rating::ALL);
        for bytes in [&b""[..], b"?", b"F", b"F\x00\x00\x01", b"L\x00\x01abcd"] {
            let mut builder = RowBuilder::default();
            builder.set(Name::new(TOPICS).unwrap(), Value::bytes(bytes));
            assert_eq!(of(&builder.build(), 1), Rating::ALL, "{bytes:?}");
        }
    }

    #[test]
    fn a_zone_takes_the_most_that_anybody_in_it_takes() {
        let one = row(of_topics([(topic(1), share(0.2)), (topic(2), share(0.5))].into_iter()));
        let other = row(of_topics([(topic(1), share(0.3))].into_iter()));
        let zone = row(Interest::of_rows([&one, &other].into_iter()));
        let read = [1, 2, 3].map(|number| of(&zone, number));
        assert_eq!(read, [share(0.3), share(0.5), Rating::NONE]);
        let all = Interest::of_rows([&one, &Row::default()].into_iter());
        assert_eq!(all.topics, Topics::All);
    }

    #[test]
    fn a_zone_bears_what_the_one_in_it_does_that_bears_most() {
        let bearing = |ceiling| row(Interest::of([(topic(1), share(0.2))].into_iter(), ceiling));
        let rows = [bearing(Load(40)), bearing(Load(60)), bearing(Load(20))];
        let zone = row(Interest::of_rows(rows.iter()));
        let taken = share_in(said(&zone).map(AsRef::as_ref), topic(1), &Matching::Any);
        assert_eq!(taken, Share { rating: share(0.2), ceiling: Load(60) });
    }

    #[test]
    fn what_does_not_fit_a_list_is_told_too_much_of_never_too_little() {
        let zone = row(Interest::of_rows([&taker(0..80), &taker(80..300)].into_iter()));
        assert!((0..300).all(|number| of(&zone, number) == Rating::ALL));
        let others = (1_000..2_000).filter(|number| of(&zone, *number) > Rating::NONE);
        let others = others.count();
        assert!((1..200).contains(&others), "{others} of 1,000 others");
        let samples = (0..200).map(|number| (topic(number), share(0.1)));
        assert_eq!(of(&row(of_topics(samples)), 7), share(0.1));
        assert_eq!(of(&taker(0..2_000), 5_000), Rating::ALL, "too many to tell");
    }

    #[test]
    fn patterns_are_told_beside_topics_and_united() {
        let pattern = |text| Pattern::new(text).unwrap();
        let of = |row: &Row, matching: &Matching| {
            share_in(said(row).map(AsRef::as_ref), topic(9), matching).rating
        };
        let taking = |pattern: &Pattern, topics| {
            row(of_topics((0..topics).map(|it| (topic(it + 10), Rating::ALL)))
                .and(pattern, share(0.2)))
        };
        let matching = Matching::of("grid/ny/hz");
        for topics in [0, 3, 200] {
            let (one, other) = (pattern("grid/+/hz"), pattern("trade/#"));
            let [one, other] = [taking(&one, topics), taking(&other, topics)];
            let rest = of(&other, &matching);
            assert_eq!(of(&one, &matching), rest.max(share(0.2)), "{topics} topics");
            assert!(topics > 3 || rest == Rating::NONE);
            let zone = row(Interest::of_rows([&one, &other].into_iter()));
            assert!(has_patterns(said(&zone).map(AsRef::as_ref)));
            assert!(of(&zone, &matching) >= share(0.2) && of(&zone, &Matching::Any) >= share(0.2));
        }
        assert!(!has_patterns(said(&taker(0..9)).map(AsRef::as_ref)));
        let many = (0..30).map(|at| Pattern::new(&format!("{at}/#")).unwrap());
        let many = many.fold(of_topics([].into_iter()), |all, it| all.and(&it, share(0.1)));
        assert_eq!(of(&row(many), &matching), Rating::ALL, "too many to tell");
    }

    #[test]
    fn little_room_makes_it_shorter_and_none_makes_it_all() {
        let taking = |topics: u32| of_topics((0..topics).map(|it| (topic(it), Rating::ALL)));
        let bytes = |interest: Interest, room| interest.encode(room).map(|it| it.encoded_bytes());
        assert!(bytes(taking(80), 250).unwrap() < 250, "a filter");
        assert_eq!(bytes(taking(80), 100), None);
        assert!(bytes(taking(10), 100).unwrap() < 100, "a list");
    }
}
