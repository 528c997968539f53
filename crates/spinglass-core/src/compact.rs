//! Lists that take little more memory than what is in them: an agent has several for each member
//! that it has met, and a simulator has a million agents.

use alloc::vec::Vec;

/// A list that is full grows by this part of its length, and by [`GROWTH_MIN`].
const GROWTH_PART: usize = 8;
const GROWTH_MIN: usize = 4;

/// Makes room for one more item, and for few others.
pub(crate) fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / GROWTH_PART + GROWTH_MIN);
    }
}

/// Where in a list things are, by 32 bits of what they are looked for by: of a hash, best of all.
/// Several may have the same bits, so whoever looks says which one is meant.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Bits and places, in order.
    entries: Vec<(u32, u32)>,
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The places of whatever has these bits.
    pub(crate) fn places(&self, bits: u32) -> impl Iterator<Item = usize> {
        let first = self.entries.partition_point(|(own, _)| *own < bits);
        let same = self.entries.iter().skip(first).take_while(move |(own, _)| *own == bits);
        same.map(|(_, place)| *place as usize)
    }

    pub(crate) fn insert(&mut self, bits: u32, place: usize) {
        let entry = (bits, narrow(place));
        let at = self.entries.partition_point(|other| *other < entry);
        make_room(&mut self.entries);
        self.entries.insert(at, entry);
    }

    pub(crate) fn remove(&mut self, bits: u32, place: usize) {
        if let Ok(at) = self.entries.binary_search(&(bits, narrow(place))) {
            self.entries.remove(at);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("no list has 2^32 items")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_their_bits() {
        let mut index = Index::new();
        for (place, bits) in [7, 3, 7, 9, 3, 7].into_iter().enumerate() {
            index.insert(bits, place);
        }
        assert_eq!(index.places(7).collect::<Vec<_>>(), [0, 2, 5]);
        index.remove(7, 2);
        index.remove(9, 4);
        assert_eq!(index.places(7).collect::<Vec<_>>(), [0, 5]);
        assert_eq!((index.places(8).count(), index.len()), (0, 5));
    }

    #[test]
    fn a_list_has_little_to_spare() {
        let mut list = Vec::new();
        for item in 0..1000 {
            make_room(&mut list);
            list.push(item);
            assert!(list.capacity() <= list.len() + list.len() / GROWTH_PART + GROWTH_MIN);
        }
    }
}
