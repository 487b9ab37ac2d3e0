//! Recipes: every number behind a table, from TOML.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use data::Quantity;
use model::{CalciumModel, SearchConfig, TrainConfig};
use serde::{Deserialize, Serialize};
use synth::Benchmark;
use zoo::{ModelConfig, ModelName};

use crate::dataset::BenchmarkData;
use crate::table::Metric;
use crate::untrained::Untrained;

/// Everything that decides the numbers of a table, beside the device.
#[derive(Debug)]
pub struct Recipe {
    /// File name, for messages.
    pub name: String,
    /// Of the page of results.
    pub title: String,
    pub dataset_seed: u64,
    /// Datasets: seeds `dataset_seed`, `dataset_seed` + 1, ….
    pub n_datasets: u64,
    /// Training seeds per row: 1, 2, ….
    pub n_seeds: u64,
    pub dataset: Benchmark,
    pub evaluation: Evaluation,
    pub rows: Vec<Row>,
    /// Rows that need no training.
    pub untrained: Vec<Untrained>,
}

/// How a trained model is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Posterior samples averaged for each trial.
    pub n_samples: usize,
    /// How initial conditions are searched for beyond the encoder's answer.
    #[serde(default)]
    pub search: SearchConfig,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub data: Observed,
    pub variant: String,
    /// The paper's r².
    pub paper: BTreeMap<Metric, f64>,
    /// The least r² of every run: below it something is broken, and the program fails.
    pub floor: BTreeMap<Metric, f64>,
    pub config: ModelConfig,
    /// What the model is told of the indicator.
    pub told: Told,
    /// The decay time that the model is told for every neuron, relative to the population's; if
    /// absent, it is told the truth of each neuron.
    pub told_tau: Option<f64>,
    pub training: TrainConfig,
}

/// What a model is told of the indicator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// All that is known.
    #[default]
    All,
    /// One decay, gain and baseline for all neurons, whatever else is true: for models that can
    /// know no more.
    Decay,
}

/// What a model sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    Spikes,
    Fluorescence,
}

impl Observed {
    pub const fn quantity(self) -> Quantity {
        match self {
            Self::Spikes => Quantity::Spikes,
            Self::Fluorescence => Quantity::Fluor,
        }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spikes => "spikes",
            Self::Fluorescence => "fluorescence",
        })
    }
}

/// `MODEL` or `MODEL/VARIANT` on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct RowSelector {
    model: ModelName,
    variant: Option<String>,
}

impl RowSelector {
    fn matches(&self, row: &Row) -> bool {
        let variant = self.variant.as_ref();
        self.model == row.config.name() && variant.is_none_or(|variant| *variant == row.variant)
    }
}

impl FromStr for RowSelector {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (model, variant) = match text.split_once('/') {
            Some((model, variant)) => (model, Some(variant.to_string())),
            None => (text, None),
        };
        Ok(Self {
            model: model.parse()?,
            variant,
        })
    }
}

impl fmt::Display for RowSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variant {
            Some(variant) => write!(f, "{}/{variant}", self.model),
            None => self.model.fmt(f),
        }
    }
}

impl Row {
    /// The indicator of `n_neurons` neurons as the row's model is told of it, if it reads
    /// fluorescence.
    ///
    /// # Errors
    /// As [`BenchmarkData::calcium`].
    pub fn calcium(&self, data: &BenchmarkData, n_neurons: usize) -> Result<Option<CalciumModel>> {
        if self.config.name().reads_spikes() {
            return Ok(None);
        }
        let told_tau = match self.told {
            Told::All => self.told_tau,
            Told::Decay => Some(self.told_tau.unwrap_or(1.0)),
        };
        let mut calcium = data.calcium(n_neurons, told_tau)?;
        if self.told == Told::Decay {
            (calcium.rise, calcium.saturation) = (None, None);
        }
        Ok(Some(calcium))
    }

    /// `ladder-lfads`, `gaussian-lfads/exact`: as `--models` takes it.
    pub fn label(&self) -> String {
        let selector = RowSelector {
            model: self.config.name(),
            variant: Some(self.variant.clone()).filter(|variant| !variant.is_empty()),
        };
        selector.to_string()
    }
}

/// A recipe as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    dataset_seed: u64,
    #[serde(default = "one")]
    n_datasets: u64,
    n_seeds: u64,
    dataset: Benchmark,
    evaluation: Evaluation,
    #[serde(default)]
    untrained: Vec<Untrained>,
    /// Absent: those of Table 1.
    row: Option<Vec<RowFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowFile {
    data: Observed,
    model: ModelName,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    paper: BTreeMap<Metric, f64>,
    #[serde(default)]
    floor: BTreeMap<Metric, f64>,
    config: toml::Table,
    #[serde(default)]
    told: Told,
    told_tau: Option<f64>,
    training: TrainConfig,
}

const fn one() -> u64 {
    1
}

impl Recipe {
    /// The recipe of Table 1.
    pub fn table1() -> Result<Self> {
        Self::parse("table1.toml", include_str!("../recipes/table1.toml"))
    }

    /// The same rows, small: a check of the machinery, not of the models.
    pub fn quick() -> Result<Self> {
        Self::parse("quick.toml", include_str!("../recipes/quick.toml"))
    }

    /// Reads a recipe file.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("recipe {name}"))?;
        Self::parse(&name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let file: RecipeFile = toml::from_str(text).map_err(|error| {
            let message = one_line(error.message());
            match error.span() {
                Some(span) => anyhow!(
                    "recipe {name}, line {}: {message}",
                    line_of(text, span.start)
                ),
                None => anyhow!("recipe {name}: {message}"),
            }
        })?;
        let rows = match file.row {
            Some(rows) => rows.into_iter().map(RowFile::check).collect(),
            None => Self::table1().map(|table1| table1.rows),
        };
        Ok(Self {
            title: title(name),
            name: format!("recipe {name}"),
            dataset_seed: file.dataset_seed,
            n_datasets: file.n_datasets,
            n_seeds: file.n_seeds,
            dataset: file.dataset,
            evaluation: file.evaluation,
            rows: rows.with_context(|| format!("recipe {name}"))?,
            untrained: file.untrained,
        })
    }

    /// Keeps the rows that `selectors` name, in the recipe's order; all if there are none. Rows that need no
    /// training have no name to be selected by.
    ///
    /// # Errors
    /// A selector that names no row.
    pub fn select(&mut self, selectors: &[RowSelector]) -> Result<()> {
        for selector in selectors {
            if !self.rows.iter().any(|row| selector.matches(row)) {
                let known: Vec<String> = self.rows.iter().map(Row::label).collect();
                bail!(
                    "{} has no row '{selector}'; its rows: {}",
                    self.name,
                    known.join(", ")
                );
            }
        }
        if !selectors.is_empty() {
            self.untrained.clear();
        }
        self.rows.retain(|row| {
            selectors.is_empty() || selectors.iter().any(|selector| selector.matches(row))
        });
        Ok(())
    }
}

impl RowFile {
    fn check(self) -> Result<Row> {
        let model = self.model;
        let reads = match model.reads_spikes() {
            true => Observed::Spikes,
            false => Observed::Fluorescence,
        };
        if self.data != reads {
            bail!(
                "row {model}: it reads {reads}, so `data` cannot be \"{}\"",
                self.data
            );
        }
        if let Some(told) = self.told_tau.filter(|&told| told.is_nan() || told <= 0.0) {
            bail!("row {model}: told_tau is {told}; it must be above 0");
        }
        let config = ModelConfig::parse(model, self.config)
            .map_err(|error| anyhow!("row {model}, config: {error}"))?;
        Ok(Row {
            data: self.data,
            variant: self.variant,
            paper: self.paper,
            floor: self.floor,
            config,
            told: self.told,
            told_tau: self.told_tau,
            training: self.training,
        })
    }
}

/// `Table 1`, or the name of the file without its ending.
fn title(name: &str) -> String {
    let stem = Path::new(name).file_stem().unwrap_or_default();
    match stem.to_string_lossy().as_ref() {
        "table1" => "Table 1".into(),
        stem => stem.into(),
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The line, counted from 1, of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use synth::LorenzBenchmark;

    use super::*;

    const SMALL: &str = r#"
        dataset_seed = 1
        n_seeds = 1
        [dataset.lorenz]
        [evaluation]
        n_samples = 100
        [[row]]
        data = "spikes"
        model = "lfads"
        paper = { lorenz = 0.978 }
        [row.config.dynamics]
        n_factors = 3
        [row.training]
        n_steps = 10
    "#;

    fn error_after(from: &str, to: &str) -> String {
        assert!(SMALL.contains(from));
        let error = Recipe::parse("own.toml", &SMALL.replace(from, to)).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn the_built_in_recipes_hold_the_rows_of_the_paper() {
        for recipe in [Recipe::table1().unwrap(), Recipe::quick().unwrap()] {
            let labels: Vec<String> = recipe.rows.iter().map(Row::label).collect();
            let expected = [
                "lfads",
                "oasis-lfads",
                "gaussian-lfads/as-published",
                "gaussian-lfads/exact",
                "edgeworth-lfads/as-published",
                "edgeworth-lfads/exact",
                "ladder-lfads/as-published",
                "count-ladder",
                "zig-lfads",
                "network-lfads",
            ];
            assert_eq!(labels, expected, "{}", recipe.name);
            // The paper has no number for the ladder with counts, which is ours, nor for rows of a later paper.
            let (published, ours) = recipe.rows.split_at(7);
            let in_paper = |row: &Row| row.paper.contains_key(&Metric::Lorenz);
            assert!(published.iter().all(in_paper) && !ours.iter().any(in_paper));
        }
    }

    #[test]
    fn a_recipe_of_data_alone_has_the_rows_of_table_1() {
        let end = SMALL.find("[[row]]").unwrap();
        let recipe = Recipe::parse("own.toml", &SMALL[..end]).unwrap();
        assert_eq!(recipe.rows, Recipe::table1().unwrap().rows);
    }

    #[test]
    fn every_recipe_in_the_folder_is_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let recipes = std::fs::read_dir(folder).unwrap();
        let read = recipes.map(|entry| Recipe::read(&entry.unwrap().path()).unwrap());
        assert!(read.filter(|recipe| !recipe.rows.is_empty()).count() >= 9);
    }

    #[test]
    fn table_1_averages_at_least_100_samples_on_the_papers_dataset() {
        let recipe = Recipe::table1().unwrap();
        assert!(recipe.evaluation.n_samples >= 100);
        assert_eq!(
            recipe.dataset,
            Benchmark::Lorenz(LorenzBenchmark::default())
        );
    }

    #[test]
    fn the_recipe_of_the_readme_is_one() {
        let readme = include_str!("../README.md");
        let (_, text) = readme.split_once("```toml").unwrap();
        let (text, _) = text.split_once("```").unwrap();
        let recipe = Recipe::parse("README.md", text).unwrap();
        assert_eq!(recipe.rows[0].label(), "oasis-lfads/slow");
    }

    #[test]
    fn an_unknown_field_is_named_with_file_and_place() {
        let top = error_after("n_seeds = 1", "n_seeds = 1\n typo = 2");
        assert!(
            top.contains("own.toml, line 4") && top.contains("typo"),
            "{top}"
        );
        let nested = error_after("n_factors = 3", "n_factor = 3");
        assert!(
            nested.contains("own.toml: row lfads, config") && nested.contains("n_factor"),
            "{nested}"
        );
        for message in [top, nested] {
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn unknown_models_and_wrong_data_are_refused() {
        let model = error_after("\"lfads\"", "\"lfadz\"");
        assert!(
            model.contains("lfadz") && model.contains("count-ladder"),
            "{model}"
        );
        let data = error_after("\"spikes\"", "\"fluorescence\"");
        assert!(data.contains("it reads spikes"), "{data}");
    }

    #[test]
    fn rows_are_selected_by_model_and_variant() {
        let select = |names: &[&str]| {
            let selectors: Vec<RowSelector> = names.iter().map(|n| n.parse().unwrap()).collect();
            let mut recipe = Recipe::table1().unwrap();
            recipe.select(&selectors)?;
            Ok::<_, anyhow::Error>(recipe.rows.iter().map(Row::label).collect::<Vec<_>>())
        };
        assert_eq!(
            select(&["count-ladder", "lfads"]).unwrap(),
            ["lfads", "count-ladder"]
        );
        assert_eq!(select(&["gaussian-lfads"]).unwrap().len(), 2);
        assert_eq!(
            select(&["gaussian-lfads/exact"]).unwrap(),
            ["gaussian-lfads/exact"]
        );
        let error = select(&["lfads/exact"]).unwrap_err().to_string();
        assert!(error.contains("no row 'lfads/exact'"), "{error}");
    }
}
