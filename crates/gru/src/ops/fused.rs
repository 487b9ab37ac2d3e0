//! The operations on burn's flex backend, each one node of the differentiation graph.

// An operation's tensors must be arguments of their own to be routed to their backend.
#![allow(clippy::too_many_arguments)]

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};
use burn::tensor::TensorData;

use crate::kernels::{
    self, GruShape, GruSlices, GruSpec, GruTrace, Isa, SpikeLoopOutputs, SpikeLoopShape,
    SpikeLoopSlices, Upstream,
};

/// Which states of a run are its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    EveryBin,
    FinalStates,
}

/// The operations with a fused body. Arguments are checked by the callers.
#[backend_extension(Flex, Autodiff)]
pub(super) trait Fused: Backend {
    fn gru(
        x: FloatTensor<Self>,
        h0: FloatTensor<Self>,
        w_in: FloatTensor<Self>,
        w_rec: FloatTensor<Self>,
        b_in: FloatTensor<Self>,
        b_rec: FloatTensor<Self>,
        spec: GruSpec,
        output: Output,
    ) -> FloatTensor<Self>;

    fn generate(
        h0: FloatTensor<Self>,
        w_rec: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        n_bins: usize,
        spec: GruSpec,
    ) -> FloatTensor<Self>;

    fn ar1(s: FloatTensor<Self>, initial: FloatTensor<Self>, g: Vec<f32>) -> FloatTensor<Self>;

    fn poisson(log_mean: FloatTensor<Self>, s: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Leaves its two outputs in `outputs`, from where [`Fused::shallow_output`] takes them;
    /// returns one number that ties them to this operation in the differentiation graph.
    fn shallow(
        drive: FloatTensor<Self>,
        spike_drive: FloatTensor<Self>,
        initial_spikes: FloatTensor<Self>,
        w_feedback: FloatTensor<Self>,
        w_spike: FloatTensor<Self>,
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
pub(super) struct Outputs {
    values: [Mutex<Option<FlexTensor>>; 2],
    gradients: [Mutex<Option<FlexTensor>>; 2],
}

/// Index of an output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Params = 0,
    Spikes = 1,
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

impl Fused for Flex {
    fn gru(
        x: FlexTensor,
        h0: FlexTensor,
        w_in: FlexTensor,
        w_rec: FlexTensor,
        b_in: FlexTensor,
        b_rec: FlexTensor,
        spec: GruSpec,
        output: Output,
    ) -> FlexTensor {
        GruRun::new(x, h0, [w_in, w_rec, b_in, b_rec], spec, output)
            .forward(false)
            .1
    }

    fn generate(
        h0: FlexTensor,
        w_rec: FlexTensor,
        bias: FlexTensor,
        n_bins: usize,
        spec: GruSpec,
    ) -> FlexTensor {
        GruRun::autonomous(h0, w_rec, bias, n_bins, spec)
            .forward(false)
            .1
    }

    fn ar1(s: FlexTensor, initial: FlexTensor, g: Vec<f32>) -> FlexTensor {
        let (s, initial) = (s.to_contiguous(), initial.to_contiguous());
        let mut y = vec![0.0; values(&s).len()];
        kernels::ar1_filter(values(&s), values(&initial), &g, &mut y);
        FlexTensor::from_data(TensorData::new(y, s.shape()))
    }

    fn poisson(log_mean: FlexTensor, s: FlexTensor) -> FlexTensor {
        let (log_mean, s) = (log_mean.to_contiguous(), s.to_contiguous());
        let mut out = vec![0.0; values(&s).len()];
        kernels::poisson_log_prob(Isa::best(), values(&log_mean), values(&s), &mut out);
        FlexTensor::from_data(TensorData::new(out, s.shape()))
    }

    fn shallow(
        drive: FlexTensor,
        spike_drive: FlexTensor,
        initial_spikes: FlexTensor,
        w_feedback: FlexTensor,
        w_spike: FlexTensor,
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
            noise,
        ];
        ShallowRun::new(tensors, max_log).forward(&outputs);
        from_vec(vec![0.0], [1])
    }

    fn shallow_output(_: FlexTensor, outputs: Arc<Outputs>, which: Which) -> FlexTensor {
        outputs.value(which)
    }
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    fn gru(
        x: FloatTensor<Self>,
        h0: FloatTensor<Self>,
        w_in: FloatTensor<Self>,
        w_rec: FloatTensor<Self>,
        b_in: FloatTensor<Self>,
        b_rec: FloatTensor<Self>,
        spec: GruSpec,
        output: Output,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (h0, h0_node)) = (x.into_parts(), h0.into_parts());
        let ((w_in, w_in_node), (w_rec, w_rec_node)) = (w_in.into_parts(), w_rec.into_parts());
        let ((b_in, b_in_node), (b_rec, b_rec_node)) = (b_in.into_parts(), b_rec.into_parts());
        let run = GruRun::new(x, h0, [w_in, w_rec, b_in, b_rec], spec, output);
        let nodes = [
            x_node, h0_node, w_in_node, w_rec_node, b_in_node, b_rec_node,
        ];
        match GruBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (trace, out) = run.forward(true);
                prepared.finish((run, Arc::new(trace)), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(run.forward(false).1),
        }
    }

    fn generate(
        h0: FloatTensor<Self>,
        w_rec: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        n_bins: usize,
        spec: GruSpec,
    ) -> FloatTensor<Self> {
        let (h0, h0_node) = h0.into_parts();
        let ((w_rec, w_rec_node), (bias, bias_node)) = (w_rec.into_parts(), bias.into_parts());
        let run = GruRun::autonomous(h0, w_rec, bias, n_bins, spec);
        let nodes = [h0_node, w_rec_node, bias_node];
        match GenerateBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (trace, out) = run.forward(true);
                prepared.finish((run, Arc::new(trace)), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(run.forward(false).1),
        }
    }

    fn ar1(s: FloatTensor<Self>, initial: FloatTensor<Self>, g: Vec<f32>) -> FloatTensor<Self> {
        let ((s, s_node), (initial, initial_node)) = (s.into_parts(), initial.into_parts());
        let out = Flex::ar1(s, initial, g.clone());
        match Ar1Backward
            .prepare::<C>([s_node, initial_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(g, out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn poisson(log_mean: FloatTensor<Self>, s: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((log_mean, log_mean_node), (s, s_node)) = (log_mean.into_parts(), s.into_parts());
        let out = Flex::poisson(log_mean.clone(), s.clone());
        match PoissonBackward
            .prepare::<C>([log_mean_node, s_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish((log_mean, s), out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn shallow(
        drive: FloatTensor<Self>,
        spike_drive: FloatTensor<Self>,
        initial_spikes: FloatTensor<Self>,
        w_feedback: FloatTensor<Self>,
        w_spike: FloatTensor<Self>,
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
        let tensors = [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            noise,
        ];
        let run = ShallowRun::new(tensors, max_log);
        let [params, spikes] = run.forward(&outputs);
        let tie = from_vec(vec![0.0], [1]);
        let nodes = [
            drive_node,
            spike_drive_node,
            initial_spikes_node,
            w_feedback_node,
            w_spike_node,
        ];
        match ShallowBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish((run, params, spikes, outputs), tie),
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

/// Arguments of a recurrent run, contiguous.
#[derive(Clone, Debug)]
struct GruRun {
    x: Option<FlexTensor>,
    h0: FlexTensor,
    w_in: Option<FlexTensor>,
    w_rec: FlexTensor,
    b_in: FlexTensor,
    b_rec: FlexTensor,
    shape: GruShape,
    spec: GruSpec,
    output: Output,
}

impl GruRun {
    fn new(
        x: FlexTensor,
        h0: FlexTensor,
        weights: [FlexTensor; 4],
        spec: GruSpec,
        output: Output,
    ) -> Self {
        let (sizes, states) = (x.shape(), h0.shape());
        let shape = GruShape {
            n_bins: sizes[0],
            n_trials: sizes[1],
            n_inputs: sizes[2],
            hidden: states[2],
            n_directions: states[0],
        };
        let [w_in, w_rec, b_in, b_rec] = weights.map(|weight| weight.to_contiguous());
        Self {
            x: Some(x.to_contiguous()),
            h0: h0.to_contiguous(),
            w_in: Some(w_in),
            w_rec,
            b_in,
            b_rec,
            shape,
            spec,
            output,
        }
    }

    fn autonomous(
        h0: FlexTensor,
        w_rec: FlexTensor,
        bias: FlexTensor,
        n_bins: usize,
        spec: GruSpec,
    ) -> Self {
        let states = h0.shape();
        let (n_trials, hidden) = (states[0], states[1]);
        let shape = GruShape {
            n_bins,
            n_trials,
            n_inputs: 0,
            hidden,
            n_directions: 1,
        };
        Self {
            x: None,
            h0: h0.to_contiguous(),
            w_in: None,
            w_rec: w_rec.to_contiguous(),
            b_in: from_vec(vec![0.0; 3 * hidden], [3 * hidden]),
            b_rec: bias.to_contiguous(),
            shape,
            spec,
            output: Output::EveryBin,
        }
    }

    fn inputs(&self) -> &[f32] {
        self.x.as_ref().map_or(&[], values)
    }

    fn weights(&self) -> GruSlices<'_> {
        GruSlices {
            w_in: self.w_in.as_ref().map_or(&[], values),
            w_rec: values(&self.w_rec),
            b_in: values(&self.b_in),
            b_rec: values(&self.b_rec),
        }
    }

    fn forward(&self, keep: bool) -> (GruTrace, FlexTensor) {
        let (shape, h0) = (self.shape, values(&self.h0));
        let (isa, inputs, weights) = (Isa::best(), self.inputs(), self.weights());
        let trace = kernels::forward(isa, shape, self.spec, inputs, h0, weights, keep);
        let row = shape.n_trials * shape.n_directions * shape.hidden;
        let columns = shape.n_directions * shape.hidden;
        let out = match self.output {
            Output::EveryBin => {
                let mut out = vec![0.0; shape.n_bins * row];
                trace.write_states(&mut out);
                from_vec(out, [shape.n_bins, shape.n_trials, columns])
            }
            Output::FinalStates => {
                let mut out = vec![0.0; row];
                trace.write_final_states(&mut out);
                from_vec(out, [shape.n_trials, columns])
            }
        };
        (trace, out)
    }

    fn backward(
        &self,
        trace: &GruTrace,
        upstream: &FlexTensor,
        with_x: bool,
    ) -> kernels::GruGradients {
        let upstream = match self.output {
            Output::EveryBin => Upstream::States(values(upstream)),
            Output::FinalStates => Upstream::FinalStates(values(upstream)),
        };
        kernels::backward(
            Isa::best(),
            trace,
            self.inputs(),
            self.weights(),
            upstream,
            with_x,
        )
    }
}

#[derive(Debug)]
struct GruBackward;

impl Backward<Flex, 6> for GruBackward {
    type State = (GruRun, Arc<GruTrace>);

    fn backward(self, ops: Ops<Self::State, 6>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (run, trace) = ops.state;
        let got = run.backward(&trace, &upstream, ops.parents[0].is_some());
        let GruShape {
            n_bins,
            n_trials,
            n_inputs,
            hidden,
            n_directions,
        } = run.shape;
        let [x, h0, w_in, w_rec, b_in, b_rec] =
            ops.parents.map(|parent| parent.map(|node| node.id));
        register(
            grads,
            x,
            got.x.unwrap_or_default(),
            [n_bins, n_trials, n_inputs],
        );
        register(grads, h0, got.h0, [n_directions, n_trials, hidden]);
        register(grads, w_in, got.w_in, [n_directions, n_inputs, 3 * hidden]);
        register(grads, w_rec, got.w_rec, [n_directions, hidden, 3 * hidden]);
        register(grads, b_in, got.b_in, [n_directions, 3 * hidden]);
        register(grads, b_rec, got.b_rec, [n_directions, 3 * hidden]);
    }
}

#[derive(Debug)]
struct GenerateBackward;

impl Backward<Flex, 3> for GenerateBackward {
    type State = (GruRun, Arc<GruTrace>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (run, trace) = ops.state;
        let got = run.backward(&trace, &upstream, false);
        let GruShape {
            n_trials, hidden, ..
        } = run.shape;
        let [h0, w_rec, bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, h0, got.h0, [n_trials, hidden]);
        register(grads, w_rec, got.w_rec, [hidden, 3 * hidden]);
        register(grads, bias, got.b_rec, [3 * hidden]);
    }
}

#[derive(Debug)]
struct Ar1Backward;

impl Backward<Flex, 2> for Ar1Backward {
    type State = Vec<f32>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let shape = upstream.shape();
        let mut ds = vec![0.0; values(&upstream).len()];
        let mut d_initial = vec![0.0; shape[1] * shape[2]];
        kernels::ar1_filter_gradient(values(&upstream), &ops.state, &mut ds, &mut d_initial);
        let [s, initial] = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, s, ds, [shape[0], shape[1], shape[2]]);
        register(grads, initial, d_initial, [shape[1], shape[2]]);
    }
}

#[derive(Debug)]
struct PoissonBackward;

impl Backward<Flex, 2> for PoissonBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (log_mean, s) = (ops.state.0.to_contiguous(), ops.state.1.to_contiguous());
        let [log_mean_node, s_node] = ops.parents.map(|parent| parent.map(|node| node.id));
        let shape = upstream.shape();
        let shape = [shape[0], shape[1], shape[2]];
        let inputs = [values(&log_mean), values(&s), values(&upstream)];
        if log_mean_node.is_some() {
            let mut by_log_mean = vec![0.0; inputs[0].len()];
            kernels::poisson_gradient_log_mean(Isa::best(), inputs, &mut by_log_mean);
            register(grads, log_mean_node, by_log_mean, shape);
        }
        if s_node.is_some() {
            let mut by_count = vec![0.0; inputs[0].len()];
            kernels::poisson_gradient_count(Isa::best(), inputs, &mut by_count);
            register(grads, s_node, by_count, shape);
        }
    }
}

/// Arguments of the shallow loop, contiguous.
#[derive(Clone, Debug)]
struct ShallowRun {
    tensors: [FlexTensor; 6],
    shape: SpikeLoopShape,
    max_log: f32,
}

impl ShallowRun {
    fn new(tensors: [FlexTensor; 6], max_log: f32) -> Self {
        let (spikes, noise) = (tensors[1].shape(), tensors[5].shape());
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
            max_log,
        }
    }

    /// Parameters and spikes, which are left in `outputs` too.
    fn forward(&self, outputs: &Outputs) -> [FlexTensor; 2] {
        let SpikeLoopShape {
            n_bins,
            n_trials,
            latent,
            n_neurons,
        } = self.shape;
        let out = kernels::spike_loop(Isa::best(), self.shape, self.slices());
        let params = from_vec(out.params, [n_bins, n_trials, 2 * latent]);
        let spikes = from_vec(out.spikes, [n_bins, n_trials, n_neurons]);
        put(&outputs.values[Which::Params as usize], params.clone());
        put(&outputs.values[Which::Spikes as usize], spikes.clone());
        [params, spikes]
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

impl Backward<Flex, 5> for ShallowBackward {
    type State = (ShallowRun, FlexTensor, FlexTensor, Arc<Outputs>);

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        grads.consume::<Flex>(&ops.node);
        let (run, params, spikes, outputs) = ops.state;
        let SpikeLoopShape {
            n_bins,
            n_trials,
            latent,
            n_neurons,
        } = run.shape;
        let d_params = outputs.gradient(Which::Params, [n_bins, n_trials, 2 * latent]);
        let d_spikes = outputs.gradient(Which::Spikes, [n_bins, n_trials, n_neurons]);
        let output = SpikeLoopOutputs {
            params: values(&params),
            spikes: values(&spikes),
        };
        let upstream = SpikeLoopOutputs {
            params: values(&d_params),
            spikes: values(&d_spikes),
        };
        let (isa, slices) = (Isa::best(), run.slices());
        let got = kernels::spike_loop_gradient(isa, run.shape, slices, output, upstream);
        let [drive, spike_drive, initial_spikes, w_feedback, w_spike] =
            ops.parents.map(|parent| parent.map(|node| node.id));
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
    }
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

/// The numbers of a contiguous tensor.
///
/// # Panics
/// If it is strided or not `f32`: callers make it contiguous, and check the type.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a contiguous f32 tensor")
}
