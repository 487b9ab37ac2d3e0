//! Results whose traces come one at a time, for recordings larger than memory.

use std::fmt;
use std::path::{Path, PathBuf};

use super::arrays::{Arrays, is_npz};
use super::hdf5_stream::Hdf5Sink;
use super::npz_stream::NpzSink;
use super::sink::Sink;
use super::{nwb, pynapple};
use crate::{DataError, Problem};

/// Writes arrays `[1, time, neuron]` neuron by neuron, in memory of the size of a few traces.
///
/// The file is one that [`Arrays::write`] could have written: .npz if its name ends so, else HDF5,
/// chunked and compressed. Until [`Self::finish`] the traces lie in nameless files in its folder, which
/// needs room for both; the file appears whole or not at all.
///
/// # Example
/// ```
/// use data::{Arrays, TraceStream};
///
/// let folder = tempfile::tempdir()?;
/// for name in ["out.h5", "out.npz"] {
///     let path = folder.path().join(name);
///     let mut out = TraceStream::create(&path, &[("spikes", "dF/F")], [3, 2])?;
///     out.append(0, &[0.0, 1.0, 0.0])?;
///     out.append(0, &[2.0, 0.0, 0.0])?;
///     out.finish(&Arrays::default())?;
///     let back = Arrays::read(&path)?;
///     let spikes = ndarray::array![[[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]];
///     assert_eq!(back.require("spikes")?, &spikes.into_dyn());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TraceStream {
    path: PathBuf,
    names: Vec<String>,
    /// Traces that each array has.
    n_traces: Vec<usize>,
    /// Frames and neurons.
    shape: [usize; 2],
    sink: Box<dyn Sink>,
}

impl TraceStream {
    /// Whether a file of this name can be written so: NWB and pynapple's archives are written whole.
    pub fn suits(path: &Path) -> bool {
        !nwb::is_nwb(path) && !pynapple::is_frame(path)
    }

    /// Begins a file of arrays with their units, all with `shape` frames and neurons.
    ///
    /// # Errors
    /// A problem of the disk, naming the file; [`Problem::NotStreamed`] for NWB and pynapple's archives.
    pub fn create(
        path: &Path,
        arrays: &[(&str, &str)],
        shape: [usize; 2],
    ) -> Result<Self, DataError> {
        let sink = || -> Result<Box<dyn Sink>, Problem> {
            if !Self::suits(path) {
                return Err(Problem::NotStreamed);
            }
            Ok(match is_npz(path) {
                true => Box::new(NpzSink::create(path, arrays, shape)?),
                false => Box::new(Hdf5Sink::create(path, arrays, shape)?),
            })
        };
        Ok(Self {
            sink: sink().map_err(|problem| DataError::from(problem).in_file(path))?,
            path: path.to_owned(),
            names: arrays.iter().map(|(name, _)| (*name).to_owned()).collect(),
            n_traces: vec![0; arrays.len()],
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
        let Some(n_traces) = self.n_traces.get_mut(array) else {
            return Err(self.refused("array", array.to_string(), "the place of one of the names"));
        };
        if trace.len() != n_bins || *n_traces == n_neurons {
            let found = format!("{} frames for neuron {n_traces}", trace.len());
            let expected = "as many frames, and traces, as the shape says";
            return Err(self.refused("trace", found, expected));
        }
        *n_traces += 1;
        let appended = self.sink.append(array, trace);
        appended.map_err(|problem| DataError::from(problem).in_file(&self.path))
    }

    /// Puts the arrays, and `others` that are whole, together under the file's name.
    ///
    /// # Errors
    /// A problem of the disk; [`Problem::BadParameter`] if traces are missing.
    pub fn finish(mut self, others: &Arrays) -> Result<(), DataError> {
        let mut counted = self.names.iter().zip(&self.n_traces);
        if let Some((name, n_traces)) = counted.find(|(_, n)| **n < self.shape[1]) {
            let found = format!("{n_traces} of `{name}`");
            return Err(self.refused("number of traces", found, "that of the shape"));
        }
        let finished = self.sink.finish(&self.path, others);
        finished.map_err(|problem| DataError::from(problem).in_file(&self.path))
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

impl fmt::Debug for TraceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceStream")
            .field("path", &self.path)
            .field("names", &self.names)
            .field("n_traces", &self.n_traces)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
