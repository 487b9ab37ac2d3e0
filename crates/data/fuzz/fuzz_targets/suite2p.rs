//! A suite2p folder, its files end to end in the input.
#![no_main]

use data_fuzz::{NPY, SUITE2P, Scratch};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match bytes.starts_with(NPY) {
        true => Scratch::folder(&SUITE2P, bytes).open(),
        false => Corpus::Reject,
    }
});
