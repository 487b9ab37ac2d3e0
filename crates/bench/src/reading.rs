//! What the model of a row reads.

use anyhow::{Context, Result};
use baselines::deconvolve_counts;
use calcium::Ar1;
use data::Split;
use model::{CalciumModel, Indicator, TrainData};
use runs::zoo::{ModelConfig, OasisLfadsConfig, Setting};

use crate::dataset::BenchmarkData;
use crate::evaluate::Inference;
use crate::recipe::Row;

/// The observations of a row, as its model reads them.
pub struct Reading {
    pub observed: TrainData,
    dt_s: f64,
    /// Known where the row reads fluorescence.
    calcium: Option<CalciumModel>,
    /// Whether `observed` holds counts that OASIS deconvolved.
    deconvolved: bool,
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
        let n_neurons = fluor_or_counts.train().dim().2;
        let reading = Self {
            observed: fluor_or_counts,
            dt_s: data.dataset.dt_s,
            calcium: match row.config {
                ModelConfig::Lfads(_) => None,
                _ => Some(data.calcium(n_neurons, row.told_tau)?),
            },
            deconvolved: false,
        };
        match &row.config {
            ModelConfig::OasisLfads(config) => reading.deconvolve(config),
            _ => Ok(reading),
        }
    }

    /// What the row's model must know before it is made.
    pub fn setting(&self) -> Setting {
        let train = self.observed.train();
        match &self.calcium {
            Some(calcium) if !self.deconvolved => {
                Setting::of_fluorescence(train, calcium.clone(), self.dt_s)
            }
            _ => Setting::of_counts(train, self.dt_s),
        }
    }

    /// Adds what is inferred beside the model: the deconvolved counts are the spikes.
    pub fn complete(&self, mut inference: Inference) -> Inference {
        if self.deconvolved {
            inference.valid.spikes = Some(self.observed.valid().to_owned());
        }
        inference
    }

    fn deconvolve(self, config: &OasisLfadsConfig) -> Result<Self> {
        let calcium = self.calcium.as_ref();
        let Indicator { g, gain, .. } = *calcium
            .and_then(|calcium| calcium.neurons.first())
            .context("OASIS needs the indicator")?;
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
