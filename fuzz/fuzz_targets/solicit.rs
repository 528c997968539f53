//! libFuzzer on the body `solicit`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::solicit(bytes));
