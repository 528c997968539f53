//! libFuzzer on the body `question`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::question(bytes));
