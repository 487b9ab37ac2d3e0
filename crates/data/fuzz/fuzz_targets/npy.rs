//! A .npy file.
#![no_main]

use data_fuzz::{NPY, Scratch};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match bytes.starts_with(NPY) {
        true => Scratch::file(bytes).open(),
        false => Corpus::Reject,
    }
});
