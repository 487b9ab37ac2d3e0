//! Affine maps of many rows at once.

use rayon::prelude::*;

use super::gemm::{Left, Packed, Right, Size, Start, gemm};
use super::pool::{Buffer, in_chunks};
use super::simd::Isa;
use super::{BLOCK_ROWS, check_len, gates};

/// Fewest rows of a task, and most tasks: each has a sum of its own for the weights' gradient.
const TASK_ROWS: usize = 512;
const MAX_TASKS: usize = 16;

/// Sizes of an affine map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffineShape {
    /// Rows, each mapped alone.
    pub n_rows: usize,
    /// Columns of x.
    pub n_inputs: usize,
    /// Columns of y.
    pub n_outputs: usize,
}

impl AffineShape {
    /// Rows of each task but the last, whatever the number of threads.
    fn task_rows(&self) -> usize {
        self.n_rows.div_ceil(MAX_TASKS).max(TASK_ROWS)
    }
}

/// What x W is added to.
#[derive(Clone, Copy, Debug)]
pub enum Offset<'a> {
    /// The same for each row: `[output]`.
    Row(&'a [f32]),
    /// `[row, output]`.
    Every(&'a [f32]),
}

/// Gradients of [`affine`].
#[derive(Debug)]
pub struct AffineGradients {
    /// `[row, input]`, if asked for.
    pub x: Option<Vec<f32>>,
    /// `[input, output]`.
    pub w: Vec<f32>,
    /// Of an [`Offset::Row`]: `[output]`.
    pub row: Vec<f32>,
}

/// y = offset + x W.
///
/// # Shapes
/// `x`: `[row, input]`, `w`: `[input, output]`, result: `[row, output]`.
/// # Panics
/// If a slice is not as long as the shape asks for.
pub fn affine(isa: Isa, shape: AffineShape, x: &[f32], w: &[f32], offset: Offset<'_>) -> Vec<f32> {
    let AffineShape {
        n_rows,
        n_inputs,
        n_outputs,
    } = shape;
    check_len("x", x, n_rows * n_inputs);
    check_len("w", w, n_inputs * n_outputs);
    match offset {
        Offset::Row(row) => check_len("offset", row, n_outputs),
        Offset::Every(rows) => check_len("offset", rows, n_rows * n_outputs),
    }
    let packed = Packed::new(isa, w, n_outputs);
    let task_rows = shape.task_rows();
    in_chunks(n_rows * n_outputs, task_rows * n_outputs, |task, y| {
        let first = task * task_rows;
        let size = Size {
            rows: y.len() / n_outputs,
            columns: n_outputs,
            inner: n_inputs,
        };
        let x = Left::rows(&x[first * n_inputs..], n_inputs);
        let start = match offset {
            Offset::Row(row) => Start::Row(row),
            Offset::Every(offset) => {
                y.copy_from_slice(&offset[first * n_outputs..][..y.len()]);
                Start::Sum
            }
        };
        gemm(isa, size, x, Right::Packed(&packed), y, n_outputs, start);
    })
}

/// Differentiates [`affine`] from its arguments and the gradient of its result, `dy`; `with_x`
/// asks for the gradient of `x`. That of an [`Offset::Every`] is `dy` itself.
///
/// # Panics
/// If a slice is not as long as the shape asks for.
pub fn affine_gradient(
    isa: Isa,
    shape: AffineShape,
    x: &[f32],
    w: &[f32],
    dy: &[f32],
    with_x: bool,
) -> AffineGradients {
    let AffineShape {
        n_rows,
        n_inputs,
        n_outputs,
    } = shape;
    check_len("x", x, n_rows * n_inputs);
    check_len("w", w, n_inputs * n_outputs);
    check_len("dy", dy, n_rows * n_outputs);
    let task_rows = shape.task_rows();
    let rows = |task: usize| task * task_rows..((task + 1) * task_rows).min(n_rows);
    let sum_task = |task: usize| {
        let mut dw = Buffer::zeros(n_inputs * n_outputs);
        let mut row = Buffer::zeros(n_outputs);
        let rows = rows(task);
        let dy = &dy[rows.start * n_outputs..rows.end * n_outputs];
        gates::add_column_sums(isa, dy, &mut row);
        for first in (0..rows.len()).step_by(BLOCK_ROWS) {
            let size = Size {
                rows: n_inputs,
                columns: n_outputs,
                inner: BLOCK_ROWS.min(rows.len() - first),
            };
            let x = Left::transposed(&x[(rows.start + first) * n_inputs..], n_inputs);
            let dy = Right::Rows(&dy[first * n_outputs..], n_outputs);
            gemm(isa, size, x, dy, &mut dw, n_outputs, Start::Sum);
        }
        (dw, row)
    };
    let n_tasks = n_rows.div_ceil(task_rows);
    let parts: Vec<(Buffer, Buffer)> = (0..n_tasks).into_par_iter().map(sum_task).collect();
    let mut gradients = AffineGradients {
        x: with_x.then(|| affine_transposed(isa, shape, w, dy)),
        w: vec![0.0; n_inputs * n_outputs],
        row: vec![0.0; n_outputs],
    };
    for (w, row) in &parts {
        gates::add_rows(isa, w, n_outputs, &mut gradients.w, n_outputs);
        gates::add_rows(isa, row, n_outputs, &mut gradients.row, n_outputs);
    }
    gradients
}

/// dx = dy Wᵀ.
fn affine_transposed(isa: Isa, shape: AffineShape, w: &[f32], dy: &[f32]) -> Vec<f32> {
    let AffineShape {
        n_rows,
        n_inputs,
        n_outputs,
    } = shape;
    let packed = Packed::transposed(isa, w, n_outputs);
    let task_rows = shape.task_rows();
    in_chunks(n_rows * n_inputs, task_rows * n_inputs, |task, dx| {
        let size = Size {
            rows: dx.len() / n_inputs,
            columns: n_inputs,
            inner: n_outputs,
        };
        let dy = Left::rows(&dy[task * task_rows * n_outputs..], n_outputs);
        let start = Start::Zero;
        gemm(isa, size, dy, Right::Packed(&packed), dx, n_inputs, start);
    })
}
