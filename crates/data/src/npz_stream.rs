//! A .npz archive whose traces come one at a time.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::hdf5::{folder_of, sync_folder, temporary_in};
use crate::{DataError, Problem, npy};

/// Writes arrays `[time, neuron]` to a .npz archive neuron by neuron, in memory of the size of a trace.
///
/// numpy opens it as any other. The arrays are in Fortran order, so that the frames of a neuron lie
/// together. Until [`Self::finish`] they lie in nameless files in the folder of the archive, which
/// needs room for both; the archive appears whole or not at all.
///
/// # Example
/// ```
/// use data::{NpzStream, Options, Recording};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("out.npz");
/// let mut out = NpzStream::create(&path, &["spikes"], [3, 2])?;
/// out.append(0, &[0.0, 1.0, 0.0])?;
/// out.append(0, &[2.0, 0.0, 0.0])?;
/// out.finish(&[])?;
/// let options = Options { rate_hz: Some(30.0), ..Options::default() };
/// let back = Recording::open(&path, &options)?;
/// assert_eq!(back.stretches()[0], ndarray::array![[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NpzStream {
    path: PathBuf,
    members: Vec<Member>,
    /// Frames and neurons.
    shape: [usize; 2],
}

#[derive(Debug)]
struct Member {
    name: String,
    file: BufWriter<File>,
    n_traces: usize,
}

impl NpzStream {
    /// Begins an archive of arrays of `names`, all of `shape` `[time, neuron]`.
    ///
    /// # Errors
    /// A problem of the disk, naming the file.
    pub fn create(path: &Path, names: &[&str], shape: [usize; 2]) -> Result<Self, DataError> {
        let begin = |name: &&str| {
            let mut file = BufWriter::new(tempfile::tempfile_in(folder_of(path))?);
            file.write_all(&npy::header(&shape, true))?;
            Ok(Member {
                name: (*name).to_owned(),
                file,
                n_traces: 0,
            })
        };
        let members = names.iter().map(begin).collect::<Result<_, _>>();
        Ok(Self {
            members: members.map_err(|e| cannot_write(path, e))?,
            path: path.to_owned(),
            shape,
        })
    }

    /// Adds the next neuron's trace to the array that is `array`-th among the names.
    ///
    /// # Errors
    /// A problem of the disk; [`Problem::BadParameter`] for an array that there is not, a trace too long
    /// or too short, or one too many.
    pub fn append(&mut self, array: usize, trace: &[f32]) -> Result<(), DataError> {
        let [n_bins, n_neurons] = self.shape;
        let Some(member) = self.members.get_mut(array) else {
            return Err(self.refused("array", array.to_string(), "the place of one of the names"));
        };
        if trace.len() != n_bins || member.n_traces == n_neurons {
            let found = format!("{} frames for neuron {}", trace.len(), member.n_traces);
            let expected = "as many frames, and traces, as the shape says";
            return Err(self.refused("trace", found, expected));
        }
        member.n_traces += 1;
        let bytes: Vec<u8> = trace.iter().flat_map(|value| value.to_le_bytes()).collect();
        let written = member.file.write_all(&bytes);
        written.map_err(|e| cannot_write(&self.path, e))
    }

    /// Puts the arrays, and others that are whole, together under the archive's name.
    ///
    /// # Errors
    /// A problem of the disk; [`Problem::BadParameter`] if traces are missing.
    pub fn finish(mut self, others: &[(&str, ArrayD<f32>)]) -> Result<(), DataError> {
        let n_neurons = self.shape[1];
        if let Some(short) = self.members.iter().find(|m| m.n_traces < n_neurons) {
            let found = format!("{} of `{}`", short.n_traces, short.name);
            return Err(self.refused("number of traces", found, "that of the shape"));
        }
        let done = self.assemble(others);
        done.map_err(|e| cannot_write(&self.path, e))
    }

    fn assemble(&mut self, others: &[(&str, ArrayD<f32>)]) -> std::io::Result<()> {
        let folder = folder_of(&self.path);
        let mut target = temporary_in(folder)?;
        let mut zip = ZipWriter::new(BufWriter::new(target.as_file_mut()));
        for member in &mut self.members {
            zip.start_file(format!("{}.npy", member.name), options())?;
            member.file.flush()?;
            let file = member.file.get_mut();
            file.seek(SeekFrom::Start(0))?;
            std::io::copy(file, &mut zip)?;
        }
        for (name, values) in others {
            zip.start_file(format!("{name}.npy"), options())?;
            zip.write_all(&npy::encode(values.view()))?;
        }
        zip.finish()?.flush()?;
        target.as_file().sync_all()?;
        target.persist(&self.path)?;
        sync_folder(folder)
    }

    fn refused(&self, name: &'static str, found: String, expected: &'static str) -> DataError {
        let problem = Problem::BadParameter {
            name,
            found,
            expected,
        };
        DataError::from(problem).in_file(&self.path)
    }
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(true)
}

fn cannot_write(path: &Path, source: std::io::Error) -> DataError {
    let problem = Problem::Io {
        action: "write the file",
        source,
    };
    DataError::from(problem).in_file(path)
}
