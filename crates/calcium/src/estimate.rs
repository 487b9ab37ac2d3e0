//! Noise SD, indicator dynamics and baseline from the fluorescence itself.
//!
//! NaN frames carry no data: they are left out of every estimate, and a baseline passes through them.
//!
//! # Source
//! Pnevmatikakis et al. 2016, "Simultaneous denoising, deconvolution, and demixing of calcium imaging
//! data", for noise and autoregressive coefficients; Pachitariu et al. 2018 for the maximin baseline.

use std::collections::VecDeque;

use realfft::RealFftPlanner;

use crate::oasis::check_trace;
use crate::quantile::quantile;
use crate::trials::trials;
use crate::{Ar1, Ar2, CalciumError, Sample, error};

pub use crate::kinetics::kinetics;
pub use crate::quantile::median;

/// Frames per segment of the power spectrum.
const SEGMENT: usize = 256;
/// Power that is less, as a share of what is usual below, is what interpolation leaves: up to a twelfth where it is by straight
/// lines.
const NOTHING: f64 = 0.1;
/// With fewer frames no frequency lies inside the noise band.
const MIN_FRAMES: usize = 8;

/// How the power of the noise is taken from the spectrum's upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Average {
    /// Unbiased for white noise.
    #[default]
    Mean,
    /// Ignores narrow lines, such as a motion artefact's; a few percent low on short traces.
    Median,
}

/// Standard deviation of white noise, from the power between 0.25 and 0.5 of the frame rate, where
/// slow calcium has little.
///
/// The spectrum is Welch's: segments of 256 frames (or the whole of a shorter trace), half
/// overlapping, each less its mean, under a Hann window.
///
/// # Shapes
/// `trace`: `[time]`.
/// # Units
/// Fluorescence units.
/// # Errors
/// [`CalciumError::EmptyTrace`], [`CalciumError::Infinite`], and [`CalciumError::TooFewFrames`] below
/// 8 frames with data.
/// # Source
/// Pnevmatikakis et al. 2016, supplement.
pub fn noise_sd<T: Sample>(trace: &[T], average: Average) -> Result<f64, CalciumError> {
    let samples = present(trace, "noise_sd", MIN_FRAMES)?;
    let n = SEGMENT.min(samples.len());
    let power = welch(&samples, n);
    let band: Vec<f64> = (0..power.len())
        .filter(|k| 4 * k > n && 2 * k < n)
        .map(|k| power[k])
        .collect();
    let power = match average {
        Average::Mean => mean(&band),
        Average::Median => middle(band),
    };
    Ok(power.sqrt())
}

/// The noise of a recording that may have been resampled to a higher rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandNoise {
    /// The highest frequency with power, in cycles per frame; 0.5 unless the frames were interpolated.
    pub limit: f64,
    /// SD of the white noise with the power density that the noise has below `limit`, in fluorescence
    /// units. Means of n frames have 1/√n of it, if they are longer than 1/`limit`.
    pub sd: f64,
}

impl BandNoise {
    /// SD of the noise of a frame, in fluorescence units: less than `sd` where frames were interpolated.
    pub fn frame_sd(&self) -> f64 {
        self.sd * (2.0 * self.limit).sqrt()
    }
}

/// Noise from the power in the upper half of the band that has any; in its middle third where frames were interpolated.
///
/// Interpolation to a higher frame rate leaves nothing above the original Nyquist frequency, where
/// [`noise_sd`] looks: it then finds too little. Without interpolation the two are the same but for
/// the bin at each end.
///
/// # Shapes
/// `trace`: `[time]`.
/// # Errors
/// Those of [`noise_sd`].
pub fn band_noise<T: Sample>(trace: &[T]) -> Result<BandNoise, CalciumError> {
    Ok(band_noise_of(&present(trace, "noise_sd", MIN_FRAMES)?))
}

/// The same of the frames with data, eight or more.
pub(crate) fn band_noise_of(samples: &[f64]) -> BandNoise {
    let n = SEGMENT.min(samples.len());
    let power = welch(samples, n);
    let last = power.len() - 1;
    let limit = band_limit(&power);
    // Interpolation is a filter that sets in well before the edge of the band: straight lines leave an eighth of the power
    // at the original Nyquist frequency.
    let (from, to) = match limit < last {
        true => (limit / 3, (2 * limit / 3).max(limit / 3 + 1)),
        false => (limit / 2, limit),
    };
    BandNoise {
        limit: limit as f64 / n as f64,
        sd: mean(&power[from..to]).sqrt(),
    }
}

fn middle(powers: impl IntoIterator<Item = f64>) -> f64 {
    median(powers).expect("a spectrum has a frequency in every band")
}

/// The first frequency above which there is next to nothing: straight lines between frames leave side lobes.
fn band_limit(power: &[f64]) -> usize {
    let last = power.len() - 1;
    // A few bins may be empty by chance.
    let few = (last / 16).max(4);
    let nothing_above = |&k: &usize| {
        let usual = middle(power[k / 2..=k].iter().copied());
        power[k + 1..].iter().all(|&above| above < NOTHING * usual)
    };
    let found = (4..last.saturating_sub(few)).find(nothing_above);
    found.unwrap_or(last)
}

/// Autocovariance at lags 0 to `n_lags`, from the pairs of frames that both have data.
///
/// The sums of products of a trace of T frames with data are divided by T, or with gaps by what keeps
/// the same taper over the lags.
///
/// # Shapes
/// `trace`: `[time]`; result: `[n_lags + 1]`.
/// # Errors
/// [`CalciumError::EmptyTrace`], [`CalciumError::Infinite`], and [`CalciumError::TooFewFrames`] unless
/// there are more than `n_lags` frames with data.
pub fn autocovariance<T: Sample>(trace: &[T], n_lags: usize) -> Result<Vec<f64>, CalciumError> {
    let mean = mean(&present(trace, "the autocovariance", n_lags + 1)?);
    let deviations: Vec<f64> = trace.iter().map(|y| y.to_f64() - mean).collect();
    let at_lag = |lag: usize| {
        let products = deviations
            .iter()
            .zip(&deviations[lag..])
            .map(|(a, b)| a * b);
        let (sum, n_pairs) = products
            .filter(|product| !product.is_nan())
            .fold((0.0, 0usize), |(sum, n), product| (sum + product, n + 1));
        let taper = (trace.len() - lag) as f64 / trace.len() as f64;
        taper * sum / n_pairs.max(1) as f64
    };
    Ok((0..=n_lags).map(at_lag).collect())
}

/// AR(1) dynamics by least squares over the autocovariance γ, its white noise subtracted:
/// `γ_k = g·(γ_{k−1} − noise_sd²·[k = 1])` for k = 1 … `n_lags` + 1.
///
/// Ten lags suit decays of a few to tens of frames.
///
/// # Shapes
/// `trace`: `[time]`.
/// # Errors
/// Those of [`autocovariance`]; [`CalciumError::Negative`] for `noise_sd`; [`CalciumError::NoDecay`]
/// if the solution is no decay.
/// # Source
/// Pnevmatikakis et al. 2016, equation 2 and supplement.
pub fn ar1<T: Sample>(trace: &[T], noise_sd: f64, n_lags: usize) -> Result<Ar1, CalciumError> {
    let covariance = denoised_autocovariance(trace, noise_sd, n_lags + 1)?;
    let (signal, noisy) = (&covariance.signal, &covariance.noisy);
    let past = &signal[..=n_lags];
    let g = dot(past, &noisy[1..]) / dot(past, past);
    Ar1::new(g).map_err(|_refused| CalciumError::NoDecay { g })
}

/// AR(2) dynamics, as [`ar1`] with a second coefficient.
///
/// Noise may make a root negative or the pair complex: a negative root becomes 0, leaving AR(1), and
/// a complex pair becomes the double root of its real part.
///
/// # Shapes
/// `trace`: `[time]`.
/// # Errors
/// Those of [`ar1`].
pub fn ar2<T: Sample>(trace: &[T], noise_sd: f64, n_lags: usize) -> Result<Ar2, CalciumError> {
    let covariance = denoised_autocovariance(trace, noise_sd, n_lags + 2)?;
    let (signal, noisy) = (&covariance.signal, &covariance.noisy);
    let n = n_lags + 2;
    let first = &signal[..n];
    // Lags −1, 0, 1, …: the autocovariance is even.
    let second: Vec<f64> = std::iter::once(signal[1])
        .chain(signal[..n - 1].iter().copied())
        .collect();
    let target = &noisy[1..];
    let (a, b, d) = (
        dot(first, first),
        dot(first, &second),
        dot(&second, &second),
    );
    let (u, v) = (dot(first, target), dot(&second, target));
    let determinant = a * d - b * b;
    let (g1, g2) = ((d * u - b * v) / determinant, (a * v - b * u) / determinant);
    let spread = (g1 * g1 + 4.0 * g2).max(0.0).sqrt();
    let roots = [f64::midpoint(g1, spread), f64::midpoint(g1, -spread)];
    Ar2::from_roots(roots[0], roots[1].max(0.0))
        .map_err(|_refused| CalciumError::NoDecay { g: roots[0] })
}

/// Baseline as the `percentile` of the frames within `window` centred frames, fewer at the ends.
///
/// Between two ranks it interpolates linearly. A frame whose window has no data is NaN.
///
/// # Shapes
/// `trace` and result: `[time]`.
/// # Errors
/// [`CalciumError::NotAPercentile`]; [`CalciumError::Zero`] for `window`;
/// [`CalciumError::EmptyTrace`] and [`CalciumError::Infinite`].
pub fn percentile_baseline<T: Sample>(
    trace: &[T],
    window: usize,
    percentile: f64,
) -> Result<Vec<T>, CalciumError> {
    check_trace(trace)?;
    let window = error::at_least_one("window", window)?;
    if !(0.0..=100.0).contains(&percentile) {
        return Err(CalciumError::NotAPercentile { value: percentile });
    }
    let samples: Vec<f64> = trace.iter().map(|y| y.to_f64()).collect();
    let mut sorted: Vec<f64> = Vec::with_capacity(window + 1);
    let (mut entered, mut left) = (0, 0);
    let at = |t: usize| {
        let (start, end) = bounds(t, window, samples.len());
        for &sample in samples[entered..end].iter().filter(|y| !y.is_nan()) {
            sorted.insert(sorted.partition_point(|&other| other < sample), sample);
        }
        for &sample in samples[left..start].iter().filter(|y| !y.is_nan()) {
            sorted.remove(sorted.partition_point(|&other| other < sample));
        }
        (entered, left) = (end, start);
        T::from_f64(quantile(&sorted, percentile / 100.0).unwrap_or(f64::NAN))
    };
    Ok((0..samples.len()).map(at).collect())
}

/// Baseline by Gaussian smoothing, then the rolling minimum, then its rolling maximum: it follows
/// the floor of the trace and passes under transients shorter than `window` frames.
///
/// # Shapes
/// `trace` and result: `[time]`.
/// # Units
/// `smoothing`: SD of the Gaussian in frames; `window`: frames.
/// # Errors
/// [`CalciumError::Negative`] for `smoothing`; [`CalciumError::Zero`] for `window`;
/// [`CalciumError::EmptyTrace`] and [`CalciumError::Infinite`].
/// # Source
/// Pachitariu, Stringer & Harris 2018.
pub fn maximin_baseline<T: Sample>(
    trace: &[T],
    smoothing: f64,
    window: usize,
) -> Result<Vec<T>, CalciumError> {
    maximin_baseline_of_trials(trace, &[0], smoothing, window)
}

/// [`maximin_baseline`] for trials that are joined: each is smoothed alone, and windows reach into its neighbours.
///
/// # Shapes
/// `starts`: first frame of each trial, ascending.
/// # Errors
/// Those of [`maximin_baseline`].
pub fn maximin_baseline_of_trials<T: Sample>(
    trace: &[T],
    starts: &[usize],
    smoothing: f64,
    window: usize,
) -> Result<Vec<T>, CalciumError> {
    check_trace(trace)?;
    let window = error::at_least_one("window", window)?;
    let mut smooth = Vec::with_capacity(trace.len());
    for trial in trials(trace.len(), starts) {
        let of_trial = gaussian_smoothing(&trace[trial], smoothing)?;
        smooth.extend(of_trial.iter().map(|y| y.to_f64()));
    }
    let floor = rolling_minimum(&smooth, window);
    let negated: Vec<f64> = floor.iter().map(|y| -y).collect();
    let baseline = rolling_minimum(&negated, window);
    Ok(baseline.iter().map(|y| T::from_f64(-y)).collect())
}

/// Gaussian average with SD `smoothing` frames over the frames that have data within four SD.
///
/// # Shapes
/// `trace` and result: `[time]`; NaN only where nothing is within reach.
/// # Errors
/// [`CalciumError::Negative`], [`CalciumError::EmptyTrace`] and [`CalciumError::Infinite`].
pub fn gaussian_smoothing<T: Sample>(trace: &[T], smoothing: f64) -> Result<Vec<T>, CalciumError> {
    check_trace(trace)?;
    let smoothing = error::nonnegative("smoothing", smoothing)?;
    let reach = ((4.0 * smoothing).ceil() as usize).min(trace.len());
    let kernel: Vec<f64> = (0..=reach)
        .map(|k| {
            if k == 0 {
                1.0
            } else {
                libm::exp(-0.5 * (k as f64 / smoothing).powi(2))
            }
        })
        .collect();
    let at = |t: usize| {
        let near = t.saturating_sub(reach)..(t + reach + 1).min(trace.len());
        let (mut sum, mut weight) = (0.0, 0.0);
        for (other, sample) in near.clone().zip(&trace[near]) {
            let sample = sample.to_f64();
            if !sample.is_nan() {
                sum += kernel[other.abs_diff(t)] * sample;
                weight += kernel[other.abs_diff(t)];
            }
        }
        T::from_f64(sum / weight)
    };
    Ok((0..trace.len()).map(at).collect())
}

/// The autocovariance, as measured and with the white noise taken from lag 0.
struct Denoised {
    noisy: Vec<f64>,
    signal: Vec<f64>,
}

fn denoised_autocovariance<T: Sample>(
    trace: &[T],
    noise_sd: f64,
    n_lags: usize,
) -> Result<Denoised, CalciumError> {
    let noise_sd = error::nonnegative("noise_sd", noise_sd)?;
    let noisy = autocovariance(trace, n_lags)?;
    let mut signal = noisy.clone();
    signal[0] -= noise_sd * noise_sd;
    Ok(Denoised { noisy, signal })
}

/// Values of which there are hardly fewer than `n`: they are never moved as they grow.
pub(crate) fn collected(values: impl Iterator<Item = f64>, n: usize) -> Vec<f64> {
    let mut all = Vec::with_capacity(n);
    all.extend(values);
    all
}

/// The frames with data, of which at least `needed` must exist.
pub(crate) fn present<T: Sample>(
    trace: &[T],
    what: &'static str,
    needed: usize,
) -> Result<Vec<f64>, CalciumError> {
    check_trace(trace)?;
    let samples = trace.iter().map(|y| y.to_f64());
    let samples = collected(samples.filter(|y| !y.is_nan()), trace.len());
    let found = samples.len();
    if found < needed {
        return Err(CalciumError::TooFewFrames {
            what,
            found,
            needed,
        });
    }
    Ok(samples)
}

/// Power per frequency k/n, k = 0 … n/2, scaled so that white noise of variance 1 has power 1.
pub(crate) fn welch(samples: &[f64], n: usize) -> Vec<f64> {
    let turn = std::f64::consts::TAU / n as f64;
    let window: Vec<f64> = (0..n)
        .map(|t| 0.5 - 0.5 * libm::cos(turn * t as f64))
        .collect();
    let energy = dot(&window, &window);
    let transform = RealFftPlanner::<f64>::new().plan_fft_forward(n);
    let mut spectrum = transform.make_output_vec();
    let mut power = vec![0.0; spectrum.len()];
    let n_segments = 1 + (samples.len() - n) / (n / 2).max(1);
    let n_segments = if samples.len() == n { 1 } else { n_segments };
    for segment in (0..n_segments).map(|i| &samples[i * (n / 2)..][..n]) {
        let mean = mean(segment);
        let mut tapered: Vec<f64> = segment
            .iter()
            .zip(&window)
            .map(|(y, w)| w * (y - mean))
            .collect();
        if transform.process(&mut tapered, &mut spectrum).is_ok() {
            for (power, bin) in power.iter_mut().zip(&spectrum) {
                *power += bin.norm_sqr() / (energy * n_segments as f64);
            }
        }
    }
    power
}

/// Centred rolling minimum in linear time, ignoring NaN: a queue keeps the candidates that nothing
/// smaller has followed.
fn rolling_minimum(samples: &[f64], window: usize) -> Vec<f64> {
    let mut candidates: VecDeque<usize> = VecDeque::new();
    let mut entered = 0;
    let at = |t: usize| {
        let (start, end) = bounds(t, window, samples.len());
        for index in (entered..end).filter(|&index| !samples[index].is_nan()) {
            while candidates
                .pop_back_if(|last| samples[*last] >= samples[index])
                .is_some()
            {}
            candidates.push_back(index);
        }
        entered = end;
        while candidates.pop_front_if(|first| *first < start).is_some() {}
        candidates.front().map_or(f64::NAN, |&index| samples[index])
    };
    (0..samples.len()).map(at).collect()
}

/// First frame of the window centred on `t`, and the one after its last.
fn bounds(t: usize, window: usize, n_bins: usize) -> (usize, usize) {
    let start = t.saturating_sub(window / 2);
    (start, (t + window.div_ceil(2)).min(n_bins))
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
