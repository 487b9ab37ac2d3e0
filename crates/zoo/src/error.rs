//! What can go wrong between a name and a trained model.

use calcium::CalciumError;
use model::ModelError;

use crate::name::ModelName;

/// Errors of names, settings and readings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZooError {
    /// No model has this name.
    #[error("unknown model '{name}'; known: {known}")]
    UnknownModel {
        /// As given.
        name: String,
        /// All names, separated by commas.
        known: String,
    },
    /// A setting that is unknown, mistyped or contradicts another.
    #[error("{0}")]
    Settings(String),
    /// Something of the indicator that the model has no place for.
    #[error(
        "{model} cannot know of {what}; choose a model that can ({able}), or describe the indicator without"
    )]
    CannotKnow {
        /// The model.
        model: ModelName,
        /// What was told.
        what: &'static str,
        /// The models that can.
        able: &'static str,
    },
    /// A model of fluorescence without an indicator, or of counts with one.
    #[error("{model} reads {reads}, so the indicator must {must}")]
    Indicator {
        /// The model.
        model: ModelName,
        /// What it reads.
        reads: &'static str,
        /// Be described, or not.
        must: &'static str,
    },
    /// A trace that the spike network cannot read.
    #[error("neuron {neuron}")]
    Trace {
        /// Its place among the neurons.
        neuron: usize,
        /// What is wrong with it.
        source: CalciumError,
    },
    /// An indicator that OASIS cannot take.
    #[error(transparent)]
    Calcium(#[from] CalciumError),
    /// The model, its training or its inference.
    #[error(transparent)]
    Model(#[from] ModelError),
}
