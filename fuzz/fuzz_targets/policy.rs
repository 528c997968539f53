//! libFuzzer on the body `policy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::policy(bytes));
