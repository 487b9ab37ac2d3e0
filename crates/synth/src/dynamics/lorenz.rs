//! The Lorenz attractor.

use ndarray::{Array2, Array3, ArrayView1, ArrayViewMut2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Rk4;
use crate::SynthError;
use crate::error::check;
use crate::seed::Draws;

/// dx/dt = sigma (y − x), dy/dt = x (rho − z) − y, dz/dt = x y − beta z.
///
/// # Source
/// Lorenz 1963, equations 25–27.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lorenz {
    /// Prandtl number.
    pub sigma: f64,
    /// Rayleigh number, relative to the critical one.
    pub rho: f64,
    /// Aspect ratio of the rolls.
    pub beta: f64,
}

impl Default for Lorenz {
    /// The chaotic regime of the original paper: 10, 28, 8/3.
    fn default() -> Self {
        Self {
            sigma: 10.0,
            rho: 28.0,
            beta: 8.0 / 3.0,
        }
    }
}

impl Lorenz {
    pub(crate) fn validate(&self) -> Result<(), SynthError> {
        let finite = "a finite number";
        check(self.sigma.is_finite(), "lorenz.sigma", self.sigma, finite)?;
        check(self.rho.is_finite(), "lorenz.rho", self.rho, finite)?;
        check(self.beta.is_finite(), "lorenz.beta", self.beta, finite)
    }

    fn derivative(&self, state: &[f64], slope: &mut [f64]) {
        let [x, y, z] = [state[0], state[1], state[2]];
        slope[0] = self.sigma * (y - x);
        slope[1] = x * (self.rho - z) - y;
        slope[2] = x * y - self.beta * z;
    }

    /// Integrates one trajectory per entry of `draws`, from N(0, I) initial states; returns
    /// `[condition, step, coordinate]`, first the state after the burn-in.
    pub(crate) fn trajectories(
        &self,
        draws: Vec<Draws>,
        step: f64,
        burn_in_steps: usize,
        n_steps: usize,
    ) -> Result<Array3<f64>, SynthError> {
        let mut states = Array3::zeros((draws.len(), n_steps, 3));
        let conditions: Vec<_> = states.outer_iter_mut().zip(draws).collect();
        conditions
            .into_par_iter()
            .for_each(|(trajectory, draws)| self.integrate(trajectory, draws, step, burn_in_steps));
        match states.indexed_iter().find(|(_, x)| !x.is_finite()) {
            None => Ok(states),
            Some(((condition, step, _), &state)) => Err(SynthError::Diverged {
                condition,
                step,
                state,
            }),
        }
    }

    /// Fills `trajectory`, `[step, coordinate]`, from `state` on, which jumps by so much just before a step if there is
    /// a `kick`.
    pub(crate) fn run(
        &self,
        mut state: [f64; 3],
        step: f64,
        kick: Option<(usize, &[f64])>,
        mut trajectory: ArrayViewMut2<'_, f64>,
    ) {
        let mut rk4 = Rk4::new(3);
        for (at, mut row) in trajectory.outer_iter_mut().enumerate() {
            if let Some((_, jump)) = kick.filter(|(kick_step, _)| at == *kick_step) {
                state.iter_mut().zip(jump).for_each(|(x, j)| *x += j);
            }
            row.iter_mut().zip(state).for_each(|(r, x)| *r = x);
            rk4.step(|x, slope| self.derivative(x, slope), &mut state, step);
        }
    }

    fn integrate(
        &self,
        trajectory: ArrayViewMut2<'_, f64>,
        mut draws: Draws,
        step: f64,
        burn_in_steps: usize,
    ) {
        let mut rk4 = Rk4::new(3);
        let mut state = [0.0; 3].map(|_: f64| draws.normal());
        for _ in 0..burn_in_steps {
            rk4.step(|x, slope| self.derivative(x, slope), &mut state, step);
        }
        self.run(state, step, None, trajectory);
    }
}

/// What puts coordinates into [−1, 1] with their proportions kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    mean: [f64; 3],
    largest: f64,
}

impl Scale {
    /// Centres each coordinate over conditions and time, then divides all of them by the one largest absolute value.
    pub fn normalise(states: &mut Array3<f64>) -> Result<Self, SynthError> {
        let n = (states.len_of(Axis(0)) * states.len_of(Axis(1))) as f64;
        let mut means = [0.0; 3];
        for (mut coordinate, kept) in states.axis_iter_mut(Axis(2)).zip(&mut means) {
            let mean = coordinate.iter().sum::<f64>() / n;
            coordinate -= mean;
            *kept = mean;
        }
        let largest = states.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        if largest < 1e-9 {
            return Err(SynthError::Still);
        }
        *states /= largest;
        Ok(Self {
            mean: means,
            largest,
        })
    }

    /// The same of other states, `[step, coordinate]`.
    pub fn apply(&self, states: &mut Array2<f64>) {
        for (mut coordinate, mean) in states.axis_iter_mut(Axis(1)).zip(self.mean) {
            coordinate.mapv_inplace(|x| (x - mean) / self.largest);
        }
    }

    /// A state in coordinates that are not scaled.
    pub fn unscaled(&self, state: ArrayView1<'_, f64>) -> [f64; 3] {
        [0, 1, 2].map(|i| state[i] * self.largest + self.mean[i])
    }

    /// Likewise a difference of states.
    pub fn unscaled_jump(&self, jump: &[f64]) -> Vec<f64> {
        jump.iter().map(|j| j * self.largest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_state(step: f64, n_steps: usize) -> [f64; 3] {
        let mut rk4 = Rk4::new(3);
        let mut state = [1.0, 2.0, 20.0];
        for _ in 0..n_steps {
            rk4.step(
                |x, slope| Lorenz::default().derivative(x, slope),
                &mut state,
                step,
            );
        }
        state
    }

    #[test]
    fn derivative_matches_the_equations() {
        let mut slope = [0.0; 3];
        Lorenz::default().derivative(&[1.0, 2.0, 3.0], &mut slope);
        let wanted = [10.0, 23.0, 2.0 - 8.0];
        assert!(slope.iter().zip(wanted).all(|(s, w)| (s - w).abs() < 1e-12));
    }

    #[test]
    fn the_error_falls_with_the_fourth_power_of_the_step() {
        let exact = end_state(0.4 / 12800.0, 12800);
        let error = |n: usize| {
            let end = end_state(0.4 / n as f64, n);
            (0..3)
                .map(|i| (end[i] - exact[i]).abs())
                .fold(0.0, f64::max)
        };
        for n in [40, 80, 160] {
            let order = (error(n) / error(2 * n)).log2();
            assert!((3.7..4.5).contains(&order), "order {order} at {n} steps");
        }
    }

    #[test]
    fn normalised_coordinates_are_centred_and_reach_one() {
        let mut states = Array3::from_shape_fn((3, 5, 3), |(c, t, i)| {
            (c * 7 + t * t) as f64 + i as f64 * 9.0
        });
        let raw = states.clone();
        let scale = Scale::normalise(&mut states).unwrap();
        let largest = states.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        assert!((largest - 1.0).abs() < 1e-15);
        for coordinate in states.axis_iter(Axis(2)) {
            assert!(coordinate.sum().abs() < 1e-12);
        }
        let mut other = raw.index_axis(Axis(0), 1).to_owned();
        scale.apply(&mut other);
        let scaled = states.index_axis(Axis(0), 1);
        let differs = |(a, b): (&f64, &f64)| (a - b).abs() > 1e-12;
        assert!(!other.iter().zip(scaled).any(differs));
        let back = scale.unscaled(scaled.row(3));
        assert!(
            !back
                .iter()
                .zip(raw.index_axis(Axis(0), 1).row(3))
                .any(differs)
        );
    }

    #[test]
    fn a_fixed_point_is_refused() {
        let mut states = Array3::from_elem((2, 4, 3), 0.3);
        assert_eq!(Scale::normalise(&mut states).err(), Some(SynthError::Still));
    }
}
