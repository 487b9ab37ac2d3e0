//! The AR(1) filter and the likelihoods.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};

use super::{like, register, values};
use crate::kernels::{self, Isa};

/// Operations without a recurrence between channels. Arguments are checked by the callers.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait FusedElementwise: Backend {
    fn ar1(s: FloatTensor<Self>, initial: FloatTensor<Self>, g: Vec<f32>) -> FloatTensor<Self>;

    fn poisson(log_mean: FloatTensor<Self>, s: FloatTensor<Self>) -> FloatTensor<Self>;

    fn gaussian(
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        log_sd: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl FusedElementwise for Flex {
    fn ar1(s: FlexTensor, initial: FlexTensor, g: Vec<f32>) -> FlexTensor {
        let (s, initial) = (s.to_contiguous(), initial.to_contiguous());
        let mut y = vec![0.0; values(&s).len()];
        kernels::ar1_filter(values(&s), values(&initial), &g, &mut y);
        like(y, &s)
    }

    fn poisson(log_mean: FlexTensor, s: FlexTensor) -> FlexTensor {
        let (log_mean, s) = (log_mean.to_contiguous(), s.to_contiguous());
        let mut out = vec![0.0; values(&s).len()];
        kernels::poisson_log_prob(Isa::best(), values(&log_mean), values(&s), &mut out);
        like(out, &s)
    }

    fn gaussian(x: FlexTensor, mean: FlexTensor, log_sd: FlexTensor) -> FlexTensor {
        let (x, mean) = (x.to_contiguous(), mean.to_contiguous());
        let log_sd = log_sd.to_contiguous();
        let mut out = vec![0.0; values(&x).len()];
        let arguments = (values(&x), values(&mean), values(&log_sd));
        kernels::gaussian_log_prob(Isa::best(), arguments.0, arguments.1, arguments.2, &mut out);
        like(out, &x)
    }
}

impl<C: CheckpointStrategy> FusedElementwise for Autodiff<Flex, C> {
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

    fn gaussian(
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        log_sd: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x, _) = x.into_parts();
        let ((mean, mean_node), (log_sd, log_sd_node)) = (mean.into_parts(), log_sd.into_parts());
        let out = Flex::gaussian(x.clone(), mean.clone(), log_sd.clone());
        match GaussianBackward
            .prepare::<C>([mean_node, log_sd_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish([x, mean, log_sd], out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
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

#[derive(Debug)]
struct GaussianBackward;

impl Backward<Flex, 2> for GaussianBackward {
    /// x, mean, ln σ.
    type State = [FlexTensor; 3];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [x, mean, log_sd] = ops.state.map(|tensor| tensor.to_contiguous());
        let shape = upstream.shape();
        let log_sd = values(&log_sd);
        let mut by_mean = vec![0.0; values(&x).len()];
        let mut by_log_sd = vec![0.0; log_sd.len()];
        let inputs = [values(&x), values(&mean), values(&upstream)];
        let isa = Isa::best();
        kernels::gaussian_gradient(isa, inputs, log_sd, &mut by_mean, &mut by_log_sd);
        let [mean, log_sd] = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, mean, by_mean, [shape[0], shape[1], shape[2]]);
        register(grads, log_sd, by_log_sd, [shape[2]]);
    }
}
