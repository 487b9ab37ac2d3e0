//! A chaotic recurrent network with input pulses.

use ndarray::{Array2, ArrayViewMut2};
use rayon::prelude::*;

use super::Rk4;
use crate::SynthError;
use crate::seed::{Draws, RootSeed, Stream};

/// Networks tried before the search for a chaotic one ends.
const MAX_ATTEMPTS: usize = 300;

/// tau dx/dt = −x + W tanh x, entries of W from N(0, gain² / N).
///
/// # Source
/// Sompolinsky, Crisanti & Sommers 1988, equation 1: chaos for gain > 1.
pub(crate) struct ChaoticRnn {
    /// Columns of W, one after the other: Wᵀ, row by row.
    columns: Array2<f64>,
    time_constant_s: f64,
}

impl ChaoticRnn {
    /// The first network, of 300 drawn, whose largest Lyapunov exponent per time constant
    /// exceeds `min_lyapunov`; the first of all for −∞.
    ///
    /// Theory promises chaos above gain 1 for infinite networks only. Of networks with 50
    /// units and gain 2.5, a third come to rest, most others cycle, and one in 16 passes 0.05.
    pub fn search(
        n_units: usize,
        gain: f64,
        time_constant_s: f64,
        min_lyapunov: f64,
        root: RootSeed,
    ) -> Result<Self, SynthError> {
        let attempt = |attempt| {
            let mut draws = root.draws(Stream::Recurrence, attempt);
            let rnn = Self::new(n_units, gain, time_constant_s, &mut draws);
            let accepted = min_lyapunov == f64::NEG_INFINITY
                || rnn.lyapunov_exponent(&mut draws) > min_lyapunov;
            accepted.then_some(rnn)
        };
        (0..MAX_ATTEMPTS)
            .into_par_iter()
            .by_uniform_blocks(8)
            .find_map_first(attempt)
            .ok_or(SynthError::NotChaotic {
                attempts: MAX_ATTEMPTS,
            })
    }

    /// A network of `n_units` with weights from `draws`.
    fn new(n_units: usize, gain: f64, time_constant_s: f64, draws: &mut Draws) -> Self {
        let sd = gain / libm::sqrt(n_units as f64);
        Self {
            columns: Array2::from_shape_simple_fn((n_units, n_units), || sd * draws.normal()),
            time_constant_s,
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
        for s in slope {
            *s /= self.time_constant_s;
        }
    }

    /// Largest Lyapunov exponent, per time constant, from one trajectory of 300 time
    /// constants after 100 of settling; above 0 for chaos, 0 for cycles.
    ///
    /// # Source
    /// Benettin, Galgani & Strelcyn 1976: follow two states that are pulled back to a tiny
    /// distance after every step, and average the logarithm of their parting.
    fn lyapunov_exponent(&self, draws: &mut Draws) -> f64 {
        let step_s = 0.1 * self.time_constant_s;
        let mut state = self.settle(draws, step_s, 1000);
        let n_units = state.len();
        let apart = 1e-7;
        let nudge = apart / libm::sqrt(n_units as f64);
        let mut shadow: Vec<f64> = state.iter().map(|x| x + nudge).collect();
        let mut rk4 = Rk4::new(n_units);
        let mut log_growth = 0.0;
        for _ in 0..3000 {
            rk4.step(|x, slope| self.derivative(x, slope), &mut state, step_s);
            rk4.step(|x, slope| self.derivative(x, slope), &mut shadow, step_s);
            let growth = distance(&state, &shadow) / apart;
            log_growth += libm::log(growth);
            for (y, x) in shadow.iter_mut().zip(&state) {
                *y = x + (*y - x) / growth;
            }
        }
        log_growth / 300.0
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

fn distance(a: &[f64], b: &[f64]) -> f64 {
    libm::sqrt(a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> ChaoticRnn {
        ChaoticRnn::new(40, 2.5, 0.5, &mut RootSeed(3).draws(Stream::Recurrence, 0))
    }

    #[test]
    fn derivative_matches_the_equation() {
        let rnn = network();
        let state: Vec<f64> = (0..40).map(|i| f64::from(i) / 7.0 - 2.0).collect();
        let mut slope = vec![0.0; 40];
        rnn.derivative(&state, &mut slope);
        for i in 0..40 {
            let input: f64 = (0..40).map(|j| rnn.columns[[j, i]] * state[j].tanh()).sum();
            let wanted = (input - state[i]) / 0.5;
            assert!((slope[i] - wanted).abs() < 1e-12, "unit {i}");
        }
    }

    #[test]
    fn weights_have_the_variance_of_the_gain() {
        let mean_square = network().columns.iter().map(|w| w * w).sum::<f64>() / 1600.0;
        let wanted = 2.5 * 2.5 / 40.0;
        // The variance of a mean of 1,600 squared normals is 2/1600 of its square.
        let z = (mean_square / wanted - 1.0) / (2.0 / 1600.0_f64).sqrt();
        assert!(z.abs() < 4.0, "{z} standard errors");
    }

    #[test]
    fn below_a_gain_of_one_activity_dies_away() {
        // W of gain 0.1 hardly matters: every direction decays at about −1 per time constant.
        let mut draws = RootSeed(3).draws(Stream::Recurrence, 0);
        let quiet = ChaoticRnn::new(40, 0.1, 0.5, &mut draws);
        let exponent = quiet.lyapunov_exponent(&mut draws);
        assert!((-1.0..-0.85).contains(&exponent), "{exponent}");
    }

    #[test]
    fn a_network_that_was_searched_for_is_chaotic() {
        let rnn = ChaoticRnn::search(20, 3.0, 0.5, 0.05, RootSeed(3)).unwrap();
        let exponent = rnn.lyapunov_exponent(&mut RootSeed(8).draws(Stream::InitialState, 0));
        assert!(exponent > 0.02, "from another state: {exponent}");
        let steady = ChaoticRnn::search(20, 0.5, 0.5, 0.05, RootSeed(3));
        assert_eq!(steady.err(), Some(SynthError::NotChaotic { attempts: 300 }));
    }
}
