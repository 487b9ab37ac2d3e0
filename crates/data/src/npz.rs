//! NumPy's .npz: named arrays in and out.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::clock::Clock;
use crate::hdf5::replace_file;
use crate::npy::{self, Header};
use crate::recording::Draft;
use crate::source::{Reader, Source, cannot_read, choose};
use crate::{DataError, Format, Options, Problem};

/// Writes named arrays as a .npz file of 32-bit floats, uncompressed, as `numpy.savez` does.
///
/// The file appears whole or not at all, and its bytes depend on names and arrays alone.
///
/// # Errors
/// A problem of the disk, or two arrays of one name.
pub fn write_npz(path: &Path, arrays: &[(&str, ArrayViewD<'_, f32>)]) -> Result<(), DataError> {
    encode(arrays)
        .map_err(damaged)
        .and_then(|bytes| replace_file(path, &bytes))
        .map_err(|e| DataError::from(e).in_file(path))
}

fn encode(arrays: &[(&str, ArrayViewD<'_, f32>)]) -> Result<Vec<u8>, ZipError> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, values) in arrays {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(values.len() >= 1 << 29);
        zip.start_file(format!("{name}.npy"), options)?;
        zip.write_all(&npy::encode(values.view()))?;
    }
    Ok(zip.finish()?.into_inner())
}

fn damaged(error: ZipError) -> Problem {
    Problem::BadArchive(error.to_string())
}

/// Every array of numbers in an archive.
pub(crate) fn read_all(path: &Path) -> Result<Vec<(String, ArrayD<f32>)>, Problem> {
    let mut members = Members::open(path)?;
    let names = members.headers()?.into_iter().map(|(name, _)| name);
    let names: Vec<String> = names.collect();
    names
        .into_iter()
        .map(|name| {
            members
                .array(&name, |x| x as f32)
                .map(|values| (name, values))
        })
        .collect()
}

pub(crate) struct Npz;

impl Reader for Npz {
    fn format(&self) -> Format {
        Format::Npz
    }

    fn recognises(&self, source: &Source) -> bool {
        source.head.starts_with(b"PK\x03\x04") || source.head.starts_with(b"PK\x05\x06")
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        let mut members = Members::open(&source.path)?;
        let headers = members.headers()?;
        let traces: Vec<String> = headers
            .iter()
            .filter(|(_, header)| matches!(header.shape[..], [_, _] | [_, _, _]))
            .map(|(name, _)| name.clone())
            .collect();
        let name = choose(&traces, options, "array of two or three axes")?;
        let mut draft = Draft::bare(name, members.array(name, |x| x as f32)?);
        draft.clock = members.clock(&headers)?;
        if let Clock::TimesS(times) = &draft.clock {
            draft.start_s = times.first().copied().unwrap_or_default();
        }
        Ok(draft)
    }
}

struct Members {
    archive: ZipArchive<BufReader<File>>,
}

impl Members {
    fn open(path: &Path) -> Result<Self, Problem> {
        let file = BufReader::new(File::open(path).map_err(cannot_read)?);
        let archive = ZipArchive::new(file).map_err(damaged)?;
        Ok(Self { archive })
    }

    /// Arrays of numbers, in the archive's order.
    fn headers(&mut self) -> Result<Vec<(String, Header)>, Problem> {
        let names: Vec<String> = self
            .archive
            .file_names()
            .filter_map(|name| Some(name.ok()?.strip_suffix(".npy")?.to_owned()))
            .collect();
        let mut headers = Vec::new();
        for name in names {
            let bytes = self.bytes(&name, npy::MAX_HEADER)?;
            match Header::parse(&bytes, &object(&name)) {
                Ok(header) => headers.push((name, header)),
                Err(Problem::NotNumeric { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(headers)
    }

    /// The first bytes of a member, at most `limit`.
    fn bytes(&mut self, name: &str, limit: usize) -> Result<Vec<u8>, Problem> {
        let member = self.archive.by_name(&format!("{name}.npy"));
        let mut bytes = Vec::new();
        member
            .map_err(damaged)?
            .take(limit as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| damaged(e.into()))?;
        Ok(bytes)
    }

    fn array<T>(&mut self, name: &str, cast: impl Fn(f64) -> T) -> Result<ArrayD<T>, Problem> {
        let object = object(name);
        let head = self.bytes(name, npy::MAX_HEADER)?;
        let n_bytes = Header::parse(&head, &object)?.n_bytes;
        // One byte more, so that the archive checks its checksum at the end.
        let bytes = self.bytes(name, n_bytes.saturating_add(1))?;
        Header::parse(&bytes, &object)?.decode(&bytes, &object, cast)
    }

    /// A rate or frame times, under the names that people give them.
    fn clock(&mut self, headers: &[(String, Header)]) -> Result<Clock, Problem> {
        let shape_of = |name: &str| {
            let found = headers.iter().find(|(n, _)| n == name);
            found.map(|(_, header)| header.shape.as_slice())
        };
        for name in ["timestamps", "time", "t"] {
            if matches!(shape_of(name), Some([_])) {
                let times = self.array(name, |x| x)?;
                return Ok(Clock::TimesS(times.into_iter().collect()));
            }
        }
        Clock::from_scalars(|name| match shape_of(name) {
            Some([] | [1] | [1, 1]) => Ok(self.array(name, |x| x)?.first().copied()),
            _ => Ok(None),
        })
    }
}

fn object(name: &str) -> String {
    format!("array `{name}`")
}
