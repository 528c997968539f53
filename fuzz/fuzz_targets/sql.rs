//! libFuzzer on the body `sql`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::sql::sql(bytes));
