//! Chains of every kind against the verifier: what holds, and each way in which one does not.

#![expect(clippy::unwrap_used, reason = "a test that can't go on stops")]

use std::path::Path;

use spinglass_core::identity::{
    Certified, Chain, Refusal, Scope, SpiffeId, TrustDomain, VerifyChain,
};
use spinglass_crypto::SigningKey;
use spinglass_crypto::certificates::{
    Authority, BACKDATED_S, Certificate, CertificateError, Lifetime, Revocations, Verifier,
    chain_of, parse_chain,
};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn days(days: u64) -> Lifetime {
    Lifetime { now: NOW, seconds: days * DAY }
}

fn name(text: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://example.org{text}")).unwrap()
}

fn scope(text: &str) -> Scope {
    Scope::parse(&format!("spiffe://example.org{text}")).unwrap()
}

fn domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn root(seed: u8) -> Authority {
    Authority::root(&domain(), key(seed), days(3650)).unwrap()
}

/// A certifier of `zone` that `issuer` certified, with the chain that comes with it.
fn certifier(issuer: &Authority, zone: &str, seed: u8) -> Authority {
    let issued = issuer.certify_zone(&scope(zone), &key(seed).public_key(), days(365)).unwrap();
    let chain = parse_chain(issuer.chain_pem(&issued).as_bytes(), Path::new("zone")).unwrap();
    Authority::new(chain, key(seed)).unwrap()
}

/// A member's chain, as it is in its file.
fn member(issuer: &Authority, named: &str, seed: u8) -> Vec<Certificate> {
    let issued = issuer.issue(&name(named), &key(seed).public_key(), days(7)).unwrap();
    parse_chain(issuer.chain_pem(&issued).as_bytes(), Path::new("member")).unwrap()
}

fn verifier(roots: &[&Authority]) -> Verifier {
    let anchors = roots.iter().map(|root| root.certificate().clone()).collect();
    Verifier::new(domain(), anchors).unwrap()
}

fn verify(verifier: &Verifier, chain: &[Certificate], at: u64) -> Result<Certified, Refusal> {
    Certified::verify(&chain_of(chain).unwrap(), at, verifier)
}

#[test]
fn a_member_is_who_its_chain_says() {
    let root = root(1);
    let usa = certifier(&root, "/usa", 2);
    let ithaca = certifier(&usa, "/usa/ithaca", 3);
    let chain = member(&ithaca, "/usa/ithaca/cs/n1", 4);
    assert_eq!(chain.len(), 3, "the root stays at home");
    let certified = verify(&verifier(&[&root]), &chain, NOW).unwrap();
    assert_eq!(*certified.name(), name("/usa/ithaca/cs/n1"));
    assert_eq!(*certified.public_key(), key(4).public_key());
    assert_eq!(*certified.scope(), scope("/usa/ithaca"));
    assert_eq!(certified.hash(), chain[0].hash());
    assert_eq!(certified.not_before(), NOW - BACKDATED_S);
    assert_eq!(certified.not_after(), NOW + 7 * DAY);
    let mut bytes = Vec::new();
    chain_of(&chain).unwrap().encode(&mut bytes);
    assert!(bytes.len() < 1500, "{} bytes", bytes.len());
    // Certifiers come in any order, and the root beside them does no harm.
    let [leaf, one, two] = &chain[..] else { panic!("three") };
    let mixed = [leaf.clone(), root.certificate().clone(), two.clone(), one.clone()];
    assert!(verify(&verifier(&[&root]), &mixed, NOW).is_ok());
}

#[test]
fn a_certifier_names_only_what_lies_below_its_zone() {
    let root = root(1);
    let usa = certifier(&root, "/usa", 2);
    let outside = usa.issue(&name("/asia/n1"), &key(3).public_key(), days(7));
    assert!(matches!(outside, Err(CertificateError::OutsideScope { .. })));
    let above = usa.certify_zone(&scope(""), &key(3).public_key(), days(7));
    assert!(matches!(above, Err(CertificateError::OutsideScope { .. })));
    // One that does it all the same: a certifier with the key of /usa under a name of its own.
    let rogue = Authority::root(&domain(), key(2), days(365)).unwrap();
    let forged = member(&rogue, "/asia/n1", 4);
    let chain = [forged[0].clone(), usa.certificate().clone()];
    assert_eq!(verify(&verifier(&[&root]), &chain, NOW), Err(Refusal::UnknownIssuer));
    // And a root that is bound to a zone binds what is below it.
    let bound = Verifier::new(domain(), vec![usa.certificate().clone()]).unwrap();
    assert!(verify(&bound, &member(&usa, "/usa/n1", 5), NOW).is_ok());
    assert!(verify(&bound, &member(&root, "/usa/n1", 5), NOW).is_err());
}

#[test]
fn time_bounds_every_certificate_of_a_chain() {
    let root = root(1);
    let short = root.certify_zone(&scope("/usa"), &key(2).public_key(), days(2)).unwrap();
    let usa = Authority::new(vec![short], key(2)).unwrap();
    let chain = member(&usa, "/usa/n1", 3);
    let verifier = verifier(&[&root]);
    let certified = verify(&verifier, &chain, NOW).unwrap();
    assert_eq!(certified.not_after(), NOW + 2 * DAY, "no longer than its issuer");
    assert!(verify(&verifier, &chain, NOW + 2 * DAY).is_ok());
    let late = verify(&verifier, &chain, NOW + 2 * DAY + 1);
    assert_eq!(late, Err(Refusal::Expired { not_after: NOW + 2 * DAY }));
    let early = verify(&verifier, &chain, NOW - BACKDATED_S - 1);
    assert_eq!(early, Err(Refusal::NotYet { not_before: NOW - BACKDATED_S }));
    let expired = usa.issue(
        &name("/usa/n2"),
        &key(4).public_key(),
        Lifetime { now: NOW + 3 * DAY, seconds: DAY },
    );
    assert!(matches!(expired, Err(CertificateError::EmptyLifetime)));
    // A root that has expired counts no longer.
    let old = Authority::root(&domain(), key(9), days(1)).unwrap();
    let verifier = Verifier::new(domain(), vec![old.certificate().clone()]).unwrap();
    let chain = member(&old, "/n1", 3);
    assert!(verify(&verifier, &chain, NOW + DAY).is_ok());
    assert!(matches!(verify(&verifier, &chain, NOW + DAY + 1), Err(Refusal::Expired { .. })));
}

#[test]
fn strangers_and_members_of_other_domains_are_refused() {
    let (ours, theirs) = (root(1), root(2));
    let chain = member(&theirs, "/n1", 3);
    assert_eq!(verify(&verifier(&[&ours]), &chain, NOW), Err(Refusal::UnknownIssuer));
    let elsewhere = TrustDomain::parse("example.com").unwrap();
    let other = Verifier::new(elsewhere, vec![ours.certificate().clone()]).unwrap();
    assert_eq!(verify(&other, &member(&ours, "/n1", 3), NOW), Err(Refusal::ForeignDomain));
    // A certifier is no member, and a member no certifier.
    let usa = certifier(&ours, "/usa", 4);
    let alone = [usa.certificate().clone()];
    assert_eq!(verify(&verifier(&[&ours]), &alone, NOW), Err(Refusal::NotAMember));
    let chain = member(&ours, "/usa/n1", 5);
    assert!(matches!(Authority::new(chain, key(5)), Err(CertificateError::NotAnAuthority)));
    assert!(matches!(
        Authority::new(vec![usa.certificate().clone()], key(5)),
        Err(CertificateError::OtherKey)
    ));
}

#[test]
fn two_roots_are_trusted_while_one_replaces_the_other() {
    let (old, new) = (root(1), root(2));
    let both = verifier(&[&old, &new]);
    for root in [&old, &new] {
        assert!(verify(&both, &member(root, "/n1", 3), NOW).is_ok());
    }
    assert!(verify(&verifier(&[&new]), &member(&old, "/n1", 3), NOW).is_err());
}

#[test]
fn what_was_revoked_is_refused_with_all_below_it() {
    let root = root(1);
    let (usa, asia) = (certifier(&root, "/usa", 2), certifier(&root, "/asia", 3));
    let (n1, n2) = (member(&usa, "/usa/n1", 4), member(&usa, "/usa/n2", 5));
    let n3 = member(&asia, "/asia/n3", 6);
    let mut verifier = verifier(&[&root]);
    let list = usa.revoke(None, &[n1[0].serial()], NOW).unwrap();
    verifier.add_revocations(list).unwrap();
    assert_eq!(verify(&verifier, &n1, NOW), Err(Refusal::Revoked));
    assert!(verify(&verifier, &n2, NOW).is_ok());
    assert!(verify(&verifier, &n1, NOW + 400 * DAY).is_err(), "an overdue list still counts");
    let list = root.revoke(None, &[usa.certificate().serial()], NOW).unwrap();
    verifier.add_revocations(list).unwrap();
    assert_eq!(verify(&verifier, &n2, NOW), Err(Refusal::Revoked));
    assert!(verify(&verifier, &n3, NOW).is_ok());
}

#[test]
fn lists_grow_and_forged_ones_count_for_nothing() {
    let (root, rogue) = (root(1), root(2));
    let (n1, n2) = (member(&root, "/n1", 4), member(&root, "/n2", 5));
    let first = root.revoke(None, &[n1[0].serial()], NOW).unwrap();
    let first_again = Revocations::parse(first.der().to_vec()).unwrap();
    let second = root.revoke(Some(&first), &[n2[0].serial(), n1[0].serial()], NOW).unwrap();
    assert_eq!(second.revoked().count(), 2);
    assert!(second.this_update() > first.this_update(), "the newer one can be told");
    let mut verifier = verifier(&[&root]);
    verifier.add_revocations(second).unwrap();
    verifier.add_revocations(first_again).unwrap();
    assert_eq!(verify(&verifier, &n2, NOW), Err(Refusal::Revoked), "the older one came later");
    // A list in the root's name by another key: neither revokes nor hides what is revoked.
    let mut bent = root.revoke(None, &[], NOW + DAY).unwrap().der().to_vec();
    *bent.last_mut().unwrap() ^= 1;
    verifier.add_revocations(Revocations::parse(bent).unwrap()).unwrap();
    assert_eq!(verify(&verifier, &n1, NOW), Err(Refusal::Revoked));
    let foreign = root.revoke(Some(&rogue.revoke(None, &[], NOW).unwrap()), &[], NOW);
    assert!(matches!(foreign, Err(CertificateError::OtherIssuer { .. })));
}

#[test]
fn no_list_gives_way_and_none_outgrows_its_bound() {
    let root = root(1);
    let mut verifier = verifier(&[&root]);
    let list = || root.revoke(None, &[], NOW).unwrap();
    for _ in 0..Verifier::REVOCATIONS_MAX {
        verifier.add_revocations(list()).unwrap();
    }
    assert!(matches!(verifier.add_revocations(list()), Err(CertificateError::TooManyLists)));
    let serials: Vec<[u8; 16]> = (0..3000_u128).map(|at| (at | 1 << 126).to_be_bytes()).collect();
    let serials: Vec<&[u8]> = serials.iter().map(|serial| &serial[..]).collect();
    let revoked = root.revoke(None, &serials[..1500], NOW).unwrap();
    assert_eq!(revoked.revoked().count(), 1500);
    assert!(matches!(root.revoke(None, &serials, NOW), Err(CertificateError::RevocationsFull)));
}

#[test]
fn certificates_may_outlast_the_years_of_two_digits() {
    let root = Authority::root(&domain(), key(1), days(36_500)).unwrap();
    assert_eq!(root.certificate().not_after(), NOW + 36_500 * DAY);
    let member = root.issue(&name("/n1"), &key(2).public_key(), days(36_500)).unwrap();
    assert!(verify(&verifier(&[&root]), &[member], NOW + 36_000 * DAY).is_ok());
}

#[test]
fn no_bent_chain_is_accepted() {
    let root = root(1);
    let usa = certifier(&root, "/usa", 2);
    let chain = chain_of(&member(&usa, "/usa/n1", 3)).unwrap();
    let verifier = verifier(&[&root]);
    let good = verifier.verify_chain(&chain, NOW).unwrap();
    let mut bytes = Vec::new();
    chain.encode(&mut bytes);
    // Every byte, a different bit each.
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 1 << (at % 8);
        let Ok(bent) = Chain::parse(&bent) else { continue };
        let claims = verifier.verify_chain(&bent, NOW);
        assert!(claims.is_err(), "byte {at}: {claims:?}");
    }
    for cut in 0..bytes.len() {
        let Ok(cut) = Chain::parse(&bytes[..cut]) else { continue };
        assert_eq!(verifier.verify_chain(&cut, NOW), Err(Refusal::UnknownIssuer));
    }
    assert_eq!(good.name, name("/usa/n1"));
}
