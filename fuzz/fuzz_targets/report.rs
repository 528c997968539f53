//! libFuzzer on the body `report`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::report(bytes));
