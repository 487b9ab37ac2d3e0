//! The AR(1) filter and the likelihoods.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{Flex, FlexTensor};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};

use super::{count_run, from_vec, like, register, values};
use crate::kernels::{self, GaussianSlices, Isa, PoissonSlices};

/// Operations without a recurrence between channels. Arguments are checked by the callers.
#[backend_extension(Flex, Autodiff)]
pub(in crate::ops) trait FusedElementwise: Backend {
    fn ar1(s: FloatTensor<Self>, initial: FloatTensor<Self>, g: Vec<f32>) -> FloatTensor<Self>;

    fn blur(x: FloatTensor<Self>, weights: Vec<f32>) -> FloatTensor<Self>;

    /// `weights` get no gradient.
    fn poisson(
        log_rates: FloatTensor<Self>,
        counts: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        log_exposure: f32,
        with_factorials: bool,
    ) -> FloatTensor<Self>;

    fn gaussian(
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        log_sd: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl FusedElementwise for Flex {
    fn ar1(s: FlexTensor, initial: FlexTensor, g: Vec<f32>) -> FlexTensor {
        count_run();
        let (s, initial) = (s.to_contiguous(), initial.to_contiguous());
        let mut y = vec![0.0; values(&s).len()];
        kernels::ar1_filter(values(&s), values(&initial), &g, &mut y);
        like(y, &s)
    }

    fn blur(x: FlexTensor, weights: Vec<f32>) -> FlexTensor {
        count_run();
        let x = x.to_contiguous();
        like(kernels::blur(values(&x), &weights, three(&x)), &x)
    }

    fn poisson(
        log_rates: FlexTensor,
        counts: FlexTensor,
        weights: FlexTensor,
        log_exposure: f32,
        with_factorials: bool,
    ) -> FlexTensor {
        let tensors = [log_rates, counts, weights];
        Poisson::new(tensors, log_exposure, with_factorials).log_likelihood()
    }

    fn gaussian(x: FlexTensor, mean: FlexTensor, log_sd: FlexTensor) -> FlexTensor {
        Gaussian([x, mean, log_sd].map(|tensor| tensor.to_contiguous())).log_likelihood()
    }
}

/// Arguments of a Poisson log-likelihood, contiguous.
#[derive(Clone, Debug)]
struct Poisson {
    log_rates: FlexTensor,
    counts: FlexTensor,
    weights: FlexTensor,
    log_exposure: f32,
    with_factorials: bool,
}

impl Poisson {
    /// From log-rates, counts and weights.
    fn new(tensors: [FlexTensor; 3], log_exposure: f32, with_factorials: bool) -> Self {
        let [log_rates, counts, weights] = tensors.map(|tensor| tensor.to_contiguous());
        Self {
            log_rates,
            counts,
            weights,
            log_exposure,
            with_factorials,
        }
    }

    fn slices(&self) -> PoissonSlices<'_> {
        PoissonSlices {
            log_rates: values(&self.log_rates),
            counts: values(&self.counts),
            weights: values(&self.weights),
            log_exposure: self.log_exposure,
            with_factorials: self.with_factorials,
        }
    }

    fn log_likelihood(&self) -> FlexTensor {
        count_run();
        let sum = kernels::poisson_log_likelihood(Isa::best(), self.slices());
        from_vec(vec![sum], [1])
    }
}

/// x, mean and ln σ of a Gaussian log-likelihood, contiguous.
#[derive(Clone, Debug)]
struct Gaussian([FlexTensor; 3]);

impl Gaussian {
    fn slices(&self) -> GaussianSlices<'_> {
        let [x, mean, log_sd] = self.0.each_ref().map(values);
        GaussianSlices { x, mean, log_sd }
    }

    fn log_likelihood(&self) -> FlexTensor {
        count_run();
        let sum = kernels::gaussian_log_likelihood(Isa::best(), self.slices());
        from_vec(vec![sum], [1])
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

    fn blur(x: FloatTensor<Self>, weights: Vec<f32>) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let out = Flex::blur(x, weights.clone());
        match BlurBackward
            .prepare::<C>([x_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(weights, out),
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn poisson(
        log_rates: FloatTensor<Self>,
        counts: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        log_exposure: f32,
        with_factorials: bool,
    ) -> FloatTensor<Self> {
        let ((log_rates, rates_node), (counts, counts_node)) =
            (log_rates.into_parts(), counts.into_parts());
        let (weights, _) = weights.into_parts();
        let tensors = [log_rates, counts, weights];
        let arguments = Poisson::new(tensors, log_exposure, with_factorials);
        let out = arguments.log_likelihood();
        match PoissonBackward
            .prepare::<C>([rates_node, counts_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(arguments, out),
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
        let arguments = Gaussian([x, mean, log_sd].map(|tensor| tensor.to_contiguous()));
        let out = arguments.log_likelihood();
        match GaussianBackward
            .prepare::<C>([mean_node, log_sd_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(arguments, out),
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
        let shape = three(&upstream);
        let mut ds = vec![0.0; values(&upstream).len()];
        let mut d_initial = vec![0.0; shape[1] * shape[2]];
        kernels::ar1_filter_gradient(values(&upstream), &ops.state, &mut ds, &mut d_initial);
        let [s, initial] = ops.parents.map(|parent| parent.map(|node| node.id));
        register(grads, s, ds, shape);
        register(grads, initial, d_initial, [shape[1], shape[2]]);
    }
}

#[derive(Debug)]
struct BlurBackward;

impl Backward<Flex, 1> for BlurBackward {
    type State = Vec<f32>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
        let shape = three(&upstream);
        let [x] = ops.parents.map(|parent| parent.map(|node| node.id));
        if x.is_some() {
            let dx = kernels::blur_gradient(values(&upstream), &ops.state, shape);
            register(grads, x, dx, shape);
        }
    }
}

#[derive(Debug)]
struct PoissonBackward;

impl Backward<Flex, 2> for PoissonBackward {
    type State = Poisson;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = scalar(&grads.consume::<Flex>(&ops.node));
        let slices = ops.state.slices();
        let [rates_node, counts_node] = ops.parents.map(|parent| parent.map(|node| node.id));
        if let Some(node) = rates_node {
            let gradient = kernels::poisson_gradient_log_rates(Isa::best(), slices, upstream);
            grads.register::<Flex>(node, like(gradient, &ops.state.counts));
        }
        if let Some(node) = counts_node {
            let gradient = kernels::poisson_gradient_counts(Isa::best(), slices, upstream);
            grads.register::<Flex>(node, like(gradient, &ops.state.counts));
        }
    }
}

#[derive(Debug)]
struct GaussianBackward;

impl Backward<Flex, 2> for GaussianBackward {
    type State = Gaussian;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = scalar(&grads.consume::<Flex>(&ops.node));
        let slices = ops.state.slices();
        let (by_mean, by_log_sd) = kernels::gaussian_gradient(Isa::best(), slices, upstream);
        let [mean, log_sd] = ops.parents.map(|parent| parent.map(|node| node.id));
        let shape = three(&ops.state.0[0]);
        register(grads, mean, by_mean, shape);
        register(grads, log_sd, by_log_sd, [shape[2]]);
    }
}

/// Bins, trials, neurons.
fn three(tensor: &FlexTensor) -> [usize; 3] {
    let shape = tensor.shape();
    [shape[0], shape[1], shape[2]]
}

/// The number of a tensor that has one.
fn scalar(tensor: &FlexTensor) -> f32 {
    values(&tensor.to_contiguous())[0]
}
