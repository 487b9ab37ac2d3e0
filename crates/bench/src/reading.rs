//! What the model of a row reads, and the model itself.

use anyhow::{Context, Result};
use baselines::{Data, deconvolve_counts};
use burn::tensor::Device;
use calcium::Ar1;
use data::Split;
use model::dynamics::DynamicsConfig;
use model::{
    CalciumModel, FluorStatistics, Indicator, Lfads, LfadsConfig, ModelError, SequentialVae,
    TrainData,
};
use ndarray::{ArrayView3, Axis};

use crate::dataset::BenchmarkData;
use crate::evaluate::Inference;
use crate::recipe::{ModelConfig, OasisLfadsConfig, Row};

/// The observations of a row, as its model reads them.
pub struct Reading {
    pub observed: TrainData,
    dt_s: f64,
    /// Known where the row reads fluorescence.
    indicator: Option<Indicator>,
    /// Whether `observed` holds counts that OASIS deconvolved.
    deconvolved: bool,
}

/// Something to do with a model, whichever it is.
pub trait ModelTask {
    type Output;

    fn run<M: SequentialVae>(self, model: M) -> Result<Self::Output>;
}

impl Reading {
    /// Takes from `data` what the model of `row` reads.
    ///
    /// # Errors
    /// If the dataset lacks it.
    pub fn of(row: &Row, data: &BenchmarkData) -> Result<Self> {
        let quantity = row.data.quantity();
        let take = |name, split: &Split| {
            let array = split.require(quantity);
            array
                .cloned()
                .with_context(|| format!("dataset, {name} split"))
        };
        let (train, valid) = (&data.dataset.train, &data.dataset.valid);
        let fluor_or_counts = TrainData::new(take("train", train)?, take("valid", valid)?)?;
        let reading = Self {
            observed: fluor_or_counts,
            dt_s: data.dataset.dt_s,
            indicator: match row.config {
                ModelConfig::Lfads(_) => None,
                _ => Some(data.indicator()?),
            },
            deconvolved: false,
        };
        match &row.config {
            ModelConfig::OasisLfads(config) => reading.deconvolve(config),
            _ => Ok(reading),
        }
    }

    /// Makes the model of `row` and hands it to `task`.
    ///
    /// # Errors
    /// A setting outside its range, or what `task` returns.
    pub fn with_model<T: ModelTask>(
        &self,
        row: &Row,
        seed: u64,
        device: &Device,
        task: T,
    ) -> Result<T::Output> {
        match &row.config {
            ModelConfig::Lfads(config) => task.run(self.lfads(&config.dynamics, seed, device)?),
            ModelConfig::OasisLfads(config) => {
                task.run(self.lfads(&config.dynamics, seed, device)?)
            }
            ModelConfig::GaussianLfads(config) => {
                task.run(config.init(self.fluor()?.data(), seed, device)?)
            }
            ModelConfig::EdgeworthLfads(config) => {
                task.run(config.init(self.fluor()?.data(), seed, device)?)
            }
            ModelConfig::LadderLfads(config) => {
                let Fluor {
                    statistics,
                    indicator,
                    dt_s,
                } = self.fluor()?;
                task.run(config.init(&statistics, indicator, dt_s, seed, device)?)
            }
            ModelConfig::CountLadder(config) => {
                let Fluor {
                    statistics,
                    indicator,
                    dt_s,
                } = self.fluor()?;
                let calcium = CalciumModel::shared(indicator, statistics.sd.len());
                task.run(config.init(&statistics, &calcium, dt_s, seed, device)?)
            }
        }
    }

    /// Adds what is inferred beside the model: the deconvolved counts are the spikes.
    pub fn complete(&self, mut inference: Inference) -> Inference {
        if self.deconvolved {
            inference.train.spikes = Some(self.observed.train().to_owned());
            inference.valid.spikes = Some(self.observed.valid().to_owned());
        }
        inference
    }

    fn lfads(
        &self,
        dynamics: &DynamicsConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Lfads, ModelError> {
        let config = LfadsConfig {
            dynamics: dynamics.clone(),
        };
        let mean_counts = mean_per_neuron(self.observed.train());
        config.init(&mean_counts, self.dt_s, seed, device)
    }

    fn fluor(&self) -> Result<Fluor> {
        let indicator = self.indicator.context("this row reads no fluorescence")?;
        Ok(Fluor {
            statistics: FluorStatistics::measure(self.observed.train(), &indicator),
            indicator,
            dt_s: self.dt_s,
        })
    }

    fn deconvolve(self, config: &OasisLfadsConfig) -> Result<Self> {
        let Indicator { g, gain, .. } = self.indicator.context("OASIS needs the indicator")?;
        let ar = Ar1::new(g)?;
        let counts = |fluor| deconvolve_counts(fluor, ar, gain, config.s_min);
        let (train, valid) = (
            counts(self.observed.train())?,
            counts(self.observed.valid())?,
        );
        Ok(Self {
            observed: TrainData::new(train, valid)?,
            deconvolved: true,
            ..self
        })
    }
}

/// What models of fluorescence must know before they are made.
struct Fluor {
    statistics: FluorStatistics,
    indicator: Indicator,
    dt_s: f64,
}

impl Fluor {
    fn data(&self) -> Data<'_> {
        Data {
            statistics: &self.statistics,
            indicator: self.indicator,
            dt_s: self.dt_s,
        }
    }
}

fn mean_per_neuron(x: ArrayView3<'_, f32>) -> Vec<f32> {
    x.axis_iter(Axis(2))
        .map(|neuron| neuron.mean().unwrap_or(0.0))
        .collect()
}
