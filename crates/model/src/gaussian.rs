//! Diagonal Gaussians: posteriors, learned priors and the divergence between them.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::noise::Noise;

/// Log-variances are held within ±this.
const MAX_LOG_VARIANCE: f64 = gru::kernels::MAX_LOG_VARIANCE as f64;

/// A Gaussian with diagonal covariance over the last axis.
#[derive(Clone, Debug)]
pub struct DiagonalGaussian<const D: usize> {
    /// Means.
    pub mean: Tensor<D>,
    /// Logarithms of the variances.
    pub log_variance: Tensor<D>,
}

impl<const D: usize> DiagonalGaussian<D> {
    /// Splits `[…, 2·latent]` into means and log-variances, the latter clamped.
    pub fn from_parameters(parameters: Tensor<D>) -> Self {
        let last = D - 1;
        let size = parameters.dims()[last] / 2;
        Self {
            mean: parameters.clone().narrow(last, 0, size),
            log_variance: parameters
                .narrow(last, size, size)
                .clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE),
        }
    }

    /// Next to nothing but `mean`: a width of 10⁻¹³.
    pub(crate) fn at(mean: Tensor<D>) -> Self {
        let log_variance = Tensor::full(mean.dims(), -60.0, &mean.device());
        Self { mean, log_variance }
    }

    /// A reparameterised sample, mean + e^{½ log-variance} ε (Kingma & Welling 2014).
    pub fn sample(&self, noise: &mut Noise) -> Tensor<D> {
        self.at_noise(noise.normal(self.mean.dims()))
    }

    /// The sample that standard normal values make.
    pub(crate) fn at_noise(&self, epsilon: Tensor<D>) -> Tensor<D> {
        self.mean.clone() + self.log_variance.clone().mul_scalar(0.5).exp() * epsilon
    }

    /// What [`DiagonalGaussian::from_parameters`] splits.
    pub(crate) fn parameters(&self) -> Tensor<D> {
        Tensor::cat(vec![self.mean.clone(), self.log_variance.clone()], D - 1)
    }

    /// KL(self ‖ prior), summed over every axis; in nats.
    pub fn kl(&self, prior: &Prior) -> Tensor<1> {
        self.kl_terms(prior).sum().mul_scalar(0.5)
    }

    /// Twice the divergence, element by element.
    fn kl_terms(&self, prior: &Prior) -> Tensor<D> {
        let mut shape = [1; D];
        shape[D - 1] = prior.mean.dims()[0];
        let prior_mean = prior.mean.val().reshape(shape);
        let prior_log_variance = prior.log_variance.val().reshape(shape);
        let precision = prior_log_variance.clone().neg().exp();
        let difference = self.mean.clone() - prior_mean;
        let log_ratio = prior_log_variance - self.log_variance.clone();
        let spread = (self.log_variance.clone().exp() + difference.square()) * precision;
        log_ratio + spread - 1.0
    }
}

impl DiagonalGaussian<2> {
    /// KL(self ‖ prior) of each row, `[row]`, in nats.
    pub(crate) fn kl_of_rows(&self, prior: &Prior) -> Tensor<1> {
        let terms = self.kl_terms(prior).sum_dim(1);
        terms.squeeze_dim::<1>(1).mul_scalar(0.5)
    }
}

/// The learned Gaussian prior of a latent variable.
#[derive(Module, Debug)]
pub struct Prior {
    mean: Param<Tensor<1>>,
    log_variance: Param<Tensor<1>>,
}

impl Prior {
    /// Zero means; the variance, of every component, is learned if `learn_variance`.
    pub fn new(size: usize, variance: f64, learn_variance: bool, device: &Device) -> Self {
        let log_variance = Tensor::full([size], variance.ln(), device);
        Self {
            mean: Param::from_tensor(Tensor::zeros([size], device)),
            log_variance: Param::from_tensor(log_variance).set_require_grad(learn_variance),
        }
    }

    /// Means, then log-variances: `[2·latent]`.
    pub fn parameters(&self) -> Tensor<1> {
        Tensor::cat(vec![self.mean.val(), self.log_variance.val()], 0)
    }

    /// Means, `[latent]`.
    pub fn mean(&self) -> Tensor<1> {
        self.mean.val()
    }
}
