//! Scores the network and OASIS on eight simulated populations: 3 to 60 frames a second, decays of .15 to 2 s, spikes at
//! any time within frames, bursts, drift, single spikes of 1 to 10 SDs of the noise.
//!
//! `cargo run --release -p calcium --example populations`. Neither method is told anything but the frame rate. Scores are
//! correlations with the true counts in bins of a tenth of a second, or of a frame where that is longer: means over
//! neurons.
//!
//! The network was trained on traces of the same generator, if wilder ones and others; OASIS on nothing.

mod common;

use std::error::Error;

use calcium::{Automatic, Inference};
use synth::traces::{Range, SimulatedTrace, TraceRecipe};

use common::correlation;

const N_NEURONS: usize = 16;
const LENGTH_S: f64 = 180.0;
/// Far from the seeds of any training.
const SEED: u64 = 8_000;
/// Width of a bin, s, where frames are no longer.
const BIN_S: f64 = 0.1;

/// What a population is like.
struct Population {
    name: &'static str,
    rate_hz: f64,
    rise_s: f64,
    decay_s: f64,
    /// Single spike over the noise of a frame at 30 Hz.
    snr: f64,
    /// Mean rates, Hz.
    firing_hz: [f64; 2],
    bursting: bool,
    drifting: bool,
}

const POPULATIONS: [Population; 8] = [
    Population {
        name: "fast indicator, resonant scanner",
        rate_hz: 60.0,
        rise_s: 0.005,
        decay_s: 0.15,
        snr: 4.0,
        firing_hz: [0.2, 2.0],
        bursting: false,
        drifting: false,
    },
    Population {
        name: "usual indicator, clear",
        rate_hz: 30.0,
        rise_s: 0.03,
        decay_s: 0.4,
        snr: 10.0,
        firing_hz: [0.1, 1.0],
        bursting: false,
        drifting: false,
    },
    Population {
        name: "usual indicator, bursts",
        rate_hz: 30.0,
        rise_s: 0.03,
        decay_s: 0.4,
        snr: 3.0,
        firing_hz: [0.1, 1.0],
        bursting: true,
        drifting: false,
    },
    Population {
        name: "usual indicator, faint",
        rate_hz: 30.0,
        rise_s: 0.03,
        decay_s: 0.5,
        snr: 1.0,
        firing_hz: [0.2, 2.0],
        bursting: false,
        drifting: false,
    },
    Population {
        name: "slow indicator, drift",
        rate_hz: 15.0,
        rise_s: 0.1,
        decay_s: 1.2,
        snr: 4.0,
        firing_hz: [0.1, 1.0],
        bursting: false,
        drifting: true,
    },
    Population {
        name: "slow indicator, bursts and drift",
        rate_hz: 10.0,
        rise_s: 0.1,
        decay_s: 1.0,
        snr: 2.0,
        firing_hz: [0.1, 1.0],
        bursting: true,
        drifting: true,
    },
    Population {
        name: "many planes",
        rate_hz: 5.0,
        rise_s: 0.06,
        decay_s: 0.8,
        snr: 5.0,
        firing_hz: [0.1, 1.0],
        bursting: false,
        drifting: false,
    },
    Population {
        name: "light sheet, slow indicator",
        rate_hz: 3.0,
        rise_s: 0.2,
        decay_s: 2.0,
        snr: 6.0,
        firing_hz: [0.05, 0.5],
        bursting: true,
        drifting: true,
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut sums = [0.0; 2];
    for (number, population) in POPULATIONS.iter().enumerate() {
        let recipe = population.recipe();
        let mut scores = [0.0; 2];
        for neuron in 0..N_NEURONS {
            let trace = recipe.simulate(SEED + number as u64, neuron)?;
            for (score, found) in scores.iter_mut().zip(of_both(&trace)?) {
                *score += binned_correlation(&trace, &found) / N_NEURONS as f64;
            }
        }
        let [network, oasis] = scores;
        println!(
            "{:34} {:4} Hz  tau {:4} s  SNR {:4}  network {network:.3}  OASIS {oasis:.3}  ratio {:.2}",
            population.name,
            population.rate_hz,
            population.decay_s,
            population.snr,
            network / oasis
        );
        for (sum, score) in sums.iter_mut().zip(scores) {
            *sum += score / POPULATIONS.len() as f64;
        }
    }
    let [network, oasis] = sums;
    println!(
        "mean: network {network:.3}, OASIS {oasis:.3}, ratio {:.2}",
        network / oasis
    );
    Ok(())
}

impl Population {
    /// Only what the population says, and a sensor that answers in proportion.
    fn recipe(&self) -> TraceRecipe {
        let mut recipe = TraceRecipe {
            duration_s: Range([LENGTH_S; 2]),
            usual_rate_hz: Range([self.rate_hz; 2]),
            unusual: 0.0,
            of_trials: 0.0,
            ..TraceRecipe::default()
        };
        let firing = &mut recipe.firing;
        (firing.silent, firing.fast_spiking, firing.complex) = (0.0, 0.0, 0.0);
        firing.mean_rate_hz = Range(self.firing_hz);
        firing.log_rate_sd = Range([0.5, 1.5]);
        firing.bursting = f64::from(u8::from(self.bursting));
        let indicators = &mut recipe.indicators;
        indicators.rise_follows_decay = false;
        indicators.rise_s = Range([self.rise_s; 2]);
        indicators.decay_s = Range([self.decay_s; 2]);
        indicators.onset_delay = Range([0.0; 2]);
        indicators.snr = Range([self.snr; 2]);
        (indicators.slow_tail, indicators.double_rise) = (0.0, 0.0);
        (indicators.supralinear, indicators.saturating) = (0.0, 0.0);
        let other = &mut recipe.disturbances;
        (other.jumping, other.moving, other.beating) = (0.0, 0.0, 0.0);
        (other.neighbours, other.with_neuropil) = (0.0, 0.0);
        (other.creeping, other.bleaching) = match self.drifting {
            true => (1.0, 1.0),
            false => (0.0, 0.0),
        };
        let noise = &mut recipe.noise;
        noise.rate_exponent = Range([0.5; 2]);
        (noise.shot, noise.resampled, noise.smoothed, noise.gappy) = (0.0, 0.0, 0.0, 0.0);
        recipe
    }
}

/// What the network and OASIS find.
fn of_both(trace: &SimulatedTrace) -> Result<[Vec<f32>; 2], calcium::CalciumError> {
    Ok([
        Inference::new(trace.dt_s)?.infer(&trace.fluor)?.expected,
        Automatic::new(trace.dt_s)?
            .deconvolve(&trace.fluor)?
            .activity,
    ])
}

/// Correlation with the true counts in bins of whole frames.
fn binned_correlation(trace: &SimulatedTrace, found: &[f32]) -> f64 {
    let truth = trace.counts(trace.dt_s, found.len());
    let n = (BIN_S / trace.dt_s).round().max(1.0) as usize;
    let found: Vec<f64> = found
        .chunks(n)
        .map(|bin| bin.iter().copied().map(f64::from).sum())
        .collect();
    let truth: Vec<f64> = truth
        .chunks(n)
        .map(|bin| bin.iter().copied().map(f64::from).sum())
        .collect();
    correlation(&found, &truth)
}
