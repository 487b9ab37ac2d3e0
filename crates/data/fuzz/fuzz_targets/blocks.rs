//! Any range of neurons of a .npy or HDF5 file; the input's first two bytes say which.
#![no_main]

use data_fuzz::{HDF5, NPY, Scratch};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let [first, count, file @ ..] = bytes else {
        return Corpus::Reject;
    };
    if !file.starts_with(NPY) && !file.starts_with(HDF5) {
        return Corpus::Reject;
    }
    let first = usize::from(*first);
    Scratch::file(file).read_neurons(first..first + usize::from(*count));
    Corpus::Keep
});
