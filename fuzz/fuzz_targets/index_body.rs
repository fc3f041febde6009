#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::index_body(bytes));
