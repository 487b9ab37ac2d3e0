//! The command `performance`: what a user waits for, and how it grows.

mod criterion;
mod report;
mod scaling;
mod steps;

use anyhow::{Context, Result};
use clap::ValueEnum;
use runs::terminal::print;
use serde_json::{Map, Value};

use crate::args::Performance;
use crate::reproduce_table1::use_threads;
use report::Report;
use steps::Times;

pub use steps::Timed;

/// Measures; prints the steps as JSON, or writes the report.
///
/// # Errors
/// A model that cannot be trained, or a folder that cannot be written.
pub fn run(args: &Performance) -> Result<()> {
    use_threads(args.threads)?;
    let gemm_gflops = gru::kernels::product_gflops();
    let steps = measure_steps(args)?;
    if args.steps {
        let line = format!("{}\n", json(gemm_gflops, &steps)?);
        return print(&line).context("cannot print the times");
    }
    let report = Report {
        gemm_gflops,
        steps,
        scaling: scaling::measure_all()?,
        large: steps::lfads_step(scaling::LARGE)?,
        kernels: criterion::read(&args.criterion),
    };
    report.write(&args.out)?;
    let line = format!("{}\n", args.out.join("performance.md").display());
    print(&line).context("cannot print where the report is")
}

fn measure_steps(args: &Performance) -> Result<Vec<(Timed, Times)>> {
    let models = match args.model {
        Some(model) => vec![model],
        None => Timed::value_variants().to_vec(),
    };
    models
        .into_iter()
        .map(|kind| Ok((kind, steps::measure(kind)?)))
        .collect()
}

fn json(gemm_gflops: f64, steps: &[(Timed, Times)]) -> Result<Value> {
    let mut all = Map::new();
    all.insert("gemm_gflops".into(), gemm_gflops.into());
    for (kind, times) in steps {
        all.insert(kind.name().into(), serde_json::to_value(times)?);
    }
    Ok(Value::Object(all))
}
