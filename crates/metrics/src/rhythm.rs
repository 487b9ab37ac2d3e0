//! A rhythm that all signals share at the same phase: an artefact, in signals of many neurons.

use std::f64::consts::TAU;

use ndarray::{Array2, ArrayView1, ArrayView3, Axis, s};

/// Length of a stretch, seconds and frames at most: frequencies are told apart by its inverse.
const STRETCH_S: f64 = 20.0;
const MAX_FRAMES: usize = 512;
/// Stretches and signals that are looked at, at most.
const MAX_STRETCHES: usize = 40;
const MAX_SIGNALS: usize = 100;
/// Fewer signals are in phase by chance.
const LEAST_SIGNALS: usize = 8;
/// Share of the power at a frequency that is in phase, and how many times that of frequencies nearby.
const IN_PHASE: f64 = 0.3;
const ABOVE_OTHERS: f64 = 3.0;

/// Frequency, Hz, at which most signals rise and fall together and not at those nearby: none where no
/// frequency stands out. Neurons that fire in a rhythm do so at their own phases; light, breath and
/// scanners move all traces at once.
///
/// The share of the power that is in phase, |Σ zₙ|² over N Σ |zₙ|² with zₙ(f) the Fourier coefficients of
/// the signals in stretches of twenty seconds, is 1/N of independent signals and 1 of equal ones.
///
/// # Shapes
/// `[trial, time, neuron]`; what is missing counts as the mean.
/// # Example
/// ```
/// use metrics::shared_rhythm_hz;
/// use ndarray::Array3;
///
/// let wave = |t: usize| (0.4 * 0.05 * t as f32 * std::f32::consts::TAU).sin();
/// let noise = |t: usize, n: usize| ((t * 7919 + n * 104729) % 1009) as f32 / 300.0;
/// let traces = Array3::from_shape_fn((1, 2000, 20), |(_, t, n)| wave(t) + noise(t, n));
/// assert!((shared_rhythm_hz(traces.view(), 0.05).unwrap() - 0.4).abs() < 0.06);
/// ```
pub fn shared_rhythm_hz(signals: ArrayView3<'_, f32>, dt_s: f64) -> Option<f64> {
    let (n_trials, n_frames, n_signals) = signals.dim();
    let length = ((STRETCH_S / dt_s) as usize).min(MAX_FRAMES).min(n_frames);
    if n_signals < LEAST_SIGNALS || length < 32 {
        return None;
    }
    let stretches: Vec<(usize, usize)> = (0..n_trials)
        .flat_map(|trial| {
            let starts = (0..=n_frames - length).step_by(length);
            starts.map(move |start| (trial, start))
        })
        .collect();
    let wave = Waves::of(length);
    let mut power = vec![[0.0, 0.0]; length / 2];
    let stride = stretches.len().div_ceil(MAX_STRETCHES);
    for &(trial, start) in stretches.iter().step_by(stride) {
        let mut together = vec![[0.0; 2]; length / 2];
        let mut n = 0.0;
        for signal in (0..n_signals).step_by(n_signals.div_ceil(MAX_SIGNALS)) {
            let stretch = signals.slice(s![trial, start..start + length, signal]);
            let Some(stretch) = standardised(stretch) else {
                continue;
            };
            n += 1.0;
            for (bin, (sum, power)) in together.iter_mut().zip(&mut power).enumerate() {
                let [re, im] = wave.coefficient(bin, &stretch);
                sum[0] += re;
                sum[1] += im;
                power[1] += re * re + im * im;
            }
        }
        for (sum, power) in together.iter().zip(&mut power) {
            power[0] += (sum[0] * sum[0] + sum[1] * sum[1]) / f64::max(n, 1.0);
        }
    }
    let shares: Vec<f64> = power
        .iter()
        .map(|[together, all]| together / all.max(f64::MIN_POSITIVE))
        .collect();
    standing_out(&shares).map(|bin| bin as f64 / (length as f64 * dt_s))
}

/// Cosines and sines, `[bin, time]`.
struct Waves {
    cos: Array2<f64>,
    sin: Array2<f64>,
}

impl Waves {
    fn of(length: usize) -> Self {
        let angle = |(bin, t): (usize, usize)| TAU * ((bin * t) % length) as f64 / length as f64;
        Self {
            cos: Array2::from_shape_fn((length / 2, length), |place| angle(place).cos()),
            sin: Array2::from_shape_fn((length / 2, length), |place| angle(place).sin()),
        }
    }

    fn coefficient(&self, bin: usize, stretch: &[f64]) -> [f64; 2] {
        [&self.cos, &self.sin].map(|waves| {
            let wave = waves.index_axis(Axis(0), bin);
            wave.iter().zip(stretch).map(|(w, x)| w * x).sum()
        })
    }
}

/// Less its mean, over its SD, under a Hann window; nothing for a signal that does not vary.
fn standardised(stretch: ArrayView1<'_, f32>) -> Option<Vec<f64>> {
    let present = stretch
        .iter()
        .filter(|x| x.is_finite())
        .map(|&x| f64::from(x));
    let n = present.clone().count() as f64;
    let mean = present.clone().sum::<f64>() / n;
    let sd = (present.map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let length = stretch.len() as f64;
    let value = |(t, &x): (usize, &f32)| {
        let hann = 0.5 * (1.0 - (TAU * (t as f64 + 0.5) / length).cos());
        match x.is_finite() {
            true => hann * (f64::from(x) - mean) / sd,
            false => 0.0,
        }
    };
    (sd > 0.0).then(|| stretch.iter().enumerate().map(value).collect())
}

/// The bin with the largest share, if it is large and those some bins away are not.
fn standing_out(shares: &[f64]) -> Option<usize> {
    let candidates = 3..shares.len();
    let best = candidates.max_by(|&a, &b| shares[a].total_cmp(&shares[b]))?;
    let mut nearby: Vec<f64> = (3..9_usize)
        .flat_map(|away| [best.checked_sub(away), best.checked_add(away)])
        .flatten()
        .filter_map(|bin| shares.get(bin).copied())
        .collect();
    nearby.sort_by(f64::total_cmp);
    let usual = nearby.get(nearby.len() / 2).copied().unwrap_or(1.0);
    (shares[best] > IN_PHASE && shares[best] > ABOVE_OTHERS * usual).then_some(best)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    fn noise(t: usize, n: usize) -> f32 {
        let x =
            (t.wrapping_mul(2_654_435_761) ^ n.wrapping_mul(40_503).wrapping_mul(7_919)) % 65_521;
        x as f32 / 19_000.0
    }

    #[test]
    fn neurons_at_their_own_phases_share_no_rhythm() {
        let traces = |phase: f32| {
            Array3::from_shape_fn((1, 4000, 30), |(_, t, n)| {
                let angle = std::f32::consts::TAU * 0.8 * 0.05 * t as f32 + phase * n as f32;
                2.0 * angle.sin() + noise(t, n)
            })
        };
        assert_eq!(shared_rhythm_hz(traces(1.0).view(), 0.05), None);
        let found = shared_rhythm_hz(traces(0.0).view(), 0.05).unwrap();
        assert!((found - 0.8).abs() < 0.06, "{found}");
    }

    #[test]
    fn a_shared_rhythm_is_found_whatever_its_phase_and_each_neurons_scale() {
        let traces = |hz: f32, phase: f32, n_frames: usize, n_neurons: usize| {
            Array3::from_shape_fn((1, n_frames, n_neurons), |(_, t, n)| {
                let angle = std::f32::consts::TAU * hz * 0.05 * t as f32 + phase;
                // Some are louder, and none is heard more for it.
                (1.3 * angle.sin() + noise(t, n)) * 10_f32.powi(n as i32 % 5) + 50.0
            })
        };
        for phase in [0.0, 0.8, 1.571, 3.5] {
            let found = shared_rhythm_hz(traces(0.8, phase, 4000, 30).view(), 0.05);
            assert!(
                found.is_some_and(|hz| (hz - 0.8).abs() < 0.06),
                "{phase}: {found:?}"
            );
        }
        for (n_frames, n_neurons, is_enough) in [
            (4000, LEAST_SIGNALS - 1, false),
            (4000, LEAST_SIGNALS, true),
            (31, 30, false),
            (32, 30, true),
        ] {
            let little = traces(5.0, 0.3, n_frames, n_neurons);
            let found = shared_rhythm_hz(little.view(), 0.05);
            assert_eq!(
                found.is_some(),
                is_enough,
                "{n_frames} of {n_neurons}: {found:?}"
            );
        }
        // One neuron's own, however loud.
        let mut own = Array3::from_shape_fn((1, 4000, 30), |(_, t, n)| noise(t, n));
        let loud = own.slice_mut(s![0, .., 4]);
        for (t, x) in loud.into_iter().enumerate() {
            *x += 1e4 * (std::f32::consts::TAU * 0.8 * 0.05 * t as f32).sin();
        }
        assert_eq!(shared_rhythm_hz(own.view(), 0.05), None);
    }

    #[test]
    fn a_stretch_is_standardised_where_it_has_values() {
        let values = [1.0, f32::NAN, 5.0, 3.0];
        let found = standardised(ndarray::aview1(&values)).unwrap();
        // Mean 3, variance 8/3; the window is sin² of odd eighths of a half turn.
        let sd = (8.0_f64 / 3.0).sqrt();
        let window = [1.0, 3.0, 5.0, 7.0].map(|k| (TAU / 16.0 * k).sin().powi(2));
        let expected = [window[0] * -2.0 / sd, 0.0, window[2] * 2.0 / sd, 0.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(standardised(ndarray::aview1(&[2.0, 2.0])), None);
    }

    #[test]
    fn slow_waves_that_all_share_are_no_rhythm() {
        // Neuropil, say: a random walk that decays.
        let mut state = 0.0_f32;
        let shared: Vec<f32> = (0..4000)
            .map(|t| {
                state = 0.97 * state + noise(t, 77) - 1.7;
                state
            })
            .collect();
        let traces = Array3::from_shape_fn((1, 4000, 30), |(_, t, n)| shared[t] + noise(t, n));
        assert_eq!(shared_rhythm_hz(traces.view(), 0.05), None);
    }

    #[test]
    fn little_data_tells_nothing() {
        let few = Array3::from_shape_fn((1, 400, 3), |(_, t, _)| (t as f32).sin());
        assert_eq!(shared_rhythm_hz(few.view(), 0.05), None);
        let nothing = Array3::from_elem((2, 100, 20), f32::NAN);
        assert_eq!(shared_rhythm_hz(nothing.view(), 0.05), None);
    }
}
