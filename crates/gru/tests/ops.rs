//! The fused operations against the plain ones, values and gradients, through burn.
#![cfg(feature = "flex")]

use burn::tensor::{Device, Distribution, Gradients, Tensor};
use gru::{
    Controlled, ControlledArguments, GruSpec, GruWeights, ResetGate, SpikeLoopArguments, plain,
};

const BEFORE: GruSpec = GruSpec {
    reset: ResetGate::BeforeProduct,
    clip: Some(0.5),
};
const AFTER: GruSpec = GruSpec {
    reset: ResetGate::AfterProduct,
    clip: None,
};

fn device() -> Device {
    let device = Device::flex().autodiff();
    device.seed(7);
    device
}

fn random<const D: usize>(shape: [usize; D], scale: f64) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, scale), &device()).require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn assert_close<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>) {
    assert_eq!(got.dims(), want.dims(), "{name}");
    let (got, want) = (values(got), values(want));
    let scale = want
        .iter()
        .fold(1.0_f32, |scale, want| scale.max(want.abs()));
    for (index, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!(
            (got - want).abs() <= 2e-5 * scale,
            "{name}[{index}]: {got} is not {want}"
        );
    }
}

/// Gradients of a loss that weighs every element differently.
fn gradients<const D: usize>(out: &Tensor<D>) -> Gradients {
    let weights = Tensor::random(out.dims(), Distribution::Normal(0.0, 1.0), &device());
    (out.clone() * weights).sum().backward()
}

/// Compares outputs, and gradients of the named tensors.
macro_rules! assert_same {
    ($fused:expr, $plain:expr; $($tensor:ident),*) => {{
        let (fused, plain) = ($fused, $plain);
        assert_close("output", fused.clone(), plain.clone());
        let (from_fused, from_plain) = (gradients(&fused), gradients(&plain));
        $(assert_close(
            stringify!($tensor),
            $tensor.grad(&from_fused).unwrap(),
            $tensor.grad(&from_plain).unwrap(),
        );)*
    }};
}

fn gru_weights(directions: usize, inputs: usize, hidden: usize) -> GruWeights {
    GruWeights {
        w_in: random([directions, inputs, 3 * hidden], 0.5),
        w_rec: random([directions, hidden, 3 * hidden], 0.5),
        b_in: random([directions, 3 * hidden], 0.3),
        b_rec: random([directions, 3 * hidden], 0.3),
    }
}

#[test]
fn gru_sequence_and_final_states_match_the_plain_body() {
    for (spec, directions) in [(BEFORE, 1), (BEFORE, 2), (AFTER, 1), (AFTER, 2)] {
        let (x, h0) = (random([7, 5, 3], 1.0), random([directions, 5, 9], 0.3));
        let weights = gru_weights(directions, 3, 9);
        let GruWeights {
            w_in,
            w_rec,
            b_in,
            b_rec,
        } = weights.clone();
        assert_same!(
            gru::gru_sequence(x.clone(), h0.clone(), weights.clone(), spec, None),
            plain::gru_sequence(x.clone(), h0.clone(), weights.clone(), spec, None);
            x, h0, w_in, w_rec, b_in, b_rec
        );
        let scale = Some(values(random([7, 5, 9 * directions], 1.0)));
        assert_same!(
            gru::gru_sequence(x.clone(), h0.clone(), weights.clone(), spec, scale.clone()),
            plain::gru_sequence(x.clone(), h0.clone(), weights.clone(), spec, scale.clone());
            x, h0, w_in, w_rec, b_in, b_rec
        );
        assert_same!(
            gru::gru_final_states(x.clone(), h0.clone(), weights.clone(), spec),
            plain::gru_final_states(x.clone(), h0.clone(), weights.clone(), spec);
            x, h0, w_in, w_rec, b_in, b_rec
        );
    }
}

#[test]
fn both_outputs_of_a_run_match_the_plain_body() {
    let (x, h0) = (random([7, 5, 3], 1.0), random([2, 5, 9], 0.3));
    let weights = gru_weights(2, 3, 9);
    let GruWeights { w_in, w_rec, .. } = weights.clone();
    let fused =
        || gru::gru_sequence_and_final_states(x.clone(), h0.clone(), weights.clone(), AFTER);
    let plain =
        || plain::gru_sequence_and_final_states(x.clone(), h0.clone(), weights.clone(), AFTER);
    let joined = |(states, finals): (Tensor<3>, Tensor<2>)| {
        Tensor::cat(vec![states, finals.unsqueeze::<3>()], 0)
    };
    assert_same!(joined(fused()), joined(plain()); x, h0, w_in, w_rec);
    assert_same!(fused().0, plain().0; x, h0, w_in, w_rec);
    assert_same!(fused().1, plain().1; x, h0, w_in, w_rec);
}

#[test]
fn untracked_arguments_get_no_gradient_and_leave_the_others_unchanged() {
    let (tracked, h0) = (random([4, 3, 2], 1.0), random([1, 3, 5], 0.3));
    let data = Tensor::from_data(tracked.to_data(), &Device::flex());
    let weights = gru_weights(1, 2, 5);
    let with = gru::gru_sequence(tracked.clone(), h0.clone(), weights.clone(), AFTER, None);
    let without = gru::gru_sequence(data.clone(), h0, weights.clone(), AFTER, None);
    let (from_with, from_without) = (gradients(&with), gradients(&without));
    assert!(tracked.grad(&from_with).is_some());
    assert!(tracked.grad(&from_without).is_none());
    let w_in = |gradients: &Gradients| values(weights.w_in.grad(gradients).unwrap());
    assert_eq!(w_in(&from_with), w_in(&from_without));
}

#[test]
fn without_autodiff_the_result_is_the_same() {
    let bare = |tensor: &Tensor<3>| Tensor::<3>::from_data(tensor.to_data(), &Device::flex());
    let (x, h0, weights) = (
        random([4, 3, 2], 1.0),
        random([2, 3, 5], 0.3),
        gru_weights(2, 2, 5),
    );
    let bias = |tensor: &Tensor<2>| Tensor::<2>::from_data(tensor.to_data(), &Device::flex());
    let bare_weights = GruWeights {
        w_in: bare(&weights.w_in),
        w_rec: bare(&weights.w_rec),
        b_in: bias(&weights.b_in),
        b_rec: bias(&weights.b_rec),
    };
    let inference = gru::gru_sequence(bare(&x), bare(&h0), bare_weights, BEFORE, None);
    let training = gru::gru_sequence(x, h0, weights, BEFORE, None);
    assert_eq!(values(inference), values(training));
}

#[test]
fn strided_arguments_are_read_in_their_own_order() {
    let (x, h0, weights) = (
        random([5, 4, 3], 1.0),
        random([1, 5, 6], 0.3),
        gru_weights(1, 3, 6),
    );
    let GruWeights { w_rec, .. } = weights.clone();
    let swapped = || x.clone().swap_dims(0, 1);
    assert_same!(
        gru::gru_sequence(swapped(), h0.clone(), weights.clone(), AFTER, None),
        plain::gru_sequence(swapped(), h0.clone(), weights.clone(), AFTER, None);
        x, w_rec
    );
}

#[test]
fn double_precision_takes_the_plain_body() {
    let double = |tensor: Tensor<3>| tensor.detach().cast(burn::tensor::DType::F64);
    let s = double(random([2, 3, 4], 1.0)).abs();
    let one = s.clone().slice([0..1, 0..1, 0..1]).ones_like();
    let log_likelihood = gru::poisson_log_likelihood(s.clone(), s, one, 0.0);
    assert_eq!(log_likelihood.dtype(), burn::tensor::DType::F64);
}

#[test]
fn gru_generate_matches_the_plain_body() {
    for (spec, n_outputs) in [(BEFORE, 2), (AFTER, 40)] {
        let (h0, w_rec, bias) = (random([5, 9], 0.5), random([9, 27], 0.5), random([27], 0.5));
        let w_out = random([9, n_outputs], 0.5);
        for scale in [None, Some(values(random([6, 5, 9], 1.0)))] {
            let arguments = || (h0.clone(), w_rec.clone(), bias.clone(), w_out.clone());
            let fused = |(h0, w_rec, bias, w_out)| {
                gru::gru_generate(h0, w_rec, bias, w_out, 6, spec, scale.clone())
            };
            let plain = |(h0, w_rec, bias, w_out)| {
                plain::gru_generate(h0, w_rec, bias, w_out, 6, spec, scale.clone())
            };
            assert_same!(fused(arguments()), plain(arguments()); h0, w_rec, bias, w_out);
        }
    }
}

#[test]
fn ar1_filter_matches_the_plain_body() {
    let (s, initial) = (random([6, 4, 3], 1.0), random([4, 3], 1.0));
    let g = [0.9, 0.5, 0.0];
    assert_same!(
        gru::ar1_filter(s.clone(), initial.clone(), &g),
        plain::ar1_filter(s.clone(), initial.clone(), &g);
        s, initial
    );
}

#[test]
fn blur_matches_the_plain_body() {
    // Two neurons; the widest blur reaches beyond both ends of a trial from every bin.
    for n_delays in [1, 3, 5, 15] {
        let x = random([6, 4, 2], 1.0);
        let weights: Vec<f32> = (0..2 * n_delays).map(|k| 0.1 + (k % 7) as f32).collect();
        assert_same!(
            gru::blur(x.clone(), &weights),
            plain::blur(x.clone(), &weights);
            x
        );
    }
}

#[test]
fn poisson_log_likelihood_matches_the_plain_body() {
    let log_rates = random([6, 4, 3], 1.0);
    let s = (random([6, 4, 3], 6.0).abs()).detach().require_grad();
    let one = Tensor::ones([1, 1, 1], &device());
    for weights in [one, random([6, 4, 3], 1.0).abs().detach()] {
        let arguments = || (log_rates.clone(), s.clone(), weights.clone());
        let ((a, b, c), (d, e, f)) = (arguments(), arguments());
        assert_same!(
            gru::poisson_log_likelihood(a, b, c, -2.0),
            plain::poisson_log_likelihood(d, e, f, -2.0);
            log_rates, s
        );
        let ((a, b, c), (d, e, f)) = (arguments(), arguments());
        assert_same!(
            gru::poisson_log_likelihood_of_rates(a, b, c, -2.0),
            plain::poisson_log_likelihood_of_rates(d, e, f, -2.0);
            log_rates, s
        );
    }
}

#[test]
fn gaussian_log_likelihood_matches_the_plain_body() {
    let (mean, log_sd) = (random([6, 4, 3], 1.0), random([3], 0.5));
    let x = random([6, 4, 3], 2.0).detach();
    let missing = x.clone().greater_elem(2.5);
    let x = x.mask_fill(missing, f32::NAN);
    assert_same!(
        gru::gaussian_log_likelihood(x.clone(), mean.clone(), log_sd.clone()),
        plain::gaussian_log_likelihood(x.clone(), mean.clone(), log_sd.clone());
        mean, log_sd
    );
}

#[test]
fn affine_matches_the_plain_body() {
    let (x, w) = (random([6, 4, 3], 1.0), random([3, 5], 1.0));
    for offset in [random([1, 1, 5], 1.0), random([6, 4, 5], 1.0)] {
        assert_same!(
            gru::affine(x.clone(), w.clone(), offset.clone()),
            plain::affine(x.clone(), w.clone(), offset.clone());
            x, w, offset
        );
    }
}

#[test]
fn spike_loop_matches_the_plain_body() {
    let (drive, spike_drive) = (random([6, 5, 8], 0.5), random([6, 5, 3], 0.7));
    let initial_spikes = random([5, 3], 1.0).abs().detach().require_grad();
    let (w_feedback, w_spike) = (random([3, 8], 0.2), random([4, 3], 0.5));
    let prior = random([8], 0.5);
    let arguments = SpikeLoopArguments {
        drive: drive.clone(),
        spike_drive: spike_drive.clone(),
        initial_spikes: initial_spikes.clone(),
        w_feedback: w_feedback.clone(),
        w_spike: w_spike.clone(),
        prior: prior.clone(),
        noise: random([6, 5, 4], 1.0).detach(),
    };
    let fused = || gru::spike_loop(arguments.clone(), 0.8);
    let plain = || plain::spike_loop(arguments.clone(), 0.8);
    let both = |out: gru::SpikeLoop| Tensor::cat(vec![out.spikes.flatten(0, 2), out.kl], 0);
    assert_same!(
        both(fused()), both(plain());
        drive, spike_drive, initial_spikes, w_feedback, w_spike, prior
    );
    // A loss of one output alone.
    assert_same!(
        fused().spikes, plain().spikes;
        drive, spike_drive, initial_spikes, w_feedback, w_spike
    );
    assert_same!(
        fused().kl, plain().kl;
        drive, spike_drive, initial_spikes, w_feedback, w_spike, prior
    );
}

#[test]
fn gru_generate_controlled_matches_the_plain_body() {
    let (bins, trials, controller, generator) = (6, 5, 7, 9);
    let (drive, c0, g0) = (
        random([bins, trials, 3 * controller], 0.7),
        random([trials, controller], 0.5),
        random([trials, generator], 0.5),
    );
    let (w_feedback, w_controller) = (
        random([3, 3 * controller], 0.5),
        random([controller, 3 * controller], 0.5),
    );
    let (w_posterior, b_posterior) = (random([controller, 4], 0.5), random([4], 0.5));
    let (w_generator, b_generator) = (
        random([generator, 3 * generator], 0.5),
        random([3 * generator], 0.5),
    );
    let w_factors = random([generator, 3], 0.5);
    let w_input = random([2, 3 * generator], 0.5);
    for is_scaled in [false, true] {
        let scale = values(random([bins, trials, generator], 1.0));
        let arguments = ControlledArguments {
            drive: drive.clone(),
            c0: c0.clone(),
            g0: g0.clone(),
            w_feedback: w_feedback.clone(),
            w_controller: w_controller.clone(),
            w_posterior: w_posterior.clone(),
            b_posterior: b_posterior.clone(),
            w_input: w_input.clone(),
            w_generator: w_generator.clone(),
            b_generator: b_generator.clone(),
            w_factors: w_factors.clone(),
            noise: random([bins, trials, 2], 1.0).detach(),
            scale: is_scaled.then_some(scale),
        };
        let fused = || gru::gru_generate_controlled(arguments.clone(), Some(0.5));
        let plain = || plain::gru_generate_controlled(arguments.clone(), Some(0.5));
        let all = |out: Controlled| Tensor::cat(vec![out.factors, out.posterior, out.control], 2);
        assert_same!(
            all(fused()), all(plain());
            drive, c0, g0, w_feedback, w_controller, w_posterior, b_posterior, w_input,
            w_generator, b_generator, w_factors
        );
        // A loss of one output alone.
        assert_same!(
            fused().factors, plain().factors;
            drive, c0, g0, w_feedback, w_controller, w_posterior, b_posterior, w_input,
            w_generator, b_generator, w_factors
        );
    }
}

#[test]
#[should_panic(expected = "`w_rec` has the wrong shape")]
fn a_wrong_shape_is_named() {
    let mut weights = gru_weights(1, 3, 9);
    weights.w_rec = random([1, 9, 26], 1.0);
    gru::gru_sequence(
        random([7, 5, 3], 1.0),
        random([1, 5, 9], 0.3),
        weights,
        AFTER,
        None,
    );
}
