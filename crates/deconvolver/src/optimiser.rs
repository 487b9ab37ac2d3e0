//! AdamW on flat vectors, with a warm-up, a cosine and a running mean of the weights.
//!
//! # Source
//! Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.

use std::f64::consts::PI;

use calcium::network::layers::{Architecture, Layers};

use crate::draws::{Draws, Purpose};
use crate::recipe::Training;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.99;
const EPSILON: f64 = 1e-8;

/// Of the highest learning rate, what is left at the end.
const FINAL_RATE: f64 = 0.01;

/// Everything that a step changes.
#[derive(Clone, Debug)]
pub struct State {
    /// Steps taken.
    pub step: usize,
    /// The network in training.
    pub layers: Layers,
    /// Running means of the gradient and of its square.
    pub moments: [Vec<f32>; 2],
    /// Running mean of the weights.
    pub mean: Vec<f32>,
}

impl State {
    /// Weights drawn uniformly from ±1/√fan-in, biases 0.
    pub fn new(architecture: Architecture, seed: u64) -> Self {
        let mut layers = Layers::zeros(architecture);
        for (index, place) in layers.architecture().tensors().into_iter().enumerate() {
            if place.fan_in > 0 {
                let mut draws = Draws::new(seed, Purpose::Weights, index);
                let bound = 1.0 / (place.fan_in as f64).sqrt();
                for weight in &mut layers.parameters[place.range] {
                    *weight = (bound * (2.0 * draws.uniform() - 1.0)) as f32;
                }
            }
        }
        let n = layers.parameters.len();
        Self {
            step: 0,
            mean: layers.parameters.clone(),
            moments: [vec![0.0; n], vec![0.0; n]],
            layers,
        }
    }

    /// The network whose weights are the running means.
    pub fn averaged(&self) -> Layers {
        let mut layers = self.layers.clone();
        layers.parameters.copy_from_slice(&self.mean);
        layers
    }

    /// Takes a step down the gradient; returns its norm before it is clipped.
    pub fn descend(&mut self, gradient: &[f32], training: &Training) -> f64 {
        let square = |d: &f32| f64::from(*d) * f64::from(*d);
        let norm = gradient.iter().map(square).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return norm;
        }
        let scale = (training.clip / norm.max(training.clip)) as f32;
        let rate = learning_rate(training, self.step);
        self.step += 1;
        let corrections = [BETA_1, BETA_2].map(|beta| 1.0 - beta.powi(self.step as i32));
        // Over few steps yet, the mean is over about as many.
        let averaging = training
            .averaging
            .min(self.step as f64 / (self.step as f64 + 10.0)) as f32;
        let [first, second] = &mut self.moments;
        let weights = self.layers.parameters.iter_mut().zip(&mut self.mean);
        let moments = first.iter_mut().zip(second.iter_mut());
        for (((weight, mean), (first, second)), d) in weights.zip(moments).zip(gradient) {
            let d = scale * d;
            *first += (1.0 - BETA_1) as f32 * (d - *first);
            *second += (1.0 - BETA_2) as f32 * (d * d - *second);
            let first = f64::from(*first) / corrections[0];
            let second = f64::from(*second) / corrections[1];
            let change =
                first / (second.sqrt() + EPSILON) + training.weight_decay * f64::from(*weight);
            *weight -= (rate * change) as f32;
            *mean += (1.0 - averaging) * (*weight - *mean);
        }
        norm
    }
}

/// Rises in a line, then falls as a cosine.
fn learning_rate(training: &Training, step: usize) -> f64 {
    let rise = ((step + 1) as f64 / training.warm_up.max(1) as f64).min(1.0);
    let phase = (step as f64 / training.steps as f64).min(1.0);
    let fall = FINAL_RATE + (1.0 - FINAL_RATE) * 0.5 * (1.0 + (PI * phase).cos());
    training.learning_rate * rise * fall
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training() -> Training {
        Training {
            steps: 400,
            batch: 1,
            pool: 1,
            reuse: 1,
            frames: [1, 1],
            learning_rate: 0.05,
            warm_up: 10,
            weight_decay: 0.0,
            clip: 1.0,
            averaging: 0.9,
        }
    }

    #[test]
    fn it_finds_the_minimum_of_a_parabola() {
        let architecture = Architecture {
            width: 2,
            input_taps: 1,
            block_taps: 1,
            output_taps: 1,
            dilations: vec![1],
        };
        let mut state = State::new(architecture, 1);
        for _ in 0..400 {
            let gradient: Vec<f32> = state.layers.parameters.iter().map(|w| w - 0.5).collect();
            state.descend(&gradient, &training());
        }
        assert!(
            state
                .layers
                .parameters
                .iter()
                .all(|w| (w - 0.5).abs() < 0.01)
        );
        assert!(
            state
                .averaged()
                .parameters
                .iter()
                .all(|w| (w - 0.5).abs() < 0.01)
        );
    }

    #[test]
    fn the_learning_rate_rises_and_falls() {
        let rates: Vec<f64> = (0..400)
            .map(|step| learning_rate(&training(), step))
            .collect();
        assert!((rates[0] - 0.005).abs() < 1e-4);
        assert!(rates[..10].is_sorted() && rates[10..].is_sorted_by(|a, b| a >= b));
        assert!(rates[399] < 0.0006);
    }

    #[test]
    fn a_gradient_that_is_no_number_changes_nothing() {
        let architecture = Architecture {
            width: 1,
            input_taps: 1,
            block_taps: 1,
            output_taps: 1,
            dilations: vec![1],
        };
        let mut state = State::new(architecture, 1);
        let before = state.layers.parameters.clone();
        let gradient = vec![f32::NAN; before.len()];
        assert!(state.descend(&gradient, &training()).is_nan());
        assert_eq!((state.step, &state.layers.parameters), (0, &before));
    }
}
