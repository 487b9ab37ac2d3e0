//! The prior of the inferred inputs.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::gaussian::DiagonalGaussian;
use crate::layers::delay;

/// Log time constants, in bins, are held within ±this.
const MAX_LOG_TAU: f64 = 7.0;

/// The kinds of prior of the inferred inputs. The mean is 0: a constant input is the generator's bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputPriorKind {
    /// u₁ ~ N(0, v), u_t ~ N(u_{t−1} e^{−1/τ}, v (1 − e^{−2/τ})) (Pandarinath et al. 2018).
    Autoregressive,
    /// u_t ~ N(0, v), each bin for itself (Prince & Richards 2019).
    Independent,
}

/// What the prior starts from; variance and time constant are learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PriorStart {
    pub n_inputs: usize,
    pub variance: f64,
    pub tau_bins: f64,
}

/// The prior of the inputs, of mean 0.
#[derive(Module, Debug)]
pub(crate) struct InputPrior {
    /// ln v of each input.
    log_variance: Param<Tensor<1>>,
    /// ln τ of each input, in bins, if bins belong together.
    log_tau: Option<Param<Tensor<1>>>,
}

impl InputPrior {
    pub fn new(kind: InputPriorKind, start: PriorStart, device: &Device) -> Self {
        let each = |value: f64| Param::from_tensor(Tensor::full([start.n_inputs], value, device));
        Self {
            log_variance: each(start.variance.ln()),
            log_tau: match kind {
                InputPriorKind::Autoregressive => Some(each(start.tau_bins.ln())),
                InputPriorKind::Independent => None,
            },
        }
    }

    /// KL(Q(u|x) ‖ P(u)) of each trial, `[trial]`, in nats: the divergences of its bins, each given the sample of the
    /// one before.
    pub fn kl_of_trials(&self, posterior: DiagonalGaussian<3>, sample: Tensor<3>) -> Tensor<1> {
        let DiagonalGaussian { mean, log_variance } = posterior;
        let [n_bins, n_trials, n_inputs] = mean.dims();
        let log_v = self.log_variance.val().reshape([1, 1, n_inputs]);
        let (difference, prior) = match &self.log_tau {
            None => (mean, log_v),
            Some(log_tau) => {
                let tau = log_tau.val().clamp(-MAX_LOG_TAU, MAX_LOG_TAU).exp();
                let decay = tau.recip().neg().exp().reshape([1, 1, n_inputs]);
                let nothing = Tensor::zeros([n_trials, n_inputs], &mean.device());
                let before = delay(sample, nothing);
                let new = decay.clone().square().neg().add_scalar(1.0).log();
                let later = (log_v.clone() + new).expand([n_bins - 1, 1, n_inputs]);
                let prior = match n_bins {
                    1 => log_v,
                    _ => Tensor::cat(vec![log_v, later], 0),
                };
                (mean - before * decay, prior)
            }
        };
        let spread = (log_variance.clone().exp() + difference.square()) * prior.clone().neg().exp();
        let terms = prior - log_variance + spread - 1.0;
        terms.sum_dim(2).sum_dim(0).flatten(0, 2).mul_scalar(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(mean: &[f32], log_variance: f64, sample: &[f32]) -> (DiagonalGaussian<3>, Tensor<3>) {
        let device = Device::flex();
        let tensor = |values: &[f32]| {
            Tensor::<1>::from_floats(values, &device).reshape([values.len(), 1, 1])
        };
        let mean = tensor(mean);
        let posterior = DiagonalGaussian {
            log_variance: mean.full_like(log_variance),
            mean,
        };
        (posterior, tensor(sample))
    }

    /// ½ (ln(p/q) + (q + d²)/p − 1).
    fn divergence(q: f64, p: f64, difference: f64) -> f64 {
        0.5 * ((p / q).ln() + (q + difference.powi(2)) / p - 1.0)
    }

    #[test]
    fn divergences_from_both_priors_are_those_of_their_definitions() {
        let start = PriorStart {
            n_inputs: 1,
            variance: 0.4,
            tau_bins: 2.0,
        };
        let (q, decay) = (0.3_f64, (-0.5_f64).exp());
        let (posterior, sample) = inputs(&[0.5, -0.2, 0.1], q.ln(), &[0.9, -0.4, 0.3]);
        let kl = |prior| {
            let prior = InputPrior::new(prior, start, &Device::flex());
            let kl = prior.kl_of_trials(posterior.clone(), sample.clone());
            f64::from(kl.into_scalar::<f32>())
        };
        let each: f64 = [0.5, -0.2, 0.1]
            .map(|mean| divergence(q, 0.4, mean))
            .iter()
            .sum();
        assert!((kl(InputPriorKind::Independent) - each).abs() < 1e-5);
        let new = 0.4 * (1.0 - decay.powi(2));
        let chain = divergence(q, 0.4, 0.5)
            + divergence(q, new, -0.2 - 0.9 * decay)
            + divergence(q, new, 0.1 + 0.4 * decay);
        assert!((kl(InputPriorKind::Autoregressive) - chain).abs() < 1e-5);
    }
}
