//! Training and use of a model, whichever was chosen.

use std::path::Path;

use burn::tensor::Device;
use model::train::{Event, Observer, ValidationReport};
use model::{
    Checkpoints, Inference, Inferred, KnownStates, LfadsConfig, ModelError, NeuronCalcium,
    SearchConfig, SequentialVae, TrainConfig, TrainData, fit, load_weights,
};
use ndarray::{Array3, ArrayView3};
use serde_json::Value;

use crate::config::ModelConfig;
use crate::error::ZooError;
use crate::reading::Setting;

impl ModelConfig {
    /// Checks the settings, so that nothing is trained in vain.
    ///
    /// # Errors
    /// A setting outside its range, or no indicator where one is needed.
    pub fn check(&self, setting: &Setting, device: &Device) -> Result<(), ZooError> {
        self.with_model(setting, 0, device, Nothing)
    }

    /// Trains the model on `observed`; see [`model::fit`].
    ///
    /// # Errors
    /// As [`ModelConfig::check`] and [`model::fit`].
    pub fn fit(
        &self,
        setting: &Setting,
        observed: &TrainData,
        training: Training<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Trained, ZooError> {
        let (seed, device) = (training.seed, training.device);
        let task = Fit {
            observed,
            training,
            observer,
        };
        self.with_model(setting, seed, device, task)
    }

    /// The model with the averaged weights of a checkpoint of the training that is called `of`; it
    /// infers by `search`, from the states that training left beside it.
    ///
    /// # Errors
    /// As [`ModelConfig::check`] and [`model::load_weights`].
    pub fn load(
        &self,
        setting: &Setting,
        device: &Device,
        checkpoint: &Path,
        of: &Value,
        search: SearchConfig,
    ) -> Result<Box<dyn Posterior>, ZooError> {
        let task = Load {
            checkpoint,
            of,
            search,
        };
        self.with_model(setting, 0, device, task)
    }

    fn with_model<T: ModelTask>(
        &self,
        setting: &Setting,
        seed: u64,
        device: &Device,
        task: T,
    ) -> Result<T::Output, ZooError> {
        self.check_indicator(setting.calcium())?;
        let (statistics, dt_s) = (setting.statistics(), setting.dt_s());
        match self {
            Self::Lfads(_) | Self::OasisLfads(_) | Self::NetworkLfads(_) => {
                let dynamics = self.dynamics().clone();
                let config = LfadsConfig { dynamics };
                let model = config.init(&statistics.mean_counts, dt_s, seed, device)?;
                task.run(model.seen_through(setting.blur().cloned())?)
            }
            Self::ZigLfads(config) => {
                task.run(config.init(setting.events(self.name())?, dt_s, seed, device)?)
            }
            Self::GaussianLfads(config) => {
                task.run(config.init(setting.data(self.name())?, seed, device)?)
            }
            Self::EdgeworthLfads(config) => {
                task.run(config.init(setting.data(self.name())?, seed, device)?)
            }
            Self::LadderLfads(config) => {
                let indicator = setting.indicator(self.name())?;
                task.run(config.init(statistics, indicator, dt_s, seed, device)?)
            }
            Self::CountLadder(config) => {
                let calcium = setting.described(self.name())?;
                task.run(config.init(statistics, calcium, dt_s, seed, device)?)
            }
        }
    }
}

/// How to train.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// Steps, schedules, checks.
    pub config: &'a TrainConfig,
    /// Seed of weights, order and noise.
    pub seed: u64,
    /// Where to compute.
    pub device: &'a Device,
    /// Where to resume from and to keep checkpoints.
    pub checkpoints: Option<Checkpoints<'a>>,
    /// How the trained model will infer.
    pub search: SearchConfig,
}

/// A finished training.
pub struct Trained {
    /// The model with its averaged weights.
    pub model: Box<dyn Posterior>,
    /// Optimiser steps done.
    pub steps: usize,
    /// Wall-clock seconds of training, over all resumptions.
    pub seconds: f64,
    /// Restarts after NaN, and resets after a collapse.
    pub recoveries: usize,
    /// Every validation.
    pub history: Vec<ValidationReport>,
    /// Everything noteworthy, over all resumptions.
    pub events: Vec<Event>,
}

/// A trained model, whichever it is.
pub trait Posterior: Send {
    /// Posterior means of `x`, `[trial, time, neuron]`; see [`Inference::posterior_mean`].
    ///
    /// # Errors
    /// As there.
    fn posterior_mean(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Inferred, ModelError>;

    /// The factors alone, `[trial, time, factor]`; see [`Inference::posterior_factors`].
    ///
    /// # Errors
    /// As there.
    fn posterior_factors(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Array3<f32>, ModelError>;

    /// How much of the true rates lies within credible intervals; see [`Inference::rate_coverage`].
    ///
    /// # Errors
    /// As there.
    fn rate_coverage(
        &self,
        x: ArrayView3<'_, f32>,
        rates_hz: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
        levels: &[f64],
    ) -> Result<Vec<f64>, ModelError>;

    /// Has all that follows inferred by another search.
    fn set_search(&mut self, search: SearchConfig);

    /// What the model knows of each neuron's calcium; see [`SequentialVae::calcium`].
    fn calcium(&self) -> Option<Vec<NeuronCalcium>>;
}

/// A trained model, how it infers, and the states from which it may.
struct Ready<M> {
    model: M,
    search: SearchConfig,
    known: KnownStates,
}

impl<M: SequentialVae> Ready<M> {
    fn inference(&self) -> Result<Inference<'_, M>, ModelError> {
        Inference::new(&self.model).searching(self.search, &self.known)
    }
}

impl<M: SequentialVae> Posterior for Ready<M> {
    fn posterior_mean(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Inferred, ModelError> {
        self.inference()?.posterior_mean(x, n_samples, seed)
    }

    fn posterior_factors(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Array3<f32>, ModelError> {
        self.inference()?.posterior_factors(x, n_samples, seed)
    }

    fn rate_coverage(
        &self,
        x: ArrayView3<'_, f32>,
        rates_hz: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
        levels: &[f64],
    ) -> Result<Vec<f64>, ModelError> {
        let inference = self.inference()?;
        inference.rate_coverage(x, rates_hz, n_samples, seed, levels)
    }

    fn set_search(&mut self, search: SearchConfig) {
        self.search = search;
    }

    fn calcium(&self) -> Option<Vec<NeuronCalcium>> {
        self.model.calcium()
    }
}

/// Something to do with a model, whichever it is.
trait ModelTask {
    type Output;

    fn run<M: SequentialVae>(self, model: M) -> Result<Self::Output, ZooError>;
}

/// Asks no more of a model than that it can be made.
struct Nothing;

impl ModelTask for Nothing {
    type Output = ();

    fn run<M: SequentialVae>(self, _: M) -> Result<(), ZooError> {
        Ok(())
    }
}

struct Fit<'a> {
    observed: &'a TrainData,
    training: Training<'a>,
    observer: &'a mut dyn Observer,
}

impl ModelTask for Fit<'_> {
    type Output = Trained;

    fn run<M: SequentialVae>(self, model: M) -> Result<Trained, ZooError> {
        let Training {
            config,
            seed,
            checkpoints,
            search,
            ..
        } = self.training;
        let fitted = fit(
            model,
            self.observed,
            config,
            seed,
            checkpoints,
            self.observer,
        )?;
        let known = KnownStates::of(&fitted.model, self.observed);
        if let Some(checkpoints) = checkpoints {
            let path = checkpoints.folder().join(KnownStates::FILE);
            known.write(&path, checkpoints.of())?;
        }
        let model = Ready {
            model: fitted.model,
            search,
            known,
        };
        Ok(Trained {
            model: Box::new(model),
            steps: fitted.steps,
            seconds: fitted.seconds,
            recoveries: fitted.recoveries,
            history: fitted.history,
            events: fitted.events,
        })
    }
}

struct Load<'a> {
    checkpoint: &'a Path,
    of: &'a Value,
    search: SearchConfig,
}

impl ModelTask for Load<'_> {
    type Output = Box<dyn Posterior>;

    fn run<M: SequentialVae>(self, model: M) -> Result<Box<dyn Posterior>, ZooError> {
        let model = load_weights(model, self.checkpoint, Some(self.of))?;
        let states = self.checkpoint.with_file_name(KnownStates::FILE);
        // A training that is not complete has none.
        let known = match states.exists() {
            true => KnownStates::read(&states, self.of)?,
            false => KnownStates::none(&model),
        };
        Ok(Box::new(Ready {
            model,
            search: self.search,
            known,
        }))
    }
}
