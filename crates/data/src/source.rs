//! Which reader a file needs: told by its content.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::recording::Draft;
use crate::{Format, Options, Problem, csv, mat, npy, npz, nwb, plain, suite2p};

/// How much of a file is looked at: enough for an HDF5 signature behind a user block.
const HEAD_BYTES: u64 = 16_392;

/// Where a recording is, and how it begins.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// First bytes; none of a folder.
    pub(crate) head: Vec<u8>,
    pub(crate) is_folder: bool,
}

/// One format of recordings.
pub(crate) trait Reader: Sync {
    fn format(&self) -> Format;

    /// Whether the source is of this format, sound or damaged.
    fn recognises(&self, source: &Source) -> bool;

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem>;
}

/// From the most particular to the most general.
static READERS: [&dyn Reader; 7] = [
    &suite2p::Suite2p,
    &npy::Npy,
    &npz::Npz,
    &mat::Matlab,
    &nwb::Nwb,
    &plain::PlainHdf5,
    &csv::Csv,
];

/// The reader of the format that the source is in.
pub(crate) fn reader_of(source: &Source) -> Result<&'static dyn Reader, Problem> {
    let known = READERS.into_iter().find(|r| r.recognises(source));
    known.ok_or_else(|| Problem::UnknownFormat {
        head: source.head.iter().take(8).copied().collect(),
    })
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

pub(crate) fn cannot_read(source: std::io::Error) -> Problem {
    Problem::Io {
        action: "read the file",
        source,
    }
}

/// The one candidate that the caller named, or else the only one.
pub(crate) fn choose<'a>(
    candidates: &'a [String],
    options: &Options,
    kind: &'static str,
) -> Result<&'a str, Problem> {
    let Some(wanted) = &options.dataset else {
        return match candidates {
            [only] => Ok(only),
            [] => Err(Problem::NoTraces { kind }),
            several => Err(Problem::Ambiguous {
                kind,
                found: several.join(", "),
            }),
        };
    };
    let trimmed = wanted.trim_start_matches('/');
    if let Some(found) = candidates.iter().find(|name| *name == trimmed) {
        return Ok(found);
    }
    // The end of a path will do where it is the end of one only.
    let end = format!("/{trimmed}");
    let ending: Vec<_> = candidates.iter().filter(|n| n.ends_with(&end)).collect();
    match ending[..] {
        [only] => Ok(only),
        _ => Err(Problem::NotFound {
            wanted: wanted.clone(),
            kind,
            found: match candidates {
                [] => "none".to_owned(),
                some => some.join(", "),
            },
        }),
    }
}
