//! The time loop of the ladder model's shallow level, in which the spikes of one bin feed the
//! posterior of the next.

mod elementwise;

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{Left, Packed, Right, Size, Start, gemm};
use super::pool::Buffer;
use super::simd::Isa;
use super::{BLOCK_ROWS, by_chunk, check_len, chunks, gates};
use elementwise::{fire, fire_gradient, sample, sample_gradient};

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
    /// Means of z's prior, then log-variances: `[2·latent]`.
    pub prior: &'a [F],
    /// Where the exponential becomes its tangent.
    pub max_log: F,
}

impl SpikeLoopSlices<'_> {
    /// Panics unless every slice is as long as the shape asks for.
    #[track_caller]
    fn check(&self, shape: SpikeLoopShape) {
        let SpikeLoopShape {
            n_bins,
            n_trials,
            latent,
            n_neurons,
        } = shape;
        let rows = n_bins * n_trials;
        check_len("drive", self.drive, rows * 2 * latent);
        check_len("spike_drive", self.spike_drive, rows * n_neurons);
        check_len("initial_spikes", self.initial_spikes, n_trials * n_neurons);
        check_len("w_feedback", self.w_feedback, n_neurons * 2 * latent);
        check_len("w_spike", self.w_spike, latent * n_neurons);
        check_len("noise", self.noise, rows * latent);
        check_len("prior", self.prior, 2 * latent);
    }
}

/// Log-variances of z are held within ±this: e^{−12} to e^{12} spans every useful width, and the
/// loop through exponentials stays finite.
pub const MAX_LOG_VARIANCE: f32 = 12.0;

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
    /// `[2·latent]`.
    pub prior: Vec<F>,
}

/// What the loop returns.
#[derive(Debug)]
pub struct SpikeLoopOutput {
    /// `[time, trial, neuron]`.
    pub spikes: Vec<f32>,
    /// KL(posterior ‖ prior) of all z together, in nats.
    pub kl: f32,
    /// What the gradient needs beside: for each chunk of trials, means and log-variances of z,
    /// `[time, trial, 2·latent]`.
    pub trace: SpikeLoopTrace,
}

/// Parameters of z's posterior in all bins.
#[derive(Debug)]
pub struct SpikeLoopTrace(Vec<Buffer>);

/// Gradient of the loop's output.
#[derive(Clone, Copy, Debug)]
pub struct SpikeLoopUpstream<'a> {
    /// `[time, trial, neuron]`.
    pub spikes: &'a [f32],
    /// Of the divergence.
    pub kl: f32,
}

/// Runs the loop.
///
/// # Panics
/// If a slice is not as long as the shape asks for.
pub fn spike_loop(isa: Isa, shape: SpikeLoopShape, slices: SpikeLoopSlices<'_>) -> SpikeLoopOutput {
    slices.check(shape);
    let SpikeLoopShape {
        n_trials,
        latent,
        n_neurons,
        ..
    } = shape;
    let feedback = Packed::new(isa, slices.w_feedback, 2 * latent);
    let spike = Packed::new(isa, slices.w_spike, n_neurons);
    let run = |(trials, spikes): (Range<usize>, Vec<&mut [f32]>)| {
        let task = Task {
            isa,
            shape,
            slices,
            trials,
            feedback: &feedback,
            spike: &spike,
        };
        task.forward(spikes)
    };
    let mut spikes = vec![0.0; shape.n_bins * n_trials * n_neurons];
    let rows = by_chunk(&mut spikes, n_trials, n_neurons);
    let parts: Vec<(Buffer, f64)> = chunks(n_trials)
        .into_par_iter()
        .zip(rows)
        .map(run)
        .collect();
    SpikeLoopOutput {
        kl: parts.iter().map(|(_, kl)| kl).sum::<f64>() as f32,
        trace: SpikeLoopTrace(parts.into_iter().map(|(params, _)| params).collect()),
        spikes,
    }
}

/// Differentiates [`spike_loop`] from its arguments, its spikes and trace, and the gradient of
/// its output.
///
/// # Panics
/// If a slice is not as long as the shape asks for.
pub fn spike_loop_gradient(
    isa: Isa,
    shape: SpikeLoopShape,
    slices: SpikeLoopSlices<'_>,
    spikes: &[f32],
    trace: &SpikeLoopTrace,
    upstream: SpikeLoopUpstream<'_>,
) -> SpikeLoopGradients {
    let SpikeLoopShape {
        n_trials,
        latent,
        n_neurons,
        ..
    } = shape;
    slices.check(shape);
    check_len("spikes", spikes, shape.n_bins * n_trials * n_neurons);
    check_len("upstream.spikes", upstream.spikes, spikes.len());
    let feedback = Packed::transposed(isa, slices.w_feedback, 2 * latent);
    let spike = Packed::transposed(isa, slices.w_spike, n_neurons);
    let n_rows = shape.n_bins * n_trials;
    let mut drive = vec![0.0; n_rows * 2 * latent];
    let mut spike_drive = vec![0.0; n_rows * n_neurons];
    let outputs = by_chunk(&mut drive, n_trials, 2 * latent)
        .into_iter()
        .zip(by_chunk(&mut spike_drive, n_trials, n_neurons));
    let run = |(trials, (saved, (drive, spike_drive)))| {
        let task = Task {
            isa,
            shape,
            slices,
            trials,
            feedback: &feedback,
            spike: &spike,
        };
        task.backward(spikes, saved, upstream, drive, spike_drive)
    };
    let parts: Vec<TaskGradients> = chunks(n_trials)
        .into_par_iter()
        .zip(trace.0.par_iter().zip(outputs.collect::<Vec<_>>()))
        .map(run)
        .collect();
    let sum = |len: usize, part: fn(&TaskGradients) -> &[f32]| {
        let mut sum = vec![0.0; len];
        for from in &parts {
            gates::add_rows(isa, part(from), len, &mut sum, len);
        }
        sum
    };
    SpikeLoopGradients {
        initial_spikes: parts
            .iter()
            .flat_map(|part| part.initial.to_vec())
            .collect(),
        w_feedback: sum(n_neurons * 2 * latent, |part| &part.w_feedback),
        w_spike: sum(latent * n_neurons, |part| &part.w_spike),
        prior: sum(2 * latent, |part| &part.prior),
        drive,
        spike_drive,
    }
}

/// What one chunk of trials adds to the gradients.
struct TaskGradients {
    /// `[trial, neuron]`.
    initial: Buffer,
    /// `[neuron, 2·latent]`.
    w_feedback: Buffer,
    /// `[latent, neuron]`.
    w_spike: Buffer,
    /// `[2·latent]`.
    prior: Buffer,
}

/// Intermediate values of a block of bins, `[bin, trial, …]`: what the products of the weights'
/// gradients read, while it is in the cache.
struct Block {
    z: Buffer,
    previous: Buffer,
    d_params: Buffer,
    d_log: Buffer,
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
    /// Writes the spikes of each bin; returns the parameters, `[time, trial, 2·latent]`, and the
    /// divergence.
    fn forward(self, mut spikes: Vec<&mut [f32]>) -> (Buffer, f64) {
        let SpikeLoopShape {
            n_bins,
            latent,
            n_neurons,
            ..
        } = self.shape;
        let (isa, rows) = (self.isa, self.trials.len());
        let mut all_params = Buffer::stale(n_bins * rows * 2 * latent);
        let mut z = Buffer::stale(rows * latent);
        let precision = self.prior_precision();
        let mut terms = Buffer::zeros(latent);
        let mut kl = 0.0;
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
        for (bin, params) in all_params.chunks_exact_mut(rows * 2 * latent).enumerate() {
            let (past, future) = spikes.split_at_mut(bin);
            let previous = match past.last() {
                Some(previous) => &**previous,
                None => self.bin(self.slices.initial_spikes, 0, n_neurons),
            };
            params.copy_from_slice(self.bin(self.slices.drive, bin, 2 * latent));
            let (left, feedback) = (
                Left::rows(previous, n_neurons),
                Right::Packed(self.feedback),
            );
            gemm(
                isa,
                from_spikes,
                left,
                feedback,
                params,
                2 * latent,
                Start::Sum,
            );
            let noise = self.bin(self.slices.noise, bin, latent);
            terms.fill(0.0);
            let prior = self.slices.prior;
            sample(isa, params, noise, prior, &precision, &mut z, &mut terms);
            kl += 0.5 * terms.iter().map(|&term| f64::from(term)).sum::<f64>();
            let spikes = &mut *future[0];
            spikes.copy_from_slice(self.bin(self.slices.spike_drive, bin, n_neurons));
            let (left, right) = (Left::rows(&z, latent), Right::Packed(self.spike));
            gemm(isa, from_z, left, right, spikes, n_neurons, Start::Sum);
            fire(isa, spikes, self.slices.max_log);
        }
        (all_params, kl)
    }

    fn backward(
        self,
        spikes: &[f32],
        params: &Buffer,
        upstream: SpikeLoopUpstream<'_>,
        mut drive: Vec<&mut [f32]>,
        mut spike_drive: Vec<&mut [f32]>,
    ) -> TaskGradients {
        let SpikeLoopShape {
            n_bins,
            latent,
            n_neurons,
            ..
        } = self.shape;
        let rows = self.trials.len();
        let mut sums = TaskGradients {
            initial: Buffer::zeros(rows * n_neurons),
            w_feedback: Buffer::zeros(n_neurons * 2 * latent),
            w_spike: Buffer::zeros(latent * n_neurons),
            prior: Buffer::zeros(2 * latent),
        };
        let bins = (BLOCK_ROWS / rows).clamp(1, n_bins);
        let mut block = Block {
            z: Buffer::stale(bins * rows * latent),
            previous: Buffer::stale(bins * rows * n_neurons),
            d_params: Buffer::stale(bins * rows * 2 * latent),
            d_log: Buffer::stale(bins * rows * n_neurons),
            dz: Buffer::stale(rows * latent),
        };
        let precision = self.prior_precision();
        for end in (1..=n_bins).rev().step_by(bins) {
            let range = end.saturating_sub(bins)..end;
            for bin in range.clone().rev() {
                let step = StepBack {
                    bin,
                    slot: bin - range.start,
                    params: &params[bin * rows * 2 * latent..][..rows * 2 * latent],
                    spikes,
                    precision: &precision,
                    upstream,
                };
                self.step_back(step, &mut sums, &mut block);
            }
            self.add_weights(range.len(), &block, &mut sums);
            let d_params = block.d_params.chunks_exact(rows * 2 * latent);
            for (to, from) in drive[range.clone()].iter_mut().zip(d_params) {
                to.copy_from_slice(from);
            }
            let d_log = block.d_log.chunks_exact(rows * n_neurons);
            for (to, from) in spike_drive[range].iter_mut().zip(d_log) {
                to.copy_from_slice(from);
            }
        }
        sums
    }

    /// Carries the gradient of a bin's spikes, `sums.initial`, to that of the bin before.
    fn step_back(&self, step: StepBack<'_>, sums: &mut TaskGradients, block: &mut Block) {
        let SpikeLoopShape {
            latent, n_neurons, ..
        } = self.shape;
        let StepBack {
            bin,
            slot,
            params,
            spikes,
            precision,
            upstream,
        } = step;
        let (isa, rows) = (self.isa, self.trials.len());
        let at = |len: usize| slot * rows * len..(slot + 1) * rows * len;
        let d_spikes = &mut *sums.initial;
        gates::add_rows(
            isa,
            self.bin(upstream.spikes, bin, n_neurons),
            n_neurons,
            d_spikes,
            n_neurons,
        );
        let d_log = &mut block.d_log[at(n_neurons)];
        let max_slope = self.slices.max_log.exp();
        let fired = self.bin(spikes, bin, n_neurons);
        fire_gradient(isa, fired, d_spikes, d_log, max_slope);

        let to_z = Size {
            rows,
            columns: latent,
            inner: n_neurons,
        };
        let (left, spike) = (Left::rows(d_log, n_neurons), Right::Packed(self.spike));
        gemm(isa, to_z, left, spike, &mut block.dz, latent, Start::Zero);
        let d_params = &mut block.d_params[at(2 * latent)];
        sample_gradient(
            isa,
            params,
            self.bin(self.slices.noise, bin, latent),
            self.slices.prior,
            precision,
            &block.dz,
            upstream.kl,
            d_params,
            &mut block.z[at(latent)],
            &mut sums.prior,
        );

        block.previous[at(n_neurons)].copy_from_slice(match bin {
            0 => self.bin(self.slices.initial_spikes, 0, n_neurons),
            _ => self.bin(spikes, bin - 1, n_neurons),
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
    fn add_weights(&self, n_bins: usize, block: &Block, sums: &mut TaskGradients) {
        let SpikeLoopShape {
            latent, n_neurons, ..
        } = self.shape;
        let (isa, inner) = (self.isa, n_bins * self.trials.len());
        let feedback = Size {
            rows: n_neurons,
            columns: 2 * latent,
            inner,
        };
        let previous = Left::transposed(&block.previous, n_neurons);
        let d_params = Right::Rows(&block.d_params, 2 * latent);
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
        let d_log = Right::Rows(&block.d_log, n_neurons);
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

    /// e^{−log-variance} of z's prior, `[latent]`.
    fn prior_precision(&self) -> Vec<f32> {
        let log_variances = &self.slices.prior[self.shape.latent..];
        log_variances.iter().map(|log| (-log).exp()).collect()
    }

    /// This chunk's rows of one bin of `[time, trial, width]`.
    fn bin<'b>(&self, all: &'b [f32], bin: usize, width: usize) -> &'b [f32] {
        let first = (bin * self.shape.n_trials + self.trials.start) * width;
        &all[first..first + self.trials.len() * width]
    }
}

/// What the backward pass of one bin reads.
#[derive(Clone, Copy)]
struct StepBack<'a> {
    bin: usize,
    /// Index of the bin in its block.
    slot: usize,
    /// `[trial, 2·latent]` of this bin and chunk.
    params: &'a [f32],
    /// `[time, trial, neuron]`.
    spikes: &'a [f32],
    precision: &'a [f32],
    upstream: SpikeLoopUpstream<'a>,
}
