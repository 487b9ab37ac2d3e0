//! A file of what is no data: frames, or frames of single neurons.

use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice};

use super::source::Source;
use crate::Problem;
use crate::format::npy;
#[cfg(feature = "csv")]
use crate::format::text::Text;

/// What is no data of an array.
pub(crate) struct Mask {
    /// The axes of the array, or those that are told apart; true where there is no data.
    hidden: ArrayD<bool>,
}

impl Mask {
    /// Frames of all neurons, `[time]`.
    pub(crate) fn of_frames(hidden: Vec<bool>) -> Self {
        Self {
            hidden: ArrayD::from_shape_vec(vec![hidden.len()], hidden).unwrap_or_default(),
        }
    }

    /// What a file marks of an array `[time, neuron]` or `[trial, time, neuron]`: of one axis, a number a frame,
    /// those where it is 1, or else the frames that it lists, counted from 0; of two axes `[time, neuron]`,
    /// `[neuron, time]` or `[trial, time]`; or of all three.
    ///
    /// # Errors
    /// [`Problem::Mask`], naming the file; a problem of the disk or of its format.
    pub(crate) fn read(
        path: &Path,
        shape: &[usize],
        notes: &mut Vec<String>,
    ) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let numbers = numbers(path).map_err(|problem| problem.of_member(&name))?;
        let refused = |found: String| Problem::Mask {
            name: name.clone(),
            found,
            shape: shape.to_vec(),
        };
        let is_one = |v: &f32| (v - 1.0).abs() < f32::EPSILON;
        let n_frames = shape[shape.len() - 2];
        let are_flags = numbers.iter().all(|v| *v == 0.0 || is_one(v));
        let hidden = match (numbers.shape(), shape) {
            (&[n], _) if n == n_frames && are_flags => numbers.mapv(|v| is_one(&v)),
            ([_], _) => listed(&numbers, n_frames).map_err(refused)?,
            _ if !are_flags => {
                let other = numbers.iter().find(|v| **v != 0.0 && !is_one(v));
                let other = other.copied().unwrap_or_default();
                return Err(refused(format!(
                    "shape {:?}, {other} in it",
                    numbers.shape()
                )));
            }
            (found, whole) if found == whole => numbers.mapv(|v| is_one(&v)),
            (&[a, b], &[time, neuron]) if [b, a] == [time, neuron] => {
                notes.push(format!(
                    "the mask's shape {:?} read as [neuron, time]",
                    [a, b]
                ));
                numbers.mapv(|v| is_one(&v)).reversed_axes()
            }
            (&[a, b], &[trial, time, _]) if [a, b] == [trial, time] => numbers.mapv(|v| is_one(&v)),
            (found, _) => return Err(refused(format!("shape {found:?}"))),
        };
        let n_hidden = hidden.iter().filter(|hidden| **hidden).count();
        let what = match (hidden.ndim(), shape.len()) {
            (1, _) => "frames",
            (2, 3) => "frames of trials",
            _ => "values",
        };
        if n_hidden == hidden.len() {
            return Err(refused(format!("all {n_hidden} {what} marked")));
        }
        notes.push(format!(
            "the mask takes {n_hidden} of {} {what} out: NaN here (1 is no data)",
            hidden.len()
        ));
        Ok(Self { hidden })
    }

    /// Makes an array NaN where the mask says so, of the neurons from one on: an array `[time, neuron]` or
    /// `[trial, time, neuron]`, or what a view shows so.
    pub(crate) fn apply(&self, mut values: ndarray::ArrayViewMutD<'_, f32>, first_neuron: usize) {
        let n_neurons = values.len_of(Axis(values.ndim() - 1));
        let whole = match (self.hidden.ndim(), values.ndim()) {
            (1, _) | (2, 3) => self.hidden.view().insert_axis(Axis(self.hidden.ndim())),
            _ => self.hidden.slice_axis(
                Axis(self.hidden.ndim() - 1),
                Slice::from(first_neuron..first_neuron + n_neurons),
            ),
        };
        let shape = IxDyn(values.shape());
        let broadcast: Option<ArrayViewD<'_, bool>> = whole.broadcast(shape);
        if let Some(hidden) = broadcast {
            values.zip_mut_with(&hidden, |value, hidden| {
                if *hidden {
                    *value = f32::NAN;
                }
            });
        }
    }
}

/// Frames that are listed by their numbers.
fn listed(numbers: &ArrayD<f32>, n_frames: usize) -> Result<ArrayD<bool>, String> {
    let mut hidden = ArrayD::from_elem(vec![n_frames], false);
    for &number in numbers {
        let frame = Some(number).filter(|n| *n >= 0.0 && n.fract() == 0.0);
        let place = frame.and_then(|frame| hidden.get_mut(frame as usize));
        *place.ok_or_else(|| format!("{} numbers, {number} among them", numbers.len()))? = true;
    }
    Ok(hidden)
}

fn numbers(path: &Path) -> Result<ArrayD<f32>, Problem> {
    let source = Source::probe(path)?;
    if source.head.starts_with(npy::MAGIC) {
        let array = npy::read_array(path, "array", |x| x as f32)?;
        // A row or a column is a list.
        let is_line = array.ndim() == 2 && array.shape().contains(&1);
        return Ok(match is_line || array.ndim() == 0 {
            true => array.flatten().into_owned().into_dyn(),
            false => array,
        });
    }
    text(path, &source)
}

#[cfg(feature = "csv")]
fn text(path: &Path, source: &Source) -> Result<ArrayD<f32>, Problem> {
    if !source.is_text() {
        return Err(source.unknown());
    }
    let table = crate::format::csv::parse(&Text::open(path)?)?;
    let first: Vec<f32> = table
        .first
        .iter()
        .filter_map(|cell| cell.parse().ok())
        .collect();
    // A header is no row.
    let first = if first.len() == table.width {
        first
    } else {
        Vec::new()
    };
    let numbers: Vec<f32> = first
        .into_iter()
        .chain(table.cells.iter().map(|v| v as f32))
        .collect();
    let shape = match (numbers.len() / table.width, table.width) {
        (n, 1) | (1, n) => vec![n],
        (rows, width) => vec![rows, width],
    };
    Ok(ArrayD::from_shape_vec(shape, numbers).unwrap_or_default())
}

#[cfg(not(feature = "csv"))]
fn text(_: &Path, source: &Source) -> Result<ArrayD<f32>, Problem> {
    Err(source.unknown())
}
