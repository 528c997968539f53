//! The objects that an agent holds whole.
//!
//! What the agent's own row names, or a function in force, is kept whatever happens; all else was
//! fetched for somebody, and goes by age when there is no room.

use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::name::ObjectName;
use super::tree::Tree;

/// Objects held at most, whatever their size. When full, the one fetched first is dropped.
const OBJECTS_MAX: usize = 4096;

/// Objects by name.
#[derive(Debug)]
pub(crate) struct Store {
    held: BTreeMap<ObjectName, Held>,
    /// What must not be dropped.
    kept: BTreeSet<ObjectName>,
    bytes: usize,
    bytes_max: usize,
    /// How many came so far: tells which came first.
    came: u64,
}

/// An object and its tree.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    pub(crate) tree: Tree,
    came: u64,
}

impl Store {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { held: BTreeMap::new(), kept: BTreeSet::new(), bytes: 0, bytes_max, came: 0 }
    }

    pub(crate) fn find(&self, name: &ObjectName) -> Option<&Held> {
        self.held.get(name)
    }

    /// Whether an object of so many bytes fits beside what must not be dropped.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let kept = self.held.iter().filter(|(name, _)| self.kept.contains(*name));
        let (count, taken) =
            kept.fold((0, 0), |(count, taken), (_, held)| (count + 1, taken + held.cost()));
        count < OBJECTS_MAX && taken + bytes <= self.bytes_max
    }

    /// Takes an object in; fetched ones that are older make room. `false`: there is none.
    pub(crate) fn put(&mut self, name: ObjectName, bytes: Bytes, tree: Tree) -> bool {
        self.came += 1;
        let held = Held { bytes, tree, came: self.came };
        if let Some(again) = self.held.get_mut(&name) {
            again.came = held.came;
            return true;
        }
        let cost = held.cost();
        if !self.has_room(cost) {
            return false;
        }
        while self.bytes + cost > self.bytes_max || self.held.len() >= OBJECTS_MAX {
            let others = self.held.iter().filter(|(name, _)| !self.kept.contains(*name));
            let Some(oldest) = others.min_by_key(|(_, held)| held.came).map(|(name, _)| *name)
            else {
                return false;
            };
            self.drop_one(&oldest);
        }
        self.bytes += cost;
        self.held.insert(name, held);
        true
    }

    /// Sets what must not be dropped.
    pub(crate) fn keep(&mut self, kept: BTreeSet<ObjectName>) {
        self.kept = kept;
    }

    /// The same for one more.
    pub(crate) fn keep_one(&mut self, name: ObjectName) {
        self.kept.insert(name);
    }

    fn drop_one(&mut self, name: &ObjectName) {
        if let Some(held) = self.held.remove(name) {
            self.bytes -= held.cost();
        }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn check_invariants(&self) {
        let sum: usize = self.held.values().map(Held::cost).sum();
        assert!(sum == self.bytes, "an account that does not fit the objects");
        assert!(self.bytes <= self.bytes_max && self.held.len() <= OBJECTS_MAX);
    }
}

impl Held {
    fn cost(&self) -> usize {
        self.bytes.len() + self.tree.held_bytes()
    }
}
