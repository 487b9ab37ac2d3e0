//! The time loop of the ladder model's shallow level, in which the spikes of one bin feed the
//! posterior of the next.

use std::ops::Range;
use std::slice::from_ref;

use rayon::prelude::*;

use super::gemm::{Left, Packed, Right, Size, Start, gemm};
use super::pool::Buffer;
use super::simd::{Isa, Simd, dispatch, vectors};
use super::{BLOCK_ROWS, chunks, gates};

/// Sizes of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpikeLoopShape {
    /// Time bins.
    pub n_bins: usize,
    /// Trials of the batch.
    pub n_trials: usize,
    /// Dimensions of z.
    pub latent: usize,
    /// Neurons.
    pub n_neurons: usize,
}

/// Arguments of the loop; shapes as in `spike_loop` at the crate's root.
#[derive(Clone, Copy, Debug)]
pub struct SpikeLoopSlices<'a, F = f32> {
    /// `[time, trial, 2·latent]`.
    pub drive: &'a [F],
    /// `[time, trial, neuron]`.
    pub spike_drive: &'a [F],
    /// `[trial, neuron]`.
    pub initial_spikes: &'a [F],
    /// `[neuron, 2·latent]`.
    pub w_feedback: &'a [F],
    /// `[latent, neuron]`.
    pub w_spike: &'a [F],
    /// `[time, trial, latent]`.
    pub noise: &'a [F],
    /// Where the exponential becomes its tangent.
    pub max_log: F,
}

/// Gradients of the loop; shapes as those of its arguments.
#[derive(Debug)]
pub struct SpikeLoopGradients<F = f32> {
    /// `[time, trial, 2·latent]`.
    pub drive: Vec<F>,
    /// `[time, trial, neuron]`.
    pub spike_drive: Vec<F>,
    /// `[trial, neuron]`.
    pub initial_spikes: Vec<F>,
    /// `[neuron, 2·latent]`.
    pub w_feedback: Vec<F>,
    /// `[latent, neuron]`.
    pub w_spike: Vec<F>,
}

/// What the loop returns.
#[derive(Clone, Debug, PartialEq)]
pub struct SpikeLoopOutput<F = f32> {
    /// Means, then log-variances: `[time, trial, 2·latent]`.
    pub params: Vec<F>,
    /// `[time, trial, neuron]`.
    pub spikes: Vec<F>,
}

/// Output of the loop, or its gradient: [`SpikeLoopOutput`] as slices.
#[derive(Clone, Copy, Debug)]
pub struct SpikeLoopOutputs<'a> {
    /// `[time, trial, 2·latent]`.
    pub params: &'a [f32],
    /// `[time, trial, neuron]`.
    pub spikes: &'a [f32],
}

/// Runs the loop.
///
/// # Panics
/// If a slice is shorter than the shape needs.
pub fn spike_loop(isa: Isa, shape: SpikeLoopShape, slices: SpikeLoopSlices<'_>) -> SpikeLoopOutput {
    let SpikeLoopShape {
        n_trials,
        latent,
        n_neurons,
        ..
    } = shape;
    let feedback = Packed::new(
        isa,
        slices.w_feedback,
        2 * latent,
        from_ref(&(0..2 * latent)),
    );
    let spike = Packed::new(isa, slices.w_spike, n_neurons, from_ref(&(0..n_neurons)));
    let run = |trials: Range<usize>| {
        let task = Task {
            isa,
            shape,
            slices,
            trials,
            feedback: &feedback,
            spike: &spike,
        };
        task.forward()
    };
    let parts: Vec<(Buffer, Buffer)> = chunks(n_trials).into_par_iter().map(run).collect();
    let (params, spikes): (Vec<&[f32]>, Vec<&[f32]>) = parts
        .iter()
        .map(|(params, spikes)| (&**params, &**spikes))
        .unzip();
    SpikeLoopOutput {
        params: join_chunks(&shape, 2 * latent, 0, &params),
        spikes: join_chunks(&shape, n_neurons, 1, &spikes),
    }
}

/// Puts chunks' `[first_bin + time, trial, width]` together to `[time, trial, width]`.
fn join_chunks(
    shape: &SpikeLoopShape,
    width: usize,
    first_bin: usize,
    parts: &[&[f32]],
) -> Vec<f32> {
    let row = shape.n_trials * width;
    let mut all = vec![0.0; shape.n_bins * row];
    all.par_chunks_exact_mut(row)
        .enumerate()
        .for_each(|(bin, all)| {
            for (trials, part) in chunks(shape.n_trials).into_iter().zip(parts) {
                let len = trials.len() * width;
                let from = &part[(first_bin + bin) * len..(first_bin + bin + 1) * len];
                all[trials.start * width..trials.end * width].copy_from_slice(from);
            }
        });
    all
}

/// Differentiates [`spike_loop`] from its arguments, its output and the gradient of that.
///
/// # Panics
/// If a slice is shorter than the shape needs.
pub fn spike_loop_gradient(
    isa: Isa,
    shape: SpikeLoopShape,
    slices: SpikeLoopSlices<'_>,
    output: SpikeLoopOutputs<'_>,
    upstream: SpikeLoopOutputs<'_>,
) -> SpikeLoopGradients {
    let SpikeLoopShape {
        n_trials,
        latent,
        n_neurons,
        ..
    } = shape;
    let feedback = Packed::transposed(
        isa,
        slices.w_feedback,
        2 * latent,
        from_ref(&(0..2 * latent)),
    );
    let spike = Packed::transposed(isa, slices.w_spike, n_neurons, from_ref(&(0..n_neurons)));
    let run = |trials: Range<usize>| {
        let task = Task {
            isa,
            shape,
            slices,
            trials,
            feedback: &feedback,
            spike: &spike,
        };
        task.backward(output, upstream)
    };
    let parts: Vec<TaskGradients> = chunks(n_trials).into_par_iter().map(run).collect();
    let all = |part: fn(&TaskGradients) -> &[f32]| parts.iter().map(part).collect::<Vec<_>>();
    let sum = |len: usize, part: fn(&TaskGradients) -> &[f32]| {
        let mut sum = vec![0.0; len];
        for from in &parts {
            gates::add_rows(isa, part(from), len, &mut sum, len);
        }
        sum
    };
    SpikeLoopGradients {
        drive: join_chunks(&shape, 2 * latent, 0, &all(|part| &part.params)),
        spike_drive: join_chunks(&shape, n_neurons, 0, &all(|part| &part.log_spikes)),
        initial_spikes: all(|part| &part.initial).concat(),
        w_feedback: sum(n_neurons * 2 * latent, |part| &part.w_feedback),
        w_spike: sum(latent * n_neurons, |part| &part.w_spike),
    }
}

/// What one chunk of trials adds to the gradients.
struct TaskGradients {
    /// `[time, trial, 2·latent]`.
    params: Buffer,
    /// `[time, trial, neuron]`.
    log_spikes: Buffer,
    /// `[trial, neuron]`.
    initial: Buffer,
    /// `[neuron, 2·latent]`.
    w_feedback: Buffer,
    /// `[latent, neuron]`.
    w_spike: Buffer,
}

/// Intermediate values of a block of bins, `[bin, trial, …]`.
struct Block {
    z: Buffer,
    previous: Buffer,
    /// Gradient of z, of one bin.
    dz: Buffer,
}

struct Task<'a> {
    isa: Isa,
    shape: SpikeLoopShape,
    slices: SpikeLoopSlices<'a>,
    trials: Range<usize>,
    feedback: &'a Packed,
    spike: &'a Packed,
}

impl Task<'_> {
    /// Parameters `[time, trial, 2·latent]` and spikes `[time + 1, trial, neuron]`, of which the
    /// first are the initial ones.
    fn forward(self) -> (Buffer, Buffer) {
        let SpikeLoopShape {
            n_bins,
            latent,
            n_neurons,
            ..
        } = self.shape;
        let (isa, rows) = (self.isa, self.trials.len());
        let mut params = Buffer::stale(n_bins * rows * 2 * latent);
        let mut spikes = Buffer::stale((n_bins + 1) * rows * n_neurons);
        let mut z = Buffer::stale(rows * latent);
        spikes[..rows * n_neurons].copy_from_slice(self.bin(
            self.slices.initial_spikes,
            0,
            n_neurons,
        ));
        let from_spikes = Size {
            rows,
            columns: 2 * latent,
            inner: n_neurons,
        };
        let from_z = Size {
            rows,
            columns: n_neurons,
            inner: latent,
        };
        for (bin, params) in params.chunks_exact_mut(rows * 2 * latent).enumerate() {
            let (past, future) = spikes.split_at_mut((bin + 1) * rows * n_neurons);
            let previous = Left::rows(&past[bin * rows * n_neurons..], n_neurons);
            let spikes = &mut future[..rows * n_neurons];
            params.copy_from_slice(self.bin(self.slices.drive, bin, 2 * latent));
            let feedback = Right::Packed(self.feedback);
            gemm(
                isa,
                from_spikes,
                previous,
                feedback,
                params,
                2 * latent,
                Start::Sum,
            );
            sample(
                isa,
                params,
                self.bin(self.slices.noise, bin, latent),
                &mut z,
                latent,
            );
            spikes.copy_from_slice(self.bin(self.slices.spike_drive, bin, n_neurons));
            let (left, right) = (Left::rows(&z, latent), Right::Packed(self.spike));
            gemm(isa, from_z, left, right, spikes, n_neurons, Start::Sum);
            fire(isa, spikes, self.slices.max_log);
        }
        (params, spikes)
    }

    fn backward(
        self,
        output: SpikeLoopOutputs<'_>,
        upstream: SpikeLoopOutputs<'_>,
    ) -> TaskGradients {
        let SpikeLoopShape {
            n_bins,
            latent,
            n_neurons,
            ..
        } = self.shape;
        let rows = self.trials.len();
        let mut sums = TaskGradients {
            params: Buffer::stale(n_bins * rows * 2 * latent),
            log_spikes: Buffer::stale(n_bins * rows * n_neurons),
            initial: Buffer::zeros(rows * n_neurons),
            w_feedback: Buffer::zeros(n_neurons * 2 * latent),
            w_spike: Buffer::zeros(latent * n_neurons),
        };
        let bins = (BLOCK_ROWS / rows).clamp(1, n_bins);
        let mut block = Block {
            z: Buffer::stale(bins * rows * latent),
            previous: Buffer::stale(bins * rows * n_neurons),
            dz: Buffer::stale(rows * latent),
        };
        for end in (1..=n_bins).rev().step_by(bins) {
            let range = end.saturating_sub(bins)..end;
            for bin in range.clone().rev() {
                self.step_back(
                    bin,
                    bin - range.start,
                    output,
                    upstream,
                    &mut sums,
                    &mut block,
                );
            }
            self.add_weights(&range, &block, &mut sums);
        }
        sums
    }

    /// Carries the gradient of a bin's spikes, `sums.initial`, to that of the bin before.
    fn step_back(
        &self,
        bin: usize,
        slot: usize,
        output: SpikeLoopOutputs<'_>,
        upstream: SpikeLoopOutputs<'_>,
        sums: &mut TaskGradients,
        block: &mut Block,
    ) {
        let SpikeLoopShape {
            latent, n_neurons, ..
        } = self.shape;
        let (isa, rows) = (self.isa, self.trials.len());
        let at = |len: usize| bin * rows * len..(bin + 1) * rows * len;
        let d_spikes = &mut *sums.initial;
        gates::add_rows(
            isa,
            self.bin(upstream.spikes, bin, n_neurons),
            n_neurons,
            d_spikes,
            n_neurons,
        );
        let d_log = &mut sums.log_spikes[at(n_neurons)];
        let max_slope = self.slices.max_log.exp();
        fire_gradient(
            isa,
            self.bin(output.spikes, bin, n_neurons),
            d_spikes,
            d_log,
            max_slope,
        );

        let to_z = Size {
            rows,
            columns: latent,
            inner: n_neurons,
        };
        let (left, spike) = (Left::rows(d_log, n_neurons), Right::Packed(self.spike));
        gemm(isa, to_z, left, spike, &mut block.dz, latent, Start::Zero);
        let d_params = &mut sums.params[at(2 * latent)];
        d_params.copy_from_slice(self.bin(upstream.params, bin, 2 * latent));
        let params = self.bin(output.params, bin, 2 * latent);
        let noise = self.bin(self.slices.noise, bin, latent);
        let z = &mut block.z[slot * rows * latent..][..rows * latent];
        sample_gradient(isa, params, noise, &block.dz, d_params, z, latent);

        block.previous[slot * rows * n_neurons..][..rows * n_neurons].copy_from_slice(match bin {
            0 => self.bin(self.slices.initial_spikes, 0, n_neurons),
            _ => self.bin(output.spikes, bin - 1, n_neurons),
        });
        let to_spikes = Size {
            rows,
            columns: n_neurons,
            inner: 2 * latent,
        };
        let (left, feedback) = (
            Left::rows(d_params, 2 * latent),
            Right::Packed(self.feedback),
        );
        gemm(
            isa,
            to_spikes,
            left,
            feedback,
            d_spikes,
            n_neurons,
            Start::Zero,
        );
    }

    /// Adds a block's share to the gradients of the weights.
    fn add_weights(&self, range: &Range<usize>, block: &Block, sums: &mut TaskGradients) {
        let SpikeLoopShape {
            latent, n_neurons, ..
        } = self.shape;
        let (isa, first) = (self.isa, range.start * self.trials.len());
        let inner = range.len() * self.trials.len();
        let feedback = Size {
            rows: n_neurons,
            columns: 2 * latent,
            inner,
        };
        let previous = Left::transposed(&block.previous, n_neurons);
        let d_params = Right::Rows(&sums.params[first * 2 * latent..], 2 * latent);
        gemm(
            isa,
            feedback,
            previous,
            d_params,
            &mut sums.w_feedback,
            2 * latent,
            Start::Sum,
        );
        let spike = Size {
            rows: latent,
            columns: n_neurons,
            inner,
        };
        let z = Left::transposed(&block.z, latent);
        let d_log = Right::Rows(&sums.log_spikes[first * n_neurons..], n_neurons);
        gemm(
            isa,
            spike,
            z,
            d_log,
            &mut sums.w_spike,
            n_neurons,
            Start::Sum,
        );
    }

    /// This chunk's rows of one bin of `[time, trial, width]`.
    fn bin<'b>(&self, all: &'b [f32], bin: usize, width: usize) -> &'b [f32] {
        let first = (bin * self.shape.n_trials + self.trials.start) * width;
        &all[first..first + self.trials.len() * width]
    }
}

dispatch! {
    /// z = mean + exp(½ log-variance)⊙noise.
    pub fn sample(params: &[f32], noise: &[f32], z: &mut [f32], latent: usize) = sample_body
}

#[inline(always)]
fn sample_body<S: Simd>(simd: S, params: &[f32], noise: &[f32], z: &mut [f32], latent: usize) {
    let rows = params
        .chunks_exact(2 * latent)
        .zip(noise.chunks_exact(latent));
    for ((params, noise), z) in rows.zip(z.chunks_exact_mut(latent)) {
        let (mean, log_variance) = params.split_at(latent);
        vectors!(S, latent, |columns| {
            let sd = standard_deviation(simd, &log_variance[columns.clone()]);
            let mean = simd.load(&mean[columns.clone()]);
            let noise = simd.load(&noise[columns.clone()]);
            simd.store(simd.mul_add(sd, noise, mean), &mut z[columns]);
        });
    }
}

dispatch! {
    /// Adds the gradient of z to those of mean and log-variance, and draws z again.
    pub fn sample_gradient(
        params: &[f32], noise: &[f32], dz: &[f32], d_params: &mut [f32], z: &mut [f32],
        latent: usize,
    ) = sample_gradient_body
}

#[inline(always)]
fn sample_gradient_body<S: Simd>(
    simd: S,
    params: &[f32],
    noise: &[f32],
    dz: &[f32],
    d_params: &mut [f32],
    z: &mut [f32],
    latent: usize,
) {
    let gradients = dz
        .chunks_exact(latent)
        .zip(d_params.chunks_exact_mut(2 * latent));
    let samples = noise.chunks_exact(latent).zip(z.chunks_exact_mut(latent));
    let rows = params.chunks_exact(2 * latent).zip(samples).zip(gradients);
    for ((params, (noise, z)), (dz, d_params)) in rows {
        let (mean, log_variance) = params.split_at(latent);
        let (d_mean, d_log_variance) = d_params.split_at_mut(latent);
        vectors!(S, latent, |columns| {
            let sd = standard_deviation(simd, &log_variance[columns.clone()]);
            let deviation = simd.mul(sd, simd.load(&noise[columns.clone()]));
            let dz = simd.load(&dz[columns.clone()]);
            let mean = simd.load(&mean[columns.clone()]);
            simd.store(simd.add(mean, deviation), &mut z[columns.clone()]);
            let by_mean = simd.add(simd.load(&d_mean[columns.clone()]), dz);
            simd.store(by_mean, &mut d_mean[columns.clone()]);
            let half = simd.mul(deviation, simd.splat(0.5));
            let by_log = simd.mul_add(dz, half, simd.load(&d_log_variance[columns.clone()]));
            simd.store(by_log, &mut d_log_variance[columns]);
        });
    }
}

#[inline(always)]
fn standard_deviation<S: Simd>(simd: S, log_variance: &[f32]) -> S::V {
    simd.exp(simd.mul(simd.splat(0.5), simd.load(log_variance)))
}

dispatch! {
    /// s = max(0, exp(a) − 1), along the tangent above `max_log`.
    pub fn fire(spikes: &mut [f32], max_log: f32) = fire_body
}

#[inline(always)]
fn fire_body<S: Simd>(simd: S, spikes: &mut [f32], max_log: f32) {
    let (zero, max_log) = (simd.splat(0.0), simd.splat(max_log));
    let max_slope = simd.exp(max_log);
    vectors!(S, spikes.len(), |at| {
        let log = simd.load(&spikes[at.clone()]);
        let bounded = simd.min(max_log, log);
        let beyond = simd.mul(max_slope, simd.sub(log, bounded));
        let count = simd.add(simd.expm1(bounded), beyond);
        simd.store(simd.max(zero, count), &mut spikes[at]);
    });
}

dispatch! {
    /// Gradient of a: that of s times s + 1, but at most `max_slope`, and 0 where s is 0.
    pub fn fire_gradient(spikes: &[f32], d_spikes: &[f32], d_log: &mut [f32], max_slope: f32)
        = fire_gradient_body
}

#[inline(always)]
fn fire_gradient_body<S: Simd>(
    simd: S,
    spikes: &[f32],
    d_spikes: &[f32],
    d_log: &mut [f32],
    max_slope: f32,
) {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let smallest = simd.splat(f32::MIN_POSITIVE);
    vectors!(S, d_log.len(), |at| {
        let spikes = simd.load(&spikes[at.clone()]);
        let slope = simd.min(simd.splat(max_slope), simd.add(spikes, one));
        let slope = simd.if_less(spikes, smallest, zero, slope);
        let d_spikes = simd.load(&d_spikes[at.clone()]);
        simd.store(simd.mul(slope, d_spikes), &mut d_log[at]);
    });
}
