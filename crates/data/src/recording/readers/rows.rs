//! Rows of a table of numbers, of which each is a frame.

use ndarray::Array2;

use crate::format::cells::Cells;
use crate::recording::columns::{self, Sorted};
use crate::recording::draft::Draft;
use crate::recording::options::AxisOrder;

/// What errors and results call the one table there is.
pub(super) const DATASET: &str = "table";

/// Rows are frames, columns neurons but for those that their names or values tell from them.
pub(super) fn frame_rows(rows: Cells, names: Option<&[String]>) -> Draft {
    let mut sorted = columns::sort(names, rows.width(), |column| rows.column(column));
    // What a delimiter at the end of every line leaves.
    let is_blank = |column: usize| rows.column(column).iter().all(|v| v.is_nan());
    let last = rows.width().saturating_sub(1);
    if names.is_none() && sorted.neurons.len() > 1 && is_blank(last) {
        sorted.neurons.retain(|&column| column < last);
        let note = "the last column is empty: left out";
        sorted.notes.push(note.to_owned());
    }
    let values = rows.into_columns(&sorted.neurons);
    of_sorted(sorted, values, names)
}

/// The neurons `[frame, neuron]` of a table whose columns have their roles.
pub(super) fn of_sorted(sorted: Sorted, values: Array2<f32>, names: Option<&[String]>) -> Draft {
    let Sorted {
        neurons,
        clock,
        start_s,
        trial_lengths,
        notes,
    } = sorted;
    let mut draft = Draft::bare(DATASET, values.into_dyn());
    draft.order = Some(AxisOrder::TimeNeuron);
    draft.neuron_ids = names.map(|names| neurons.iter().map(|&c| names[c].clone()).collect());
    draft.clock = clock;
    draft.start_s = start_s;
    draft.trial_lengths = trial_lengths;
    draft.notes = notes;
    draft.sorted = true;
    draft
}
