//! libFuzzer on the body `strange`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::strange(bytes));
