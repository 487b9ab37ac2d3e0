//! LFADS on spike counts (Pandarinath et al. 2018).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use gru::poisson_log_likelihood;
use serde::{Deserialize, Serialize};

use crate::dynamics::{DeepDraw, Dynamics, DynamicsConfig};
use crate::elbo::{Draw, Elbo, Pass, SequentialVae};
use crate::error::{ModelError, require};
use crate::gaussian::DiagonalGaussian;
use crate::noise::Noise;
use crate::observed::Observed;

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
        let mut noise = Noise::new(seed, INIT_STEP, device);
        let log_rates = log_rates_from_counts(mean_counts, dt_s);
        Ok(Lfads {
            dynamics: self.dynamics.init(&log_rates, &mut noise, device),
            log_dt: dt_s.ln(),
        })
    }
}

/// The step number under which weights are drawn: no training step has it.
pub const INIT_STEP: u64 = u64::MAX;

/// Log-rates in Hz of mean counts per bin; silent neurons get a hundredth of a count.
pub fn log_rates_from_counts(mean_counts: &[f32], dt_s: f64) -> Vec<f32> {
    mean_counts
        .iter()
        .map(|&count| (f64::from(count.max(0.01)) / dt_s).ln() as f32)
        .collect()
}

/// LFADS: counts ~ Poisson(λ_t dt), log λ_t = W f_t + b.
#[derive(Module, Debug)]
pub struct Lfads {
    dynamics: Dynamics,
    #[module(skip)]
    log_dt: f64,
}

impl Lfads {
    /// The encoder reads a neuron's mean count where one is missing.
    fn observed(&self, x: Tensor<3>) -> Observed {
        let log_rates = self.dynamics.baseline_log_rates().detach();
        Observed::filled(x, || log_rates.add_scalar(self.log_dt).exp())
    }
}

impl SequentialVae for Lfads {
    type Encoded = (DiagonalGaussian<2>, usize);

    fn elbo(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Elbo {
        let [n_bins, n_trials, _] = x.dims();
        let x = self.observed(x);
        let deep = self.dynamics.draw(x.values.clone(), n_bins, pass);
        let weights = x.only_present(deep.split.weights);
        let log_likelihood = poisson_log_likelihood(deep.log_rates, x.values, weights, self.log_dt);
        Elbo {
            reconstruction: log_likelihood.neg().div_scalar(n_trials as f64),
            spikes: None,
            kl_shallow: None,
            kl_ic: Some(self.dynamics.kl(&deep.posterior)),
            l2: Some(self.dynamics.l2()),
        }
    }

    fn encode(&self, x: Tensor<3>) -> Self::Encoded {
        let n_bins = x.dims()[0];
        (self.dynamics.encode(self.observed(x).values, None), n_bins)
    }

    fn draw(&self, (posterior, n_bins): &Self::Encoded, noise: &mut Noise) -> Draw {
        let ic = posterior.sample(noise);
        let factors = self.dynamics.factors(ic, *n_bins, None);
        Draw {
            log_rates: self.dynamics.log_rates(factors.clone()),
            factors,
            spikes: None,
            fluor: None,
        }
    }

    fn draw_deep(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> DeepDraw {
        let n_bins = x.dims()[0];
        let x = self.observed(x).values;
        self.dynamics.draw(x, n_bins, pass)
    }

    fn dynamics_mut(&mut self) -> &mut Dynamics {
        &mut self.dynamics
    }
}
