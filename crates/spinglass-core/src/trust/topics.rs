//! Who may publish on which topic, where a topic is known by the hash of its text.
//!
//! What a rule says of one topic, without stars, can be checked by the hash. A pattern with stars
//! can be checked by those who know the text: whoever publishes or subscribes. Everybody else takes
//! such a rule for one that might be about the topic: it allows, and does not deny; only `**` is
//! about every topic. So a relay that does not know the text lets pass what some rule could allow.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::crypto::Crypto;
use crate::id::{MemberId, TopicId};
use crate::identity::SpiffeId;
use crate::rules::{Action, ActionPattern, Effect, Policy, Rule};

/// Decisions kept. When full, all are forgotten, and made again as they are needed.
const DECISIONS_MAX: usize = 16_384;

/// Which topics a rule's patterns are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    This,
    Perhaps,
    Other,
}

#[derive(Debug, Default)]
pub(super) struct Topics {
    /// The topics that rules name without stars, by rule.
    exact: Vec<Vec<TopicId>>,
    decisions: BTreeMap<(MemberId, TopicId), bool>,
}

impl Topics {
    pub(super) fn new(policy: Option<&Policy>, crypto: &mut dyn Crypto) -> Self {
        let mut topics = Self::default();
        topics.heed(policy, crypto);
        topics
    }

    /// Goes by another policy from now on.
    pub(super) fn heed(&mut self, policy: Option<&Policy>, crypto: &mut dyn Crypto) {
        let rules = policy.map_or(&[][..], Policy::rules);
        let mut exact = |rule: &Rule| -> Vec<TopicId> {
            let topics = patterns(rule).filter(|topic| !topic.contains('*'));
            topics.map(|text| TopicId::of_text(text, crypto)).collect()
        };
        self.exact = rules.iter().map(&mut exact).collect();
        self.forget_decisions();
    }

    /// Forgets what was decided: the rules are others, or a topic's text has become known.
    pub(super) fn forget_decisions(&mut self) {
        self.decisions.clear();
    }

    /// Whether this member may publish on this topic, or, if `text` does not know its text, might.
    pub(super) fn may_publish(
        &mut self,
        policy: &Policy,
        (id, name): (MemberId, &SpiffeId),
        topic: TopicId,
        text: impl FnOnce() -> Option<Arc<str>>,
    ) -> bool {
        let topic = topic.plain();
        if let Some(known) = self.decisions.get(&(id, topic)) {
            return *known;
        }
        let allowed = match text() {
            Some(text) => policy.decide(name, &Action::Publish(&text)).allowed,
            None => self.might_publish(policy, name, topic),
        };
        if self.decisions.len() >= DECISIONS_MAX {
            self.decisions.clear();
        }
        self.decisions.insert((id, topic), allowed);
        allowed
    }

    fn might_publish(&self, policy: &Policy, name: &SpiffeId, topic: TopicId) -> bool {
        let mut rules = policy.rules().iter().zip(&self.exact);
        let decides = |(rule, exact): (&Rule, &Vec<TopicId>)| {
            if !rule.who.iter().any(|who| who.matches(name)) {
                return None;
            }
            match (about(rule, exact, topic), rule.effect) {
                (About::This | About::Perhaps, Effect::Allow) => Some(true),
                (About::This, Effect::Deny) => Some(false),
                (About::Perhaps, Effect::Deny) | (About::Other, _) => None,
            }
        };
        rules.find_map(decides).unwrap_or(false)
    }
}

fn about(rule: &Rule, exact: &[TopicId], topic: TopicId) -> About {
    if exact.contains(&topic) || patterns(rule).any(|pattern| pattern == "**") {
        About::This
    } else if patterns(rule).any(|pattern| pattern.contains('*')) {
        About::Perhaps
    } else {
        About::Other
    }
}

fn patterns(rule: &Rule) -> impl Iterator<Item = &str> {
    rule.what.iter().filter_map(|what| match what {
        ActionPattern::Publish(topic) => Some(topic.as_str()),
        ActionPattern::Join(_)
        | ActionPattern::Write { .. }
        | ActionPattern::Subscribe(_)
        | ActionPattern::Install { .. }
        | ActionPattern::Rotate
        | ActionPattern::Respond
        | ActionPattern::Govern
        | ActionPattern::Door(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::NamePattern;
    use alloc::vec;

    #[test]
    fn a_relay_lets_pass_what_a_rule_could_allow() {
        let rule = |effect, who, what| Rule {
            effect,
            who: vec![NamePattern::parse(who).unwrap()],
            what: vec![ActionPattern::parse(what).unwrap()],
        };
        let (bad, all) = ("spiffe://example.org/usa/bad", "spiffe://example.org/**");
        let policy = Policy::new(vec![
            rule(Effect::Deny, bad, "publish grid/ny"),
            rule(Effect::Deny, bad, "publish news"),
            rule(Effect::Allow, all, "publish news"),
            rule(Effect::Allow, "spiffe://example.org/usa/**", "publish grid/*"),
            rule(Effect::Deny, "spiffe://example.org/eu/*", "publish **"),
            rule(Effect::Allow, all, "publish a/*"),
        ]);
        let policy = policy.unwrap();
        let [news, ny, other] = [1, 2, 3].map(|byte| TopicId([byte; 8]));
        let exact = vec![vec![ny], vec![news], vec![news], vec![], vec![], vec![]];
        let mut topics = Topics { exact, ..Topics::default() };
        let may_know = |topics: &mut Topics, name: &str, topic, text: Option<&str>| {
            let name = SpiffeId::parse(&alloc::format!("spiffe://example.org{name}")).unwrap();
            topics.forget_decisions();
            topics.may_publish(&policy, (MemberId([1; 16]), &name), topic, || text.map(Into::into))
        };
        let may = |topics: &mut Topics, name, topic| may_know(topics, name, topic, None);
        assert!(may(&mut topics, "/usa/n1", news) && !may(&mut topics, "/usa/bad", news));
        assert!(may(&mut topics, "/usa/n1", ny) && !may(&mut topics, "/usa/bad", ny));
        assert!(may(&mut topics, "/usa/bad", other), "it might be grid/something");
        assert!(!may(&mut topics, "/eu/n1", other), "** is about every topic");
        assert!(may(&mut topics, "/asia/n1", other), "it might be a/something");
        for name in ["/usa/bad", "/eu/n1", "/asia/n1"] {
            let may = may_know(&mut topics, name, other, Some("b/c"));
            assert!(!may, "{name}: the text decides");
        }
    }
}
