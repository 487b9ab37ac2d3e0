//! The deep level's controller: the inputs to the generator, inferred bin by bin (LFADS).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use gru::{Controlled, ControlledArguments, GruSpec, gru_generate_controlled};
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, require};
use crate::gaussian::DiagonalGaussian;
use crate::layers::{Gru, Linear, delay, normal_weight};
use crate::noise::Noise;

/// Log time constants of the prior, in bins, are held within ±this.
const MAX_LOG_TAU: f64 = 7.0;

/// The inferred inputs to the generator, and the controller that infers them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControllerConfig {
    /// Inputs to the generator; 0 leaves it to itself, and there is no controller.
    pub n_inputs: usize,
    /// Hidden units of the controller C².
    pub n_controller: usize,
    /// Hidden units of each direction of its encoder E_con².
    pub n_encoder: usize,
    /// Bins by which the controller's view of the data stays away from the present: in bin t it knows
    /// what the encoder has read up to t − lag, and from t + lag on.
    pub lag: usize,
    /// How inputs of different bins belong together before the data are seen.
    pub prior: InputPriorKind,
    /// Variance of the prior at the start; it is learned.
    pub prior_variance: f64,
    /// Time constant of an autoregressive prior at the start, in bins; it is learned.
    pub prior_tau_bins: f64,
}

/// The kinds of prior of the inferred inputs. The mean is 0: a constant input is the generator's bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputPriorKind {
    /// u₁ ~ N(0, v), u_t ~ N(u_{t−1} e^{−1/τ}, v (1 − e^{−2/τ})) (Pandarinath et al. 2018).
    Autoregressive,
    /// u_t ~ N(0, v), each bin for itself (Prince & Richards 2019).
    Independent,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self {
            n_inputs: 0,
            n_controller: 64,
            n_encoder: 32,
            lag: 1,
            prior: InputPriorKind::Autoregressive,
            prior_variance: 0.1,
            prior_tau_bins: 10.0,
        }
    }
}

impl ControllerConfig {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        for (field, size) in [
            ("controller.n_controller", self.n_controller),
            ("controller.n_encoder", self.n_encoder),
        ] {
            require((1..=4096).contains(&size), field, size, "from 1 to 4096")?;
        }
        let n_inputs = self.n_inputs;
        require(
            n_inputs <= 4096,
            "controller.n_inputs",
            n_inputs,
            "from 0 to 4096",
        )?;
        for (field, x) in [
            ("controller.prior_variance", self.prior_variance),
            ("controller.prior_tau_bins", self.prior_tau_bins),
        ] {
            require(x > 0.0 && x.is_finite(), field, x, "above 0")?;
        }
        Ok(())
    }
}

/// x → E_con² → C² → Q(u_t | x, f_{t−1}) → the generator.
#[derive(Module, Debug)]
pub(crate) struct Controller {
    encoder: Gru,
    from_encoder: Linear,
    w_feedback: Param<Tensor<2>>,
    w_rec: Param<Tensor<2>>,
    initial: Param<Tensor<1>>,
    w_posterior: Param<Tensor<2>>,
    b_posterior: Param<Tensor<1>>,
    w_input: Param<Tensor<2>>,
    prior: InputPrior,
    #[module(skip)]
    lag: usize,
}

/// What is around a controller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub n_neurons: usize,
    pub n_factors: usize,
    pub n_generator: usize,
    /// Of the encoder.
    pub spec: GruSpec,
}

/// The generator that a controller drives.
pub(crate) struct Driven {
    /// The state before the first bin, `[trial, generator]`.
    pub state: Tensor<2>,
    pub w_rec: Tensor<2>,
    pub b_rec: Tensor<1>,
    pub w_factors: Tensor<2>,
    /// What the states are multiplied by before the factors.
    pub dropout: Option<Vec<f32>>,
    pub clip: f32,
}

/// The inputs of a posterior sample.
#[derive(Clone, Debug)]
pub struct InferredInputs {
    /// Q(u_t | x, f_{t−1}), `[time, trial, input]`, given the sample up to there.
    pub posterior: DiagonalGaussian<3>,
    /// u_t, `[time, trial, input]`.
    pub sample: Tensor<3>,
    /// States of the controller, `[time, trial, unit]`.
    pub control: Tensor<3>,
}

impl InferredInputs {
    /// The same of the bins from `first` on.
    pub(crate) fn since(self, first: usize) -> Self {
        let cut = |x: Tensor<3>| {
            let n_bins = x.dims()[0] - first;
            x.narrow(0, first, n_bins)
        };
        Self {
            posterior: DiagonalGaussian {
                mean: cut(self.posterior.mean),
                log_variance: cut(self.posterior.log_variance),
            },
            sample: cut(self.sample),
            control: cut(self.control),
        }
    }
}

impl Controller {
    pub fn new(config: &ControllerConfig, around: Surroundings, noise: &mut Noise) -> Self {
        let Surroundings {
            n_neurons,
            n_factors,
            n_generator,
            spec,
        } = around;
        let ControllerConfig {
            n_inputs,
            n_controller,
            n_encoder,
            ..
        } = *config;
        let encoder = Gru::new(2, n_neurons, n_encoder, spec, noise);
        let device = noise.device().clone();
        // Gate order r, z, n; as the generator's, the update gate starts biased towards keeping.
        let bias = Tensor::cat(
            vec![
                Tensor::zeros([n_controller], &device),
                Tensor::ones([n_controller], &device),
                Tensor::zeros([n_controller], &device),
            ],
            0,
        );
        let from_encoder = Linear::new(2 * n_encoder, bias, 1.0, noise);
        let mut weight = |n_in: usize, n_out: usize, scale: f64| {
            Param::from_tensor(normal_weight([n_in, n_out], n_in, scale, noise))
        };
        // Posterior widths start at the prior's.
        let b_posterior = Tensor::cat(
            vec![
                Tensor::zeros([n_inputs], &device),
                Tensor::full([n_inputs], config.prior_variance.ln(), &device),
            ],
            0,
        );
        Self {
            encoder,
            from_encoder,
            w_feedback: weight(n_factors, 3 * n_controller, 1.0),
            w_rec: weight(n_controller, 3 * n_controller, 1.0),
            initial: Param::from_tensor(Tensor::zeros([n_controller], &device)),
            w_posterior: weight(n_controller, 2 * n_inputs, 0.1),
            b_posterior: Param::from_tensor(b_posterior),
            w_input: weight(n_inputs, 3 * n_generator, 1.0),
            prior: InputPrior::new(config, &device),
            lag: config.lag,
        }
    }

    /// What drives the controller in each bin, before feedback, `[time, trial, 3·unit]`: what its
    /// encoder makes of `x`, `[time, trial, neuron]`. In the bins that lead in there is nothing to read.
    pub fn encode(
        &self,
        x: Tensor<3>,
        n_lead_in: usize,
        dropout: Option<(f64, &mut Noise)>,
    ) -> Tensor<3> {
        let [n_bins, n_trials, n_neurons] = x.dims();
        let x = match n_lead_in {
            0 => x,
            n => Tensor::cat(
                vec![Tensor::zeros([n, n_trials, n_neurons], &x.device()), x],
                0,
            ),
        };
        let n_states = (n_bins + n_lead_in) * n_trials * 2 * self.encoder.n_hidden();
        let dropout = dropout.and_then(|(probability, noise)| noise.dropout(n_states, probability));
        let states = lagged(self.encoder.forward(x, dropout), self.lag);
        self.from_encoder.forward_sequence(states)
    }

    /// Runs the generator under sampled inputs: its factors, `[time, trial, factor]`, and the inputs.
    pub fn generate(
        &self,
        drive: Tensor<3>,
        driven: Driven,
        noise: &mut Noise,
    ) -> (Tensor<3>, InferredInputs) {
        let [n_bins, n_trials, _] = drive.dims();
        let n_inputs = self.b_posterior.dims()[0] / 2;
        let [n_controller] = self.initial.dims();
        let noise = noise.normal([n_bins, n_trials, n_inputs]);
        let initial = self.initial.val().unsqueeze_dim::<2>(0);
        let arguments = ControlledArguments {
            drive,
            c0: initial.expand([n_trials, n_controller]),
            g0: driven.state,
            w_feedback: self.w_feedback.val(),
            w_controller: self.w_rec.val(),
            w_posterior: self.w_posterior.val(),
            b_posterior: self.b_posterior.val(),
            w_input: self.w_input.val(),
            w_generator: driven.w_rec,
            b_generator: driven.b_rec,
            w_factors: driven.w_factors,
            noise: noise.clone(),
            scale: driven.dropout,
        };
        let Controlled {
            factors,
            posterior,
            control,
        } = gru_generate_controlled(arguments, Some(driven.clip));
        let posterior = DiagonalGaussian::from_parameters(posterior);
        let inputs = InferredInputs {
            sample: posterior.at_noise(noise),
            posterior,
            control,
        };
        (factors, inputs)
    }

    /// KL(Q(u|x) ‖ P(u)) of all bins and trials, in nats.
    pub fn kl(&self, inputs: &InferredInputs) -> Tensor<1> {
        self.prior.kl(inputs)
    }
}

/// What the two directions of an encoder, `[time, trial, 2·unit]`, know at least `lag` bins away from
/// each bin: zeros where that is outside the trial.
fn lagged(states: Tensor<3>, lag: usize) -> Tensor<3> {
    let [n_bins, n_trials, width] = states.dims();
    if lag == 0 {
        return states;
    }
    if lag >= n_bins {
        return states.zeros_like();
    }
    let (half, n_left) = (width / 2, n_bins - lag);
    let outside = Tensor::zeros([lag, n_trials, half], &states.device());
    let past = states.clone().narrow(2, 0, half).narrow(0, 0, n_left);
    let future = states.narrow(2, half, half).narrow(0, lag, n_left);
    Tensor::cat(
        vec![
            Tensor::cat(vec![outside.clone(), past], 0),
            Tensor::cat(vec![future, outside], 0),
        ],
        2,
    )
}

/// The prior of the inputs, of mean 0.
#[derive(Module, Debug)]
struct InputPrior {
    /// ln v of each input.
    log_variance: Param<Tensor<1>>,
    /// ln τ of each input, in bins, if bins belong together.
    log_tau: Option<Param<Tensor<1>>>,
}

impl InputPrior {
    fn new(config: &ControllerConfig, device: &Device) -> Self {
        let each = |value: f64| Param::from_tensor(Tensor::full([config.n_inputs], value, device));
        Self {
            log_variance: each(config.prior_variance.ln()),
            log_tau: match config.prior {
                InputPriorKind::Autoregressive => Some(each(config.prior_tau_bins.ln())),
                InputPriorKind::Independent => None,
            },
        }
    }

    /// The divergence of each bin given the sample of the one before, summed.
    fn kl(&self, inputs: &InferredInputs) -> Tensor<1> {
        let DiagonalGaussian { mean, log_variance } = inputs.posterior.clone();
        let [n_bins, n_trials, n_inputs] = mean.dims();
        let log_v = self.log_variance.val().reshape([1, 1, n_inputs]);
        let (difference, prior) = match &self.log_tau {
            None => (mean, log_v),
            Some(log_tau) => {
                let tau = log_tau.val().clamp(-MAX_LOG_TAU, MAX_LOG_TAU).exp();
                let decay = tau.recip().neg().exp().reshape([1, 1, n_inputs]);
                let nothing = Tensor::zeros([n_trials, n_inputs], &mean.device());
                let before = delay(inputs.sample.clone(), nothing);
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
        (prior - log_variance + spread - 1.0).sum().mul_scalar(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Stream;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    /// One trial and unit of each direction, told apart by their signs.
    fn encoded(n_bins: usize) -> Tensor<3> {
        let bins = (1..=n_bins).flat_map(|bin| [bin as f32, -(bin as f32)]);
        let bins: Vec<f32> = bins.collect();
        Tensor::<1>::from_floats(bins.as_slice(), &Device::flex()).reshape([n_bins, 1, 2])
    }

    #[test]
    fn the_controller_keeps_its_distance_from_the_present() {
        let at = |lag| values(lagged(encoded(3), lag));
        assert_eq!(at(0), [1.0, -1.0, 2.0, -2.0, 3.0, -3.0]);
        assert_eq!(at(1), [0.0, -2.0, 1.0, -3.0, 2.0, 0.0]);
        assert_eq!(at(2), [0.0, -3.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(at(3), [0.0; 6]);
    }

    /// What is in a bin does not reach what drives the controller there.
    #[test]
    fn with_a_lag_the_controller_does_not_see_the_present() {
        let device = Device::flex();
        let mut noise = Noise::new(1, Stream::Weights, &device);
        let around = Surroundings {
            n_neurons: 3,
            n_factors: 2,
            n_generator: 4,
            spec: GruSpec {
                reset: gru::ResetGate::AfterProduct,
                clip: None,
            },
        };
        let config = ControllerConfig {
            n_inputs: 1,
            n_controller: 2,
            n_encoder: 5,
            ..ControllerConfig::default()
        };
        let controller = Controller::new(&config, around, &mut noise);
        let x = noise.normal([6, 1, 3]);
        let changed = x
            .clone()
            .slice_assign([3..4, 0..1, 0..3], x.clone().narrow(0, 3, 1) + 1.0);
        let drive = |x| values(controller.encode(x, 0, None));
        let (before, after) = (drive(x), drive(changed));
        for (bin, (before, after)) in before.chunks(6).zip(after.chunks(6)).enumerate() {
            assert_eq!(before == after, bin == 3, "bin {bin}");
        }
    }

    fn inputs(mean: &[f32], log_variance: f64, sample: &[f32]) -> InferredInputs {
        let device = Device::flex();
        let tensor = |values: &[f32]| {
            Tensor::<1>::from_floats(values, &device).reshape([values.len(), 1, 1])
        };
        let mean = tensor(mean);
        InferredInputs {
            posterior: DiagonalGaussian {
                log_variance: mean.full_like(log_variance),
                mean,
            },
            sample: tensor(sample),
            control: tensor(sample),
        }
    }

    /// ½ (ln(p/q) + (q + d²)/p − 1).
    fn divergence(q: f64, p: f64, difference: f64) -> f64 {
        0.5 * ((p / q).ln() + (q + difference.powi(2)) / p - 1.0)
    }

    #[test]
    fn divergences_from_both_priors_are_those_of_their_definitions() {
        let config = |prior| ControllerConfig {
            n_inputs: 1,
            prior,
            prior_variance: 0.4,
            prior_tau_bins: 2.0,
            ..ControllerConfig::default()
        };
        let (q, decay) = (0.3_f64, (-0.5_f64).exp());
        let inputs = inputs(&[0.5, -0.2, 0.1], q.ln(), &[0.9, -0.4, 0.3]);
        let kl = |prior| {
            let prior = InputPrior::new(&config(prior), &Device::flex());
            f64::from(prior.kl(&inputs).into_scalar::<f32>())
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
