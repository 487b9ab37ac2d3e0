//! The command `reproduce-table1`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use metrics::MetricsError;
use model::ModelError;

use crate::args::ReproduceTable1;
use crate::dataset::BenchmarkData;
use crate::figures::{self, Example};
use crate::progress::TableProgress;
use crate::recipe::{Recipe, Row};
use crate::run::{RunResult, Session};
use crate::table::{Scores, Table, TableRow};
use runs::machine;
use runs::store::{Store, write_atomically};

/// A training that came to nothing: the fault is not the input's.
const RUN_FAILED: u8 = 1;

/// Simulates, trains, evaluates; prints and writes the table and the figure.
///
/// A training that diverges leaves a gap in its row and the exit code 1.
///
/// # Errors
/// Everything that is wrong with the input or the output folder.
pub fn run(args: &ReproduceTable1) -> Result<ExitCode> {
    let device = args.device.open()?;
    let recipe = recipe(args)?;
    use_threads(args)?;
    let seeds: Vec<u64> = (1..=args.seeds.unwrap_or(recipe.n_seeds)).collect();
    let progress = TableProgress::new(recipe.rows.len() * seeds.len());
    progress.install_log(args.verbose);
    let store = Store::open(&args.out_dir())?;
    let data = BenchmarkData::load(&recipe, args.dataset.as_deref())?;
    let session = Session {
        data: &data,
        evaluation: recipe.evaluation,
        device_kind: args.device,
        device,
        store: &store,
        progress: &progress,
        revision: machine::revision(),
    };
    for row in &recipe.rows {
        session.check(row)?;
    }
    let finished = train_all(&session, &recipe.rows, &seeds)?;
    progress.clear();
    let table = table(&session, &finished);
    publish(&table, &finished, &store)?;
    let n_finished: usize = finished.iter().map(|row| row.runs.len()).sum();
    let complete = n_finished == recipe.rows.len() * seeds.len();
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(RUN_FAILED)
    })
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

fn use_threads(args: &ReproduceTable1) -> Result<()> {
    let n_threads = args.threads.map_or(0, usize::from);
    rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build_global()
        .context("--threads")
}

/// A row with its finished runs, by seed.
struct FinishedRow<'a> {
    row: &'a Row,
    runs: Vec<(u64, RunResult)>,
}

fn train_all<'a>(
    session: &Session<'_>,
    rows: &'a [Row],
    seeds: &[u64],
) -> Result<Vec<FinishedRow<'a>>> {
    let train_row = |row| {
        let mut runs = Vec::new();
        for &seed in seeds {
            match session.run(row, seed) {
                Ok(result) => runs.push((seed, result)),
                Err(error) if is_failed_training(&error) => tracing::error!("{error:#}"),
                Err(error) => return Err(error),
            }
            session.progress.run_done();
        }
        Ok(FinishedRow { row, runs })
    };
    rows.iter().map(train_row).collect()
}

fn is_failed_training(error: &Error) -> bool {
    matches!(
        error.downcast_ref::<ModelError>(),
        Some(ModelError::Diverged { .. })
    ) || matches!(
        error.downcast_ref::<MetricsError>(),
        Some(MetricsError::NonFinite { .. })
    )
}

fn table(session: &Session<'_>, finished: &[FinishedRow<'_>]) -> Table {
    let args: Vec<String> = std::env::args().skip(1).collect();
    Table {
        command: format!("cargo xtask {}", args.join(" ")),
        revision: revisions(&session.revision, finished),
        machine: machine::describe(),
        dataset: session.data.facts(),
        rows: finished.iter().map(FinishedRow::table_row).collect(),
    }
}

/// This revision, and those that made the reused runs if they differ.
fn revisions(current: &str, finished: &[FinishedRow<'_>]) -> String {
    let runs = finished.iter().flat_map(|row| &row.runs);
    let mut others: Vec<&str> = runs
        .map(|(_, run)| run.revision.as_str())
        .filter(|revision| *revision != current)
        .collect();
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        return current.to_string();
    }
    format!("{current} (with runs made by {})", others.join(", "))
}

impl FinishedRow<'_> {
    fn table_row(&self) -> TableRow {
        let paper = self.row.paper.iter();
        let mut row = TableRow {
            data: self.row.data.to_string(),
            model: self.row.config.name().to_string(),
            variant: self.row.variant.clone(),
            seeds: self.runs.iter().map(|(seed, _)| *seed).collect(),
            metrics: paper
                .map(|(&metric, &r2)| (metric, Scores::of_paper(r2)))
                .collect(),
            train_seconds: self.runs.iter().map(|(_, run)| run.train_seconds).collect(),
            peak_rss_mb: self.runs.iter().map(|(_, run)| run.peak_rss_mb).collect(),
        };
        for (_, run) in &self.runs {
            for (&metric, score) in &run.metrics {
                let scores = row.metrics.entry(metric).or_default();
                scores.r2.push(score.r2);
                scores.cod.push(score.cod);
            }
        }
        row
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
    std::io::stdout()
        .write_all(page.as_bytes())
        .context("cannot print the table")
}

/// The figure's example: of the last row that has one, its first seed.
fn example<'a>(finished: &'a [FinishedRow<'_>]) -> Option<(&'a Row, &'a Example)> {
    finished.iter().rev().find_map(|FinishedRow { row, runs }| {
        let (_, run) = runs.first()?;
        Some((*row, run.example.as_ref()?))
    })
}
