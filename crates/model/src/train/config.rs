//! The numbers of a training.

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, require};
use crate::schedule::{LearningRate, WarmUp};

/// Every number of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub n_steps: usize,
    /// Trials per step.
    pub batch_size: usize,
    /// Learning rate over the steps.
    pub learning_rate: LearningRate,
    /// Adam's decay of the first moment.
    pub beta_1: f32,
    /// Adam's decay of the second moment.
    pub beta_2: f32,
    /// Adam's ε.
    pub epsilon: f32,
    /// The gradient's joint norm is clipped to this; infinity: it is not.
    #[serde(with = "crate::number")]
    pub clip_norm: f64,
    /// When each level joins in.
    pub warm_up: WarmUp,
    /// Decay per step of the running average of the weights, which is what training returns;
    /// 0 returns the last weights.
    pub average_decay: f64,
    /// Epochs between validations.
    pub validate_every: usize,
    /// Validations without improvement before training stops early; absent: never.
    pub patience: Option<usize>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            n_steps: 8_000,
            batch_size: 65,
            learning_rate: LearningRate::Cosine {
                peak: 0.01,
                constant_fraction: 0.3,
                final_fraction: 0.002,
            },
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 0.1,
            clip_norm: 200.0,
            warm_up: WarmUp::default(),
            average_decay: 0.998,
            validate_every: 10,
            patience: None,
        }
    }
}

/// Steps, trials and epochs.
const MOST: usize = 1_000_000_000;

impl TrainConfig {
    /// Checks every number, as [`fit`](super::fit) does before it starts.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the field, the value and the valid range.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.learning_rate.validate()?;
        self.warm_up.validate()?;
        for (field, size) in [
            ("n_steps", self.n_steps),
            ("batch_size", self.batch_size),
            ("validate_every", self.validate_every),
        ] {
            require(
                (1..=MOST).contains(&size),
                field,
                size,
                "from 1 to 1,000,000,000",
            )?;
        }
        for (field, beta) in [("beta_1", self.beta_1), ("beta_2", self.beta_2)] {
            require((0.0..1.0).contains(&beta), field, beta, "in [0, 1)")?;
        }
        require(
            self.epsilon > 0.0 && self.epsilon.is_finite(),
            "epsilon",
            self.epsilon,
            "above 0 and finite",
        )?;
        require(self.clip_norm > 0.0, "clip_norm", self.clip_norm, "above 0")?;
        require(
            (0.0..1.0).contains(&self.average_decay),
            "average_decay",
            self.average_decay,
            "in [0, 1)",
        )
    }
}
