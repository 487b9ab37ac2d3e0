//! Whether a recording suits a likelihood: asked before a fit, not after it diverged.

use std::path::PathBuf;

use ndarray::{ArrayView1, ArrayView2};

use super::traces::Recording;
use super::units::Units;
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

impl Recording {
    /// Checks that a model with this likelihood can be fitted to every neuron.
    ///
    /// # Errors
    /// The first problem: a neuron of NaN alone ([`Problem::AllMissing`]) or of one value
    /// ([`Problem::Constant`]); under Poisson, fluorescence ([`Problem::UnitsDoNotSuit`]) or a
    /// value that is no count ([`Problem::NotACount`]); under Gaussian, values that are
    /// counts ([`Problem::LooksLikeCounts`], unless `units` says that they are not).
    pub fn check(&self, likelihood: Likelihood) -> Result<(), DataError> {
        self.find_problem(likelihood)
            .map_or(Ok(()), |problem| Err(self.problem(problem)))
    }

    fn find_problem(&self, likelihood: Likelihood) -> Option<Problem> {
        let stretches = self.stretches();
        (0..self.n_neurons())
            .find_map(|neuron| self.neuron_problem(neuron, &stretches))
            .or_else(|| match likelihood {
                Likelihood::Poisson => self.poisson_problem(&stretches),
                Likelihood::Gaussian => self.gaussian_problem(&stretches),
            })
    }

    fn neuron_problem(&self, neuron: usize, stretches: &[ArrayView2<'_, f32>]) -> Option<Problem> {
        let columns = stretches.iter().map(|s| s.column(neuron));
        let id = &self.neuron_ids[neuron];
        trace_problem(columns.flatten(), &self.dataset, neuron, id)
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
            counts: units.is_none(),
            largest: 0.0,
        })
    }

    /// Checks the trace of a neuron of the recording, `[time]`.
    ///
    /// # Errors
    /// [`Problem::AllMissing`] or [`Problem::Constant`].
    ///
    /// # Panics
    /// If the recording has no such neuron.
    pub fn see(&mut self, neuron: usize, trace: ArrayView1<'_, f32>) -> Result<(), DataError> {
        let id = &self.neuron_ids[neuron];
        if let Some(problem) = trace_problem(trace.iter(), &self.dataset, neuron, id) {
            return Err(self.problem(problem));
        }
        let observed = || trace.iter().filter(|v| !v.is_nan());
        self.counts = self.counts && observed().copied().all(is_small_count);
        self.largest = observed().copied().fold(self.largest, f32::max);
        Ok(())
    }

    /// Checks what only all neurons together can tell.
    ///
    /// # Errors
    /// [`Problem::LooksLikeCounts`].
    pub fn finish(self) -> Result<(), DataError> {
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

/// A neuron of which nothing can be learnt.
fn trace_problem<'a>(
    values: impl Iterator<Item = &'a f32>,
    dataset: &str,
    neuron: usize,
    id: &str,
) -> Option<Problem> {
    let (dataset, id) = (dataset.to_owned(), id.to_owned());
    let mut values = values.copied().filter(|v| !v.is_nan());
    let Some(value) = values.next() else {
        return Some(Problem::AllMissing {
            dataset,
            neuron,
            id,
        });
    };
    let varies = values.any(|v| (v - value).abs() > 0.0);
    (!varies).then_some(Problem::Constant {
        dataset,
        neuron,
        id,
        value,
    })
}

fn is_small_count(value: f32) -> bool {
    (0.0..=LIKELY_COUNT).contains(&value) && value.fract() == 0.0
}
