//! Indicators: what the fluorescence of a spike is, in seconds and in frames.

use crate::error::{duration, finite, positive};
use crate::{Ar1, Ar2, CalciumError, Discretisation, Hill};

/// How calcium rises and decays after a spike, in seconds, and how that is made a rule for frames.
///
/// # Example
/// ```
/// use calcium::{Discretisation, Kernel};
///
/// let kernel = Kernel::Ar1 { tau_s: 0.4, discretisation: Discretisation::Euler };
/// assert_eq!(kernel.per_frame(0.1)?.roots(), [0.75, 0.0]);
/// # Ok::<(), calcium::CalciumError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Kernel {
    /// Instant rise, exponential decay: c_t = g c_{t−1} + ….
    Ar1 {
        /// Decay time, seconds.
        tau_s: f64,
        /// g(tau); Euler's in files that do not say.
        #[cfg_attr(feature = "serde", serde(default = "euler"))]
        discretisation: Discretisation,
    },
    /// Exponential rise and decay: c_t = (g + h) c_{t−1} − g h c_{t−2} + …, with g = g(decay) and
    /// h = g(rise).
    Ar2 {
        /// Rise time, seconds.
        tau_rise_s: f64,
        /// Decay time, seconds, longer than the rise time.
        tau_decay_s: f64,
        /// g(tau), for both times; Euler's in files that do not say.
        #[cfg_attr(feature = "serde", serde(default = "euler"))]
        discretisation: Discretisation,
    },
}

#[cfg(feature = "serde")]
const fn euler() -> Discretisation {
    Discretisation::Euler
}

impl Kernel {
    /// Rise time, seconds, if the rise is not instant.
    pub fn rise_s(&self) -> Option<f64> {
        match *self {
            Self::Ar1 { .. } => None,
            Self::Ar2 { tau_rise_s, .. } => Some(tau_rise_s),
        }
    }

    /// Decay time, seconds.
    pub fn decay_s(&self) -> f64 {
        match *self {
            Self::Ar1 { tau_s, .. } => tau_s,
            Self::Ar2 { tau_decay_s, .. } => tau_decay_s,
        }
    }

    /// g(tau), for rise and decay.
    pub fn discretisation(&self) -> Discretisation {
        match *self {
            Self::Ar1 { discretisation, .. } | Self::Ar2 { discretisation, .. } => discretisation,
        }
    }

    /// The same with another decay time.
    #[must_use]
    pub fn with_decay_s(mut self, decay_s: f64) -> Self {
        match &mut self {
            Self::Ar1 { tau_s, .. } => *tau_s = decay_s,
            Self::Ar2 { tau_decay_s, .. } => *tau_decay_s = decay_s,
        }
        self
    }

    /// The same with another g(tau).
    #[must_use]
    pub fn with_discretisation(mut self, rule: Discretisation) -> Self {
        match &mut self {
            Self::Ar1 { discretisation, .. } | Self::Ar2 { discretisation, .. } => {
                *discretisation = rule;
            }
        }
        self
    }

    /// The rule for frames every `dt_s` seconds.
    ///
    /// # Errors
    /// Those of [`Ar1::from_tau`], for either time; [`CalciumError::RiseNotFaster`].
    pub fn per_frame(&self, dt_s: f64) -> Result<Ar2, CalciumError> {
        self.check()?;
        match *self {
            Self::Ar1 {
                tau_s,
                discretisation,
            } => Ar1::from_tau(tau_s, dt_s, discretisation).map(Ar2::from),
            Self::Ar2 {
                tau_rise_s,
                tau_decay_s,
                discretisation,
            } => Ar2::from_taus(tau_decay_s, tau_rise_s, dt_s, discretisation),
        }
    }

    fn check(&self) -> Result<(), CalciumError> {
        let decay_s = duration("tau_decay_s", self.decay_s())?;
        match self.rise_s() {
            Some(rise_s) if duration("tau_rise_s", rise_s)? >= decay_s => {
                Err(CalciumError::RiseNotFaster { rise_s, decay_s })
            }
            _ => Ok(()),
        }
    }
}

/// An indicator: kernel, fluorescence of a spike, what is added in every frame, saturation.
///
/// Calcium follows the kernel, driven by `gain` · spikes + `baseline`; the fluorescence is that
/// calcium, or `saturation` of it. Every number is in its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Indicator {
    kernel: Kernel,
    gain: f64,
    baseline: f64,
    saturation: Option<Hill>,
}

impl Indicator {
    /// A linear indicator.
    ///
    /// # Units
    /// `gain`: calcium of a spike; `baseline`: calcium added in every frame.
    /// # Errors
    /// [`CalciumError::NotADuration`], [`CalciumError::RiseNotFaster`],
    /// [`CalciumError::NotPositive`] for the gain, [`CalciumError::NotFinite`] for the baseline.
    pub fn new(kernel: Kernel, gain: f64, baseline: f64) -> Result<Self, CalciumError> {
        kernel.check()?;
        Ok(Self {
            kernel,
            gain: positive("gain", gain)?,
            baseline: finite("baseline", baseline)?,
            saturation: None,
        })
    }

    /// The same seen through `saturation`.
    ///
    /// # Errors
    /// [`CalciumError::NotPositive`], naming the number.
    pub fn with_saturation(self, saturation: Option<Hill>) -> Result<Self, CalciumError> {
        let saturation = saturation.map(Hill::checked).transpose()?;
        Ok(Self { saturation, ..self })
    }

    /// Rise and decay.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Calcium of a spike.
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// The indicator in frames every `dt_s` seconds.
    ///
    /// # Errors
    /// Those of [`Kernel::per_frame`].
    pub fn per_frame(&self, dt_s: f64) -> Result<SampledIndicator, CalciumError> {
        let ar = self.kernel.per_frame(dt_s)?;
        SampledIndicator::new(ar, self.gain, self.baseline)?.with_saturation(self.saturation)
    }
}

/// An indicator in frames of some length:
/// c_t = (g + h) c_{t−1} − g h c_{t−2} + `gain` · s_t + `baseline`, with h = 0 where the rise is
/// instant, seen as c or `saturation`(c). Every number is in its range.
///
/// # Example
/// ```
/// use calcium::{Ar1, SampledIndicator};
///
/// let indicator = SampledIndicator::new(Ar1::new(0.75)?, 2.0, 0.0)?;
/// assert_eq!(indicator.calcium(&[1.0, 0.0, 1.0]), [2.0, 1.5, 3.125]);
/// assert_eq!((indicator.decay(), indicator.rise()), (0.75, None));
/// # Ok::<(), calcium::CalciumError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "Numbers", into = "Numbers")
)]
pub struct SampledIndicator {
    ar: Ar2,
    gain: f64,
    baseline: f64,
    saturation: Option<Hill>,
}

impl SampledIndicator {
    /// A linear indicator.
    ///
    /// # Units
    /// `gain`: calcium of a spike; `baseline`: calcium added in every frame.
    /// # Errors
    /// [`CalciumError::NotPositive`] for the gain, [`CalciumError::NotFinite`] for the baseline.
    pub fn new(ar: impl Into<Ar2>, gain: f64, baseline: f64) -> Result<Self, CalciumError> {
        Ok(Self {
            ar: ar.into(),
            gain: positive("gain", gain)?,
            baseline: finite("baseline", baseline)?,
            saturation: None,
        })
    }

    /// The same seen through `saturation`.
    ///
    /// # Errors
    /// [`CalciumError::NotPositive`], naming the number.
    pub fn with_saturation(self, saturation: Option<Hill>) -> Result<Self, CalciumError> {
        let saturation = saturation.map(Hill::checked).transpose()?;
        Ok(Self { saturation, ..self })
    }

    /// Rise and decay.
    pub fn ar(&self) -> Ar2 {
        self.ar
    }

    /// Decay per frame, g.
    pub fn decay(&self) -> f64 {
        self.ar.roots()[0]
    }

    /// Rise per frame, h, if the rise is not instant.
    pub fn rise(&self) -> Option<f64> {
        let [_, rise] = self.ar.roots();
        (rise > 0.0).then_some(rise)
    }

    /// Calcium of a spike.
    pub fn gain(&self) -> f64 {
        self.gain
    }

    /// Calcium added in every frame.
    pub fn baseline(&self) -> f64 {
        self.baseline
    }

    /// What fluorescence is made of calcium, if not calcium itself.
    pub fn saturation(&self) -> Option<Hill> {
        self.saturation
    }

    /// Calcium driven by spikes, from rest.
    ///
    /// # Shapes
    /// `spikes` and result: `[time]`.
    pub fn calcium(&self, spikes: &[f64]) -> Vec<f64> {
        let drive: Vec<f64> = spikes
            .iter()
            .map(|spike| self.gain * spike + self.baseline)
            .collect();
        self.ar.convolve(&drive)
    }

    /// Noiseless fluorescence of calcium.
    pub fn fluorescence(&self, calcium: f64) -> f64 {
        self.saturation
            .map_or(calcium, |hill| hill.fluorescence(calcium))
    }
}

/// [`SampledIndicator`] in files.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    decay: f64,
    #[serde(default)]
    rise: Option<f64>,
    gain: f64,
    baseline: f64,
    #[serde(default)]
    saturation: Option<Hill>,
}

#[cfg(feature = "serde")]
impl From<SampledIndicator> for Numbers {
    fn from(indicator: SampledIndicator) -> Self {
        Self {
            decay: indicator.decay(),
            rise: indicator.rise(),
            gain: indicator.gain,
            baseline: indicator.baseline,
            saturation: indicator.saturation,
        }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Numbers> for SampledIndicator {
    type Error = CalciumError;

    fn try_from(numbers: Numbers) -> Result<Self, CalciumError> {
        let ar = Ar2::from_roots(numbers.decay, numbers.rise.unwrap_or(0.0))?;
        Self::new(ar, numbers.gain, numbers.baseline)?.with_saturation(numbers.saturation)
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

    fn rise_and_decay(tau_rise_s: f64, tau_decay_s: f64) -> Kernel {
        Kernel::Ar2 {
            tau_rise_s,
            tau_decay_s,
            discretisation: Discretisation::Exact,
        }
    }

    proptest! {
        #[test]
        fn calcium_obeys_its_difference_equation(
            rise_s in 0.01f64..0.2, more in 0.01f64..2.0, gain in 0.1f64..3.0, baseline in -1.0f64..1.0,
            spikes in prop::collection::vec(0.0f64..3.0, 3..40),
        ) {
            let kernel = rise_and_decay(rise_s, rise_s + more);
            let indicator = Indicator::new(kernel, gain, baseline).unwrap().per_frame(0.05).unwrap();
            let calcium = indicator.calcium(&spikes);
            let [g, h] = [kernel.decay_s(), rise_s].map(|tau_s| (-0.05 / tau_s).exp());
            for t in 2..spikes.len() {
                let wanted = (g + h) * calcium[t - 1] - g * h * calcium[t - 2]
                    + gain * spikes[t] + baseline;
                prop_assert!((calcium[t] - wanted).abs() < 1e-9 * wanted.abs().max(1.0));
            }
        }
    }

    #[test]
    fn an_instant_rise_is_first_order() {
        let kernel = Kernel::Ar1 {
            tau_s: 0.3,
            discretisation: Discretisation::Exact,
        };
        let indicator = Indicator::new(kernel, 1.0, 0.0).unwrap();
        let sampled = indicator.per_frame(0.1).unwrap();
        let ar = Ar1::from_tau(0.3, 0.1, Discretisation::Exact).unwrap();
        let spikes = [1.0, 0.0, 2.0, 0.5];
        assert_eq!(sampled.calcium(&spikes), ar.convolve(&spikes));
        assert_eq!((sampled.rise(), sampled.decay()), (None, ar.g()));
        assert!((sampled.fluorescence(0.7) - 0.7).abs() < 1e-15);
        let saturating = sampled.with_saturation(Some(HILL)).unwrap();
        assert!((saturating.fluorescence(3.0) - 2.5).abs() < 1e-12);
        assert!((kernel.with_decay_s(0.5).decay_s() - 0.5).abs() < 1e-15);
    }

    #[test]
    fn numbers_out_of_range_are_named_where_the_indicator_is_made() {
        let good = rise_and_decay(0.1, 0.5);
        let said = |made: Result<Indicator, CalciumError>| made.unwrap_err().to_string();
        let upside_down = said(Indicator::new(rise_and_decay(0.5, 0.2), 1.0, 0.0));
        assert!(
            upside_down.contains("0.5") && upside_down.contains("0.2"),
            "{upside_down}"
        );
        assert!(said(Indicator::new(rise_and_decay(-0.1, 0.2), 1.0, 0.0)).contains("-0.1"));
        assert!(said(Indicator::new(good, 0.0, 0.0)).starts_with("gain = 0"));
        assert!(said(Indicator::new(good, 1.0, f64::NAN)).starts_with("baseline = NaN"));
        let hill = Hill {
            exponent: -1.0,
            ..HILL
        };
        let made = Indicator::new(good, 1.0, 0.0).unwrap();
        let hill = said(made.with_saturation(Some(hill)));
        assert!(hill.starts_with("saturation.exponent = -1"), "{hill}");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn files_give_it_back_or_are_refused() {
        let sampled = SampledIndicator::new(Ar2::from_roots(0.9, 0.5).unwrap(), 2.0, 0.1).unwrap();
        let text = serde_json::to_string(&sampled).unwrap();
        assert_eq!(
            serde_json::from_str::<SampledIndicator>(&text).unwrap(),
            sampled
        );
        let wrong = serde_json::from_str::<SampledIndicator>(&text.replace("0.9", "1.9"));
        assert!(wrong.unwrap_err().to_string().contains("g = 1.9"));
    }
}
