//! What the operations with many tensors run on, and what they return.

use burn::tensor::Tensor;

/// Weights of one or two directions.
///
/// Gate order along the last axis is r, z, n, and the state follows h' = z⊙h + (1−z)⊙n with
/// r = σ(x `W_in` + `b_in` + h `W_rec` + `b_rec`), z likewise, n as [`ResetGate`](crate::ResetGate) says.
#[derive(Clone, Debug)]
pub struct GruWeights {
    /// `[direction, input, 3·hidden]`.
    pub w_in: Tensor<3>,
    /// `[direction, hidden, 3·hidden]`.
    pub w_rec: Tensor<3>,
    /// `[direction, 3·hidden]`.
    pub b_in: Tensor<2>,
    /// `[direction, 3·hidden]`.
    pub b_rec: Tensor<2>,
}

/// What [`spike_loop`](crate::spike_loop) runs on.
#[derive(Clone, Debug)]
pub struct SpikeLoopArguments {
    /// What the posterior's parameters are without feedback: `[time, trial, 2·latent]`.
    pub drive: Tensor<3>,
    /// What the logarithm of the spikes is without z: `[time, trial, neuron]`.
    pub spike_drive: Tensor<3>,
    /// Spikes of the bin before the first: `[trial, neuron]`.
    pub initial_spikes: Tensor<2>,
    /// From the spikes to the next bin's parameters: `[neuron, 2·latent]`.
    pub w_feedback: Tensor<2>,
    /// From z to the logarithm of the spikes: `[latent, neuron]`.
    pub w_spike: Tensor<2>,
    /// Means of z's prior, then log-variances: `[2·latent]`.
    pub prior: Tensor<1>,
    /// Standard normal values: `[time, trial, latent]`.
    pub noise: Tensor<3>,
}

/// What [`spike_loop`](crate::spike_loop) returns.
#[derive(Clone, Debug)]
pub struct SpikeLoop {
    /// Spikes per bin: `[time, trial, neuron]`.
    pub spikes: Tensor<3>,
    /// KL(posterior ‖ prior) of z, summed over bins, trials and dimensions, in nats: `[1]`.
    pub kl: Tensor<1>,
}

/// What [`gru_generate_controlled`](crate::gru_generate_controlled) runs on. Gates are r, z, n.
#[derive(Clone, Debug)]
pub struct ControlledArguments {
    /// The controller's gates without feedback, biases included: `[time, trial, 3·controller]`.
    pub drive: Tensor<3>,
    /// The controller's state before the first bin: `[trial, controller]`.
    pub c0: Tensor<2>,
    /// The generator's: `[trial, generator]`.
    pub g0: Tensor<2>,
    /// From the factors to the next bin's controller: `[factor, 3·controller]`.
    pub w_feedback: Tensor<2>,
    /// `[controller, 3·controller]`.
    pub w_controller: Tensor<2>,
    /// From the controller to means and log-variances of the inputs: `[controller, 2·input]`.
    pub w_posterior: Tensor<2>,
    /// `[2·input]`.
    pub b_posterior: Tensor<1>,
    /// From the inputs to the generator: `[input, 3·generator]`.
    pub w_input: Tensor<2>,
    /// `[generator, 3·generator]`.
    pub w_generator: Tensor<2>,
    /// `[3·generator]`.
    pub b_generator: Tensor<1>,
    /// From the generator to the factors: `[generator, factor]`.
    pub w_factors: Tensor<2>,
    /// Standard normal values: `[time, trial, input]`.
    pub noise: Tensor<3>,
    /// What the generator's states are multiplied by on their way to the factors, as dropout does:
    /// `[time, trial, generator]`.
    pub scale: Option<Vec<f32>>,
}

/// What [`gru_generate_controlled`](crate::gru_generate_controlled) returns.
#[derive(Clone, Debug)]
pub struct Controlled {
    /// `[time, trial, factor]`.
    pub factors: Tensor<3>,
    /// Means and log-variances of the inputs' posterior: `[time, trial, 2·input]`. The latter act
    /// within ±[`MAX_LOG_VARIANCE`](crate::kernels::MAX_LOG_VARIANCE).
    pub posterior: Tensor<3>,
    /// States of the controller: `[time, trial, controller]`.
    pub control: Tensor<3>,
}
