//! A file of what is no data: frames, or frames of single neurons.

#[cfg(feature = "csv")]
use std::io::Read;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Slice};

use super::source::Source;
use crate::Problem;
use crate::format::npy;
#[cfg(feature = "csv")]
use crate::format::{
    csv,
    text::{Text, decoded},
};
#[cfg(feature = "csv")]
use crate::whole_file::cannot_read;

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
    /// those where it is 1 (or 255, as images have it), or else the frames that it lists, counted from 0; of two
    /// axes `[time, neuron]`, `[neuron, time]` or `[trial, time]`; or of all three.
    ///
    /// # Errors
    /// [`Problem::Mask`], naming the file; a problem of the disk or of its format.
    pub(crate) fn read(
        path: &Path,
        shape: &[usize],
        notes: &mut Vec<String>,
    ) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let (numbers, has_head) = numbers(path).map_err(|problem| problem.of_member(&name))?;
        let refused = |found: String| Problem::Mask {
            name: name.clone(),
            found,
            shape: shape.to_vec(),
        };
        let n_frames = shape[shape.len() - 2];
        let marked = || numbers.mapv(|v| v != 0.0);
        let are_flags = are_flags(&numbers);
        let hidden = match (numbers.shape(), shape) {
            (&[n], _) if n == n_frames && are_flags => marked(),
            // What tables of one column say of it first is its number.
            (&[n], _) if n == n_frames + 1 && are_flags && has_head => {
                notes.push(format!(
                    "the mask's first line, {}, is its header: {n_frames} frames follow it",
                    numbers[[0]]
                ));
                marked().slice_axis(Axis(0), Slice::from(1..)).to_owned()
            }
            ([_], _) => listed(&numbers, n_frames).map_err(refused)?,
            _ if !are_flags => {
                let other = numbers
                    .iter()
                    .find(|v| **v != 0.0 && v.total_cmp(&1.0).is_ne());
                let other = other.copied().unwrap_or_default();
                return Err(refused(format!(
                    "shape {:?}, {other} in it",
                    numbers.shape()
                )));
            }
            (found, whole) if found == whole => marked(),
            (&[a, b], &[time, neuron]) if [b, a] == [time, neuron] => {
                notes.push(format!(
                    "the mask's shape {:?} read as [neuron, time]",
                    [a, b]
                ));
                marked().reversed_axes()
            }
            (&[a, b], &[trial, time, _]) if [a, b] == [trial, time] => marked(),
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

/// Whether numbers are a mark each: 0, and 1 or 255.
fn are_flags(numbers: &ArrayD<f32>) -> bool {
    let only = |mark: f32| {
        numbers
            .iter()
            .all(|v| *v == 0.0 || v.total_cmp(&mark).is_eq())
    };
    only(1.0) || only(255.0)
}

/// Frames that are listed by their numbers, each once: who repeats them has marks for another number of frames.
fn listed(numbers: &ArrayD<f32>, n_frames: usize) -> Result<ArrayD<bool>, String> {
    let mut hidden = ArrayD::from_elem(vec![n_frames], false);
    for &number in numbers {
        let frame = Some(number).filter(|n| *n >= 0.0 && n.fract() == 0.0);
        let place = frame.and_then(|frame| hidden.get_mut(frame as usize));
        let place =
            place.ok_or_else(|| format!("{} numbers, {number} among them", numbers.len()))?;
        if std::mem::replace(place, true) {
            return Err(match are_flags(numbers) {
                true => format!("{} marks for {n_frames} frames", numbers.len()),
                false => format!("{} numbers, {number} more than once", numbers.len()),
            });
        }
    }
    Ok(hidden)
}

/// What a file holds, and whether its first number may be a header.
fn numbers(path: &Path) -> Result<(ArrayD<f32>, bool), Problem> {
    let source = Source::probe(path)?;
    if source.head.starts_with(npy::MAGIC) {
        let array = npy::read_array(path, "array", |x| x as f32)?;
        // A row or a column is a list.
        let is_line = array.ndim() == 2 && array.shape().contains(&1);
        let array = match is_line || array.ndim() == 0 {
            true => array.flatten().into_owned().into_dyn(),
            false => array,
        };
        return Ok((array, false));
    }
    text(path, &source)
}

#[cfg(feature = "csv")]
fn text(path: &Path, source: &Source) -> Result<(ArrayD<f32>, bool), Problem> {
    if !source.is_text() {
        return Err(source.unknown());
    }
    let text = Text::open(path)?;
    let mut lines = Vec::new();
    text.lines()?.read_to_end(&mut lines).map_err(cannot_read)?;
    let [head, lines] = [text.head(), &lines].map(|text| with_numbers(&decoded(text)));
    let table = csv::parse_lines(head.as_bytes(), lines.as_bytes())?;
    let first: Vec<f32> = table
        .first
        .iter()
        .filter_map(|cell| cell.parse().ok())
        .collect();
    // A header is no row.
    let has_head = first.len() == table.width;
    let first = if has_head { first } else { Vec::new() };
    let numbers: Vec<f32> = first
        .into_iter()
        .chain(table.cells.iter().map(|v| v as f32))
        .collect();
    let (numbers, width) = without_counter(numbers, table.width);
    let shape = match (numbers.len() / width, width) {
        (n, 1) | (1, n) => vec![n],
        (rows, width) => vec![rows, width],
    };
    let array = ArrayD::from_shape_vec(shape, numbers).unwrap_or_default();
    Ok((array, has_head))
}

/// The same with 1 and 0 for what programs write of truth.
#[cfg(feature = "csv")]
fn with_numbers(text: &str) -> String {
    let mut cells = String::with_capacity(text.len());
    for cell in text.split_inclusive(|c: char| !c.is_ascii_alphabetic()) {
        let word = cell.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
        match word {
            "True" | "true" | "TRUE" => cells.push('1'),
            "False" | "false" | "FALSE" => cells.push('0'),
            word => cells.push_str(word),
        }
        cells.push_str(&cell[word.len()..]);
    }
    cells
}

/// The second of two columns, where the first counts the rows as tables with an index do.
#[cfg(feature = "csv")]
fn without_counter(numbers: Vec<f32>, width: usize) -> (Vec<f32>, usize) {
    let (rows, _) = numbers.as_chunks::<2>();
    let counts = |from: usize| {
        let mut numbered = rows.iter().zip(from..);
        numbered.all(|(row, n)| row[0].total_cmp(&(n as f32)).is_eq())
    };
    match width == 2 && rows.len() > 2 && (counts(0) || counts(1)) {
        true => (rows.iter().map(|row| row[1]).collect(), 1),
        false => (numbers, width),
    }
}

#[cfg(not(feature = "csv"))]
fn text(_: &Path, source: &Source) -> Result<(ArrayD<f32>, bool), Problem> {
    Err(source.unknown())
}
