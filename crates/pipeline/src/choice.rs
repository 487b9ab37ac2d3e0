//! Settings that are chosen by what they foresee.
//!
//! Each candidate is a fit of its own to what training will see, of which it holds a part out again: co-smoothing on that part
//! judges it. The frames that the final fit holds out have no say, so that they still judge what was chosen.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use data::Recording;
use model::Difference;
use runs::store::write_atomically;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use toml::{Table, Value};

use crate::config::{FitConfig, set};
use crate::fit::{FitRequest, Prepared, hold_out};
use crate::held_out::HeldOut;
use crate::proof::Lead;
use crate::run_folder::{RunFolder, RunResult, Source};
use crate::tried::{Change, Tried};

/// What is kept of the candidates beside them.
const FILE: &str = "choice.json";
/// The folder there of the settings that were asked for.
const ASKED: &str = "asked";
/// The final fit sees more frames than a candidate: it may take so much longer.
const FINAL: f64 = 1.3;

/// Inputs that are tried where none are inferred.
const N_INPUTS: usize = 4;

/// `choice.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// What decides it.
    of: Json,
    tried: Vec<Tried>,
    is_over: bool,
}

/// What is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Choice {
    /// Whether inputs to the dynamics are inferred.
    Inputs,
    /// As many settings as can be tried, with the fit behind them, in so many seconds.
    Within(u64),
}

impl Choice {
    /// Chooses settings for a fit of `recording` in the folder of a run, whose candidates `fit` fits, each in the folder
    /// that it is given. Goes on where it was interrupted, and chooses nothing anew that was chosen before. The request
    /// that comes back has the best settings, and says what was tried.
    ///
    /// # Errors
    /// Those of the fits; a choice for another fit in the folder; a recording that cannot be scored by co-smoothing.
    pub fn make(
        self,
        recording: &Recording,
        asked: FitRequest,
        run: &Path,
        fit: &mut dyn FnMut(&Prepared, &Path) -> Result<RunResult>,
    ) -> Result<FitRequest> {
        let folder = run.join(RunFolder::CHOICE);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{}: cannot create the folder", folder.display()))?;
        let file = folder.join(FILE);
        let mut record = Record::begin(&file, self.of(recording, &asked)?)?;
        let changes = self.changes(&asked)?.into_iter().map(Some);
        // First as asked for.
        let candidates: Vec<Option<Change>> = std::iter::once(None).chain(changes).collect();
        while let Some(change) = record.next(&candidates) {
            let change = change.as_ref();
            let best = record.best(&asked.config)?;
            let config = change.map_or(Ok(best.clone()), |change| change.applied(&best))?;
            let start = Instant::now();
            let (part, request) = unheld(
                recording,
                FitRequest {
                    config,
                    ..asked.clone()
                },
            )?;
            let prepared = Prepared::new(part, request)?;
            let name = change.map_or(ASKED.to_owned(), Change::folder);
            let result = fit(&prepared, &folder.join(name))?;
            let Some(proof) = result.proof else {
                bail!(
                    "{}: co-smoothing cannot be measured here, and settings are chosen by it; choose them yourself (--n-inputs N, no --budget)",
                    recording.path.display()
                );
            };
            // An interrupted candidate took longer than what was left of it.
            let seconds = start.elapsed().as_secs_f64().max(result.train_seconds);
            record.add(change.cloned(), proof.scores, seconds);
            record.is_over = record.next(&candidates).is_none() || !self.has_time(&record.tried);
            record.write(&file)?;
        }
        Ok(FitRequest {
            config: record.best(&asked.config)?,
            tried: record.tried,
            ..asked
        })
    }

    /// What decides a choice: all of a fit but the number of steps, which may be raised.
    fn of(self, recording: &Recording, request: &FitRequest) -> Result<Json> {
        let mut config = request.config.clone();
        config.training.remove("n_steps");
        let external = request.external.as_ref();
        let of = json!({
            "choice": self,
            "source": Source::of(recording, request.input.clone()),
            "model": request.model,
            "config": config,
            "external": external.map(|external| Source::of(external, Json::Null)),
        });
        // By way of text, as it will be read.
        Ok(serde_json::from_slice(&serde_json::to_vec(&of)?)?)
    }

    /// What may be changed, in this order, but for what the user set.
    fn changes(self, asked: &FitRequest) -> Result<Vec<Change>> {
        let resolved = asked.config.clone().resolve(asked.model, &Table::new())?;
        let dynamics = resolved.model.dynamics();
        let integer = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let n_inputs = match dynamics.controller.n_inputs {
            0 => N_INPUTS,
            _ => 0,
        };
        let mut changes = vec![("model.dynamics.controller.n_inputs", integer(n_inputs))];
        if let Self::Within(_) = self {
            changes.extend([
                ("model.dynamics.l2", Value::Float(10.0 * dynamics.l2)),
                ("model.dynamics.coordinated_dropout", Value::Float(0.5)),
                ("model.dynamics.n_factors", integer(2 * dynamics.n_factors)),
                ("training.n_steps", integer(2 * resolved.training.n_steps)),
                (
                    "model.dynamics.n_factors",
                    integer(dynamics.n_factors.div_ceil(2)),
                ),
            ]);
        }
        let changes = changes.into_iter().map(|(setting, value)| Change {
            setting: setting.into(),
            value,
        });
        changes
            .filter_map(|change| match change.is_set_by(&asked.config) {
                Ok(is_set) => (!is_set).then_some(Ok(change)),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    /// Whether another candidate and the fit can be had.
    fn has_time(self, tried: &[Tried]) -> bool {
        let Self::Within(budget_s) = self else {
            return true;
        };
        let spent: f64 = tried.iter().map(|tried| tried.seconds).sum();
        let longest = tried.iter().map(|tried| tried.seconds).fold(0.0, f64::max);
        let has_time = spent + (1.0 + FINAL) * longest <= budget_s as f64;
        if !has_time {
            tracing::info!(
                "{} candidates took {spent:.0} s; no time is left for another of up to {longest:.0} s and the fit",
                tried.len()
            );
        }
        has_time
    }
}

/// The part of a recording that a fit would train on, and the same fit of it; it holds out other blocks than the
/// first did.
fn unheld(recording: &Recording, mut request: FitRequest) -> Result<(Recording, FitRequest)> {
    let (cut, held_out) = hold_out(recording, &mut request.config, request.model)?;
    let seen = held_out.seen(&cut);
    let part = match held_out {
        HeldOut::Trials(_) => {
            let trials: Vec<usize> = (0..seen.len()).filter(|&t| !seen[t].is_empty()).collect();
            let external = request.external.as_ref();
            let external = external.map(|external| external.keep_trials(&trials));
            request.external = external.transpose()?;
            recording.keep_trials(&trials)?
        }
        HeldOut::Blocks { .. } => recording.keep_frames(&seen[0])?,
    };
    request.config.seed = request.config.seed.wrapping_add(1);
    Ok((part, request))
}

impl Change {
    /// Whether these settings, without what they leave out, have a value for it.
    fn is_set_by(&self, config: &FitConfig) -> Result<bool> {
        let table = Table::try_from(config)?;
        let mut found = Some(&Value::Table(table));
        for key in self.setting.split('.') {
            found = found.and_then(|value| value.get(key));
        }
        Ok(found.is_some())
    }

    /// Where its fit lies: whatever was tried before it, the same change is in the same place.
    fn folder(&self) -> String {
        format!("{}={}", self.setting, self.value)
    }

    fn applied(&self, config: &FitConfig) -> Result<FitConfig> {
        let mut whole = Table::try_from(config)?;
        let set = set(&mut whole, &self.setting, self.value.clone());
        set.map_err(|error| anyhow!("config: {error}"))?;
        Ok(whole.try_into()?)
    }
}

impl Record {
    /// What is in the file; nothing tried yet, if there is none.
    fn begin(path: &Path, of: Json) -> Result<Self> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self {
                    of,
                    tried: Vec::new(),
                    is_over: false,
                });
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let shown = path.display();
        let record: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{shown}: damaged, or of another version; delete it"))?;
        match Difference::between(&record.of, &of) {
            None => Ok(record),
            Some(found) => bail!(
                "{shown}: it holds the choice of settings for another fit ({found}); give another folder to -o, or delete this one"
            ),
        }
    }

    /// The first candidate that was not tried; none if the choice is over.
    fn next<'a>(&self, candidates: &'a [Option<Change>]) -> Option<&'a Option<Change>> {
        let is_tried = |change: &Option<Change>| {
            let mut tried = self.tried.iter();
            tried.any(|tried| tried.change == *change)
        };
        let mut untried = candidates.iter().filter(|change| !is_tried(change));
        untried.next().filter(|_| !self.is_over)
    }

    fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, &serde_json::to_vec_pretty(self)?)
    }

    /// The settings asked for with all changes that were taken.
    fn best(&self, asked: &FitConfig) -> Result<FitConfig> {
        let taken = self.tried.iter().filter(|tried| tried.is_taken());
        let mut changes = taken.filter_map(|tried| tried.change.as_ref());
        changes.try_fold(asked.clone(), |best, change| {
            // The number of steps may have been asked for since.
            match change.is_set_by(asked)? {
                true => Ok(best),
                false => change.applied(&best),
            }
        })
    }

    fn add(&mut self, change: Option<Change>, scores: Vec<f64>, seconds: f64) {
        let best = self.tried.iter().rfind(|tried| tried.is_taken());
        let tried = Tried {
            lead: best.map(|best| Lead::of(&scores, &best.scores)),
            change,
            scores,
            seconds,
        };
        tracing::info!("{tried}");
        self.tried.push(tried);
    }
}

#[cfg(test)]
mod tests {
    use zoo::ModelName;

    use super::*;

    fn record(scores: &[(&str, i64, [f64; 3])]) -> Record {
        let mut record = Record {
            of: Json::Null,
            tried: Vec::new(),
            is_over: false,
        };
        record.add(None, vec![0.2, 0.3, 0.1], 10.0);
        for (setting, value, scores) in scores {
            let change = Change {
                setting: (*setting).into(),
                value: (*value).into(),
            };
            record.add(Some(change), scores.to_vec(), 20.0);
        }
        record
    }

    #[test]
    fn what_foresees_more_is_taken_and_the_next_is_compared_with_it() {
        let record = record(&[
            ("model.dynamics.controller.n_inputs", 0, [0.3, 0.3, 0.3]),
            ("model.dynamics.n_factors", 16, [0.25, 0.35, 0.25]),
            ("training.n_steps", 400, [0.3, 0.4, 0.3]),
        ]);
        let taken: Vec<bool> = record.tried.iter().map(Tried::is_taken).collect();
        assert_eq!(taken, [true, true, false, true]);
        let lead = record.tried[2].lead.unwrap();
        assert!((lead.mean + 0.05 / 3.0).abs() < 1e-12, "{lead:?}");
        let asked: FitConfig = toml::from_str("[model.dynamics]\nl2 = 3.0").unwrap();
        let best = record.best(&asked).unwrap();
        let dynamics = best.model["dynamics"].as_table().unwrap();
        assert_eq!(dynamics["controller"]["n_inputs"].as_integer(), Some(0));
        assert_eq!(dynamics["l2"].as_float(), Some(3.0));
        assert!(!dynamics.contains_key("n_factors"));
        assert_eq!(best.training["n_steps"].as_integer(), Some(400));
        // Who asks for more steps gets them.
        let asked: FitConfig = toml::from_str("[training]\nn_steps = 900").unwrap();
        let best = record.best(&asked).unwrap();
        assert_eq!(best.training["n_steps"].as_integer(), Some(900));
    }

    /// Who asks for more steps while settings are tried has those alone left out.
    #[test]
    fn a_change_that_falls_away_moves_no_other() {
        let record = record(&[("training.n_steps", 400, [0.3, 0.3, 0.3])]);
        let change = |setting: &str, value: i64| Change {
            setting: setting.into(),
            value: value.into(),
        };
        let rest = [
            Some(change("model.dynamics.n_factors", 16)),
            Some(change("model.dynamics.n_factors", 4)),
        ];
        assert_eq!(record.next(&rest), Some(&rest[0]));
        let before = [Some(change("training.n_steps", 400)), rest[1].clone()];
        assert_eq!(record.next(&before), Some(&before[1]));
        assert_eq!(record.next(&before[..1]), None);
        let folders = rest.map(|change| change.unwrap().folder());
        assert_ne!(folders[0], folders[1]);
    }

    #[test]
    fn what_the_user_set_is_not_tried() {
        let request = |text: &str| FitRequest {
            model: ModelName::NetworkLfads,
            config: toml::from_str(text).unwrap(),
            external: None,
            input: Json::Null,
            tried: Vec::new(),
        };
        let settings = |choice: Choice, text: &str| -> Vec<String> {
            let changes = choice.changes(&request(text)).unwrap();
            let said = changes
                .iter()
                .map(|c| format!("{} = {}", c.setting, c.value));
            said.collect()
        };
        assert_eq!(
            settings(Choice::Inputs, ""),
            ["model.dynamics.controller.n_inputs = 0"]
        );
        let within = Choice::Within(60);
        assert_eq!(settings(within, "").len(), 6);
        let given = "[training]\nn_steps = 9\n[model.dynamics]\nn_factors = 3\ncontroller = { n_inputs = 1 }";
        assert_eq!(
            settings(within, given),
            [
                "model.dynamics.l2 = 100.0",
                "model.dynamics.coordinated_dropout = 0.5"
            ]
        );
    }

    #[test]
    fn time_is_kept_for_the_fit() {
        let tried = record(&[("training.n_steps", 400, [0.0; 3])]).tried;
        // 30 s are spent, and another 20 s, and 26 s, may be wanted.
        assert!(Choice::Within(76).has_time(&tried));
        assert!(!Choice::Within(75).has_time(&tried));
        assert!(Choice::Inputs.has_time(&tried));
    }
}
