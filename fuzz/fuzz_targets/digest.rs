//! libFuzzer on the body `digest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::digest(bytes));
