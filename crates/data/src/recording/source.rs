//! Where a recording is, and how it begins.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::Problem;
use crate::format::text;
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

    /// Whether it is text, as far as its head tells.
    pub(crate) fn is_text(&self) -> bool {
        text::is_text(&self.head, (self.head.len() as u64) < HEAD_BYTES)
    }

    /// Text in brackets.
    fn is_json(&self) -> bool {
        let first = self.head.iter().find(|byte| !byte.is_ascii_whitespace());
        self.is_text() && matches!(first, Some(b'[' | b'{'))
    }

    /// The oldest protocol, which is text: a call by its name, or a list, with marks of the memory.
    fn is_old_pickle(&self) -> bool {
        let begins = |text: &[u8]| self.head.starts_with(text);
        let called = begins(b"cnumpy") || begins(b"c__builtin__") || begins(b"ccopy_reg\n");
        called || begins(b"(lp0\n") || begins(b"(dp0\n")
    }

    /// A file of a format that is known and not read, and what to do with it.
    pub(crate) fn of_other_format(&self) -> Option<Problem> {
        let begins = |magic: &[u8]| self.head.starts_with(magic);
        let holds = |text: &[u8]| self.head.windows(text.len()).any(|window| window == text);
        let (format, remedy) = match self.head[..] {
            [0x80, 2..=5, ..] => (
                "a Python pickle, which can run any code",
                "open it in Python and save the array with numpy.save",
            ),
            _ if self.is_old_pickle() => (
                "a Python pickle, which can run any code",
                "open it in Python and save the array with numpy.save",
            ),
            [0x78, 0x01 | 0x9c | 0xda, ..] => (
                "compressed with zlib, as joblib does",
                "open it in Python and save the array with numpy.save",
            ),
            [0x1f, 0x8b, ..] => ("compressed with gzip", "unpack it first: gunzip -k FILE"),
            _ if begins(b"BZh") => ("compressed with bzip2", "unpack it first: bunzip2 -k FILE"),
            _ if begins(b"\xfd7zXZ") => ("compressed with xz", "unpack it first: unxz -k FILE"),
            _ if begins(b"7z\xbc\xaf") => ("a 7-Zip archive", "unpack it first"),
            _ if begins(b"PK\x03\x04")
                && (holds(b"[Content_Types].xml") || holds(b"docProps/") || holds(b"xl/")) =>
            {
                (
                    "an Excel workbook (.xlsx)",
                    "save the sheet as CSV, one column per neuron",
                )
            }
            _ if begins(b"\xd0\xcf\x11\xe0") => (
                "an old Office file (.xls)",
                "save the sheet as CSV, one column per neuron",
            ),
            _ if begins(b"PK\x03\x04") && holds(b"application/vnd.oasis.opendocument") => (
                "an OpenDocument file",
                "save the sheet as CSV, one column per neuron",
            ),
            _ if begins(b"PAR1") => ("Parquet", "save it as CSV, or as .npy"),
            _ if begins(b"ARROW1") || begins(b"FEA1") => ("Feather", "save it as CSV, or as .npy"),
            _ if begins(b"CDF\x01") || begins(b"CDF\x02") => {
                ("netCDF of version 3", "save it as netCDF-4, or as .npy")
            }
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => (
                "a TIFF image or movie",
                "extract the traces first, with suite2p or CaImAn",
            ),
            _ if self.is_json() => (
                "JSON",
                "load it in Python and save the array with numpy.save",
            ),
            _ => return None,
        };
        Some(Problem::OtherFormat { format, remedy })
    }

    /// That no reader knows it.
    pub(crate) fn unknown(&self) -> Problem {
        self.of_other_format()
            .unwrap_or_else(|| Problem::UnknownFormat {
                head: self.head.iter().take(8).copied().collect(),
            })
    }
}
