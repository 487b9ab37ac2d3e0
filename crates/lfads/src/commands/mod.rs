//! One module per command.

pub mod deconvolve;
pub mod evaluate;
pub mod fit;
pub mod infer;
pub mod inspect;
pub mod report;
pub mod simulate;

use std::fmt::Write as _;

use anyhow::{Context, Result};
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
    /// If standard output cannot be written, as on a full disk.
    pub fn print(&self, value: &impl Serialize, text: &str) -> Result<()> {
        let text = match self.json {
            true => without_controls(&serde_json::to_string_pretty(value)?) + "\n",
            false => text.to_owned(),
        };
        runs::terminal::print(&text).context("cannot print the result")
    }
}

/// JSON in which also those control characters are escaped that its standard lets be.
fn without_controls(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // Writing to a `String` cannot fail.
            '\u{7f}'..='\u{9f}' => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Runs the command that was given.
///
/// # Errors
/// Everything that is wrong with the input, as one line.
pub fn run(args: &Args, progress: &Progress) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.unwrap_or(0))
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
