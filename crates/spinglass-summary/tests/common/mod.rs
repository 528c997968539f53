//! What several tests need: a generator of numbers, and rows.
#![expect(dead_code, unreachable_pub, reason = "each test file uses a part of this one")]

pub mod hostile;

use spinglass_summary::{Name, Row, Value};

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

pub fn row(attributes: &[(&str, Value)]) -> Row {
    let named =
        |(name, value): &(&str, Value)| (Name::new(name).expect("a legal name"), value.clone());
    attributes.iter().map(named).collect()
}

pub fn keyed<'a>(keys: &'a [String], rows: &'a [Row]) -> Vec<(&'a str, &'a Row)> {
    keys.iter().map(String::as_str).zip(rows).collect()
}

pub fn keys(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{index:05}")).collect()
}
