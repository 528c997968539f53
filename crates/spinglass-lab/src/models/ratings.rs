//! Gravitational gossip's mechanism: a member is gossiped to in proportion to its susceptibility,
//! and gossips in proportion to its infectivity [FACTS 5].
//!
//! Who is to receive a share `r` of all messages by the time gossip stops has susceptibility
//! `-ln(1 - r)`: whatever the infectivities, who is left unreached falls as e^(-S A), the same A
//! for all.
//!
//! Where gossip is lost, A is less than was fitted. The controller of Adaptive Gravitational Gossip
//! (Hopkinson and others, 2009) has what each class receives change how much is gossiped, and how
//! often its members are chosen.

use spinglass_core::Prng;

use crate::gaps::Gaps;

/// A class of members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Class {
    /// How many.
    pub members: usize,
    /// The share of messages that they are to receive; below one.
    pub rating: f64,
}

/// What a class saw.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seen {
    /// The share of messages received.
    pub received: f64,
    /// Gossip received per message.
    pub heard: f64,
    /// Gossip sent per message.
    pub sent: f64,
    /// How uneven the gaps between messages received are: their standard deviation over their mean.
    pub variation: f64,
}

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratings {
    /// Its classes; messages are sent by members of the first.
    pub classes: Vec<Class>,
    /// How often a member of each class is chosen: in proportion to this.
    pub susceptibility: Vec<f64>,
    /// Rounds of gossip about a message.
    pub rounds: u32,
    /// Gossip of a member of rating 1 per round.
    pub gossip: f64,
    /// The share of gossip that is lost on its way.
    pub loss: f64,
}

/// How often whoever is to receive a share is to be chosen.
fn susceptibility(share: f64) -> f64 {
    -(-share).ln_1p()
}

impl Ratings {
    /// A group that does not gossip yet, and loses nothing.
    #[must_use]
    pub fn new(classes: Vec<Class>, rounds: u32) -> Self {
        let susceptibility = classes.iter().map(|class| susceptibility(class.rating)).collect();
        Self { classes, susceptibility, rounds, gossip: 0.0, loss: 0.0 }
    }

    /// Follows so many messages.
    #[must_use]
    pub fn drawn(&self, messages: u32, seed: u64) -> Vec<Seen> {
        let mut rng = Prng::new(seed).fork("ratings");
        let class_of: Vec<usize> = self.class_of();
        // A member is drawn by where a number falls among all susceptibilities.
        let mut until = Vec::new();
        let mut sum = 0.0;
        for class in &class_of {
            sum += self.susceptibility[*class];
            until.push(sum);
        }
        let mut seen = vec![Seen::default(); self.classes.len()];
        let mut gaps = vec![Gaps::default(); class_of.len()];
        for number in 0..messages {
            let has = self.message(&class_of, &until, &mut seen, &mut rng);
            let got = gaps.iter_mut().zip(has).filter(|(_, has)| *has);
            got.for_each(|(gaps, _)| gaps.add(number.into()));
        }
        for (gaps, class) in gaps.iter().zip(&class_of) {
            seen[*class].variation += gaps.variation();
        }
        for (seen, class) in seen.iter_mut().zip(&self.classes) {
            let all = f64::from(messages) * class.members as f64;
            *seen = Seen {
                received: seen.received / all,
                heard: seen.heard / all,
                sent: seen.sent / all,
                variation: seen.variation / class.members as f64,
            };
        }
        seen
    }

    fn class_of(&self) -> Vec<usize> {
        let classes = self.classes.iter().enumerate();
        classes.flat_map(|(at, class)| std::iter::repeat_n(at, class.members)).collect()
    }

    /// Who has one message in the end.
    fn message(
        &self,
        class_of: &[usize],
        until: &[f64],
        seen: &mut [Seen],
        rng: &mut Prng,
    ) -> Vec<bool> {
        let unit = |rng: &mut Prng| rng.below(1 << 53) as f64 / (1_u64 << 53) as f64;
        let mut has = vec![false; class_of.len()];
        has[rng.index(self.classes[0].members)] = true;
        for _ in 0..self.rounds {
            let holders: Vec<usize> = (0..has.len()).filter(|member| has[*member]).collect();
            for from in holders {
                let wanted = self.gossip * self.classes[class_of[from]].rating;
                let count = wanted.floor() + f64::from(u8::from(unit(rng) < wanted.fract()));
                for _ in 0..count as u32 {
                    let at = unit(rng) * until.last().copied().unwrap_or(0.0);
                    let to = until.partition_point(|it| *it <= at).min(has.len() - 1);
                    seen[class_of[from]].sent += 1.0;
                    if self.loss > 0.0 && unit(rng) < self.loss {
                        continue;
                    }
                    seen[class_of[to]].heard += 1.0;
                    has[to] = true;
                }
            }
        }
        for (member, class) in class_of.iter().enumerate() {
            seen[*class].received += f64::from(u8::from(has[member]));
        }
        has
    }

    /// Answers what each class received of so many messages: all gossip more if all received too
    /// little, and a class is chosen more often if it did worse than the others. Both by a part,
    /// `gain`, of what was missing, since more gossip tells faster, too.
    #[must_use]
    pub fn corrected(mut self, seen: &[Seen], messages: u32, gain: f64) -> Self {
        let wanted = |(class, seen): (&Class, &Seen)| {
            // Of a class that received everything one knows only that it was more than this.
            let most = 1.0 - 0.5 / (f64::from(messages) * class.members as f64);
            let received = seen.received.clamp(1.0 - most, most);
            (susceptibility(class.rating) / susceptibility(received)).ln()
        };
        let wanted: Vec<f64> = self.classes.iter().zip(seen).map(wanted).collect();
        let all = wanted.iter().sum::<f64>() / wanted.len().max(1) as f64;
        self.gossip *= (gain * all).exp();
        for (own, wanted) in self.susceptibility.iter_mut().zip(wanted) {
            *own *= (gain * (wanted - all)).exp();
        }
        self
    }

    /// The gossip per round at which one class receives what it is to: by halving, over so many
    /// messages each.
    #[must_use]
    pub fn fitted(mut self, class: usize, messages: u32, seed: u64) -> Self {
        let (mut low, mut high) = (0.0, 8.0);
        for _ in 0..14 {
            self.gossip = f64::midpoint(low, high);
            let received = self.drawn(messages, seed)[class].received;
            if received < self.classes[class].rating {
                low = self.gossip;
            } else {
                high = self.gossip;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_classes_receive_what_they_asked_for() {
        let classes: Vec<Class> =
            [0.999, 0.75, 0.5, 0.25, 0.1].map(|rating| Class { members: 20, rating }).to_vec();
        let group = Ratings::new(classes, 12).fitted(1, 400, 1);
        let seen = group.drawn(4_000, 2);
        assert!((group.gossip - 0.94).abs() < 0.06, "{}", group.gossip);
        for (seen, class) in seen.iter().zip(&group.classes) {
            assert!((seen.received - class.rating).abs() < 0.015, "{seen:?} {class:?}");
            // As of a coin that is thrown for each message.
            let coin = (1.0 - class.rating).sqrt();
            assert!((seen.variation - coin).abs() < 0.05, "{seen:?} {coin}");
        }
        held_where_a_fifth_is_lost(group);
    }

    fn held_where_a_fifth_is_lost(group: Ratings) {
        let off = |group: &Ratings, seed| {
            let seen = group.drawn(2_000, seed);
            let off = |(seen, class): (&Seen, &Class)| (seen.received - class.rating).abs();
            seen.iter().zip(&group.classes).map(off).fold(0.0, f64::max)
        };
        let lossy = Ratings { loss: 0.2, ..group };
        assert!(off(&lossy, 3) > 0.1, "without a controller shares fall");
        let held = (0..20).fold(lossy, |group, window| {
            let seen = group.drawn(500, 10 + window);
            group.corrected(&seen, 500, 0.3)
        });
        assert!(off(&held, 4) < 0.02, "{} {held:?}", off(&held, 4));
    }
}
