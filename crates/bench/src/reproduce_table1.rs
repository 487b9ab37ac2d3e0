//! The command `reproduce-table1`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use metrics::MetricsError;
use model::ModelError;
use serde_json::Value;

use crate::args::ReproduceTable1;
use crate::dataset::BenchmarkData;
use crate::figures::{self, Example};
use crate::progress::TableProgress;
use crate::recipe::{Recipe, Row};
use crate::run::{LEVELS, RunResult, Session};
use crate::simple::Activities;
use crate::table::{Scores, Table, TableRow};
use crate::untrained::UntrainedRow;
use runs::machine;
use runs::store::{Store, write_atomically};
use zoo::ZooError;

/// A training that came to nothing: the fault is not the input's.
const RUN_FAILED: u8 = 1;

/// Simulates, trains, evaluates; prints and writes the table and the figure.
///
/// A training that diverges leaves a gap in its row and the exit code 1, as does an r² below the
/// recipe's floor.
///
/// # Errors
/// Everything that is wrong with the input or the output folder.
pub fn run(args: &ReproduceTable1) -> Result<ExitCode> {
    let device = args.device.open()?;
    let recipe = recipe(args)?;
    use_threads(args.threads)?;
    let plan = Plan::new(args, &recipe);
    let progress = TableProgress::new(plan.n_runs());
    progress.install_log(args.verbose);
    let store = Store::open(&args.out_dir())?;
    let mut finished: Vec<FinishedRow> = recipe.rows.iter().map(FinishedRow::none).collect();
    let mut untrained = UntrainedRow::of(&recipe);
    let mut datasets = Vec::new();
    for seed in plan.dataset_seeds() {
        let data = BenchmarkData::load(&recipe, seed, args.dataset.as_deref())?;
        let session = Session {
            data: &data,
            evaluation: recipe.evaluation,
            device_kind: args.device,
            device: device.clone(),
            store: &store,
            progress: &progress,
        };
        for row in &recipe.rows {
            session.check(row)?;
        }
        let mut activities = Activities::of(&data);
        for row in &mut untrained {
            row.add(&data, &mut activities)?;
        }
        for row in &mut finished {
            row.train(&session, plan.n_seeds)?;
        }
        datasets.push(data.facts());
    }
    progress.clear();
    let mut table = table(&recipe, datasets, &finished);
    table
        .rows
        .extend(untrained.into_iter().map(UntrainedRow::into_row));
    publish(&table, &finished, &store)?;
    let n_finished: usize = finished.iter().map(|row| row.runs.len()).sum();
    let too_low: Vec<String> = finished.iter().flat_map(FinishedRow::too_low).collect();
    for run in &too_low {
        tracing::error!("{run}");
    }
    Ok(if n_finished == plan.n_runs() && too_low.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(RUN_FAILED)
    })
}

/// How often each row is trained.
struct Plan {
    n_rows: usize,
    first_dataset: u64,
    n_datasets: u64,
    n_seeds: u64,
}

impl Plan {
    fn new(args: &ReproduceTable1, recipe: &Recipe) -> Self {
        let n_datasets = match args.dataset {
            Some(_) => 1,
            None => args.datasets.unwrap_or(recipe.n_datasets),
        };
        Self {
            n_rows: recipe.rows.len(),
            first_dataset: recipe.dataset_seed,
            n_datasets,
            n_seeds: args.seeds.unwrap_or(recipe.n_seeds),
        }
    }

    fn n_runs(&self) -> usize {
        self.n_rows * (self.n_datasets * self.n_seeds) as usize
    }

    fn dataset_seeds(&self) -> std::ops::Range<u64> {
        self.first_dataset..self.first_dataset.saturating_add(self.n_datasets)
    }
}

fn recipe(args: &ReproduceTable1) -> Result<Recipe> {
    let mut recipe = match (&args.recipe, args.quick) {
        (Some(path), _) => Recipe::read(path)?,
        (None, true) => Recipe::quick()?,
        (None, false) => Recipe::table1()?,
    };
    recipe.select(&args.models)?;
    Ok(recipe)
}

/// Sets the threads of the whole process; all cores if absent.
///
/// # Errors
/// If the threads cannot be started.
pub fn use_threads(n_threads: Option<NonZeroUsize>) -> Result<()> {
    let n_threads = n_threads.map_or(0, usize::from);
    rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build_global()
        .context("--threads")
}

/// A row with its finished runs.
struct FinishedRow<'a> {
    row: &'a Row,
    runs: Vec<Run>,
}

struct Run {
    dataset_seed: Option<u64>,
    seed: u64,
    result: RunResult,
}

impl<'a> FinishedRow<'a> {
    fn none(row: &'a Row) -> Self {
        Self {
            row,
            runs: Vec::new(),
        }
    }

    /// Adds the runs with training seeds 1 to `n_seeds` on one dataset.
    fn train(&mut self, session: &Session<'_>, n_seeds: u64) -> Result<()> {
        let mut reading = None;
        for seed in 1..=n_seeds {
            match session.run(self.row, seed, &mut reading) {
                Ok(result) => self.runs.push(Run {
                    dataset_seed: session.data.dataset.seed,
                    seed,
                    result,
                }),
                Err(error) if is_failed_training(&error) => tracing::error!("{error:#}"),
                Err(error) => return Err(error),
            }
            session.progress.run_done();
        }
        Ok(())
    }
}

fn is_failed_training(error: &Error) -> bool {
    matches!(
        error.downcast_ref::<ZooError>(),
        Some(ZooError::Model(ModelError::Diverged { .. }))
    ) || matches!(
        error.downcast_ref::<MetricsError>(),
        Some(MetricsError::NonFinite { .. })
    )
}

fn table(recipe: &Recipe, datasets: Vec<Value>, finished: &[FinishedRow<'_>]) -> Table {
    let args = std::env::args_os().skip(1);
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into()).collect();
    Table {
        title: recipe.title.clone(),
        command: format!("cargo xtask {}", args.join(" ")),
        revision: machine::REVISION.into(),
        machine: machine::describe(),
        dataset: together(datasets),
        rows: finished.iter().map(FinishedRow::table_row).collect(),
    }
}

/// The facts of several datasets as those of the first, with a list of what differs.
fn together(mut datasets: Vec<Value>) -> Value {
    if datasets.len() < 2 {
        return datasets.pop().unwrap_or_default();
    }
    let mut facts = datasets[0].clone();
    for (name, value) in facts.as_object_mut().into_iter().flatten() {
        if datasets.iter().any(|dataset| dataset[name] != *value) {
            *value = datasets
                .iter()
                .map(|dataset| dataset[name].clone())
                .collect();
        }
    }
    facts
}

impl FinishedRow<'_> {
    fn table_row(&self) -> TableRow {
        let paper = self.row.paper.iter();
        let mut row = TableRow {
            data: self.row.data.to_string(),
            model: self.row.config.name().to_string(),
            variant: self.row.variant.clone(),
            dataset_seeds: self.each(|run| run.dataset_seed),
            seeds: self.each(|run| run.seed),
            metrics: paper
                .map(|(&metric, &r2)| (metric, Scores::of_paper(r2)))
                .collect(),
            by_encoder: BTreeMap::new(),
            train_seconds: self.each(|run| run.result.train_seconds),
            peak_rss_mb: self.each(|run| run.result.peak_rss_mb),
            recoveries: self.each(|run| run.result.recoveries),
            rate_coverage: self.coverage(),
            rates_per_neuron: self.each(|run| run.result.rates_per_neuron),
            pulses: self.each(|run| run.result.pulses),
            tau_error: self.each(|run| run.result.tau_error),
        };
        for (&metric, score) in self.runs.iter().flat_map(|run| &run.result.metrics) {
            let scores = row.metrics.entry(metric).or_default();
            scores.r2.push(score.r2);
            scores.cod.push(score.cod);
        }
        for (&metric, score) in self.runs.iter().flat_map(|run| &run.result.by_encoder) {
            row.by_encoder.entry(metric).or_default().push(score.r2);
        }
        row
    }

    /// What is wrong with each r² below its floor, or absent.
    fn too_low(&self) -> Vec<String> {
        let label = self.row.label();
        let of_run = |run: &Run| {
            let below = self.row.floor.iter().filter_map(|(metric, &floor)| {
                let r2 = run.result.metrics.get(metric).map(|score| score.r2);
                let problem = match r2 {
                    Some(r2) if r2 >= floor => return None,
                    Some(r2) => format!("is {r2:.3}"),
                    None => "is missing".into(),
                };
                let (seed, metric) = (run.seed, metric.title());
                Some(format!(
                    "{label}, seed {seed}: r² of {metric} {problem}; the recipe's floor is {floor}"
                ))
            });
            below.collect::<Vec<_>>()
        };
        self.runs.iter().flat_map(of_run).collect()
    }

    fn each<T>(&self, value: impl Fn(&Run) -> T) -> Vec<T> {
        self.runs.iter().map(value).collect()
    }

    /// Of each level of probability, run by run.
    fn coverage(&self) -> BTreeMap<String, Vec<Option<f64>>> {
        let of_level = |(index, level): (usize, &f64)| {
            let covered = self.each(|run| Some(*run.result.rate_coverage.as_ref()?.get(index)?));
            (level.to_string(), covered)
        };
        LEVELS.iter().enumerate().map(of_level).collect()
    }
}

/// Prints the table, writes it and the figure.
fn publish(table: &Table, finished: &[FinishedRow<'_>], store: &Store) -> Result<()> {
    let page = table.markdown();
    write_atomically(&store.path("table1.json"), table.json()?.as_bytes())?;
    write_atomically(&store.path("table1.md"), page.as_bytes())?;
    if let Some((row, example)) = example(finished) {
        figures::write(example, &row.label(), &store.path("figures"))?;
    } else {
        tracing::info!("no ladder LFADS among the rows: no figure 2");
    }
    runs::terminal::print(&page).context("cannot print the table")
}

/// The figure's example: of the last row that has one, its first seed.
fn example<'a>(finished: &'a [FinishedRow<'_>]) -> Option<(&'a Row, &'a Example)> {
    finished.iter().rev().find_map(|FinishedRow { row, runs }| {
        let run = runs.first()?;
        Some((*row, run.result.example.as_ref()?))
    })
}
