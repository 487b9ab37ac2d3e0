#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| data_fuzz::recording(bytes, None));
