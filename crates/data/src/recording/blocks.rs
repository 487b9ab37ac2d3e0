//! Recordings larger than memory: traces a block of neurons at a time.

use std::ops::Range;
use std::path::{Path, PathBuf};

use calcium::Discretisation;
use ndarray::{Array2, s};

use super::check::BlockCheck;
use super::grid::is_time;
use super::mask::Mask;
use super::options::Options;
use super::reader::{Opened, Store};
use super::units::Units;
use crate::{DataError, Problem};

/// Traces of a continuous recording in blocks of neurons, each read when it is asked for.
///
/// A `.npy` matrix, a suite2p folder and a two-axis dataset of 32-bit floats in plain HDF5 can be read
/// so, in memory of the size of two blocks.
///
/// # Example
/// ```
/// use data::{Options, TraceBlocks, write_npy};
/// use ndarray::{Array2, s};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("f.npy");
/// write_npy(&path, Array2::from_shape_fn((100, 5), |(t, n)| ((t + n) as f32).sin()).view())?;
/// let options = Options { rate_hz: Some(30.0), ..Options::default() };
/// let blocks = TraceBlocks::open(&path, &options, 2)?.ok_or("not in pieces")?;
/// let n_neurons: Vec<usize> = blocks.map(|block| Ok(block?.traces.nrows())).collect::<Result<_, data::DataError>>()?;
/// assert_eq!(n_neurons, [2, 2, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TraceBlocks {
    store: Box<dyn Store>,
    path: PathBuf,
    dataset: String,
    n_neurons: usize,
    n_bins: usize,
    /// The part of the time that is read.
    frames: Range<usize>,
    /// What is no data.
    hidden: Vec<Mask>,
    notes: Vec<String>,
    dt_s: f64,
    units: Option<Units>,
    neuron_ids: Vec<String>,
    tau_s: Option<f64>,
    discretisation: Option<Discretisation>,
    per_block: usize,
    next: usize,
}

/// Traces of neighbouring neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceBlock {
    /// Place of the first neuron in the recording.
    pub first_neuron: usize,
    /// `[neuron, time]`, each neuron's frames together.
    pub traces: Array2<f32>,
}

impl TraceBlocks {
    /// What a reader opened, as the caller's options have it.
    pub(super) fn new(
        opened: Opened,
        path: &Path,
        options: &Options,
        per_block: usize,
    ) -> Result<Self, Problem> {
        if per_block == 0 {
            return Err(Problem::BadParameter {
                name: "per_block",
                found: "0".to_owned(),
                expected: "at least 1",
            });
        }
        let clock = match options.rate_hz {
            None => opened.clock.plausible()?,
            stated => opened.clock.stated(stated),
        };
        let dt_s = clock.dt_s()?;
        let [n_neurons, n_frames] = opened.shape;
        let mut notes = opened.notes;
        let own = opened.no_data.filter(|_| !options.flagged_frames);
        let stated = match &options.mask {
            Some(mask) => Some(Mask::read(mask, &[n_frames, n_neurons], &mut notes)?),
            None => None,
        };
        let hidden = own.map(Mask::of_frames).into_iter().chain(stated).collect();
        let frames = options.part.frames(n_frames, 0.0, dt_s)?;
        let numbered = || (0..n_neurons).map(|n| n.to_string()).collect();
        Ok(Self {
            store: opened.store,
            path: path.to_owned(),
            dataset: opened.dataset,
            n_neurons,
            n_bins: frames.len(),
            frames,
            hidden,
            notes,
            dt_s,
            units: options.units.or(opened.units),
            neuron_ids: opened.neuron_ids.unwrap_or_else(numbered),
            tau_s: opened.tau_s.filter(|&tau_s| is_time(tau_s)),
            discretisation: opened.discretisation,
            per_block,
            next: 0,
        })
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of neurons.
    pub fn n_neurons(&self) -> usize {
        self.n_neurons
    }

    /// Frames per trace.
    pub fn n_bins(&self) -> usize {
        self.n_bins
    }

    /// Width of a frame in seconds.
    pub fn dt_s(&self) -> f64 {
        self.dt_s
    }

    /// What the values are, as in [`crate::Recording`].
    pub fn units(&self) -> Option<Units> {
        self.units
    }

    /// One name per neuron, as in [`crate::Recording`].
    pub fn neuron_ids(&self) -> &[String] {
        &self.neuron_ids
    }

    /// Decay time of the indicator, seconds, where the file says.
    pub fn tau_s(&self) -> Option<f64> {
        self.tau_s
    }

    /// How tau becomes the AR(1) coefficient, as in [`crate::Recording`].
    pub fn discretisation(&self) -> Option<Discretisation> {
        self.discretisation
    }

    /// What was done that the user should know of, as in [`crate::Recording`].
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Notes one thing more.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Begins to check that a model of fluorescence can be fitted to every neuron.
    ///
    /// # Errors
    /// [`Problem::UnitsDoNotSuit`] for spike counts.
    pub fn check(&self) -> Result<BlockCheck, DataError> {
        BlockCheck::new(
            self.path.clone(),
            self.dataset.clone(),
            self.neuron_ids.clone(),
            self.units,
        )
    }

    /// The traces of some neurons, `[neuron, time]`, whatever has been read before.
    ///
    /// # Errors
    /// A problem of the disk; [`Problem::Infinite`]; [`Problem::BadParameter`] beyond the last neuron.
    pub fn read(&mut self, neurons: Range<usize>) -> Result<Array2<f32>, DataError> {
        let read = |store: &mut dyn Store| {
            if neurons.start > neurons.end || neurons.end > self.n_neurons {
                return Err(Problem::BadParameter {
                    name: "neurons",
                    found: format!("{} to {}", neurons.start, neurons.end),
                    expected: "a range of the recording's neurons",
                });
            }
            let mut traces = store.read(neurons.clone())?;
            check_finite(&traces, neurons.start, &self.dataset)?;
            for mask in &self.hidden {
                mask.apply(traces.view_mut().reversed_axes().into_dyn(), neurons.start);
            }
            if self.frames.len() < traces.ncols() {
                traces = traces.slice(s![.., self.frames.clone()]).to_owned();
            }
            Ok(traces)
        };
        read(&mut *self.store).map_err(|problem| DataError::from(problem).in_file(&self.path))
    }
}

impl Iterator for TraceBlocks {
    type Item = Result<TraceBlock, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.n_neurons {
            return None;
        }
        let neurons = self.next..(self.next + self.per_block).min(self.n_neurons);
        self.next = neurons.end;
        Some(self.read(neurons.clone()).map(|traces| TraceBlock {
            first_neuron: neurons.start,
            traces,
        }))
    }
}

fn check_finite(traces: &Array2<f32>, first_neuron: usize, dataset: &str) -> Result<(), Problem> {
    if !traces.iter().fold(false, |any, v| any | v.is_infinite()) {
        return Ok(());
    }
    let bad = traces.indexed_iter().find(|(_, v)| v.is_infinite());
    bad.map_or(Ok(()), |((neuron, frame), &value)| {
        Err(Problem::Infinite {
            dataset: dataset.to_owned(),
            index: vec![frame, first_neuron + neuron],
            value,
        })
    })
}
