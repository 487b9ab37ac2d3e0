//! One step of a gated recurrent unit for a chunk of trials, forward and backward, and the weights'
//! gradients of a block of steps.

use std::slice::from_ref;

use super::gates::{self, Layout};
use super::gemm::{Left, Packed, Right, Size, Start, gemm, gemm_fetching};
use super::pool::Buffer;
use super::simd::Isa;
use super::{GruSpec, ResetGate};

/// The recurrent half of a unit, its weights packed. Gates are in the order of [`gates`].
pub(super) struct Cell {
    isa: Isa,
    reset: ResetGate,
    layout: Layout,
    /// `[hidden, r z]`.
    reset_update: Packed,
    /// `[hidden, n]`.
    candidate: Packed,
    /// Added to q.
    candidate_bias: Vec<f32>,
}

impl Cell {
    /// Of `w_rec`, `[hidden, r z n]`, and the recurrent bias of n, `[hidden]`, which is read where the
    /// reset gate acts after the product.
    pub(super) fn new(isa: Isa, spec: GruSpec, w_rec: &[f32], candidate_bias: &[f32]) -> Self {
        let hidden = candidate_bias.len();
        let pack = |columns| Packed::of_columns(isa, w_rec, 3 * hidden, from_ref(&columns));
        Self {
            isa,
            reset: spec.reset,
            layout: spec.layout(hidden),
            reset_update: pack(0..2 * hidden),
            candidate: pack(2 * hidden..3 * hidden),
            candidate_bias: candidate_bias.to_vec(),
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Takes a step from states `h`, the input's share of the gates lying in `gates`, and meanwhile
    /// fetches what the next one will write.
    pub(super) fn step(
        &self,
        h: &[f32],
        next: &mut [f32],
        gates: &mut [f32],
        reset_h: &mut [f32],
        soon: &[f32],
    ) {
        let (isa, layout) = (self.isa, self.layout);
        let Layout { width, hidden, .. } = layout;
        let rz = Size {
            rows: h.len() / hidden,
            columns: 2 * hidden,
            inner: hidden,
        };
        let n = Size {
            columns: hidden,
            ..rz
        };
        let reset_update = Right::Packed(&self.reset_update);
        let candidate = Right::Packed(&self.candidate);
        let from_state = Left::rows(h, hidden);
        gemm_fetching(
            isa,
            rz,
            from_state,
            reset_update,
            &mut gates[hidden..],
            width,
            Start::Sum,
            soon,
        );
        match self.reset {
            ResetGate::BeforeProduct => {
                gates::open_reset(isa, gates, h, reset_h, layout);
                let reset_h = Left::rows(reset_h, hidden);
                gemm(isa, n, reset_h, candidate, gates, width, Start::Sum);
                gates::step_before_product(isa, gates, h, next, layout);
            }
            ResetGate::AfterProduct => {
                let (q, bias) = (&mut gates[3 * hidden..], &self.candidate_bias);
                gemm(isa, n, from_state, candidate, q, width, Start::Row(bias));
                gates::step_after_product(isa, gates, h, next, layout);
            }
        }
    }
}

/// The way back through a [`Cell`], its weights transposed and packed.
pub(super) struct CellGradient {
    isa: Isa,
    reset: ResetGate,
    layout: Layout,
    /// `[r z, hidden]`.
    reset_update: Packed,
    /// `[n, hidden]`.
    candidate: Packed,
}

/// What a step saved, and what the step before it did: that is fetched meanwhile.
#[derive(Clone, Copy)]
pub(super) struct SavedStep<'a> {
    pub(super) gates: &'a [f32],
    /// States before the step.
    pub(super) h: &'a [f32],
    pub(super) gates_soon: &'a [f32],
    pub(super) states_soon: &'a [f32],
}

/// Intermediate values of a block of steps, `[step, trial, …]`.
pub(super) struct CellBlock {
    /// Gradients of the gates' sums.
    pub(super) d_gates: Buffer,
    /// r⊙h.
    reset_h: Buffer,
    /// Its gradient, of one step.
    d_reset_h: Buffer,
}

/// Gradients of the recurrent weights; gate columns in the order of [`gates`].
pub(super) struct CellSums {
    /// `[hidden, r z]`.
    pub(super) reset_update: Buffer,
    /// `[hidden, n]`.
    pub(super) candidate: Buffer,
    /// n, r, z and, where it exists, q.
    pub(super) bias: Buffer,
}

impl CellGradient {
    /// Of `w_rec`, `[hidden, r z n]`.
    pub(super) fn new(isa: Isa, spec: GruSpec, hidden: usize, w_rec: &[f32]) -> Self {
        let pack =
            |columns| Packed::of_columns_transposed(isa, w_rec, 3 * hidden, from_ref(&columns));
        Self {
            isa,
            reset: spec.reset,
            layout: spec.layout(hidden),
            reset_update: pack(0..2 * hidden),
            candidate: pack(2 * hidden..3 * hidden),
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Space for so many steps of so many trials.
    pub(super) fn block(&self, steps: usize, rows: usize) -> CellBlock {
        let Layout { width, hidden, .. } = self.layout;
        CellBlock {
            d_gates: Buffer::stale(steps * rows * width),
            reset_h: Buffer::stale(steps * rows * hidden),
            d_reset_h: Buffer::stale(rows * hidden),
        }
    }

    pub(super) fn zero_sums(&self) -> CellSums {
        let Layout { width, hidden, .. } = self.layout;
        CellSums {
            reset_update: Buffer::zeros(hidden * 2 * hidden),
            candidate: Buffer::zeros(hidden * hidden),
            bias: Buffer::zeros(width),
        }
    }

    /// Carries `dh` from the state after a step to the state before it, and leaves the gradients of
    /// the gates' sums in a slot of the block.
    pub(super) fn step(
        &self,
        saved: SavedStep<'_>,
        slot: usize,
        dh: &mut [f32],
        block: &mut CellBlock,
    ) {
        let SavedStep {
            gates,
            h,
            gates_soon,
            states_soon,
        } = saved;
        let (isa, layout) = (self.isa, self.layout);
        let Layout { width, hidden, .. } = layout;
        let (len, gate_len) = (h.len(), gates.len());
        let d_gates = &mut block.d_gates[slot * gate_len..(slot + 1) * gate_len];
        let n = Size {
            rows: len / hidden,
            columns: hidden,
            inner: hidden,
        };
        let rz = Size {
            inner: 2 * hidden,
            ..n
        };
        let candidate = Right::Packed(&self.candidate);
        gates::step_gradient(isa, gates, h, dh, d_gates, layout);
        match self.reset {
            ResetGate::BeforeProduct => {
                let reset_h = &mut block.reset_h[slot * len..(slot + 1) * len];
                let d_reset_h = &mut block.d_reset_h;
                let dn = Left::rows(d_gates, width);
                gemm_fetching(
                    isa,
                    n,
                    dn,
                    candidate,
                    d_reset_h,
                    hidden,
                    Start::Zero,
                    states_soon,
                );
                gates::reset_gradient(isa, gates, h, d_reset_h, dh, d_gates, reset_h, layout);
            }
            ResetGate::AfterProduct => {
                let dq = Left::rows(&d_gates[3 * hidden..], width);
                let (start, soon) = (Start::Sum, states_soon);
                gemm_fetching(isa, n, dq, candidate, dh, hidden, start, soon);
            }
        }
        let d_rz = Left::rows(&d_gates[hidden..], width);
        gemm_fetching(
            isa,
            rz,
            d_rz,
            Right::Packed(&self.reset_update),
            dh,
            hidden,
            Start::Sum,
            gates_soon,
        );
    }

    /// Adds the share of a block of steps, `states` being those before each.
    pub(super) fn add_weights(&self, states: &[f32], block: &CellBlock, sums: &mut CellSums) {
        let isa = self.isa;
        let Layout { width, hidden, .. } = self.layout;
        let inner = states.len() / hidden;
        let d_gates = &block.d_gates[..inner * width];
        let states = Left::transposed(states, hidden);
        let (for_n, n_column) = match self.reset {
            ResetGate::BeforeProduct => (Left::transposed(&block.reset_h, hidden), 0),
            ResetGate::AfterProduct => (states, 3 * hidden),
        };
        let rz = Size {
            rows: hidden,
            columns: 2 * hidden,
            inner,
        };
        let d_rz = Right::Rows(&d_gates[hidden..], width);
        let sum = &mut sums.reset_update;
        gemm(isa, rz, states, d_rz, sum, 2 * hidden, Start::Sum);
        let n = Size {
            columns: hidden,
            ..rz
        };
        let dn = Right::Rows(&d_gates[n_column..], width);
        gemm(isa, n, for_n, dn, &mut sums.candidate, hidden, Start::Sum);
        gates::add_column_sums(isa, d_gates, &mut sums.bias);
    }
}
