//! The command `simulate`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use runs::output::check_file;
use runs::terminal::print;

use crate::args::Simulate;
use crate::dataset::BenchmarkData;
use crate::recipe::Recipe;

/// Simulates a recipe's dataset and writes it, whole or not at all.
///
/// # Errors
/// A recipe that cannot be simulated, or a file that cannot be written.
pub fn run(args: &Simulate) -> Result<()> {
    let inputs: Vec<&Path> = args.recipe.iter().map(PathBuf::as_path).collect();
    check_file(&args.file, &inputs)?;
    let recipe = match &args.recipe {
        Some(path) => Recipe::read(path)?,
        None => Recipe::table1()?,
    };
    let seed = args.seed.unwrap_or(recipe.dataset_seed);
    let data = BenchmarkData::load(&recipe, seed, None)?;
    data.dataset
        .write(&args.file)
        .context("cannot write the dataset")?;
    let line = format!("{}: data SHA-256 {}\n", args.file.display(), data.sha256);
    print(&line).context("cannot print the digest")
}
