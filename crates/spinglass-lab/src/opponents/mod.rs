//! Older protocols, tuned as their authors advise, none crippled: what Spinglass is compared with.

pub mod srm;
pub mod virtual_synchrony;
