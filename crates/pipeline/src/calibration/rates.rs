//! The rates of a neuron as its expected spikes show them.

use calcium::CalciumError;
use calcium::estimate::gaussian_smoothing;
use calcium::trials::trials;

/// So much of the mean is in every rate: what is expected in a frame may be next to nothing.
const OF_MEAN: f64 = 0.1;

/// Spikes per frame, from those that are `expected`, NaN without data, of trials that begin at `starts`: smoothed by a Gaussian
/// of `sd` frames, with some of their mean; the mean far from any that are there.
///
/// # Errors
/// A width that is none.
pub(super) fn rates(expected: &[f32], starts: &[usize], sd: f64) -> Result<Vec<f64>, CalciumError> {
    let numbers = || expected.iter().filter(|e| !e.is_nan());
    let mean = numbers().map(|&e| f64::from(e)).sum::<f64>() / numbers().count() as f64;
    let mut rates = Vec::with_capacity(expected.len());
    for trial in trials(expected.len(), starts) {
        let expected: Vec<f64> = expected[trial].iter().map(|&e| e.into()).collect();
        match expected.iter().all(|e| e.is_nan()) {
            true => rates.extend(expected.iter().map(|_| mean)),
            false => rates.extend(gaussian_smoothing(&expected, sd)?),
        }
    }
    let mixed = |rate: f64| match rate.is_nan() {
        true => mean,
        false => (1.0 - OF_MEAN) * rate + OF_MEAN * mean,
    };
    Ok(rates.into_iter().map(mixed).collect())
}
