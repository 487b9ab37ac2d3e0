//! LFADS on spike counts (Pandarinath et al. 2018).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use gru::poisson_log_likelihood;
use serde::{Deserialize, Serialize};

use crate::blur::Blur;
use crate::deep::{DeepDraw, DeepInput, DeepPass};
use crate::dynamics::{Dynamics, DynamicsConfig};
use crate::elbo::{Elbo, Term};
use crate::error::{ModelError, require};
use crate::noise::{Noise, Stream};
use crate::observed::Observed;
use crate::pass::Pass;
use crate::vae::{Draw, SequentialVae};

/// Sizes and regularisation of [`Lfads`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LfadsConfig {
    /// The deep level, which is all of LFADS.
    pub dynamics: DynamicsConfig,
}

impl LfadsConfig {
    /// Fresh weights; rates start at each neuron's `mean_counts` per bin of `dt_s` seconds.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a setting outside its range.
    pub fn init(
        &self,
        mean_counts: &[f32],
        dt_s: f64,
        seed: u64,
        device: &Device,
    ) -> Result<Lfads, ModelError> {
        self.dynamics.validate()?;
        require(dt_s > 0.0, "dt_s", dt_s, "above 0")?;
        let mut noise = Noise::new(seed, Stream::Weights, device);
        let log_rates = log_rates_from_counts(mean_counts, dt_s);
        Ok(Lfads {
            dynamics: self.dynamics.init(&log_rates, &mut noise, device),
            log_dt: dt_s.ln(),
            blur: None,
        })
    }
}

/// Log-rates in Hz of mean counts per bin; silent neurons get a hundredth of a count.
pub fn log_rates_from_counts(mean_counts: &[f32], dt_s: f64) -> Vec<f32> {
    mean_counts
        .iter()
        .map(|&count| (f64::from(count.max(0.01)) / dt_s).ln() as f32)
        .collect()
}

/// −log p(counts | λ) of each trial, `[trial]`, without the factorials; NaN: no count.
pub(crate) fn poisson_misfit(log_rates: Tensor<3>, counts: &Tensor<3>, log_dt: f64) -> Tensor<1> {
    let counts = Observed::new(counts.clone());
    let log_means = log_rates.add_scalar(log_dt);
    let negative = log_means.clone().exp() - counts.values.clone() * log_means;
    let negative = counts.only_present(negative);
    negative.sum_dim(2).sum_dim(0).flatten(0, 2)
}

/// The same of each trial under the rates of several runs, `[time, run, neuron]`: `[trial, run]`.
pub(crate) fn poisson_misfits(log_rates: Tensor<3>, counts: &Tensor<3>, log_dt: f64) -> Tensor<2> {
    let Observed { values, present } = Observed::new(counts.clone());
    let log_means = flat(log_rates.add_scalar(log_dt));
    let means = log_means.clone().exp();
    let expected = match present {
        Some(present) => flat(present).matmul(means.transpose()),
        None => means.sum_dim(1).transpose(),
    };
    expected - flat(values).matmul(log_means.transpose())
}

/// `[time, trial, neuron]` → `[trial, time·neuron]`.
fn flat(x: Tensor<3>) -> Tensor<2> {
    let [n_bins, n_trials, n_neurons] = x.dims();
    x.swap_dims(0, 1).reshape([n_trials, n_bins * n_neurons])
}

/// LFADS: counts ~ Poisson(λ_t dt), log λ_t = W f_t + b.
#[derive(Module, Debug)]
pub struct Lfads {
    dynamics: Dynamics,
    #[module(skip)]
    log_dt: f64,
    #[module(skip)]
    blur: Option<Blur>,
}

impl Lfads {
    /// The same for counts that are expected ones, which `blur` describes.
    ///
    /// # Errors
    /// [`ModelError::Data`] for a blur of another number of neurons.
    pub fn seen_through(self, blur: Option<Blur>) -> Result<Self, ModelError> {
        let [n_neurons] = self.dynamics.baseline_log_rates().dims();
        if let Some(blur) = &blur
            && blur.n_neurons() != n_neurons
        {
            return Err(ModelError::Data(format!(
                "the blur is one of {} neurons, and the model has {n_neurons}",
                blur.n_neurons()
            )));
        }
        Ok(Self { blur, ..self })
    }

    /// Logarithms of the rates that the counts are compared with.
    fn seen(&self, deep: &DeepDraw) -> Tensor<3> {
        let log_rates = deep.log_rates.clone();
        match &self.blur {
            Some(blur) => blur.of_log_rates(log_rates),
            None => log_rates,
        }
    }

    /// The encoder reads a neuron's mean count where one is missing.
    fn observed(&self, x: Tensor<3>) -> Observed {
        let log_rates = self.dynamics.baseline_log_rates().detach();
        Observed::filled(x, || log_rates.add_scalar(self.log_dt).exp())
    }
}

impl SequentialVae for Lfads {
    type Shallow = ();

    fn dynamics(&self) -> &Dynamics {
        &self.dynamics
    }

    fn dynamics_mut(&mut self) -> &mut Dynamics {
        &mut self.dynamics
    }

    fn deep_input(&self, x: &Tensor<3>) -> DeepInput {
        self.observed(x.clone()).values.into()
    }

    fn observe(&self, x: Tensor<3>, deep: &DeepPass, _: &mut Pass<'_>) -> Elbo {
        let n_trials = x.dims()[1] as f64;
        let weights = Observed::new(x).only_present(deep.split.weights.clone());
        let log_rates = self.seen(&deep.draw);
        let counts = deep.input.clone();
        let log_likelihood = poisson_log_likelihood(log_rates, counts, weights, self.log_dt);
        let negative = log_likelihood.neg().div_scalar(n_trials);
        Elbo::new().with(Term::Reconstruction, negative)
    }

    fn encode_shallow(&self, _: Tensor<3>, _: &Tensor<3>) {}

    fn misfit(&self, counts: &Tensor<3>, deep: &DeepDraw) -> Tensor<1> {
        poisson_misfit(self.seen(deep), counts, self.log_dt)
    }

    fn misfits(&self, counts: &Tensor<3>, runs: &DeepDraw) -> Tensor<2> {
        poisson_misfits(self.seen(runs), counts, self.log_dt)
    }

    fn complete(&self, (): &(), deep: DeepDraw, _: &mut Noise) -> Draw {
        deep.into()
    }
}
