//! Ladder LFADS with spike counts: the shallow posterior is Bayes' rule, not a network.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use calcium::counts::{CountModel, LinearSensor, MAX_MEAN_COUNT, SaturatingSensor, Sensor};
use gru::poisson_log_likelihood_of_rates;
use serde::{Deserialize, Serialize};

use crate::batch::host;
use crate::calcium_model::{CalciumModel, CalciumParameters, NeuronCalcium, TrialStart};
use crate::count_draw::{BatchChance, CountBatch, CountDraw, CountMeans};
use crate::deep::{DeepDraw, DeepInput, DeepPass};
use crate::dynamics::{Dynamics, DynamicsConfig};
use crate::elbo::{Elbo, Term};
use crate::error::{ModelError, require};
use crate::indicator::FluorStatistics;
use crate::lfads::{log_rates_from_counts, poisson_misfit, poisson_misfits};
use crate::noise::{Noise, Stream};
use crate::pass::Pass;
use crate::vae::{Draw, SequentialVae};

/// Where more of the spikes' posterior than this is left out in a mean frame, it is said.
const MOST_DISCARDED: f64 = 1e-3;

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
        let most = statistics.mean_counts.iter().copied().fold(0.0, f32::max);
        require(
            f64::from(most) <= MAX_MEAN_COUNT,
            "mean spikes of a neuron in a frame",
            most,
            "at most 1000; the size of one spike (`spike_size`) is far too small for these data",
        )?;
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
/// Given the rates, the trials and neurons are independent. In training q(s | x, λ) is a sampled
/// posterior: current and next bin's counts enumerated, later bins as a Gaussian message; posterior
/// means are Bayes' rule itself ([`CountModel::smooth`]). The deep level learns from the expected counts, the innovations of hidden bins being kept from
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

    /// Does `task` with the posteriors of the neurons' counts, whatever their lags and sensors.
    fn with_posteriors<T: CountTask>(&self, task: T) -> T::Output {
        let neurons = self.calcium.values();
        let saturating = |hill| move |noise_sd| SaturatingSensor::new(hill, noise_sd);
        match (neurons[0].rise, self.calcium.saturation()) {
            (None, None) => task.run(
                &neurons,
                &self.calcium.posteriors::<1, _>(&neurons, LinearSensor::new),
            ),
            (Some(_), None) => task.run(
                &neurons,
                &self.calcium.posteriors::<2, _>(&neurons, LinearSensor::new),
            ),
            (None, Some(hill)) => task.run(
                &neurons,
                &self.calcium.posteriors::<1, _>(&neurons, saturating(hill)),
            ),
            (Some(_), Some(hill)) => task.run(
                &neurons,
                &self.calcium.posteriors::<2, _>(&neurons, saturating(hill)),
            ),
        }
    }

    /// Samples the counts of every trial and neuron, given log(λ dt).
    fn draw_shallow(&self, x: &Tensor<3>, log_counts: Tensor<3>, noise: &mut Noise) -> Shallow {
        let [n_bins, n_trials, n_neurons] = x.dims();
        let n_traces = n_trials * n_neurons;
        self.with_posteriors(Sampling {
            calcium: &self.calcium,
            batch: &CountBatch {
                x: &host(x),
                log_means: &host(&log_counts),
                n_bins,
            },
            chance: BatchChance {
                uniforms: &noise.uniforms(n_bins * n_traces),
                normals: &noise.normals(n_traces),
            },
            n_trials,
            like: x,
        })
    }

    /// Posterior means of counts and fluorescence, given log(λ dt).
    fn smooth_shallow(&self, x: &Tensor<3>, log_counts: &Tensor<3>) -> [Tensor<3>; 2] {
        let means = self.with_posteriors(Smoothing(&CountBatch {
            x: &host(x),
            log_means: &host(log_counts),
            n_bins: x.dims()[0],
        }));
        if means.discarded > MOST_DISCARDED {
            tracing::warn!(
                "spikes are so vague here that {:.2} % of what they may be was left out in each frame: noise that hides \
                 single spikes, or a `spike_size` far too small",
                100.0 * means.discarded
            );
        }
        [means.counts, means.fluor].map(|values| like(x, values))
    }
}

/// What to do with the posteriors of all neurons' counts.
trait CountTask {
    type Output;

    fn run<const P: usize, S: Sensor>(
        self,
        neurons: &[NeuronCalcium],
        posteriors: &[CountModel<P, S>],
    ) -> Self::Output;
}

struct Sampling<'a> {
    calcium: &'a CalciumParameters,
    batch: &'a CountBatch<'a>,
    chance: BatchChance<'a>,
    n_trials: usize,
    /// Has the shape and the device of the results.
    like: &'a Tensor<3>,
}

impl CountTask for Sampling<'_> {
    type Output = Shallow;

    fn run<const P: usize, S: Sensor>(
        self,
        neurons: &[NeuronCalcium],
        posteriors: &[CountModel<P, S>],
    ) -> Shallow {
        let draw: CountDraw<P> = self.batch.draw(posteriors, self.chance);
        let (residuals, n_bins) = (&draw.residuals, self.batch.n_bins);
        Shallow {
            reconstruction: self
                .calcium
                .reconstruction(neurons, residuals, self.n_trials, n_bins),
            expected: like(self.like, draw.expected),
            counts: like(self.like, draw.counts),
            fluor: like(self.like, draw.fluor),
            log_q: draw.log_q,
            log_factorials: draw.log_factorials,
        }
    }
}

struct Smoothing<'a>(&'a CountBatch<'a>);

impl CountTask for Smoothing<'_> {
    type Output = CountMeans;

    fn run<const P: usize, S: Sensor>(
        self,
        _neurons: &[NeuronCalcium],
        posteriors: &[CountModel<P, S>],
    ) -> CountMeans {
        self.0.smooth(posteriors)
    }
}

/// Values in the shape of `other`, on its device.
fn like(other: &Tensor<3>, values: Vec<f32>) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values, other.dims()), &other.device())
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

    fn evidence(&self, x: &Tensor<3>, _: &Tensor<3>, deep: &DeepDraw, _: &mut Noise) -> Tensor<3> {
        let log_counts = deep.log_rates.clone().add_scalar(self.log_dt);
        let [counts, _] = self.smooth_shallow(x, &log_counts);
        counts
    }

    fn misfit(&self, counts: &Tensor<3>, deep: &DeepDraw) -> Tensor<1> {
        poisson_misfit(deep.log_rates.clone(), counts, self.log_dt)
    }

    fn misfits(&self, counts: &Tensor<3>, runs: &DeepDraw) -> Tensor<2> {
        poisson_misfits(runs.log_rates.clone(), counts, self.log_dt)
    }

    fn complete(&self, x: &Tensor<3>, deep: DeepDraw, noise: &mut Noise) -> Draw {
        let log_counts = deep.log_rates.clone().add_scalar(self.log_dt);
        let draw = self.draw_shallow(x, log_counts, noise);
        Draw {
            spikes: Some(draw.counts),
            fluor: Some(draw.fluor),
            ..deep.into()
        }
    }

    fn complete_mean(&self, x: &Tensor<3>, deep: DeepDraw, all: bool, _: &mut Noise) -> Draw {
        let log_counts = deep.log_rates.clone().add_scalar(self.log_dt);
        let means = all.then(|| self.smooth_shallow(x, &log_counts));
        let [spikes, fluor] = means.map_or([None, None], |means| means.map(Some));
        Draw {
            spikes,
            fluor,
            ..deep.into()
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
