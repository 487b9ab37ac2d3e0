//! Operations without a recurrence between channels: the AR(1) filter and the likelihoods.

use rayon::prelude::*;

use super::gates::add_rows;
use super::simd::{Isa, Simd, dispatch, vectors};

/// Numbers that one task of an elementwise operation handles.
const TASK_LEN: usize = 1 << 14;

/// `y_t` = g·`y_{t−1}` + `s_t` with `y_0` = `s_0` + g·`initial`.
///
/// # Shapes
/// `s` and `y`: `[time, trial, neuron]`, `initial`: `[trial, neuron]`, `g`: `[neuron]`.
pub fn ar1_filter(s: &[f32], initial: &[f32], g: &[f32], y: &mut [f32]) {
    let mut previous = initial;
    for (s, y) in s
        .chunks_exact(initial.len())
        .zip(y.chunks_exact_mut(initial.len()))
    {
        decay_and_add(previous, s, g, y);
        previous = y;
    }
}

/// Gradients of [`ar1_filter`]: `ds_t` = `dy_t` + g·`ds_{t+1}`, and that of `initial`, g·`ds_0`.
pub fn ar1_filter_gradient(dy: &[f32], g: &[f32], ds: &mut [f32], d_initial: &mut [f32]) {
    d_initial.fill(0.0);
    let mut later: &[f32] = d_initial;
    let bins = dy
        .chunks_exact(later.len())
        .zip(ds.chunks_exact_mut(later.len()));
    for (dy, ds) in bins.rev() {
        decay_and_add(later, dy, g, ds);
        later = ds;
    }
    for (trial, ds) in d_initial
        .chunks_exact_mut(g.len())
        .zip(ds.chunks_exact(g.len()))
    {
        for ((initial, ds), g) in trial.iter_mut().zip(ds).zip(g) {
            *initial = g * ds;
        }
    }
}

fn decay_and_add(previous: &[f32], s: &[f32], g: &[f32], y: &mut [f32]) {
    let trials = previous.chunks_exact(g.len()).zip(s.chunks_exact(g.len()));
    for ((previous, s), y) in trials.zip(y.chunks_exact_mut(g.len())) {
        for (((y, previous), s), g) in y.iter_mut().zip(previous).zip(s).zip(g) {
            *y = g * previous + s;
        }
    }
}

/// s·ln μ − μ − ln Γ(s + 1), elementwise.
pub fn poisson_log_prob(isa: Isa, log_mean: &[f32], s: &[f32], out: &mut [f32]) {
    let inputs = log_mean.par_chunks(TASK_LEN).zip(s.par_chunks(TASK_LEN));
    out.par_chunks_mut(TASK_LEN)
        .zip(inputs)
        .for_each(|(out, (log_mean, s))| poisson(isa, log_mean, s, out));
}

/// Gradient of [`poisson_log_prob`] with respect to the log mean, s − μ, from `log_mean`, `s`
/// and the gradient of its output.
pub fn poisson_gradient_log_mean(isa: Isa, inputs: [&[f32]; 3], out: &mut [f32]) {
    by_parts(inputs, out, |[log_mean, s, upstream], out| {
        by_log_mean(isa, log_mean, s, upstream, out);
    });
}

/// Gradient of [`poisson_log_prob`] with respect to the count, ln μ − ψ(s + 1), from `log_mean`,
/// `s` and the gradient of its output.
pub fn poisson_gradient_count(isa: Isa, inputs: [&[f32]; 3], out: &mut [f32]) {
    by_parts(inputs, out, |[log_mean, s, upstream], out| {
        by_count(isa, log_mean, s, upstream, out);
    });
}

fn by_parts(inputs: [&[f32]; 3], out: &mut [f32], run: impl Fn([&[f32]; 3], &mut [f32]) + Sync) {
    let [a, b, c] = inputs.map(|values| values.par_chunks(TASK_LEN));
    let parts = out.par_chunks_mut(TASK_LEN).zip(a.zip(b.zip(c)));
    parts.for_each(|(out, (a, (b, c)))| run([a, b, c], out));
}

/// ln N(x; y, σ²) elementwise, with one σ per neuron; 0 where `x` is NaN.
///
/// # Shapes
/// `x`, `mean` and `out`: `[row, neuron]`, `log_sd`: `[neuron]`.
pub fn gaussian_log_prob(isa: Isa, x: &[f32], mean: &[f32], log_sd: &[f32], out: &mut [f32]) {
    let precision = precisions(log_sd);
    let len = whole_rows(log_sd.len());
    let inputs = x.par_chunks(len).zip(mean.par_chunks(len));
    out.par_chunks_mut(len)
        .zip(inputs)
        .for_each(|(out, (x, mean))| gaussian(isa, x, mean, log_sd, &precision, out));
}

/// Gradients of [`gaussian_log_prob`] with respect to mean and ln σ, from `x`, `mean` and the
/// gradient of its output. Sums are the same for every number of threads.
pub fn gaussian_gradient(
    isa: Isa,
    inputs: [&[f32]; 3],
    log_sd: &[f32],
    by_mean: &mut [f32],
    by_log_sd: &mut [f32],
) {
    let precision = precisions(log_sd);
    let len = whole_rows(log_sd.len());
    let [x, mean, upstream] = inputs.map(|values| values.par_chunks(len));
    let sums: Vec<Vec<f32>> = by_mean
        .par_chunks_mut(len)
        .zip(x.zip(mean.zip(upstream)))
        .map(|(by_mean, (x, (mean, upstream)))| {
            let mut sums = vec![0.0; log_sd.len()];
            by_gaussian(isa, x, mean, upstream, &precision, by_mean, &mut sums);
            sums
        })
        .collect();
    by_log_sd.fill(0.0);
    for sums in &sums {
        add_rows(isa, sums, sums.len(), by_log_sd, sums.len());
    }
}

/// 1/σ².
fn precisions(log_sd: &[f32]) -> Vec<f32> {
    log_sd.iter().map(|log_sd| (-2.0 * log_sd).exp()).collect()
}

/// Numbers of a task that handles whole rows.
fn whole_rows(width: usize) -> usize {
    (TASK_LEN / width).max(1) * width
}

dispatch! {
    pub fn gaussian(x: &[f32], mean: &[f32], log_sd: &[f32], precision: &[f32], out: &mut [f32])
        = gaussian_body
}

#[inline(always)]
fn gaussian_body<S: Simd>(
    simd: S,
    x: &[f32],
    mean: &[f32],
    log_sd: &[f32],
    precision: &[f32],
    out: &mut [f32],
) {
    let width = log_sd.len();
    let (zero, infinity) = (simd.splat(0.0), simd.splat(f32::INFINITY));
    let rows = x.chunks_exact(width).zip(mean.chunks_exact(width));
    for ((x, mean), out) in rows.zip(out.chunks_exact_mut(width)) {
        vectors!(S, width, |at| {
            let x = simd.load(&x[at.clone()]);
            let error = simd.sub(x, simd.load(&mean[at.clone()]));
            let half_precision = simd.mul(simd.splat(0.5), simd.load(&precision[at.clone()]));
            let square = simd.mul(simd.mul(error, error), half_precision);
            let constant = simd.add(simd.load(&log_sd[at.clone()]), simd.splat(HALF_LN_TAU));
            let value = simd.sub(zero, simd.add(square, constant));
            // No NaN is less than infinity.
            simd.store(simd.if_less(x, infinity, value, zero), &mut out[at]);
        });
    }
}

dispatch! {
    pub fn by_gaussian(
        x: &[f32], mean: &[f32], upstream: &[f32], precision: &[f32], by_mean: &mut [f32],
        by_log_sd: &mut [f32],
    ) = by_gaussian_body
}

#[inline(always)]
fn by_gaussian_body<S: Simd>(
    simd: S,
    x: &[f32],
    mean: &[f32],
    upstream: &[f32],
    precision: &[f32],
    by_mean: &mut [f32],
    by_log_sd: &mut [f32],
) {
    let width = precision.len();
    let (zero, infinity) = (simd.splat(0.0), simd.splat(f32::INFINITY));
    let rows = x
        .chunks_exact(width)
        .zip(mean.chunks_exact(width))
        .zip(upstream.chunks_exact(width));
    for (((x, mean), upstream), by_mean) in rows.zip(by_mean.chunks_exact_mut(width)) {
        vectors!(S, width, |at| {
            let x = simd.load(&x[at.clone()]);
            let upstream = simd.load(&upstream[at.clone()]);
            let upstream = simd.if_less(x, infinity, upstream, zero);
            let error = simd.sub(x, simd.load(&mean[at.clone()]));
            let error = simd.if_less(x, infinity, error, zero);
            let pull = simd.mul(error, simd.load(&precision[at.clone()]));
            simd.store(simd.mul(pull, upstream), &mut by_mean[at.clone()]);
            let slope = simd.sub(simd.mul(pull, error), simd.splat(1.0));
            let sum = simd.mul_add(slope, upstream, simd.load(&by_log_sd[at.clone()]));
            simd.store(sum, &mut by_log_sd[at]);
        });
    }
}

dispatch! {
    pub fn poisson(log_mean: &[f32], s: &[f32], out: &mut [f32]) = poisson_body
}

#[inline(always)]
fn poisson_body<S: Simd>(simd: S, log_mean: &[f32], s: &[f32], out: &mut [f32]) {
    vectors!(S, out.len(), |at| {
        let log_mean = simd.load(&log_mean[at.clone()]);
        let s = simd.load(&s[at.clone()]);
        let mean = simd.exp(log_mean);
        let expected = simd.sub(mean, simd.mul(s, log_mean));
        let value = simd.sub(simd.splat(0.0), simd.add(expected, ln_gamma_1p(simd, s)));
        simd.store(value, &mut out[at]);
    });
}

dispatch! {
    pub fn by_log_mean(log_mean: &[f32], s: &[f32], upstream: &[f32], out: &mut [f32])
        = by_log_mean_body
}

#[inline(always)]
fn by_log_mean_body<S: Simd>(
    simd: S,
    log_mean: &[f32],
    s: &[f32],
    upstream: &[f32],
    out: &mut [f32],
) {
    vectors!(S, out.len(), |at| {
        let mean = simd.exp(simd.load(&log_mean[at.clone()]));
        let slope = simd.sub(simd.load(&s[at.clone()]), mean);
        simd.store(
            simd.mul(slope, simd.load(&upstream[at.clone()])),
            &mut out[at],
        );
    });
}

dispatch! {
    pub fn by_count(log_mean: &[f32], s: &[f32], upstream: &[f32], out: &mut [f32]) = by_count_body
}

#[inline(always)]
fn by_count_body<S: Simd>(simd: S, log_mean: &[f32], s: &[f32], upstream: &[f32], out: &mut [f32]) {
    vectors!(S, out.len(), |at| {
        let digamma = digamma_1p(simd, simd.load(&s[at.clone()]));
        let slope = simd.sub(simd.load(&log_mean[at.clone()]), digamma);
        simd.store(
            simd.mul(slope, simd.load(&upstream[at.clone()])),
            &mut out[at],
        );
    });
}

/// ½ ln 2π.
const HALF_LN_TAU: f32 = 0.918_938_5;

/// Below this count the asymptotic series are used five further on.
const SERIES_FROM: f32 = 8.0;

/// (s + 1)(s + 2)…(s + 5).
const RISING: [f32; 6] = [120.0, 274.0, 225.0, 85.0, 15.0, 1.0];

/// Its derivative.
const RISING_SLOPE: [f32; 5] = [274.0, 450.0, 255.0, 60.0, 5.0];

/// ln Γ(s + 1) for s ≥ 0 by Stirling's series at x = s + 1, or at s + 6 for small s, divided by
/// the rising product.
#[inline(always)]
fn ln_gamma_1p<S: Simd>(simd: S, s: S::V) -> S::V {
    let from = simd.splat(SERIES_FROM);
    let one = simd.splat(1.0);
    let x = simd.add(s, simd.if_less(s, from, simd.splat(6.0), one));
    let product = simd.if_less(s, from, simd.polynomial(s, RISING), one);
    let inverse = simd.div(one, x);
    let series = simd.polynomial(simd.mul(inverse, inverse), [1.0 / 12.0, -1.0 / 360.0]);
    let half_ln_tau = simd.splat(HALF_LN_TAU);
    let constant = simd.sub(simd.mul_add(series, inverse, half_ln_tau), x);
    let power = simd.mul_add(simd.sub(x, simd.splat(0.5)), simd.ln(x), constant);
    simd.sub(power, simd.ln(product))
}

/// ψ(s + 1) for s ≥ 0 by its asymptotic series, shifted for small s as in [`ln_gamma_1p`].
#[inline(always)]
fn digamma_1p<S: Simd>(simd: S, s: S::V) -> S::V {
    let from = simd.splat(SERIES_FROM);
    let one = simd.splat(1.0);
    let x = simd.add(s, simd.if_less(s, from, simd.splat(6.0), one));
    let shift = simd.div(simd.polynomial(s, RISING_SLOPE), simd.polynomial(s, RISING));
    let shift = simd.if_less(s, from, shift, simd.splat(0.0));
    let inverse = simd.div(one, x);
    let square = simd.mul(inverse, inverse);
    let series = simd.polynomial(square, [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0]);
    let value = simd.sub(simd.ln(x), simd.mul(inverse, simd.splat(0.5)));
    simd.sub(simd.sub(value, simd.mul(series, square)), shift)
}
