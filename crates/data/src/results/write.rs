//! Results of a recording, in the format of the next program.

use std::path::Path;

use ndarray::Axis;

use super::arrays::{Arrays, UnitArray, is_npz};
use super::hdf5_stream::Hdf5Sink;
use super::sink::Sink;
use super::{nwb, pynapple};
use crate::format::npz;
use crate::whole_file::replace_file;
use crate::{DataError, Problem, Recording};

/// Arrays of more bytes are written neuron by neuron.
const LONG_BYTES: usize = 4 << 20;

impl Arrays {
    /// Writes an .npz archive if `path` ends in `.npz`, else HDF5; whole or not at all. Arrays of one long recording are
    /// encoded a few neurons at a time.
    ///
    /// # Errors
    /// A problem of the disk, or an array too large to encode.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let written = match (is_npz(path), self.long()) {
            (true, _) => npz::write_members(path, &self.members().collect::<Vec<_>>()),
            (false, Some(long)) => self.write_one_by_one(path, &long),
            (false, None) => self
                .encode()
                .map_err(Problem::unwritable)
                .and_then(|bytes| replace_file(path, &bytes)),
        };
        written.map_err(|problem| DataError::from(problem).in_file(path))
    }

    /// Names of the arrays of one long recording, `[1, time, neuron]`, all of one shape.
    fn long(&self) -> Option<Vec<&str>> {
        let is_long = |array: &UnitArray| {
            let shape = array.values.shape();
            shape.len() == 3 && shape[0] == 1 && size_of::<f32>() * array.values.len() > LONG_BYTES
        };
        let shape = self.arrays.values().find(|array| is_long(array))?;
        let shape = shape.values.shape();
        let alike = self
            .arrays
            .iter()
            .filter(|(_, array)| array.values.shape() == shape);
        Some(alike.map(|(name, _)| &**name).collect())
    }

    fn write_one_by_one(&self, path: &Path, long: &[&str]) -> Result<(), Problem> {
        let arrays: Vec<_> = long.iter().map(|name| &self.arrays[*name]).collect();
        let units = arrays.iter().map(|array| &*array.unit);
        let names: Vec<_> = long.iter().copied().zip(units).collect();
        let shape = arrays[0].values.shape();
        let (n_bins, n_neurons) = (shape[1], shape[2]);
        let mut sink = Hdf5Sink::create(path, &names, [n_bins, n_neurons])?;
        let mut trace = Vec::with_capacity(n_bins);
        for (place, array) in arrays.iter().enumerate() {
            for neuron in array.values.index_axis(Axis(0), 0).axis_iter(Axis(1)) {
                trace.clear();
                trace.extend(neuron.iter());
                sink.append(place, &trace)?;
            }
        }
        let others = self
            .arrays
            .iter()
            .filter(|(name, _)| !long.contains(&&***name));
        let others = Self {
            numbers: self.numbers.clone(),
            texts: self.texts.clone(),
            lists: self.lists.clone(),
            arrays: others
                .map(|(name, array)| (name.clone(), array.clone()))
                .collect(),
        };
        sink.finish(path, &others)
    }

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

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn a_long_recording_comes_back_as_it_was() {
        let long = Array3::from_shape_fn((1, 40_000, 30), |(_, bin, neuron)| {
            if bin == 7 {
                f32::NAN
            } else {
                (bin * 31 + neuron) as f32
            }
        });
        let factors = long.slice(ndarray::s![.., .., ..2]).to_owned();
        let mut results = Arrays::default();
        results.numbers.insert("dt".into(), 0.25);
        results.insert("rates", "Hz", long.clone().into_dyn());
        results.insert("spikes", "", (long + 0.5).into_dyn());
        results.insert("factors", "", factors.into_dyn());
        assert_eq!(results.long(), Some(vec!["rates", "spikes"]));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.h5");
        results.write(&path).unwrap();
        let read = Arrays::read(&path).unwrap();
        assert_eq!(read.numbers, results.numbers);
        assert_eq!(read.arrays.len(), 3);
        for (name, array) in &results.arrays {
            let found = &read.arrays[name];
            assert_eq!(
                (&found.unit, found.values.shape()),
                (&array.unit, array.values.shape())
            );
            let same = found.values.iter().zip(&array.values);
            assert!(
                same.into_iter().all(|(a, b)| a.to_bits() == b.to_bits()),
                "{name}"
            );
        }
    }
}
