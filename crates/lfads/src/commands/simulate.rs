//! `lfads simulate`: a recording whose spikes, rates and dynamics are known.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use calcium::Discretisation;
use clap::ValueEnum;
use data::{Dataset, Split, Suite2pFolder, write_suite2p};
use ndarray::{Array2, Axis, concatenate};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::json;
use synth::{
    Benchmark, ChaoticRnnBenchmark, HeldOut, Kinetics, LorenzBenchmark, Observation, TrialDesign,
};

use super::{Session, check_output};

/// Lorenz time that passes in a second, as in the published benchmark.
const LORENZ_SPEED: f64 = 0.3;

/// Simulate a recording whose spikes, rates and dynamics are known.
///
/// Example: `lfads simulate lorenz -o lorenz.h5 --seed 1` writes the published benchmark,
/// `lfads simulate lorenz -o mouse --format suite2p` ten minutes at 30 Hz as suite2p would leave
/// them (mouse/suite2p/plane0) with the truth beside (mouse/truth.h5).
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Simulate {
    /// The dynamics behind the neurons
    #[arg(value_enum)]
    benchmark: Dynamics,

    /// File to write; with --format suite2p a folder
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,

    /// How to write it
    #[arg(long, value_enum, default_value_t = FileFormat::Hdf5)]
    format: FileFormat,

    /// Seed: the same seed gives the same bits
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Settings in TOML, a table `lorenz` or `chaotic_rnn`; the options below win over it
    #[arg(long, value_name = "FILE.toml")]
    recipe: Option<PathBuf>,

    /// Number of neurons
    #[arg(long, value_name = "N")]
    neurons: Option<usize>,

    /// Initial states of the dynamics
    #[arg(long, value_name = "N")]
    conditions: Option<usize>,

    /// Trials from each initial state, of which a fifth is held out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    repeats: Option<u32>,

    /// Frames per trial; with --format suite2p in all
    #[arg(long, value_name = "N")]
    bins: Option<usize>,

    /// Seconds per frame
    #[arg(long, value_name = "S")]
    dt: Option<f64>,

    /// Decay time of the indicator, seconds
    #[arg(long, value_name = "S")]
    tau: Option<f64>,

    /// SD of the noise, in units of one spike's fluorescence
    #[arg(long, value_name = "SD")]
    noise: Option<f64>,
}

/// Dynamics behind the neurons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dynamics {
    /// Three latents on the Lorenz attractor
    Lorenz,
    /// A chaotic network kicked once per trial
    ChaoticRnn,
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
        let dataset = benchmark.simulate(self.seed)?;
        match self.format {
            FileFormat::Hdf5 => {
                check_output(&self.output)?;
                dataset.write(&self.output)?;
                Self::report(session, &dataset, &self.output, &self.output)
            }
            FileFormat::Suite2p => {
                let mut dataset = one_trial(dataset);
                let folder = self.output.join("suite2p").join("plane0");
                write_suite2p(&folder, &suite2p(&dataset, self.seed)?)?;
                // The folder holds it in other units.
                dataset.train.fluor = None;
                let truth = self.output.join("truth.h5");
                dataset.write(&truth)?;
                Self::report(session, &dataset, &folder, &truth)
            }
        }
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
            },
        };
        match (given, self.benchmark) {
            (Benchmark::Lorenz(lorenz), Dynamics::Lorenz) => {
                Ok(Benchmark::Lorenz(self.lorenz(lorenz)))
            }
            (Benchmark::ChaoticRnn(rnn), Dynamics::ChaoticRnn) => {
                Ok(Benchmark::ChaoticRnn(self.chaotic_rnn(rnn)))
            }
            _ => bail!("the recipe is of other dynamics than the command line names"),
        }
    }

    fn lorenz(&self, given: LorenzBenchmark) -> LorenzBenchmark {
        let dt_s = self.dt_s(given.dt_s);
        let steps_per_bin = if dt_s < 0.05 { 1 } else { given.steps_per_bin };
        LorenzBenchmark {
            n_bins: self.n_bins(given.n_bins, dt_s),
            steps_per_bin,
            dt_s,
            step: match self.dt.is_some() || self.is_session() {
                true => LORENZ_SPEED * dt_s / steps_per_bin as f64,
                false => given.step,
            },
            n_neurons: self.neurons.unwrap_or(given.n_neurons),
            design: self.design(&given.design),
            observation: self.observation(&given.observation),
            ..given
        }
    }

    fn chaotic_rnn(&self, given: ChaoticRnnBenchmark) -> ChaoticRnnBenchmark {
        let dt_s = self.dt_s(given.dt_s);
        ChaoticRnnBenchmark {
            n_bins: self.n_bins(given.n_bins, dt_s),
            dt_s,
            n_neurons: self.neurons.unwrap_or(given.n_neurons),
            design: self.design(&given.design),
            observation: self.observation(&given.observation),
            ..given
        }
    }

    fn is_session(&self) -> bool {
        self.format == FileFormat::Suite2p
    }

    /// A session has the frame rate of a resonant scanner.
    fn dt_s(&self, given: f64) -> f64 {
        let default = if self.is_session() { 1.0 / 30.0 } else { given };
        self.dt.unwrap_or(default)
    }

    /// A session lasts ten minutes.
    fn n_bins(&self, given: usize, dt_s: f64) -> usize {
        let default = match self.is_session() {
            true => (600.0 / dt_s).round() as usize,
            false => given,
        };
        self.bins.unwrap_or(default)
    }

    fn design(&self, given: &TrialDesign) -> TrialDesign {
        if self.is_session() {
            // Of the least design with a split, the training trial is kept.
            return TrialDesign {
                n_conditions: 1,
                n_repeats: 2,
                held_out: HeldOut::Repeats(1),
            };
        }
        let n_repeats = self.repeats.map_or(given.n_repeats, |n| n as usize);
        TrialDesign {
            n_conditions: self.conditions.unwrap_or(given.n_conditions),
            n_repeats,
            held_out: match self.repeats {
                Some(_) => HeldOut::Repeats((n_repeats / 5).max(1)),
                None => given.held_out,
            },
        }
    }

    fn observation(&self, given: &Observation) -> Observation {
        let session_tau = self.is_session().then_some(0.7);
        let kinetics = match self.tau.or(session_tau) {
            Some(tau_s) => Kinetics::Ar1 {
                tau_s,
                discretisation: Discretisation::Exact,
            },
            None => given.kinetics,
        };
        let session_noise = if self.is_session() {
            0.3
        } else {
            given.noise_sd
        };
        Observation {
            kinetics,
            noise_sd: self.noise.unwrap_or(session_noise),
            ..given.clone()
        }
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
            "recording": recording,
            "truth": truth,
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

/// The training trial alone.
fn one_trial(dataset: Dataset) -> Dataset {
    Dataset {
        valid: Split::default(),
        recipe: None,
        ..dataset
    }
}

/// What suite2p would have extracted: raw units, neuropil, bleaching, regions that are no cells.
///
/// A spike is a fifth of a neuron's resting fluorescence.
fn suite2p(dataset: &Dataset, seed: u64) -> Result<Suite2pFolder> {
    let fluor = dataset.train.require(data::Quantity::Fluor)?;
    let fluor = fluor.index_axis(Axis(0), 0);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (n_frames, n_neurons) = fluor.dim();
    let n_rejected = n_neurons.div_ceil(10);
    let n_regions = n_neurons + n_rejected;
    let neuropil = neuropil(&mut rng, n_regions, n_frames, dataset.dt_s);
    let mut cells = Array2::zeros((n_neurons, n_frames));
    for (mut cell, trace) in cells.outer_iter_mut().zip(fluor.axis_iter(Axis(1))) {
        let rest = 300.0 + 600.0 * rng.random::<f32>();
        for (frame, (to, &value)) in cell.iter_mut().zip(trace).enumerate() {
            let bleached = 1.0 - 0.1 * frame as f32 / n_frames as f32;
            *to = rest * bleached * (1.0 + 0.2 * value);
        }
    }
    let others = Array2::from_shape_simple_fn((n_rejected, n_frames), || {
        let noise: f32 = StandardNormal.sample(&mut rng);
        100.0 + 20.0 * noise
    });
    let mut fluorescence = concatenate(Axis(0), &[cells.view(), others.view()])?;
    fluorescence.scaled_add(0.7, &neuropil);
    let cell_probability = (0..n_regions).map(|region| {
        let chance = 0.45 * rng.random::<f32>();
        if region < n_neurons {
            1.0 - chance
        } else {
            chance
        }
    });
    Ok(Suite2pFolder {
        fluorescence,
        neuropil,
        cell_probability: cell_probability.collect(),
        rate_hz: 1.0 / dataset.dt_s,
    })
}

/// Slow fluctuations that all regions share, `[roi, time]`.
fn neuropil(rng: &mut ChaCha8Rng, n_regions: usize, n_frames: usize, dt_s: f64) -> Array2<f32> {
    let g = (-dt_s / 2.0).exp() as f32;
    let step = (1.0 - g * g).sqrt();
    let mut state = 0.0;
    let shared: Vec<f32> = (0..n_frames)
        .map(|_| {
            let noise: f32 = StandardNormal.sample(rng);
            state = g * state + step * noise;
            state
        })
        .collect();
    let share: Vec<f32> = (0..n_regions).map(|_| 0.5 + rng.random::<f32>()).collect();
    Array2::from_shape_fn((n_regions, n_frames), |(region, frame)| {
        200.0 + 25.0 * share[region] * shared[frame]
    })
}
