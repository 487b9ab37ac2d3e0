//! Dilated convolutions and gated blocks.

use gru::kernels::{
    BlockGradients, BlockShape, BlockSlices, ConvolutionShape, Isa, convolution,
    convolution_gradient, convolution_reference, gated_block, gated_block_gradient,
    gated_block_reference,
};
use proptest::prelude::*;

use crate::common::{assert_close, differences, dot, noise, single};

fn check_convolution(shape: ConvolutionShape, seed: u64) {
    let arguments = [
        noise(shape.n_bins * shape.n_inputs, seed, 1.0),
        noise(
            shape.n_taps * shape.n_inputs * shape.n_outputs,
            seed + 1,
            1.0,
        ),
        noise(shape.n_outputs, seed + 2, 1.0),
    ];
    let dy = noise(shape.n_bins * shape.n_outputs, seed + 3, 1.0);
    let [x, w, row] = &arguments;
    let want = convolution_reference(shape, x, w, row);
    for isa in Isa::available() {
        let (x, w, row, dy32) = (single(x), single(w), single(row), single(&dy));
        let y = convolution(isa, shape, &x, &w, &row);
        assert_close("y", &y, &want, 1e-5);
        let got = convolution_gradient(isa, shape, &x, &w, &dy32, true);
        let got = [got.x.unwrap(), got.w, got.row];
        for (argument, got) in got.iter().enumerate() {
            let want = differences(&arguments, argument, |[x, w, row]| {
                dot(&convolution_reference(shape, x, w, row), &dy)
            });
            assert_close("gradient", got, &want, 1e-5);
        }
        assert!(
            convolution_gradient(isa, shape, &x, &w, &dy32, false)
                .x
                .is_none()
        );
    }
}

/// x, taps, context, bias, mix, bias of the mix.
fn block_arguments(shape: BlockShape, seed: u64) -> [Vec<f64>; 6] {
    let (c, wide) = (shape.width, 2 * shape.width);
    [
        noise(shape.n_bins * c, seed, 1.5),
        noise(shape.n_taps * c * wide, seed + 1, 0.4),
        noise(wide * wide, seed + 2, 0.4),
        noise(wide, seed + 3, 0.5),
        noise(c * c, seed + 4, 0.5),
        noise(c, seed + 5, 0.5),
    ]
}

fn slices<F>(arguments: &[Vec<F>; 6]) -> BlockSlices<'_, F> {
    BlockSlices {
        taps: &arguments[1],
        context: &arguments[2],
        bias: &arguments[3],
        mix: &arguments[4],
        mix_bias: &arguments[5],
    }
}

/// Every third bin is without data, unless that leaves none.
fn present(n_bins: usize) -> Vec<f64> {
    (0..n_bins)
        .map(|bin| f64::from(u8::from(bin % 3 != 1)))
        .collect()
}

fn run_gradient(
    isa: Isa,
    shape: BlockShape,
    arguments: &[Vec<f32>; 6],
    dy: &[f32],
) -> [Vec<f32>; 6] {
    let present = single(&present(shape.n_bins));
    let weights = slices(arguments);
    let (_, trace) = gated_block(isa, shape, weights, &arguments[0], &present, true);
    let mut gradients: [Vec<f32>; 6] = std::array::from_fn(|i| vec![0.0; arguments[i].len()]);
    let [dx, taps, context, bias, mix, mix_bias] = &mut gradients;
    dx.copy_from_slice(dy);
    let sums = BlockGradients {
        taps,
        context,
        bias,
        mix,
        mix_bias,
    };
    let x = &arguments[0];
    gated_block_gradient(isa, shape, weights, x, &present, &trace.unwrap(), dx, sums);
    gradients
}

fn check_block(shape: BlockShape, seed: u64, with_gradients: bool) {
    let arguments = block_arguments(shape, seed);
    let present = present(shape.n_bins);
    let want = gated_block_reference(shape, slices(&arguments), &arguments[0], &present);
    let dy = noise(want.len(), seed + 6, 1.0);
    let singles = arguments.each_ref().map(|argument| single(argument));
    for isa in Isa::available() {
        for keep in [false, true] {
            let weights = slices(&singles);
            let (y, trace) = gated_block(isa, shape, weights, &singles[0], &single(&present), keep);
            assert_close("y", &y, &want, 1e-5);
            assert_eq!(trace.is_some(), keep);
        }
        if !with_gradients {
            continue;
        }
        let got = run_gradient(isa, shape, &singles, &single(&dy));
        for (argument, got) in got.iter().enumerate() {
            let want = differences(&arguments, argument, |arguments| {
                dot(
                    &gated_block_reference(shape, slices(arguments), &arguments[0], &present),
                    &dy,
                )
            });
            assert_close("gradient", got, &want, 2e-5);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn convolutions_and_their_gradients_match_the_reference(
        n_bins in 1..40_usize, n_inputs in 1..5_usize, n_outputs in 1..5_usize,
        half in 0..4_usize, dilation in 1..9_usize, seed in 0..1000_u64,
    ) {
        let n_taps = 2 * half + 1;
        check_convolution(ConvolutionShape { n_bins, n_inputs, n_outputs, n_taps, dilation }, seed);
    }

    #[test]
    fn gated_blocks_and_their_gradients_match_the_reference(
        n_bins in 1..24_usize, width in 1..5_usize, half in 0..3_usize, dilation in 1..9_usize,
        seed in 0..1000_u64,
    ) {
        check_block(BlockShape { n_bins, width, n_taps: 2 * half + 1, dilation }, seed, true);
    }

    /// Several tiles, and widths of several vectors.
    #[test]
    fn long_and_wide_gated_blocks_match_the_reference(
        n_bins in 90..300_usize, width in 15..50_usize, dilation in 1..60_usize,
        seed in 0..1000_u64,
    ) {
        check_block(BlockShape { n_bins, width, n_taps: 5, dilation }, seed, false);
    }
}

/// Small enough for Miri.
#[test]
fn small_convolutions_match_the_reference() {
    let shape = ConvolutionShape {
        n_bins: 5,
        n_inputs: 2,
        n_outputs: 3,
        n_taps: 3,
        dilation: 2,
    };
    check_convolution(shape, 1);
}

/// Gradients of several tiles are those of each instruction set's reference: portable code, whose
/// tiles differ.
#[test]
fn gradients_of_long_blocks_agree_between_instruction_sets() {
    let shape = BlockShape {
        n_bins: 310,
        width: 20,
        n_taps: 5,
        dilation: 7,
    };
    let arguments = block_arguments(shape, 5).map(|argument| single(&argument));
    let dy = single(&noise(shape.n_bins * shape.width, 9, 1.0));
    let every: Vec<_> = Isa::available()
        .into_iter()
        .map(|isa| run_gradient(isa, shape, &arguments, &dy))
        .collect();
    let (portable, others) = every.split_last().unwrap();
    for other in others {
        for (got, want) in other.iter().zip(portable) {
            let want: Vec<f64> = want.iter().map(|value| f64::from(*value)).collect();
            assert_close("gradient", got, &want, 1e-4);
        }
    }
}

/// What a bin without data holds does not reach the context; the others feel it through the taps alone.
#[test]
fn bins_without_data_are_not_pooled() {
    let shape = BlockShape {
        n_bins: 9,
        width: 3,
        n_taps: 1,
        dilation: 1,
    };
    let mut arguments = block_arguments(shape, 2).map(|argument| single(&argument));
    let present = single(&present(shape.n_bins));
    let run = |arguments: &[Vec<f32>; 6]| {
        gated_block(
            Isa::best(),
            shape,
            slices(arguments),
            &arguments[0],
            &present,
            false,
        )
        .0
    };
    let before = run(&arguments);
    arguments[0][3..6].fill(40.0);
    let after = run(&arguments);
    assert_eq!(before[..3], after[..3]);
    assert_eq!(before[6..], after[6..]);
    assert_ne!(before[3..6], after[3..6]);
}
