//! The benchmark of Table 1: three Lorenz latents behind a population of neurons.

use data::Dataset;
use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Benchmark, Common};
use crate::SynthError;
use crate::design::{Trial, TrialDesign};
use crate::dynamics::lorenz::{Lorenz, Scale};
use crate::dynamics::pulse::{self, Pulse};
use crate::error::{check, check_burn_in, check_positive};
use crate::observe::Observation;
use crate::readout::{Binned, Readout};
use crate::seed::{Draws, RootSeed, Stream};

/// Recipe of the Lorenz benchmark; the default is the published setting.
///
/// The three coordinates are centred over conditions and time and divided by their one
/// largest absolute value. A neuron fires at `base_rate_hz` · exp(z · w), the entries of
/// w with magnitudes uniform in `loading_magnitude` and random signs. Latents and rates of a bin are means
/// over its integration steps, so that rate · dt is the expected count exactly. Where a pulse drives the system,
/// `inputs`, `[time, 3]`, is the jump that it causes, in the bin at whose start it comes, and zero elsewhere.
///
/// # Source
/// Prince & Richards 2019, section 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LorenzBenchmark {
    /// Time bins per trial.
    pub n_bins: usize,
    /// Integration steps per bin.
    pub steps_per_bin: usize,
    /// Width of a bin, seconds.
    pub dt_s: f64,
    /// Integration step, in Lorenz time.
    pub step: f64,
    /// Steps from the N(0, I) initial state to the first bin.
    pub burn_in_steps: usize,
    /// Number of neurons.
    pub n_neurons: usize,
    /// Least and greatest magnitude of a loading.
    pub loading_magnitude: [f64; 2],
    /// Parameters of the attractor.
    pub lorenz: Lorenz,
    /// A jump of the state, in its scaled coordinates, if anything drives the system; by default nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulse: Option<Pulse>,
    /// Conditions, repeats, and which are held out.
    pub design: TrialDesign,
    /// Spikes, calcium and fluorescence.
    pub observation: Observation,
}

impl Default for LorenzBenchmark {
    fn default() -> Self {
        Self {
            n_bins: 100,
            steps_per_bin: 2,
            dt_s: 0.1,
            step: 0.015,
            burn_in_steps: 1000,
            n_neurons: 30,
            loading_magnitude: [1.0, 2.0],
            lorenz: Lorenz::default(),
            pulse: None,
            design: TrialDesign::default(),
            observation: Observation::default(),
        }
    }
}

impl LorenzBenchmark {
    /// Checks every field.
    ///
    /// # Errors
    /// [`SynthError::BadField`], naming the field, its value and what it must be.
    pub fn validate(&self) -> Result<(), SynthError> {
        self.common().validate()?;
        check_positive("step", self.step)?;
        check_burn_in(self.burn_in_steps)?;
        let [least, greatest] = self.loading_magnitude;
        check(
            0.0 <= least && least <= greatest && greatest.is_finite(),
            "loading_magnitude",
            self.loading_magnitude,
            "[least, greatest] with 0 <= least <= greatest",
        )?;
        if let Some(pulse) = &self.pulse {
            pulse.validate(Pulse::FIELDS)?;
        }
        self.lorenz.validate()
    }

    /// Simulates the benchmark; trials of each split are ordered by condition, then repeat.
    ///
    /// # Errors
    /// A bad field, dynamics that diverge or stand still, or rates too high to count.
    pub fn simulate(&self, seed: u64) -> Result<Dataset, SynthError> {
        self.validate()?;
        let root = RootSeed(seed);
        let readout = self.readout(root);
        let (states, scale) = self.states(root)?;
        // Of driven trials each has a course of its own.
        let conditions = match self.pulse {
            Some(_) => Vec::new(),
            None => self.conditions(&states, &readout)?,
        };
        let observer = self.observation.observer(self.dt_s, self.n_neurons, seed)?;
        let splits = self.design.run(|id| {
            let driven = match &self.pulse {
                Some(pulse) => {
                    let mut draws = root.draws(Stream::Pulse, id.index);
                    let (bin, jump) = pulse.draw(&mut draws, 3, self.n_bins);
                    let start = scale.unscaled(states.index_axis(Axis(0), id.condition).row(0));
                    let states = self.driven(start, (bin, &jump), &scale);
                    let binned = readout.bin(&states.view());
                    let inputs = pulse::inputs(self.n_bins, bin, &jump);
                    Some((binned.check(id.condition, self.dt_s)?, inputs))
                }
                None => None,
            };
            let (binned, inputs) = match driven.as_ref() {
                Some((binned, inputs)) => (binned, Some(inputs.clone())),
                None => (&conditions[id.condition], None),
            };
            let Binned { latent, rates_hz } = binned;
            let seen = observer.observe(rates_hz.view(), id.index)?;
            Ok(Trial::new(latent, inputs, rates_hz, seen))
        })?;
        let recipe = Benchmark::Lorenz(self.clone());
        self.common()
            .dataset(&recipe, seed, &readout.loadings, splits)
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

    fn readout(&self, root: RootSeed) -> Readout {
        let [least, greatest] = self.loading_magnitude;
        let mut draws = root.draws(Stream::Loadings, 0);
        let mut loading = || {
            let magnitude = least + (greatest - least) * draws.uniform();
            if draws.uniform() < 0.5 {
                -magnitude
            } else {
                magnitude
            }
        };
        Readout {
            loadings: Array2::from_shape_simple_fn((3, self.n_neurons), &mut loading),
            base_rate_hz: self.observation.base_rate_hz,
            steps_per_bin: self.steps_per_bin,
        }
    }

    /// States of every condition if nothing drives it, scaled, `[condition, step, coordinate]`.
    fn states(&self, root: RootSeed) -> Result<(Array3<f64>, Scale), SynthError> {
        let draws: Vec<Draws> = (0..self.design.n_conditions)
            .map(|condition| root.draws(Stream::InitialState, condition))
            .collect();
        let n_steps = self.n_bins * self.steps_per_bin;
        let mut states = self
            .lorenz
            .trajectories(draws, self.step, self.burn_in_steps, n_steps)?;
        let scale = Scale::normalise(&mut states)?;
        Ok((states, scale))
    }

    /// States of a trial that jumps at the start of a bin, scaled, `[step, coordinate]`.
    fn driven(&self, start: [f64; 3], (bin, jump): (usize, &[f64]), scale: &Scale) -> Array2<f64> {
        let mut states = Array2::zeros((self.n_bins * self.steps_per_bin, 3));
        let jump = scale.unscaled_jump(jump);
        let kick = Some((bin * self.steps_per_bin, &*jump));
        self.lorenz.run(start, self.step, kick, states.view_mut());
        scale.apply(&mut states);
        states
    }

    fn conditions(
        &self,
        states: &Array3<f64>,
        readout: &Readout,
    ) -> Result<Vec<Binned>, SynthError> {
        let trajectories: Vec<_> = states.outer_iter().enumerate().collect();
        let binned: Vec<Result<_, _>> = trajectories
            .into_par_iter()
            .map(|(condition, states)| readout.bin(&states).check(condition, self.dt_s))
            .collect();
        binned.into_iter().collect()
    }
}
