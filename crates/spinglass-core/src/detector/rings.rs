//! Who watches whom: `K` rings over the agents of a region, each in an order of its own; an agent
//! is observed by its successor in every ring (Rapid, ATC 2018, section 4.1; Fireflies, TOCS 2015).
//!
//! The order follows from the agents' keys alone, so whoever knows the region's agents knows every
//! agent's observers, and can tell a quorum of them from as many accomplices.

use alloc::vec::Vec;

use crate::table::RowKey;

/// The share of the rings in which an agent must be accused, in tenths, before it is removed: 7 of
/// 10. A quarter of the region may be away without delaying a verdict much, and a fifth may lie
/// without one coming about: 1 agent in 1,000 has 7 liars of such a region about it.
///
/// Rings count, not observers, since the latter's number differs between agents that have heard of
/// different deaths; an observer that is alive keeps its rings when others go.
const QUORUM_TENTHS: usize = 7;

/// The distinct observers of `subject` among `agents`, itself left out.
pub(crate) fn observers(
    subject: RowKey,
    agents: impl Iterator<Item = RowKey> + Clone,
    rings: u32,
) -> Vec<RowKey> {
    distinct(successors(subject, agents, rings))
}

/// The distinct agents that `observer` observes.
pub(crate) fn subjects(
    observer: RowKey,
    agents: impl Iterator<Item = RowKey> + Clone,
    rings: u32,
) -> Vec<RowKey> {
    distinct(nearest(observer, agents, rings, |agent, observer| observer.wrapping_sub(agent)))
}

/// Whether these accusers are a quorum of an agent's observers: more than one, in enough rings.
pub(crate) fn is_quorum(
    subject: RowKey,
    accusers: &[RowKey],
    agents: impl Iterator<Item = RowKey> + Clone,
    rings: u32,
) -> bool {
    let successors = successors(subject, agents, rings);
    let accusing = successors.iter().filter(|observer| accusers.contains(observer));
    let rings_accusing = accusing.clone().count();
    if cfg!(spinglass_bug = "any_accuser") {
        return accusers.len() > 1;
    }
    let is_one = accusing.clone().min() == accusing.max();
    if cfg!(spinglass_bug = "one_accuser") {
        return rings_accusing > 0;
    }
    !is_one && rings_accusing * 10 >= rings as usize * QUORUM_TENTHS
}

/// The observer of `subject` in each ring.
fn successors(
    subject: RowKey,
    agents: impl Iterator<Item = RowKey> + Clone,
    rings: u32,
) -> Vec<RowKey> {
    nearest(subject, agents, rings, |agent, subject| agent.wrapping_sub(subject))
}

/// In each ring the agent nearest to `from`, by a distance along the ring.
fn nearest(
    from: RowKey,
    agents: impl Iterator<Item = RowKey> + Clone,
    rings: u32,
    distance: impl Fn(u64, u64) -> u64,
) -> Vec<RowKey> {
    let mut chosen = Vec::with_capacity(rings as usize);
    for ring in 0..rings {
        let own = place(from, ring);
        let others = agents.clone().filter(|agent| *agent != from);
        chosen.extend(others.min_by_key(|agent| distance(place(*agent, ring), own)));
    }
    chosen
}

fn distinct(mut agents: Vec<RowKey>) -> Vec<RowKey> {
    agents.sort_unstable();
    agents.dedup();
    agents
}

/// An agent's place in a ring: the finaliser of `SplitMix64`, which spreads keys evenly.
const fn place(agent: RowKey, ring: u32) -> u64 {
    let mut mixed = agent.0.wrapping_add((ring as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const RINGS: u32 = 10;

    fn agents(count: u64) -> Vec<RowKey> {
        (0..count).map(|agent| RowKey(agent.wrapping_mul(0x1234_5678_9abc_def1))).collect()
    }

    #[test]
    fn observers_and_subjects_are_two_sides_of_one_relation() {
        let agents = agents(40);
        for subject in &agents {
            let observers = observers(*subject, agents.iter().copied(), RINGS);
            assert!(!observers.contains(subject) && observers.len() > 6);
            for observer in &agents {
                let watches = subjects(*observer, agents.iter().copied(), RINGS).contains(subject);
                assert_eq!(watches, observers.contains(observer));
            }
        }
    }

    #[test]
    fn one_accuser_removes_nobody_and_liars_elsewhere_do_not_count() {
        for count in 1..30 {
            let agents = agents(count);
            let subject = agents[0];
            let all = || agents.iter().copied();
            let observers = observers(subject, all(), RINGS);
            for observer in &observers {
                assert!(!is_quorum(subject, &[*observer], all(), RINGS));
            }
            let others: Vec<_> = all().filter(|agent| !observers.contains(agent)).collect();
            assert!(!is_quorum(subject, &others, all(), RINGS));
            assert_eq!(is_quorum(subject, &observers, all(), RINGS), observers.len() > 1);
        }
    }

    #[test]
    fn a_quorum_stays_one_when_others_go() {
        let agents = agents(40);
        let subject = agents[7];
        let observers = observers(subject, agents.iter().copied(), RINGS);
        let (gone, accusers) = observers.split_at(2);
        let quorum =
            |agents: &[RowKey]| is_quorum(subject, accusers, agents.iter().copied(), RINGS);
        let left: Vec<_> = agents.iter().copied().filter(|agent| !gone.contains(agent)).collect();
        assert!(quorum(&agents) && quorum(&left));
    }
}
