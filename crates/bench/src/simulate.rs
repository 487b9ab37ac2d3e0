//! The command `simulate`.

use anyhow::{Context, Result};

use crate::args::Simulate;
use crate::dataset::BenchmarkData;
use crate::recipe::Recipe;

/// Simulates a recipe's dataset and writes it, whole or not at all.
///
/// # Errors
/// A recipe that cannot be simulated, or a file that cannot be written.
pub fn run(args: &Simulate) -> Result<()> {
    let recipe = match &args.recipe {
        Some(path) => Recipe::read(path)?,
        None => Recipe::table1()?,
    };
    let seed = args.seed.unwrap_or(recipe.dataset_seed);
    let data = BenchmarkData::load(&recipe, seed, None)?;
    data.dataset
        .write(&args.file)
        .context("cannot write the dataset")?;
    println!("{}: data SHA-256 {}", args.file.display(), data.sha256);
    Ok(())
}
