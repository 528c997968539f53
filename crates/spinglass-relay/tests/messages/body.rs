//! What the fuzz target `relay` asserts: messages between a member and a relay, and a relay's URL,
//! are read totally, and what is read is written so that it reads the same.

use bytes::Bytes;
use spinglass_relay::message::{
    FromRelay, Incoming, Outgoing, Proof, RUN_BYTES_MAX, incoming, outgoing,
};
use spinglass_relay::{Proxy, RelayUrl};

/// Every message that there is, and the texts that name a relay and a proxy.
pub fn relay(bytes: &[u8]) {
    if let Ok(proof) = Proof::parse(bytes) {
        // A longer chain than any that is believed is left out when it is written.
        let again = Proof::parse(&proof.encode()).expect("it was written just now");
        assert!(again == proof || again == Proof { chain: None, ..proof });
    }
    if let Ok(said) = FromRelay::parse(bytes) {
        assert_eq!(FromRelay::parse(&said.encode()), Ok(said));
    }
    if let Ok(run) = Outgoing::parse(bytes) {
        assert!(run.bytes.len() <= RUN_BYTES_MAX);
        assert_eq!(run.datagrams().map(<[u8]>::len).sum::<usize>(), run.bytes.len());
        let again = outgoing(&run.to, run.segment_bytes, run.bytes);
        assert_eq!(Outgoing::parse(&again), Ok(run));
    }
    if let Ok(run) = Incoming::parse(Bytes::copy_from_slice(bytes)) {
        let mut again = incoming(run.from, run.segment_bytes);
        again.extend_from_slice(&run.bytes);
        assert_eq!(Incoming::parse(again.into()), Ok(run));
    }
    if let Ok(text) = str::from_utf8(bytes) {
        if let Ok(url) = text.parse::<RelayUrl>() {
            assert_eq!(url.to_string().parse(), Ok(url));
        }
        let _ = text.parse::<Proxy>();
    }
}
