//! libFuzzer on the body `frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::frames(bytes));
