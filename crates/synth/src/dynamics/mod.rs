//! Latent dynamics and their integration.

pub(crate) mod chaotic_rnn;
pub(crate) mod lorenz;
pub(crate) mod pulse;
pub(crate) mod pulsed;
pub(crate) mod ring;
pub(crate) mod switching;

/// Classical fourth-order Runge–Kutta steps of dx/dt = f(x).
pub(crate) struct Rk4 {
    slopes: [Vec<f64>; 4],
    probe: Vec<f64>,
}

impl Rk4 {
    /// Work space for states of `dimension` coordinates.
    pub fn new(dimension: usize) -> Self {
        Self {
            slopes: std::array::from_fn(|_| vec![0.0; dimension]),
            probe: vec![0.0; dimension],
        }
    }

    /// Advances `state` by `step`; `derivative(x, slope)` writes f(x) to `slope`.
    ///
    /// # Source
    /// Kutta 1901.
    pub fn step(
        &mut self,
        mut derivative: impl FnMut(&[f64], &mut [f64]),
        state: &mut [f64],
        step: f64,
    ) {
        let Self {
            slopes: [k1, k2, k3, k4],
            probe,
        } = self;
        derivative(state, k1);
        move_along(probe, state, k1, 0.5 * step);
        derivative(probe, k2);
        move_along(probe, state, k2, 0.5 * step);
        derivative(probe, k3);
        move_along(probe, state, k3, step);
        derivative(probe, k4);
        for (i, x) in state.iter_mut().enumerate() {
            *x += step / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]);
        }
    }
}

fn move_along(probe: &mut [f64], state: &[f64], slope: &[f64], step: f64) {
    for ((p, x), k) in probe.iter_mut().zip(state).zip(slope) {
        *p = x + step * k;
    }
}
