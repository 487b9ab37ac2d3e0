//! What the kernels compute, in plain scalar code over any real number type: the specification
//! that the fast kernels and their gradients are tested against.

use std::f64::consts::TAU;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use super::{
    GruGradients, GruShape, GruSlices, GruSpec, MAX_LOG_VARIANCE, ResetGate, SpikeLoopShape,
    SpikeLoopSlices,
};

/// `f32` or `f64`.
pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// The nearest number.
    #[must_use]
    fn from_f64(value: f64) -> Self;
    /// The exponential function.
    #[must_use]
    fn exp(self) -> Self;
    /// The natural logarithm.
    #[must_use]
    fn ln(self) -> Self;
    /// The hyperbolic tangent.
    #[must_use]
    fn tanh(self) -> Self;
}

macro_rules! real {
    ($($float:ident)*) => {$(
        impl Real for $float {
            fn from_f64(value: f64) -> Self {
                value as $float
            }

            fn exp(self) -> Self {
                $float::exp(self)
            }

            fn ln(self) -> Self {
                $float::ln(self)
            }

            fn tanh(self) -> Self {
                $float::tanh(self)
            }
        }
    )*};
}
real!(f32 f64);

/// Gates of one trial and step.
pub(super) struct Step<F> {
    r: Vec<F>,
    z: Vec<F>,
    n: Vec<F>,
    /// h `W_rec` + `b_rec` of n, before the reset gate acts on it.
    q: Vec<F>,
    /// The new state before it is clipped.
    pub(super) unclipped: Vec<F>,
}

pub(super) fn gru_step<F: Real>(
    spec: GruSpec,
    weights: &GruSlices<'_, F>,
    x: &[F],
    h: &[F],
) -> Step<F> {
    let hidden = h.len();
    let from_input = affine(x, weights.w_in, weights.b_in);
    let from_state = affine(h, weights.w_rec, weights.b_rec);
    let gate = |at: usize| sigmoid(from_input[at] + from_state[at]);
    let r: Vec<F> = (0..hidden).map(gate).collect();
    let z: Vec<F> = (hidden..2 * hidden).map(gate).collect();
    let q = from_state[2 * hidden..].to_vec();
    let reset: Vec<F> = match spec.reset {
        ResetGate::BeforeProduct => {
            let reset_h: Vec<F> = r.iter().zip(h).map(|(r, h)| *r * *h).collect();
            affine(&reset_h, weights.w_rec, weights.b_rec)[2 * hidden..].to_vec()
        }
        ResetGate::AfterProduct => r.iter().zip(&q).map(|(r, q)| *r * *q).collect(),
    };
    let n: Vec<F> = (0..hidden)
        .map(|i| (from_input[2 * hidden + i] + reset[i]).tanh())
        .collect();
    let mix = |i: usize| z[i] * h[i] + (F::from_f64(1.0) - z[i]) * n[i];
    let unclipped = (0..hidden).map(mix).collect();
    Step {
        r,
        z,
        n,
        q,
        unclipped,
    }
}

/// Runs a gated recurrent unit: `[time, trial, direction·hidden]`, as `gru_sequence`.
pub fn gru<F: Real>(
    shape: GruShape,
    spec: GruSpec,
    x: &[F],
    h0: &[F],
    weights: GruSlices<'_, F>,
) -> Vec<F> {
    let GruShape {
        n_bins,
        n_trials,
        hidden,
        n_directions,
        ..
    } = shape;
    let mut out = vec![F::from_f64(0.0); n_bins * n_trials * n_directions * hidden];
    for (direction, trial) in pairs(n_directions, n_trials) {
        let weights = weights.direction(direction, &shape);
        let mut h = h0[(direction * n_trials + trial) * hidden..][..hidden].to_vec();
        for step in 0..n_bins {
            let bin = shape.bin(direction, step);
            let next = gru_step(spec, &weights, input(&shape, x, bin, trial), &h);
            h = next.unclipped.into_iter().map(|h| clip(spec, h)).collect();
            state_mut(&shape, &mut out, direction, bin, trial).copy_from_slice(&h);
        }
    }
    out
}

/// Gradients of [`gru`] for an upstream gradient of its output.
pub fn gru_gradient<F: Real>(
    shape: GruShape,
    spec: GruSpec,
    x: &[F],
    h0: &[F],
    weights: GruSlices<'_, F>,
    upstream: &[F],
) -> GruGradients<F> {
    let GruShape {
        n_bins,
        n_trials,
        n_inputs,
        hidden,
        n_directions,
    } = shape;
    let mut states = gru(shape, spec, x, h0, weights);
    let zeros = |len: usize| vec![F::from_f64(0.0); len];
    let gates = 3 * hidden;
    let mut sums = GruGradients {
        x: Some(zeros(x.len())),
        h0: zeros(h0.len()),
        w_in: zeros(n_directions * n_inputs * gates),
        w_rec: zeros(n_directions * hidden * gates),
        b_in: zeros(n_directions * gates),
        b_rec: zeros(n_directions * gates),
    };
    let mut upstream = upstream.to_vec();
    for (direction, trial) in pairs(n_directions, n_trials) {
        let part = weights.direction(direction, &shape);
        let initial = (direction * n_trials + trial) * hidden;
        let mut dh = zeros(hidden);
        for step in (0..n_bins).rev() {
            let bin = shape.bin(direction, step);
            let x_now = input(&shape, x, bin, trial);
            let h = if step == 0 {
                h0[initial..initial + hidden].to_vec()
            } else {
                let before = shape.bin(direction, step - 1);
                state_mut(&shape, &mut states, direction, before, trial).to_vec()
            };
            add(
                &mut dh,
                state_mut(&shape, &mut upstream, direction, bin, trial),
            );
            let back = gru_step_gradient(spec, &part, x_now, &h, &dh);
            let in_rows = &mut sums.w_in[direction * n_inputs * gates..][..n_inputs * gates];
            add_outer(in_rows, x_now, &back.from_input);
            let rec_rows = &mut sums.w_rec[direction * hidden * gates..][..hidden * gates];
            add_outer(rec_rows, &h, &back.from_state);
            add_outer(rec_rows, &back.reset_h, &back.from_reset);
            add(
                &mut sums.b_in[direction * gates..][..gates],
                &back.from_input,
            );
            add(
                &mut sums.b_rec[direction * gates..][..gates],
                &back.from_state,
            );
            add(
                &mut sums.b_rec[direction * gates..][..gates],
                &back.from_reset,
            );
            if let Some(dx) = &mut sums.x {
                let dx = &mut dx[(bin * n_trials + trial) * n_inputs..][..n_inputs];
                add(dx, &times_transpose(&back.from_input, part.w_in, n_inputs));
            }
            dh = back.h;
        }
        sums.h0[initial..initial + hidden].copy_from_slice(&dh);
    }
    sums
}

/// Gradients of one trial and step.
struct StepGradient<F> {
    /// Of x `W_in` + `b_in`: r, z, n.
    from_input: Vec<F>,
    /// Of h `W_rec` + `b_rec`: r, z, n.
    from_state: Vec<F>,
    reset_h: Vec<F>,
    /// Of (r⊙h) `W_rec` + `b_rec`: r, z, n.
    from_reset: Vec<F>,
    h: Vec<F>,
}

fn gru_step_gradient<F: Real>(
    spec: GruSpec,
    weights: &GruSlices<'_, F>,
    x: &[F],
    h: &[F],
    d_next: &[F],
) -> StepGradient<F> {
    let (zero, one) = (F::from_f64(0.0), F::from_f64(1.0));
    let hidden = h.len();
    let Step {
        r,
        z,
        n,
        q,
        unclipped,
    } = gru_step(spec, weights, x, h);
    let (mut from_input, mut from_state) = (vec![zero; 3 * hidden], vec![zero; 3 * hidden]);
    let mut from_reset = vec![zero; 3 * hidden];
    let mut dh = vec![zero; hidden];
    let mut dr = vec![zero; hidden];
    for i in 0..hidden {
        let d_next = if is_clipped(spec, unclipped[i]) {
            zero
        } else {
            d_next[i]
        };
        let dn = d_next * (one - z[i]) * (one - n[i] * n[i]);
        let dz = d_next * (h[i] - n[i]) * z[i] * (one - z[i]);
        dh[i] = d_next * z[i];
        from_input[2 * hidden + i] = dn;
        from_input[hidden + i] = dz;
        from_state[hidden + i] = dz;
        match spec.reset {
            ResetGate::BeforeProduct => from_reset[2 * hidden + i] = dn,
            ResetGate::AfterProduct => {
                from_state[2 * hidden + i] = dn * r[i];
                dr[i] = dn * q[i];
            }
        }
    }
    let d_reset_h = times_transpose(&from_reset, weights.w_rec, hidden);
    for i in 0..hidden {
        dh[i] += d_reset_h[i] * r[i];
        let dr = (dr[i] + d_reset_h[i] * h[i]) * r[i] * (one - r[i]);
        from_input[i] = dr;
        from_state[i] = dr;
    }
    add(
        &mut dh,
        &times_transpose(&from_state, weights.w_rec, hidden),
    );
    let reset_h = r.iter().zip(h).map(|(r, h)| *r * *h).collect();
    StepGradient {
        from_input,
        from_state,
        reset_h,
        from_reset,
        h: dh,
    }
}

/// `y_t` = g·`y_{t−1}` + `s_t`, as `ar1_filter`.
pub fn ar1_filter<F: Real>(s: &[F], initial: &[F], g: &[F]) -> Vec<F> {
    let mut y = s.to_vec();
    for i in 0..s.len() {
        let previous = if i < initial.len() {
            initial[i]
        } else {
            y[i - initial.len()]
        };
        y[i] += g[i % g.len()] * previous;
    }
    y
}

/// The weighted mean of the bins around each, as `blur`.
pub fn blur<F: Real>(x: &[F], weights: &[F], [n_bins, n_trials, n_neurons]: [usize; 3]) -> Vec<F> {
    let half = weights.len() / n_neurons / 2;
    let one = |bin: usize, trial: usize, neuron: usize| {
        let mut sums = [F::from_f64(0.0); 2];
        for other in bin.saturating_sub(half)..n_bins.min(bin + half + 1) {
            let w = weights[(other + half - bin) * n_neurons + neuron];
            sums[0] += w * x[(other * n_trials + trial) * n_neurons + neuron];
            sums[1] += w;
        }
        sums[0] / sums[1]
    };
    let of_bin =
        |bin| (0..n_trials).flat_map(move |trial| (0..n_neurons).map(move |n| (bin, trial, n)));
    (0..n_bins)
        .flat_map(of_bin)
        .map(|(bin, trial, neuron)| one(bin, trial, neuron))
        .collect()
}

/// s·ln μ − μ − ln Γ(s + 1) of one count, as `poisson_log_prob`.
pub fn poisson_log_prob<F: Real>(log_mean: F, s: F) -> F {
    s * log_mean - log_mean.exp() - ln_gamma_1p(s)
}

/// ln Γ(s + 1): Stirling's series at s + 20, and the recurrence from there down to s + 1.
fn ln_gamma_1p<F: Real>(s: F) -> F {
    let real = F::from_f64;
    let rising = (1..20_u8).fold(real(0.0), |sum, k| sum + (s + real(f64::from(k))).ln());
    let x = s + real(20.0);
    let series = real(1.0 / 12.0) / x - real(1.0 / 360.0) / (x * x * x);
    (x - real(0.5)) * x.ln() - x + real(0.5 * TAU.ln()) + series - rising
}

/// ln N(x; y, σ²) of one number, as `gaussian_log_prob`.
pub fn gaussian_log_prob<F: Real>(x: F, mean: F, log_sd: F) -> F {
    let z = (x - mean) * (-log_sd).exp();
    -(F::from_f64(0.5) * z * z + log_sd + F::from_f64(0.5 * TAU.ln()))
}

/// offset + x W of each row, as `affine` with an offset for all rows.
pub fn affine_rows<F: Real>(x: &[F], w: &[F], offset: &[F]) -> Vec<F> {
    x.chunks_exact(w.len() / offset.len())
        .flat_map(|x| affine(x, w, offset))
        .collect()
}

/// Runs the shallow time loop, as `spike_loop`: spikes, and the divergence of z.
pub fn spike_loop<F: Real>(shape: SpikeLoopShape, slices: SpikeLoopSlices<'_, F>) -> (Vec<F>, F) {
    let SpikeLoopShape {
        n_bins,
        n_trials,
        latent,
        n_neurons,
    } = shape;
    let half = F::from_f64(0.5);
    let (mut all_spikes, mut kl) = (Vec::new(), F::from_f64(0.0));
    let mut spikes = slices.initial_spikes.to_vec();
    for (bin, trial) in pairs(n_bins, n_trials) {
        let row = bin * n_trials + trial;
        let spikes = &mut spikes[trial * n_neurons..][..n_neurons];
        let drive = &slices.drive[row * 2 * latent..][..2 * latent];
        let params = affine(spikes, slices.w_feedback, drive);
        let z: Vec<F> = (0..latent)
            .map(|i| {
                let (mean, log_variance) = (params[i], bounded(params[latent + i]));
                let (prior_mean, prior_log) = (slices.prior[i], slices.prior[latent + i]);
                let difference = mean - prior_mean;
                let spread = log_variance.exp() + difference * difference;
                let ratio = spread * (-prior_log).exp();
                kl += half * (prior_log - log_variance + ratio - F::from_f64(1.0));
                mean + (half * log_variance).exp() * slices.noise[row * latent + i]
            })
            .collect();
        let spike_drive = &slices.spike_drive[row * n_neurons..][..n_neurons];
        let log_spikes = affine(&z, slices.w_spike, spike_drive);
        for (spike, log) in spikes.iter_mut().zip(log_spikes) {
            *spike = fire(log, slices.max_log);
        }
        all_spikes.extend_from_slice(spikes);
    }
    (all_spikes, kl)
}

pub(super) fn bounded<F: Real>(log_variance: F) -> F {
    let bound = F::from_f64(f64::from(MAX_LOG_VARIANCE));
    if log_variance > bound {
        bound
    } else if log_variance < -bound {
        -bound
    } else {
        log_variance
    }
}

/// max(0, exp(a) − 1), along the tangent above `max_log`.
fn fire<F: Real>(log: F, max_log: F) -> F {
    let one = F::from_f64(1.0);
    let count = if log > max_log {
        max_log.exp() * (one + log - max_log) - one
    } else {
        log.exp() - one
    };
    if count < F::from_f64(0.0) {
        F::from_f64(0.0)
    } else {
        count
    }
}

pub(super) fn sigmoid<F: Real>(x: F) -> F {
    let one = F::from_f64(1.0);
    one / (one + (-x).exp())
}

pub(super) fn clip<F: Real>(spec: GruSpec, h: F) -> F {
    match spec.clip.map(|clip| F::from_f64(f64::from(clip))) {
        Some(clip) if h > clip => clip,
        Some(clip) if h < -clip => -clip,
        _ => h,
    }
}

fn is_clipped<F: Real>(spec: GruSpec, h: F) -> bool {
    spec.clip
        .map(|clip| F::from_f64(f64::from(clip)))
        .is_some_and(|clip| h > clip || h < -clip)
}

/// x·matrix + bias.
pub(super) fn affine<F: Real>(x: &[F], matrix: &[F], bias: &[F]) -> Vec<F> {
    let mut out = bias.to_vec();
    for (x, row) in x.iter().zip(matrix.chunks_exact(bias.len())) {
        for (out, weight) in out.iter_mut().zip(row) {
            *out += *x * *weight;
        }
    }
    out
}

/// y·matrixᵀ for a matrix of the given number of rows.
fn times_transpose<F: Real>(y: &[F], matrix: &[F], rows: usize) -> Vec<F> {
    let dot = |row: &[F]| {
        y.iter()
            .zip(row)
            .fold(F::from_f64(0.0), |sum, (y, weight)| sum + *y * *weight)
    };
    matrix.chunks_exact(y.len()).take(rows).map(dot).collect()
}

/// matrix += xᵀ·y.
fn add_outer<F: Real>(matrix: &mut [F], x: &[F], y: &[F]) {
    for (x, row) in x.iter().zip(matrix.chunks_exact_mut(y.len())) {
        for (sum, y) in row.iter_mut().zip(y) {
            *sum += *x * *y;
        }
    }
}

fn add<F: Real>(to: &mut [F], values: &[F]) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += *value;
    }
}

pub(super) fn pairs(outer: usize, inner: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..outer).flat_map(move |a| (0..inner).map(move |b| (a, b)))
}

fn input<'a, F>(shape: &GruShape, x: &'a [F], bin: usize, trial: usize) -> &'a [F] {
    &x[(bin * shape.n_trials + trial) * shape.n_inputs..][..shape.n_inputs]
}

/// One direction's state in `[time, trial, direction·hidden]`.
fn state_mut<'a, F>(
    shape: &GruShape,
    states: &'a mut [F],
    direction: usize,
    bin: usize,
    trial: usize,
) -> &'a mut [F] {
    let row = (bin * shape.n_trials + trial) * shape.n_directions + direction;
    &mut states[row * shape.hidden..][..shape.hidden]
}
