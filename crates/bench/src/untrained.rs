//! Rows that need no training: what a sceptic would try first.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use anyhow::{Context, Result};
use metrics::Fit;
use pipeline::simple::Deconvolver;
use serde::Deserialize;

use crate::constant_rate;
use crate::dataset::BenchmarkData;
use crate::recipe::{Observed, Recipe};
use crate::run::LEVELS;
use crate::simple::{self, Activities, Means};
use crate::table::{Metric, Scores, TableRow};

/// What a row scored on one dataset.
pub type Scored = Vec<(Metric, Fit)>;

/// A way to estimate something without training a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Untrained {
    /// Bayesian deconvolution under a constant rate of each neuron.
    ConstantRate,
    /// Activity smoothed by a Gaussian.
    Smoothed,
    /// Its first principal components.
    Components,
    /// The mean activity of the most similar training trials.
    LookUp,
}

impl fmt::Display for Untrained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConstantRate => "constant-rate",
            Self::Smoothed => "smoothed",
            Self::Components => "components",
            Self::LookUp => "look-up",
        })
    }
}

/// A row, and what it scored on one dataset after the other.
#[derive(Debug)]
pub struct UntrainedRow {
    by: Untrained,
    /// What takes spikes out of fluorescence first.
    deconvolver: Option<Deconvolver>,
    row: TableRow,
}

impl UntrainedRow {
    /// The rows that `recipe` wants, for each kind of data that its other rows read, and each deconvolver.
    pub fn of(recipe: &Recipe) -> Vec<Self> {
        let reads = |data: Observed| recipe.rows.iter().any(|row| row.data == data);
        let kinds = [
            (Observed::Spikes, Deconvolver::Counts),
            (Observed::Fluorescence, Deconvolver::Oasis),
            (Observed::Fluorescence, Deconvolver::Network),
        ];
        let of_one = |by: Untrained| -> Vec<Self> {
            match by {
                Untrained::ConstantRate => vec![Self::new(by, Observed::Fluorescence, None)],
                _ => kinds
                    .into_iter()
                    .filter(|(data, _)| reads(*data))
                    .map(|(data, deconvolver)| Self::new(by, data, Some(deconvolver)))
                    .collect(),
            }
        };
        recipe.untrained.iter().flat_map(|&by| of_one(by)).collect()
    }

    fn new(by: Untrained, data: Observed, deconvolver: Option<Deconvolver>) -> Self {
        let variant = match (data, deconvolver) {
            (Observed::Fluorescence, Some(deconvolver)) => deconvolver.name(),
            _ => "",
        };
        Self {
            by,
            deconvolver,
            row: TableRow {
                data: data.to_string(),
                model: by.to_string(),
                variant: variant.into(),
                dataset_seeds: Vec::new(),
                seeds: Vec::new(),
                metrics: BTreeMap::new(),
                by_encoder: BTreeMap::new(),
                train_seconds: Vec::new(),
                peak_rss_mb: Vec::new(),
                recoveries: Vec::new(),
                rate_coverage: LEVELS.map(|level| (level.to_string(), Vec::new())).into(),
                rates_per_neuron: Vec::new(),
                pulses: Vec::new(),
                tau_error: Vec::new(),
            },
        }
    }

    /// Scores it on `data`, of which there are such `activities`.
    ///
    /// # Errors
    /// Data without what it reads, or of an indicator that is not one.
    pub fn add(&mut self, data: &BenchmarkData, activities: &mut Activities<'_>) -> Result<()> {
        let start = Instant::now();
        let means = match self.by {
            Untrained::ConstantRate => None,
            Untrained::Smoothed => Some(Means::Smoothing),
            Untrained::Components => Some(Means::Components),
            Untrained::LookUp => Some(Means::LookUp),
        };
        let scored = match means.zip(self.deconvolver) {
            None => constant_rate::scores(data).map(|scored| (scored, None)),
            Some((means, by)) => simple::scores(activities, by, means),
        };
        let (scored, per_neuron) = scored.with_context(|| self.by.to_string())?;
        for (metric, Fit { r2, cod }) in scored {
            let scores: &mut Scores = self.row.metrics.entry(metric).or_default();
            scores.r2.push(r2);
            scores.cod.push(cod);
        }
        self.row.dataset_seeds.push(data.dataset.seed);
        self.row.seeds.push(1);
        self.row.train_seconds.push(start.elapsed().as_secs_f64());
        self.row.peak_rss_mb.push(None);
        self.row.recoveries.push(0);
        self.row.rates_per_neuron.push(per_neuron);
        self.row.pulses.push(None);
        self.row.tau_error.push(None);
        for covered in self.row.rate_coverage.values_mut() {
            covered.push(None);
        }
        Ok(())
    }

    pub fn into_row(self) -> TableRow {
        self.row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_holds_what_its_name_says() {
        let mut recipe = Recipe::quick().unwrap();
        recipe.rows.retain(|row| row.data == Observed::Spikes);
        recipe.untrained = vec![
            Untrained::Smoothed,
            Untrained::Components,
            Untrained::LookUp,
        ];
        let data = BenchmarkData::load(&recipe, 1, None).unwrap();
        let mut activities = Activities::of(&data);
        let means = [Means::Smoothing, Means::Components, Means::LookUp];
        let rows = UntrainedRow::of(&recipe);
        assert_eq!(rows.len(), 3);
        for (mut row, means) in rows.into_iter().zip(means) {
            row.add(&data, &mut activities).unwrap();
            let scored = simple::scores(&mut activities, Deconvolver::Counts, means);
            let (scored, _) = scored.unwrap();
            let of_rates = scored.iter().find(|(metric, _)| *metric == Metric::Rates);
            let (_, wanted) = of_rates.unwrap();
            let row = row.into_row();
            let found = row.metrics[&Metric::Rates].r2[0];
            assert!((found - wanted.r2).abs() < 1e-12, "{}", row.model);
        }
    }
}
