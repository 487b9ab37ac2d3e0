//! What a recording itself says of its indicator: decay, noise, baseline, size of a spike.

use std::ops::Range;

use anyhow::{Context, Result};
use calcium::estimate::{Average, median, noise_sd};
use calcium::oasis::{Ar1NoiseConstrained, Ar1Problem, Baseline};
use calcium::{Ar1, Ar2, Automatic, CalciumError, Discretisation, Inference};
use data::Recording;
use rayon::prelude::*;
use runs::assumption;

use super::in_turn::{InTurn, stride};
use super::innovations::{Innovations, Quiet, hide_artefacts};
use super::network::Expected;
use super::shots::Shots;
use crate::config::{BaselineConfig, CalibrationConfig};
use crate::layout::Layout;
use crate::neurons::neuron_of;

/// Rounds in which the size of one spike and the events of about that size find each other.
const N_ROUNDS: usize = 3;
/// Neurons whose decay is estimated, for the median.
const MAX_MEASURED: usize = 100;
/// Neurons whose decay is fitted, for the median, and frames of each: a fit takes some hundreds of
/// passes over a trace.
const MAX_FITTED: usize = 30;
const MAX_FITTED_FRAMES: usize = 20_000;
/// Above this many SDs of the noise, single spikes are told from it.
const CLEAR_SDS: f64 = 2.0;
/// Where calcium decays more slowly than this from frame to frame, OASIS's spikes of a noisy trace are
/// what is left of several.
const MAX_REFINED_G: f64 = 0.96;
/// A decay that the network knows this well, as an SD of its logarithm, is that of a neuron that fires.
pub const KNOWN_DECAY: f64 = 0.7;
/// Frames that a rise lasts, for it to be no instant.
const LEAST_RISE: f64 = 1.5;

/// The decay and the rise, given or estimated.
pub struct Known {
    pub tau_s: f64,
    pub tau_is_estimated: bool,
    pub discretisation: Discretisation,
    pub ar: Ar1,
    pub rise_s: Option<f64>,
    pub rise_is_estimated: bool,
    dt_s: f64,
}

impl Known {
    /// As the configuration says, else the file, else estimated from the frames in `seen`.
    pub fn of(
        recording: &Recording,
        config: &CalibrationConfig,
        seen: &[Vec<Range<usize>>],
        knows_rise: bool,
    ) -> Result<Self> {
        let decay_s = || estimate_tau(recording, config.typical_tau_s, seen);
        let rise_s = |tau_s| knows_rise.then(|| estimate_rise(recording, tau_s, seen))?;
        Self::new(recording, config, decay_s, rise_s)
    }

    /// As the configuration says, else the file, else as estimated; the rise, given the decay.
    pub fn new(
        recording: &Recording,
        config: &CalibrationConfig,
        decay_s: impl FnOnce() -> Result<f64>,
        rise_s: impl FnOnce(f64) -> Option<f64>,
    ) -> Result<Self> {
        let known_tau_s = config.tau_s.or(recording.tau_s);
        let tau_s = match known_tau_s {
            Some(tau_s) => tau_s,
            None => decay_s()?,
        };
        let is_own_tau = config.tau_s.is_none() && recording.tau_s.is_some();
        let discretisation = match is_own_tau {
            true => assumption::discretisation(recording.discretisation, &recording.path),
            false => Discretisation::default(),
        };
        let rise_s = config.tau_rise_s.or_else(|| rise_s(tau_s));
        Ok(Self {
            tau_s,
            tau_is_estimated: known_tau_s.is_none(),
            discretisation,
            ar: Ar1::from_tau(tau_s, recording.dt_s, discretisation)?,
            rise_s,
            rise_is_estimated: config.tau_rise_s.is_none() && rise_s.is_some(),
            dt_s: recording.dt_s,
        })
    }

    /// How a spike rises and decays, per frame.
    fn kernel(&self) -> Result<Ar2, CalciumError> {
        Ar2::from_roots(self.ar.g(), self.rise().unwrap_or(0.0))
    }

    /// The rise per frame.
    pub fn rise(&self) -> Option<f64> {
        let per_frame = Ar1::from_tau(self.rise_s?, self.dt_s, self.discretisation);
        per_frame.ok().map(Ar1::g)
    }
}

/// Rise time of the indicator, the same for all neurons: the median of what the network finds where it
/// knows the decay; nothing if it is over within a frame, or no neuron tells.
fn estimate_rise(recording: &Recording, tau_s: f64, seen: &[Vec<Range<usize>>]) -> Option<f64> {
    let layout = Layout::new(recording);
    let starts = layout.starts();
    let n_neurons = recording.n_neurons();
    let chosen = (0..n_neurons).step_by(n_neurons.div_ceil(MAX_FITTED).max(1));
    let chosen: Vec<usize> = chosen.collect();
    let rises: Vec<Option<f64>> = chosen
        .into_par_iter()
        .map(|neuron| {
            let trace = layout.only(seen, &layout.join(recording, neuron));
            let trace = &trace[..trace.len().min(MAX_FITTED_FRAMES)];
            if stride(trace) > 1 {
                return None;
            }
            let inference = Inference::new(recording.dt_s).ok()?.with_trials(&starts);
            // A neuron of which too little is there tells nothing.
            let found = inference.infer(trace).ok()?;
            (found.decay_s.log_sd < KNOWN_DECAY).then_some(found.rise_s.median)
        })
        .collect();
    usual_rise(rises.into_iter().flatten(), recording.dt_s, tau_s)
}

/// A rise lasts at most so much of the decay.
pub const MOST_RISE: f64 = 0.5;

/// The median, if it lasts longer than a frame or so and less than the decay.
pub fn usual_rise(rises_s: impl IntoIterator<Item = f64>, dt_s: f64, tau_s: f64) -> Option<f64> {
    let lasts = |rise_s: &f64| *rise_s >= LEAST_RISE * dt_s && *rise_s < MOST_RISE * tau_s;
    median(rises_s).filter(lasts)
}

/// Decay time of the indicator, the same for all neurons: the median of what [`Automatic`] finds, or
/// from there on, if that is shorter, of what explains a trace within its noise by the fewest spikes.
/// Activity that changes slowly makes the first too long, noise thought too strong both.
fn estimate_tau(
    recording: &Recording,
    typical_tau_s: f64,
    seen: &[Vec<Range<usize>>],
) -> Result<f64> {
    let dt_s = recording.dt_s;
    let layout = Layout::new(recording);
    let starts = layout.starts();
    let trace = |neuron| layout.only(seen, &layout.join(recording, neuron));
    let automatic = |dt_s| Automatic::new(dt_s)?.with_typical_tau(typical_tau_s);
    let from_covariance = median_of_some(recording, MAX_MEASURED, |neuron| {
        let trace = trace(neuron);
        let turns = InTurn::of(&trace, &starts);
        let automatic = automatic(turns.stride as f64 * dt_s)?;
        let found = automatic.estimate_trials(&turns.trace, &turns.starts)?;
        Ok(found.tau_s)
    })?;
    let from_spikes = median_of_some(recording, MAX_FITTED, |neuron| {
        let trace = trace(neuron);
        let turns = InTurn::of(&trace, &starts);
        let dt_s = turns.stride as f64 * dt_s;
        let ar = Ar1::from_tau(from_covariance, dt_s, Discretisation::Exact)?;
        let trace = &turns.trace[..turns.trace.len().min(MAX_FITTED_FRAMES)];
        let found = automatic(dt_s)?.estimate_trials(trace, &turns.starts)?;
        let problem = Ar1NoiseConstrained::new(ar, found.noise_sd)?.with_fitted_g();
        let problem = problem.with_baseline(Baseline::Free)?;
        let fit = problem.deconvolve_trials(&found.above_baseline(trace), &turns.starts)?;
        fit.ar.tau_s(dt_s, Discretisation::Exact)
    })?;
    Ok(from_covariance.min(from_spikes))
}

/// The median over at most `max` neurons, evenly chosen.
fn median_of_some(
    recording: &Recording,
    max: usize,
    measure: impl Fn(usize) -> Result<f64, CalciumError> + Sync,
) -> Result<f64> {
    let n_neurons = recording.n_neurons();
    let stride = n_neurons.div_ceil(max).max(1);
    let chosen: Vec<usize> = (0..n_neurons).step_by(stride).collect();
    let found: Vec<Result<f64, CalciumError>> =
        chosen.par_iter().map(|&neuron| measure(neuron)).collect();
    let named = chosen.into_iter().zip(found);
    let values: Vec<f64> = named
        .map(|(neuron, found)| found.with_context(|| neuron_of(recording, neuron)))
        .collect::<Result<_>>()?;
    median(values).with_context(|| format!("{}: it has no neurons", recording.path.display()))
}

/// What was measured of one neuron.
pub struct Neuron {
    pub rolling: Vec<f32>,
    pub baseline: f64,
    pub noise_sd: f64,
    /// Absent if the trace does not tell.
    pub spike_size: Option<f64>,
    pub resting: f64,
    first: Mean,
    late: Mean,
}

impl Neuron {
    /// Measures the frames in `seen` of a long trace with its rolling baseline, if it has one.
    ///
    /// 1. The noise SD σ is that of [`noise_sd`].
    /// 2. The 8th percentile plus 0.62 σ is the baseline where three frames in ten hold noise alone.
    ///    Frames far below it are artefacts and count no further.
    /// 3. Where single spikes do not stand out, or rise over frames, size and baseline are those at which
    ///    the trace holds as many spikes as the network expects: see [`Expected`].
    /// 4. Where it finds none, the cumulants of the innovations are their size, and what calcium
    ///    such a percentile still holds is taken off the baseline: see [`Shots`]. Elsewhere variance
    ///    and mean of the innovations tell the size.
    pub fn measure(
        trace: &[f32],
        rolling: Vec<f32>,
        layout: &Layout,
        seen: &[Vec<Range<usize>>],
        known: &Known,
        config: &CalibrationConfig,
    ) -> Result<Self, CalciumError> {
        let mut above = layout.only(seen, trace);
        for (x, b) in above.iter_mut().zip(&rolling) {
            *x -= b;
        }
        let mut noise = noise_sd(&above, Average::Mean)?;
        let mut quiet = Quiet::of(&above, noise);
        if hide_artefacts(&mut above, &quiet, noise) {
            noise = noise_sd(&above, Average::Mean)?;
            quiet = Quiet::of(&above, noise);
        }
        let all_starts = layout.starts();
        let turns = InTurn::of(&above, &all_starts);
        let starts = &turns.starts[..];
        let (ar, seen_share) = turns.decay(known.ar)?;
        let innovations = Innovations::of(&turns.trace, starts, ar.g(), noise)?;
        let given = config.spike_size.map(|size| size * seen_share);
        let shots = Shots::of(&turns.trace, starts, ar, innovations.noise_sd, given)?;
        let fires = shots.is_some() || innovations.size(quiet.level).is_some();
        let is_clear = known.rise_s.is_none()
            && shots.is_some_and(|shots| shots.size >= CLEAR_SDS * innovations.noise_sd);
        let expected = match given.is_none() && fires && !is_clear && turns.stride == 1 {
            true => Expected::of(&turns.trace, starts, known.kernel()?, known.dt_s)?,
            false => None,
        };
        let baseline = match (config.baseline, &expected, &shots) {
            (BaselineConfig::None, ..) => 0.0,
            (_, Some(expected), _) => expected.baseline,
            (_, None, Some(shots)) => shots.baseline,
            (_, None, None) => quiet.level,
        };
        let starts = turns.starts.into_owned();
        let mut thin = turns.trace.into_owned();
        for x in above.iter_mut().chain(&mut thin) {
            *x -= baseline as f32;
        }
        let size = match (given, &shots) {
            (Some(size), _) => Some(size),
            (None, Some(shots)) => Some(shots.size),
            (None, None) => innovations.size(baseline),
        };
        let spike_size = match (size, expected) {
            (_, Some(expected)) => Some(expected.size),
            (Some(size), None) if config.spike_size.is_none() => {
                Some(refined(&thin, &starts, ar, size, innovations.noise_sd)?)
            }
            (given, None) => given,
        };
        let spike_size = spike_size.map(|size| size / seen_share);
        let (mut first, mut late) = (Mean::default(), Mean::default());
        for (start, length) in layout.spans() {
            first.add(above[start]);
            for &x in &above[start + length / 2..start + length] {
                late.add(x);
            }
        }
        let below = median(rolling.iter().copied().map(f64::from));
        Ok(Self {
            rolling,
            baseline,
            noise_sd: noise,
            spike_size,
            resting: below.unwrap_or(0.0) + baseline,
            first,
            late,
        })
    }
}

/// Whether the first frames of the trials hold the calcium of one frame rather than that of
/// a population at work: on the geometric mean of the two the decision turns.
pub fn starts_from_rest(neurons: &[Neuron], spike_size: &[f32], g: f64) -> bool {
    let (mut first, mut late) = (Mean::default(), Mean::default());
    for (neuron, &size) in neurons.iter().zip(spike_size) {
        first.add_scaled(&neuron.first, size);
        late.add_scaled(&neuron.late, size);
    }
    first.value() < (1.0 - g).sqrt() * late.value()
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

    fn add_scaled(&mut self, other: &Self, unit: f32) {
        self.sum += other.sum / f64::from(unit);
        self.n += other.n;
    }

    fn value(&self) -> f64 {
        self.sum / self.n.max(1) as f64
    }
}

/// The median of OASIS's spikes of about this size, which is better where spikes stand well above the
/// noise.
fn refined(
    trace: &[f32],
    starts: &[usize],
    ar: Ar1,
    mut size: f64,
    noise_sd: f64,
) -> Result<f64, CalciumError> {
    if size < CLEAR_SDS * noise_sd || ar.g() > MAX_REFINED_G {
        return Ok(size);
    }
    for _ in 0..N_ROUNDS {
        let problem = Ar1Problem::new(ar).with_s_min((0.5 * size).max(1.5 * noise_sd))?;
        let mut single = problem.deconvolve_trials(trace, starts)?.spikes;
        single.retain(|&s| s > 0.0 && f64::from(s) < 1.6 * size);
        if single.len() < 5 {
            break;
        }
        single.sort_unstable_by(f32::total_cmp);
        size = f64::from(single[single.len() / 2]);
    }
    Ok(size)
}
