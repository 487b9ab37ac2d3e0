//! Ladder LFADS with spike counts: the shallow posterior is Bayes' rule, not a network.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::count_posterior::{SpikePosterior, SpikeSample};
use crate::dynamics::{Coordinated, Dynamics, DynamicsConfig};
use crate::elbo::{Draw, Elbo, Pass, SequentialVae};
use crate::error::{ModelError, require};
use crate::gaussian::DiagonalGaussian;
use crate::ladder::{FluorStatistics, Indicator, gaussian_negative_log_likelihood};
use crate::layers::innovations;
use crate::lfads::{INIT_STEP, log_rates_from_counts};
use crate::noise::Noise;

/// Sizes and regularisation of [`CountLadder`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CountLadderConfig {
    /// The deep level.
    pub dynamics: DynamicsConfig,
}

impl CountLadderConfig {
    /// Fresh weights for fluorescence with the given statistics, in bins of `dt_s` seconds.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a setting outside its range.
    pub fn init(
        &self,
        statistics: &FluorStatistics,
        indicator: Indicator,
        dt_s: f64,
        seed: u64,
        device: &Device,
    ) -> Result<CountLadder, ModelError> {
        self.dynamics.validate()?;
        indicator.validate()?;
        require(dt_s > 0.0, "dt_s", dt_s, "above 0")?;
        let mut noise = Noise::new(seed, INIT_STEP, device);
        let log_rates = log_rates_from_counts(&statistics.mean_counts, dt_s);
        let log_noise = statistics.initial_log_noise();
        Ok(CountLadder {
            dynamics: self.dynamics.init(&log_rates, &mut noise, device),
            log_noise: Param::from_tensor(Tensor::from_floats(log_noise.as_slice(), device)),
            indicator,
            log_dt: dt_s.ln(),
        })
    }
}

/// Ladder LFADS whose spikes are counts, s_t ~ Poisson(λ_t dt).
///
/// Given the rates, the trials and neurons are independent and q(s | x, λ) is a sampled
/// posterior: current and next bin's counts enumerated, later bins as a Gaussian message. The
/// deep level learns from the expected counts, the innovations of hidden bins being kept from its encoder,
/// and the noise σ from x − y. Both are gradients of the bound with q held fixed, as in
/// expectation–maximisation: at the exact posterior q's own gradient is zero.
#[derive(Module, Debug)]
pub struct CountLadder {
    dynamics: Dynamics,
    log_noise: Param<Tensor<1>>,
    #[module(skip)]
    indicator: Indicator,
    #[module(skip)]
    log_dt: f64,
}

/// One sample of the shallow level, all `[time, trial, neuron]`.
struct CountDraw {
    expected: Tensor<3>,
    counts: Tensor<3>,
    calcium: Tensor<3>,
    /// Σ ln q(counts).
    log_q: f64,
    /// Σ ln counts!.
    log_factorials: f64,
}

impl CountLadder {
    fn innovations(&self, x: &Tensor<3>) -> Tensor<3> {
        innovations(x, self.indicator.g, self.indicator.baseline)
    }

    /// Samples the counts of every trial and neuron, given log(λ dt).
    fn draw_counts(&self, x: &Tensor<3>, log_counts: Tensor<3>, noise: &mut Noise) -> CountDraw {
        let [n_bins, n_trials, n_neurons] = x.dims();
        let n_traces = n_trials * n_neurons;
        let traces = by_trace(x);
        let log_means = by_trace(&log_counts);
        let uniforms = noise.uniforms(n_bins * n_traces);
        let log_noise = values(&self.log_noise.val());
        let posteriors: Vec<SpikePosterior> = log_noise
            .iter()
            .map(|&log_noise| SpikePosterior::new(self.indicator, f64::from(log_noise).exp()))
            .collect();
        let mut samples = vec![0.0; 3 * n_bins * n_traces];
        let log_q: Vec<f64> = samples
            .par_chunks_mut(3 * n_bins)
            .enumerate()
            .map_init(
                || SpikeSample::new(n_bins),
                |sample, (trace, out)| {
                    let span = trace * n_bins..(trace + 1) * n_bins;
                    let log_q = posteriors[trace % n_neurons].sample(
                        &traces[span.clone()],
                        &log_means[span.clone()],
                        &uniforms[span],
                        sample,
                    );
                    for (quantity, values) in [&sample.expected, &sample.counts, &sample.calcium]
                        .into_iter()
                        .enumerate()
                    {
                        out[quantity * n_bins..(quantity + 1) * n_bins].copy_from_slice(values);
                    }
                    log_q
                },
            )
            .collect();
        let log_factorials = samples
            .chunks(3 * n_bins)
            .flat_map(|sample| &sample[n_bins..2 * n_bins])
            .map(|&count| ln_factorial(count))
            .sum();
        let quantity = |index: usize| {
            let mut flat = vec![0.0; n_bins * n_traces];
            for (trace, sample) in samples.chunks(3 * n_bins).enumerate() {
                let values = &sample[index * n_bins..(index + 1) * n_bins];
                for (bin, &value) in values.iter().enumerate() {
                    flat[bin * n_traces + trace] = value;
                }
            }
            let shape = [n_bins, n_trials, n_neurons];
            Tensor::from_data(TensorData::new(flat, shape), &x.device())
        };
        CountDraw {
            expected: quantity(0),
            counts: quantity(1),
            calcium: quantity(2),
            log_q: log_q.iter().sum(),
            log_factorials,
        }
    }
}

/// −E log p(s | λ), mean over trials, as [`Coordinated`] weighs its bins.
fn spike_term(log_counts: Tensor<3>, draw: &CountDraw, split: &Coordinated) -> Tensor<1> {
    let n_trials = log_counts.dims()[1] as f64;
    let log_prob = draw.expected.clone() * log_counts.clone() - log_counts.exp();
    split
        .weigh(log_prob)
        .sub_scalar(draw.log_factorials)
        .neg()
        .div_scalar(n_trials)
}

/// `[time, trial, neuron]` as consecutive traces, those of a trial together.
fn by_trace(x: &Tensor<3>) -> Vec<f32> {
    let [n_bins, n_trials, n_neurons] = x.dims();
    let n_traces = n_trials * n_neurons;
    let time_major = values(x);
    let mut traces = vec![0.0; n_bins * n_traces];
    traces
        .par_chunks_mut(n_bins)
        .enumerate()
        .for_each(|(trace, values)| {
            for (bin, value) in values.iter_mut().enumerate() {
                *value = time_major[bin * n_traces + trace];
            }
        });
    traces
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor
        .to_data()
        .try_to_vec()
        .expect("models compute in f32")
}

fn ln_factorial(count: f32) -> f64 {
    (2..=count as u32).map(|k| f64::from(k).ln()).sum()
}

impl SequentialVae for CountLadder {
    type Encoded = (DiagonalGaussian<2>, Tensor<3>);

    fn elbo(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Elbo {
        let [n_bins, n_trials, _] = x.dims();
        let deep = self.dynamics.draw(self.innovations(&x), n_bins, pass);
        let log_counts = deep.log_rates.add_scalar(self.log_dt);
        let draw = self.draw_counts(&x, log_counts.clone().detach(), pass.noise);
        let entropy = Tensor::full([1], draw.log_q / n_trials as f64, &x.device());
        Elbo {
            spikes: Some(spike_term(log_counts, &draw, &deep.split)),
            reconstruction: gaussian_negative_log_likelihood(x, draw.calcium, self.log_noise.val()),
            kl_shallow: Some(entropy),
            kl_ic: Some(self.dynamics.kl(&deep.posterior)),
            l2: Some(self.dynamics.l2()),
        }
    }

    fn encode(&self, x: Tensor<3>) -> Self::Encoded {
        (self.dynamics.encode(self.innovations(&x), None), x)
    }

    fn draw(&self, (posterior, x): &Self::Encoded, noise: &mut Noise) -> Draw {
        let ic = posterior.sample(noise);
        let factors = self.dynamics.factors(ic, x.dims()[0], None);
        let log_rates = self.dynamics.log_rates(factors.clone());
        let draw = self.draw_counts(x, log_rates.clone().add_scalar(self.log_dt), noise);
        Draw {
            factors,
            log_rates,
            spikes: Some(draw.counts),
            fluor: Some(draw.calcium),
        }
    }

    fn project(mut self) -> Self {
        self.dynamics = self.dynamics.project();
        self
    }

    fn reset_dynamics(mut self, noise: &mut Noise) -> Self {
        self.dynamics = self.dynamics.reset(noise);
        self
    }
}
