//! The training loop: warm-up, clipping, weight averaging, checkpoints and recovery.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device};
use ndarray::{Array3, ArrayView3};
use serde::{Deserialize, Serialize};

use crate::batch::{TrainData, shuffled, time_major};
use crate::checkpoint::Checkpoint;
use crate::elbo::{ElboValues, Pass, SequentialVae, Stage, TermWeights};
use crate::error::{ModelError, require};
use crate::infer::{device_of, mean_spikes};
use crate::noise::Noise;
use crate::optimizer::{blend, clip_global_norm};
use crate::schedule::{LearningRate, PlateauState, WarmUp};

/// Steps between updates of the averaged weights.
const AVERAGE_EVERY: usize = 8;
/// Below this many nats the initial condition says nothing: the deep level has collapsed.
const COLLAPSED_KL: f64 = 0.5;
/// Below this standard deviation the factors are constant.
const COLLAPSED_FACTOR_SD: f64 = 1e-3;
/// Restarts after a NaN before giving up.
const MAX_DIVERGENCES: usize = 5;
/// Resets of a collapsed deep level before training goes on without.
const MAX_RESETS: usize = 3;
/// Noise streams beside those of the optimiser steps.
const VALIDATION_STEP: u64 = u64::MAX - 1;
const SPIKES_STEP: u64 = u64::MAX - 2;
const RESET_STEP: u64 = u64::MAX - 3;
/// Samples averaged into the spikes from which the deep level learns alone.
const N_SPIKE_SAMPLES: usize = 4;

/// Every number of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub n_steps: usize,
    /// Trials per step.
    pub batch_size: usize,
    /// Learning rate over the steps.
    pub learning_rate: LearningRate,
    /// Adam's decay of the first moment.
    pub beta_1: f32,
    /// Adam's decay of the second moment.
    pub beta_2: f32,
    /// Adam's ε.
    pub epsilon: f32,
    /// The gradient's joint norm is clipped to this.
    pub clip_norm: f64,
    /// When each level joins in.
    pub warm_up: WarmUp,
    /// Decay per step of the running average of the weights, which is what training returns;
    /// 0 returns the last weights.
    pub average_decay: f64,
    /// Epochs between validations, and between checkpoints.
    pub validate_every: usize,
    /// Validations without improvement before training stops early; absent: never.
    pub patience: Option<usize>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            n_steps: 8_000,
            batch_size: 65,
            learning_rate: LearningRate::Cosine {
                peak: 0.01,
                constant_fraction: 0.3,
                final_fraction: 0.002,
            },
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 0.1,
            clip_norm: 200.0,
            warm_up: WarmUp::default(),
            average_decay: 0.998,
            validate_every: 10,
            patience: None,
        }
    }
}

impl TrainConfig {
    /// Checks every number, as [`fit`] does before it starts.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the field, the value and the valid range.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.learning_rate.validate()?;
        for (field, size) in [
            ("n_steps", self.n_steps),
            ("batch_size", self.batch_size),
            ("validate_every", self.validate_every),
        ] {
            require(size > 0, field, size, "at least 1")?;
        }
        for (field, beta) in [("beta_1", self.beta_1), ("beta_2", self.beta_2)] {
            require((0.0..1.0).contains(&beta), field, beta, "in [0, 1)")?;
        }
        require(self.epsilon > 0.0, "epsilon", self.epsilon, "above 0")?;
        require(self.clip_norm > 0.0, "clip_norm", self.clip_norm, "above 0")?;
        require(
            (0.0..1.0).contains(&self.average_decay),
            "average_decay",
            self.average_decay,
            "in [0, 1)",
        )
    }
}

/// One optimiser step, as an [`Observer`] sees it.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub n_steps: usize,
    /// The minimised loss, nats per trial.
    pub loss: f64,
    /// Its terms.
    pub terms: ElboValues,
    /// Warm-up state.
    pub weights: TermWeights,
    /// Learning rate.
    pub learning_rate: f64,
    /// Joint norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// One validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// Steps done.
    pub step: usize,
    /// Mean loss of the training steps since the last validation.
    pub train_loss: f64,
    /// Terms on the validation trials, without dropout, by the averaged weights.
    pub valid: ElboValues,
    /// Standard deviation of the factors over bins and trials.
    pub factor_sd: f64,
}

/// Something a user should know of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Training goes on from a checkpoint.
    Resumed {
        /// Steps done before.
        step: usize,
    },
    /// A term or the gradient was not finite: back to the last good weights, rate halved.
    Diverged {
        /// The step.
        step: usize,
        /// The offending term.
        term: String,
    },
    /// The deep level said nothing of the data and was given fresh weights.
    Collapsed {
        /// The step.
        step: usize,
        /// KL of the initial condition, nats per trial.
        kl_ic: f64,
        /// Standard deviation of the factors.
        factor_sd: f64,
        /// Whether it was reset, or resets were used up.
        reset: bool,
    },
    /// The validation bound had not improved for the configured patience.
    StoppedEarly {
        /// The step.
        step: usize,
    },
}

/// Watches a training; every method may be left out.
pub trait Observer {
    /// After each optimiser step.
    fn on_step(&mut self, _report: &StepReport) {}
    /// After each validation.
    fn on_validation(&mut self, _report: &ValidationReport) {}
    /// When something noteworthy happens.
    fn on_event(&mut self, _event: &Event) {}
}

/// An [`Observer`] that does nothing.
impl Observer for () {}

/// A finished training.
#[derive(Clone, Debug)]
pub struct Fitted<M> {
    /// The model with its averaged weights, without autodiff.
    pub model: M,
    /// Optimiser steps done.
    pub steps: usize,
    /// Wall-clock seconds of training, over all resumptions.
    pub seconds: f64,
    /// Restarts after NaN, and resets after a collapse.
    pub recoveries: usize,
    /// Every validation.
    pub history: Vec<ValidationReport>,
}

/// Trains `model` on `data`.
///
/// With `checkpoint_dir`, `last.ckpt` there is resumed from and kept up to date, and
/// `best.ckpt` holds the weights of the best validation bound. The same seed, machine and
/// configuration give the same weights, whether interrupted or not.
///
/// # Errors
/// [`ModelError::Config`] for settings out of range, [`ModelError::Diverged`] if the loss stays
/// non-finite through every recovery, [`ModelError::Checkpoint`] if a checkpoint cannot be read
/// or written.
pub fn fit<M: SequentialVae>(
    model: M,
    data: &TrainData,
    config: &TrainConfig,
    seed: u64,
    checkpoint_dir: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Fitted<M>, ModelError> {
    config.validate()?;
    let mut trainer = Trainer::new(model, data, config, seed, checkpoint_dir);
    if let Some(step) = trainer.resume()? {
        observer.on_event(&Event::Resumed { step });
    }
    while !trainer.finished() {
        trainer.epoch(observer)?;
    }
    Ok(trainer.into_fitted())
}

/// The part of a training that goes into a checkpoint's header.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    step: usize,
    epoch: usize,
    n_steps: usize,
    deep_start: usize,
    plateau: PlateauState,
    rate_scale: f64,
    divergences: usize,
    resets: usize,
    best_valid: Option<f64>,
    validations_since_best: usize,
    stopped_early: bool,
    seconds: f64,
    losses: Vec<f64>,
    history: Vec<ValidationReport>,
}

struct Trainer<'a, M> {
    model: M,
    average: M,
    optimizer: ModuleOptimizer,
    state: State,
    /// In [`Stage::Deep`]: what the shallow level found, `[trial, time, neuron]`.
    spikes: Option<Array3<f32>>,
    data: &'a TrainData,
    config: &'a TrainConfig,
    seed: u64,
    folder: Option<&'a Path>,
    device: Device,
}

impl<'a, M: SequentialVae> Trainer<'a, M> {
    fn new(
        model: M,
        data: &'a TrainData,
        config: &'a TrainConfig,
        seed: u64,
        folder: Option<&'a Path>,
    ) -> Self {
        let model = if device_of(&model).is_autodiff() {
            model
        } else {
            model.train()
        };
        let device = device_of(&model);
        let optimizer = AdamConfig::new()
            .with_beta_1(config.beta_1)
            .with_beta_2(config.beta_2)
            .with_epsilon(config.epsilon)
            .init();
        Self {
            average: model.valid(),
            model,
            optimizer,
            state: State {
                step: 0,
                epoch: 0,
                n_steps: config.n_steps,
                deep_start: config.warm_up.deep_start,
                plateau: PlateauState::NEW,
                rate_scale: 1.0,
                divergences: 0,
                resets: 0,
                best_valid: None,
                validations_since_best: 0,
                stopped_early: false,
                seconds: 0.0,
                losses: Vec::new(),
                history: Vec::new(),
            },
            spikes: None,
            data,
            config,
            seed,
            folder,
            device,
        }
    }

    fn finished(&self) -> bool {
        self.state.step >= self.state.n_steps || self.state.stopped_early
    }

    fn into_fitted(self) -> Fitted<M> {
        Fitted {
            model: self.average,
            steps: self.state.step,
            seconds: self.state.seconds,
            recoveries: self.state.divergences + self.state.resets,
            history: self.state.history,
        }
    }

    /// One pass over the trials; if the loss diverges, the epoch is undone and tried again
    /// at half the learning rate.
    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<(), ModelError> {
        let start = Instant::now();
        let good = (
            self.model.clone(),
            self.average.clone(),
            self.optimizer.clone(),
            self.state.clone(),
        );
        if let Err((term, value)) = self.steps_of_epoch(observer) {
            let step = self.state.step;
            let divergences = self.state.divergences + 1;
            if divergences > MAX_DIVERGENCES {
                return Err(ModelError::Diverged {
                    term,
                    value,
                    step,
                    recoveries: self.state.divergences,
                });
            }
            tracing::warn!(step, term, value, "training diverged; restarting the epoch");
            (self.model, self.average, self.optimizer, self.state) = good;
            self.state.divergences = divergences;
            self.state.rate_scale *= 0.5;
            self.state.seconds += start.elapsed().as_secs_f64();
            observer.on_event(&Event::Diverged {
                step,
                term: term.to_owned(),
            });
            return Ok(());
        }
        let epoch_loss = mean(&self.state.losses[good.3.losses.len()..]);
        self.state
            .plateau
            .observe(epoch_loss, &self.config.learning_rate);
        self.state.epoch += 1;
        let due = self.state.epoch.is_multiple_of(self.config.validate_every) || self.finished();
        if due {
            self.validate(observer)?;
        }
        self.state.seconds += start.elapsed().as_secs_f64();
        if due {
            self.save("last.ckpt")?;
        }
        Ok(())
    }

    fn weights(&self) -> TermWeights {
        self.config
            .warm_up
            .at(self.state.step, self.state.deep_start)
    }

    /// Has the shallow level infer the spikes when the deep level's time alone begins, and
    /// forgets them when it ends.
    fn update_spikes(&mut self) {
        if self.weights().stage != Stage::Deep {
            self.spikes = None;
        } else if self.spikes.is_none() {
            self.spikes = self.infer_spikes(self.data.train());
        }
    }

    fn infer_spikes(&self, x: ArrayView3<'_, f32>) -> Option<Array3<f32>> {
        let device = device_of(&self.average);
        let mut noise = Noise::new(self.seed, SPIKES_STEP, &device);
        mean_spikes(&self.average, x, N_SPIKE_SAMPLES, &mut noise)
    }

    fn steps_of_epoch(&mut self, observer: &mut dyn Observer) -> Result<(), (&'static str, f64)> {
        // After a divergence the retried epoch sees another order and other noise.
        let seed = self
            .seed
            .wrapping_add((self.state.divergences as u64) << 32);
        let train = self.data.train();
        let order = shuffled(train.dim().0, seed, self.state.epoch);
        for trials in order.chunks(self.config.batch_size) {
            if self.finished() {
                break;
            }
            let report = self.step(trials, seed)?;
            self.state.losses.push(report.loss);
            observer.on_step(&report);
        }
        Ok(())
    }

    fn step(&mut self, trials: &[usize], seed: u64) -> Result<StepReport, (&'static str, f64)> {
        self.update_spikes();
        let step = self.state.step;
        let weights = self.weights();
        let rate = self.state.rate_scale
            * self
                .config
                .learning_rate
                .at(step, self.state.n_steps, self.state.plateau.decays);
        let mut noise = Noise::new(seed, step as u64, &self.device);
        let x = time_major(self.data.train(), trials, &self.device);
        let elbo = self.model.elbo(
            x,
            &mut Pass {
                weights,
                training: true,
                noise: &mut noise,
                spikes: self
                    .spikes
                    .as_ref()
                    .map(|spikes| time_major(spikes.view(), trials, &self.device)),
            },
        );
        let terms = elbo.values();
        if let Some(bad) = terms.non_finite() {
            return Err(bad);
        }
        let loss = elbo.loss(&weights);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        let mut grads = GradientsParams::from_grads(loss.backward(), &self.model);
        let gradient_norm = clip_global_norm(&self.model, &mut grads, self.config.clip_norm);
        if !gradient_norm.is_finite() {
            return Err(("gradient", gradient_norm));
        }
        self.model = self
            .optimizer
            .step(rate, self.model.clone(), grads)
            .project();
        self.state.step += 1;
        self.update_average();
        Ok(StepReport {
            step: self.state.step,
            n_steps: self.state.n_steps,
            loss: value,
            terms,
            weights,
            learning_rate: rate,
            gradient_norm,
        })
    }

    fn update_average(&mut self) {
        let step = self.state.step;
        let last = step >= self.state.n_steps;
        if self.config.average_decay == 0.0 {
            self.average = self.model.valid();
        } else if step.is_multiple_of(AVERAGE_EVERY) || last {
            // A young average forgets faster, so that it never clings to the initial weights.
            let young = step as f64 / (step as f64 + 10.0 * AVERAGE_EVERY as f64);
            let decay = self
                .config
                .average_decay
                .powi(AVERAGE_EVERY as i32)
                .min(young);
            self.average = blend(self.average.clone(), &self.model.valid(), decay).project();
        }
    }

    fn validate(&mut self, observer: &mut dyn Observer) -> Result<(), ModelError> {
        let (valid, factor_sd) = self.evaluate();
        let report = ValidationReport {
            step: self.state.step,
            train_loss: mean(&std::mem::take(&mut self.state.losses)),
            valid,
            factor_sd,
        };
        tracing::debug!(?report, "validation");
        observer.on_validation(&report);
        self.state.history.push(report);
        let weights = self.weights();
        if weights.stage == Stage::Shallow || weights.kl_deep < 1.0 || weights.kl_shallow < 1.0 {
            return Ok(());
        }
        if self.recover_from_collapse(&valid, factor_sd, observer) || weights.stage == Stage::Deep {
            return Ok(());
        }
        self.track_best(valid.negative_bound(), observer)
    }

    /// Terms of the bound on the validation trials, and the spread of the factors.
    fn evaluate(&self) -> (ElboValues, f64) {
        let valid = self.data.valid();
        let device = device_of(&self.average);
        let weights = TermWeights {
            stage: self.weights().stage,
            ..TermWeights::FULL
        };
        let spikes = match weights.stage {
            Stage::Deep => self.infer_spikes(valid),
            _ => None,
        };
        let mut noise = Noise::new(self.seed, VALIDATION_STEP, &device);
        let trials: Vec<usize> = (0..valid.dim().0).collect();
        let mut spread = Vec::new();
        let values: Vec<ElboValues> = trials
            .chunks(self.config.batch_size)
            .map(|trials| {
                let x = time_major(valid, trials, &device);
                if weights.stage != Stage::Shallow {
                    let encoded = self.average.encode(x.clone());
                    let factors = self.average.draw(&encoded, &mut noise).factors;
                    spread.push(f64::from(factors.var(0).mean().into_scalar::<f32>()));
                }
                let spikes = spikes
                    .as_ref()
                    .map(|spikes| time_major(spikes.view(), trials, &device));
                let mut pass = Pass {
                    weights,
                    training: false,
                    noise: &mut noise,
                    spikes,
                };
                self.average.elbo(x, &mut pass).values()
            })
            .collect();
        (ElboValues::mean(&values), mean(&spread).sqrt())
    }

    /// Resets a collapsed deep level; tells whether it did.
    fn recover_from_collapse(
        &mut self,
        valid: &ElboValues,
        factor_sd: f64,
        observer: &mut dyn Observer,
    ) -> bool {
        let Some(kl_ic) = valid.kl_ic else {
            return false;
        };
        if kl_ic > COLLAPSED_KL && factor_sd > COLLAPSED_FACTOR_SD {
            return false;
        }
        let step = self.state.step;
        let reset = self.state.resets < MAX_RESETS;
        tracing::warn!(
            step,
            kl_ic,
            factor_sd,
            reset,
            "the deep level has collapsed"
        );
        observer.on_event(&Event::Collapsed {
            step,
            kl_ic,
            factor_sd,
            reset,
        });
        if !reset {
            return false;
        }
        self.state.resets += 1;
        let stream = RESET_STEP - self.state.resets as u64;
        let mut noise = Noise::new(self.seed, stream, &self.device);
        self.model = self.model.clone().reset_dynamics(&mut noise);
        self.average = self.model.valid();
        self.state.n_steps += step - self.state.deep_start;
        self.state.deep_start = step;
        self.state.best_valid = None;
        true
    }

    fn track_best(&mut self, bound: f64, observer: &mut dyn Observer) -> Result<(), ModelError> {
        if self.state.best_valid.is_none_or(|best| bound < best) {
            self.state.best_valid = Some(bound);
            self.state.validations_since_best = 0;
            return self.save("best.ckpt");
        }
        self.state.validations_since_best += 1;
        let patience = self.config.patience.unwrap_or(usize::MAX);
        if self.state.validations_since_best >= patience {
            self.state.stopped_early = true;
            observer.on_event(&Event::StoppedEarly {
                step: self.state.step,
            });
        }
        Ok(())
    }

    fn save(&self, name: &str) -> Result<(), ModelError> {
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
        let spikes = self.spikes.iter().flatten();
        let spikes = spikes.flat_map(|spike| spike.to_le_bytes()).collect();
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
    fn resume(&mut self) -> Result<Option<usize>, ModelError> {
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
            self.spikes = Some(spikes);
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
        problem: format!("belongs to another model ({error}); delete it to start again"),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |sum, value| sum + value) / values.len().max(1) as f64
}

/// Loads the averaged weights of a checkpoint into a model of the same configuration.
///
/// # Errors
/// [`ModelError::Checkpoint`] if the file cannot be read or belongs to another model.
pub fn load_weights<M: SequentialVae>(model: M, path: &Path) -> Result<M, ModelError> {
    let mut checkpoint = Checkpoint::<State>::read(path)?;
    let bytes = checkpoint.take(path, "average")?;
    load(model.valid(), bytes, path)
}
