//! libFuzzer on the body `sql` of the doors.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spinglass_fuzz::doors::sql(bytes));
