//! The backward pass of a gated recurrent unit over a whole sequence.

use std::ops::Range;

use rayon::prelude::*;

use super::cell::{CellBlock, CellGradient, CellSums, SavedStep};
use super::forward::{GruTrace, TaskTrace};
use super::gates::Layout;
use super::gemm::{Left, Packed, Right, Size, Start, gemm};
use super::pool::{Buffer, in_chunks};
use super::readout::{Readout, ReadoutGradient};
use super::simd::Isa;
use super::sparse::{SparseRows, add_sparse_outer};
use super::{BLOCK_ROWS, GruShape, GruSlices, GruSpec, ResetGate, check_len, copy_trials, gates};

/// Gradient of the loss with respect to the outputs of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upstream<'a> {
    /// Of the states of every bin: `[time, trial, direction·hidden]`.
    pub states: Option<&'a [f32]>,
    /// What those were multiplied by, if [`GruTrace::states`] was told so.
    pub scale: Option<&'a [f32]>,
    /// Of the final states: `[trial, direction·hidden]`.
    pub final_states: Option<&'a [f32]>,
    /// Of a readout's result, `[time, trial, output]`, and the readout.
    pub readout: Option<(Readout<'a>, &'a [f32])>,
}

impl Upstream<'_> {
    /// Panics unless every slice is as long as the shape asks for.
    #[track_caller]
    fn check(&self, shape: &GruShape) {
        let rows = shape.n_bins * shape.n_trials;
        let width = shape.n_directions * shape.hidden;
        let wanted = [
            ("upstream.states", self.states, rows * width),
            ("upstream.scale", self.scale, rows * width),
            (
                "upstream.final_states",
                self.final_states,
                shape.n_trials * width,
            ),
        ];
        for (name, slice, expected) in wanted {
            if let Some(slice) = slice {
                check_len(name, slice, expected);
            }
        }
    }
}

/// Gradients of a run; shapes as those of its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct GruGradients<F = f32> {
    /// `[time, trial, input]`, if asked for.
    pub x: Option<Vec<F>>,
    /// `[direction, trial, hidden]`.
    pub h0: Vec<F>,
    /// `[direction, input, 3·hidden]`.
    pub w_in: Vec<F>,
    /// `[direction, hidden, 3·hidden]`.
    pub w_rec: Vec<F>,
    /// `[direction, 3·hidden]`.
    pub b_in: Vec<F>,
    /// `[direction, 3·hidden]`.
    pub b_rec: Vec<F>,
}

/// Differentiates a kept run of [`super::forward`] with the same `isa`, `x` and `weights`;
/// `with_x` asks for the gradient of `x`.
///
/// # Panics
/// If a slice is not as long as the shape asks for, or the trace was not kept.
pub fn backward(
    isa: Isa,
    trace: &GruTrace,
    x: &[f32],
    weights: GruSlices<'_>,
    upstream: Upstream<'_>,
    with_x: bool,
) -> GruGradients {
    let shape = trace.shape;
    check_len("x", x, shape.n_bins * shape.n_trials * shape.n_inputs);
    weights.check(&shape);
    upstream.check(&shape);
    let packed: Vec<Weights> = (0..shape.n_directions)
        .map(|direction| {
            let weights = weights.direction(direction, &shape);
            Weights::pack(isa, &shape, trace.spec, weights, with_x)
        })
        .collect();
    let readout = upstream
        .readout
        .map(|(readout, dy)| ReadoutGradient::new(isa, shape.hidden, readout, dy));
    // Last first: what it saved may still be in the cache.
    let mut parts: Vec<TaskGradients> = trace
        .tasks
        .par_iter()
        .rev()
        .map(|saved| {
            Task::new(isa, trace, saved, &packed[saved.direction]).run(
                x,
                upstream,
                readout.as_ref(),
            )
        })
        .collect();
    parts.reverse();
    GruGradients {
        x: with_x.then(|| sum_inputs(isa, trace, &parts)),
        h0: parts
            .iter()
            .flat_map(|part| part.h0.iter().copied())
            .collect(),
        ..sum_weights(trace, &parts)
    }
}

/// Adds up both directions' gradients of the inputs.
fn sum_inputs(isa: Isa, trace: &GruTrace, parts: &[TaskGradients]) -> Vec<f32> {
    let GruShape {
        n_bins,
        n_trials,
        n_inputs,
        ..
    } = trace.shape;
    let row = n_trials * n_inputs;
    in_chunks(n_bins * row, row, |bin, sum| {
        for (task, part) in trace.tasks.iter().zip(parts) {
            let step = trace.shape.bin(task.direction, bin);
            let len = task.trials.len() * n_inputs;
            let from = &part.x[step * len..(step + 1) * len];
            let to = &mut sum[task.trials.start * n_inputs..][..len];
            gates::add_rows(isa, from, len, to, len);
        }
    })
}

/// Adds up the chunks' gradients of the weights, always in the same order, and puts the gates
/// back in the order r, z, n.
fn sum_weights(trace: &GruTrace, parts: &[TaskGradients]) -> GruGradients {
    let GruShape {
        n_directions,
        n_inputs,
        hidden,
        ..
    } = trace.shape;
    let gates = 3 * hidden;
    let zeros = |rows: usize| vec![0.0; n_directions * rows * gates];
    let (mut w_in, mut w_rec) = (zeros(n_inputs), zeros(hidden));
    let (mut b_in, mut b_rec) = (zeros(1), zeros(1));
    let (rz, n) = (0..2 * hidden, 2 * hidden..gates);
    let recurrent_n = match trace.spec.reset {
        ResetGate::BeforeProduct => 0,
        ResetGate::AfterProduct => gates,
    };
    for (task, part) in trace.tasks.iter().zip(parts) {
        let of = |rows: usize| task.direction * rows * gates..(task.direction + 1) * rows * gates;
        let width = part.recurrent.bias.len();
        let w_in = &mut w_in[of(n_inputs)];
        add_columns(w_in, gates, rz.clone(), &part.input, gates, hidden);
        add_columns(w_in, gates, n.clone(), &part.input, gates, 0);
        let w_rec = &mut w_rec[of(hidden)];
        add_columns(
            w_rec,
            gates,
            rz.clone(),
            &part.recurrent.reset_update,
            2 * hidden,
            0,
        );
        add_columns(
            w_rec,
            gates,
            n.clone(),
            &part.recurrent.candidate,
            hidden,
            0,
        );
        let b_in = &mut b_in[of(1)];
        add_columns(b_in, gates, rz.clone(), &part.recurrent.bias, width, hidden);
        add_columns(b_in, gates, n.clone(), &part.recurrent.bias, width, 0);
        let b_rec = &mut b_rec[of(1)];
        add_columns(
            b_rec,
            gates,
            rz.clone(),
            &part.recurrent.bias,
            width,
            hidden,
        );
        add_columns(
            b_rec,
            gates,
            n.clone(),
            &part.recurrent.bias,
            width,
            recurrent_n,
        );
    }
    GruGradients {
        x: None,
        h0: Vec::new(),
        w_in,
        w_rec,
        b_in,
        b_rec,
    }
}

/// Adds the columns of `from` that begin at `first` to the columns `columns` of `to`.
fn add_columns(
    to: &mut [f32],
    to_stride: usize,
    columns: Range<usize>,
    from: &[f32],
    from_stride: usize,
    first: usize,
) {
    for (to, from) in to
        .chunks_exact_mut(to_stride)
        .zip(from.chunks_exact(from_stride))
    {
        let from = &from[first..first + columns.len()];
        for (sum, value) in to[columns.clone()].iter_mut().zip(from) {
            *sum += value;
        }
    }
}

/// Transposed weights of one direction, packed.
struct Weights {
    /// `[n r z, input]`.
    input: Option<Packed>,
    recurrent: CellGradient,
}

impl Weights {
    fn pack(
        isa: Isa,
        shape: &GruShape,
        spec: GruSpec,
        slices: GruSlices<'_>,
        with_x: bool,
    ) -> Self {
        let hidden = shape.hidden;
        let nrz = [2 * hidden..3 * hidden, 0..2 * hidden];
        Self {
            input: with_x
                .then(|| Packed::of_columns_transposed(isa, slices.w_in, 3 * hidden, &nrz)),
            recurrent: CellGradient::new(isa, spec, hidden, slices.w_rec),
        }
    }
}

/// What one task adds to the gradients; gate columns in the order of [`gates`].
struct TaskGradients {
    /// `[step, trial, input]`, empty if not asked for.
    x: Buffer,
    /// `[trial, hidden]`.
    h0: Buffer,
    /// `[input, n r z]`.
    input: Buffer,
    recurrent: CellSums,
}

/// Intermediate values of a block of steps, `[step, trial, …]`.
struct Block {
    cell: CellBlock,
    /// The inputs.
    x: Buffer,
}

struct Task<'a> {
    isa: Isa,
    shape: GruShape,
    saved: &'a TaskTrace,
    weights: &'a Weights,
    sparse: Option<&'a SparseRows>,
    rows: usize,
    layout: Layout,
}

impl<'a> Task<'a> {
    fn new(isa: Isa, trace: &'a GruTrace, saved: &'a TaskTrace, weights: &'a Weights) -> Self {
        let (shape, layout) = (trace.shape, weights.recurrent.layout());
        Self {
            isa,
            shape,
            saved,
            weights,
            sparse: trace.sparse.as_ref(),
            rows: saved.trials.len(),
            layout,
        }
    }

    fn run(
        self,
        x: &[f32],
        upstream: Upstream<'_>,
        readout: Option<&ReadoutGradient<'_>>,
    ) -> TaskGradients {
        let n_bins = self.shape.n_bins;
        let steps = (BLOCK_ROWS / self.rows).clamp(1, n_bins);
        let mut sums = self.zero_gradients();
        let mut block = self.block(steps);
        for end in (1..=n_bins).rev().step_by(steps) {
            let range = end.saturating_sub(steps)..end;
            for step in range.clone().rev() {
                self.add_upstream(step, upstream, &mut sums.h0);
                if let Some(readout) = readout {
                    let first_row = step * self.shape.n_trials + self.saved.trials.start;
                    readout.add(self.isa, first_row, self.shape.hidden, &mut sums.h0);
                }
                self.step(step, step - range.start, &mut sums.h0, &mut block);
            }
            self.add_block(range, x, &mut block, &mut sums);
        }
        sums
    }

    fn zero_gradients(&self) -> TaskGradients {
        let GruShape {
            n_bins,
            n_inputs,
            hidden,
            ..
        } = self.shape;
        let with_x = self.weights.input.is_some();
        TaskGradients {
            x: Buffer::stale(if with_x {
                n_bins * self.rows * n_inputs
            } else {
                0
            }),
            h0: Buffer::zeros(self.rows * hidden),
            input: Buffer::zeros(n_inputs * 3 * hidden),
            recurrent: self.weights.recurrent.zero_sums(),
        }
    }

    fn block(&self, steps: usize) -> Block {
        Block {
            cell: self.weights.recurrent.block(steps, self.rows),
            x: Buffer::stale(match self.sparse {
                Some(_) => 0,
                None => steps * self.rows * self.shape.n_inputs,
            }),
        }
    }

    /// Adds the loss's own gradient of the state after a step to the one carried back.
    fn add_upstream(&self, step: usize, upstream: Upstream<'_>, dh: &mut [f32]) {
        let GruShape {
            n_bins,
            n_trials,
            hidden,
            n_directions,
            ..
        } = self.shape;
        let stride = n_directions * hidden;
        let first = |bin: usize| {
            let row = bin * n_trials + self.saved.trials.start;
            row * stride + self.saved.direction * hidden
        };
        if let Some(states) = upstream.states {
            let first = first(self.shape.bin(self.saved.direction, step));
            let rows = &states[first..];
            match upstream.scale {
                Some(scale) => {
                    gates::add_scaled_rows(self.isa, rows, &scale[first..], stride, dh, hidden);
                }
                None => gates::add_rows(self.isa, rows, stride, dh, hidden),
            }
        }
        if let Some(finals) = upstream.final_states
            && step + 1 == n_bins
        {
            gates::add_rows(self.isa, &finals[first(0)..], stride, dh, hidden);
        }
    }

    /// Carries `dh` from the state after a step to the state before it.
    fn step(&self, step: usize, slot: usize, dh: &mut [f32], block: &mut Block) {
        let Layout { width, hidden, .. } = self.layout;
        let (len, gate_len) = (self.rows * hidden, self.rows * width);
        let before = step.saturating_sub(1);
        let saved = SavedStep {
            gates: &self.saved.gates[step * gate_len..(step + 1) * gate_len],
            h: &self.saved.states[step * len..(step + 1) * len],
            gates_soon: &self.saved.gates[before * gate_len..step * gate_len],
            states_soon: &self.saved.states[before * len..step * len],
        };
        self.weights
            .recurrent
            .step(saved, slot, dh, &mut block.cell);
    }

    /// Adds a block's share to the gradients of weights, biases and inputs.
    fn add_block(
        &self,
        range: Range<usize>,
        x: &[f32],
        block: &mut Block,
        sums: &mut TaskGradients,
    ) {
        let (isa, width) = (self.isa, self.layout.width);
        let GruShape {
            n_inputs, hidden, ..
        } = self.shape;
        let inner = range.len() * self.rows;
        let d_gates = &block.cell.d_gates[..inner * width];
        let states = &self.saved.states[range.start * self.rows * hidden..][..inner * hidden];
        self.weights
            .recurrent
            .add_weights(states, &block.cell, &mut sums.recurrent);
        match self.sparse {
            Some(x) => self.add_sparse_inputs(range.clone(), x, d_gates, &mut sums.input),
            None if n_inputs > 0 => {
                self.copy_inputs(&range, x, &mut block.x);
                let size = Size {
                    rows: n_inputs,
                    columns: 3 * hidden,
                    inner,
                };
                let x = Left::transposed(&block.x, n_inputs);
                let d_nrz = Right::Rows(d_gates, width);
                gemm(isa, size, x, d_nrz, &mut sums.input, 3 * hidden, Start::Sum);
            }
            None => {}
        }
        if let Some(input) = &self.weights.input {
            let size = Size {
                rows: inner,
                columns: n_inputs,
                inner: 3 * hidden,
            };
            let dx = &mut sums.x[range.start * self.rows * n_inputs..];
            let d_nrz = Left::rows(d_gates, width);
            gemm(
                isa,
                size,
                d_nrz,
                Right::Packed(input),
                dx,
                n_inputs,
                Start::Zero,
            );
        }
    }

    /// Adds a block's share to the gradient of the weights of sparse inputs.
    fn add_sparse_inputs(
        &self,
        range: Range<usize>,
        x: &SparseRows,
        d_gates: &[f32],
        sum: &mut [f32],
    ) {
        let Layout { width, hidden, .. } = self.layout;
        for (step, d_gates) in range.zip(d_gates.chunks_exact(self.rows * width)) {
            let bin = self.shape.bin(self.saved.direction, step);
            let first = bin * self.shape.n_trials + self.saved.trials.start;
            add_sparse_outer(self.isa, x, first, d_gates, width, sum, 3 * hidden);
        }
    }

    /// Brings the inputs of a block's steps together.
    fn copy_inputs(&self, range: &Range<usize>, x: &[f32], block: &mut [f32]) {
        let GruShape {
            n_trials, n_inputs, ..
        } = self.shape;
        let bin = |step| self.shape.bin(self.saved.direction, step);
        let bins = range.clone().map(bin);
        copy_trials(x, n_trials, &self.saved.trials, n_inputs, bins, block);
    }
}
