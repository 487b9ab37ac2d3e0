//! One pulse a trial, in a random direction at a random time.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::{check, check_not_negative};
use crate::seed::Draws;

/// One pulse per trial, in a random direction at a random time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pulse {
    /// Root-mean-square jump of a unit, or coordinate; 0 for no pulse.
    pub amplitude: f64,
    /// Earliest time, as a fraction of the trial.
    pub earliest: f64,
    /// Latest time, as a fraction of the trial.
    pub latest: f64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            amplitude: 5.0,
            earliest: 0.25,
            latest: 0.75,
        }
    }
}

impl Pulse {
    /// What the recipe of a benchmark calls amplitude and times.
    pub(crate) const FIELDS: [&str; 2] = ["pulse.amplitude", "pulse.earliest, pulse.latest"];

    /// Checks every field: what recipes call the amplitude, and the times.
    pub(crate) fn validate(&self, [amplitude, times]: [&'static str; 2]) -> Result<(), SynthError> {
        check_not_negative(amplitude, self.amplitude)?;
        check(
            0.0 <= self.earliest && self.earliest <= self.latest && self.latest <= 1.0,
            times,
            [self.earliest, self.latest],
            "fractions of the trial, 0 <= earliest <= latest <= 1",
        )
    }

    /// The bin at whose start a trial's pulse comes, and the jump of each of `n` units.
    pub(crate) fn draw(&self, draws: &mut Draws, n: usize, n_bins: usize) -> (usize, Vec<f64>) {
        let time = self.earliest + (self.latest - self.earliest) * draws.uniform();
        let bin = ((time * n_bins as f64) as usize).min(n_bins - 1);
        let direction: Vec<f64> = (0..n).map(|_| draws.normal()).collect();
        let mean_square = direction.iter().map(|d| d * d).sum::<f64>() / n as f64;
        let scale = self.amplitude / libm::sqrt(mean_square);
        (bin, direction.iter().map(|d| scale * d).collect())
    }
}

/// The inputs of a trial, `[time, unit]`: a jump in one bin.
pub(crate) fn inputs(n_bins: usize, bin: usize, jump: &[f64]) -> Array2<f32> {
    let mut inputs = Array2::zeros((n_bins, jump.len()));
    let row = inputs.row_mut(bin);
    row.into_iter().zip(jump).for_each(|(u, j)| *u = *j as f32);
    inputs
}
