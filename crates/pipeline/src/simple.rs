//! What a model must beat: smoothed deconvolved activity, and its principal components.

use std::ops::Range;

use anyhow::{Context, Result};
use calcium::estimate::median;
use calcium::oasis::Ar1Problem;
use calcium::{Ar1, Automatic, Discretisation, Estimates};
use metrics::{PrincipalComponents, Ridge, smoothed};
use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, Axis, s};
use rayon::prelude::*;
use zoo::{expected_spikes, spans};

/// Components that are kept, as many as a fit has factors by default.
pub const N_COMPONENTS: usize = 8;
/// Widths of a Gaussian, seconds.
const WIDTHS_S: [f64; 5] = [0.05, 0.1, 0.2, 0.4, 0.8];
/// Frames that components and regressions are fitted on, at most.
const MAX_FRAMES: usize = 20_000;
/// Penalty of a regression, per variance of a feature.
const PENALTY: f64 = 1e-3;

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
        let estimates: Vec<Estimates<f32>> = neurons
            .par_iter()
            .map(|&neuron| {
                let found = automatic.estimate_trials(&self.trace(neuron, &spans), &starts);
                found.with_context(|| named(neuron))
            })
            .collect::<Result<_>>()?;
        let own = || median(estimates.iter().map(|found| found.tau_s));
        let Some(tau_s) = self.tau_s.or_else(own) else {
            return Ok(with_silence(self.values.to_owned()));
        };
        let ar = Ar1::from_tau(tau_s, self.dt_s, Discretisation::Exact)?;
        let found: Vec<Vec<f32>> = neurons
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
            .collect::<Result<_>>()?;
        let mut spikes = self.values.to_owned();
        for (found, &neuron) in found.iter().zip(&neurons) {
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

/// Principal components of the activity of all neurons but the hidden.
pub(crate) struct Shown {
    neurons: Vec<usize>,
    components: PrincipalComponents,
    frames: Vec<(usize, usize)>,
    samples: Array2<f32>,
}

impl Shown {
    /// Fitted to `features`, `[trial, time, neuron]`, in these `frames`.
    pub(crate) fn but(
        hidden: &[usize],
        features: ArrayView3<'_, f32>,
        frames: &[(usize, usize)],
    ) -> Result<Self> {
        let neurons: Vec<usize> = (0..features.len_of(Axis(2)))
            .filter(|neuron| !hidden.contains(neuron))
            .collect();
        let samples = gather(features, frames, &neurons);
        Ok(Self {
            components: PrincipalComponents::of(samples.view())?,
            neurons,
            frames: frames.to_vec(),
            samples,
        })
    }

    /// What the first `n` components tell of `targets`, `[trial, time, neuron]`, of the hidden: a regression
    /// in the frames where those are known.
    pub(crate) fn tell(
        &self,
        targets: ArrayView3<'_, f32>,
        hidden: &[usize],
        n: usize,
    ) -> Result<Told<'_>> {
        let n_components = n.min(self.neurons.len());
        let places = projected(&self.components, self.samples.view(), n_components)?;
        let wanted = gather(targets, &self.frames, hidden);
        let known: Vec<usize> = (0..self.frames.len())
            .filter(|&row| wanted.row(row).iter().all(|x| x.is_finite()))
            .collect();
        let [places, wanted] = [places, wanted].map(|array| array.select(Axis(0), &known));
        Ok(Told {
            shown: self,
            n_components,
            ridge: Ridge::fit(places.view(), wanted.view(), PENALTY)?,
        })
    }
}

/// What principal components of some neurons' activity tell of that of others.
pub(crate) struct Told<'a> {
    shown: &'a Shown,
    n_components: usize,
    ridge: Ridge,
}

impl Told<'_> {
    /// What is expected of the hidden in these frames, `[frame, hidden]`.
    pub(crate) fn expected(
        &self,
        features: ArrayView3<'_, f32>,
        frames: &[(usize, usize)],
    ) -> Result<Array2<f32>> {
        let samples = gather(features, frames, &self.shown.neurons);
        let places = projected(&self.shown.components, samples.view(), self.n_components)?;
        Ok(self.ridge.predict(places.view())?)
    }
}

/// The activity as its first components hold it, fitted on the frames in `train`,
/// `[trial, time, neuron]`; NaN where a neuron is.
///
/// # Errors
/// Fewer than two frames in which all neurons have a value.
pub fn of_components(
    smooth: ArrayView3<'_, f32>,
    train: ArrayView2<'_, bool>,
) -> Result<Array3<f32>> {
    let neurons: Vec<usize> = (0..smooth.len_of(Axis(2))).collect();
    let samples = gather(smooth, &whole_frames(smooth, train), &neurons);
    let components = PrincipalComponents::of(samples.view())
        .context("principal components of the activity on training frames")?;
    let mut held = Array3::from_elem(smooth.dim(), f32::NAN);
    for (mut to, from) in held.outer_iter_mut().zip(smooth.outer_iter()) {
        for (mut to, from) in to.outer_iter_mut().zip(from.outer_iter()) {
            if from.iter().all(|x| x.is_finite()) {
                to.assign(&components.reconstruct(from, N_COMPONENTS)?);
            }
        }
    }
    Ok(held)
}

/// Frames of `within` in which every neuron has a value; evenly chosen ones, if there are very many.
pub(crate) fn whole_frames(
    values: ArrayView3<'_, f32>,
    within: ArrayView2<'_, bool>,
) -> Vec<(usize, usize)> {
    let n_within = within.iter().filter(|is_in| **is_in).count();
    let frames = within.indexed_iter().filter(|(_, is_in)| **is_in);
    frames
        .step_by(n_within.div_ceil(MAX_FRAMES).max(1))
        .map(|(frame, _)| frame)
        .filter(|&(trial, bin)| {
            values
                .slice(s![trial, bin, ..])
                .iter()
                .all(|x| x.is_finite())
        })
        .collect()
}

/// `[frame, neuron]`.
pub(crate) fn gather(
    values: ArrayView3<'_, f32>,
    frames: &[(usize, usize)],
    neurons: &[usize],
) -> Array2<f32> {
    Array2::from_shape_fn((frames.len(), neurons.len()), |(row, column)| {
        let (trial, bin) = frames[row];
        values[[trial, bin, neurons[column]]]
    })
}

fn projected(
    components: &PrincipalComponents,
    samples: ArrayView2<'_, f32>,
    n: usize,
) -> Result<Array2<f32>> {
    let mut places = Array2::zeros((samples.nrows(), n));
    for (mut to, sample) in places.outer_iter_mut().zip(samples.outer_iter()) {
        let place: Array1<f64> = components.project(sample)?;
        to.iter_mut()
            .zip(&place)
            .for_each(|(to, &x)| *to = x as f32);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use metrics::Comparison;
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
