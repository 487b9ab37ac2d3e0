//! A chaotic network kicked by one input pulse per trial: can the inputs be inferred?

use data::Dataset;
use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Benchmark, Common};
use crate::SynthError;
use crate::design::{Trial, TrialDesign, TrialId};
use crate::dynamics::chaotic_rnn::ChaoticRnn;
use crate::dynamics::pulse::{self, Pulse};
use crate::error::{check, check_burn_in, check_count, check_not_negative, check_positive};
use crate::observe::{Observation, Observer};
use crate::readout::Readout;
use crate::seed::{RootSeed, Stream};

/// Recipe of the chaotic-network benchmark.
///
/// `time_constant_s` · dx/dt = −x + W tanh x, with entries of W from N(0, `gain`²/N).
/// Neurons fire at `base_rate_hz` · exp(tanh(x) P), entries of P from N(0, `log_rate_sd`²/N).
/// In the data set, `latent` is tanh x, `[trial, time, unit]`, averaged over each bin, and
/// `loadings` is P; `inputs`, `[trial, time, unit]`, is the jump of x that the pulse causes,
/// in the bin at whose start it comes, and zero elsewhere.
///
/// # Source
/// Sussillo et al. 2016, "LFADS", section 4.3, with our time scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChaoticRnnBenchmark {
    /// Time bins per trial.
    pub n_bins: usize,
    /// Integration steps per bin.
    pub steps_per_bin: usize,
    /// Width of a bin, seconds.
    pub dt_s: f64,
    /// Steps from the N(0, I) initial state to the first bin.
    pub burn_in_steps: usize,
    /// N: units of the network.
    pub n_units: usize,
    /// Gain of the recurrent weights.
    pub gain: f64,
    /// Least Lyapunov exponent, per time constant: networks are drawn until one has it.
    /// `-inf` takes the first network, which at this size is most often not chaotic.
    pub min_lyapunov: f64,
    /// Time constant of the units, seconds.
    pub time_constant_s: f64,
    /// Number of neurons.
    pub n_neurons: usize,
    /// Standard deviation of a neuron's log-rate if all units were at ±1.
    pub log_rate_sd: f64,
    /// The input.
    pub pulse: Pulse,
    /// Conditions (states of the network at the start), repeats, and which are held out.
    pub design: TrialDesign,
    /// Spikes, calcium and fluorescence.
    pub observation: Observation,
}

impl Default for ChaoticRnnBenchmark {
    fn default() -> Self {
        Self {
            n_bins: 100,
            steps_per_bin: 2,
            dt_s: 0.1,
            burn_in_steps: 400,
            n_units: 50,
            gain: 2.5,
            min_lyapunov: 0.05,
            time_constant_s: 1.0,
            n_neurons: 30,
            log_rate_sd: 1.0,
            pulse: Pulse::default(),
            design: TrialDesign::default(),
            observation: Observation::default(),
        }
    }
}

/// What all trials share.
struct World {
    root: RootSeed,
    observer: Observer,
    rnn: ChaoticRnn,
    readout: Readout,
    /// One per condition.
    initial_states: Vec<Vec<f64>>,
}

impl ChaoticRnnBenchmark {
    /// Checks every field.
    ///
    /// # Errors
    /// [`SynthError::BadField`], naming the field, its value and what it must be.
    pub fn validate(&self) -> Result<(), SynthError> {
        self.common().validate()?;
        check_burn_in(self.burn_in_steps)?;
        check_count("n_units", self.n_units)?;
        self.common().check_size(self.n_units)?;
        check_not_negative("gain", self.gain)?;
        check(
            !self.min_lyapunov.is_nan(),
            "min_lyapunov",
            self.min_lyapunov,
            "a number, or -inf",
        )?;
        check_positive("time_constant_s", self.time_constant_s)?;
        check_not_negative("log_rate_sd", self.log_rate_sd)?;
        check(
            self.step_s() < self.time_constant_s,
            "steps_per_bin",
            self.steps_per_bin,
            "enough that dt_s / steps_per_bin is below `time_constant_s`",
        )?;
        self.pulse.validate(Pulse::FIELDS)
    }

    /// Simulates the benchmark; trials of each split are ordered by condition, then repeat.
    ///
    /// # Errors
    /// A bad field, no chaotic network found, or rates too high to count.
    pub fn simulate(&self, seed: u64) -> Result<Dataset, SynthError> {
        self.validate()?;
        let world = self.world(RootSeed(seed))?;
        let splits = self.design.run(|id| self.trial(&world, id))?;
        let recipe = Benchmark::ChaoticRnn(self.clone());
        self.common()
            .dataset(&recipe, seed, &world.readout.loadings, splits)
    }

    fn common(&self) -> Common<'_> {
        Common {
            design: &self.design,
            observation: &self.observation,
            n_bins: self.n_bins,
            steps_per_bin: self.steps_per_bin,
            dt_s: self.dt_s,
            n_neurons: self.n_neurons,
        }
    }

    fn step_s(&self) -> f64 {
        self.dt_s / self.steps_per_bin as f64
    }

    fn world(&self, root: RootSeed) -> Result<World, SynthError> {
        let rnn = ChaoticRnn::search(
            self.n_units,
            self.gain,
            self.time_constant_s,
            self.min_lyapunov,
            root,
        )?;
        let initial_states = (0..self.design.n_conditions)
            .into_par_iter()
            .map(|condition| {
                let mut draws = root.draws(Stream::InitialState, condition);
                rnn.settle(&mut draws, self.step_s(), self.burn_in_steps)
            })
            .collect();
        Ok(World {
            root,
            observer: self
                .observation
                .observer(self.dt_s, self.n_neurons, root.0)?,
            rnn,
            readout: self.readout(root),
            initial_states,
        })
    }

    fn readout(&self, root: RootSeed) -> Readout {
        let sd = self.log_rate_sd / libm::sqrt(self.n_units as f64);
        let mut draws = root.draws(Stream::Loadings, 0);
        let shape = (self.n_units, self.n_neurons);
        Readout {
            loadings: Array2::from_shape_simple_fn(shape, || sd * draws.normal()),
            base_rate_hz: self.observation.base_rate_hz,
            steps_per_bin: self.steps_per_bin,
        }
    }

    fn trial(&self, world: &World, id: TrialId) -> Result<Trial, SynthError> {
        let mut draws = world.root.draws(Stream::Pulse, id.index);
        let (pulse_bin, jump) = self.pulse.draw(&mut draws, self.n_units, self.n_bins);
        let mut activity = Array2::zeros((self.n_bins * self.steps_per_bin, self.n_units));
        world.rnn.run(
            world.initial_states[id.condition].clone(),
            self.step_s(),
            (pulse_bin * self.steps_per_bin, &jump),
            activity.view_mut(),
        );
        let binned = world.readout.bin(&activity.view());
        let binned = binned.check(id.condition, self.dt_s)?;
        let inputs = Some(pulse::inputs(self.n_bins, pulse_bin, &jump));
        let rates_hz = &binned.rates_hz;
        let seen = world.observer.observe(rates_hz.view(), id.index)?;
        Ok(Trial::new(&binned.latent, inputs, rates_hz, seen))
    }
}
