//! libFuzzer on the body `packet`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::packet(bytes));
