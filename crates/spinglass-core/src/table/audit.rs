//! Whether whoever speaks for a zone says what the zone's rows say.
//!
//! A zone's row follows from its table by functions that give the same everywhere, and every agent
//! in the zone holds that table. So each looks: does the row that speaks for the zone say what one
//! would say oneself? While the table changes, honest rows lag, so a round counts only if the table
//! has been quiet for longer than the row has been held. One's own table may be the one that lags:
//! three such rounds suffice if as many others as make a majority of the zone's rows, or twelve,
//! were last heard with the same table, and none in those rounds with another one; else, and
//! of a zone above one's region, it takes four refreshes.
//!
//! Zones in which somebody has just come or gone are left alone for a while: see
//! [`SETTLE_ROUNDS`].
//!
//! Nothing follows by itself: the issuer may be mistaken, or run another version. It is told, once
//! in a while, and honest representatives say it right as ever.
//!
//! Not looked at: zones whose functions end by the clock, which differs from host to host, or whose
//! text has not come.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::level::Level;
use super::{Table, TableCx};
use crate::event::Event;
use crate::id::MemberId;

/// Rounds in which one issuer's row differed from what a quiet table says, after which it is told
/// of, if others were heard whose table is the same.
const FALSE_ROUNDS: u32 = 3;
/// Rounds after an agent or a zone came, went or began a new life before its zone is looked at:
/// while a verdict spreads, or two halves become one, tables differ for up to half of that.
const SETTLE_ROUNDS: u32 = 60;
/// Rounds by which a zone's row may be late before the zone counts as nobody's.
const LATE_ROUNDS: u32 = 5;
/// Others whose table is the same, of zones of many rows, and of few.
const AGREED_MAX: usize = 12;
const AGREED_MIN: usize = 2;
/// Refresh periods that suffice without them: gossip has brought everything by then, and whoever
/// spoke for the zone and has gone has been replaced.
const ALONE_REFRESHES: u32 = 4;
/// Rounds before the same issuer is told of again.
const TOLD_ROUNDS: u32 = 60;
/// Issuers counted per zone. When full, the one counted first is forgotten.
const ISSUERS_MAX: usize = 8;

/// What an agent has noted of a zone of its path.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// The count of changes of what the zone's row follows from.
    changes: u32,
    /// The round in which the last of them was seen.
    since: u32,
    /// The count of those who came, went or began a new life, and when the last of them did.
    moves: u32,
    moved: u32,
    /// Others whose table was the same when they were heard last, since the last of them.
    /// By a hash of their addresses: an agent has little memory.
    agreed: Vec<u32>,
    /// Whether another was heard in this round whose table is not.
    is_contradicted: bool,
    /// Most agents never have any.
    disputes: Option<Box<Disputes>>,
}

/// Who issued rows that are not what they should be.
#[derive(Debug, Default)]
struct Disputes {
    /// Issuers of rows that differed since the last change, and in how many rounds: all, and the
    /// last ones in which nobody's table was another one.
    differed: Vec<(MemberId, u32, u32)>,
    /// Who was told of, and in which round.
    told: Vec<(MemberId, u32)>,
}

impl Table {
    /// Compares the rows of the path's zones with what their tables say.
    pub(super) fn audit(&mut self, cx: &mut TableCx<'_>) {
        let leaf = self.levels.len().saturating_sub(1);
        for depth in 1..=leaf {
            let changes = changes(&self.levels, depth);
            let age = self.own_zone(depth).map(|line| self.round.saturating_sub(line.heard));
            let is_neglected =
                age.is_none_or(|age| age >= self.config.refresh_rounds + LATE_ROUNDS);
            let Some(audit) = self.audits.get_mut(depth) else { continue };
            let is_contradicted = core::mem::take(&mut audit.is_contradicted);
            let moves = self.levels.get(depth).map_or(0, Level::moves);
            // Whoever steps in for those who fell silent leaves them out at first.
            if audit.moves != moves || is_neglected {
                (audit.moves, audit.moved) = (moves, self.round);
            }
            if audit.changes != changes {
                (audit.changes, audit.since) = (changes, self.round);
                audit.agreed.clear();
                audit.disputes.iter_mut().for_each(|disputes| disputes.differed.clear());
                continue;
            }
            let since = audit.since;
            if self.round.saturating_sub(audit.moved) < SETTLE_ROUNDS {
                continue;
            }
            let Some(issuer) = self.differs(depth, since) else { continue };
            let Some(audit) = self.audits.get_mut(depth) else { continue };
            let disputes = audit.disputes.get_or_insert_default();
            let (rounds, undisputed) = disputes.count(issuer, is_contradicted);
            let rows = self.levels.get(depth).map_or(0, |level| level.children().count());
            // Of a zone above the region all neighbours may have missed the same.
            let agreed =
                depth == leaf && audit.agreed.len() >= (rows / 2 + 1).clamp(AGREED_MIN, AGREED_MAX);
            let alone = self.config.refresh_rounds.saturating_mul(ALONE_REFRESHES);
            let is_false = agreed && undisputed >= FALSE_ROUNDS || rounds >= alone;
            if is_false && disputes.tells(issuer, self.round) {
                cx.stats.false_summaries += 1;
                let zone = String::from(self.region.ancestor(depth).as_str());
                self.events.push(Event::FalseSummary { zone, issuer });
            }
        }
    }

    /// Notes whether another's table of a zone of the path is the same.
    pub(super) fn note_comparison(&mut self, depth: usize, other: SocketAddr, is_same: bool) {
        // Only of the region does it count.
        let Some(audit) = self.audits.last_mut().filter(|_| depth + 1 == self.levels.len()) else {
            return;
        };
        let other = match other.ip() {
            IpAddr::V4(ip) => ip.to_bits().rotate_left(16) ^ u32::from(other.port()),
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                (bits ^ bits >> 32 ^ bits >> 64) as u32 ^ u32::from(other.port()).rotate_left(16)
            }
        };
        if !is_same {
            audit.is_contradicted = true;
            audit.agreed.retain(|it| *it != other);
        } else if audit.agreed.len() < AGREED_MAX && !audit.agreed.contains(&other) {
            audit.agreed.push(other);
        }
    }

    /// Who issued the row of the zone at this depth, if it came after the round `since` and is not
    /// what its table says.
    fn differs(&self, depth: usize, since: u32) -> Option<MemberId> {
        let row = &self.own_zone(depth).filter(|line| line.heard > since)?.row;
        let functions = self.levels.iter().take(depth + 1).flat_map(Level::functions);
        let is_unsure =
            |function| self.summaries.texts().awaits(function) || function.lapses_ms().is_some();
        let is_own = row.member().0.starts_with(&self.own.0.to_le_bytes());
        if is_own || functions.into_iter().any(|function| is_unsure(function)) {
            return None;
        }
        let said = self.summaries.summarize(&self.levels, depth, 0).attributes;
        let is_audited = !cfg!(spinglass_bug = "summary_unaudited");
        (is_audited && said != *row.attributes()).then(|| row.member())
    }
}

impl Disputes {
    fn count(&mut self, issuer: MemberId, is_contradicted: bool) -> (u32, u32) {
        if is_contradicted {
            self.differed.iter_mut().for_each(|(_, _, undisputed)| *undisputed = 0);
        }
        let fresh = u32::from(!is_contradicted);
        let held = self.differed.iter_mut().find(|(it, ..)| *it == issuer);
        if let Some((_, rounds, undisputed)) = held {
            (*rounds, *undisputed) = (*rounds + 1, *undisputed + fresh);
            return (*rounds, *undisputed);
        }
        if self.differed.len() >= ISSUERS_MAX {
            self.differed.remove(0);
        }
        self.differed.push((issuer, 1, fresh));
        (1, fresh)
    }

    /// Whether to tell of an issuer now.
    fn tells(&mut self, issuer: MemberId, round: u32) -> bool {
        self.told.retain(|(_, told)| round.saturating_sub(*told) < TOLD_ROUNDS);
        let is_told = self.told.iter().any(|(it, _)| *it == issuer);
        let tells = !is_told && self.told.len() < ISSUERS_MAX;
        if tells {
            self.told.push((issuer, round));
        }
        tells
    }
}

/// Counts the changes of what the row of the zone at this depth follows from: its table, and the
/// functions that hold there.
fn changes(levels: &[Level], depth: usize) -> u32 {
    let of_functions = levels.iter().take(depth + 1).map(Level::function_changes);
    let of_rows = levels.get(depth).map_or(0, Level::changes);
    of_functions.fold(of_rows, u32::wrapping_add)
}
