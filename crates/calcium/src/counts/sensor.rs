//! How calcium shows as fluorescence: linearly, or through a saturating indicator.

use crate::Hill;

/// What a neuron's fluorescence says of its calcium, x ~ N(fluorescence(c), noise²).
pub trait Sensor: Sync {
    /// The noiseless fluorescence.
    fn fluorescence(&self, calcium: f64) -> f64;

    /// Its slope.
    fn slope(&self, calcium: f64) -> f64;

    /// 1/noise².
    fn precision(&self) -> f64;

    /// Mean and precision of the Gaussian that stands for p(x | c) as a function of c.
    fn calcium(&self, x: f64) -> (f64, f64);

    /// Calcium that differs by less is as good as the same: a seventh of the noise.
    fn resolution(&self) -> f64;
}

/// Fluorescence is calcium plus noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearSensor {
    precision: f64,
}

impl LinearSensor {
    /// Noise of this standard deviation, above 0.
    pub fn new(noise_sd: f64) -> Self {
        Self {
            precision: noise_sd.powi(-2),
        }
    }
}

impl Sensor for LinearSensor {
    fn fluorescence(&self, calcium: f64) -> f64 {
        calcium
    }

    fn slope(&self, _calcium: f64) -> f64 {
        1.0
    }

    fn precision(&self) -> f64 {
        self.precision
    }

    fn calcium(&self, x: f64) -> (f64, f64) {
        (x, self.precision)
    }

    fn resolution(&self) -> f64 {
        RESOLUTION / self.precision.sqrt()
    }
}

/// A Hill indicator. The Gaussian that stands for an observation has the moments of p(x | c)
/// over calcium between none and the most that its table holds: a linearisation would know
/// nothing at rest, where the slope is 0, and far too much where the indicator saturates.
#[derive(Clone, Debug, PartialEq)]
pub struct SaturatingSensor {
    hill: Hill,
    precision: f64,
    first: f64,
    step: f64,
    table: Vec<(f64, f64)>,
    /// The greatest slope.
    steepest: f64,
}

/// What noise hides, in its deviations.
const RESOLUTION: f64 = 0.15;
/// Highest calcium considered, in half saturations.
const MOST_CALCIUM: f64 = 6.0;
/// Calcium levels over which moments are taken, quadratically spaced, finer near rest.
const N_LEVELS: usize = 160;
/// Fluorescence values for which moments are kept.
const N_ENTRIES: usize = 96;
/// The table reaches this many noise deviations past the range of the indicator.
const MARGIN_SD: f64 = 3.0;

impl SaturatingSensor {
    /// Noise of this standard deviation, above 0, on the fluorescence of `hill`.
    pub fn new(hill: Hill, noise_sd: f64) -> Self {
        let precision = noise_sd.powi(-2);
        let most = MOST_CALCIUM * hill.half_saturation;
        let levels: Vec<Level> = (0..N_LEVELS)
            .map(|index| Level::new(&hill, most, index))
            .collect();
        let first = -MARGIN_SD * noise_sd;
        let last = hill.scale + MARGIN_SD * noise_sd;
        let step = (last - first) / (N_ENTRIES - 1) as f64;
        let table = (0..N_ENTRIES)
            .map(|entry| moments(&levels, first + step * entry as f64, precision))
            .collect();
        Self {
            hill,
            precision,
            first,
            step,
            table,
            steepest: steepest(&levels),
        }
    }
}

impl Sensor for SaturatingSensor {
    fn fluorescence(&self, calcium: f64) -> f64 {
        self.hill.fluorescence(calcium)
    }

    fn slope(&self, calcium: f64) -> f64 {
        self.hill.slope(calcium)
    }

    fn precision(&self) -> f64 {
        self.precision
    }

    fn calcium(&self, x: f64) -> (f64, f64) {
        let place = ((x - self.first) / self.step).clamp(0.0, (N_ENTRIES - 1) as f64);
        let entry = (place as usize).min(N_ENTRIES - 2);
        let share = place - entry as f64;
        let (low, high) = (self.table[entry], self.table[entry + 1]);
        (
            low.0 + share * (high.0 - low.0),
            low.1 + share * (high.1 - low.1),
        )
    }

    fn resolution(&self) -> f64 {
        RESOLUTION / (self.precision.sqrt() * self.steepest)
    }
}

/// A calcium level, its fluorescence, and the width of the interval it stands for.
struct Level {
    calcium: f64,
    fluorescence: f64,
    width: f64,
}

impl Level {
    fn new(hill: &Hill, most: f64, index: usize) -> Self {
        let place = (index as f64 + 0.5) / N_LEVELS as f64;
        let calcium = most * place * place;
        Self {
            calcium,
            fluorescence: hill.fluorescence(calcium),
            width: 2.0 * most * place / N_LEVELS as f64,
        }
    }
}

/// The greatest slope between neighbouring levels.
fn steepest(levels: &[Level]) -> f64 {
    let slope = |pair: &[Level]| {
        (pair[1].fluorescence - pair[0].fluorescence) / (pair[1].calcium - pair[0].calcium)
    };
    levels.windows(2).map(slope).fold(0.0, f64::max)
}

/// Mean and precision of calcium given one fluorescence value, under a flat prior.
fn moments(levels: &[Level], x: f64, precision: f64) -> (f64, f64) {
    let log = |level: &Level| -0.5 * precision * (x - level.fluorescence).powi(2);
    let greatest = levels.iter().map(log).fold(f64::NEG_INFINITY, f64::max);
    let (mut total, mut mean, mut square) = (0.0, 0.0, 0.0);
    for level in levels {
        let weight = level.width * (log(level) - greatest).exp();
        total += weight;
        mean += weight * level.calcium;
        square += weight * level.calcium * level.calcium;
    }
    mean /= total;
    // A level stands for an interval: its own variance keeps the precision finite.
    let own = levels[0].width.powi(2) / 12.0;
    let variance = (square / total - mean * mean).max(0.0) + own;
    (mean, 1.0 / variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HILL: Hill = Hill {
        exponent: 2.0,
        half_saturation: 3.0,
        scale: 5.0,
    };

    #[test]
    fn a_clear_observation_is_inverted_and_a_saturated_one_is_vague() {
        let sensor = SaturatingSensor::new(HILL, 0.1);
        let (mean, precision) = sensor.calcium(HILL.fluorescence(2.0));
        assert!((mean - 2.0).abs() < 0.05, "{mean}");
        let linearised = (HILL.slope(2.0) / 0.1).powi(2);
        assert!((precision / linearised - 1.0).abs() < 0.2, "{precision}");
        let (mean, precision) = sensor.calcium(4.75);
        assert!(mean > 12.0 && precision < 0.5, "{mean} {precision}");
        let (mean, precision) = sensor.calcium(-0.2);
        assert!(mean < 0.5 && precision > 10.0, "{mean} {precision}");
    }
}
