//! The elementwise half of a step, forward and backward, on the rows of one chunk of trials.
//!
//! A row of the gate buffer holds n, r, z and, where the reset gate acts after the product, q:
//! the recurrent share of n before r is applied. So the columns that come from the input (n, r, z)
//! and those that come from the state (r, z, q) both lie together.

use super::simd::{Simd, dispatch, vectors};

/// Sizes of a gate buffer's rows and the bound on the state.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Columns of a row: 3·hidden, or 4·hidden with q.
    pub(crate) width: usize,
    pub(crate) hidden: usize,
    /// The state is clipped to ±`bound`, which may be infinite.
    pub(crate) bound: f32,
}

/// Gates of one row, or their gradients.
struct Row<'a> {
    n: &'a mut [f32],
    r: &'a mut [f32],
    z: &'a mut [f32],
    q: &'a mut [f32],
}

impl<'a> Row<'a> {
    #[inline(always)]
    fn of(row: &'a mut [f32], hidden: usize) -> Self {
        let (n, rest) = row.split_at_mut(hidden);
        let (r, rest) = rest.split_at_mut(hidden);
        let (z, q) = rest.split_at_mut(hidden);
        Self { n, r, z, q }
    }
}

/// Saved gates of one row.
struct Saved<'a> {
    n: &'a [f32],
    r: &'a [f32],
    z: &'a [f32],
    q: &'a [f32],
}

impl<'a> Saved<'a> {
    #[inline(always)]
    fn of(row: &'a [f32], hidden: usize) -> Self {
        let (n, rest) = row.split_at(hidden);
        let (r, rest) = rest.split_at(hidden);
        let (z, q) = rest.split_at(hidden);
        Self { n, r, z, q }
    }
}

dispatch! {
    /// Turns the sums of r and z into gates, and writes r⊙h.
    pub fn open_reset(
        gates: &mut [f32], h: &[f32], reset_h: &mut [f32], layout: Layout,
    ) = open_reset_body
}

#[inline(always)]
fn open_reset_body<S: Simd>(
    simd: S,
    gates: &mut [f32],
    h: &[f32],
    reset_h: &mut [f32],
    layout: Layout,
) {
    let Layout { width, hidden, .. } = layout;
    let states = h.chunks_exact(hidden).zip(reset_h.chunks_exact_mut(hidden));
    for (row, (h, reset_h)) in gates.chunks_exact_mut(width).zip(states) {
        let row = Row::of(row, hidden);
        vectors!(S, hidden, |columns| {
            let r = simd.sigmoid(simd.load(&row.r[columns.clone()]));
            let z = simd.sigmoid(simd.load(&row.z[columns.clone()]));
            let h = simd.load(&h[columns.clone()]);
            simd.store(r, &mut row.r[columns.clone()]);
            simd.store(z, &mut row.z[columns.clone()]);
            simd.store(simd.mul(r, h), &mut reset_h[columns]);
        });
    }
}

dispatch! {
    /// Turns the sum of n into the candidate and takes the step; r and z are gates already.
    pub fn step_before_product(
        gates: &mut [f32], h: &[f32], next: &mut [f32], layout: Layout,
    ) = step_before_product_body
}

#[inline(always)]
fn step_before_product_body<S: Simd>(
    simd: S,
    gates: &mut [f32],
    h: &[f32],
    next: &mut [f32],
    layout: Layout,
) {
    let Layout {
        width,
        hidden,
        bound,
    } = layout;
    let states = h.chunks_exact(hidden).zip(next.chunks_exact_mut(hidden));
    for (row, (h, next)) in gates.chunks_exact_mut(width).zip(states) {
        let row = Row::of(row, hidden);
        vectors!(S, hidden, |columns| {
            let n = simd.tanh(simd.load(&row.n[columns.clone()]));
            let z = simd.load(&row.z[columns.clone()]);
            let h = simd.load(&h[columns.clone()]);
            simd.store(n, &mut row.n[columns.clone()]);
            let unclipped = mix(simd, z, h, n);
            simd.store(simd.clamp(unclipped, bound), &mut next[columns]);
        });
    }
}

dispatch! {
    /// Turns the sums of n's input share, r, z and q into gates and takes the step.
    pub fn step_after_product(
        gates: &mut [f32], h: &[f32], next: &mut [f32], layout: Layout,
    ) = step_after_product_body
}

#[inline(always)]
fn step_after_product_body<S: Simd>(
    simd: S,
    gates: &mut [f32],
    h: &[f32],
    next: &mut [f32],
    layout: Layout,
) {
    let Layout {
        width,
        hidden,
        bound,
    } = layout;
    let states = h.chunks_exact(hidden).zip(next.chunks_exact_mut(hidden));
    for (row, (h, next)) in gates.chunks_exact_mut(width).zip(states) {
        let row = Row::of(row, hidden);
        vectors!(S, hidden, |columns| {
            let r = simd.sigmoid(simd.load(&row.r[columns.clone()]));
            let z = simd.sigmoid(simd.load(&row.z[columns.clone()]));
            let from_input = simd.load(&row.n[columns.clone()]);
            let q = simd.load(&row.q[columns.clone()]);
            let n = simd.tanh(simd.mul_add(r, q, from_input));
            let h = simd.load(&h[columns.clone()]);
            simd.store(n, &mut row.n[columns.clone()]);
            simd.store(r, &mut row.r[columns.clone()]);
            simd.store(z, &mut row.z[columns.clone()]);
            let unclipped = mix(simd, z, h, n);
            simd.store(simd.clamp(unclipped, bound), &mut next[columns]);
        });
    }
}

dispatch! {
    /// Gradients of n's and z's sums from that of the new state, which becomes z⊙dh; those of r
    /// and q too where the reset gate acts after the product.
    pub fn step_gradient(
        gates: &[f32], h: &[f32], dh: &mut [f32], d_gates: &mut [f32], layout: Layout,
    ) = step_gradient_body
}

#[inline(always)]
fn step_gradient_body<S: Simd>(
    simd: S,
    gates: &[f32],
    h: &[f32],
    dh: &mut [f32],
    d_gates: &mut [f32],
    layout: Layout,
) {
    let Layout {
        width,
        hidden,
        bound,
    } = layout;
    let one = simd.splat(1.0);
    let after_product = width > 3 * hidden;
    let states = h.chunks_exact(hidden).zip(dh.chunks_exact_mut(hidden));
    let rows = gates
        .chunks_exact(width)
        .zip(d_gates.chunks_exact_mut(width));
    for ((gates, d_gates), (h, dh)) in rows.zip(states) {
        let (gates, d_gates) = (Saved::of(gates, hidden), Row::of(d_gates, hidden));
        vectors!(S, hidden, |columns| {
            let n = simd.load(&gates.n[columns.clone()]);
            let z = simd.load(&gates.z[columns.clone()]);
            let h = simd.load(&h[columns.clone()]);
            let d_next = simd.load(&dh[columns.clone()]);
            let d_next = where_unclipped(simd, mix(simd, z, h, n), bound, d_next);
            let keep = simd.mul(d_next, z);
            let dn = simd.sub(d_next, keep);
            let dn = simd.mul(dn, simd.sub(one, simd.mul(n, n)));
            let dz = simd.mul(simd.mul(keep, simd.sub(one, z)), simd.sub(h, n));
            simd.store(keep, &mut dh[columns.clone()]);
            simd.store(dn, &mut d_gates.n[columns.clone()]);
            simd.store(dz, &mut d_gates.z[columns.clone()]);
            if after_product {
                let r = simd.load(&gates.r[columns.clone()]);
                let q = simd.load(&gates.q[columns.clone()]);
                let dq = simd.mul(dn, r);
                let dr = simd.mul(simd.mul(dq, simd.sub(one, r)), q);
                simd.store(dr, &mut d_gates.r[columns.clone()]);
                simd.store(dq, &mut d_gates.q[columns]);
            }
        });
    }
}

dispatch! {
    /// Gradient of r's sum from that of r⊙h, whose share of the state's gradient is added to `dh`;
    /// r⊙h is written again for the weight gradient.
    pub fn reset_gradient(
        gates: &[f32], h: &[f32], d_reset_h: &[f32], dh: &mut [f32], d_gates: &mut [f32],
        reset_h: &mut [f32], layout: Layout,
    ) = reset_gradient_body
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is another row of the same loop"
)]
#[inline(always)]
fn reset_gradient_body<S: Simd>(
    simd: S,
    gates: &[f32],
    h: &[f32],
    d_reset_h: &[f32],
    dh: &mut [f32],
    d_gates: &mut [f32],
    reset_h: &mut [f32],
    layout: Layout,
) {
    let Layout { width, hidden, .. } = layout;
    let one = simd.splat(1.0);
    let states = h.chunks_exact(hidden).zip(reset_h.chunks_exact_mut(hidden));
    let gradients = d_reset_h
        .chunks_exact(hidden)
        .zip(dh.chunks_exact_mut(hidden));
    let rows = gates
        .chunks_exact(width)
        .zip(d_gates.chunks_exact_mut(width));
    for (((gates, d_gates), (h, reset_h)), (d_reset_h, dh)) in rows.zip(states).zip(gradients) {
        let (gates, d_gates) = (Saved::of(gates, hidden), Row::of(d_gates, hidden));
        vectors!(S, hidden, |columns| {
            let r = simd.load(&gates.r[columns.clone()]);
            let h = simd.load(&h[columns.clone()]);
            let d_reset_h = simd.load(&d_reset_h[columns.clone()]);
            let kept = simd.load(&dh[columns.clone()]);
            let dr = simd.mul(d_reset_h, r);
            simd.store(simd.add(kept, dr), &mut dh[columns.clone()]);
            let reset = simd.mul(r, h);
            simd.store(reset, &mut reset_h[columns.clone()]);
            let dr = simd.mul(simd.mul(dr, h), simd.sub(one, r));
            simd.store(dr, &mut d_gates.r[columns]);
        });
    }
}

dispatch! {
    /// Adds rows at some stride to a matrix without gaps.
    pub fn add_rows(rows: &[f32], stride: usize, to: &mut [f32], width: usize) = add_rows_body
}

#[inline(always)]
fn add_rows_body<S: Simd>(simd: S, rows: &[f32], stride: usize, to: &mut [f32], width: usize) {
    for (row, to) in rows.chunks(stride).zip(to.chunks_exact_mut(width)) {
        vectors!(S, width, |columns| {
            let sum = simd.add(
                simd.load(&to[columns.clone()]),
                simd.load(&row[columns.clone()]),
            );
            simd.store(sum, &mut to[columns]);
        });
    }
}

dispatch! {
    /// Adds rows at some stride, times others at the same stride, to a matrix without gaps.
    pub fn add_scaled_rows(
        rows: &[f32], scale: &[f32], stride: usize, to: &mut [f32], width: usize,
    ) = add_scaled_rows_body
}

#[inline(always)]
fn add_scaled_rows_body<S: Simd>(
    simd: S,
    rows: &[f32],
    scale: &[f32],
    stride: usize,
    to: &mut [f32],
    width: usize,
) {
    let rows = rows.chunks(stride).zip(scale.chunks(stride));
    for ((row, scale), to) in rows.zip(to.chunks_exact_mut(width)) {
        vectors!(S, width, |columns| {
            let scale = simd.load(&scale[columns.clone()]);
            let sum = simd.mul_add(
                scale,
                simd.load(&row[columns.clone()]),
                simd.load(&to[columns.clone()]),
            );
            simd.store(sum, &mut to[columns]);
        });
    }
}

dispatch! {
    /// Adds the sum over rows of a matrix without gaps.
    pub fn add_column_sums(matrix: &[f32], to: &mut [f32]) = add_column_sums_body
}

#[inline(always)]
fn add_column_sums_body<S: Simd>(simd: S, matrix: &[f32], to: &mut [f32]) {
    // Several vectors of a row together, since rows are far apart.
    const TOGETHER: usize = 4;
    let width = to.len();
    let whole = width - width % (TOGETHER * S::LANES);
    for first in (0..whole).step_by(TOGETHER * S::LANES) {
        let at = |vector: usize| first + vector * S::LANES..first + (vector + 1) * S::LANES;
        let mut sums: [S::V; TOGETHER] = std::array::from_fn(|vector| simd.load(&to[at(vector)]));
        for row in matrix.chunks_exact(width) {
            for (vector, sum) in sums.iter_mut().enumerate() {
                *sum = simd.add(*sum, simd.load(&row[at(vector)]));
            }
        }
        for (vector, sum) in sums.into_iter().enumerate() {
            simd.store(sum, &mut to[at(vector)]);
        }
    }
    vectors!(S, width - whole, |rest| {
        let columns = whole + rest.start..whole + rest.end;
        let mut sum = simd.load(&to[columns.clone()]);
        for row in matrix.chunks_exact(width) {
            sum = simd.add(sum, simd.load(&row[columns.clone()]));
        }
        simd.store(sum, &mut to[columns]);
    });
}

/// z⊙h + (1 − z)⊙n.
#[inline(always)]
fn mix<S: Simd>(simd: S, z: S::V, h: S::V, n: S::V) -> S::V {
    simd.mul_add(z, simd.sub(h, n), n)
}

/// The gradient, or 0 where the state was clipped.
#[inline(always)]
fn where_unclipped<S: Simd>(simd: S, state: S::V, bound: f32, gradient: S::V) -> S::V {
    let zero = simd.splat(0.0);
    let below = simd.if_less(simd.splat(bound), state, zero, gradient);
    simd.if_less(state, simd.splat(-bound), zero, below)
}
