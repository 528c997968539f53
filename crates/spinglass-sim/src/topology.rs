//! A network of links: a tree of nodes, some of which are members' hosts, and links between them
//! that lose and delay. What is multicast crosses each link once, so that all behind a link lose
//! the same datagram: the setting of ns-2, in which SRM and pbcast were measured [FACTS 1].

use std::time::Duration;

use spinglass_core::Prng;

/// The tree. Node 0 is its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    nodes: Vec<Node>,
    /// The node that each member is at.
    places: Vec<usize>,
    /// What every link does.
    link: Link,
}

/// What a link does, either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// How long it takes.
    pub delay: Duration,
    /// Datagrams that it loses, in parts per million.
    pub loss_ppm: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    parent: usize,
    depth: usize,
    children: Vec<usize>,
    members: Vec<usize>,
}

impl Topology {
    fn root(link: Link) -> Self {
        Self { nodes: vec![Node::default()], places: Vec::new(), link }
    }

    /// A tree with member 0 at its root and all others at its leaves, which are all so many links
    /// away from it; nodes in between are routers, and have as many children as all others.
    #[must_use]
    pub fn tree(members: usize, levels: u32, link: Link) -> Self {
        let leaves = members.saturating_sub(1);
        let mut tree = Self::root(link);
        tree.settle(0);
        let mut above = vec![0];
        for level in 1..=levels {
            let share = f64::from(level) / f64::from(levels);
            // Whole, and never more than there are leaves below.
            let wide = (leaves as f64).powf(share).round() as usize;
            let wide = if level == levels { leaves } else { wide.clamp(1, leaves.max(1)) };
            let parent = |at: usize| above[at * above.len() / wide];
            above = (0..wide).map(|at| tree.grow(parent(at))).collect();
        }
        above.into_iter().for_each(|leaf| tree.settle(leaf));
        tree
    }

    /// A hub, and a link from it to each member.
    #[must_use]
    pub fn star(members: usize, link: Link) -> Self {
        let mut star = Self::root(link);
        for _ in 0..members {
            let node = star.grow(0);
            star.settle(node);
        }
        star
    }

    /// Adds a node below another.
    fn grow(&mut self, parent: usize) -> usize {
        let node = self.nodes.len();
        let depth = self.nodes[parent].depth + 1;
        self.nodes.push(Node { parent, depth, ..Node::default() });
        self.nodes[parent].children.push(node);
        node
    }

    /// Puts the next member at a node.
    fn settle(&mut self, node: usize) {
        self.nodes[node].members.push(self.places.len());
        self.places.push(node);
    }

    /// How many links there are.
    #[must_use]
    pub const fn links(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Links from the root to the farthest node.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.nodes.iter().map(|node| node.depth).max().unwrap_or(0)
    }

    /// Links between two members.
    #[must_use]
    pub fn hops(&self, from: usize, to: usize) -> usize {
        let (mut a, mut b) = (self.places[from], self.places[to]);
        let mut hops = 0;
        while a != b {
            if self.nodes[a].depth < self.nodes[b].depth {
                std::mem::swap(&mut a, &mut b);
            }
            a = self.nodes[a].parent;
            hops += 1;
        }
        hops
    }

    /// How long something takes between two members.
    #[must_use]
    pub fn delay(&self, from: usize, to: usize) -> Duration {
        self.link.delay * u32::try_from(self.hops(from, to)).unwrap_or(u32::MAX)
    }

    /// Sends something to one member: how long it takes, if no link loses it.
    pub fn send(&self, from: usize, to: usize, rng: &mut Prng) -> Option<Duration> {
        let hops = self.hops(from, to);
        let is_lost = (0..hops).any(|_| rng.chance_ppm(self.link.loss_ppm));
        (!is_lost).then(|| self.link.delay * u32::try_from(hops).unwrap_or(u32::MAX))
    }

    /// Sends something to all other members, over each link at most once.
    pub fn multicast(&self, from: usize, rng: &mut Prng, mut reach: impl FnMut(usize, Duration)) {
        let place = self.places[from];
        let mut under_way = vec![(place, place, Duration::ZERO)];
        while let Some((node, before, delay)) = under_way.pop() {
            let others = self.nodes[node].members.iter().filter(|member| **member != from);
            others.for_each(|member| reach(*member, delay));
            let up = (node != 0).then_some(self.nodes[node].parent);
            for next in self.nodes[node].children.iter().copied().chain(up) {
                if next != before && !rng.chance_ppm(self.link.loss_ppm) {
                    under_way.push((next, node, delay + self.link.delay));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link { delay: Duration::from_millis(3), loss_ppm: 0 };

    #[test]
    fn all_leaves_of_a_tree_are_as_far_away() {
        for members in [2, 6, 12, 24, 48, 96, 128] {
            let tree = Topology::tree(members, 4, LINK);
            assert_eq!((tree.levels(), tree.places.len()), (4, members));
            assert!((1..members).all(|member| tree.hops(0, member) == 4));
            let dead_ends = tree.nodes.iter().filter(|node| node.children.is_empty());
            assert_eq!(dead_ends.count(), members - 1, "no link leads nowhere");
        }
        assert_eq!(Topology::tree(82, 4, LINK).links(), 3 + 9 + 27 + 81);
        let star = Topology::star(10, LINK);
        assert_eq!((star.links(), star.levels(), star.hops(1, 2)), (10, 1, 2));
    }

    #[test]
    fn what_is_multicast_reaches_everybody_once_as_soon_as_it_can() {
        let tree = Topology::tree(40, 4, LINK);
        for from in [0, 7, 39] {
            let mut reached = vec![0; 40];
            tree.multicast(from, &mut Prng::new(1), |member, delay| {
                reached[member] += 1;
                assert_eq!(delay, tree.delay(from, member));
            });
            reached[from] += 1;
            assert_eq!(reached, [1; 40]);
        }
    }

    #[test]
    fn members_behind_a_link_lose_together() {
        let tree = Topology::tree(40, 4, Link { loss_ppm: 50_000, ..LINK });
        let mut rng = Prng::new(1);
        let mut reached = 0;
        let mut together = 0_u32;
        for _ in 0..2_000 {
            let mut got = [false; 40];
            tree.multicast(0, &mut rng, |member, _| got[member] = true);
            reached += got.iter().filter(|got| **got).count();
            together += u32::from(!got[1] && !got[2]);
        }
        let share = reached as f64 / 2_000.0 / 39.0 / 0.95_f64.powi(4);
        assert!((0.99..1.01).contains(&share), "{share}");
        // Two neighbours share three of their four links.
        assert_eq!(tree.hops(1, 2), 2);
        let expected = 1.0 - 0.95_f64.powi(3) * (1.0 - 0.05 * 0.05);
        assert!((f64::from(together) / 2_000.0 - expected).abs() < 0.03);
        let sent = (0..10_000).filter(|_| tree.send(0, 39, &mut rng).is_some()).count();
        let expected = 0.95_f64.powi(tree.hops(0, 39) as i32);
        assert!((sent as f64 / 10_000.0 - expected).abs() < 0.02);
    }
}
