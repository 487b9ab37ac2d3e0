//! Rows of a table of numbers, of which each is a frame.

use ndarray::Array2;

use crate::recording::columns::{self, Sorted};
use crate::recording::draft::Draft;
use crate::recording::options::AxisOrder;

/// What errors and results call the one table there is.
pub(super) const DATASET: &str = "table";

/// Rows of numbers.
pub(super) struct Rows {
    pub(super) width: usize,
    pub(super) cells: Vec<f64>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.cells.len() / self.width.max(1)
    }

    pub(super) fn column(&self, column: usize) -> Vec<f64> {
        let cells = self.cells.iter().skip(column);
        cells.step_by(self.width.max(1)).copied().collect()
    }

    /// Some of the columns, `[row, column]`.
    pub(super) fn columns(&self, kept: &[usize]) -> Array2<f32> {
        Array2::from_shape_fn((self.len(), kept.len()), |(row, column)| {
            self.cells[row * self.width + kept[column]] as f32
        })
    }

    pub(super) fn sorted(&self, names: Option<&[String]>) -> Sorted {
        columns::sort(names, self.width, |column| self.column(column))
    }
}

/// Rows are frames, columns neurons but for those that their names or values tell from them.
pub(super) fn frame_rows(rows: &Rows, names: Option<&[String]>) -> Draft {
    let Sorted {
        mut neurons,
        clock,
        start_s,
        trial_lengths,
        mut notes,
    } = rows.sorted(names);
    // What a delimiter at the end of every line leaves.
    let is_blank = |column: usize| rows.column(column).iter().all(|v| v.is_nan());
    if names.is_none() && neurons.len() > 1 && is_blank(rows.width - 1) {
        neurons.retain(|&column| column + 1 < rows.width);
        notes.push("the last column is empty: left out".to_owned());
    }
    let mut draft = Draft::bare(DATASET, rows.columns(&neurons).into_dyn());
    draft.order = Some(AxisOrder::TimeNeuron);
    draft.neuron_ids = names.map(|names| neurons.iter().map(|&c| names[c].clone()).collect());
    draft.clock = clock;
    draft.start_s = start_s;
    draft.trial_lengths = trial_lengths;
    draft.notes = notes;
    draft.sorted = true;
    draft
}
