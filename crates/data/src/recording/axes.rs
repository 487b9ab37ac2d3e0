//! Which axis of an array is which: as stated, as the file says, or as the shape leaves no other choice.

use ndarray::{Array3, ArrayD, ArrayView1, Axis};

use super::clock::{Clock, can_be_paired};
use super::options::{ArrayAxis, AxisOrder};
use crate::Problem;

/// Largest whole number that is taken for a count; digitised light goes far beyond.
const LIKELY_COUNT: f32 = 100.0;
/// Mean count of a bin above which whole numbers are taken for light.
const LIKELY_MEAN: f64 = 20.0;
/// Correlation of neighbours along an axis, about the mean of each line: above the first the axis is
/// smooth, below the second it is not.
const SMOOTH: f64 = 0.6;
const ROUGH: f64 = 0.2;
/// Fewest values of a line that tell.
const SHORTEST_LINE: usize = 16;
/// Lines looked at.
const MOST_LINES: usize = 200;

/// An array with time and neurons where they belong.
pub(crate) struct Oriented {
    /// `[time, neuron]` or `[trial, time, neuron]`.
    pub(crate) values: ArrayD<f32>,
    /// What the user should know of it.
    pub(crate) notes: Vec<String>,
}

/// Puts time before neurons, and trials before both.
///
/// # Errors
/// [`Problem::AxisOrder`] where the order is neither stated nor told by the shape, or the values say
/// otherwise; [`Problem::Movie`]; [`Problem::Rank`] for no axes or more than three.
pub(crate) fn oriented(
    dataset: &str,
    values: ArrayD<f32>,
    order: Option<AxisOrder>,
    clock: &Clock,
) -> Result<Oriented, Problem> {
    match values.ndim() {
        1 => Ok(Oriented {
            values: values.insert_axis(Axis(1)),
            notes: vec!["one axis: read as the trace of one neuron".to_owned()],
        }),
        2 => {
            let order = match order {
                Some(order) if !order.is_of_two() => {
                    return Err(Problem::BadParameter {
                        name: "order",
                        found: "one of three axes".to_owned(),
                        expected: "[time, neuron] or [neuron, time] for an array of two axes",
                    });
                }
                Some(order) => order,
                None => of_two(dataset, &values, clock)?,
            };
            Ok(swapped(values, order, clock))
        }
        3 => three(dataset, values, order, clock),
        _ => Err(Problem::Rank {
            object: format!("dataset `{dataset}`"),
            found: values.shape().to_vec(),
            axes: "[time, neuron] or [trial, time, neuron]",
        }),
    }
}

fn swapped(values: ArrayD<f32>, order: AxisOrder, clock: &Clock) -> Oriented {
    let shape = values.shape().to_vec();
    if !order.is_neuron_first() {
        return Oriented {
            values,
            notes: Vec::new(),
        };
    }
    let how = match clock.n_times() == Some(shape[1]) && shape[0] != shape[1] {
        true => format!(", as the {} frame times have it", shape[1]),
        false => String::new(),
    };
    Oriented {
        values: values.reversed_axes(),
        notes: vec![format!("shape {shape:?} read as [neuron, time]{how}")],
    }
}

/// Time first, unless a clock says otherwise; asked for where there would be more neurons than frames,
/// or where the values run smoothly along the other axis alone.
pub(crate) fn guess_order(
    dataset: &str,
    shape: [usize; 2],
    clock: &Clock,
) -> Result<AxisOrder, Problem> {
    let [rows, columns] = shape;
    match clock.n_times() {
        Some(n) if n == columns && columns != rows => Ok(AxisOrder::NeuronTime),
        Some(n) if n == rows => Ok(AxisOrder::TimeNeuron),
        Some(n) if can_be_paired(n, columns) && !can_be_paired(n, rows) => {
            Ok(AxisOrder::NeuronTime)
        }
        _ if columns > rows => Err(open(dataset, &shape, "more neurons than frames")),
        _ => Ok(AxisOrder::TimeNeuron),
    }
}

fn of_two(dataset: &str, values: &ArrayD<f32>, clock: &Clock) -> Result<AxisOrder, Problem> {
    let shape = [values.shape()[0], values.shape()[1]];
    let order = guess_order(dataset, shape, clock)?;
    if clock.n_times().is_none() && runs_along(values, 0, &[1]) {
        return Err(open(dataset, &shape, AGAINST));
    }
    Ok(order)
}

const AGAINST: &str = "but the values run on smoothly along another axis";

const SWAPPED: &str = "but what is read as trials differs as neurons do, and the neurons do not";
/// Share of all variance between the means along an axis, above which they differ.
const DIFFERENT: f64 = 0.1;

/// Whether means differ along the axis of trials and not along that of neurons.
fn differs_like_neurons(values: &ArrayD<f32>) -> bool {
    let all = || {
        values
            .iter()
            .map(|v| f64::from(*v))
            .filter(|v| v.is_finite())
    };
    let n = all().count() as f64;
    let mean = all().sum::<f64>() / n;
    let variance = all().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let between = |axis: usize| {
        let slices = values.axis_iter(Axis(axis)).map(|slice| {
            let present = || {
                slice
                    .iter()
                    .map(|v| f64::from(*v))
                    .filter(|v| v.is_finite())
            };
            present().sum::<f64>() / present().count().max(1) as f64
        });
        let n_slices = values.len_of(Axis(axis)) as f64;
        slices.map(|m| (m - mean).powi(2)).sum::<f64>() / n_slices / variance
    };
    between(0) > DIFFERENT && between(2) < 0.1 * DIFFERENT
}

fn open(dataset: &str, shape: &[usize], why: &'static str) -> Problem {
    Problem::AxisOrder {
        dataset: dataset.to_owned(),
        shape: shape.to_vec(),
        why,
    }
}

fn three(
    dataset: &str,
    values: ArrayD<f32>,
    order: Option<AxisOrder>,
    clock: &Clock,
) -> Result<Oriented, Problem> {
    let shape = values.shape().to_vec();
    let mut notes = Vec::new();
    let order = match order {
        Some(order) => order,
        None => of_three(dataset, &values, clock)?,
    };
    let axes = order.of_three();
    if axes != AxisOrder::TimeNeuron.of_three() {
        let names = axes.map(|axis| match axis {
            ArrayAxis::Trial => "trial",
            ArrayAxis::Time => "time",
            ArrayAxis::Neuron => "neuron",
        });
        notes.push(format!("shape {shape:?} read as [{}]", names.join(", ")));
    }
    let place = |wanted| {
        axes.iter()
            .position(|axis| *axis == wanted)
            .unwrap_or_default()
    };
    let places = [ArrayAxis::Trial, ArrayAxis::Time, ArrayAxis::Neuron].map(place);
    let values = values.permuted_axes(places.to_vec());
    Ok(Oriented { values, notes })
}

fn of_three(dataset: &str, values: &ArrayD<f32>, clock: &Clock) -> Result<AxisOrder, Problem> {
    let &[_, frames, neurons] = values.shape() else {
        return Ok(AxisOrder::TrialTimeNeuron);
    };
    if looks_like_movie(values) {
        return Err(Problem::Movie {
            dataset: dataset.to_owned(),
            shape: values.shape().to_vec(),
        });
    }
    let timed: Vec<usize> = match clock.n_times() {
        None => Vec::new(),
        Some(n) => (0..3).filter(|&axis| values.shape()[axis] == n).collect(),
    };
    match timed[..] {
        [1] => Ok(AxisOrder::TrialTimeNeuron),
        [2] => Ok(AxisOrder::TrialNeuronTime),
        _ if neurons > frames => Err(open(
            dataset,
            values.shape(),
            "more neurons than frames of a trial",
        )),
        _ if runs_along(values, 1, &[0, 2]) => Err(open(dataset, values.shape(), AGAINST)),
        _ if differs_like_neurons(values) => Err(open(dataset, values.shape(), SWAPPED)),
        _ => Ok(AxisOrder::TrialTimeNeuron),
    }
}

/// Light as a camera gives it: whole numbers beyond all counts, or smooth along both axes of an image.
fn looks_like_movie(values: &ArrayD<f32>) -> bool {
    let is_whole = |v: &f32| *v >= 0.0 && v.fract() == 0.0;
    let largest = values.iter().copied().fold(0.0, f32::max);
    let mean = || values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
    if (largest > LIKELY_COUNT || mean() > LIKELY_MEAN) && values.iter().all(is_whole) {
        return true;
    }
    let smooth = |axis| neighbours(values, axis).is_some_and(|r| r > SMOOTH);
    smooth(1) && smooth(2)
}

/// Whether the values run smoothly along one of the other axes and not, or too few of them to tell,
/// along `axis`.
fn runs_along(values: &ArrayD<f32>, axis: usize, others: &[usize]) -> bool {
    let correlation = |axis| neighbours(values, axis);
    correlation(axis).is_none_or(|r| r < ROUGH)
        && others
            .iter()
            .any(|&other| correlation(other).is_some_and(|r| r > SMOOTH))
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

/// Trials as they are stored, `[trial, time, neuron]`.
pub(crate) fn as_trials(values: ArrayD<f32>, dataset: &str) -> Result<Array3<f32>, Problem> {
    let found = values.shape().to_vec();
    values.into_dimensionality().map_err(|_| Problem::Rank {
        object: format!("dataset `{dataset}`"),
        found,
        axes: "[trial, time, neuron]",
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, IxDyn};

    use super::*;

    /// Smooth along one axis, like chance along the others.
    fn array(shape: &[usize], smooth: usize) -> ArrayD<f32> {
        Array::from_shape_fn(IxDyn(shape), |index| {
            let line = (0..shape.len()).filter(|axis| *axis != smooth);
            let place: usize = line
                .map(|axis| (index[axis] + 1) * [1, 1000, 1_000_000][axis])
                .sum();
            let chance = ((place as f64 * 12.9898).sin() * 43_758.545).fract() as f32;
            (index[smooth] as f32 * 0.2 + 6.3 * chance).sin()
        })
    }

    fn order_of(shape: &[usize], smooth: usize) -> Result<Vec<usize>, String> {
        let oriented = oriented("x", array(shape, smooth), None, &Clock::Unstated);
        oriented
            .map(|o| o.values.shape().to_vec())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn what_shape_and_values_agree_on_is_taken() {
        assert_eq!(order_of(&[300, 20], 0), Ok(vec![300, 20]));
        assert_eq!(order_of(&[60, 90, 30], 1), Ok(vec![60, 90, 30]));
        assert_eq!(order_of(&[300], 0), Ok(vec![300, 1]));
    }

    #[test]
    fn what_they_leave_open_is_asked_for() {
        // [neuron, time] twice; [trial, neuron, time], [neuron, trial, time], [time, trial, neuron],
        // [neuron, time, trial].
        for (shape, smooth) in [
            (&[20, 300][..], 1),
            (&[300, 200], 1),
            (&[60, 30, 90], 2),
            (&[30, 60, 90], 2),
            (&[90, 60, 30], 0),
            (&[60, 10, 6], 0),
        ] {
            let said = order_of(shape, smooth).unwrap_err();
            assert!(said.contains("`order`"), "{shape:?}: {said}");
        }
    }

    #[test]
    fn every_order_can_be_stated() {
        use AxisOrder::{
            NeuronTimeTrial, NeuronTrialTime, TimeNeuronTrial, TimeTrialNeuron, TrialNeuronTime,
            TrialTimeNeuron,
        };
        let all = [
            TrialTimeNeuron,
            TrialNeuronTime,
            TimeTrialNeuron,
            TimeNeuronTrial,
            NeuronTrialTime,
            NeuronTimeTrial,
        ];
        let length = |axis| match axis {
            ArrayAxis::Trial => 3,
            ArrayAxis::Time => 5,
            ArrayAxis::Neuron => 2,
        };
        for order in all {
            let shape = order.of_three().map(length);
            let value = |index: &IxDyn| {
                let digit = |axis| match axis {
                    ArrayAxis::Trial => 100,
                    ArrayAxis::Time => 10,
                    ArrayAxis::Neuron => 1,
                };
                let axes = order.of_three();
                (0..3).map(|i| index[i] * digit(axes[i])).sum::<usize>() as f32
            };
            let stored = Array::from_shape_fn(IxDyn(&shape), |index| value(&index));
            let found = oriented("x", stored, Some(order), &Clock::Unstated).unwrap();
            let wanted = Array::from_shape_fn(IxDyn(&[3, 5, 2]), |i| {
                (100 * i[0] + 10 * i[1] + i[2]) as f32
            });
            assert_eq!(found.values, wanted);
        }
    }

    #[test]
    fn an_order_of_three_axes_is_none_of_two() {
        let order = Some(AxisOrder::TimeTrialNeuron);
        let found = oriented("x", array(&[30, 20], 0), order, &Clock::Unstated);
        assert!(matches!(
            found,
            Err(Problem::BadParameter { name: "order", .. })
        ));
    }

    #[test]
    fn a_movie_is_no_trials() {
        let camera = Array::from_shape_fn(IxDyn(&[40, 20, 20]), |i| {
            ((i[0] * 7919 + i[1] * 104_729 + i[2] * 31) % 4000) as f32
        });
        let said = oriented("x", camera, None, &Clock::Unstated);
        assert!(matches!(said, Err(Problem::Movie { .. })));
    }
}
