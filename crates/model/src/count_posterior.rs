//! Samples of the spike counts behind one trace, given the rates: the exact posterior up to
//! a Gaussian view of spikes two or more frames ahead.

use crate::ladder::Indicator;

/// Frames whose likelihood lies further than this many standard deviations are not considered.
const REACH_SD: f64 = 4.5;
/// Most counts considered in one frame.
const MAX_WINDOW: usize = 48;

/// An indicator with Poisson spikes and Gaussian noise, seen through one trace:
///
/// s_t ~ Poisson(μ_t), y_t = g y_{t−1} + gain·s_t + baseline with y_0 = 0, x_t ~ N(y_t, noise²).
///
/// [`sample`](Self::sample) draws s_1, s_2, … in order from q(s_t | y_{t−1}, x_t, x_{t+1}, …):
/// the current and the next frame's counts are enumerated, and what later frames say of the
/// calcium is a Gaussian message, passed backward, in which future spikes have their Poisson
/// mean and variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SpikePosterior {
    g: f64,
    gain: f64,
    baseline: f64,
    precision: f64,
}

/// One sample, and the memory to draw it in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpikeSample {
    /// E[s_t | the sample before t, the trace], counts per frame, `[time]`.
    pub expected: Vec<f32>,
    /// The sampled counts, `[time]`.
    pub counts: Vec<f32>,
    /// Their calcium, `[time]`.
    pub calcium: Vec<f32>,
    messages: Vec<Message>,
}

/// What a frame and all later ones say of the calcium in it: N(mean, 1/precision).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Message {
    mean: f64,
    precision: f64,
}

impl SpikeSample {
    /// Room for a trace of `n_bins` frames.
    pub fn new(n_bins: usize) -> Self {
        Self {
            expected: vec![0.0; n_bins],
            counts: vec![0.0; n_bins],
            calcium: vec![0.0; n_bins],
            messages: vec![Message::default(); n_bins],
        }
    }
}

impl SpikePosterior {
    /// An indicator and its noise, in fluorescence units; g in [0, 1), gain and noise positive.
    pub fn new(indicator: Indicator, noise_sd: f64) -> Self {
        Self {
            g: indicator.g,
            gain: indicator.gain,
            baseline: indicator.baseline,
            precision: noise_sd.powi(-2),
        }
    }

    /// Draws one sample; `uniforms` in [0, 1) choose it. Returns ln q(counts).
    ///
    /// # Shapes
    /// `trace` (NaN: no data), `mean_counts` (μ, above 0), `uniforms`: `[time]`.
    /// # Panics
    /// If the slices and `sample` differ in length.
    pub fn sample(
        &self,
        trace: &[f32],
        mean_counts: &[f32],
        uniforms: &[f32],
        sample: &mut SpikeSample,
    ) -> f64 {
        let n_bins = sample.counts.len();
        assert_eq!(
            [trace.len(), mean_counts.len(), uniforms.len()],
            [n_bins; 3],
            "trace, mean_counts and uniforms must have the sample's length {n_bins}"
        );
        self.pass_back(trace, mean_counts, &mut sample.messages);
        let mut calcium = 0.0;
        let mut log_q = 0.0;
        for bin in 0..n_bins {
            let before = self.g * calcium + self.baseline;
            let mut choice = self.choice(trace, mean_counts, &sample.messages, bin, before);
            let total = choice.normalise();
            let (count, probability) = choice.pick(f64::from(uniforms[bin]) * total);
            calcium = before + self.gain * count;
            log_q += (probability / total).ln();
            sample.expected[bin] = (choice.mean() / total) as f32;
            sample.counts[bin] = count as f32;
            sample.calcium[bin] = calcium as f32;
        }
        log_q
    }

    /// The backward messages: Kalman's information filter with spikes of mean and variance μ.
    fn pass_back(&self, trace: &[f32], mean_counts: &[f32], messages: &mut [Message]) {
        let mut later: Option<(Message, f64)> = None;
        for bin in (0..trace.len()).rev() {
            let (mut precision, mut information) = match later {
                Some((message, mean_count)) if message.precision > 0.0 => {
                    let drive = self.gain * mean_count + self.baseline;
                    let variance = 1.0 / message.precision + self.gain * self.gain * mean_count;
                    (
                        self.g * self.g / variance,
                        self.g * (message.mean - drive) / variance,
                    )
                }
                _ => (0.0, 0.0),
            };
            let x = f64::from(trace[bin]);
            if !x.is_nan() {
                precision += self.precision;
                information += self.precision * x;
            }
            let mean = if precision > 0.0 {
                information / precision
            } else {
                0.0
            };
            messages[bin] = Message { mean, precision };
            later = Some((messages[bin], f64::from(mean_counts[bin])));
        }
    }

    /// Log-weights of the counts of `bin`, given the calcium carried over from before.
    fn choice(
        &self,
        trace: &[f32],
        mean_counts: &[f32],
        messages: &[Message],
        bin: usize,
        before: f64,
    ) -> Choice {
        let mean_count = f64::from(mean_counts[bin]);
        let mut choice = self.window(&messages[bin], mean_count, before);
        let x = f64::from(trace[bin]);
        for index in 0..choice.len {
            let calcium = before + self.gain * choice.count(index);
            let ahead = match messages.get(bin + 1) {
                Some(message) => {
                    let own = if x.is_nan() {
                        0.0
                    } else {
                        -0.5 * self.precision * (x - calcium).powi(2)
                    };
                    own + self.log_evidence_of_next(
                        message,
                        f64::from(mean_counts[bin + 1]),
                        self.g * calcium + self.baseline,
                    )
                }
                None => messages[bin].log_density(calcium),
            };
            choice.weights[index] += ahead;
        }
        choice
    }

    /// ln Σ_k Poisson(k; μ) · message(before + gain·k), constants left out.
    fn log_evidence_of_next(&self, message: &Message, mean_count: f64, before: f64) -> f64 {
        let mut next = self.window(message, mean_count, before);
        for index in 0..next.len {
            next.weights[index] += message.log_density(before + self.gain * next.count(index));
        }
        let greatest = next.greatest();
        let sum: f64 = next.weights[..next.len]
            .iter()
            .map(|weight| (weight - greatest).exp())
            .sum();
        greatest + sum.ln() - mean_count
    }

    /// The counts that are worth a look, with their Poisson log-weights k ln μ − ln k!.
    fn window(&self, message: &Message, mean_count: f64, before: f64) -> Choice {
        let (mut low, mut high) = (mean_count, mean_count);
        let mut reach = REACH_SD * mean_count.max(1.0).sqrt();
        if message.precision > 0.0 {
            let wanted = (message.mean - before) / self.gain;
            low = low.min(wanted);
            high = high.max(wanted);
            reach = reach.min(REACH_SD / (self.gain * message.precision.sqrt()));
        }
        let mut first = (low - reach).floor().max(0.0) as usize;
        let last = (high + reach).ceil().max(1.0) as usize;
        if last - first >= MAX_WINDOW {
            first += (last + 1 - first - MAX_WINDOW) / 2;
        }
        Choice::poisson(first, last, mean_count)
    }
}

impl Message {
    fn log_density(&self, calcium: f64) -> f64 {
        -0.5 * self.precision * (calcium - self.mean).powi(2)
    }
}

/// Log-weights, later weights, of consecutive counts.
struct Choice {
    first: usize,
    len: usize,
    weights: [f64; MAX_WINDOW],
}

impl Choice {
    /// k ln μ − ln k! for k from `first` to `last`.
    fn poisson(first: usize, last: usize, mean_count: f64) -> Self {
        let len = (last + 1 - first).min(MAX_WINDOW);
        let log_mean = mean_count.max(f64::MIN_POSITIVE).ln();
        let mut weights = [0.0; MAX_WINDOW];
        let mut weight = first as f64 * log_mean - ln_factorial(first);
        for (index, slot) in weights[..len].iter_mut().enumerate() {
            *slot = weight;
            weight += log_mean - ((first + index + 1) as f64).ln();
        }
        Self {
            first,
            len,
            weights,
        }
    }

    fn count(&self, index: usize) -> f64 {
        (self.first + index) as f64
    }

    fn greatest(&self) -> f64 {
        self.weights[..self.len]
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
    }

    /// Turns log-weights into weights, the greatest 1; returns their sum.
    fn normalise(&mut self) -> f64 {
        let greatest = self.greatest();
        let mut total = 0.0;
        for weight in &mut self.weights[..self.len] {
            *weight = (*weight - greatest).exp();
            total += *weight;
        }
        total
    }

    /// The count at which the cumulated weight passes `target`, and its weight.
    fn pick(&self, mut target: f64) -> (f64, f64) {
        for index in 0..self.len - 1 {
            target -= self.weights[index];
            if target < 0.0 {
                return (self.count(index), self.weights[index]);
            }
        }
        let last = self.len - 1;
        (self.count(last), self.weights[last])
    }

    fn mean(&self) -> f64 {
        self.weights[..self.len]
            .iter()
            .enumerate()
            .map(|(index, weight)| weight * self.count(index))
            .sum()
    }
}

fn ln_factorial(n: usize) -> f64 {
    (2..=n).map(|k| (k as f64).ln()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn posterior(noise_sd: f64) -> SpikePosterior {
        let indicator = Indicator {
            g: 0.75,
            gain: 1.2,
            baseline: 0.1,
        };
        SpikePosterior::new(indicator, noise_sd)
    }

    /// E[s_1 | trace] by enumeration of every sequence of up to `MAX` counts a frame.
    fn first_count_by_enumeration(p: &SpikePosterior, trace: &[f32], means: &[f32]) -> f64 {
        const MAX: usize = 9;
        let n_bins = trace.len();
        let (mut total, mut weighted) = (0.0, 0.0);
        for code in 0..MAX.pow(n_bins as u32) {
            let (mut log_weight, mut calcium, mut rest) = (0.0, 0.0, code);
            for bin in 0..n_bins {
                let count = rest % MAX;
                rest /= MAX;
                calcium = p.g * calcium + p.baseline + p.gain * count as f64;
                log_weight += count as f64 * f64::from(means[bin]).ln() - ln_factorial(count);
                log_weight -= 0.5 * p.precision * (f64::from(trace[bin]) - calcium).powi(2);
            }
            total += log_weight.exp();
            weighted += log_weight.exp() * (code % MAX) as f64;
        }
        weighted / total
    }

    fn first_expected(p: &SpikePosterior, trace: &[f32], means: &[f32]) -> f64 {
        let mut sample = SpikeSample::new(trace.len());
        p.sample(trace, means, &vec![0.5; trace.len()], &mut sample);
        f64::from(sample.expected[0])
    }

    proptest! {
        #[test]
        fn two_frames_are_exact(
            trace in prop::collection::vec(-0.5_f32..3.0, 2),
            means in prop::collection::vec(0.05_f32..1.0, 2),
            noise_sd in 0.2..0.8,
        ) {
            let p = posterior(noise_sd);
            let exact = first_count_by_enumeration(&p, &trace, &means);
            let found = first_expected(&p, &trace, &means);
            prop_assert!((found - exact).abs() < 2e-3, "{found} against {exact}");
        }

        #[test]
        fn calcium_follows_from_the_counts(
            trace in prop::collection::vec(-1.0_f32..5.0, 1..40),
            uniform in 0.0_f32..1.0,
        ) {
            let p = posterior(0.3);
            let n_bins = trace.len();
            let mut sample = SpikeSample::new(n_bins);
            let log_q = p.sample(&trace, &vec![0.2; n_bins], &vec![uniform; n_bins], &mut sample);
            prop_assert!(log_q <= 1e-12);
            let mut calcium = 0.0;
            for bin in 0..n_bins {
                calcium = 0.75 * calcium + 0.1 + 1.2 * sample.counts[bin];
                prop_assert!((calcium - sample.calcium[bin]).abs() < 1e-3);
                prop_assert!(sample.counts[bin] >= 0.0 && sample.counts[bin].fract() == 0.0);
            }
        }
    }

    /// Uniform numbers, good enough to simulate traces with.
    fn uniform(state: &mut u64) -> f64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn traces_of_the_model_are_nearly_exact() {
        let p = posterior(0.3);
        let means = [0.4_f32, 0.1, 0.2, 0.5];
        let mut state = 1;
        let errors = (0..300).map(|_| {
            let mut calcium = 0.0;
            let trace = means.map(|mean| {
                let count = f64::from(uniform(&mut state) < f64::from(mean));
                let noise: f64 = (0..12).map(|_| uniform(&mut state)).sum::<f64>() - 6.0;
                calcium = p.g * calcium + p.baseline + p.gain * count;
                (calcium + 0.3 * noise) as f32
            });
            let exact = first_count_by_enumeration(&p, &trace, &means);
            (first_expected(&p, &trace, &means) - exact).abs()
        });
        let mean = errors.sum::<f64>() / 300.0;
        assert!(mean < 0.005, "mean error {mean}");
    }

    #[test]
    fn without_data_the_prior_is_drawn() {
        let trace = [f32::NAN; 5];
        let means = [0.3, 1.0, 2.0, 0.1, 4.0];
        let mut sample = SpikeSample::new(5);
        posterior(0.2).sample(&trace, &means, &[0.3; 5], &mut sample);
        for (expected, mean) in sample.expected.iter().zip(means) {
            assert!((expected - mean).abs() < 0.01 * mean, "{expected} {mean}");
        }
    }
}
