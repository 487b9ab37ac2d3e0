//! The operations on burn's flex backend, each one node of the differentiation graph.

// An operation's tensors must be arguments of their own to be routed to their backend.
#![allow(clippy::too_many_arguments)]

use std::sync::atomic::{AtomicU64, Ordering};

use burn::backend::TensorMetadata;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::flex::{Flex, FlexTensor};
use burn::tensor::TensorData;

mod affine;
mod controlled;
mod elementwise;
mod outputs;
mod recurrent;
mod spike_loop;

pub(super) use affine::FusedAffine;
pub(super) use controlled::FusedControlled;
pub(super) use elementwise::FusedElementwise;
pub(super) use outputs::{Outputs, outputs_of};
pub(super) use recurrent::{FusedGru, Output};
pub(super) use spike_loop::FusedSpikeLoop;

static RUNS: AtomicU64 = AtomicU64::new(0);

/// Forward passes that ran here so far.
pub(super) fn runs() -> u64 {
    RUNS.load(Ordering::Relaxed)
}

/// Counts a forward pass.
fn count_run() {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// Hands a gradient to a parent, if it is tracked.
fn register<const D: usize>(
    grads: &mut Gradients,
    parent: Option<NodeId>,
    gradient: Vec<f32>,
    shape: [usize; D],
) {
    if let Some(parent) = parent {
        grads.register::<Flex>(parent, from_vec(gradient, shape));
    }
}

fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Numbers in the shape of another tensor.
fn like(values: Vec<f32>, tensor: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, tensor.shape()))
}

/// The numbers of a contiguous tensor.
///
/// # Panics
/// If it is strided or not `f32`: callers make it contiguous, and check the type.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a contiguous f32 tensor")
}
