//! What one evaluation of a bound needs beside the model and the data.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::elbo::TermWeights;
use crate::noise::Noise;

/// Which levels of a ladder take part in a step; models of one level are always at
/// [`Stage::Joint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The shallow level alone, under rates constant in time.
    Shallow,
    /// The deep level alone, on spikes the shallow level inferred.
    Deep,
    /// Both levels, end to end.
    Joint,
}

/// What a pass explains, with what it needs to.
#[derive(Clone, Copy, Debug)]
pub enum Task<S = Tensor<3>> {
    /// The observations by the shallow level alone, under rates constant in time.
    Shallow,
    /// Spikes that the shallow level inferred, `[time, trial, neuron]`, by the deep level alone.
    Deep(S),
    /// The observations by all levels, end to end.
    Joint,
}

impl<S> Task<S> {
    /// The same with the spikes in another form.
    pub fn map<T>(self, form: impl FnOnce(S) -> T) -> Task<T> {
        match self {
            Self::Shallow => Task::Shallow,
            Self::Deep(spikes) => Task::Deep(form(spikes)),
            Self::Joint => Task::Joint,
        }
    }

    /// The same with the spikes lent.
    pub fn as_ref(&self) -> Task<&S> {
        match self {
            Self::Shallow => Task::Shallow,
            Self::Deep(spikes) => Task::Deep(spikes),
            Self::Joint => Task::Joint,
        }
    }
}

/// What is dropped out in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropoutMode {
    /// Units of every network, and elements of the input by coordinated dropout.
    Training,
    /// Units of the generator alone: the spread of the generative model's weights (Gal &
    /// Ghahramani 2016), while the encoder sees all data with all its units.
    Generator,
    /// Nothing.
    Nothing,
}

impl DropoutMode {
    /// Whether units of the generator are dropped.
    pub fn drops_in_generator(self) -> bool {
        self != Self::Nothing
    }

    /// Whether units of the encoders are dropped, and coordinated dropout hides elements of the
    /// input from them.
    pub fn drops_in_encoder(self) -> bool {
        self == Self::Training
    }
}

/// What one evaluation of a bound needs beside the data.
#[derive(Debug)]
pub struct Pass<'a> {
    /// Warm-up state.
    pub weights: TermWeights,
    /// What is dropped out.
    pub dropout: DropoutMode,
    /// Source of posterior samples and dropout masks.
    pub noise: &'a mut Noise,
}

impl<'a> Pass<'a> {
    /// At full weights, with nothing dropped out.
    pub fn plain(noise: &'a mut Noise) -> Self {
        Self {
            weights: TermWeights::FULL,
            dropout: DropoutMode::Nothing,
            noise,
        }
    }
}
