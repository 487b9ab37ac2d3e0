//! From a recording's fluorescence to units of one spike above a baseline, and back.

use anyhow::{Context, Result};
use calcium::estimate::{Average, autocovariance, maximin_baseline, noise_sd};
use calcium::oasis::{Ar1NoiseConstrained, Ar1Problem, Baseline};
use calcium::{Ar1, Automatic, CalciumError, Discretisation};
use data::{Recording, Traces};
use model::{CalciumModel, Indicator};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::config::{BaselineConfig, CalibrationConfig, StartConfig};
use crate::results::median;
use crate::traces::Layout;

/// Decay times after which calcium counts as gone: the gap between trials laid end to end.
const GAP: f64 = 5.0;
/// Rounds in which the size of one spike and the events of about that size find each other.
const N_ROUNDS: usize = 3;
/// Neurons whose decay is estimated, for the median.
const MAX_MEASURED: usize = 100;
/// Neurons whose decay is fitted, for the median, and frames of each: a fit takes some hundreds of
/// passes over a trace.
const MAX_FITTED: usize = 30;
const MAX_FITTED_FRAMES: usize = 20_000;
/// No reader lets such a recording pass.
const NO_NEURONS: &str = "the recording has no neurons";
/// Above this many SDs of the noise, single spikes are told from it.
const CLEAR_SDS: f64 = 2.0;
/// A fraction of the frames so low that they hold noise alone, and how far below the mean of
/// such frames they lie, in SDs of the noise, if those are three tenths of all.
const QUIET_PERCENTILE: f64 = 0.08;
const QUIET_SDS: f64 = 0.62;

/// What turns one neuron's fluorescence x into units of one spike: (x − baseline) / `spike_size`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Decay time of the indicator, seconds.
    pub tau_s: f64,
    /// Whether it was estimated; else it was given.
    pub tau_is_estimated: bool,
    /// Decay per frame.
    pub g: f64,
    /// What was subtracted first: a rolling baseline over this many seconds.
    pub rolling_window_s: Option<f64>,
    /// What was subtracted then, in the recording's units, `[neuron]`.
    pub baseline: Vec<f32>,
    /// Fluorescence of one spike, in the recording's units, `[neuron]`.
    pub spike_size: Vec<f32>,
    /// Whether calcium from before a trial is taken off.
    pub start_is_running: bool,
}

/// A recording in units of one spike.
pub struct Scaled {
    /// The calcium that OASIS finds, long traces `[neuron][time]`.
    pub calcium: Vec<Vec<f32>>,
    /// What was subtracted, in the recording's units, long traces `[neuron][time]`.
    pub baseline: Vec<Vec<f32>>,
    /// The fluorescence, long traces `[neuron][time]`.
    pub traces: Vec<Vec<f32>>,
    /// Where the trials are in the long traces.
    pub layout: Layout,
}

impl Calibration {
    /// Estimates what is not given.
    ///
    /// 1. tau is the median over neurons of what [`Automatic`] finds, or of a fit, if that is shorter.
    /// 2. The noise SD σ is that of [`noise_sd`].
    /// 3. The baseline is the 8th percentile plus 0.62 σ: what it is where three frames in ten
    ///    hold noise alone.
    /// 4. One spike: the variance of the innovations x_t − g x_{t−1} less that of their noise,
    ///    over their mean, is its size for Poisson spikes of a constant rate; where that is well
    ///    above the noise, the median of OASIS's spikes of about that size is better. Fast decays
    ///    look like noise to [`noise_sd`], and slow rates hide it from the covariance of
    ///    neighbouring innovations, −g σ²: here the smaller of the two is taken.
    ///
    /// # Errors
    /// A trace with too few frames, or none that varies.
    pub fn measure(recording: &Recording, config: &CalibrationConfig) -> Result<Self> {
        let known_tau_s = config.tau_s.or(recording.tau_s);
        let typical_tau_s = known_tau_s.unwrap_or(config.typical_tau_s);
        let layout = Layout::new(recording, GAP * typical_tau_s);
        let joined = joined(recording, &layout);
        let tau_s = match known_tau_s {
            Some(tau_s) => tau_s,
            None => estimate_tau(&joined, recording, typical_tau_s)?,
        };
        let is_own_tau = config.tau_s.is_none() && recording.tau_s.is_some();
        let discretisation = match recording.discretisation.as_deref() {
            Some("euler") if is_own_tau => Discretisation::Euler,
            _ => Discretisation::Exact,
        };
        let ar = Ar1::from_tau(tau_s, recording.dt_s, discretisation)?;
        let is_continuous = matches!(recording.traces, Traces::Continuous(_));
        let rolling = match config.baseline {
            BaselineConfig::Auto => is_continuous,
            BaselineConfig::Rolling => true,
            BaselineConfig::Constant | BaselineConfig::None => false,
        };
        let mut calibration = Self {
            tau_s,
            tau_is_estimated: known_tau_s.is_none(),
            g: ar.g(),
            rolling_window_s: rolling.then_some(config.baseline_window_s),
            baseline: Vec::new(),
            spike_size: Vec::new(),
            start_is_running: false,
        };
        let measured: Vec<Result<(f64, f64), CalciumError>> = joined
            .par_iter()
            .map(|trace| calibration.measure_neuron(trace, recording.dt_s, ar, config))
            .collect();
        for (neuron, measured) in measured.into_iter().enumerate() {
            let (baseline, spike_size) = measured.with_context(|| of_neuron(recording, neuron))?;
            calibration.baseline.push(baseline as f32);
            calibration.spike_size.push(spike_size as f32);
        }
        let scaled = calibration.apply(recording)?;
        calibration.start_is_running = match config.start {
            StartConfig::Rest => false,
            StartConfig::Running => true,
            StartConfig::Auto => is_continuous || !scaled.starts_from_rest(ar.g()),
        };
        Ok(calibration)
    }

    /// One spike of the scaled recording is 1, its baseline 0.
    pub fn calcium(&self) -> CalciumModel {
        let indicator = Indicator {
            g: self.g,
            gain: 1.0,
            baseline: 0.0,
        };
        CalciumModel::shared(indicator, self.spike_size.len())
    }

    /// The recording in units of one spike.
    ///
    /// # Errors
    /// An infinite value.
    pub fn apply(&self, recording: &Recording) -> Result<Scaled> {
        let layout = Layout::new(recording, GAP * self.tau_s);
        let ar = Ar1::new(self.g)?;
        let problem = Ar1Problem::new(ar).with_s_min(0.5)?;
        let scale = |(neuron, mut trace): (usize, Vec<f32>)| {
            let mut baseline = self.rolling(&trace, recording.dt_s)?;
            for b in &mut baseline {
                *b += self.baseline[neuron];
            }
            let size = self.spike_size[neuron];
            for (x, b) in trace.iter_mut().zip(&baseline) {
                *x = (*x - b) / size;
            }
            let calcium = problem.deconvolve(&trace)?.calcium;
            Ok((trace, baseline, calcium))
        };
        let scaled: Vec<Result<_, CalciumError>> = joined(recording, &layout)
            .into_par_iter()
            .enumerate()
            .map(scale)
            .collect();
        let mut all = Scaled {
            calcium: Vec::new(),
            baseline: Vec::new(),
            traces: Vec::new(),
            layout,
        };
        for (neuron, scaled) in scaled.into_iter().enumerate() {
            let (trace, baseline, calcium) =
                scaled.with_context(|| of_neuron(recording, neuron))?;
            all.traces.push(trace);
            all.baseline.push(baseline);
            all.calcium.push(calcium);
        }
        Ok(all)
    }

    fn rolling(&self, trace: &[f32], dt_s: f64) -> Result<Vec<f32>, CalciumError> {
        match self.rolling_window_s {
            None => Ok(vec![0.0; trace.len()]),
            Some(window_s) => {
                let window = (window_s / dt_s).ceil() as usize;
                maximin_baseline(trace, 0.5 * self.tau_s / dt_s, window)
            }
        }
    }

    /// Baseline beside the rolling one, and the size of one spike.
    fn measure_neuron(
        &self,
        trace: &[f32],
        dt_s: f64,
        ar: Ar1,
        config: &CalibrationConfig,
    ) -> Result<(f64, f64), CalciumError> {
        let rolling = self.rolling(trace, dt_s)?;
        let above: Vec<f32> = trace.iter().zip(&rolling).map(|(x, b)| x - b).collect();
        let noise_sd = noise_sd(&above, Average::Mean)?;
        let baseline = match config.baseline {
            BaselineConfig::None => 0.0,
            _ => quiet_level(&above, noise_sd),
        };
        if let Some(size) = config.spike_size {
            return Ok((baseline, size));
        }
        let above: Vec<f32> = above.iter().map(|x| x - baseline as f32).collect();
        let size = spike_size(&above, ar, noise_sd)?;
        Ok((baseline, size))
    }
}

impl Scaled {
    /// Whether the first frames of the trials hold the calcium of one frame rather than that of
    /// a population at work: on the geometric mean of the two the decision turns.
    fn starts_from_rest(&self, g: f64) -> bool {
        let (mut first, mut late) = (Mean::default(), Mean::default());
        for trace in &self.traces {
            for (start, length) in self.layout.spans() {
                first.add(trace[start]);
                for &x in &trace[start + length / 2..start + length] {
                    late.add(x);
                }
            }
        }
        first.value() < (1.0 - g).sqrt() * late.value()
    }
}

/// A mean over what is not missing.
#[derive(Default)]
struct Mean {
    sum: f64,
    n: usize,
}

impl Mean {
    fn add(&mut self, value: f32) {
        if !value.is_nan() {
            self.sum += f64::from(value);
            self.n += 1;
        }
    }

    fn value(&self) -> f64 {
        self.sum / self.n.max(1) as f64
    }
}

fn joined(recording: &Recording, layout: &Layout) -> Vec<Vec<f32>> {
    (0..recording.n_neurons())
        .map(|neuron| layout.join(recording, neuron))
        .collect()
}

fn of_neuron(recording: &Recording, neuron: usize) -> String {
    let id = &recording.neuron_ids[neuron];
    format!("{}: neuron {neuron} (`{id}`)", recording.path.display())
}

/// Decay time of the indicator, the same for all neurons: the median of what [`Automatic`] finds, or
/// from there on, if that is shorter, of what explains a trace within its noise by the fewest spikes.
/// Activity that changes slowly makes the first too long, noise thought too strong both.
fn estimate_tau(joined: &[Vec<f32>], recording: &Recording, typical_tau_s: f64) -> Result<f64> {
    let dt_s = recording.dt_s;
    let automatic = Automatic::new(dt_s)?.with_typical_tau(typical_tau_s)?;
    let estimates = of_some(joined, recording, MAX_MEASURED, |trace| {
        automatic.estimate(trace).map(|found| found.tau_s)
    })?;
    let from_covariance = median(estimates).context(NO_NEURONS)?;
    let ar = Ar1::from_tau(from_covariance, dt_s, Discretisation::Exact)?;
    let fitted = of_some(joined, recording, MAX_FITTED, |trace| {
        let trace = &trace[..trace.len().min(MAX_FITTED_FRAMES)];
        let found = automatic.estimate(trace)?;
        let problem = Ar1NoiseConstrained::new(ar, found.noise_sd)?.with_fitted_g();
        let problem = problem.with_baseline(Baseline::Free)?;
        let fit = problem.deconvolve(&found.above_baseline(trace))?;
        fit.ar.tau_s(dt_s, Discretisation::Exact)
    })?;
    let from_spikes = median(fitted).context(NO_NEURONS)?;
    Ok(from_covariance.min(from_spikes))
}

/// A number of each of some neurons, at most `max` of them, spread over all.
fn of_some(
    joined: &[Vec<f32>],
    recording: &Recording,
    max: usize,
    measure: impl Fn(&[f32]) -> Result<f64, CalciumError> + Sync,
) -> Result<Vec<f64>> {
    let stride = joined.len().div_ceil(max).max(1);
    let chosen: Vec<usize> = (0..joined.len()).step_by(stride).collect();
    let found: Vec<Result<f64, CalciumError>> = chosen
        .par_iter()
        .map(|&neuron| measure(&joined[neuron]))
        .collect();
    let named = chosen.into_iter().zip(found);
    named
        .map(|(neuron, found)| found.with_context(|| of_neuron(recording, neuron)))
        .collect()
}

/// u_t = x_t − g x_{t−1}; NaN where either is missing.
fn innovations(trace: &[f32], g: f64) -> Vec<f64> {
    let pairs = trace.windows(2);
    pairs
        .map(|pair| f64::from(pair[1]) - g * f64::from(pair[0]))
        .collect()
}

/// The fluorescence without calcium, of a trace with noise of this SD.
fn quiet_level(trace: &[f32], noise_sd: f64) -> f64 {
    let mut present: Vec<f32> = trace.iter().copied().filter(|x| !x.is_nan()).collect();
    present.sort_unstable_by(f32::total_cmp);
    let rank = (QUIET_PERCENTILE * present.len() as f64) as usize;
    present.get(rank).map_or(0.0, |&low| f64::from(low)) + QUIET_SDS * noise_sd
}

/// Fluorescence of one spike, of a trace without baseline; `noise_sd` may be too large.
fn spike_size(trace: &[f32], ar: Ar1, noise_sd: f64) -> Result<f64, CalciumError> {
    let innovations = innovations(trace, ar.g());
    let covariance = autocovariance(&innovations, 1)?;
    let from_covariance = (-covariance[1] / ar.g().max(0.05)).max(0.0).sqrt();
    let noise_sd = noise_sd.min(from_covariance);
    let present = innovations.iter().filter(|u| !u.is_nan());
    let (sum, n) = present.fold((0.0, 0usize), |(sum, n), u| (sum + u, n + 1));
    let mean = (sum / n.max(1) as f64).max(f64::MIN_POSITIVE);
    let signal = covariance[0] - noise_sd.powi(2) * (1.0 + ar.g().powi(2));
    let least = noise_sd.max(0.1 * covariance[0].sqrt());
    let mut size = (signal / mean).max(least);
    if size < CLEAR_SDS * noise_sd {
        return Ok(size);
    }
    for _ in 0..N_ROUNDS {
        let problem = Ar1Problem::new(ar).with_s_min((0.5 * size).max(1.5 * noise_sd))?;
        let mut single = problem.deconvolve(trace)?.spikes;
        single.retain(|&s| s > 0.0 && f64::from(s) < 1.6 * size);
        if single.len() < 5 {
            break;
        }
        single.sort_unstable_by(f32::total_cmp);
        size = f64::from(single[single.len() / 2]);
    }
    Ok(size)
}
