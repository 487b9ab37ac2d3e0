//! A run's folder: everything that says what was fitted to what, the weights, and the results.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use data::{Recording, Traces};
use model::TrainConfig;
use model::train::{Event, ValidationReport};
use runs::store::{hex, lock, write_atomically};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zoo::{ModelConfig, ModelName};

use crate::calibration::Calibration;
use crate::config::FitConfig;
use crate::held_out::HeldOut;

/// Layout of the folder.
const FORMAT: u32 = 2;

/// `run.json`: everything that decides the numbers of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Layout of the folder.
    pub format: u32,
    /// The model by its name.
    pub model: ModelName,
    /// The recording.
    pub source: Source,
    /// The configuration file with every default.
    pub config: FitConfig,
    /// The model's settings.
    pub model_config: ModelConfig,
    /// The training's settings.
    pub training: TrainConfig,
    /// Absent for models of spike counts.
    pub calibration: Option<Calibration>,
    /// What training never saw.
    pub held_out: HeldOut,
}

/// The recording that a run was fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// File or folder.
    pub path: PathBuf,
    /// Dataset in it.
    pub dataset: String,
    /// How it was read, in the words of the program that did.
    pub input: Value,
    /// SHA-256 of frame interval, lengths and values.
    pub sha256: String,
    /// Neurons by name.
    pub neuron_ids: Vec<String>,
    /// Seconds per frame.
    pub dt_s: f64,
    /// What the values are.
    pub units: Option<String>,
    /// Whether it is one long recording, cut into windows.
    pub continuous: bool,
    /// Trials in all, or 1.
    pub n_trials: usize,
}

/// `result.json`: what came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// Optimiser steps done.
    pub steps: usize,
    /// Wall-clock seconds of training, over all resumptions.
    pub train_seconds: f64,
    /// Restarts after NaN, and resets after a collapse.
    pub recoveries: usize,
    /// Of the last validation: negative bound in nats per trial.
    pub held_out_loss: Option<f64>,
    /// How well the inferred fluorescence fits the recorded one, held-out frames of all neurons.
    pub held_out_fluor_r2: Option<f64>,
    /// Median over neurons of the decay time, seconds, learned where the model learns it.
    #[serde(default)]
    pub median_tau_s: Option<f64>,
    /// Revision of the program.
    pub version: String,
}

/// `history.json`: how the training went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// Every validation.
    pub validations: Vec<ValidationReport>,
    /// Everything noteworthy since the last start.
    pub events: Vec<Event>,
}

impl RunRecord {
    /// The record of a fit that is about to begin.
    pub fn format() -> u32 {
        FORMAT
    }
}

impl Source {
    /// Describes `recording`, as read with `input`.
    pub fn of(recording: &Recording, input: Value) -> Self {
        Self {
            path: recording.path.clone(),
            dataset: recording.dataset.clone(),
            input,
            sha256: digest(recording),
            neuron_ids: recording.neuron_ids.clone(),
            dt_s: recording.dt_s,
            units: recording.units.map(|units| units.to_string()),
            continuous: matches!(recording.traces, Traces::Continuous(_)),
            n_trials: recording.stretches().len(),
        }
    }
}

fn digest(recording: &Recording) -> String {
    let mut sha = Sha256::new();
    sha.update(recording.dt_s.to_le_bytes());
    for trial in recording.stretches() {
        for &length in trial.shape() {
            sha.update((length as u64).to_le_bytes());
        }
        trial
            .iter()
            .for_each(|value| sha.update(value.to_le_bytes()));
    }
    hex(&sha.finalize())
}

/// The folder of a run.
pub struct RunFolder {
    path: PathBuf,
}

/// A folder that belongs to this process while the value lives.
pub struct Locked {
    /// The folder.
    pub folder: RunFolder,
    _lock: File,
}

impl RunFolder {
    /// A folder that holds a run.
    ///
    /// # Errors
    /// If it holds none.
    pub fn open(path: &Path) -> Result<(Self, RunRecord)> {
        let folder = Self { path: path.into() };
        if !folder.file("run.json").is_file() {
            bail!(
                "{}: this is not a run folder, it has no run.json; give the folder that `lfads fit -o` wrote",
                path.display()
            );
        }
        let whole: Value = folder.read("run.json")?;
        if whole["format"] != FORMAT {
            bail!(
                "{}: its run.json has format {}, this program writes and reads format {FORMAT}; fit anew, or use the program that wrote it",
                path.display(),
                whole["format"]
            );
        }
        let record = folder.read("run.json")?;
        Ok((folder, record))
    }

    /// The folder of the fit that `record` describes, new or to be gone on with.
    ///
    /// # Errors
    /// If it holds another fit, or another process works on it.
    pub fn begin(path: &Path, record: &RunRecord) -> Result<Locked> {
        std::fs::create_dir_all(path)
            .with_context(|| format!("{}: cannot create the folder", path.display()))?;
        let folder = Self { path: path.into() };
        let lock = lock(&folder.file("lock"))?;
        if folder.file("run.json").is_file() {
            let other: Value = folder.read("run.json")?;
            // As text, a 32-bit float has fewer digits than as a 64-bit one.
            let this: Value = serde_json::from_slice(&serde_json::to_vec(record)?)?;
            if let Some(field) = difference(&other, &this) {
                bail!(
                    "{}: it holds the run of another fit (`{field}` in run.json differs); give another folder to -o, or delete this one",
                    path.display()
                );
            }
        } else {
            folder.write("run.json", record)?;
            let config = toml::to_string_pretty(&record.config)?;
            write_atomically(&folder.file("config.toml"), config.as_bytes())?;
        }
        Ok(Locked {
            folder,
            _lock: lock,
        })
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the trainer keeps its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// The last weights.
    pub fn weights(&self) -> PathBuf {
        self.checkpoints().join("last.ckpt")
    }

    /// Reads a JSON file of the run.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.file(name);
        let text = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{}: damaged, or of another version", path.display()))
    }

    /// Writes a JSON file of the run, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_atomically(&self.file(name), &serde_json::to_vec_pretty(value)?)
    }
}

/// The first field, by path, in which two records differ; where the recording lies does not
/// matter.
fn difference(a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.filter(|key| *key != "path").find_map(|key| {
                let (a, b) = (a.get(key), b.get(key));
                let (a, b) = (a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null));
                let inner = difference(a, b)?;
                Some(match inner.as_str() {
                    "" => key.clone(),
                    _ => format!("{key}.{inner}"),
                })
            })
        }
        _ => (a != b).then(String::new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let a = json!({"seed": 1, "source": {"path": "a", "sha256": "x"}});
        let moved = json!({"seed": 1, "source": {"path": "b", "sha256": "x"}});
        let other = json!({"seed": 1, "source": {"path": "a", "sha256": "y"}});
        let more = json!({"seed": 1, "source": {"path": "a", "sha256": "x"}, "n": 2});
        assert_eq!(difference(&a, &moved), None);
        assert_eq!(difference(&a, &other), Some("source.sha256".into()));
        assert_eq!(difference(&a, &more), Some("n".into()));
    }
}
