//! Gated recurrent units over whole sequences.

#[cfg(feature = "flex")]
use std::sync::Arc;

#[cfg(feature = "flex")]
use burn::backend::{Dispatch, DispatchTensor};
use burn::tensor::Tensor;

use super::arguments::GruWeights;
#[cfg(feature = "flex")]
use super::checks::has_fused;
use super::checks::{check, check_scale};
#[cfg(feature = "flex")]
use super::fused::{FusedGru, Output, Outputs, outputs_of};
use super::plain;
use crate::kernels::GruSpec;

/// Runs a gated recurrent unit over a whole sequence, in one or two directions.
///
/// Direction 0 reads forward in time, direction 1 backward: its state at bin t has read
/// `x[t..]`, so the final states are the *last* bin of the first half of the last axis and the
/// *first* bin of the second half. Gradients flow to `x`, `h0` and every weight; that of an
/// untracked `x` is not computed. The states are multiplied by `scale`, as dropout does, on their
/// way out, not within the recurrence.
///
/// # Shapes
/// `x`: `[time, trial, input]`, `h0`: `[direction, trial, hidden]`, `scale` and result:
/// `[time, trial, direction·hidden]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
/// # Source
/// Cho et al. 2014, equations 5–8.
pub fn gru_sequence(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
    scale: Option<Vec<f32>>,
) -> Tensor<3> {
    check_gru(&x, &h0, &weights);
    let [n_bins, n_trials, _] = x.dims();
    let [n_directions, _, hidden] = h0.dims();
    check_scale(scale.as_deref(), [n_bins, n_trials, n_directions * hidden]);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        return Tensor::from_dispatch(run_gru(x, h0, weights, spec, Output::EveryBin(scale)));
    }
    plain::gru_sequence(x, h0, weights, spec, scale)
}

/// Runs a gated recurrent unit over a whole sequence and returns the state of each direction
/// after its last step; cheaper than slicing [`gru_sequence`].
///
/// # Shapes
/// As for [`gru_sequence`]; result: `[trial, direction·hidden]`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gru_final_states(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
) -> Tensor<2> {
    check_gru(&x, &h0, &weights);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        return Tensor::from_dispatch(run_gru(x, h0, weights, spec, Output::FinalStates));
    }
    plain::gru_final_states(x, h0, weights, spec)
}

/// Runs a gated recurrent unit over a whole sequence and returns the states of every bin and the
/// final ones, as [`gru_sequence`] and [`gru_final_states`] do.
///
/// # Shapes
/// As for those.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gru_sequence_and_final_states(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
) -> (Tensor<3>, Tensor<2>) {
    check_gru(&x, &h0, &weights);
    #[cfg(feature = "flex")]
    if has_fused(&x) {
        let outputs = Arc::new(Outputs::default());
        let tie = <Dispatch as FusedGru>::gru_both(
            x.into_dispatch(),
            h0.into_dispatch(),
            weights.w_in.into_dispatch(),
            weights.w_rec.into_dispatch(),
            weights.b_in.into_dispatch(),
            weights.b_rec.into_dispatch(),
            spec,
            outputs.clone(),
        );
        let [states, finals] = outputs_of(&tie, &outputs);
        return (Tensor::from_dispatch(states), Tensor::from_dispatch(finals));
    }
    plain::gru_sequence_and_final_states(x, h0, weights, spec)
}

/// Runs a gated recurrent unit without inputs from its initial state and maps its states to
/// outputs, as the LFADS generator to its factors: `y_t` = (`scale_t` ⊙ `h_t`) `W_out`. The scale, as
/// dropout needs it, does not act within the recurrence.
///
/// # Shapes
/// `h0`: `[trial, hidden]`, `w_rec`: `[hidden, 3·hidden]`, `bias`: `[3·hidden]`, gate order
/// r, z, n; `w_out`: `[hidden, output]`, `scale`: `[time, trial, hidden]`, result:
/// `[time, trial, output]`, of the bins 1..=`n_bins` after `h0`.
/// # Panics
/// If a shape disagrees with the others, naming it.
pub fn gru_generate(
    h0: Tensor<2>,
    w_rec: Tensor<2>,
    bias: Tensor<1>,
    w_out: Tensor<2>,
    n_bins: usize,
    spec: GruSpec,
    scale: Option<Vec<f32>>,
) -> Tensor<3> {
    let [n_trials, hidden] = h0.dims();
    assert!(n_bins > 0, "gru_generate needs at least one bin");
    check("w_rec", w_rec.dims(), [hidden, 3 * hidden]);
    check("bias", bias.dims(), [3 * hidden]);
    check("w_out", w_out.dims(), [hidden, w_out.dims()[1]]);
    check_scale(scale.as_deref(), [n_bins, n_trials, hidden]);
    #[cfg(feature = "flex")]
    if has_fused(&h0) {
        return Tensor::from_dispatch(<Dispatch as FusedGru>::generate(
            h0.into_dispatch(),
            w_rec.into_dispatch(),
            bias.into_dispatch(),
            w_out.into_dispatch(),
            n_bins,
            spec,
            scale,
        ));
    }
    plain::gru_generate(h0, w_rec, bias, w_out, n_bins, spec, scale)
}

#[cfg(feature = "flex")]
fn run_gru(
    x: Tensor<3>,
    h0: Tensor<3>,
    weights: GruWeights,
    spec: GruSpec,
    output: Output,
) -> DispatchTensor {
    <Dispatch as FusedGru>::gru(
        x.into_dispatch(),
        h0.into_dispatch(),
        weights.w_in.into_dispatch(),
        weights.w_rec.into_dispatch(),
        weights.b_in.into_dispatch(),
        weights.b_rec.into_dispatch(),
        spec,
        output,
    )
}

fn check_gru(x: &Tensor<3>, h0: &Tensor<3>, weights: &GruWeights) {
    let [n_bins, n_trials, n_inputs] = x.dims();
    let [n_directions, _, hidden] = h0.dims();
    assert!(
        n_bins > 0 && (1..=2).contains(&n_directions),
        "a gated recurrent unit needs at least one bin and one or two directions, got x {:?} and \
         h0 {:?}",
        x.dims(),
        h0.dims()
    );
    check("h0", h0.dims(), [n_directions, n_trials, hidden]);
    check(
        "w_in",
        weights.w_in.dims(),
        [n_directions, n_inputs, 3 * hidden],
    );
    check(
        "w_rec",
        weights.w_rec.dims(),
        [n_directions, hidden, 3 * hidden],
    );
    check("b_in", weights.b_in.dims(), [n_directions, 3 * hidden]);
    check("b_rec", weights.b_rec.dims(), [n_directions, 3 * hidden]);
}
