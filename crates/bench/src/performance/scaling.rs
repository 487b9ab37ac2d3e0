//! How a training step of LFADS grows with neurons, time bins, batch and hidden units.

use anyhow::Result;
use serde::Serialize;

use super::steps::{self, Sizes, Step};

/// One size is varied, the others are those of Table 1.
#[derive(Clone, Debug, Serialize)]
pub struct Scaling {
    /// What is varied.
    pub axis: &'static str,
    pub points: Vec<Point>,
    /// Slope of log time against log size, by least squares.
    pub exponent: f64,
}

/// A step at one size.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    pub size: usize,
    pub step: Step,
}

type Axis = (&'static str, &'static [usize], fn(&mut Sizes, usize));

const AXES: [Axis; 4] = [
    ("neurons", &[30, 100, 300, 1000, 2000], |sizes, n| {
        sizes.n_neurons = n;
    }),
    ("time bins", &[50, 100, 200, 500, 1000, 2000], |sizes, n| {
        sizes.n_bins = n;
    }),
    ("batch", &[8, 16, 32, 64, 128, 256, 512], |sizes, n| {
        sizes.batch = n;
    }),
    ("hidden units", &[32, 64, 128, 256, 512], |sizes, n| {
        sizes.hidden = n;
    }),
];

/// A recording of 1,000 neurons in trials of 1,000 bins.
pub const LARGE: Sizes = Sizes {
    n_neurons: 1000,
    n_bins: 1000,
    batch: 32,
    hidden: 128,
};

/// Times every axis.
///
/// # Errors
/// If a model cannot be trained.
pub fn measure_all() -> Result<Vec<Scaling>> {
    AXES.iter().map(measure).collect()
}

fn measure(&(axis, values, set): &Axis) -> Result<Scaling> {
    let point = |&size: &usize| {
        let mut sizes = Sizes::TABLE_1;
        set(&mut sizes, size);
        let step = steps::lfads_step(sizes)?;
        Ok(Point { size, step })
    };
    let points: Vec<Point> = values.iter().map(point).collect::<Result<_>>()?;
    let exponent = slope(&points);
    Ok(Scaling {
        axis,
        points,
        exponent,
    })
}

/// Least-squares slope of log time against log size.
fn slope(points: &[Point]) -> f64 {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .map(|point| ((point.size as f64).ln(), point.step.milliseconds.ln()))
        .collect();
    let n = logs.len() as f64;
    let (mean_x, mean_y) = logs
        .iter()
        .fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x / n, sum.1 + y / n));
    let moment = |of: fn(f64, f64) -> f64| -> f64 {
        logs.iter().map(|(x, y)| of(x - mean_x, y - mean_y)).sum()
    };
    moment(|x, y| x * y) / moment(|x, _| x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_a_power_law_is_its_power() {
        let point = |size: usize| Point {
            size,
            step: Step {
                milliseconds: 0.3 * (size as f64).powf(1.7),
                peak_mb: None,
                weights_mb: 0.0,
                saved_mb: 1.0,
            },
        };
        let points: Vec<Point> = [8, 16, 100].map(point).into();
        assert!((slope(&points) - 1.7).abs() < 1e-12);
    }
}
