//! A text table: whatever no other reader takes.
#![no_main]

use data_fuzz::{HDF5, NPY, Scratch};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match bytes.starts_with(NPY) || bytes.starts_with(HDF5) || bytes.starts_with(b"PK") {
        true => Corpus::Reject,
        false => Scratch::file(bytes).open(),
    }
});
