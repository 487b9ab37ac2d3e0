//! Settings of a fit: what a TOML file says, on top of defaults that suit each model.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use model::{SearchConfig, TrainConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use zoo::{ModelConfig, ModelName};

/// Settings that every user of `model` would otherwise have to find out.
fn model_defaults(model: ModelName) -> &'static str {
    match model {
        ModelName::CountLadder => "max_gain_change = 1.25\ndynamics = { n_factors = 8 }",
        ModelName::OasisLfads | ModelName::ZigLfads => "s_min = 0.5\ndynamics = { n_factors = 8 }",
        // All where dynamics are driven; where they run nearly alone inputs cost up to .02 of r² (results/recordings.md), and are
        // left out again: see `Prepared::settle_inputs`.
        ModelName::NetworkLfads => "dynamics = { n_factors = 8, controller = { n_inputs = 4 } }",
        _ => "dynamics = { n_factors = 8 }",
    }
}

/// Where `network-lfads` infers inputs and `settings` do not say otherwise:
///
/// - They have a sparse prior, unless a time constant is given, which it has none of. On recordings of `lfads simulate`
///   (seeds 1, then 11 and 12 of each kind) rates are as good as under an autoregressive one or somewhat better, and
///   what is inferred of pulses lies closer about them.
/// - The initial condition is small and led to the generator by a linear map. A state of the generator costs so many
///   nats that the inputs of the first bins, which cost less, are learned to stand in for it, and then for pulses early
///   in a trial.
fn suit_inferred_inputs(name: ModelName, settings: &mut Table) {
    let dynamics = settings.get_mut("dynamics").and_then(Value::as_table_mut);
    let Some(dynamics) = dynamics.filter(|_| name == ModelName::NetworkLfads) else {
        return;
    };
    let controller = dynamics.get_mut("controller");
    let Some(controller) = controller.and_then(Value::as_table_mut) else {
        return;
    };
    let n_inputs = controller.get("n_inputs").and_then(Value::as_integer);
    if n_inputs.is_none_or(|n_inputs| n_inputs <= 0) {
        return;
    }
    if !controller.contains_key("prior") && !controller.contains_key("prior_tau_bins") {
        controller.insert("prior".into(), "sparse".into());
    }
    if !dynamics.contains_key("n_ic") {
        dynamics.insert("n_ic".into(), N_IC.into());
    }
}

/// Dimensions of an initial condition beside inferred inputs.
const N_IC: i64 = 8;

fn training_defaults(model: ModelName, infers_inputs: bool) -> &'static str {
    match model {
        // The deep level first learns alone from the shallow level's spikes.
        ModelName::LadderLfads => {
            "n_steps = 7500\nvalidate_every = 25\n\
             learning_rate = { kind = \"cosine\", peak = 0.01, constant_fraction = 0.7, final_fraction = 0.002 }\n\
             warm_up = { shallow_steps = 300, deep_start = 1000, deep_alone = 5000, deep_steps = 1600 }"
        }
        // Enough on recordings of ten minutes; twice as many gain nothing. While the divergences weigh little, inputs are
        // learned that come when something happens; where they soon weigh in full, such as are spread around it, which the
        // network's blurred spikes allow and cheap small inputs suggest.
        ModelName::NetworkLfads if infers_inputs => {
            "n_steps = 2000\nvalidate_every = 25\nwarm_up = { deep_steps = 3000 }"
        }
        ModelName::NetworkLfads => {
            "n_steps = 2000\nvalidate_every = 25\nwarm_up = { deep_steps = 500 }"
        }
        _ => "n_steps = 5000\nvalidate_every = 25\nwarm_up = { deep_steps = 800 }",
    }
}

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitConfig {
    /// Seed of the weights, the noise and the choice of held-out trials.
    pub seed: u64,
    /// Fraction of the trials, or windows, that training never sees; a split in the file wins.
    pub held_out: f64,
    /// Posterior samples averaged for each trial.
    pub n_samples: usize,
    /// How initial conditions are searched for beyond the encoder's answer.
    pub search: SearchConfig,
    /// Windows that a continuous recording is cut into.
    pub windows: WindowConfig,
    /// Units of one spike, baseline, decay.
    pub calibration: CalibrationConfig,
    /// Settings of the model.
    pub model: Table,
    /// Steps and schedules.
    pub training: Table,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            held_out: 0.2,
            n_samples: 64,
            search: SearchConfig::default(),
            windows: WindowConfig::default(),
            calibration: CalibrationConfig::default(),
            model: Table::new(),
            training: Table::new(),
        }
    }
}

/// Windows that a continuous recording is cut into, in frames; what is absent suits the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// Frames per window.
    pub length: Option<usize>,
    /// Frames that neighbours share: what is inferred fades from one window into the next over them.
    pub overlap: Option<usize>,
}

/// Windows of so many frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Frames per window.
    pub length: usize,
    /// Frames that neighbours share.
    pub overlap: usize,
}

impl WindowConfig {
    /// As the user says, else as suits `model`: one that reads spikes follows dynamics that nothing
    /// holds to a course better through shorter windows; one that infers calcium needs some decays of it.
    /// Half of a window overlaps.
    pub fn size(self, model: ModelName) -> WindowSize {
        let length = self.length.unwrap_or(match model {
            ModelName::Lfads | ModelName::NetworkLfads => 50,
            _ => 100,
        });
        WindowSize {
            length,
            overlap: self.overlap.unwrap_or(length / 2),
        }
    }
}

impl From<WindowSize> for WindowConfig {
    fn from(size: WindowSize) -> Self {
        Self {
            length: Some(size.length),
            overlap: Some(size.overlap),
        }
    }
}

/// How fluorescence becomes units of one spike above a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationConfig {
    /// Decay time of the indicator, seconds; absent: as the file says, else estimated.
    pub tau_s: Option<f64>,
    /// Rise time of the indicator, seconds; absent: estimated, for models that know of one.
    pub tau_rise_s: Option<f64>,
    /// Decay time that the indicator usually has, seconds: guides the estimate.
    pub typical_tau_s: f64,
    /// What is subtracted.
    pub baseline: BaselineConfig,
    /// Window of the rolling baseline, seconds.
    pub baseline_window_s: f64,
    /// Fluorescence of one spike, in the recording's units; absent: estimated for each neuron.
    pub spike_size: Option<f64>,
    /// What calcium is there when a trial starts.
    pub start: StartConfig,
    /// Whether rates are blurred as the spike network's answers are before the two are compared; absent: they are in a new fit of
    /// a model that reads those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blur: Option<bool>,
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        Self {
            tau_s: None,
            tau_rise_s: None,
            typical_tau_s: 1.0,
            baseline: BaselineConfig::Auto,
            baseline_window_s: 60.0,
            spike_size: None,
            start: StartConfig::Auto,
            blur: None,
        }
    }
}

/// What is subtracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BaselineConfig {
    /// Rolling for a continuous recording, constant for trials.
    #[default]
    Auto,
    /// The floor of the smoothed trace over a window, then a constant.
    Rolling,
    /// One number for each neuron.
    Constant,
    /// Nothing.
    None,
}

/// What calcium is there when a trial starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartConfig {
    /// Rest if the first frames are much lower than the later ones.
    #[default]
    Auto,
    /// None.
    Rest,
    /// What earlier spikes have left: it is estimated and taken off.
    Running,
}

/// A configuration with every number of the model and the training.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The file's part, `model` and `training` complete.
    pub config: FitConfig,
    /// The model.
    pub model: ModelConfig,
    /// The training.
    pub training: TrainConfig,
}

impl FitConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// One line with the file, the line and what is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("config {name}"))?;
        toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map_or_else(String::new, |line| format!(", line {line}"));
            anyhow!("config {name}{place}: {}", one_line(error.message()))
        })
    }

    /// Adds the defaults of model `name` and checks every number. What the user set in `[model]` goes
    /// before what was `measured` of the recording, and that before the defaults.
    ///
    /// # Errors
    /// An unknown field or a value out of range.
    pub fn resolve(mut self, name: ModelName, measured: &Table) -> Result<Resolved> {
        let mut settings = merged(model_defaults(name), measured)?;
        overlay(&mut settings, &self.model);
        suit_inferred_inputs(name, &mut settings);
        let model = ModelConfig::parse(name, settings).context("config, [model]")?;
        self.model = merged(model_defaults(name), &self.model)?;
        suit_inferred_inputs(name, &mut self.model);
        let infers_inputs = model.dynamics().controller.n_inputs > 0;
        self.training = merged(training_defaults(name, infers_inputs), &self.training)?;
        let training: TrainConfig =
            self.training
                .clone()
                .try_into()
                .map_err(|error: toml::de::Error| {
                    anyhow!("config, [training]: {}", one_line(&error.to_string()))
                })?;
        model.dynamics().validate()?;
        training.validate()?;
        self.search.validate()?;
        self.windows = self.windows.size(name).into();
        self.check(name)?;
        infinity_as_text(&mut self.training);
        Ok(Resolved {
            config: self,
            model,
            training,
        })
    }

    /// Whether it says something of inputs to the dynamics, as who wants some or none does.
    pub(crate) fn sets_controller(&self) -> bool {
        let dynamics = self.model.get("dynamics");
        dynamics.is_some_and(|dynamics| dynamics.get("controller").is_some())
    }

    /// Has so many inputs to the dynamics be inferred.
    ///
    /// # Errors
    /// If `[model]` holds something else than tables where these settings go.
    pub fn infer_inputs(&mut self, n_inputs: usize) -> Result<()> {
        let n_inputs = i64::try_from(n_inputs)?.into();
        set(&mut self.model, "dynamics.controller.n_inputs", n_inputs)
            .map_err(|error| anyhow!("config, [model]: {error}"))
    }

    /// What calcium trials start with: as `[calibration]` says or, for the count ladder, `[model]`.
    ///
    /// # Errors
    /// If the two contradict each other.
    pub fn start(&self) -> Result<StartConfig> {
        let by_model = match self.model.get("trial_start").and_then(Value::as_str) {
            Some("rest") => StartConfig::Rest,
            Some("decaying") => StartConfig::Running,
            _ => return Ok(self.calibration.start),
        };
        match self.calibration.start {
            StartConfig::Auto => Ok(by_model),
            by_calibration if by_calibration == by_model => Ok(by_model),
            _ => Err(anyhow!(
                "`calibration.start` and `model.trial_start` contradict each other; leave one out"
            )),
        }
    }

    fn check(&self, name: ModelName) -> Result<()> {
        let calibration = &self.calibration;
        let tau = 1e-3..=100.0;
        let mut ranges = vec![
            (
                "calibration.typical_tau_s",
                calibration.typical_tau_s,
                tau.clone(),
            ),
            (
                "calibration.baseline_window_s",
                calibration.baseline_window_s,
                1e-5..=1e6,
            ),
            ("n_samples", self.n_samples as f64, 1.0..=1e6),
            (
                "windows.length",
                self.windows.size(name).length as f64,
                1.0..=1e8,
            ),
        ];
        ranges.extend(
            calibration
                .tau_s
                .map(|tau_s| ("calibration.tau_s", tau_s, tau.clone())),
        );
        let rise = calibration.tau_rise_s;
        ranges.extend(rise.map(|rise_s| ("calibration.tau_rise_s", rise_s, tau)));
        let size = calibration.spike_size;
        ranges.extend(size.map(|size| ("calibration.spike_size", size, 1e-15..=1e15)));
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                let (least, most) = (range.start(), range.end());
                return Err(anyhow!(
                    "`{name}` is {value}; it must be from {least} to {most}"
                ));
            }
        }
        if !(self.held_out > 0.0 && self.held_out < 1.0) {
            let found = self.held_out;
            return Err(anyhow!(
                "`held_out` is {found}; it must be above 0 and below 1"
            ));
        }
        Ok(())
    }
}

/// JSON has no word for infinity; what may be infinite is read from a text as well.
fn infinity_as_text(table: &mut Table) {
    for (_, value) in table.iter_mut() {
        match value {
            Value::Float(number) if !number.is_finite() => {
                *value = Value::String(number.to_string());
            }
            Value::Table(inner) => infinity_as_text(inner),
            _ => {}
        }
    }
}

/// Gives a setting, by its place such as `dynamics.l2`, a value; tables on the way to it are made.
///
/// # Errors
/// If something else than a table lies on the way.
pub(crate) fn set(table: &mut Table, place: &str, value: Value) -> Result<()> {
    let (above, name) = place.rsplit_once('.').unwrap_or(("", place));
    let mut table = table;
    for key in above.split('.').filter(|key| !key.is_empty()) {
        let below = table.entry(key).or_insert_with(|| Table::new().into());
        let kind = below.type_str();
        let below = below.as_table_mut();
        table = below.with_context(|| format!("`{key}` must be a table, found {kind}"))?;
    }
    table.insert(name.into(), value);
    Ok(())
}

/// `own` on top of `defaults`, table by table.
fn merged(defaults: &str, own: &Table) -> Result<Table> {
    let mut table: Table = defaults.parse()?;
    overlay(&mut table, own);
    Ok(table)
}

fn overlay(below: &mut Table, above: &Table) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            // A learning rate of another kind has other fields.
            (Some(Value::Table(below)), Value::Table(above)) if !above.contains_key("kind") => {
                overlay(below, above);
            }
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use model::InputPriorKind;

    use super::*;

    #[test]
    fn defaults_hold_for_every_model() {
        for choice in ModelName::ALL {
            let resolved = FitConfig::default().resolve(choice, &Table::new()).unwrap();
            assert_eq!(resolved.model.dynamics().n_factors, 8, "{choice:?}");
            assert_eq!(resolved.model.dynamics().n_generator, 64, "{choice:?}");
        }
    }

    #[test]
    fn a_file_changes_what_it_names_and_keeps_the_rest() {
        let text = "held_out = 0.1\n[model.dynamics]\nn_generator = 100\n[training]\nn_steps = 7";
        let config: FitConfig = toml::from_str(text).unwrap();
        let resolved = config
            .resolve(ModelName::LadderLfads, &Table::new())
            .unwrap();
        let dynamics = resolved.model.dynamics();
        assert_eq!((dynamics.n_generator, dynamics.n_factors), (100, 8));
        assert_eq!(resolved.training.n_steps, 7);
        assert_eq!(resolved.training.warm_up.deep_alone, 5000);
    }

    #[test]
    fn the_file_in_the_readme_holds_the_defaults() {
        let readme = include_str!("../../lfads/README.md");
        let (_, text) = readme.split_once("```toml").unwrap();
        let (text, _) = text.split_once("```").unwrap();
        let config: FitConfig = toml::from_str(text).unwrap();
        let defaults = FitConfig::default();
        assert_eq!(config.calibration, defaults.calibration);
        let model = ModelName::NetworkLfads;
        assert_eq!(config.windows.size(model), defaults.windows.size(model));
        assert_eq!(config.search, defaults.search);
        let (seed, held_out, n_samples) = (config.seed, config.held_out, config.n_samples);
        assert_eq!(
            (seed, held_out, n_samples),
            (1, defaults.held_out, defaults.n_samples)
        );
        let resolved = config.resolve(model, &Table::new()).unwrap();
        let defaults = defaults.resolve(model, &Table::new()).unwrap();
        assert_eq!(resolved.model, defaults.model);
        assert_eq!(resolved.training, defaults.training);
    }

    #[test]
    fn the_number_of_inputs_goes_before_that_of_the_file() {
        let text = "[model.dynamics]\nn_generator = 20\ncontroller = { n_inputs = 4, lag = 2 }";
        let mut config: FitConfig = toml::from_str(text).unwrap();
        config.infer_inputs(1).unwrap();
        let resolved = config
            .resolve(ModelName::OasisLfads, &Table::new())
            .unwrap();
        let dynamics = resolved.model.dynamics();
        assert_eq!((dynamics.n_generator, dynamics.n_factors), (20, 8));
        let controller = &dynamics.controller;
        assert_eq!((controller.n_inputs, controller.lag), (1, 2));
        let mut config: FitConfig = toml::from_str("model = { dynamics = 3 }").unwrap();
        let error = config.infer_inputs(1).unwrap_err().to_string();
        assert!(
            error.contains("`dynamics` must be a table, found integer"),
            "{error}"
        );
    }

    #[test]
    fn inferred_inputs_have_a_sparse_prior_unless_another_is_meant() {
        let prior = |name: ModelName, text: &str| {
            let config: FitConfig = toml::from_str(text).unwrap();
            let resolved = config.resolve(name, &Table::new()).unwrap();
            let controller = &resolved.config.model["dynamics"]["controller"];
            let said = controller.get("prior").and_then(Value::as_str);
            (
                said.map(str::to_owned),
                resolved.model.dynamics().controller.prior,
            )
        };
        let network = |text: &str| prior(ModelName::NetworkLfads, text);
        let of = |controller: &str| network(&format!("[model.dynamics.controller]\n{controller}"));
        assert_eq!(network(""), (Some("sparse".into()), InputPriorKind::Sparse));
        assert_eq!(of("n_inputs = 3").1, InputPriorKind::Sparse);
        for own in [
            "n_inputs = 0",
            "prior = \"autoregressive\"",
            "prior_tau_bins = 20.0",
        ] {
            assert_eq!(of(own).1, InputPriorKind::Autoregressive, "{own}");
        }
        // Without inputs nothing is said of their prior: such fits are what they were before there was a choice.
        assert_eq!(of("n_inputs = 0").0, None);
        let others = prior(
            ModelName::OasisLfads,
            "[model.dynamics.controller]\nn_inputs = 2",
        );
        assert_eq!(others, (None, InputPriorKind::Autoregressive));
    }

    #[test]
    fn beside_inferred_inputs_initial_conditions_are_small_and_the_warm_up_long_unless_others_are_meant()
     {
        let of = |name: ModelName, text: &str| {
            let config: FitConfig = toml::from_str(text).unwrap();
            let resolved = config.resolve(name, &Table::new()).unwrap();
            let warm_up = resolved.training.warm_up.deep_steps;
            (resolved.model.dynamics().n_ic, warm_up)
        };
        let network = |text: &str| of(ModelName::NetworkLfads, text);
        assert_eq!(network(""), (8, 3000));
        let own = "model.dynamics.n_ic = 40\ntraining.warm_up.deep_steps = 7";
        assert_eq!(network(own), (40, 7));
        let alone = "model.dynamics.controller.n_inputs = 0";
        assert_eq!(network(alone), (64, 500));
        let driven = "model.dynamics.controller.n_inputs = 2";
        assert_eq!(of(ModelName::OasisLfads, driven), (64, 800));
    }

    #[test]
    fn unknown_fields_and_bad_values_are_named() {
        let error = |text: &str| {
            let config: FitConfig = toml::from_str(text).unwrap();
            format!(
                "{:#}",
                config
                    .resolve(ModelName::CountLadder, &Table::new())
                    .unwrap_err()
            )
        };
        assert!(error("[model.dynamics]\nn_factor = 3").contains("n_factor"));
        assert!(error("[training]\nsteps = 3").contains("steps"));
        assert!(error("held_out = 1.5").contains("1.5"));
        assert!(error("[calibration]\nspike_size = 0.0").contains("spike_size"));
    }
}
