//! LFADS whose rates become moments of a filtered Poisson process (Brigham & Destexhe 2015).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use gru::ar1_filter;
use model::layers::{innovations, normal_weight};
use model::{
    DeepDraw, DeepInput, DeepPass, Draw, Dynamics, DynamicsConfig, Elbo, FluorStatistics,
    Indicator, ModelError, Noise, Observed, Stream, Term, log_rates_from_counts,
};
use serde::{Deserialize, Serialize};

/// Taps of the learned kernels.
const N_TAPS: usize = 5;
/// Variances are kept above this.
const MIN_VARIANCE: f64 = 1e-4;

/// How rates map to the cumulants of the fluorescence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moments {
    /// One learned causal kernel of five taps per order, shared by all neurons; the generator
    /// runs four bins ahead so that no bin needs padding.
    AsPublished,
    /// The cumulants of an exponential kernel: Σ_k γ^{nk} αⁿ λ_{t−k} dt, and a learned noise
    /// variance per neuron for n = 2.
    #[default]
    Exact,
}

/// Time-varying cumulants of the fluorescence, each `[time, trial, neuron]`.
pub(crate) struct Cumulants {
    pub mean: Tensor<3>,
    pub variance: Tensor<3>,
    /// Orders 3 and up, as many as the likelihood asked for.
    pub higher: Vec<Tensor<3>>,
}

/// The deep level of LFADS with a filtered Poisson process on top.
#[derive(Module, Debug)]
pub(crate) struct FilteredPoisson {
    dynamics: Dynamics,
    /// Logarithms of the taps, `[order, tap]`; moments of a Poisson process are positive.
    log_taps: Option<Param<Tensor<2>>>,
    log_noise: Option<Param<Tensor<1>>>,
    #[module(skip)]
    order: usize,
    #[module(skip)]
    indicator: Indicator,
    #[module(skip)]
    dt_s: f64,
}

/// What the likelihood of a model makes of data and cumulants: elementwise log-density.
pub(crate) type LogDensity<'a> = &'a dyn Fn(Tensor<3>, Cumulants) -> Tensor<3>;

impl FilteredPoisson {
    pub fn new(
        config: &DynamicsConfig,
        moments: Moments,
        order: usize,
        data: Data<'_>,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        data.indicator.validate()?;
        let mut noise = Noise::new(seed, Stream::Weights, device);
        let log_rates = log_rates_from_counts(&data.statistics.mean_counts, data.dt_s);
        let dynamics = config.init(&log_rates, &mut noise, device);
        let learned = moments == Moments::AsPublished;
        let log_noise = data.statistics.initial_log_noise();
        Ok(Self {
            dynamics,
            log_taps: learned.then(|| {
                let flat = (1.0 / N_TAPS as f64).ln();
                let jitter = normal_weight([order, N_TAPS], 1, 0.1, &mut noise);
                Param::from_tensor(jitter.add_scalar(flat))
            }),
            log_noise: (!learned)
                .then(|| Param::from_tensor(Tensor::from_floats(log_noise.as_slice(), device))),
            order,
            indicator: data.indicator,
            dt_s: data.dt_s,
        })
    }

    /// Bins the generator runs before the first observed one.
    fn n_lead_in(&self) -> usize {
        match self.log_taps {
            Some(_) => N_TAPS - 1,
            None => 0,
        }
    }

    fn cumulants(&self, log_rates: Tensor<3>) -> Cumulants {
        let counts = log_rates.exp().mul_scalar(self.dt_s);
        let mut orders: Vec<Tensor<3>> = match &self.log_taps {
            Some(log_taps) => (0..self.order)
                .map(|order| convolve(&counts, log_taps.val().narrow(0, order, 1).exp()))
                .collect(),
            None => (1..=self.order)
                .map(|order| self.exact_cumulant(counts.clone(), order as i32))
                .collect(),
        };
        let higher = orders.split_off(2);
        let noise_variance = self.log_noise.as_ref().map(|log_noise| {
            let n_neurons = log_noise.dims()[0];
            log_noise
                .val()
                .mul_scalar(2.0)
                .exp()
                .reshape([1, 1, n_neurons])
        });
        let variance = orders.remove(1);
        Cumulants {
            mean: orders.remove(0),
            variance: match noise_variance {
                Some(noise) => variance + noise,
                None => variance,
            }
            .clamp_min(MIN_VARIANCE),
            higher,
        }
    }

    /// κ_n(t) = γⁿ κ_n(t−1) + αⁿ λ_t dt (+ β for n = 1).
    fn exact_cumulant(&self, counts: Tensor<3>, order: i32) -> Tensor<3> {
        let Indicator { g, gain, baseline } = self.indicator;
        let [_, n_trials, n_neurons] = counts.dims();
        let at_rest = Tensor::zeros([n_trials, n_neurons], &counts.device());
        let drive = counts.mul_scalar(gain.powi(order));
        let drive = match order {
            1 => drive.add_scalar(baseline),
            _ => drive,
        };
        ar1_filter(drive, at_rest, &vec![g.powi(order) as f32; n_neurons])
    }

    /// The encoder reads the fluorescence as published, else its innovations, which carry the
    /// news of one bin each and so suit coordinated dropout.
    pub fn deep_input(&self, x: &Tensor<3>) -> DeepInput {
        let values = match self.log_taps {
            Some(_) => Observed::new(x.clone()).values,
            None => innovations(x, self.indicator.g, self.indicator.baseline),
        };
        DeepInput {
            values,
            external: None,
            n_lead_in: self.n_lead_in(),
        }
    }

    pub fn observe(&self, x: Tensor<3>, deep: &DeepPass, log_density: LogDensity<'_>) -> Elbo {
        let n_trials = x.dims()[1] as f64;
        let x = Observed::new(x);
        let cumulants = self.cumulants(deep.draw.log_rates.clone());
        let log_prob = x.only_present(log_density(x.values.clone(), cumulants));
        let log_prob = deep.split.weigh(log_prob);
        Elbo::new().with(Term::Reconstruction, log_prob.neg().div_scalar(n_trials))
    }

    pub fn misfit(&self, x: &Tensor<3>, deep: &DeepDraw, log_density: LogDensity<'_>) -> Tensor<1> {
        let x = Observed::new(x.clone());
        let cumulants = self.cumulants(deep.log_rates.clone());
        let log_prob = x.only_present(log_density(x.values.clone(), cumulants));
        log_prob.neg().sum_dim(2).sum_dim(0).flatten(0, 2)
    }

    pub fn complete(&self, deep: DeepDraw) -> Draw {
        let cumulants = self.cumulants(deep.log_rates.clone());
        Draw {
            fluor: Some(cumulants.mean),
            ..deep.observed().into()
        }
    }

    pub fn dynamics(&self) -> &Dynamics {
        &self.dynamics
    }

    pub fn dynamics_mut(&mut self) -> &mut Dynamics {
        &mut self.dynamics
    }
}

/// What a model must know of the data before it can be initialised.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Moments of the fluorescence.
    pub statistics: &'a FluorStatistics,
    /// The indicator's dynamics.
    pub indicator: Indicator,
    /// Bin width in seconds.
    pub dt_s: f64,
}

/// Σ_j taps_j counts_{t−j} for every bin that has all its predecessors.
fn convolve(counts: &Tensor<3>, taps: Tensor<2>) -> Tensor<3> {
    let n_bins = counts.dims()[0] + 1 - N_TAPS;
    (0..N_TAPS)
        .map(|lag| {
            let tap = taps.clone().narrow(1, lag, 1).reshape([1, 1, 1]);
            counts.clone().narrow(0, N_TAPS - 1 - lag, n_bins) * tap
        })
        .reduce(|sum, term| sum + term)
        .unwrap_or_else(|| counts.clone())
}

/// Implements `SequentialVae` for a newtype-like model around [`FilteredPoisson`], whose
/// likelihood is `$log_density(weights) -> impl Fn(x, cumulants)`.
macro_rules! sequential_vae {
    ($model:ty, $log_density:path) => {
        impl model::SequentialVae for $model {
            type Shallow = ();

            fn dynamics(&self) -> &model::Dynamics {
                self.process.dynamics()
            }

            fn dynamics_mut(&mut self) -> &mut model::Dynamics {
                self.process.dynamics_mut()
            }

            fn deep_input(&self, x: &burn::tensor::Tensor<3>) -> model::DeepInput {
                self.process.deep_input(x)
            }

            fn observe(
                &self,
                x: burn::tensor::Tensor<3>,
                deep: &model::DeepPass,
                pass: &mut model::Pass<'_>,
            ) -> model::Elbo {
                let log_density = $log_density(pass.weights);
                self.process.observe(x, deep, &log_density)
            }

            fn encode_shallow(&self, _: burn::tensor::Tensor<3>, _: &burn::tensor::Tensor<3>) {}

            fn misfit(
                &self,
                x: &burn::tensor::Tensor<3>,
                deep: &model::DeepDraw,
            ) -> burn::tensor::Tensor<1> {
                let log_density = $log_density(model::TermWeights::FULL);
                self.process.misfit(x, deep, &log_density)
            }

            fn complete(
                &self,
                (): &(),
                deep: model::DeepDraw,
                _: &mut model::Noise,
            ) -> model::Draw {
                self.process.complete(deep)
            }
        }
    };
}
pub(crate) use sequential_vae;

#[cfg(test)]
mod tests {
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const INDICATOR: Indicator = Indicator {
        g: 0.6,
        gain: 1.5,
        baseline: 0.3,
    };
    const DT_S: f64 = 0.1;
    /// Expected counts of each bin.
    const COUNTS: [f64; 5] = [0.4, 1.5, 0.1, 0.9, 0.2];
    const N_SIMULATED: usize = 400_000;

    /// Knuth's method.
    fn poisson(mean: f64, rng: &mut impl Rng) -> f64 {
        let (limit, mut product, mut count) = ((-mean).exp(), rng.random::<f64>(), 0.0);
        while product > limit {
            product *= rng.random::<f64>();
            count += 1.0;
        }
        count
    }

    /// The first four cumulants of each bin's values.
    fn simulated() -> [[f64; 4]; COUNTS.len()] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut traces = vec![[0.0; COUNTS.len()]; N_SIMULATED];
        for trace in &mut traces {
            let mut y = 0.0;
            for (value, mean) in trace.iter_mut().zip(COUNTS) {
                let Indicator { g, gain, baseline } = INDICATOR;
                y = g * y + gain * poisson(mean, &mut rng) + baseline;
                *value = y;
            }
        }
        std::array::from_fn(|bin| {
            let average = |value: &dyn Fn(f64) -> f64| {
                let sum: f64 = traces.iter().map(|trace| value(trace[bin])).sum();
                sum / N_SIMULATED as f64
            };
            let mean = average(&|y| y);
            let central = |power| average(&|y| (y - mean).powi(power));
            let variance = central(2);
            let excess = central(4) - 3.0 * variance.powi(2);
            [mean, variance, central(3), excess]
        })
    }

    #[test]
    fn exact_moments_of_all_four_orders_are_those_of_a_simulation() {
        let device = Device::flex();
        let statistics = FluorStatistics {
            mean_counts: vec![1.0],
            // No noise to speak of.
            sd: vec![0.0],
        };
        let data = Data {
            statistics: &statistics,
            indicator: INDICATOR,
            dt_s: DT_S,
        };
        let config = DynamicsConfig::default();
        let process = FilteredPoisson::new(&config, Moments::Exact, 4, data, 1, &device);
        let log_rates = COUNTS.map(|count| (count / DT_S).ln());
        let log_rates = Tensor::<1>::from_floats(log_rates, &device).reshape([COUNTS.len(), 1, 1]);
        let Cumulants {
            mean,
            variance,
            higher,
        } = process.unwrap().cumulants(log_rates);
        let orders: Vec<Vec<f32>> = [vec![mean, variance], higher]
            .concat()
            .into_iter()
            .map(|order| order.into_data().iter::<f32>().collect())
            .collect();
        for (bin, wanted) in simulated().iter().enumerate() {
            for (order, want) in wanted.iter().enumerate() {
                let got = f64::from(orders[order][bin]);
                assert!(
                    (got - want).abs() < 0.15 * (1.0 + want),
                    "order {} of bin {bin}: {got}, simulated {want}",
                    order + 1
                );
            }
        }
    }
}
