//! The deep level's controller: the inputs to the generator, inferred bin by bin (LFADS).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use gru::{Controlled, ControlledArguments, GruSpec, gru_generate_controlled};
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, require};
use crate::external::{Feed, Known};
use crate::gaussian::DiagonalGaussian;
use crate::input_prior::{InputPrior, InputPriorKind, PriorStart};
use crate::layers::{Gru, Linear, normal_weight};
use crate::noise::Noise;

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
    /// Numbers that the encoder reads in a bin.
    pub n_read: usize,
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
            n_read,
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
        let encoder = Gru::new(2, n_read, n_encoder, spec, noise);
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
        let of_prior = PriorStart {
            n_inputs,
            variance: config.prior_variance,
            tau_bins: config.prior_tau_bins,
        };
        Self {
            encoder,
            from_encoder,
            w_feedback: weight(n_factors, 3 * n_controller, 1.0),
            w_rec: weight(n_controller, 3 * n_controller, 1.0),
            initial: Param::from_tensor(Tensor::zeros([n_controller], &device)),
            w_posterior: weight(n_controller, 2 * n_inputs, 0.1),
            b_posterior: Param::from_tensor(b_posterior),
            w_input: weight(n_inputs, 3 * n_generator, 1.0),
            prior: InputPrior::new(config.prior, of_prior, &device),
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

    /// Runs the generator under sampled inputs, and `known` ones beside them: its factors,
    /// `[time, trial, factor]`, and the sampled inputs.
    pub fn generate(
        &self,
        drive: Tensor<3>,
        driven: Driven,
        known: Option<Known>,
        noise: &mut Noise,
    ) -> (Tensor<3>, InferredInputs) {
        let [n_bins, n_trials, _] = drive.dims();
        let n_inputs = self.b_posterior.dims()[0] / 2;
        let [n_controller] = self.initial.dims();
        let noise = noise.normal([n_bins, n_trials, n_inputs]);
        let initial = self.initial.val().unsqueeze_dim::<2>(0);
        let own = Feed {
            noise: noise.clone(),
            w_posterior: self.w_posterior.val(),
            b_posterior: self.b_posterior.val(),
            w_input: self.w_input.val(),
        };
        let heard = Heard {
            drive,
            c0: initial.expand([n_trials, n_controller]),
            w_feedback: self.w_feedback.val(),
            w_controller: self.w_rec.val(),
        };
        let Controlled {
            factors,
            posterior,
            control,
        } = run(heard, driven, own.and(known));
        let posterior = DiagonalGaussian::from_parameters(posterior);
        let of_own = |all: Tensor<3>| match all.dims()[2] == n_inputs {
            true => all,
            false => all.narrow(2, 0, n_inputs),
        };
        let posterior = DiagonalGaussian {
            mean: of_own(posterior.mean),
            log_variance: of_own(posterior.log_variance),
        };
        let inputs = InferredInputs {
            sample: posterior.at_noise(noise),
            posterior,
            control,
        };
        (factors, inputs)
    }

    /// KL(Q(u|x) ‖ P(u)) of each trial, `[trial]`, in nats.
    pub fn kl_of_trials(&self, inputs: &InferredInputs) -> Tensor<1> {
        self.prior
            .kl_of_trials(inputs.posterior.clone(), inputs.sample.clone())
    }
}

/// The controller's side of a run.
struct Heard {
    drive: Tensor<3>,
    c0: Tensor<2>,
    w_feedback: Tensor<2>,
    w_controller: Tensor<2>,
}

fn run(heard: Heard, driven: Driven, feed: Feed) -> Controlled {
    let arguments = ControlledArguments {
        drive: heard.drive,
        c0: heard.c0,
        g0: driven.state,
        w_feedback: heard.w_feedback,
        w_controller: heard.w_controller,
        w_posterior: feed.w_posterior,
        b_posterior: feed.b_posterior,
        w_input: feed.w_input,
        w_generator: driven.w_rec,
        b_generator: driven.b_rec,
        w_factors: driven.w_factors,
        noise: feed.noise,
        scale: driven.dropout,
    };
    gru_generate_controlled(arguments, Some(driven.clip))
}

/// Factors, `[time, trial, factor]`, of the generator under `known` inputs alone: the same run, with one unit of a
/// controller that nothing hears.
pub(crate) fn generate_known(driven: Driven, known: Known) -> Tensor<3> {
    let [n_bins, n_trials, _] = known.values.dims();
    let (n_factors, device) = (driven.w_factors.dims()[1], known.values.device());
    let mute = Heard {
        drive: Tensor::zeros([n_bins, n_trials, 3], &device),
        c0: Tensor::zeros([n_trials, 1], &device),
        w_feedback: Tensor::zeros([n_factors, 3], &device),
        w_controller: Tensor::zeros([1, 3], &device),
    };
    run(mute, driven, Feed::known(known, 1, &device)).factors
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use gru::{GruWeights, gru_sequence};

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
            n_read: 3,
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

    /// Known inputs act as inputs of a GRU over the whole sequence do, with or without a controller.
    #[test]
    fn known_inputs_drive_the_generator_as_a_sequence_drives_a_gru() {
        let device = Device::flex();
        let mut noise = Noise::new(2, Stream::Weights, &device);
        let (n_bins, n_trials, n_known, n_generator, n_factors) = (7, 3, 2, 5, 4);
        let mut normal = |n_in: usize, n_out: usize| {
            let scaled = noise.normal([1, n_in, n_out]).mul_scalar(0.5);
            scaled.squeeze_dim::<2>(0)
        };
        let (state, w_rec) = (
            normal(n_trials, n_generator),
            normal(n_generator, 3 * n_generator),
        );
        let (w_factors, w_known) = (
            normal(n_generator, n_factors),
            normal(n_known, 3 * n_generator),
        );
        let b_rec: Tensor<1> = normal(1, 3 * n_generator).squeeze_dim(0);
        let values = noise.normal([n_bins, n_trials, n_known]);
        let driven = || Driven {
            state: state.clone(),
            w_rec: w_rec.clone(),
            b_rec: b_rec.clone(),
            w_factors: w_factors.clone(),
            dropout: None,
            clip: 5.0,
        };
        let known = || Known {
            values: values.clone(),
            w_input: w_known.clone(),
        };
        let weights = GruWeights {
            w_in: w_known.clone().unsqueeze(),
            w_rec: w_rec.clone().unsqueeze(),
            b_in: b_rec.clone().unsqueeze(),
            b_rec: Tensor::zeros([1, 3 * n_generator], &device),
        };
        let spec = GruSpec {
            reset: gru::ResetGate::BeforeProduct,
            clip: Some(5.0),
        };
        let initial = state.clone().unsqueeze();
        let states = gru_sequence(values.clone(), initial, weights, spec, None);
        let wanted = states.matmul(w_factors.clone().unsqueeze());
        let close = |found: Tensor<3>| {
            let furthest = (found - wanted.clone()).abs().max().into_scalar::<f32>();
            assert!(furthest < 1e-5, "{furthest}");
        };
        close(generate_known(driven(), known()));

        let config = ControllerConfig {
            n_inputs: 3,
            n_controller: 6,
            n_encoder: 2,
            ..ControllerConfig::default()
        };
        let around = Surroundings {
            n_read: 1,
            n_factors,
            n_generator,
            spec,
        };
        let mut controller = Controller::new(&config, around, &mut noise);
        controller.w_input = controller.w_input.map(|weights| weights.zeros_like());
        let drive = noise.normal([n_bins, n_trials, 18]);
        let (factors, inputs) = controller.generate(drive, driven(), Some(known()), &mut noise);
        close(factors);
        assert_eq!(inputs.posterior.mean.dims(), [n_bins, n_trials, 3]);
        assert_eq!(inputs.sample.dims(), [n_bins, n_trials, 3]);
    }
}
