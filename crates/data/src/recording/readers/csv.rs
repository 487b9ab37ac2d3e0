//! Text tables: one row per frame, one column per neuron, or the other way round.

use super::rows::{DATASET, frame_rows};
use super::{csv_layouts, csv_lists, csv_order};
use crate::Problem;
use crate::format::cells::Cells;
use crate::format::csv::{self, Table};
use crate::format::csv_plan::is_missing;
use crate::format::text::Text;
use crate::recording::axes::guess_order;
use crate::recording::clock::Clock;
use crate::recording::columns;
use crate::recording::draft::Draft;
use crate::recording::family;
use crate::recording::moments;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::reader::Reader;
use crate::recording::source::Source;
use crate::recording::traces::Format;

pub(super) struct Csv;

impl Reader for Csv {
    fn format(&self) -> Format {
        Format::Csv
    }

    fn recognises(&self, source: &Source) -> bool {
        source.is_text()
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        let text = Text::open(&source.path)?;
        if let Some(draft) = csv_lists::list(&text, options)? {
            return Ok(draft);
        }
        if let Some(states) = csv_layouts::states(text.head()) {
            let mut draft = draft(states.table(&text)?, options)?;
            states.apply(&mut draft, options);
            return Ok(draft);
        }
        draft(csv::parse(&text)?, options)
    }
}

/// What the first line of a table is.
enum FirstLine {
    /// The first row.
    Row,
    /// Names of the columns.
    Names,
    /// Names that are whole numbers, above fractions.
    Numbers,
    /// A count of the columns, or the time of each.
    Count(Vec<f64>),
}

fn draft(table: Table, options: &Options) -> Result<Draft, Problem> {
    let first = first_line(&table);
    if matches!(first, FirstLine::Names) {
        csv_order::check_list(&table)?;
    }
    let mut notes = Vec::new();
    if table.n_before > 0 {
        notes.push(format!(
            "{} lines before the header are no part of the table: left out",
            table.n_before
        ));
    }
    if table.header_lines > 1 {
        notes.push(format!(
            "the first {} lines are the header",
            table.header_lines
        ));
    }
    if table.n_blank > 0 {
        notes.push(format!(
            "{} lines at the end hold nothing: left out",
            table.n_blank
        ));
    }
    if !table.text_columns.is_empty() {
        let listed: Vec<String> = table
            .text_columns
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        notes.push(format!("{}: text, left out", listed.join(", ")));
    }
    let mut draft = of_first(first, table, options)?;
    notes.append(&mut draft.notes);
    draft.notes = notes;
    Ok(draft)
}

fn of_first(first: FirstLine, table: Table, options: &Options) -> Result<Draft, Problem> {
    let Table {
        first: names,
        labels,
        mut cells,
        ..
    } = table;
    if matches!(first, FirstLine::Row) {
        let row = names.iter().map(|cell| cell.parse().unwrap_or(f64::NAN));
        cells.prepend(row.collect());
    }
    match first {
        FirstLine::Count(count) => counted(cells, &names, &count, labels, options),
        FirstLine::Names => {
            if options.order.is_some() {
                return with_names(cells, &names, labels, options.order);
            }
            let order = csv_order::by_names(&names, labels.as_deref());
            let mut draft = with_names(cells, &names, labels, order)?;
            if order == Some(AxisOrder::NeuronTime) {
                let note = "rows are neurons and columns frames, as their names say";
                draft.notes.insert(0, note.to_owned());
            }
            Ok(draft)
        }
        FirstLine::Numbers => {
            // They are no frames, which would rise.
            let order = options.order.unwrap_or(AxisOrder::TimeNeuron);
            let mut draft = with_names(cells, &names, labels, Some(order))?;
            let note = "the first line is of whole numbers, what follows is not: names, no data";
            draft.notes.insert(0, note.to_owned());
            Ok(draft)
        }
        FirstLine::Row => bare(cells, labels, options),
    }
}

fn first_line(table: &Table) -> FirstLine {
    let parsed: Vec<Option<f64>> = table.first.iter().map(|cell| cell.parse().ok()).collect();
    let named = table.first.iter().zip(&parsed);
    let is_text = |(cell, number): (&String, &Option<f64>)| number.is_none() && !is_missing(cell);
    // Behind the first cell, which may be a name or nothing where rows have an index.
    let has_corner = table.labels.is_none() && parsed.first().is_some_and(Option::is_none);
    let count: Option<Vec<f64>> = parsed[usize::from(has_corner)..].iter().copied().collect();
    if let Some(count) = count.filter(|count| has_corner || !begins_a_clock(count, table)) {
        let numbers = are_names(&count, has_corner, table);
        // Names of neurons come in any order, frames do not.
        let rises = count.windows(2).all(|pair| pair[1] > pair[0]);
        if counts(&count, has_corner, table) || (numbers && rises) {
            return FirstLine::Count(count);
        }
        if numbers {
            return FirstLine::Numbers;
        }
    }
    match named.into_iter().any(is_text) {
        true => FirstLine::Names,
        false => FirstLine::Row,
    }
}

/// Whether the numbers of a first line are no row: 0, 1, 2, … or other equal steps up.
fn counts(count: &[f64], has_corner: bool, table: &Table) -> bool {
    let steps: Vec<f64> = count.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let is_one_up = steps.iter().all(|step| (step - 1.0).abs() < 1e-9);
    let starts = count
        .first()
        .is_some_and(|v| *v == 0.0 || (*v - 1.0).abs() < 1e-9);
    let is_numbered = is_one_up && starts && table.first.iter().all(|cell| !cell.contains('.'));
    if has_corner || table.labels.is_some() {
        return !count.is_empty() && (is_numbered || columns::is_counter(count));
    }
    // Whole numbers in a table of whole numbers may be a row of counts.
    let in_fractions = table.cells.iter().any(|v| v.fract() != 0.0);
    (is_numbered && (in_fractions || count.len() > 3)) || columns::is_counter(count)
}

/// Whether a line is the first time and the value of one neuron, 0 and 1 as of F/F0: the first column goes on from
/// there as a clock does.
fn begins_a_clock(line: &[f64], table: &Table) -> bool {
    let &[first, _] = line else {
        return false;
    };
    let mut times = table.cells.column(0);
    times.insert(0, first);
    table.labels.is_none() && columns::is_counter(&times)
}

/// Chance of whole numbers alone, below which they are no values among fractions.
const CHANCE: f64 = 1e-3;

/// Whether `n` numbers are whole by no chance, where so many of `cells` are.
fn stand_out(n: usize, cells: impl Iterator<Item = f64>) -> bool {
    let (n_all, n_whole) = cells
        .filter(|v| v.is_finite())
        .fold((1.0, 1.0), |(all, whole), v| {
            (all + 1.0, whole + f64::from(u8::from(v.fract() == 0.0)))
        });
    let share: f64 = n_whole / n_all;
    share.powf(n as f64) < CHANCE
}

/// Whether these are whole numbers, each another, as names are.
fn are_ids(numbers: &[f64]) -> bool {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    !numbers.is_empty()
        && sorted.iter().all(|v| *v >= 0.0 && v.fract() == 0.0)
        && sorted.windows(2).all(|pair| pair[0] < pair[1])
}

/// Whether the numbers of a first line are names: above fractions, or beside an index that has none.
fn are_names(numbers: &[f64], has_corner: bool, table: &Table) -> bool {
    let is_written_whole = table
        .first
        .iter()
        .all(|cell| !cell.contains(['.', 'e', 'E']));
    if !is_written_whole || !are_ids(numbers) {
        return false;
    }
    let has_index = table.width > 1 && columns::is_counter(&table.cells.column(0));
    if (has_corner && has_index) || table.is_corner_blank {
        return true;
    }
    let beside = table.cells.iter().enumerate();
    let beside = beside.filter(|(place, _)| !(has_index && place % table.width == 0));
    stand_out(numbers.len(), beside.map(|(_, v)| v))
}

/// A table under a header of names: rows are frames, unless they are said to be neurons.
fn with_names(
    rows: Cells,
    names: &[String],
    labels: Option<Vec<String>>,
    order: Option<AxisOrder>,
) -> Result<Draft, Problem> {
    let mut draft = match order.is_some_and(AxisOrder::is_neuron_first) {
        true => neuron_rows(rows, labels, &csv_order::numbered(names)),
        false => labelled(frame_rows(rows, Some(names)), labels.as_deref()),
    };
    if order.is_none() {
        csv_order::check(&draft, Some(names))?;
    }
    if draft.neuron_ids.is_none() && draft.order == Some(AxisOrder::TimeNeuron) {
        draft.neuron_ids = Some(names.to_vec());
    }
    csv_layouts::keep_means(&mut draft);
    family::leave_strangers(&mut draft);
    Ok(draft)
}

/// A table under a line that counts: neurons, or frames.
fn counted(
    rows: Cells,
    first: &[String],
    count: &[f64],
    labels: Option<Vec<String>>,
    options: &Options,
) -> Result<Draft, Problem> {
    let are_times = count.iter().any(|v| v.fract() != 0.0);
    let is_neuron_first = match options.order {
        Some(order) => order.is_neuron_first(),
        None if labels.as_deref().and_then(moments::seconds).is_some() => false,
        None if are_times || labels.is_some() => true,
        None => {
            let shape = [rows.n_rows(), count.len()];
            guess_order(DATASET, shape, &Clock::Unstated)? == AxisOrder::NeuronTime
        }
    };
    let how = format!(
        "the first line counts from {} to {}",
        count.first().copied().unwrap_or_default(),
        count.last().copied().unwrap_or_default()
    );
    let is_asked = options.order.is_none() && labels.is_none();
    let mut draft = match is_neuron_first {
        true => neuron_rows(rows, labels, count),
        false => labelled(frame_rows(rows, Some(first)), labels.as_deref()),
    };
    if is_asked {
        csv_order::check(&draft, None)?;
    }
    let what = match (is_neuron_first, are_times) {
        (true, true) => "the times of the frames",
        (true, false) => "the frames; rows are neurons",
        (false, _) => "the neurons, no data",
    };
    draft.notes.insert(0, format!("{how}: {what}"));
    Ok(draft)
}

/// A table of numbers alone.
fn bare(rows: Cells, labels: Option<Vec<String>>, options: &Options) -> Result<Draft, Problem> {
    let order = match options.order {
        Some(order) => order,
        None if labels.is_some() => AxisOrder::NeuronTime,
        None => guess_order(DATASET, [rows.n_rows(), rows.width()], &Clock::Unstated)?,
    };
    if order.is_neuron_first() {
        return Ok(neuron_rows(rows, labels, &[]));
    }
    let draft = labelled(frame_rows(rows, None), labels.as_deref());
    if options.order.is_none() {
        csv_order::check(&draft, None)?;
    }
    Ok(draft)
}

/// Labels of frames that are dates, times of day or spans are their times.
fn labelled(mut draft: Draft, labels: Option<&[String]>) -> Draft {
    let Some(labels) = labels else {
        return draft;
    };
    let note = match moments::seconds(labels) {
        Some(times) if matches!(draft.clock, Clock::Unstated) => {
            draft.clock = Clock::TimesS(times);
            "the first column is the time, as dates, times of day or spans; the first frame is at 0 s"
        }
        _ => "the first column is text: names of the rows, left out",
    };
    draft.notes.push(note.to_owned());
    draft
}

/// Rows are neurons; a first column that counts is their numbers.
fn neuron_rows(rows: Cells, labels: Option<Vec<String>>, count: &[f64]) -> Draft {
    let index = rows.column(0);
    let behind = || {
        let cells = rows.iter().enumerate();
        cells
            .filter(|(place, _)| place % rows.width() != 0)
            .map(|(_, v)| v)
    };
    let has_index = labels.is_none()
        && rows.width() > 1
        && (count.len() + 1 == rows.width()
            || columns::is_counter(&index)
            || (are_ids(&index) && stand_out(index.len(), behind())));
    let kept: Vec<usize> = (usize::from(has_index)..rows.width()).collect();
    let mut draft = Draft::bare(DATASET, rows.into_columns(&kept).into_dyn());
    draft.order = Some(AxisOrder::NeuronTime);
    draft.neuron_ids = match has_index {
        true => {
            let note = "the first column counts the rows: numbers of the neurons, no data";
            draft.notes.push(note.to_owned());
            Some(index.iter().map(ToString::to_string).collect())
        }
        false => labels,
    };
    if count.iter().any(|v| v.fract() != 0.0) {
        draft.start_s = count.first().copied().unwrap_or_default();
        draft.clock = Clock::TimesS(count.to_vec());
    }
    draft
}
