//! The training loop: warm-up, clipping, weight averaging and recovery from divergence.

mod checkpoints;
mod config;
mod observer;
mod recovery;
mod saved;
mod shards;
mod training;
mod validation;

pub use checkpoints::Checkpoints;
pub use config::TrainConfig;
pub use observer::{Event, Observer, StepReport, ValidationReport};
pub use saved::{check_checkpoint, load_weights};
pub use training::Training;

use std::time::Instant;

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use ndarray::{Array3, ArrayView3};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{Excerpt, TrainData};
use crate::elbo::TermWeights;
use crate::error::ModelError;
use crate::infer::{device_of, mean_spikes};
use crate::noise::{Noise, Stream};
use crate::number::Number;
use crate::optimizer::{OnePassAdam, blend, clip_global_norm};
use crate::pass::{Stage, Task};
use crate::schedule::{PlateauState, start_scale};
use crate::vae::SequentialVae;

use recovery::Snapshot;
use shards::{Batch, BatchGradient};

/// Steps between updates of the averaged weights.
const AVERAGE_EVERY: usize = 8;
/// Samples averaged into the spikes from which the deep level learns alone.
const N_SPIKE_SAMPLES: usize = 4;

/// What of a step is NaN or infinite, and its value.
type NonFinite = (&'static str, f64);

/// Why the steps of an epoch ended before it was over.
enum Stop {
    NonFinite(NonFinite),
    Failed(ModelError),
}

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
    /// Everything noteworthy, over all resumptions.
    pub events: Vec<Event>,
}

/// Trains `model` on `data`.
///
/// With `checkpoints`, `last.ckpt` there is resumed from and kept up to date. The same seed,
/// machine and configuration give the same weights, whether interrupted or not.
///
/// # Errors
/// [`ModelError::Config`] for settings out of range, [`ModelError::Diverged`] if the loss stays
/// non-finite through every recovery, [`ModelError::Checkpoint`] if a checkpoint cannot be read
/// or written or is of another training, [`ModelError::Interrupted`] if the observer asks for an end.
pub fn fit<M: SequentialVae>(
    model: M,
    data: &TrainData,
    config: &TrainConfig,
    seed: u64,
    checkpoints: Option<Checkpoints<'_>>,
    observer: &mut dyn Observer,
) -> Result<Fitted<M>, ModelError> {
    config.validate()?;
    // On a thread of the pool: from outside, each of a step's many parallel operations would
    // wake one and wait for it.
    rayon::scope(|_| {
        let mut trainer = Trainer::new(model, data, config, seed, checkpoints);
        if let Some(step) = trainer.resume()? {
            trainer.tell(Event::Resumed { step }, observer);
        }
        while !trainer.finished() {
            trainer.epoch(observer)?;
        }
        Ok(trainer.into_fitted())
    })
}

/// The part of a training that goes into a checkpoint's header.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    step: usize,
    epoch: usize,
    /// Steps of the epoch that are done.
    epoch_steps: usize,
    n_steps: usize,
    deep_start: usize,
    plateau: PlateauState,
    rate_scale: f64,
    divergences: usize,
    resets: usize,
    best_valid: Option<Number>,
    validations_since_best: usize,
    stopped_early: bool,
    seconds: f64,
    /// Of the steps since the last validation.
    losses: Vec<Number>,
    history: Vec<ValidationReport>,
    events: Vec<Event>,
}

impl State {
    /// The same on its way to a later end.
    fn lengthen(&mut self, more: usize) {
        if more > 0 {
            self.n_steps += more;
            self.stopped_early = false;
            self.validations_since_best = 0;
        }
    }
}

struct Trainer<'a, M> {
    model: M,
    average: M,
    optimizer: ModuleOptimizer,
    state: State,
    /// What the next step explains; spikes that the shallow level found as
    /// `[trial, time, neuron]`.
    task: Task<Array3<f32>>,
    /// Where to go back to, the older first.
    back: Vec<Snapshot<M>>,
    data: &'a TrainData,
    config: &'a TrainConfig,
    seed: u64,
    checkpoints: Option<Checkpoints<'a>>,
    /// What the checkpoints belong to; null without any.
    identity: Value,
    /// Until when the state's seconds are counted.
    counted: Instant,
    /// When the last checkpoint was written, or the work began.
    saved: Instant,
    device: Device,
}

impl<'a, M: SequentialVae> Trainer<'a, M> {
    fn new(
        model: M,
        data: &'a TrainData,
        config: &'a TrainConfig,
        seed: u64,
        checkpoints: Option<Checkpoints<'a>>,
    ) -> Self {
        let model = if device_of(&model).is_autodiff() {
            model
        } else {
            model.train()
        };
        let device = device_of(&model);
        let optimizer = OnePassAdam::init(config.beta_1, config.beta_2, config.epsilon);
        let now = Instant::now();
        Self {
            average: model.valid(),
            model,
            optimizer,
            state: State {
                step: 0,
                epoch: 0,
                epoch_steps: 0,
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
                events: Vec::new(),
            },
            task: Task::Joint,
            back: Vec::new(),
            data,
            config,
            seed,
            identity: match &checkpoints {
                Some(checkpoints) => checkpoints.identity(config, seed, data),
                None => Value::Null,
            },
            checkpoints,
            counted: now,
            saved: now,
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
            events: self.state.events,
        }
    }

    /// Tells what happened, and keeps it.
    fn tell(&mut self, event: Event, observer: &mut dyn Observer) {
        observer.on_event(&event);
        self.state.events.push(event);
    }

    /// One pass over the trials, or what is left of one; if the loss diverges, training goes back.
    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<(), ModelError> {
        self.remember();
        match self.steps_of_epoch(observer) {
            Ok(()) => {}
            Err(Stop::NonFinite(what)) => return self.go_back(what, observer),
            Err(Stop::Failed(error)) => return Err(error),
        }
        let losses = &self.state.losses;
        let first = losses.len().saturating_sub(self.state.epoch_steps);
        let epoch_loss = mean(losses[first..].iter().map(|loss| loss.0));
        self.state
            .plateau
            .observe(epoch_loss, &self.config.learning_rate);
        self.state.epoch += 1;
        self.state.epoch_steps = 0;
        if self.state.epoch.is_multiple_of(self.config.validate_every) || self.finished() {
            self.validate(observer);
            self.save(observer)?;
        }
        Ok(())
    }

    fn weights(&self) -> TermWeights {
        let State {
            step, deep_start, ..
        } = self.state;
        self.config.warm_up.weights(step, deep_start)
    }

    /// Only levels that can be trained apart are.
    fn stage(&self) -> Stage {
        let State {
            step, deep_start, ..
        } = self.state;
        match self.model.shallow_level() {
            Some(_) => self.config.warm_up.stage(step, deep_start),
            None => Stage::Joint,
        }
    }

    /// Has the shallow level infer the spikes when the deep level's time alone begins, and
    /// forgets them when it ends.
    fn update_task(&mut self) {
        let is_current = matches!(
            (self.stage(), &self.task),
            (Stage::Deep, Task::Deep(_)) | (Stage::Shallow, Task::Shallow)
        );
        if !is_current {
            self.task = self.task_on(self.data.train());
        }
    }

    /// What the next step would explain of `x`, by the averaged weights.
    fn task_on(&self, x: ArrayView3<'_, f32>) -> Task<Array3<f32>> {
        match (self.stage(), self.average.shallow_level()) {
            (Stage::Shallow, _) => Task::Shallow,
            (Stage::Deep, Some(level)) => {
                let device = device_of(&self.average);
                let mut noise = Noise::new(self.seed, Stream::Spikes, &device);
                let x = self.average.dynamics().config().external.observed(x);
                let spikes = mean_spikes(level, x, N_SPIKE_SAMPLES, &mut noise, &device);
                Task::Deep(spikes)
            }
            _ => Task::Joint,
        }
    }

    fn steps_of_epoch(&mut self, observer: &mut dyn Observer) -> Result<(), Stop> {
        // After a divergence the retried epoch sees another order and other noise.
        let seed = self
            .seed
            .wrapping_add((self.state.divergences as u64) << 32);
        let order = self.data.epoch(seed, self.state.epoch);
        let batches = order.chunks(self.config.batch_size);
        for trials in batches.skip(self.state.epoch_steps) {
            if self.finished() {
                break;
            }
            let report = self.step(trials, seed).map_err(Stop::NonFinite)?;
            self.state.losses.push(Number(report.loss));
            self.state.epoch_steps += 1;
            observer.on_step(&report);
            self.save_where_due(observer).map_err(Stop::Failed)?;
        }
        match self.finished() && !self.weights_are_finite() {
            true => Err(Stop::NonFinite(("weights", f64::NAN))),
            false => Ok(()),
        }
    }

    fn step(&mut self, trials: &[Excerpt], seed: u64) -> Result<StepReport, NonFinite> {
        self.update_task();
        let step = self.state.step;
        let weights = self.weights();
        let n_neurons = self.data.train().dim().2;
        let rate = self.state.rate_scale
            * start_scale(step, n_neurons)
            * self
                .config
                .learning_rate
                .at(step, self.state.n_steps, self.state.plateau.decays);
        let batch = Batch {
            x: self.data.train(),
            n_bins: self.data.n_bins(),
            task: self.task.as_ref().map(|spikes| spikes.view()),
            weights,
            seed,
            step,
            device: &self.device,
        };
        let BatchGradient {
            loss,
            terms,
            mut gradients,
        } = batch.gradient(&self.model, trials)?;
        let gradient_norm = clip_global_norm(&self.model, &mut gradients, self.config.clip_norm);
        if !gradient_norm.is_finite() {
            return Err(("gradient", gradient_norm));
        }
        self.model = self
            .optimizer
            .step(rate, self.model.clone(), gradients)
            .project();
        self.state.step += 1;
        self.update_average();
        Ok(StepReport {
            step: self.state.step,
            n_steps: self.state.n_steps,
            loss,
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
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1);
    values.fold(0.0, |sum, value| sum + value) / n as f64
}
