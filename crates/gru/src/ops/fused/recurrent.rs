//! The gated recurrent units.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};

use super::outputs::{Outputs, Which};
use super::{count_run, from_vec, register, values};
use crate::kernels::{self, GruShape, GruSlices, GruSpec, GruTrace, Isa, Readout, Upstream};

/// Which states of a run are its output.
#[derive(Clone, Debug)]
pub(in crate::ops) enum Output {
    /// Those of every bin, times a scale.
    EveryBin(Option<Vec<f32>>),
    FinalStates,
}

impl Output {
    fn upstream<'a>(&'a self, gradient: &'a FlexTensor) -> Upstream<'a> {
        let gradient = Some(values(gradient));
        match self {
            Self::EveryBin(scale) => Upstream {
                states: gradient,
                scale: scale.as_deref(),
                ..Upstream::default()
            },
            Self::FinalStates => Upstream {
                final_states: gradient,
                ..Upstream::default()
            },
        }
    }
}

/// Runs of gated recurrent units. Arguments are checked by the callers.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait FusedGru: Backend {
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

    /// Leaves the states of every bin and the final states in `outputs`; returns what ties them
    /// to this operation.
    fn gru_both(
        x: FloatTensor<Self>,
        h0: FloatTensor<Self>,
        w_in: FloatTensor<Self>,
        w_rec: FloatTensor<Self>,
        b_in: FloatTensor<Self>,
        b_rec: FloatTensor<Self>,
        spec: GruSpec,
        outputs: Arc<Outputs>,
    ) -> FloatTensor<Self>;

    fn generate(
        h0: FloatTensor<Self>,
        w_rec: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        w_out: FloatTensor<Self>,
        n_bins: usize,
        spec: GruSpec,
        scale: Option<Vec<f32>>,
    ) -> FloatTensor<Self>;
}

impl FusedGru for Flex {
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
        let run = GruRun::new([x, h0, w_in, w_rec, b_in, b_rec], spec);
        run.output(&run.forward(false), &output)
    }

    fn gru_both(
        x: FlexTensor,
        h0: FlexTensor,
        w_in: FlexTensor,
        w_rec: FlexTensor,
        b_in: FlexTensor,
        b_rec: FlexTensor,
        spec: GruSpec,
        outputs: Arc<Outputs>,
    ) -> FlexTensor {
        let run = GruRun::new([x, h0, w_in, w_rec, b_in, b_rec], spec);
        run.leave_both(&run.forward(false), &outputs)
    }

    fn generate(
        h0: FlexTensor,
        w_rec: FlexTensor,
        bias: FlexTensor,
        w_out: FlexTensor,
        n_bins: usize,
        spec: GruSpec,
        scale: Option<Vec<f32>>,
    ) -> FlexTensor {
        let run = Generation::new([h0, w_rec, bias, w_out], n_bins, spec, scale);
        run.outputs(&run.gru.forward(false))
    }
}

impl<C: CheckpointStrategy> FusedGru for Autodiff<Flex, C> {
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
        let (run, nodes) = tracked_run::<C>([x, h0, w_in, w_rec, b_in, b_rec], spec);
        match GruBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let trace = run.forward(true);
                let out = run.output(&trace, &output);
                prepared.finish((run, Arc::new(trace), output), out)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(run.output(&run.forward(false), &output))
            }
        }
    }

    fn gru_both(
        x: FloatTensor<Self>,
        h0: FloatTensor<Self>,
        w_in: FloatTensor<Self>,
        w_rec: FloatTensor<Self>,
        b_in: FloatTensor<Self>,
        b_rec: FloatTensor<Self>,
        spec: GruSpec,
        outputs: Arc<Outputs>,
    ) -> FloatTensor<Self> {
        let (run, nodes) = tracked_run::<C>([x, h0, w_in, w_rec, b_in, b_rec], spec);
        match BothBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let trace = run.forward(true);
                let tie = run.leave_both(&trace, &outputs);
                prepared.finish((run, Arc::new(trace), outputs), tie)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(run.leave_both(&run.forward(false), &outputs))
            }
        }
    }

    fn generate(
        h0: FloatTensor<Self>,
        w_rec: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        w_out: FloatTensor<Self>,
        n_bins: usize,
        spec: GruSpec,
        scale: Option<Vec<f32>>,
    ) -> FloatTensor<Self> {
        let ((h0, h0_node), (w_rec, w_rec_node)) = (h0.into_parts(), w_rec.into_parts());
        let ((bias, bias_node), (w_out, w_out_node)) = (bias.into_parts(), w_out.into_parts());
        let run = Generation::new([h0, w_rec, bias, w_out], n_bins, spec, scale);
        let nodes = [h0_node, w_rec_node, bias_node, w_out_node];
        match GenerateBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let trace = run.gru.forward(true);
                let out = run.outputs(&trace);
                prepared.finish((run, Arc::new(trace)), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(run.outputs(&run.gru.forward(false))),
        }
    }
}

/// A run and the nodes of its arguments in the differentiation graph.
fn tracked_run<C: CheckpointStrategy>(
    tensors: [FloatTensor<Autodiff<Flex, C>>; 6],
    spec: GruSpec,
) -> (GruRun, [NodeGuard; 6]) {
    let [x, h0, w_in, w_rec, b_in, b_rec] = tensors;
    let ((x, x_node), (h0, h0_node)) = (x.into_parts(), h0.into_parts());
    let ((w_in, w_in_node), (w_rec, w_rec_node)) = (w_in.into_parts(), w_rec.into_parts());
    let ((b_in, b_in_node), (b_rec, b_rec_node)) = (b_in.into_parts(), b_rec.into_parts());
    let nodes = [
        x_node, h0_node, w_in_node, w_rec_node, b_in_node, b_rec_node,
    ];
    (GruRun::new([x, h0, w_in, w_rec, b_in, b_rec], spec), nodes)
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
}

impl GruRun {
    /// From x, h0 and the weights in the order of [`FusedGru::gru`].
    fn new(tensors: [FlexTensor; 6], spec: GruSpec) -> Self {
        let [x, h0, w_in, w_rec, b_in, b_rec] = tensors.map(|tensor| tensor.to_contiguous());
        let (sizes, states) = (x.shape(), h0.shape());
        let shape = GruShape {
            n_bins: sizes[0],
            n_trials: sizes[1],
            n_inputs: sizes[2],
            hidden: states[2],
            n_directions: states[0],
        };
        Self {
            x: Some(x),
            h0,
            w_in: Some(w_in),
            w_rec,
            b_in,
            b_rec,
            shape,
            spec,
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

    fn forward(&self, keep: bool) -> GruTrace {
        count_run();
        let (shape, h0) = (self.shape, values(&self.h0));
        let (isa, inputs, weights) = (Isa::best(), self.inputs(), self.weights());
        kernels::forward(isa, shape, self.spec, inputs, h0, weights, keep)
    }

    /// Sizes of the states of every bin.
    fn states_shape(&self) -> [usize; 3] {
        let GruShape {
            n_bins,
            n_trials,
            hidden,
            n_directions,
            ..
        } = self.shape;
        [n_bins, n_trials, n_directions * hidden]
    }

    fn output(&self, trace: &GruTrace, output: &Output) -> FlexTensor {
        let [n_bins, n_trials, columns] = self.states_shape();
        match output {
            Output::EveryBin(scale) => {
                let states = trace.states(scale.as_deref());
                from_vec(states, [n_bins, n_trials, columns])
            }
            Output::FinalStates => from_vec(trace.final_states(), [n_trials, columns]),
        }
    }

    /// Puts the states of every bin and the final states into `outputs`.
    fn leave_both(&self, trace: &GruTrace, outputs: &Outputs) -> FlexTensor {
        outputs.put_value(Which::First, self.output(trace, &Output::EveryBin(None)));
        outputs.put_value(Which::Second, self.output(trace, &Output::FinalStates));
        from_vec(vec![0.0], [1])
    }

    fn backward(
        &self,
        trace: &GruTrace,
        upstream: Upstream<'_>,
        with_x: bool,
    ) -> kernels::GruGradients {
        let (inputs, weights) = (self.inputs(), self.weights());
        kernels::backward(Isa::best(), trace, inputs, weights, upstream, with_x)
    }

    /// Hands the gradients to the parents.
    fn register(
        &self,
        grads: &mut Gradients,
        parents: [Option<NodeId>; 6],
        got: kernels::GruGradients,
    ) {
        let GruShape {
            n_bins,
            n_trials,
            n_inputs,
            hidden,
            n_directions,
        } = self.shape;
        let [x, h0, w_in, w_rec, b_in, b_rec] = parents;
        let dx = got.x.unwrap_or_default();
        register(grads, x, dx, [n_bins, n_trials, n_inputs]);
        register(grads, h0, got.h0, [n_directions, n_trials, hidden]);
        register(grads, w_in, got.w_in, [n_directions, n_inputs, 3 * hidden]);
        register(grads, w_rec, got.w_rec, [n_directions, hidden, 3 * hidden]);
        register(grads, b_in, got.b_in, [n_directions, 3 * hidden]);
        register(grads, b_rec, got.b_rec, [n_directions, 3 * hidden]);
    }
}

#[derive(Debug)]
struct GruBackward;

impl Backward<Flex, 6> for GruBackward {
    type State = (GruRun, Arc<GruTrace>, Output);

    fn backward(self, ops: Ops<Self::State, 6>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (run, trace, output) = ops.state;
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        let got = run.backward(&trace, output.upstream(&upstream), parents[0].is_some());
        run.register(grads, parents, got);
    }
}

#[derive(Debug)]
struct BothBackward;

impl Backward<Flex, 6> for BothBackward {
    type State = (GruRun, Arc<GruTrace>, Arc<Outputs>);

    fn backward(self, ops: Ops<Self::State, 6>, grads: &mut Gradients, _: &mut Checkpointer) {
        grads.consume::<Flex>(&ops.node);
        let (run, trace, outputs) = ops.state;
        let [n_bins, n_trials, columns] = run.states_shape();
        let states = outputs.gradient(Which::First, [n_bins, n_trials, columns]);
        let finals = outputs.gradient(Which::Second, [n_trials, columns]);
        let upstream = Upstream {
            states: Some(values(&states)),
            final_states: Some(values(&finals)),
            ..Upstream::default()
        };
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        let got = run.backward(&trace, upstream, parents[0].is_some());
        run.register(grads, parents, got);
    }
}

/// A run without inputs and the readout of its states.
#[derive(Clone, Debug)]
struct Generation {
    gru: GruRun,
    w_out: FlexTensor,
    scale: Option<Vec<f32>>,
}

impl Generation {
    /// From the tensors of [`FusedGru::generate`], in its order.
    fn new(
        tensors: [FlexTensor; 4],
        n_bins: usize,
        spec: GruSpec,
        scale: Option<Vec<f32>>,
    ) -> Self {
        let [h0, w_rec, bias, w_out] = tensors;
        Self {
            gru: GruRun::autonomous(h0, w_rec, bias, n_bins, spec),
            w_out: w_out.to_contiguous(),
            scale,
        }
    }

    fn readout(&self) -> Readout<'_> {
        Readout {
            scale: self.scale.as_deref(),
            w: values(&self.w_out),
        }
    }

    /// The readout of every bin.
    fn outputs(&self, trace: &GruTrace) -> FlexTensor {
        let [n_bins, n_trials, _] = self.gru.states_shape();
        let outputs = trace.readout(Isa::best(), self.readout());
        from_vec(outputs, [n_bins, n_trials, self.w_out.shape()[1]])
    }
}

#[derive(Debug)]
struct GenerateBackward;

impl Backward<Flex, 4> for GenerateBackward {
    type State = (Generation, Arc<GruTrace>);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (run, trace) = ops.state;
        let (readout, dy) = (run.readout(), values(&upstream));
        let upstream = Upstream {
            readout: Some((readout, dy)),
            ..Upstream::default()
        };
        let got = run.gru.backward(&trace, upstream, false);
        let GruShape {
            n_trials, hidden, ..
        } = run.gru.shape;
        let [h0, w_rec, bias, w_out] = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, h0, got.h0, [n_trials, hidden]);
        register(grads, w_rec, got.w_rec, [hidden, 3 * hidden]);
        register(grads, bias, got.b_rec, [3 * hidden]);
        if w_out.is_some() {
            let dw = trace.readout_gradient(Isa::best(), readout, dy);
            register(grads, w_out, dw, [hidden, run.w_out.shape()[1]]);
        }
    }
}
