//! What is wrong with a trace, or with all of a recording's, before anything is inferred from them.

use crate::Sample;
use crate::estimate::{collected, median, welch};

/// Fewest frames that anything is said about.
const LEAST_FRAMES: usize = 50;
/// Transients so many SDs of the noise high are beyond doubt.
const CLEAR: f64 = 6.0;
/// Frames that must fall so clearly for anything to be said of why.
const CLEAR_FALLS: usize = 5;
/// A detector's range ends where so many frames in a row have the same highest value.
const CLIPPED: usize = 3;
/// Neighbouring frames that differ by more wrapped around 16 bits.
const WRAP: f64 = 60_000.0;
/// A trace whose noise is smaller, as a share of its transients, or whose frames bend less, as a share of its noise, was
/// denoised before.
const DENOISED: (f64, f64) = (0.004, 0.15);
/// Median of the absolute second difference of white noise, in SDs.
const BEND_PER_SD: f64 = 0.674_49 * 2.449_49;
/// The power of a beat, over that of frequencies nearby. By chance the mean of [`SEGMENTS`] spectra
/// reaches 4 somewhere once in a thousand recordings (Gamma of shape 8, a thousand frequencies).
const LINE: f64 = 6.0;
/// Fewest spectra, of segments that overlap by half, that are averaged.
const SEGMENTS: usize = 8;
/// Share of the recording's traces that a common signal must be in.
const COMMON_SHARE: f64 = 0.3;

/// Something that users should know of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// It goes down as far as other traces go up: subtracted neuropil that holds another neuron, or motion.
    GoesDown,
    /// It stays at its highest value: the detector was saturated.
    Saturated,
    /// It jumps by the range of 16 bits: unsigned numbers read as signed ones.
    WrapsAround,
    /// It has hardly any noise: it was denoised or deconvolved before.
    Denoised,
}

/// What is wrong with one trace.
///
/// # Shapes
/// `trace` and `baseline`: `[time]`, in the same units as `noise_sd`.
pub fn faults<T: Sample>(trace: &[T], baseline: &[T], noise_sd: f64) -> Vec<Fault> {
    let pairs = trace.iter().zip(baseline);
    let mut above: Vec<f64> = pairs.map(|(y, b)| y.to_f64() - b.to_f64()).collect();
    above.retain(|y| !y.is_nan());
    let mut faults = Vec::new();
    if above.len() < LEAST_FRAMES {
        return faults;
    }
    if wraps(trace) {
        faults.push(Fault::WrapsAround);
    }
    if is_clipped(trace, noise_sd) {
        faults.push(Fault::Saturated);
    }
    above.sort_unstable_by(f64::total_cmp);
    let n = above.len();
    let (low, middle, high) = (above[n / 200], above[n / 2], above[n - 1 - n / 200]);
    drop(above);
    // From the middle: the baseline may have followed a trace that mostly goes down.
    let (down, up) = (middle - low, high - middle);
    if down > CLEAR * noise_sd && down > up && !wraps(trace) {
        faults.push(Fault::GoesDown);
    }
    if high > 0.0 && (noise_sd < DENOISED.0 * high || is_smooth_between_onsets(trace, noise_sd)) {
        faults.push(Fault::Denoised);
    }
    faults
}

/// Whether most frames lie on a smooth curve while a few turn by as much as the noise is said to be: what deconvolution leaves.
/// Noise bends every frame.
fn is_smooth_between_onsets<T: Sample>(trace: &[T], noise_sd: f64) -> bool {
    let bends = trace
        .windows(3)
        .map(|w| (w[0].to_f64() - 2.0 * w[1].to_f64() + w[2].to_f64()).abs());
    // Frames of interpolation lie on straight lines, but bend where the lines meet.
    let bends = bends.filter(|bend| !bend.is_nan() && *bend > 1e-6 * noise_sd);
    let usual = median(collected(bends, trace.len())).map(|middle| middle / BEND_PER_SD);
    usual.is_none_or(|usual| usual < DENOISED.1 * noise_sd)
}

fn wraps<T: Sample>(trace: &[T]) -> bool {
    let pairs = trace
        .windows(2)
        .map(|pair| (pair[0].to_f64(), pair[1].to_f64()));
    let whole = |y: f64| y.fract() == 0.0;
    let mut pairs = pairs.filter(|(a, b)| whole(*a) || whole(*b));
    pairs.any(|(a, b)| (b - a).abs() > WRAP && a.min(b) < 0.0 && a.max(b) > 0.0)
}

/// Whether the highest value comes several times, and often in a row.
fn is_clipped<T: Sample>(trace: &[T], noise_sd: f64) -> bool {
    let values = || trace.iter().map(|y| y.to_f64());
    let highest = values()
        .filter(|y| !y.is_nan())
        .fold(f64::NEG_INFINITY, f64::max);
    let is_highest = |y: f64| (y - highest).abs() <= 1e-7 * highest.abs();
    let total = values().filter(|y| is_highest(*y)).count();
    let (mut run, mut longest) = (0, 0);
    for y in values() {
        run = if is_highest(y) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    noise_sd > 0.0 && longest >= CLIPPED && total >= 2 * CLIPPED && total < trace.len() / 2
}

/// A beat that many traces of a recording share: its period in s, if there is one.
///
/// A heart, breath, a stimulus clock or interference gives a narrow line in the spectrum of the traces'
/// mean, and is there in a good part of them; neurons that fire together by themselves do not keep time.
///
/// # Shapes
/// `above`: traces `[neuron][time]` above their baselines; NaN frames carry no data.
/// # Units
/// `noise_sds`: SD of the noise of each trace, `[neuron]`.
pub fn common_beat(above: &[Vec<f64>], noise_sds: &[f64], dt_s: f64) -> Option<f64> {
    let n_frames = above.first()?.len();
    // One spectrum of the whole has peaks of any height by chance.
    let n = (2 * n_frames / (SEGMENTS + 1)).min(2048);
    if above.len() < 3 || n < 256 {
        return None;
    }
    // Large transients would hide a beat: each frame counts as much as noise does.
    let bounded = |neuron: usize, t: usize| {
        let z = above[neuron][t] / noise_sds[neuron].max(f64::MIN_POSITIVE);
        if z.is_nan() { 0.0 } else { z.clamp(-4.0, 4.0) }
    };
    let mean: Vec<f64> = (0..n_frames)
        .map(|t| (0..above.len()).map(|i| bounded(i, t)).sum::<f64>() / above.len() as f64)
        .collect();
    let power = welch(&mean, n);
    let (line, _) = (8..power.len() - 2)
        .map(|k| (k, prominence(&power, k)))
        .filter(|(_, prominence)| *prominence > LINE)
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let with_line = (0..above.len().min(60))
        .filter(|&i| {
            let trace: Vec<f64> = (0..n_frames).map(|t| bounded(i, t)).collect();
            prominence(&welch(&trace, n), line) > 3.0
        })
        .count();
    let enough = COMMON_SHARE * above.len().min(60) as f64;
    if (with_line as f64) < enough {
        return None;
    }
    // The lowest frequency whose multiples are lines too is the beat's own.
    let fundamental = (2..=6)
        .rev()
        .map(|divisor| (line as f64 / f64::from(divisor)).round() as usize)
        .find(|&k| k >= 8 && prominence(&power, k) > LINE / 2.0);
    Some(n as f64 * dt_s / fundamental.unwrap_or(line) as f64)
}

/// Power at a frequency over what is usual around it.
fn prominence(power: &[f64], k: usize) -> f64 {
    let from = k.saturating_sub(14).max(1);
    let around = (from..(k + 15).min(power.len())).filter(|other| other.abs_diff(k) > 3);
    let usual = median(around.map(|other| power[other])).unwrap_or(0.0);
    power[k] / usual.max(f64::MIN_POSITIVE)
}

/// The trace that rises when this one falls, if one does: `(neuron, correlation)`.
///
/// # Shapes
/// `above`: traces `[neuron][time]` above their baselines.
pub fn mirrored(above: &[Vec<f64>], noise_sds: &[f64], neuron: usize) -> Option<(usize, f64)> {
    let fall = |t: usize| (-above[neuron][t] / noise_sds[neuron] - 3.0).max(0.0);
    let rise = |other: usize, t: usize| (above[other][t] / noise_sds[other] - 3.0).max(0.0);
    let n = above[neuron].len();
    let is_clear = |t: &usize| -above[neuron][*t] > CLEAR * noise_sds[neuron];
    if (0..n).filter(is_clear).count() < CLEAR_FALLS {
        return None;
    }
    let falls: f64 = (0..n).map(|t| fall(t).powi(2)).sum();
    let correlation = |other: usize| {
        let rises: f64 = (0..n).map(|t| rise(other, t).powi(2)).sum();
        let both: f64 = (0..n).map(|t| fall(t) * rise(other, t)).sum();
        both / (falls * rises).sqrt()
    };
    (0..above.len())
        .filter(|other| *other != neuron)
        .map(|other| (other, correlation(other)))
        .filter(|(_, correlation)| *correlation > 0.5)
        .max_by(|a, b| a.1.total_cmp(&b.1))
}
