//! Gaussian smoothing over time: the simplest estimate of a rate.

use std::ops::Range;

use ndarray::{Array3, ArrayView1, ArrayView3, Axis};

/// Weights beyond so many SDs count as none.
const REACH: f64 = 4.0;

/// Smooths over time by a Gaussian of `sd_frames` frames; gaps and ends do not count, so that a constant
/// stays one.
///
/// # Shapes
/// `[trial, time, neuron]` both. A frame with no value within four SDs is NaN, and so is one outside the
/// stretch from a neuron's first value in a trial to its last.
/// # Units
/// Those of `activity`.
/// # Example
/// ```
/// use metrics::smoothed;
/// use ndarray::array;
///
/// let activity = array![[[0.0], [f32::NAN], [2.0], [f32::NAN]]];
/// let smooth = smoothed(activity.view(), 1.0);
/// assert!((smooth[[0, 1, 0]] - 1.0).abs() < 1e-6);
/// assert!(smooth[[0, 3, 0]].is_nan());
/// ```
pub fn smoothed(activity: ArrayView3<'_, f32>, sd_frames: f64) -> Array3<f32> {
    smoothed_over(activity, sd_frames, |t, reach| {
        t.saturating_sub(reach)..t + reach + 1
    })
}

/// The same by the half of the Gaussian that lies behind each frame, itself included: what is known of the rate while
/// nothing of what comes is.
///
/// # Shapes
/// As of [`smoothed`].
/// # Example
/// ```
/// use metrics::smoothed_from_past;
/// use ndarray::array;
///
/// let activity = array![[[1.0], [1.0], [7.0]]];
/// let smooth = smoothed_from_past(activity.view(), 1.0);
/// assert!(smooth[[0, 1, 0]] == 1.0 && smooth[[0, 2, 0]] > 3.0);
/// ```
pub fn smoothed_from_past(activity: ArrayView3<'_, f32>, sd_frames: f64) -> Array3<f32> {
    smoothed_over(activity, sd_frames, |t, reach| {
        t.saturating_sub(reach)..t + 1
    })
}

/// Smoothed over those frames that `near` says belong to a frame, given how far weights reach.
fn smoothed_over(
    activity: ArrayView3<'_, f32>,
    sd_frames: f64,
    near: impl Fn(usize, usize) -> Range<usize>,
) -> Array3<f32> {
    let weights = weights(sd_frames);
    let mut smooth = Array3::from_elem(activity.dim(), f32::NAN);
    for (mut to, from) in smooth.outer_iter_mut().zip(activity.outer_iter()) {
        let neurons = to.axis_iter_mut(Axis(1)).zip(from.axis_iter(Axis(1)));
        for (mut to, from) in neurons {
            let present = |t: &usize| from[*t].is_finite();
            let first = (0..from.len()).find(present);
            let Some((first, last)) = first.zip((0..from.len()).rfind(present)) else {
                continue;
            };
            for t in first..=last {
                to[t] = mean(from, &weights, t, near(t, weights.len() - 1));
            }
        }
    }
    smooth
}

/// One side of the Gaussian, from its middle outwards.
fn weights(sd_frames: f64) -> Vec<f64> {
    let n = (REACH * sd_frames).floor() as usize;
    let weight = |lag: usize| (-0.5 * (lag as f64 / sd_frames).powi(2)).exp();
    (0..=n)
        .map(|lag| if lag == 0 { 1.0 } else { weight(lag) })
        .collect()
}

fn mean(values: ArrayView1<'_, f32>, weights: &[f64], t: usize, near: Range<usize>) -> f32 {
    let (mut sum, mut total) = (0.0, 0.0);
    for other in near.start..near.end.min(values.len()) {
        let value = f64::from(values[other]);
        if value.is_finite() {
            let weight = weights[other.abs_diff(t)];
            sum += weight * value;
            total += weight;
        }
    }
    (sum / total) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_constant_stays_one_whatever_is_missing(
            present in prop::collection::vec(any::<bool>(), 1..60),
            level in -5.0_f32..5.0, sd in 0.0_f64..8.0,
        ) {
            let trace = Array3::from_shape_fn((1, present.len(), 1), |(_, t, _)| {
                if present[t] { level } else { f32::NAN }
            });
            let smooth = smoothed(trace.view(), sd);
            for (t, &is_present) in present.iter().enumerate() {
                let value = smooth[[0, t, 0]];
                prop_assert!(!is_present || (value - level).abs() < 1e-5);
                prop_assert!(value.is_nan() || (value - level).abs() < 1e-5);
            }
        }

        #[test]
        fn an_impulse_becomes_the_gaussian(sd in 1.0_f64..5.0) {
            let mut trace = Array3::zeros((1, 81, 1));
            trace[[0, 40, 0]] = 1.0;
            let smooth = smoothed(trace.view(), sd);
            let moment = |power: i32| -> f64 {
                (0..81).map(|t| f64::from(smooth[[0, t, 0]]) * (t as f64 - 40.0).powi(power)).sum()
            };
            prop_assert!((moment(0) - 1.0).abs() < 1e-4);
            prop_assert!((moment(2).sqrt() / sd - 1.0).abs() < 0.04, "{}", moment(2).sqrt());
        }
    }
}
