//! libFuzzer on the body `relay`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::relay_messages::relay(bytes));
