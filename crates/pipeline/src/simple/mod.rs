//! What a model must beat: smoothed deconvolved activity, its principal components, the most similar trials.

mod components;
mod look_up;

use std::ops::Range;

use anyhow::{Context, Result};
use calcium::estimate::median;
use calcium::oasis::Ar1Problem;
use calcium::{Ar1, Automatic, Discretisation, Estimates};
use metrics::smoothed;
use ndarray::{Array3, ArrayView3, Axis, s};
use rayon::prelude::*;
use zoo::{expected_spikes, spans};

pub use components::{N_COMPONENTS, of_components};
pub(crate) use components::{Shown, whole_frames};
pub use look_up::LookUp;

/// Widths of a Gaussian, seconds.
const WIDTHS_S: [f64; 5] = [0.05, 0.1, 0.2, 0.4, 0.8];

/// How spikes are taken out of fluorescence without a model of the population.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deconvolver {
    /// OASIS: nonnegative spikes under AR(1).
    Oasis,
    /// The spike network.
    Network,
    /// None: the values are spike counts.
    Counts,
}

/// Spikes per second that one neuron's own trace shows, unsmoothed, `[trial, time, neuron]`; NaN without
/// data.
#[derive(Clone, Debug)]
pub struct Activity {
    /// What they were taken out by.
    pub by: Deconvolver,
    values: Array3<f32>,
    dt_s: f64,
}

/// A recording whose activity is looked at: values as observed, NaN behind the end of a shorter trial.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// `[trial, time, neuron]`.
    pub values: ArrayView3<'a, f32>,
    /// Seconds per frame.
    pub dt_s: f64,
    /// Decay time of the indicator, seconds, where it was given; else OASIS has its own.
    pub tau_s: Option<f64>,
    /// Fluorescence of one spike of each neuron, where it is known: OASIS's spikes are in these units.
    pub spike_size: Option<&'a [f32]>,
}

impl Deconvolver {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oasis => "OASIS",
            Self::Network => "network",
            Self::Counts => "counts",
        }
    }
}

impl Activity {
    /// Deconvolves every neuron, in parallel. A trace that shows nothing has no activity.
    ///
    /// # Errors
    /// A frame interval that is none, naming the neuron.
    pub fn of(observed: Observed<'_>, by: Deconvolver) -> Result<Self> {
        let Observed { values, dt_s, .. } = observed;
        let spikes = match by {
            Deconvolver::Counts => with_silence(values.to_owned()),
            Deconvolver::Network => expected_spikes(values, dt_s)?,
            Deconvolver::Oasis => observed.by_oasis()?,
        };
        Ok(Self::of_spikes(spikes, by, dt_s))
    }

    /// Of spikes per frame that are known already, `[trial, time, neuron]`.
    pub(crate) fn of_spikes(spikes: Array3<f32>, by: Deconvolver, dt_s: f64) -> Self {
        Self {
            by,
            values: spikes / dt_s as f32,
            dt_s,
        }
    }

    /// Spikes per second, unsmoothed, `[trial, time, neuron]`.
    pub fn values(&self) -> ArrayView3<'_, f32> {
        self.values.view()
    }

    /// Smoothed by a Gaussian of `sd_s` seconds, `[trial, time, neuron]`.
    pub fn smoothed(&self, sd_s: f64) -> Array3<f32> {
        smoothed(self.values.view(), sd_s / self.dt_s)
    }

    /// Widths of a Gaussian to smooth by, seconds: those that are no less than half a frame or so.
    pub fn widths_s(&self) -> impl Iterator<Item = f64> {
        let least_s = 0.4 * self.dt_s;
        WIDTHS_S.into_iter().filter(move |sd_s| *sd_s >= least_s)
    }
}

impl Observed<'_> {
    /// OASIS's spikes of every neuron, trials laid end to end, `[trial, time, neuron]`; NaN where nothing was recorded.
    /// A decay that is not known is the median of what is estimated of each neuron.
    fn by_oasis(&self) -> Result<Array3<f32>> {
        let spans = spans(self.values);
        let starts: Vec<usize> = spans.iter().map(|span| span.start).collect();
        let mut automatic = Automatic::new(self.dt_s)?;
        if let Some(tau_s) = self.tau_s {
            automatic = automatic.with_typical_tau(tau_s)?;
        }
        let neurons: Vec<usize> = (0..self.values.len_of(Axis(2)))
            .filter(|&neuron| self.trace(neuron, &spans).iter().any(|x| x.is_finite()))
            .collect();
        let named = |neuron: usize| format!("neuron {neuron}");
        let estimates: Vec<Result<Estimates<f32>>> = neurons
            .par_iter()
            .map(|&neuron| {
                let found = automatic.estimate_trials(&self.trace(neuron, &spans), &starts);
                found.with_context(|| named(neuron))
            })
            .collect();
        let estimates: Vec<Estimates<f32>> = estimates.into_iter().collect::<Result<_>>()?;
        let own = || median(estimates.iter().map(|found| found.tau_s));
        let Some(tau_s) = self.tau_s.or_else(own) else {
            return Ok(with_silence(self.values.to_owned()));
        };
        let ar = Ar1::from_tau(tau_s, self.dt_s, Discretisation::Exact)?;
        let found: Vec<Result<Vec<f32>>> = neurons
            .par_iter()
            .zip(&estimates)
            .map(|(&neuron, estimates)| {
                let above = estimates.above_baseline(&self.trace(neuron, &spans));
                let trials = spans.iter().map(|span| {
                    let problem = Ar1Problem::new(ar).deconvolve(&above[span.clone()]);
                    Ok(problem.with_context(|| named(neuron))?.spikes)
                });
                Ok(trials.collect::<Result<Vec<_>>>()?.concat())
            })
            .collect();
        let mut spikes = self.values.to_owned();
        for (found, &neuron) in found.into_iter().zip(&neurons) {
            let found = found?;
            let size = self.spike_size.map_or(1.0, |sizes| sizes[neuron]);
            let mut trials = spikes.index_axis_mut(Axis(2), neuron);
            for (span, mut trial) in spans.iter().zip(trials.outer_iter_mut()) {
                let shown = trial.iter_mut().zip(&found[span.clone()]);
                for (to, &from) in shown.filter(|(to, _)| to.is_finite()) {
                    *to = from / size;
                }
            }
        }
        Ok(with_silence(spikes))
    }

    /// A neuron's trials laid end to end.
    fn trace(&self, neuron: usize, spans: &[Range<usize>]) -> Vec<f32> {
        let trials = spans.iter().enumerate();
        let frames =
            trials.flat_map(|(trial, span)| self.values.slice(s![trial, ..span.len(), neuron]));
        frames.copied().collect()
    }
}

/// A neuron of which nothing is there has no spikes, where others have frames.
fn with_silence(mut spikes: Array3<f32>) -> Array3<f32> {
    let spans = spans(spikes.view());
    for mut neuron in spikes.axis_iter_mut(Axis(2)) {
        if neuron.iter().all(|x| x.is_nan()) {
            for (span, mut trial) in spans.iter().zip(neuron.outer_iter_mut()) {
                trial.slice_mut(s![..span.len()]).fill(0.0);
            }
        }
    }
    spikes
}

#[cfg(test)]
mod tests {
    use metrics::Comparison;
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Counts of twenty neurons with rates of one shared sine, 4 Hz and 20 frames per second, and the rates.
    fn population(n_frames: usize) -> [Array3<f32>; 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let rates = Array3::from_shape_fn((2, n_frames, 20), |(trial, t, neuron)| {
            let phase = 0.2 * t as f32 + trial as f32;
            4.0 * (1.0 + 0.9 * (phase.sin() * if neuron % 2 == 0 { 1.0 } else { -1.0 }))
        });
        let counts = rates.mapv(|rate| {
            let n = (0..10)
                .filter(|_| rng.random::<f32>() < rate / 200.0)
                .count();
            n as f32
        });
        [counts, rates]
    }

    fn observed(values: &Array3<f32>) -> Observed<'_> {
        Observed {
            values: values.view(),
            dt_s: 0.05,
            tau_s: None,
            spike_size: None,
        }
    }

    fn r2(estimate: &Array3<f32>, rates: &Array3<f32>) -> f64 {
        let comparison = Comparison::new(estimate.view(), rates.view()).unwrap();
        comparison.about_means().unwrap().r2
    }

    #[test]
    fn smoothing_finds_rates_and_components_more_of_them() {
        let [counts, rates] = population(400);
        let activity = Activity::of(observed(&counts), Deconvolver::Counts).unwrap();
        let train = Array2::from_shape_fn((2, 400), |(trial, _)| trial == 0);
        let smooth = activity.smoothed(0.2);
        let held = of_components(smooth.view(), train.view()).unwrap();
        let [raw, smooth, held] =
            [activity.smoothed(0.0), smooth, held].map(|estimate| r2(&estimate, &rates));
        assert!(raw < 0.5 * smooth && smooth < held, "{raw} {smooth} {held}");
    }

    #[test]
    fn gaps_ends_and_neurons_without_data_are_borne() {
        let [mut counts, _] = population(200);
        counts.slice_mut(s![1, 150.., ..]).fill(f32::NAN);
        counts.slice_mut(s![0, 30..33, ..]).fill(f32::NAN);
        counts.slice_mut(s![.., .., 7]).fill(f32::NAN);
        let activity = Activity::of(observed(&counts), Deconvolver::Counts).unwrap();
        let train = Array2::from_elem((2, 200), true);
        let smooth = activity.smoothed(0.2);
        let held = of_components(smooth.view(), train.view()).unwrap();
        let is_there = |trial: usize, t: usize| held[[trial, t, 3]].is_finite();
        assert!(is_there(0, 31) && is_there(1, 149) && !is_there(1, 150));
        assert!(smooth[[0, 10, 7]] == 0.0);
    }

    #[test]
    fn one_neuron_has_no_others_but_a_rate() {
        let [counts, _] = population(100);
        let one = counts.slice(s![.., .., ..1]).to_owned();
        let activity = Activity::of(observed(&one), Deconvolver::Counts).unwrap();
        let train = Array2::from_elem((2, 100), true);
        let held = of_components(activity.smoothed(0.2).view(), train.view()).unwrap();
        assert!(held.iter().all(|x| x.is_finite()));
    }
}
