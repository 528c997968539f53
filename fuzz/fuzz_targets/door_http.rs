//! libFuzzer on the body `http` of the doors.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::doors::http(bytes));
