//! Two regimes, each with its own limit cycle, that switch at random.

use std::f64::consts::TAU;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::{check_not_negative, check_positive};
use crate::seed::Draws;

/// A state of three coordinates that one of two regimes draws onto a circle of radius 1: about
/// (0, 0, ½) in the first plane, or about (0, 0, −½) in a plane at right angles to it, each at its own
/// frequency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switching {
    /// Turns per second in either regime.
    pub frequencies_hz: [f64; 2],
    /// Mean time that a regime lasts, seconds; times are exponential.
    pub lasts_s: f64,
    /// Time in which the state is drawn onto its circle, seconds.
    pub settling_s: f64,
    /// SD of what jostles each coordinate in one second.
    pub jostle: f64,
}

impl Default for Switching {
    fn default() -> Self {
        Self {
            frequencies_hz: [0.35, 0.8],
            lasts_s: 6.0,
            settling_s: 0.5,
            jostle: 0.2,
        }
    }
}

impl Switching {
    pub(crate) fn validate(&self) -> Result<(), SynthError> {
        for frequency_hz in self.frequencies_hz {
            check_positive("dynamics.switching.frequencies_hz", frequency_hz)?;
        }
        check_positive("dynamics.switching.lasts_s", self.lasts_s)?;
        check_positive("dynamics.switching.settling_s", self.settling_s)?;
        check_not_negative("dynamics.switching.jostle", self.jostle)
    }

    /// `[step, 3]` from a random state and regime, in steps of `step_s`.
    pub(crate) fn run(&self, draws: &mut Draws, step_s: f64, n_steps: usize) -> Array2<f64> {
        let stays = libm::exp(-step_s / self.lasts_s);
        let jostle = self.jostle * libm::sqrt(step_s);
        let mut state = [draws.normal(), draws.normal(), draws.normal()];
        let mut regime = usize::from(draws.uniform() < 0.5);
        let mut states = Array2::zeros((n_steps, 3));
        for mut to in states.outer_iter_mut() {
            to.iter_mut().zip(state).for_each(|(to, x)| *to = x);
            state = self.next(state, regime, step_s);
            for x in &mut state {
                *x += jostle * draws.normal();
            }
            if draws.uniform() >= stays {
                regime = 1 - regime;
            }
        }
        states
    }

    /// One step: turned about the regime's centre, and drawn towards its circle.
    fn next(&self, [x, y, z]: [f64; 3], regime: usize, step_s: f64) -> [f64; 3] {
        let kept = libm::exp(-step_s / self.settling_s);
        let (sin, cos) = libm::sincos(TAU * self.frequencies_hz[regime] * step_s);
        let on_circle = |a: f64, b: f64| {
            let radius = libm::sqrt(a * a + b * b).max(1e-9);
            let scale = (1.0 + kept * (radius - 1.0)) / radius;
            (scale * (cos * a - sin * b), scale * (sin * a + cos * b))
        };
        if regime == 0 {
            let (x, y) = on_circle(x, y);
            [x, y, 0.5 + kept * (z - 0.5)]
        } else {
            let (y, z) = on_circle(y, z + 0.5);
            [kept * x, y, z - 0.5]
        }
    }
}
