//! What a simulated group is made of.

use std::num::NonZeroU32;

use spinglass_core::Config;
use spinglass_core::table::ZonePath;

use crate::papers::Papers;

/// Members of a region unless a scenario says otherwise: zones of 32 to 64 cost least (FACTS 4.9).
pub(crate) const REGION_MEMBERS: usize = 64;

/// How members are made.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many.
    pub members: usize,
    /// Their settings.
    pub config: Config,
    /// The seed of everything.
    pub seed: u64,
    /// Whether they hold each other's rows from the start; otherwise they join through member 0.
    pub acquainted: bool,
    /// Whether signatures and seals are the real ones.
    pub real_crypto: bool,
    /// Broken relays: this share of what every third member seals is damaged after it was checked.
    pub tamper_ppm: u32,
    /// Members per region; 0: there are no regions.
    pub region_members: usize,
    /// Child zones per zone above the regions; 0: all regions stand side by side.
    pub zone_children: usize,
    /// Members that know of one another at first: they join through the first of them, and have
    /// never heard of the others; 0: everybody joins through member 0.
    pub island_members: usize,
    /// One in so many messages is followed: what was seen of it goes to observers; none: none is.
    pub followed_one_in: Option<NonZeroU32>,
    /// What members may be sent, in bytes per second, by turns; 0: whatever there is.
    pub caps: Vec<u64>,
    /// How they are certified; none: they are not. Not with real cryptography, nor acquainted.
    pub papers: Option<Papers>,
}

impl Setup {
    /// A group of acquainted members with checksums for cryptography, in regions of at most
    /// 64.
    #[must_use]
    pub fn new(members: usize, config: Config, seed: u64) -> Self {
        Self {
            members,
            config,
            seed,
            acquainted: true,
            real_crypto: false,
            tamper_ppm: 0,
            region_members: if members > REGION_MEMBERS { REGION_MEMBERS } else { 0 },
            zone_children: 0,
            island_members: 0,
            followed_one_in: None,
            caps: Vec::new(),
            papers: None,
        }
    }
}

impl Setup {
    /// By whom a member joins: the first of its island, who joins by the second, if there is one.
    #[must_use]
    pub fn seed_of(&self, index: usize) -> Option<usize> {
        let first = index.checked_div(self.island_members).unwrap_or(0) * self.island_members;
        let seed = first + usize::from(index == first);
        let is_islander = self.island_members == 0 || seed < first + self.island_members;
        Some(seed).filter(|_| is_islander)
    }

    /// What a member may be sent, in bytes per second; 0: whatever there is.
    #[must_use]
    pub fn cap(&self, index: usize) -> u64 {
        let turn = index.checked_rem(self.caps.len());
        turn.and_then(|turn| self.caps.get(turn).copied()).unwrap_or(0)
    }

    /// The region of a member.
    #[must_use]
    pub fn region(&self, index: usize) -> ZonePath {
        let Some(mut region) = index.checked_div(self.region_members) else {
            return ZonePath::root();
        };
        let mut regions = self.members.div_ceil(self.region_members);
        let mut path = String::new();
        if self.zone_children < 2 {
            path = format!("/region{region:05}");
        }
        while self.zone_children >= 2 && regions > 1 {
            path = format!("/z{:03}{path}", region % self.zone_children);
            region /= self.zone_children;
            regions = regions.div_ceil(self.zone_children);
        }
        ZonePath::parse(&path).expect("names of small letters and digits")
    }
}
