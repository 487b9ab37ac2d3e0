//! `lfads fit`: trains a model on a recording and infers everything from it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use model::Device;
use pipeline::{
    Choice, FitConfig, FitRequest, Inspection, Locked, Prepared, RunFolder, RunRecord, RunResult,
    Standing, likelihood_of, model_for,
};
use runs::device::DeviceKind;
use runs::interrupt;
use runs::output::{check_folder, is_same};
use runs::progress::Watch;
use zoo::{ModelName, Trained};

use super::Session;
use crate::external::ExternalArgs;
use crate::input::{InputArgs, with_option_names};
use crate::range::{self, Inputs};

/// Train a model on a recording and infer spikes, rates and factors from it.
///
/// Example: `lfads fit mouse/suite2p -o run` finds spikes by the spike network, cuts the recording
/// into windows, trains LFADS on most of them and writes run/inferred.h5. Interrupt it
/// whenever you like (Ctrl-C, twice to end at once): the same command goes on where it stopped.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Fit {
    /// Recording: a suite2p folder, NWB, MATLAB, .npy, .npz, CSV or HDF5
    path: PathBuf,

    /// Folder of the run: settings, weights, results
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,

    /// Model [default: network-lfads, and lfads for spike counts]
    #[arg(short, long, value_name = "MODEL", value_parser = models())]
    model: Option<ModelName>,

    /// Settings in TOML; the options below win over it
    #[arg(short, long, value_name = "FILE.toml")]
    config: Option<PathBuf>,

    /// Decay time of the indicator, seconds [default: as the file says, else estimated]
    #[arg(long, value_name = "S", value_parser = range::tau)]
    tau: Option<f64>,

    /// Rise time of the indicator, seconds, for models that know of one [default: estimated]
    #[arg(long, value_name = "S", value_parser = range::tau)]
    tau_rise: Option<f64>,

    /// Inputs to the dynamics to be inferred: what drives a recording, or leads its dynamics astray [default: of network-lfads 4
    /// or none, whichever has the lower held-out loss, else 0]; `auto` keeps held-out frames out of that: it fits parts of
    /// the others with and without, and takes what foresees hidden neurons better
    #[arg(long, value_name = "N|auto", value_parser = range::inputs)]
    n_inputs: Option<Inputs>,

    /// Try other settings while this time lasts, the fit with the best of them included, minutes: inputs or none, more of a
    /// penalty, more that is hidden from the encoders, more or fewer factors, more steps
    #[arg(long, value_name = "MINUTES", value_parser = range::minutes)]
    budget: Option<f64>,

    /// Optimiser steps
    #[arg(long, value_name = "N", value_parser = range::steps)]
    steps: Option<usize>,

    /// Seed of weights, noise and the choice of held-out trials
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Write inferred.npz beside inferred.h5
    #[arg(long)]
    npz: bool,

    /// Write inferred.nwb too: what the recording's own NWB file holds and the results behind it, or a new
    /// file
    #[arg(long)]
    nwb: bool,

    /// Write inferred.tsd.npz too: the rates, as pynapple opens them
    #[arg(long)]
    pynapple: bool,

    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceKind::Flex)]
    device: DeviceKind,

    #[command(flatten)]
    external: ExternalArgs,

    #[command(flatten)]
    input: InputArgs,
}

/// Trains in a run's folder, or takes the training that is there.
fn trained(
    session: &Session<'_>,
    fit: &Prepared,
    run: &Locked,
    device: &Device,
) -> Result<Trained> {
    let path = run.folder.path().display();
    let mut watch = Watch::new(session.progress, fit.record.training.n_steps);
    let trained = fit.train(run, device, &mut watch);
    let trained = trained.with_context(|| path.to_string())?;
    if interrupt::asked() {
        bail!("{path}: the training is complete and saved");
    }
    Ok(trained)
}

/// Trains and infers in a run's folder, or takes what is there.
fn fitted(
    session: &Session<'_>,
    fit: &Prepared,
    run: &Locked,
    device: &Device,
) -> Result<RunResult> {
    if let Some(result) = run.folder.complete(&fit.record)? {
        tracing::info!("{}: already complete", run.folder.path().display());
        return Ok(result);
    }
    fit.finish(run, trained(session, fit, run, device)?)
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
        let mut inputs = self.input.files(&self.path);
        // The folder's own settings may be asked for again: they stay what they are.
        let own = self.output.join("config.toml");
        let config = self.config.as_deref().filter(|path| !is_same(path, &own));
        inputs.extend(config);
        inputs.extend(self.external.inputs.as_deref());
        check_folder(&self.output, &RunFolder::FILES, &inputs)?;
        let (recording, external) = self.input.open_beside(&self.path, &self.external)?;
        let model = self.model.unwrap_or_else(|| {
            let model = model_for(&recording);
            tracing::info!("model {model} (--model)");
            model
        });
        let checked = recording.check(likelihood_of(model));
        checked.map_err(with_option_names)?;
        let config = self.config()?;
        for warning in Inspection::of(&recording, config.calibration.typical_tau_s)?.warnings {
            tracing::warn!("{warning}");
        }
        let request = FitRequest {
            model,
            config,
            external,
            input: serde_json::to_value(&self.input)?,
            tried: Vec::new(),
        };
        let fitted = |fit: &Prepared, path: &Path| {
            let locked = RunFolder::begin(path, &fit.record)?;
            let result = fitted(session, fit, &locked, &device)?;
            Ok((locked, result))
        };
        let request = match self.choice() {
            None => request,
            Some(choice) => choice.make(&recording, request, &self.output, &mut |fit, path| {
                fitted(fit, path).map(|(_, result)| result)
            })?,
        };
        let fit = Prepared::new(recording, request)?;
        let fit = fit.settle_inputs(&self.output, &mut |fit, run| {
            trained(session, fit, run, &device)
        })?;
        let (locked, result) = fitted(&fit, &self.output)?;
        if self.npz {
            locked.folder.write_npz()?;
        }
        let others = [
            (self.nwb, "inferred.nwb"),
            (self.pynapple, "inferred.tsd.npz"),
        ];
        for (_, name) in others.into_iter().filter(|(wanted, _)| *wanted) {
            locked.folder.write_for(fit.recording(), name)?;
        }
        self.report(session, &fit.record, &result)
    }

    /// What is to be chosen before the fit.
    fn choice(&self) -> Option<Choice> {
        match (self.budget, self.n_inputs) {
            (Some(minutes), _) => Some(Choice::Within((60.0 * minutes) as u64)),
            (None, Some(Inputs::Auto)) => Some(Choice::Inputs),
            _ => None,
        }
    }

    fn config(&self) -> Result<FitConfig> {
        let mut config = match &self.config {
            Some(path) => FitConfig::read(path)?,
            None => FitConfig::default(),
        };
        if self.tau.is_some() {
            config.calibration.tau_s = self.tau;
        }
        if self.tau_rise.is_some() {
            config.calibration.tau_rise_s = self.tau_rise;
        }
        if let Some(seed) = self.seed {
            config.seed = seed;
        }
        if let Some(steps) = self.steps {
            let steps = i64::try_from(steps).context("--steps")?;
            config.training.insert("n_steps".into(), steps.into());
        }
        if let Some(Inputs::Number(n_inputs)) = self.n_inputs {
            config.infer_inputs(n_inputs)?;
        }
        Ok(config)
    }

    fn report(&self, session: &Session<'_>, record: &RunRecord, result: &RunResult) -> Result<()> {
        let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |v| format!("{v:.3}"));
        let mut text = format!(
            "{}: {} steps in {:.0} s, held-out loss {}, median tau {} s\n",
            self.output.display(),
            result.steps,
            result.train_seconds,
            number(result.held_out_loss),
            number(result.median_tau_s),
        );
        if let Some([ic, inputs]) = result.held_out_kl {
            let _ = writeln!(
                text,
                "held-out KL: initial condition {ic:.1} nats, inferred inputs {inputs:.1} nats per trial or window"
            );
        }
        for tried in &record.tried {
            let _ = writeln!(text, "{tried}");
        }
        if let Some(driven) = &record.driven {
            let _ = writeln!(text, "{driven}");
        }
        let _ = writeln!(
            text,
            "inferred: {}",
            self.output.join("inferred.h5").display()
        );
        if let Some(proof) = &result.proof {
            let _ = writeln!(text, "{}", proof.verdict());
            if let Some(forecast) = &proof.forecast {
                let _ = writeln!(text, "{}", forecast.verdict());
            }
            let is_driven = record.model_config.dynamics().controller.n_inputs > 0;
            let is_settled = record.driven.is_some() || !record.tried.is_empty();
            if !is_driven && !is_settled && proof.standing() != Some(Standing::Beats) {
                text.push_str(
                    "if something drives these neurons at times of its own, the model can infer it: --n-inputs 4 or auto, into another folder\n",
                );
            }
        }
        let value = serde_json::json!({
            "run": self.output.to_string_lossy(),
            "model": record.model,
            "calibration": record.calibration,
            "result": result,
        });
        session.print(&value, &text)
    }
}
