//! libFuzzer on the body `certificates`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::certificate_files::certificates(bytes));
