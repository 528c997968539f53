//! `LISTEN`: topics as PostgreSQL's channels.

use bytes::Bytes;
use spinglass::{Event, Group};
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;

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

/// Puts a topic's messages into a mailbox until the task is aborted or nobody reads it.
pub(super) fn listen(group: &Group, notices: &Notices, mailbox: Mailbox) -> AbortHandle {
    let topic = group.name().to_owned();
    let mut subscription = group.subscribe();
    let mut own = notices.subscribe();
    let task = tokio::spawn(async move {
        loop {
            let topic = topic.clone();
            let notice = tokio::select! {
                event = subscription.next() => match event {
                    Some(event) => of_event(topic, &event),
                    None => return,
                },
                heard = own.recv() => match heard {
                    Ok((at, payload)) => Some(Notice::Message { topic, payload }).filter(|notice| {
                        matches!(notice, Notice::Message { topic, .. } if *topic == at)
                    }),
                    Err(broadcast::error::RecvError::Lagged(count)) => {
                        Some(Notice::Missed { topic, what: format!("{count} messages") })
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

fn of_event(topic: String, event: &Event) -> Option<Notice> {
    Some(match event {
        Event::Message(message) => Notice::Message { topic, payload: text(&message.payload) },
        Event::Lagged(lagged) => {
            Notice::Missed { topic, what: format!("{} messages", lagged.messages) }
        }
        Event::Gap(gap) => Notice::Missed { topic, what: format!("{} packets", gap.packets) },
        _ => return None,
    })
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
