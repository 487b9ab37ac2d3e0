//! Ladder LFADS with spike counts: the shallow posterior is Bayes' rule, not a network.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use calcium::counts::{LinearSensor, SaturatingSensor, Sensor};
use gru::poisson_log_likelihood_of_rates;
use serde::{Deserialize, Serialize};

use crate::batch::host;
use crate::calcium_model::{CalciumModel, CalciumParameters, NeuronCalcium, TrialStart};
use crate::count_draw::{CountBatch, CountDraw};
use crate::count_residuals::Residuals;
use crate::dynamics::{DeepDraw, Dynamics, DynamicsConfig};
use crate::elbo::{Draw, Elbo, Pass, SequentialVae};
use crate::error::{ModelError, require};
use crate::gaussian::DiagonalGaussian;
use crate::indicator::FluorStatistics;
use crate::lfads::{INIT_STEP, log_rates_from_counts};
use crate::noise::Noise;

/// Sizes and regularisation of [`CountLadder`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CountLadderConfig {
    /// The deep level.
    pub dynamics: DynamicsConfig,
    /// Whether decay, rise, gain and baseline of each neuron are learned, from the given
    /// values on; the noise always is.
    pub learn_calcium: bool,
    /// The factor within which of the given one a learned gain stays. Where noise hides single
    /// spikes, more and smaller ones explain the fluorescence about as well, and without this the
    /// gain may end anywhere.
    pub max_gain_change: Option<f64>,
    /// The calcium before a trial.
    pub trial_start: TrialStart,
}

impl CountLadderConfig {
    /// Fresh weights for fluorescence with the given statistics, in bins of `dt_s` seconds.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a setting outside its range.
    pub fn init(
        &self,
        statistics: &FluorStatistics,
        calcium: &CalciumModel,
        dt_s: f64,
        seed: u64,
        device: &Device,
    ) -> Result<CountLadder, ModelError> {
        self.dynamics.validate()?;
        calcium.validate(statistics.sd.len())?;
        require(dt_s > 0.0, "dt_s", dt_s, "above 0")?;
        let change = self.max_gain_change.unwrap_or(1.0);
        require(change >= 1.0, "max_gain_change", change, "at least 1")?;
        let mut noise = Noise::new(seed, INIT_STEP, device);
        let log_rates = log_rates_from_counts(&statistics.mean_counts, dt_s);
        let (start, learn) = (self.trial_start, self.learn_calcium);
        let calcium = CalciumParameters::new(calcium, statistics, start, learn, device);
        Ok(CountLadder {
            dynamics: self.dynamics.init(&log_rates, &mut noise, device),
            calcium: match self.max_gain_change {
                Some(factor) => calcium.with_gain_within(factor),
                None => calcium,
            },
            log_dt: dt_s.ln(),
        })
    }
}

/// Ladder LFADS whose spikes are counts, s_t ~ Poisson(λ_t dt).
///
/// Given the rates, the trials and neurons are independent and q(s | x, λ) is a sampled
/// posterior: current and next bin's counts enumerated, later bins as a Gaussian message. The
/// deep level learns from the expected counts, the innovations of hidden bins being kept from
/// its encoder; noise and calcium learn from x − f(c). Both are gradients of the bound with q
/// held fixed, as in expectation–maximisation: at the exact posterior q's own gradient is zero.
#[derive(Module, Debug)]
pub struct CountLadder {
    dynamics: Dynamics,
    calcium: CalciumParameters,
    #[module(skip)]
    log_dt: f64,
}

/// One sample of the shallow level.
struct Shallow {
    /// E[s | what is before], `[time, trial, neuron]`.
    expected: Tensor<3>,
    counts: Tensor<3>,
    fluor: Tensor<3>,
    /// −log p(x | counts), mean over trials.
    reconstruction: Tensor<1>,
    /// Σ ln q(counts).
    log_q: f64,
    /// Σ ln counts!.
    log_factorials: f64,
}

impl CountLadder {
    fn innovations(&self, x: &Tensor<3>) -> Tensor<3> {
        let [_, n_trials, n_neurons] = x.dims();
        let neurons = self.calcium.values();
        let values = host(x);
        let new = self
            .calcium
            .innovations(&neurons, &values, n_trials * n_neurons);
        Tensor::from_data(TensorData::new(new, x.dims()), &x.device())
    }

    /// Samples the counts of every trial and neuron, given log(λ dt).
    fn draw_shallow(&self, x: &Tensor<3>, log_counts: Tensor<3>, noise: &mut Noise) -> Shallow {
        let neurons = self.calcium.values();
        match (neurons[0].rise, self.calcium.saturation()) {
            (None, None) => self.draw_with::<1, _>(&neurons, LinearSensor::new, x, log_counts, noise),
            (Some(_), None) => self.draw_with::<2, _>(&neurons, LinearSensor::new, x, log_counts, noise),
            (None, Some(hill)) => {
                let sensor = |noise_sd| SaturatingSensor::new(hill, noise_sd);
                self.draw_with::<1, _>(&neurons, sensor, x, log_counts, noise)
            }
            (Some(_), Some(hill)) => {
                let sensor = |noise_sd| SaturatingSensor::new(hill, noise_sd);
                self.draw_with::<2, _>(&neurons, sensor, x, log_counts, noise)
            }
        }
    }

    /// The same for calcium of `P` lags seen through a sensor `S`.
    fn draw_with<const P: usize, S: Sensor>(
        &self,
        neurons: &[NeuronCalcium],
        sensor: impl Fn(f64) -> S,
        x: &Tensor<3>,
        log_counts: Tensor<3>,
        noise: &mut Noise,
    ) -> Shallow {
        let [n_bins, n_trials, n_neurons] = x.dims();
        let n_traces = n_trials * n_neurons;
        let batch = CountBatch {
            x: &host(x),
            log_means: &host(&log_counts),
            uniforms: &noise.uniforms(n_bins * n_traces),
            normals: &noise.normals(n_traces),
            n_bins,
        };
        let draw: CountDraw<P> = batch.draw(&self.calcium.posteriors::<P, S>(neurons, sensor));
        let tensor =
            |values: Vec<f32>| Tensor::from_data(TensorData::new(values, x.dims()), &x.device());
        let residuals: &[Residuals<P>] = &draw.residuals;
        Shallow {
            reconstruction: self
                .calcium
                .reconstruction(neurons, residuals, n_trials, n_bins),
            expected: tensor(draw.expected),
            counts: tensor(draw.counts),
            fluor: tensor(draw.fluor),
            log_q: draw.log_q,
            log_factorials: draw.log_factorials,
        }
    }
}

impl SequentialVae for CountLadder {
    type Encoded = (DiagonalGaussian<2>, Tensor<3>);

    fn elbo(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Elbo {
        let [n_bins, n_trials, _] = x.dims();
        let deep = self.dynamics.draw(self.innovations(&x), n_bins, pass);
        let log_counts = deep.log_rates.clone().detach().add_scalar(self.log_dt);
        let draw = self.draw_shallow(&x, log_counts, pass.noise);
        // −E log p(s | λ).
        let spikes = poisson_log_likelihood_of_rates(
            deep.log_rates,
            draw.expected,
            deep.split.weights,
            self.log_dt,
        );
        let spikes = spikes.sub_scalar(draw.log_factorials).neg();
        let entropy = Tensor::full([1], draw.log_q / n_trials as f64, &x.device());
        Elbo {
            spikes: Some(spikes.div_scalar(n_trials as f64)),
            reconstruction: draw.reconstruction,
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
        let draw = self.draw_shallow(x, log_rates.clone().add_scalar(self.log_dt), noise);
        Draw {
            factors,
            log_rates,
            spikes: Some(draw.counts),
            fluor: Some(draw.fluor),
        }
    }

    fn draw_deep(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> DeepDraw {
        let n_bins = x.dims()[0];
        let innovations = self.innovations(&x);
        self.dynamics.draw(innovations, n_bins, pass)
    }

    fn calcium(&self) -> Option<Vec<NeuronCalcium>> {
        Some(self.calcium.values())
    }

    fn dynamics_mut(&mut self) -> &mut Dynamics {
        &mut self.dynamics
    }

    fn project(self) -> Self {
        Self {
            dynamics: self.dynamics.project(),
            calcium: self.calcium.project(),
            ..self
        }
    }
}
