//! A run's folder: everything that says what was fitted to what, the weights, and the results.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use data::{Arrays, Recording, Traces};
use model::train::{Event, ValidationReport};
use model::{Difference, KnownStates, TrainConfig, check_checkpoint};
use runs::lock::Lock;
use runs::store::{hex, write_atomically};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zoo::{ModelConfig, ModelName};

use crate::calibration::Calibration;
use crate::config::FitConfig;
use crate::external::ExternalRecord;
use crate::factor_axes::FactorAxes;
use crate::held_out::HeldOut;
use crate::proof::Proof;
use crate::tried::{Driven, Tried};

/// Layout of the folder.
const FORMAT: u32 = 4;

/// `run.json`: everything that decides the numbers of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Layout of the folder.
    pub format: u32,
    /// The model by its name.
    pub model: ModelName,
    /// The recording.
    pub source: Source,
    /// The configuration file with every default.
    pub config: FitConfig,
    /// The model's settings.
    pub model_config: ModelConfig,
    /// The training's settings.
    pub training: TrainConfig,
    /// Absent for models of spike counts.
    pub calibration: Option<Calibration>,
    /// What training never saw.
    pub held_out: HeldOut,
    /// Inputs to the dynamics that are known, if there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRecord>,
    /// What was tried before the settings were chosen, if they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// How it was decided whether inputs are inferred, where the user did not say; the settings hold what was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driven: Option<Driven>,
}

/// The recording that a run was fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// File or folder.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Dataset in it.
    pub dataset: String,
    /// How it was read, in the words of the program that did.
    pub input: Value,
    /// SHA-256 of frame interval, lengths and values.
    pub sha256: String,
    /// Neurons by name.
    pub neuron_ids: Vec<String>,
    /// Seconds per frame.
    pub dt_s: f64,
    /// What the values are.
    pub units: Option<String>,
    /// Whether it is one long recording, cut into windows.
    pub continuous: bool,
    /// Trials in all, or 1.
    pub n_trials: usize,
}

/// `result.json`: what came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    /// Optimiser steps done.
    pub steps: usize,
    /// Wall-clock seconds of training, over all resumptions.
    pub train_seconds: f64,
    /// Restarts after NaN, and resets after a collapse.
    pub recoveries: usize,
    /// Of the last validation: negative bound in nats per trial.
    pub held_out_loss: Option<f64>,
    /// Of the last validation: KL of the initial condition and of the inferred inputs, nats per trial, if
    /// there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_kl: Option<[f64; 2]>,
    /// How well the inferred fluorescence fits the recorded one, held-out frames of all neurons.
    pub held_out_fluor_r2: Option<f64>,
    /// Whether it foresees what it was not shown, and better than what needs no model.
    #[serde(default)]
    pub proof: Option<Proof>,
    /// Median over neurons of the decay time, seconds, learned where the model learns it.
    #[serde(default)]
    pub median_tau_s: Option<f64>,
    /// Revision of the program.
    pub version: String,
}

/// `history.json`: how the training went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// Every validation.
    pub validations: Vec<ValidationReport>,
    /// Everything noteworthy, over all starts.
    pub events: Vec<Event>,
}

impl RunRecord {
    /// The record of a fit that is about to begin.
    pub fn format() -> u32 {
        FORMAT
    }

    /// What checkpoints of the fit say they belong to: all but the number of steps, which may be raised, and why inputs
    /// are inferred or not, which is known behind the training.
    ///
    /// # Errors
    /// None for a record of this version.
    pub fn identity(&self) -> Result<Value> {
        let mut identity = self.to_json()?;
        set_steps(&mut identity, None);
        forget_reason(&mut identity);
        Ok(identity)
    }

    fn to_json(&self) -> Result<Value> {
        // By way of text, in which a 32-bit float has fewer digits than as a 64-bit one.
        Ok(serde_json::from_slice(&serde_json::to_vec(self)?)?)
    }

    /// What of it contradicts itself.
    fn contradiction(&self) -> Option<String> {
        let n_neurons = self.source.neuron_ids.len();
        let unlike = |what: &str, n: usize| {
            (n != n_neurons).then(|| format!("`{what}` has {n} values for {n_neurons} neurons"))
        };
        let dt_s = self.source.dt_s;
        if !(dt_s.is_finite() && dt_s > 0.0) {
            return Some(format!("`source.dt_s` is {dt_s}; it must be above 0"));
        }
        if self.model != self.model_config.name() {
            let (model, settings) = (self.model, self.model_config.name());
            return Some(format!("`model` is {model}, `model_config` of {settings}"));
        }
        if self.model.reads_spikes() == self.calibration.is_some() {
            let is = if self.calibration.is_some() {
                "there"
            } else {
                "missing"
            };
            return Some(format!("`calibration` is {is}, for {}", self.model));
        }
        let n_known = self.model_config.dynamics().external.n_inputs;
        let external = self.external.as_ref();
        let problem = match external {
            Some(external) => external.contradiction(n_known),
            None => (n_known > 0).then(|| format!("`external` is missing, of {n_known} inputs")),
        };
        if problem.is_some() {
            return problem;
        }
        let calibration = self.calibration.as_ref()?;
        let longest_s = 1000.0 * dt_s.max(1.0);
        let times_s = [
            ("calibration.tau_s", Some(calibration.tau_s)),
            ("calibration.rise_s", calibration.rise_s),
        ];
        let is_out = |time: &f64| !(*time > 0.0 && *time <= longest_s);
        for (name, time_s) in times_s {
            if let Some(time_s) = time_s.filter(is_out) {
                return Some(format!(
                    "`{name}` is {time_s}; it must be above 0 and at most {longest_s} s"
                ));
            }
        }
        let of_neurons = [
            ("calibration.baseline", &calibration.baseline),
            ("calibration.spike_size", &calibration.spike_size),
            ("calibration.noise_sd", &calibration.noise_sd),
            ("calibration.resting", &calibration.resting),
        ];
        if let Some(found) = of_neurons
            .iter()
            .find_map(|(name, v)| unlike(name, v.len()))
        {
            return Some(found);
        }
        if let Some(neuron) = calibration.uncalibrated.iter().find(|n| **n >= n_neurons) {
            return Some(format!(
                "`calibration.uncalibrated` names neuron {neuron} of {n_neurons}"
            ));
        }
        let sizes = calibration.spike_size.iter();
        let mut bad = sizes.filter(|size| !(size.is_finite() && **size > 0.0));
        bad.next()
            .map(|size| format!("`calibration.spike_size` holds {size}; it must be above 0"))
    }
}

/// Inputs whose prior a record's settings leave open have an autoregressive one: it says so, as settings do that were given.
fn state_input_prior(record: &mut Value) {
    let place = "/config/model/dynamics/controller";
    let Some(controller) = record.pointer_mut(place).and_then(Value::as_object_mut) else {
        return;
    };
    if controller.get("n_inputs").and_then(Value::as_u64) > Some(0) {
        let prior = controller.entry("prior");
        prior.or_insert_with(|| "autoregressive".into());
    }
}

/// Gives a record the number of steps of another one, or none; the user's own setting is part of it.
fn set_steps(record: &mut Value, of: Option<&Value>) {
    for at in ["/training", "/config/training"] {
        let wanted = of.and_then(|of| of.pointer(at)?.get("n_steps").cloned());
        let Some(settings) = record.pointer_mut(at).and_then(Value::as_object_mut) else {
            continue;
        };
        match wanted {
            Some(steps) => settings.insert("n_steps".into(), steps),
            None => settings.remove("n_steps"),
        };
    }
}

/// Whoever decided whether inputs are inferred, the fit is the same.
fn forget_reason(record: &mut Value) {
    if let Some(record) = record.as_object_mut() {
        record.remove("driven");
    }
}

/// A path as text; what is no Unicode is replaced.
pub(crate) fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

impl Source {
    /// Describes `recording`, as read with `input`.
    pub fn of(recording: &Recording, input: Value) -> Self {
        Self {
            path: recording.path.clone(),
            dataset: recording.dataset.clone(),
            input,
            sha256: digest(recording),
            neuron_ids: recording.neuron_ids.clone(),
            dt_s: recording.dt_s,
            units: recording.units.map(|units| units.to_string()),
            continuous: matches!(recording.traces, Traces::Continuous(_)),
            n_trials: recording.stretches().len(),
        }
    }
}

fn digest(recording: &Recording) -> String {
    let mut sha = Sha256::new();
    sha.update(recording.dt_s.to_le_bytes());
    for trial in recording.stretches() {
        for &length in trial.shape() {
            sha.update((length as u64).to_le_bytes());
        }
        trial
            .iter()
            .for_each(|value| sha.update(value.to_le_bytes()));
    }
    hex(&sha.finalize())
}

/// The folder of a run.
pub struct RunFolder {
    path: PathBuf,
}

/// A folder that belongs to this process while the value lives.
pub struct Locked {
    /// The folder.
    pub folder: RunFolder,
    /// What makes it this process's own.
    pub lock: Lock,
}

impl RunFolder {
    /// The files of a run, its checkpoints among them.
    pub const FILES: [&str; 13] = [
        "run.json",
        "config.toml",
        "inferred.h5",
        "inferred.npz",
        "inferred.nwb",
        "inferred.tsd.npz",
        "history.json",
        "result.json",
        FactorAxes::FILE,
        "lock",
        "checkpoint/last.ckpt",
        "checkpoint/previous.ckpt",
        "checkpoint/states.ckpt",
    ];

    /// Where the trainer keeps its checkpoints.
    pub(crate) const CHECKPOINTS: &str = "checkpoint";

    /// Where fits are among which one is chosen.
    pub(crate) const CHOICE: &str = "choice";

    /// A folder that holds a run.
    ///
    /// # Errors
    /// If it holds none.
    pub fn open(path: &Path) -> Result<(Self, RunRecord)> {
        let folder = Self { path: path.into() };
        if !folder.file("run.json").is_file() {
            if folder.file(Self::CHOICE).is_dir() {
                bail!(
                    "{}: the fit is not complete, its settings are still being chosen; the `lfads fit` that began it goes on",
                    path.display()
                );
            }
            bail!(
                "{}: this is not a run folder, it has no run.json; give the folder that `lfads fit -o` wrote",
                path.display()
            );
        }
        folder.check_format()?;
        let record: RunRecord = folder.read("run.json")?;
        if let Some(contradiction) = record.contradiction() {
            bail!(
                "{}: its run.json contradicts itself: {contradiction}; fit anew",
                path.display()
            );
        }
        Ok((folder, record))
    }

    /// What run.json holds, if this program wrote it or could have.
    fn check_format(&self) -> Result<Value> {
        let whole: Value = self.read("run.json")?;
        if whole["format"] != FORMAT {
            bail!(
                "{}: its run.json has format {}, this program writes and reads format {FORMAT}; fit anew into another folder, or use the program that wrote it",
                self.path.display(),
                whole["format"]
            );
        }
        Ok(whole)
    }

    /// The folder of the fit that `record` describes, new or to be gone on with, for more steps than it was asked for
    /// before if the record says so.
    ///
    /// # Errors
    /// If it holds another fit, or another process works on it.
    pub fn begin(path: &Path, record: &RunRecord) -> Result<Locked> {
        std::fs::create_dir_all(path)
            .with_context(|| format!("{}: cannot create the folder", path.display()))?;
        let folder = Self { path: path.into() };
        let lock = Lock::take(&folder.file("lock"), "-o")?;
        data::sweep(path);
        data::sweep(&folder.checkpoints());
        let this = record.to_json()?;
        serde_json::from_value::<RunRecord>(this.clone()).with_context(|| {
            let path = path.display();
            format!("{path}: a setting or what was measured of the recording is infinite or no number, and cannot be kept")
        })?;
        if folder.file("run.json").is_file() {
            if let Some(before) = folder.steps_before(this)? {
                tracing::info!(
                    "{}: goes on from {before} steps to {}, by the schedule of the latter; a fit that had been asked for as many at once would have taken other steps",
                    path.display(),
                    record.training.n_steps
                );
                // In this order: whenever it is killed, what is there is an unfinished fit.
                folder.remove("result.json")?;
                folder.write("run.json", record)?;
            }
        } else {
            folder.refuse_what_is_no_runs()?;
            folder.write("run.json", record)?;
        }
        // Whatever moment an earlier start was killed at.
        let config = toml::to_string_pretty(&record.config)?;
        let written = std::fs::read(folder.file("config.toml"));
        if !written.is_ok_and(|written| written == config.as_bytes()) {
            write_atomically(&folder.file("config.toml"), config.as_bytes())?;
        }
        Ok(Locked { folder, lock })
    }

    /// Refuses a folder without run.json in which a file would be written over that no fit made: each writes
    /// run.json first. Who has its weights can go on from them.
    fn refuse_what_is_no_runs(&self) -> Result<()> {
        let mut names = Self::FILES.into_iter().filter(|name| *name != "lock");
        match names.find(|name| self.file(name).exists()) {
            Some(name) if !self.weights().exists() => bail!(
                "{}: it holds a file {name} but no run.json: it is no fit's, and the file would be lost; give another folder to -o",
                self.path.display()
            ),
            _ => Ok(()),
        }
    }

    /// The steps that the folder's run was asked for, if `this` is the same fit with more of them. Refuses a folder
    /// that holds the run of another fit.
    fn steps_before(&self, mut this: Value) -> Result<Option<u64>> {
        let mut other = self.check_format()?;
        for record in [&mut other, &mut this] {
            state_input_prior(record);
            forget_reason(record);
        }
        let steps = |record: &Value| record.pointer("/training/n_steps")?.as_u64();
        let (before, now) = (steps(&other), steps(&this));
        let raised = before < now;
        if raised {
            set_steps(&mut other, Some(&this));
        }
        // What the user chose says more than what was measured with it.
        let telling = ["source", "model", "config"].into_iter().find_map(|part| {
            let found = Difference::between(&other[part], &this[part])?;
            let field = match found.field.as_str() {
                "" => part.to_owned(),
                field => format!("{part}.{field}"),
            };
            Some(Difference { field, ..found })
        });
        let path = self.path.display();
        match telling.or_else(|| Difference::between(&other, &this)) {
            None => Ok(before.filter(|_| raised)),
            Some(found) if found.field == "source.sha256" => bail!(
                "{path}: it holds the run of another recording, or of another part of it; give another folder to -o, or delete this one"
            ),
            Some(found) => bail!(
                "{path}: it holds the run of another fit ({found}, in run.json); give another folder to -o, or delete this one"
            ),
        }
    }

    /// The result of the fit, if all that it should have left is there and can be read.
    ///
    /// # Errors
    /// None; a file that is missing or damaged is said on the log.
    pub fn complete(&self, record: &RunRecord) -> Result<Option<RunResult>> {
        if !self.is_complete() {
            return Ok(None);
        }
        let of = record.identity()?;
        let found = || {
            self.read::<History>("history.json")?;
            check_checkpoint(&self.weights(), Some(&of))?;
            KnownStates::read(&self.checkpoints().join(KnownStates::FILE), &of)?;
            FactorAxes::read(&self.file(FactorAxes::FILE), &of)?;
            let results = Arrays::read(&self.file("inferred.h5"))?;
            results.require("rates")?;
            self.read::<RunResult>("result.json")
        };
        match found() {
            Ok(result) => Ok(Some(result)),
            Err(error) => {
                tracing::warn!(
                    "{}: not all of the finished fit is there ({error:#}): what is missing is made again",
                    self.path.display()
                );
                Ok(None)
            }
        }
    }

    /// Writes the results as .npz beside the .h5, unless they are there and can be read.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub fn write_npz(&self) -> Result<()> {
        let npz = self.file("inferred.npz");
        if Arrays::read(&npz).is_err() {
            Arrays::read(&self.file("inferred.h5"))?.write(&npz)?;
        }
        Ok(())
    }

    /// Writes the results of `recording` in the format that the name of a file says, NWB or pynapple's.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub fn write_for(&self, recording: &Recording, name: &str) -> Result<()> {
        let results = Arrays::read(&self.file("inferred.h5"))?;
        Ok(results.write_for(recording, &self.file(name))?)
    }

    /// Whether the fit has come to its end.
    pub fn is_complete(&self) -> bool {
        self.file("result.json").is_file()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the trainer keeps its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(Self::CHECKPOINTS)
    }

    /// The last weights.
    pub fn weights(&self) -> PathBuf {
        self.checkpoints().join("last.ckpt")
    }

    /// Removes a file of the folder, if it is there.
    fn remove(&self, name: &str) -> Result<()> {
        let path = self.file(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Reads a JSON file of the run.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.file(name);
        let text = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{}: damaged, or of another version", path.display()))
    }

    /// Writes a JSON file of the run, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_atomically(&self.file(name), &serde_json::to_vec_pretty(value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_text_is_still_written() {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let path = Path::new(std::ffi::OsStr::from_bytes(b"m\xffuse"));
            let written = lossy(path, serde_json::value::Serializer).unwrap();
            assert_eq!(written, "m\u{fffd}use");
        }
    }
}
