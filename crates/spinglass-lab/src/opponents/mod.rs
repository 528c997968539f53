//! Older protocols, tuned as their authors advise, none crippled: what Spinglass is compared with.

pub mod fec;
pub mod hierarchy;
pub mod push_gossip;
pub mod repair_tree;
pub mod srm;
pub mod virtual_synchrony;
