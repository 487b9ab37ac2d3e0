//! How the learning rate and the weights of the bound change over a training.

use serde::{Deserialize, Serialize};

use crate::elbo::TermWeights;
use crate::error::{ModelError, require};
use crate::pass::Stage;

/// The learning rate over the steps of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum LearningRate {
    /// `peak` for a fraction of the steps, then half a cosine down to a fraction of it.
    Cosine {
        /// Rate at the start.
        peak: f64,
        /// Fraction of the steps at the full rate.
        constant_fraction: f64,
        /// Last rate, as a fraction of `peak`.
        final_fraction: f64,
    },
    /// Multiplied by `factor` whenever the training loss has not improved for
    /// `patience_epochs`; training ends at `floor`.
    Plateau {
        /// Rate at the start.
        initial: f64,
        /// Factor of each decay.
        factor: f64,
        /// Epochs without improvement before a decay.
        patience_epochs: usize,
        /// Lowest rate.
        floor: f64,
    },
}

impl LearningRate {
    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        match *self {
            Self::Cosine {
                peak,
                constant_fraction,
                final_fraction,
            } => {
                require(
                    peak > 0.0 && peak.is_finite(),
                    "learning_rate.peak",
                    peak,
                    "above 0 and finite",
                )?;
                for (field, fraction) in [
                    ("learning_rate.constant_fraction", constant_fraction),
                    ("learning_rate.final_fraction", final_fraction),
                ] {
                    require(
                        (0.0..=1.0).contains(&fraction),
                        field,
                        fraction,
                        "in [0, 1]",
                    )?;
                }
                Ok(())
            }
            Self::Plateau {
                initial,
                factor,
                patience_epochs,
                floor,
            } => {
                require(
                    initial > 0.0 && initial.is_finite(),
                    "learning_rate.initial",
                    initial,
                    "above 0 and finite",
                )?;
                require(
                    factor > 0.0 && factor < 1.0,
                    "learning_rate.factor",
                    factor,
                    "in (0, 1)",
                )?;
                require(
                    patience_epochs > 0,
                    "learning_rate.patience_epochs",
                    patience_epochs,
                    "at least 1",
                )?;
                require(
                    floor > 0.0 && floor < initial,
                    "learning_rate.floor",
                    floor,
                    "above 0 and below `initial`",
                )
            }
        }
    }

    /// The rate at `step` of `n_steps`, for a plateau schedule after `decays` decays.
    pub fn at(&self, step: usize, n_steps: usize, decays: usize) -> f64 {
        match *self {
            Self::Cosine {
                peak,
                constant_fraction,
                final_fraction,
            } => {
                let progress = step as f64 / n_steps as f64;
                let decay = (progress - constant_fraction) / (1.0 - constant_fraction).max(1e-9);
                let phase = std::f64::consts::PI * decay.clamp(0.0, 1.0);
                let cosine = 0.5 * (1.0 + phase.cos());
                peak * (final_fraction + (1.0 - final_fraction) * cosine)
            }
            Self::Plateau {
                initial,
                factor,
                floor,
                ..
            } => (initial * factor.powi(decays as i32)).max(floor),
        }
    }
}

/// Neurons from which on the first steps are smaller.
const MANY_NEURONS: f64 = 64.0;
/// Steps until they have their full size.
const START_STEPS: f64 = 100.0;

/// What the rate is multiplied by at the start of a training: one step of Adam moves every weight by as
/// much, so that what is summed over many neurons moves far, and rates are exponentials of such sums.
pub(crate) fn start_scale(step: usize, n_neurons: usize) -> f64 {
    let first = (MANY_NEURONS / n_neurons as f64).min(1.0);
    first + (1.0 - first) * (step as f64 / START_STEPS).min(1.0)
}

/// Counts epochs without improvement of the training loss, for [`LearningRate::Plateau`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlateauState {
    best: Option<f64>,
    epochs_since_best: usize,
    pub decays: usize,
}

impl PlateauState {
    pub const NEW: Self = Self {
        best: None,
        epochs_since_best: 0,
        decays: 0,
    };

    pub fn observe(&mut self, loss: f64, schedule: &LearningRate) {
        let LearningRate::Plateau {
            patience_epochs, ..
        } = *schedule
        else {
            return;
        };
        if self.best.is_none_or(|best| loss < best) {
            self.best = Some(loss);
            self.epochs_since_best = 0;
            return;
        }
        self.epochs_since_best += 1;
        if self.epochs_since_best >= patience_epochs {
            self.decays += 1;
            self.epochs_since_best = 0;
        }
    }
}

/// When each level joins in, in optimiser steps.
///
/// The shallow level comes first, its KL weight w¹ ramping up. From `deep_start` the deep level
/// learns alone for `deep_alone` steps from the spikes that the shallow level has found, its
/// weight w² ramping up; then both go on together. The paper has no time alone for the deep
/// level (`deep_alone` 0). It is there because a deep step costs an eighth of a joint one and
/// the deep level needs thousands; and because a deep level that already explains the spikes
/// when the levels meet does not collapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmUp {
    /// Steps over which w¹ ramps from 0 to 1.
    pub shallow_steps: usize,
    /// Step at which the deep level joins.
    pub deep_start: usize,
    /// Steps the deep level then trains alone.
    pub deep_alone: usize,
    /// Steps over which w² ramps from 0 to 1 after `deep_start`.
    pub deep_steps: usize,
}

impl Default for WarmUp {
    fn default() -> Self {
        Self {
            shallow_steps: 0,
            deep_start: 0,
            deep_alone: 0,
            deep_steps: 1600,
        }
    }
}

impl WarmUp {
    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        for (field, steps) in [
            ("warm_up.shallow_steps", self.shallow_steps),
            ("warm_up.deep_start", self.deep_start),
            ("warm_up.deep_alone", self.deep_alone),
            ("warm_up.deep_steps", self.deep_steps),
        ] {
            require(
                steps <= 1_000_000_000,
                field,
                steps,
                "from 0 to 1,000,000,000",
            )?;
        }
        Ok(())
    }

    /// The weights at `step`, where the deep level joined (or was reset) at `deep_start`.
    pub fn weights(&self, step: usize, deep_start: usize) -> TermWeights {
        TermWeights {
            kl_shallow: ramp(step, self.shallow_steps),
            kl_deep: ramp(step.saturating_sub(deep_start), self.deep_steps),
        }
    }

    /// Which levels take part at `step`, where the deep level joined (or was reset) at
    /// `deep_start`.
    pub fn stage(&self, step: usize, deep_start: usize) -> Stage {
        if step < deep_start {
            Stage::Shallow
        } else if step < deep_start + self.deep_alone {
            Stage::Deep
        } else {
            Stage::Joint
        }
    }
}

fn ramp(step: usize, n_steps: usize) -> f64 {
    if step >= n_steps {
        return 1.0;
    }
    step as f64 / n_steps as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_holds_then_falls_to_its_fraction() {
        let schedule = LearningRate::Cosine {
            peak: 0.01,
            constant_fraction: 0.5,
            final_fraction: 0.1,
        };
        assert!((schedule.at(0, 100, 0) - 0.01).abs() < 1e-12);
        assert!((schedule.at(50, 100, 0) - 0.01).abs() < 1e-12);
        assert!((schedule.at(75, 100, 0) - 0.0055).abs() < 1e-12);
        assert!((schedule.at(100, 100, 0) - 0.001).abs() < 1e-12);
    }

    #[test]
    fn the_first_steps_of_many_neurons_are_small() {
        let [few, many] = [30, 640].map(|n| [0, 50, 100].map(|step| start_scale(step, n)));
        let same = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(same(few, [1.0; 3]), "{few:?}");
        assert!(same(many, [0.1, 0.55, 1.0]), "{many:?}");
    }

    #[test]
    fn plateau_decays_after_patience_and_stops_at_the_floor() {
        let schedule = LearningRate::Plateau {
            initial: 0.01,
            factor: 0.5,
            patience_epochs: 2,
            floor: 0.004,
        };
        let mut state = PlateauState::NEW;
        for loss in [3.0, 2.0, 2.5, 2.0] {
            state.observe(loss, &schedule);
        }
        assert_eq!(state.decays, 1);
        assert!((schedule.at(0, 10, 1) - 0.005).abs() < 1e-12);
        assert!((schedule.at(0, 10, 5) - 0.004).abs() < 1e-12);
    }

    #[test]
    fn levels_train_apart_then_together() {
        let warm_up = WarmUp {
            shallow_steps: 10,
            deep_start: 20,
            deep_alone: 5,
            deep_steps: 10,
        };
        let at = |step| {
            let weights = warm_up.weights(step, 20);
            let stage = warm_up.stage(step, 20);
            (weights.kl_shallow, weights.kl_deep, stage)
        };
        assert_eq!(at(5), (0.5, 0.0, Stage::Shallow));
        assert_eq!(at(22), (1.0, 0.2, Stage::Deep));
        assert_eq!(at(25), (1.0, 0.5, Stage::Joint));
    }
}
