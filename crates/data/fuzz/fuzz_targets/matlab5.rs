//! A MATLAB file of versions 5 to 7.
#![no_main]

use data_fuzz::Scratch;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match bytes.starts_with(b"MATLAB 5.0") {
        true => Scratch::file(bytes).open(),
        false => Corpus::Reject,
    }
});
