//! Indicators that saturate.

use crate::CalciumError;
use crate::error::positive;

/// Saturating indicator: fluorescence = `scale` · c^n / (c^n + k^n).
///
/// Every number is above 0.
///
/// # Example
/// ```
/// use calcium::Hill;
///
/// let hill = Hill { exponent: 2.0, half_saturation: 3.0, scale: 5.0 };
/// assert_eq!(hill.fluorescence(3.0), 2.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Hill {
    /// n: Hill coefficient.
    pub exponent: f64,
    /// k: calcium of half saturation, in the units of c.
    pub half_saturation: f64,
    /// Fluorescence of the saturated indicator.
    pub scale: f64,
}

impl Hill {
    /// The same, if every number is above 0 and finite.
    pub(crate) fn checked(self) -> Result<Self, CalciumError> {
        positive("saturation.exponent", self.exponent)?;
        positive("saturation.half_saturation", self.half_saturation)?;
        positive("saturation.scale", self.scale)?;
        Ok(self)
    }

    /// Noiseless fluorescence of `calcium`, the same on every platform; none below zero calcium.
    #[must_use]
    pub fn fluorescence(&self, calcium: f64) -> f64 {
        if calcium <= 0.0 {
            return 0.0;
        }
        // Written so that no power overflows.
        self.scale / (1.0 + libm::pow(self.half_saturation / calcium, self.exponent))
    }

    /// d fluorescence / d calcium.
    #[must_use]
    pub fn slope(&self, calcium: f64) -> f64 {
        if calcium <= 0.0 {
            return 0.0;
        }
        let share = self.fluorescence(calcium) / self.scale;
        self.scale * self.exponent * share * (1.0 - share) / calcium
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HILL: Hill = Hill {
        exponent: 2.0,
        half_saturation: 3.0,
        scale: 5.0,
    };

    #[test]
    fn it_rises_from_none_to_its_scale() {
        assert!((HILL.fluorescence(3.0) - 2.5).abs() < 1e-12);
        assert!(HILL.fluorescence(0.0).abs() < 1e-12);
        assert!(HILL.fluorescence(-1.0).abs() < 1e-12);
        assert!((HILL.fluorescence(1e200) - 5.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn slope_is_the_derivative(exponent in 0.5f64..4.0, calcium in 0.05f64..30.0) {
            let hill = Hill { exponent, ..HILL };
            let step = 1e-5 * calcium;
            let difference = (hill.fluorescence(calcium + step) - hill.fluorescence(calcium - step)) / (2.0 * step);
            prop_assert!((hill.slope(calcium) - difference).abs() < 1e-6 * (1.0 + difference.abs()));
        }
    }
}
