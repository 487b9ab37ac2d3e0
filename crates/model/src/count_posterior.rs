//! Samples of the spike counts behind one trace, given the rates: the exact posterior up to
//! a Gaussian view of spikes two or more frames ahead.

use crate::ladder::Indicator;

/// Counts this much less likely than the best, under the prior and the Gaussian view of the
/// future, are left out. That view can be far off where a rare burst lies ahead, so the best
/// count's neighbours are always looked at.
const NEGLIGIBLE: f64 = 1e-7;
/// Most counts considered on either side of the best.
const MAX_SIDE: usize = 16;
const MAX_CHOICES: usize = 2 * MAX_SIDE + 1;

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

/// What the data of a frame and of all later ones say of the calcium in it: N(mean,
/// 1/precision).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Message {
    mean: f64,
    precision: f64,
    /// ln μ of the frame, which the message leaves out.
    prior: f64,
    /// e^{−precision·gain²}: by how much each step from count to count falls behind the last.
    curvature: f64,
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
    /// `trace` (NaN: no data), `log_means` (ln μ), `uniforms`: `[time]`, as long as `sample`.
    pub fn sample(
        &self,
        trace: &[f32],
        log_means: &[f32],
        uniforms: &[f32],
        sample: &mut SpikeSample,
    ) -> f64 {
        self.pass_back(trace, log_means, &mut sample.messages);
        let mut calcium = 0.0;
        let mut log_q = 0.0;
        for bin in 0..trace.len() {
            let before = self.g * calcium + self.baseline;
            let mut choice = self.choices(&sample.messages[bin], before);
            let next = sample.messages.get(bin + 1);
            self.look_ahead(&mut choice, f64::from(trace[bin]), next, before);
            let total = choice.total();
            let (count, weight) = choice.pick(f64::from(uniforms[bin]) * total);
            calcium = before + self.gain * count;
            log_q += (weight / total).ln();
            sample.expected[bin] = (choice.weighted_counts() / total) as f32;
            sample.counts[bin] = count as f32;
            sample.calcium[bin] = calcium as f32;
        }
        log_q
    }

    /// The backward messages: Kalman's information filter with spikes of mean and variance μ.
    fn pass_back(&self, trace: &[f32], log_means: &[f32], messages: &mut [Message]) {
        let mut later: Option<Message> = None;
        for (bin, slot) in messages.iter_mut().enumerate().rev() {
            let (mut precision, mut information) = match later {
                Some(next) if next.precision > 0.0 => {
                    let drive = self.gain * next.prior.exp() + self.baseline;
                    let spread = self.gain * self.gain * next.prior.exp();
                    let variance = 1.0 / next.precision + spread;
                    (
                        self.g * self.g / variance,
                        self.g * (next.mean - drive) / variance,
                    )
                }
                _ => (0.0, 0.0),
            };
            let x = f64::from(trace[bin]);
            if !x.is_nan() {
                precision += self.precision;
                information += self.precision * x;
            }
            *slot = Message {
                mean: information / precision.max(f64::MIN_POSITIVE),
                precision,
                prior: f64::from(log_means[bin]),
                curvature: (-precision * self.gain * self.gain).exp(),
            };
            later = Some(*slot);
        }
    }

    /// The counts of a frame worth a look under Poisson(k; μ)·N(message), weighed relative to
    /// the best. The weights are log-concave in k, so one walk finds the best and the counts
    /// that matter lie around it.
    fn choices(&self, message: &Message, before: f64) -> Choices {
        let wanted = match message.precision > 0.0 {
            true => (message.mean - before) / self.gain,
            false => message.prior.exp(),
        };
        let mut best = wanted.round().max(0.0);
        let (mut up, mut down) = self.ratios(message, before, best);
        while up > 1.0 || down > 1.0 {
            best += if up > 1.0 { 1.0 } else { -1.0 };
            (up, down) = self.ratios(message, before, best);
        }
        let mut choices = Choices::of(best, message.prior);
        choices.extend_down(down, message.curvature);
        choices.extend_up(up, message.curvature);
        choices
    }

    /// The weights of `count` + 1 and `count` − 1 relative to that of `count`.
    fn ratios(&self, message: &Message, before: f64, count: f64) -> (f64, f64) {
        let steepness = message.precision * self.gain;
        let distance = before + self.gain * count - message.mean;
        let up = message.prior - steepness * (distance + 0.5 * self.gain);
        let down = steepness * (distance - 0.5 * self.gain) - message.prior;
        (up.exp() / (count + 1.0), down.exp() * count)
    }

    /// Replaces the weights by those that also enumerate the next frame's counts.
    fn look_ahead(&self, choices: &mut Choices, x: f64, next: Option<&Message>, before: f64) {
        let Some(next) = next else {
            return;
        };
        let prior = choices.prior;
        let mut logs = [0.0; MAX_CHOICES];
        let mut greatest = f64::NEG_INFINITY;
        for (index, log) in logs[..choices.len].iter_mut().enumerate() {
            let count = choices.count(index);
            let calcium = before + self.gain * count;
            let own = match x.is_nan() {
                true => 0.0,
                false => -0.5 * self.precision * (x - calcium).powi(2),
            };
            let carried = self.g * calcium + self.baseline;
            *log = count * prior - ln_factorial(choices.first + index)
                + own
                + self.log_evidence(next, carried);
            greatest = greatest.max(*log);
        }
        for (weight, log) in choices.weights.iter_mut().zip(&logs[..choices.len]) {
            *weight = (log - greatest).exp();
        }
    }

    /// ln Σ_k Poisson(k; μ)·N(message) at calcium `before` + gain·k, constants left out.
    fn log_evidence(&self, message: &Message, before: f64) -> f64 {
        let choices = self.choices(message, before);
        let calcium = before + self.gain * choices.best as f64;
        let log_best = choices.best as f64 * message.prior
            - ln_factorial(choices.best)
            - 0.5 * message.precision * (calcium - message.mean).powi(2);
        log_best + choices.total().ln()
    }
}

/// Weights of consecutive counts.
struct Choices {
    first: usize,
    best: usize,
    len: usize,
    /// ln μ.
    prior: f64,
    weights: [f64; MAX_CHOICES],
}

impl Choices {
    fn of(best: f64, prior: f64) -> Self {
        let best = best as usize;
        let mut weights = [0.0; MAX_CHOICES];
        weights[0] = 1.0;
        Self {
            first: best,
            best,
            len: 1,
            prior,
            weights,
        }
    }

    /// Adds the counts below, given the first ratio; each ratio is the one before times the
    /// curvature and a quotient of counts.
    fn extend_down(&mut self, mut ratio: f64, curvature: f64) {
        let mut weight = ratio;
        while self.first > 0 && (weight > NEGLIGIBLE || self.len == 1) && self.len <= MAX_SIDE {
            self.weights[self.len] = weight;
            self.len += 1;
            self.first -= 1;
            let count = self.first as f64;
            ratio *= curvature * count / (count + 1.0);
            weight *= ratio;
        }
        self.weights[..self.len].reverse();
    }

    /// Adds the counts above.
    fn extend_up(&mut self, mut ratio: f64, curvature: f64) {
        let mut weight = ratio;
        let mut count = self.best as f64 + 1.0;
        let below = self.len;
        while (weight > NEGLIGIBLE || self.len == below) && self.len < MAX_CHOICES {
            self.weights[self.len] = weight;
            self.len += 1;
            ratio *= curvature * count / (count + 1.0);
            count += 1.0;
            weight *= ratio;
        }
    }

    fn count(&self, index: usize) -> f64 {
        (self.first + index) as f64
    }

    fn total(&self) -> f64 {
        self.weights[..self.len].iter().sum()
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

    fn weighted_counts(&self) -> f64 {
        let weights = self.weights[..self.len].iter().enumerate();
        weights
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
        let log_means: Vec<f32> = means.iter().map(|mean| mean.ln()).collect();
        p.sample(trace, &log_means, &vec![0.5; trace.len()], &mut sample);
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
            prop_assert!((found - exact).abs() < 0.02, "{found} against {exact}");
        }

        #[test]
        fn calcium_follows_from_the_counts(
            trace in prop::collection::vec(-1.0_f32..5.0, 1..40),
            uniform in 0.0_f32..1.0,
        ) {
            let p = posterior(0.3);
            let n_bins = trace.len();
            let mut sample = SpikeSample::new(n_bins);
            let log_q = p.sample(&trace, &vec![-1.6; n_bins], &vec![uniform; n_bins], &mut sample);
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
        assert!(mean < 0.02, "mean error {mean}");
    }

    #[test]
    fn a_jump_far_beyond_the_prior_is_found() {
        let p = posterior(0.02);
        let mut sample = SpikeSample::new(3);
        let trace = [0.1 + 1.2 * 30.0, f32::NAN, f32::NAN];
        let log_q = p.sample(&trace, &[-6.0; 3], &[0.5; 3], &mut sample);
        assert!((sample.counts[0] - 30.0).abs() < 1e-6);
        assert!(log_q.is_finite());
    }

    #[test]
    fn without_data_the_prior_is_drawn() {
        let trace = [f32::NAN; 5];
        let means = [0.3_f32, 1.0, 2.0, 0.1, 4.0];
        let mut sample = SpikeSample::new(5);
        posterior(0.2).sample(&trace, &means.map(f32::ln), &[0.3; 5], &mut sample);
        for (expected, mean) in sample.expected.iter().zip(means) {
            assert!((expected - mean).abs() < 0.01 * mean, "{expected} {mean}");
        }
    }
}
