//! Recipes: every number behind a table, from TOML.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use data::Quantity;
use model::dynamics::DynamicsConfig;
use model::{LadderConfig, LfadsConfig, TrainConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use synth::LorenzBenchmark;

use crate::table::Metric;

/// Everything that decides the numbers of a table, beside the device.
#[derive(Debug)]
pub struct Recipe {
    /// File name, for messages.
    pub name: String,
    pub dataset_seed: u64,
    /// Training seeds per row: 1, 2, ….
    pub n_seeds: u64,
    pub dataset: LorenzBenchmark,
    pub evaluation: Evaluation,
    pub rows: Vec<Row>,
}

/// How a trained model is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Posterior samples averaged for each trial.
    pub n_samples: usize,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub data: Observed,
    pub model: ModelName,
    pub variant: String,
    /// The paper's r².
    pub paper: BTreeMap<Metric, f64>,
    pub config: ModelConfig,
    pub training: TrainConfig,
}

/// What a model sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    Spikes,
    Fluorescence,
}

impl Observed {
    pub const fn quantity(self) -> Quantity {
        match self {
            Self::Spikes => Quantity::Spikes,
            Self::Fluorescence => Quantity::Fluor,
        }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spikes => "spikes",
            Self::Fluorescence => "fluorescence",
        })
    }
}
