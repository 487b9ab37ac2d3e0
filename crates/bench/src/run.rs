//! One run: trains one row with one seed, infers, compares with the truth.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use burn::tensor::Device;
use calcium::estimate::median;
use data::Split;
use metrics::{Fit, PulseTiming};
use model::{Checkpoints, NeuronCalcium, SearchConfig, TrainData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dataset::BenchmarkData;
use crate::evaluate::{self, Inference};
use crate::figures::Example;
use crate::progress::TableProgress;
use crate::reading::RowReading;
use crate::recipe::{Evaluation, Row};
use crate::table::Metric;
use runs::device::DeviceKind;
use runs::lock::InFolder;
use runs::machine::{PeakMemory, REVISION};
use runs::store::{RunDir, Store};
use zoo::{ModelConfig, Setting, Trained, Training};

/// Runs with another layout of `result.json` must not be reused.
const FORMAT: u32 = 5;
/// Probabilities of the credible intervals whose coverage is reported.
pub const LEVELS: [f64; 2] = [0.5, 0.9];
/// Fewer samples do not tell the ends of an interval.
const LEAST_RANKED: usize = 100;
const RESULT: &str = "result.json";

/// What all runs of a table share.
pub struct Session<'a> {
    pub data: &'a BenchmarkData,
    pub evaluation: Evaluation,
    pub device_kind: DeviceKind,
    pub device: Device,
    pub store: &'a Store,
    pub progress: &'a TableProgress,
}

/// The outcome of one run, kept in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    pub metrics: BTreeMap<Metric, Fit>,
    /// The same by the encoder's answer alone, without the search for initial conditions.
    pub by_encoder: BTreeMap<Metric, Fit>,
    /// Seconds of training, over all resumptions.
    pub train_seconds: f64,
    /// Peak memory of the process that finished the run.
    pub peak_rss_mb: Option<f64>,
    /// Restarts after NaN, and resets of a collapsed deep level.
    pub recoveries: usize,
    /// How much of the true rates lies within the credible intervals of [`LEVELS`].
    pub rate_coverage: Option<Vec<f64>>,
    /// Median over neurons of the r² of the rates, if those are known.
    pub rates_per_neuron: Option<f64>,
    /// What inferred inputs tell of the pulses that drove the system, if both are there.
    pub pulses: Option<PulseTiming>,
    /// Median relative error of the decay times, if the model knows them.
    pub tau_error: Option<f64>,
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
            let dataset = &self.data.dataset;
            let observed = |name: &str, split: &Split| {
                let array = split.require(row.data.quantity());
                let array = array.with_context(|| format!("dataset, {name} split"))?;
                anyhow::Ok(array.dim().2)
            };
            let n_neurons = observed("train", &dataset.train)?;
            observed("valid", &dataset.valid)?;
            let calcium = row.calcium(self.data, n_neurons)?;
            let setting = Setting::of_sizes(n_neurons, calcium, dataset.dt_s);
            anyhow::Ok(row.config.check(&setting, &self.device)?)
        };
        check().with_context(|| row.label())
    }

    /// The result of `row` with `seed`: from its folder if it is there, else by training on
    /// `reading`, which is taken where it is not there yet.
    pub fn run(&self, row: &Row, seed: u64, reading: &mut Option<RowReading>) -> Result<RunResult> {
        let label = row.label();
        let _span = tracing::info_span!("run", row = %label, seed).entered();
        self.progress.working_on(&format!("{label}, seed {seed}"));
        let dir = self.store.run(&self.identity(row, seed))?;
        if let Some(result) = dir.read::<RunResult>(RESULT) {
            tracing::info!("reused from {}", dir.path().display());
            return Ok(result);
        }
        let result = self
            .compute(row, seed, &dir, reading)
            .with_context(|| format!("{label}, seed {seed}"))?;
        dir.write(RESULT, &result)?;
        Ok(result)
    }

    /// Everything that decides the numbers of a run.
    fn identity(&self, row: &Row, seed: u64) -> Value {
        json!({
            "format": FORMAT,
            "revision": REVISION,
            "dataset": self.data.sha256,
            "indicator": row.calcium(self.data, 1).ok(),
            "config": row.config,
            "training": row.training,
            "evaluation": self.evaluation,
            "seed": seed,
            "device": self.device_kind.to_string(),
        })
    }

    fn compute(
        &self,
        row: &Row,
        seed: u64,
        dir: &RunDir,
        reading: &mut Option<RowReading>,
    ) -> Result<RunResult> {
        crate::release_memory();
        let memory = PeakMemory::start();
        let reading = match reading {
            Some(reading) => &*reading,
            None => reading.insert(RowReading::of(row, self.data)?),
        };
        let mut trained = self.fit(row, seed, dir, reading)?;
        let dataset = &self.data.dataset;
        let by_encoder = self.by_encoder(&mut trained, &reading.observed, seed)?;
        let inference = self.infer(&trained, &reading.observed, &by_encoder, seed)?;
        let inference = reading.complete(inference);
        let example = match row.config {
            ModelConfig::LadderLfads(_) | ModelConfig::CountLadder(_) => {
                evaluate::example(&inference, dataset)?
            }
            _ => None,
        };
        Ok(RunResult {
            metrics: evaluate::scores(&inference, dataset)?,
            by_encoder: evaluate::scores(&by_encoder, dataset)?,
            train_seconds: trained.seconds,
            peak_rss_mb: memory.megabytes(),
            recoveries: trained.recoveries,
            rate_coverage: self.rate_coverage(&trained, &reading.observed, seed)?,
            rates_per_neuron: evaluate::rates_per_neuron(&inference.valid, dataset)?,
            pulses: evaluate::pulses(&inference.valid, dataset)?,
            tau_error: self.tau_error(&trained),
            example,
        })
    }

    fn tau_error(&self, trained: &Trained) -> Option<f64> {
        let neurons = trained.model.calcium()?;
        let truth = self.data.true_taus_s(neurons.len())?;
        let error = |(neuron, tau_s): (&NeuronCalcium, f64)| {
            let found = self.data.tau_s(neuron.decay).unwrap_or(f64::NAN);
            (found / tau_s - 1.0).abs()
        };
        median(neurons.iter().zip(truth).map(error))
    }

    fn fit(&self, row: &Row, seed: u64, dir: &RunDir, reading: &RowReading) -> Result<Trained> {
        let mut watch = self.progress.watch(row.training.n_steps);
        let mut observer = InFolder {
            lock: dir.lock(),
            observer: &mut watch,
        };
        let (folder, of) = (dir.checkpoints(), self.identity(row, seed));
        let training = Training {
            config: &row.training,
            seed,
            device: &self.device,
            checkpoints: Some(Checkpoints::new(&folder, &of)),
            search: self.evaluation.search,
        };
        let (setting, observed) = (&reading.setting, &reading.observed);
        Ok(row.config.fit(setting, observed, training, &mut observer)?)
    }

    /// Posterior means by the encoder's answer alone.
    fn by_encoder(
        &self,
        trained: &mut Trained,
        observed: &TrainData,
        seed: u64,
    ) -> Result<Inference> {
        let n_samples = self.evaluation.n_samples;
        let model = &mut trained.model;
        model.set_search(SearchConfig::NONE);
        let inference = Inference {
            train_factors: model.posterior_factors(observed.train(), n_samples, seed)?,
            valid: model.posterior_mean(observed.valid(), n_samples, seed)?,
        };
        model.set_search(self.evaluation.search);
        Ok(inference)
    }

    /// Posterior means by the search. The map from factors to latents is that of the train trials, which
    /// the encoder knows.
    fn infer(
        &self,
        trained: &Trained,
        observed: &TrainData,
        by_encoder: &Inference,
        seed: u64,
    ) -> Result<Inference> {
        let (model, n_samples) = (&trained.model, self.evaluation.n_samples);
        Ok(Inference {
            train_factors: by_encoder.train_factors.clone(),
            valid: model.posterior_mean(observed.valid(), n_samples, seed)?,
        })
    }

    /// Of the held-out rates, if they are known.
    fn rate_coverage(
        &self,
        trained: &Trained,
        observed: &TrainData,
        seed: u64,
    ) -> Result<Option<Vec<f64>>> {
        let Some(rates_hz) = &self.data.dataset.valid.rates else {
            return Ok(None);
        };
        let n_samples = self.evaluation.n_samples.max(LEAST_RANKED);
        let (x, rates_hz) = (observed.valid(), rates_hz.view());
        let model = &trained.model;
        let coverage = model.rate_coverage(x, rates_hz, n_samples, seed, &LEVELS)?;
        Ok(Some(coverage))
    }
}
