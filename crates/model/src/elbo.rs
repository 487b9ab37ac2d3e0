//! The evidence lower bound, term by term, and the interface every model offers the trainer.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::calcium_model::NeuronCalcium;
use crate::dynamics::{DeepDraw, Dynamics};
use crate::noise::Noise;

/// Which levels of a ladder take part; single-level models are always [`Stage::Joint`].
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

/// Warm-up state: which terms of the bound count, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TermWeights {
    /// Weight of the shallow level's KL divergence, w¹.
    pub kl_shallow: f64,
    /// Weight of the deep level's KL divergences and L2 penalty, w².
    pub kl_deep: f64,
    /// Which levels take part.
    pub stage: Stage,
}

impl TermWeights {
    /// All terms at full weight: the bound itself.
    pub const FULL: Self = Self {
        kl_shallow: 1.0,
        kl_deep: 1.0,
        stage: Stage::Joint,
    };
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

/// What one evaluation of the bound needs beside the data.
#[derive(Debug)]
pub struct Pass<'a> {
    /// Warm-up state.
    pub weights: TermWeights,
    /// What is dropped out.
    pub dropout: DropoutMode,
    /// Source of posterior samples and dropout masks.
    pub noise: &'a mut Noise,
    /// In [`Stage::Deep`]: the spikes to explain, `[time, trial, neuron]`, as
    /// [`SequentialVae::infer_spikes`] gave them.
    pub spikes: Option<Tensor<3>>,
}

/// The terms of the negative bound, each the mean over trials, in nats.
#[derive(Clone, Debug)]
pub struct Elbo {
    /// −log p(x | ·), the observations given what is inferred (zero in [`Stage::Deep`]).
    pub reconstruction: Tensor<1>,
    /// −log p(s | λ), inferred spikes under the inferred rates (ladder only).
    pub spikes: Option<Tensor<1>>,
    /// KL of the shallow latents (ladder only).
    pub kl_shallow: Option<Tensor<1>>,
    /// KL of the initial condition.
    pub kl_ic: Option<Tensor<1>>,
    /// L2 penalty on the generator's recurrent weights.
    pub l2: Option<Tensor<1>>,
}

impl Elbo {
    /// reconstruction + spikes + w¹ KL(shallow) + w² (KL(ic) + L2), to be minimised.
    pub fn loss(&self, weights: &TermWeights) -> Tensor<1> {
        let weighted = |term: &Option<Tensor<1>>, weight: f64| {
            term.as_ref().map(|term| term.clone().mul_scalar(weight))
        };
        [
            weighted(&self.spikes, 1.0),
            weighted(&self.kl_shallow, weights.kl_shallow),
            weighted(&self.kl_ic, weights.kl_deep),
            weighted(&self.l2, weights.kl_deep),
        ]
        .into_iter()
        .flatten()
        .fold(self.reconstruction.clone(), |sum, term| sum + term)
    }

    /// The terms as numbers.
    pub fn values(&self) -> ElboValues {
        let value = |term: &Tensor<1>| f64::from(term.clone().into_scalar::<f32>());
        ElboValues {
            reconstruction: value(&self.reconstruction),
            spikes: self.spikes.as_ref().map(value),
            kl_shallow: self.kl_shallow.as_ref().map(value),
            kl_ic: self.kl_ic.as_ref().map(value),
            l2: self.l2.as_ref().map(value),
        }
    }
}

/// [`Elbo`] as numbers, nats per trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ElboValues {
    /// −log p(x | ·).
    pub reconstruction: f64,
    /// −log p(s | λ).
    pub spikes: Option<f64>,
    /// KL of the shallow latents.
    pub kl_shallow: Option<f64>,
    /// KL of the initial condition.
    pub kl_ic: Option<f64>,
    /// L2 penalty.
    pub l2: Option<f64>,
}

impl ElboValues {
    /// The terms with their names, in the order of the sum.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("reconstruction", Some(self.reconstruction)),
            ("spikes", self.spikes),
            ("kl_shallow", self.kl_shallow),
            ("kl_ic", self.kl_ic),
            ("l2", self.l2),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
    }

    /// The first term that is NaN or infinite.
    pub fn non_finite(&self) -> Option<(&'static str, f64)> {
        self.named().find(|(_, value)| !value.is_finite())
    }

    /// Sum at full weights, without the penalty: the negative bound.
    pub fn negative_bound(&self) -> f64 {
        self.named()
            .filter(|(name, _)| *name != "l2")
            .map(|(_, value)| value)
            .sum()
    }

    /// Term-wise mean of values of so many trials each.
    pub fn mean(values: &[(usize, Self)]) -> Self {
        let n = values.iter().map(|(n, _)| *n as f64).sum::<f64>();
        let mean = |get: fn(&Self) -> Option<f64>| {
            let share = |(n, terms): &(usize, Self)| Some(get(terms)? * *n as f64);
            values
                .iter()
                .map(share)
                .sum::<Option<f64>>()
                .map(|sum| sum / n)
        };
        Self {
            reconstruction: mean(|v| Some(v.reconstruction)).unwrap_or_default(),
            spikes: mean(|v| v.spikes),
            kl_shallow: mean(|v| v.kl_shallow),
            kl_ic: mean(|v| v.kl_ic),
            l2: mean(|v| v.l2),
        }
    }
}

/// One posterior sample of everything a model infers.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Factors, `[time, trial, factor]`.
    pub factors: Tensor<3>,
    /// Logarithm of the rates in Hz, `[time, trial, neuron]`.
    pub log_rates: Tensor<3>,
    /// Spike counts per bin, `[time, trial, neuron]`, if the model infers them.
    pub spikes: Option<Tensor<3>>,
    /// Noiseless fluorescence, `[time, trial, neuron]`, if the model infers it.
    pub fluor: Option<Tensor<3>>,
}

/// A sequential variational autoencoder: what the trainer and the inference need of a model.
///
/// Observations are time-major, `[time, trial, neuron]`.
pub trait SequentialVae: Module + 'static {
    /// What the encoders make of the data; samples start from here.
    type Encoded;

    /// The bound on a batch of observations.
    fn elbo(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Elbo;

    /// The shallow level's own estimate of the spikes, without the deep level; none for models
    /// of one level.
    fn infer_spikes(&self, _x: Tensor<3>, _noise: &mut Noise) -> Option<Tensor<3>> {
        None
    }

    /// Posterior parameters, without dropout.
    fn encode(&self, x: Tensor<3>) -> Self::Encoded;

    /// One posterior sample.
    fn draw(&self, encoded: &Self::Encoded, noise: &mut Noise) -> Draw;

    /// One posterior sample to be averaged: what follows from the sampled rates by Bayes' rule is its
    /// mean given them. Where that takes long it is left out unless `shallow`.
    fn draw_mean(&self, encoded: &Self::Encoded, _shallow: bool, noise: &mut Noise) -> Draw {
        self.draw(encoded, noise)
    }

    /// A sample of the deep level alone, with dropout where `pass` is of a training.
    fn draw_deep(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> DeepDraw;

    /// What is known, or was learned, of each neuron's calcium, if the model infers spikes from
    /// it by Bayes' rule.
    fn calcium(&self) -> Option<Vec<NeuronCalcium>> {
        None
    }

    /// The deep level, which every model has.
    fn dynamics_mut(&mut self) -> &mut Dynamics;

    /// Applies the constraints that hold after every optimiser step.
    #[must_use]
    fn project(mut self) -> Self {
        let dynamics = self.dynamics_mut();
        *dynamics = dynamics.clone().project();
        self
    }

    /// Gives the deep level fresh weights: the way out of a collapse.
    #[must_use]
    fn reset_dynamics(mut self, noise: &mut Noise) -> Self {
        let dynamics = self.dynamics_mut();
        *dynamics = dynamics.clone().reset(noise);
        self
    }
}
