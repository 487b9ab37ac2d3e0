//! Recordings as a laboratory brings them: the size, the noise and the faults of two-photon imaging.

use calcium::{Ar2, Discretisation, Kernel};
use data::{Dataset, Split, Suite2pFolder};
use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::{Benchmark, Common};
use crate::SynthError;
use crate::design::{HeldOut, Trial, TrialDesign, TrialId, into_split};
use crate::dynamics::pulse;
use crate::dynamics::pulsed::Pulsed;
use crate::dynamics::ring::Ring;
use crate::dynamics::switching::Switching;
use crate::error::{check, check_not_negative, check_positive};
use crate::extraction::Extraction;
use crate::observe::{Heterogeneity, Observation, Observer};
use crate::readout::{Binned, Readout};
use crate::seed::{RootSeed, Stream};

/// Width of a frame of the committed recordings, seconds.
const DT_S: f64 = 0.05;
/// Share of its neighbours' mean rate at which a silent neuron fires.
const SILENT: f64 = 0.003;

/// Recipe of a recording with known rates; the three that are committed are [`SessionBenchmark::ring`],
/// [`SessionBenchmark::pulses`] and [`SessionBenchmark::switching`].
///
/// A neuron fires at a rate proportional to exp(state · w). Its mean rate is log-normal over neurons, a
/// share of which is silent; together they have `mean_rate_hz`. One spike stands 1 to 3 noise SDs out,
/// as in two-photon imaging of many cells. What the data set holds does not tell tau: a recording does
/// not either.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionBenchmark {
    /// What moves the state.
    pub dynamics: SessionDynamics,
    /// Frames of the recording, or of a trial.
    pub n_bins: usize,
    /// Integration steps per frame.
    pub steps_per_bin: usize,
    /// Width of a frame, seconds.
    pub dt_s: f64,
    /// Number of neurons.
    pub n_neurons: usize,
    /// SD of the entries of w; of a ring their length, between half and one and a half times it.
    pub loading: f64,
    /// Mean rate of all neurons, the silent ones among them, Hz.
    pub mean_rate_hz: f64,
    /// SD of the logarithm of the mean rates of those that fire.
    pub log_rate_sd: f64,
    /// Share of neurons that hardly ever fire.
    pub silent: f64,
    /// Trials; absent for one continuous recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub design: Option<TrialDesign>,
    /// Spikes, calcium and fluorescence; its base rate is not used.
    pub observation: Observation,
    /// What is left of a continuous recording in a suite2p folder.
    pub extraction: Extraction,
}

/// What moves the state behind a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionDynamics {
    /// A bump on a ring, at varying speed.
    Ring(Ring),
    /// Oscillators that a pulse drives once per trial.
    Pulsed(Pulsed),
    /// Two regimes that switch at random.
    Switching(Switching),
}

impl Default for SessionBenchmark {
    fn default() -> Self {
        Self::ring()
    }
}

/// States of one trial, and the input behind them.
struct States {
    /// `[step, coordinate]`.
    states: Array2<f64>,
    /// `[time, coordinate]`.
    inputs: Option<Array2<f32>>,
}

/// Latents, rates and input of one condition.
struct Condition {
    binned: Binned,
    /// `[time, coordinate]`.
    inputs: Option<Array2<f32>>,
}

impl SessionBenchmark {
    /// A ring attractor of varying speed: 120 neurons at 20 Hz for ten minutes, 1.7 Hz, tau 1.2 s with a
    /// rise of .1 s; half the neuropil is in each region, though suite2p takes off .7; it bleaches by a
    /// sixth; three neurons in ten are silent; motion leaves one frame in fifty without data.
    #[must_use]
    pub fn ring() -> Self {
        Self {
            dynamics: SessionDynamics::Ring(Ring::default()),
            n_bins: 12_000,
            steps_per_bin: 2,
            dt_s: DT_S,
            n_neurons: 120,
            loading: 2.0,
            mean_rate_hz: 1.7,
            log_rate_sd: 0.5,
            silent: 0.3,
            design: None,
            observation: observation(1.2),
            extraction: Extraction {
                neuropil_share: 0.5,
                neuropil: 400.0,
                neuropil_sd: 150.0,
                bleached: 0.15,
                moved: 0.02,
                ..Extraction::default()
            },
        }
    }

    /// Trials in which a pulse at a random time drives the state: 200 of five seconds, 100 neurons,
    /// 2.5 Hz, tau .7 s.
    #[must_use]
    pub fn pulses() -> Self {
        Self {
            dynamics: SessionDynamics::Pulsed(Pulsed::default()),
            n_bins: 100,
            n_neurons: 100,
            loading: 0.6,
            mean_rate_hz: 2.5,
            silent: 0.0,
            design: Some(TrialDesign {
                n_conditions: 200,
                n_repeats: 1,
                held_out: HeldOut::Conditions(40),
            }),
            observation: observation(0.7),
            extraction: Extraction::default(),
            ..Self::ring()
        }
    }

    /// Two regimes that switch at random: 100 neurons at 20 Hz for ten minutes, 1.9 Hz, tau .7 s.
    #[must_use]
    pub fn switching() -> Self {
        Self {
            dynamics: SessionDynamics::Switching(Switching::default()),
            n_neurons: 100,
            loading: 0.8,
            mean_rate_hz: 1.9,
            silent: 0.0,
            observation: observation(0.7),
            extraction: Extraction::default(),
            ..Self::ring()
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`SynthError::BadField`], naming the field, its value and what it must be.
    pub fn validate(&self) -> Result<(), SynthError> {
        // A design of one trial has no split, and is refused for that alone.
        let splits = TrialDesign {
            n_conditions: 1,
            n_repeats: 2,
            held_out: HeldOut::Repeats(1),
        };
        self.common(self.design.as_ref().unwrap_or(&splits))
            .validate()?;
        check_not_negative("loading", self.loading)?;
        check_positive("mean_rate_hz", self.mean_rate_hz)?;
        check_not_negative("log_rate_sd", self.log_rate_sd)?;
        check(
            (0.0..1.0).contains(&self.silent),
            "silent",
            self.silent,
            "from 0 to below 1",
        )?;
        self.extraction.validate()?;
        match &self.dynamics {
            SessionDynamics::Ring(ring) => ring.validate(),
            SessionDynamics::Switching(switching) => switching.validate(),
            SessionDynamics::Pulsed(pulsed) => {
                check(
                    self.design.is_some(),
                    "design",
                    &self.design,
                    "given where a pulse comes once per trial",
                )?;
                pulsed.validate()
            }
        }
    }

    /// Simulates the recording: trials, or one in the training split if it is continuous.
    ///
    /// # Errors
    /// A bad field, or rates too high to count.
    pub fn simulate(&self, seed: u64) -> Result<Dataset, SynthError> {
        self.validate()?;
        let root = RootSeed(seed);
        let observer = self.observation.observer(self.dt_s, self.n_neurons, seed)?;
        let readout = self.readout(root);
        let design = self.trials();
        let conditions: Vec<Condition> = (0..design.n_conditions)
            .map(|condition| {
                let States { states, inputs } = self.states(root, condition);
                let binned = readout.bin(&states.view());
                Condition { binned, inputs }
            })
            .collect();
        let conditions = self.scaled(root, conditions)?;
        let trial = |id: TrialId| conditions[id.condition].observed(&observer, id);
        let splits = if self.design.is_some() {
            design.run(trial)?
        } else {
            let only = TrialId {
                condition: 0,
                repeat: 0,
                index: 0,
            };
            (into_split(&[trial(only)?]), Split::default())
        };
        let recipe = Benchmark::Session(self.clone());
        let dataset = self
            .common(&design)
            .dataset(&recipe, seed, &readout.loadings, splits)?;
        Ok(Dataset {
            tau_s: None,
            discretisation: None,
            ..dataset
        })
    }

    /// What suite2p would leave of the first trial of `dataset`, which this recipe and `seed` made.
    ///
    /// # Errors
    /// [`SynthError::BadField`]; [`SynthError::Continuous`] for trials.
    pub fn extract(&self, dataset: &Dataset, seed: u64) -> Result<Suite2pFolder, SynthError> {
        match (&dataset.train.fluor, &self.design) {
            (Some(fluor), None) => {
                let fluor = fluor.index_axis(Axis(0), 0);
                self.extraction.extract(fluor, self.dt_s, seed)
            }
            _ => Err(SynthError::Continuous),
        }
    }

    fn trials(&self) -> TrialDesign {
        let one = TrialDesign {
            n_conditions: 1,
            n_repeats: 1,
            held_out: HeldOut::Repeats(0),
        };
        self.design.clone().unwrap_or(one)
    }

    fn common<'a>(&'a self, design: &'a TrialDesign) -> Common<'a> {
        Common {
            design,
            observation: &self.observation,
            n_bins: self.n_bins,
            steps_per_bin: self.steps_per_bin,
            dt_s: self.dt_s,
            n_neurons: self.n_neurons,
        }
    }

    fn states(&self, root: RootSeed, condition: usize) -> States {
        let mut draws = root.draws(Stream::InitialState, condition);
        let step_s = self.dt_s / self.steps_per_bin as f64;
        let n_steps = self.n_bins * self.steps_per_bin;
        let states = match &self.dynamics {
            SessionDynamics::Ring(ring) => ring.run(&mut draws, step_s, n_steps),
            SessionDynamics::Switching(switching) => switching.run(&mut draws, step_s, n_steps),
            SessionDynamics::Pulsed(pulsed) => {
                let sizes = [self.n_bins, self.steps_per_bin];
                let trial = pulsed.run(&mut draws, step_s, sizes);
                let pulse_bin = trial.pulse_step / self.steps_per_bin;
                let inputs = pulse::inputs(self.n_bins, pulse_bin, &trial.jump);
                return States {
                    states: trial.states,
                    inputs: Some(inputs),
                };
            }
        };
        States {
            states,
            inputs: None,
        }
    }

    fn readout(&self, root: RootSeed) -> Readout {
        let mut draws = root.draws(Stream::Loadings, 0);
        let n_coordinates = match &self.dynamics {
            SessionDynamics::Ring(_) => 2,
            SessionDynamics::Switching(_) => 3,
            SessionDynamics::Pulsed(pulsed) => pulsed.n_coordinates(),
        };
        let mut loadings = Array2::zeros((n_coordinates, self.n_neurons));
        for mut neuron in loadings.axis_iter_mut(Axis(1)) {
            if let SessionDynamics::Ring(_) = self.dynamics {
                // Von Mises tuning to a preferred angle.
                let angle = std::f64::consts::TAU * draws.uniform();
                let sharpness = self.loading * (0.5 + draws.uniform());
                neuron[0] = sharpness * libm::cos(angle);
                neuron[1] = sharpness * libm::sin(angle);
            } else {
                neuron.mapv_inplace(|_| self.loading * draws.normal());
            }
        }
        Readout {
            loadings,
            base_rate_hz: 1.0,
            steps_per_bin: self.steps_per_bin,
        }
    }

    /// Rates scaled to each neuron's own mean.
    fn scaled(
        &self,
        root: RootSeed,
        mut conditions: Vec<Condition>,
    ) -> Result<Vec<Condition>, SynthError> {
        let n_bins = (conditions.len() * self.n_bins) as f64;
        let wanted = self.mean_rates_hz(root);
        for (neuron, wanted) in wanted.into_iter().enumerate() {
            let sum: f64 = conditions
                .iter()
                .map(|condition| condition.binned.rates_hz.column(neuron).iter().sum::<f64>())
                .sum();
            let scale = wanted * n_bins / sum;
            for condition in &mut conditions {
                condition
                    .binned
                    .rates_hz
                    .column_mut(neuron)
                    .mapv_inplace(|rate| scale * rate);
            }
        }
        let checked = conditions
            .into_iter()
            .enumerate()
            .map(|(number, condition)| {
                Ok(Condition {
                    binned: condition.binned.check(number, self.dt_s)?,
                    ..condition
                })
            });
        checked.collect()
    }

    /// Mean rate of each neuron, Hz.
    fn mean_rates_hz(&self, root: RootSeed) -> Vec<f64> {
        let mut draws = root.draws(Stream::MeanRate, 0);
        let mut order: Vec<(f64, usize)> = (0..self.n_neurons)
            .map(|neuron| (draws.uniform(), neuron))
            .collect();
        let mut rates: Vec<f64> = (0..self.n_neurons)
            .map(|_| libm::exp(self.log_rate_sd * draws.normal()))
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n_silent = (self.silent * self.n_neurons as f64) as usize;
        for &(_, neuron) in &order[..n_silent] {
            rates[neuron] *= SILENT;
        }
        let mean = rates.iter().sum::<f64>() / self.n_neurons as f64;
        rates
            .into_iter()
            .map(|rate| self.mean_rate_hz * rate / mean)
            .collect()
    }
}

impl Condition {
    fn observed(&self, observer: &Observer, id: TrialId) -> Result<Trial, SynthError> {
        let Self { binned, inputs } = self;
        let seen = observer.observe(binned.rates_hz.view(), id.index)?;
        Ok(Trial::new(
            &binned.latent,
            inputs.clone(),
            &binned.rates_hz,
            seen,
        ))
    }
}

/// One spike peaks at 1 in frames of `DT_S`, and stands 1 to 3 noise SDs out: √(1·3) of them in the middle.
fn observation(tau_decay_s: f64) -> Observation {
    let kinetics = Kernel::Ar2 {
        tau_rise_s: 0.1,
        tau_decay_s,
        discretisation: Discretisation::Exact,
    };
    // Decays that are none leave a gain that is refused.
    let peak = kinetics.per_frame(DT_S).map_or(f64::NAN, Ar2::peak);
    Observation {
        kinetics,
        gain: 1.0 / peak,
        noise_sd: 0.577,
        heterogeneity: Some(Heterogeneity {
            log_tau_sd: 0.1,
            log_gain_sd: 0.0,
            log_noise_sd: 0.27,
        }),
        ..Observation::default()
    }
}
