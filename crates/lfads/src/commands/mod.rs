//! One module per command.

pub mod deconvolve;
pub mod evaluate;
pub mod fit;
pub mod infer;
pub mod inspect;
pub mod report;
pub mod simulate;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use runs::progress::Progress;
use serde::Serialize;

use crate::args::{Args, Command};

/// What every command may use.
pub struct Session<'a> {
    pub json: bool,
    pub progress: &'a Progress,
}

impl Session<'_> {
    /// Prints a result: as JSON if asked for, else as `text`.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn print(&self, value: &impl Serialize, text: &str) -> Result<()> {
        let text = match self.json {
            true => serde_json::to_string_pretty(value)? + "\n",
            false => text.to_owned(),
        };
        let printed = std::io::stdout().write_all(text.as_bytes());
        printed.context("cannot print the result")
    }
}

/// Refuses a file that cannot be written, before there is work to lose.
///
/// # Errors
/// If it is a folder, or would lie in none.
fn check_output(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let (is_dir, path) = (path.is_dir(), path.display());
    if is_dir {
        bail!("{path}: cannot write a file here, it is a folder; name a file in it");
    }
    if !folder.is_dir() {
        let folder = folder.display();
        bail!("{path}: cannot write the file, there is no folder {folder}; make it first");
    }
    Ok(())
}

/// Runs the command that was given.
///
/// # Errors
/// Everything that is wrong with the input, as one line.
pub fn run(args: &Args, progress: &Progress) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.map_or(0, usize::from))
        .build_global()
        .context("--threads")?;
    let session = Session {
        json: args.json,
        progress,
    };
    match &args.command {
        Command::Inspect(command) => command.run(&session),
        Command::Simulate(command) => command.run(&session),
        Command::Deconvolve(command) => command.run(&session),
        Command::Fit(command) => command.run(&session),
        Command::Infer(command) => command.run(&session),
        Command::Evaluate(command) => command.run(&session),
        Command::Report(command) => command.run(&session),
    }
}
