//! `LISTEN`: topics as PostgreSQL's channels.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use spinglass::{Event, Node, Pattern, StreamId, Subscription};
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;

use super::fault::Fault;

/// Topics that a session listens to.
pub(super) const TOPICS_MAX: usize = 64;
/// Notifications that wait for a client to take them. More wait in the subscription's own queue,
/// which drops what does not fit, and says so.
pub(super) const WAITING_MAX: usize = 256;

/// What a client is to be told without having asked just now.
#[derive(Debug)]
pub(super) enum Notice {
    /// A message of a topic.
    Message { topic: String, payload: String },
    /// Messages of a topic that the client was too slow for, or that were lost.
    Missed { topic: String, what: String },
}

/// A session's notifications.
pub(super) type Mailbox = mpsc::Sender<Notice>;
/// What this agent's own clients publish: topic and payload.
pub(super) type Notices = broadcast::Sender<(String, String)>;

/// What a client listens to.
pub(super) struct Heard {
    subscription: Subscription,
    /// The topic, or the pattern of topics.
    asked: String,
    pattern: Option<Pattern>,
    /// Who knows the topics that a pattern matches.
    node: Weak<Node>,
}

impl Heard {
    /// Subscribes to a topic, or to all that a pattern matches.
    pub(super) fn of(node: &Arc<Node>, asked: &str) -> Result<Self, Fault> {
        let pattern = Pattern::has_wildcards(asked).then(|| Pattern::new(asked)).transpose();
        let pattern = pattern.map_err(|error| Fault::new("22023", &error.to_string()))?;
        let subscription = if pattern.is_some() {
            let groups = node.groups(asked);
            groups.map_err(|error| Fault::new("22023", &error.to_string()))?.subscribe()
        } else {
            let group = node.group(asked);
            group.may_subscribe().map_err(|error| Fault::new("42501", &error.to_string()))?;
            group.subscribe()
        };
        Ok(Self { subscription, asked: asked.into(), pattern, node: Arc::downgrade(node) })
    }

    /// Puts messages into a mailbox until the task is aborted or nobody reads it.
    pub(super) fn tell(mut self, notices: &Notices, mailbox: Mailbox) -> AbortHandle {
        let mut own = notices.subscribe();
        let task = tokio::spawn(async move {
            loop {
                let notice = tokio::select! {
                    event = self.subscription.next() => match event {
                        Some(event) => self.of_event(&event),
                        None => return,
                    },
                    heard = own.recv() => match heard {
                        Ok((topic, payload)) => {
                            self.has(&topic).then_some(Notice::Message { topic, payload })
                        }
                        Err(broadcast::error::RecvError::Lagged(count)) => {
                            Some(missed(self.asked.clone(), &format!("{count} messages")))
                        }
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                };
                let Some(notice) = notice else { continue };
                if mailbox.send(notice).await.is_err() {
                    return;
                }
            }
        });
        task.abort_handle()
    }

    fn has(&self, topic: &str) -> bool {
        self.pattern.as_ref().map_or(self.asked == topic, |pattern| pattern.matches(topic))
    }

    /// The topic that a stream is of.
    fn topic_of(&self, stream: &StreamId) -> String {
        let node = self.node.upgrade().filter(|_| self.pattern.is_some());
        let text = node.and_then(|node| node.topic_text(stream.topic));
        text.map_or_else(|| self.asked.clone(), |text| text.to_string())
    }

    fn of_event(&self, event: &Event) -> Option<Notice> {
        Some(match event {
            Event::Message(message) => {
                let topic = self.topic_of(&message.stream);
                Notice::Message { topic, payload: text(&message.payload) }
            }
            Event::Lagged(lagged) => {
                missed(self.topic_of(&lagged.stream), &format!("{} messages", lagged.messages))
            }
            Event::Gap(gap) => {
                missed(self.topic_of(&gap.stream), &format!("{} packets", gap.packets))
            }
            _ => return None,
        })
    }
}

fn missed(topic: String, what: &str) -> Notice {
    Notice::Missed { topic, what: what.into() }
}

/// A payload as text: bytes that are none are written as PostgreSQL writes bytes.
fn text(payload: &Bytes) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => {
            let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{hex}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_that_are_no_text_are_hexadecimal() {
        assert_eq!(text(&Bytes::from_static("é".as_bytes())), "é");
        assert_eq!(text(&Bytes::from_static(b"a\0")), "\\x6100");
        assert_eq!(text(&Bytes::from_static(&[0xff])), "\\xff");
    }
}
