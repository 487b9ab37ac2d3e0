//! NumPy's .npz: named arrays in and out.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::npy::{self, Header};
use crate::whole_file::{cannot_read, replace_file};
use crate::{DataError, Problem};

/// Deflate's: nothing decodes to more bytes than this many times its own.
const BEST_RATIO: u64 = 1032;

/// Writes named arrays as a .npz file of 32-bit floats, uncompressed, as `numpy.savez` does.
///
/// The file appears whole or not at all, and its bytes depend on names and arrays alone.
///
/// # Errors
/// A problem of the disk, or two arrays of one name.
pub fn write_npz(path: &Path, arrays: &[(&str, ArrayViewD<'_, f32>)]) -> Result<(), DataError> {
    let members = arrays.iter();
    let members: Vec<Member> = members
        .map(|(name, values)| ((*name).to_owned(), npy::encode(values.view())))
        .collect();
    write_members(path, &members).map_err(|e| DataError::from(e).in_file(path))
}

/// A member of an archive: its name, and the bytes of its .npy file.
pub(crate) type Member = (String, Vec<u8>);

/// Writes an archive whole or not at all.
pub(crate) fn write_members(path: &Path, members: &[Member]) -> Result<(), Problem> {
    encode(members)
        .map_err(damaged)
        .and_then(|bytes| replace_file(path, &bytes))
}

fn encode(members: &[Member]) -> Result<Vec<u8>, ZipError> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(bytes.len() >= 1 << 31);
        zip.start_file(format!("{name}.npy"), options)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn damaged(error: ZipError) -> Problem {
    Problem::BadArchive(error.to_string())
}

/// What cannot be read of a member is damage of the archive.
fn of_archive(problem: Problem) -> Problem {
    match problem {
        Problem::Io { source, .. } => damaged(source.into()),
        other => other,
    }
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

/// The arrays of an archive.
pub(crate) struct Members {
    archive: ZipArchive<BufReader<File>>,
}

impl Members {
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let file = BufReader::new(File::open(path).map_err(cannot_read)?);
        let archive = ZipArchive::new(file).map_err(damaged)?;
        Ok(Self { archive })
    }

    /// Every file of the archive.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.archive.file_names().filter_map(Result::ok);
        names.map(|name| name.to_string()).collect()
    }

    /// Arrays of numbers, in the archive's order.
    pub(crate) fn headers(&mut self) -> Result<Vec<(String, Header)>, Problem> {
        let names: Vec<String> = self
            .archive
            .file_names()
            .filter_map(|name| Some(name.ok()?.strip_suffix(".npy")?.to_owned()))
            .collect();
        let mut headers = Vec::new();
        for name in names {
            let mut member = self.member(&name)?;
            match Header::read(&mut member, &object(&name)).map_err(of_archive) {
                Ok(header) => headers.push((name, header)),
                Err(Problem::NotNumeric { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(headers)
    }

    fn member(&mut self, name: &str) -> Result<ZipFile<'_, BufReader<File>>, Problem> {
        let member = self.archive.by_name(&format!("{name}.npy"));
        member.map_err(damaged)
    }

    /// One array, each number cast.
    pub(crate) fn array<T>(
        &mut self,
        name: &str,
        cast: impl Fn(f64) -> T,
    ) -> Result<ArrayD<T>, Problem> {
        let object = object(name);
        let mut member = self.member(name)?;
        // A size out of all proportion is a damaged one.
        let plausible = member.compressed_size().saturating_mul(BEST_RATIO);
        let header = Header::read(&mut member, &object).map_err(of_archive)?;
        header.check_length(member.size().min(plausible))?;
        let values = header.values(&mut member, &object, cast);
        let values = values.map_err(of_archive)?;
        // A byte more, so that the archive checks its checksum at the end.
        member
            .take(1)
            .read_to_end(&mut Vec::new())
            .map_err(|e| damaged(e.into()))?;
        Ok(values)
    }
}

fn object(name: &str) -> String {
    format!("array `{name}`")
}
