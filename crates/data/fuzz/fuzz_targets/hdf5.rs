//! Plain HDF5, ours and LFADS-style, as recording and as results.
#![no_main]

use data_fuzz::{HDF5, Scratch};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !bytes.starts_with(HDF5) {
        return Corpus::Reject;
    }
    let file = Scratch::file(bytes);
    file.read_arrays();
    file.open()
});
