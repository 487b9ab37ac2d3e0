//! Affine maps of sequences.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};

use super::{count_run, from_vec, register, values};
use crate::kernels::{self, AffineShape, Isa, Offset};

/// Affine maps of the last axis. Arguments are checked by the callers.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait FusedAffine: Backend {
    fn affine(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        offset: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl FusedAffine for Flex {
    fn affine(x: FlexTensor, w: FlexTensor, offset: FlexTensor) -> FlexTensor {
        AffineRun::new(x, w).forward(&offset.to_contiguous())
    }
}

impl<C: CheckpointStrategy> FusedAffine for Autodiff<Flex, C> {
    fn affine(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        offset: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (w, w_node)) = (x.into_parts(), w.into_parts());
        let (offset, offset_node) = offset.into_parts();
        let run = AffineRun::new(x, w);
        let out = run.forward(&offset.to_contiguous());
        match AffineBackward
            .prepare::<C>([x_node, w_node, offset_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish((run, is_row(&offset)), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }
}

/// Whether an offset is the same for all rows.
fn is_row(offset: &FlexTensor) -> bool {
    offset.shape()[0] * offset.shape()[1] == 1
}

/// Arguments of an affine map, contiguous.
#[derive(Clone, Debug)]
struct AffineRun {
    x: FlexTensor,
    w: FlexTensor,
    shape: AffineShape,
}

impl AffineRun {
    fn new(x: FlexTensor, w: FlexTensor) -> Self {
        let (rows, weights) = (x.shape(), w.shape());
        Self {
            shape: AffineShape {
                n_rows: rows[0] * rows[1],
                n_inputs: weights[0],
                n_outputs: weights[1],
            },
            x: x.to_contiguous(),
            w: w.to_contiguous(),
        }
    }

    fn forward(&self, offset: &FlexTensor) -> FlexTensor {
        let added = match is_row(offset) {
            true => Offset::Row(values(offset)),
            false => Offset::Every(values(offset)),
        };
        count_run();
        let (x, w) = (values(&self.x), values(&self.w));
        let y = kernels::affine(Isa::best(), self.shape, x, w, added);
        let sizes = self.x.shape();
        from_vec(y, [sizes[0], sizes[1], self.shape.n_outputs])
    }
}

#[derive(Debug)]
struct AffineBackward;

impl Backward<Flex, 3> for AffineBackward {
    /// The run, and whether the offset was a row.
    type State = (AffineRun, bool);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (run, offset_is_row) = ops.state;
        let [x, w, offset] = ops.parents.map(|parent| parent.map(|node| node.id));
        let got = kernels::affine_gradient(
            Isa::best(),
            run.shape,
            values(&run.x),
            values(&run.w),
            values(&upstream),
            x.is_some(),
        );
        let AffineShape {
            n_inputs,
            n_outputs,
            ..
        } = run.shape;
        let sizes = run.x.shape();
        register(
            grads,
            x,
            got.x.unwrap_or_default(),
            [sizes[0], sizes[1], n_inputs],
        );
        register(grads, w, got.w, [n_inputs, n_outputs]);
        match offset {
            Some(offset) if !offset_is_row => grads.register::<Flex>(offset, upstream),
            offset => register(grads, offset, got.row, [1, 1, n_outputs]),
        }
    }
}
