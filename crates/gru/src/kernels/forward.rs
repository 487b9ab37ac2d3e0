//! The forward pass of a gated recurrent unit over a whole sequence.

use std::ops::Range;

use rayon::prelude::*;

use super::cell::Cell;
use super::gates::Layout;
use super::gemm::{Left, Packed, Right, Size, Start, gemm};
use super::pool::{Buffer, in_chunks};
use super::simd::Isa;
use super::sparse::{SparseRows, sparse_product};
use super::{GruShape, GruSlices, GruSpec, ResetGate, check_len, chunks, copy_columns};

/// States of a run and, if kept, what its backward pass needs.
#[derive(Debug)]
pub struct GruTrace {
    pub(super) shape: GruShape,
    pub(super) spec: GruSpec,
    pub(super) tasks: Vec<TaskTrace>,
    /// The inputs, if most are zero.
    pub(super) sparse: Option<SparseRows>,
}

/// One direction and chunk of trials; steps are counted in reading order.
#[derive(Debug)]
pub(super) struct TaskTrace {
    pub(super) direction: usize,
    pub(super) trials: Range<usize>,
    /// `[step + 1, trial, hidden]`, the first being the initial state.
    pub(super) states: Buffer,
    /// `[step, trial, gate]` in the order of [`gates`], or the last step's alone.
    pub(super) gates: Buffer,
}

impl GruSpec {
    /// How gates of a unit with this many states are stored.
    pub(super) fn layout(self, hidden: usize) -> Layout {
        let width = match self.reset {
            ResetGate::BeforeProduct => 3 * hidden,
            ResetGate::AfterProduct => 4 * hidden,
        };
        Layout {
            width,
            hidden,
            bound: self.clip.unwrap_or(f32::INFINITY),
        }
    }
}

impl GruShape {
    /// The time bin that a direction reads at a step.
    pub(super) fn bin(&self, direction: usize, step: usize) -> usize {
        if direction == 0 {
            step
        } else {
            self.n_bins - 1 - step
        }
    }
}

/// Runs the unit; `keep` says whether [`super::backward`] will follow.
///
/// # Shapes
/// `x`: `[time, trial, input]`, `h0`: `[direction, trial, hidden]`.
/// # Panics
/// If a slice is not as long as the shape asks for.
pub fn forward(
    isa: Isa,
    shape: GruShape,
    spec: GruSpec,
    x: &[f32],
    h0: &[f32],
    weights: GruSlices<'_>,
    keep: bool,
) -> GruTrace {
    check_len("x", x, shape.n_bins * shape.n_trials * shape.n_inputs);
    check_len("h0", h0, shape.n_directions * shape.n_trials * shape.hidden);
    weights.check(&shape);
    let sparse = SparseRows::of(x, shape.n_inputs);
    let packed: Vec<Weights<'_>> = (0..shape.n_directions)
        .map(|direction| {
            let weights = weights.direction(direction, &shape);
            Weights::pack(isa, &shape, spec, weights, x, sparse.as_ref())
        })
        .collect();
    let tasks: Vec<(usize, Range<usize>)> = (0..shape.n_directions)
        .flat_map(|direction| {
            chunks(shape.n_trials)
                .into_iter()
                .map(move |c| (direction, c))
        })
        .collect();
    let run = |(direction, trials): (usize, Range<usize>)| {
        let task = Task {
            isa,
            shape,
            direction,
            trials,
            weights: &packed[direction],
        };
        task.run(h0, keep)
    };
    let tasks = tasks.into_par_iter().map(run).collect();
    GruTrace {
        shape,
        spec,
        tasks,
        sparse,
    }
}

impl GruTrace {
    /// The states of every bin, `[time, trial, direction·hidden]`, times `scale` of the same shape
    /// if there is one.
    ///
    /// # Panics
    /// If `scale` is shorter.
    pub fn states(&self, scale: Option<&[f32]>) -> Vec<f32> {
        let GruShape {
            n_bins,
            n_trials,
            n_directions,
            hidden,
            ..
        } = self.shape;
        let row = n_trials * n_directions * hidden;
        in_chunks(n_bins * row, row, |bin, out| {
            for task in &self.tasks {
                let step = self.shape.bin(task.direction, bin);
                let scale = scale.map(|scale| &scale[bin * row..]);
                task.copy_states(&self.shape, step, scale, out);
            }
        })
    }

    /// The state of each direction after its last step: `[trial, direction·hidden]`.
    pub fn final_states(&self) -> Vec<f32> {
        let GruShape {
            n_bins,
            n_trials,
            n_directions,
            hidden,
            ..
        } = self.shape;
        let mut finals = vec![0.0; n_trials * n_directions * hidden];
        for task in &self.tasks {
            task.copy_states(&self.shape, n_bins - 1, None, &mut finals);
        }
        finals
    }
}

impl TaskTrace {
    /// Copies the states after a step, times `scale`, to their trials and direction of one bin.
    fn copy_states(&self, shape: &GruShape, step: usize, scale: Option<&[f32]>, out: &mut [f32]) {
        let (hidden, stride) = (shape.hidden, shape.n_directions * shape.hidden);
        let len = self.trials.len() * hidden;
        let states = &self.states[(step + 1) * len..(step + 2) * len];
        let first = self.trials.start * stride + self.direction * hidden;
        let out = &mut out[first..];
        let Some(scale) = scale else {
            return copy_columns(states, hidden, hidden, out, stride);
        };
        let rows = states
            .chunks_exact(hidden)
            .zip(scale[first..].chunks(stride));
        for ((states, scale), out) in rows.zip(out.chunks_mut(stride)) {
            for ((state, scale), out) in states.iter().zip(scale).zip(out) {
                *out = state * scale;
            }
        }
    }
}

/// The inputs of a run, `[time·trial, input]`, and their weights.
enum Inputs<'a> {
    /// `[input, n r z]`.
    Dense(&'a [f32], Packed),
    /// `[input, r z n]`.
    Sparse(&'a SparseRows, &'a [f32]),
}

/// Packed weights of one direction.
struct Weights<'a> {
    inputs: Inputs<'a>,
    recurrent: Cell,
    /// Added to the input's share: n, r, z.
    bias: Vec<f32>,
}

impl<'a> Weights<'a> {
    fn pack(
        isa: Isa,
        shape: &GruShape,
        spec: GruSpec,
        slices: GruSlices<'a>,
        x: &'a [f32],
        sparse: Option<&'a SparseRows>,
    ) -> Self {
        let hidden = shape.hidden;
        let (rz, n) = (0..2 * hidden, 2 * hidden..3 * hidden);
        let sum: Vec<f32> = slices
            .b_in
            .iter()
            .zip(slices.b_rec)
            .map(|(a, b)| a + b)
            .collect();
        let n_bias = match spec.reset {
            ResetGate::BeforeProduct => &sum[n.clone()],
            ResetGate::AfterProduct => &slices.b_in[n.clone()],
        };
        let pack =
            |matrix, columns: &[Range<usize>]| Packed::of_columns(isa, matrix, 3 * hidden, columns);
        Self {
            inputs: match sparse {
                Some(sparse) => Inputs::Sparse(sparse, slices.w_in),
                None => Inputs::Dense(x, pack(slices.w_in, &[n.clone(), rz.clone()])),
            },
            recurrent: Cell::new(isa, spec, slices.w_rec, &slices.b_rec[n]),
            bias: [n_bias, &sum[rz]].concat(),
        }
    }
}

struct Task<'a> {
    isa: Isa,
    shape: GruShape,
    direction: usize,
    trials: Range<usize>,
    weights: &'a Weights<'a>,
}

impl Task<'_> {
    fn run(self, h0: &[f32], keep: bool) -> TaskTrace {
        let GruShape {
            n_bins,
            n_trials,
            hidden,
            ..
        } = self.shape;
        let len = self.trials.len() * hidden;
        let gate_len = self.trials.len() * self.weights.recurrent.layout().width;
        let mut states = Buffer::stale((n_bins + 1) * len);
        let mut gates = Buffer::stale(if keep { n_bins * gate_len } else { gate_len });
        let mut reset_h = Buffer::stale(len);
        let first = (self.direction * n_trials + self.trials.start) * hidden;
        states[..len].copy_from_slice(&h0[first..first + len]);
        for step in 0..n_bins {
            let (past, future) = states.split_at_mut((step + 1) * len);
            let (h, next) = (&past[step * len..], &mut future[..len]);
            let slot = if keep { step * gate_len } else { 0 };
            let (gates, soon) = gates[slot..].split_at_mut(gate_len);
            let soon = &soon[..gate_len.min(soon.len())];
            self.add_input(step, gates);
            self.weights
                .recurrent
                .step(h, next, gates, &mut reset_h, soon);
        }
        TaskTrace {
            direction: self.direction,
            trials: self.trials,
            states,
            gates,
        }
    }

    /// n, r, z = bias + x `W_in`.
    fn add_input(&self, step: usize, gates: &mut [f32]) {
        let GruShape {
            n_trials,
            n_inputs,
            hidden,
            ..
        } = self.shape;
        let bin = self.shape.bin(self.direction, step);
        let first = bin * n_trials + self.trials.start;
        let (isa, bias) = (self.isa, &self.weights.bias);
        let layout = self.weights.recurrent.layout();
        match &self.weights.inputs {
            Inputs::Sparse(x, weights) => {
                sparse_product(isa, x, first, weights, bias, gates, layout);
            }
            Inputs::Dense(x, weights) => {
                let size = Size {
                    rows: self.trials.len(),
                    columns: 3 * hidden,
                    inner: n_inputs,
                };
                let x = Left::rows(&x[first * n_inputs..], n_inputs);
                let (right, start) = (Right::Packed(weights), Start::Row(bias));
                gemm(isa, size, x, right, gates, layout.width, start);
            }
        }
    }
}
