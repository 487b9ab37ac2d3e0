//! Whether a recording suits a likelihood: asked before a fit, not after it diverged.

use std::path::PathBuf;

use ndarray::{ArrayView1, ArrayView2};

use super::columns::is_counter;
use super::traces::Recording;
use super::units::Units;
use crate::error::Silent;
use crate::{DataError, Problem};

/// What a model takes the values for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Likelihood {
    /// Poisson counts per frame.
    Poisson,
    /// Real-valued fluorescence with Gaussian noise.
    Gaussian,
}

/// Whole numbers up to this look like counts; digitised fluorescence goes far beyond.
const LIKELY_COUNT: f32 = 100.0;
/// Fewer trials than so many end in so many zeros by chance.
const FEW: f64 = 0.01;

impl Recording {
    /// Checks that a model with this likelihood can be fitted to every neuron.
    ///
    /// # Errors
    /// The first problem: neurons of NaN alone or of one value ([`Problem::Silent`], all of them); under Poisson, fluorescence ([`Problem::UnitsDoNotSuit`]) or a
    /// value that is no count ([`Problem::NotACount`]); under Gaussian, values that are
    /// counts ([`Problem::LooksLikeCounts`], unless `units` says that they are not).
    pub fn check(&self, likelihood: Likelihood) -> Result<(), DataError> {
        let neurons = self.silent();
        if !neurons.is_empty() {
            let dataset = self.dataset.clone();
            return Err(self.problem(Problem::Silent { dataset, neurons }));
        }
        self.check_values(likelihood)
    }

    /// Checks units and values as [`Self::check`] does, and not whether every neuron is active: a
    /// trained model knows what a lost neuron does.
    ///
    /// # Errors
    /// Those of [`Self::check`] but for [`Problem::Silent`].
    pub fn check_values(&self, likelihood: Likelihood) -> Result<(), DataError> {
        let stretches = self.stretches();
        let problem = match likelihood {
            Likelihood::Poisson => self.poisson_problem(&stretches),
            Likelihood::Gaussian => self.gaussian_problem(&stretches),
        };
        problem.map_or(Ok(()), |problem| Err(self.problem(problem)))
    }

    /// Neurons that are NaN or of one value in every frame.
    pub fn silent(&self) -> Vec<Silent> {
        let stretches = self.stretches();
        let silence = |neuron: usize| {
            let columns = stretches.iter().map(|s| s.column(neuron));
            Some(Silent {
                number: self.neuron_numbers[neuron],
                id: self.neuron_ids[neuron].clone(),
                value: silence(columns.flatten())?,
            })
        };
        (0..self.n_neurons()).filter_map(silence).collect()
    }

    /// Neurons with the same value in so many frames on end, more than `share` of all, by their
    /// place: their longest such run.
    pub fn constant_stretches(&self, share: f64) -> Vec<(usize, usize)> {
        let stretches = self.stretches();
        let n_frames: usize = stretches.iter().map(ArrayView2::nrows).sum();
        let longest = |neuron: usize| {
            let runs = stretches.iter().map(|s| longest_run(s.column(neuron)));
            runs.max().unwrap_or_default()
        };
        let is_long = |(_, run): &(usize, usize)| *run as f64 > share * n_frames as f64;
        (0..self.n_neurons())
            .map(|neuron| (neuron, longest(neuron)))
            .filter(is_long)
            .collect()
    }

    /// Trials that end in more frames in which every neuron is 0 than chance brings, by how often all are 0 elsewhere, as
    /// neurons that seldom fire often are: how many trials, and the most such frames.
    pub fn zeros_at_ends(&self) -> (usize, usize) {
        let (mut ends, mut n_zeros, mut n_before) = (Vec::new(), 0, 0);
        for trial in self.stretches() {
            let is_zero = |row: ArrayView1<'_, f32>| row.iter().all(|v| v.abs() <= 0.0);
            let mut rows = trial.outer_iter().rev();
            let end = rows.by_ref().take_while(|row| is_zero(*row)).count();
            // The one that ended the run has gone with it.
            n_zeros += rows.filter(|row| is_zero(*row)).count();
            n_before += trial.nrows() - end;
            ends.push(end);
        }
        let share = n_zeros as f64 / n_before.max(1) as f64;
        let by_chance = |end: usize| ends.len() as f64 * share.powf(end as f64);
        let padded = ends.iter().copied();
        let padded = padded.filter(|&end| end > 0 && by_chance(end) < FEW);
        let lengths: Vec<usize> = padded.collect();
        (lengths.len(), lengths.into_iter().max().unwrap_or_default())
    }

    fn poisson_problem(&self, stretches: &[ArrayView2<'_, f32>]) -> Option<Problem> {
        if let Some(units @ (Units::Fluorescence | Units::DeltaFOverF)) = self.units {
            return Some(Problem::UnitsDoNotSuit { units });
        }
        let bad = |v: f32| !v.is_nan() && (v < 0.0 || v.fract() != 0.0);
        stretches.iter().enumerate().find_map(|(trial, values)| {
            let ((bin, neuron), &value) = values.indexed_iter().find(|(_, v)| bad(**v))?;
            Some(Problem::NotACount {
                dataset: self.dataset.clone(),
                index: vec![trial, bin, neuron],
                value,
            })
        })
    }

    fn gaussian_problem(&self, stretches: &[ArrayView2<'_, f32>]) -> Option<Problem> {
        if let Some(units @ Units::SpikeCounts) = self.units {
            return Some(Problem::UnitsDoNotSuit { units });
        }
        let observed = || stretches.iter().flatten().filter(|v| !v.is_nan());
        let counts = self.units.is_none() && observed().copied().all(is_small_count);
        counts.then(|| Problem::LooksLikeCounts {
            dataset: self.dataset.clone(),
            largest: observed().copied().fold(0.0, f32::max),
        })
    }
}

/// [`Recording::check`] under Gaussian noise for traces in blocks, which [`crate::TraceBlocks::check`]
/// begins.
#[derive(Clone, Debug)]
pub struct BlockCheck {
    path: PathBuf,
    dataset: String,
    neuron_ids: Vec<String>,
    silent: Vec<Silent>,
    /// Whether all that was seen looks like counts, and units do not say otherwise.
    counts: bool,
    largest: f32,
}

impl BlockCheck {
    pub(super) fn new(
        path: PathBuf,
        dataset: String,
        neuron_ids: Vec<String>,
        units: Option<Units>,
    ) -> Result<Self, DataError> {
        if let Some(units @ Units::SpikeCounts) = units {
            return Err(DataError::from(Problem::UnitsDoNotSuit { units }).in_file(&path));
        }
        Ok(Self {
            path,
            dataset,
            neuron_ids,
            silent: Vec::new(),
            counts: units.is_none(),
            largest: 0.0,
        })
    }

    /// Checks the trace of a neuron of the recording, `[time]`. False once a neuron was silent: the others
    /// are still looked at, so that [`Self::finish`] can name all silent ones, but it will refuse.
    ///
    /// # Errors
    /// [`Problem::Counter`] for what rises all the way.
    ///
    /// # Panics
    /// If the recording has no such neuron.
    pub fn see(&mut self, neuron: usize, trace: ArrayView1<'_, f32>) -> Result<bool, DataError> {
        let id = &self.neuron_ids[neuron];
        if let Some(value) = silence(trace.iter()) {
            self.silent.push(Silent {
                number: neuron,
                id: id.clone(),
                value,
            });
            return Ok(false);
        }
        let values: Vec<f64> = trace.iter().map(|&v| f64::from(v)).collect();
        if is_counter(&values) {
            return Err(self.problem(Problem::Counter {
                dataset: self.dataset.clone(),
                neuron,
                id: id.clone(),
            }));
        }
        let observed = || trace.iter().filter(|v| !v.is_nan());
        self.counts = self.counts && observed().copied().all(is_small_count);
        self.largest = observed().copied().fold(self.largest, f32::max);
        Ok(self.silent.is_empty())
    }

    /// Checks what only all neurons together can tell.
    ///
    /// # Errors
    /// [`Problem::Silent`] with all silent neurons; [`Problem::LooksLikeCounts`].
    pub fn finish(mut self) -> Result<(), DataError> {
        if !self.silent.is_empty() {
            let neurons = std::mem::take(&mut self.silent);
            let dataset = self.dataset.clone();
            return Err(self.problem(Problem::Silent { dataset, neurons }));
        }
        match self.counts {
            true => Err(self.problem(Problem::LooksLikeCounts {
                dataset: self.dataset.clone(),
                largest: self.largest,
            })),
            false => Ok(()),
        }
    }

    fn problem(&self, problem: Problem) -> DataError {
        DataError::from(problem).in_file(&self.path)
    }
}

/// The value of a neuron of which nothing can be learnt: NaN, or the same in every frame.
pub(super) fn silence<'a>(values: impl Iterator<Item = &'a f32>) -> Option<f32> {
    let mut values = values.copied().filter(|v| !v.is_nan());
    let Some(value) = values.next() else {
        return Some(f32::NAN);
    };
    let varies = values.any(|v| (v - value).abs() > 0.0);
    (!varies).then_some(value)
}

/// Most frames on end with one value; missing ones end a run.
fn longest_run(trace: ArrayView1<'_, f32>) -> usize {
    let (mut longest, mut run, mut last) = (0, 0, f32::NAN);
    for &value in trace {
        run = match (value - last).abs() <= 0.0 {
            true => run + 1,
            false => usize::from(!value.is_nan()),
        };
        longest = longest.max(run);
        last = value;
    }
    longest
}

fn is_small_count(value: f32) -> bool {
    (0.0..=LIKELY_COUNT).contains(&value) && value.fract() == 0.0
}
