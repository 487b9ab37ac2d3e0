//! What the fuzz targets share: bytes become the files of a run folder.

use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Files of a run folder that hold JSON, in the order in which an input holds them, a NUL between.
pub const FILES: [&str; 4] = [
    "run.json",
    "history.json",
    "result.json",
    "factor_axes.json",
];

/// Bytes of the checksum with which a checkpoint ends, and which an input lacks.
pub const DIGEST: usize = 32;

/// A folder with the files that `bytes` hold.
///
/// # Panics
/// If the system's folder of temporary files cannot be written to.
pub fn run_folder(bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, file) in FILES.iter().zip(bytes.split(|byte| *byte == 0)) {
        std::fs::write(folder.path().join(name), file).expect("a temporary file");
    }
    folder
}

/// A checkpoint whose checksum holds, whatever the rest.
///
/// # Panics
/// If the system's folder of temporary files cannot be written to.
pub fn checkpoint(bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = [bytes, Sha256::digest(bytes).as_slice()].concat();
    std::fs::write(folder.path().join("last.ckpt"), whole).expect("a temporary file");
    folder
}

/// An error is one line and names the folder.
///
/// # Panics
/// If it is not so.
pub fn assert_in_words(said: &str, folder: &Path) {
    let names_it = said.contains(&folder.display().to_string());
    assert!(names_it && !said.contains('\n'), "{said:?}");
}
