//! Complete benchmarks: a recipe and a seed in, a data set out.

mod chaotic_rnn;
mod lorenz;
mod session;
mod sizes;

use data::{Dataset, Split, Suite2pFolder};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

pub use chaotic_rnn::ChaoticRnnBenchmark;
pub use lorenz::LorenzBenchmark;
pub use session::{SessionBenchmark, SessionDynamics};
pub use sizes::Sizes;

use crate::SynthError;
use crate::design::TrialDesign;
use crate::error::{check, check_count, check_positive};
use crate::extraction::Extraction;
use crate::observe::Observation;

/// Any benchmark; as text, a TOML table `[lorenz]`, `[chaotic_rnn]` or `[session]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Benchmark {
    /// Three latents on the Lorenz attractor.
    Lorenz(LorenzBenchmark),
    /// A chaotic network with one input pulse per trial.
    ChaoticRnn(ChaoticRnnBenchmark),
    /// A recording as a laboratory brings it.
    Session(SessionBenchmark),
}

impl Benchmark {
    /// Reads a recipe, such as the text that a simulated file carries. Fields left out
    /// take their defaults.
    ///
    /// # Errors
    /// [`SynthError::Recipe`], naming the unknown or mistyped field.
    pub fn from_recipe(toml: &str) -> Result<Self, SynthError> {
        toml::from_str(toml).map_err(|e| SynthError::Recipe(e.to_string()))
    }

    /// The recipe as TOML text.
    ///
    /// # Errors
    /// [`SynthError::Recipe`] for a number that TOML cannot hold (integers above 2⁶³ − 1).
    pub fn to_recipe(&self) -> Result<String, SynthError> {
        toml::to_string(self).map_err(|e| SynthError::Recipe(e.to_string()))
    }

    /// Simulates the benchmark; the same recipe and seed give the same bits everywhere.
    ///
    /// # Errors
    /// See [`LorenzBenchmark::simulate`], [`ChaoticRnnBenchmark::simulate`] and
    /// [`SessionBenchmark::simulate`].
    pub fn simulate(&self, seed: u64) -> Result<Dataset, SynthError> {
        match self {
            Self::Lorenz(benchmark) => benchmark.simulate(seed),
            Self::ChaoticRnn(benchmark) => benchmark.simulate(seed),
            Self::Session(benchmark) => benchmark.simulate(seed),
        }
    }

    /// What suite2p would leave of the one training trial of `dataset`, which this recipe and `seed` made, and the
    /// truth behind it: all but the fluorescence, of which the folder has other units.
    ///
    /// # Errors
    /// [`SynthError::Continuous`] of a dataset with more or fewer training trials than one.
    pub fn as_suite2p(
        &self,
        dataset: Dataset,
        seed: u64,
    ) -> Result<(Suite2pFolder, Dataset), SynthError> {
        let only = dataset.train.fluor.as_ref().filter(|f| f.dim().0 == 1);
        let only = only.ok_or(SynthError::Continuous)?.index_axis(Axis(0), 0);
        let folder = match self {
            Self::Session(session) => session.extract(&dataset, seed)?,
            _ => Extraction::default().extract(only, dataset.dt_s, seed)?,
        };
        let mut truth = Dataset {
            valid: Split::default(),
            recipe: None,
            ..dataset
        };
        truth.train.fluor = None;
        Ok((folder, truth))
    }

    /// How its neurons are observed.
    pub fn observation(&self) -> &Observation {
        match self {
            Self::Lorenz(benchmark) => &benchmark.observation,
            Self::ChaoticRnn(benchmark) => &benchmark.observation,
            Self::Session(benchmark) => &benchmark.observation,
        }
    }
}

/// Most values of an array: 16 GiB of 32-bit floats.
const MOST_VALUES: usize = 1 << 32;

/// Refuses an array of these sizes that no memory holds.
fn check_n_values<const N: usize>(what: &'static str, sizes: [usize; N]) -> Result<(), SynthError> {
    let total = sizes.iter().try_fold(1_usize, |n, &m| n.checked_mul(m));
    check(
        total.is_some_and(|n| n <= MOST_VALUES),
        what,
        sizes,
        "at most 2^32 values in all",
    )
}

/// What every benchmark has, for the checks and the bookkeeping that they share.
struct Common<'a> {
    design: &'a TrialDesign,
    observation: &'a Observation,
    n_bins: usize,
    steps_per_bin: usize,
    dt_s: f64,
    n_neurons: usize,
}

impl Common<'_> {
    fn validate(&self) -> Result<(), SynthError> {
        self.design.validate()?;
        check_count("n_bins", self.n_bins)?;
        check_count("steps_per_bin", self.steps_per_bin)?;
        check_count("n_neurons", self.n_neurons)?;
        check_positive("dt_s", self.dt_s)?;
        self.check_size(self.n_neurons)?;
        self.observation.validate(self.dt_s)
    }

    /// Refuses sizes that no memory holds, before memory is asked for.
    fn check_size(&self, n_columns: usize) -> Result<(), SynthError> {
        let sizes = [
            self.design.n_conditions,
            self.design.n_repeats,
            self.n_bins,
            self.steps_per_bin,
            n_columns,
        ];
        check_n_values("conditions x repeats x bins x steps x columns", sizes)
    }

    fn dataset(
        &self,
        benchmark: &Benchmark,
        seed: u64,
        loadings: &Array2<f64>,
        (train, valid): (Split, Split),
    ) -> Result<Dataset, SynthError> {
        let kinetics = &self.observation.kinetics;
        Ok(Dataset {
            dt_s: self.dt_s,
            tau_s: Some(kinetics.decay_s()),
            discretisation: Some(kinetics.discretisation()),
            loadings: Some(loadings.map(|&w| w as f32)),
            seed: Some(seed),
            recipe: Some(benchmark.to_recipe()?),
            train,
            valid,
        })
    }
}
