//! The operations as ordinary tensor operations: for devices without a fused body, and the
//! yardstick of the fused ones.
//!
//! Shapes are as in the functions of the same name at the crate's root, unchecked.

use std::f64::consts::TAU;

use burn::tensor::{
    Tensor, TensorData,
    activation::{relu, sigmoid},
};

use super::arguments::{
    Controlled, ControlledArguments, GruWeights, SpikeLoop, SpikeLoopArguments,
};
use crate::kernels::{GruSpec, MAX_LOG_VARIANCE, ResetGate};

/// See [`crate::gru_sequence`].
pub fn gru_sequence(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
    scale: Option<Vec<f32>>,
) -> Tensor<3> {
    let [n_bins, _, _] = x.dims();
    let [n_directions, _, _] = h0.dims();
    let inputs: Vec<Tensor<2>> = (0..n_bins).map(|bin| at(&x, bin)).collect();
    let directions = (0..n_directions).map(|direction| {
        let (w_in, b_in) = (at(&weights.w_in, direction), row(&weights.b_in, direction));
        let (w_rec, b_rec) = (
            at(&weights.w_rec, direction),
            row(&weights.b_rec, direction),
        );
        let mut h = at(&h0, direction);
        let mut step = |input: &Tensor<2>| {
            let from_input = input.clone().matmul(w_in.clone()) + b_in.clone();
            h = gru_step(Some(from_input), h.clone(), &w_rec, &b_rec, spec);
            h.clone()
        };
        let mut states: Vec<Tensor<2>> = if direction == 0 {
            inputs.iter().map(&mut step).collect()
        } else {
            inputs.iter().rev().map(&mut step).collect()
        };
        if direction == 1 {
            states.reverse();
        }
        Tensor::stack::<3>(states, 0)
    });
    scaled(Tensor::cat(directions.collect(), 2), scale)
}

/// See [`crate::gru_final_states`].
pub fn gru_final_states(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
) -> Tensor<2> {
    gru_sequence_and_final_states(x, h0, weights, spec).1
}

/// See [`crate::gru_sequence_and_final_states`].
pub fn gru_sequence_and_final_states(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
) -> (Tensor<3>, Tensor<2>) {
    let [n_directions, _, hidden] = h0.dims();
    let [n_bins, _, _] = x.dims();
    let states = gru_sequence(x, h0, weights, spec, None);
    let last = [n_bins - 1, 0];
    let finals = (0..n_directions)
        .map(|direction| at(&states, last[direction]).narrow(1, direction * hidden, hidden));
    let finals = Tensor::cat(finals.collect(), 1);
    (states, finals)
}

/// See [`crate::gru_generate`].
pub fn gru_generate(
    h0: Tensor<2>,
    w_rec: Tensor<2>,
    bias: Tensor<1>,
    w_out: Tensor<2>,
    n_bins: usize,
    spec: GruSpec,
    scale: Option<Vec<f32>>,
) -> Tensor<3> {
    let bias = bias.unsqueeze::<2>();
    let states = (0..n_bins).scan(h0, |h, _| {
        *h = gru_step(None, h.clone(), &w_rec, &bias, spec);
        Some(h.clone())
    });
    scaled(Tensor::stack(states.collect(), 0), scale).matmul(w_out.unsqueeze())
}

/// See [`crate::gru_generate_controlled`].
pub fn gru_generate_controlled(arguments: ControlledArguments, clip: Option<f32>) -> Controlled {
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
    let ([n_bins, n_trials, n_inputs], [_, n_generator]) = (noise.dims(), g0.dims());
    let spec = GruSpec {
        reset: ResetGate::BeforeProduct,
        clip,
    };
    let shape = [n_bins, n_trials, n_generator];
    let scale =
        scale.map(|scale| Tensor::<3>::from_data(TensorData::new(scale, shape), &g0.device()));
    let bound = f64::from(MAX_LOG_VARIANCE);
    let no_bias = Tensor::zeros_like(&w_controller.clone().narrow(0, 0, 1));
    let (b_posterior, b_generator) = (b_posterior.unsqueeze(), b_generator.unsqueeze());
    let (mut factors, mut posterior, mut control) = (Vec::new(), Vec::new(), Vec::new());
    let (mut c, mut g) = (c0, g0);
    let mut f = g.clone().matmul(w_factors.clone());
    for bin in 0..n_bins {
        let driven = at(&drive, bin) + f.matmul(w_feedback.clone());
        c = gru_step(Some(driven), c, &w_controller, &no_bias, spec);
        let both: Tensor<2> = c.clone().matmul(w_posterior.clone()) + b_posterior.clone();
        let log_variance = both.clone().narrow(1, n_inputs, n_inputs);
        let sd = log_variance.clamp(-bound, bound).mul_scalar(0.5).exp();
        let u = both.clone().narrow(1, 0, n_inputs) + sd * at(&noise, bin);
        let driven = u.matmul(w_input.clone());
        g = gru_step(Some(driven), g, &w_generator, &b_generator, spec);
        let scaled = match &scale {
            Some(scale) => g.clone() * at(scale, bin),
            None => g.clone(),
        };
        f = scaled.matmul(w_factors.clone());
        factors.push(f.clone());
        posterior.push(both);
        control.push(c.clone());
    }
    let stack = |bins| Tensor::stack(bins, 0);
    Controlled {
        factors: stack(factors),
        posterior: stack(posterior),
        control: stack(control),
    }
}

fn scaled(states: Tensor<3>, scale: Option<Vec<f32>>) -> Tensor<3> {
    match scale {
        Some(scale) => {
            let scale = TensorData::new(scale, states.dims());
            let scale = Tensor::from_data(scale, &states.device());
            states * scale
        }
        None => states,
    }
}

/// See [`crate::ar1_filter`].
pub fn ar1_filter(s: Tensor<3>, initial: Tensor<2>, g: &[f32]) -> Tensor<3> {
    let decay = Tensor::<1>::from_floats(g, &s.device()).unsqueeze::<2>();
    let outputs = (0..s.dims()[0]).scan(initial, |y, bin| {
        *y = y.clone() * decay.clone() + at(&s, bin);
        Some(y.clone())
    });
    Tensor::stack(outputs.collect(), 0)
}

/// See [`crate::blur`].
pub fn blur(x: Tensor<3>, weights: &[f32]) -> Tensor<3> {
    let [n_bins, n_trials, n_neurons] = x.dims();
    let device = x.device();
    let half = weights.len() / n_neurons / 2;
    let beyond = |x: Tensor<3>| {
        let [_, n_trials, n_neurons] = x.dims();
        let nothing = Tensor::zeros([half, n_trials, n_neurons], &device);
        Tensor::cat(vec![nothing.clone(), x, nothing], 0)
    };
    let (x, ones) = (beyond(x), beyond(Tensor::ones([n_bins, 1, 1], &device)));
    let mut sum = Tensor::zeros([n_bins, n_trials, n_neurons], &device);
    let mut whole = Tensor::zeros([n_bins, 1, n_neurons], &device);
    for (delay, weights) in weights.chunks_exact(n_neurons).enumerate() {
        let weights = Tensor::<1>::from_floats(weights, &device).unsqueeze::<3>();
        sum = sum + x.clone().narrow(0, delay, n_bins) * weights.clone();
        whole = whole + ones.clone().narrow(0, delay, n_bins) * weights;
    }
    sum / whole
}

/// See [`crate::poisson_log_likelihood`].
pub fn poisson_log_likelihood(
    log_rates: Tensor<3>,
    counts: Tensor<3>,
    weights: Tensor<3>,
    log_exposure: f64,
) -> Tensor<1> {
    let factorials = (ln_gamma_1p(counts.clone()) * weights.clone()).sum();
    poisson_log_likelihood_of_rates(log_rates, counts, weights, log_exposure) - factorials
}

/// See [`crate::poisson_log_likelihood_of_rates`].
pub fn poisson_log_likelihood_of_rates(
    log_rates: Tensor<3>,
    counts: Tensor<3>,
    weights: Tensor<3>,
    log_exposure: f64,
) -> Tensor<1> {
    let log_means = log_rates + log_exposure;
    ((counts * log_means.clone() - log_means.exp()) * weights).sum()
}

/// See [`crate::gaussian_log_likelihood`].
pub fn gaussian_log_likelihood(x: Tensor<3>, mean: Tensor<3>, log_sd: Tensor<1>) -> Tensor<1> {
    let log_sd = log_sd.unsqueeze::<3>();
    let missing = x.clone().is_nan();
    let z = (x.mask_fill(missing.clone(), 0.0) - mean) * log_sd.clone().neg().exp();
    let value = z.square().mul_scalar(-0.5) - log_sd.add_scalar(0.5 * TAU.ln());
    value.mask_fill(missing, 0.0).sum()
}

/// See [`crate::affine`].
pub fn affine(x: Tensor<3>, w: Tensor<2>, offset: Tensor<3>) -> Tensor<3> {
    let ([n_bins, n_trials, n_inputs], [_, n_outputs]) = (x.dims(), w.dims());
    let product = x.reshape([n_bins * n_trials, n_inputs]).matmul(w);
    product.reshape([n_bins, n_trials, n_outputs]) + offset
}

/// See [`crate::spike_loop`].
pub fn spike_loop(arguments: SpikeLoopArguments, max_log: f32) -> SpikeLoop {
    let SpikeLoopArguments {
        drive,
        spike_drive,
        initial_spikes,
        w_feedback,
        w_spike,
        prior,
        noise,
    } = arguments;
    let [n_bins, _, latent] = noise.dims();
    let bound = f64::from(MAX_LOG_VARIANCE);
    let prior: Tensor<2> = prior.unsqueeze();
    let prior_log = prior.clone().narrow(1, latent, latent);
    let prior_mean = prior.narrow(1, 0, latent);
    let precision = prior_log.clone().neg().exp();
    let mut spikes = Vec::with_capacity(n_bins);
    let mut kl = Tensor::zeros([1], &noise.device());
    let mut previous = initial_spikes;
    for bin in 0..n_bins {
        let both = at(&drive, bin) + previous.matmul(w_feedback.clone());
        let mean = both.clone().narrow(1, 0, latent);
        let log_variance = both.narrow(1, latent, latent).clamp(-bound, bound);
        let sd = log_variance.clone().mul_scalar(0.5).exp();
        let spread = log_variance.clone().exp() + (mean.clone() - prior_mean.clone()).square();
        let terms = spread * precision.clone() + prior_log.clone() - log_variance - 1.0;
        kl = kl + terms.sum().mul_scalar(0.5);
        let z = mean + sd * at(&noise, bin);
        let log_spikes = at(&spike_drive, bin) + z.matmul(w_spike.clone());
        previous = relu(exp_bounded(log_spikes, max_log) - 1.0);
        spikes.push(previous.clone());
    }
    SpikeLoop {
        spikes: Tensor::stack(spikes, 0),
        kl,
    }
}

fn gru_step(
    from_input: Option<Tensor<2>>,
    h: Tensor<2>,
    w_rec: &Tensor<2>,
    b_rec: &Tensor<2>,
    spec: GruSpec,
) -> Tensor<2> {
    let [_, hidden] = h.dims();
    let plus_input = |from_state: Tensor<2>, gates: usize, n_gates: usize| match &from_input {
        Some(all) => from_state + all.clone().narrow(1, gates * hidden, n_gates * hidden),
        None => from_state,
    };
    let gate =
        |both: &Tensor<2>, index: usize| sigmoid(both.clone().narrow(1, index * hidden, hidden));
    let recurrent = |h: Tensor<2>, gates: usize, n_gates: usize| {
        let (start, width) = (gates * hidden, n_gates * hidden);
        h.matmul(w_rec.clone().narrow(1, start, width)) + b_rec.clone().narrow(1, start, width)
    };
    let (z, candidate) = match spec.reset {
        ResetGate::BeforeProduct => {
            let both = plus_input(recurrent(h.clone(), 0, 2), 0, 2);
            let (r, z) = (gate(&both, 0), gate(&both, 1));
            let from_state = recurrent(r * h.clone(), 2, 1);
            (z, plus_input(from_state, 2, 1))
        }
        ResetGate::AfterProduct => {
            let all = recurrent(h.clone(), 0, 3);
            let both = plus_input(all.clone().narrow(1, 0, 2 * hidden), 0, 2);
            let (r, z) = (gate(&both, 0), gate(&both, 1));
            let from_state = r * all.narrow(1, 2 * hidden, hidden);
            (z, plus_input(from_state, 2, 1))
        }
    };
    let n = candidate.tanh();
    let next = n.clone() + z * (h - n);
    match spec.clip {
        Some(clip) => next.clamp(-clip, clip),
        None => next,
    }
}

/// exp(a) up to `max_log`, its tangent beyond.
fn exp_bounded(a: Tensor<2>, max_log: f32) -> Tensor<2> {
    let bounded = a.clone().clamp_max(max_log);
    let beyond = a - bounded.clone();
    let slope = f64::from(max_log).exp();
    bounded.exp() + beyond.mul_scalar(slope)
}

/// ln Γ(s + 1) for s ≥ 0: Stirling's series at s + 6, brought down by the recurrence
/// Γ(x + 1) = x Γ(x); the first term left out is below 1e-7.
pub fn ln_gamma_1p(s: Tensor<3>) -> Tensor<3> {
    let rising = (2..6).fold(s.clone().log1p(), |sum, k| sum + (s.clone() + k).log());
    let x = s + 6.0;
    let inverse = x.clone().recip();
    let series = inverse.clone() * (inverse.powi_scalar(2) / -360.0 + 1.0 / 12.0);
    (x.clone() - 0.5) * x.clone().log() - x + 0.5 * TAU.ln() + series - rising
}

fn at(tensor: &Tensor<3>, index: usize) -> Tensor<2> {
    tensor.clone().narrow(0, index, 1).squeeze_dim(0)
}

fn row(tensor: &Tensor<2>, index: usize) -> Tensor<2> {
    tensor.clone().narrow(0, index, 1)
}
