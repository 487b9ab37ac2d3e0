//! LFADS on deconvolved events, each none or of a gamma-distributed size (RADICaL: Zhu et al. 2022).

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use gru::plain::ln_gamma_1p;
use ndarray::{ArrayView2, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

use crate::deep::{DeepDraw, DeepInput, DeepPass};
use crate::dynamics::{Dynamics, DynamicsConfig};
use crate::elbo::{Elbo, Term};
use crate::error::{ModelError, require};
use crate::layers::Linear;
use crate::noise::{Noise, Stream};
use crate::observed::Observed;
use crate::pass::Pass;
use crate::vae::{Draw, SequentialVae};

/// What is above the least event counts as this at least: its density may be infinite at 0.
const LEAST_EXCESS: f32 = 0.01;
/// Logarithms of shape and rate are held within ± this about 0.
const MAX_LOG: f64 = 5.0;
/// Least probability of an event whose logarithm is taken.
const LEAST_PROBABILITY: f64 = 1e-7;

/// Sizes and regularisation of [`ZigLfads`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZigLfadsConfig {
    /// Smallest spike that OASIS leaves, fluorescence units.
    pub s_min: f64,
    /// The deep level.
    #[serde(default)]
    pub dynamics: DynamicsConfig,
}

/// Events of each neuron as training sees them, in the units of one spike.
#[derive(Clone, Debug, PartialEq)]
pub struct EventStatistics {
    /// Share of the bins that have an event.
    pub share: Vec<f32>,
    /// Size of the least event.
    pub least: Vec<f32>,
    /// Mean of what events are above that.
    pub mean_excess: Vec<f32>,
}

impl EventStatistics {
    /// Of events `[trial, time, neuron]`; NaN: not observed. A neuron without events is taken to have had one in
    /// a hundred bins.
    pub fn measure(events: ArrayView3<'_, f32>) -> Self {
        let of_neuron = |neuron: ArrayView2<'_, f32>| {
            let observed = neuron.iter().copied().filter(|size| !size.is_nan());
            let n_bins = observed.clone().count().max(1) as f32;
            let sizes = observed.filter(|&size| size > 0.0);
            let n = sizes.clone().count() as f32;
            let least = sizes.clone().fold(f32::INFINITY, f32::min);
            match n > 0.0 {
                true => [n / n_bins, least, sizes.sum::<f32>() / n - least],
                false => [0.0, 0.5, 0.5],
            }
        };
        let of_neurons: Vec<[f32; 3]> = events.axis_iter(Axis(2)).map(of_neuron).collect();
        let column = |place: usize| of_neurons.iter().map(|each| each[place]).collect();
        Self {
            share: column(0),
            least: column(1),
            mean_excess: column(2),
        }
    }
}

impl ZigLfadsConfig {
    /// Fresh weights that start at what is known of the events; bins are of `dt_s` seconds.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a setting outside its range.
    pub fn init(
        &self,
        events: &EventStatistics,
        dt_s: f64,
        seed: u64,
        device: &Device,
    ) -> Result<ZigLfads, ModelError> {
        self.dynamics.validate()?;
        require(dt_s > 0.0, "dt_s", dt_s, "above 0")?;
        let mut noise = Noise::new(seed, Stream::Weights, device);
        // q = 1 − exp(−λ dt).
        let log_rate = |&share: &f32| {
            let share = f64::from(share).clamp(0.01, 0.99);
            ((-(-share).ln_1p()) / dt_s).ln() as f32
        };
        let log_rates: Vec<f32> = events.share.iter().map(log_rate).collect();
        let n_neurons = log_rates.len();
        // Exponential at first: of shape 1, and so of rate 1 over the mean.
        let log_scale = |&excess: &f32| -excess.max(LEAST_EXCESS).ln();
        let log_scales: Vec<f32> = events.mean_excess.iter().map(log_scale).collect();
        let bias = Tensor::zeros([2 * n_neurons], device);
        Ok(ZigLfads {
            dynamics: self.dynamics.init(&log_rates, &mut noise, device),
            sizes: Linear::new(self.dynamics.n_factors, bias, 0.1, &mut noise),
            log_shape: Param::from_tensor(Tensor::zeros([n_neurons], device)),
            log_rate: Param::from_tensor(Tensor::from_floats(log_scales.as_slice(), device)),
            least: Param::from_tensor(Tensor::from_floats(events.least.as_slice(), device)),
            log_dt: dt_s.ln(),
        })
    }
}

/// LFADS: an event is 0 with probability 1 − q_t, else s_min + Gamma(α_t, β_t), with
/// q_t = 1 − exp(−λ_t dt), log λ_t = W f_t + b, and α_t, β_t the sigmoids of as many maps of f_t, scaled neuron by
/// neuron. The rates that it infers are the mean events, q (α/β + s_min), per second.
#[derive(Module, Debug)]
pub struct ZigLfads {
    dynamics: Dynamics,
    /// From the factors to shapes and rates, before the sigmoid.
    sizes: Linear,
    /// Logarithms of α and β where the maps are 0, `[neuron]`.
    log_shape: Param<Tensor<1>>,
    log_rate: Param<Tensor<1>>,
    /// s_min, which is measured and not learned.
    least: Param<Tensor<1>>,
    #[module(skip)]
    log_dt: f64,
}

/// The distribution of an event, each `[time, trial, neuron]`.
struct Events {
    /// λ dt.
    intensity: Tensor<3>,
    log_shape: Tensor<3>,
    log_rate: Tensor<3>,
    least: Tensor<3>,
}

impl Events {
    /// q, the probability that there is one.
    fn probability(&self) -> Tensor<3> {
        self.intensity.clone().neg().exp().neg().add_scalar(1.0)
    }

    /// Means, q (α/β + s_min).
    fn mean(self) -> Tensor<3> {
        self.probability() * ((self.log_shape - self.log_rate).exp() + self.least)
    }

    /// log p(s): log(1 − q) for none, else log q + log Gamma(s − s_min; α, β).
    fn log_likelihood(self, sizes: Tensor<3>) -> Tensor<3> {
        let is_event = sizes.clone().greater_elem(0.0).float();
        let log_q = self.probability().clamp_min(LEAST_PROBABILITY).log();
        let excess = (sizes - self.least).clamp_min(LEAST_EXCESS);
        let shape = self.log_shape.clone().exp();
        let density = shape.clone() * self.log_rate.clone() + self.log_shape
            - ln_gamma_1p(shape.clone())
            + shape.add_scalar(-1.0) * excess.clone().log()
            - self.log_rate.exp() * excess;
        let none = self.intensity.neg();
        none.clone() + is_event * (log_q + density - none)
    }
}

impl ZigLfads {
    fn events(&self, deep: &DeepDraw) -> Events {
        let n_neurons = self.log_shape.dims()[0];
        let maps = self.sizes.forward_sequence(deep.factors.clone());
        let dims = [maps.dims()[0], maps.dims()[1], n_neurons];
        let each = |x: Tensor<1>| x.reshape([1, 1, n_neurons]).expand(dims);
        let log_of = |half: usize, scale: &Param<Tensor<1>>| {
            let share = sigmoid(maps.clone().narrow(2, half * n_neurons, n_neurons));
            let log = share.mul_scalar(2.0).clamp_min(1e-6).log() + each(scale.val());
            log.clamp(-MAX_LOG, MAX_LOG)
        };
        Events {
            intensity: deep.log_rates.clone().add_scalar(self.log_dt).exp(),
            log_shape: log_of(0, &self.log_shape),
            log_rate: log_of(1, &self.log_rate),
            least: each(self.least.val().detach()),
        }
    }

    /// The encoder reads a neuron's mean event where none was observed.
    fn observed(&self, x: Tensor<3>) -> Observed {
        Observed::filled(x, || {
            let log_rates = self.dynamics.baseline_log_rates().detach();
            let none = log_rates.add_scalar(self.log_dt).exp().neg().exp();
            let log_mean = self.log_shape.val() - self.log_rate.val();
            let size = log_mean.exp() + self.least.val();
            none.neg().add_scalar(1.0) * size.detach()
        })
    }
}

impl SequentialVae for ZigLfads {
    type Shallow = ();

    fn dynamics(&self) -> &Dynamics {
        &self.dynamics
    }

    fn dynamics_mut(&mut self) -> &mut Dynamics {
        &mut self.dynamics
    }

    fn deep_input(&self, x: &Tensor<3>) -> DeepInput {
        self.observed(x.clone()).values.into()
    }

    fn observe(&self, x: Tensor<3>, deep: &DeepPass, _: &mut Pass<'_>) -> Elbo {
        let n_trials = x.dims()[1] as f64;
        let observed = Observed::new(x);
        let likelihood = self
            .events(&deep.draw)
            .log_likelihood(observed.values.clone());
        let likelihood = deep.split.weigh(observed.only_present(likelihood));
        Elbo::new().with(Term::Reconstruction, likelihood.neg().div_scalar(n_trials))
    }

    fn encode_shallow(&self, _: Tensor<3>, _: &Tensor<3>) {}

    fn misfit(&self, events: &Tensor<3>, deep: &DeepDraw) -> Tensor<1> {
        let observed = Observed::new(events.clone());
        let likelihood = self.events(deep).log_likelihood(observed.values.clone());
        let negative = observed.only_present(likelihood).neg();
        negative.sum_dim(2).sum_dim(0).flatten(0, 2)
    }

    fn log_rates(&self, deep: &DeepDraw) -> Tensor<3> {
        let mean = self.events(deep).mean().clamp_min(LEAST_PROBABILITY);
        mean.log().add_scalar(-self.log_dt)
    }

    fn complete(&self, (): &(), deep: DeepDraw, _: &mut Noise) -> Draw {
        let log_rates = self.log_rates(&deep);
        Draw {
            log_rates,
            ..deep.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    fn one(value: f32) -> Tensor<3> {
        Tensor::full([1, 1, 1], value, &Device::flex())
    }

    fn events(q: f64, shape: f64, rate: f64, least: f64) -> Events {
        Events {
            intensity: one(-(-q).ln_1p() as f32),
            log_shape: one(shape.ln() as f32),
            log_rate: one(rate.ln() as f32),
            least: one(least as f32),
        }
    }

    #[test]
    fn the_density_integrates_to_one_with_the_mean_that_is_said() {
        for (q, shape, rate, least) in [
            (0.3, 2.0, 1.5, 0.5),
            (0.05, 4.0, 0.7, 0.0),
            (0.9, 1.0, 3.0, 0.2),
        ] {
            let of = || events(q, shape, rate, least);
            let density = |size: f64| {
                let log = of().log_likelihood(one(size as f32)).into_scalar::<f32>();
                f64::from(log).exp()
            };
            let none = density(0.0);
            let step = 0.002;
            let sizes = (0..20_000).map(|i| least + (f64::from(i) + 0.5) * step);
            let (sum, mean) = sizes.fold((0.0, 0.0), |(sum, mean), size| {
                let share = density(size) * step;
                (sum + share, mean + share * size)
            });
            assert!((none + sum - 1.0).abs() < 0.01, "{none} + {sum}");
            let said = f64::from(of().mean().into_scalar::<f32>());
            assert!((mean / said - 1.0).abs() < 0.01, "{mean}, {said}");
        }
    }

    #[test]
    fn statistics_are_of_events_alone() {
        let events = Array3::from_shape_fn((1, 10, 2), |(_, bin, neuron)| match (bin, neuron) {
            (3, 0) => 0.5,
            (7, 0) => 2.5,
            (9, _) => f32::NAN,
            _ => 0.0,
        });
        let found = EventStatistics::measure(events.view());
        assert_eq!(found.share, [2.0 / 9.0, 0.0]);
        assert_eq!(found.least, [0.5, 0.5]);
        assert_eq!(found.mean_excess, [1.0, 0.5]);
    }
}
