//! How far the network's word on a trace is from the truth, and the gradient of that.

use calcium::network::grid::WORKING_RATE_HZ;
use calcium::network::layers::{N_OUTPUTS, N_TRAITS, Raw};

use crate::example::Example;
use crate::recipe::LossWeights;

/// Widths of the Gaussians that smooth spikes before they are correlated, in seconds.
pub const SMOOTHING_S: [f64; 2] = [0.05, 0.2];

/// Fewest spikes for a correlation to mean something.
const MIN_SPIKES: f64 = 3.0;

/// Keeps a correlation differentiable where nothing is inferred.
const MIN_NORM: f64 = 1e-3;

/// Least expected spikes in a frame, in logarithms.
const MIN_MEAN: f64 = 1e-4;

/// Least excess of the variance over Poisson's.
const MIN_EXCESS: f64 = 1e-3;

/// Spikes added where a likelihood is divided by their number: silent traces count too.
const PRIOR_SPIKES: f64 = 8.0;

/// Working frames of a window in which counts follow a negative binomial.
const WINDOW: usize = WORKING_RATE_HZ as usize;

/// A loss and its gradient by what the network said.
pub struct Loss {
    /// The weighted sum of all parts.
    pub value: f64,
    /// As [`Raw::frames`].
    pub frames: Vec<f32>,
    /// As [`Raw::traits`].
    pub traits: [f32; 2 * N_TRAITS],
}

/// Compares the network's word on an example with the truth.
pub fn loss(raw: &Raw, example: &Example, weights: LossWeights) -> Loss {
    let (pairs, _) = raw.frames.as_chunks::<N_OUTPUTS>();
    let mean: Vec<f64> = pairs.iter().map(|pair| softplus(pair[0].into())).collect();
    let excess: Vec<f64> = pairs.iter().map(|pair| softplus(pair[1].into())).collect();
    let counts: Vec<f64> = example.counts.iter().map(|&count| count.into()).collect();
    let present: Vec<f64> = example.chunk.present.iter().map(|&p| p.into()).collect();
    let mut sum = Sum {
        value: 0.0,
        by_mean: vec![0.0; mean.len()],
        by_excess: vec![0.0; mean.len()],
    };
    let truth = Truth {
        counts: &counts,
        present: &present,
        n_spikes: counts.iter().zip(&present).map(|(c, p)| c * p).sum(),
    };
    for (weight, smoothing_s) in [weights.fine, weights.coarse].into_iter().zip(SMOOTHING_S) {
        sum.add_correlation(&mean, &truth, smoothing_s, weight);
    }
    let per_spike = 1.0 / (truth.n_spikes + PRIOR_SPIKES);
    sum.add_poisson(&mean, &truth, weights.frames * per_spike);
    sum.add_negative_binomial(&mean, &excess, &truth, weights.seconds * per_spike);
    let (value, traits) = trait_loss(&raw.traits, &example.traits);
    let by_frame = pairs.iter().zip(sum.by_mean.iter().zip(&sum.by_excess));
    Loss {
        value: sum.value + weights.traits * value,
        frames: by_frame
            .flat_map(|(pair, (by_mean, by_excess))| {
                [
                    by_mean * sigmoid(pair[0].into()),
                    by_excess * sigmoid(pair[1].into()),
                ]
            })
            .map(|gradient| gradient as f32)
            .collect(),
        traits: traits.map(|gradient| (weights.traits * gradient) as f32),
    }
}

/// What happened.
struct Truth<'a> {
    counts: &'a [f64],
    present: &'a [f64],
    /// Where there is data.
    n_spikes: f64,
}

/// A growing loss and its gradients by the expected spikes and the excess of their variance.
struct Sum {
    value: f64,
    by_mean: Vec<f64>,
    by_excess: Vec<f64>,
}

impl Sum {
    /// 1 − Pearson's correlation of both smoothed, over frames with data.
    fn add_correlation(&mut self, mean: &[f64], truth: &Truth<'_>, smoothing_s: f64, weight: f64) {
        if truth.n_spikes < MIN_SPIKES {
            return;
        }
        let kernel = gaussian(smoothing_s * WORKING_RATE_HZ);
        let centred = |values: &[f64]| centre(&smooth(values, &kernel), truth.present);
        let (a, b) = (centred(mean), centred(truth.counts));
        let (norm_a, norm_b) = (dot(&a, &a).sqrt(), dot(&b, &b).sqrt());
        let scale = 1.0 / (norm_a * norm_b + MIN_NORM);
        let r = dot(&a, &b) * scale;
        // By a: b/(|a||b| + ε) − r·|b|/(|a||b| + ε)·a/|a|.
        let along_a = if norm_a > 0.0 {
            r * scale * norm_b / norm_a
        } else {
            0.0
        };
        let by_a: Vec<f64> = a
            .iter()
            .zip(&b)
            .map(|(a, b)| b * scale - along_a * a)
            .collect();
        self.value += weight * (1.0 - r);
        let by_mean = smooth(&centre(&by_a, truth.present), &kernel);
        for (sum, by_mean) in self.by_mean.iter_mut().zip(by_mean) {
            *sum -= weight * by_mean;
        }
    }

    /// −Σ (c ln μ − μ) over frames with data.
    fn add_poisson(&mut self, mean: &[f64], truth: &Truth<'_>, weight: f64) {
        for (t, mean) in mean.iter().enumerate() {
            let (weight, count) = (weight * truth.present[t], truth.counts[t]);
            self.value += weight * (mean - count * (mean + MIN_MEAN).ln());
            self.by_mean[t] += weight * (1.0 - count / (mean + MIN_MEAN));
        }
    }

    /// −Σ ln NB(c; M, M + E) over windows, c, M and E being sums over their frames with data of the
    /// counts, of μ and of μ times the excess.
    fn add_negative_binomial(
        &mut self,
        mean: &[f64],
        excess: &[f64],
        truth: &Truth<'_>,
        weight: f64,
    ) {
        for first in (0..mean.len()).step_by(WINDOW) {
            let frames = first..(first + WINDOW).min(mean.len());
            let over = |value: &dyn Fn(usize) -> f64| {
                frames
                    .clone()
                    .map(|t| truth.present[t] * value(t))
                    .sum::<f64>()
            };
            let count = over(&|t| truth.counts[t]);
            let total = over(&|t| mean[t]) + MIN_MEAN;
            let spread = over(&|t| mean[t] * excess[t]) + MIN_EXCESS * total;
            let window = negative_binomial(count, total, spread);
            self.value += weight * window.value;
            for t in frames.clone() {
                let weight = weight * truth.present[t];
                let by_mean = window.by_mean + window.by_spread * (excess[t] + MIN_EXCESS);
                self.by_mean[t] += weight * by_mean;
                self.by_excess[t] += weight * window.by_spread * mean[t];
            }
        }
    }
}

/// −ln NB and its derivatives.
struct NegativeBinomial {
    value: f64,
    by_mean: f64,
    by_spread: f64,
}

/// −ln NB(c; mean M, variance M + E), with r = M²/E:
/// Σ_{j<c} ln((r + j)/(j + 1)) + r ln(r/(r + M)) + c ln(M/(r + M)).
fn negative_binomial(count: f64, mean: f64, spread: f64) -> NegativeBinomial {
    let r = mean * mean / spread;
    let (mut value, mut by_r) = (0.0, 0.0);
    for j in 0..count as usize {
        let j = j as f64;
        value -= ((r + j) / (j + 1.0)).ln();
        by_r -= 1.0 / (r + j);
    }
    // ln((r + M)/r), exact also for large r.
    let log_ratio = (mean / r).ln_1p();
    value += r * log_ratio - count * (mean / (r + mean)).ln();
    by_r += log_ratio + (count - mean) / (r + mean);
    let by_mean = (r + count) / (r + mean) - count / mean;
    NegativeBinomial {
        value,
        by_mean: by_mean + by_r * 2.0 * mean / spread,
        by_spread: -by_r * r / spread,
    }
}

/// Σ ½((y − m)/s)² + ln s over the traits, and its gradient by m and ln s.
fn trait_loss(said: &[f32; 2 * N_TRAITS], truth: &[f64; N_TRAITS]) -> (f64, [f64; 2 * N_TRAITS]) {
    let (mut value, mut gradient) = (0.0, [0.0; 2 * N_TRAITS]);
    for (index, truth) in truth.iter().enumerate() {
        let (mean, log_sd) = (f64::from(said[index]), f64::from(said[N_TRAITS + index]));
        let z = (truth - mean) * (-log_sd).exp();
        value += 0.5 * z * z + log_sd;
        gradient[index] = -z * (-log_sd).exp();
        gradient[N_TRAITS + index] = 1.0 - z * z;
    }
    (value, gradient)
}

/// A Gaussian of this SD in frames, of sum 1, up to four SDs on each side.
fn gaussian(sd: f64) -> Vec<f64> {
    let reach = (4.0 * sd).round() as i32;
    let values: Vec<f64> = (-reach..=reach)
        .map(|lag| (-0.5 * (f64::from(lag) / sd).powi(2)).exp())
        .collect();
    let sum: f64 = values.iter().sum();
    values.iter().map(|value| value / sum).collect()
}

/// The signal smoothed by a symmetric kernel, with zeros outside.
fn smooth(signal: &[f64], kernel: &[f64]) -> Vec<f64> {
    let reach = kernel.len() / 2;
    let mut out = vec![0.0; signal.len()];
    for (t, value) in signal
        .iter()
        .enumerate()
        .filter(|(_, value)| **value != 0.0)
    {
        let first = t.saturating_sub(reach);
        let end = (t + reach + 1).min(signal.len());
        for (out, weight) in out[first..end].iter_mut().zip(&kernel[first + reach - t..]) {
            *out += value * weight;
        }
    }
    out
}

/// The signal less its mean over frames with data; 0 elsewhere.
fn centre(signal: &[f64], present: &[f64]) -> Vec<f64> {
    let n = present.iter().sum::<f64>().max(1.0);
    let mean = dot(signal, present) / n;
    let pairs = signal.iter().zip(present);
    pairs
        .map(|(value, present)| present * (value - mean))
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Pearson's correlation of both smoothed, over frames with data, as a score.
pub fn correlation(inferred: &[f64], counts: &[f64], present: &[f64], smoothing_s: f64) -> f64 {
    let kernel = gaussian(smoothing_s * WORKING_RATE_HZ);
    let a = centre(&smooth(inferred, &kernel), present);
    let b = centre(&smooth(counts, &kernel), present);
    let norms = (dot(&a, &a) * dot(&b, &b)).sqrt();
    if norms > 0.0 {
        dot(&a, &b) / norms
    } else {
        0.0
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use calcium::network::grid::Normalised;

    fn example(n: usize) -> Example {
        Example {
            chunk: Normalised {
                x: vec![0.0; n],
                present: (0..n).map(|t| f32::from(u8::from(t % 7 != 3))).collect(),
                zero: 0.0,
                noise_sd: 1.0,
            },
            counts: (0..n)
                .map(|t| [0.0, 0.0, 1.0, 0.0, 3.0][t * t % 5])
                .collect(),
            traits: [-2.0, -0.5, 1.0],
        }
    }

    /// Each part of the loss alone against central differences.
    #[test]
    fn gradients_match_central_differences() {
        let none = LossWeights {
            fine: 0.0,
            coarse: 0.0,
            frames: 0.0,
            seconds: 0.0,
            traits: 0.0,
        };
        let example = example(47);
        let raw = Raw {
            frames: (0..94).map(|i| (i * 37 % 11) as f32 / 4.0 - 1.5).collect(),
            traits: [-1.5, -0.25, 0.5, 0.25, -0.5, 0.125],
        };
        for weights in [
            LossWeights { fine: 1.0, ..none },
            LossWeights {
                coarse: 1.0,
                ..none
            },
            LossWeights {
                frames: 1.0,
                ..none
            },
            LossWeights {
                seconds: 1.0,
                ..none
            },
            LossWeights {
                traits: 1.0,
                ..none
            },
        ] {
            let got = loss(&raw, &example, weights);
            let step = 1.0 / 1024.0;
            let difference = |change: &dyn Fn(&mut Raw, f32)| {
                let at = |offset: f32| {
                    let mut raw = raw.clone();
                    change(&mut raw, offset);
                    loss(&raw, &example, weights).value
                };
                (at(step) - at(-step)) / (2.0 * f64::from(step))
            };
            for index in 0..raw.frames.len() {
                let want = difference(&|raw, offset| raw.frames[index] += offset);
                let got = f64::from(got.frames[index]);
                assert!(
                    (got - want).abs() < 1e-5,
                    "{weights:?} {index}: {got}, {want}"
                );
            }
            for index in 0..raw.traits.len() {
                let want = difference(&|raw, offset| raw.traits[index] += offset);
                let got = f64::from(got.traits[index]);
                assert!(
                    (got - want).abs() < 1e-4,
                    "{weights:?} {index}: {got}, {want}"
                );
            }
        }
    }

    #[test]
    fn negative_binomial_probabilities_add_to_one_and_have_the_given_moments() {
        let (mean, spread) = (2.5, 4.0);
        let p = |count: usize| (-negative_binomial(count as f64, mean, spread).value).exp();
        let moment = |power: i32| (0..200).map(|c| p(c) * (c as f64).powi(power)).sum::<f64>();
        assert!((moment(0) - 1.0).abs() < 1e-9);
        assert!((moment(1) - mean).abs() < 1e-9);
        assert!((moment(2) - mean * mean - mean - spread).abs() < 1e-6);
    }

    #[test]
    fn the_truth_has_correlation_one() {
        let example = example(90);
        let counts: Vec<f64> = example.counts.iter().map(|&c| c.into()).collect();
        let present: Vec<f64> = example.chunk.present.iter().map(|&p| p.into()).collect();
        for smoothing_s in SMOOTHING_S {
            let r = correlation(&counts, &counts, &present, smoothing_s);
            assert!((r - 1.0).abs() < 1e-12);
        }
    }
}
