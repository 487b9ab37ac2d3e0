//! Which axis of an array is which: as stated, as the file says, or as the shape leaves no other choice.

use ndarray::{Array3, ArrayD, Axis};

use super::axis_evidence::{differ_as_neurons, is_smooth, runs_along, time_axis};
use super::clock::{Clock, can_be_paired};
use super::options::{ArrayAxis, AxisOrder};
use crate::Problem;

/// Largest whole number that is taken for a count; digitised light goes far beyond.
const LIKELY_COUNT: f32 = 100.0;
/// Mean count of a bin above which whole numbers are taken for light.
const LIKELY_MEAN: f64 = 20.0;
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

/// Time first, unless a clock says otherwise; asked for where there would be more neurons than frames.
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

/// The same, where the values are known: asked for where they run smoothly along the other axis alone.
pub(crate) fn of_two(
    dataset: &str,
    values: &ArrayD<f32>,
    clock: &Clock,
) -> Result<AxisOrder, Problem> {
    let shape = [values.shape()[0], values.shape()[1]];
    let order = guess_order(dataset, shape, clock)?;
    if clock.n_times().is_none() && runs_along(values, 0, &[1]) {
        return Err(open(dataset, &shape, AGAINST));
    }
    Ok(order)
}

const AGAINST: &str = "but the values run on smoothly along another axis";
const NO_TIME: &str = "but the values do not tell which axis is the time";
const NO_NEURONS: &str = "but the values do not tell trials from neurons";

fn open(dataset: &str, shape: &[usize], why: &'static str) -> Problem {
    Problem::AxisOrder {
        dataset: dataset.to_owned(),
        shape: shape.to_vec(),
        why,
        plausible: vec![AxisOrder::NeuronTime, AxisOrder::TimeNeuron],
    }
}

/// The same of three axes, of which one is likely the time.
fn open_in(dataset: &str, shape: &[usize], time: usize, why: &'static str) -> Problem {
    Problem::AxisOrder {
        dataset: dataset.to_owned(),
        shape: shape.to_vec(),
        why,
        plausible: plausible(time),
    }
}

/// The orders of three axes that have their time there, and the usual one.
fn plausible(time: usize) -> Vec<AxisOrder> {
    use AxisOrder::{
        NeuronTimeTrial, NeuronTrialTime, TimeNeuronTrial, TimeTrialNeuron, TrialNeuronTime,
        TrialTimeNeuron,
    };
    match time {
        0 => vec![TimeTrialNeuron, TimeNeuronTrial, TrialTimeNeuron],
        1 => vec![TrialTimeNeuron, NeuronTimeTrial, TrialNeuronTime],
        _ => vec![TrialNeuronTime, NeuronTrialTime, TrialTimeNeuron],
    }
}

fn longest(shape: &[usize]) -> usize {
    let longest = shape.iter().max();
    shape
        .iter()
        .position(|n| Some(n) == longest)
        .unwrap_or_default()
}

fn three(
    dataset: &str,
    values: ArrayD<f32>,
    order: Option<AxisOrder>,
    clock: &Clock,
) -> Result<Oriented, Problem> {
    let shape = values.shape().to_vec();
    let mut notes = Vec::new();
    let is_guessed = order.is_none();
    let order = match order {
        Some(order) => order,
        None => of_three(dataset, &values, clock)?,
    };
    let axes = order.of_three();
    if is_guessed && clock.n_times().is_none() {
        notes.push(AS_THE_VALUES_SAY.to_owned());
    }
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

const AS_THE_VALUES_SAY: &str = "the axes are taken as trials, time and neurons, as the values run on \
     along the second and differ along the third as neurons do (`order` says otherwise)";

/// `[trial, time, neuron]`, or with the time last where the clock says so, if the values agree.
fn of_three(dataset: &str, values: &ArrayD<f32>, clock: &Clock) -> Result<AxisOrder, Problem> {
    let shape = values.shape();
    if looks_like_movie(values) {
        return Err(Problem::Movie {
            dataset: dataset.to_owned(),
            shape: shape.to_vec(),
        });
    }
    let timed: Vec<usize> = match clock.n_times() {
        None => Vec::new(),
        Some(n) => (0..3).filter(|&axis| shape[axis] == n).collect(),
    };
    let told = match timed[..] {
        [only] => Some(only),
        _ => time_axis(values),
    };
    let likely = told.unwrap_or(longest(shape));
    if timed.len() != 1 && shape[2] > shape[1] {
        let why = "more neurons than frames of a trial";
        return Err(open_in(dataset, shape, likely, why));
    }
    let time = told.ok_or_else(|| open_in(dataset, shape, likely, NO_TIME))?;
    let (order, neurons) = match time {
        1 => (AxisOrder::TrialTimeNeuron, 2),
        2 if timed.len() == 1 => (AxisOrder::TrialNeuronTime, 1),
        _ => return Err(open_in(dataset, shape, time, AGAINST)),
    };
    match differ_as_neurons(values, neurons, 0) {
        true => Ok(order),
        false => Err(open_in(dataset, shape, time, NO_NEURONS)),
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
    is_smooth(values, 1) && is_smooth(values, 2)
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
        assert_eq!(order_of(&[300], 0), Ok(vec![300, 1]));
    }

    #[test]
    fn what_they_leave_open_is_asked_for() {
        // [neuron, time] twice; then neurons that are alike, and too few frames to tell.
        for (shape, smooth) in [
            (&[20, 300][..], 1),
            (&[300, 200], 1),
            (&[60, 90, 30], 1),
            (&[60, 10, 6], 1),
        ] {
            let said = order_of(shape, smooth).unwrap_err();
            assert!(said.contains("`order`"), "{shape:?}: {said}");
        }
    }

    const ALL: [AxisOrder; 6] = [
        AxisOrder::TrialTimeNeuron,
        AxisOrder::TrialNeuronTime,
        AxisOrder::TimeTrialNeuron,
        AxisOrder::TimeNeuronTrial,
        AxisOrder::NeuronTrialTime,
        AxisOrder::NeuronTimeTrial,
    ];

    /// Events that decay and noise, `[trial, time, neuron]`; the noise alone with a decay of 0.
    fn calcium(shape: [usize; 3], decay: f32, neurons_differ: bool) -> Array3<f32> {
        let [n_trials, n_frames, n_neurons] = shape;
        let mut place = 0.0;
        let mut chance = || {
            place += 1.0;
            ((place * 12.9898_f64).sin() * 43_758.545).fract().abs() as f32
        };
        let mut traces = Array3::zeros((n_trials, n_frames, n_neurons));
        for trial in 0..n_trials {
            for neuron in 0..n_neurons {
                let kind = if neurons_differ {
                    chance_of(neuron)
                } else {
                    0.5
                };
                let (rate, mut level) = (0.02 + 0.1 * kind, kind * chance());
                for frame in 0..n_frames {
                    level = decay * level + f32::from(u8::from(chance() < rate));
                    let noise: f32 = (0..4).map(|_| chance() - 0.5).sum();
                    traces[[trial, frame, neuron]] = decay * level + 0.3 * noise;
                }
            }
        }
        traces
    }

    fn chance_of(neuron: usize) -> f32 {
        ((neuron as f64 * 78.233).sin() * 43_758.545).fract().abs() as f32
    }

    #[test]
    fn three_axes_are_read_as_they_are_or_asked_for() {
        let place = |axis| match axis {
            ArrayAxis::Trial => 0,
            ArrayAxis::Time => 1,
            ArrayAxis::Neuron => 2,
        };
        for shape in [[60, 90, 30], [40, 300, 20], [200, 100, 8], [12, 90, 60]] {
            for (decay, neurons_differ) in [(0.93, true), (0.93, false), (0.0, true), (0.0, false)]
            {
                let truth = calcium(shape, decay, neurons_differ);
                for order in ALL {
                    let places = order.of_three().map(place);
                    let stored = truth.view().permuted_axes(places).to_owned().into_dyn();
                    let what = format!("{order} of {shape:?}, {decay}, {neurons_differ}");
                    let told = order == AxisOrder::TrialTimeNeuron && decay > 0.0 && neurons_differ;
                    match oriented("x", stored, None, &Clock::Unstated) {
                        Ok(found) => {
                            assert!(told, "{what}");
                            assert_eq!(found.values, truth.view().into_dyn(), "{what}");
                            assert_eq!(found.notes, [AS_THE_VALUES_SAY], "{what}");
                        }
                        Err(Problem::AxisOrder { plausible, .. }) => {
                            assert!(!told, "{what}");
                            assert_eq!(plausible.len(), 3, "{what}");
                            // Without a sign the longest axis is the time.
                            let is_likely = decay > 0.0 || shape[1] > shape[0];
                            assert!(plausible.contains(&order) || !is_likely, "{what}");
                        }
                        Err(other) => panic!("{what}: {other}"),
                    }
                }
            }
        }
    }

    #[test]
    fn every_order_can_be_stated() {
        let length = |axis| match axis {
            ArrayAxis::Trial => 3,
            ArrayAxis::Time => 5,
            ArrayAxis::Neuron => 2,
        };
        for order in ALL {
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
