//! The counts of spikes behind one trace, given how often the neuron fires in each frame: Bayes' rule.
//!
//! [`CountModel::sample`] draws counts from a posterior that looks one frame ahead, [`CountModel::smooth`] takes the
//! posterior means themselves.

mod cells;
mod choices;
mod constant_rate;
mod dynamics;
mod filter;
mod hypotheses;
mod lookahead;
mod sensor;
mod smoother;

pub use choices::ln_factorial;
pub use constant_rate::{ConstantRate, SpikeResponse};
pub use dynamics::{CalciumDynamics, State};
pub use hypotheses::Smoother;
pub use lookahead::{Chance, CountSample};
pub use sensor::{LinearSensor, SaturatingSensor, Sensor};
pub use smoother::SmoothedCounts;

/// More spikes a frame than this are no counts: the unit is wrong.
pub const MAX_MEAN_COUNT: f64 = 1000.0;

/// The neuron and its indicator as one trace shows them, with Poisson spikes and Gaussian noise:
///
/// s_t ~ Poisson(μ_t), c_t = Σ_i a_i c_{t−i} + gain·s_t + baseline, x_t ~ N(f(c_t), noise²).
#[derive(Clone, Debug, PartialEq)]
pub struct CountModel<const P: usize, S> {
    /// How spikes drive the calcium.
    pub calcium: CalciumDynamics<P>,
    /// f and the noise.
    pub sensor: S,
    /// The calcium before the first frame.
    pub start: Start<P>,
}

/// The calcium before the first frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start<const P: usize> {
    /// None.
    Rest,
    /// A multiple of `direction` that is N(`mean`, `variance`).
    Decaying {
        /// The state that is multiplied.
        direction: State<P>,
        /// Mean of the multiple.
        mean: f64,
        /// Its variance, above 0.
        variance: f64,
    },
}

/// What is given of one trace, `[time]` each.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// Fluorescence; NaN: no data.
    pub x: &'a [f32],
    /// ln μ, the mean counts of the frames.
    pub log_means: &'a [f32],
}

impl<const P: usize, S: Sensor> CountModel<P, S> {
    fn with_spikes(&self, mut state: State<P>, count: usize) -> State<P> {
        state[0] += self.calcium.gain * count as f64;
        state
    }

    /// ln p(x | calcium), constants left out; nothing for a missing frame.
    fn log_likelihood(&self, x: f64, calcium: f64) -> f64 {
        match x.is_nan() {
            true => 0.0,
            false => {
                -0.5 * self.sensor.precision() * (x - self.sensor.fluorescence(calcium)).powi(2)
            }
        }
    }
}

#[cfg(test)]
mod tests;
