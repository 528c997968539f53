//! News: a row that says something new is passed on at once, to few; rounds mend what that missed.
//!
//! This is rumour mongering (Demers et al., PODC 1987, section 1.4): whoever hears such a row
//! passes it on once, to three random agents per level that it gossips at. That reaches 94 in 100
//! within a fraction of a round, at three times a row's bytes per agent; comparing tables brings
//! the rest the same row, so loss costs rounds only where it strikes.
//!
//! Invariants: each agent passes each row on once; at most [`NEWS_PER_ROUND`] times per round, at
//! most [`NEWS_BYTES_MAX`] bytes at once, all within the round's budget of bytes. A row that is
//! only refreshed is no news.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::gossip::Use;
use super::level::Level;
use super::messages::LINE_BYTES_MIN;
use super::row::TableRow;
use super::{Table, TableCx};
use crate::frame::FRAME_HEADER_BYTES;

/// Agents that news are passed on to, per level: three reach 94 in 100, two would reach 80. With
/// two an update took 2.2 rounds to the last of 625 agents, with three 1.6, for as many bytes
/// (`lab rounds`): what is told at once need not be found by comparing.
const NEWS_FANOUT: usize = 3;
/// Times per round that news are passed on before the next round begins: an agent that changes its
/// row all the time costs others no more than that.
const NEWS_PER_ROUND: u32 = 4;
/// Bytes of news passed on at once: they fit a datagram of the smallest size.
const NEWS_BYTES_MAX: usize = 1000;
/// Into so many parts a round is cut, one of which news wait for others to go with them.
pub(crate) const NEWS_WAIT_PARTS: u32 = 32;

impl Table {
    /// Whether something waits to be passed on before the next round.
    pub(crate) const fn has_news(&self) -> bool {
        (self.has_news || self.own_changed) && self.news_left > 0
    }

    pub(super) const fn begin_news_round(&mut self) {
        self.news_left = NEWS_PER_ROUND;
    }

    /// Passes on what was heard or said since the last time, and what follows from it.
    pub(crate) fn on_news(&mut self, cx: &mut TableCx<'_>) {
        self.news_left = self.news_left.saturating_sub(1);
        if self.own_changed {
            self.issue_own(cx);
        }
        if !self.has_left && !self.is_suspended {
            self.issue_zones_at_once(cx);
        }
        self.pass_on(cx);
    }

    /// Tells the newest news; what does not fit is left to the rounds.
    pub(super) fn pass_on(&mut self, cx: &mut TableCx<'_>) {
        self.has_news = false;
        let mut lines: Vec<_> = self.levels.iter_mut().flat_map(Level::take_news).collect();
        // The nearest first: they matter to most of those who are told.
        lines.sort_by_key(|(heard, row)| Reverse((*heard, row.zone().depth())));
        let mut filled = 0;
        let fits = |row: &Arc<TableRow>| {
            filled += row.encoded().len() + FRAME_HEADER_BYTES;
            filled <= NEWS_BYTES_MAX
        };
        let rows: Vec<_> = lines.into_iter().map(|(_, row)| row).take_while(fits).collect();
        if rows.is_empty() {
            return;
        }
        let leaf = self.levels.len() - 1;
        for depth in (0..=leaf).rev() {
            if depth < leaf && !self.speaks_for(depth + 1) {
                continue;
            }
            let shared = |row: &&Arc<TableRow>| row.zone().depth() <= depth;
            let rows: Vec<_> = rows.iter().filter(shared).cloned().collect();
            let fanout = self.effort.of(self.news_fanout(depth), &mut self.rng);
            let mut partners: Vec<_> =
                (0..fanout).filter_map(|_| self.choose_sibling(depth)).collect();
            partners.sort_unstable();
            partners.dedup();
            for to in partners {
                self.send_rows(to, rows.clone(), Use::News, cx);
            }
        }
    }

    /// To how many agents of a level news are passed on. Of a table that no round's budget lets two
    /// agents compare as a whole, comparing mends little: there news are to reach everybody
    /// themselves. Of n agents who pass them on to k, n exp(-k) are missed.
    fn news_fanout(&self, depth: usize) -> usize {
        let lines = self.levels.get(depth).map_or(0, |level| level.lines().len());
        let compared = self.config.bytes_per_round / LINE_BYTES_MIN / 2;
        if lines > compared { lines.ilog2() as usize } else { NEWS_FANOUT }
    }

    /// What is held is no news to anybody.
    pub(super) fn forget_news(&mut self) {
        self.has_news = false;
        self.levels.iter_mut().for_each(|level| level.take_news().for_each(drop));
    }
}
