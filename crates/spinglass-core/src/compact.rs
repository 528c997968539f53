//! Lists that take little more memory than what is in them: an agent has several for each member
//! that it has met, and a simulator has a million agents.

use alloc::boxed::Box;
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

/// Items of a piece.
const PIECE_ITEMS: usize = 8;

/// A list in pieces, none of which ever moves: it grows without leaving holes behind, in memory
/// that a million others like it grow in at the same time.
#[derive(Debug)]
pub(crate) struct Pieces<T> {
    pieces: Vec<Box<[Option<T>; PIECE_ITEMS]>>,
    len: usize,
}

impl<T> Pieces<T> {
    pub(crate) const fn new() -> Self {
        Self { pieces: Vec::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.pieces.get(place / PIECE_ITEMS)?.get(place % PIECE_ITEMS)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.slot(place)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| piece.iter()).flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flat_map(|piece| piece.iter_mut()).flatten()
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.len == self.pieces.len() * PIECE_ITEMS {
            make_room(&mut self.pieces);
            self.pieces.push(Box::new([const { None }; PIECE_ITEMS]));
        }
        if let Some(slot) = self.slot(self.len) {
            *slot = Some(item);
            self.len += 1;
        }
    }

    /// Takes an item out; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, place: usize) -> Option<T> {
        self.get(place)?;
        let last = self.slot(self.len - 1)?.take();
        self.len -= 1;
        if self.len.is_multiple_of(PIECE_ITEMS) {
            self.pieces.pop();
        }
        if place == self.len { last } else { core::mem::replace(self.slot(place)?, last) }
    }

    fn slot(&mut self, place: usize) -> Option<&mut Option<T>> {
        self.pieces.get_mut(place / PIECE_ITEMS)?.get_mut(place % PIECE_ITEMS)
    }
}

/// Where in a list things are, by 32 bits of what they are looked for by: of a hash, best of all.
/// Several may have the same bits, so whoever looks says which one is meant.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Places, in order; a few bits of what they are looked for by are in front of each.
    entries: Vec<u32>,
}

/// Bits of a place; the others of an entry are bits of what is looked for.
const PLACE_BITS: u32 = 20;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
/// Entries that room is made for at once: they fill a line of the processor's cache.
const ENTRIES_MORE: usize = 16;

impl Index {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The places of whatever has these bits, and seldom of something else, in order.
    pub(crate) fn places(&self, bits: u32) -> impl Iterator<Item = usize> {
        let front = front(bits);
        let first = self.entries.partition_point(|entry| *entry < front);
        let same = self.entries.iter().skip(first);
        let same = same.take_while(move |entry| *entry & !PLACE_MASK == front);
        same.map(|entry| (entry & PLACE_MASK) as usize)
    }

    pub(crate) fn insert(&mut self, bits: u32, place: usize) {
        self.add(front(bits) | narrow(place));
    }

    pub(crate) fn remove(&mut self, bits: u32, place: usize) {
        if let Ok(at) = self.entries.binary_search(&(front(bits) | narrow(place))) {
            self.entries.remove(at);
        }
    }

    /// Forgets a place, into which the last one moves.
    pub(crate) fn swap_remove(&mut self, place: usize, last: usize) {
        let [place, last] = [place, last].map(narrow);
        self.entries.retain(|entry| entry & PLACE_MASK != place);
        let moved = self.entries.iter().position(|entry| entry & PLACE_MASK == last);
        if let Some(at) = moved {
            let entry = self.entries.remove(at);
            self.add(entry & !PLACE_MASK | place);
        }
    }

    fn add(&mut self, entry: u32) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(ENTRIES_MORE.max(self.entries.len() / GROWTH_PART));
        }
        let at = self.entries.partition_point(|other| *other < entry);
        self.entries.insert(at, entry);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// What stands in front of a place: bits that depend on all of those given.
const fn front(bits: u32) -> u32 {
    bits.wrapping_mul(0x9e37_79b9) & !PLACE_MASK
}

fn narrow(place: usize) -> u32 {
    let place = u32::try_from(place).ok().filter(|place| *place <= PLACE_MASK);
    place.expect("no list has more than 2^20 items")
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
        index.swap_remove(0, 5);
        assert_eq!(index.places(7).collect::<Vec<_>>(), [0]);
        index.swap_remove(4, 4);
        assert_eq!(index.len(), 3);
    }

    #[test]
    fn pieces_are_a_list() {
        let (mut pieces, mut list, mut seed) = (Pieces::new(), Vec::new(), 1_usize);
        for item in 0..1000 {
            seed = seed.wrapping_mul(25_214_903_917).wrapping_add(11);
            if seed >> 16 & 3 == 0 && !list.is_empty() {
                let place = (seed >> 20) % list.len();
                assert_eq!(pieces.swap_remove(place), Some(list.swap_remove(place)));
            } else {
                pieces.push(item);
                list.push(item);
            }
            assert!(pieces.iter().eq(&list) && pieces.len() == list.len());
            assert!(pieces.pieces.len() == list.len().div_ceil(PIECE_ITEMS));
        }
        assert_eq!((pieces.get(3), pieces.get(1000)), (list.get(3), None));
        assert_eq!(pieces.swap_remove(1000), None);
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
