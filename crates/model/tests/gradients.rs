//! Gradients of the whole bound against finite differences along random directions.

mod common;

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use common::{dynamics, ladder_with, lfads};
use model::{DropoutMode, DynamicsConfig, Noise, Pass, SequentialVae, TermWeights};

/// Adds `scale` times a random direction to every trainable parameter.
struct Shift {
    noise: Noise,
    scale: f64,
}

impl ModuleMapper for Shift {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let direction = self.noise.normal(param.dims()).mul_scalar(self.scale);
        if !param.is_require_grad() {
            return param;
        }
        param.map(|value| (value + direction).detach().require_grad())
    }
}

/// Inner product of the gradient with the direction [`Shift`] uses.
struct Slope<'a> {
    noise: Noise,
    grads: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for Slope<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let direction = self.noise.normal(param.dims());
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let product = (grad * direction.inner()).sum();
            self.sum += f64::from(product.into_scalar::<f32>());
        }
    }
}

fn loss<M: SequentialVae>(model: &M, x: &Tensor<3>, device: &Device) -> Tensor<1> {
    let weights = TermWeights::FULL;
    // Noise with which no spike count is near zero, where its gradient jumps.
    let mut noise = Noise::new(3, 0, device);
    let mut pass = Pass {
        weights,
        dropout: DropoutMode::Training,
        noise: &mut noise,
        spikes: None,
    };
    model.elbo(x.clone(), &mut pass).loss(&weights)
}

fn check<M: SequentialVae>(model: &M, x: &Tensor<3>, direction_seed: u64) {
    let device = Device::flex().autodiff();
    let direction = || Noise::new(direction_seed, 1, &device);
    let grads = GradientsParams::from_grads(loss(model, x, &device).backward(), model);
    let mut slope = Slope {
        noise: direction(),
        grads: &grads,
        sum: 0.0,
    };
    model.visit(&mut slope);
    let at = |scale: f64| {
        let shifted = model.clone().map(&mut Shift {
            noise: direction(),
            scale,
        });
        f64::from(loss(&shifted, x, &device).into_scalar::<f32>())
    };
    let step = 1e-4;
    let difference = (at(step) - at(-step)) / (2.0 * step);
    let error = (slope.sum - difference).abs();
    assert!(
        error < 0.01 * difference.abs().max(100.0),
        "gradient {} against difference {difference}",
        slope.sum
    );
}

#[test]
fn lfads_gradient_is_the_slope_of_its_loss() {
    let device = Device::flex().autodiff();
    let x = Noise::new(2, 2, &device).bernoulli([12, 4, 6], 0.3);
    for direction in 0..4 {
        check(&lfads(&device), &x, direction);
    }
}

#[test]
fn ladder_gradient_is_the_slope_of_its_loss() {
    let device = Device::flex().autodiff();
    let mut noise = Noise::new(2, 2, &device);
    let x = noise.bernoulli([12, 4, 6], 0.3) + noise.normal([12, 4, 6]).mul_scalar(0.2);
    // Coordinated dropout makes the deep level's gradient an estimate that is not the slope
    // of the reported loss, by design; without it the two must agree.
    let dynamics = DynamicsConfig {
        coordinated_dropout: 0.0,
        ..dynamics()
    };
    for direction in 0..4 {
        check(&ladder_with(dynamics.clone(), &device), &x, direction);
    }
}
