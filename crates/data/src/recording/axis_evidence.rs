//! What the values of an array say of its axes: which is time, and which are neurons.

use ndarray::{ArrayD, ArrayView1, Axis};

/// Correlation of neighbours along an axis, about the mean of each line: above the first the axis is
/// smooth, below the second it is not.
const SMOOTH: f64 = 0.6;
const ROUGH: f64 = 0.2;
/// The least that makes an axis the time, where it is so many times that along any other.
const TIMELIKE: f64 = 0.3;
const TIMES_OTHERS: f64 = 2.0;
/// Fewest values of a line that tell.
const SHORTEST_LINE: usize = 16;
/// Lines looked at.
const MOST_LINES: usize = 200;
/// Standard errors by which slices along one axis must differ more than along another.
const ERRORS: f64 = 5.0;

/// Whether the values run smoothly along an axis.
pub(crate) fn is_smooth(values: &ArrayD<f32>, axis: usize) -> bool {
    neighbours(values, axis).is_some_and(|r| r > SMOOTH)
}

/// Whether the values run smoothly along one of the other axes and not, or too few of them to tell,
/// along `axis`.
pub(crate) fn runs_along(values: &ArrayD<f32>, axis: usize, others: &[usize]) -> bool {
    neighbours(values, axis).is_none_or(|r| r < ROUGH)
        && others.iter().any(|&other| is_smooth(values, other))
}

/// The axis along which, and along no other, the values run on.
pub(crate) fn time_axis(values: &ArrayD<f32>) -> Option<usize> {
    let along: Vec<f64> = (0..values.ndim())
        .map(|axis| neighbours(values, axis).unwrap_or_default())
        .collect();
    (0..along.len()).find(|&axis| {
        let mut others = along.iter().enumerate().filter(|(other, _)| *other != axis);
        along[axis] > TIMELIKE && others.all(|(_, r)| TIMES_OTHERS * r < along[axis])
    })
}

/// Whether slices along `neurons` differ in mean or scatter, and those along `trials` do not, or hardly:
/// neurons are of many kinds, and trials are repetitions.
///
/// The variance between slices, times the values of a slice, is the same along both axes where the values
/// are alike along both, whatever their distribution and however they run on in time; its logarithm has an
/// error of √(2/d₁ + 2/d₂) of d degrees of freedom each.
pub(crate) fn differ_as_neurons(values: &ArrayD<f32>, neurons: usize, trials: usize) -> bool {
    let [of_neurons, of_trials] = [neurons, trials].map(|axis| between(values, axis));
    let freedom = |axis: usize| values.len_of(Axis(axis)) as f64 - 1.0;
    let error = (2.0 / freedom(neurons) + 2.0 / freedom(trials)).sqrt();
    let more = |a: f64, b: f64| (a / b).ln() > ERRORS * error;
    let pairs = || of_neurons.iter().zip(of_trials);
    pairs().any(|(&n, t)| more(n, t)) && !pairs().any(|(&n, t)| more(t, n))
}

/// Variance between the slices along an axis, of their means and of the logarithm of their scatter, times the
/// values of a slice.
fn between(values: &ArrayD<f32>, axis: usize) -> [f64; 2] {
    let moments = values.axis_iter(Axis(axis)).filter_map(|slice| {
        let present = slice
            .iter()
            .map(|v| f64::from(*v))
            .filter(|v| v.is_finite());
        let (n, sum, square) = present.fold((0.0, 0.0, 0.0), |(n, sum, square), v| {
            (n + 1.0, sum + v, square + v * v)
        });
        let mean = sum / n;
        let variance = (square / n - mean * mean).max(0.0);
        (n > 0.0 && variance > 0.0).then(|| (mean, 0.5 * variance.ln()))
    });
    let moments: Vec<(f64, f64)> = moments.collect();
    let n_values = (values.len() / values.len_of(Axis(axis)).max(1)) as f64;
    let spread = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let n = moments.len() as f64;
        let mean = moments.iter().map(of).sum::<f64>() / n;
        n_values * moments.iter().map(|m| (of(m) - mean).powi(2)).sum::<f64>() / (n - 1.0)
    };
    [spread(&|m| m.0), spread(&|m| m.1)]
}

/// Correlation of neighbours along an axis, about the mean of each line; `None` where lines are short
/// or hardly vary.
fn neighbours(values: &ArrayD<f32>, axis: usize) -> Option<f64> {
    let axis = Axis(axis);
    if values.len_of(axis) < SHORTEST_LINE {
        return None;
    }
    let n_lines = values.len() / values.len_of(axis);
    let lines = values.lanes(axis).into_iter();
    let (mut together, mut alone) = (0.0, 0.0);
    for line in lines.step_by(n_lines.div_ceil(MOST_LINES)) {
        let (product, square) = products(line);
        // Of one weight each, whatever their scale.
        if square > 0.0 {
            together += product / square;
            alone += 1.0;
        }
    }
    (alone > 0.0).then(|| together / alone)
}

/// Sums over neighbours of (a − mean)(b − mean), and of the squares, of what is not missing.
fn products(line: ArrayView1<'_, f32>) -> (f64, f64) {
    let present = || line.iter().map(|v| f64::from(*v)).filter(|v| v.is_finite());
    let n = present().count();
    let mean = present().sum::<f64>() / n.max(1) as f64;
    let square: f64 = present().map(|v| (v - mean).powi(2)).sum();
    let off = |v: f32| f64::from(v) - mean;
    let pairs = line.iter().zip(line.iter().skip(1));
    let product = pairs
        .map(|(&a, &b)| off(a) * off(b))
        .filter(|p| p.is_finite())
        .sum();
    (product, square)
}
