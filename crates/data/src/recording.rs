//! A user's own recording: traces, frame rate, units, neurons and trials, from any known format.

use std::fmt;
use std::path::{Path, PathBuf};

use ndarray::{Array, Array2, Array3, ArrayD, ArrayView2, ArrayView3, Axis, Dimension, s};

use crate::clock::{self, Clock};
use crate::source::{self, Source};
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
    /// Time of the first frame, on the clock of `trial_table`.
    pub start_s: f64,
    /// What the values are, where the file or the caller says.
    pub units: Option<Units>,
    /// One name per neuron: the file's own, or its place from 0.
    pub neuron_ids: Vec<String>,
    /// Trials of a continuous recording, where the file lists them.
    pub trial_table: Vec<TrialInterval>,
    /// How many trials, from the first, are for training, where the file says: the rest
    /// are held out.
    pub n_train: Option<usize>,
    /// Decay time of the indicator, seconds, where the file says.
    pub tau_s: Option<f64>,
    /// How tau becomes the AR(1) coefficient, where the file says: "euler", 1 − dt/tau, or
    /// "exact", exp(−dt/tau).
    pub discretisation: Option<String>,
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

/// What the values of a recording are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Units {
    /// Raw fluorescence F.
    Fluorescence,
    /// ΔF/F.
    DeltaFOverF,
    /// Spikes per frame.
    SpikeCounts,
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fluorescence => "F",
            Self::DeltaFOverF => "dF/F",
            Self::SpikeCounts => "spike counts",
        })
    }
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
    /// Folder that suite2p wrote.
    Suite2p,
    /// Neurodata Without Borders.
    Nwb,
    /// MATLAB v7.3.
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
            Self::Suite2p => "suite2p",
            Self::Nwb => "NWB",
            Self::Matlab => "MATLAB v7.3",
            Self::Hdf5 => "HDF5",
        })
    }
}

/// Order of the last two axes of a stored array, slowest first as NumPy and MATLAB count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AxisOrder {
    /// `[time, neuron]`, or `[trial, time, neuron]`.
    TimeNeuron,
    /// `[neuron, time]`, or `[trial, neuron, time]`.
    NeuronTime,
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

/// What the caller knows better than the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Frames per second; `None`: as the file says.
    pub rate_hz: Option<f64>,
    /// What the values are; `None`: as the file says.
    pub units: Option<Units>,
    /// Dataset, variable or archive member to read; `None`: the only one that can be meant.
    pub dataset: Option<String>,
    /// Order of the axes; `None`: as the file says, else `[time, neuron]` where plausible. suite2p
    /// has but one.
    pub order: Option<AxisOrder>,
    /// suite2p: share of the neuropil's fluorescence to subtract.
    pub neuropil: f32,
    /// suite2p: only regions that `iscell.npy` accepts.
    pub cells_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate_hz: None,
            units: None,
            dataset: None,
            order: None,
            neuropil: 0.7,
            cells_only: true,
        }
    }
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

impl Recording {
    /// Reads a recording, telling the format by the content and never by the extension.
    ///
    /// # Errors
    /// One line naming the file, the dataset, what was found and what to do; see [`Problem`].
    pub fn open(path: &Path, options: &Options) -> Result<Self, DataError> {
        let read = || {
            let source = Source::probe(path)?;
            let reader = source::reader_of(&source)?;
            let draft = reader.read(&source, options)?;
            draft.finish(reader.format(), path, options)
        };
        read().map_err(|problem: Problem| DataError::from(problem).in_file(path))
    }

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
        Ok(Self {
            traces: match &self.traces {
                Traces::Continuous(trace) => Traces::Continuous(select(trace)),
                Traces::Trials(trials) => Traces::Trials(trials.iter().map(select).collect()),
            },
            neuron_ids: ids.collect(),
            ..self.clone()
        })
    }

    /// Cuts a continuous recording into the trials of its table.
    ///
    /// A frame belongs to a trial when its time, `start_s + frame · dt_s`, lies in
    /// `[start, stop)`.
    ///
    /// # Errors
    /// [`Problem::NoTrials`] without a table; [`Problem::EmptyTrial`] for a trial that holds
    /// no frame.
    pub fn cut_trials(&self) -> Result<Self, DataError> {
        let trace = match &self.traces {
            Traces::Continuous(trace) if !self.trial_table.is_empty() => trace,
            _ => return Err(self.problem(Problem::NoTrials)),
        };
        let n_frames = trace.nrows();
        let first_from = |time_s: f64| {
            // Times are decimal and frames binary: a millionth of a frame is not a frame.
            let frame = ((time_s - self.start_s) / self.dt_s - 1e-6).ceil();
            frame.clamp(0.0, n_frames as f64) as usize
        };
        let trials = self
            .trial_table
            .iter()
            .enumerate()
            .map(|(trial, interval)| {
                let (first, end) = (first_from(interval.start_s), first_from(interval.stop_s));
                if first >= end {
                    return Err(self.problem(Problem::EmptyTrial {
                    trial,
                    found: format!(
                        "no frame between {} s and {} s (the recording lasts from {} s to {} s)",
                        interval.start_s,
                        interval.stop_s,
                        self.start_s,
                        self.start_s + n_frames as f64 * self.dt_s,
                    ),
                }));
                }
                Ok(trace.slice(s![first..end, ..]).to_owned())
            });
        Ok(Self {
            traces: Traces::Trials(trials.collect::<Result<_, _>>()?),
            ..self.clone()
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

    pub(crate) fn problem(&self, problem: Problem) -> DataError {
        DataError::from(problem).in_file(&self.path)
    }
}

/// What a reader found, before the caller's options apply.
pub(crate) struct Draft {
    /// Dataset, variable or file.
    pub(crate) dataset: String,
    /// Two axes, continuous; three, trials.
    pub(crate) values: ArrayD<f32>,
    /// `None` where the file does not say.
    pub(crate) order: Option<AxisOrder>,
    pub(crate) clock: Clock,
    pub(crate) start_s: f64,
    pub(crate) units: Option<Units>,
    pub(crate) neuron_ids: Option<Vec<String>>,
    pub(crate) trial_table: Vec<TrialInterval>,
    pub(crate) n_train: Option<usize>,
    pub(crate) tau_s: Option<f64>,
    pub(crate) discretisation: Option<String>,
    pub(crate) notes: Vec<String>,
}

impl Draft {
    /// Values of which the file says nothing more.
    pub(crate) fn bare(dataset: &str, values: ArrayD<f32>) -> Self {
        Self {
            dataset: dataset.to_owned(),
            values,
            order: None,
            clock: Clock::Unstated,
            start_s: 0.0,
            units: None,
            neuron_ids: None,
            trial_table: Vec::new(),
            n_train: None,
            tau_s: None,
            discretisation: None,
            notes: Vec::new(),
        }
    }

    fn finish(self, format: Format, path: &Path, options: &Options) -> Result<Recording, Problem> {
        let Self {
            dataset,
            values,
            clock,
            mut notes,
            ..
        } = self;
        if values.ndim() > 0 && values.is_empty() {
            return Err(Problem::Empty {
                dataset,
                shape: values.shape().to_vec(),
            });
        }
        let order = match (format, options.order) {
            (Format::Suite2p, _) | (_, None) => self.order,
            (_, stated) => stated,
        };
        let order = match order {
            Some(order) => order,
            None => guess_order(&dataset, values.shape(), &clock)?,
        };
        let values = time_first(values, order);
        check_finite(&dataset, &values)?;
        let n_neurons = values.shape().last().copied().unwrap_or_default();
        let clock = options.rate_hz.map_or(clock, Clock::RateHz);
        let (traces, dt_s, start_s) = if values.ndim() == 3 {
            let trials = unpad(with_axes(values, &dataset, "[trial, time, neuron]")?.view())?;
            (Traces::Trials(trials), clock.dt_s()?, self.start_s)
        } else {
            let axes = "[time, neuron] or [trial, time, neuron]";
            let trace = with_axes(values, &dataset, axes)?;
            let regular = clock::regularise(clock, trace, self.start_s, &dataset)?;
            notes.extend(regular.note);
            (
                Traces::Continuous(regular.trace),
                regular.dt_s,
                regular.start_s,
            )
        };
        let ids = self.neuron_ids.filter(|ids| ids.len() == n_neurons);
        Ok(Recording {
            traces,
            dt_s,
            start_s,
            units: options.units.or(self.units),
            neuron_ids: ids.unwrap_or_else(|| (0..n_neurons).map(|n| n.to_string()).collect()),
            trial_table: self.trial_table,
            n_train: self.n_train,
            tau_s: self.tau_s.filter(|&tau_s| is_time(tau_s)),
            discretisation: self.discretisation,
            path: path.to_owned(),
            format,
            dataset,
            notes,
        })
    }
}

/// Whether this is a length of time.
pub(crate) fn is_time(seconds: f64) -> bool {
    seconds.is_finite() && seconds > 0.0
}

fn time_first(mut values: ArrayD<f32>, order: AxisOrder) -> ArrayD<f32> {
    let n_axes = values.ndim();
    if order == AxisOrder::NeuronTime && n_axes >= 2 {
        values.swap_axes(n_axes - 2, n_axes - 1);
    }
    values
}

fn with_axes<D: Dimension>(
    values: ArrayD<f32>,
    dataset: &str,
    axes: &'static str,
) -> Result<Array<f32, D>, Problem> {
    let found = values.shape().to_vec();
    let object = format!("dataset `{dataset}`");
    let array = values.into_dimensionality();
    array.map_err(|_| Problem::Rank {
        object,
        found,
        axes,
    })
}

/// Trials without the frames at their end in which every neuron is NaN.
fn unpad(trials: ArrayView3<'_, f32>) -> Result<Vec<Array2<f32>>, Problem> {
    let unpad_one = |(trial, values): (usize, ArrayView2<'_, f32>)| {
        let recorded = |frame: &usize| !values.row(*frame).iter().all(|v| v.is_nan());
        match (0..values.nrows()).rev().find(recorded) {
            Some(last) => Ok(values.slice(s![..=last, ..]).to_owned()),
            None => Err(Problem::EmptyTrial {
                trial,
                found: "nothing but NaN".to_owned(),
            }),
        }
    };
    trials.outer_iter().enumerate().map(unpad_one).collect()
}

/// Time first, unless a clock says otherwise or there would be more neurons than frames.
pub(crate) fn guess_order(
    dataset: &str,
    shape: &[usize],
    clock: &Clock,
) -> Result<AxisOrder, Problem> {
    let &[rows, columns] = shape else {
        return Ok(AxisOrder::TimeNeuron);
    };
    if let Clock::TimesS(times) = clock {
        if times.len() == columns && columns != rows {
            return Ok(AxisOrder::NeuronTime);
        }
    } else if columns > rows {
        return Err(Problem::AxisOrder {
            dataset: dataset.to_owned(),
            rows,
            columns,
        });
    }
    Ok(AxisOrder::TimeNeuron)
}

fn check_finite(dataset: &str, values: &ArrayD<f32>) -> Result<(), Problem> {
    if !values.iter().fold(false, |any, v| any | v.is_infinite()) {
        return Ok(());
    }
    let bad = values.indexed_iter().find(|(_, v)| v.is_infinite());
    bad.map_or(Ok(()), |(index, &value)| {
        Err(Problem::Infinite {
            dataset: dataset.to_owned(),
            index: index.slice().to_vec(),
            value,
        })
    })
}
