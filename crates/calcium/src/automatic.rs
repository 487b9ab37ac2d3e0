//! Deconvolution with every setting taken from the traces and the frame interval.

use rayon::prelude::*;

use crate::error::{duration, positive};
use crate::estimate::{BandNoise, band_noise, gaussian_smoothing, kinetics, median};
use crate::oasis::{Ar1Problem, Deconvolved, check_block, check_trace, in_parallel};
use crate::trials::trials;
use crate::{
    Ar1, CalciumError, Discretisation, Kinetics, QuietBaseline, Sample, SpikePrior,
    decay_seen_in_trials,
};

/// The rise of the indicators in use, from OGB-1's few milliseconds to GCaMP6s's hundred (Chen et al.
/// 2013), in the middle of their logarithms and on the side of the fast.
const TYPICAL_RISE_S: f64 = 0.01;
/// No indicator in use rises more slowly.
const MAX_RISE_S: f64 = 0.2;
/// Spikes are inferred in frames of about this length; shorter ones are averaged.
const FRAME_S: f64 = 0.04;
/// Logarithms of the factors beyond which a decay that is seen contradicts one that is thought: they meet halfway, or what is
/// seen is right.
const CONTRADICTION: (f64, f64) = (0.35, 1.4);
/// Decays longer than this do not fit into the usual window of the baseline, s.
const SLOW_S: f64 = 4.0;
/// Most probable that a spike in a frame is before it is seen.
const MAX_PROBABILITY: f64 = 0.9;
/// Traces whose kinetics are measured, for their median.
const MAX_MEASURED: usize = 100;

/// Estimates baseline, noise SD and kinetics of a recording, and deconvolves it.
///
/// 1. The baseline is [`QuietBaseline`], over 60 s or fifteen times the typical tau.
/// 2. The noise is what [`band_noise`] finds, so that resampled recordings are not taken for quiet ones.
/// 3. Rise and decay are the medians over the traces of what [`kinetics`] finds: they share an indicator.
///    tau is the geometric mean of that decay and the typical one, 1 s unless given, since bursts of
///    spikes make the spectrum's too long; but from a fifth of the typical one to twice it. Where clear
///    transients contradict it by a factor of 1.4, the two meet halfway, and by one of four theirs counts ([`crate::decay_seen`]).
/// 4. Spikes are nonnegative, without L1 penalty or threshold.
/// 5. Activity is the posterior mean of [`SpikePrior`], for spikes that come at 3 Hz unless given, and
///    whose mean size follows from the variance of the trace. It is earlier by the time constant of
///    the rise, which AR(1) takes for a delay.
///
/// # Example
/// ```
/// use calcium::{Ar1, Automatic};
///
/// let mut spikes = [0.0; 600];
/// (spikes[100], spikes[300], spikes[420]) = (1.0, 2.0, 1.0);
/// let calcium = Ar1::new(0.95)?.convolve(&spikes);
/// let trace: Vec<f64> = calcium.iter().map(|c| 100.0 + c).collect();
///
/// let fit = Automatic::new(1.0 / 30.0)?.deconvolve(&trace)?;
/// let strongest = (0..600).max_by(|&a, &b| fit.activity[a].total_cmp(&fit.activity[b]));
/// assert_eq!(strongest, Some(300));
/// # Ok::<(), calcium::CalciumError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Automatic {
    dt_s: f64,
    typical_tau_s: f64,
    typical_rate_hz: f64,
    baseline_window_s: Option<f64>,
    smoothing_s: f64,
    kinetics: Option<Kinetics>,
}

/// What [`Automatic`] needs to know of one trace before it deconvolves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimates<T> {
    /// Baseline per frame, in fluorescence units.
    pub baseline: Vec<T>,
    /// SD of the noise of a frame, in fluorescence units.
    pub noise_sd: f64,
    /// The same as a power density, for recordings that were resampled.
    pub band_noise: BandNoise,
    /// Time constant of the decay, in seconds.
    pub tau_s: f64,
    /// Time constant of the rise, in seconds, by which activity is made earlier.
    pub rise_s: f64,
}

impl<T: Sample> Estimates<T> {
    /// The trace without its baseline, `[time]`.
    #[must_use]
    pub fn above_baseline(&self, trace: &[T]) -> Vec<T> {
        let pairs = trace.iter().zip(&self.baseline);
        pairs
            .map(|(y, b)| T::from_f64(y.to_f64() - b.to_f64()))
            .collect()
    }
}

/// What [`Automatic`] found in one trace.
#[derive(Debug, Clone, PartialEq)]
pub struct AutomaticFit<T> {
    /// Calcium above the baseline, and spikes.
    pub result: Deconvolved<T>,
    /// Expected spikes, in fluorescence units per frame, gaps bridged: what follows the firing rate best.
    pub activity: Vec<T>,
    /// Baseline per frame, in fluorescence units.
    pub baseline: Vec<T>,
    /// SD of the noise, in fluorescence units.
    pub noise_sd: f64,
    /// Time constant of the decay, in seconds.
    pub tau_s: f64,
    /// Time constant of the rise, in seconds, by which activity was made earlier.
    pub rise_s: f64,
}

impl Automatic {
    /// Settings for frames every `dt_s`.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn new(dt_s: f64) -> Result<Self, CalciumError> {
        Ok(Self {
            dt_s: duration("dt_s", dt_s)?,
            typical_tau_s: 1.0,
            typical_rate_hz: 3.0,
            baseline_window_s: None,
            smoothing_s: 0.03,
            kinetics: None,
        })
    }

    /// Sets the decay time constant that the indicator usually has.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn with_typical_tau(self, typical_tau_s: f64) -> Result<Self, CalciumError> {
        let typical_tau_s = duration("typical_tau_s", typical_tau_s)?;
        Ok(Self {
            typical_tau_s,
            ..self
        })
    }

    /// Sets how often such neurons fire.
    ///
    /// # Units
    /// Hz.
    /// # Errors
    /// [`CalciumError::NotPositive`].
    pub fn with_typical_rate(self, typical_rate_hz: f64) -> Result<Self, CalciumError> {
        let typical_rate_hz = positive("typical_rate_hz", typical_rate_hz)?;
        Ok(Self {
            typical_rate_hz,
            ..self
        })
    }

    /// Sets the window of the baseline: longer than the longest bout of activity, shorter than drift.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn with_baseline_window(self, baseline_window_s: f64) -> Result<Self, CalciumError> {
        let baseline_window_s = duration("baseline_window_s", baseline_window_s)?;
        Ok(Self {
            baseline_window_s: Some(baseline_window_s),
            ..self
        })
    }

    /// Sets the SD of the Gaussian that smooths activity.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn with_smoothing(self, smoothing_s: f64) -> Result<Self, CalciumError> {
        let smoothing_s = duration("smoothing_s", smoothing_s)?;
        Ok(Self {
            smoothing_s,
            ..self
        })
    }

    /// Sets what [`Self::kinetics`] finds in the recording as a whole, where it is deconvolved in parts.
    ///
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn with_kinetics(self, kinetics: Kinetics) -> Result<Self, CalciumError> {
        duration("rise_s", kinetics.rise_s)?;
        duration("decay_s", kinetics.decay_s)?;
        Ok(Self {
            kinetics: Some(kinetics),
            ..self
        })
    }

    /// Medians of rise and decay over the traces, or over a hundred spread evenly among more.
    ///
    /// # Shapes
    /// `traces`: `[trace, time]`, flattened, with `n_bins` frames per trace.
    /// # Errors
    /// Those of [`Self::deconvolve_many`].
    pub fn kinetics<T: Sample>(
        &self,
        traces: &[T],
        n_bins: usize,
    ) -> Result<Kinetics, CalciumError> {
        check_block(traces.len(), n_bins)?;
        let n_traces = traces.len() / n_bins;
        let n_measured = n_traces.min(MAX_MEASURED);
        let measured: Vec<Result<Kinetics, CalciumError>> = (0..n_measured)
            .into_par_iter()
            .map(|i| {
                let trace = i * n_traces / n_measured;
                let measured = self.measured(&traces[trace * n_bins..][..n_bins]);
                measured.map_err(|source| CalciumError::InTrace {
                    trace,
                    source: Box::new(source),
                })
            })
            .collect();
        let measured: Vec<Kinetics> = measured.into_iter().collect::<Result<_, _>>()?;
        let over = |of: fn(&Kinetics) -> f64| {
            let middle = median(measured.iter().map(of));
            middle.ok_or(CalciumError::EmptyTrace)
        };
        Ok(Kinetics {
            rise_s: over(|kinetics| kinetics.rise_s)?,
            decay_s: over(|kinetics| kinetics.decay_s)?,
        })
    }

    /// Baseline, noise and time constants of one trace, without deconvolving it.
    ///
    /// # Shapes
    /// `trace` and the baseline: `[time]`.
    /// # Errors
    /// [`CalciumError::EmptyTrace`], [`CalciumError::Infinite`], and [`CalciumError::TooFewFrames`] below
    /// 8 frames with data.
    pub fn estimate<T: Sample>(&self, trace: &[T]) -> Result<Estimates<T>, CalciumError> {
        self.estimate_trials(trace, &[0])
    }

    /// [`Self::estimate`] for trials that are joined, whose baselines may have offsets.
    ///
    /// # Shapes
    /// `starts`: first frame of each trial, ascending.
    /// # Errors
    /// Those of [`Self::estimate`].
    pub fn estimate_trials<T: Sample>(
        &self,
        trace: &[T],
        starts: &[usize],
    ) -> Result<Estimates<T>, CalciumError> {
        let band_noise = band_noise(trace)?;
        let kinetics = self.kinetics.map_or_else(|| self.measured(trace), Ok)?;
        let mut baseline = QuietBaseline::new(self.dt_s, self.typical_tau_s)?.with_trials(starts);
        if let Some(window_s) = self.baseline_window_s {
            baseline = baseline.with_window(window_s)?;
        }
        let mut level = baseline.of(trace, band_noise.sd)?;
        let noise_sd = band_noise.frame_sd();
        // The decay of the clear transients above a baseline.
        let seen = |level: &[T]| {
            let pairs = trace.iter().zip(level);
            let above: Vec<f64> = pairs.map(|(y, b)| y.to_f64() - b.to_f64()).collect();
            decay_seen_in_trials(&above, starts, self.dt_s, noise_sd)
        };
        let mut tau_s = self.tau_s(kinetics);
        if let Some(seen_s) = seen(&level) {
            // The spectrum's answer, bounded by what is typical, gives way where transients contradict it.
            let contradiction = libm::log(seen_s / tau_s).abs();
            let is_far = contradiction > CONTRADICTION.0;
            if is_far && self.kinetics.is_none() {
                tau_s = match contradiction > CONTRADICTION.1 {
                    true => seen_s,
                    false => (seen_s * tau_s).sqrt(),
                };
            }
            if is_far && self.baseline_window_s.is_none() && seen_s > SLOW_S {
                // Slow transients want a longer window, under which they are slower still.
                let slow = QuietBaseline::new(self.dt_s, seen_s)?.with_trials(starts);
                level = slow.of(trace, band_noise.sd)?;
                if let (Some(seen_s), None) = (seen(&level), self.kinetics) {
                    tau_s = seen_s;
                }
            }
        }
        Ok(Estimates {
            baseline: level,
            noise_sd,
            band_noise,
            tau_s,
            rise_s: kinetics.rise_s.min(MAX_RISE_S),
        })
    }

    /// OASIS alone of a trace from which its baseline is subtracted.
    ///
    /// # Shapes
    /// `above` and both results: `[time]`.
    /// # Errors
    /// Those of [`Ar1Problem::deconvolve`]; none for what [`Self::estimate`] took.
    pub fn oasis<T: Sample>(
        &self,
        above: &[T],
        estimates: &Estimates<T>,
    ) -> Result<Deconvolved<T>, CalciumError> {
        self.oasis_trials(above, &[0], estimates)
    }

    /// [`Self::oasis`] for trials that are joined, each of which starts anew.
    ///
    /// # Shapes
    /// `starts`: first frame of each trial, ascending.
    /// # Errors
    /// Those of [`Self::oasis`].
    pub fn oasis_trials<T: Sample>(
        &self,
        above: &[T],
        starts: &[usize],
        estimates: &Estimates<T>,
    ) -> Result<Deconvolved<T>, CalciumError> {
        let ar = Ar1::from_tau(estimates.tau_s, self.dt_s, Discretisation::Exact)?;
        Ar1Problem::new(ar).deconvolve_trials(above, starts)
    }

    /// Expected spikes of a trace from which its baseline is subtracted, in fluorescence units per frame, gaps
    /// bridged: what follows the firing rate best.
    ///
    /// # Shapes
    /// `above` and the result: `[time]`.
    /// # Errors
    /// Those of [`SpikePrior::infer_weighted`]; none for what [`Self::estimate`] took.
    pub fn expected_spikes<T: Sample>(
        &self,
        above: &[T],
        estimates: &Estimates<T>,
    ) -> Result<Vec<T>, CalciumError> {
        self.expected_spikes_of_trials(above, &[0], estimates)
    }

    /// [`Self::expected_spikes`] for trials that are joined, each of which starts anew; what spikes are like is taken
    /// from all.
    ///
    /// # Shapes
    /// `starts`: first frame of each trial, ascending.
    /// # Errors
    /// Those of [`Self::expected_spikes`].
    pub fn expected_spikes_of_trials<T: Sample>(
        &self,
        above: &[T],
        starts: &[usize],
        &Estimates {
            band_noise,
            tau_s,
            rise_s,
            ..
        }: &Estimates<T>,
    ) -> Result<Vec<T>, CalciumError> {
        check_trace(above)?;
        let n_averaged = ((FRAME_S / self.dt_s).round() as usize).max(1);
        let frame_s = n_averaged as f64 * self.dt_s;
        let trials = trials(above.len(), starts);
        let mut means = Vec::with_capacity(above.len() / n_averaged + trials.len());
        let mut counts = Vec::with_capacity(means.capacity());
        for trial in &trials {
            let (of_trial, weights) = averaged(&above[trial.clone()], n_averaged);
            means.extend(of_trial);
            counts.extend(weights);
        }
        let highest = means
            .iter()
            .filter(|y| !y.is_nan())
            .fold(0.0, |a: f64, y| a.max(y.abs()));
        if highest == 0.0 {
            return Ok(vec![T::default(); above.len()]);
        }
        let ar = Ar1::from_tau(tau_s, frame_s, Discretisation::Exact)?;
        let noise_sd = band_noise.sd / (n_averaged as f64).sqrt();
        // Of frames longer than the usual interval nearly each has a spike, but none must.
        let probability = (1.0 - libm::exp(-self.typical_rate_hz * frame_s)).min(MAX_PROBABILITY);
        // A simulation may have no noise at all.
        let prior = SpikePrior::new(ar, noise_sd.max(1e-3 * highest))?
            .with_spikes(probability, highest)?
            .with_amplitude_of(&means)?;
        let mut spikes = Vec::with_capacity(above.len());
        let (mut means, mut counts) = (&means[..], &counts[..]);
        for trial in trials {
            let n_means = trial.len().div_ceil(n_averaged);
            let (of_trial, weights);
            (of_trial, means) = means.split_at(n_means);
            (weights, counts) = counts.split_at(n_means);
            let expected = prior.infer_weighted(of_trial, weights)?.spikes;
            let per_frame: Vec<f64> = (0..trial.len())
                .map(|t| expected[t / n_averaged] / n_averaged as f64)
                .collect();
            let smooth = gaussian_smoothing(&per_frame, self.smoothing_s / self.dt_s)?;
            spikes.extend(earlier::<T>(&smooth, rise_s / self.dt_s));
        }
        Ok(spikes)
    }

    /// Deconvolves one trace.
    ///
    /// # Shapes
    /// `trace` and all results: `[time]`.
    /// # Errors
    /// Those of [`Self::estimate`].
    pub fn deconvolve<T: Sample>(&self, trace: &[T]) -> Result<AutomaticFit<T>, CalciumError> {
        let estimates = self.estimate(trace)?;
        let above = estimates.above_baseline(trace);
        Ok(AutomaticFit {
            activity: self.expected_spikes(&above, &estimates)?,
            result: self.oasis(&above, &estimates)?,
            baseline: estimates.baseline,
            noise_sd: estimates.noise_sd,
            tau_s: estimates.tau_s,
            rise_s: estimates.rise_s,
        })
    }

    /// Deconvolves many traces of one recording in parallel on rayon's current pool. They share their
    /// [`Self::kinetics`] unless [`Self::with_kinetics`] gave them; else each has its own estimates.
    ///
    /// # Shapes
    /// `traces`: `[trace, time]`, flattened, with `n_bins` frames per trace; result: one per trace.
    /// # Errors
    /// [`CalciumError::NotWholeTraces`], [`CalciumError::EmptyTrace`] if `n_bins` is 0, and
    /// [`CalciumError::InTrace`] for the first trace that [`Self::deconvolve`] would refuse.
    pub fn deconvolve_many<T: Sample>(
        &self,
        traces: &[T],
        n_bins: usize,
    ) -> Result<Vec<AutomaticFit<T>>, CalciumError> {
        let kinetics = match self.kinetics {
            Some(kinetics) => kinetics,
            None if traces.is_empty() => return Ok(Vec::new()),
            None => self.kinetics(traces, n_bins)?,
        };
        let shared = self.with_kinetics(kinetics)?;
        in_parallel(traces, n_bins, |trace| shared.deconvolve(trace))
    }

    fn measured<T: Sample>(&self, trace: &[T]) -> Result<Kinetics, CalciumError> {
        let typical = Kinetics {
            rise_s: TYPICAL_RISE_S,
            decay_s: self.typical_tau_s,
        };
        kinetics(trace, self.dt_s, typical)
    }

    /// The time constant of AR(1).
    fn tau_s(&self, kinetics: Kinetics) -> f64 {
        let typical = self.typical_tau_s;
        (typical * kinetics.decay_s)
            .sqrt()
            .clamp(typical / 5.0, 2.0 * typical)
    }
}

/// Means over `n` frames each, NaN if none has data, and what share of them has.
fn averaged<T: Sample>(trace: &[T], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mean = |frames: &[T]| {
        let present = frames.iter().map(|y| y.to_f64()).filter(|y| !y.is_nan());
        let (sum, count) = present.fold((0.0, 0.0), |(sum, count), y| (sum + y, count + 1.0));
        (sum / count, count / n as f64)
    };
    trace.chunks(n).map(mean).unzip()
}

/// The signal as it is `delay` frames later, by linear interpolation; its last value thereafter.
fn earlier<T: Sample>(signal: &[f64], delay: f64) -> Vec<T> {
    let last = signal.len() - 1;
    let at = |t: usize| signal[t.min(last)];
    let (whole, part) = (delay.floor() as usize, delay.fract());
    (0..signal.len())
        .map(|t| T::from_f64((1.0 - part) * at(t + whole) + part * at(t + whole + 1)))
        .collect()
}
