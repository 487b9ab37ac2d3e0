//! Inputs to the generator that are known: what the experimenter did or measured.

use burn::tensor::{Device, Tensor};
use ndarray::{ArrayView3, Axis};
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, require};
use crate::observed::Observed;

/// Known inputs to the generator. They stand behind the neurons in every batch, `[time, trial, neuron + input]`;
/// where one is missing, as past the end of a trial, it is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExternalConfig {
    /// How many there are.
    pub n_inputs: usize,
    /// Whether the encoders read them too, beside the observations.
    pub encoders_read: bool,
}

impl ExternalConfig {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        let n_inputs = self.n_inputs;
        require(
            n_inputs <= 4096,
            "external.n_inputs",
            n_inputs,
            "from 0 to 4096",
        )
    }

    /// What the encoders read beside the observations.
    pub(crate) fn n_read(&self) -> usize {
        match self.encoders_read {
            true => self.n_inputs,
            false => 0,
        }
    }

    /// The observations of a batch, `[time, trial, neuron]`, and its inputs, `[time, trial, input]`.
    pub(crate) fn split(&self, batch: Tensor<3>) -> (Tensor<3>, Option<Tensor<3>>) {
        if self.n_inputs == 0 {
            return (batch, None);
        }
        let n_neurons = batch.dims()[2] - self.n_inputs;
        let external = batch.clone().narrow(2, n_neurons, self.n_inputs);
        let observed = batch.narrow(2, 0, n_neurons);
        (observed, Some(Observed::new(external).values))
    }

    /// The observations alone of `[trial, time, neuron + input]`.
    pub(crate) fn observed<'a>(&self, x: ArrayView3<'a, f32>) -> ArrayView3<'a, f32> {
        let n_neurons = x.dim().2 - self.n_inputs;
        x.split_at(Axis(2), n_neurons).0
    }
}

/// What an encoder reads: the observations and, if so asked, what stands beside them.
pub(crate) fn beside(x: Tensor<3>, external: Option<&Tensor<3>>) -> Tensor<3> {
    match external {
        Some(external) => Tensor::cat(vec![x, external.clone()], 2),
        None => x,
    }
}

/// `n_lead_in` bins without input before those of `external`.
pub(crate) fn led_in(external: Tensor<3>, n_lead_in: usize) -> Tensor<3> {
    let [_, n_trials, n_inputs] = external.dims();
    match n_lead_in {
        0 => external,
        n => Tensor::cat(
            vec![
                Tensor::zeros([n, n_trials, n_inputs], &external.device()),
                external,
            ],
            0,
        ),
    }
}

/// What feeds the generator, as [`gru::gru_generate_controlled`] takes it: u = mean + exp(½ log-variance)⊙noise, mean
/// and log-variance being affine in the controller's state.
pub(crate) struct Feed {
    /// `[time, trial, input]`.
    pub noise: Tensor<3>,
    /// `[controller, 2·input]`, means before log-variances.
    pub w_posterior: Tensor<2>,
    /// `[2·input]`, likewise.
    pub b_posterior: Tensor<1>,
    /// `[input, 3·generator]`.
    pub w_input: Tensor<2>,
}

/// Known inputs and the way they take.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// `[time, trial, input]`.
    pub values: Tensor<3>,
    /// To the generator's gates, `[input, 3·generator]`.
    pub w_input: Tensor<2>,
}

impl Feed {
    /// Known inputs alone, beside a controller of `n_controller` units that is not heard.
    pub fn known(known: Known, n_controller: usize, device: &Device) -> Self {
        let n_inputs = known.values.dims()[2];
        Self {
            noise: known.values,
            w_posterior: Tensor::zeros([n_controller, 2 * n_inputs], device),
            b_posterior: Tensor::zeros([2 * n_inputs], device),
            w_input: known.w_input,
        }
    }

    /// The same with known inputs behind. Of mean 0 and variance 1 whatever the controller does, each is what
    /// stands in place of its noise.
    pub fn and(self, known: Option<Known>) -> Self {
        let Some(known) = known else { return self };
        let [n_controller, n_columns] = self.w_posterior.dims();
        let n_own = n_columns / 2;
        let device = self.w_posterior.device();
        let fixed = Self::known(known, n_controller, &device);
        let n_known = fixed.b_posterior.dims()[0] / 2;
        let behind = |own: Tensor<2>, known: Tensor<2>| {
            let halves = [0, 1].map(|half| {
                [
                    own.clone().narrow(1, half * n_own, n_own),
                    known.clone().narrow(1, half * n_known, n_known),
                ]
            });
            Tensor::cat(halves.into_iter().flatten().collect(), 1)
        };
        Self {
            noise: Tensor::cat(vec![self.noise, fixed.noise], 2),
            w_posterior: behind(self.w_posterior, fixed.w_posterior),
            b_posterior: behind(
                self.b_posterior.unsqueeze_dim::<2>(0),
                fixed.b_posterior.unsqueeze_dim::<2>(0),
            )
            .squeeze_dim(0),
            w_input: Tensor::cat(vec![self.w_input, fixed.w_input], 0),
        }
    }
}
