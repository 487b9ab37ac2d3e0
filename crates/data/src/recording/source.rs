//! Where a recording is, and how it begins.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::Problem;
use crate::whole_file::cannot_read;

/// How much of a file is looked at: enough for an HDF5 signature behind a user block.
const HEAD_BYTES: u64 = 16_392;

/// Where a recording is, and how it begins.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// First bytes; none of a folder.
    pub(crate) head: Vec<u8>,
    pub(crate) is_folder: bool,
}

impl Source {
    pub(crate) fn probe(path: &Path) -> Result<Self, Problem> {
        let is_folder = std::fs::metadata(path).map_err(cannot_read)?.is_dir();
        let mut head = Vec::new();
        if !is_folder {
            let file = std::fs::File::open(path).map_err(cannot_read)?;
            file.take(HEAD_BYTES)
                .read_to_end(&mut head)
                .map_err(cannot_read)?;
        }
        Ok(Self {
            path: path.to_owned(),
            head,
            is_folder,
        })
    }

    /// HDF5 allows the signature at 0, 512, 1024, 2048 and so on.
    pub(crate) fn is_hdf5(&self) -> bool {
        let at = |place: usize| {
            let tail = self.head.get(place..);
            tail.is_some_and(|tail| tail.starts_with(b"\x89HDF\r\n\x1a\n"))
        };
        at(0) || (0..6).any(|power| at(512 << power))
    }
}
