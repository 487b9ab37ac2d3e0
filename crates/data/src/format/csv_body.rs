//! The rows of a text table: numbers, and what of them is none.

use std::borrow::Cow;

use csv::ByteRecord;

use super::cells::Cells;
use super::csv_plan::{Plan, cell, is_missing, number};
use crate::Problem;

/// A table of numbers, its first line apart: a header, or the first row.
#[derive(Debug)]
pub(crate) struct Table {
    /// Cells of the first line, as text.
    pub(crate) first: Vec<String>,
    /// What the rows are called, where their first cells are text.
    pub(crate) labels: Option<Vec<String>>,
    /// Number of columns, without the labels and those of text.
    pub(crate) width: usize,
    /// The lines below the header.
    pub(crate) cells: Cells,
    /// Lines of the header, or 1 where the first line may be a row.
    pub(crate) header_lines: usize,
    /// Whether rows have names, and the first line has none for them.
    pub(crate) is_corner_blank: bool,
    /// What the columns of text are called, which are left out.
    pub(crate) text_columns: Vec<String>,
    /// Lines of nothing but delimiters after all others, which are left out.
    pub(crate) n_blank: usize,
    /// Lines before the header that are no part of the table.
    pub(crate) n_before: usize,
}

/// A line, its cells without the blanks around them.
pub(crate) struct Line<'a>(pub(crate) &'a ByteRecord);

impl<'a> Line<'a> {
    /// The text of a cell; nothing where there is none.
    pub(crate) fn text(&self, column: usize) -> Cow<'a, str> {
        cell(self.0, column)
    }

    /// A number, NaN where it is missing; `None` of text.
    pub(crate) fn number(&self, column: usize) -> Option<f64> {
        let bytes = self.0.get(column).unwrap_or_default().trim_ascii();
        let plain = std::str::from_utf8(bytes).ok();
        let plain = plain.and_then(|text| text.parse().ok());
        plain.or_else(|| number(&self.text(column)))
    }

    /// That a cell of a line, counted from 1, is no number.
    pub(crate) fn problem(&self, column: usize) -> Problem {
        Problem::BadCell {
            line: line_of(self.0),
            column: column + 1,
            found: self.text(column).chars().take(30).collect(),
        }
    }
}

fn line_of(record: &ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

/// What stands below the header.
pub(super) struct Body {
    labels: Option<Vec<String>>,
    cells: Cells,
    /// Columns of text, and those of which it was not known when the first lines were seen, in order.
    doubtful: Vec<Doubtful>,
    n_rows: usize,
    /// Blank lines since the last row.
    n_pending: usize,
}

/// A column that may be text.
struct Doubtful {
    column: usize,
    n_numbers: usize,
    first_word: Option<Problem>,
}

impl Body {
    pub(super) fn new(plan: &Plan) -> Self {
        let doubtful = plan
            .texts
            .iter()
            .chain(&plan.empty)
            .map(|&column| Doubtful {
                column,
                n_numbers: 0,
                first_word: None,
            });
        let mut doubtful: Vec<Doubtful> = doubtful.collect();
        doubtful.sort_by_key(|doubtful| doubtful.column);
        Self {
            labels: plan.has_labels.then(Vec::new),
            cells: Cells::new(plan.width()),
            doubtful,
            n_rows: 0,
            n_pending: 0,
        }
    }

    pub(super) fn push(&mut self, record: &ByteRecord, plan: &Plan) -> Result<(), Problem> {
        if record.len() != plan.n_columns {
            return Err(Problem::RaggedCsv {
                line: line_of(record),
                found: record.len(),
                expected: plan.n_columns,
            });
        }
        let is_blank = record.iter().all(|cell| cell.trim_ascii().is_empty());
        // Of one column an empty cell is a missing frame; so are blank lines before others, which would be earlier
        // without them.
        if is_blank && plan.n_columns > 1 {
            self.n_pending += 1;
            return Ok(());
        }
        for _ in 0..std::mem::take(&mut self.n_pending) {
            self.push_blank(plan);
        }
        self.push_row(record, plan)
    }

    /// A line of nothing between others.
    fn push_blank(&mut self, plan: &Plan) {
        if let Some(labels) = &mut self.labels {
            labels.push(String::new());
        }
        for _ in 0..plan.width() {
            self.cells.push(f64::NAN);
        }
        self.n_rows += 1;
    }

    fn push_row(&mut self, record: &ByteRecord, plan: &Plan) -> Result<(), Problem> {
        let line = Line(record);
        for column in 0..record.len() {
            if let (Some(labels), 0) = (&mut self.labels, column) {
                labels.push(line.text(column).into_owned());
                continue;
            }
            let number = line.number(column);
            if let Ok(place) = self.doubtful.binary_search_by_key(&column, |d| d.column) {
                let doubtful = &mut self.doubtful[place];
                doubtful.see(number, || line.problem(column));
                if !plan.texts.contains(&column) {
                    self.cells.push(number.unwrap_or(f64::NAN));
                }
                continue;
            }
            self.cells.push(number.ok_or_else(|| line.problem(column))?);
        }
        self.n_rows += 1;
        Ok(())
    }

    pub(super) fn table(self, plan: Plan) -> Result<Table, Problem> {
        let is_row = |first: &[String]| first.iter().any(|cell| cell.parse::<f64>().is_ok());
        if plan.width() == 0 || (self.cells.is_empty() && !is_row(&plan.first)) {
            return Err(Problem::NoRows);
        }
        // A column of words here and there is text; one of numbers has slips.
        let mut texts = plan.texts.clone();
        for doubtful in self.doubtful {
            let was_text = plan.texts.contains(&doubtful.column);
            let most = if was_text { self.n_rows / 2 } else { 0 };
            match doubtful.first_word {
                Some(slip) if doubtful.n_numbers > most => return Err(slip),
                Some(_) if !was_text => texts.push(doubtful.column),
                _ => {}
            }
        }
        let n_labels = usize::from(self.labels.is_some());
        let numbers = (n_labels..plan.n_columns).filter(|column| !plan.texts.contains(column));
        let kept: Vec<usize> = numbers
            .enumerate()
            .filter(|(_, column)| !texts.contains(column))
            .map(|(place, _)| place)
            .collect();
        let cells = match kept.len() == self.cells.width() {
            true => self.cells,
            false => self.cells.keep(&kept),
        };
        let is_corner_blank = n_labels == 1 && plan.first.first().is_some_and(|c| is_missing(c));
        let (mut first, mut text_columns) = (Vec::new(), Vec::new());
        for (column, name) in plan.first.into_iter().enumerate().skip(n_labels) {
            match texts.contains(&column) {
                true => text_columns.push(name),
                false => first.push(name),
            }
        }
        if first.is_empty() {
            return Err(Problem::NoRows);
        }
        Ok(Table {
            width: first.len(),
            first,
            labels: self.labels,
            cells,
            header_lines: plan.header_lines,
            is_corner_blank,
            text_columns,
            n_blank: self.n_pending,
            n_before: plan.n_before,
        })
    }
}

impl Doubtful {
    fn see(&mut self, number: Option<f64>, problem: impl FnOnce() -> Problem) {
        match number {
            Some(number) => self.n_numbers += usize::from(!number.is_nan()),
            None => {
                self.first_word.get_or_insert_with(problem);
            }
        }
    }
}
