//! Gaussian LFADS: fluorescence with time-varying mean and variance.

use std::f64::consts::PI;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use model::{DynamicsConfig, ModelError, TermWeights};
use serde::{Deserialize, Serialize};

use crate::filtered_poisson::{Cumulants, Data, FilteredPoisson, Moments, sequential_vae};

/// Sizes and regularisation of [`GaussianLfads`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianLfadsConfig {
    /// The deep level.
    pub dynamics: DynamicsConfig,
    /// How rates map to moments.
    pub moments: Moments,
}

impl GaussianLfadsConfig {
    /// Fresh weights.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a setting outside its range.
    pub fn init(
        &self,
        data: Data<'_>,
        seed: u64,
        device: &Device,
    ) -> Result<GaussianLfads, ModelError> {
        let process = FilteredPoisson::new(&self.dynamics, self.moments, 2, data, seed, device)?;
        Ok(GaussianLfads { process })
    }
}

/// LFADS with x_t ~ N(κ₁(t), κ₂(t)), the first two cumulants of a filtered Poisson process.
#[derive(Module, Debug)]
pub struct GaussianLfads {
    process: FilteredPoisson,
}

sequential_vae!(GaussianLfads, log_density);

fn log_density(_weights: TermWeights) -> impl Fn(Tensor<3>, Cumulants) -> Tensor<3> {
    |x, cumulants| {
        let squares = (x - cumulants.mean).square() / cumulants.variance.clone();
        (squares + cumulants.variance.log() + (2.0 * PI).ln()).mul_scalar(-0.5)
    }
}
