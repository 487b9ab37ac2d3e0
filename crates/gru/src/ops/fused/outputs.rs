//! Operations of several outputs.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, backend_extension};

use super::{from_vec, register};

/// Takes an output of an operation that has several.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait FusedOutputs: Backend {
    /// `tie` is what the operation returned, the number that stands for it in the
    /// differentiation graph.
    fn output(tie: FloatTensor<Self>, outputs: Arc<Outputs>, which: Which) -> FloatTensor<Self>;
}

/// The outputs of an operation that has up to three, and on the way back their gradients. Burn knows
/// operations of one output only; slices of a joint one would cost a full-size gradient each.
#[derive(Debug, Default)]
pub(in crate::ops) struct Outputs {
    values: [Mutex<Option<FlexTensor>>; 3],
    gradients: [Mutex<Option<FlexTensor>>; 3],
}

/// Index of an output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    First = 0,
    Second = 1,
    Third = 2,
}

impl Outputs {
    pub(super) fn put_value(&self, which: Which, value: FlexTensor) {
        put(&self.values[which as usize], value);
    }

    fn value(&self, which: Which) -> FlexTensor {
        take(&self.values[which as usize])
            .expect("the operation has run and each output is taken once")
    }

    /// Gradient of an output, 0 if the loss does not depend on it.
    pub(super) fn gradient<const D: usize>(&self, which: Which, shape: [usize; D]) -> FlexTensor {
        self.gradient_if_any(which)
            .unwrap_or_else(|| from_vec(vec![0.0; shape.iter().product()], shape))
    }

    /// Gradient of an output, if the loss depends on it.
    pub(super) fn gradient_if_any(&self, which: Which) -> Option<FlexTensor> {
        take(&self.gradients[which as usize])
    }
}

/// The first N outputs of an operation that returned `tie`.
pub(in crate::ops) fn outputs_of<const N: usize>(
    tie: &DispatchTensor,
    outputs: &Arc<Outputs>,
) -> [DispatchTensor; N] {
    const ALL: [Which; 3] = [Which::First, Which::Second, Which::Third];
    std::array::from_fn(|n| {
        <Dispatch as FusedOutputs>::output(tie.clone(), outputs.clone(), ALL[n])
    })
}

fn take(slot: &Mutex<Option<FlexTensor>>) -> Option<FlexTensor> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put(slot: &Mutex<Option<FlexTensor>>, tensor: FlexTensor) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(tensor);
}

impl FusedOutputs for Flex {
    fn output(_: FlexTensor, outputs: Arc<Outputs>, which: Which) -> FlexTensor {
        outputs.value(which)
    }
}

impl<C: CheckpointStrategy> FusedOutputs for Autodiff<Flex, C> {
    fn output(tie: FloatTensor<Self>, outputs: Arc<Outputs>, which: Which) -> FloatTensor<Self> {
        let (_, node) = tie.into_parts();
        let value = outputs.value(which);
        match OutputBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish((outputs, which), value),
            OpsKind::UnTracked(prepared) => prepared.finish(value),
        }
    }
}

#[derive(Debug)]
struct OutputBackward;

impl Backward<Flex, 1> for OutputBackward {
    type State = (Arc<Outputs>, Which);

    /// Lays the gradient aside for the operation's own backward pass, which runs once all
    /// outputs have done so.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (outputs, which) = ops.state;
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        put(&outputs.gradients[which as usize], upstream);
        let [tie] = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, tie, vec![0.0], [1]);
    }
}
