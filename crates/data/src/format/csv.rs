//! Text tables: in and out.

use std::path::Path;

use ndarray::ArrayView2;

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

/// A table of numbers.
#[derive(Debug)]
pub(crate) struct Table {
    /// Names of the columns, where there is a header.
    pub(crate) names: Option<Vec<String>>,
    /// Number of columns.
    pub(crate) width: usize,
    /// Row by row.
    pub(crate) cells: Vec<f64>,
}

/// Reads a text table; an empty cell is NaN.
pub(crate) fn parse(text: &[u8]) -> Result<Table, Problem> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .delimiter(delimiter(text))
        .trim(csv::Trim::All)
        .from_reader(text);
    let mut names: Option<Vec<String>> = None;
    let mut width = None;
    let mut cells = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| bad_text(&e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let expected = *width.get_or_insert(record.len());
        if record.len() != expected {
            return Err(Problem::RaggedCsv {
                line,
                found: record.len(),
                expected,
            });
        }
        if cells.is_empty() && names.is_none() && record.iter().all(|cell| number(cell).is_none()) {
            names = Some(record.iter().map(str::to_owned).collect());
            continue;
        }
        for (column, cell) in record.iter().enumerate() {
            cells.push(number(cell).ok_or_else(|| Problem::BadCell {
                line,
                column: column + 1,
                found: cell.chars().take(30).collect(),
            })?);
        }
    }
    match cells.is_empty() {
        true => Err(Problem::NoRows),
        false => Ok(Table {
            names,
            width: width.unwrap_or_default(),
            cells,
        }),
    }
}

/// Whichever of tab, semicolon, comma and space the first line of data holds.
fn delimiter(text: &[u8]) -> u8 {
    let mut lines = text.split(|&b| b == b'\n');
    let first = lines.find(|line| !line.starts_with(b"#")).unwrap_or(text);
    let present = |delimiter: &&u8| first.trim_ascii().contains(delimiter);
    *b"\t;, ".iter().find(present).unwrap_or(&b',')
}

/// An empty cell is a missing frame.
fn number(cell: &str) -> Option<f64> {
    match cell {
        "" | "NA" => Some(f64::NAN),
        cell => cell.parse().ok(),
    }
}

fn bad_text(error: &csv::Error) -> Problem {
    Problem::BadText(error.to_string())
}
