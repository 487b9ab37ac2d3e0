//! A residual block of gated dilated convolutions that also sees the whole trace.
//!
//! # Source
//! Gates and residual sums: van den Oord et al. 2016, "WaveNet", equation 2. Ours is the context:
//! mean and root mean square of each channel over the trace.

mod convolution;
mod gates;
mod reference;

use crate::kernels::BLOCK_ROWS;
use crate::kernels::gates::add_column_sums;
use crate::kernels::gemm::{Left, Packed, Right, Size, Start, gemm};
use crate::kernels::pool::Buffer;
use crate::kernels::simd::Isa;

use convolution::{PackedConvolution, TILE_ROWS, add_input_gradient, add_weight_gradient};
use gates::{gates_gradient, open_gates};

pub use convolution::{ConvolutionGradients, ConvolutionShape, convolution, convolution_gradient};
pub use reference::{convolution_reference, gated_block_reference};

/// Keeps the root of a mean square differentiable where a channel is silent.
pub const MIN_MEAN_SQUARE: f64 = 1e-6;

/// Sizes of a gated block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockShape {
    /// Time bins of the trace.
    pub n_bins: usize,
    /// Channels C.
    pub width: usize,
    /// Taps of the convolution: odd.
    pub n_taps: usize,
    /// Bins from one tap to the next.
    pub dilation: usize,
}

impl BlockShape {
    fn convolution(&self) -> ConvolutionShape {
        ConvolutionShape {
            n_bins: self.n_bins,
            n_inputs: self.width,
            n_outputs: 2 * self.width,
            n_taps: self.n_taps,
            dilation: self.dilation,
        }
    }
}

/// Weights of a gated block.
#[derive(Clone, Copy, Debug)]
pub struct BlockSlices<'a, F = f32> {
    /// `[tap, channel, 2·channel]`: a, then b.
    pub taps: &'a [F],
    /// `[2·channel, 2·channel]`: from means and root mean squares to a and b.
    pub context: &'a [F],
    /// `[2·channel]`.
    pub bias: &'a [F],
    /// `[channel, channel]`.
    pub mix: &'a [F],
    /// `[channel]`.
    pub mix_bias: &'a [F],
}

/// Where the gradients of a block's weights are added; shapes as in [`BlockSlices`].
#[derive(Debug)]
pub struct BlockGradients<'a> {
    /// Of the taps.
    pub taps: &'a mut [f32],
    /// Of the context.
    pub context: &'a mut [f32],
    /// Of the bias.
    pub bias: &'a mut [f32],
    /// Of the mix.
    pub mix: &'a mut [f32],
    /// Of the mix's bias.
    pub mix_bias: &'a mut [f32],
}

/// What [`gated_block_gradient`] needs of a run.
#[derive(Debug)]
pub struct BlockTrace {
    /// tanh(a) and σ(b): `[time, 2·channel]`.
    opened: Buffer,
    /// Means and root mean squares of the input's channels.
    pooled: Vec<f32>,
}

/// Mean and root mean square of each channel over the bins that hold data.
///
/// # Shapes
/// `x`: `[time, channel]`, `present`: `[time]`, 1 or 0; result: `[2·channel]`.
pub fn pool_channels(x: &[f32], present: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; 2 * width];
    let (means, squares) = sums.split_at_mut(width);
    for (x, present) in x.chunks_exact(width).zip(present) {
        for ((x, mean), square) in x.iter().zip(&mut *means).zip(&mut *squares) {
            *mean += present * x;
            *square += present * x * x;
        }
    }
    let n = present.iter().sum::<f32>().max(1.0);
    for mean in means {
        *mean /= n;
    }
    for square in squares {
        *square = (*square / n + MIN_MEAN_SQUARE as f32).sqrt();
    }
    sums
}

/// Adds the gradient of [`pool_channels`] to that of `x`, from its result and that one's gradient.
///
/// # Shapes
/// As in [`pool_channels`]; `d_pooled`: `[2·channel]`, `dx`: `[time, channel]`.
pub fn add_pool_gradient(
    x: &[f32],
    present: &[f32],
    pooled: &[f32],
    d_pooled: &[f32],
    dx: &mut [f32],
) {
    let width = pooled.len() / 2;
    let n = present.iter().sum::<f32>().max(1.0);
    let by_mean: Vec<f32> = d_pooled[..width].iter().map(|d| d / n).collect();
    let by_square: Vec<f32> = d_pooled[width..]
        .iter()
        .zip(&pooled[width..])
        .map(|(d, root)| d / (n * root))
        .collect();
    let rows = x.chunks_exact(width).zip(dx.chunks_exact_mut(width));
    for ((x, dx), present) in rows.zip(present) {
        for (((x, dx), by_mean), by_square) in x.iter().zip(dx).zip(&by_mean).zip(&by_square) {
            *dx += present * (by_mean + by_square * x);
        }
    }
}

/// y = x + g·W_mix + b_mix, g = tanh(a)·σ(b), (a, b) = convolution of x + pooled(x)·W_context + bias.
/// The pooled values are [`pool_channels`]'s. With `keep`, returns what the gradient needs.
///
/// # Shapes
/// `x` and result: `[time, channel]`, `present`: `[time]`, 1 where there is data, else 0.
/// # Panics
/// If a slice is shorter than the shape needs, or the number of taps is even.
pub fn gated_block(
    isa: Isa,
    shape: BlockShape,
    weights: BlockSlices<'_>,
    x: &[f32],
    present: &[f32],
    keep: bool,
) -> (Vec<f32>, Option<BlockTrace>) {
    let BlockShape { n_bins, width, .. } = shape;
    let pooled = pool_channels(x, present, width);
    let row = context_row(isa, weights, &pooled);
    let convolution = PackedConvolution::new(isa, shape.convolution(), weights.taps);
    let mix = Packed::new(isa, weights.mix, width);
    let mut y = x[..n_bins * width].to_vec();
    let mut opened = Buffer::stale(2 * width * if keep { n_bins } else { TILE_ROWS });
    let mut g = Buffer::stale(TILE_ROWS * width);
    for first in (0..n_bins).step_by(TILE_ROWS) {
        let bins = first..(first + TILE_ROWS).min(n_bins);
        let at = if keep { 2 * width * first } else { 0 };
        let tile = &mut opened[at..at + 2 * width * bins.len()];
        convolution.run(isa, bins.clone(), x, &row, tile);
        let g = &mut g[..bins.len() * width];
        open_gates(isa, tile, width, g);
        let y = &mut y[first * width..bins.end * width];
        for row in y.chunks_exact_mut(width) {
            for (y, bias) in row.iter_mut().zip(weights.mix_bias) {
                *y += bias;
            }
        }
        let size = Size {
            rows: bins.len(),
            columns: width,
            inner: width,
        };
        let (left, right) = (Left::rows(g, width), Right::Packed(&mix));
        gemm(isa, size, left, right, y, width, Start::Sum);
    }
    (y, keep.then_some(BlockTrace { opened, pooled }))
}

/// bias + pooled·W_context.
fn context_row(isa: Isa, weights: BlockSlices<'_>, pooled: &[f32]) -> Vec<f32> {
    let width = pooled.len();
    let mut row = vec![0.0; width];
    let size = Size {
        rows: 1,
        columns: width,
        inner: width,
    };
    let (left, right) = (
        Left::rows(pooled, width),
        Right::Rows(weights.context, width),
    );
    gemm(
        isa,
        size,
        left,
        right,
        &mut row,
        width,
        Start::Row(weights.bias),
    );
    row
}

/// Differentiates [`gated_block`]: turns the gradient of its result into that of `x`, and adds those
/// of its weights.
///
/// # Shapes
/// `dy`: `[time, channel]`.
/// # Panics
/// If a slice is shorter than the shape needs.
#[expect(clippy::too_many_arguments, reason = "the arguments of a gradient")]
pub fn gated_block_gradient(
    isa: Isa,
    shape: BlockShape,
    weights: BlockSlices<'_>,
    x: &[f32],
    present: &[f32],
    trace: &BlockTrace,
    dy: &mut [f32],
    gradients: BlockGradients<'_>,
) {
    let BlockShape { n_bins, width, .. } = shape;
    let mut d_rows = Buffer::stale(n_bins * 2 * width);
    add_column_sums(isa, dy, gradients.mix_bias);
    gate_rows_gradient(isa, shape, weights, trace, dy, &mut d_rows, gradients.mix);
    let mut d_row = vec![0.0; 2 * width];
    add_column_sums(isa, &d_rows, &mut d_row);
    add_weight_gradient(isa, shape.convolution(), x, &d_rows, gradients.taps);
    add_input_gradient(isa, shape.convolution(), weights.taps, &d_rows, dy);
    let d_pooled = context_gradient(weights, trace, &d_row, gradients.context);
    for (sum, d) in gradients.bias.iter_mut().zip(&d_row) {
        *sum += d;
    }
    add_pool_gradient(x, present, &trace.pooled, &d_pooled, dy);
}

/// The gradient of a and b, `[time, 2·channel]`; that of the mix is added.
fn gate_rows_gradient(
    isa: Isa,
    shape: BlockShape,
    weights: BlockSlices<'_>,
    trace: &BlockTrace,
    dy: &[f32],
    d_rows: &mut [f32],
    d_mix: &mut [f32],
) {
    let BlockShape { n_bins, width, .. } = shape;
    let mix = Packed::transposed(isa, weights.mix, width);
    let mut g = Buffer::stale(BLOCK_ROWS * width);
    let mut dg = Buffer::stale(BLOCK_ROWS * width);
    for first in (0..n_bins).step_by(BLOCK_ROWS) {
        let n = BLOCK_ROWS.min(n_bins - first);
        let opened = &trace.opened[first * 2 * width..(first + n) * 2 * width];
        for (opened, g) in opened
            .chunks_exact(2 * width)
            .zip(g.chunks_exact_mut(width))
        {
            let (tanh, sigmoid) = opened.split_at(width);
            for ((tanh, sigmoid), g) in tanh.iter().zip(sigmoid).zip(g) {
                *g = tanh * sigmoid;
            }
        }
        let dy = &dy[first * width..(first + n) * width];
        let by_weight = Size {
            rows: width,
            columns: width,
            inner: n,
        };
        let (left, right) = (Left::transposed(&g, width), Right::Rows(dy, width));
        gemm(isa, by_weight, left, right, d_mix, width, Start::Sum);
        let by_gate = Size {
            rows: n,
            columns: width,
            inner: width,
        };
        let (left, right) = (Left::rows(dy, width), Right::Packed(&mix));
        gemm(isa, by_gate, left, right, &mut dg, width, Start::Zero);
        let d_rows = &mut d_rows[first * 2 * width..(first + n) * 2 * width];
        gates_gradient(isa, opened, width, &dg[..n * width], d_rows);
    }
}

/// The gradient of the pooled values; that of the context's weights is added.
fn context_gradient(
    weights: BlockSlices<'_>,
    trace: &BlockTrace,
    d_row: &[f32],
    d_context: &mut [f32],
) -> Vec<f32> {
    let n = d_row.len();
    let rows = weights
        .context
        .chunks_exact(n)
        .zip(d_context.chunks_exact_mut(n));
    let by_pooled = |((w, dw), pooled): ((&[f32], &mut [f32]), &f32)| {
        let mut sum = 0.0;
        for ((w, dw), d) in w.iter().zip(dw).zip(d_row) {
            *dw += pooled * d;
            sum += w * d;
        }
        sum
    };
    rows.zip(&trace.pooled).map(by_pooled).collect()
}
