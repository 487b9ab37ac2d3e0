//! An NWB file.
#![no_main]

use data_fuzz::{HDF5, Scratch};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match bytes.starts_with(HDF5) {
        true => Scratch::file(bytes).open(),
        false => Corpus::Reject,
    }
});
