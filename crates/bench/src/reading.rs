//! What the model of a row reads.

use anyhow::{Context, Result};
use data::Split;
use model::TrainData;
use zoo::Setting;

use crate::dataset::BenchmarkData;
use crate::evaluate::Inference;
use crate::recipe::Row;

/// The observations of a row, as its model reads them: once for all its seeds.
pub struct RowReading {
    pub observed: TrainData,
    /// What the row's model must know before it is made.
    pub setting: Setting,
    /// Whether `observed` holds counts that were deconvolved.
    deconvolved: bool,
}

impl RowReading {
    /// Takes from `data` what the model of `row` reads.
    ///
    /// # Errors
    /// If the dataset lacks it, or the model cannot know what the row tells it.
    pub fn of(row: &Row, data: &BenchmarkData) -> Result<Self> {
        let quantity = row.data.quantity();
        let dataset = &data.dataset;
        let read = |name, split: &Split| {
            let array = split.require(quantity);
            let array = array.with_context(|| format!("dataset, {name} split"))?;
            let calcium = row.calcium(data, array.dim().2)?;
            let reading = row
                .config
                .read(array.clone(), calcium.as_ref(), dataset.dt_s);
            reading.with_context(|| format!("dataset, {name} split"))
        };
        let (train, valid) = (
            read("train", &dataset.train)?,
            read("valid", &dataset.valid)?,
        );
        Ok(Self {
            setting: train.setting(),
            deconvolved: valid.spikes().is_some(),
            observed: TrainData::new(train.values, valid.values)?,
        })
    }

    /// Adds what is inferred beside the model: the deconvolved counts are the spikes.
    pub fn complete(&self, mut inference: Inference) -> Inference {
        if self.deconvolved {
            inference.valid.spikes = Some(self.observed.valid().to_owned());
        }
        inference
    }
}
