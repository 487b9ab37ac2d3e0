//! From rates to what a microscope sees: Poisson counts, calcium, fluorescence.

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::{check, check_not_negative, check_positive};
use crate::seed::{RootSeed, Stream};

/// Most spikes expected in a bin: well inside the whole numbers that `f32` holds.
pub(crate) const MAX_COUNTS_PER_BIN: f64 = 1e7;

/// How the population is observed.
///
/// s_t ~ Poisson(rate · dt); y_t = Σ_k g_k y_{t−k} + `gain` · s_t + `baseline`, from rest
/// (y = 0 before the trial); fluorescence = `saturation`(y_t) + N(0, `noise_sd`²).
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
        }
    }
}

/// Calcium dynamics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kinetics {
    /// Instant rise, exponential decay: g_1 = g(tau).
    Ar1 {
        /// Decay time, seconds.
        tau_s: f64,
        /// g(tau).
        #[serde(default)]
        discretisation: Discretisation,
    },
    /// Exponential rise and decay: g_1 = g_d + g_r, g_2 = −g_d g_r.
    Ar2 {
        /// Rise time, seconds.
        tau_rise_s: f64,
        /// Decay time, seconds, longer than the rise time.
        tau_decay_s: f64,
        /// g(tau), for both times.
        #[serde(default)]
        discretisation: Discretisation,
    },
}

/// How a time constant becomes the coefficient of a recursion in bins of dt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discretisation {
    /// g = 1 − dt/tau, the paper's; needs tau > dt.
    #[default]
    Euler,
    /// g = exp(−dt/tau).
    Exact,
}

/// Saturating indicator: `scale` · y^n / (y^n + k^n).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hill {
    /// n: Hill coefficient.
    pub exponent: f64,
    /// k: calcium of half saturation, in the units of y.
    pub half_saturation: f64,
    /// Fluorescence of the saturated indicator.
    pub scale: f64,
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
        self.kinetics.validate(dt_s)?;
        self.saturation.as_ref().map_or(Ok(()), Hill::validate)
    }

    /// Observes one trial whose rates are `rates_hz` `[time, neuron]`.
    pub(crate) fn observe(
        &self,
        rates_hz: ArrayView2<'_, f64>,
        dt_s: f64,
        seed: RootSeed,
        trial: usize,
    ) -> Observed {
        let mut draws = seed.draws(Stream::Spikes, trial);
        let spikes = rates_hz.map(|rate| draws.poisson(rate * dt_s));
        let calcium = self.calcium(spikes.view(), dt_s);
        let mut draws = seed.draws(Stream::Noise, trial);
        let fluor = calcium.map(|&y| (self.indicator(y) + self.noise_sd * draws.normal()) as f32);
        Observed {
            spikes: spikes.map(|&s| s as f32),
            calcium: calcium.map(|&y| y as f32),
            fluor,
        }
    }

    fn calcium(&self, spikes: ArrayView2<'_, f64>, dt_s: f64) -> Array2<f64> {
        let [g1, g2] = self.kinetics.coefficients(dt_s);
        let mut calcium = Array2::zeros(spikes.dim());
        for neuron in 0..spikes.ncols() {
            let (mut previous, mut before) = (0.0, 0.0);
            for (bin, s) in spikes.column(neuron).iter().enumerate() {
                let y = g1 * previous + g2 * before + self.gain * s + self.baseline;
                calcium[[bin, neuron]] = y;
                (previous, before) = (y, previous);
            }
        }
        calcium
    }

    fn indicator(&self, calcium: f64) -> f64 {
        self.saturation
            .map_or(calcium, |hill| hill.fluorescence(calcium))
    }
}

impl Kinetics {
    /// Decay time, seconds.
    pub(crate) fn tau_decay_s(&self) -> f64 {
        match *self {
            Self::Ar1 { tau_s, .. } => tau_s,
            Self::Ar2 { tau_decay_s, .. } => tau_decay_s,
        }
    }

    /// How time constants become coefficients.
    pub(crate) fn discretisation(&self) -> Discretisation {
        match *self {
            Self::Ar1 { discretisation, .. } | Self::Ar2 { discretisation, .. } => discretisation,
        }
    }

    fn validate(&self, dt_s: f64) -> Result<(), SynthError> {
        match *self {
            Self::Ar1 {
                tau_s,
                discretisation,
            } => discretisation.check("observation.kinetics.ar1.tau_s", tau_s, dt_s),
            Self::Ar2 {
                tau_rise_s,
                tau_decay_s,
                discretisation,
            } => {
                discretisation.check("observation.kinetics.ar2.tau_rise_s", tau_rise_s, dt_s)?;
                discretisation.check("observation.kinetics.ar2.tau_decay_s", tau_decay_s, dt_s)?;
                check(
                    tau_decay_s > tau_rise_s,
                    "observation.kinetics.ar2.tau_decay_s",
                    tau_decay_s,
                    "longer than `tau_rise_s`",
                )
            }
        }
    }

    /// [g_1, g_2] of y_t = g_1 y_{t−1} + g_2 y_{t−2} + ….
    fn coefficients(&self, dt_s: f64) -> [f64; 2] {
        match *self {
            Self::Ar1 {
                tau_s,
                discretisation,
            } => [discretisation.coefficient(tau_s, dt_s), 0.0],
            Self::Ar2 {
                tau_rise_s,
                tau_decay_s,
                discretisation,
            } => {
                let rise = discretisation.coefficient(tau_rise_s, dt_s);
                let decay = discretisation.coefficient(tau_decay_s, dt_s);
                [decay + rise, -decay * rise]
            }
        }
    }
}

impl Discretisation {
    /// Name in files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Euler => "euler",
            Self::Exact => "exact",
        }
    }

    fn coefficient(self, tau_s: f64, dt_s: f64) -> f64 {
        match self {
            Self::Euler => 1.0 - dt_s / tau_s,
            Self::Exact => libm::exp(-dt_s / tau_s),
        }
    }

    fn check(self, field: &'static str, tau_s: f64, dt_s: f64) -> Result<(), SynthError> {
        check_positive(field, tau_s)?;
        check(
            self == Self::Exact || tau_s > dt_s,
            field,
            tau_s,
            "longer than `dt_s` under Euler (1 - dt/tau); or use discretisation = \"exact\"",
        )
    }
}

impl Hill {
    fn validate(&self) -> Result<(), SynthError> {
        check_positive("observation.saturation.exponent", self.exponent)?;
        check_positive(
            "observation.saturation.half_saturation",
            self.half_saturation,
        )?;
        check_positive("observation.saturation.scale", self.scale)
    }

    /// Written so that no power overflows: 1 / (1 + (k/y)^n).
    fn fluorescence(&self, calcium: f64) -> f64 {
        self.scale / (1.0 + libm::pow(self.half_saturation / calcium, self.exponent))
    }
}
