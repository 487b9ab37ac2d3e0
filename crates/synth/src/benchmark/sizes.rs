//! A benchmark in another size, at another rate, in other noise; and as one continuous recording.

use calcium::{Discretisation, Kernel};

use super::{Benchmark, ChaoticRnnBenchmark, LorenzBenchmark, SessionBenchmark, check_n_values};
use crate::SynthError;
use crate::design::{HeldOut, TrialDesign};
use crate::observe::Observation;

/// Lorenz time that passes in a second, as in the published benchmark.
const LORENZ_SPEED: f64 = 0.3;
/// A bin that is shorter needs no steps within, seconds.
const ONE_STEP_S: f64 = 0.05;
/// Continuous recordings of dynamics that have none of their own: frames of a resonant scanner, length and decay, seconds,
/// and noise in units of one spike's fluorescence.
const SCANNER_DT_S: f64 = 1.0 / 30.0;
const CONTINUOUS_S: f64 = 600.0;
const CONTINUOUS_TAU_S: f64 = 0.7;
const CONTINUOUS_NOISE_SD: f64 = 0.3;

/// What of a benchmark shall be otherwise than its recipe has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sizes {
    /// One continuous recording in place of trials; a [`SessionBenchmark`] is what it is.
    pub is_continuous: bool,
    /// Number of neurons.
    pub n_neurons: Option<usize>,
    /// Initial states.
    pub n_conditions: Option<usize>,
    /// Trials from each, of which a fifth is held out.
    pub n_repeats: Option<usize>,
    /// Frames of a trial, or in all.
    pub n_bins: Option<usize>,
    /// Seconds per frame.
    pub dt_s: Option<f64>,
    /// Decay of the indicator, seconds.
    pub tau_s: Option<f64>,
    /// SD of the noise, in units of one spike's fluorescence.
    pub noise_sd: Option<f64>,
}

impl Benchmark {
    /// The same in these sizes; what they leave open is the recipe's own.
    ///
    /// # Errors
    /// [`SynthError::BadField`] for more values than a machine holds.
    pub fn with_sizes(self, sizes: &Sizes) -> Result<Self, SynthError> {
        let sized = match self {
            Self::Lorenz(given) => Self::Lorenz(sizes.of_lorenz(given)),
            Self::ChaoticRnn(given) => Self::ChaoticRnn(sizes.of_chaotic_rnn(given)),
            Self::Session(given) => Self::Session(sizes.of_session(given)),
        };
        let shape = sized.shape();
        check_n_values("frames x neurons x conditions x repeats", shape)?;
        Ok(sized)
    }

    /// Frames, neurons, conditions, repeats.
    fn shape(&self) -> [usize; 4] {
        let (n_bins, n_neurons, design) = match self {
            Self::Lorenz(lorenz) => (lorenz.n_bins, lorenz.n_neurons, Some(&lorenz.design)),
            Self::ChaoticRnn(rnn) => (rnn.n_bins, rnn.n_neurons, Some(&rnn.design)),
            Self::Session(session) => (session.n_bins, session.n_neurons, session.design.as_ref()),
        };
        let [n_conditions, n_repeats] =
            design.map_or([1, 1], |design| [design.n_conditions, design.n_repeats]);
        [n_bins, n_neurons, n_conditions, n_repeats]
    }
}

impl Sizes {
    fn of_lorenz(&self, given: LorenzBenchmark) -> LorenzBenchmark {
        let dt_s = self.dt_s(given.dt_s);
        let steps_per_bin = match dt_s < ONE_STEP_S {
            true => 1,
            false => given.steps_per_bin,
        };
        LorenzBenchmark {
            n_bins: self.n_bins(given.n_bins, dt_s),
            steps_per_bin,
            dt_s,
            step: match self.dt_s.is_some() || self.is_continuous {
                true => LORENZ_SPEED * dt_s / steps_per_bin as f64,
                false => given.step,
            },
            n_neurons: self.n_neurons.unwrap_or(given.n_neurons),
            design: self.design(&given.design),
            observation: self.observation(&given.observation),
            ..given
        }
    }

    fn of_chaotic_rnn(&self, given: ChaoticRnnBenchmark) -> ChaoticRnnBenchmark {
        let dt_s = self.dt_s(given.dt_s);
        ChaoticRnnBenchmark {
            n_bins: self.n_bins(given.n_bins, dt_s),
            dt_s,
            n_neurons: self.n_neurons.unwrap_or(given.n_neurons),
            design: self.design(&given.design),
            observation: self.observation(&given.observation),
            ..given
        }
    }

    fn of_session(&self, given: SessionBenchmark) -> SessionBenchmark {
        let design = given.design.as_ref().map(|design| self.trials(design));
        let mut observation = given.observation.clone();
        if let Some(tau_s) = self.tau_s {
            observation.kinetics = observation.kinetics.with_decay_s(tau_s);
        }
        observation.noise_sd = self.noise_sd.unwrap_or(observation.noise_sd);
        SessionBenchmark {
            n_bins: self.n_bins.unwrap_or(given.n_bins),
            dt_s: self.dt_s.unwrap_or(given.dt_s),
            n_neurons: self.n_neurons.unwrap_or(given.n_neurons),
            design,
            observation,
            ..given
        }
    }

    fn dt_s(&self, given: f64) -> f64 {
        let default = match self.is_continuous {
            true => SCANNER_DT_S,
            false => given,
        };
        self.dt_s.unwrap_or(default)
    }

    fn n_bins(&self, given: usize, dt_s: f64) -> usize {
        let default = match self.is_continuous {
            true => (CONTINUOUS_S / dt_s).round() as usize,
            false => given,
        };
        self.n_bins.unwrap_or(default)
    }

    fn design(&self, given: &TrialDesign) -> TrialDesign {
        if self.is_continuous {
            // Of the least design with a split, the training trial is kept.
            return TrialDesign {
                n_conditions: 1,
                n_repeats: 2,
                held_out: HeldOut::Repeats(1),
            };
        }
        self.trials(given)
    }

    fn trials(&self, given: &TrialDesign) -> TrialDesign {
        let n_repeats = self.n_repeats.unwrap_or(given.n_repeats);
        TrialDesign {
            n_conditions: self.n_conditions.unwrap_or(given.n_conditions),
            n_repeats,
            held_out: match self.n_repeats {
                Some(_) => HeldOut::Repeats((n_repeats / 5).max(1)),
                None => given.held_out,
            },
        }
    }

    fn observation(&self, given: &Observation) -> Observation {
        let tau_s = self.is_continuous.then_some(CONTINUOUS_TAU_S);
        let kinetics = match self.tau_s.or(tau_s) {
            Some(tau_s) => Kernel::Ar1 {
                tau_s,
                discretisation: Discretisation::Exact,
            },
            None => given.kinetics,
        };
        let noise_sd = match self.is_continuous {
            true => CONTINUOUS_NOISE_SD,
            false => given.noise_sd,
        };
        Observation {
            kinetics,
            noise_sd: self.noise_sd.unwrap_or(noise_sd),
            ..given.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_the_recipes_own() {
        let lorenz = Benchmark::Lorenz(LorenzBenchmark::default());
        let same = lorenz.clone().with_sizes(&Sizes::default()).unwrap();
        assert_eq!(same, lorenz);

        let sizes = Sizes {
            n_repeats: Some(10),
            tau_s: Some(1.5),
            ..Sizes::default()
        };
        let Benchmark::Session(pulses) = Benchmark::Session(SessionBenchmark::pulses())
            .with_sizes(&sizes)
            .unwrap()
        else {
            panic!("it stays what it is");
        };
        let design = pulses.design.unwrap();
        assert_eq!((design.n_conditions, design.n_repeats), (200, 10));
        assert_eq!(design.held_out, HeldOut::Repeats(2));
        assert!((pulses.observation.kinetics.decay_s() - 1.5).abs() < 1e-12);
    }

    #[test]
    fn a_continuous_recording_is_one_of_ten_minutes() {
        let sizes = Sizes {
            is_continuous: true,
            dt_s: Some(0.1),
            ..Sizes::default()
        };
        let lorenz = Benchmark::Lorenz(LorenzBenchmark::default());
        let Benchmark::Lorenz(long) = lorenz.with_sizes(&sizes).unwrap() else {
            panic!("it stays what it is");
        };
        assert_eq!((long.n_bins, long.design.n_conditions), (6000, 1));
        let dataset = Benchmark::Lorenz(LorenzBenchmark {
            n_bins: 50,
            ..long.clone()
        });
        let made = dataset.simulate(1).unwrap();
        let spikes = made.train.spikes.clone();
        let (folder, truth) = dataset.as_suite2p(made, 1).unwrap();
        assert_eq!(truth.train.spikes, spikes);
        assert!(truth.train.fluor.is_none() && truth.valid.spikes.is_none());
        assert_eq!(folder.fluorescence.dim(), (33, 50));

        let rnn = Benchmark::ChaoticRnn(ChaoticRnnBenchmark::default());
        let Benchmark::ChaoticRnn(rnn) = rnn.with_sizes(&sizes).unwrap() else {
            panic!("it stays what it is");
        };
        assert_eq!((rnn.n_bins, rnn.design.n_conditions), (6000, 1));
        // As much Lorenz time passes in a second as in the published benchmark.
        assert!((long.step * long.steps_per_bin as f64 - 0.03).abs() < 1e-12);
    }

    #[test]
    fn more_than_a_machine_holds_is_refused() {
        let sizes = Sizes {
            n_bins: Some(100_000_000),
            ..Sizes::default()
        };
        let lorenz = Benchmark::Lorenz(LorenzBenchmark::default());
        let error = lorenz.with_sizes(&sizes).unwrap_err().to_string();
        assert!(
            error.contains("frames x neurons") && error.contains("100000000"),
            "{error}"
        );
    }
}
