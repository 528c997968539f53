//! The group's key changes while members talk: they hold both keys, and seal under either.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use spinglass_core::Incarnation;
use spinglass_core::crypto::{Epoch, Salt};
use spinglass_core::link::{Boot, Link, Opened, Sealer};
use spinglass_core::members::MemberRecord;
use spinglass_core::table::ZonePath;
use spinglass_crypto::{GroupKeys, RealCrypto, SigningKey};

/// A member that holds the keys of epochs 0 and 1.
fn member(seed: u8, epoch: u8) -> (Link, Boot, RealCrypto) {
    let (old, new) = ("07".repeat(32), "08".repeat(32));
    let text =
        format!("spinglass-group-key v1 epoch=0 {old}\nspinglass-group-key v1 epoch=1 {new}\n");
    let keys = GroupKeys::parse(&text, Path::new("group.key")).expect("two keys");
    let own = SigningKey::from_seed([seed; 32]);
    let boot = Boot { sender: own.member_id(), salt: Salt([seed; 16]), generation: 0 };
    let mut crypto = RealCrypto::new(own, keys);
    let link = Link::new(Epoch(epoch), boot, &mut crypto).expect("a key for the epoch");
    (link, boot, crypto)
}

fn sealed(link: &mut Link, crypto: &mut RealCrypto, long: bool) -> Vec<u8> {
    let mut datagram = Vec::new();
    let begun = link.begin(long, &mut datagram);
    datagram.extend(b"frames");
    link.seal(&begun, &mut datagram, crypto);
    datagram
}

#[test]
fn members_of_two_epochs_understand_each_other() {
    for (ours, theirs) in [(0, 0), (0, 1), (1, 0)] {
        let (mut a, _, mut a_crypto) = member(1, ours);
        let (mut b, b_boot, mut b_crypto) = member(2, theirs);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7710));
        let (life, region) = (Incarnation(1), ZonePath::root());
        let record = Arc::new(MemberRecord::sign(&b_boot, life, address, region, &mut b_crypto));
        let mut open = |long| -> Opened {
            let mut datagram = sealed(&mut b, &mut b_crypto, long);
            let opened = a.open(&mut datagram, |_| None, &mut a_crypto).expect("it opens");
            if let Sealer::Claimed(boot) = opened.sealer {
                assert_eq!(boot, b_boot);
                a.admit(&opened, &record, &mut a_crypto);
            }
            opened
        };
        assert_eq!(open(true).sealer, Sealer::Claimed(b_boot));
        assert_eq!(open(false).sealer, Sealer::Known(b_boot.sender), "{ours} met {theirs}");
        assert_eq!(open(true).sealer, Sealer::Known(b_boot.sender));
    }
}
