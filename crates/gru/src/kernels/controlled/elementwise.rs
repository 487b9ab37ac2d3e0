//! The elementwise half of a step: samples of the inputs and their gradients.

use crate::kernels::MAX_LOG_VARIANCE;
use crate::kernels::simd::{Simd, dispatch, vectors};

dispatch! {
    /// u = mean + exp(½ log-variance)⊙noise, of rows of so many inputs.
    pub fn draw(posterior: &[f32], noise: &[f32], n_inputs: usize, inputs: &mut [f32]) = draw_body
}

#[inline(always)]
fn draw_body<S: Simd>(
    simd: S,
    posterior: &[f32],
    noise: &[f32],
    n_inputs: usize,
    inputs: &mut [f32],
) {
    let drawn = posterior
        .chunks_exact(2 * n_inputs)
        .zip(noise.chunks_exact(n_inputs));
    for ((posterior, noise), inputs) in drawn.zip(inputs.chunks_exact_mut(n_inputs)) {
        let (mean, log_variance) = posterior.split_at(n_inputs);
        vectors!(S, n_inputs, |columns| {
            let deviation = deviation(
                simd,
                simd.load(&log_variance[columns.clone()]),
                simd.load(&noise[columns.clone()]),
            );
            let mean = simd.load(&mean[columns.clone()]);
            simd.store(simd.add(mean, deviation), &mut inputs[columns]);
        });
    }
}

dispatch! {
    /// Adds the gradients of mean and log-variance from that of u.
    pub fn add_draw_gradient(
        posterior: &[f32], noise: &[f32], n_inputs: usize, d_inputs: &[f32],
        d_posterior: &mut [f32],
    ) = add_draw_gradient_body
}

#[inline(always)]
fn add_draw_gradient_body<S: Simd>(
    simd: S,
    posterior: &[f32],
    noise: &[f32],
    n_inputs: usize,
    d_inputs: &[f32],
    d_posterior: &mut [f32],
) {
    let (zero, half) = (simd.splat(0.0), simd.splat(0.5));
    let (low, high) = (simd.splat(-MAX_LOG_VARIANCE), simd.splat(MAX_LOG_VARIANCE));
    let gradients = d_inputs
        .chunks_exact(n_inputs)
        .zip(d_posterior.chunks_exact_mut(2 * n_inputs));
    let drawn = posterior
        .chunks_exact(2 * n_inputs)
        .zip(noise.chunks_exact(n_inputs));
    for ((posterior, noise), (d_inputs, d_posterior)) in drawn.zip(gradients) {
        let log_variance = &posterior[n_inputs..];
        let (d_mean, d_log_variance) = d_posterior.split_at_mut(n_inputs);
        vectors!(S, n_inputs, |columns| {
            let unbounded = simd.load(&log_variance[columns.clone()]);
            let deviation = deviation(simd, unbounded, simd.load(&noise[columns.clone()]));
            let du = simd.load(&d_inputs[columns.clone()]);
            let by_mean = simd.add(simd.load(&d_mean[columns.clone()]), du);
            simd.store(by_mean, &mut d_mean[columns.clone()]);
            let by_log = simd.mul(simd.mul(du, deviation), half);
            let by_log = simd.if_less(high, unbounded, zero, by_log);
            let by_log = simd.if_less(unbounded, low, zero, by_log);
            let by_log = simd.add(simd.load(&d_log_variance[columns.clone()]), by_log);
            simd.store(by_log, &mut d_log_variance[columns]);
        });
    }
}

/// exp(½ log-variance)⊙noise.
#[inline(always)]
fn deviation<S: Simd>(simd: S, log_variance: S::V, noise: S::V) -> S::V {
    let bounded = simd.min(simd.splat(MAX_LOG_VARIANCE), log_variance);
    let bounded = simd.max(simd.splat(-MAX_LOG_VARIANCE), bounded);
    simd.mul(simd.exp(simd.mul(simd.splat(0.5), bounded)), noise)
}
