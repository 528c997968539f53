//! Where messages have been: a member that is asked to notes, of a share of all packets in which
//! messages start, when it made, received, delivered or gave up each, and whom it had it from.
//!
//! Nothing of it travels. All members choose the same packets, by a hash of stream and number, and
//! one member's smaller share is part of another's larger one: whoever gathers what they noted has
//! a message's whole path, sender to last receiver.
//!
//! Invariant: at most [`SIGHTINGS_MAX`] sightings wait for the host; further ones are only counted.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::id::{MemberId, Sequence, StreamId};
use crate::rng::mix;
use crate::time::Instant;

/// Sightings that wait at most: those of a busy turn.
const SIGHTINGS_MAX: usize = 1024;
/// Packets of one gap that are told one by one at most.
const LOST_MAX: u64 = 1024;

/// What this member saw of a packet that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When.
    pub at: Instant,
    /// The packet's stream.
    pub stream: StreamId,
    /// The packet's number.
    pub sequence: Sequence,
    /// What happened to it.
    pub seen: Seen,
}

/// What happened to a packet here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// This member made it.
    Made {
        /// How long the first message that starts in it has waited to be sent.
        waited: Duration,
    },
    /// It came, and was new.
    Received {
        /// Who sent it here: the sender, or who passed it on or held it.
        from: MemberId,
        /// Whether it came because it was missed, and not as it was spread.
        repaired: bool,
    },
    /// A message that starts in it was handed to the application.
    Delivered {
        /// The packet in which the message ends.
        last: Sequence,
        /// Bytes of the message.
        bytes: usize,
    },
    /// It was given up, and told as a gap.
    Lost,
}

/// What is followed, and what was seen of it; nothing, and without room, until somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Tracer(Option<Box<Following>>);

#[derive(Debug, Default)]
struct Following {
    /// Packets whose place is not above this.
    share: u64,
    waiting: VecDeque<Sighting>,
    missed: u64,
}

impl Tracer {
    /// Follows one in so many packets from now on, or none.
    pub(crate) fn follow(&mut self, one_in: Option<NonZeroU32>) {
        let share = one_in.map_or(0, |one_in| u64::MAX / u64::from(one_in.get()));
        if share > 0 || self.0.is_some() {
            self.0.get_or_insert_default().share = share;
        }
    }

    pub(crate) fn note(
        &mut self,
        at: Instant,
        stream: StreamId,
        sequence: u64,
        seen: impl FnOnce() -> Seen,
    ) {
        let Some(following) = &mut self.0 else { return };
        if place(&stream, sequence) > following.share {
            return;
        }
        if following.waiting.len() >= SIGHTINGS_MAX {
            following.missed += 1;
            return;
        }
        let sighting = Sighting { at, stream, sequence: Sequence(sequence), seen: seen() };
        following.waiting.push_back(sighting);
    }

    /// Notes that packets were given up, the first few of a long gap.
    pub(crate) fn note_lost(&mut self, at: Instant, stream: StreamId, from: u64, packets: u64) {
        if self.0.is_some() {
            (from..from.saturating_add(packets.min(LOST_MAX)))
                .for_each(|sequence| self.note(at, stream, sequence, || Seen::Lost));
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Sighting> {
        self.0.as_mut()?.waiting.pop_front()
    }

    /// Sightings for which there was no room.
    pub(crate) fn missed(&self) -> u64 {
        self.0.as_ref().map_or(0, |following| following.missed)
    }
}

/// Where a packet stands among all, evenly and for everybody alike.
fn place(stream: &StreamId, sequence: u64) -> u64 {
    let sender = mix(u128::from_le_bytes(stream.sender.0), stream.incarnation.0);
    let topic = u64::from_le_bytes(stream.topic.0);
    mix(u128::from(sender) << 64 | u128::from(topic), sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, TopicId};
    use std::vec::Vec;

    fn stream(sender: u8) -> StreamId {
        let (topic, sender) = (TopicId([7; 8]), MemberId([sender; 16]));
        StreamId { topic, sender, incarnation: Incarnation(1) }
    }

    fn followed(one_in: u32, packets: u64) -> Vec<(StreamId, Sequence)> {
        let mut tracer = Tracer::default();
        tracer.follow(NonZeroU32::new(one_in));
        let mut followed = Vec::new();
        for sequence in 0..packets {
            for sender in 0..4 {
                tracer.note(Instant::START, stream(sender), sequence, || Seen::Lost);
                followed.extend(tracer.poll().map(|it| (it.stream, it.sequence)));
            }
        }
        followed
    }

    #[test]
    fn a_share_is_as_large_as_it_says_and_within_each_larger_one() {
        assert_eq!(followed(1, 1000).len(), 4000);
        let tenth = followed(10, 5000);
        assert!((1800..2200).contains(&tenth.len()), "{} of 20000", tenth.len());
        assert!(followed(40, 5000).iter().all(|packet| tenth.contains(packet)));
    }

    #[test]
    fn nobody_follows_unasked_and_what_nobody_takes_is_bounded() {
        let mut tracer = Tracer::default();
        tracer.note_lost(Instant::START, stream(1), 0, u64::MAX);
        assert_eq!(tracer.poll(), None);
        tracer.follow(Some(NonZeroU32::MIN));
        tracer.note_lost(Instant::START, stream(1), u64::MAX - 1, 2);
        tracer.note_lost(Instant::START, stream(1), 0, u64::MAX);
        tracer.note(Instant::START, stream(1), 9, || Seen::Lost);
        assert_eq!(core::iter::from_fn(|| tracer.poll()).count(), SIGHTINGS_MAX);
        assert_eq!(tracer.missed(), 2);
    }
}
