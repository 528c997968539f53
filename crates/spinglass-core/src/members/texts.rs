//! The texts of topics, as far as they are known: a topic's name on the wire is a hash, which says
//! nothing of the patterns that match it.
//!
//! Whoever names a topic here knows its text. Others are asked, where patterns make it matter: the
//! ones that a packet came from, or its sender. A text proves itself: the topic is its hash.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use crate::id::TopicId;

/// Texts remembered. When full, one that others have told is forgotten: it is asked for again as it
/// is needed. Of those that are named here none is, and no further one is remembered.
const TEXTS_MAX: usize = 4096;
/// Topics whose texts are asked for at once. When full, further ones are asked for later.
const ASKED_MAX: usize = 256;
/// Rounds after which a text that nobody has told is asked for again, some times; then each time
/// twice as many, up to 64.
const AGAIN_ROUNDS: u32 = 2;
const AGAIN_TIMES: u32 = 10;
const AGAIN_DOUBLINGS: u32 = 5;
/// Texts told in one round at most: an answer is longer than its question.
const TOLD_PER_ROUND: u32 = 256;

#[derive(Debug)]
struct Known {
    text: Arc<str>,
    /// Whether it was named here.
    is_own: bool,
}

#[derive(Debug, Default)]
pub(super) struct Texts {
    known: BTreeMap<TopicId, Known>,
    /// In which round each was asked for last, and how often.
    asked: BTreeMap<TopicId, (u32, u32)>,
    /// The round in which texts were told last, and how many were.
    told: (u32, u32),
}

impl Texts {
    pub(super) fn of(&self, topic: TopicId) -> Option<&Arc<str>> {
        self.known.get(&topic).map(|known| &known.text)
    }

    /// Learns one that is named here. Returns whether that is news.
    pub(super) fn name(&mut self, topic: TopicId, text: &str) -> bool {
        let is_new = self.learn(topic, text);
        self.known.get_mut(&topic).into_iter().for_each(|known| known.is_own = true);
        is_new
    }

    /// Learns one that others have told. Returns whether that is news.
    pub(super) fn learn(&mut self, topic: TopicId, text: &str) -> bool {
        self.asked.remove(&topic);
        if self.known.contains_key(&topic) || !self.make_room() {
            return false;
        }
        self.known.insert(topic, Known { text: text.into(), is_own: false });
        true
    }

    /// Whether there is room for one more, perhaps by now.
    fn make_room(&mut self) -> bool {
        if self.known.len() < TEXTS_MAX {
            return true;
        }
        let others = self.known.iter().find(|(_, known)| !known.is_own);
        let other = others.map(|(topic, _)| *topic);
        other.is_some_and(|topic| self.known.remove(&topic).is_some())
    }

    /// Whether one is to be asked for in this round; it then counts as asked for. Returns how often
    /// it was before.
    pub(super) fn ask(&mut self, topic: TopicId, round: u32) -> Option<u32> {
        if self.known.contains_key(&topic) {
            return None;
        }
        let wait =
            |times: u32| AGAIN_ROUNDS << times.saturating_sub(AGAIN_TIMES).min(AGAIN_DOUBLINGS);
        let is_due = |(last, times): (u32, u32)| round.saturating_sub(last) >= wait(times);
        let known = self.asked.get(&topic).copied();
        let may = match known {
            Some(known) => is_due(known),
            None => {
                if self.asked.len() >= ASKED_MAX {
                    self.asked.retain(|_, asked| !is_due(*asked));
                }
                self.asked.len() < ASKED_MAX
            }
        };
        may.then(|| {
            let times = known.map_or(0, |(_, times)| times);
            self.asked.insert(topic, (round, times.saturating_add(1)));
            times
        })
    }

    /// Whether one more may be told in this round.
    pub(super) const fn may_tell(&mut self, round: u32) -> bool {
        let (last, count) = self.told;
        self.told = (round, if last == round { count.saturating_add(1) } else { 1 });
        self.told.1 <= TOLD_PER_ROUND
    }

    /// Whether somebody was asked for it, and has not answered.
    pub(super) fn is_asked(&self, topic: TopicId) -> bool {
        self.asked.contains_key(&topic)
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.known.len() <= TEXTS_MAX && self.asked.len() <= ASKED_MAX);
        assert!(self.asked.keys().all(|topic| !self.known.contains_key(topic)));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_text_is_asked_for_now_and_then_until_it_is_known() {
        let (mut texts, topic) = (Texts::default(), TopicId([1; 8]));
        let asked: Vec<u32> =
            (1..=200).filter(|round| texts.ask(topic, *round).is_some()).collect();
        let expected = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 25, 33, 49, 81, 145];
        assert_eq!(asked, expected);
        assert!(texts.is_asked(topic) && texts.learn(topic, "a"));
        assert!(
            texts.ask(topic, 999).is_none() && !texts.learn(topic, "a") && !texts.is_asked(topic)
        );
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let mut texts = Texts::default();
        for number in 0..10_000_u64 {
            let topic = TopicId(number.to_be_bytes());
            texts.ask(topic, number as u32 / 1_000);
            texts.check_invariants();
            texts.learn(topic, "a");
        }
        let told = (0..1_000).filter(|_| texts.may_tell(7)).count();
        assert_eq!((told, texts.may_tell(8)), (256, true));
        texts.check_invariants();
        assert!(texts.of(TopicId(9_999_u64.to_be_bytes())).is_some());
    }

    #[test]
    fn what_is_named_here_is_not_forgotten_for_what_others_tell() {
        let (mut texts, topic) = (Texts::default(), |number: u64| TopicId(number.to_be_bytes()));
        for number in 0..10_000 {
            texts.learn(topic(number), "a");
        }
        assert!(texts.name(topic(3), "own"), "there is room for it");
        for number in 10_000..20_000 {
            texts.learn(topic(number), "a");
        }
        assert!(texts.of(topic(3)).is_some());
        for number in 20_000..30_000 {
            texts.name(topic(number), "own");
        }
        assert!(!texts.learn(topic(1), "a") && texts.of(topic(3)).is_some());
        texts.check_invariants();
    }
}
