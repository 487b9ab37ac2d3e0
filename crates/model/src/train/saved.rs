//! Checkpoints of a training: written, resumed from, read for their weights.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use ndarray::Array3;

use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::pass::Task;
use crate::vae::SequentialVae;

use super::{State, Trainer};

/// Loads the averaged weights of a checkpoint into a model of the same configuration.
///
/// # Errors
/// [`ModelError::Checkpoint`] if the file cannot be read or belongs to another model.
pub fn load_weights<M: SequentialVae>(model: M, path: &Path) -> Result<M, ModelError> {
    let mut checkpoint = Checkpoint::<State>::read(path)?;
    let bytes = checkpoint.take(path, "average")?;
    load(model.valid(), bytes, path)
}

impl<M: SequentialVae> Trainer<'_, M> {
    pub(super) fn save(&self, name: &str) -> Result<(), ModelError> {
        let Some(folder) = self.folder else {
            return Ok(());
        };
        let path = folder.join(name);
        let fail = |problem: String| ModelError::Checkpoint {
            path: path.clone(),
            problem,
        };
        let weights = |model: &M| {
            model
                .clone()
                .into_record()
                .into_bytes()
                .map_err(|error| fail(error.to_string()))
        };
        let optimizer = self
            .optimizer
            .into_bytes()
            .map_err(|error| fail(error.to_string()))?;
        let spikes = match &self.task {
            Task::Deep(spikes) => spikes
                .iter()
                .flat_map(|spike| spike.to_le_bytes())
                .collect(),
            Task::Shallow | Task::Joint => Vec::new(),
        };
        Checkpoint {
            state: self.state.clone(),
            blobs: vec![
                ("model".into(), weights(&self.model)?),
                ("average".into(), weights(&self.average)?),
                ("optimizer".into(), optimizer),
                ("spikes".into(), Bytes::from_bytes_vec(spikes)),
            ],
        }
        .write(&path)
    }

    /// Loads `last.ckpt` if there is one; returns the steps it had done.
    pub(super) fn resume(&mut self) -> Result<Option<usize>, ModelError> {
        let Some(path) = self.folder.map(|folder| folder.join("last.ckpt")) else {
            return Ok(None);
        };
        if !path.exists() {
            return Ok(None);
        }
        let mut checkpoint = Checkpoint::<State>::read(&path)?;
        self.model = load(self.model.clone(), checkpoint.take(&path, "model")?, &path)?;
        self.average = load(
            self.average.clone(),
            checkpoint.take(&path, "average")?,
            &path,
        )?;
        self.optimizer = self
            .optimizer
            .clone()
            .from_bytes(checkpoint.take(&path, "optimizer")?)
            .map_err(|error| other_model(&path, &error))?;
        let spikes = checkpoint.take(&path, "spikes")?;
        if !spikes.is_empty() {
            let spikes = spikes
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect();
            let spikes = Array3::from_shape_vec(self.data.train().dim(), spikes)
                .map_err(|error| other_model(&path, &error))?;
            self.task = Task::Deep(spikes);
        }
        self.state = checkpoint.state;
        Ok(Some(self.state.step))
    }
}

fn load<M: Module>(model: M, bytes: Bytes, path: &Path) -> Result<M, ModelError> {
    ModuleRecord::from_bytes(bytes)
        .and_then(|record| model.try_load_record(record))
        .map_err(|error| other_model(path, &error))
}

fn other_model(path: &Path, error: &impl std::fmt::Display) -> ModelError {
    ModelError::Checkpoint {
        path: PathBuf::from(path),
        problem: format!("belongs to another model ({error}); remove it and train again"),
    }
}
