//! The kernels on slices, without burn.
//!
//! [`mod@reference`] says in plain scalar code what each computes; the functions here are
//! the fast versions. Everything is `f32`, contiguous and time-major:
//! `[time, trial, channel]`.

// Generic vector code must be inlined into the functions that are compiled for an instruction
// set, or its intrinsics become calls.
#![allow(clippy::inline_always)]

use std::ops::Range;

mod affine;
mod backward;
mod blur;
mod cell;
mod controlled;
mod elementwise;
mod forward;
mod gated_block;
mod gates;
mod gemm;
mod pool;
mod random;
mod readout;
pub mod reference;
mod simd;
mod sparse;
mod spike_loop;

pub use affine::{AffineGradients, AffineShape, Offset, affine, affine_gradient};
pub use backward::{GruGradients, Upstream, backward};
pub use blur::{blur, blur_gradient};
pub use controlled::{
    ControlledGradients, ControlledOutput, ControlledShape, ControlledSlices, ControlledTrace,
    ControlledUpstream, controlled, controlled_gradient, controlled_reference,
};
pub use elementwise::{
    GaussianSlices, PoissonSlices, ar1_filter, ar1_filter_gradient, gaussian_gradient,
    gaussian_log_likelihood, poisson_gradient_counts, poisson_gradient_log_rates,
    poisson_log_likelihood,
};
pub use forward::{GruTrace, forward};
pub use gated_block::{
    BlockGradients, BlockShape, BlockSlices, BlockTrace, ConvolutionGradients, ConvolutionShape,
    add_pool_gradient, convolution, convolution_gradient, convolution_reference, gated_block,
    gated_block_gradient, gated_block_reference, pool_channels,
};
pub use gemm::product_gflops;
pub use pool::{free_buffers, in_chunks};
pub use random::box_muller;
pub use readout::Readout;
pub use simd::Isa;
pub use spike_loop::{
    MAX_LOG_VARIANCE, SpikeLoopGradients, SpikeLoopOutput, SpikeLoopShape, SpikeLoopSlices,
    SpikeLoopTrace, SpikeLoopUpstream, spike_loop, spike_loop_gradient,
};

/// Where the reset gate r acts in the candidate n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetGate {
    /// n = tanh(x `W_in` + `b_in` + (r⊙h) `W_rec` + `b_rec`): Cho et al. 2014; LFADS.
    BeforeProduct,
    /// n = tanh(x `W_in` + `b_in` + r⊙(h `W_rec` + `b_rec`)): cuDNN, PyTorch.
    AfterProduct,
}

/// What varies between gated recurrent units of the same size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GruSpec {
    /// Where the reset gate acts.
    pub reset: ResetGate,
    /// The state is clipped to ±`clip` after each step; a clipped element passes no gradient.
    pub clip: Option<f32>,
}

/// Sizes of a gated recurrent unit's run. Without inputs, `n_inputs` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GruShape {
    /// Time bins.
    pub n_bins: usize,
    /// Trials of the batch.
    pub n_trials: usize,
    /// Input channels.
    pub n_inputs: usize,
    /// Units of one direction.
    pub hidden: usize,
    /// 1, or 2 with the second reading backward in time.
    pub n_directions: usize,
}

/// Weights as slices; shapes as in `GruWeights` at the crate's root, gate order r, z, n.
#[derive(Clone, Copy, Debug)]
pub struct GruSlices<'a, F = f32> {
    /// `[direction, input, 3·hidden]`.
    pub w_in: &'a [F],
    /// `[direction, hidden, 3·hidden]`.
    pub w_rec: &'a [F],
    /// `[direction, 3·hidden]`.
    pub b_in: &'a [F],
    /// `[direction, 3·hidden]`.
    pub b_rec: &'a [F],
}

impl<'a, F> GruSlices<'a, F> {
    /// Panics unless every slice is as long as the shape asks for.
    #[track_caller]
    fn check(&self, shape: &GruShape) {
        let gates = 3 * shape.hidden * shape.n_directions;
        check_len("w_in", self.w_in, shape.n_inputs * gates);
        check_len("w_rec", self.w_rec, shape.hidden * gates);
        check_len("b_in", self.b_in, gates);
        check_len("b_rec", self.b_rec, gates);
    }

    /// The weights of one direction.
    fn direction(&self, direction: usize, shape: &GruShape) -> Self {
        let gates = 3 * shape.hidden;
        let part = |all: &'a [F], len: usize| &all[direction * len..(direction + 1) * len];
        Self {
            w_in: part(self.w_in, shape.n_inputs * gates),
            w_rec: part(self.w_rec, shape.hidden * gates),
            b_in: part(self.b_in, gates),
            b_rec: part(self.b_rec, gates),
        }
    }
}

/// Most trials of a chunk: three tiles of the widest instruction set.
const CHUNK_TRIALS: usize = 36;

/// Rows of a block over which weight gradients are summed in one product.
const BLOCK_ROWS: usize = 136;

/// Panics unless a slice is as long as the sizes ask for: a longer one is of another shape, and its
/// rows would be read askew.
#[track_caller]
fn check_len<F>(name: &str, slice: &[F], expected: usize) {
    let found = slice.len();
    assert!(
        found == expected,
        "`{name}` has {found} numbers where the sizes ask for {expected}"
    );
}

/// Copies the first `width` columns of each row from one matrix to another.
fn copy_columns(from: &[f32], from_stride: usize, width: usize, to: &mut [f32], to_stride: usize) {
    for (from, to) in from.chunks(from_stride).zip(to.chunks_mut(to_stride)) {
        to[..width].copy_from_slice(&from[..width]);
    }
}

/// Brings the rows of some trials together, bin after bin: from `[time, trial, width]`, of
/// `n_trials` trials, to `[bin, trial, width]`.
fn copy_trials(
    from: &[f32],
    n_trials: usize,
    trials: &Range<usize>,
    width: usize,
    bins: impl Iterator<Item = usize>,
    to: &mut [f32],
) {
    let len = trials.len() * width;
    for (bin, to) in bins.zip(to.chunks_exact_mut(len)) {
        let first = (bin * n_trials + trials.start) * width;
        to.copy_from_slice(&from[first..first + len]);
    }
}

/// Cuts a batch into chunks of about equal size. They depend on nothing but the batch, so that
/// sums over chunks are the same for every number of threads.
fn chunks(n_trials: usize) -> Vec<Range<usize>> {
    let n = n_trials.div_ceil(CHUNK_TRIALS);
    (0..n)
        .map(|chunk| chunk * n_trials / n..(chunk + 1) * n_trials / n)
        .collect()
}

/// Cuts `[time, trial, width]` into the bins of each chunk of trials.
fn by_chunk(all: &mut [f32], n_trials: usize, width: usize) -> Vec<Vec<&mut [f32]>> {
    let chunks = chunks(n_trials);
    let mut parts: Vec<Vec<&mut [f32]>> = chunks.iter().map(|_| Vec::new()).collect();
    for mut bin in all.chunks_exact_mut(n_trials * width) {
        for (trials, part) in chunks.iter().zip(&mut parts) {
            let (rows, rest) = bin.split_at_mut(trials.len() * width);
            part.push(rows);
            bin = rest;
        }
    }
    parts
}
