//! Autoregressive indicator dynamics, and the only conversions between g and tau.

use crate::error::duration;
use crate::{CalciumError, Sample};

/// How a continuous decay with time constant tau becomes a decay per frame of dt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Discretisation {
    /// g = 1 − dt/tau, one Euler step.
    Euler,
    /// g = exp(−dt/tau).
    Exact,
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
            Discretisation::Exact => Self::new((-frames).exp()),
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
            Discretisation::Exact => -dt_s / self.g.ln(),
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
}
