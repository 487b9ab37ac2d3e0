//! Damped oscillators that a pulse drives: what happens after it cannot be known from before.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::pulse::Pulse;
use crate::SynthError;
use crate::error::{check, check_not_negative, check_positive};
use crate::seed::Draws;

/// Oscillators, of two coordinates each, that turn and decay; at one random time of a trial all of them
/// jump in a random direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pulsed {
    /// Frequency of each oscillator, Hz.
    pub frequencies_hz: Vec<f64>,
    /// Time in which an oscillation decays, seconds.
    pub decay_s: f64,
    /// SD of each coordinate when a trial starts.
    pub initial_sd: f64,
    /// Root-mean-square jump of a coordinate.
    pub amplitude: f64,
    /// Earliest time of the jump, as a fraction of the trial.
    pub earliest: f64,
    /// Latest time, as a fraction of the trial.
    pub latest: f64,
}

impl Default for Pulsed {
    fn default() -> Self {
        Self {
            frequencies_hz: vec![0.4, 0.9],
            decay_s: 1.5,
            initial_sd: 0.5,
            amplitude: 1.0,
            earliest: 0.2,
            latest: 0.7,
        }
    }
}

/// A trial's states and the input behind them.
pub(crate) struct PulsedTrial {
    /// `[step, coordinate]`.
    pub states: Array2<f64>,
    /// Step at whose start the jump comes.
    pub pulse_step: usize,
    /// `[coordinate]`.
    pub jump: Vec<f64>,
}

impl Pulsed {
    pub(crate) fn n_coordinates(&self) -> usize {
        2 * self.frequencies_hz.len()
    }

    pub(crate) fn validate(&self) -> Result<(), SynthError> {
        check(
            !self.frequencies_hz.is_empty() && self.frequencies_hz.iter().all(|f| f.is_finite()),
            "dynamics.pulsed.frequencies_hz",
            &self.frequencies_hz,
            "one or more numbers",
        )?;
        check_positive("dynamics.pulsed.decay_s", self.decay_s)?;
        check_not_negative("dynamics.pulsed.initial_sd", self.initial_sd)?;
        self.pulse().validate([
            "dynamics.pulsed.amplitude",
            "dynamics.pulsed.earliest, dynamics.pulsed.latest",
        ])
    }

    fn pulse(&self) -> Pulse {
        Pulse {
            amplitude: self.amplitude,
            earliest: self.earliest,
            latest: self.latest,
        }
    }

    /// From a random state, in steps of `step_s`; the jump comes with the start of a bin.
    pub(crate) fn run(
        &self,
        draws: &mut Draws,
        step_s: f64,
        [n_bins, steps_per_bin]: [usize; 2],
    ) -> PulsedTrial {
        let n_coordinates = self.n_coordinates();
        let mut state: Vec<f64> = (0..n_coordinates)
            .map(|_| self.initial_sd * draws.normal())
            .collect();
        let (pulse_bin, jump) = self.pulse().draw(draws, n_coordinates, n_bins);
        let pulse_step = pulse_bin * steps_per_bin;
        let kept = libm::exp(-step_s / self.decay_s);
        let mut states = Array2::zeros((n_bins * steps_per_bin, n_coordinates));
        for (step, mut to) in states.outer_iter_mut().enumerate() {
            if step == pulse_step {
                state.iter_mut().zip(&jump).for_each(|(x, j)| *x += j);
            }
            to.iter_mut().zip(&state).for_each(|(to, &x)| *to = x);
            for (pair, frequency_hz) in state.chunks_exact_mut(2).zip(&self.frequencies_hz) {
                let turn = std::f64::consts::TAU * frequency_hz * step_s;
                let (sin, cos) = libm::sincos(turn);
                let (x, y) = (pair[0], pair[1]);
                pair[0] = kept * (cos * x - sin * y);
                pair[1] = kept * (sin * x + cos * y);
            }
        }
        PulsedTrial {
            states,
            pulse_step,
            jump,
        }
    }
}
