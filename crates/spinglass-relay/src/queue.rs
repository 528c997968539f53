//! A queue between the member's loop and its connection, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Messages, first in, first out, from one task to another.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Whoever waits for a message.
    taker: Option<Waker>,
    /// Whoever waits for room.
    giver: Option<Waker>,
}

impl Queue {
    /// An empty queue for so many bytes; a single message always fits.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message, unless there is no room for it.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        let mut state = self.lock();
        if state.bytes > 0 && state.bytes + message.len() > self.bytes_max {
            return false;
        }
        state.bytes += message.len();
        state.messages.push_back(message);
        let taker = state.taker.take();
        drop(state);
        taker.into_iter().for_each(Waker::wake);
        true
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&self) -> Option<Bytes> {
        let mut state = self.lock();
        let message = state.messages.pop_front()?;
        state.bytes -= message.len();
        let giver = state.giver.take();
        drop(state);
        giver.into_iter().for_each(Waker::wake);
        Some(message)
    }

    /// Throws everything away.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        (state.messages, state.bytes) = (VecDeque::new(), 0);
        let giver = state.giver.take();
        drop(state);
        giver.into_iter().for_each(Waker::wake);
    }

    /// Ready when there is a message.
    pub(crate) fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.messages.is_empty() {
            return Poll::Ready(());
        }
        state.taker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when at least half of the room is free.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.bytes <= self.bytes_max / 2 {
            return Poll::Ready(());
        }
        state.giver = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_so_many_bytes_and_one_message_of_any_size() {
        let queue = Queue::new(10);
        assert!(queue.push(Bytes::from_static(&[1; 30])));
        assert!(!queue.push(Bytes::from_static(&[2])));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(queue.poll_room(&mut cx).is_pending());
        assert!(queue.poll_filled(&mut cx).is_ready());
        assert_eq!(queue.pop().map(|message| message.len()), Some(30));
        assert!(queue.poll_room(&mut cx).is_ready() && queue.poll_filled(&mut cx).is_pending());
        assert!(queue.push(Bytes::from_static(&[3; 6])) && queue.push(Bytes::from_static(&[4; 4])));
        assert!(!queue.push(Bytes::from_static(&[5])));
        queue.clear();
        assert_eq!(queue.pop(), None);
        assert!(queue.push(Bytes::from_static(&[6; 10])));
    }
}
