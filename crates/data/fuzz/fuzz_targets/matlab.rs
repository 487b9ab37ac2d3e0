//! A MATLAB v7.3 file: a block of text, then HDF5.
#![no_main]

use data_fuzz::Scratch;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match bytes.starts_with(b"MATLAB 7.3") {
        true => Scratch::file(bytes).open(),
        false => Corpus::Reject,
    }
});
