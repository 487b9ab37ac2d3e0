//! Results of a recording, in the format of the next program.

use std::path::Path;

use super::arrays::Arrays;
use super::{nwb, pynapple};
use crate::{DataError, Recording};

impl Arrays {
    /// Writes the results of a recording, whole or not at all: NWB if `path` ends in `.nwb`, a .npz archive
    /// if it ends so, else HDF5.
    ///
    /// NWB is what the recording's own file holds and the results behind it, if that is NWB, else a new file.
    /// Arrays `[trial, time, neuron]` become `RoiResponseSeries` in `processing/ophys`, the trials end to
    /// end, linked to the regions of the recording; factors and inputs become `TimeSeries`, and numbers of
    /// each neuron the table `neurons`.
    ///
    /// If `path` ends in `.tsd.npz`, the archive holds the rates, or else the deconvolved activity, as
    /// pynapple keeps a `TsdFrame`, and nothing else: pynapple opens no other.
    ///
    /// # Errors
    /// A problem of the disk; [`crate::Problem::NotAppendable`] for an NWB file to which nothing can be added.
    ///
    /// # Example
    /// ```
    /// use data::{Arrays, Options, Recording, write_npy};
    /// use ndarray::{Array2, Array3};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("f.npy");
    /// write_npy(&path, Array2::from_shape_fn((100, 5), |(t, n)| ((t + n) as f32).sin()).view())?;
    /// let options = Options { rate_hz: Some(30.0), ..Options::default() };
    /// let recording = Recording::open(&path, &options)?;
    /// let mut results = Arrays::default();
    /// results.insert("rates", "Hz", Array3::from_elem((1, 100, 5), 1.5).into_dyn());
    /// let out = folder.path().join("results.nwb");
    /// results.write_for(&recording, &out)?;
    /// assert_eq!(Recording::open(&out, &Options::default())?.n_neurons(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_for(&self, recording: &Recording, path: &Path) -> Result<(), DataError> {
        let written = if nwb::is_nwb(path) {
            nwb::write(path, self, recording)
        } else if pynapple::is_frame(path) {
            pynapple::write(path, self, recording)
        } else {
            return self.write(path);
        };
        written.map_err(|problem| DataError::from(problem).in_file(path))
    }
}
