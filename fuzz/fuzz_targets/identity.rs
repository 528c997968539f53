//! libFuzzer on the body `identity`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::identity(bytes));
