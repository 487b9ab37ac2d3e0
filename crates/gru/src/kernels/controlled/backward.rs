//! The loop, backward.

use std::ops::Range;

use rayon::prelude::*;

use super::elementwise::{add_draw_gradient, draw};
use super::{
    ChunkTrace, ControlledGradients, ControlledShape, ControlledSlices, ControlledTrace,
    ControlledUpstream,
};
use crate::kernels::cell::{CellBlock, CellGradient, CellSums, SavedStep};
use crate::kernels::gemm::{Left, Packed, Right, Size, Start, gemm};
use crate::kernels::pool::Buffer;
use crate::kernels::readout::multiply;
use crate::kernels::simd::Isa;
use crate::kernels::{BLOCK_ROWS, by_chunk, chunks, gates};

/// Differentiates [`controlled`](super::controlled) from its arguments, its outputs and their
/// gradients.
///
/// # Panics
/// If a slice is not as long as the shape asks for.
pub fn controlled_gradient(
    isa: Isa,
    shape: ControlledShape,
    slices: ControlledSlices<'_>,
    trace: &ControlledTrace,
    upstream: ControlledUpstream<'_>,
) -> ControlledGradients {
    slices.check(&shape);
    upstream.check(&shape);
    let weights = Weights::pack(isa, &shape, &slices);
    let width = 3 * shape.controller;
    let mut drive = vec![0.0; shape.n_bins * shape.n_trials * width];
    let tasks: Vec<_> = chunks(shape.n_trials)
        .into_iter()
        .zip(&trace.0)
        .zip(by_chunk(&mut drive, shape.n_trials, width))
        .collect();
    let run = |((trials, saved), drive)| {
        let task = Task {
            isa,
            shape,
            slices,
            trials,
            weights: &weights,
            saved,
            upstream,
        };
        task.run(drive)
    };
    let parts: Vec<Sums> = tasks.into_par_iter().map(run).collect();
    ControlledGradients {
        drive,
        ..sum_parts(isa, &shape, &parts)
    }
}

/// Transposed weights, packed; gates in the order n, r, z.
struct Weights {
    /// `[n r z, factor]`.
    feedback: Packed,
    controller: CellGradient,
    /// `[2·input, controller]`.
    posterior: Packed,
    /// `[n r z, input]`.
    input: Packed,
    generator: CellGradient,
    /// `[factor, generator]`.
    factors: Packed,
}

impl Weights {
    fn pack(isa: Isa, shape: &ControlledShape, slices: &ControlledSlices<'_>) -> Self {
        let (controller, generator) = (shape.controller, shape.generator);
        let gates = |matrix, hidden: usize| {
            let nrz = [2 * hidden..3 * hidden, 0..2 * hidden];
            Packed::of_columns_transposed(isa, matrix, 3 * hidden, &nrz)
        };
        let cell = |w_rec, hidden| CellGradient::new(isa, slices.spec(), hidden, w_rec);
        Self {
            feedback: gates(slices.w_feedback, controller),
            controller: cell(slices.w_controller, controller),
            posterior: Packed::transposed(isa, slices.w_posterior, 2 * shape.n_inputs),
            input: gates(slices.w_input, generator),
            generator: cell(slices.w_generator, generator),
            factors: Packed::transposed(isa, slices.w_factors, shape.n_factors),
        }
    }
}

/// What one chunk of trials adds to the gradients.
struct Sums {
    /// `[trial, controller]`.
    c: Buffer,
    /// `[trial, generator]`.
    g: Buffer,
    /// Transposed, as tiles are wide and factors few: `[factor, n r z]`.
    feedback: Buffer,
    controller: CellSums,
    /// Transposed: `[2·input, controller]`.
    posterior: Buffer,
    /// `[2·input]`.
    posterior_bias: Buffer,
    /// `[input, n r z]`.
    input: Buffer,
    generator: CellSums,
    /// Transposed: `[factor, generator]`.
    factors: Buffer,
}

fn sum_parts(isa: Isa, shape: &ControlledShape, parts: &[Sums]) -> ControlledGradients {
    let total = |part: fn(&Sums) -> &Buffer| {
        let mut total = vec![0.0; part(&parts[0]).len()];
        for sums in parts {
            let width = total.len();
            gates::add_rows(isa, part(sums), width, &mut total, width);
        }
        total
    };
    let joined = |part: fn(&Sums) -> &Buffer| {
        let rows = parts.iter().flat_map(|sums| part(sums).iter().copied());
        rows.collect::<Vec<f32>>()
    };
    let (controller, generator) = (shape.controller, shape.generator);
    let rzn = |nrz: &[f32], hidden: usize| -> Vec<f32> {
        let rows = nrz.chunks_exact(3 * hidden);
        rows.flat_map(|row| [&row[hidden..], &row[..hidden]].concat())
            .collect()
    };
    let recurrent = |rz: &[f32], n: &[f32], hidden: usize| -> Vec<f32> {
        let rows = rz.chunks_exact(2 * hidden).zip(n.chunks_exact(hidden));
        rows.flat_map(|(rz, n)| [rz, n].concat()).collect()
    };
    let w_controller = recurrent(
        &total(|sums| &sums.controller.reset_update),
        &total(|sums| &sums.controller.candidate),
        controller,
    );
    let w_generator = recurrent(
        &total(|sums| &sums.generator.reset_update),
        &total(|sums| &sums.generator.candidate),
        generator,
    );
    ControlledGradients {
        drive: Vec::new(),
        c0: joined(|sums| &sums.c),
        g0: joined(|sums| &sums.g),
        w_feedback: rzn(&total(|sums| &sums.feedback), controller),
        w_controller,
        w_posterior: transposed(&total(|sums| &sums.posterior), controller),
        b_posterior: total(|sums| &sums.posterior_bias),
        w_input: rzn(&total(|sums| &sums.input), generator),
        w_generator,
        b_generator: rzn(&total(|sums| &sums.generator.bias), generator),
        w_factors: transposed(&total(|sums| &sums.factors), generator),
    }
}

/// The transpose of a row-major matrix with so many columns.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| matrix.iter().skip(column).step_by(columns).copied())
        .collect()
}

/// Intermediate values of a block of bins, `[bin, trial, …]`.
struct Block {
    controller: CellBlock,
    generator: CellBlock,
    /// The controller's states from the bin before the block on: one bin more.
    control: Buffer,
    /// Factors of the bins before.
    factors: Buffer,
    /// The generator's states after each bin, times the scale.
    scaled: Buffer,
    inputs: Buffer,
    d_factors: Buffer,
    d_posterior: Buffer,
    /// Gradient of the inputs, of one bin.
    d_inputs: Buffer,
    /// Of the scaled states, of one bin.
    d_scaled: Buffer,
}

struct Task<'a> {
    isa: Isa,
    shape: ControlledShape,
    slices: ControlledSlices<'a>,
    trials: Range<usize>,
    weights: &'a Weights,
    saved: &'a ChunkTrace,
    upstream: ControlledUpstream<'a>,
}

impl Task<'_> {
    /// Writes the gradient of the drive, bin by bin.
    fn run(self, mut drive: Vec<&mut [f32]>) -> Sums {
        let n_bins = self.shape.n_bins;
        let rows = self.trials.len();
        let mut sums = self.zero_sums();
        let bins = (BLOCK_ROWS / rows).clamp(1, n_bins);
        let mut block = self.block(bins);
        // Of the factors, by way of the next bin's controller.
        let mut d_factors = Buffer::zeros(rows * self.shape.n_factors);
        for end in (1..=n_bins).rev().step_by(bins) {
            let range = end.saturating_sub(bins)..end;
            self.gather(&range, &mut block);
            for bin in range.clone().rev() {
                let slot = bin - range.start;
                self.read_out_back(bin, slot, &mut d_factors, &mut sums.g, &mut block);
                self.generator_back(bin, slot, &mut sums.g, &mut block);
                self.infer_back(bin, slot, &mut sums.c, &mut block);
                self.controller_back(bin, slot, &mut sums.c, &mut d_factors, &mut block);
            }
            self.add_weights(&range, &block, &mut sums);
            let width = 3 * self.shape.controller;
            let d_gates = block.controller.d_gates.chunks_exact(rows * width);
            for (to, from) in drive[range].iter_mut().zip(d_gates) {
                copy_as_rzn(from, to, self.shape.controller);
            }
        }
        self.initial_back(&d_factors, &mut sums);
        sums
    }

    fn zero_sums(&self) -> Sums {
        let ControlledShape {
            controller,
            generator,
            n_inputs,
            n_factors,
            ..
        } = self.shape;
        let rows = self.trials.len();
        Sums {
            c: Buffer::zeros(rows * controller),
            g: Buffer::zeros(rows * generator),
            feedback: Buffer::zeros(n_factors * 3 * controller),
            controller: self.weights.controller.zero_sums(),
            posterior: Buffer::zeros(2 * n_inputs * controller),
            posterior_bias: Buffer::zeros(2 * n_inputs),
            input: Buffer::zeros(n_inputs * 3 * generator),
            generator: self.weights.generator.zero_sums(),
            factors: Buffer::zeros(n_factors * generator),
        }
    }

    fn block(&self, bins: usize) -> Block {
        let ControlledShape {
            controller,
            generator,
            n_inputs,
            n_factors,
            ..
        } = self.shape;
        let rows = self.trials.len();
        Block {
            controller: self.weights.controller.block(bins, rows),
            generator: self.weights.generator.block(bins, rows),
            control: Buffer::stale((bins + 1) * rows * controller),
            factors: Buffer::stale(bins * rows * n_factors),
            scaled: Buffer::stale(bins * rows * generator),
            inputs: Buffer::stale(bins * rows * n_inputs),
            d_factors: Buffer::stale(bins * rows * n_factors),
            d_posterior: Buffer::stale(bins * rows * 2 * n_inputs),
            d_inputs: Buffer::stale(rows * n_inputs),
            d_scaled: Buffer::stale(rows * generator),
        }
    }

    /// Brings together what a block of bins reads of the run's outputs.
    fn gather(&self, range: &Range<usize>, block: &mut Block) {
        let ControlledShape {
            controller,
            n_factors,
            ..
        } = self.shape;
        let rows = self.trials.len();
        let control = block.control.chunks_exact_mut(rows * controller);
        for (after, to) in (range.start..=range.end).zip(control) {
            to.copy_from_slice(match after {
                0 => self.bin(self.slices.c0, 0, controller),
                _ => self.bin(self.upstream.control, after - 1, controller),
            });
        }
        let factors = block.factors.chunks_exact_mut(rows * n_factors);
        for (bin, to) in range.clone().zip(factors) {
            to.copy_from_slice(match bin {
                0 => &self.saved.initial_factors,
                _ => self.bin(self.upstream.factors[0], bin - 1, n_factors),
            });
        }
        self.gather_inputs(range, &mut block.inputs);
        self.gather_scaled(range, &mut block.scaled);
    }

    fn gather_inputs(&self, range: &Range<usize>, inputs: &mut [f32]) {
        let n_inputs = self.shape.n_inputs;
        let bins = inputs.chunks_exact_mut(self.trials.len() * n_inputs);
        for (bin, inputs) in range.clone().zip(bins) {
            let posterior = self.bin(self.upstream.posterior[0], bin, 2 * n_inputs);
            let noise = self.bin(self.slices.noise, bin, n_inputs);
            draw(self.isa, posterior, noise, n_inputs, inputs);
        }
    }

    fn gather_scaled(&self, range: &Range<usize>, scaled: &mut [f32]) {
        let generator = self.shape.generator;
        let len = self.trials.len() * generator;
        let states = &self.saved.generator[(range.start + 1) * len..(range.end + 1) * len];
        let Some(scale) = self.slices.scale else {
            scaled[..states.len()].copy_from_slice(states);
            return;
        };
        let bins = states.chunks_exact(len).zip(scaled.chunks_exact_mut(len));
        for (bin, (states, scaled)) in range.clone().zip(bins) {
            multiply(self.isa, states, self.bin(scale, bin, generator), scaled);
        }
    }

    /// From the factors of a bin to the generator's states.
    fn read_out_back(
        &self,
        bin: usize,
        slot: usize,
        d_factors: &mut [f32],
        dg: &mut [f32],
        block: &mut Block,
    ) {
        let isa = self.isa;
        let ControlledShape {
            generator,
            n_factors,
            ..
        } = self.shape;
        let upstream = self.bin(self.upstream.factors[1], bin, n_factors);
        gates::add_rows(isa, upstream, n_factors, d_factors, n_factors);
        self.slot(&mut block.d_factors, slot, n_factors)
            .copy_from_slice(d_factors);
        let size = self.size(generator, n_factors);
        let df = Left::rows(d_factors, n_factors);
        let w = Right::Packed(&self.weights.factors);
        let Some(scale) = self.slices.scale else {
            return gemm(isa, size, df, w, dg, generator, Start::Sum);
        };
        let d_scaled = &mut block.d_scaled;
        gemm(isa, size, df, w, d_scaled, generator, Start::Zero);
        let scale = self.bin(scale, bin, generator);
        gates::add_scaled_rows(isa, d_scaled, scale, generator, dg, generator);
    }

    /// Through the generator's step, to its inputs.
    fn generator_back(&self, bin: usize, slot: usize, dg: &mut [f32], block: &mut Block) {
        let (hidden, width) = (self.shape.generator, self.shape.n_inputs);
        let len = dg.len();
        let before = bin.saturating_sub(1);
        let (gates, states) = (&self.saved.generator_gates, &self.saved.generator);
        let saved = SavedStep {
            gates: &gates[bin * 3 * len..(bin + 1) * 3 * len],
            h: &states[bin * len..(bin + 1) * len],
            gates_soon: &gates[before * 3 * len..bin * 3 * len],
            states_soon: &states[before * len..bin * len],
        };
        let cell = &self.weights.generator;
        cell.step(saved, slot, dg, &mut block.generator);
        let d_gates = &block.generator.d_gates[slot * 3 * len..(slot + 1) * 3 * len];
        let size = self.size(width, 3 * hidden);
        let d_gates = Left::rows(d_gates, 3 * hidden);
        let w = Right::Packed(&self.weights.input);
        let d_inputs = &mut block.d_inputs;
        gemm(self.isa, size, d_gates, w, d_inputs, width, Start::Zero);
    }

    /// From the inputs to their posterior, and on to the controller's states.
    fn infer_back(&self, bin: usize, slot: usize, dc: &mut [f32], block: &mut Block) {
        let isa = self.isa;
        let (n_inputs, controller) = (self.shape.n_inputs, self.shape.controller);
        let posterior = self.bin(self.upstream.posterior[0], bin, 2 * n_inputs);
        let upstream = self.bin(self.upstream.posterior[1], bin, 2 * n_inputs);
        let noise = self.bin(self.slices.noise, bin, n_inputs);
        let d_posterior = self.slot(&mut block.d_posterior, slot, 2 * n_inputs);
        d_posterior.copy_from_slice(upstream);
        let d_inputs = &block.d_inputs;
        add_draw_gradient(isa, posterior, noise, n_inputs, d_inputs, d_posterior);
        if let Some(d_control) = self.upstream.d_control {
            let upstream = self.bin(d_control, bin, controller);
            gates::add_rows(isa, upstream, controller, dc, controller);
        }
        let size = self.size(controller, 2 * n_inputs);
        let d_posterior = Left::rows(d_posterior, 2 * n_inputs);
        let w = Right::Packed(&self.weights.posterior);
        gemm(isa, size, d_posterior, w, dc, controller, Start::Sum);
    }

    /// Through the controller's step, to the factors of the bin before.
    fn controller_back(
        &self,
        bin: usize,
        slot: usize,
        dc: &mut [f32],
        d_factors: &mut [f32],
        block: &mut Block,
    ) {
        let (hidden, n_factors) = (self.shape.controller, self.shape.n_factors);
        let len = dc.len();
        let before = bin.saturating_sub(1);
        let gates = &self.saved.controller_gates;
        let saved = SavedStep {
            gates: &gates[bin * 3 * len..(bin + 1) * 3 * len],
            h: &block.control[slot * len..(slot + 1) * len],
            gates_soon: &gates[before * 3 * len..bin * 3 * len],
            states_soon: &[],
        };
        let cell = &self.weights.controller;
        cell.step(saved, slot, dc, &mut block.controller);
        let d_gates = &block.controller.d_gates[slot * 3 * len..(slot + 1) * 3 * len];
        let size = self.size(n_factors, 3 * hidden);
        let d_gates = Left::rows(d_gates, 3 * hidden);
        let w = Right::Packed(&self.weights.feedback);
        gemm(
            self.isa,
            size,
            d_gates,
            w,
            d_factors,
            n_factors,
            Start::Zero,
        );
    }

    /// Adds a block's share to the gradients of the weights.
    fn add_weights(&self, range: &Range<usize>, block: &Block, sums: &mut Sums) {
        let isa = self.isa;
        let ControlledShape {
            controller,
            generator,
            n_inputs,
            n_factors,
            ..
        } = self.shape;
        let rows = self.trials.len();
        let inner = range.len() * rows;
        let len = rows * generator;
        let states = &self.saved.generator[range.start * len..range.end * len];
        let cell = &self.weights.generator;
        cell.add_weights(states, &block.generator, &mut sums.generator);
        let (before, after) = (
            &block.control[..inner * controller],
            &block.control[rows * controller..][..inner * controller],
        );
        let cell = &self.weights.controller;
        cell.add_weights(before, &block.controller, &mut sums.controller);
        let add = |left: &[f32], n_left: usize, right: &[f32], n_right: usize, sum: &mut [f32]| {
            let size = Size {
                rows: n_left,
                columns: n_right,
                inner,
            };
            let (left, right) = (Left::transposed(left, n_left), Right::Rows(right, n_right));
            gemm(isa, size, left, right, sum, n_right, Start::Sum);
        };
        let d_gates = &block.controller.d_gates;
        let (f, width) = (&block.factors, 3 * controller);
        add(f, n_factors, d_gates, width, &mut sums.feedback);
        let d_gates = &block.generator.d_gates;
        let (u, n_u, width) = (&block.inputs, n_inputs, 3 * generator);
        add(u, n_u, d_gates, width, &mut sums.input);
        let (dq, n_q) = (&block.d_posterior[..inner * 2 * n_inputs], 2 * n_inputs);
        add(dq, n_q, after, controller, &mut sums.posterior);
        gates::add_column_sums(isa, dq, &mut sums.posterior_bias);
        let (df, g) = (&block.d_factors, &block.scaled);
        add(df, n_factors, g, generator, &mut sums.factors);
    }

    /// From the factors before the first bin to the generator's first state.
    fn initial_back(&self, d_factors: &[f32], sums: &mut Sums) {
        let ControlledShape {
            generator,
            n_factors,
            ..
        } = self.shape;
        let size = self.size(generator, n_factors);
        let w = Right::Packed(&self.weights.factors);
        let df = Left::rows(d_factors, n_factors);
        gemm(self.isa, size, df, w, &mut sums.g, generator, Start::Sum);
        let size = Size {
            rows: n_factors,
            columns: generator,
            inner: self.trials.len(),
        };
        let g0 = Right::Rows(self.bin(self.slices.g0, 0, generator), generator);
        let df = Left::transposed(d_factors, n_factors);
        let sum = &mut sums.factors;
        gemm(self.isa, size, df, g0, sum, generator, Start::Sum);
    }

    fn size(&self, columns: usize, inner: usize) -> Size {
        Size {
            rows: self.trials.len(),
            columns,
            inner,
        }
    }

    /// One bin's rows of a block.
    fn slot<'b>(&self, block: &'b mut [f32], slot: usize, width: usize) -> &'b mut [f32] {
        let len = self.trials.len() * width;
        &mut block[slot * len..(slot + 1) * len]
    }

    /// This chunk's rows of one bin of `[time, trial, width]`.
    fn bin<'b>(&self, all: &'b [f32], bin: usize, width: usize) -> &'b [f32] {
        let first = (bin * self.shape.n_trials + self.trials.start) * width;
        &all[first..first + self.trials.len() * width]
    }
}

/// Copies gradients of gates in the order n, r, z to the order r, z, n.
fn copy_as_rzn(from: &[f32], to: &mut [f32], hidden: usize) {
    let rows = from.chunks_exact(3 * hidden);
    for (from, to) in rows.zip(to.chunks_exact_mut(3 * hidden)) {
        let (n, rz) = from.split_at(hidden);
        to[..2 * hidden].copy_from_slice(rz);
        to[2 * hidden..].copy_from_slice(n);
    }
}
