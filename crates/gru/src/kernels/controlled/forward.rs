//! The loop, forward.

use std::ops::Range;

use rayon::prelude::*;

use super::elementwise::draw;
use super::{ChunkTrace, ControlledOutput, ControlledShape, ControlledSlices, ControlledTrace};
use crate::kernels::cell::Cell;
use crate::kernels::gemm::{Left, Packed, Right, Size, Start, gemm};
use crate::kernels::pool::Buffer;
use crate::kernels::readout::multiply;
use crate::kernels::simd::Isa;
use crate::kernels::{by_chunk, chunks};

/// Runs the loop.
///
/// # Panics
/// If a slice is not as long as the shape asks for.
pub fn controlled(
    isa: Isa,
    shape: ControlledShape,
    slices: ControlledSlices<'_>,
) -> ControlledOutput {
    slices.check(&shape);
    let weights = Weights::pack(isa, &shape, &slices);
    let rows = shape.n_bins * shape.n_trials;
    let mut factors = vec![0.0; rows * shape.n_factors];
    let mut posterior = vec![0.0; rows * 2 * shape.n_inputs];
    let mut control = vec![0.0; rows * shape.controller];
    let outputs = by_chunk(&mut factors, shape.n_trials, shape.n_factors)
        .into_iter()
        .zip(by_chunk(&mut posterior, shape.n_trials, 2 * shape.n_inputs))
        .zip(by_chunk(&mut control, shape.n_trials, shape.controller));
    let tasks: Vec<_> = chunks(shape.n_trials).into_iter().zip(outputs).collect();
    let run = |(trials, ((factors, posterior), control))| {
        let task = Task {
            isa,
            shape,
            slices,
            trials,
            weights: &weights,
        };
        let outputs = Outputs {
            factors,
            posterior,
            control,
        };
        task.run(outputs)
    };
    let chunks = tasks.into_par_iter().map(run).collect();
    ControlledOutput {
        factors,
        posterior,
        control,
        trace: ControlledTrace(chunks),
    }
}

/// Weights, packed; gates in the order n, r, z.
struct Weights {
    /// `[factor, n r z]`.
    feedback: Packed,
    controller: Cell,
    /// `[controller, 2·input]`.
    posterior: Packed,
    /// `[input, n r z]`.
    input: Packed,
    generator: Cell,
    /// n, r, z.
    generator_bias: Vec<f32>,
    /// `[generator, factor]`.
    factors: Packed,
}

impl Weights {
    fn pack(isa: Isa, shape: &ControlledShape, slices: &ControlledSlices<'_>) -> Self {
        let (controller, generator) = (shape.controller, shape.generator);
        let gates = |matrix, hidden: usize| {
            let nrz = [2 * hidden..3 * hidden, 0..2 * hidden];
            Packed::of_columns(isa, matrix, 3 * hidden, &nrz)
        };
        let cell = |w_rec, hidden: usize| Cell::new(isa, slices.spec(), w_rec, &vec![0.0; hidden]);
        let (rz, n) = slices.b_generator.split_at(2 * generator);
        Self {
            feedback: gates(slices.w_feedback, controller),
            controller: cell(slices.w_controller, controller),
            posterior: Packed::new(isa, slices.w_posterior, 2 * shape.n_inputs),
            input: gates(slices.w_input, generator),
            generator: cell(slices.w_generator, generator),
            generator_bias: [n, rz].concat(),
            factors: Packed::new(isa, slices.w_factors, shape.n_factors),
        }
    }
}

/// A chunk's rows of the outputs, bin by bin.
struct Outputs<'a> {
    factors: Vec<&'a mut [f32]>,
    posterior: Vec<&'a mut [f32]>,
    control: Vec<&'a mut [f32]>,
}

struct Task<'a> {
    isa: Isa,
    shape: ControlledShape,
    slices: ControlledSlices<'a>,
    trials: Range<usize>,
    weights: &'a Weights,
}

impl Task<'_> {
    fn run(self, mut outputs: Outputs<'_>) -> ChunkTrace {
        let ControlledShape {
            n_bins,
            controller,
            generator,
            n_factors,
            ..
        } = self.shape;
        let rows = self.trials.len();
        let len = rows * generator;
        let mut trace = ChunkTrace {
            controller_gates: Buffer::stale(n_bins * rows * 3 * controller),
            generator_gates: Buffer::stale(n_bins * 3 * len),
            generator: Buffer::stale((n_bins + 1) * len),
            initial_factors: Buffer::stale(rows * n_factors),
        };
        let c0 = self.bin(self.slices.c0, 0, controller);
        trace.generator[..len].copy_from_slice(self.bin(self.slices.g0, 0, generator));
        self.read_out(&trace.generator[..len], &mut trace.initial_factors);
        let mut inputs = Buffer::stale(rows * self.shape.n_inputs);
        let mut reset = Buffer::stale(rows * controller.max(generator));
        let mut scaled = Buffer::stale(len);
        let gates = trace
            .controller_gates
            .chunks_exact_mut(rows * 3 * controller)
            .zip(trace.generator_gates.chunks_exact_mut(3 * len));
        for (bin, (controller_gates, generator_gates)) in gates.enumerate() {
            let (past, now) = outputs.factors.split_at_mut(bin);
            let f = past.last().map_or(&*trace.initial_factors, |f| &**f);
            let (past, now_control) = outputs.control.split_at_mut(bin);
            let c = past.last().map_or(c0, |c| &**c);
            self.control(bin, f, controller_gates);
            let reset_c = &mut reset[..rows * controller];
            let cell = &self.weights.controller;
            cell.step(c, now_control[0], controller_gates, reset_c, &[]);
            let posterior = &mut *outputs.posterior[bin];
            self.infer(bin, now_control[0], posterior, &mut inputs);
            self.add_inputs(&inputs, generator_gates);
            let (past, future) = trace.generator.split_at_mut((bin + 1) * len);
            let (g, next) = (&past[bin * len..], &mut future[..len]);
            let cell = &self.weights.generator;
            cell.step(g, next, generator_gates, &mut reset[..len], &[]);
            match self.slices.scale {
                Some(scale) => {
                    multiply(self.isa, next, self.bin(scale, bin, generator), &mut scaled);
                    self.read_out(&scaled, now[0]);
                }
                None => self.read_out(next, now[0]),
            }
        }
        trace
    }

    /// What drives the controller in a bin, after the factors of the bin before.
    fn control(&self, bin: usize, f: &[f32], gates: &mut [f32]) {
        let (hidden, n_factors) = (self.shape.controller, self.shape.n_factors);
        let drive = self.bin(self.slices.drive, bin, 3 * hidden);
        for (row, drive) in gates
            .chunks_exact_mut(3 * hidden)
            .zip(drive.chunks_exact(3 * hidden))
        {
            let (rz, n) = drive.split_at(2 * hidden);
            row[..hidden].copy_from_slice(n);
            row[hidden..].copy_from_slice(rz);
        }
        let size = self.size(3 * hidden, n_factors);
        let (f, w) = (
            Left::rows(f, n_factors),
            Right::Packed(&self.weights.feedback),
        );
        gemm(self.isa, size, f, w, gates, 3 * hidden, Start::Sum);
    }

    /// The posterior of the inputs and a sample of it.
    fn infer(&self, bin: usize, c: &[f32], posterior: &mut [f32], inputs: &mut [f32]) {
        let (n_inputs, controller) = (self.shape.n_inputs, self.shape.controller);
        let size = self.size(2 * n_inputs, controller);
        let (c, w) = (
            Left::rows(c, controller),
            Right::Packed(&self.weights.posterior),
        );
        let start = Start::Row(self.slices.b_posterior);
        gemm(self.isa, size, c, w, posterior, 2 * n_inputs, start);
        let noise = self.bin(self.slices.noise, bin, n_inputs);
        draw(self.isa, posterior, noise, n_inputs, inputs);
    }

    /// n, r, z = bias + inputs `W_input`.
    fn add_inputs(&self, inputs: &[f32], gates: &mut [f32]) {
        let (width, columns) = (self.shape.n_inputs, 3 * self.shape.generator);
        let size = self.size(columns, width);
        let w = Right::Packed(&self.weights.input);
        let start = Start::Row(&self.weights.generator_bias);
        let inputs = Left::rows(inputs, width);
        gemm(self.isa, size, inputs, w, gates, columns, start);
    }

    fn read_out(&self, g: &[f32], factors: &mut [f32]) {
        let ControlledShape {
            generator,
            n_factors,
            ..
        } = self.shape;
        let size = self.size(n_factors, generator);
        let (g, w) = (
            Left::rows(g, generator),
            Right::Packed(&self.weights.factors),
        );
        gemm(self.isa, size, g, w, factors, n_factors, Start::Zero);
    }

    fn size(&self, columns: usize, inner: usize) -> Size {
        Size {
            rows: self.trials.len(),
            columns,
            inner,
        }
    }

    /// This chunk's rows of one bin of `[time, trial, width]`.
    fn bin<'b>(&self, all: &'b [f32], bin: usize, width: usize) -> &'b [f32] {
        let first = (bin * self.shape.n_trials + self.trials.start) * width;
        &all[first..first + self.trials.len() * width]
    }
}
