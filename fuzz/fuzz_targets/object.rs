//! libFuzzer on the body `object`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::object(bytes));
