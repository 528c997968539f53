//! libFuzzer on the body `recording`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::recording(bytes));
