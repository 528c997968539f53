//! Certified mode: what certificates a world's members have, good ones and others.

use bytes::Bytes;
use spinglass_core::crypto::PublicKey;
use spinglass_core::identity::{Chain, Scope, SpiffeId};
use spinglass_core::orders::{NewOrder, OrderError};
use spinglass_core::table::ZonePath;
use spinglass_core::{Checked, NodeError, Security, TopicId};

use super::{Observer, World};
use crate::crypto::{SimCrypto, Trust};
use crate::papers::{Authority, DOMAIN, FOREIGN, Odd, Paper, TRUSTED};

/// A day of virtual time.
const LIFETIME_S: u64 = 86_400;

impl World {
    /// Tells a member a topic's text, so that rules can be about it.
    pub fn tell_topic(&mut self, index: usize, text: &str) -> Option<TopicId> {
        Some(self.driver(index)?.topic(text))
    }

    /// Has a member give everybody an order.
    ///
    /// # Errors
    /// As the core's; a crashed member gives none.
    pub fn give_order(
        &mut self,
        index: usize,
        order: NewOrder,
        observer: &mut impl Observer,
    ) -> Result<(), OrderError> {
        let now = self.local_now(index);
        let driver = self.driver(index).ok_or(OrderError::NotCertified)?;
        let given = driver.give_order(now, order);
        self.drain(index, observer);
        given
    }

    /// Renews a member's certificate: a good one, until this second of the virtual time.
    ///
    /// # Errors
    /// As the core's.
    pub fn renew(
        &mut self,
        index: usize,
        until_s: u64,
        observer: &mut impl Observer,
    ) -> Result<(), NodeError> {
        if let Some(papers) = &mut self.setup.papers {
            papers.odd.insert(index, Odd::EndsAt(until_s));
        }
        let security = self.config_of(index).get().security.clone();
        let now = self.local_now(index);
        let (Some(driver), Some(security)) = (self.driver(index), security) else {
            return Err(NodeError::NotCertified);
        };
        driver.renew_security(now, &security)?;
        self.drain(index, observer);
        Ok(())
    }

    /// A list by which the trusted authority revokes these members' certificates.
    #[must_use]
    pub fn revocations(&self, indices: &[usize]) -> Bytes {
        use spinglass_core::crypto::{Crypto as _, Domain};
        let mut crypto = SimCrypto::new(&self.oracle, 0, 0);
        let chains = indices.iter().filter_map(|index| self.chain(*index));
        let hashes: Vec<_> =
            chains.map(|chain| crypto.hash(Domain::Certificate, chain.leaf())).collect();
        Authority::new(&self.oracle, TRUSTED).revoke(&hashes).into()
    }

    fn odd(&self, index: usize) -> Option<Odd> {
        self.setup.papers.as_ref()?.odd.get(&index).copied()
    }

    /// A member's chain; none, if it is not certified.
    fn chain(&self, index: usize) -> Option<Chain> {
        let bytes = self.setup.papers.as_ref()?.certificate_bytes;
        let odd = self.odd(index);
        let first = index - index.checked_rem(self.setup.region_members).unwrap_or(index);
        let holder = if odd == Some(Odd::Stolen) { first } else { index };
        let region = self.setup.region(holder);
        let zone = if odd == Some(Odd::OutsideZone) {
            ZonePath::parse("/elsewhere").expect("a legal path")
        } else {
            ZonePath::root()
        };
        let name = format!("spiffe://{DOMAIN}{}/{}", slashless(&region), super::name(holder));
        let whole = Scope::parse(&format!("spiffe://{DOMAIN}")).expect("a legal name");
        let paper = Paper {
            name: SpiffeId::parse(&name).expect("regions and names are legal"),
            public_key: self.public_key(holder),
            not_before: 0,
            not_after: if let Some(Odd::EndsAt(end)) = odd { end } else { LIFETIME_S },
            scope: Scope { zone, ..whole },
        };
        let authority = if odd == Some(Odd::Foreign) { FOREIGN } else { TRUSTED };
        let is_certified = odd != Some(Odd::Uncertified);
        is_certified.then(|| Authority::new(&self.oracle, authority).issue(&paper, bytes))
    }

    fn public_key(&self, index: usize) -> PublicKey {
        use spinglass_core::crypto::Crypto as _;
        SimCrypto::new(&self.oracle, index as u64 + 1, 0).public_key()
    }

    /// The settings that a member begins its next life with.
    pub(super) fn config_of(&self, index: usize) -> Checked {
        let cap = self.setup.cap(index);
        let chain = self.chain(index);
        if chain.is_none() && cap == 0 {
            return self.config.clone();
        }
        let mut config = self.config.get().clone();
        if cap > 0 {
            config.multicast.receive_rate_max = cap;
        }
        config.security = chain.map(|chain| self.security(index, chain));
        config.link.keyless = self.setup.papers.as_ref().is_some_and(|papers| papers.keyless);
        config.check().expect("a scenario's settings are good")
    }

    fn security(&self, index: usize, chain: Chain) -> Box<Security> {
        // Whoever is kept out by the rules has none of its own.
        let obeys = self.odd(index).is_none();
        let policy = self.setup.papers.as_ref().and_then(|papers| papers.policy.clone());
        let policy = policy.filter(|_| obeys);
        Box::new(Security { chain, policy })
    }

    /// Has a member trust whom it should, or believe everything if it has something to hide.
    pub(super) fn trusting(&self, index: usize, crypto: SimCrypto) -> SimCrypto {
        let keyless = self.setup.papers.as_ref().is_some_and(|papers| papers.keyless);
        let crypto = if keyless { crypto.keyless(self.life(index)) } else { crypto };
        match (self.chain(index), self.odd(index)) {
            (None, _) => crypto,
            (Some(_), None) => crypto.trusting(Trust::Authority(TRUSTED)),
            (Some(chain), Some(_)) => crypto.trusting(Trust::Everybody(chain)),
        }
    }
}

/// A zone's path as it stands in a name: nothing for the root.
fn slashless(zone: &ZonePath) -> &str {
    if zone.depth() == 0 { "" } else { zone.as_str() }
}
