//! When a neuron fires: rates that change at random, bursts, and spikes that are not quite Poisson.

use serde::{Deserialize, Serialize};

use super::range::{Range, chance, check_probability, exponential};
use crate::SynthError;
use crate::error::{check_not_negative, check_positive};
use crate::seed::Draws;

/// How neurons fire. Every neuron draws its own values.
///
/// The rate is doubly stochastic: log-normal around its mean, correlated in time. Principal cells of
/// cortex and hippocampus fire at .03 to 6 Hz, log-normally spread (Mizuseki & Buzsáki 2013);
/// interneurons and motor regions at some 2 to 30 Hz, on average, with strong modulation (Markram et al. 2004).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Firing {
    /// Share of traces without any spike: a network must learn to say nothing.
    pub silent: f64,
    /// Mean rate, Hz, log-uniform.
    pub mean_rate_hz: Range,
    /// SD of the logarithm of the rate, uniform: from a metronome to a place cell.
    pub log_rate_sd: Range,
    /// Correlation time of the rate, s, log-uniform: from sensory events to behavioural states.
    pub correlation_s: Range,
    /// Share of neurons that fire fast.
    pub fast_spiking: f64,
    /// Their mean rate, Hz, log-uniform.
    pub fast_rate_hz: Range,
    /// SD of the logarithm of their rate, uniform.
    pub fast_log_rate_sd: Range,
    /// Share of neurons with bouts of strong firing on top, as stimuli evoke them.
    pub bursting: f64,
    /// Share of those that fire fast with such bouts.
    pub fast_bursting: f64,
    /// Bouts a second, uniform.
    pub bursts_hz: Range,
    /// Length of a bout, s, uniform.
    pub burst_s: Range,
    /// Rate within a bout, Hz, uniform.
    pub burst_rate_hz: Range,
    /// Share of neurons whose spikes come in doublets and triplets, as those of pyramidal cells do.
    pub complex: f64,
    /// Probability that a spike of theirs draws another after it, uniform.
    pub next_spike: Range,
    /// Interval to it, s, uniform.
    pub next_interval_s: Range,
    /// Shape of the gamma distribution of intervals, a whole number: 1 is Poisson, more is regular.
    pub regularity: Range,
    /// No two spikes are closer, s.
    pub refractory_s: f64,
    /// Highest rate, Hz.
    pub max_rate_hz: f64,
}

impl Default for Firing {
    fn default() -> Self {
        Self {
            silent: 0.04,
            mean_rate_hz: Range([0.03, 6.0]),
            log_rate_sd: Range([0.0, 2.5]),
            correlation_s: Range([0.05, 5.0]),
            fast_spiking: 0.2,
            fast_rate_hz: Range([1.5, 30.0]),
            fast_log_rate_sd: Range([0.1, 1.6]),
            bursting: 0.5,
            fast_bursting: 0.5,
            bursts_hz: Range([0.02, 0.6]),
            burst_s: Range([0.02, 0.6]),
            burst_rate_hz: Range([5.0, 60.0]),
            complex: 0.3,
            next_spike: Range([0.0, 0.6]),
            next_interval_s: Range([0.003, 0.012]),
            regularity: Range([1.0, 3.0]),
            refractory_s: 0.002,
            max_rate_hz: 120.0,
        }
    }
}

/// Spikes of one neuron.
pub(super) struct Spikes {
    /// Ascending, s.
    pub times_s: Vec<f64>,
    /// Whether it is one of those that fire fast.
    pub fast: bool,
}

impl Firing {
    pub(super) fn validate(&self) -> Result<(), SynthError> {
        check_probability("firing.silent", self.silent)?;
        check_probability("firing.fast_spiking", self.fast_spiking)?;
        check_probability("firing.bursting", self.bursting)?;
        check_probability("firing.fast_bursting", self.fast_bursting)?;
        check_probability("firing.complex", self.complex)?;
        self.mean_rate_hz.check_positive("firing.mean_rate_hz")?;
        self.fast_rate_hz.check_positive("firing.fast_rate_hz")?;
        self.correlation_s.check_positive("firing.correlation_s")?;
        let from_zero = [0.0, f64::MAX];
        let not_negative = "[low, high] with 0 <= low <= high";
        for (field, range) in [
            ("firing.log_rate_sd", self.log_rate_sd),
            ("firing.fast_log_rate_sd", self.fast_log_rate_sd),
            ("firing.bursts_hz", self.bursts_hz),
            ("firing.burst_s", self.burst_s),
            ("firing.burst_rate_hz", self.burst_rate_hz),
            ("firing.next_interval_s", self.next_interval_s),
        ] {
            range.check_within(field, from_zero, not_negative)?;
        }
        let below_one = "[low, high] with 0 <= low <= high <= 0.95";
        self.next_spike
            .check_within("firing.next_spike", [0.0, 0.95], below_one)?;
        let shapes = "[low, high] of whole numbers from 1 to 20";
        self.regularity
            .check_within("firing.regularity", [1.0, 20.0], shapes)?;
        check_positive("firing.refractory_s", self.refractory_s)?;
        check_not_negative("firing.max_rate_hz", self.max_rate_hz)
    }

    /// The spikes of one neuron within `length_s`.
    pub(super) fn spikes(&self, length_s: f64, draws: &mut Draws) -> Spikes {
        if chance(self.silent, draws) {
            let times_s = Vec::new();
            return Spikes {
                times_s,
                fast: false,
            };
        }
        let fast = chance(self.fast_spiking, draws);
        let (mean, log_sd) = match fast {
            true => (self.fast_rate_hz, self.fast_log_rate_sd),
            false => (self.mean_rate_hz, self.log_rate_sd),
        };
        let (mean_hz, log_sd) = (mean.log_uniform(draws), log_sd.uniform(draws));
        let mut times_s = self.renewals(length_s, mean_hz, log_sd, draws);
        let bursting = match fast {
            true => self.fast_bursting,
            false => self.bursting,
        };
        if bursting > 0.0 && chance(bursting, draws) {
            self.add_bursts(length_s, &mut times_s, draws);
        }
        if !fast && chance(self.complex, draws) {
            self.add_followers(length_s, &mut times_s, draws);
        }
        times_s.sort_unstable_by(f64::total_cmp);
        let mut last = f64::NEG_INFINITY;
        times_s.retain(|&time| {
            let kept = time - last >= self.refractory_s;
            if kept {
                last = time;
            }
            kept
        });
        Spikes { times_s, fast }
    }

    /// A gamma renewal process in the time that a log-normal Ornstein–Uhlenbeck rate makes pass.
    fn renewals(&self, length_s: f64, mean_hz: f64, log_sd: f64, draws: &mut Draws) -> Vec<f64> {
        let correlation_s = self.correlation_s.log_uniform(draws);
        let shape = self.regularity.whole(draws);
        let step_s = (0.1 * correlation_s).clamp(0.005, 0.1);
        let kept = libm::exp(-step_s / correlation_s);
        let fresh = log_sd * (1.0 - kept * kept).sqrt();
        let mut log_rate = log_sd * draws.normal();
        let offset = libm::log(mean_hz) - 0.5 * log_sd * log_sd;
        let interval =
            |draws: &mut Draws| (0..shape).map(|_| exponential(draws)).sum::<f64>() / shape as f64;
        // Somewhere within an interval, as nobody waits for a spike to begin recording.
        let mut left = draws.uniform() * interval(draws);
        let mut times_s = Vec::new();
        for step in 0..libm::ceil(length_s / step_s) as usize {
            let rate = libm::exp(offset + log_rate).min(self.max_rate_hz);
            let mut passed = 0.0;
            while left < rate * (step_s - passed) {
                passed += left / rate;
                times_s.push(step as f64 * step_s + passed);
                left = interval(draws);
            }
            left -= rate * (step_s - passed);
            log_rate = kept * log_rate + fresh * draws.normal();
        }
        times_s.retain(|&time| time < length_s);
        times_s
    }

    fn add_bursts(&self, length_s: f64, times_s: &mut Vec<f64>, draws: &mut Draws) {
        let expected = self.bursts_hz.uniform(draws) * length_s;
        let n_bursts = draws.poisson(expected) as usize;
        for _burst in 0..n_bursts {
            let start = length_s * draws.uniform();
            let end = (start + self.burst_s.uniform(draws)).min(length_s);
            let rate = self
                .burst_rate_hz
                .uniform(draws)
                .clamp(1e-6, self.max_rate_hz.max(1e-6));
            let mut time = start + exponential(draws) / rate;
            while time < end {
                times_s.push(time);
                time += exponential(draws) / rate;
            }
        }
    }

    fn add_followers(&self, length_s: f64, times_s: &mut Vec<f64>, draws: &mut Draws) {
        let probability = self.next_spike.uniform(draws);
        for first in 0..times_s.len() {
            let mut time = times_s[first];
            while chance(probability, draws) {
                time += self.next_interval_s.uniform(draws);
                if time < length_s {
                    times_s.push(time);
                }
            }
        }
    }
}
