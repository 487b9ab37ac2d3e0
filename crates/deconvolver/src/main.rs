#![doc = include_str!("../README.md")]

mod checkpoint;
mod draws;
mod example;
mod gradient;
mod loss;
mod optimiser;
mod recipe;
mod train;
mod validation;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::recipe::Recipe;

/// Trains the spike network of `calcium` on simulated traces, from a checkpoint if there is one.
#[derive(Debug, Parser)]
#[command(name = "deconvolver", version, max_term_width = 100)]
struct Args {
    /// What to train on what
    #[arg(
        long,
        value_name = "FILE.toml",
        default_value = "crates/deconvolver/recipe.toml"
    )]
    recipe: PathBuf,

    /// File of the weights; checkpoints go beside it
    #[arg(
        long,
        value_name = "FILE",
        default_value = "crates/calcium/weights/spikes.safetensors"
    )]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = Recipe::open(&args.recipe).and_then(|recipe| train::train(&recipe, &args.out));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
