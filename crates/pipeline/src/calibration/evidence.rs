//! How many spikes too many the network expects, by Bayes' rule, where transients are what it takes them for.
//!
//! The spike network knows indicators that no formula does, and is often off by half in how large one spike is. Where
//! all spikes have one size and calcium rises and decays as under AR(2), the likelihood of the whole trace knows far
//! better: counts are whole. Where they do not, it explains every deviation by more and smaller spikes, several times
//! too many. So it is heard where it finds *fewer* spikes than the network does in most of the neurons: never yet in a real
//! indicator (1.5 to 9 times as many in the median neuron of each of twelve public sets with known spikes), and
//! in most of the simulated ones.

use std::ops::Range;

use calcium::counts::SpikeResponse;
use calcium::estimate::{gaussian_smoothing, median};
use calcium::trials::trials;
use calcium::{Ar2, CalciumError};
use rayon::prelude::*;

/// Frames of a trace that are asked, and how many of them lie together.
const MAX_FRAMES: usize = 3000;
const PIECE: usize = 500;
/// Neurons that are asked, and how many must answer.
const N_ASKED: usize = 16;
const MIN_ANSWERS: usize = 5;
/// The rate of a neuron is its expected spikes, smoothed by this, s, with some of their mean. Less smoothing believes the network's
/// own counts, more takes bursts for large spikes: simulated populations of one seed each, at one to eight noise SDs a
/// spike, are right within a tenth.
const SMOOTHING_S: f64 = 0.35;
const OF_MEAN: f64 = 0.1;
/// No rate is less than this many spikes a frame.
const LEAST_RATE: f64 = 1e-5;
/// Of fewer expected spikes there is no telling.
const MIN_SPIKES: f64 = 3.0;
/// Logarithms of the spike sizes that are tried, over the network's: first in steps, then by halves between
/// about the best few.
const WIDEST: f64 = 1.0;
const STEP: f64 = 0.25;
const N_HALVINGS: usize = 3;
const N_BEST: usize = 2;

/// What is known of one neuron.
pub(super) struct Asked<'a> {
    /// Fluorescence above the baseline, `[time]`; NaN without data.
    pub above: Vec<f32>,
    /// First frames of its trials.
    pub starts: &'a [usize],
    /// Spikes that the network expects, `[time]`.
    pub expected: &'a [f32],
    pub noise_sd: f64,
    /// Decay and rise.
    pub ar: Ar2,
    /// Fluorescence of one spike at its peak, as the network has it.
    pub size: f64,
}

/// The spikes that the network expects over those that Bayes' rule finds at their likeliest size: the median over some of
/// `numbers`, of each of which `ask` tells. Nothing where most of them show no excess.
pub(super) fn excess<'a>(
    numbers: &[usize],
    dt_s: f64,
    ask: impl Fn(usize) -> Result<Asked<'a>, CalciumError> + Sync,
) -> Result<Option<f64>, CalciumError> {
    let stride = numbers.len().div_ceil(N_ASKED).max(1);
    let asked: Vec<usize> = numbers.iter().copied().step_by(stride).collect();
    let one = |&number: &usize| ask(number)?.excess(dt_s);
    let answers: Result<Vec<Option<f64>>, CalciumError> = asked.par_iter().map(one).collect();
    let answers: Vec<f64> = answers?.into_iter().flatten().collect();
    let usual = median(answers.iter().copied());
    Ok(usual.filter(|&excess| answers.len() >= MIN_ANSWERS && excess > 1.0))
}

impl Asked<'_> {
    fn excess(&self, dt_s: f64) -> Result<Option<f64>, CalciumError> {
        let pieces = self.pieces();
        let expected = self.present();
        let theirs: f64 = pieces
            .iter()
            .map(|piece| expected[piece.clone()].iter().sum::<f64>())
            .sum();
        if !(theirs >= MIN_SPIKES && self.size > 0.0 && self.size.is_finite()) {
            return Ok(None);
        }
        let rates = self.rates(&expected, dt_s)?;
        let likeliest = likeliest(|log_factor| {
            let hypothesis = self.hypothesis(&rates, log_factor.exp());
            let of_piece = |piece: &Range<usize>| hypothesis.log_evidence(piece.clone());
            pieces.iter().map(of_piece).sum()
        });
        let hypothesis = self.hypothesis(&rates, likeliest.exp());
        let ours: f64 = pieces
            .iter()
            .map(|piece| hypothesis.n_spikes(piece.clone()))
            .sum();
        Ok((ours > 0.0).then_some(theirs / ours))
    }

    /// Some parts of the trials, evenly from all of them.
    fn pieces(&self) -> Vec<Range<usize>> {
        let in_pieces = |trial: Range<usize>| {
            let firsts = trial.clone().step_by(PIECE);
            firsts.map(move |first| first..trial.end.min(first + PIECE))
        };
        let trials = trials(self.above.len(), self.starts).into_iter();
        let all: Vec<Range<usize>> = trials.flat_map(in_pieces).collect();
        let step = self.above.len().div_ceil(MAX_FRAMES).max(1);
        all.into_iter().step_by(step).collect()
    }

    /// The expected spikes; none where there is no number.
    fn present(&self) -> Vec<f64> {
        let number = |&e: &f32| if e.is_nan() { 0.0 } else { f64::from(e) };
        self.expected.iter().map(number).collect()
    }

    /// Spikes per frame as the network counts them.
    fn rates(&self, expected: &[f64], dt_s: f64) -> Result<Vec<f64>, CalciumError> {
        let mean = expected.iter().sum::<f64>() / expected.len() as f64;
        let mut rates = Vec::with_capacity(expected.len());
        for trial in trials(expected.len(), self.starts) {
            rates.extend(gaussian_smoothing(&expected[trial], SMOOTHING_S / dt_s)?);
        }
        let mixed = |rate: f64| (1.0 - OF_MEAN) * rate + OF_MEAN * mean;
        Ok(rates.into_iter().map(mixed).collect())
    }

    /// Spikes are `factor` times as large as the network has them, and as many fewer.
    fn hypothesis(&self, rates: &[f64], factor: f64) -> Hypothesis<'_> {
        let ar = self.ar;
        let gain = factor * self.size / ar.peak();
        let [g1, g2] = ar.g();
        let mean_rate = rates.iter().sum::<f64>() / rates.len() as f64 / factor;
        let level = mean_rate * gain / (1.0 - g1 - g2).max(1e-6);
        let log_mean = |rate: &f64| (rate / factor).max(LEAST_RATE).ln() as f32;
        Hypothesis {
            response: SpikeResponse {
                ar,
                gain,
                baseline: 0.0,
                saturation: None,
                starts_decaying: true,
            },
            above: &self.above,
            log_means: rates.iter().map(log_mean).collect(),
            noise_sd: self.noise_sd,
            start: [level, gain * gain + level * level],
        }
    }
}

/// What a trace would be made by.
struct Hypothesis<'a> {
    response: SpikeResponse,
    above: &'a [f32],
    log_means: Vec<f32>,
    noise_sd: f64,
    /// Mean and variance of the calcium before a piece.
    start: [f64; 2],
}

impl Hypothesis<'_> {
    fn log_evidence(&self, piece: Range<usize>) -> f64 {
        let (trace, log_means) = (&self.above[piece.clone()], &self.log_means[piece]);
        self.response
            .log_evidence(trace, log_means, self.noise_sd, self.start)
    }

    /// The spikes that Bayes' rule expects.
    fn n_spikes(&self, piece: Range<usize>) -> f64 {
        let (trace, log_means) = (&self.above[piece.clone()], &self.log_means[piece]);
        let found = self
            .response
            .smooth(trace, log_means, self.noise_sd, self.start);
        found.expected.iter().map(|&e| f64::from(e)).sum()
    }
}

/// Where `evidence` is highest. Whole counts make it rugged, and a peak may be far narrower than a step: the best few are
/// looked at closely.
fn likeliest(evidence: impl Fn(f64) -> f64) -> f64 {
    let n_steps = (WIDEST / STEP) as i32;
    let tried = (-n_steps..=n_steps).map(|step| f64::from(step) * STEP);
    let mut tried: Vec<(f64, f64)> = tried.map(|at| (at, evidence(at))).collect();
    tried.sort_by(|a, b| b.1.total_cmp(&a.1));
    let closely = |&(mut at, mut highest): &(f64, f64)| {
        let mut step = STEP;
        for _halving in 0..N_HALVINGS {
            step /= 2.0;
            for side in [at - step, at + step] {
                let there = evidence(side);
                if there > highest {
                    (at, highest) = (side, there);
                }
            }
        }
        (at, highest)
    };
    let best = tried.iter().take(N_BEST).map(closely);
    best.max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0.0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_likeliest_is_found(peak in -1.0..1.0f64) {
            let found = likeliest(|at: f64| -(at - peak).powi(2));
            prop_assert!((found - peak).abs() <= STEP / 8.0, "{found} for {peak}");
        }
    }

    /// Spikes of size 1 every 23 frames, noise that repeats; whoever expects them twice as often and half as large is told so,
    /// and whoever expects too few is not asked further.
    #[test]
    fn an_excess_is_measured() {
        let ar = Ar2::from_roots(0.95, 0.3).unwrap();
        let spikes: Vec<f32> = (0..4000).map(|t| f32::from(t % 23 == 5)).collect();
        let calcium = ar.convolve(&spikes);
        let peak = ar.peak() as f32;
        let noise = [
            0.11, -0.07, 0.02, -0.13, 0.09, -0.02, 0.05, -0.05, 0.13, -0.13f32,
        ];
        let above = |t: usize| calcium[t] / peak + noise[(t * t) % 10];
        let ask = |times: f32| {
            let expected: Vec<f32> = spikes.iter().map(|s| times * s).collect();
            let numbers: Vec<usize> = (0..6).collect();
            let asked = |_| {
                Ok(Asked {
                    above: (0..4000).map(above).collect(),
                    starts: &[0],
                    expected: &expected,
                    noise_sd: 0.09,
                    ar,
                    size: 1.0 / f64::from(times),
                })
            };
            excess(&numbers, 0.05, asked).unwrap()
        };
        let twice = ask(2.0).unwrap();
        assert!((twice - 2.0).abs() < 0.05, "{twice}");
        assert_eq!(ask(0.7), None);
    }
}
