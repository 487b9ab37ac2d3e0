//! Do inferred inputs tell when something drove the system?

use ndarray::{ArrayView2, ArrayView3, Axis};

use crate::MetricsError;
use crate::error::check_finite;

/// How well inferred inputs tell of the one pulse that each trial has.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PulseTiming {
    /// Share of the trials in which the pulse is said to be at most `tolerance` bins away from where it was.
    pub found: f64,
    /// The same if it is said to be in the one bin where the inferred input is longest, the first among them.
    pub found_by_longest: f64,
    /// The median distance between the two, in bins, of the first.
    pub median_distance: f64,
    /// Mean squared length of the inferred inputs at most `tolerance` bins away from the pulse, relative to that
    /// elsewhere: 1 if they know nothing of it.
    pub energy_ratio: f64,
}

impl PulseTiming {
    /// Bins by which benchmarks let an inferred pulse miss the true one.
    pub const TOLERANCE: usize = 2;
}

/// Compares inferred inputs with the pulse of each trial. There is no threshold: a trial's pulse is said to be at the centre
/// of mass of those `2 · tolerance + 1` bins in a row in which the inferred inputs together have the most energy (squared length),
/// since what is not sure of a time is spread over neighbours. The first bin is left out: an input there is an initial
/// condition by another name. A true pulse is where the true input is longest; trials without one, or with one in the first bin, do not
/// count.
///
/// # Shapes
/// `inferred`: `[trial, time, input]`; `truth`: `[trial, time, true input]`, any number of them.
/// # Units
/// `tolerance` and distances: bins.
/// # Errors
/// Trials or times that do not agree, values that are not finite, no trial with a pulse.
/// # Example
/// ```
/// use metrics::pulse_timing;
/// use ndarray::array;
///
/// let truth = array![[[0.0], [0.0], [3.0], [0.0], [0.0], [0.0]]];
/// let inferred = array![[[0.1, 0.0], [0.0, 0.1], [0.1, 0.0], [0.0, -2.0], [0.1, 0.0], [0.1, 0.0]]];
/// let timing = pulse_timing(inferred.view(), truth.view(), 1)?;
/// assert_eq!((timing.found, timing.median_distance), (1.0, 1.0));
/// assert!(timing.energy_ratio > 100.0);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn pulse_timing(
    inferred: ArrayView3<'_, f32>,
    truth: ArrayView3<'_, f32>,
    tolerance: usize,
) -> Result<PulseTiming, MetricsError> {
    if inferred.shape()[..2] != truth.shape()[..2] {
        return Err(MetricsError::ShapeMismatch {
            left: "inferred",
            left_shape: inferred.shape().to_vec(),
            right: "truth",
            right_shape: truth.shape().to_vec(),
            must_agree: "trials and times",
        });
    }
    check_finite("inferred", inferred)?;
    check_finite("truth", truth)?;
    let (mut distances, mut n_by_longest) = (Vec::new(), 0);
    let [mut near, mut far] = [Energy::default(), Energy::default()];
    let trials = inferred.outer_iter().zip(truth.outer_iter());
    for (inferred, truth) in trials {
        let (inferred, truth) = (squared_lengths(inferred), squared_lengths(truth));
        let pulse = longest(&truth);
        if pulse == 0 || truth.get(pulse).is_none_or(|length| *length == 0.0) {
            continue;
        }
        distances.push(densest(&inferred, 2 * tolerance + 1).abs_diff(pulse));
        n_by_longest += u32::from(longest(&inferred).abs_diff(pulse) <= tolerance);
        for (bin, energy) in inferred.into_iter().enumerate().skip(1) {
            let to = match bin.abs_diff(pulse) <= tolerance {
                true => &mut near,
                false => &mut far,
            };
            to.add(energy);
        }
    }
    let n_trials = distances.len();
    if n_trials == 0 {
        return Err(MetricsError::ConstantTruth { value: 0.0 });
    }
    let n_found = distances.iter().filter(|d| **d <= tolerance).count();
    distances.sort_unstable();
    let middle = distances[(n_trials - 1) / 2] + distances[n_trials / 2];
    Ok(PulseTiming {
        found: n_found as f64 / n_trials as f64,
        found_by_longest: f64::from(n_by_longest) / n_trials as f64,
        median_distance: middle as f64 / 2.0,
        energy_ratio: near.mean() / far.mean(),
    })
}

/// Of each bin of `[time, input]`.
fn squared_lengths(inputs: ArrayView2<'_, f32>) -> Vec<f64> {
    let square = |x: &f32| f64::from(*x).powi(2);
    let lengths = inputs.axis_iter(Axis(0));
    lengths.map(|u| u.iter().map(square).sum()).collect()
}

/// The first bin with the greatest value; 0 if there is none.
fn longest(lengths: &[f64]) -> usize {
    let bins = (0..lengths.len()).rev();
    bins.max_by(|&a, &b| lengths[a].total_cmp(&lengths[b]))
        .unwrap_or(0)
}

/// Centre of mass of the `width` bins in a row, or all there are, with the most energy, the first bin left out; of equals, the
/// first.
fn densest(energies: &[f64], width: usize) -> usize {
    let later = energies.get(1..).unwrap_or_default();
    let sum = |window: &[f64]| window.iter().sum::<f64>();
    let windows = later
        .windows(width.clamp(1, later.len().max(1)))
        .enumerate();
    let densest = windows
        .rev()
        .max_by(|(_, a), (_, b)| sum(a).total_cmp(&sum(b)));
    let Some((first, window)) = densest else {
        return 0;
    };
    let weighted = |(bin, energy): (usize, &f64)| bin as f64 * energy;
    let moment: f64 = window.iter().enumerate().map(weighted).sum();
    let centre = match sum(window) {
        total if total > 0.0 => moment / total,
        _ => (window.len() - 1) as f64 / 2.0,
    };
    1 + first + centre.round() as usize
}

#[derive(Default)]
struct Energy {
    sum: f64,
    n_bins: usize,
}

impl Energy {
    fn add(&mut self, energy: f64) {
        self.sum += energy;
        self.n_bins += 1;
    }

    fn mean(&self) -> f64 {
        self.sum / self.n_bins as f64
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};
    use proptest::prelude::*;

    use super::*;

    /// One trial for each bin of `pulses`, all of one input.
    fn pulses(n_bins: usize, pulses: &[usize], height: f32) -> Array3<f32> {
        Array3::from_shape_fn((pulses.len(), n_bins, 1), |(trial, bin, _)| {
            if bin == pulses[trial] { height } else { 0.1 }
        })
    }

    proptest! {
        /// Late by the same everywhere, the distance is that, and the scale of the inputs means nothing.
        #[test]
        fn a_late_answer_is_as_far_as_it_is_late(
            at in prop::collection::vec(1_usize..30, 1..20), late in 0_usize..8, height in 1.0_f32..9.0,
        ) {
            let truth = pulses(40, &at, height);
            let after: Vec<usize> = at.iter().map(|bin| bin + late).collect();
            let inferred = pulses(40, &after, -2.0);
            let timing = pulse_timing(inferred.view(), truth.view(), 2).unwrap();
            prop_assert_eq!((timing.found > 0.5, timing.found_by_longest > 0.5), (late <= 2, late <= 2));
            prop_assert!((timing.median_distance - late as f64).abs() < 1e-9);
            prop_assert_eq!(timing.energy_ratio > 1.0, late <= 2);
        }
    }

    #[test]
    fn inputs_that_know_nothing_have_the_same_energy_everywhere() {
        let truth = pulses(20, &[5, 9], 1.0);
        let inferred = Array3::from_elem((2, 20, 3), 0.4);
        let timing = pulse_timing(inferred.view(), truth.view(), 2).unwrap();
        assert!((timing.energy_ratio - 1.0).abs() < 1e-6);
        // Bins 1 to 5 are as good as any.
        let both = (timing.found, timing.found_by_longest);
        assert_eq!((both, timing.median_distance), ((0.5, 0.0), 4.0));
    }

    #[test]
    fn a_pulse_of_which_the_time_is_not_sure_is_in_the_middle_and_initial_conditions_are_none() {
        let truth = pulses(20, &[10], 1.0);
        let mut inferred = Array3::zeros((1, 20, 2));
        // The first bin is the largest, another the largest behind it; the most is spread around the pulse.
        for (bin, length) in [(0, 5.0), (3, 1.1), (8, 0.8), (9, 0.9), (11, 1.0), (12, 0.8)] {
            inferred[[0, bin, bin % 2]] = length;
        }
        let timing = pulse_timing(inferred.view(), truth.view(), 2).unwrap();
        let both = (timing.found, timing.found_by_longest);
        assert_eq!((both, timing.median_distance), ((1.0, 0.0), 0.0));
        assert!((timing.energy_ratio - 14.0 * 3.09 / (5.0 * 1.21)).abs() < 1e-5);
        let at_start = pulses(20, &[0], 1.0);
        assert!(pulse_timing(inferred.view(), at_start.view(), 2).is_err());
    }

    #[test]
    fn trials_without_a_pulse_do_not_count_and_shapes_must_agree() {
        let truth = array![[[0.0], [0.0], [1.0]], [[0.0], [0.0], [0.0]]];
        let inferred = array![[[0.0], [0.0], [1.0]], [[9.0], [0.0], [0.0]]];
        let timing = pulse_timing(inferred.view(), truth.view(), 0).unwrap();
        assert_eq!((timing.found, timing.energy_ratio), (1.0, f64::INFINITY));
        let none = truth.slice(ndarray::s![1.., .., ..]);
        let error = pulse_timing(none, none, 0).unwrap_err();
        assert_eq!(error, MetricsError::ConstantTruth { value: 0.0 });
        let short = inferred.slice(ndarray::s![.., ..2, ..]);
        let error = pulse_timing(short, truth.view(), 0).unwrap_err();
        assert!(error.to_string().contains("[2, 2, 1]"), "{error}");
    }
}
