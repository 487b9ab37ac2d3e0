//! Dilated convolutions over time: one matrix product, whose rows are those of x at all taps side by side; the weights'
//! gradient is one a tap.

use std::ops::Range;

use crate::kernels::BLOCK_ROWS;
use crate::kernels::gates::add_column_sums;
use crate::kernels::gemm::{Left, Packed, Right, Size, Start, gemm};
use crate::kernels::pool::Buffer;
use crate::kernels::simd::Isa;

/// Rows of a tile: what a layer makes of them is in the first-level cache when the next takes it.
pub(super) const TILE_ROWS: usize = 96;

/// Sizes of a convolution over the time bins of one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionShape {
    /// Time bins of the trace, before and after.
    pub n_bins: usize,
    /// Channels of x.
    pub n_inputs: usize,
    /// Channels of y.
    pub n_outputs: usize,
    /// Taps, the middle one at the same bin: odd.
    pub n_taps: usize,
    /// Bins from one tap to the next.
    pub dilation: usize,
}

impl ConvolutionShape {
    /// Bins of y that a tap reaches, and the first bin of x that it reads for them.
    fn reach(&self, tap: usize, bins: &Range<usize>) -> (Range<usize>, usize) {
        let (ahead, back) = (tap * self.dilation, self.n_taps / 2 * self.dilation);
        // y of bin t reads x of bin t + ahead − back.
        let first = bins.start.max(back.saturating_sub(ahead));
        let end = bins.end.min((self.n_bins + back).saturating_sub(ahead));
        (first..end.max(first), (first + ahead).saturating_sub(back))
    }

    /// Taps in the order in which their products are added up: the middle one first.
    fn taps(&self) -> impl Iterator<Item = usize> {
        let middle = self.n_taps / 2;
        std::iter::once(middle).chain((0..self.n_taps).filter(move |tap| *tap != middle))
    }

    fn weights_of_tap<'a>(&self, w: &'a [f32], tap: usize) -> &'a [f32] {
        let len = self.n_inputs * self.n_outputs;
        &w[tap * len..(tap + 1) * len]
    }

    /// Rows of x before the first that the middle tap reads, and behind the last.
    fn margin(&self) -> usize {
        self.n_taps / 2 * self.dilation
    }
}

/// A convolution with its weights laid out for the matrix product.
pub(super) struct PackedConvolution {
    shape: ConvolutionShape,
    /// Of all taps, one below the other.
    weights: Packed,
    /// Where each tap's row begins, after the first that any tap reads.
    firsts: Vec<usize>,
}

impl PackedConvolution {
    /// # Shapes
    /// `w`: `[tap, input, output]`.
    pub(super) fn new(isa: Isa, shape: ConvolutionShape, w: &[f32]) -> Self {
        assert!(shape.n_taps % 2 == 1, "a convolution needs a middle tap");
        let weights = shape.taps().map(|tap| shape.weights_of_tap(w, tap));
        let first = |tap: usize| tap * shape.dilation * shape.n_inputs;
        Self {
            weights: Packed::new(isa, &weights.collect::<Vec<_>>().concat(), shape.n_outputs),
            firsts: shape.taps().map(first).collect(),
            shape,
        }
    }

    /// Some bins of y.
    pub(super) fn run(&self, isa: Isa, bins: Range<usize>, x: &[f32], row: &[f32], y: &mut [f32]) {
        let (n_inputs, n_outputs) = (self.shape.n_inputs, self.shape.n_outputs);
        let margin = self.shape.margin();
        let padded;
        let x = if bins.start >= margin && bins.end + margin <= self.shape.n_bins {
            &x[(bins.start - margin) * n_inputs..]
        } else {
            padded = self.with_zeros_outside(&bins, x);
            &padded
        };
        let size = Size {
            rows: bins.len(),
            columns: n_outputs,
            inner: self.shape.n_taps * n_inputs,
        };
        let left = Left::rows_side_by_side(x, n_inputs, &self.firsts);
        let right = Right::Packed(&self.weights);
        gemm(isa, size, left, right, y, n_outputs, Start::Row(row));
    }

    /// What the taps read for these bins. Few tiles need it, of lengths that nothing else has: none is kept for the next.
    fn with_zeros_outside(&self, bins: &Range<usize>, x: &[f32]) -> Vec<f32> {
        let (n_inputs, margin) = (self.shape.n_inputs, self.shape.margin());
        let mut padded = vec![0.0; (bins.len() + 2 * margin) * n_inputs];
        let first = bins.start.saturating_sub(margin);
        let inside = first..(bins.end + margin).min(self.shape.n_bins);
        let at = (first + margin - bins.start) * n_inputs;
        let inside = &x[inside.start * n_inputs..inside.end * n_inputs];
        padded[at..at + inside.len()].copy_from_slice(inside);
        padded
    }
}

/// Gradients of [`convolution`].
#[derive(Debug)]
pub struct ConvolutionGradients {
    /// `[time, input]`, if asked for.
    pub x: Option<Vec<f32>>,
    /// `[tap, input, output]`.
    pub w: Vec<f32>,
    /// `[output]`.
    pub row: Vec<f32>,
}

/// y_t = row + Σ_k x_{t + d·(k − K/2)} W_k, with K taps, d bins apart, and x = 0 outside the trace.
///
/// # Shapes
/// `x`: `[time, input]`, `w`: `[tap, input, output]`, `row`: `[output]`, result: `[time, output]`.
/// # Panics
/// If a slice is shorter than the shape needs, or the number of taps is even.
pub fn convolution(
    isa: Isa,
    shape: ConvolutionShape,
    x: &[f32],
    w: &[f32],
    row: &[f32],
) -> Vec<f32> {
    let packed = PackedConvolution::new(isa, shape, w);
    let mut y = vec![0.0; shape.n_bins * shape.n_outputs];
    for first in (0..shape.n_bins).step_by(TILE_ROWS) {
        let bins = first..(first + TILE_ROWS).min(shape.n_bins);
        let tile = &mut y[first * shape.n_outputs..bins.end * shape.n_outputs];
        packed.run(isa, bins, x, row, tile);
    }
    y
}

/// Differentiates [`convolution`] from its arguments and the gradient of its result, `dy`; `with_x`
/// asks for the gradient of `x`.
///
/// # Panics
/// If a slice is shorter than the shape needs, or the number of taps is even.
pub fn convolution_gradient(
    isa: Isa,
    shape: ConvolutionShape,
    x: &[f32],
    w: &[f32],
    dy: &[f32],
    with_x: bool,
) -> ConvolutionGradients {
    let mut gradients = ConvolutionGradients {
        x: with_x.then(|| vec![0.0; shape.n_bins * shape.n_inputs]),
        w: vec![0.0; shape.n_taps * shape.n_inputs * shape.n_outputs],
        row: vec![0.0; shape.n_outputs],
    };
    add_column_sums(
        isa,
        &dy[..shape.n_bins * shape.n_outputs],
        &mut gradients.row,
    );
    add_weight_gradient(isa, shape, x, dy, &mut gradients.w);
    if let Some(dx) = &mut gradients.x {
        add_input_gradient(isa, shape, w, dy, dx);
    }
    gradients
}

/// dW_k += Σ_t x_{t + d·(k − K/2)}ᵀ dy_t.
pub(super) fn add_weight_gradient(
    isa: Isa,
    shape: ConvolutionShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let ConvolutionShape {
        n_inputs,
        n_outputs,
        ..
    } = shape;
    for first in (0..shape.n_bins).step_by(BLOCK_ROWS) {
        let bins = first..(first + BLOCK_ROWS).min(shape.n_bins);
        for (tap, dw) in dw.chunks_exact_mut(n_inputs * n_outputs).enumerate() {
            let (reached, from) = shape.reach(tap, &bins);
            if reached.is_empty() {
                continue;
            }
            let size = Size {
                rows: n_inputs,
                columns: n_outputs,
                inner: reached.len(),
            };
            let left = Left::transposed(&x[from * n_inputs..], n_inputs);
            let right = Right::Rows(&dy[reached.start * n_outputs..], n_outputs);
            gemm(isa, size, left, right, dw, n_outputs, Start::Sum);
        }
    }
}

/// dx_{t + d·(k − K/2)} += dy_t W_kᵀ: the convolution with the taps in reverse, transposed.
pub(super) fn add_input_gradient(
    isa: Isa,
    shape: ConvolutionShape,
    w: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) {
    let mirrored = ConvolutionShape {
        n_inputs: shape.n_outputs,
        n_outputs: shape.n_inputs,
        ..shape
    };
    let mut w_mirrored = Vec::with_capacity(w.len());
    for tap in (0..shape.n_taps).rev() {
        let w = shape.weights_of_tap(w, tap);
        let column = |output: usize| w.iter().copied().skip(output).step_by(shape.n_outputs);
        w_mirrored.extend((0..shape.n_outputs).flat_map(column));
    }
    let packed = PackedConvolution::new(isa, mirrored, &w_mirrored);
    let zero = Buffer::zeros(shape.n_inputs);
    let mut tile = Buffer::zeros(TILE_ROWS * shape.n_inputs);
    for first in (0..shape.n_bins).step_by(TILE_ROWS) {
        let bins = first..(first + TILE_ROWS).min(shape.n_bins);
        let len = bins.len() * shape.n_inputs;
        packed.run(isa, bins, dy, &zero, &mut tile[..len]);
        for (dx, tile) in dx[first * shape.n_inputs..].iter_mut().zip(&tile[..len]) {
            *dx += tile;
        }
    }
}
