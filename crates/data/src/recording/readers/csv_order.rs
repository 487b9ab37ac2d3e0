//! Which way round a text table is, as far as its names and values tell.

use super::rows::DATASET;
use crate::Problem;
use crate::format::csv::Table;
use crate::recording::axes::of_two;
use crate::recording::clock::Clock;
use crate::recording::column_names::{is_trial_name, time_unit_of, words};
use crate::recording::draft::Draft;
use crate::recording::options::AxisOrder;

/// How names of frames begin, and those of neurons.
const FRAMES: [&str; 5] = ["frame", "frames", "framenumber", "timepoint", "timepoints"];
const NEURONS: [&str; 13] = [
    "cell",
    "cells",
    "roi",
    "rois",
    "neuron",
    "neurons",
    "unit",
    "mean",
    "c",
    "component",
    "comp",
    "soma",
    "region",
];
/// Fewest frames that a header names.
const FEWEST_FRAMES: usize = 3;

/// Refuses a list that is not known as one: beside text its frames or times start again, and no column numbers
/// trials.
pub(super) fn check_list(table: &Table) -> Result<(), Problem> {
    let has_trials = table.first.iter().any(|name| is_trial_name(&words(name)));
    if has_trials || (table.text_columns.is_empty() && table.labels.is_none()) {
        return Ok(());
    }
    for (column, name) in table.first.iter().enumerate() {
        let is_time = FRAMES.contains(&&*words(name).concat()) || time_unit_of(name).is_some();
        if is_time && starts_again(&table.cells.column(column)) {
            return Err(Problem::BadParameter {
                name: "the table",
                found: format!("one in which `{name}` starts again, beside text"),
                expected: "one of a line a frame; of a list of values call the columns `neuron`, `frame` and `value`, \
                           and of trials one `trial`, of whole numbers",
            });
        }
    }
    Ok(())
}

/// Whether times go back to the first, or most are there several times.
fn starts_again(times: &[f64]) -> bool {
    let Some(first) = times.first() else {
        return false;
    };
    let pairs = || times.windows(2);
    let n_back = pairs()
        .filter(|pair| pair[1] < pair[0] && pair[1] <= *first)
        .count();
    let n_same = pairs()
        .filter(|pair| pair[1].total_cmp(&pair[0]).is_eq())
        .count();
    n_back > 0 || (times.len() > 3 && 2 * n_same >= times.len() - 1)
}

/// What the names above the columns and before the rows say, if anything.
pub(super) fn by_names(header: &[String], labels: Option<&[String]>) -> Option<AxisOrder> {
    let n_frames = header.iter().filter(|name| is_of(name, &FRAMES)).count();
    // The first may be what the rows are.
    let is_of_frames = n_frames >= FEWEST_FRAMES && n_frames + 1 >= header.len();
    if header.iter().skip(1).any(|name| is_of(name, &NEURONS)) {
        return Some(AxisOrder::TimeNeuron);
    }
    let are_neurons = |labels: &[String]| labels.iter().all(|label| is_of(label, &NEURONS));
    (is_of_frames || labels.is_some_and(are_neurons)).then_some(AxisOrder::NeuronTime)
}

/// The numbers of the frames that a header names behind the name of an index; none where there is no such name.
pub(super) fn numbered(header: &[String]) -> Vec<f64> {
    let [index, frames @ ..] = header else {
        return Vec::new();
    };
    match !is_of(index, &FRAMES) && frames.iter().all(|name| is_of(name, &FRAMES)) {
        true => (0..frames.len()).map(|frame| frame as f64).collect(),
        false => Vec::new(),
    }
}

/// Whether a name is `word`, or `word` and a number.
fn is_of(name: &str, known: &[&str]) -> bool {
    let words = words(name);
    let stem = words.first().map(|word| {
        let stem = word.trim_end_matches(|c: char| c.is_ascii_digit());
        (stem, stem.len() < word.len())
    });
    let is_number = |word: &String| word.bytes().all(|b| b.is_ascii_digit());
    stem.is_some_and(|(stem, has_number)| {
        let rest = &words[1..];
        known.contains(&stem) && rest.iter().all(is_number) && (rest.is_empty() || !has_number)
    })
}

/// Asks which axis is the time where rows were taken for frames, and neither a time nor a column of frames says
/// so: with more neurons than frames, or values that run on along the rows.
pub(super) fn check(draft: &Draft, names: Option<&[String]>) -> Result<(), Problem> {
    let kept = draft.neuron_ids.as_deref().unwrap_or_default();
    let counts = |name: &&String| is_of(name, &FRAMES) && !kept.contains(name);
    let is_told = !matches!(draft.clock, Clock::Unstated)
        || draft.trial_lengths.is_some()
        || names.is_some_and(|names| names.iter().any(|name| counts(&name)));
    if is_told || draft.values.is_empty() || draft.order != Some(AxisOrder::TimeNeuron) {
        return Ok(());
    }
    of_two(DATASET, &draft.values, &Clock::Unstated).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_neurons_from_frames() {
        let named = |stem: &str, n: usize| -> Vec<String> {
            (0..n).map(|i| format!("{stem}{i}")).collect()
        };
        let frames = named("frame_", 9);
        assert_eq!(by_names(&frames, None), Some(AxisOrder::NeuronTime));
        let neurons = named("Mean", 9);
        assert_eq!(by_names(&neurons, None), Some(AxisOrder::TimeNeuron));
        let plain = named("Var", 9);
        assert_eq!(by_names(&plain, None), None);
        let cells = named("cell ", 3);
        assert_eq!(by_names(&plain, Some(&cells)), Some(AxisOrder::NeuronTime));
        assert_eq!(
            by_names(&neurons, Some(&cells)),
            Some(AxisOrder::TimeNeuron)
        );
    }
}
