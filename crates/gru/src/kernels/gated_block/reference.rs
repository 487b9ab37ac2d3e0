//! What convolutions and gated blocks compute, in plain scalar code over any real number type.

use super::{BlockShape, BlockSlices, ConvolutionShape, MIN_MEAN_SQUARE};
use crate::kernels::reference::{Real, affine_rows, sigmoid};

/// [`super::convolution`].
pub fn convolution_reference<F: Real>(
    shape: ConvolutionShape,
    x: &[F],
    w: &[F],
    row: &[F],
) -> Vec<F> {
    let ConvolutionShape {
        n_bins,
        n_inputs,
        n_outputs,
        n_taps,
        dilation,
    } = shape;
    let mut y = Vec::with_capacity(n_bins * n_outputs);
    for bin in 0..n_bins {
        for (output, offset) in row.iter().enumerate() {
            let mut sum = *offset;
            for tap in 0..n_taps {
                let from = bin + tap * dilation;
                let Some(from) = from.checked_sub(n_taps / 2 * dilation) else {
                    continue;
                };
                if from < n_bins {
                    for input in 0..n_inputs {
                        let weight = w[(tap * n_inputs + input) * n_outputs + output];
                        sum += x[from * n_inputs + input] * weight;
                    }
                }
            }
            y.push(sum);
        }
    }
    y
}

/// [`super::gated_block`].
pub fn gated_block_reference<F: Real>(
    shape: BlockShape,
    weights: BlockSlices<'_, F>,
    x: &[F],
    present: &[F],
) -> Vec<F> {
    let width = shape.width;
    let row = affine_rows(
        &pool_reference(x, present, width),
        weights.context,
        weights.bias,
    );
    let gates = convolution_reference(shape.convolution(), x, weights.taps, &row);
    let open = |row: &[F]| -> Vec<F> {
        let (a, b) = row.split_at(width);
        a.iter()
            .zip(b)
            .map(|(a, b)| a.tanh() * sigmoid(*b))
            .collect()
    };
    let g: Vec<F> = gates.chunks_exact(2 * width).flat_map(open).collect();
    let mixed = affine_rows(&g, weights.mix, weights.mix_bias);
    x.iter().zip(mixed).map(|(x, mixed)| *x + mixed).collect()
}

fn pool_reference<F: Real>(x: &[F], present: &[F], width: usize) -> Vec<F> {
    let zero = F::from_f64(0.0);
    let (mut n, mut sums) = (zero, vec![zero; 2 * width]);
    for (x, present) in x.chunks_exact(width).zip(present) {
        n += *present;
        for (channel, x) in x.iter().enumerate() {
            sums[channel] += *present * *x;
            sums[width + channel] += *present * *x * *x;
        }
    }
    let root = |sum: F| {
        let half = F::from_f64(0.5);
        (half * (sum / n + F::from_f64(MIN_MEAN_SQUARE)).ln()).exp()
    };
    let (means, squares) = sums.split_at(width);
    let means = means.iter().map(|sum| *sum / n);
    means.chain(squares.iter().map(|sum| root(*sum))).collect()
}
