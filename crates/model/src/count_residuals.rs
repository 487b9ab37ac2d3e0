//! How the calcium parameters change the fit of a sampled trace.

use calcium::counts::{CalciumDynamics, Sensor, State};

/// Σ_t (x_t − f(c_t))² of one or more traces of a neuron and half its derivatives, over the
/// frames with data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Residuals<const P: usize> {
    /// Frames with data.
    pub n: f64,
    /// Sum of squares.
    pub squares: f64,
    /// ½ d squares / d a_i, the counts held fixed.
    pub by_coefficients: [f64; P],
    /// ½ d squares / d ln gain.
    pub by_log_gain: f64,
    /// ½ d squares / d baseline.
    pub by_baseline: f64,
}

impl<const P: usize> Residuals<P> {
    pub const NONE: Self = Self {
        n: 0.0,
        squares: 0.0,
        by_coefficients: [0.0; P],
        by_log_gain: 0.0,
        by_baseline: 0.0,
    };

    /// The sums of both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.n += other.n;
        self.squares += other.squares;
        for (sum, more) in self.by_coefficients.iter_mut().zip(other.by_coefficients) {
            *sum += more;
        }
        self.by_log_gain += other.by_log_gain;
        self.by_baseline += other.by_baseline;
        self
    }
}

/// The calcium's derivatives with respect to its parameters: each obeys the calcium's own
/// recursion with another drive.
#[derive(Clone, Copy)]
struct Sensitivity<const P: usize> {
    coefficients: [State<P>; P],
    log_gain: State<P>,
    baseline: State<P>,
}

impl<const P: usize> Sensitivity<P> {
    const NONE: Self = Self {
        coefficients: [[0.0; P]; P],
        log_gain: [0.0; P],
        baseline: [0.0; P],
    };

    fn step(&mut self, calcium: &CalciumDynamics<P>, before: &State<P>, count: f64) {
        for (state, lagged) in self.coefficients.iter_mut().zip(before) {
            advance(state, calcium, *lagged);
        }
        advance(&mut self.log_gain, calcium, calcium.gain * count);
        advance(&mut self.baseline, calcium, 1.0);
    }
}

fn advance<const P: usize>(state: &mut State<P>, calcium: &CalciumDynamics<P>, drive: f64) {
    let lags = calcium.coefficients.iter().zip(*state);
    let newest = drive + lags.map(|(a, lagged)| a * lagged).sum::<f64>();
    state.copy_within(..P - 1, 1);
    state[0] = newest;
}

/// The residuals of one trace under sampled counts, which started from `initial`.
pub(crate) fn residuals<const P: usize, S: Sensor>(
    calcium: &CalciumDynamics<P>,
    sensor: &S,
    x: &[f32],
    counts: &[f32],
    initial: State<P>,
) -> Residuals<P> {
    let mut state = initial;
    let mut sensitivity = Sensitivity::NONE;
    let mut sum = Residuals::NONE;
    for (&x, &count) in x.iter().zip(counts) {
        let count = f64::from(count);
        sensitivity.step(calcium, &state, count);
        state = calcium.carry(state);
        state[0] += calcium.gain * count;
        if x.is_nan() {
            continue;
        }
        let residual = f64::from(x) - sensor.fluorescence(state[0]);
        let pull = -residual * sensor.slope(state[0]);
        sum.n += 1.0;
        sum.squares += residual * residual;
        for (total, state) in sum
            .by_coefficients
            .iter_mut()
            .zip(&sensitivity.coefficients)
        {
            *total += pull * state[0];
        }
        sum.by_log_gain += pull * sensitivity.log_gain[0];
        sum.by_baseline += pull * sensitivity.baseline[0];
    }
    sum
}

#[cfg(test)]
mod tests {
    use calcium::Hill;
    use calcium::counts::SaturatingSensor;

    use super::*;

    fn squares(calcium: &CalciumDynamics<2>) -> Residuals<2> {
        let hill = Hill {
            exponent: 1.7,
            half_saturation: 2.0,
            scale: 4.0,
        };
        let x = [0.1, 0.8, f32::NAN, 2.1, 1.0, 0.7, 0.2];
        let counts = [0.0, 1.0, 0.0, 3.0, 0.0, 0.0, 1.0];
        residuals(
            calcium,
            &SaturatingSensor::new(hill, 0.2),
            &x,
            &counts,
            [0.7, 0.9],
        )
    }

    #[test]
    fn derivatives_are_differences() {
        let calcium = CalciumDynamics {
            coefficients: [1.3, -0.4],
            gain: 1.2,
            baseline: 0.05,
        };
        let found = squares(&calcium);
        assert!((found.n - 6.0).abs() < 1e-12);
        let step = 1e-6;
        let check = |shift: &dyn Fn(&mut CalciumDynamics<2>, f64), derivative: f64| {
            let at = |size: f64| {
                let mut shifted = calcium;
                shift(&mut shifted, size);
                0.5 * squares(&shifted).squares
            };
            let difference = (at(step) - at(-step)) / (2.0 * step);
            assert!(
                (difference - derivative).abs() < 1e-6 * (1.0 + derivative.abs()),
                "{difference} against {derivative}"
            );
        };
        check(&|c, d| c.coefficients[0] += d, found.by_coefficients[0]);
        check(&|c, d| c.coefficients[1] += d, found.by_coefficients[1]);
        check(&|c, d| c.gain *= d.exp(), found.by_log_gain);
        check(&|c, d| c.baseline += d, found.by_baseline);
    }
}
