//! The ladder's shallow time loop.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};

use super::{from_vec, register, values};
use crate::kernels::{
    self, Isa, SpikeLoopShape, SpikeLoopSlices, SpikeLoopTrace, SpikeLoopUpstream,
};

/// The shallow loop. Arguments are checked by the callers.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait FusedSpikeLoop: Backend {
    /// Leaves its two outputs in `outputs`, from where [`FusedSpikeLoop::shallow_output`] takes
    /// them; returns one number that ties them to this operation in the differentiation graph.
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

    fn shallow_output(
        tie: FloatTensor<Self>,
        outputs: Arc<Outputs>,
        which: Which,
    ) -> FloatTensor<Self>;
}

/// The outputs of an operation that has two, and on the way back their gradients. Burn knows
/// operations of one output only; slices of a joint one would cost a full-size gradient each.
#[derive(Debug, Default)]
pub(in crate::ops) struct Outputs {
    values: [Mutex<Option<FlexTensor>>; 2],
    gradients: [Mutex<Option<FlexTensor>>; 2],
}

/// Index of an output.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) enum Which {
    Spikes = 0,
    Divergence = 1,
}

impl Outputs {
    fn value(&self, which: Which) -> FlexTensor {
        take(&self.values[which as usize])
            .expect("the operation has run and each output is taken once")
    }

    /// Gradient of an output, 0 if the loss does not depend on it.
    fn gradient<const D: usize>(&self, which: Which, shape: [usize; D]) -> FlexTensor {
        take(&self.gradients[which as usize])
            .unwrap_or_else(|| from_vec(vec![0.0; shape.iter().product()], shape))
    }
}

fn take(slot: &Mutex<Option<FlexTensor>>) -> Option<FlexTensor> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put(slot: &Mutex<Option<FlexTensor>>, tensor: FlexTensor) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(tensor);
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

    fn shallow_output(_: FlexTensor, outputs: Arc<Outputs>, which: Which) -> FlexTensor {
        outputs.value(which)
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

    fn shallow_output(
        tie: FloatTensor<Self>,
        outputs: Arc<Outputs>,
        which: Which,
    ) -> FloatTensor<Self> {
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
        let out = kernels::spike_loop(Isa::best(), self.shape, self.slices());
        let spikes = from_vec(out.spikes, [n_bins, n_trials, n_neurons]);
        put(&outputs.values[Which::Spikes as usize], spikes.clone());
        let divergence = from_vec(vec![out.kl], [1]);
        put(&outputs.values[Which::Divergence as usize], divergence);
        (spikes, out.trace)
    }
}

#[derive(Debug)]
struct OutputBackward;

impl Backward<Flex, 1> for OutputBackward {
    type State = (Arc<Outputs>, Which);

    /// Lays the gradient aside for [`ShallowBackward`], which runs once all outputs have done so.
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (outputs, which) = ops.state;
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        put(&outputs.gradients[which as usize], upstream);
        let [tie] = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, tie, vec![0.0], [1]);
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
        let d_spikes = outputs.gradient(Which::Spikes, [n_bins, n_trials, n_neurons]);
        let d_kl = outputs.gradient(Which::Divergence, [1]);
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
