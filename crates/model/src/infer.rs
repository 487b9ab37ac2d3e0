//! Posterior means of everything a trained model infers.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ndarray::{Array3, ArrayView3};

use crate::PROGRESS;
use crate::batch::{add_to_trials, check_observations, time_major};
use crate::deep::DeepDraw;
use crate::elbo::TermWeights;
use crate::error::{ModelError, require};
use crate::gaussian::DiagonalGaussian;
use crate::noise::{Noise, Stream};
use crate::pass::{DropoutMode, Pass};
use crate::search::{KnownStates, Search, SearchConfig};
use crate::vae::{Draw, Encoded, SequentialVae, ShallowLevel};

/// Trials that go through the network together.
pub(crate) const BATCH: usize = 65;
/// Samples of the rates under which posterior means of the spikes are taken, where these follow by
/// Bayes' rule: they differ little from one to the next.
const N_SHALLOW: usize = 8;

/// Posterior means, each `[trial, time, ·]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// Factors.
    pub factors: Array3<f32>,
    /// Rates in Hz.
    pub rates_hz: Array3<f32>,
    /// Spike counts per bin, if the model infers them.
    pub spikes: Option<Array3<f32>>,
    /// Noiseless fluorescence, if the model infers it.
    pub fluor: Option<Array3<f32>>,
    /// The generator's inputs, if the model infers them.
    pub inputs: Option<InputPosterior>,
}

/// The posterior of the generator's inputs, each `[trial, time, input]`.
#[derive(Clone, Debug, PartialEq)]
pub struct InputPosterior {
    /// Means.
    pub mean: Array3<f32>,
    /// Standard deviations.
    pub sd: Array3<f32>,
}

/// Averages `n_samples` posterior samples of every trial of `x`, `[trial, time, neuron]`, by the
/// encoder's answer alone; see [`Inference::posterior_mean`].
///
/// # Errors
/// As there.
pub fn posterior_mean<M: SequentialVae>(
    model: &M,
    x: ArrayView3<'_, f32>,
    n_samples: usize,
    seed: u64,
) -> Result<Inferred, ModelError> {
    Inference::new(model).posterior_mean(x, n_samples, seed)
}

/// A trained model about to infer: by its encoder alone, or by a search that starts from its answer.
pub struct Inference<'a, M: SequentialVae> {
    model: M,
    search: Option<(SearchConfig, &'a KnownStates)>,
}

impl<'a, M: SequentialVae> Inference<'a, M> {
    /// By the encoder alone.
    pub fn new(model: &M) -> Self {
        Self {
            model: model.valid(),
            search: None,
        }
    }

    /// By steps on the posterior from the encoder's answer and from `known` states, as `config` says.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a setting outside its range, [`ModelError::Data`] for states of
    /// another model.
    pub fn searching(
        mut self,
        config: SearchConfig,
        known: &'a KnownStates,
    ) -> Result<Self, ModelError> {
        config.validate()?;
        known.check(&self.model)?;
        self.search = (config.n_steps > 0).then_some((config, known));
        Ok(self)
    }

    /// The model.
    pub(crate) fn model(&self) -> &M {
        &self.model
    }

    /// Averages `n_samples` posterior samples of every trial of `x`, `[trial, time, neuron]`.
    ///
    /// Where spikes follow from the rates by Bayes' rule, it is their posterior means that are averaged, over
    /// eight of the samples. Memory is that of one batch of trials and of the result, whatever `n_samples`.
    ///
    /// # Errors
    /// [`ModelError::Data`] for empty or infinite observations, [`ModelError::Config`] for no
    /// samples.
    pub fn posterior_mean(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Inferred, ModelError> {
        let (n_trials, n_bins, _) = x.dim();
        let mut means = Means::new(n_trials, n_bins);
        let stride = n_samples.div_ceil(N_SHALLOW).max(1);
        self.each_sample(x, n_samples, seed, |first, sample, encoded, noise| {
            let all = sample.is_multiple_of(stride);
            let draw = self.model.draw_mean(encoded, all, noise);
            means.add(0, first, draw.factors);
            means.add(1, first, draw.log_rates.exp());
            if let Some(spikes) = draw.spikes {
                means.add(2, first, spikes);
            }
            if let Some(fluor) = draw.fluor {
                means.add(3, first, fluor);
            }
            if let Some(DiagonalGaussian { mean, log_variance }) = draw.inputs {
                means.add(5, first, log_variance.exp() + mean.clone().square());
                means.add(4, first, mean);
            }
        })?;
        let [factors, rates_hz, spikes, fluor, inputs, squares] = means.divide();
        Ok(Inferred {
            factors: of_every_sample(factors),
            rates_hz: of_every_sample(rates_hz),
            spikes,
            fluor,
            inputs: inputs.zip(squares).map(|(mean, squares)| {
                let variances = squares - mean.mapv(|mean| mean * mean);
                InputPosterior {
                    sd: variances.mapv(|variance| variance.max(0.0).sqrt()),
                    mean,
                }
            }),
        })
    }

    /// Averages the factors alone: no spikes need be sampled.
    ///
    /// # Errors
    /// As [`Inference::posterior_mean`].
    pub fn posterior_factors(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Array3<f32>, ModelError> {
        let mut means = Means::new(x.dim().0, x.dim().1);
        self.sample_deep(x, n_samples, seed, DropoutMode::Nothing, |first, draw| {
            means.add(0, first, draw.factors);
        })?;
        let [factors, ..] = means.divide();
        Ok(of_every_sample(factors))
    }

    /// Draws `n_samples` samples of the deep level of every trial, with dropout of the generator if
    /// so asked, and hands them to `take`, each with the number of its first trial.
    pub(crate) fn sample_deep(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
        dropout: DropoutMode,
        mut take: impl FnMut(usize, DeepDraw),
    ) -> Result<(), ModelError> {
        self.each_sample(x, n_samples, seed, |first, _, encoded, noise| {
            let mut pass = Pass {
                weights: TermWeights::FULL,
                dropout,
                noise,
            };
            let draw = encoded.generate(self.model.dynamics(), &mut pass);
            take(first, draw.observed());
        })
    }

    /// Has `take` draw every sample of every batch of trials: from the number of its first trial, that
    /// of the sample, the posterior and the noise.
    fn each_sample(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
        mut take: impl FnMut(usize, usize, &Encoded<M::Shallow>, &mut Noise),
    ) -> Result<(), ModelError> {
        check_observations("the observation array", x)?;
        require(n_samples > 0, "n_samples", n_samples, "at least 1")?;
        let device = device_of(&self.model);
        let search = self
            .search
            .map(|(config, known)| Search::new(&self.model, config, known, seed));
        let n_trials = x.dim().0;
        for first in (0..n_trials).step_by(BATCH) {
            let trials: Vec<usize> = (first..n_trials.min(first + BATCH)).collect();
            let batch = time_major(x, &trials, &device);
            let mut encoded = self.model.encode(batch.clone());
            if let Some(search) = &search {
                encoded = search.refine(&batch, first, encoded);
            }
            let mut noise = Noise::new(seed, Stream::Posterior(first), &device);
            for sample in 0..n_samples {
                take(first, sample, &encoded, &mut noise);
                tracing::trace!(
                    target: PROGRESS,
                    what = "posterior samples",
                    done = (first * n_samples + (sample + 1) * trials.len()) as u64,
                    of = (n_trials * n_samples) as u64
                );
            }
        }
        Ok(())
    }
}

/// There is at least one trial and one sample, and every sample has factors and rates.
fn of_every_sample(mean: Option<Array3<f32>>) -> Array3<f32> {
    mean.expect("a sample of every trial has factors and rates")
}

/// Draws `n_samples` posterior samples of every trial of `x`, `[trial, time, neuron]`, and hands
/// them to `take`, each with the number of its first trial.
///
/// # Errors
/// [`ModelError::Data`] for empty or infinite observations, [`ModelError::Config`] for no
/// samples.
pub fn sample_posterior<M: SequentialVae>(
    model: &M,
    x: ArrayView3<'_, f32>,
    n_samples: usize,
    seed: u64,
    mut take: impl FnMut(usize, Draw),
) -> Result<(), ModelError> {
    let inference = Inference::new(model);
    inference.each_sample(x, n_samples, seed, |first, _, encoded, noise| {
        take(first, inference.model.draw(encoded, noise));
    })
}

/// The shallow level's own spikes of every trial, the mean of `n_samples`.
pub(crate) fn mean_spikes(
    level: &dyn ShallowLevel,
    x: ArrayView3<'_, f32>,
    n_samples: usize,
    noise: &mut Noise,
    device: &Device,
) -> Array3<f32> {
    let mut sum = Array3::zeros(x.dim());
    for first in (0..x.dim().0).step_by(BATCH) {
        let trials: Vec<usize> = (first..x.dim().0.min(first + BATCH)).collect();
        let batch = time_major(x, &trials, device);
        for _ in 0..n_samples {
            add_to_trials(&mut sum, first, level.infer_spikes(batch.clone(), noise));
        }
    }
    sum / n_samples as f32
}

/// Factors, rates, spikes, fluorescence, inputs and their squares.
const N_QUANTITIES: usize = 6;

/// Running sums of the quantities of a draw.
struct Means {
    n_trials: usize,
    n_bins: usize,
    sums: [Option<Array3<f32>>; N_QUANTITIES],
    /// Samples in each sum.
    n_samples: [usize; N_QUANTITIES],
}

impl Means {
    fn new(n_trials: usize, n_bins: usize) -> Self {
        Self {
            n_trials,
            n_bins,
            sums: [const { None }; N_QUANTITIES],
            n_samples: [0; N_QUANTITIES],
        }
    }

    fn add(&mut self, quantity: usize, first_trial: usize, sample: Tensor<3>) {
        let shape = (self.n_trials, self.n_bins, sample.dims()[2]);
        let sum = self.sums[quantity].get_or_insert_with(|| Array3::zeros(shape));
        add_to_trials(sum, first_trial, sample);
        // Every batch of trials has as many samples as the first.
        self.n_samples[quantity] += usize::from(first_trial == 0);
    }

    fn divide(self) -> [Option<Array3<f32>>; N_QUANTITIES] {
        let mut n_samples = self.n_samples.into_iter();
        self.sums.map(|sum| {
            let n_samples = n_samples.next().unwrap_or(1);
            sum.map(|sum| sum / n_samples as f32)
        })
    }
}

/// The device a module's weights are on.
pub(crate) fn device_of<M: Module>(model: &M) -> Device {
    model.devices().into_iter().next().unwrap_or_default()
}
