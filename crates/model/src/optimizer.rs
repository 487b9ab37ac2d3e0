//! Adam, gradient clipping by global norm and the running average of the weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup};
use burn::optim::{
    Adam, AdamConfig, AdamState, AdaptiveMomentumState, GradientsParams, LearningRate,
    ModuleOptimizer, Optimizer,
};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Adam (Kingma & Ba 2015) with burn's state: on the CPU one pass over each parameter, where burn's
/// own takes fifteen.
#[derive(Clone)]
pub(crate) struct OnePassAdam {
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    elsewhere: Adam,
}

impl OnePassAdam {
    pub(crate) fn new(beta_1: f32, beta_2: f32, epsilon: f32) -> Self {
        let config = AdamConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_epsilon(epsilon);
        Self {
            beta_1,
            beta_2,
            epsilon,
            elsewhere: config.build(),
        }
    }

    /// An optimiser of a whole model.
    pub(crate) fn init(beta_1: f32, beta_2: f32, epsilon: f32) -> ModuleOptimizer {
        ModuleOptimizer::from(Self::new(beta_1, beta_2, epsilon))
    }

    /// θ ← θ − η m̂/(√v̂ + ε), with m and v moved towards g and g² first.
    fn update(&self, rate: f32, time: usize, [theta, g, m, v]: [&mut [f32]; 4]) {
        let time = time as i32;
        let width = (1.0 - self.beta_2.powi(time)).sqrt();
        let rate = rate * width / (1.0 - self.beta_1.powi(time));
        let epsilon = self.epsilon * width;
        let (keep_1, keep_2) = (self.beta_1, self.beta_2);
        for (((theta, g), m), v) in theta.iter_mut().zip(g).zip(m).zip(v) {
            *m = keep_1 * *m + (1.0 - keep_1) * *g;
            *v = keep_2 * *v + (1.0 - keep_2) * *g * *g;
            *theta -= rate * *m / (v.sqrt() + epsilon);
        }
    }
}

impl Optimizer for OnePassAdam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let device = tensor.device();
        if device != Device::flex() || tensor.dtype() != DType::F32 {
            return self.elsewhere.step(rate, tensor, gradient, state);
        }
        let (time, m, v) = match state {
            Some(AdamState { momentum }) => (momentum.time, momentum.moment_1, momentum.moment_2),
            None => (0, gradient.zeros_like(), gradient.zeros_like()),
        };
        let mut data = [tensor, gradient, m, v].map(Tensor::into_data);
        let slices = data.each_mut().map(TensorData::as_mut_slice::<f32>);
        let [Ok(theta), Ok(g), Ok(m), Ok(v)] = slices else {
            unreachable!("tensors of another type than the parameter's, which is f32");
        };
        self.update(rate as f32, time + 1, [theta, g, m, v]);
        let [theta, _, m, v] = data.map(|data| Tensor::from_data(data, &device));
        let momentum = AdaptiveMomentumState::new(time + 1, m, v);
        (theta, Some(AdamState::new(momentum)))
    }

    fn to_device<const D: usize>(state: AdamState<D>, device: &Device) -> AdamState<D> {
        Adam::to_device(state, device)
    }
}

/// The optimiser without the moments of a part of the model that is about to be replaced.
pub(crate) fn forget<M: Module>(
    optimizer: ModuleOptimizer,
    part: &M,
    adam: OnePassAdam,
) -> ModuleOptimizer {
    // Another group begins without moments.
    optimizer.with_group(ParamGroup::ids_from_module(part.clone()), adam, None)
}

/// Scales all gradients so that their joint Euclidean norm is at most `max_norm`; returns the
/// norm before.
pub(crate) fn clip_global_norm<M: Module>(
    module: &M,
    grads: &mut GradientsParams,
    max_norm: f64,
) -> f64 {
    let mut squares = SumOfSquares { grads, sum: 0.0 };
    module.visit(&mut squares);
    let norm = squares.sum.sqrt();
    if norm > max_norm {
        module.visit(&mut Scale {
            grads,
            factor: max_norm / norm,
        });
    }
    norm
}

/// Adds the gradients of a module's parameters to others.
pub(crate) fn add_gradients<M: Module>(
    module: &M,
    sum: &mut GradientsParams,
    mut gradients: GradientsParams,
) {
    module.visit(&mut Add {
        sum,
        gradients: &mut gradients,
    });
}

struct Add<'a> {
    sum: &'a mut GradientsParams,
    gradients: &'a mut GradientsParams,
}

impl ModuleVisitor for Add<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return;
        };
        let sum = match self.sum.remove::<D>(param.id) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        self.sum.register::<D>(param.id, sum);
    }
}

struct SumOfSquares<'a> {
    grads: &'a mut GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.sum += f64::from(grad.square().sum().into_scalar::<f32>());
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let scaled = grad.mul_scalar(self.factor);
            self.grads.register::<D>(param.id, scaled);
        }
    }
}

/// Moves `average` towards `current`: a ← d·a + (1 − d)·c for every parameter.
pub(crate) fn blend<M: Module>(average: M, current: &M, decay: f64) -> M {
    let mut values = Values(GradientsParams::new());
    current.visit(&mut values);
    average.map(&mut Blend {
        current: values.0,
        decay,
    })
}

struct Values(GradientsParams);

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register::<D>(param.id, param.val());
    }
}

struct Blend {
    current: GradientsParams,
    decay: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(current) = self.current.remove::<D>(param.id) else {
            return param;
        };
        let decay = self.decay;
        param.map(|average| average.mul_scalar(decay) + current.mul_scalar(1.0 - decay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gaussian::Prior;

    fn values(tensor: &Tensor<1>) -> Vec<f32> {
        tensor.to_data().iter::<f32>().collect()
    }

    /// Of a prior's means and log-variances, in the order of [`Prior::parameters`].
    struct Give<'a> {
        gradients: &'a mut GradientsParams,
        values: Vec<Vec<f32>>,
    }

    impl ModuleVisitor for Give<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = TensorData::new(self.values.remove(0), param.dims());
            let gradient = Tensor::<D>::from_data(gradient, &Device::flex());
            self.gradients.register::<D>(param.id, gradient);
        }
    }

    fn gradients(module: &Prior, values: [[f32; 2]; 2]) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        let values = values.map(Vec::from).to_vec();
        module.visit(&mut Give {
            gradients: &mut gradients,
            values,
        });
        gradients
    }

    fn assert_close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (index, (got, want)) in got.iter().zip(want).enumerate() {
            assert!((got - want).abs() < 1e-6, "{index}: {got} is not {want}");
        }
    }

    /// Worked by hand, with η 0.1, β₁ 0.9, β₂ 0.99, ε 0.1. First step, g = ½: m̂ = ½, v̂ = ¼, so
    /// θ falls by 0.1·0.5/(0.5 + 0.1). Second, g = −1: m = 0.9·0.05 − 0.1 = −0.055,
    /// v = 0.99·0.0025 + 0.01 = 0.012475; m̂ = m/0.19, v̂ = v/0.0199: θ rises by 0.0324610.
    #[test]
    fn adam_takes_the_steps_worked_out_by_hand() {
        let wrong = AdamConfig::new().with_beta_1(0.5).with_epsilon(10.0);
        let adam = OnePassAdam {
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 0.1,
            // Of no use on the CPU: seen if it is used.
            elsewhere: wrong.build(),
        };
        let mut optimizer = ModuleOptimizer::from(adam);
        let mut module = Prior::new(2, 1.0, true, &Device::flex().autodiff());
        let first = gradients(&module, [[0.5, 0.0], [0.0, 0.5]]);
        module = optimizer.step(0.1, module, first);
        let fallen = -0.1 * 0.5 / 0.6;
        assert_close(&values(&module.parameters()), &[fallen, 0.0, 0.0, fallen]);
        let second = gradients(&module, [[-1.0, 0.0], [0.0, -1.0]]);
        module = optimizer.step(0.1, module, second);
        let now = fallen + 0.032_461_0;
        assert_close(&values(&module.parameters()), &[now, 0.0, 0.0, now]);
    }

    #[test]
    fn weights_that_are_replaced_leave_no_moments() {
        let mut optimizer = OnePassAdam::init(0.9, 0.99, 0.1);
        let device = Device::flex().autodiff();
        let [mut gone, mut kept] = [0, 1].map(|_| Prior::new(2, 1.0, true, &device));
        for _ in 0..2 {
            for module in [&mut gone, &mut kept] {
                let gradients = gradients(module, [[0.5, 0.0], [0.0, 0.5]]);
                *module = optimizer.step(0.1, module.clone(), gradients);
            }
        }
        let moments = optimizer.to_record().len();
        let mut optimizer = forget(optimizer, &gone, OnePassAdam::new(0.9, 0.99, 0.1));
        assert_eq!(2 * optimizer.to_record().len(), moments);
        // The others keep theirs: a gradient of 0 moves them on.
        let before = values(&kept.parameters());
        let zero = gradients(&kept, [[0.0; 2]; 2]);
        kept = optimizer.step(0.1, kept, zero);
        assert!((values(&kept.parameters())[0] - before[0]).abs() > 1e-3);
    }

    /// A small η·g/(√v̂ + ε) would vanish if ε were scaled wrongly, a long run if a power were.
    #[test]
    fn adam_takes_the_steps_of_another_implementation() {
        let device = Device::flex();
        let adam = AdamConfig::new()
            .with_beta_2(0.99)
            .with_epsilon(1e-3)
            .build();
        let one_pass = OnePassAdam {
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 1e-3,
            elsewhere: AdamConfig::new().build(),
        };
        let start = Tensor::<1>::from_floats([0.5, -2.0, 0.0, 30.0, 1e-3], &device);
        let (mut ours, mut theirs) = (start.clone(), start);
        let (mut our_state, mut their_state) = (None, None);
        for step in 0..20 {
            let phase = step as f32;
            let gradient = [phase.sin(), 1e-6 * phase, 40.0, -phase, 0.0];
            let gradient = Tensor::from_floats(gradient, &device);
            (ours, our_state) = one_pass.step(0.02, ours, gradient.clone(), our_state);
            (theirs, their_state) = adam.step(0.02, theirs, gradient, their_state);
            for (ours, theirs) in values(&ours).into_iter().zip(values(&theirs)) {
                let tolerance = 2e-6 * theirs.abs().max(1.0);
                assert!(
                    (ours - theirs).abs() <= tolerance,
                    "{step}: {ours}, {theirs}"
                );
            }
        }
    }

    #[test]
    fn clipping_scales_all_gradients_to_the_joint_norm() {
        let module = Prior::new(2, 1.0, true, &Device::flex());
        let norm_after = |max_norm: f64| {
            let mut clipped = gradients(&module, [[3.0, 0.0], [0.0, 4.0]]);
            let before = clip_global_norm(&module, &mut clipped, max_norm);
            assert!((before - 5.0).abs() < 1e-6, "{before}");
            clip_global_norm(&module, &mut clipped, f64::INFINITY)
        };
        assert!((norm_after(1.0) - 1.0).abs() < 1e-6);
        assert!((norm_after(5.5) - 5.0).abs() < 1e-6, "a small one stays");
    }

    /// Every weight 2 larger, under the same name.
    struct Raise;

    impl ModuleMapper for Raise {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| value + 2.0)
        }
    }

    #[test]
    fn averages_move_by_what_the_decay_leaves() {
        let old = Prior::new(1, 1.0, true, &Device::flex());
        let new = old.clone().map(&mut Raise);
        let average = blend(old, &new, 0.75);
        assert_close(&values(&average.parameters()), &[0.5, 0.5]);
    }
}
