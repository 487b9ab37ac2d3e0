//! From rates to what a microscope sees: Poisson counts, calcium, fluorescence.

use calcium::{Ar1, Discretisation, Hill};
use ndarray::{Array2, Axis, Zip};
use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::{check, check_not_negative, check_positive};
use crate::seed::{RootSeed, Stream};

/// Most spikes expected in a bin: well inside the whole numbers that `f32` holds.
pub(crate) const MAX_COUNTS_PER_BIN: f64 = 1e7;

/// How the population is observed.
///
/// s(t) ~ Poisson(rate(t) · dt); y(t) = g y(t−1) + `gain` · s(t) + `baseline`, from rest (y = 0
/// before the trial); fluorescence(t) = `saturation`(y(t)) + N(0, `noise_sd`²).
///
/// # Source
/// Prince & Richards 2019, section 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observation {
    /// Rate of a neuron when its log-rate drive is 0, Hz.
    pub base_rate_hz: f64,
    /// alpha: calcium per spike, fluorescence units.
    pub gain: f64,
    /// beta: calcium added in every bin, fluorescence units.
    pub baseline: f64,
    /// Standard deviation of the noise, fluorescence units.
    pub noise_sd: f64,
    /// How calcium rises and decays.
    pub kinetics: Kinetics,
    /// Saturation of the indicator; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Hill>,
    /// How neurons differ in all this; not at all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heterogeneity: Option<Heterogeneity>,
}

impl Default for Observation {
    /// The published benchmark: 1 Hz, AR(1) with tau 0.4 s (Euler), noise 0.2.
    fn default() -> Self {
        Self {
            base_rate_hz: 1.0,
            gain: 1.0,
            baseline: 0.0,
            noise_sd: 0.2,
            kinetics: Kinetics::Ar1 {
                tau_s: 0.4,
                discretisation: Discretisation::Euler,
            },
            saturation: None,
            heterogeneity: None,
        }
    }
}

/// Calcium dynamics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kinetics {
    /// Instant rise, exponential decay: y(t) = g y(t−1) + ….
    Ar1 {
        /// Decay time, seconds.
        tau_s: f64,
        /// g(tau).
        #[serde(default = "euler")]
        discretisation: Discretisation,
    },
    /// Exponential rise and decay: y(t) = (g + h) y(t−1) − g h y(t−2) + …, with g = g(decay)
    /// and h = g(rise).
    Ar2 {
        /// Rise time, seconds.
        tau_rise_s: f64,
        /// Decay time, seconds, longer than the rise time.
        tau_decay_s: f64,
        /// g(tau), for both times.
        #[serde(default = "euler")]
        discretisation: Discretisation,
    },
}

/// Differences between neurons: each value of a neuron is the population's times e^{sd·z}, z
/// drawn from N(0, 1) and held within ±2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heterogeneity {
    /// sd of the logarithm of the decay time.
    pub log_tau_sd: f64,
    /// sd of the logarithm of the gain.
    pub log_gain_sd: f64,
    /// sd of the logarithm of the noise.
    pub log_noise_sd: f64,
}

/// How one neuron is observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeuronIndicator {
    /// Calcium dynamics.
    pub kinetics: Kinetics,
    /// Calcium per spike, fluorescence units.
    pub gain: f64,
    /// Standard deviation of the noise, fluorescence units.
    pub noise_sd: f64,
}

const fn euler() -> Discretisation {
    Discretisation::Euler
}

/// What is seen of one trial, `[time, neuron]` each.
pub(crate) struct Observed {
    pub spikes: Array2<f32>,
    pub calcium: Array2<f32>,
    pub fluor: Array2<f32>,
}

impl Observation {
    pub(crate) fn validate(&self, dt_s: f64) -> Result<(), SynthError> {
        check_positive("observation.base_rate_hz", self.base_rate_hz)?;
        check_positive("observation.gain", self.gain)?;
        check_not_negative("observation.baseline", self.baseline)?;
        check_not_negative("observation.noise_sd", self.noise_sd)?;
        self.kinetics.filters(dt_s)?;
        if let Some(heterogeneity) = &self.heterogeneity {
            heterogeneity.validate()?;
        }
        self.saturation.as_ref().map_or(Ok(()), check_saturation)
    }

    /// How each neuron of the population that `seed` draws is observed.
    pub fn neurons(&self, n_neurons: usize, seed: u64) -> Vec<NeuronIndicator> {
        let spread = self.heterogeneity.unwrap_or_default();
        let neuron = |index| {
            let mut draws = RootSeed(seed).draws(Stream::Indicator, index);
            let mut factor = |sd: f64| libm::exp(sd * draws.normal().clamp(-2.0, 2.0));
            NeuronIndicator {
                kinetics: self.kinetics.slowed(factor(spread.log_tau_sd)),
                gain: self.gain * factor(spread.log_gain_sd),
                noise_sd: self.noise_sd * factor(spread.log_noise_sd),
            }
        };
        (0..n_neurons).map(neuron).collect()
    }

    /// An observer of trials in bins of `dt_s`.
    pub(crate) fn observer(
        &self,
        dt_s: f64,
        n_neurons: usize,
        root: RootSeed,
    ) -> Result<Observer<'_>, SynthError> {
        let neuron = |indicator: NeuronIndicator| {
            Ok(ObservedNeuron {
                filters: indicator.kinetics.filters(dt_s)?,
                indicator,
            })
        };
        let neurons = self.neurons(n_neurons, root.0).into_iter().map(neuron);
        Ok(Observer {
            observation: self,
            neurons: neurons.collect::<Result<_, SynthError>>()?,
            dt_s,
            root,
        })
    }

    fn indicator(&self, calcium: f64) -> f64 {
        self.saturation
            .map_or(calcium, |hill| hill.fluorescence(calcium))
    }
}

/// An [`Observation`] at work.
pub(crate) struct Observer<'a> {
    observation: &'a Observation,
    neurons: Vec<ObservedNeuron>,
    dt_s: f64,
    root: RootSeed,
}

struct ObservedNeuron {
    indicator: NeuronIndicator,
    filters: Vec<Ar1>,
}

impl Observer<'_> {
    /// Observes trial number `trial`, whose rates are `[time, neuron]`.
    pub fn observe(&self, rates_hz: &Array2<f64>, trial: usize) -> Observed {
        let mut draws = self.root.draws(Stream::Spikes, trial);
        let spikes = rates_hz.map(|rate| draws.poisson(rate * self.dt_s));
        let calcium = self.calcium(&spikes);
        let fluor = self.fluorescence(&calcium, trial);
        Observed {
            spikes: spikes.map(|&s| s as f32),
            calcium: calcium.map(|&y| y as f32),
            fluor,
        }
    }

    fn calcium(&self, spikes: &Array2<f64>) -> Array2<f64> {
        let baseline = self.observation.baseline;
        let mut calcium = spikes.clone();
        for (mut trace, neuron) in calcium.axis_iter_mut(Axis(1)).zip(&self.neurons) {
            let gain = neuron.indicator.gain;
            let drive = trace.iter().map(|s| gain * s + baseline).collect();
            let filters = neuron.filters.iter();
            let filtered: Vec<f64> = filters.fold(drive, |x, ar| ar.convolve(&x));
            Zip::from(&mut trace)
                .and(&filtered)
                .for_each(|y, f| *y = *f);
        }
        calcium
    }

    fn fluorescence(&self, calcium: &Array2<f64>, trial: usize) -> Array2<f32> {
        let mut draws = self.root.draws(Stream::Noise, trial);
        let mut fluor = Array2::zeros(calcium.dim());
        for ((place, &y), x) in calcium.indexed_iter().zip(&mut fluor) {
            let noise_sd = self.neurons[place.1].indicator.noise_sd;
            *x = (self.observation.indicator(y) + noise_sd * draws.normal()) as f32;
        }
        fluor
    }
}

impl Kinetics {
    /// Decay time, seconds.
    pub fn tau_decay_s(&self) -> f64 {
        match *self {
            Self::Ar1 { tau_s, .. } => tau_s,
            Self::Ar2 { tau_decay_s, .. } => tau_decay_s,
        }
    }

    /// With a decay time `factor` times as long.
    fn slowed(self, factor: f64) -> Self {
        match self {
            Self::Ar1 {
                tau_s,
                discretisation,
            } => Self::Ar1 {
                tau_s: tau_s * factor,
                discretisation,
            },
            Self::Ar2 {
                tau_rise_s,
                tau_decay_s,
                discretisation,
            } => Self::Ar2 {
                tau_rise_s,
                tau_decay_s: tau_decay_s * factor,
                discretisation,
            },
        }
    }

    /// Name of the discretisation in files.
    pub(crate) fn discretisation(&self) -> &'static str {
        match *self {
            Self::Ar1 { discretisation, .. } | Self::Ar2 { discretisation, .. } => {
                match discretisation {
                    Discretisation::Euler => "euler",
                    Discretisation::Exact => "exact",
                }
            }
        }
    }

    /// AR(1) filters to apply one after the other: AR(2) is a decay after a rise.
    fn filters(&self, dt_s: f64) -> Result<Vec<Ar1>, SynthError> {
        let filter = |field, tau_s, discretisation| {
            Ar1::from_tau(tau_s, dt_s, discretisation)
                .map_err(|source| SynthError::Kinetics { field, source })
        };
        match *self {
            Self::Ar1 {
                tau_s,
                discretisation,
            } => Ok(vec![filter("ar1.tau_s", tau_s, discretisation)?]),
            Self::Ar2 {
                tau_rise_s,
                tau_decay_s,
                discretisation,
            } => {
                check(
                    tau_decay_s > tau_rise_s,
                    "observation.kinetics.ar2.tau_decay_s",
                    tau_decay_s,
                    "longer than `tau_rise_s`",
                )?;
                Ok(vec![
                    filter("ar2.tau_rise_s", tau_rise_s, discretisation)?,
                    filter("ar2.tau_decay_s", tau_decay_s, discretisation)?,
                ])
            }
        }
    }
}

impl Heterogeneity {
    fn validate(&self) -> Result<(), SynthError> {
        check_not_negative("observation.heterogeneity.log_tau_sd", self.log_tau_sd)?;
        check_not_negative("observation.heterogeneity.log_gain_sd", self.log_gain_sd)?;
        check_not_negative("observation.heterogeneity.log_noise_sd", self.log_noise_sd)
    }
}

fn check_saturation(hill: &Hill) -> Result<(), SynthError> {
    check_positive("observation.saturation.exponent", hill.exponent)?;
    check_positive(
        "observation.saturation.half_saturation",
        hill.half_saturation,
    )?;
    check_positive("observation.saturation.scale", hill.scale)
}
