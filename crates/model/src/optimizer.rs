//! Adam, gradient clipping by global norm and the running average of the weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
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
    /// An optimiser of a whole model.
    pub(crate) fn init(beta_1: f32, beta_2: f32, epsilon: f32) -> ModuleOptimizer {
        let config = AdamConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_epsilon(epsilon);
        ModuleOptimizer::from(Self {
            beta_1,
            beta_2,
            epsilon,
            elsewhere: config.build(),
        })
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

    fn values(tensor: &Tensor<1>) -> Vec<f32> {
        tensor.to_data().iter::<f32>().collect()
    }

    #[test]
    fn one_pass_takes_the_steps_of_burns_adam() {
        let device = Device::flex();
        let adam = AdamConfig::new()
            .with_beta_2(0.99)
            .with_epsilon(1e-3)
            .build();
        let one_pass = OnePassAdam {
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 1e-3,
            elsewhere: adam.clone(),
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
}
