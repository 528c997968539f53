//! What the fuzz target `key_files` asserts: the text of a key file is read totally, and what is
//! read is written so that it reads the same.

use std::path::Path;

use spinglass_crypto::{GroupKeys, SigningKey};

/// Both kinds of key file.
pub fn key_files(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let path = Path::new("a key file");
    if let Ok(key) = SigningKey::parse(text, path) {
        let again = SigningKey::parse(&key.text(), path).expect("it was written just now");
        assert_eq!(again.public_key(), key.public_key());
    }
    match GroupKeys::parse(text, path) {
        Ok(keys) => {
            let again = GroupKeys::parse(&keys.text(), path).expect("it was written just now");
            assert_eq!(*again.text(), *keys.text());
        }
        Err(error) => assert!(error.to_string().contains("keygen"), "an error says its cure"),
    }
}
