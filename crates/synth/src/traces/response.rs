//! What spikes do to the indicator: rise, decay, and a brightness that is not linear in calcium.

use serde::{Deserialize, Serialize};

use super::range::{Range, chance, check_probability};
use crate::SynthError;
use crate::seed::Draws;

/// How indicators respond to spikes. Every trace draws its own.
///
/// Decays span jGCaMP8f (some 0.1 s; Zhang et al. 2023) to GCaMP6s and red indicators (1 s; Chen et al. 2013; Dana et
/// al. 2016) and cold-blooded animals (3 s). Indicators that bind more tightly rise and decay more slowly, and so do all
/// of them in the cold: the rise is drawn as a share of the decay, from OGB-1's and jGCaMP8s' hundredth to a third.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Indicators {
    /// Whether the rise is drawn as a share of the decay; else as a time.
    pub rise_follows_decay: bool,
    /// Time constant of the rise per that of the decay, log-uniform; its end is the largest in any case.
    pub rise_share: Range,
    /// Shortest and longest time constant of the rise, s; log-uniform where it does not follow the decay.
    pub rise_s: Range,
    /// Time from a spike to the onset of the rise, per time constant of the rise, uniform: calcium has to come in, to
    /// spread and to bind several times before anything brightens. How long that takes is hardly known, hence the breadth.
    pub onset_delay: Range,
    /// Share of indicators that rise in two steps, as by diffusion and then binding.
    pub double_rise: f64,
    /// The second step per first one, uniform.
    pub second_rise: Range,
    /// Time constant of the decay, s, log-uniform.
    pub decay_s: Range,
    /// Share of indicators whose decay has a slow tail.
    pub slow_tail: f64,
    /// Share of the response that decays slowly, uniform.
    pub tail_share: Range,
    /// Its time constant per that of the decay, uniform.
    pub tail_ratio: Range,
    /// Share of indicators that are supralinear, as all GCaMPs are: they bind several ions.
    pub supralinear: f64,
    /// Exponent, uniform; Hill coefficients of GCaMPs are 1.5 to 3 (Chen et al. 2013).
    pub power: Range,
    /// Calcium at rest, per spike, log-uniform: the less there is, the smaller single spikes look.
    pub resting: Range,
    /// Share of indicators that saturate.
    pub saturating: f64,
    /// Brightness at saturation, single spikes, log-uniform.
    pub saturation: Range,
    /// Coefficient of variation of the calcium of single spikes, uniform.
    pub variability: Range,
    /// Fluorescence of a single spike per baseline, log-uniform: 1 % (R-CaMP) to 80 % (jGCaMP8s).
    pub spike_dff: Range,
    /// Peak of a single spike per noise SD of 30 frames a second, log-uniform.
    pub snr: Range,
    /// The same where firing is fast: interneurons buffer calcium.
    pub fast_snr: Range,
}

impl Default for Indicators {
    fn default() -> Self {
        Self {
            rise_follows_decay: true,
            rise_share: Range([0.01, 0.35]),
            rise_s: Range([0.002, 0.5]),
            onset_delay: Range([0.0, 0.8]),
            double_rise: 0.5,
            second_rise: Range([0.2, 1.0]),
            decay_s: Range([0.06, 3.0]),
            slow_tail: 0.25,
            tail_share: Range([0.05, 0.35]),
            tail_ratio: Range([2.5, 6.0]),
            supralinear: 0.7,
            power: Range([1.0, 2.8]),
            resting: Range([0.05, 3.0]),
            saturating: 0.4,
            saturation: Range([3.0, 80.0]),
            variability: Range([0.0, 0.25]),
            spike_dff: Range([0.01, 0.8]),
            snr: Range([0.2, 12.0]),
            fast_snr: Range([0.05, 3.0]),
        }
    }
}

/// The response of one trace's indicator.
pub(super) struct Response {
    /// Weight and time constant (s) of exponentials; their sum starts at 0 and peaks at 1.
    parts: Vec<[f64; 2]>,
    /// Time constant of the rise, the sum of both where there are two, s.
    pub rise_s: f64,
    /// Time constant of the decay but for its tail, s.
    pub decay_s: f64,
    /// Time from a spike to the onset of the rise, s.
    delay_s: f64,
    nonlinearity: Nonlinearity,
    variability: f64,
}

/// Brightness per calcium, both 0 at rest and 1 after one spike.
#[derive(Clone, Copy, Default)]
struct Nonlinearity {
    /// Exponent and resting calcium.
    power: Option<[f64; 2]>,
    saturation: Option<f64>,
}

impl Nonlinearity {
    fn brightness(self, calcium: f64) -> f64 {
        let calcium = calcium.max(0.0);
        let bent = self.power.map_or(calcium, |[power, resting]| {
            let above = |c: f64| libm::pow(c + resting, power) - libm::pow(resting, power);
            above(calcium) / above(1.0)
        });
        self.saturation
            .map_or(bent, |most| bent * (1.0 + 1.0 / most) / (1.0 + bent / most))
    }
}

impl Indicators {
    pub(super) fn validate(&self) -> Result<(), SynthError> {
        check_probability("indicators.double_rise", self.double_rise)?;
        check_probability("indicators.slow_tail", self.slow_tail)?;
        check_probability("indicators.supralinear", self.supralinear)?;
        check_probability("indicators.saturating", self.saturating)?;
        let shares = "[low, high] with 0 <= low <= high <= 1";
        self.tail_share
            .check_within("indicators.tail_share", [0.0, 1.0], shares)?;
        self.variability
            .check_within("indicators.variability", [0.0, 1.0], shares)?;
        let delays = "[low, high] with 0 <= low <= high <= 10";
        self.onset_delay
            .check_within("indicators.onset_delay", [0.0, 10.0], delays)?;
        let below_one = "[low, high] with 0 < low <= high <= 0.9";
        self.rise_share
            .check_within("indicators.rise_share", [1e-6, 0.9], below_one)?;
        for (field, range) in [
            ("indicators.rise_s", self.rise_s),
            ("indicators.second_rise", self.second_rise),
            ("indicators.decay_s", self.decay_s),
            ("indicators.tail_ratio", self.tail_ratio),
            ("indicators.power", self.power),
            ("indicators.resting", self.resting),
            ("indicators.saturation", self.saturation),
            ("indicators.spike_dff", self.spike_dff),
            ("indicators.snr", self.snr),
            ("indicators.fast_snr", self.fast_snr),
        ] {
            range.check_positive(field)?;
        }
        Ok(())
    }

    /// Draws an indicator.
    pub(super) fn response(&self, draws: &mut Draws) -> Response {
        let decay_s = self.decay_s.log_uniform(draws);
        let rise_s = match self.rise_follows_decay {
            true => {
                let [shortest, longest] = self.rise_s.0;
                (self.rise_share.log_uniform(draws) * decay_s).clamp(shortest, longest)
            }
            false => self
                .rise_s
                .log_uniform(draws)
                .min(self.rise_share.0[1] * decay_s),
        };
        let mut rises = vec![rise_s];
        if chance(self.double_rise, draws) {
            let second = self.second_rise.uniform(draws);
            rises = vec![rise_s / (1.0 + second), rise_s * second / (1.0 + second)];
        }
        let mut decays = vec![[1.0, decay_s]];
        if chance(self.slow_tail, draws) {
            let share = self.tail_share.uniform(draws);
            decays[0][0] = 1.0 - share;
            decays.push([share, decay_s * self.tail_ratio.uniform(draws)]);
        }
        let power = [self.power.uniform(draws), self.resting.log_uniform(draws)];
        let nonlinearity = Nonlinearity {
            power: chance(self.supralinear, draws).then_some(power),
            saturation: chance(self.saturating, draws).then(|| self.saturation.log_uniform(draws)),
        };
        Response {
            parts: parts(&decays, &rises),
            rise_s,
            decay_s,
            delay_s: match self.onset_delay.0[1] > 0.0 {
                true => rise_s * self.onset_delay.uniform(draws),
                false => 0.0,
            },
            nonlinearity,
            variability: self.variability.uniform(draws),
        }
    }
}

/// Exponentials of a decay (weights and times) after rises, scaled to a peak of 1.
fn parts(decays: &[[f64; 2]], rises: &[f64]) -> Vec<[f64; 2]> {
    let mut parts: Vec<[f64; 2]> = Vec::new();
    for &[weight, decay] in decays {
        let mut times = vec![decay];
        for &rise in rises {
            // Equal times would need terms t·exp(−t/tau); a percent apart is as good.
            let mut rise = rise;
            while times.iter().any(|time| (rise / time - 1.0).abs() < 0.05) {
                rise *= 0.93;
            }
            times.push(rise);
        }
        // A cascade of low-passes of times tau_i has the response Σ tau_i^{n−2} / Π_{j≠i} (tau_i − tau_j) e^{−t/tau_i}.
        for (i, &own) in times.iter().enumerate() {
            let others = times.iter().enumerate().filter(|(j, _)| *j != i);
            let apart: f64 = others.map(|(_, other)| (own - other) / own).product();
            // The leading factor makes each decay as high as its weight, were the rise instant.
            parts.push([weight * decay / (own * apart), own]);
        }
    }
    let peak = peak(&parts, rises.iter().sum(), decays[0][1]);
    for part in &mut parts {
        part[0] /= peak;
    }
    parts
}

/// The largest value of a sum of exponentials, to about a millionth.
fn peak(parts: &[[f64; 2]], rise_s: f64, decay_s: f64) -> f64 {
    let at = |t: f64| -> f64 { parts.iter().map(|[w, tau]| w * libm::exp(-t / tau)).sum() };
    let (mut low, mut high) = (0.0, 4.0 * (rise_s * decay_s).sqrt() + 4.0 * rise_s);
    // It rises once and falls once.
    for _third in 0..40 {
        let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if at(left) < at(right) {
            low = left;
        } else {
            high = right;
        }
    }
    at(0.5 * (low + high))
}

impl Response {
    /// Calcium, single spikes, in the middle of each of `n` steps of `step_s`.
    pub(super) fn calcium(
        &self,
        spikes_s: &[f64],
        n: usize,
        step_s: f64,
        draws: &mut Draws,
    ) -> Vec<f64> {
        let decays: Vec<f64> = self
            .parts
            .iter()
            .map(|[_, tau]| libm::exp(-step_s / tau))
            .collect();
        let mut states = vec![0.0; self.parts.len()];
        let mut onsets = spikes_s.iter().map(|time| time + self.delay_s).peekable();
        let at = |step: usize| {
            let now = (step as f64 + 0.5) * step_s;
            let mut calcium = 0.0;
            for (state, decay) in states.iter_mut().zip(&decays) {
                *state *= decay;
            }
            while let Some(time) = onsets.next_if(|&time| time <= now) {
                let size = (1.0 + self.variability * draws.normal()).max(0.1);
                for (state, [weight, tau]) in states.iter_mut().zip(&self.parts) {
                    *state += size * weight * libm::exp((time - now) / tau);
                }
            }
            for state in &states {
                calcium += state;
            }
            calcium
        };
        (0..n).map(at).collect()
    }

    /// Brightness above rest, single spikes, of so much calcium.
    pub(super) fn brightness(&self, calcium: f64) -> f64 {
        self.nonlinearity.brightness(calcium)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{RootSeed, Stream};

    #[test]
    fn one_spike_rises_from_zero_to_one_and_decays() {
        let recipe = Indicators {
            variability: Range([0.0, 0.0]),
            ..Indicators::default()
        };
        for index in 0..60 {
            let mut draws = RootSeed(3).draws(Stream::TraceIndicator, index);
            let response = recipe.response(&mut draws);
            let start: f64 = response.parts.iter().map(|[w, _]| w).sum();
            assert!(start.abs() < 1e-6, "{index}: starts at {start}");
            let step_s = 0.001;
            let calcium = response.calcium(&[0.5], 8_000, step_s, &mut draws);
            let (at, peak) =
                calcium.iter().enumerate().fold(
                    (0, 0.0),
                    |best, (t, &c)| if c > best.1 { (t, c) } else { best },
                );
            assert!((peak - 1.0).abs() < 0.02, "{index}: peaks at {peak}");
            let delay = at as f64 * step_s - 0.5;
            let latest = response.rise_s * (2.8 + libm::log(response.decay_s / response.rise_s));
            let earliest = response.delay_s;
            assert!(
                earliest < delay && delay < latest,
                "{index}: peaks after {delay} s"
            );
            let onset = ((0.5 + response.delay_s) / step_s) as usize;
            assert!(calcium[..onset].iter().all(|&c| c == 0.0));
            assert!(response.rise_s <= 0.5 && response.rise_s <= 0.351 * response.decay_s);
            assert!(calcium.iter().all(|&c| c > -1e-6));
            assert!((response.brightness(1.0) - 1.0).abs() < 1e-9);
            assert!(response.brightness(0.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_double_rise_is_the_integral_of_a_single_one() {
        // d/dt of the response of rises a, b is (response of a − own) / b, up to scale.
        let (a, b, decay) = (0.05, 0.02, 0.5);
        let both = parts(&[[1.0, decay]], &[a, b]);
        let single = parts(&[[1.0, decay]], &[a]);
        let at = |parts: &[[f64; 2]], t: f64| -> f64 {
            parts.iter().map(|[w, tau]| w * libm::exp(-t / tau)).sum()
        };
        let ratio = |t: f64| {
            let slope = (at(&both, t + 1e-6) - at(&both, t - 1e-6)) / 2e-6;
            (at(&both, t) + b * slope) / at(&single, t)
        };
        for t in [0.02, 0.1, 0.4, 1.0] {
            assert!(
                (ratio(t) / ratio(0.2) - 1.0).abs() < 1e-4,
                "{t}: {}",
                ratio(t)
            );
        }
    }
}
