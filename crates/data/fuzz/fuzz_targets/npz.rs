//! A .npz archive, as recording and as results.
#![no_main]

use data_fuzz::Scratch;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    if !bytes.starts_with(b"PK") {
        return Corpus::Reject;
    }
    let file = Scratch::file(bytes);
    file.read_arrays();
    file.open()
});
