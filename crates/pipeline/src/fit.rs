//! A fit, from a recording to the results in a run folder.

use anyhow::Result;
use burn::tensor::Device;
use calcium::estimate::median;
use data::{Arrays, Likelihood, Recording, Units};
use metrics::Comparison;
use model::train::{Observer, ValidationReport};
use model::{Checkpoints, Term};
use ndarray::{Ix2, Ix3};
use runs::lock::InFolder;
use runs::machine::REVISION;
use runs::memory;
use serde_json::Value as Json;
use toml::{Table, Value};
use zoo::{ModelName, Posterior, Setting, Trained, Training};

use crate::calibration::Calibrated;
use crate::config::{FitConfig, Resolved, StartConfig};
use crate::external::External;
use crate::factor_axes::FactorAxes;
use crate::held_out::HeldOut;
use crate::observations::Observations;
use crate::pieces::Cut;
use crate::proof::Proof;
use crate::run_folder::{History, Locked, RunRecord, RunResult, Source};
use crate::tried::Tried;

/// Decay times that a piece must last for its calcium to be learned.
const LEARNS_DECAYS: f64 = 4.0;

/// What the user asks for.
#[derive(Clone, Debug)]
pub struct FitRequest {
    /// The model.
    pub model: ModelName,
    /// What the user said of its settings; the rest is found here.
    pub config: FitConfig,
    /// Inputs to the dynamics that are known, on the recording's frames; see [`Recording::beside`].
    pub external: Option<Recording>,
    /// How the recording was read, for the record.
    pub input: Json,
    /// What was tried before the settings were chosen, if they were.
    pub tried: Vec<Tried>,
}

/// A fit of which everything that can be wrong was checked.
pub struct Prepared {
    /// What will be written down of it.
    pub record: RunRecord,
    observations: Observations,
    /// The settings without inferred inputs, or with them once these were exchanged, where the user leaves that open.
    other: Option<Resolved>,
}

impl Prepared {
    /// Calibrates, cuts, holds out, resolves the settings.
    ///
    /// # Errors
    /// Settings outside their range, a recording that cannot be calibrated or cut.
    pub fn new(recording: Recording, request: FitRequest) -> Result<Self> {
        let FitRequest {
            model,
            mut config,
            external,
            input,
            tried,
        } = request;
        // Better refused before the work than after it.
        config.clone().resolve(model, &Table::new())?;
        if let (Some(rise_s), false) = (config.calibration.tau_rise_s, model.knows_rise()) {
            anyhow::bail!(
                "{model} knows of no rise, and `tau_rise_s` is {rise_s}: leave it out, or take count-ladder, oasis-lfads or zig-lfads"
            );
        }
        if model == ModelName::NetworkLfads {
            config.calibration.blur.get_or_insert(true);
        }
        let (cut, held_out) = hold_out(&recording, &mut config, model)?;
        let seen = held_out.seen(&cut);
        let calibrated = if model.reads_spikes() {
            None
        } else {
            let calibration = &config.calibration;
            Some(match model {
                ModelName::NetworkLfads => Calibrated::by_network(&recording, calibration)?,
                _ => Calibrated::measure(&recording, calibration, &seen, model.knows_rise())?,
            })
        };
        // Traces were looked at one by one, and a step of training is made of other blocks.
        memory::give_back();
        let external = external.map(|inputs| External::measure(&inputs, &seen));
        let external = external.transpose()?;
        let mut measured = measured(&cut, &config, model, calibrated.as_ref(), recording.dt_s);
        if let Some(external) = &external {
            let n_inputs = i64::try_from(external.record().names.len())?;
            let known = Table::from_iter([("n_inputs".into(), Value::from(n_inputs))]);
            let dynamics = Table::from_iter([("external".into(), known.into())]);
            measured.insert("dynamics".into(), dynamics.into());
        }
        let mut undriven = config.clone();
        let resolved = config.resolve(model, &measured)?;
        let is_driven = resolved.model.dynamics().controller.n_inputs > 0;
        let is_open = is_driven && tried.is_empty() && !undriven.sets_controller();
        let other = is_open.then(|| {
            undriven.infer_inputs(0)?;
            undriven.resolve(model, &measured)
        });
        let other = other.transpose()?;
        let n_external = external.as_ref().map_or(0, |e| e.record().names.len());
        let n_wanted = resolved.model.dynamics().external.n_inputs;
        if n_wanted != n_external {
            anyhow::bail!(
                "config, [model]: `dynamics.external.n_inputs` is {n_wanted}, and there are {n_external} known inputs (--inputs); leave it out"
            );
        }
        if let Some(calibrated) = &calibrated {
            calibrated.log(&recording);
        }
        let windows = resolved.config.windows.size(model);
        let source = Source::of(&recording, input);
        let observations = Observations::new(recording, windows, calibrated, external, model)?;
        say_what_training_sees(&observations.cut, &held_out);
        let record = RunRecord {
            format: RunRecord::format(),
            model,
            source,
            config: resolved.config,
            model_config: resolved.model,
            training: resolved.training,
            calibration: observations.calibration().cloned(),
            held_out,
            external: observations.external().map(|e| e.record().clone()),
            tried,
            driven: None,
        };
        Ok(Self {
            record,
            observations,
            other,
        })
    }

    /// Inputs that are inferred.
    pub(crate) fn n_inputs(&self) -> usize {
        self.record.model_config.dynamics().controller.n_inputs
    }

    /// Whether the user leaves open if inputs are inferred.
    pub(crate) fn inputs_are_open(&self) -> bool {
        self.other.is_some()
    }

    /// The same fit without inferred inputs, or with them again, where that is open.
    pub(crate) fn exchange_inputs(&mut self) {
        let record = &mut self.record;
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut record.config, &mut other.config);
            std::mem::swap(&mut record.model_config, &mut other.model);
            std::mem::swap(&mut record.training, &mut other.training);
        }
    }

    /// What is fitted.
    pub fn recording(&self) -> &Recording {
        &self.observations.recording
    }

    /// Trains, or goes on training, with checkpoints in `run`, which [`RunFolder::begin`] made for this
    /// record. What the model reads in training is let go with it.
    ///
    /// [`RunFolder::begin`]: crate::RunFolder::begin
    ///
    /// # Errors
    /// A training that diverges for good or is interrupted; a disk that is full; a folder that is no
    /// longer this process's.
    pub fn train(
        &self,
        run: &Locked,
        device: &Device,
        observer: &mut dyn Observer,
    ) -> Result<Trained> {
        let record = &self.record;
        let (observed, setting): (_, Setting) = self
            .observations
            .to_train(&record.model_config, &record.held_out)?;
        record.model_config.check(&setting, device)?;
        let (folder, of) = (run.folder.checkpoints(), record.identity()?);
        let training = Training {
            config: &record.training,
            seed: record.config.seed,
            device,
            checkpoints: Some(Checkpoints::new(&folder, &of)),
            search: record.config.search,
        };
        let mut observer = InFolder {
            lock: &run.lock,
            observer,
        };
        let model = &record.model_config;
        let trained = model.fit(&setting, &observed, training, &mut observer);
        // A checkpoint that cannot be written may only have lost its folder.
        if let (Err(_), Err(lost)) = (&trained, run.lock.check()) {
            return Err(anyhow::Error::msg(lost));
        }
        memory::give_back();
        Ok(trained?)
    }

    /// Infers, and keeps results and history in the folder.
    ///
    /// # Errors
    /// A disk that is full; a folder that is no longer this process's.
    pub fn finish(&self, run: &Locked, trained: Trained) -> Result<RunResult> {
        let (record, folder) = (&self.record, &run.folder);
        let n_samples = record.config.n_samples;
        tracing::info!("averaging {n_samples} posterior samples");
        let model = trained.model.as_ref();
        let (config, seed) = (&record.model_config, record.config.seed);
        let mut results = self.observations.infer(config, model, n_samples, seed)?;
        let axes = FactorAxes::of(&results)?;
        axes.apply(&mut results)?;
        axes.write(&folder.file(FactorAxes::FILE), &record.identity()?)?;
        let frames = record.held_out.frames(&self.observations.cut);
        results.insert("held_out", "", frames.into_dyn());
        run.lock.check().map_err(anyhow::Error::msg)?;
        results.write(&folder.file("inferred.h5"))?;
        let history = History {
            validations: trained.history,
            events: trained.events,
        };
        folder.write("history.json", &history)?;
        let held_out_fluor_r2 = fluor_r2(&results)?;
        let taus_s = results.arrays.get("tau");
        let median_tau_s =
            taus_s.and_then(|taus_s| median(taus_s.values.iter().copied().map(f64::from)));
        // The proof needs room of its own.
        drop(results);
        let proof = self.prove(model);
        let last = history.validations.last();
        let result = RunResult {
            steps: trained.steps,
            train_seconds: trained.seconds,
            recoveries: trained.recoveries,
            held_out_loss: held_out_loss(&history.validations),
            held_out_kl: last.and_then(|report| {
                let inputs = report.valid.get(Term::KlInputs)?;
                Some([report.valid.get(Term::KlIc)?, inputs])
            }),
            held_out_fluor_r2,
            proof,
            median_tau_s,
            version: REVISION.into(),
        };
        folder.write("result.json", &result)?;
        Ok(result)
    }

    /// A fit is worth keeping where it cannot be scored.
    fn prove(&self, model: &dyn Posterior) -> Option<Proof> {
        tracing::info!("hiding neurons, to see whether they are foreseen");
        let record = &self.record;
        let (config, seed) = (&record.model_config, record.config.seed);
        let found = self
            .observations
            .prove(config, model, &record.held_out, seed);
        let proof = found.unwrap_or_else(|error| {
            tracing::warn!("co-smoothing cannot be measured: {error:#}");
            None
        })?;
        for warning in proof.warnings() {
            tracing::warn!("{warning}");
        }
        Some(proof)
    }
}

/// Negative bound of the last validation, nats per trial or window.
pub(crate) fn held_out_loss(validations: &[ValidationReport]) -> Option<f64> {
    let last = validations.last();
    last.map(|report| report.valid.negative_bound())
}

/// The model that does best on recordings of known rates, of what `recording` holds.
pub fn model_for(recording: &Recording) -> ModelName {
    match recording.units {
        Some(Units::SpikeCounts) => ModelName::Lfads,
        _ => ModelName::NetworkLfads,
    }
}

/// What the values of a recording must be for a model to read them.
pub fn likelihood_of(model: ModelName) -> Likelihood {
    match model.reads_spikes() {
        true => Likelihood::Poisson,
        false => Likelihood::Gaussian,
    }
}

/// How a recording is cut, and what is held out of it. What trials start with is settled where windows settle it.
///
/// # Errors
/// Those of [`Cut::new`] and [`HeldOut::choose`]; settings that contradict each other.
pub(crate) fn hold_out(
    recording: &Recording,
    config: &mut FitConfig,
    model: ModelName,
) -> Result<(Cut, HeldOut)> {
    config.calibration.start = config.start()?;
    let may_cut = config.calibration.start != StartConfig::Rest;
    let cut = Cut::new(recording, may_cut, config.windows.size(model))?;
    if cut.is_cut() && may_cut {
        // A window within a trial starts with what earlier spikes have left.
        config.calibration.start = StartConfig::Running;
    }
    let tau_s = config.calibration.tau_s.or(recording.tau_s);
    let guard_s = tau_s.unwrap_or(config.calibration.typical_tau_s);
    let held_out = HeldOut::choose(recording, &cut, config, guard_s)?;
    Ok((cut, held_out))
}

/// Settings that the recording decides, where the user does not.
fn measured(
    cut: &Cut,
    config: &FitConfig,
    model: ModelName,
    calibrated: Option<&Calibrated>,
    dt_s: f64,
) -> Table {
    let mut table = Table::new();
    let Some(calibrated) = calibrated.filter(|_| model == ModelName::CountLadder) else {
        return table;
    };
    let start = match calibrated.calibration.start_is_running {
        true => "decaying",
        false => "rest",
    };
    table.insert("trial_start".into(), start.into());
    // What was measured beforehand is only nearly right; but where a window is over before a transient
    // is, more and smaller spikes above a lower baseline explain it as well.
    let decays = cut.piece_length() as f64 * dt_s / calibrated.calibration.tau_s;
    let learns = decays >= LEARNS_DECAYS;
    if !learns && !config.model.contains_key("learn_calcium") {
        tracing::warn!(
            "a window lasts {decays:.1} tau, too short to learn the calcium in: it stays as calibrated (`[windows] length` of {} frames would do, or `[model] learn_calcium = true`)",
            (LEARNS_DECAYS * calibrated.calibration.tau_s / dt_s).ceil()
        );
    }
    table.insert("learn_calcium".into(), learns.into());
    table
}

fn say_what_training_sees(cut: &Cut, held_out: &HeldOut) {
    let (n_pieces, n_bins) = cut.dim();
    let n_frames: usize = cut.lengths().iter().sum();
    let seen = held_out.seen(cut);
    let n_seen: usize = seen.iter().flatten().map(ExactSizeIterator::len).sum();
    let percent = |n: usize| 100.0 * n as f64 / n_frames as f64;
    tracing::info!(
        "{n_pieces} {} of {n_bins} frames; training sees {:.0}% of the frames ({n_seen} of {n_frames}); held out: {}, {:.0}%",
        match cut.is_cut() {
            true => "windows",
            false => "trials",
        },
        percent(n_seen),
        held_out.describe(),
        percent(held_out.frames(cut).sum() as usize),
    );
}

/// Squared correlation of inferred and recorded fluorescence on held-out frames, each neuron
/// about its mean.
fn fluor_r2(results: &Arrays) -> Result<Option<f64>> {
    let (Some(fluor), Some(observed)) =
        (results.arrays.get("fluor"), results.arrays.get("observed"))
    else {
        return Ok(None);
    };
    let held_out = results.require("held_out")?.mapv(|v| v > 0.5);
    let held_out = held_out.view().into_dimensionality::<Ix2>()?;
    let fluor = fluor.values.view().into_dimensionality::<Ix3>()?;
    let observed = observed.values.view().into_dimensionality::<Ix3>()?;
    let comparison = Comparison::new(fluor, observed)?.within(held_out)?;
    Ok(comparison.about_means().map(|fit| fit.r2))
}
