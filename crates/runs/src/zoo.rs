//! The models of Prince & Richards (2019) by name, and one way to work with whichever was chosen.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use baselines::{Data, EdgeworthLfadsConfig, GaussianLfadsConfig};
use burn::tensor::Device;
use model::dynamics::DynamicsConfig;
use model::train::{Observer, ValidationReport};
use model::{
    CalciumModel, CountLadderConfig, FluorStatistics, Indicator, Inferred, LadderConfig,
    LfadsConfig, ModelError, NeuronCalcium, SequentialVae, TrainConfig, TrainData, fit,
    load_weights, posterior_factors, posterior_mean, rate_coverage,
};
use ndarray::{Array3, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

/// A model by its name in settings and on command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// LFADS on spike counts.
    Lfads,
    /// LFADS on counts that OASIS deconvolved.
    OasisLfads,
    /// LFADS with the first two cumulants of the fluorescence.
    GaussianLfads,
    /// LFADS with the first four.
    EdgeworthLfads,
    /// Ladder LFADS, its spikes continuous or counts.
    LadderLfads,
}

impl ModelName {
    const ALL: [Self; 5] = [
        Self::Lfads,
        Self::OasisLfads,
        Self::GaussianLfads,
        Self::EdgeworthLfads,
        Self::LadderLfads,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Lfads => "lfads",
            Self::OasisLfads => "oasis-lfads",
            Self::GaussianLfads => "gaussian-lfads",
            Self::EdgeworthLfads => "edgeworth-lfads",
            Self::LadderLfads => "ladder-lfads",
        }
    }

    /// Whether the model reads spike counts; all others read fluorescence.
    pub const fn reads_spikes(self) -> bool {
        matches!(self, Self::Lfads)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ModelName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|model| model.name() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            anyhow!("unknown model '{text}'; known: {known}")
        })
    }
}

/// The settings of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelConfig {
    /// LFADS.
    Lfads(LfadsConfig),
    /// OASIS, then LFADS.
    OasisLfads(OasisLfadsConfig),
    /// Gaussian LFADS.
    GaussianLfads(GaussianLfadsConfig),
    /// Edgeworth LFADS.
    EdgeworthLfads(EdgeworthLfadsConfig),
    /// Ladder LFADS as published: real-valued spikes from a network.
    LadderLfads(LadderConfig),
    /// Ladder LFADS whose spikes are counts from Bayes' rule.
    CountLadder(CountLadderConfig),
}

/// LFADS on spike counts that OASIS deconvolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OasisLfadsConfig {
    /// Smallest spike, fluorescence units.
    pub s_min: f64,
    /// The deep level, which is all of LFADS.
    pub dynamics: DynamicsConfig,
}

impl ModelConfig {
    /// The settings of `model` in `table`; a ladder's `spikes` setting, `"continuous"` or
    /// `"counts"`, chooses between the two ladders.
    ///
    /// # Errors
    /// An unknown or mistyped field.
    pub fn parse(model: ModelName, mut table: toml::Table) -> Result<Self, toml::de::Error> {
        Ok(match model {
            ModelName::Lfads => Self::Lfads(table.try_into()?),
            ModelName::OasisLfads => Self::OasisLfads(table.try_into()?),
            ModelName::LadderLfads => match take_spikes(&mut table)? {
                LadderSpikes::Continuous => Self::LadderLfads(table.try_into()?),
                LadderSpikes::Counts => Self::CountLadder(table.try_into()?),
            },
            ModelName::GaussianLfads => Self::GaussianLfads(table.try_into()?),
            ModelName::EdgeworthLfads => Self::EdgeworthLfads(table.try_into()?),
        })
    }

    /// Whose settings these are.
    pub const fn name(&self) -> ModelName {
        match self {
            Self::Lfads(_) => ModelName::Lfads,
            Self::OasisLfads(_) => ModelName::OasisLfads,
            Self::GaussianLfads(_) => ModelName::GaussianLfads,
            Self::EdgeworthLfads(_) => ModelName::EdgeworthLfads,
            Self::LadderLfads(_) | Self::CountLadder(_) => ModelName::LadderLfads,
        }
    }

    /// The settings of the deep level, which every model has.
    pub const fn dynamics(&self) -> &DynamicsConfig {
        match self {
            Self::Lfads(LfadsConfig { dynamics })
            | Self::OasisLfads(OasisLfadsConfig { dynamics, .. })
            | Self::GaussianLfads(GaussianLfadsConfig { dynamics, .. })
            | Self::EdgeworthLfads(EdgeworthLfadsConfig { dynamics, .. })
            | Self::LadderLfads(LadderConfig { dynamics, .. })
            | Self::CountLadder(CountLadderConfig { dynamics, .. }) => dynamics,
        }
    }

    /// Checks the settings, so that nothing is trained in vain.
    ///
    /// # Errors
    /// A setting outside its range, or no indicator where one is needed.
    pub fn check(&self, setting: &Setting, device: &Device) -> Result<()> {
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
    ) -> Result<Trained> {
        let (seed, device) = (training.seed, training.device);
        let task = Fit {
            observed,
            training,
            observer,
        };
        self.with_model(setting, seed, device, task)
    }

    /// The model with the averaged weights of a checkpoint.
    ///
    /// # Errors
    /// As [`ModelConfig::check`] and [`model::load_weights`].
    pub fn load(
        &self,
        setting: &Setting,
        device: &Device,
        checkpoint: &Path,
    ) -> Result<Box<dyn Posterior>> {
        self.with_model(setting, 0, device, Load(checkpoint))
    }

    fn with_model<T: ModelTask>(
        &self,
        setting: &Setting,
        seed: u64,
        device: &Device,
        task: T,
    ) -> Result<T::Output> {
        let lfads = |dynamics: &DynamicsConfig| {
            let dynamics = dynamics.clone();
            let mean_counts = &setting.statistics.mean_counts;
            LfadsConfig { dynamics }.init(mean_counts, setting.dt_s, seed, device)
        };
        let (statistics, dt_s) = (&setting.statistics, setting.dt_s);
        match self {
            Self::Lfads(config) => task.run(lfads(&config.dynamics)?),
            Self::OasisLfads(config) => task.run(lfads(&config.dynamics)?),
            Self::GaussianLfads(config) => task.run(config.init(setting.data()?, seed, device)?),
            Self::EdgeworthLfads(config) => task.run(config.init(setting.data()?, seed, device)?),
            Self::LadderLfads(config) => {
                task.run(config.init(statistics, setting.indicator()?, dt_s, seed, device)?)
            }
            Self::CountLadder(config) => {
                task.run(config.init(statistics, setting.calcium()?, dt_s, seed, device)?)
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
    /// Folder to resume from and to keep checkpoints in.
    pub checkpoints: Option<&'a Path>,
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
}

/// A trained model, whichever it is.
pub trait Posterior {
    /// Posterior means of `x`, `[trial, time, neuron]`; see [`model::posterior_mean`].
    ///
    /// # Errors
    /// As there.
    fn posterior_mean(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Inferred, ModelError>;

    /// The factors alone, `[trial, time, factor]`; see [`model::posterior_factors`].
    ///
    /// # Errors
    /// As there.
    fn posterior_factors(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Array3<f32>, ModelError>;

    /// How much of the true rates lies within credible intervals; see [`model::rate_coverage`].
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

    /// What the model knows of each neuron's calcium; see [`SequentialVae::calcium`].
    fn calcium(&self) -> Option<Vec<NeuronCalcium>>;
}

impl<M: SequentialVae> Posterior for M {
    fn posterior_mean(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Inferred, ModelError> {
        posterior_mean(self, x, n_samples, seed)
    }

    fn posterior_factors(
        &self,
        x: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Array3<f32>, ModelError> {
        posterior_factors(self, x, n_samples, seed)
    }

    fn rate_coverage(
        &self,
        x: ArrayView3<'_, f32>,
        rates_hz: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
        levels: &[f64],
    ) -> Result<Vec<f64>, ModelError> {
        rate_coverage(self, x, rates_hz, n_samples, seed, levels)
    }

    fn calcium(&self) -> Option<Vec<NeuronCalcium>> {
        SequentialVae::calcium(self)
    }
}

/// Something to do with a model, whichever it is.
trait ModelTask {
    type Output;

    fn run<M: SequentialVae>(self, model: M) -> Result<Self::Output>;
}

/// Asks no more of a model than that it can be made.
struct Nothing;

impl ModelTask for Nothing {
    type Output = ();

    fn run<M: SequentialVae>(self, _: M) -> Result<()> {
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

    fn run<M: SequentialVae>(self, model: M) -> Result<Trained> {
        let Training {
            config,
            seed,
            checkpoints,
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
        Ok(Trained {
            model: Box::new(fitted.model),
            steps: fitted.steps,
            seconds: fitted.seconds,
            recoveries: fitted.recoveries,
            history: fitted.history,
        })
    }
}

struct Load<'a>(&'a Path);

impl ModelTask for Load<'_> {
    type Output = Box<dyn Posterior>;

    fn run<M: SequentialVae>(self, model: M) -> Result<Box<dyn Posterior>> {
        Ok(Box::new(load_weights(model, self.0)?))
    }
}

/// What the spikes of a ladder are: its `spikes` setting.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LadderSpikes {
    /// Real numbers from a network, as published.
    #[default]
    Continuous,
    /// Counts from Bayes' rule.
    Counts,
}

fn take_spikes(table: &mut toml::Table) -> Result<LadderSpikes, toml::de::Error> {
    let spikes = table.remove("spikes").map(toml::Value::try_into);
    Ok(spikes.transpose()?.unwrap_or_default())
}

/// What a model must know of its observations before it is made.
#[derive(Clone, Debug)]
pub struct Setting {
    dt_s: f64,
    /// Known where the model reads fluorescence.
    calcium: Option<CalciumModel>,
    statistics: FluorStatistics,
}

impl Setting {
    /// For spike counts, `[trial, time, neuron]`, in bins of `dt_s` seconds; NaN is missing.
    pub fn of_counts(counts: ArrayView3<'_, f32>, dt_s: f64) -> Self {
        let mean = |neuron: ArrayView3<'_, f32>| {
            let observed = neuron.iter().filter(|value| !value.is_nan());
            let (sum, n) = observed.fold((0.0, 0usize), |(sum, n), &v| (sum + f64::from(v), n + 1));
            (sum / n.max(1) as f64) as f32
        };
        let mean_counts: Vec<f32> = (0..counts.len_of(Axis(2)))
            .map(|n| mean(counts.slice_axis(Axis(2), (n..=n).into())))
            .collect();
        Self {
            dt_s,
            calcium: None,
            statistics: FluorStatistics {
                sd: vec![1.0; mean_counts.len()],
                mean_counts,
            },
        }
    }

    /// For fluorescence, `[trial, time, neuron]`. Rise and saturation, and differences between
    /// neurons, are news to the count ladder alone; other models take all neurons for the first.
    pub fn of_fluorescence(fluor: ArrayView3<'_, f32>, calcium: CalciumModel, dt_s: f64) -> Self {
        Self {
            dt_s,
            statistics: calcium.measure(fluor),
            calcium: Some(calcium),
        }
    }

    /// For a model whose weights will be loaded: sizes matter, statistics do not.
    pub fn of_trained(n_neurons: usize, indicator: Option<Indicator>, dt_s: f64) -> Self {
        Self {
            dt_s,
            calcium: indicator.map(|indicator| CalciumModel::shared(indicator, n_neurons)),
            statistics: FluorStatistics {
                mean_counts: vec![1.0; n_neurons],
                sd: vec![1.0; n_neurons],
            },
        }
    }

    fn calcium(&self) -> Result<&CalciumModel> {
        self.calcium
            .as_ref()
            .context("a model of fluorescence needs the indicator's decay")
    }

    fn indicator(&self) -> Result<Indicator> {
        let first = self.calcium()?.neurons.first();
        first.copied().context("the data hold no neuron")
    }

    fn data(&self) -> Result<Data<'_>> {
        Ok(Data {
            statistics: &self.statistics,
            indicator: self.indicator()?,
            dt_s: self.dt_s,
        })
    }
}
