//! A node's part in knocking: as the stranger, and as whom strangers ask.

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::Node;
use crate::crypto::Signature;
use crate::epochs::byte;
use crate::event::Reject;
use crate::id::MemberId;
use crate::knock::{self, Asked, Nonce, Petition, Strange, Welcome};
use crate::outbox::Control;
use crate::time::Now;

impl Node {
    /// Whether a datagram is a stranger's, or to one. Without certificates there are no strangers:
    /// to such a member it is of another version.
    pub(super) fn is_strange(&self, datagram: &[u8]) -> bool {
        self.orders.is_some() && datagram.first().copied().is_some_and(knock::is_strange)
    }

    /// Something could be opened.
    pub(super) fn on_opened(&mut self) {
        self.orders.iter_mut().for_each(|orders| orders.knocks.on_heard());
    }

    pub(super) fn on_strange(&mut self, from: SocketAddr, datagram: &[u8], now: Now) {
        let message = Strange::parse(datagram).map_err(|_| Reject::Malformed);
        let taken = message.and_then(|message| match message {
            Strange::Knock(nonce) => {
                self.on_knock(from, nonce);
                Ok(())
            }
            Strange::Cookie(nonce, cookie) => {
                let blank = self.blank_petition()?;
                self.on_cookie(from, Petition { nonce, cookie, ..blank });
                Ok(())
            }
            Strange::Petition(petition) => self.on_petition(from, &petition, now),
            Strange::Welcome(welcome) => self.on_welcome(from, &welcome, now),
        });
        if let Err(reject) = taken {
            self.stats.reject(reject);
        }
    }

    fn send_strange(&mut self, to: SocketAddr, message: Strange) {
        self.outbox.control(Control::Strange { to, message: Box::new(message) });
    }

    // --- as the stranger

    /// Knocks at somebody's, if this member hears nothing that it can open, or somebody whom it has
    /// met seals under another key.
    pub(super) fn knock_if_locked_out(&mut self, behind: Option<SocketAddr>) {
        let Some(orders) = &self.orders else { return };
        if self.has_left || !orders.knocks.is_locked_out() && behind.is_none() {
            return;
        }
        let to = match behind {
            // Only from one who may rotate is a key taken by somebody who hears others.
            Some(behind) => self.choose_rotator().or(Some(behind)),
            None => self.choose_acquaintance(),
        };
        to.into_iter().for_each(|to| self.knock_at(to, false));
    }

    fn knock_at(&mut self, to: SocketAddr, in_turn: bool) {
        let knock = self.orders.as_mut().and_then(|orders| orders.knocks.knock(to, in_turn));
        if let Some(knock) = knock {
            self.stats.knocks_sent += 1;
            self.send_strange(to, knock);
        }
    }

    /// Somebody who may be there: a seed, or whom the table tells of or remembers.
    fn choose_acquaintance(&mut self) -> Option<SocketAddr> {
        let own = self.own.address;
        let seeds = self.table.seeds_given().iter().copied();
        let mut known: alloc::vec::Vec<_> = seeds.chain(self.table.acquaintances()).collect();
        known.retain(|address| *address != own);
        known.get(self.object_rng.index(known.len().max(1))).copied()
    }

    /// Somebody whom this member has met, and who may give the group a key.
    fn choose_rotator(&mut self) -> Option<SocketAddr> {
        let rotators = self.trust.as_ref()?.rotators();
        let addresses = rotators.filter_map(|id| self.members.address_of(id));
        let known: alloc::vec::Vec<_> = addresses.filter(|to| *to != self.own.address).collect();
        known.get(self.object_rng.index(known.len().max(1))).copied()
    }

    /// A petition but for what the cookie brings; none without a key to offer anything for.
    fn blank_petition(&mut self) -> Result<Petition, Reject> {
        let holder = self.trust.as_ref().and_then(|trust| trust.holder(self.own.id()));
        let chain = holder.ok_or(Reject::Uncertified)?.chain.clone();
        let orders = self.orders.as_ref().ok_or(Reject::Uncertified)?;
        let rank = orders.rank(&mut *self.crypto);
        Ok(Petition {
            nonce: Nonce([0; 16]),
            cookie: crate::crypto::Hash::default(),
            rank,
            offer: crate::crypto::Offer([0; 32]),
            chain,
            signature: Signature([0; 64]),
        })
    }

    fn on_cookie(&mut self, from: SocketAddr, blank: Petition) {
        let Some(orders) = &mut self.orders else { return };
        // A key that is on its way by order has the only offer.
        if orders.epochs.is_wanting() && !orders.knocks.is_locked_out() {
            return;
        }
        let Some(asked) = orders.knocks.asked(from, blank.nonce) else { return };
        if asked.petition.is_some() {
            return;
        }
        let mut petition = Petition { offer: self.crypto.offer(), ..blank };
        let signed = petition.signed();
        petition.signature = self.crypto.sign(&signed);
        self.stats.signatures_made += 1;
        asked.petition = Some(signed);
        orders.epochs.lose_offer();
        self.send_strange(from, Strange::Petition(petition));
    }

    /// Takes over the key that a member of the group gives, if it stands above the own one.
    fn on_welcome(&mut self, from: SocketAddr, welcome: &Welcome, now: Now) -> Result<(), Reject> {
        let (Some(trust), Some(orders)) = (&mut self.trust, &mut self.orders) else {
            return Ok(());
        };
        let asked = orders.knocks.asked(from, welcome.nonce);
        let Some(Asked { petition: Some(petition), .. }) = asked.cloned() else { return Ok(()) };
        let own = orders.rank(&mut *self.crypto);
        if welcome.rank <= own {
            return Ok(());
        }
        let holder = trust.admit(welcome.chain.clone(), now.wall_s(), &mut *self.crypto)?;
        // Whoever hears nobody takes any member's word for the key. Others know of no order that
        // says so, and it might have been given by somebody who may not.
        let is_first = [own.epoch, welcome.rank.epoch] == [0; 2] && orders.knocks.is_young();
        let needs_right = own.is_shared && !is_first;
        if needs_right && !trust.may_rotate(&holder) {
            return Err(Reject::Denied);
        }
        self.stats.signatures_checked += 1;
        let (key, signed) = (holder.certified.public_key(), welcome.signed(&petition));
        if !self.crypto.verify(key, &signed, &welcome.signature) {
            return Err(Reject::Forged);
        }
        let Welcome { rank, sealed, .. } = welcome;
        if !self.crypto.open_epoch(byte(rank.epoch), sealed, &petition, &rank.hash) {
            return Err(Reject::Forged);
        }
        orders.epochs.adopt(*rank, &mut self.link, &mut *self.crypto);
        orders.knocks.on_new_key();
        self.stats.epochs_entered += 1;
        self.table.meet(from);
        Ok(())
    }

    // --- as whom strangers ask

    fn on_knock(&mut self, from: SocketAddr, nonce: Nonce) {
        let Some(orders) = &mut self.orders else { return };
        if let Some(cookie) = orders.knocks.on_knock(from, nonce, &mut *self.crypto) {
            self.send_strange(from, cookie);
        }
    }

    /// Gives a stranger the key, if it is certified and may join, and the own key stands above its.
    fn on_petition(
        &mut self,
        from: SocketAddr,
        petition: &Petition,
        now: Now,
    ) -> Result<(), Reject> {
        let (Some(trust), Some(orders)) = (&mut self.trust, &mut self.orders) else {
            return Ok(());
        };
        if self.has_left || !orders.knocks.may_look(from, petition, &mut *self.crypto) {
            return Ok(());
        }
        let rank = orders.rank(&mut *self.crypto);
        if rank <= petition.rank {
            // It is this member that lacks a key, and the cookie says that somebody is there.
            if rank < petition.rank {
                self.knock_at(from, true);
            }
            return Ok(());
        }
        let holder = trust.admit(petition.chain.clone(), now.wall_s(), &mut *self.crypto)?;
        self.stats.signatures_checked += 1;
        let (key, signed) = (holder.certified.public_key(), petition.signed());
        if !self.crypto.verify(key, &signed, &petition.signature) {
            return Err(Reject::Forged);
        }
        let own: MemberId = self.own.id();
        let Some(chain) = trust.holder(own).map(|holder| holder.chain.clone()) else {
            return Ok(());
        };
        let sealed = self.crypto.seal_epoch(byte(rank.epoch), &petition.offer, &signed);
        let Some(sealed) = sealed else { return Ok(()) };
        let signature = Signature([0; 64]);
        let nonce = petition.nonce;
        let mut welcome = Welcome { nonce, rank, sealed, chain, signature };
        welcome.signature = self.crypto.sign(&welcome.signed(&signed));
        self.stats.signatures_made += 1;
        self.stats.strangers_welcomed += 1;
        orders.knocks.on_given();
        self.send_strange(from, Strange::Welcome(welcome));
        Ok(())
    }
}
