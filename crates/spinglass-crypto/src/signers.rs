//! Whose signatures are checked, and tables for those whose are checked most.
//!
//! A check is two multiplications of points: one of the base point, for which every library has a
//! table, and one of the signer's. With a table of the signer's, too, a check takes 21 us in place
//! of 31 (`cargo bench -p spinglass-crypto --bench crypto -- verify`). The table takes 30 KB, and
//! as long to make as some 100 checks save; so only a signer of whom a large part of all checks is
//! gets one: the sender of a busy stream.
//!
//! Both ways accept the same signatures: RFC 8032's equation without the cofactor, the scalar below
//! the group's order, and the encoding of the point as it was signed. A key that is not the one
//! encoding of a point of the prime-order group, for which libraries differ, gets no table.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{Context, SHA512};
use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsBasepointTable};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::BasepointTable as _;
use spinglass_core::crypto::{PublicKey, Signature};

/// Keys kept: parsing one costs an eighth of a check. When full, all are forgotten.
const SIGNERS_MAX: usize = 1024;
/// Tables kept: 240 KB. When full, the oldest is dropped.
const TABLES_MAX: usize = 8;
/// Checks after which it is looked at anew who is busy ...
const SPAN_CHECKS: u32 = 1024;
/// ... and how many of them must be one signer's: a quarter.
const BUSY_CHECKS: u32 = SPAN_CHECKS / 4;

/// The signers met.
#[derive(Debug, Default)]
pub(crate) struct Signers {
    signers: BTreeMap<PublicKey, Signer>,
    /// Those with a table, the oldest first.
    busy: Vec<PublicKey>,
    /// Checks in this span.
    checks: u32,
}

#[derive(Debug)]
struct Signer {
    key: ParsedPublicKey,
    /// Checks in this span.
    checks: u32,
    table: Option<Box<Table>>,
}

/// Multiples of a signer's point, negated.
struct Table {
    key: PublicKey,
    multiples: EdwardsBasepointTable,
}

impl Signers {
    /// Whether this key signed this message.
    pub(crate) fn verify(
        &mut self,
        key: &PublicKey,
        message: &[u8],
        signature: &Signature,
    ) -> bool {
        self.count();
        if !self.signers.contains_key(key) {
            let Ok(parsed) = ParsedPublicKey::new(&ED25519, key.0) else { return false };
            let fresh = Signer { key: parsed, checks: 0, table: None };
            self.signers.insert(*key, fresh);
        }
        let Some(signer) = self.signers.get_mut(key) else { return false };
        if let Some(table) = &signer.table {
            return table.verify(message, signature);
        }
        let verified = signer.key.verify_sig(message, &signature.0).is_ok();
        // What does not verify costs its sender no effort: it earns no table.
        signer.checks += u32::from(verified);
        if signer.checks == BUSY_CHECKS {
            self.add_table(key);
        }
        verified
    }

    fn count(&mut self) {
        self.checks += 1;
        if self.checks >= SPAN_CHECKS {
            self.checks = 0;
            self.signers.values_mut().for_each(|signer| signer.checks = 0);
        }
        if self.signers.len() >= SIGNERS_MAX {
            self.signers.clear();
            self.busy.clear();
        }
    }

    fn add_table(&mut self, key: &PublicKey) {
        let Some(table) = Table::new(key) else { return };
        if self.busy.len() >= TABLES_MAX {
            let oldest = self.busy.remove(0);
            self.signers.entry(oldest).and_modify(|signer| signer.table = None);
        }
        self.busy.push(*key);
        self.signers.entry(*key).and_modify(|signer| signer.table = Some(Box::new(table)));
    }
}

impl Table {
    fn new(key: &PublicKey) -> Option<Self> {
        let point = CompressedEdwardsY(key.0).decompress()?;
        let is_one_form = point.compress().0 == key.0 && point.is_torsion_free();
        let multiples = || EdwardsBasepointTable::create(&-point);
        is_one_form.then(|| Self { key: *key, multiples: multiples() })
    }

    fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let (signed_point, rest) = signature.0.split_at(32);
        let Ok(scalar) = rest.try_into() else { return false };
        let scalar: Option<Scalar> = Scalar::from_canonical_bytes(scalar).into();
        let Some(scalar) = scalar else { return false };
        let mut hash = Context::new(&SHA512);
        [signed_point, &self.key.0, message].into_iter().for_each(|part| hash.update(part));
        let Ok(hash) = hash.finish().as_ref().try_into() else { return false };
        let challenge = Scalar::from_bytes_mod_order_wide(&hash);
        let point = &challenge * &self.multiples + &scalar * ED25519_BASEPOINT_TABLE;
        point.compress().as_bytes() == signed_point
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Table").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SigningKey;

    /// The order of the group, little-endian (RFC 8032, section 5.1).
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn by_library(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let key = ParsedPublicKey::new(&ED25519, key.0).unwrap();
        key.verify_sig(message, &signature.0).is_ok()
    }

    proptest! {
        /// With a table and without, the same signatures hold: genuine ones, with any bit turned,
        /// of another message, and with the order added to the scalar.
        #[test]
        fn a_table_accepts_what_the_library_accepts(
            seed: [u8; 32],
            message in proptest::collection::vec(any::<u8>(), 0..100),
            bit in 0..512_usize,
        ) {
            let key = SigningKey::from_seed(seed);
            let (public, signature) = (key.public_key(), key.sign(&message));
            let table = Table::new(&public).unwrap();
            prop_assert!(table.verify(&message, &signature));
            let mut bent = signature;
            bent.0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!table.verify(&message, &bent));
            prop_assert_eq!(by_library(&public, &message, &bent), false);
            prop_assert!(!table.verify(b"another message", &signature));
            let mut twin = signature;
            let mut carry = 0;
            for (byte, more) in twin.0[32..].iter_mut().zip(ORDER) {
                let sum = u16::from(*byte) + u16::from(more) + carry;
                (*byte, carry) = (sum as u8, sum >> 8);
            }
            prop_assert!(!table.verify(&message, &twin));
            prop_assert!(!by_library(&public, &message, &twin));
        }
    }

    #[test]
    fn keys_of_more_than_one_form_get_no_table() {
        // A point of order 8, and y = 1 written as 1 + p.
        let of_order_8 = [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ];
        let mut large = [0xff; 32];
        (large[0], large[31]) = (0xee, 0x7f);
        assert!(Table::new(&PublicKey(of_order_8)).is_none());
        assert!(Table::new(&PublicKey(large)).is_none());
    }

    #[test]
    fn only_busy_signers_have_tables_and_few_do() {
        let mut signers = Signers::default();
        let keys: Vec<_> = (0..20).map(|seed| SigningKey::from_seed([seed; 32])).collect();
        let signatures: Vec<_> =
            keys.iter().map(|key| (key.public_key(), key.sign(b"x"))).collect();
        for _ in 0..100 {
            for (key, signature) in &signatures {
                assert!(signers.verify(key, b"x", signature));
            }
        }
        assert_eq!(signers.busy, [], "a twentieth is not busy");
        for (key, signature) in &signatures {
            (0..2 * SPAN_CHECKS).for_each(|_| assert!(signers.verify(key, b"x", signature)));
            assert!(!signers.verify(key, b"y", signature));
        }
        assert_eq!(signers.busy.len(), TABLES_MAX);
        let held = signers.signers.values().filter(|signer| signer.table.is_some()).count();
        assert_eq!(held, TABLES_MAX);
    }
}
