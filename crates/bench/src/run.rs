//! One run: trains one row with one seed, infers, compares with the truth.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use burn::tensor::Device;
use indicatif::ProgressBar;
use model::train::{Event, Observer, StepReport};
use model::{SequentialVae, TrainData, fit, posterior_mean};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dataset::BenchmarkData;
use crate::device::DeviceKind;
use crate::evaluate::{self, Inference, Score};
use crate::figures::Example;
use crate::machine::PeakMemory;
use crate::progress::Progress;
use crate::reading::{ModelTask, Reading};
use crate::recipe::{Evaluation, ModelConfig, Row};
use crate::store::{RunDir, Store};
use crate::table::Metric;

/// Runs with another layout of `result.json` must not be reused.
const FORMAT: u32 = 1;
const RESULT: &str = "result.json";

/// What all runs of a table share.
pub struct Session<'a> {
    pub data: &'a BenchmarkData,
    pub evaluation: Evaluation,
    pub device_kind: DeviceKind,
    pub device: Device,
    pub store: &'a Store,
    pub progress: &'a Progress,
    pub revision: String,
}

/// The outcome of one run, kept in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Revision of the program that made it.
    pub revision: String,
    pub metrics: BTreeMap<Metric, Score>,
    /// Seconds of training, over all resumptions.
    pub train_seconds: f64,
    /// Peak memory of the process that finished the run.
    pub peak_rss_mb: Option<f64>,
    /// For the figure: ladder LFADS only.
    pub example: Option<Example>,
}

impl Session<'_> {
    /// Checks the settings of `row` against the data, so that nothing is trained in vain.
    ///
    /// # Errors
    /// Data the row's model cannot read, or a setting outside its range.
    pub fn check(&self, row: &Row) -> Result<()> {
        let check = || {
            row.training.validate()?;
            let reading = Reading::of(row, self.data)?;
            reading.with_model(row, 0, &self.device, Nothing)
        };
        check().with_context(|| row.label())
    }

    /// The result of `row` with `seed`: from its folder if it is there, else by training.
    pub fn run(&self, row: &Row, seed: u64) -> Result<RunResult> {
        let label = row.label();
        let _span = tracing::info_span!("run", row = %label, seed).entered();
        self.progress.working_on(&format!("{label}, seed {seed}"));
        let dir = self.store.run(&self.identity(row, seed))?;
        if let Some(result) = dir.read::<RunResult>(RESULT) {
            tracing::info!("reused from {}", dir.path().display());
            return Ok(result);
        }
        let result = self
            .compute(row, seed, &dir)
            .with_context(|| format!("{label}, seed {seed}"))?;
        dir.write(RESULT, &result)?;
        Ok(result)
    }

    /// Everything that decides the numbers of a run.
    fn identity(&self, row: &Row, seed: u64) -> Value {
        json!({
            "format": FORMAT,
            "dataset": self.data.sha256,
            "indicator": self.data.indicator().ok(),
            "config": row.config,
            "training": row.training,
            "evaluation": self.evaluation,
            "seed": seed,
            "device": self.device_kind.to_string(),
        })
    }

    fn compute(&self, row: &Row, seed: u64, dir: &RunDir) -> Result<RunResult> {
        let memory = PeakMemory::start();
        let reading = Reading::of(row, self.data)?;
        let fit = FitAndInfer {
            session: self,
            row,
            seed,
            dir,
            observed: &reading.observed,
        };
        let trained = reading.with_model(row, seed, &self.device, fit)?;
        let inference = reading.complete(trained.inference);
        let dataset = &self.data.dataset;
        let example = match row.config {
            ModelConfig::LadderLfads(_) | ModelConfig::CountLadder(_) => {
                evaluate::example(&inference, dataset)?
            }
            _ => None,
        };
        Ok(RunResult {
            revision: self.revision.clone(),
            metrics: evaluate::scores(&inference, dataset)?,
            train_seconds: trained.seconds,
            peak_rss_mb: memory.megabytes(),
            example,
        })
    }
}

/// Asks no more of a model than that it can be made.
struct Nothing;

impl ModelTask for Nothing {
    type Output = ();

    fn run<M: SequentialVae>(self, _: M) -> Result<()> {
        Ok(())
    }
}

/// Trains a model, then averages posterior samples of both splits.
struct FitAndInfer<'a> {
    session: &'a Session<'a>,
    row: &'a Row,
    seed: u64,
    dir: &'a RunDir,
    observed: &'a TrainData,
}

struct Trained {
    inference: Inference,
    seconds: f64,
}

impl ModelTask for FitAndInfer<'_> {
    type Output = Trained;

    fn run<M: SequentialVae>(self, model: M) -> Result<Trained> {
        let (seed, training) = (self.seed, &self.row.training);
        let mut watch = Watch {
            bar: self.session.progress.steps(training.n_steps as u64),
            tenths: 0,
        };
        let folder = self.dir.checkpoints();
        let fitted = fit(
            model,
            self.observed,
            training,
            seed,
            Some(&folder),
            &mut watch,
        )?;
        watch.bar.set_message("averaging posterior samples");
        let n_samples = self.session.evaluation.n_samples;
        let infer = |x| posterior_mean(&fitted.model, x, n_samples, seed);
        let inference = Inference {
            train: infer(self.observed.train())?,
            valid: infer(self.observed.valid())?,
        };
        watch.bar.finish_and_clear();
        Ok(Trained {
            inference,
            seconds: fitted.seconds,
        })
    }
}

/// Shows a training on a bar or, where bars are invisible, in the log every tenth of the way.
struct Watch {
    bar: ProgressBar,
    tenths: usize,
}

impl Observer for Watch {
    fn on_step(&mut self, report: &StepReport) {
        let StepReport {
            step,
            n_steps,
            loss,
            ..
        } = *report;
        self.bar.set_length(n_steps as u64);
        self.bar.set_position(step as u64);
        self.bar.set_message(format!("loss {loss:.2}"));
        let tenths = step * 10 / n_steps;
        if tenths > self.tenths && self.bar.is_hidden() {
            tracing::info!("step {step} of {n_steps}, loss {loss:.2}");
        }
        self.tenths = tenths;
    }

    fn on_event(&mut self, event: &Event) {
        // The trainer itself warns of divergence and collapse.
        match event {
            Event::Resumed { step } => {
                tracing::info!("resumed from the checkpoint at step {step}");
            }
            Event::StoppedEarly { step } => tracing::info!("stopped early at step {step}"),
            Event::Diverged { .. } | Event::Collapsed { .. } => {}
        }
    }
}
