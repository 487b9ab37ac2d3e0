//! A ring attractor: a bump of activity that turns at a varying speed, as head direction does.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::{check_not_negative, check_positive};
use crate::seed::Draws;

/// dθ/dt = ω; ω is an Ornstein–Uhlenbeck process. The state is (cos θ, sin θ).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ring {
    /// SD of the angular velocity ω, radians per second.
    pub speed_sd: f64,
    /// Correlation time of ω, seconds.
    pub speed_s: f64,
}

impl Default for Ring {
    /// A turn in about five seconds, either way.
    fn default() -> Self {
        Self {
            speed_sd: 1.5,
            speed_s: 3.0,
        }
    }
}

impl Ring {
    pub(crate) fn validate(&self) -> Result<(), SynthError> {
        check_not_negative("dynamics.ring.speed_sd", self.speed_sd)?;
        check_positive("dynamics.ring.speed_s", self.speed_s)
    }

    /// `[step, 2]` from a random place and speed, in steps of `step_s`.
    pub(crate) fn run(&self, draws: &mut Draws, step_s: f64, n_steps: usize) -> Array2<f64> {
        let kept = libm::exp(-step_s / self.speed_s);
        let fresh = libm::sqrt(1.0 - kept * kept);
        let mut angle = std::f64::consts::TAU * draws.uniform();
        let mut speed = self.speed_sd * draws.normal();
        let mut states = Array2::zeros((n_steps, 2));
        for mut state in states.outer_iter_mut() {
            state[0] = libm::cos(angle);
            state[1] = libm::sin(angle);
            angle += step_s * speed;
            speed = kept * speed + fresh * self.speed_sd * draws.normal();
        }
        states
    }
}
