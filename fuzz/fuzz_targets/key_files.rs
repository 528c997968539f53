//! libFuzzer on the body `key_files`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::key_files::key_files(bytes));
