//! How the lines of a text table are laid out: header, labels, columns of text.

use std::borrow::Cow;
use std::collections::HashSet;

use csv::ByteRecord;

use super::filtered::ERRORS;
use super::text::decoded;

/// Most lines of a header.
const MOST_HEADER_LINES: usize = 4;

/// How the lines of a table are laid out.
pub(crate) struct Plan {
    /// Cells of the first line, or of all lines of the header put together.
    pub(crate) first: Vec<String>,
    /// Lines before the header that are no part of the table.
    pub(crate) n_before: usize,
    pub(crate) header_lines: usize,
    pub(crate) n_columns: usize,
    /// Whether the first cells of rows are text.
    pub(crate) has_labels: bool,
    /// Other columns of text.
    pub(crate) texts: Vec<usize>,
    /// Columns of which nothing was seen yet: numbers, or text here and there.
    pub(crate) empty: Vec<usize>,
}

/// How many lines before the header are no part of the table: shorter ones above a line of names that is as long
/// as the rows.
fn n_before(seen: &[ByteRecord]) -> usize {
    let Some(width) = seen.last().map(ByteRecord::len) else {
        return 0;
    };
    // A header may be one cell short.
    let length = |line: &ByteRecord| {
        let last = line.iter().rposition(|cell| !cell.trim_ascii().is_empty());
        last.map_or(0, |last| last + 1)
    };
    let n_short = seen
        .iter()
        .take_while(|line| length(line) + 1 < width)
        .count();
    let is_header = |line: &ByteRecord| texts(line).iter().skip(1).all(|cell| is_word(cell));
    if seen.get(n_short).is_some_and(is_header) {
        n_short
    } else {
        0
    }
}

impl Plan {
    pub(crate) fn of(seen: &[ByteRecord]) -> Option<Self> {
        let n_before = n_before(seen);
        let seen = &seen[n_before..];
        let (first, last) = (seen.first()?, seen.last()?);
        let is_header = |line: &&ByteRecord| is_header(line, last);
        let inner = &seen[1..seen.len().max(2) - 1];
        let more = inner.iter().take(MOST_HEADER_LINES - 1);
        let header_lines = 1 + more.take_while(is_header).count();
        let mut first = match header_lines {
            1 => texts(first),
            n => joined(&seen[..n]),
        };
        let rows = seen.get(header_lines..).unwrap_or_default();
        // A header without a name for the rows' own is one cell shorter, and so is one above rows that end in a
        // delimiter.
        if rows.first().is_some_and(|row| row.len() == first.len() + 1) {
            let ends_blank = |row: &ByteRecord| {
                cell(row, first.len()).is_empty() && number(&cell(row, 0)).is_some()
            };
            match rows.iter().all(ends_blank) {
                true => first.push(String::new()),
                false => first.insert(0, String::new()),
            }
        }
        let n_columns = first.len();
        let present = |column: usize| {
            let rows = rows.iter().filter(move |row| column < row.len());
            let cells = rows.map(move |row| cell(row, column));
            cells.filter(|cell| !is_missing(cell))
        };
        let is_text = |column: usize| {
            let mut cells = present(column).peekable();
            cells.peek().is_some() && cells.all(|cell| is_word(&cell))
        };
        let has_labels = n_columns > 1 && is_text(0);
        let texts = match rows.len() {
            // One word may be a slip.
            0 | 1 => Vec::new(),
            _ => (1..n_columns).filter(|&column| is_text(column)).collect(),
        };
        let is_empty = |column: &usize| present(*column).next().is_none();
        let empty = match rows.len() {
            0 | 1 => Vec::new(),
            _ => (1..n_columns).filter(is_empty).collect(),
        };
        Some(Self {
            first,
            n_before,
            header_lines,
            n_columns,
            has_labels,
            texts,
            empty,
        })
    }

    /// Columns of numbers.
    pub(crate) fn width(&self) -> usize {
        self.n_columns - usize::from(self.has_labels) - self.texts.len()
    }
}

fn texts(record: &ByteRecord) -> Vec<String> {
    let columns = 0..record.len();
    columns
        .map(|column| cell(record, column).into_owned())
        .collect()
}

/// Text, and not a number of another country.
fn is_word(cell: &str) -> bool {
    let is_numeric = |c: char| c.is_ascii_digit() || ",. -+%".contains(c);
    number(cell).is_none() && !cell.chars().all(is_numeric)
}

/// Whether a line below the first is of the header too, as units are and the levels of pandas: where rows
/// have a number it has text in its first cell, and else nothing, text or whole numbers, each another.
fn is_header(line: &ByteRecord, row: &ByteRecord) -> bool {
    let first = |record: &ByteRecord| cell(record, 0).into_owned();
    let rest = |record: &ByteRecord| -> Vec<String> {
        let cells = texts(record).into_iter().skip(1);
        cells.filter(|cell| !is_missing(cell)).collect()
    };
    let (cells, below) = (rest(line), rest(row));
    let is_number = |cell: &str| !is_missing(cell) && number(cell).is_some();
    if line.len() != row.len() || is_number(&first(line)) || !below.iter().any(|c| is_number(c)) {
        return false;
    }
    let all_text = !cells.is_empty() && cells.iter().all(|cell| is_word(cell));
    let is_whole = |cell: &String| cell.bytes().all(|b| b.is_ascii_digit());
    let distinct: HashSet<&String> = cells.iter().collect();
    // A single one may as well be a number beside a slip.
    let are_ids = cells.len() != 1 && cells.iter().all(is_whole) && distinct.len() == cells.len();
    all_text || (is_word(&first(line)) && is_number(&first(row)) && are_ids)
}

/// Names from several lines: of the first where they differ, else of all.
fn joined(lines: &[ByteRecord]) -> Vec<String> {
    let names = texts(&lines[0]);
    let distinct: HashSet<&String> = names.iter().skip(1).collect();
    if distinct.len() + 1 >= names.len() && !names.iter().skip(1).any(|name| is_missing(name)) {
        return names;
    }
    let name = |column: usize| {
        let parts = lines.iter().map(|line| cell(line, column));
        let parts: Vec<_> = parts.filter(|part| !is_missing(part)).collect();
        parts.join("/")
    };
    (0..names.len()).map(name).collect()
}

/// A cell without the blanks around it; nothing where there is none.
pub(crate) fn cell(record: &ByteRecord, column: usize) -> Cow<'_, str> {
    match decoded(record.get(column).unwrap_or_default()) {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) => text.trim().to_owned().into(),
    }
}

/// An empty cell is a missing frame.
pub(crate) fn number(cell: &str) -> Option<f64> {
    match is_missing(cell) {
        true => Some(f64::NAN),
        false => cell.parse().ok(),
    }
}

/// What programs write where there is nothing, in small letters.
const MISSING: [&str; 13] = [
    "na",
    "n/a",
    "<na>",
    "nan",
    "-nan",
    "nan(ind)",
    "-nan(ind)",
    "null",
    "none",
    "missing",
    "-",
    "--",
    ".",
];

/// Whether a cell holds nothing, in the words of the usual programs.
pub(crate) fn is_missing(cell: &str) -> bool {
    let mut words = MISSING.iter().chain(&ERRORS);
    cell.is_empty() || words.any(|word| word.eq_ignore_ascii_case(cell))
}
