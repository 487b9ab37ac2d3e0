//! Checkpoints of a training: written, resumed from, read for their weights.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use ndarray::Array3;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{Checkpoint, before};
use crate::error::ModelError;
use crate::pass::Task;
use crate::vae::SequentialVae;

use super::recovery::{Snapshot, is_finite};
use super::{Observer, State, Trainer};

/// What a checkpoint's header holds.
#[derive(Serialize, Deserialize)]
struct Saved {
    state: State,
    /// Of the snapshots, the older first.
    back: Vec<State>,
}

/// Loads the averaged weights of a checkpoint into a model of the same configuration; with `of`, only if
/// the training called itself so ([`Checkpoints`](super::Checkpoints)).
///
/// # Errors
/// [`ModelError::Checkpoint`] if the file cannot be read or belongs to another model.
pub fn load_weights<M: SequentialVae>(
    model: M,
    path: &Path,
    of: Option<&Value>,
) -> Result<M, ModelError> {
    let mut checkpoint = Checkpoint::<Saved>::read_of(path, of)?;
    let bytes = checkpoint.take(path, "average")?;
    load(model.valid(), bytes, path)
}

/// Checks that a checkpoint is whole and, with `of`, that its training called itself so.
///
/// # Errors
/// [`ModelError::Checkpoint`] if the file cannot be read, or is another's.
pub fn check_checkpoint(path: &Path, of: Option<&Value>) -> Result<(), ModelError> {
    Checkpoint::<Saved>::read_of(path, of).map(drop)
}

impl<M: SequentialVae> Trainer<'_, M> {
    /// Writes a checkpoint if it is time, or the last one if an end is asked for.
    pub(super) fn save_where_due(&mut self, observer: &mut dyn Observer) -> Result<(), ModelError> {
        let stops = observer.wants_to_stop() && !self.finished();
        let is_due = |every| self.saved.elapsed() >= every;
        if stops || self.checkpoints.is_some_and(|c| is_due(c.interval())) {
            self.save(observer)?;
        }
        match stops {
            true => Err(ModelError::Interrupted {
                step: self.state.step,
                n_steps: self.state.n_steps,
                saved: self.checkpoints.is_some(),
            }),
            false => Ok(()),
        }
    }

    pub(super) fn save(&mut self, observer: &mut dyn Observer) -> Result<(), ModelError> {
        self.state.seconds += self.counted.elapsed().as_secs_f64();
        self.counted = Instant::now();
        let Some(checkpoints) = self.checkpoints else {
            return Ok(());
        };
        let path = checkpoints.last();
        let fail = |problem: String| ModelError::Checkpoint {
            path: path.clone(),
            problem,
        };
        observer.before_checkpoint().map_err(fail)?;
        let mut blobs = vec![("spikes".into(), self.spikes())];
        let now = [(String::new(), &self.model, &self.average, &self.optimizer)];
        let back = self.back.iter().enumerate().map(|(place, old)| {
            (
                format!("{place}."),
                &old.model,
                &old.average,
                &old.optimizer,
            )
        });
        for (prefix, model, average, optimizer) in now.into_iter().chain(back) {
            blobs.push((format!("{prefix}model"), weights(model, &path)?));
            blobs.push((format!("{prefix}average"), weights(average, &path)?));
            let moments = optimizer.into_bytes();
            let moments = moments.map_err(|error| fail(error.to_string()))?;
            blobs.push((format!("{prefix}optimizer"), moments));
        }
        let back = self.back.iter().map(|old| old.state.clone()).collect();
        Checkpoint {
            identity: self.identity.clone(),
            state: Saved {
                state: self.state.clone(),
                back,
            },
            blobs,
        }
        .succeed(&path)?;
        (self.counted, self.saved) = (Instant::now(), Instant::now());
        Ok(())
    }

    fn spikes(&self) -> Bytes {
        let bytes = match &self.task {
            Task::Deep(spikes) => spikes
                .iter()
                .flat_map(|spike| spike.to_le_bytes())
                .collect(),
            Task::Shallow | Task::Joint => Vec::new(),
        };
        Bytes::from_bytes_vec(bytes)
    }

    /// Loads the last checkpoint, or the one before it if that is damaged; returns the steps it had
    /// done. Makes the folder if there is none.
    pub(super) fn resume(&mut self) -> Result<Option<usize>, ModelError> {
        let Some(checkpoints) = self.checkpoints else {
            return Ok(None);
        };
        let folder = checkpoints.folder();
        std::fs::create_dir_all(folder).map_err(|error| ModelError::Checkpoint {
            path: folder.to_owned(),
            problem: format!("the folder cannot be made: {error}"),
        })?;
        let last = checkpoints.last();
        let kept = before(&last);
        match (last.exists(), kept.exists()) {
            (false, false) => return Ok(None),
            (true, _) => self.resume_from_either(&last, &kept)?,
            (false, true) => {
                tracing::warn!(
                    "checkpoint {}: it is not there; going on from the one before it",
                    last.display()
                );
                self.restore(Checkpoint::read(&kept)?, &kept)?;
            }
        }
        self.counted = Instant::now();
        Ok(Some(self.state.step))
    }

    fn resume_from_either(&mut self, last: &Path, kept: &Path) -> Result<(), ModelError> {
        let damaged = match Checkpoint::read(last) {
            Ok(checkpoint) => return self.restore(checkpoint, last),
            Err(error) => error,
        };
        let Ok(checkpoint) = Checkpoint::read(kept) else {
            return Err(damaged.with_remedy());
        };
        tracing::warn!("{damaged}; going on from the one before it");
        self.restore(checkpoint, kept)?;
        // Else the next would keep the damaged one in its stead.
        std::fs::rename(kept, last).map_err(|error| ModelError::Checkpoint {
            path: last.to_owned(),
            problem: format!("cannot be replaced: {error}"),
        })
    }

    fn restore(&mut self, mut from: Checkpoint<Saved>, path: &Path) -> Result<(), ModelError> {
        let more = self.more_steps(&mut from.identity);
        from.check(path, &self.identity)?;
        let now = self.part(&mut from, path, "")?;
        let n_back = from.state.back.len();
        let mut back = Vec::new();
        for place in 0..n_back {
            let (model, average, optimizer) = self.part(&mut from, path, &format!("{place}."))?;
            back.push((model, average, optimizer));
        }
        let spikes = from.take(path, "spikes")?;
        if !spikes.is_empty() {
            let values = spikes.as_chunks::<4>().0.iter();
            let values = values.map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let external = &self.model.dynamics().config().external;
            let shape = external.observed(self.data.train()).dim();
            let spikes =
                Array3::from_shape_vec(shape, values).map_err(|error| other_model(path, &error))?;
            self.task = Task::Deep(spikes);
        }
        (self.model, self.average, self.optimizer) = now;
        let Saved {
            mut state,
            back: mut old,
        } = from.state;
        for state in old.iter_mut().chain([&mut state]) {
            state.lengthen(more);
        }
        self.state = state;
        let snapshots = back.into_iter().zip(old);
        self.back = snapshots
            .map(|((model, average, optimizer), state)| Snapshot {
                model,
                average,
                optimizer,
                state,
            })
            .collect();
        Ok(())
    }

    /// By how many steps this training is longer than the one called `other`, which from here on has as many: a
    /// training may be asked to go on.
    fn more_steps(&self, other: &mut Value) -> usize {
        let field = "/training/n_steps";
        let now = self.config.n_steps;
        let before = other.pointer(field).and_then(Value::as_u64);
        let more = before.and_then(|before| now.checked_sub(usize::try_from(before).ok()?));
        if let (Some(steps), Some(_)) = (other.pointer_mut(field), more) {
            *steps = now.into();
        }
        more.unwrap_or(0)
    }

    /// The weights, their average and the moments whose names begin so.
    fn part(
        &self,
        from: &mut Checkpoint<Saved>,
        path: &Path,
        prefix: &str,
    ) -> Result<(M, M, ModuleOptimizer), ModelError> {
        let mut take = |name: &str| from.take(path, &format!("{prefix}{name}"));
        let optimizer = self.optimizer.clone().from_bytes(take("optimizer")?);
        Ok((
            load(self.model.clone(), take("model")?, path)?,
            load(self.average.clone(), take("average")?, path)?,
            optimizer.map_err(|error| other_model(path, &error))?,
        ))
    }
}

fn weights<M: Module>(model: &M, path: &Path) -> Result<Bytes, ModelError> {
    let bytes = model.clone().into_record().into_bytes();
    bytes.map_err(|error| ModelError::Checkpoint {
        path: PathBuf::from(path),
        problem: error.to_string(),
    })
}

fn load<M: Module>(model: M, bytes: Bytes, path: &Path) -> Result<M, ModelError> {
    let model = ModuleRecord::from_bytes(bytes)
        .and_then(|record| model.try_load_record(record))
        .map_err(|error| other_model(path, &error))?;
    match is_finite(&model) {
        true => Ok(model),
        false => Err(ModelError::Checkpoint {
            path: PathBuf::from(path),
            problem: "holds weights that are no numbers (NaN or infinite); remove it and train again, with a lower `learning_rate`".into(),
        }),
    }
}

fn other_model(path: &Path, error: &impl std::fmt::Display) -> ModelError {
    ModelError::Checkpoint {
        path: PathBuf::from(path),
        problem: format!("belongs to another model ({error}); remove it and train again"),
    }
}
