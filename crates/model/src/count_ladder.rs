//! Ladder LFADS with spike counts: the shallow posterior is Bayes' rule, not a network.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use gru::poisson_log_likelihood_of_rates;
use serde::{Deserialize, Serialize};

use crate::batch::host;
use crate::calcium_model::{CalciumModel, CalciumParameters, NeuronCalcium, TrialStart};
use crate::count_draw::{CountBatch, CountDraw};
use crate::count_posterior::{Linear, Residuals, Saturating, Sensor};
use crate::dynamics::{DeepDraw, DeepInput, DeepPass, Dynamics, DynamicsConfig};
use crate::elbo::{Elbo, Term};
use crate::error::{ModelError, require};
use crate::indicator::FluorStatistics;
use crate::lfads::log_rates_from_counts;
use crate::noise::{Noise, Stream};
use crate::pass::Pass;
use crate::vae::{Draw, SequentialVae};

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
        let mut noise = Noise::new(seed, Stream::Weights, device);
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
            (None, None) => self.draw_with::<1, _>(&neurons, Linear::new, x, log_counts, noise),
            (Some(_), None) => self.draw_with::<2, _>(&neurons, Linear::new, x, log_counts, noise),
            (None, Some(hill)) => {
                let sensor = |noise_sd| Saturating::new(hill, noise_sd);
                self.draw_with::<1, _>(&neurons, sensor, x, log_counts, noise)
            }
            (Some(_), Some(hill)) => {
                let sensor = |noise_sd| Saturating::new(hill, noise_sd);
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
    /// The observations: the posterior of the spikes needs no encoder.
    type Shallow = Tensor<3>;

    fn dynamics(&self) -> &Dynamics {
        &self.dynamics
    }

    fn dynamics_mut(&mut self) -> &mut Dynamics {
        &mut self.dynamics
    }

    fn deep_input(&self, x: &Tensor<3>) -> DeepInput {
        self.innovations(x).into()
    }

    fn observe(&self, x: Tensor<3>, deep: &DeepPass, pass: &mut Pass<'_>) -> Elbo {
        let n_trials = x.dims()[1] as f64;
        let log_rates = deep.draw.log_rates.clone();
        let log_counts = log_rates.clone().detach().add_scalar(self.log_dt);
        let draw = self.draw_shallow(&x, log_counts, pass.noise);
        // −E log p(s | λ): the rates learn from the bins that their encoder has not seen.
        let weights = deep.split.weights.clone();
        let spikes =
            poisson_log_likelihood_of_rates(log_rates, draw.expected, weights, self.log_dt);
        let spikes = spikes.sub_scalar(draw.log_factorials).neg();
        let entropy = Tensor::full([1], draw.log_q / n_trials, &x.device());
        Elbo::new()
            .with(Term::Reconstruction, draw.reconstruction)
            .with(Term::Spikes, spikes.div_scalar(n_trials))
            .with(Term::KlShallow, entropy)
    }

    fn encode_shallow(&self, x: Tensor<3>, _: &Tensor<3>) -> Tensor<3> {
        x
    }

    fn complete(&self, x: &Tensor<3>, deep: DeepDraw, noise: &mut Noise) -> Draw {
        let log_counts = deep.log_rates.clone().add_scalar(self.log_dt);
        let draw = self.draw_shallow(x, log_counts, noise);
        Draw {
            factors: deep.factors,
            log_rates: deep.log_rates,
            spikes: Some(draw.counts),
            fluor: Some(draw.fluor),
        }
    }

    fn calcium(&self) -> Option<Vec<NeuronCalcium>> {
        Some(self.calcium.values())
    }

    fn project(self) -> Self {
        Self {
            dynamics: self.dynamics.project(),
            calcium: self.calcium.project(),
            ..self
        }
    }
}
