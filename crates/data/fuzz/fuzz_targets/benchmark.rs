//! A benchmark file.
#![no_main]

use data_fuzz::{HDF5, Scratch};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !bytes.starts_with(HDF5) {
        return Corpus::Reject;
    }
    Scratch::file(bytes).read_benchmark();
    Corpus::Keep
});
