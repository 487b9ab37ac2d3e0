//! `lfads fit`: trains a model on a recording and infers everything from it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use data::{Arrays, Likelihood, Recording};
use model::train::{Event, Observer, StepReport, ValidationReport};
use model::{TrainData, TrialStart};
use ndarray::{ArrayView1, Axis, Ix3};
use runs::device::DeviceKind;
use runs::progress::Watch;
use zoo::{ModelConfig, ModelName, Training};

use super::Session;
use crate::calibration::Calibration;
use crate::config::FitConfig;
use crate::inference::Observations;
use crate::input::{InputArgs, with_option_names};
use crate::pieces::held_out;
use crate::results::median;
use crate::run_folder::{History, RunFolder, RunRecord, RunResult, Source};

/// Train a model on a recording and infer spikes, rates and factors from it.
///
/// Example: `lfads fit mouse/suite2p -o run --tau 0.7` cuts the recording into windows, trains
/// ladder LFADS on four fifths of them and writes run/inferred.h5. Interrupt it whenever you like:
/// the same command goes on where it stopped.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Fit {
    /// Recording: a suite2p folder, NWB, MATLAB v7.3, .npy, .npz, CSV or HDF5
    path: PathBuf,

    /// Folder of the run: settings, weights, results
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,

    /// Model
    #[arg(short, long, value_name = "MODEL", default_value_t = ModelName::CountLadder, value_parser = models())]
    model: ModelName,

    /// Settings in TOML; the options below win over it
    #[arg(short, long, value_name = "FILE.toml")]
    config: Option<PathBuf>,

    /// Decay time of the indicator, seconds [default: as the file says, else estimated]
    #[arg(long, value_name = "S")]
    tau: Option<f64>,

    /// Optimiser steps
    #[arg(long, value_name = "N")]
    steps: Option<usize>,

    /// Seed of weights, noise and the choice of held-out trials
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Write inferred.npz beside inferred.h5
    #[arg(long)]
    npz: bool,

    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceKind::Flex)]
    device: DeviceKind,

    #[command(flatten)]
    input: InputArgs,
}

/// The models by name, with what each is in `--help`.
fn models() -> impl TypedValueParser<Value = ModelName> {
    let values = ModelName::ALL.map(|model| {
        let value = PossibleValue::new(model.name()).help(model.summary());
        value.aliases(model.former_name())
    });
    PossibleValuesParser::new(values).try_map(|name| name.parse())
}

impl Fit {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        let device = self.device.open()?;
        let recording = self.input.open(&self.path)?;
        let (record, observations) = self.prepare(&recording)?;
        let locked = RunFolder::begin(&self.output, &record)?;
        let folder = &locked.folder;
        if let (true, Ok(result)) = (
            folder.file("inferred.h5").is_file(),
            folder.read::<RunResult>("result.json"),
        ) {
            tracing::info!("{}: already complete", self.output.display());
            return self.report(session, &record, &result);
        }
        let calibration = record.calibration.as_ref();
        let (train, valid) = split(&observations, &record.held_out);
        let setting = observations.reading.setting_of(train.view());
        let observed = TrainData::new(train, valid)?;
        record.model_config.check(&setting, &device)?;
        let mut watch = Record {
            watch: Watch::new(session.progress, record.training.n_steps),
            history: History::default(),
        };
        let checkpoints = folder.checkpoints();
        let training = Training {
            config: &record.training,
            seed: record.config.seed,
            device: &device,
            checkpoints: Some(&checkpoints),
        };
        let trained = record
            .model_config
            .fit(&setting, &observed, training, &mut watch)?;
        let history = History {
            validations: trained.history,
            events: watch.history.events,
        };
        folder.write("history.json", &history)?;
        tracing::info!("averaging {} posterior samples", record.config.n_samples);
        let mut results = observations.infer(
            trained.model.as_ref(),
            &recording,
            calibration,
            record.config.n_samples,
            record.config.seed,
        )?;
        let frames = observations.cut.held_out_frames(&record.held_out);
        results.insert("held_out", "", frames.into_dyn());
        results.write(&folder.file("inferred.h5"))?;
        if self.npz {
            results.write(&folder.file("inferred.npz"))?;
        }
        let result = RunResult {
            steps: trained.steps,
            train_seconds: trained.seconds,
            recoveries: trained.recoveries,
            held_out_loss: history
                .validations
                .last()
                .map(|report| report.valid.negative_bound()),
            held_out_fluor_r2: fluor_r2(&results)?,
            median_tau_s: results
                .arrays
                .get("tau")
                .and_then(|tau| median(tau.values.iter().copied().map(f64::from))),
            version: runs::machine::REVISION.into(),
        };
        folder.write("result.json", &result)?;
        self.report(session, &record, &result)
    }

    /// Everything that can be wrong is found here, before training.
    fn prepare(&self, recording: &Recording) -> Result<(RunRecord, Observations)> {
        let mut resolved = self.config()?.resolve(self.model)?;
        let calibration = self.calibration(recording, &resolved.config)?;
        if let (ModelConfig::CountLadder(ladder), Some(calibration)) =
            (&mut resolved.model, &calibration)
        {
            ladder.trial_start = match calibration.start_is_running {
                true => TrialStart::Decaying,
                false => TrialStart::Rest,
            };
        }
        let observations = Observations::new(
            recording,
            &resolved.model,
            calibration.as_ref(),
            resolved.config.windows,
        )?;
        let (n_pieces, n_bins) = observations.cut.dim();
        let held_out = held_out(recording, n_pieces, &resolved.config)?;
        tracing::info!(
            "{n_pieces} trials or windows of {n_bins} frames, {} held out",
            held_out.len()
        );
        let record = RunRecord {
            format: RunRecord::format(),
            model: self.model,
            source: Source::of(recording, &self.input),
            config: resolved.config,
            model_config: resolved.model,
            training: resolved.training,
            calibration,
            held_out,
        };
        Ok((record, observations))
    }

    fn calibration(
        &self,
        recording: &Recording,
        config: &FitConfig,
    ) -> Result<Option<Calibration>> {
        if self.model.reads_spikes() {
            let checked = recording.check(Likelihood::Poisson);
            checked.map_err(with_option_names)?;
            return Ok(None);
        }
        let checked = recording.check(Likelihood::Gaussian);
        checked.map_err(with_option_names)?;
        let calibration = Calibration::measure(recording, &config.calibration)?;
        log(&calibration, recording);
        Ok(Some(calibration))
    }

    fn config(&self) -> Result<FitConfig> {
        let mut config = match &self.config {
            Some(path) => FitConfig::read(path)?,
            None => FitConfig::default(),
        };
        if self.tau.is_some() {
            config.calibration.tau_s = self.tau;
        }
        if let Some(seed) = self.seed {
            config.seed = seed;
        }
        if let Some(steps) = self.steps {
            let steps = i64::try_from(steps).context("--steps")?;
            config.training.insert("n_steps".into(), steps.into());
        }
        Ok(config)
    }

    fn report(&self, session: &Session<'_>, record: &RunRecord, result: &RunResult) -> Result<()> {
        let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |v| format!("{v:.3}"));
        let text = format!(
            "{}: {} steps in {:.0} s, held-out loss {}, held-out fluorescence r2 {}, median tau {} s\ninferred: {}\n",
            self.output.display(),
            result.steps,
            result.train_seconds,
            number(result.held_out_loss),
            number(result.held_out_fluor_r2),
            number(result.median_tau_s),
            self.output.join("inferred.h5").display(),
        );
        let value = serde_json::json!({
            "run": self.output,
            "model": record.model,
            "calibration": record.calibration,
            "result": result,
        });
        session.print(&value, &text)
    }
}

fn log(calibration: &Calibration, recording: &Recording) {
    let how = match (calibration.tau_is_estimated, recording.tau_s) {
        (true, _) => "estimated; give --tau if you know your indicator's",
        (false, _) => "given",
    };
    let sizes = calibration.spike_size.iter().copied().map(f64::from);
    tracing::info!(
        "tau {:.3} s ({how}); one spike: {:.4} (median over neurons); trials start {}",
        calibration.tau_s,
        median(sizes).unwrap_or(f64::NAN),
        match calibration.start_is_running {
            true => "in mid-decay: calcium from before is taken off",
            false => "from rest",
        }
    );
}

fn split(
    observations: &Observations,
    held_out: &[usize],
) -> (ndarray::Array3<f32>, ndarray::Array3<f32>) {
    let n_pieces = observations.reading.values.dim().0;
    let train: Vec<usize> = (0..n_pieces)
        .filter(|piece| held_out.binary_search(piece).is_err())
        .collect();
    let select = |pieces: &[usize]| observations.reading.values.select(Axis(0), pieces);
    let mut train = select(&train);
    observations.cut.hide(held_out, &mut train);
    (train, select(held_out))
}

/// Squared correlation of inferred and recorded fluorescence on held-out frames, each neuron
/// about its mean.
fn fluor_r2(results: &Arrays) -> Result<Option<f64>> {
    let (Some(fluor), Some(observed)) =
        (results.arrays.get("fluor"), results.arrays.get("observed"))
    else {
        return Ok(None);
    };
    let held_out = &results.require("held_out")?;
    let fluor = fluor.values.view().into_dimensionality::<Ix3>()?;
    let observed = observed.values.view().into_dimensionality::<Ix3>()?;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for neuron in 0..fluor.dim().2 {
        let start = a.len();
        for ((trial, bin), &value) in fluor.index_axis(Axis(2), neuron).indexed_iter() {
            let truth = observed[[trial, bin, neuron]];
            if held_out[[trial, bin]] > 0.5 && value.is_finite() && truth.is_finite() {
                a.push(value);
                b.push(truth);
            }
        }
        centre(&mut a[start..]);
        centre(&mut b[start..]);
    }
    Ok(metrics::r2(ArrayView1::from(&a), ArrayView1::from(&b)).ok())
}

fn centre(values: &mut [f32]) {
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64;
    for value in values {
        *value -= mean as f32;
    }
}

/// Shows a training and keeps what was noteworthy.
struct Record {
    watch: Watch,
    history: History,
}

impl Observer for Record {
    fn on_step(&mut self, report: &StepReport) {
        self.watch.on_step(report);
    }

    fn on_validation(&mut self, report: &ValidationReport) {
        self.watch.on_validation(report);
    }

    fn on_event(&mut self, event: &Event) {
        self.watch.on_event(event);
        self.history.events.push(event.clone());
    }
}
