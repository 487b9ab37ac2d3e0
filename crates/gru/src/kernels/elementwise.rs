//! Operations without a recurrence between channels: the AR(1) filter and the likelihoods.

use std::ops::Range;

use rayon::prelude::*;

use super::check_len;
use super::gates::add_rows;
use super::pool::{in_chunks, in_chunks_with};
use super::simd::{Isa, MAX_LANES, Simd, dispatch, vectors};

/// Numbers that one task of an elementwise operation handles.
const TASK_LEN: usize = 1 << 14;

/// `y_t` = g·`y_{t−1}` + `s_t` with `y_0` = `s_0` + g·`initial`.
///
/// # Shapes
/// `s` and `y`: `[time, trial, neuron]`, `initial`: `[trial, neuron]`, `g`: `[neuron]`.
/// # Panics
/// If `y` is not as long as `s`, or they are not whole bins, or a bin is not whole trials.
pub fn ar1_filter(s: &[f32], initial: &[f32], g: &[f32], y: &mut [f32]) {
    check_len("y", y, s.len());
    check_bins(s, initial, g);
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
///
/// # Panics
/// As there.
pub fn ar1_filter_gradient(dy: &[f32], g: &[f32], ds: &mut [f32], d_initial: &mut [f32]) {
    check_len("ds", ds, dy.len());
    check_bins(dy, d_initial, g);
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

/// Panics unless `all` are whole bins of a number for each of `initial`, and those whole trials.
#[track_caller]
fn check_bins(all: &[f32], initial: &[f32], g: &[f32]) {
    let (n, per_bin, n_neurons) = (all.len(), initial.len(), g.len());
    assert!(
        per_bin > 0 && n.is_multiple_of(per_bin),
        "{n} numbers are not whole bins of {per_bin}"
    );
    assert!(
        n_neurons > 0 && per_bin.is_multiple_of(n_neurons),
        "a bin of {per_bin} numbers is not whole trials of {n_neurons} neurons"
    );
}

fn decay_and_add(previous: &[f32], s: &[f32], g: &[f32], y: &mut [f32]) {
    let trials = previous.chunks_exact(g.len()).zip(s.chunks_exact(g.len()));
    for ((previous, s), y) in trials.zip(y.chunks_exact_mut(g.len())) {
        for (((y, previous), s), g) in y.iter_mut().zip(previous).zip(s).zip(g) {
            *y = g * previous + s;
        }
    }
}

/// Counts and the Poisson process they are explained by.
#[derive(Clone, Copy, Debug)]
pub struct PoissonSlices<'a> {
    /// Logarithms of the rates.
    pub log_rates: &'a [f32],
    /// Counts s ≥ 0, real-valued.
    pub counts: &'a [f32],
    /// Of each count, or a single one of all.
    pub weights: &'a [f32],
    /// ln of the time that a count covers: ln μ = log-rate + this.
    pub log_exposure: f32,
    /// Whether −ln Γ(s + 1) counts too.
    pub with_factorials: bool,
}

impl<'a> PoissonSlices<'a> {
    /// The part that a task handles.
    fn part(self, task: usize) -> Self {
        let range = task * TASK_LEN..((task + 1) * TASK_LEN).min(self.counts.len());
        let part = |all: &'a [f32]| &all[range.clone()];
        Self {
            log_rates: part(self.log_rates),
            counts: part(self.counts),
            weights: if self.is_uniform() {
                self.weights
            } else {
                part(self.weights)
            },
            ..self
        }
    }

    /// Panics unless there is a log-rate and a weight, or one weight, for each count.
    #[track_caller]
    fn check(&self) {
        check_len("log_rates", self.log_rates, self.counts.len());
        if !self.is_uniform() {
            check_len("weights", self.weights, self.counts.len());
        }
    }

    fn is_uniform(&self) -> bool {
        self.weights.len() == 1
    }
}

/// Σ w·(s·ln μ − μ − ln Γ(s + 1)), the same for every number of threads.
///
/// # Panics
/// If a slice is not as long as `counts`.
pub fn poisson_log_likelihood(isa: Isa, slices: PoissonSlices<'_>) -> f32 {
    slices.check();
    let sum_task = |task: usize| {
        let mut sums = [0.0; MAX_LANES];
        poisson(isa, slices.part(task), &mut sums);
        sum(&sums)
    };
    let n_tasks = slices.counts.len().div_ceil(TASK_LEN);
    let sums: Vec<f64> = (0..n_tasks).into_par_iter().map(sum_task).collect();
    sums.iter().sum::<f64>() as f32
}

/// Gradient of [`poisson_log_likelihood`] with respect to the log-rates, w·(s − μ), times
/// `upstream`.
///
/// # Panics
/// As there.
pub fn poisson_gradient_log_rates(isa: Isa, slices: PoissonSlices<'_>, upstream: f32) -> Vec<f32> {
    slices.check();
    in_chunks(slices.counts.len(), TASK_LEN, |task, out| {
        by_log_rate(isa, slices.part(task), upstream, out);
    })
}

/// Gradient of [`poisson_log_likelihood`] with respect to the counts, w·(ln μ − ψ(s + 1)), times
/// `upstream`.
///
/// # Panics
/// As there.
pub fn poisson_gradient_counts(isa: Isa, slices: PoissonSlices<'_>, upstream: f32) -> Vec<f32> {
    slices.check();
    in_chunks(slices.counts.len(), TASK_LEN, |task, out| {
        by_count(isa, slices.part(task), upstream, out);
    })
}

/// Observations with Gaussian noise.
#[derive(Clone, Copy, Debug)]
pub struct GaussianSlices<'a> {
    /// Observations, NaN where there are none: `[row, neuron]`.
    pub x: &'a [f32],
    /// Their means: `[row, neuron]`.
    pub mean: &'a [f32],
    /// ln σ: `[neuron]`.
    pub log_sd: &'a [f32],
}

impl<'a> GaussianSlices<'a> {
    /// Panics unless there is a mean for each observation and rows are whole.
    #[track_caller]
    fn check(&self) {
        check_len("mean", self.mean, self.x.len());
        let (n, n_neurons) = (self.x.len(), self.log_sd.len());
        assert!(
            n_neurons > 0 && n.is_multiple_of(n_neurons),
            "`x` has {n} numbers, not whole rows of {n_neurons} neurons"
        );
    }

    /// Numbers of a task, which handles whole rows.
    fn task_len(&self) -> usize {
        (TASK_LEN / self.log_sd.len()).max(1) * self.log_sd.len()
    }

    fn part(self, task: usize) -> Self {
        let len = self.task_len();
        let range = task * len..((task + 1) * len).min(self.x.len());
        let part = |all: &'a [f32]| &all[range.clone()];
        Self {
            x: part(self.x),
            mean: part(self.mean),
            ..self
        }
    }
}

/// Σ ln N(x; y, σ²) over what was observed, with one σ per neuron; the same for every number of
/// threads.
///
/// # Panics
/// If `mean` is not as long as `x`, or that not whole rows.
pub fn gaussian_log_likelihood(isa: Isa, slices: GaussianSlices<'_>) -> f32 {
    slices.check();
    let precision = precisions(slices.log_sd);
    let sum_task = |task: usize| {
        let mut sums = vec![0.0; precision.len()];
        gaussian(isa, slices.part(task), &precision, &mut sums);
        sum(&sums)
    };
    let n_tasks = slices.x.len().div_ceil(slices.task_len());
    let sums: Vec<f64> = (0..n_tasks).into_par_iter().map(sum_task).collect();
    sums.iter().sum::<f64>() as f32
}

/// Gradients of [`gaussian_log_likelihood`] with respect to the means and to ln σ, times
/// `upstream`; sums are the same for every number of threads.
///
/// # Panics
/// As there.
pub fn gaussian_gradient(
    isa: Isa,
    slices: GaussianSlices<'_>,
    upstream: f32,
) -> (Vec<f32>, Vec<f32>) {
    slices.check();
    let precision = precisions(slices.log_sd);
    let (by_mean, sums) = in_chunks_with(slices.x.len(), slices.task_len(), |task, by_mean| {
        let mut sums = vec![0.0; precision.len()];
        let part = slices.part(task);
        by_gaussian(isa, part, upstream, &precision, by_mean, &mut sums);
        sums
    });
    let mut by_log_sd = vec![0.0; precision.len()];
    for sums in &sums {
        add_rows(isa, sums, sums.len(), &mut by_log_sd, sums.len());
    }
    (by_mean, by_log_sd)
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

/// 1/σ².
fn precisions(log_sd: &[f32]) -> Vec<f32> {
    log_sd.iter().map(|log_sd| (-2.0 * log_sd).exp()).collect()
}

dispatch! {
    /// Adds up the terms of each neuron.
    pub fn gaussian(slices: GaussianSlices<'_>, precision: &[f32], sums: &mut [f32])
        = gaussian_body
}

#[inline(always)]
fn gaussian_body<S: Simd>(
    simd: S,
    slices: GaussianSlices<'_>,
    precision: &[f32],
    sums: &mut [f32],
) {
    let GaussianSlices { x, mean, log_sd } = slices;
    let width = log_sd.len();
    let (zero, infinity) = (simd.splat(0.0), simd.splat(f32::INFINITY));
    for (x, mean) in x.chunks_exact(width).zip(mean.chunks_exact(width)) {
        vectors!(S, width, |at| {
            let x = simd.load(&x[at.clone()]);
            let error = simd.sub(x, simd.load(&mean[at.clone()]));
            let half_precision = simd.mul(simd.splat(0.5), simd.load(&precision[at.clone()]));
            let square = simd.mul(simd.mul(error, error), half_precision);
            let constant = simd.add(simd.load(&log_sd[at.clone()]), simd.splat(HALF_LN_TAU));
            let value = simd.sub(zero, simd.add(square, constant));
            // No NaN is less than infinity.
            let value = simd.if_less(x, infinity, value, zero);
            let sum = simd.add(simd.load(&sums[at.clone()]), value);
            simd.store(sum, &mut sums[at]);
        });
    }
}

dispatch! {
    pub fn by_gaussian(
        slices: GaussianSlices<'_>, upstream: f32, precision: &[f32], by_mean: &mut [f32],
        by_log_sd: &mut [f32],
    ) = by_gaussian_body
}

#[inline(always)]
fn by_gaussian_body<S: Simd>(
    simd: S,
    slices: GaussianSlices<'_>,
    upstream: f32,
    precision: &[f32],
    by_mean: &mut [f32],
    by_log_sd: &mut [f32],
) {
    let GaussianSlices { x, mean, .. } = slices;
    let width = precision.len();
    let (zero, infinity) = (simd.splat(0.0), simd.splat(f32::INFINITY));
    let rows = x.chunks_exact(width).zip(mean.chunks_exact(width));
    for ((x, mean), by_mean) in rows.zip(by_mean.chunks_exact_mut(width)) {
        vectors!(S, width, |at| {
            let x = simd.load(&x[at.clone()]);
            let upstream = simd.if_less(x, infinity, simd.splat(upstream), zero);
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

/// The weights of some of the counts.
#[inline(always)]
fn weights<S: Simd>(simd: S, slices: &PoissonSlices<'_>, at: Range<usize>) -> S::V {
    if slices.is_uniform() {
        simd.splat(slices.weights[0])
    } else {
        simd.load(&slices.weights[at])
    }
}

dispatch! {
    /// Adds up the terms, each lane its own.
    pub fn poisson(slices: PoissonSlices<'_>, sums: &mut [f32; MAX_LANES]) = poisson_body
}

#[inline(always)]
fn poisson_body<S: Simd>(simd: S, slices: PoissonSlices<'_>, sums: &mut [f32; MAX_LANES]) {
    let PoissonSlices {
        log_rates,
        counts,
        log_exposure,
        with_factorials,
        ..
    } = slices;
    vectors!(S, counts.len(), |at| {
        let log_rate = simd.load(&log_rates[at.clone()]);
        let log_mean = simd.add(log_rate, simd.splat(log_exposure));
        let s = simd.load(&counts[at.clone()]);
        let mean = simd.exp(log_mean);
        let mut value = simd.sub(simd.mul(s, log_mean), mean);
        if with_factorials {
            value = simd.sub(value, ln_gamma_1p(simd, s));
        }
        let lanes = &mut sums[..at.len()];
        let weights = weights(simd, &slices, at);
        let sum = simd.mul_add(weights, value, simd.load(lanes));
        simd.store(sum, lanes);
    });
}

dispatch! {
    pub fn by_log_rate(slices: PoissonSlices<'_>, upstream: f32, out: &mut [f32])
        = by_log_rate_body
}

#[inline(always)]
fn by_log_rate_body<S: Simd>(simd: S, slices: PoissonSlices<'_>, upstream: f32, out: &mut [f32]) {
    vectors!(S, out.len(), |at| {
        let log_rate = simd.load(&slices.log_rates[at.clone()]);
        let mean = simd.exp(simd.add(log_rate, simd.splat(slices.log_exposure)));
        let slope = simd.sub(simd.load(&slices.counts[at.clone()]), mean);
        let scale = simd.mul(weights(simd, &slices, at.clone()), simd.splat(upstream));
        simd.store(simd.mul(slope, scale), &mut out[at]);
    });
}

dispatch! {
    pub fn by_count(slices: PoissonSlices<'_>, upstream: f32, out: &mut [f32]) = by_count_body
}

#[inline(always)]
fn by_count_body<S: Simd>(simd: S, slices: PoissonSlices<'_>, upstream: f32, out: &mut [f32]) {
    vectors!(S, out.len(), |at| {
        let log_rate = simd.load(&slices.log_rates[at.clone()]);
        let mut slope = simd.add(log_rate, simd.splat(slices.log_exposure));
        if slices.with_factorials {
            let s = simd.load(&slices.counts[at.clone()]);
            slope = simd.sub(slope, digamma_1p(simd, s));
        }
        let scale = simd.mul(weights(simd, &slices, at.clone()), simd.splat(upstream));
        simd.store(simd.mul(slope, scale), &mut out[at]);
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
