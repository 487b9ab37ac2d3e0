//! Deconvolution with every setting taken from the trace and the frame interval.

use crate::error::duration;
use crate::estimate::{Average, ar1, gaussian_smoothing, maximin_baseline, noise_sd};
use crate::oasis::{Ar1Problem, Deconvolved, in_parallel};
use crate::{Ar1, CalciumError, Discretisation, Sample};

/// Estimates baseline, noise SD and time constant of a recording, and deconvolves it.
///
/// 1. The baseline is the maximin one, over 60 s after smoothing by half the typical tau.
/// 2. tau is the geometric mean of the typical tau of the indicator, 1 s unless given, and of what
///    the autocovariance up to that lag says; but from a fifth of the typical tau to twice it.
///    On real recordings drift and noise correlated in time mislead the autocovariance alone.
/// 3. Spikes are nonnegative, without L1 penalty or threshold: smoothing them, by 80 ms unless
///    given, costs less of what is real.
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
// The postfix is the unit.
#[allow(clippy::struct_field_names)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Automatic {
    dt_s: f64,
    typical_tau_s: f64,
    baseline_window_s: f64,
    smoothing_s: f64,
}

/// What [`Automatic`] found in one trace.
#[derive(Debug, Clone, PartialEq)]
pub struct AutomaticFit<T> {
    /// Calcium above the baseline, and spikes.
    pub result: Deconvolved<T>,
    /// The spikes smoothed over time, gaps bridged: what follows the firing rate best.
    pub activity: Vec<T>,
    /// Baseline per frame, in fluorescence units.
    pub baseline: Vec<T>,
    /// SD of the noise, in fluorescence units.
    pub noise_sd: f64,
    /// Time constant of the decay, in seconds.
    pub tau_s: f64,
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
            baseline_window_s: 60.0,
            smoothing_s: 0.08,
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

    /// Sets the window of the baseline: longer than the longest bout of activity, shorter than drift.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn with_baseline_window(self, baseline_window_s: f64) -> Result<Self, CalciumError> {
        let baseline_window_s = duration("baseline_window_s", baseline_window_s)?;
        Ok(Self {
            baseline_window_s,
            ..self
        })
    }

    /// Sets the SD of the Gaussian that turns spikes into activity.
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

    /// Deconvolves one trace.
    ///
    /// # Shapes
    /// `trace` and all results: `[time]`.
    /// # Errors
    /// [`CalciumError::EmptyTrace`], [`CalciumError::Infinite`], and [`CalciumError::TooFewFrames`] below
    /// 8 frames with data.
    pub fn deconvolve<T: Sample>(&self, trace: &[T]) -> Result<AutomaticFit<T>, CalciumError> {
        let noise_sd = noise_sd(trace, Average::Mean)?;
        let smoothing = 0.5 * self.typical_tau_s / self.dt_s;
        let window = (self.baseline_window_s / self.dt_s).ceil() as usize;
        let baseline = maximin_baseline(trace, smoothing, window)?;
        let above: Vec<T> = trace
            .iter()
            .zip(&baseline)
            .map(|(y, b)| T::from_f64(y.to_f64() - b.to_f64()))
            .collect();
        let tau_s = self.tau_s(&above, noise_sd);
        let ar = Ar1::from_tau(tau_s, self.dt_s, Discretisation::Exact)?;
        let result = Ar1Problem::new(ar).deconvolve(&above)?;
        Ok(AutomaticFit {
            activity: gaussian_smoothing(&result.spikes, self.smoothing_s / self.dt_s)?,
            result,
            baseline,
            noise_sd,
            tau_s,
        })
    }

    /// Deconvolves many traces in parallel on rayon's current pool, each with its own estimates.
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
        in_parallel(traces, n_bins, |trace| self.deconvolve(trace))
    }

    /// The time constant used for a trace less its baseline.
    fn tau_s<T: Sample>(&self, trace: &[T], noise_sd: f64) -> f64 {
        let typical = self.typical_tau_s;
        let n_lags = (typical / self.dt_s).round() as usize;
        // A short trace says little about long lags.
        let n_lags = n_lags.clamp(1, (trace.len() / 4).max(1));
        let measured = match ar1(trace, noise_sd, n_lags) {
            Ok(ar) if ar.g() > 0.0 => -self.dt_s / ar.g().ln(),
            Err(CalciumError::NoDecay { g }) if g >= 1.0 => f64::INFINITY,
            // Nothing there to go by: too few frames with data, or no slow signal.
            _ => typical,
        };
        (typical * measured)
            .sqrt()
            .clamp(typical / 5.0, 2.0 * typical)
    }
}
