//! Linear maps of a run's states, read where the run left them.

use std::ops::Range;

use rayon::prelude::*;

use super::forward::{GruTrace, TaskTrace};
use super::gates;
use super::gemm::{Left, Packed, Right, Size, Start, gemm};
use super::pool::{Buffer, in_chunks};
use super::simd::{Isa, Simd, dispatch, vectors};
use super::{BLOCK_ROWS, GruShape, copy_trials};

/// Bins that a task maps together.
const TASK_BINS: usize = 25;

/// y = (scale ⊙ h) W of the states of every bin, for runs of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Readout<'a> {
    /// What the states are multiplied by, as dropout does: `[time, trial, hidden]`.
    pub scale: Option<&'a [f32]>,
    /// `[hidden, output]`.
    pub w: &'a [f32],
}

impl Readout<'_> {
    fn n_outputs(&self, hidden: usize) -> usize {
        self.w.len() / hidden
    }
}

impl GruTrace {
    /// The readout of every bin: `[time, trial, output]`.
    ///
    /// # Panics
    /// If the run has two directions, or a slice is shorter than the shape needs.
    pub fn readout(&self, isa: Isa, readout: Readout<'_>) -> Vec<f32> {
        let GruShape {
            n_bins,
            n_trials,
            hidden,
            ..
        } = self.shape;
        let n_outputs = readout.n_outputs(hidden);
        let w = Packed::new(isa, readout.w, n_outputs);
        let row = n_trials * n_outputs;
        in_chunks(n_bins * row, TASK_BINS * row, |chunk, y| {
            for (bin, y) in (chunk * TASK_BINS..).zip(y.chunks_exact_mut(row)) {
                for task in &self.tasks {
                    let states = States::of(task, hidden, bin..bin + 1);
                    let mut scaled = Buffer::stale(states.values.len());
                    let size = Size {
                        rows: task.trials.len(),
                        columns: n_outputs,
                        inner: hidden,
                    };
                    let h = states.scaled(isa, readout.scale, n_trials, &mut scaled);
                    let y = &mut y[task.trials.start * n_outputs..];
                    let h = Left::rows(h, hidden);
                    gemm(isa, size, h, Right::Packed(&w), y, n_outputs, Start::Zero);
                }
            }
        })
    }

    /// Gradient of the readout's weights, `[hidden, output]`, from that of its result.
    ///
    /// # Panics
    /// As [`Self::readout`].
    pub fn readout_gradient(&self, isa: Isa, readout: Readout<'_>, dy: &[f32]) -> Vec<f32> {
        let GruShape {
            n_bins,
            n_trials,
            hidden,
            ..
        } = self.shape;
        let n_outputs = readout.n_outputs(hidden);
        // Transposed, [output, hidden]: tiles are wide, and outputs may be few.
        let sum_task = |task: &TaskTrace| {
            let rows = task.trials.len();
            let bins = (BLOCK_ROWS / rows).clamp(1, n_bins);
            let mut sum = Buffer::zeros(n_outputs * hidden);
            let mut scaled = Buffer::stale(bins * rows * hidden);
            let mut block = Buffer::stale(bins * rows * n_outputs);
            for first in (0..n_bins).step_by(bins) {
                let range = first..(first + bins).min(n_bins);
                let states = States::of(task, hidden, range.clone());
                let size = Size {
                    rows: n_outputs,
                    columns: hidden,
                    inner: range.len() * rows,
                };
                copy_trials(dy, n_trials, &task.trials, n_outputs, range, &mut block);
                let h = states.scaled(isa, readout.scale, n_trials, &mut scaled);
                let dy = Left::transposed(&block, n_outputs);
                let h = Right::Rows(h, hidden);
                gemm(isa, size, dy, h, &mut sum, hidden, Start::Sum);
            }
            sum
        };
        let sums: Vec<Buffer> = self.tasks.par_iter().map(sum_task).collect();
        let mut dw = vec![0.0; hidden * n_outputs];
        for sum in &sums {
            for (output, row) in sum.chunks_exact(hidden).enumerate() {
                let column = dw[output..].iter_mut().step_by(n_outputs);
                for (total, value) in column.zip(row) {
                    *total += value;
                }
            }
        }
        dw
    }
}

/// The states of one chunk of trials after some steps.
struct States<'a> {
    task: &'a TaskTrace,
    first_bin: usize,
    hidden: usize,
    /// `[step, trial, hidden]`.
    values: &'a [f32],
}

impl<'a> States<'a> {
    fn of(task: &'a TaskTrace, hidden: usize, bins: Range<usize>) -> Self {
        assert_eq!(task.direction, 0, "readouts are of runs of one direction");
        let len = task.trials.len() * hidden;
        Self {
            task,
            first_bin: bins.start,
            hidden,
            // The first states are those before the first bin.
            values: &task.states[(bins.start + 1) * len..(bins.end + 1) * len],
        }
    }

    /// The states times `scale`, `[time, trial, hidden]`, if there is one; those go to `buffer`.
    fn scaled<'b>(
        &self,
        isa: Isa,
        scale: Option<&[f32]>,
        n_trials: usize,
        buffer: &'b mut [f32],
    ) -> &'b [f32]
    where
        'a: 'b,
    {
        let Some(scale) = scale else {
            return self.values;
        };
        let (trials, hidden) = (&self.task.trials, self.hidden);
        let len = trials.len() * hidden;
        let steps = self.values.chunks_exact(len);
        for ((bin, values), to) in (self.first_bin..)
            .zip(steps)
            .zip(buffer.chunks_exact_mut(len))
        {
            let first = (bin * n_trials + trials.start) * hidden;
            multiply(isa, values, &scale[first..first + len], to);
        }
        &buffer[..self.values.len()]
    }
}

/// What a readout adds to the gradient of the states, step by step.
pub(super) struct ReadoutGradient<'a> {
    readout: Readout<'a>,
    dy: &'a [f32],
    /// Wᵀ.
    w: Packed,
    n_outputs: usize,
}

impl<'a> ReadoutGradient<'a> {
    pub(super) fn new(isa: Isa, hidden: usize, readout: Readout<'a>, dy: &'a [f32]) -> Self {
        let n_outputs = readout.n_outputs(hidden);
        Self {
            readout,
            dy,
            w: Packed::transposed(isa, readout.w, n_outputs),
            n_outputs,
        }
    }

    /// dh += scale ⊙ (dy Wᵀ) for rows of `hidden` from `first_row` on, of `[time·trial]`.
    pub(super) fn add(&self, isa: Isa, first_row: usize, hidden: usize, dh: &mut [f32]) {
        let size = Size {
            rows: dh.len() / hidden,
            columns: hidden,
            inner: self.n_outputs,
        };
        let dy = Left::rows(&self.dy[first_row * self.n_outputs..], self.n_outputs);
        let w = Right::Packed(&self.w);
        match self.readout.scale {
            None => gemm(isa, size, dy, w, dh, hidden, Start::Sum),
            Some(scale) => {
                let mut unscaled = Buffer::stale(dh.len());
                gemm(isa, size, dy, w, &mut unscaled, hidden, Start::Zero);
                let scale = &scale[first_row * hidden..][..dh.len()];
                gates::add_scaled_rows(isa, &unscaled, scale, hidden, dh, hidden);
            }
        }
    }
}

dispatch! {
    /// Element by element.
    pub fn multiply(a: &[f32], b: &[f32], to: &mut [f32]) = multiply_body
}

#[inline(always)]
fn multiply_body<S: Simd>(simd: S, a: &[f32], b: &[f32], to: &mut [f32]) {
    vectors!(S, to.len(), |at| {
        let product = simd.mul(simd.load(&a[at.clone()]), simd.load(&b[at.clone()]));
        simd.store(product, &mut to[at]);
    });
}
