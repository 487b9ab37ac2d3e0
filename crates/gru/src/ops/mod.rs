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
use fused::{
    FusedAffine, FusedControlled, FusedElementwise, FusedGru, FusedOutputs, FusedSpikeLoop, Output,
    Outputs, Which,
};
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

/// What [`spike_loop`] runs on.
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

/// What [`spike_loop`] returns.
#[derive(Clone, Debug)]
pub struct SpikeLoop {
    /// Spikes per bin: `[time, trial, neuron]`.
    pub spikes: Tensor<3>,
    /// KL(posterior ‖ prior) of z, summed over bins, trials and dimensions, in nats: `[1]`.
    pub kl: Tensor<1>,
}

/// What [`gru_generate_controlled`] runs on. Gates are r, z, n.
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

/// What [`gru_generate_controlled`] returns.
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

/// Runs a gated recurrent unit over a whole sequence, in one or two directions.
///
/// Direction 0 reads forward in time, direction 1 backward: its state at bin t has read
/// `x[t..]`, so the final states are the *last* bin of the first half of the last axis and the
/// *first* bin of the second half. Gradients flow to `x`, `h0` and every weight; that of an
/// untracked `x` is not computed. The states are multiplied by `scale`, as dropout does, on their
/// way out, not within the recurrence.
///
/// # Shapes
/// `x`: `[time, trial, input]`, `h0`: `[direction, trial, hidden]`, `scale` and result:
/// `[time, trial, direction·hidden]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
/// # Source
/// Cho et al. 2014, equations 5–8.
pub fn gru_sequence(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
    scale: Option<Vec<f32>>,
) -> Tensor<3> {
    check_gru(&x, &h0, &weights);
    let [n_bins, n_trials, _] = x.dims();
    let [n_directions, _, hidden] = h0.dims();
    check_scale(scale.as_deref(), [n_bins, n_trials, n_directions * hidden]);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        return Tensor::from_dispatch(run_gru(x, h0, weights, spec, Output::EveryBin(scale)));
    }
    plain::gru_sequence(x, h0, weights, spec, scale)
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

/// Runs a gated recurrent unit over a whole sequence and returns the states of every bin and the
/// final ones, as [`gru_sequence`] and [`gru_final_states`] do.
///
/// # Shapes
/// As for those.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gru_sequence_and_final_states(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
) -> (Tensor<3>, Tensor<2>) {
    check_gru(&x, &h0, &weights);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        let outputs = Arc::new(Outputs::default());
        let tie = <Dispatch as FusedGru>::gru_both(
            x.into_dispatch(),
            h0.into_dispatch(),
            weights.w_in.into_dispatch(),
            weights.w_rec.into_dispatch(),
            weights.b_in.into_dispatch(),
            weights.b_rec.into_dispatch(),
            spec,
            outputs.clone(),
        );
        let [states, finals] = both_outputs(&tie, &outputs);
        return (Tensor::from_dispatch(states), Tensor::from_dispatch(finals));
    }
    plain::gru_sequence_and_final_states(x, h0, weights, spec)
}

/// Runs a gated recurrent unit without inputs from its initial state and maps its states to
/// outputs, as the LFADS generator to its factors: `y_t` = (`scale_t` ⊙ `h_t`) `W_out`. The scale, as
/// dropout needs it, does not act within the recurrence.
///
/// # Shapes
/// `h0`: `[trial, hidden]`, `w_rec`: `[hidden, 3·hidden]`, `bias`: `[3·hidden]`, gate order
/// r, z, n; `w_out`: `[hidden, output]`, `scale`: `[time, trial, hidden]`, result:
/// `[time, trial, output]`, of the bins 1..=`n_bins` after `h0`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gru_generate(
    h0: Tensor<2>,
    w_rec: Tensor<2>,
    bias: Tensor<1>,
    w_out: Tensor<2>,
    n_bins: usize,
    spec: GruSpec,
    scale: Option<Vec<f32>>,
) -> Tensor<3> {
    let [n_trials, hidden] = h0.dims();
    assert!(n_bins > 0, "gru_generate needs at least one bin");
    check("w_rec", w_rec.dims(), [hidden, 3 * hidden]);
    check("bias", bias.dims(), [3 * hidden]);
    check("w_out", w_out.dims(), [hidden, w_out.dims()[1]]);
    check_scale(scale.as_deref(), [n_bins, n_trials, hidden]);
    #[cfg(feature = "flex")]
    if has_fused(&h0) {
        return Tensor::from_dispatch(<Dispatch as FusedGru>::generate(
            h0.into_dispatch(),
            w_rec.into_dispatch(),
            bias.into_dispatch(),
            w_out.into_dispatch(),
            n_bins,
            spec,
            scale,
        ));
    }
    plain::gru_generate(h0, w_rec, bias, w_out, n_bins, spec, scale)
}

/// Runs the generator of LFADS with the controller that infers its inputs, bin by bin in order of
/// time: `c_t` = GRU(`drive_t` + `f_{t−1}` `W_feedback`, `c_{t−1}`); the halves of
/// `c_t` `W_posterior` + `b_posterior` are mean and log-variance of the inputs' posterior;
/// `u_t` = mean + exp(½ log-variance)⊙`noise_t`; `g_t` = GRU(`u_t`, `g_{t−1}`);
/// `f_t` = (`scale_t` ⊙ `g_t`) `W_factors`, and `f_0` = `g_0` `W_factors`.
///
/// In both units the reset gate acts before the product, and states are clipped to ±`clip`.
/// Gradients flow to everything but `noise` and `scale`.
///
/// # Panics
/// If a shape disagrees with the others, naming it.
/// # Source
/// Pandarinath et al. 2018, supplementary note; Prince & Richards 2019, section 2.2.
pub fn gru_generate_controlled(arguments: ControlledArguments, clip: Option<f32>) -> Controlled {
    check_controlled(&arguments);
    let arguments = ControlledArguments {
        noise: arguments.noise.detach(),
        ..arguments
    };
    #[cfg(feature = "flex")]
    if has_fused(&arguments.drive) {
        return run_controlled(arguments, clip);
    }
    plain::gru_generate_controlled(arguments, clip)
}

#[cfg(feature = "flex")]
fn run_controlled(arguments: ControlledArguments, clip: Option<f32>) -> Controlled {
    let outputs = Arc::new(Outputs::default());
    let tie = <Dispatch as FusedControlled>::controlled(
        arguments.drive.into_dispatch(),
        arguments.c0.into_dispatch(),
        arguments.g0.into_dispatch(),
        arguments.w_feedback.into_dispatch(),
        arguments.w_controller.into_dispatch(),
        arguments.w_posterior.into_dispatch(),
        arguments.b_posterior.into_dispatch(),
        arguments.w_input.into_dispatch(),
        arguments.w_generator.into_dispatch(),
        arguments.b_generator.into_dispatch(),
        arguments.w_factors.into_dispatch(),
        arguments.noise.into_dispatch(),
        arguments.scale,
        clip,
        outputs.clone(),
    );
    let take = |which| {
        let output = <Dispatch as FusedOutputs>::output(tie.clone(), outputs.clone(), which);
        Tensor::from_dispatch(output)
    };
    Controlled {
        factors: take(Which::First),
        posterior: take(Which::Second),
        control: take(Which::Third),
    }
}

fn check_controlled(arguments: &ControlledArguments) {
    let ControlledArguments {
        drive,
        c0,
        g0,
        w_feedback,
        w_controller,
        w_posterior,
        b_posterior,
        w_input,
        w_generator,
        b_generator,
        w_factors,
        noise,
        scale,
    } = arguments;
    let [n_bins, n_trials, n_inputs] = noise.dims();
    let ([_, controller], [generator, n_factors]) = (c0.dims(), w_factors.dims());
    assert!(
        n_bins > 0 && n_inputs > 0,
        "gru_generate_controlled needs at least one bin and one input"
    );
    check("drive", drive.dims(), [n_bins, n_trials, 3 * controller]);
    check("c0", c0.dims(), [n_trials, controller]);
    check("g0", g0.dims(), [n_trials, generator]);
    check("w_feedback", w_feedback.dims(), [n_factors, 3 * controller]);
    let square = [controller, 3 * controller];
    check("w_controller", w_controller.dims(), square);
    check(
        "w_posterior",
        w_posterior.dims(),
        [controller, 2 * n_inputs],
    );
    check("b_posterior", b_posterior.dims(), [2 * n_inputs]);
    let from_inputs = [n_inputs, 3 * generator];
    check("w_input", w_input.dims(), from_inputs);
    check(
        "w_generator",
        w_generator.dims(),
        [generator, 3 * generator],
    );
    check("b_generator", b_generator.dims(), [3 * generator]);
    check_scale(scale.as_deref(), [n_bins, n_trials, generator]);
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
        return Tensor::from_dispatch(<Dispatch as FusedElementwise>::ar1(s, initial, g.to_vec()));
    }
    plain::ar1_filter(s, initial, g)
}

/// Blurs along time: `y_t` = Σ_k `w_k` `x_{t+k−h}` / Σ_k `w_k`, both over the bins that there are. Of 2h + 1 weights for
/// each neuron, the one in the middle is that of the bin itself.
///
/// Gradients flow to `x` (the same blur the other way round), not to the weights.
///
/// # Shapes
/// `x` and result: `[time, trial, neuron]`, `weights`: `[2h + 1, neuron]`, row by row.
/// # Panics
/// If the weights are not an odd number for each neuron.
pub fn blur(x: Tensor<3>, weights: &[f32]) -> Tensor<3> {
    let [_, _, n_neurons] = x.dims();
    let n_delays = weights.len() / n_neurons / 2 * 2 + 1;
    check("weights", [weights.len()], [n_delays * n_neurons]);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        let y = <Dispatch as FusedElementwise>::blur(x.into_dispatch(), weights.to_vec());
        return Tensor::from_dispatch(y);
    }
    plain::blur(x, weights)
}

/// Log-likelihood of real-valued counts under a Poisson process: Σ w·(s·ln μ − μ − ln Γ(s + 1)),
/// with ln μ = log-rate + `log_exposure`.
///
/// Gradients: w·(s − μ) to `log_rates`, w·(ln μ − ψ(s + 1)) to `counts`, none to `weights`.
///
/// # Shapes
/// `log_rates` and `counts`: `[time, trial, neuron]`, `weights`, w: the same, or `[1, 1, 1]` for
/// all counts; result: `[1]`.
/// # Units
/// `log_rates`: natural log of expected counts per unit of time, `log_exposure`: natural log of the
/// time a bin covers; `counts`: s ≥ 0 per bin.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn poisson_log_likelihood(
    log_rates: Tensor<3>,
    counts: Tensor<3>,
    weights: Tensor<3>,
    log_exposure: f64,
) -> Tensor<1> {
    poisson(log_rates, counts, weights, log_exposure, true)
}

/// [`poisson_log_likelihood`] but for what does not depend on the rates: Σ w·(s·ln μ − μ).
///
/// # Shapes
/// As there.
/// # Panics
/// As there.
pub fn poisson_log_likelihood_of_rates(
    log_rates: Tensor<3>,
    counts: Tensor<3>,
    weights: Tensor<3>,
    log_exposure: f64,
) -> Tensor<1> {
    poisson(log_rates, counts, weights, log_exposure, false)
}

fn poisson(
    log_rates: Tensor<3>,
    counts: Tensor<3>,
    weights: Tensor<3>,
    log_exposure: f64,
    with_factorials: bool,
) -> Tensor<1> {
    check("counts", counts.dims(), log_rates.dims());
    if weights.dims() != [1, 1, 1] {
        check("weights", weights.dims(), counts.dims());
    }
    let weights = weights.detach();
    #[cfg(feature = "flex")]
    if has_fused(&log_rates) {
        let sum = <Dispatch as FusedElementwise>::poisson(
            log_rates.into_dispatch(),
            counts.into_dispatch(),
            weights.into_dispatch(),
            log_exposure as f32,
            with_factorials,
        );
        return Tensor::from_dispatch(sum);
    }
    match with_factorials {
        true => plain::poisson_log_likelihood(log_rates, counts, weights, log_exposure),
        false => plain::poisson_log_likelihood_of_rates(log_rates, counts, weights, log_exposure),
    }
}

/// Log-likelihood of observations with Gaussian noise: the sum of
/// −(x − y)²/(2σ²) − ln σ − ½ ln 2π over those that are not NaN.
///
/// Gradients: (x − y)/σ² to `mean`, Σ ((x − y)²/σ² − 1) over the present to `log_sd`, none to
/// `x`.
///
/// # Shapes
/// `x` and `mean`: `[time, trial, neuron]`; `log_sd`, ln σ: `[neuron]`; result: `[1]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gaussian_log_likelihood(x: Tensor<3>, mean: Tensor<3>, log_sd: Tensor<1>) -> Tensor<1> {
    check("mean", mean.dims(), x.dims());
    check("log_sd", log_sd.dims(), [x.dims()[2]]);
    let x = x.detach();
    #[cfg(feature = "flex")]
    if has_fused(&mean) {
        let tensors = (
            x.into_dispatch(),
            mean.into_dispatch(),
            log_sd.into_dispatch(),
        );
        let sum = <Dispatch as FusedElementwise>::gaussian(tensors.0, tensors.1, tensors.2);
        return Tensor::from_dispatch(sum);
    }
    plain::gaussian_log_likelihood(x, mean, log_sd)
}

/// Maps the last axis: y = offset + x W.
///
/// Gradients flow to everything tracked; that of an untracked `x` is not computed.
///
/// # Shapes
/// `x`: `[time, trial, input]`, `w`: `[input, output]`, `offset`: `[1, 1, output]` (a bias) or
/// `[time, trial, output]`, result: `[time, trial, output]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn affine(x: Tensor<3>, w: Tensor<2>, offset: Tensor<3>) -> Tensor<3> {
    let ([n_bins, n_trials, n_inputs], [_, n_outputs]) = (x.dims(), w.dims());
    check("w", w.dims(), [n_inputs, n_outputs]);
    if offset.dims() != [1, 1, n_outputs] {
        check("offset", offset.dims(), [n_bins, n_trials, n_outputs]);
    }
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        let tensors = (x.into_dispatch(), w.into_dispatch(), offset.into_dispatch());
        let mapped = <Dispatch as FusedAffine>::affine(tensors.0, tensors.1, tensors.2);
        return Tensor::from_dispatch(mapped);
    }
    plain::affine(x, w, offset)
}

/// Runs the time loop of the ladder model's shallow level, in which the spikes of one bin feed
/// the posterior of the next.
///
/// For each bin: the halves of `drive_t` + `s_{t−1}` `W_feedback` are mean and log-variance of
/// z's posterior, the latter held within ±12; `z_t` = mean + exp(½ log-variance)⊙`noise_t`;
/// `a_t` = `spike_drive_t` + `z_t` `W_spike`; `s_t` = max(0, exp(`a_t`) − 1). Above `max_log` the
/// exponential continues along its tangent, exp(m)·(1 + a − m), so a large `a_t` stays bounded
/// and keeps a gradient. Gradients flow to everything but `noise`.
///
/// # Panics
/// If a shape disagrees with the others, naming it.
/// # Source
/// Prince & Richards 2019, section 2.3.
pub fn spike_loop(arguments: SpikeLoopArguments, max_log: f32) -> SpikeLoop {
    check_spike_loop(&arguments);
    let arguments = SpikeLoopArguments {
        noise: arguments.noise.detach(),
        ..arguments
    };
    #[cfg(feature = "flex")]
    if has_fused(&arguments.drive) {
        return run_spike_loop(arguments, max_log);
    }
    plain::spike_loop(arguments, max_log)
}

#[cfg(feature = "flex")]
fn run_spike_loop(arguments: SpikeLoopArguments, max_log: f32) -> SpikeLoop {
    let outputs = Arc::new(Outputs::default());
    let tie = <Dispatch as FusedSpikeLoop>::shallow(
        arguments.drive.into_dispatch(),
        arguments.spike_drive.into_dispatch(),
        arguments.initial_spikes.into_dispatch(),
        arguments.w_feedback.into_dispatch(),
        arguments.w_spike.into_dispatch(),
        arguments.prior.into_dispatch(),
        arguments.noise.into_dispatch(),
        max_log,
        outputs.clone(),
    );
    let [spikes, kl] = both_outputs(&tie, &outputs);
    SpikeLoop {
        spikes: Tensor::from_dispatch(spikes),
        kl: Tensor::from_dispatch(kl),
    }
}

/// The outputs of an operation that returned `tie`.
#[cfg(feature = "flex")]
fn both_outputs(tie: &DispatchTensor, outputs: &Arc<Outputs>) -> [DispatchTensor; 2] {
    [Which::First, Which::Second]
        .map(|which| <Dispatch as FusedOutputs>::output(tie.clone(), outputs.clone(), which))
}

fn check_spike_loop(arguments: &SpikeLoopArguments) {
    let [n_bins, n_trials, n_neurons] = arguments.spike_drive.dims();
    let [latent, _] = arguments.w_spike.dims();
    assert!(n_bins > 0, "spike_loop needs at least one bin");
    let SpikeLoopArguments {
        drive,
        initial_spikes,
        w_feedback,
        w_spike,
        prior,
        noise,
        ..
    } = arguments;
    check("drive", drive.dims(), [n_bins, n_trials, 2 * latent]);
    let initial = [n_trials, n_neurons];
    check("initial_spikes", initial_spikes.dims(), initial);
    check("w_feedback", w_feedback.dims(), [n_neurons, 2 * latent]);
    check("w_spike", w_spike.dims(), [latent, n_neurons]);
    check("prior", prior.dims(), [2 * latent]);
    check("noise", noise.dims(), [n_bins, n_trials, latent]);
}

/// How many operations have run as one fused pass in this process so far: 0 where a device or a
/// number type falls back to burn's own operations, which take many times as long.
pub fn fused_runs() -> u64 {
    #[cfg(feature = "flex")]
    let runs = fused::runs();
    #[cfg(not(feature = "flex"))]
    let runs = 0;
    runs
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
    <Dispatch as FusedGru>::gru(
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

fn check_scale(scale: Option<&[f32]>, states: [usize; 3]) {
    if let Some(scale) = scale {
        check("scale", [scale.len()], [states.iter().product()]);
    }
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
