//! Text tables: in and out.

use std::path::Path;

use ndarray::ArrayView2;

use crate::format::text::normalised;
use crate::whole_file::replace_file;
use crate::{DataError, Problem};

/// Writes `[time, column]` as comma-separated text, shortest digits that read back the same.
///
/// # Errors
/// [`Problem::Disagree`] unless there is one name per column; a problem of the disk.
pub fn write_csv(
    path: &Path,
    names: &[String],
    values: ArrayView2<'_, f32>,
) -> Result<(), DataError> {
    encode(names, values)
        .and_then(|bytes| replace_file(path, &bytes))
        .map_err(|e| DataError::from(e).in_file(path))
}

fn encode(names: &[String], values: ArrayView2<'_, f32>) -> Result<Vec<u8>, Problem> {
    if names.len() != values.ncols() {
        return Err(Problem::Disagree {
            a: "names".to_owned(),
            a_shape: vec![names.len()],
            b: "values".to_owned(),
            b_shape: values.shape().to_vec(),
            axis: "columns",
        });
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = || -> csv::Result<()> {
        writer.write_record(names)?;
        for row in values.outer_iter() {
            writer.write_record(row.iter().map(ToString::to_string))?;
        }
        Ok(())
    };
    write().map_err(|e| bad_text(&e))?;
    writer.into_inner().map_err(|e| Problem::Io {
        action: "write the file",
        source: e.into_error(),
    })
}

/// A table of numbers, its first line apart: a header, or the first row.
#[derive(Debug)]
pub(crate) struct Table {
    /// Cells of the first line, as text.
    pub(crate) first: Vec<String>,
    /// What the rows are called, where their first cells are text.
    pub(crate) labels: Option<Vec<String>>,
    /// Number of columns, without the labels.
    pub(crate) width: usize,
    /// The lines below the first, row by row.
    pub(crate) cells: Vec<f64>,
}

/// Reads a text table; an empty cell is NaN. Runs of blanks are one delimiter.
pub(crate) fn parse(text: &[u8]) -> Result<Table, Problem> {
    parse_normalised(&normalised(text.to_vec()))
}

/// The same of a text in UTF-8 that needs no other care.
pub(crate) fn parse_normalised(text: &[u8]) -> Result<Table, Problem> {
    match delimiter(text) {
        Delimiter::Byte(byte) => parse_delimited(text, byte),
        Delimiter::Blanks => parse_delimited(&without_runs(text), b'\t'),
    }
}

/// Visits every line below the first with its number, from 1, and its cells.
pub(crate) fn records(
    text: &[u8],
    delimiter: u8,
    mut visit: impl FnMut(u64, &[&str]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .comment(Some(b'#'))
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(text);
    for record in reader.records() {
        let record = record.map_err(|e| bad_text(&e))?;
        let line = record.position().map_or(0, csv::Position::line);
        visit(line, &record.iter().collect::<Vec<_>>())?;
    }
    Ok(())
}

fn parse_delimited(text: &[u8], delimiter: u8) -> Result<Table, Problem> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(text);
    let mut first: Option<Vec<String>> = None;
    let mut labels: Option<Vec<String>> = None;
    let mut width = None;
    let mut cells = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| bad_text(&e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let Some(header) = &mut first else {
            first = Some(record.iter().map(str::to_owned).collect());
            continue;
        };
        let expected = *width.get_or_insert_with(|| {
            // A header without a name for the rows' own is one cell shorter.
            if header.len() + 1 == record.len() {
                header.insert(0, String::new());
            }
            header.len()
        });
        if record.len() != expected {
            return Err(Problem::RaggedCsv {
                line,
                found: record.len(),
                expected,
            });
        }
        let is_first_row = cells.is_empty() && labels.is_none();
        if is_first_row && expected > 1 && record.get(0).is_some_and(|cell| number(cell).is_none())
        {
            labels = Some(Vec::new());
        }
        for (column, cell) in record.iter().enumerate() {
            match &mut labels {
                Some(labels) if column == 0 => labels.push(cell.to_owned()),
                _ => cells.push(number(cell).ok_or_else(|| Problem::BadCell {
                    line,
                    column: column + 1,
                    found: cell.chars().take(30).collect(),
                })?),
            }
        }
    }
    let first = first.ok_or(Problem::NoRows)?;
    let is_row = |first: &[String]| first.iter().any(|cell| cell.parse::<f64>().is_ok());
    if cells.is_empty() && !is_row(&first) {
        return Err(Problem::NoRows);
    }
    let n_labels = usize::from(labels.is_some());
    Ok(Table {
        width: width.unwrap_or(first.len()) - n_labels,
        first: first.into_iter().skip(n_labels).collect(),
        labels,
        cells,
    })
}

/// What separates cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delimiter {
    Byte(u8),
    Blanks,
}

impl Delimiter {
    const ALL: [Self; 5] = [
        Self::Byte(b'\t'),
        Self::Byte(b';'),
        Self::Byte(b','),
        Self::Byte(b'|'),
        Self::Blanks,
    ];

    fn cells(self, line: &str) -> Vec<&str> {
        match self {
            Self::Byte(byte) => line.split(char::from(byte)).map(str::trim).collect(),
            Self::Blanks => line.split_ascii_whitespace().collect(),
        }
    }
}

/// Lines that are looked at for the delimiter.
const LINES_SEEN: usize = 30;

/// What splits most lines below the first into numbers, the same number of them in each.
fn delimiter(text: &[u8]) -> Delimiter {
    let lines = text.split(|&b| b == b'\n' || b == b'\r');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"));
    let lines: Vec<&str> = lines
        .take(LINES_SEEN)
        .map_while(|line| std::str::from_utf8(line).ok())
        .collect();
    let below = lines.get(1..).filter(|below| !below.is_empty());
    let rows = below.unwrap_or(&lines);
    let score = |delimiter: &Delimiter| {
        let widths = rows.iter().map(|row| {
            let cells = delimiter.cells(row);
            // The first cell may be a label.
            let is_number = |cell: &&&str| {
                // In some countries the point is a comma.
                let has_comma = *delimiter != Delimiter::Byte(b',') && cell.contains(',');
                number(cell).is_some()
                    || (has_comma && number(&cell.replacen(',', ".", 1)).is_some())
            };
            let numbers = cells.iter().skip(1).filter(is_number);
            (numbers.count() + 1 == cells.len()).then_some(cells.len())
        });
        let widths: Vec<usize> = widths.flatten().collect();
        let width = widths.first().copied().unwrap_or_default();
        let n_same = widths.iter().filter(|w| **w == width).count();
        // One cell a line is what any wrong delimiter gives.
        (if width > 1 { n_same } else { 0 }, width)
    };
    let best = Delimiter::ALL.into_iter().rev().max_by_key(score);
    best.filter(|best| score(best).0 > 0)
        .unwrap_or(Delimiter::Byte(b','))
}

/// The text with every run of blanks a tab, and none at the ends of lines.
fn without_runs(text: &[u8]) -> Vec<u8> {
    let mut shorter = Vec::with_capacity(text.len());
    for line in text.split(|&b| b == b'\n') {
        let words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        for (place, word) in words.enumerate() {
            if place > 0 {
                shorter.push(b'\t');
            }
            shorter.extend(word);
        }
        shorter.push(b'\n');
    }
    shorter
}

/// An empty cell is a missing frame.
pub(crate) fn number(cell: &str) -> Option<f64> {
    match cell {
        "" | "NA" | "N/A" | "#N/A" | "null" | "NULL" | "None" => Some(f64::NAN),
        cell => cell.parse().ok(),
    }
}

fn bad_text(error: &csv::Error) -> Problem {
    Problem::BadText(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_what_the_rows_have() {
        for (text, wanted) in [
            ("a,b\n1,2\n", Delimiter::Byte(b',')),
            ("a; first,b\n1,2\n3,4\n", Delimiter::Byte(b',')),
            ("a;b\n1,5;2,5\n", Delimiter::Byte(b';')),
            ("1\t2\n3\t4\n", Delimiter::Byte(b'\t')),
            (
                "  1.0e+00   2.0e+00\n  3.0e+00  -4.0e+00\n",
                Delimiter::Blanks,
            ),
            ("1|2\n3|4\n", Delimiter::Byte(b'|')),
            ("1, 2\n3, 4\n", Delimiter::Byte(b',')),
            ("0.5\n0.25\n", Delimiter::Byte(b',')),
            ("x\t\t\n1\t\t2\n", Delimiter::Byte(b'\t')),
        ] {
            assert_eq!(delimiter(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn runs_of_blanks_are_one_delimiter() {
        let table = parse(b"   1.0   2.0\r\n  3.0    4.0  \r\n").unwrap();
        assert_eq!(table.first, ["1.0", "2.0"]);
        assert_eq!((table.width, table.cells), (2, vec![3.0, 4.0]));
    }

    #[test]
    fn rows_may_have_names() {
        let table = parse(b"x,y\nC0,1,2\nC1,3,\n").unwrap();
        assert_eq!(table.labels, Some(vec!["C0".to_owned(), "C1".to_owned()]));
        assert_eq!(table.first, ["x", "y"]);
        assert_eq!((table.width, table.cells.len()), (2, 4));
    }
}
