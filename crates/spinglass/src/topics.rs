//! The topics that a member has met: their texts, and what passes on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use spinglass_core::crypto::Domain;
use spinglass_core::multicast::TopicTally;
use spinglass_core::{ORDERS_TOPIC, TopicId};

/// Topics whose texts are remembered; of others only names on the wire are known.
const TEXTS_MAX: usize = 4096;

/// A topic, as this member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name on the wire.
    pub id: TopicId,
    /// Its text, if anybody here has named it.
    pub text: Option<Arc<str>>,
    /// What has passed on it.
    pub tally: TopicTally,
}

/// The name on the wire of a topic's text.
pub(crate) fn id_of(text: &str) -> TopicId {
    TopicId::from_hash(spinglass_crypto::hash(Domain::Topic, text.as_bytes()))
}

/// The texts of topics that were named here.
#[derive(Debug)]
pub(crate) struct Texts(Mutex<BTreeMap<TopicId, Arc<str>>>);

impl Texts {
    /// Knows the topics that members have for themselves.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(BTreeMap::from([(id_of(ORDERS_TOPIC), ORDERS_TOPIC.into())])))
    }

    pub(crate) fn note(&self, topic: TopicId, text: &Arc<str>) {
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.len() < TEXTS_MAX {
            texts.entry(topic).or_insert_with(|| Arc::clone(text));
        }
    }

    pub(crate) fn of(&self, topic: TopicId) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&topic.plain()).cloned()
    }
}
