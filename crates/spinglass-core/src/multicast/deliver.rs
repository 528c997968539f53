//! Delivery: what the application is told of each stream, in its order.

use super::framing::{Assembler, Whole};
use super::slot::Next;
use super::tally::TopicTally;
use super::{Cx, Multicast};
use crate::draft::Draft;
use crate::event::{Event, Gap, Message};
use crate::id::{Sequence, StreamId};
use crate::rating::Sieve;
use crate::timer::Timer;
use crate::trace::Seen;

impl Multicast {
    /// Tells the application whatever is next in the streams that changed.
    pub(crate) fn deliver(&mut self, id: StreamId, cx: &mut Cx<'_>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.discover_until_round.is_some_and(|until| self.round < until) {
            return;
        }
        stream.discover_until_round = None;
        let (sieve, told_from) = (stream.told, stream.told_from);
        loop {
            if stream.want_next(cx.now, self.round) {
                cx.timers.set_earlier(Timer::Solicit, cx.now + self.gap_wait);
                break;
            }
            let Some(next) = stream.pop_next() else { break };
            match next {
                Next::Packet(sequence, held) => {
                    stream.begins = false;
                    let Some(assembler) = &mut stream.assembler else { continue };
                    let (content, tally) = (held.content(), &mut stream.tally);
                    let pushed =
                        assembler.push(Sequence(sequence), held.first(), &content, |whole| {
                            if whole.first.0 >= told_from {
                                tell_message(&sieve, id, whole, tally, cx);
                            }
                        });
                    if pushed.is_err() {
                        tell_gap(id, sequence, 1, cx);
                    }
                }
                Next::PassedOver => stream.assembler.iter_mut().for_each(Assembler::cut),
                Next::Lost { from, packets, thinned } => {
                    cx.stats.packets_thinned += thinned;
                    cx.stats.packets_lost += packets - thinned;
                    stream.tally.packets_lost += packets;
                    // What was carried for others, or sent before it was wanted, is no gap; nor is
                    // what was kept no longer.
                    let kept = if stream.begins { stream.kept_from(self.round) } else { 0 };
                    let mut numbers = from.max(told_from).max(kept)..from.saturating_add(packets);
                    let is_meant = |number| sieve.takes(number) && stream.took(number);
                    let are_meant = numbers.any(is_meant);
                    let Some(assembler) = &mut stream.assembler else { continue };
                    let open = assembler
                        .open_since()
                        .filter(|first| sieve.takes(first.0) && first.0 >= told_from);
                    let is_gap = open.is_some() || are_meant;
                    #[cfg(not(spinglass_bug = "gap_untold"))]
                    if is_gap {
                        tell_gap(id, from, packets, cx);
                    }
                    #[cfg(spinglass_bug = "gap_untold")]
                    let _ = is_gap;
                    #[cfg(not(spinglass_bug = "cut_ignored"))]
                    assembler.cut();
                    #[cfg(spinglass_bug = "cut_ignored")]
                    let _ = assembler;
                }
            }
        }
    }
}

/// Tells a message, if it is taken: as the packet is in which it starts.
fn tell_message(
    sieve: &Sieve,
    stream: StreamId,
    whole: Whole,
    tally: &mut TopicTally,
    cx: &mut Cx<'_>,
) {
    if !sieve.takes(whole.first.0) {
        return;
    }
    tally.delivered(&whole);
    let Whole { first, last, draft: Draft { headers, payload } } = whole;
    cx.stats.messages_delivered += 1;
    cx.stats.bytes_delivered += payload.len() as u64;
    let delivered = || Seen::Delivered { last, bytes: payload.len() };
    cx.tracer.note(cx.now, stream, first.0, delivered);
    cx.events.push_back(Event::Message(Message { stream, first, last, headers, payload }));
}

fn tell_gap(stream: StreamId, from: u64, packets: u64, cx: &mut Cx<'_>) {
    cx.stats.gaps += 1;
    cx.tracer.note_lost(cx.now, stream, from, packets);
    cx.events.push_back(Event::Gap(Gap { stream, from: Sequence(from), packets }));
}
