//! A folder of the International Brain Laboratory, its files end to end in the input.
#![no_main]

use data_fuzz::{ALF, NPY, Scratch};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match bytes.starts_with(NPY) {
        true => Scratch::folder(&ALF, bytes).open(),
        false => Corpus::Reject,
    }
});
