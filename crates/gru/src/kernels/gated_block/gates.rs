//! The elementwise part of a gated block: tanh(a)·σ(b), forward and backward.

use crate::kernels::simd::{Simd, dispatch, vectors};

dispatch! {
    /// g = tanh(a)·σ(b) of rows that hold a and b side by side, which become tanh(a) and σ(b).
    pub fn open_gates(rows: &mut [f32], width: usize, g: &mut [f32]) = open_gates_body
}

#[inline(always)]
fn open_gates_body<S: Simd>(simd: S, rows: &mut [f32], width: usize, g: &mut [f32]) {
    for (row, g) in rows
        .chunks_exact_mut(2 * width)
        .zip(g.chunks_exact_mut(width))
    {
        let (a, b) = row.split_at_mut(width);
        vectors!(S, width, |at| {
            let tanh = simd.tanh(simd.load(&a[at.clone()]));
            let sigmoid = simd.sigmoid(simd.load(&b[at.clone()]));
            simd.store(tanh, &mut a[at.clone()]);
            simd.store(sigmoid, &mut b[at.clone()]);
            simd.store(simd.mul(tanh, sigmoid), &mut g[at]);
        });
    }
}

dispatch! {
    /// The gradient of a and b, side by side, from what [`open_gates`] left and that of g.
    pub fn gates_gradient(opened: &[f32], width: usize, dg: &[f32], rows: &mut [f32])
        = gates_gradient_body
}

#[inline(always)]
fn gates_gradient_body<S: Simd>(
    simd: S,
    opened: &[f32],
    width: usize,
    dg: &[f32],
    rows: &mut [f32],
) {
    let one = simd.splat(1.0);
    let opened = opened.chunks_exact(2 * width).zip(dg.chunks_exact(width));
    for ((opened, dg), row) in opened.zip(rows.chunks_exact_mut(2 * width)) {
        let (tanh, sigmoid) = opened.split_at(width);
        let (a, b) = row.split_at_mut(width);
        vectors!(S, width, |at| {
            let (tanh, sigmoid) = (
                simd.load(&tanh[at.clone()]),
                simd.load(&sigmoid[at.clone()]),
            );
            let open = simd.mul(simd.load(&dg[at.clone()]), sigmoid);
            let by_a = simd.mul(open, simd.sub(one, simd.mul(tanh, tanh)));
            let by_b = simd.mul(simd.mul(open, tanh), simd.sub(one, sigmoid));
            simd.store(by_a, &mut a[at.clone()]);
            simd.store(by_b, &mut b[at]);
        });
    }
}
