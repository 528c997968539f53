//! What a member does about strangers: those who can't prove where they are get less than they
//! sent, and nobody but who is certified is given a key.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use spinglass_core::crypto::Salt;
use spinglass_core::identity::{SpiffeId, TrustDomain};
use spinglass_core::knock::{Nonce, STRANGER_BYTES_MAX, Strange};
use spinglass_core::table::ZonePath;
use spinglass_core::{
    Config, Datagram, Driver, Event, Host, Identity, Incarnation, Instant, Node, Now, Security,
    Transmit,
};
use spinglass_crypto::certificates::{Authority, Lifetime, Verifier, chain_of};
use spinglass_crypto::{GroupKeys, RealCrypto, SigningKey};

const WALL_S: u64 = 1_800_000_000;
/// Knocks that a member answers in a round.
const COOKIES_PER_ROUND: usize = 64;

#[derive(Default)]
struct Outside(Vec<Vec<u8>>);

impl Host for Outside {
    fn transmit(&mut self, transmit: &Transmit, segments: &[u8]) -> ControlFlow<()> {
        self.0.extend(segments.chunks(transmit.segment_bytes.max(1)).map(<[u8]>::to_vec));
        ControlFlow::Continue(())
    }

    fn deliver(&mut self, _event: Event) {}

    fn segments_max(&self) -> usize {
        16
    }
}

fn address(index: u8) -> SocketAddr {
    ([127, 0, 0, index], 7710).into()
}

fn now(ms: u64) -> Now {
    Now { monotonic: Instant::START + Duration::from_millis(ms), wall_ms: WALL_S * 1000 + ms }
}

fn authority(seed: u8) -> Authority {
    let domain = TrustDomain::parse("example.org").expect("a domain");
    let lifetime = Lifetime { now: WALL_S, seconds: 3600 };
    Authority::root(&domain, SigningKey::from_seed([seed; 32]), lifetime).expect("a root")
}

/// A member that `issuer` has certified, that trusts `trusted`, and that begins with this key.
fn member(index: u8, issuer: &Authority, trusted: &Authority, key: [u8; 32]) -> Driver {
    let own = SigningKey::from_seed([index; 32]);
    let name = SpiffeId::parse(&format!("spiffe://example.org/n{index}")).expect("a name");
    let lifetime = Lifetime { now: WALL_S, seconds: 3600 };
    let issued = issuer.issue(&name, &own.public_key(), lifetime).expect("within");
    let security = Security { chain: chain_of(&[issued]).expect("a chain"), policy: None };
    let verifier = Verifier::new(name.domain().clone(), vec![trusted.certificate().clone()]);
    let crypto = RealCrypto::new(own, GroupKeys::from_key(key));
    let crypto = crypto.trusting(verifier.expect("a root"));
    let identity = Identity {
        incarnation: Incarnation(7),
        salt: Salt([index; 16]),
        address: address(index),
        region: ZonePath::root(),
        name: String::new(),
    };
    let mut config = Config { security: Some(Box::new(security)), ..Config::lan() };
    config.link.keyless = index > 1;
    let config = config.check().expect("the defaults are good");
    let seeds = if index > 1 { vec![address(1)] } else { Vec::new() };
    let node = Node::new(config, identity, Box::new(crypto), index.into(), seeds, now(0));
    Driver::new(node.expect("it is certified"))
}

/// Gives a member a datagram; returns what strangers are told by it.
fn give(member: &mut Driver, from: SocketAddr, bytes: &[u8], ms: u64) -> Vec<Vec<u8>> {
    let (mut bytes, mut outside) = (bytes.to_vec(), Outside::default());
    member.handle_datagrams(now(ms), &mut [Datagram { from, bytes: &mut bytes }]);
    member.drain(now(ms), &mut outside);
    strange(outside)
}

fn strange(outside: Outside) -> Vec<Vec<u8>> {
    outside.0.into_iter().filter(|bytes| Strange::parse(bytes).is_ok()).collect()
}

/// What a stranger says by itself in the second that follows.
fn says(stranger: &mut Driver, ms: u64) -> Vec<Vec<u8>> {
    let mut outside = Outside::default();
    for ms in (ms..ms + 1000).step_by(50) {
        stranger.handle_timeout(now(ms));
        stranger.drain(now(ms), &mut outside);
    }
    strange(outside)
}

/// The two keys of a founder and a stranger, so that the stranger's stands below.
fn keys() -> [[u8; 32]; 2] {
    let hash =
        |key: &[u8; 32]| spinglass_crypto::hash(spinglass_core::crypto::Domain::EpochKey, key);
    let mut keys = [[1; 32], [2; 32]];
    keys.sort_by_key(|key| std::cmp::Reverse(hash(key)));
    keys
}

/// A member, a stranger, and the stranger's petition to the member.
fn petition(issuer: &Authority, trusted: &Authority) -> (Driver, Driver, Vec<u8>) {
    let [high, low] = keys();
    let mut first = member(1, trusted, trusted, high);
    first.handle_timeout(now(1000));
    // Whoever is not trusted trusts whom it likes.
    let mut stranger = member(2, issuer, issuer, low);
    let knock = says(&mut stranger, 0).pop().expect("it has no key, so it knocks");
    let [cookie] = &give(&mut first, address(2), &knock, 1000)[..] else { panic!("one cookie") };
    assert!(cookie.len() < knock.len());
    let [petition] = &give(&mut stranger, address(1), cookie, 1000)[..] else { panic!("one") };
    let petition = petition.clone();
    assert!(matches!(Strange::parse(&petition), Ok(Strange::Petition(_))));
    (first, stranger, petition)
}

#[test]
fn a_certified_stranger_is_given_the_key_by_no_more_bytes_than_it_sent() {
    let root = authority(9);
    let (mut first, mut stranger, petition) = petition(&root, &root);
    let [welcome] = &give(&mut first, address(2), &petition, 1000)[..] else { panic!("one") };
    assert!(welcome.len() <= petition.len() && petition.len() == STRANGER_BYTES_MAX);
    assert_eq!(first.node().stats().strangers_welcomed, 1);
    for bit in (0..welcome.len() * 8).step_by(7) {
        let mut bent = welcome.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        give(&mut stranger, address(1), &bent, 1000);
        assert_eq!(stranger.node().stats().epochs_entered, 0, "bit {bit}");
    }
    give(&mut stranger, address(3), welcome, 1000);
    assert_eq!(stranger.node().stats().epochs_entered, 0, "it comes from somebody else");
    give(&mut stranger, address(1), welcome, 1000);
    assert_eq!(stranger.node().stats().epochs_entered, 1);
}

#[test]
fn a_petition_counts_only_as_it_was_made_and_from_where_its_cookie_went() {
    let root = authority(9);
    let (mut first, _, petition) = petition(&root, &root);
    let before = first.node().stats().signatures_checked;
    for from in [address(3), SocketAddr::from(([127, 0, 0, 2], 7711))] {
        assert_eq!(give(&mut first, from, &petition, 1000), Vec::<Vec<u8>>::new());
    }
    assert_eq!(first.node().stats().signatures_checked, before, "nothing is looked at");
    for (round, bit) in (0..).zip((0..petition.len() * 8).step_by(97)) {
        let mut bent = petition.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        // In rounds of their own, since few are looked at in one.
        let ms = 1000 + 100 * round;
        first.handle_timeout(now(ms));
        // One that seems to have the higher key is knocked at: that is all.
        let answers = give(&mut first, address(2), &bent, ms);
        assert!(answers.iter().all(|it| matches!(Strange::parse(it), Ok(Strange::Knock(_)))));
    }
    assert_eq!(first.node().stats().strangers_welcomed, 0);
    assert!(first.node().stats().signatures_checked > before, "some were looked at");
    assert_eq!(
        give(&mut first, address(2), &petition, 11_000).len(),
        1,
        "as it was made it counts"
    );
}

#[test]
fn a_stranger_of_another_authority_gets_nothing() {
    let (mut first, _, petition) = petition(&authority(8), &authority(9));
    assert_eq!(give(&mut first, address(2), &petition, 1000), Vec::<Vec<u8>>::new());
    assert_eq!(first.node().stats().strangers_welcomed, 0);
}

#[test]
fn knocks_from_everywhere_cost_a_bounded_number_of_cookies() {
    let root = authority(9);
    let mut first = member(1, &root, &root, [1; 32]);
    let mut cookies = 0;
    for index in 0..2000_u32 {
        let mut knock = Vec::new();
        let [a, b, ..] = index.to_le_bytes();
        Strange::Knock(Nonce([a; 16])).encode(&mut knock);
        let answers = give(&mut first, ([10, 0, a, b], 7710).into(), &knock, 1000);
        assert!(answers.iter().all(|answer| answer.len() < knock.len()));
        cookies += answers.len();
    }
    assert_eq!(cookies, COOKIES_PER_ROUND);
}
