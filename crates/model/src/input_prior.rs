//! The prior of the inferred inputs.

use std::f64::consts::{E, PI};

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
    /// u_t ~ t₂(0, v), each bin for itself, all inputs of a bin by one multivariate Student distribution of two degrees
    /// of freedom. Under a Gaussian a large input costs as much as its square and is cheaper when it is spread over
    /// bins; here its cost grows with the logarithm, so that rare pulses stay short and the rest is quiet.
    Sparse,
}

/// Degrees of freedom of [`InputPriorKind::Sparse`].
const FREEDOM: f64 = 2.0;

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
    /// ln v of each input; v is the squared scale where the prior has no variance.
    log_variance: Param<Tensor<1>>,
    /// ln τ of each input, in bins, if bins belong together.
    log_tau: Option<Param<Tensor<1>>>,
    #[module(skip)]
    kind: InputPriorKind,
}

impl InputPrior {
    pub fn new(kind: InputPriorKind, start: PriorStart, device: &Device) -> Self {
        let each = |value: f64| Param::from_tensor(Tensor::full([start.n_inputs], value, device));
        Self {
            log_variance: each(start.variance.ln()),
            log_tau: match kind {
                InputPriorKind::Autoregressive => Some(each(start.tau_bins.ln())),
                InputPriorKind::Independent | InputPriorKind::Sparse => None,
            },
            kind,
        }
    }

    /// KL(Q(u|x) ‖ P(u)) of each trial, `[trial]`, in nats: the divergences of its bins, each given the sample of the
    /// one before. Of a sparse prior it is that of the sample, of which it is the mean.
    pub fn kl_of_trials(&self, posterior: DiagonalGaussian<3>, sample: Tensor<3>) -> Tensor<1> {
        if self.kind == InputPriorKind::Sparse {
            return self.surprise_of_sparse(posterior, sample);
        }
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

    /// ∫ Q ln Q − ln P(sample) of each trial, `[trial]`.
    fn surprise_of_sparse(&self, posterior: DiagonalGaussian<3>, sample: Tensor<3>) -> Tensor<1> {
        let [_, _, n_inputs] = sample.dims();
        let n = n_inputs as f64;
        let log_v = self.log_variance.val().reshape([1, 1, n_inputs]);
        let distance = (sample.square() * log_v.clone().neg().exp()).sum_dim(2);
        let rare = distance.div_scalar(FREEDOM).add_scalar(1.0).log();
        let widths = (log_v - posterior.log_variance).sum_dim(2).mul_scalar(0.5);
        let of_bin = rare.mul_scalar(0.5 * (FREEDOM + n)) + widths + log_normalisers(n);
        of_bin.sum_dim(0).flatten(0, 2)
    }
}

/// What in the divergence of n inputs does not depend on them: −½ n ln 2πe of the Gaussian's entropy, and the logarithm of
/// Γ(ν/2) (νπ)^{n/2} / Γ((ν + n)/2).
fn log_normalisers(n: f64) -> f64 {
    let of_gaussian = 0.5 * n * (2.0 * PI * E).ln();
    let gammas = libm::lgamma(0.5 * FREEDOM) - libm::lgamma(0.5 * (FREEDOM + n));
    gammas + 0.5 * n * (FREEDOM * PI).ln() - of_gaussian
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

    /// Against the density of Student's distribution of two degrees of freedom, 1/(s (2 + x²/s²)^{3/2}).
    #[test]
    fn a_sparse_prior_is_students_distribution() {
        let start = PriorStart {
            n_inputs: 1,
            variance: 0.25,
            tau_bins: 2.0,
        };
        let prior = InputPrior::new(InputPriorKind::Sparse, start, &Device::flex());
        let (q, at) = (0.3_f64, [0.9, -4.0]);
        let (posterior, sample) = inputs(&[0.5, -0.2], q.ln(), &at.map(|u| u as f32));
        let kl = prior.kl_of_trials(posterior, sample);
        let log_density = |u: f64| -(0.5_f64.ln() + 1.5 * (2.0 + (u / 0.5).powi(2)).ln());
        let entropy = 0.5 * (2.0 * PI * E * q).ln();
        let wanted: f64 = at.map(|u| -entropy - log_density(u)).iter().sum();
        assert!((f64::from(kl.into_scalar::<f32>()) - wanted).abs() < 1e-5);
        // Twice as rare an input costs little more; under a Gaussian it would cost four times as much.
        assert!(log_density(4.0) - log_density(8.0) < 3.0 * std::f64::consts::LN_2);
    }

    /// ∫ e^{−(normaliser + …)} over two inputs is one: the joint density of a bin.
    #[test]
    fn the_joint_density_of_two_inputs_integrates_to_one() {
        let of_gaussian = (2.0 * PI * E).ln();
        let density = |r: f64| {
            let exponent = 0.5 * (FREEDOM + 2.0) * (1.0 + r * r / FREEDOM).ln();
            (-(exponent + log_normalisers(2.0) + of_gaussian)).exp()
        };
        let step = 1e-3;
        let rings = (0..200_000).map(|i| (f64::from(i) + 0.5) * step);
        let mass: f64 = rings.map(|r| 2.0 * PI * r * density(r) * step).sum();
        assert!((mass - 1.0).abs() < 1e-3, "{mass}");
    }
}
