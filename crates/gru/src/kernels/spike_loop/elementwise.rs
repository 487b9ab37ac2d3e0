//! The elementwise half of the loop's steps, forward and backward: samples of z, and spikes.

use super::MAX_LOG_VARIANCE;
use crate::kernels::simd::{Simd, dispatch, vectors};

dispatch! {
    /// z = mean + exp(½ log-variance)⊙noise. Adds to `terms`, one for each dimension of z, twice
    /// the divergence from the prior, whose means and log-variances are `prior`.
    pub fn sample(
        params: &[f32], noise: &[f32], prior: &[f32], precision: &[f32], z: &mut [f32],
        terms: &mut [f32],
    ) = sample_body
}

#[inline(always)]
fn sample_body<S: Simd>(
    simd: S,
    params: &[f32],
    noise: &[f32],
    prior: &[f32],
    precision: &[f32],
    z: &mut [f32],
    terms: &mut [f32],
) {
    let latent = terms.len();
    let (prior_mean, prior_log) = prior.split_at(latent);
    let one = simd.splat(1.0);
    let rows = params
        .chunks_exact(2 * latent)
        .zip(noise.chunks_exact(latent));
    for ((params, noise), z) in rows.zip(z.chunks_exact_mut(latent)) {
        let (mean, log_variance) = params.split_at(latent);
        vectors!(S, latent, |columns| {
            let log_variance = bounded(simd, simd.load(&log_variance[columns.clone()]));
            let sd = simd.exp(simd.mul(simd.splat(0.5), log_variance));
            let mean = simd.load(&mean[columns.clone()]);
            let noise = simd.load(&noise[columns.clone()]);
            simd.store(simd.mul_add(sd, noise, mean), &mut z[columns.clone()]);
            let log_ratio = simd.sub(simd.load(&prior_log[columns.clone()]), log_variance);
            let difference = simd.sub(mean, simd.load(&prior_mean[columns.clone()]));
            let spread = simd.mul_add(sd, sd, simd.mul(difference, difference));
            let precision = simd.load(&precision[columns.clone()]);
            let term = simd.mul_add(spread, precision, simd.sub(log_ratio, one));
            let sum = simd.add(simd.load(&terms[columns.clone()]), term);
            simd.store(sum, &mut terms[columns]);
        });
    }
}

dispatch! {
    /// Gradients of mean and log-variance from those of z and of the divergence, `d_kl`; adds
    /// the prior's to `d_prior`, and draws z again.
    pub fn sample_gradient(
        params: &[f32], noise: &[f32], prior: &[f32], precision: &[f32], dz: &[f32], d_kl: f32,
        d_params: &mut [f32], z: &mut [f32], d_prior: &mut [f32],
    ) = sample_gradient_body
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is another row of the same loop"
)]
#[inline(always)]
fn sample_gradient_body<S: Simd>(
    simd: S,
    params: &[f32],
    noise: &[f32],
    prior: &[f32],
    precision: &[f32],
    dz: &[f32],
    d_kl: f32,
    d_params: &mut [f32],
    z: &mut [f32],
    d_prior: &mut [f32],
) {
    let latent = precision.len();
    let (d_prior_mean, d_prior_log) = d_prior.split_at_mut(latent);
    let (zero, half, one) = (simd.splat(0.0), simd.splat(0.5), simd.splat(1.0));
    let (d_kl, half_d_kl) = (simd.splat(d_kl), simd.splat(0.5 * d_kl));
    let bound = simd.splat(MAX_LOG_VARIANCE);
    let gradients = dz
        .chunks_exact(latent)
        .zip(d_params.chunks_exact_mut(2 * latent));
    let samples = noise.chunks_exact(latent).zip(z.chunks_exact_mut(latent));
    let rows = params.chunks_exact(2 * latent).zip(samples).zip(gradients);
    for ((params, (noise, z)), (dz, d_params)) in rows {
        let (mean, log_variance) = params.split_at(latent);
        let (d_mean, d_log_variance) = d_params.split_at_mut(latent);
        vectors!(S, latent, |columns| {
            let unbounded = simd.load(&log_variance[columns.clone()]);
            let sd = simd.exp(simd.mul(half, bounded(simd, unbounded)));
            let deviation = simd.mul(sd, simd.load(&noise[columns.clone()]));
            let dz = simd.load(&dz[columns.clone()]);
            let mean = simd.load(&mean[columns.clone()]);
            simd.store(simd.add(mean, deviation), &mut z[columns.clone()]);

            let precision = simd.load(&precision[columns.clone()]);
            let difference = simd.sub(mean, simd.load(&prior[columns.clone()]));
            let pull = simd.mul(simd.mul(difference, precision), d_kl);
            simd.store(simd.add(dz, pull), &mut d_mean[columns.clone()]);
            let width = simd.mul(simd.mul(sd, sd), precision);
            let widen = simd.mul(simd.sub(width, one), half_d_kl);
            let by_log = simd.mul_add(simd.mul(dz, deviation), half, widen);
            let by_log = simd.if_less(bound, unbounded, zero, by_log);
            let by_log = simd.if_less(unbounded, simd.sub(zero, bound), zero, by_log);
            simd.store(by_log, &mut d_log_variance[columns.clone()]);

            let by_mean = simd.sub(simd.load(&d_prior_mean[columns.clone()]), pull);
            simd.store(by_mean, &mut d_prior_mean[columns.clone()]);
            let distance = simd.mul(simd.mul(difference, difference), precision);
            let rest = simd.sub(one, simd.add(width, distance));
            let by_prior_log =
                simd.mul_add(rest, half_d_kl, simd.load(&d_prior_log[columns.clone()]));
            simd.store(by_prior_log, &mut d_prior_log[columns]);
        });
    }
}

#[inline(always)]
fn bounded<S: Simd>(simd: S, log_variance: S::V) -> S::V {
    let bound = simd.splat(MAX_LOG_VARIANCE);
    simd.max(
        simd.sub(simd.splat(0.0), bound),
        simd.min(bound, log_variance),
    )
}

dispatch! {
    /// s = max(0, exp(a) − 1), along the tangent above `max_log`.
    pub fn fire(spikes: &mut [f32], max_log: f32) = fire_body
}

#[inline(always)]
fn fire_body<S: Simd>(simd: S, spikes: &mut [f32], max_log: f32) {
    let (zero, max_log) = (simd.splat(0.0), simd.splat(max_log));
    let max_slope = simd.exp(max_log);
    vectors!(S, spikes.len(), |at| {
        let log = simd.load(&spikes[at.clone()]);
        let bounded = simd.min(max_log, log);
        let beyond = simd.mul(max_slope, simd.sub(log, bounded));
        let count = simd.add(simd.expm1(bounded), beyond);
        simd.store(simd.max(zero, count), &mut spikes[at]);
    });
}

dispatch! {
    /// Gradient of a: that of s times s + 1, but at most `max_slope`, and 0 where s is 0.
    pub fn fire_gradient(spikes: &[f32], d_spikes: &[f32], d_log: &mut [f32], max_slope: f32)
        = fire_gradient_body
}

#[inline(always)]
fn fire_gradient_body<S: Simd>(
    simd: S,
    spikes: &[f32],
    d_spikes: &[f32],
    d_log: &mut [f32],
    max_slope: f32,
) {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let smallest = simd.splat(f32::MIN_POSITIVE);
    vectors!(S, d_log.len(), |at| {
        let spikes = simd.load(&spikes[at.clone()]);
        let slope = simd.min(simd.splat(max_slope), simd.add(spikes, one));
        let slope = simd.if_less(spikes, smallest, zero, slope);
        let d_spikes = simd.load(&d_spikes[at.clone()]);
        simd.store(simd.mul(slope, d_spikes), &mut d_log[at]);
    });
}
