//! What a training tells those who watch it.

use serde::{Deserialize, Serialize};

use crate::elbo::{ElboValues, TermWeights};

/// One optimiser step, as an [`Observer`] sees it.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub n_steps: usize,
    /// The minimised loss, nats per trial.
    pub loss: f64,
    /// Its terms.
    pub terms: ElboValues,
    /// Warm-up state.
    pub weights: TermWeights,
    /// Learning rate.
    pub learning_rate: f64,
    /// Joint norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// One validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// Steps done.
    pub step: usize,
    /// Mean loss of the training steps since the last validation.
    #[serde(with = "crate::number")]
    pub train_loss: f64,
    /// Terms on the validation trials, without dropout, by the averaged weights.
    pub valid: ElboValues,
    /// Standard deviation of the factors over bins and trials.
    #[serde(with = "crate::number")]
    pub factor_sd: f64,
}

/// Something a user should know of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Training goes on from a checkpoint.
    Resumed {
        /// Steps done before.
        step: usize,
    },
    /// A term or the gradient was not finite: back to the last good weights, rate halved.
    Diverged {
        /// The step.
        step: usize,
        /// The offending term.
        term: String,
    },
    /// The deep level said nothing of the data and was given fresh weights.
    Collapsed {
        /// The step.
        step: usize,
        /// KL of the initial condition, nats per trial.
        #[serde(with = "crate::number")]
        kl_ic: f64,
        /// Standard deviation of the factors.
        #[serde(with = "crate::number")]
        factor_sd: f64,
        /// Whether it was reset, or resets were used up.
        reset: bool,
    },
    /// At the end nearly all that the deep level says of a trial it says by the inferred inputs.
    InputsCarryAll {
        /// KL of the initial condition, nats per trial.
        kl_ic: f64,
        /// KL of the inputs, nats per trial.
        kl_inputs: f64,
    },
    /// The validation bound had not improved for the configured patience.
    StoppedEarly {
        /// The step.
        step: usize,
    },
}

/// Watches a training, from a thread of the pool; every method may be left out.
pub trait Observer: Send {
    /// After each optimiser step.
    fn on_step(&mut self, _report: &StepReport) {}
    /// After each validation.
    fn on_validation(&mut self, _report: &ValidationReport) {}
    /// When something noteworthy happens.
    fn on_event(&mut self, _event: &Event) {}
    /// Asked after each step: whether to save and end here.
    fn wants_to_stop(&mut self) -> bool {
        false
    }
    /// Asked before a checkpoint is written; an error says why it must not be, and ends the training.
    ///
    /// # Errors
    /// If the folder is no longer the training's own.
    fn before_checkpoint(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// An [`Observer`] that does nothing.
impl Observer for () {}
