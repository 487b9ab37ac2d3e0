//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    deconvolve::Deconvolve, evaluate::Evaluate, fit::Fit, infer::Infer, inspect::Inspect,
    report::ReportArgs, simulate::Simulate,
};
use crate::range;

/// From a calcium imaging recording to spikes, rates and factors.
///
/// Reads suite2p folders, NWB, MATLAB, .npy, .npz, CSV and HDF5, told apart by content.
#[derive(Debug, Parser)]
#[command(name = "lfads", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,

    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// Threads of the CPU [default: one per core]
    #[arg(long, value_name = "N", global = true, value_parser = range::threads)]
    pub threads: Option<usize>,

    /// Say more on stderr (-v: debug, -vv: trace); the variable RUST_LOG overrides it
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

// Each command is described where its arguments are.
#[derive(Debug, Subcommand)]
pub enum Command {
    Inspect(Inspect),
    Simulate(Simulate),
    Deconvolve(Deconvolve),
    Fit(Box<Fit>),
    Infer(Infer),
    Evaluate(Evaluate),
    Report(ReportArgs),
}

impl Command {
    /// What is said where a signal ends it at once.
    pub fn when_interrupted(&self) -> &'static str {
        match self {
            Self::Fit(_) => {
                "interrupted: what was trained is saved, the same command goes on from there"
            }
            _ => "interrupted: nothing was written",
        }
    }
}

/// A usage error as one line: what is wrong and, where clap knows it, what is allowed.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let relevant = text.lines().map(str::trim).filter(|line| {
        !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    relevant.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        Args::command().debug_assert();
        for mut command in Args::command().get_subcommands().cloned() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
    }
}
