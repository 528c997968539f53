//! libFuzzer on the body `messages`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::bodies::messages(bytes));
