//! Posteriors of counts against enumeration, importance weighting and bounds on their work.

mod constant_rate;
mod lookahead;
mod smoother;
mod work;

use super::*;
use crate::Hill;

type Simple = CountModel<1, LinearSensor>;

pub fn simple(noise_sd: f64) -> Simple {
    CountModel {
        calcium: CalciumDynamics {
            coefficients: [0.75],
            gain: 1.2,
            baseline: 0.1,
        },
        sensor: LinearSensor::new(noise_sd),
        start: Start::Rest,
    }
}

/// Rise and decay.
pub fn rising(noise_sd: f64) -> CountModel<2, LinearSensor> {
    CountModel {
        calcium: CalciumDynamics {
            coefficients: [1.2, -0.32],
            gain: 0.8,
            baseline: 0.0,
        },
        sensor: LinearSensor::new(noise_sd),
        start: Start::Rest,
    }
}

pub fn saturating(noise_sd: f64) -> CountModel<1, SaturatingSensor> {
    let hill = Hill {
        exponent: 1.5,
        half_saturation: 3.0,
        scale: 5.0,
    };
    CountModel {
        calcium: CalciumDynamics {
            coefficients: [0.75],
            gain: 1.0,
            baseline: 0.0,
        },
        sensor: SaturatingSensor::new(hill, noise_sd),
        start: Start::Rest,
    }
}

/// Uniform numbers, good enough to simulate traces with.
fn uniform(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

/// A trace of the model: a spike or none a frame, normal noise.
fn simulate<const P: usize, S: Sensor>(
    p: &CountModel<P, S>,
    means: &[f32],
    noise_sd: f64,
    random: &mut u64,
) -> Vec<f32> {
    let mut state = [0.0; P];
    let frame = |&mean: &f32| {
        let count = f64::from(uniform(random) < f64::from(mean));
        let noise: f64 = (0..12).map(|_| uniform(random)).sum::<f64>() - 6.0;
        state = p.calcium.carry(state);
        state[0] += p.calcium.gain * count;
        (p.sensor.fluorescence(state[0]) + noise_sd * noise) as f32
    };
    means.iter().map(frame).collect()
}

/// A prior like those of simulated traces: none to a few spikes.
fn means(n_bins: usize) -> Vec<f32> {
    (0..n_bins)
        .map(|bin| [0.4, 0.1, 0.2, 0.5][bin % 4])
        .collect()
}

fn logarithms(means: &[f32]) -> Vec<f32> {
    means.iter().map(|mean| mean.ln()).collect()
}

/// A trace that starts in mid-decay.
fn decaying<const P: usize, S>(model: CountModel<P, S>) -> CountModel<P, S> {
    CountModel {
        start: Start::Decaying {
            direction: CalciumDynamics::decaying(1.0, 0.8),
            mean: 1.0,
            variance: 1.0,
        },
        ..model
    }
}
