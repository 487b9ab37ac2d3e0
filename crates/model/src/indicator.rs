//! What is known of the indicator, and measured of its fluorescence, before a ladder is trained.

use calcium::SampledIndicator;
use serde::{Deserialize, Serialize};

use crate::calcium_model::CalciumModel;
use crate::error::{ModelError, require};

/// The indicator's dynamics, y_t = γ y_{t−1} + α s_t + β, as known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Indicator {
    /// Decay per bin, γ.
    pub g: f64,
    /// Fluorescence of one spike, α.
    pub gain: f64,
    /// Drift per bin, β.
    pub baseline: f64,
}

/// Moments of the observations that set the starting point of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FluorStatistics {
    /// Mean spike count per bin, from the mean innovation, `[neuron]`.
    pub mean_counts: Vec<f32>,
    /// Standard deviation of the fluorescence, `[neuron]`.
    pub sd: Vec<f32>,
}

impl FluorStatistics {
    /// Measures `fluor`, `[trial, time, neuron]`, NaN where missing, of neurons with one
    /// linear AR(1) indicator.
    pub fn measure(fluor: ndarray::ArrayView3<'_, f32>, indicator: &Indicator) -> Self {
        let n_neurons = fluor.dim().2;
        CalciumModel::shared(*indicator, n_neurons).measure(fluor)
    }

    /// Logarithm of half the standard deviation: loose at first, so that no early error
    /// explodes.
    pub fn initial_log_noise(&self) -> Vec<f32> {
        let log_half = |&sd: &f32| (0.5 * sd.max(1e-3)).ln();
        self.sd.iter().map(log_half).collect()
    }
}

impl From<&SampledIndicator> for Indicator {
    /// Its numbers but for rise and saturation.
    fn from(indicator: &SampledIndicator) -> Self {
        Self {
            g: indicator.decay(),
            gain: indicator.gain(),
            baseline: indicator.baseline(),
        }
    }
}

impl Indicator {
    /// Checks every number.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the field, the value and the valid range.
    pub fn validate(&self) -> Result<(), ModelError> {
        let Self { g, gain, .. } = *self;
        require((0.0..1.0).contains(&g), "indicator.g", g, "in [0, 1)")?;
        require(gain > 0.0, "indicator.gain", gain, "above 0")
    }
}
