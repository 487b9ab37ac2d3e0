//! `lfads simulate`: a recording whose spikes, rates and dynamics are known.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use data::{Dataset, write_suite2p};
use runs::output::{check_file, check_folder};
use serde_json::json;
use synth::{
    Benchmark, ChaoticRnnBenchmark, LorenzBenchmark, SessionBenchmark, SessionDynamics, Sizes,
};

use super::Session;
use crate::range;

/// Simulate a recording whose spikes, rates and dynamics are known.
///
/// Example: `lfads simulate lorenz -o lorenz.h5 --seed 1` writes the published benchmark,
/// `lfads simulate lorenz -o mouse --format suite2p` ten minutes at 30 Hz as suite2p would leave
/// them (mouse/suite2p/plane0) with the truth beside (mouse/truth.h5). `lfads simulate ring -o mouse`,
/// `switching` and `pulses` write recordings with the noise that those of laboratories have: ring and switching
/// as suite2p would leave them, with neuropil and bleaching, ring also with silent neurons and motion; pulses as trials.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Simulate {
    /// The dynamics behind the neurons
    #[arg(value_enum)]
    benchmark: Dynamics,

    /// File to write; with --format suite2p a folder
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,

    /// How to write it; left out: ring and switching as suite2p, all else as hdf5
    #[arg(long, value_enum)]
    format: Option<FileFormat>,

    /// Seed: the same seed gives the same bits
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Settings in TOML, a table `lorenz`, `chaotic_rnn` or `session`; the options below win over it
    #[arg(long, value_name = "FILE.toml")]
    recipe: Option<PathBuf>,

    /// Number of neurons
    #[arg(long, value_name = "N", value_parser = range::count)]
    neurons: Option<usize>,

    /// Initial states of the dynamics, of trials
    #[arg(long, value_name = "N", value_parser = range::count)]
    conditions: Option<usize>,

    /// Trials from each initial state, of which a fifth is held out
    #[arg(long, value_name = "N", value_parser = range::repeats)]
    repeats: Option<usize>,

    /// Frames per trial; with --format suite2p in all
    #[arg(long, value_name = "N", value_parser = range::frames)]
    bins: Option<usize>,

    /// Seconds per frame
    #[arg(long, value_name = "S", value_parser = range::duration)]
    dt: Option<f64>,

    /// Decay time of the indicator, seconds
    #[arg(long, value_name = "S", value_parser = range::tau)]
    tau: Option<f64>,

    /// SD of the noise, in units of one spike's fluorescence
    #[arg(long, value_name = "SD", value_parser = range::size)]
    noise: Option<f64>,
}

/// Dynamics behind the neurons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dynamics {
    /// Three latents on the Lorenz attractor
    Lorenz,
    /// A chaotic network kicked once per trial
    ChaoticRnn,
    /// A bump that turns on a ring at varying speed, ten minutes continuous
    Ring,
    /// Oscillators that a pulse at a random time drives, in trials
    Pulses,
    /// Two regimes that switch at random, ten minutes continuous
    Switching,
}

impl Dynamics {
    fn of(session: &SessionBenchmark) -> Self {
        match session.dynamics {
            SessionDynamics::Ring(_) => Self::Ring,
            SessionDynamics::Pulsed(_) => Self::Pulses,
            SessionDynamics::Switching(_) => Self::Switching,
        }
    }
}

/// Formats to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// Trials with everything behind them in one HDF5 file
    Hdf5,
    /// One continuous recording as a suite2p folder, with the truth beside
    Suite2p,
}

impl Simulate {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        let benchmark = self.benchmark()?;
        self.check()?;
        let dataset = benchmark.simulate(self.seed)?;
        match self.format() {
            FileFormat::Hdf5 => {
                dataset.write(&self.output)?;
                Self::report(session, &dataset, &self.output, &self.output)
            }
            FileFormat::Suite2p => {
                let folder = self.output.join("suite2p").join("plane0");
                let (extracted, dataset) = benchmark.as_suite2p(dataset, self.seed)?;
                write_suite2p(&folder, &extracted)?;
                let truth = self.output.join("truth.h5");
                dataset.write(&truth)?;
                Self::report(session, &dataset, &folder, &truth)
            }
        }
    }

    /// Refuses to write over what is read or recorded.
    fn check(&self) -> Result<()> {
        let inputs: Vec<&Path> = self.recipe.iter().map(PathBuf::as_path).collect();
        if self.format() == FileFormat::Hdf5 {
            return check_file(&self.output, &inputs);
        }
        let plane = self.output.join("suite2p").join("plane0");
        let truth = self.output.join("truth.h5");
        if plane.join("F.npy").exists() && !truth.exists() {
            bail!(
                "{}: it holds a recording that was not simulated (there is no {}); give another folder",
                plane.display(),
                truth.display()
            );
        }
        check_folder(&self.output, &["truth.h5"], &inputs)
    }

    fn benchmark(&self) -> Result<Benchmark> {
        let given = match &self.recipe {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("recipe {}", path.display()))?;
                Benchmark::from_recipe(&text)
                    .with_context(|| format!("recipe {}", path.display()))?
            }
            None => match self.benchmark {
                Dynamics::Lorenz => Benchmark::Lorenz(LorenzBenchmark::default()),
                Dynamics::ChaoticRnn => Benchmark::ChaoticRnn(ChaoticRnnBenchmark::default()),
                Dynamics::Ring => Benchmark::Session(SessionBenchmark::ring()),
                Dynamics::Pulses => Benchmark::Session(SessionBenchmark::pulses()),
                Dynamics::Switching => Benchmark::Session(SessionBenchmark::switching()),
            },
        };
        let named = match &given {
            Benchmark::Lorenz(_) => Dynamics::Lorenz,
            Benchmark::ChaoticRnn(_) => Dynamics::ChaoticRnn,
            Benchmark::Session(session) => Dynamics::of(session),
        };
        if named != self.benchmark {
            bail!("the recipe is of other dynamics than the command line names");
        }
        let is_continuous = self.format() == FileFormat::Suite2p;
        let has_trials = match &given {
            Benchmark::Session(session) => session.design.is_some(),
            Benchmark::Lorenz(_) | Benchmark::ChaoticRnn(_) => !is_continuous,
        };
        if !has_trials && (self.conditions.is_some() || self.repeats.is_some()) {
            bail!(
                "--conditions and --repeats are of trials, and this is one continuous recording: say how long with --bins"
            );
        }
        let sizes = Sizes {
            is_continuous,
            n_neurons: self.neurons,
            n_conditions: self.conditions,
            n_repeats: self.repeats,
            n_bins: self.bins,
            dt_s: self.dt,
            tau_s: self.tau,
            noise_sd: self.noise,
        };
        given.with_sizes(&sizes).map_err(|error| {
            anyhow::anyhow!("{error} (--bins, --neurons, --conditions, --repeats)")
        })
    }

    fn format(&self) -> FileFormat {
        let own = match self.benchmark {
            Dynamics::Ring | Dynamics::Switching => FileFormat::Suite2p,
            Dynamics::Lorenz | Dynamics::ChaoticRnn | Dynamics::Pulses => FileFormat::Hdf5,
        };
        self.format.unwrap_or(own)
    }

    fn report(
        session: &Session<'_>,
        dataset: &Dataset,
        recording: &Path,
        truth: &Path,
    ) -> Result<()> {
        let spikes = dataset.train.require(data::Quantity::Spikes)?;
        let (n_trials, n_bins, n_neurons) = spikes.dim();
        let n_held_out = dataset.valid.spikes.as_ref().map_or(0, |s| s.dim().0);
        let rate_hz = f64::from(spikes.sum()) / spikes.len() as f64 / dataset.dt_s;
        let value = json!({
            "recording": recording.to_string_lossy(),
            "truth": truth.to_string_lossy(),
            "n_trials": n_trials + n_held_out,
            "n_held_out": n_held_out,
            "n_bins": n_bins,
            "n_neurons": n_neurons,
            "dt_s": dataset.dt_s,
            "mean_rate_hz": rate_hz,
        });
        let trials = match n_held_out {
            0 => "one recording".to_owned(),
            _ => format!("{n_trials} + {n_held_out} held-out trials"),
        };
        let text = format!(
            "{}: {trials} of {n_bins} frames at {:.4} s, {n_neurons} neurons, {rate_hz:.2} spikes/s\ntruth: {}\n",
            recording.display(),
            dataset.dt_s,
            truth.display(),
        );
        session.print(&value, &text)
    }
}
