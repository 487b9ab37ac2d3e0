//! A recording in memory: traces, frame rate, units, neurons and trials.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use calcium::Discretisation;
use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use super::units::Units;
use crate::{DataError, Problem};

/// A recording of one population.
///
/// # Units
/// Seconds; the traces in `units`.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The values.
    pub traces: Traces,
    /// Width of a frame.
    pub dt_s: f64,
    /// What says so.
    pub rate_from: RateFrom,
    /// Time of the first frame, on the clock of `trial_table`.
    pub start_s: f64,
    /// What the values are, where the file or the caller says.
    pub units: Option<Units>,
    /// One name per neuron: the file's own, or its place from 0.
    pub neuron_ids: Vec<String>,
    /// Place of each neuron in the file, from 0, whatever has been left out since.
    pub neuron_numbers: Vec<usize>,
    /// Trials of a continuous recording, where the file lists them.
    pub trial_table: Vec<TrialInterval>,
    /// How many trials, from the first, are for training, where the file says: the rest
    /// are held out.
    pub n_train: Option<usize>,
    /// Decay time of the indicator, seconds, where the file says.
    pub tau_s: Option<f64>,
    /// How tau becomes the AR(1) coefficient, where the file says.
    pub discretisation: Option<Discretisation>,
    /// File or folder read.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Dataset, variable or file that held the traces.
    pub dataset: String,
    /// What was done that the user should know of, such as a transposition.
    pub notes: Vec<String>,
}

/// Values of a recording; NaN where a frame is missing.
#[derive(Clone, Debug, PartialEq)]
pub enum Traces {
    /// One stretch `[time, neuron]`.
    Continuous(Array2<f32>),
    /// Trials, each `[time, neuron]`, of possibly unequal length.
    Trials(Vec<Array2<f32>>),
}

/// Formats that [`Recording::open`] tells apart by their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// NumPy array.
    Npy,
    /// Archive of NumPy arrays.
    Npz,
    /// Text table.
    Csv,
    /// Folder of the International Brain Laboratory.
    Alf,
    /// Store of minian and xarray; not read.
    Zarr,
    /// Folder that suite2p wrote.
    Suite2p,
    /// Neurodata Without Borders.
    Nwb,
    /// MATLAB, versions 5 to 7.3.
    Matlab,
    /// Plain HDF5, with `train_…` and `valid_…` or a named dataset.
    Hdf5,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Csv => "CSV",
            Self::Alf => "ALF",
            Self::Zarr => "Zarr",
            Self::Suite2p => "suite2p",
            Self::Nwb => "NWB",
            Self::Matlab => "MATLAB",
            Self::Hdf5 => "HDF5",
        })
    }
}

/// What says how long a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateFrom {
    /// The caller, by [`crate::Options::rate_hz`].
    Stated,
    /// A rate or a width in the file.
    File,
    /// The times of the frames in the file.
    Times,
}

impl fmt::Display for RateFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stated => "as stated",
            Self::File => "as the file says",
            Self::Times => "by the times of the frames",
        })
    }
}

/// When a trial was.
///
/// # Units
/// Seconds, on the recording's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialInterval {
    /// Start, included.
    pub start_s: f64,
    /// End, excluded.
    pub stop_s: f64,
}

/// Trials of unequal length in one array.
#[derive(Clone, Debug, PartialEq)]
pub struct PaddedTrials {
    /// `[trial, time, neuron]`, zero where not observed.
    pub values: Array3<f32>,
    /// True where a value was recorded: neither padding nor a missing frame.
    pub observed: Array3<bool>,
    /// Frames per trial.
    pub lengths: Vec<usize>,
}

/// The first frame, from 0, that is not before `time_s`, on a clock on which frame 0 is at `start_s`.
pub(crate) fn first_frame(time_s: f64, start_s: f64, dt_s: f64) -> usize {
    // Times are decimal and frames binary: a millionth of a frame is not a frame.
    ((time_s - start_s) / dt_s - 1e-6).ceil().max(0.0) as usize
}

impl Recording {
    /// Number of neurons.
    pub fn n_neurons(&self) -> usize {
        self.neuron_ids.len()
    }

    /// The stretches: every trial, or the one continuous stretch.
    pub fn stretches(&self) -> Vec<ArrayView2<'_, f32>> {
        match &self.traces {
            Traces::Continuous(trace) => vec![trace.view()],
            Traces::Trials(trials) => trials.iter().map(|trial| trial.view()).collect(),
        }
    }

    /// The same recording with only these neurons, in this order.
    ///
    /// # Errors
    /// [`Problem::BadParameter`] for an index that is not of a neuron, or for none at all.
    pub fn keep(&self, neurons: &[usize]) -> Result<Self, DataError> {
        let outside = neurons.iter().find(|&&n| n >= self.n_neurons());
        if neurons.is_empty() || outside.is_some() {
            let found = outside.map_or("empty".to_owned(), ToString::to_string);
            return Err(self.problem(Problem::BadParameter {
                name: "neurons",
                found,
                expected: "a list of neurons of the recording, counted from 0",
            }));
        }
        let select = |trace: &Array2<f32>| trace.select(Axis(1), neurons);
        let ids = neurons.iter().map(|&n| self.neuron_ids[n].clone());
        let traces = match &self.traces {
            Traces::Continuous(trace) => Traces::Continuous(select(trace)),
            Traces::Trials(trials) => Traces::Trials(trials.iter().map(select).collect()),
        };
        Ok(Self {
            neuron_ids: ids.collect(),
            neuron_numbers: neurons.iter().map(|&n| self.neuron_numbers[n]).collect(),
            ..self.with_traces(traces)
        })
    }

    /// The same recording with only these trials, in ascending order.
    ///
    /// # Errors
    /// [`Problem::BadParameter`] for none at all, for a number that is not of a trial, or if they do not ascend; a
    /// continuous recording is one trial.
    pub fn keep_trials(&self, trials: &[usize]) -> Result<Self, DataError> {
        let n_trials = self.stretches().len();
        let is_sound =
            trials.is_sorted_by(|a, b| a < b) && trials.last().is_some_and(|&last| last < n_trials);
        if !is_sound {
            return Err(self.problem(Problem::BadParameter {
                name: "trials",
                found: format!("{trials:?}"),
                expected: "trials of the recording in ascending order, counted from 0",
            }));
        }
        let traces = match &self.traces {
            Traces::Continuous(trace) => Traces::Continuous(trace.clone()),
            Traces::Trials(all) => {
                Traces::Trials(trials.iter().map(|&trial| all[trial].clone()).collect())
            }
        };
        let mut kept = self.with_traces(traces);
        if self.trial_table.len() == n_trials {
            kept.trial_table = trials.iter().map(|&t| self.trial_table[t]).collect();
        }
        let n_train = |n_train: usize| trials.partition_point(|&trial| trial < n_train);
        kept.n_train = self.n_train.map(n_train).filter(|&n| n < trials.len());
        Ok(kept)
    }

    /// The same continuous recording, of which only these frames have data.
    ///
    /// # Errors
    /// [`Problem::BadParameter`] for trials, or spans that do not ascend or end behind the recording.
    pub fn keep_frames(&self, spans: &[Range<usize>]) -> Result<Self, DataError> {
        let bad = |found: String| {
            self.problem(Problem::BadParameter {
                name: "frames",
                found,
                expected: "spans of a continuous recording, in ascending order",
            })
        };
        let Traces::Continuous(trace) = &self.traces else {
            return Err(bad("those of trials".into()));
        };
        let mut kept = Array2::from_elem(trace.dim(), f32::NAN);
        let mut next = 0;
        for span in spans {
            if span.start < next || span.end < span.start || span.end > trace.nrows() {
                return Err(bad(format!(
                    "{span:?} of {} frames, after {next}",
                    trace.nrows()
                )));
            }
            let frames = s![span.clone(), ..];
            kept.slice_mut(frames).assign(&trace.slice(frames));
            next = span.end;
        }
        Ok(self.with_traces(Traces::Continuous(kept)))
    }

    /// Other traces of the same recording; its own are not copied.
    pub(super) fn with_traces(&self, traces: Traces) -> Self {
        Self {
            traces,
            dt_s: self.dt_s,
            rate_from: self.rate_from,
            start_s: self.start_s,
            units: self.units,
            neuron_ids: self.neuron_ids.clone(),
            neuron_numbers: self.neuron_numbers.clone(),
            trial_table: self.trial_table.clone(),
            n_train: self.n_train,
            tau_s: self.tau_s,
            discretisation: self.discretisation,
            path: self.path.clone(),
            format: self.format,
            dataset: self.dataset.clone(),
            notes: self.notes.clone(),
        }
    }

    /// Cuts a continuous recording into the trials of its table.
    ///
    /// A frame belongs to a trial when its time, `start_s + frame · dt_s`, lies in
    /// `[start, stop)`. Trials before or after the recording are left out, with a note, of the table too;
    /// a note tells of those that its start or end cuts short.
    ///
    /// # Errors
    /// [`Problem::NoTrials`] without a table; [`Problem::EmptyTrial`] for a trial between two frames, or if
    /// no trial holds a frame.
    pub fn cut_trials(&self) -> Result<Self, DataError> {
        let trace = match &self.traces {
            Traces::Continuous(trace) if !self.trial_table.is_empty() => trace,
            _ => return Err(self.problem(Problem::NoTrials)),
        };
        let n_frames = trace.nrows();
        let end_s = self.start_s + n_frames as f64 * self.dt_s;
        let first_from = |time_s: f64| first_frame(time_s, self.start_s, self.dt_s).min(n_frames);
        let (mut trials, mut table) = (Vec::new(), Vec::new());
        let (mut n_outside, mut n_cut) = (0, 0);
        for (trial, interval) in self.trial_table.iter().enumerate() {
            let (first, end) = (first_from(interval.start_s), first_from(interval.stop_s));
            if first < end {
                let is_cut = self.start_s - interval.start_s > self.dt_s
                    || interval.stop_s - end_s > self.dt_s;
                n_cut += usize::from(is_cut);
                trials.push(trace.slice(s![first..end, ..]).to_owned());
                table.push(*interval);
                continue;
            }
            let is_outside = interval.stop_s <= self.start_s || interval.start_s >= end_s;
            let is_last = trial + 1 == self.trial_table.len();
            if !is_outside || (is_last && trials.is_empty()) {
                return Err(self.problem(Problem::EmptyTrial {
                    trial,
                    found: format!(
                        "no frame between {} s and {} s (the recording lasts from {} s to {end_s} s)",
                        interval.start_s, interval.stop_s, self.start_s,
                    ),
                }));
            }
            n_outside += 1;
        }
        let mut notes = self.notes.clone();
        if n_outside > 0 {
            notes.push(format!(
                "{n_outside} of {} trials are before or after the recording: left out",
                self.trial_table.len()
            ));
        }
        if n_cut > 0 {
            notes.push(format!(
                "{n_cut} trials are cut short by the start or the end of the recording"
            ));
        }
        Ok(Self {
            trial_table: table,
            notes,
            ..self.with_traces(Traces::Trials(trials))
        })
    }

    /// The stretches as one array with a mask.
    pub fn padded(&self) -> PaddedTrials {
        let stretches = self.stretches();
        let lengths: Vec<_> = stretches.iter().map(ArrayView2::nrows).collect();
        let longest = lengths.iter().copied().max().unwrap_or_default();
        let mut values = Array3::zeros((lengths.len(), longest, self.n_neurons()));
        let mut observed = Array3::from_elem(values.dim(), false);
        for (trial, stretch) in stretches.iter().enumerate() {
            let place = s![trial, ..stretch.nrows(), ..];
            values
                .slice_mut(place)
                .zip_mut_with(stretch, |to, &v| *to = if v.is_nan() { 0.0 } else { v });
            observed
                .slice_mut(place)
                .zip_mut_with(stretch, |to, v| *to = !v.is_nan());
        }
        PaddedTrials {
            values,
            observed,
            lengths,
        }
    }

    pub(super) fn problem(&self, problem: Problem) -> DataError {
        DataError::from(problem).in_file(&self.path)
    }
}
