//! The public operations: shape checks, then the plain or the fused body.

use burn::tensor::Tensor;

use crate::kernels::GruSpec;

#[cfg(feature = "flex")]
mod fused;
pub mod plain;

#[cfg(feature = "flex")]
use burn::backend::{Dispatch, DispatchDevice, DispatchTensor};
#[cfg(feature = "flex")]
use burn::tensor::DType;
#[cfg(feature = "flex")]
use fused::{Fused, Output, Outputs, Which};
#[cfg(feature = "flex")]
use std::sync::Arc;

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

/// What [`spike_loop`] returns.
#[derive(Clone, Debug)]
pub struct SpikeLoop {
    /// Posterior means, then log-variances: `[time, trial, 2·latent]`.
    pub params: Tensor<3>,
    /// Spikes per bin: `[time, trial, neuron]`.
    pub spikes: Tensor<3>,
}

/// Runs a gated recurrent unit over a whole sequence, in one or two directions.
///
/// Direction 0 reads forward in time, direction 1 backward: its state at bin t has read
/// `x[t..]`, so the final states are the *last* bin of the first half of the last axis and the
/// *first* bin of the second half. Gradients flow to `x`, `h0` and every weight; that of an
/// untracked `x` is not computed.
///
/// # Shapes
/// `x`: `[time, trial, input]`, `h0`: `[direction, trial, hidden]`, result:
/// `[time, trial, direction·hidden]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
/// # Source
/// Cho et al. 2014, equations 5–8.
pub fn gru_sequence(x: Tensor<3>, h0: Tensor<3>, weights: GruWeights, spec: GruSpec) -> Tensor<3> {
    check_gru(&x, &h0, &weights);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        return Tensor::from_dispatch(run_gru(x, h0, weights, spec, Output::EveryBin));
    }
    plain::gru_sequence(x, h0, weights, spec)
}

/// Runs a gated recurrent unit over a whole sequence and returns the state of each direction
/// after its last step; cheaper than slicing [`gru_sequence`].
///
/// # Shapes
/// As for [`gru_sequence`]; result: `[trial, direction·hidden]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gru_final_states(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
) -> Tensor<2> {
    check_gru(&x, &h0, &weights);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        return Tensor::from_dispatch(run_gru(x, h0, weights, spec, Output::FinalStates));
    }
    plain::gru_final_states(x, h0, weights, spec)
}

/// Runs a gated recurrent unit without inputs from its initial state, as the LFADS generator.
///
/// # Shapes
/// `h0`: `[trial, hidden]`, `w_rec`: `[hidden, 3·hidden]`, `bias`: `[3·hidden]`, gate order
/// r, z, n; result: `[time, trial, hidden]`, the bins 1..=`n_bins` after `h0`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gru_generate(
    h0: Tensor<2>,
    w_rec: Tensor<2>,
    bias: Tensor<1>,
    n_bins: usize,
    spec: GruSpec,
) -> Tensor<3> {
    let [_, hidden] = h0.dims();
    assert!(n_bins > 0, "gru_generate needs at least one bin");
    check("w_rec", w_rec.dims(), [hidden, 3 * hidden]);
    check("bias", bias.dims(), [3 * hidden]);
    #[cfg(feature = "flex")]
    if has_fused(&h0) {
        let tensors = (
            h0.into_dispatch(),
            w_rec.into_dispatch(),
            bias.into_dispatch(),
        );
        let states = <Dispatch as Fused>::generate(tensors.0, tensors.1, tensors.2, n_bins, spec);
        return Tensor::from_dispatch(states);
    }
    plain::gru_generate(h0, w_rec, bias, n_bins, spec)
}

/// Filters along time: `y_t` = g·`y_{t−1}` + `s_t`, with `y_0` = `s_0` + g·`initial`.
///
/// This is spikes to calcium under AR(1). Gradients flow to `s` and `initial` (the same filter
/// run backward), not to `g`.
///
/// # Shapes
/// `s` and result: `[time, trial, neuron]`, `initial`: `[trial, neuron]`, `g`: one decay per
/// bin for each neuron.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn ar1_filter(s: Tensor<3>, initial: Tensor<2>, g: &[f32]) -> Tensor<3> {
    let [_, n_trials, n_neurons] = s.dims();
    check("initial", initial.dims(), [n_trials, n_neurons]);
    check("g", [g.len()], [n_neurons]);
    #[cfg(feature = "flex")]
    if has_fused(&s) {
        let (s, initial) = (s.into_dispatch(), initial.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as Fused>::ar1(s, initial, g.to_vec()));
    }
    plain::ar1_filter(s, initial, g)
}

/// Poisson log-probability of real-valued counts, elementwise:
/// s·ln μ − μ − ln Γ(s + 1).
///
/// Gradients: s − μ to `log_mean`, ln μ − ψ(s + 1) to `s`.
///
/// # Shapes
/// All `[time, trial, neuron]`.
/// # Units
/// `log_mean`: natural log of the expected count per bin; `s`: counts per bin, `s` ≥ 0.
/// # Panics
/// If the shapes differ.
pub fn poisson_log_prob(log_mean: Tensor<3>, s: Tensor<3>) -> Tensor<3> {
    check("s", s.dims(), log_mean.dims());
    #[cfg(feature = "flex")]
    if has_fused(&s) {
        let (log_mean, s) = (log_mean.into_dispatch(), s.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as Fused>::poisson(log_mean, s));
    }
    plain::poisson_log_prob(log_mean, s)
}

/// Runs the time loop of the ladder model's shallow level, in which the spikes of one bin feed
/// the posterior of the next.
///
/// For each bin: `params_t` = `drive_t` + `s_{t−1}` `W_feedback`, whose halves are mean and
/// log-variance; `z_t` = mean + exp(½ log-variance)⊙`noise_t`; `a_t` = `spike_drive_t` + `z_t`
/// `W_spike`; `s_t` = max(0, exp(`a_t`) − 1). Above `max_log` the exponential continues along its
/// tangent, exp(m)·(1 + a − m), so a large `a_t` stays bounded and keeps a gradient.
/// Gradients flow to everything but `noise`.
///
/// # Shapes
/// `drive`: `[time, trial, 2·latent]`, `spike_drive`: `[time, trial, neuron]`,
/// `initial_spikes`: `[trial, neuron]`, `w_feedback`: `[neuron, 2·latent]`, `w_spike`:
/// `[latent, neuron]`, `noise`: `[time, trial, latent]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
/// # Source
/// Prince & Richards 2019, section 2.3.
pub fn spike_loop(
    drive: Tensor<3>,
    spike_drive: Tensor<3>,
    initial_spikes: Tensor<2>,
    w_feedback: Tensor<2>,
    w_spike: Tensor<2>,
    noise: Tensor<3>,
    max_log: f32,
) -> SpikeLoop {
    let [n_bins, n_trials, n_neurons] = spike_drive.dims();
    let [latent, _] = w_spike.dims();
    assert!(n_bins > 0, "spike_loop needs at least one bin");
    check("drive", drive.dims(), [n_bins, n_trials, 2 * latent]);
    check(
        "initial_spikes",
        initial_spikes.dims(),
        [n_trials, n_neurons],
    );
    check("w_feedback", w_feedback.dims(), [n_neurons, 2 * latent]);
    check("w_spike", w_spike.dims(), [latent, n_neurons]);
    check("noise", noise.dims(), [n_bins, n_trials, latent]);
    let noise = noise.detach();
    #[cfg(feature = "flex")]
    if has_fused(&drive) {
        let outputs = Arc::new(Outputs::default());
        let tie = <Dispatch as Fused>::shallow(
            drive.into_dispatch(),
            spike_drive.into_dispatch(),
            initial_spikes.into_dispatch(),
            w_feedback.into_dispatch(),
            w_spike.into_dispatch(),
            noise.into_dispatch(),
            max_log,
            outputs.clone(),
        );
        let output = |which| {
            let tie = tie.clone();
            Tensor::from_dispatch(<Dispatch as Fused>::shallow_output(
                tie,
                outputs.clone(),
                which,
            ))
        };
        return SpikeLoop {
            params: output(Which::Params),
            spikes: output(Which::Spikes),
        };
    }
    plain::spike_loop(
        drive,
        spike_drive,
        initial_spikes,
        w_feedback,
        w_spike,
        noise,
        max_log,
    )
}

/// Whether the fused bodies serve this tensor's device and number type.
#[cfg(feature = "flex")]
fn has_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device();
    let is_flex = match device.as_dispatch() {
        DispatchDevice::Autodiff(inner) => matches!(**inner, DispatchDevice::Flex(_)),
        DispatchDevice::Flex(_) => true,
        #[allow(unreachable_patterns)]
        _ => false,
    };
    is_flex && tensor.dtype() == DType::F32
}

#[cfg(feature = "flex")]
fn run_gru(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
    output: Output,
) -> DispatchTensor {
    <Dispatch as Fused>::gru(
        x.into_dispatch(),
        h0.into_dispatch(),
        weights.w_in.into_dispatch(),
        weights.w_rec.into_dispatch(),
        weights.b_in.into_dispatch(),
        weights.b_rec.into_dispatch(),
        spec,
        output,
    )
}

fn check_gru(x: &Tensor<3>, h0: &Tensor<3>, weights: &GruWeights) {
    let [n_bins, n_trials, n_inputs] = x.dims();
    let [n_directions, _, hidden] = h0.dims();
    assert!(
        n_bins > 0 && (1..=2).contains(&n_directions),
        "a gated recurrent unit needs at least one bin and one or two directions, got x {:?} and \
         h0 {:?}",
        x.dims(),
        h0.dims()
    );
    check("h0", h0.dims(), [n_directions, n_trials, hidden]);
    check(
        "w_in",
        weights.w_in.dims(),
        [n_directions, n_inputs, 3 * hidden],
    );
    check(
        "w_rec",
        weights.w_rec.dims(),
        [n_directions, hidden, 3 * hidden],
    );
    check("b_in", weights.b_in.dims(), [n_directions, 3 * hidden]);
    check("b_rec", weights.b_rec.dims(), [n_directions, 3 * hidden]);
}

fn check<const D: usize>(name: &str, got: [usize; D], want: [usize; D]) {
    assert_eq!(
        got, want,
        "`{name}` has the wrong shape (left) for the other arguments (right)"
    );
}
