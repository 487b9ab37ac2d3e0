//! A .npy file: one array, of which nothing more is said.

use std::ops::Range;

use ndarray::Array2;

use crate::Problem;
use crate::format::npy;
use crate::format::npy_matrix::Matrix;
use crate::recording::axes::guess_order;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
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
        let values = npy::read_array(&source.path, "array")?;
        Ok(Draft::bare("array", values))
    }

    fn in_blocks(&self, source: &Source, options: &Options) -> Result<Option<Opened>, Problem> {
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
