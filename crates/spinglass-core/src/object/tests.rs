//! Trees, and what is dropped when there is no room.

use alloc::vec;

use super::*;
use crate::crypto::{Domain, Epoch, Hash, LinkKey, PublicKey, Salt, Signature};
use crate::id::MemberId;

/// Hashes alone: a checksum by domain.
#[derive(Debug)]
struct Checksum;

impl Crypto for Checksum {
    fn public_key(&self) -> PublicKey {
        PublicKey([0; 32])
    }
    fn sign(&mut self, _: &[u8]) -> Signature {
        Signature([0; 64])
    }
    fn verify(&mut self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
        false
    }
    fn hash(&mut self, domain: Domain, message: &[u8]) -> Hash {
        let start = 0xcbf2_9ce4_8422_2325 ^ (message.len() as u64) << 8 ^ domain as u64;
        let sum = message.iter().fold(start, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
        });
        Hash((u128::from(sum) << 64 | u128::from(sum ^ start)).to_le_bytes())
    }
    fn hash_many(&mut self, domain: Domain, messages: &[&[u8]], hashes: &mut Vec<Hash>) {
        hashes.extend(messages.iter().map(|message| self.hash(domain, message)));
    }
    fn link_key(&mut self, _: Epoch, _: &MemberId, _: &Salt, _: u32) -> Option<LinkKey> {
        None
    }
    fn forget(&mut self, _: LinkKey) {}
    fn seal(&mut self, _: LinkKey, _: u64, _: &[u8], _: &mut [u8]) -> [u8; 16] {
        [0; 16]
    }
    fn open(&mut self, _: LinkKey, _: u64, _: &[u8], _: &mut [u8]) -> bool {
        false
    }
}

fn content(bytes: usize, salt: u8) -> Bytes {
    (0..bytes).map(|at| (at / 3) as u8 ^ salt).collect()
}

fn objects(store_bytes_max: usize) -> Objects {
    Objects::new(ObjectsConfig { store_bytes_max, ..ObjectsConfig::default() })
}

#[test]
fn every_piece_verifies_alone_and_as_nothing_else() {
    let sizes = [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 5 * PIECE_BYTES + 7];
    for size in sizes {
        let bytes = content(size, 0);
        let mut objects = objects(1 << 20);
        let name = objects.put(bytes.clone(), &mut Checksum).unwrap();
        let larger = ObjectName::new(name.root(), size as u32 + 1).unwrap();
        for index in 0..name.pieces() {
            let mut body = Vec::new();
            objects.put_piece(&name, index, &mut body);
            let piece = PieceRef::parse(&body).unwrap();
            let PieceRef { path, content, .. } = piece;
            let from = PIECE_BYTES * index as usize;
            assert_eq!(content, &bytes[from..size.min(from + PIECE_BYTES)]);
            assert!(verify(&name, index, path, content, &mut Checksum), "{index} of {size}");
            assert!(!verify(&larger, index, path, content, &mut Checksum), "another size");
            assert!(!verify(&name, index ^ 1, path, content, &mut Checksum), "another place");
            let mut bent = content.to_vec();
            bent.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            assert!(size == 0 || !verify(&name, index, path, &bent, &mut Checksum));
        }
    }
}

#[test]
fn what_is_in_use_is_kept_and_the_rest_goes_by_age() {
    let mut store = Store::new(10_000);
    let put = |store: &mut Store, salt| {
        let bytes = content(3000, salt);
        let tree = Tree::of(&bytes, &mut Checksum);
        let name = ObjectName::new(tree.root(3000, &mut Checksum), 3000).unwrap();
        (name, store.put(name, bytes, tree))
    };
    let names: Vec<ObjectName> = (0..3).map(|salt| put(&mut store, salt).0).collect();
    store.keep(BTreeSet::from([names[0]]));
    let (fourth, is_held) = put(&mut store, 3);
    assert!(is_held);
    let held = |store: &Store| -> Vec<bool> {
        names.iter().map(|name| store.find(name).is_some()).collect()
    };
    assert_eq!(held(&store), [true, false, true], "the oldest that is not in use");
    store.keep(BTreeSet::from([names[0], names[2], fourth]));
    assert!(!put(&mut store, 4).1 && !store.has_room(3000));
    assert_eq!(held(&store), [true, false, true]);
    store.check_invariants();
}

#[test]
fn what_is_too_large_is_refused() {
    let mut objects = objects(1 << 30);
    let bytes = Bytes::from(vec![0; OBJECT_BYTES_MAX + 1]);
    let limit = OBJECT_BYTES_MAX;
    let error = ObjectError::TooLarge { limit, got: limit + 1 };
    assert_eq!(objects.put(bytes, &mut Checksum), Err(error));
    let mut small = self::objects(1 << 13);
    let full = ObjectError::StoreFull { limit: 1 << 13 };
    assert_eq!(small.put(content(9000, 0), &mut Checksum), Err(full));
    assert_eq!(objects.state(&ObjectName::default()), ObjectState::Absent);
}

#[test]
fn requests_have_one_form() {
    let name = ObjectName::new(Hash([3; 16]), 5000).unwrap();
    let ask = Ask { name, pieces: vec![0, 1, 5] };
    let mut body = Vec::new();
    ask.encode(&mut body);
    assert_eq!(Ask::parse(&body), Ok(ask));
    // A piece beyond the last, and none at all.
    for pieces in [vec![6], vec![]] {
        let mut body = Vec::new();
        Ask { name, pieces }.encode(&mut body);
        assert!(Ask::parse(&body).is_err());
    }
}
