//! Counters: everything a node did or refused, since its start. They only grow.

use crate::event::Reject;

/// A node's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Inputs handled: datagrams, timeouts and verbs.
    pub inputs: u64,
    /// Datagrams taken in, refused ones included.
    pub datagrams_received: u64,
    /// Bytes of those datagrams.
    pub bytes_received: u64,
    /// Datagrams handed out, counted once per destination (IP multicast is one).
    pub datagrams_sent: u64,
    /// Bytes handed out, counted once per destination.
    pub bytes_sent: u64,
    /// What was refused, by [`Reject`] in its order.
    pub rejected: [u64; Reject::COUNT],
    /// Frames of unknown types, skipped.
    pub frames_skipped: u64,
    /// Rounds begun.
    pub rounds: u64,
    /// Digests sent, tail announcements included.
    pub digests_sent: u64,
    /// Digests received.
    pub digests_received: u64,
    /// Tail announcements sent (digests of a stream that went quiet).
    pub tails_sent: u64,
    /// Solicitation frames sent.
    pub solicits_sent: u64,
    /// Packets asked for in them.
    pub packets_solicited: u64,
    /// Solicitation frames received.
    pub solicits_received: u64,
    /// Solicitations refused because their round was over.
    pub solicits_late: u64,
    /// Solicited packets refused because they were served to the same member in the same round.
    pub solicits_repeated: u64,
    /// Packets not served because the round's repair budget was spent.
    pub repairs_over_budget: u64,
    /// Packets sent as repairs.
    pub repairs_sent: u64,
    /// Bytes of those repairs.
    pub repair_bytes_sent: u64,
    /// Repairs sent once to the whole region, by IP multicast.
    pub repairs_multicast: u64,
    /// Repairs received that filled a hole.
    pub repairs_received: u64,
    /// Packets received that were held or given up already, by repair.
    pub repairs_surplus: u64,
    /// Packets received that were held or given up already, by dissemination.
    pub spread_surplus: u64,
    /// Packets received of topics of which neither this member nor whoever it hands them on to
    /// takes anything.
    pub packets_untaken: u64,
    /// Bytes of datagrams with packets, new or not.
    pub packet_bytes_received: u64,
    /// New packets accepted, own ones not included.
    pub packets_received: u64,
    /// New packets made from published messages.
    pub packets_published: u64,
    /// Packets passed on along a tree, counted once per child.
    pub packets_forwarded: u64,
    /// What was seen of messages that are followed, and not told for want of room.
    pub sightings_missed: u64,
    /// Messages taken from the application.
    pub messages_published: u64,
    /// Messages delivered to the application.
    pub messages_delivered: u64,
    /// Bytes of those messages.
    pub bytes_delivered: u64,
    /// Packets given up, each inside some gap.
    pub packets_lost: u64,
    /// Packets not asked for, each inside some gap: their stream was busier than this member bears.
    pub packets_thinned: u64,
    /// Gaps told to the application.
    pub gaps: u64,
    /// Introductions sent: records that go before packets.
    pub introductions: u64,
    /// Table digests received.
    pub table_digests_received: u64,
    /// Table digests sent.
    pub table_digests_sent: u64,
    /// Inventories of a table's level sent: its digest differed.
    pub table_inventories_sent: u64,
    /// Inventories and rows not sent because the round's budget was spent.
    pub table_over_budget: u64,
    /// Rows not taken in because their zone's table is full.
    pub table_full: u64,
    /// Rows issued: own, and of zones and functions.
    pub rows_issued: u64,
    /// Rows sent.
    pub rows_sent: u64,
    /// Rows received.
    pub rows_received: u64,
    /// Rows received that were news.
    pub rows_merged: u64,
    /// Rows received that were known, or older than what is.
    pub rows_surplus: u64,
    /// Probes sent by the failure detector.
    pub probes_sent: u64,
    /// Accusations told, repetitions included.
    pub accusations_made: u64,
    /// Agents removed from the region because a quorum of their observers accused them.
    pub agents_removed: u64,
    /// Announcements of oneself made.
    pub announcements_sent: u64,
    /// Announcements of others heard.
    pub announcements_received: u64,
    /// Questions asked by this agent's own user.
    pub questions_asked: u64,
    /// Questions of other agents taken on.
    pub questions_taken: u64,
    /// Questions of other agents refused: there were too many, or this is not where they belong.
    pub questions_refused: u64,
    /// Questions sent to other agents, repetitions included.
    pub asks_sent: u64,
    /// Pieces of answers sent.
    pub pieces_sent: u64,
    /// Pieces of answers not sent, or not taken in, because there was no budget for them.
    pub pieces_over_budget: u64,
    /// Agents asked whether they have an object.
    pub object_seeks_sent: u64,
    /// Pieces of objects asked for, repetitions included.
    pub object_pieces_asked: u64,
    /// Pieces of objects received, verified and kept.
    pub object_pieces_received: u64,
    /// Pieces of objects received that were not waited for.
    pub object_pieces_surplus: u64,
    /// Pieces of objects sent.
    pub object_pieces_sent: u64,
    /// Pieces of objects, and answers to searches, not sent because the round's budget was spent.
    pub objects_over_budget: u64,
    /// Objects fetched whole.
    pub objects_fetched: u64,
    /// Chains of certificates taken in, of members not met before or renewed.
    pub certificates_taken: u64,
    /// Members whose certificates were asked for, repetitions included.
    pub certificates_asked: u64,
    /// Chains of certificates sent.
    pub certificates_sent: u64,
    /// Members put in quarantine.
    pub quarantined: u64,
    /// Rows of zones told of as false: they did not say what the zone's table says.
    pub false_summaries: u64,
    /// Halves of proofs against members sent.
    pub exhibits_sent: u64,
    /// Halves of proofs received.
    pub exhibits_received: u64,
    /// Halves of proofs not looked at, or not sent, because the round's budget was spent.
    pub exhibits_over_budget: u64,
    /// Signatures made.
    pub signatures_made: u64,
    /// Signatures checked.
    pub signatures_checked: u64,
    /// Bytes of packets buffered for repair, as it stands (this one may fall).
    pub buffered_bytes: u64,
    /// Packets buffered for repair, as it stands (this one may fall).
    pub buffered_packets: u64,
    /// Orders given by this member.
    pub orders_given: u64,
    /// Requests for epochs' keys sent.
    pub keys_asked: u64,
    /// Epochs' keys given to others.
    pub keys_given: u64,
    /// Knocks sent: this member had no key that opens what others say.
    pub knocks_sent: u64,
    /// Strangers who were given the link key, by their certificates.
    pub strangers_welcomed: u64,
    /// Later epochs entered: link keys that this member has moved to.
    pub epochs_entered: u64,
    /// Members that were known and are heard no longer, since they were revoked or quarantined.
    pub members_shunned: u64,
    /// The share of packets that did not arrive by dissemination, in parts per million, smoothed.
    pub loss_ppm: u32,
    /// Rounds after which a missing packet is given up, as they follow from the target just now.
    pub give_up_rounds: u32,
}

impl Stats {
    /// Counts one refusal.
    pub(crate) fn reject(&mut self, reject: Reject) {
        if let Some(count) = self.rejected.get_mut(reject as usize) {
            *count += 1;
        }
    }

    /// How often `reject` happened.
    #[must_use]
    pub fn rejected(&self, reject: Reject) -> u64 {
        self.rejected.get(reject as usize).copied().unwrap_or(0)
    }
}
