//! A chaotic recurrent network with input pulses.

use ndarray::{Array2, ArrayViewMut2};

use super::Rk4;
use crate::seed::Draws;

/// tau dx/dt = −x + W tanh x, W_ij ~ N(0, gain² / N).
///
/// # Source
/// Sompolinsky, Crisanti & Sommers 1988, equation 1: chaos for gain > 1.
pub(crate) struct ChaoticRnn {
    /// Columns of W, one after the other: Wᵀ, row by row.
    columns: Array2<f64>,
    rate: f64,
}

impl ChaoticRnn {
    /// A network of `n_units` with weights from `draws`.
    pub fn new(n_units: usize, gain: f64, time_constant_s: f64, draws: &mut Draws) -> Self {
        let sd = gain / libm::sqrt(n_units as f64);
        Self {
            columns: Array2::from_shape_simple_fn((n_units, n_units), || sd * draws.normal()),
            rate: 1.0 / time_constant_s,
        }
    }

    fn derivative(&self, state: &[f64], slope: &mut [f64]) {
        slope.iter_mut().zip(state).for_each(|(s, x)| *s = -x);
        for (x, column) in state.iter().zip(self.columns.outer_iter()) {
            let activity = libm::tanh(*x);
            for (s, w) in slope.iter_mut().zip(column) {
                *s += w * activity;
            }
        }
        slope.iter_mut().for_each(|s| *s *= self.rate);
    }

    /// State after `n_steps` from N(0, I).
    pub fn settle(&self, draws: &mut Draws, step_s: f64, n_steps: usize) -> Vec<f64> {
        let n_units = self.columns.nrows();
        let mut rk4 = Rk4::new(n_units);
        let mut state: Vec<f64> = (0..n_units).map(|_| draws.normal()).collect();
        for _ in 0..n_steps {
            rk4.step(|x, slope| self.derivative(x, slope), &mut state, step_s);
        }
        state
    }

    /// Fills `activity` `[step, unit]` with tanh x from `state` on; just before step
    /// `kick_step` the state jumps by `kick`.
    pub fn run(
        &self,
        mut state: Vec<f64>,
        step_s: f64,
        (kick_step, kick): (usize, &[f64]),
        mut activity: ArrayViewMut2<'_, f64>,
    ) {
        let mut rk4 = Rk4::new(state.len());
        for (step, mut row) in activity.outer_iter_mut().enumerate() {
            if step == kick_step {
                state.iter_mut().zip(kick).for_each(|(x, k)| *x += k);
            }
            row.iter_mut()
                .zip(&state)
                .for_each(|(r, x)| *r = libm::tanh(*x));
            rk4.step(|x, slope| self.derivative(x, slope), &mut state, step_s);
        }
    }
}
