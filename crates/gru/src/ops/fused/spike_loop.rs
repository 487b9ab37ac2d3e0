//! The ladder's shallow time loop.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};

use super::outputs::{Outputs, Which};
use super::{count_run, from_vec, register, values};
use crate::kernels::{
    self, Isa, SpikeLoopShape, SpikeLoopSlices, SpikeLoopTrace, SpikeLoopUpstream,
};

/// The shallow loop. Arguments are checked by the callers.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait FusedSpikeLoop: Backend {
    /// Leaves spikes and divergence in `outputs`; returns what ties them to this operation.
    fn shallow(
        drive: FloatTensor<Self>,
        spike_drive: FloatTensor<Self>,
        initial_spikes: FloatTensor<Self>,
        w_feedback: FloatTensor<Self>,
        w_spike: FloatTensor<Self>,
        prior: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        max_log: f32,
        outputs: Arc<Outputs>,
    ) -> FloatTensor<Self>;
}

impl FusedSpikeLoop for Flex {
    fn shallow(
        drive: FlexTensor,
        spike_drive: FlexTensor,
        initial_spikes: FlexTensor,
        w_feedback: FlexTensor,
        w_spike: FlexTensor,
        prior: FlexTensor,
        noise: FlexTensor,
        max_log: f32,
        outputs: Arc<Outputs>,
    ) -> FlexTensor {
        let tensors = [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
        ];
        ShallowRun::new(tensors, max_log).forward(&outputs);
        from_vec(vec![0.0], [1])
    }
}

impl<C: CheckpointStrategy> FusedSpikeLoop for Autodiff<Flex, C> {
    fn shallow(
        drive: FloatTensor<Self>,
        spike_drive: FloatTensor<Self>,
        initial_spikes: FloatTensor<Self>,
        w_feedback: FloatTensor<Self>,
        w_spike: FloatTensor<Self>,
        prior: FloatTensor<Self>,
        noise: FloatTensor<Self>,
        max_log: f32,
        outputs: Arc<Outputs>,
    ) -> FloatTensor<Self> {
        let (noise, _) = noise.into_parts();
        let (drive, drive_node) = drive.into_parts();
        let (spike_drive, spike_drive_node) = spike_drive.into_parts();
        let (initial_spikes, initial_spikes_node) = initial_spikes.into_parts();
        let (w_feedback, w_feedback_node) = w_feedback.into_parts();
        let (w_spike, w_spike_node) = w_spike.into_parts();
        let (prior, prior_node) = prior.into_parts();
        let tensors = [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
        ];
        let run = ShallowRun::new(tensors, max_log);
        let (spikes, trace) = run.forward(&outputs);
        let tie = from_vec(vec![0.0], [1]);
        let nodes = [
            drive_node,
            spike_drive_node,
            initial_spikes_node,
            w_feedback_node,
            w_spike_node,
            prior_node,
        ];
        match ShallowBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                prepared.finish((run, spikes, Arc::new(trace), outputs), tie)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(tie),
        }
    }
}

/// Arguments of the shallow loop, contiguous.
#[derive(Clone, Debug)]
struct ShallowRun {
    tensors: [FlexTensor; 7],
    shape: SpikeLoopShape,
    max_log: f32,
}

impl ShallowRun {
    fn new(tensors: [FlexTensor; 7], max_log: f32) -> Self {
        let (spikes, noise) = (tensors[1].shape(), tensors[6].shape());
        let shape = SpikeLoopShape {
            n_bins: spikes[0],
            n_trials: spikes[1],
            latent: noise[2],
            n_neurons: spikes[2],
        };
        Self {
            tensors: tensors.map(|tensor| tensor.to_contiguous()),
            shape,
            max_log,
        }
    }

    fn slices(&self) -> SpikeLoopSlices<'_> {
        let [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
        ] = self.tensors.each_ref().map(values);
        let max_log = self.max_log;
        SpikeLoopSlices {
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            noise,
            prior,
            max_log,
        }
    }

    /// Spikes, which are left in `outputs` beside the divergence, and the trace.
    fn forward(&self, outputs: &Outputs) -> (FlexTensor, SpikeLoopTrace) {
        let SpikeLoopShape {
            n_bins,
            n_trials,
            n_neurons,
            ..
        } = self.shape;
        count_run();
        let out = kernels::spike_loop(Isa::best(), self.shape, self.slices());
        let spikes = from_vec(out.spikes, [n_bins, n_trials, n_neurons]);
        outputs.put_value(Which::First, spikes.clone());
        let divergence = from_vec(vec![out.kl], [1]);
        outputs.put_value(Which::Second, divergence);
        (spikes, out.trace)
    }
}

#[derive(Debug)]
struct ShallowBackward;

impl Backward<Flex, 6> for ShallowBackward {
    type State = (ShallowRun, FlexTensor, Arc<SpikeLoopTrace>, Arc<Outputs>);

    fn backward(self, ops: Ops<Self::State, 6>, grads: &mut Gradients, _: &mut Checkpointer) {
        grads.consume::<Flex>(&ops.node);
        let (run, spikes, trace, outputs) = ops.state;
        let SpikeLoopShape {
            n_bins,
            n_trials,
            latent,
            n_neurons,
        } = run.shape;
        let d_spikes = outputs.gradient(Which::First, [n_bins, n_trials, n_neurons]);
        let d_kl = outputs.gradient(Which::Second, [1]);
        let upstream = SpikeLoopUpstream {
            spikes: values(&d_spikes),
            kl: values(&d_kl)[0],
        };
        let (isa, slices) = (Isa::best(), run.slices());
        let spikes = values(&spikes);
        let got = kernels::spike_loop_gradient(isa, run.shape, slices, spikes, &trace, upstream);
        let [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
        ] = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, drive, got.drive, [n_bins, n_trials, 2 * latent]);
        register(
            grads,
            spike_drive,
            got.spike_drive,
            [n_bins, n_trials, n_neurons],
        );
        register(
            grads,
            initial_spikes,
            got.initial_spikes,
            [n_trials, n_neurons],
        );
        register(grads, w_feedback, got.w_feedback, [n_neurons, 2 * latent]);
        register(grads, w_spike, got.w_spike, [latent, n_neurons]);
        register(grads, prior, got.prior, [2 * latent]);
    }
}
