//! Products with inputs of which most are zero, as spike counts are: the zeros are skipped.

use super::gates::Layout;
use super::simd::{Simd, dispatch, vectors};

/// Above this share of nonzero inputs the dense product is faster.
const MAX_DENSITY: f64 = 0.25;

/// The nonzero elements of a matrix, row by row.
#[derive(Debug)]
pub(super) struct SparseRows {
    /// Where each row's elements begin, and where the last one's end.
    starts: Vec<u32>,
    elements: Vec<Element>,
}

/// A nonzero element of a row; NaN is one.
#[derive(Clone, Copy, Debug)]
struct Element {
    column: u32,
    value: f32,
}

impl SparseRows {
    /// The matrix, if so few of its elements are not zero that it is worth it.
    pub(super) fn of(matrix: &[f32], n_columns: usize) -> Option<Self> {
        let n = matrix.iter().filter(|value| **value != 0.0).count();
        if n_columns == 0 || n as f64 > MAX_DENSITY * matrix.len() as f64 {
            return None;
        }
        let mut starts = Vec::with_capacity(matrix.len() / n_columns + 1);
        // One more: each element is written before it is known to count.
        let mut elements = vec![
            Element {
                column: 0,
                value: 0.0
            };
            n + 1
        ];
        let mut end = 0;
        starts.push(0);
        for row in matrix.chunks_exact(n_columns) {
            for (column, &value) in (0..).zip(row) {
                elements[end] = Element { column, value };
                end += usize::from(value != 0.0);
            }
            starts.push(u32::try_from(end).ok()?);
        }
        Some(Self { starts, elements })
    }

    /// The elements of some rows.
    fn rows(&self, first: usize, n: usize) -> impl Iterator<Item = &[Element]> {
        self.starts[first..=first + n]
            .windows(2)
            .map(|ends| &self.elements[ends[0] as usize..ends[1] as usize])
    }
}

dispatch! {
    /// Starts each row of gates n, r, z as `bias` + x W, the rows of x being those from `first` on.
    ///
    /// `w` is `[input, r z n]`, `bias` n, r, z.
    pub fn sparse_product(
        x: &SparseRows, first: usize, w: &[f32], bias: &[f32], gates: &mut [f32], layout: Layout,
    ) = sparse_product_body
}

#[inline(always)]
fn sparse_product_body<S: Simd>(
    simd: S,
    x: &SparseRows,
    first: usize,
    w: &[f32],
    bias: &[f32],
    gates: &mut [f32],
    layout: Layout,
) {
    let Layout { width, hidden, .. } = layout;
    let rows = x.rows(first, gates.len() / width);
    for (row, gates) in rows.zip(gates.chunks_exact_mut(width)) {
        let (n, rz) = gates[..3 * hidden].split_at_mut(hidden);
        let (n_bias, rz_bias) = bias.split_at(hidden);
        add_weights(simd, row, w, 3 * hidden, 2 * hidden, n_bias, n);
        add_weights(simd, row, w, 3 * hidden, 0, rz_bias, rz);
    }
}

/// sum = start + Σ x·w over the elements x of a row, w being as many columns as the sum has, from
/// `column` on, of the rows of `weights`.
#[inline(always)]
fn add_weights<S: Simd>(
    simd: S,
    row: &[Element],
    weights: &[f32],
    stride: usize,
    column: usize,
    start: &[f32],
    sum: &mut [f32],
) {
    const TOGETHER: usize = 4;
    let block = TOGETHER * S::LANES;
    let whole = sum.len() - sum.len() % block;
    for first in (0..whole).step_by(block) {
        let at =
            |from: usize, vector: usize| from + vector * S::LANES..from + (vector + 1) * S::LANES;
        let mut sums: [S::V; TOGETHER] =
            std::array::from_fn(|vector| simd.load(&start[at(first, vector)]));
        for x in row {
            let from = x.column as usize * stride + column + first;
            let (value, w) = (simd.splat(x.value), &weights[from..from + block]);
            for (vector, sum) in sums.iter_mut().enumerate() {
                *sum = simd.mul_add(value, simd.load(&w[at(0, vector)]), *sum);
            }
        }
        for (vector, value) in sums.into_iter().enumerate() {
            simd.store(value, &mut sum[at(first, vector)]);
        }
    }
    vectors!(S, sum.len() - whole, |rest| {
        let at = whole + rest.start..whole + rest.end;
        let mut total = simd.load(&start[at.clone()]);
        for x in row {
            let from = x.column as usize * stride + column;
            let w = simd.load(&weights[from + at.start..from + at.end]);
            total = simd.mul_add(simd.splat(x.value), w, total);
        }
        simd.store(total, &mut sum[at]);
    });
}

dispatch! {
    /// Adds xᵀ D to `dw`, `[input, column]`, for the rows of x from `first` on and rows of D at a
    /// stride.
    pub fn add_sparse_outer(
        x: &SparseRows, first: usize, d: &[f32], stride: usize, dw: &mut [f32], n_columns: usize,
    ) = add_sparse_outer_body
}

#[inline(always)]
fn add_sparse_outer_body<S: Simd>(
    simd: S,
    x: &SparseRows,
    first: usize,
    d: &[f32],
    stride: usize,
    dw: &mut [f32],
    n_columns: usize,
) {
    let rows = x.rows(first, d.len() / stride);
    for (row, d) in rows.zip(d.chunks_exact(stride)) {
        for x in row {
            let value = simd.splat(x.value);
            let dw = &mut dw[x.column as usize * n_columns..][..n_columns];
            vectors!(S, n_columns, |columns| {
                let sum = simd.load(&dw[columns.clone()]);
                let sum = simd.mul_add(value, simd.load(&d[columns.clone()]), sum);
                simd.store(sum, &mut dw[columns]);
            });
        }
    }
}
