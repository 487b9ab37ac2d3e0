//! The interface every model offers training and inference.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::calcium_model::NeuronCalcium;
use crate::deep::{DeepDraw, DeepInput, DeepPass, DeepPosterior};
use crate::dynamics::Dynamics;
use crate::elbo::{Elbo, Term};
use crate::gaussian::DiagonalGaussian;
use crate::noise::Noise;
use crate::pass::{Pass, Task};

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
    /// The posterior of the generator's inputs given the sample up to them, `[time, trial, input]`,
    /// if the model infers them.
    pub inputs: Option<DiagonalGaussian<3>>,
}

impl From<DeepDraw> for Draw {
    /// What the deep level infers.
    fn from(deep: DeepDraw) -> Self {
        Self {
            factors: deep.factors,
            log_rates: deep.log_rates,
            spikes: None,
            fluor: None,
            inputs: deep.inputs.map(|inputs| inputs.posterior),
        }
    }
}

/// What the encoders of all levels make of a batch; samples start from here.
#[derive(Clone, Debug)]
pub struct Encoded<S> {
    pub(crate) n_bins: usize,
    pub(crate) n_lead_in: usize,
    pub(crate) deep: DeepPosterior,
    pub(crate) shallow: S,
}

impl<S> Encoded<S> {
    /// A sample of the deep level.
    pub(crate) fn generate(&self, dynamics: &Dynamics, pass: &mut Pass<'_>) -> DeepDraw {
        dynamics.generate(&self.deep, (self.n_bins, self.n_lead_in), pass)
    }
}

/// A sequential variational autoencoder: a deep level, [`Dynamics`], and what ties it to the
/// observations.
///
/// A model says what its deep level reads, what the observations are worth given a sample of it,
/// and how a sample is completed; training, validation and inference follow. Observations are
/// time-major, `[time, trial, neuron]`, NaN where missing; a batch has the known inputs to the generator, where there
/// are any, behind its neurons.
pub trait SequentialVae: Module + 'static {
    /// What encoders of its own, beside the deep level's, make of the data; `()` without such.
    type Shallow;

    /// The deep level.
    fn dynamics(&self) -> &Dynamics;

    /// The deep level, to be changed.
    fn dynamics_mut(&mut self) -> &mut Dynamics;

    /// What the deep level's encoder reads of the observations.
    fn deep_input(&self, x: &Tensor<3>) -> DeepInput;

    /// The terms of the bound beside the deep level's own, given a pass of it through `x`.
    fn observe(&self, x: Tensor<3>, deep: &DeepPass, pass: &mut Pass<'_>) -> Elbo;

    /// What encoders beside the deep level's make of the data and of [`Self::deep_input`].
    fn encode_shallow(&self, x: Tensor<3>, input: &Tensor<3>) -> Self::Shallow;

    /// What the rates are judged by, `[time, trial, neuron]`: the observations or, where these come
    /// from spikes, what is to be expected of those under the rates of `deep`.
    fn evidence(
        &self,
        x: &Tensor<3>,
        _shallow: &Self::Shallow,
        _deep: &DeepDraw,
        _noise: &mut Noise,
    ) -> Tensor<3> {
        x.clone()
    }

    /// −log p(evidence | deep) of each trial, but for what does not depend on the deep level:
    /// `[trial]`.
    fn misfit(&self, evidence: &Tensor<3>, deep: &DeepDraw) -> Tensor<1>;

    /// The same of each trial under each of several runs: `[trial, run]`.
    fn misfits(&self, evidence: &Tensor<3>, runs: &DeepDraw) -> Tensor<2> {
        let [_, n_trials, _] = evidence.dims();
        let n_runs = runs.initial_factors.dims()[0];
        let of_run = |run| {
            self.misfit(evidence, &runs.of_trial(run, n_trials))
                .unsqueeze()
        };
        Tensor::cat((0..n_runs).map(of_run).collect(), 0).transpose()
    }

    /// Logarithm of the rates in Hz under a run of the deep level, `[time, trial, neuron]`.
    fn log_rates(&self, deep: &DeepDraw) -> Tensor<3> {
        deep.log_rates.clone()
    }

    /// The rest of a posterior sample, given the deep level's part of it.
    fn complete(&self, shallow: &Self::Shallow, deep: DeepDraw, noise: &mut Noise) -> Draw;

    /// The same for a sample to be averaged: what follows from the rates by Bayes' rule is its mean given
    /// them. Where that takes long it is left out unless `all` is asked for.
    fn complete_mean(
        &self,
        shallow: &Self::Shallow,
        deep: DeepDraw,
        _all: bool,
        noise: &mut Noise,
    ) -> Draw {
        self.complete(shallow, deep, noise)
    }

    /// The shallow level, if it can be trained without the deep one and that without it.
    fn shallow_level(&self) -> Option<&dyn ShallowLevel> {
        None
    }

    /// What is known, or was learned, of each neuron's calcium, if the model infers spikes from
    /// it by Bayes' rule.
    fn calcium(&self) -> Option<Vec<NeuronCalcium>> {
        None
    }

    /// The observations of a batch, and what the deep level takes of it.
    fn read(&self, batch: Tensor<3>) -> (Tensor<3>, DeepInput) {
        let (x, external) = self.dynamics().config().external.split(batch);
        let input = self.deep_input(&x);
        (x, DeepInput { external, ..input })
    }

    /// The terms of the negative bound on a batch.
    ///
    /// # Panics
    /// For a level alone, in a model without [`Self::shallow_level`].
    fn elbo(&self, batch: Tensor<3>, task: Task, pass: &mut Pass<'_>) -> Elbo {
        let alone = || {
            let level = self.shallow_level();
            level.expect("only levels that can be trained apart are")
        };
        if let Task::Shallow = task {
            let (x, _) = self.dynamics().config().external.split(batch);
            return alone().elbo_alone(x, pass);
        }
        let (x, input) = self.read(batch);
        let deep = self.dynamics().pass(input, pass);
        let rest = match task {
            Task::Deep(spikes) => Elbo::new().with(Term::Spikes, alone().explain(&deep, spikes)),
            _ => self.observe(x, &deep, pass),
        };
        self.dynamics().terms(&deep).and(rest)
    }

    /// Posterior parameters of a batch, without dropout.
    fn encode(&self, batch: Tensor<3>) -> Encoded<Self::Shallow> {
        let (x, input) = self.read(batch);
        Encoded {
            n_bins: x.dims()[0],
            n_lead_in: input.n_lead_in,
            deep: self.dynamics().encode(input.clone()),
            shallow: self.encode_shallow(x, &input.values),
        }
    }

    /// One posterior sample.
    fn draw(&self, encoded: &Encoded<Self::Shallow>, noise: &mut Noise) -> Draw {
        let deep = encoded.generate(self.dynamics(), &mut Pass::plain(noise));
        self.complete(&encoded.shallow, deep, noise)
    }

    /// One posterior sample to be averaged; see [`Self::complete_mean`].
    fn draw_mean(&self, encoded: &Encoded<Self::Shallow>, all: bool, noise: &mut Noise) -> Draw {
        let deep = encoded.generate(self.dynamics(), &mut Pass::plain(noise));
        self.complete_mean(&encoded.shallow, deep, all, noise)
    }

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

/// A level between the observations and the deep level that has something to learn without it.
pub trait ShallowLevel {
    /// The bound on observations `[time, trial, neuron]` under rates constant in time.
    fn elbo_alone(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Elbo;

    /// Its own estimate of the spikes, `[time, trial, neuron]`.
    fn infer_spikes(&self, x: Tensor<3>, noise: &mut Noise) -> Tensor<3>;

    /// −log p(s | λ) of spikes `[time, trial, neuron]` given the deep level, mean over trials.
    fn explain(&self, deep: &DeepPass, spikes: Tensor<3>) -> Tensor<1>;
}
