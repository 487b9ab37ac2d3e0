//! A .npy file: one array, of which nothing more is said.

use std::ops::Range;

use ndarray::Array2;

use super::rows::frame_rows;
use crate::Problem;
use crate::format::npy::{self, Records};
use crate::format::npy_matrix::Matrix;
use crate::recording::axes::guess_order;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::family;
use crate::recording::options::Options;
use crate::recording::reader::{Opened, Reader, Store};
use crate::recording::source::Source;
use crate::recording::traces::Format;

pub(super) struct Npy;

impl Reader for Npy {
    fn format(&self) -> Format {
        Format::Npy
    }

    fn recognises(&self, source: &Source) -> bool {
        source.head.starts_with(npy::MAGIC)
    }

    fn read(&self, source: &Source, _: &Options) -> Result<Draft, Problem> {
        if let Some(draft) = structured(source)? {
            return Ok(draft);
        }
        let values = npy::read_array(&source.path, "array", |x| x as f32)?;
        Ok(Draft::bare("array", values))
    }

    fn in_blocks(&self, source: &Source, options: &Options) -> Result<Option<Opened>, Problem> {
        if structured(source)?.is_some() {
            return Ok(None);
        }
        let Some(matrix) = Matrix::open(&source.path, "array")? else {
            return Ok(None);
        };
        let [rows, columns] = matrix.shape();
        let order = match options.order {
            Some(order) => order,
            None => guess_order("array", [rows, columns], &Clock::Unstated)?,
        };
        let (axis, shape) = match order.is_neuron_first() {
            true => (0, [rows, columns]),
            false => (1, [columns, rows]),
        };
        let store = Lines { matrix, axis };
        Ok(Some(Opened::bare("array", Box::new(store), shape)))
    }
}

/// A structured array is a table of named columns.
fn structured(source: &Source) -> Result<Option<Draft>, Problem> {
    // Its type is a list.
    let is_list = source.head.windows(10).any(|w| w == b"'descr': [");
    if !is_list {
        return Ok(None);
    }
    let Some(Records { names, rows }) = npy::records(&source.path, "array")? else {
        return Ok(None);
    };
    let mut draft = frame_rows(rows, Some(&names));
    "array".clone_into(&mut draft.dataset);
    family::leave_strangers(&mut draft);
    Ok(Some(draft))
}

/// Neurons along one axis of a matrix.
struct Lines {
    matrix: Matrix,
    axis: usize,
}

impl Store for Lines {
    fn read(&mut self, neurons: Range<usize>) -> Result<Array2<f32>, Problem> {
        self.matrix.lines(self.axis, neurons)
    }
}
