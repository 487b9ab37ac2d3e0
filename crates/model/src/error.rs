//! What can go wrong between a configuration and a trained model.

use std::fmt::Display;
use std::path::PathBuf;

/// Errors of models, training and inference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A configuration field outside its range.
    #[error("model or training setting `{field}` is {value}; it must be {valid}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: String,
        /// The valid range.
        valid: &'static str,
    },
    /// Observations a model cannot take.
    #[error("{0}")]
    Data(String),
    /// A term of the loss stayed NaN or infinite through every recovery.
    #[error(
        "training diverged: `{term}` is {value} at step {step} after {recoveries} restarts from \
         the last good weights with a halved learning rate; lower `learning_rate` or `clip_norm`"
    )]
    Diverged {
        /// The term of the loss.
        term: &'static str,
        /// Its value.
        value: f64,
        /// The optimiser step.
        step: usize,
        /// Restarts tried.
        recoveries: usize,
    },
    /// Whoever watches the training asked for its end.
    #[error("the training was interrupted at step {step} of {n_steps}, {}", match saved {
        true => "which is saved",
        false => "and nothing of it is kept",
    })]
    Interrupted {
        /// Steps done.
        step: usize,
        /// Steps in all.
        n_steps: usize,
        /// Whether there is a checkpoint of that step.
        saved: bool,
    },
    /// A checkpoint that cannot be read or written.
    #[error("checkpoint {}: {problem}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
}

impl ModelError {
    /// The same, and what to do about a checkpoint that nothing can be made of.
    pub(crate) fn with_remedy(self) -> Self {
        match self {
            Self::Checkpoint { path, problem } => Self::Checkpoint {
                path,
                problem: format!("{problem}; remove it and train again"),
            },
            other => other,
        }
    }
}

/// Fails with [`ModelError::Config`] unless `holds`.
pub(crate) fn require(
    holds: bool,
    field: &'static str,
    value: impl Display,
    valid: &'static str,
) -> Result<(), ModelError> {
    if holds {
        return Ok(());
    }
    Err(ModelError::Config {
        field,
        value: value.to_string(),
        valid,
    })
}
