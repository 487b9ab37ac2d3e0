//! The generator with its controller.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};

use super::outputs::{Outputs, Which};
use super::{count_run, from_vec, like, values};
use crate::kernels::{
    self, ControlledShape, ControlledSlices, ControlledTrace, ControlledUpstream, Isa,
};

/// The generator with its controller. Arguments are checked by the callers.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait FusedControlled: Backend {
    /// Leaves factors, posterior and controller states in `outputs`; returns what ties them to this
    /// operation.
    fn controlled(
        drive: FloatTensor<Self>,
        c0: FloatTensor<Self>,
        g0: FloatTensor<Self>,
        w_feedback: FloatTensor<Self>,
        w_controller: FloatTensor<Self>,
        w_posterior: FloatTensor<Self>,
        b_posterior: FloatTensor<Self>,
        w_input: FloatTensor<Self>,
        w_generator: FloatTensor<Self>,
        b_generator: FloatTensor<Self>,
        w_factors: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        scale: Option<Vec<f32>>,
        clip: Option<f32>,
        outputs: Arc<Outputs>,
    ) -> FloatTensor<Self>;
}

impl FusedControlled for Flex {
    fn controlled(
        drive: FlexTensor,
        c0: FlexTensor,
        g0: FlexTensor,
        w_feedback: FlexTensor,
        w_controller: FlexTensor,
        w_posterior: FlexTensor,
        b_posterior: FlexTensor,
        w_input: FlexTensor,
        w_generator: FlexTensor,
        b_generator: FlexTensor,
        w_factors: FlexTensor,
        noise: FlexTensor,
        scale: Option<Vec<f32>>,
        clip: Option<f32>,
        outputs: Arc<Outputs>,
    ) -> FlexTensor {
        let differentiable = [
            drive,
            c0,
            g0,
            w_feedback,
            w_controller,
            w_posterior,
            b_posterior,
            w_input,
            w_generator,
            b_generator,
            w_factors,
        ];
        ControlledRun::new(differentiable, noise, scale, clip).forward(&outputs);
        from_vec(vec![0.0], [1])
    }
}

impl<C: CheckpointStrategy> FusedControlled for Autodiff<Flex, C> {
    fn controlled(
        drive: FloatTensor<Self>,
        c0: FloatTensor<Self>,
        g0: FloatTensor<Self>,
        w_feedback: FloatTensor<Self>,
        w_controller: FloatTensor<Self>,
        w_posterior: FloatTensor<Self>,
        b_posterior: FloatTensor<Self>,
        w_input: FloatTensor<Self>,
        w_generator: FloatTensor<Self>,
        b_generator: FloatTensor<Self>,
        w_factors: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        scale: Option<Vec<f32>>,
        clip: Option<f32>,
        outputs: Arc<Outputs>,
    ) -> FloatTensor<Self> {
        let differentiable = [
            drive,
            c0,
            g0,
            w_feedback,
            w_controller,
            w_posterior,
            b_posterior,
            w_input,
            w_generator,
            b_generator,
            w_factors,
        ];
        let mut nodes = Vec::with_capacity(differentiable.len());
        let tensors = differentiable.map(|tensor| {
            let (tensor, node) = tensor.into_parts();
            nodes.push(node);
            tensor
        });
        let Ok(nodes) = nodes.try_into() else {
            unreachable!("each tensor has its node")
        };
        let (noise, _) = noise.into_parts();
        let run = ControlledRun::new(tensors, noise, scale, clip);
        let (kept, trace) = run.forward(&outputs);
        let tie = from_vec(vec![0.0], [1]);
        match ControlledBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                prepared.finish((run, kept, Arc::new(trace), outputs), tie)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(tie),
        }
    }
}

/// Arguments of the loop, contiguous.
#[derive(Clone, Debug)]
struct ControlledRun {
    /// In the order of [`FusedControlled::controlled`].
    tensors: [FlexTensor; 11],
    noise: FlexTensor,
    scale: Option<Vec<f32>>,
    clip: Option<f32>,
    shape: ControlledShape,
}

impl ControlledRun {
    fn new(
        tensors: [FlexTensor; 11],
        noise: FlexTensor,
        scale: Option<Vec<f32>>,
        clip: Option<f32>,
    ) -> Self {
        let (drawn, w_factors) = (noise.shape(), tensors[10].shape());
        let shape = ControlledShape {
            n_bins: drawn[0],
            n_trials: drawn[1],
            controller: tensors[1].shape()[1],
            generator: w_factors[0],
            n_inputs: drawn[2],
            n_factors: w_factors[1],
        };
        Self {
            tensors: tensors.map(|tensor| tensor.to_contiguous()),
            noise: noise.to_contiguous(),
            scale,
            clip,
            shape,
        }
    }

    fn slices(&self) -> ControlledSlices<'_> {
        let [
            drive,
            c0,
            g0,
            w_feedback,
            w_controller,
            w_posterior,
            b_posterior,
            w_input,
            w_generator,
            b_generator,
            w_factors,
        ] = self.tensors.each_ref().map(values);
        ControlledSlices {
            drive,
            c0,
            g0,
            w_feedback,
            w_controller,
            w_posterior,
            b_posterior,
            w_input,
            w_generator,
            b_generator,
            w_factors,
            noise: values(&self.noise),
            scale: self.scale.as_deref(),
            clip: self.clip,
        }
    }

    /// Factors, posterior and controller states, which are left in `outputs`, and the trace.
    fn forward(&self, outputs: &Outputs) -> ([FlexTensor; 3], ControlledTrace) {
        count_run();
        let ControlledShape {
            n_bins,
            n_trials,
            controller,
            n_inputs,
            n_factors,
            ..
        } = self.shape;
        let out = kernels::controlled(Isa::best(), self.shape, self.slices());
        let kept = [
            from_vec(out.factors, [n_bins, n_trials, n_factors]),
            from_vec(out.posterior, [n_bins, n_trials, 2 * n_inputs]),
            from_vec(out.control, [n_bins, n_trials, controller]),
        ];
        for (which, value) in [Which::First, Which::Second, Which::Third]
            .into_iter()
            .zip(&kept)
        {
            outputs.put_value(which, value.clone());
        }
        (kept, out.trace)
    }

    fn backward(
        &self,
        kept: &[FlexTensor; 3],
        trace: &ControlledTrace,
        outputs: &Outputs,
    ) -> [Vec<f32>; 11] {
        let [factors, posterior, control] = kept.each_ref().map(values);
        let shape = |tensor: &FlexTensor| -> [usize; 3] {
            std::array::from_fn(|axis| tensor.shape()[axis])
        };
        let d_factors = outputs.gradient(Which::First, shape(&kept[0]));
        let d_posterior = outputs.gradient(Which::Second, shape(&kept[1]));
        let d_control = outputs.gradient_if_any(Which::Third);
        let upstream = ControlledUpstream {
            factors: [factors, values(&d_factors)],
            posterior: [posterior, values(&d_posterior)],
            control,
            d_control: d_control.as_ref().map(values),
        };
        let (isa, slices) = (Isa::best(), self.slices());
        let got = kernels::controlled_gradient(isa, self.shape, slices, trace, upstream);
        [
            got.drive,
            got.c0,
            got.g0,
            got.w_feedback,
            got.w_controller,
            got.w_posterior,
            got.b_posterior,
            got.w_input,
            got.w_generator,
            got.b_generator,
            got.w_factors,
        ]
    }
}

#[derive(Debug)]
struct ControlledBackward;

impl Backward<Flex, 11> for ControlledBackward {
    type State = (
        ControlledRun,
        [FlexTensor; 3],
        Arc<ControlledTrace>,
        Arc<Outputs>,
    );

    fn backward(self, ops: Ops<Self::State, 11>, grads: &mut Gradients, _: &mut Checkpointer) {
        grads.consume::<Flex>(&ops.node);
        let (run, kept, trace, outputs) = ops.state;
        let got = run.backward(&kept, &trace, &outputs);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        for ((gradient, parent), tensor) in got.into_iter().zip(parents).zip(&run.tensors) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent, like(gradient, tensor));
            }
        }
    }
}
