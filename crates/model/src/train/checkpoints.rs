//! Where a training keeps its checkpoints, how often, and what they belong to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ndarray::ArrayView3;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::batch::TrainData;
use crate::checkpoint::VERSION;

use super::TrainConfig;

/// Where a training keeps its checkpoints, how often, and what they belong to.
///
/// Each has its checksum and says what it belongs to: `of`, the training's settings, seed and data, the
/// version of this crate. A checkpoint of anything else is refused, and the field named that differs.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints<'a> {
    folder: &'a Path,
    of: &'a Value,
    every: Duration,
}

impl<'a> Checkpoints<'a> {
    /// In this folder, of what the caller calls `of`: anything that decides the numbers of the
    /// training and is not known to it, such as the model's settings.
    pub fn new(folder: &'a Path, of: &'a Value) -> Self {
        Self {
            folder,
            of,
            every: Duration::from_secs(30),
        }
    }

    /// At least one in so much time of work; 30 s without. There is one at every validation as well.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    pub(super) fn interval(&self) -> Duration {
        self.every
    }

    /// What they belong to.
    pub fn of(&self) -> &Value {
        self.of
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        self.folder
    }

    pub(super) fn last(&self) -> PathBuf {
        self.folder.join("last.ckpt")
    }

    pub(super) fn identity(&self, config: &TrainConfig, seed: u64, data: &TrainData) -> Value {
        json!({
            "of": self.of,
            "version": VERSION,
            "training": config,
            "seed": seed,
            "data": { "train": digest(data.train()), "valid": digest(data.valid()) },
        })
    }
}

/// SHA-256 of an array's shape and values.
fn digest(values: ArrayView3<'_, f32>) -> String {
    let mut sha = Sha256::new();
    for &length in values.shape() {
        sha.update((length as u64).to_le_bytes());
    }
    let mut bytes = Vec::new();
    for trial in values.outer_iter() {
        bytes.clear();
        bytes.extend(trial.iter().flat_map(|value| value.to_le_bytes()));
        sha.update(&bytes);
    }
    sha.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
