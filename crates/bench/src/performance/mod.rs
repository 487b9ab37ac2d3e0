//! The command `performance`: what a user waits for, and how it grows.

mod criterion;
mod report;
mod scaling;
mod steps;

use anyhow::Result;
use serde_json::{Map, Value};

use crate::args::Performance;
use crate::reproduce_table1::use_threads;
use report::Report;
pub use steps::ModelKind;
use steps::Times;

/// Measures; prints the steps as JSON, or writes the report.
///
/// # Errors
/// A model that cannot be trained, or a folder that cannot be written.
pub fn run(args: &Performance) -> Result<()> {
    use_threads(args.threads)?;
    let gemm_gflops = gru::kernels::product_gflops();
    let steps = measure_steps(args)?;
    if args.steps {
        println!("{}", json(gemm_gflops, &steps)?);
        return Ok(());
    }
    let report = Report {
        gemm_gflops,
        steps,
        scaling: scaling::measure_all()?,
        large: steps::lfads_step(scaling::LARGE)?,
        kernels: criterion::read(&args.criterion),
    };
    report.write(&args.out)?;
    println!("{}", args.out.join("performance.md").display());
    Ok(())
}

fn measure_steps(args: &Performance) -> Result<Vec<(ModelKind, Times)>> {
    let wanted = |kind: &ModelKind| args.model.is_none_or(|model| model == *kind);
    let kinds = ModelKind::ALL.into_iter().filter(wanted);
    kinds
        .map(|kind| Ok((kind, steps::measure(kind)?)))
        .collect()
}

fn json(gemm_gflops: f64, steps: &[(ModelKind, Times)]) -> Result<Value> {
    let mut all = Map::new();
    all.insert("gemm_gflops".into(), gemm_gflops.into());
    for (kind, times) in steps {
        all.insert(kind.name().into(), serde_json::to_value(times)?);
    }
    Ok(Value::Object(all))
}
