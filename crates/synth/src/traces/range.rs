//! Ranges that a recipe draws from.

use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::check;
use crate::seed::Draws;

/// The least and the greatest value that are drawn; `[low, high]` in a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Range(pub [f64; 2]);

impl Range {
    pub(super) fn uniform(self, draws: &mut Draws) -> f64 {
        let [low, high] = self.0;
        low + (high - low) * draws.uniform()
    }

    pub(super) fn log_uniform(self, draws: &mut Draws) -> f64 {
        let [low, high] = self.0.map(libm::log);
        // The exponential may round to just outside.
        libm::exp(low + (high - low) * draws.uniform()).clamp(self.0[0], self.0[1])
    }

    /// A whole number from `low` to `high`, both included.
    pub(super) fn whole(self, draws: &mut Draws) -> usize {
        let [low, high] = self.0;
        let drawn = low + libm::floor((high - low + 1.0) * draws.uniform());
        drawn.min(high) as usize
    }

    /// `Ok` for finite numbers in order.
    pub(super) fn check(self, field: &'static str) -> Result<(), SynthError> {
        let [low, high] = self.0;
        let good = low.is_finite() && high.is_finite() && low <= high;
        check(good, field, self.0, "[low, high] with low <= high")
    }

    /// `Ok` for positive numbers in order.
    pub(super) fn check_positive(self, field: &'static str) -> Result<(), SynthError> {
        let [low, high] = self.0;
        let good = low > 0.0 && high.is_finite() && low <= high;
        check(good, field, self.0, "[low, high] with 0 < low <= high")
    }

    /// `Ok` for numbers from `least` to `most` in order.
    pub(super) fn check_within(
        self,
        field: &'static str,
        [least, most]: [f64; 2],
        expected: &'static str,
    ) -> Result<(), SynthError> {
        let [low, high] = self.0;
        let good = low >= least && high <= most && low <= high;
        check(good, field, self.0, expected)
    }
}

/// Whether something that happens with this probability happens.
pub(super) fn chance(probability: f64, draws: &mut Draws) -> bool {
    draws.uniform() < probability
}

/// `Ok` for a probability.
pub(super) fn check_probability(field: &'static str, value: f64) -> Result<(), SynthError> {
    check(
        (0.0..=1.0).contains(&value),
        field,
        value,
        "a probability, from 0 to 1",
    )
}

/// Exponentially distributed with mean 1.
pub(super) fn exponential(draws: &mut Draws) -> f64 {
    -libm::log(1.0 - draws.uniform())
}
