//! The Astrolabe paper's simulator, as far as its figures tell (TOCS 2003, figures 6 to 9): rounds
//! that all begin at once; in each, every contact of each zone compares with a random contact of a
//! random sibling, and both know then what either knew when the round began [FACTS 4.9].

use spinglass_core::Prng;

/// A tree of zones: how many children the zones of each level have, from the root on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Children per zone, by level; the last ones are agents.
    pub branching: Vec<usize>,
    /// Contacts of each zone that is none of an agent's own.
    pub contacts: usize,
    /// Messages that are lost, in parts per million.
    pub loss_ppm: u32,
}

/// When agents knew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounds {
    /// Rounds until all did.
    pub last: f64,
    /// On average.
    pub mean: f64,
}

/// Rounds after which a run is given up.
const ROUNDS_MAX: u32 = 400;

impl Tree {
    /// All agents.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.branching.iter().product()
    }

    /// Follows one update, of a random agent.
    #[must_use]
    pub fn update(&self, seed: u64) -> Rounds {
        let mut rng = Prng::new(seed).fork("zones");
        let agents = self.agents();
        let contacts = self.draw_contacts(&mut rng);
        let mut knows = vec![false; agents];
        knows[rng.index(agents)] = true;
        let (mut round, mut count, mut sum) = (0, 1, 0_u64);
        while count < agents && round < ROUNDS_MAX {
            round += 1;
            let before = knows.clone();
            for level in 0..self.branching.len() {
                self.gossip(level, &contacts, &before, &mut knows, &mut rng);
            }
            let now = knows.iter().filter(|knows| **knows).count();
            sum += u64::from(round) * (now - count) as u64;
            count = now;
        }
        Rounds { last: round.into(), mean: sum as f64 / agents as f64 }
    }

    /// Who speaks for each zone, by level: of those who speak for its children, some at random.
    fn draw_contacts(&self, rng: &mut Prng) -> Vec<Vec<Vec<usize>>> {
        let mut levels = vec![(0..self.agents()).map(|agent| vec![agent]).collect::<Vec<_>>()];
        for wide in self.branching.iter().skip(1).rev() {
            let below = levels.last().map_or(&[][..], Vec::as_slice);
            let mut draw = |children: &[Vec<usize>]| {
                let all: Vec<usize> = children.concat();
                let mut some = Vec::new();
                while some.len() < self.contacts.min(all.len()) {
                    let agent = all[rng.index(all.len())];
                    if !some.contains(&agent) {
                        some.push(agent);
                    }
                }
                some
            };
            levels.push(below.chunks(*wide).map(&mut draw).collect());
        }
        levels.reverse();
        levels
    }

    /// Every contact of every zone of a level compares with one of a sibling.
    fn gossip(
        &self,
        level: usize,
        contacts: &[Vec<Vec<usize>>],
        before: &[bool],
        knows: &mut [bool],
        rng: &mut Prng,
    ) {
        let wide = self.branching[level];
        for (zone, speakers) in contacts[level].iter().enumerate() {
            let first = zone / wide * wide;
            for from in speakers {
                let sibling = first + (zone - first + 1 + rng.index(wide - 1)) % wide;
                let others = &contacts[level][sibling];
                let to = others[rng.index(others.len())];
                if before[*from] == before[to] {
                    continue;
                }
                // What it says arrives, and so does what is answered, or is lost.
                let goes = |rng: &mut Prng| self.loss_ppm == 0 || !rng.chance_ppm(self.loss_ppm);
                let there = goes(rng);
                let back = there && goes(rng);
                knows[to] |= before[*from] && there;
                knows[*from] |= before[to] && back;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(branching: &[usize], contacts: usize, loss_ppm: u32) -> (f64, f64) {
        let tree = Tree { branching: branching.to_vec(), contacts, loss_ppm };
        let runs: Vec<Rounds> = (0..8).map(|seed| tree.update(seed)).collect();
        let mean = |get: fn(&Rounds) -> f64| runs.iter().map(get).sum::<f64>() / runs.len() as f64;
        (mean(|it| it.last), mean(|it| it.mean))
    }

    #[test]
    fn small_trees_take_the_rounds_that_the_tables_say() {
        for (branching, contacts, last, on_average) in [
            (&[1_000][..], 1, 9.2, 7.2),
            (&[25, 25], 1, 12.5, 8.4),
            (&[25, 25], 3, 10.7, 7.2),
            (&[32, 32], 3, 11.4, 7.8),
        ] {
            let (to_last, to_all) = mean(branching, contacts, 0);
            assert!((to_last - last).abs() < 1.5, "{branching:?} {contacts}: {to_last}");
            assert!((to_all - on_average).abs() < 1.0, "{branching:?} {contacts}: {to_all}");
        }
    }
}
