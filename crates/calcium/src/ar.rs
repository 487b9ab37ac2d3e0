//! Autoregressive indicator dynamics, and the only conversions between g and tau.

use std::fmt;
use std::str::FromStr;

use crate::error::duration;
use crate::{CalciumError, Sample};

/// How a continuous decay with time constant tau becomes a decay per frame of dt.
///
/// Where a file does not say, it is the exact one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Discretisation {
    /// g = 1 − dt/tau, one Euler step.
    Euler,
    /// g = exp(−dt/tau), by an exponential that is the same on every platform.
    #[default]
    Exact,
}

impl Discretisation {
    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Euler => "euler",
            Self::Exact => "exact",
        }
    }
}

impl fmt::Display for Discretisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Discretisation {
    type Err = CalciumError;

    fn from_str(name: &str) -> Result<Self, CalciumError> {
        let both = [Self::Euler, Self::Exact];
        let found = both.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| CalciumError::UnknownDiscretisation { name: name.into() })
    }
}

/// First-order indicator dynamics `c_t = g·c_{t−1} + s_t` with 0 ≤ g < 1.
///
/// # Example
/// ```
/// use calcium::{Ar1, Discretisation};
///
/// let ar = Ar1::from_tau(0.4, 0.1, Discretisation::Euler)?;
/// assert_eq!(ar.g(), 0.75);
/// assert_eq!(ar.convolve(&[1.0, 0.0, 2.0]), [1.0, 0.75, 2.5625]);
/// # Ok::<(), calcium::CalciumError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ar1 {
    g: f64,
}

impl Ar1 {
    /// Dynamics with decay `g` per frame.
    ///
    /// # Errors
    /// [`CalciumError::DecayOutOfRange`] unless 0 ≤ g < 1.
    pub fn new(g: f64) -> Result<Self, CalciumError> {
        if (0.0..1.0).contains(&g) {
            Ok(Self { g })
        } else {
            Err(CalciumError::DecayOutOfRange { g })
        }
    }

    /// Dynamics of a decay with time constant `tau_s`, sampled every `dt_s`.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`]; [`CalciumError::TauShorterThanFrame`] under Euler;
    /// [`CalciumError::DecayOutOfRange`] if tau/dt is so large that g rounds to 1.
    pub fn from_tau(
        tau_s: f64,
        dt_s: f64,
        discretisation: Discretisation,
    ) -> Result<Self, CalciumError> {
        let frames = duration("dt_s", dt_s)? / duration("tau_s", tau_s)?;
        match discretisation {
            Discretisation::Euler if frames > 1.0 => {
                Err(CalciumError::TauShorterThanFrame { tau_s, dt_s })
            }
            Discretisation::Euler => Self::new(1.0 - frames),
            Discretisation::Exact => Self::new(libm::exp(-frames)),
        }
    }

    /// Decay per frame.
    pub fn g(self) -> f64 {
        self.g
    }

    /// Time constant of the decay when sampled every `dt_s`.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn tau_s(self, dt_s: f64, discretisation: Discretisation) -> Result<f64, CalciumError> {
        let dt_s = duration("dt_s", dt_s)?;
        Ok(match discretisation {
            Discretisation::Euler => dt_s / (1.0 - self.g),
            Discretisation::Exact => -dt_s / libm::log(self.g),
        })
    }

    /// Calcium driven by `spikes`, from rest: `c_t = g·c_{t−1} + s_t`, `c_{−1} = 0`.
    ///
    /// # Shapes
    /// `spikes` and result: `[time]`.
    pub fn convolve<T: Sample>(self, spikes: &[T]) -> Vec<T> {
        let mut calcium = 0.0;
        spikes
            .iter()
            .map(|spike| {
                calcium = self.g * calcium + spike.to_f64();
                T::from_f64(calcium)
            })
            .collect()
    }
}

/// Second-order indicator dynamics `c_t = g1·c_{t−1} + g2·c_{t−2} + s_t` with a rise and a decay.
///
/// The roots d ≥ r of `z² = g1·z + g2` are the decays per frame of the two exponentials that make
/// up the response to a spike, `(d^{t+1} − r^{t+1})/(d − r)`; r = 0 is AR(1).
///
/// # Example
/// ```
/// use calcium::{Ar2, Discretisation};
///
/// let ar = Ar2::from_roots(0.5, 0.25)?;
/// assert_eq!(ar.g(), [0.75, -0.125]);
/// assert_eq!(ar.convolve(&[1.0, 0.0, 0.0]), [1.0, 0.75, 0.4375]);
///
/// let gcamp = Ar2::from_taus(0.6, 0.05, 1.0 / 60.0, Discretisation::Exact)?;
/// let [decay_s, rise_s] = gcamp.taus_s(1.0 / 60.0, Discretisation::Exact)?;
/// assert!((rise_s - 0.05).abs() < 1e-12 && (decay_s - 0.6).abs() < 1e-12);
/// # Ok::<(), calcium::CalciumError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ar2 {
    decay: Ar1,
    rise: Ar1,
}

impl From<Ar1> for Ar2 {
    /// An instant rise.
    fn from(decay: Ar1) -> Self {
        let rise = Ar1 { g: 0.0 };
        Self { decay, rise }
    }
}

impl Ar2 {
    /// Dynamics whose response is made of decays by `decay` and by `rise` per frame, in any order.
    ///
    /// # Errors
    /// [`CalciumError::DecayOutOfRange`] unless both are in [0, 1).
    pub fn from_roots(decay: f64, rise: f64) -> Result<Self, CalciumError> {
        let (decay, rise) = (Ar1::new(decay)?, Ar1::new(rise)?);
        let (decay, rise) = if decay.g < rise.g {
            (rise, decay)
        } else {
            (decay, rise)
        };
        Ok(Self { decay, rise })
    }

    /// Dynamics with coefficients `g1` and `g2`.
    ///
    /// # Errors
    /// [`CalciumError::NotRiseAndDecay`] unless both roots of `z² = g1·z + g2` are in [0, 1).
    pub fn new(g1: f64, g2: f64) -> Result<Self, CalciumError> {
        let spread = (g1 * g1 + 4.0 * g2).sqrt();
        let decay = f64::midpoint(g1, spread);
        // Vieta's rule loses no digits where the difference of `g1` and `spread` would.
        let rise = if decay == 0.0 { 0.0 } else { -g2 / decay };
        Self::from_roots(decay, rise).map_err(|_roots| CalciumError::NotRiseAndDecay { g1, g2 })
    }

    /// Dynamics that decay with time constant `decay_s` and rise with `rise_s`, sampled every `dt_s`.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// Those of [`Ar1::from_tau`], for either.
    pub fn from_taus(
        decay_s: f64,
        rise_s: f64,
        dt_s: f64,
        discretisation: Discretisation,
    ) -> Result<Self, CalciumError> {
        let decay = Ar1::from_tau(decay_s, dt_s, discretisation)?;
        let rise = Ar1::from_tau(rise_s, dt_s, discretisation)?;
        Self::from_roots(decay.g(), rise.g())
    }

    /// The coefficients g1 and g2.
    pub fn g(self) -> [f64; 2] {
        let [decay, rise] = self.roots();
        [decay + rise, -decay * rise]
    }

    /// The larger and the smaller decay per frame.
    pub fn roots(self) -> [f64; 2] {
        [self.decay.g(), self.rise.g()]
    }

    /// Time constants of decay and rise when sampled every `dt_s`.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn taus_s(
        self,
        dt_s: f64,
        discretisation: Discretisation,
    ) -> Result<[f64; 2], CalciumError> {
        Ok([
            self.decay.tau_s(dt_s, discretisation)?,
            self.rise.tau_s(dt_s, discretisation)?,
        ])
    }

    /// The highest value of the response to one spike.
    pub fn peak(self) -> f64 {
        let [decay, rise] = self.roots();
        let (mut response, mut rising, mut highest) = (1.0, rise, 1.0);
        // response(t + 1) = decay · response(t) + rise^{t + 1}
        loop {
            response = decay * response + rising;
            rising *= rise;
            if response <= highest {
                return highest;
            }
            highest = response;
        }
    }

    /// Calcium driven by `spikes`, from rest: `c_{−1} = c_{−2} = 0`.
    ///
    /// # Shapes
    /// `spikes` and result: `[time]`.
    pub fn convolve<T: Sample>(self, spikes: &[T]) -> Vec<T> {
        // A decay after a rise.
        let (mut risen, mut calcium) = (0.0, 0.0);
        spikes
            .iter()
            .map(|spike| {
                risen = self.rise.g * risen + spike.to_f64();
                calcium = self.decay.g * calcium + risen;
                T::from_f64(calcium)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tau_survives_the_round_trip(ratio in 1.0f64..1e4, dt_s in 1e-3f64..1.0) {
            let tau_s = ratio * dt_s;
            for rule in [Discretisation::Euler, Discretisation::Exact] {
                let back = Ar1::from_tau(tau_s, dt_s, rule).unwrap().tau_s(dt_s, rule).unwrap();
                prop_assert!((back - tau_s).abs() < 1e-9 * tau_s, "{rule:?}: {tau_s} became {back}");
            }
        }

        #[test]
        fn the_exact_rule_composes_over_frames(tau_s in 0.01f64..10.0, dt_s in 0.001f64..1.0) {
            let one = Ar1::from_tau(tau_s, dt_s, Discretisation::Exact).unwrap().g();
            let two = Ar1::from_tau(tau_s, 2.0 * dt_s, Discretisation::Exact).unwrap().g();
            prop_assert!((one * one - two).abs() < 1e-15);
        }

        #[test]
        fn euler_is_exact_to_first_order(tau_s in 0.1f64..10.0, ratio in 1e-4f64..1e-2) {
            let dt_s = ratio * tau_s;
            let euler = Ar1::from_tau(tau_s, dt_s, Discretisation::Euler).unwrap().g();
            let exact = Ar1::from_tau(tau_s, dt_s, Discretisation::Exact).unwrap().g();
            prop_assert!(euler < exact && exact - euler < ratio * ratio);
        }

        #[test]
        fn both_exponentials_survive_the_round_trips(
            rise in 1.0f64..50.0, more in 0.1f64..100.0, dt_s in 1e-3f64..1.0,
        ) {
            let (rise_s, decay_s) = (rise * dt_s, (rise + more) * dt_s);
            for rule in [Discretisation::Euler, Discretisation::Exact] {
                let ar = Ar2::from_taus(decay_s, rise_s, dt_s, rule).unwrap();
                let back = ar.taus_s(dt_s, rule).unwrap();
                prop_assert!((back[0] - decay_s).abs() < 1e-9 * decay_s);
                prop_assert!((back[1] - rise_s).abs() < 1e-9 * rise_s);
                let [g1, g2] = ar.g();
                let again = Ar2::new(g1, g2).unwrap().roots();
                // A double root moves by the square root of the rounding.
                prop_assert!((again[0] - ar.roots()[0]).abs() < 1e-7);
                prop_assert!((again[1] - ar.roots()[1]).abs() < 1e-7);
            }
        }

        #[test]
        fn second_order_obeys_its_difference_equation(
            decay in 0.0f64..0.999, rise in 0.0f64..0.999,
            spikes in prop::collection::vec(0.0f64..2.0, 3..50),
        ) {
            let ar = Ar2::from_roots(decay, rise).unwrap();
            let calcium = ar.convolve(&spikes);
            let [g1, g2] = ar.g();
            for t in 2..spikes.len() {
                let wanted = g1 * calcium[t - 1] + g2 * calcium[t - 2] + spikes[t];
                prop_assert!((calcium[t] - wanted).abs() < 1e-9 * wanted.max(1.0));
            }
        }
    }

    #[test]
    fn the_peak_is_that_of_the_response() {
        for (decay, rise) in [(0.95, 0.8), (0.5, 0.25), (0.9, 0.0), (0.99, 0.99)] {
            let ar = Ar2::from_roots(decay, rise).unwrap();
            let mut one = [0.0; 400];
            one[0] = 1.0;
            let highest = ar.convolve(&one).into_iter().fold(0.0, f64::max);
            assert!((ar.peak() - highest).abs() < 1e-9, "{decay}, {rise}");
        }
    }

    #[test]
    fn an_instant_decay_has_the_shortest_tau() {
        let ar = Ar1::new(0.0).unwrap();
        assert!((ar.tau_s(0.1, Discretisation::Euler).unwrap() - 0.1).abs() < 1e-15);
        assert!(ar.tau_s(0.1, Discretisation::Exact).unwrap().abs() < 1e-15);
    }

    #[test]
    fn bad_parameters_are_repeated() {
        for g in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            let error = Ar1::new(g).unwrap_err().to_string();
            assert!(
                error.contains(&format!("g = {g}")) && error.contains("0 <= g < 1"),
                "{error}"
            );
        }
        let error = Ar1::from_tau(-1.0, 0.1, Discretisation::Exact).unwrap_err();
        assert_eq!(
            error,
            CalciumError::NotADuration {
                name: "tau_s",
                value: -1.0
            }
        );
        let error = Ar1::from_tau(1.0, f64::INFINITY, Discretisation::Exact).unwrap_err();
        assert_eq!(
            error,
            CalciumError::NotADuration {
                name: "dt_s",
                value: f64::INFINITY
            }
        );
        let error = Ar1::from_tau(0.4, 0.5, Discretisation::Euler).unwrap_err();
        assert_eq!(
            error,
            CalciumError::TauShorterThanFrame {
                tau_s: 0.4,
                dt_s: 0.5
            }
        );
        let error = Ar1::from_tau(1e20, 0.5, Discretisation::Exact).unwrap_err();
        assert_eq!(error, CalciumError::DecayOutOfRange { g: 1.0 });
        let error = Ar1::new(0.5)
            .unwrap()
            .tau_s(0.0, Discretisation::Euler)
            .unwrap_err();
        assert_eq!(
            error,
            CalciumError::NotADuration {
                name: "dt_s",
                value: 0.0
            }
        );
    }

    #[test]
    fn coefficients_without_two_decays_are_repeated() {
        for [g1, g2] in [[1.0, -0.5], [0.9, 0.05], [1.9, -0.85], [f64::NAN, 0.0]] {
            let error = Ar2::new(g1, g2).unwrap_err().to_string();
            assert!(error.contains(&format!("g1 = {g1}, g2 = {g2}")), "{error}");
        }
        assert!(Ar2::from_roots(0.5, -0.1).is_err() && Ar2::from_roots(f64::NAN, 0.5).is_err());
    }
}
