//! The command line.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::performance::Timed;
use crate::recipe::RowSelector;
use runs::device::DeviceKind;

/// Runs the Table 1 benchmark of Prince & Richards (2019).
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate the Lorenz benchmark, train and evaluate the models of Table 1,
    /// print the table beside the paper's numbers.
    ReproduceTable1(ReproduceTable1),
    /// Write the simulated benchmark of a recipe to a file, for `--dataset` or other programs.
    Simulate(Simulate),
    /// Time training steps, posterior averages and how both grow with the sizes of the data;
    /// write the tables and plot of results/performance.md.
    Performance(Performance),
}

#[derive(Debug, clap::Args)]
pub struct Performance {
    /// Only the steps and averages of Table 1's sizes, as one JSON object on stdout; nothing is written
    #[arg(long)]
    pub steps: bool,

    /// Only this model
    #[arg(long, value_name = "MODEL", requires = "steps")]
    pub model: Option<Timed>,

    /// Threads of the CPU [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Folder of the tables and the plot
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub out: PathBuf,

    /// Where the criterion benches left their results
    #[arg(long, value_name = "DIR", default_value = "target/criterion")]
    pub criterion: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Simulate {
    /// File to write
    #[arg(value_name = "FILE.h5")]
    pub file: PathBuf,

    /// Recipe to use instead of the one of Table 1
    #[arg(long, value_name = "FILE.toml")]
    pub recipe: Option<PathBuf>,

    /// Seed [default: the recipe's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct ReproduceTable1 {
    /// A small dataset and a few epochs of every row: checks the machinery in minutes
    #[arg(long)]
    pub quick: bool,

    /// Only these rows: MODEL or MODEL/VARIANT, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "MODEL")]
    pub models: Vec<RowSelector>,

    /// Training seeds per row [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: Option<u64>,

    /// Datasets to simulate, each of another seed [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000), conflicts_with = "dataset")]
    pub datasets: Option<u64>,

    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceKind::Flex)]
    pub device: DeviceKind,

    /// Threads of the CPU [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Folder of the table, the figure and the single runs [default: results; results/quick with
    /// --quick, results/selected with --models or --dataset, results/RECIPE with --recipe]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Benchmark file to use instead of simulating one
    #[arg(long, value_name = "FILE.h5")]
    pub dataset: Option<PathBuf>,

    /// Recipe to use instead of the built-in one
    #[arg(long, value_name = "FILE.toml", conflicts_with = "quick")]
    pub recipe: Option<PathBuf>,

    /// Say more on stderr (-v: debug, -vv: trace); the variable RUST_LOG overrides it
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl ReproduceTable1 {
    pub fn out_dir(&self) -> PathBuf {
        let own_recipe = self.recipe.as_deref().and_then(Path::file_stem);
        let default = || match own_recipe {
            Some(recipe) => Path::new("results").join(recipe),
            None if self.quick => "results/quick".into(),
            None if !self.models.is_empty() || self.dataset.is_some() => "results/selected".into(),
            None => "results".into(),
        };
        self.out.clone().unwrap_or_else(default)
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
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn only_the_whole_table_goes_where_the_real_table_is() {
        let folder = |options: &[&str]| {
            let words = ["bench", "reproduce-table1"].iter().chain(options);
            let Command::ReproduceTable1(args) = Args::parse_from(words).command else {
                panic!("another command");
            };
            args.out_dir().display().to_string()
        };
        assert_eq!(folder(&["--seeds", "3"]), "results");
        assert_eq!(folder(&["--quick"]), "results/quick");
        assert_eq!(folder(&["--models", "lfads"]), "results/selected");
        assert_eq!(folder(&["--recipe", "a/own.toml"]), "results/own");
        assert_eq!(folder(&["--models", "lfads", "--out", "there"]), "there");
    }

    #[test]
    fn a_usage_error_is_one_line_with_the_alternatives() {
        let unknown = ["bench", "reproduce-table1", "--device", "abacus"];
        let line = one_line(&Args::try_parse_from(unknown).unwrap_err());
        assert!(!line.contains('\n'), "{line}");
        assert!(line.contains("abacus") && line.contains("flex"), "{line}");
    }
}
