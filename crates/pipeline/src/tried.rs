//! What was tried before the settings of a fit were chosen.

use std::fmt;

use serde::{Deserialize, Serialize};
use toml::Value;

use crate::proof::{Lead, mean};

/// A candidate that was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// What it changes of the best before it; absent for the settings that were asked for.
    pub change: Option<Change>,
    /// Co-smoothing on frames that it did not see and the fit will, of each neuron that was hidden.
    pub scores: Vec<f64>,
    /// How it compares with the best before it.
    pub lead: Option<Lead>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A setting and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the configuration file, such as `model.dynamics.l2`.
    pub setting: String,
    /// What it becomes.
    pub value: Value,
}

impl Tried {
    /// Whether it was better than all before it.
    pub fn is_taken(&self) -> bool {
        self.lead.is_none_or(|lead| lead.mean > 0.0)
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let score = mean(&self.scores);
        match (&self.change, self.lead) {
            (Some(Change { setting, value }), Some(lead)) => write!(
                f,
                "{setting} = {value}: co-smoothing {score:.4}, {:+.4} ({:+.1} standard errors): {}",
                lead.mean,
                lead.in_errors,
                if self.is_taken() {
                    "taken"
                } else {
                    "not taken"
                }
            ),
            _ => write!(f, "settings as asked for: co-smoothing {score:.4}"),
        }
    }
}

/// How it was decided whether inputs are inferred.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Driven {
    /// How many were tried.
    pub n_inputs: usize,
    /// Held-out loss with them: negative bound in nats per trial or window.
    pub loss_with: f64,
    /// The same without.
    pub loss_without: f64,
}

impl Driven {
    /// Whether they are inferred.
    pub fn is_driven(&self) -> bool {
        self.loss_with < self.loss_without
    }
}

impl fmt::Display for Driven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            n_inputs,
            loss_with,
            loss_without,
        } = self;
        write!(
            f,
            "held-out loss {loss_with:.1} nats with {n_inputs} inputs to the dynamics, {loss_without:.1} without: {}",
            if self.is_driven() {
                "they are inferred"
            } else {
                "none are inferred"
            }
        )
    }
}
