//! Text tables: one row per frame, one column per neuron.

use std::path::Path;

use ndarray::{Array2, ArrayView2};

use crate::clock::Clock;
use crate::hdf5::replace_file;
use crate::recording::Draft;
use crate::source::{Reader, Source, cannot_read};
use crate::{AxisOrder, DataError, Format, Options, Problem};

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

pub(crate) struct Csv;

impl Reader for Csv {
    fn format(&self) -> Format {
        Format::Csv
    }

    fn recognises(&self, source: &Source) -> bool {
        let head = &source.head;
        let is_text = match std::str::from_utf8(head) {
            Ok(_) => true,
            // A character may be cut in two where the head ends.
            Err(e) => e.error_len().is_none() && head.len() > 16_000,
        };
        is_text && !head.is_empty() && !head.contains(&0)
    }

    fn read(&self, source: &Source, _: &Options) -> Result<Draft, Problem> {
        let text = std::fs::read(&source.path).map_err(cannot_read)?;
        parse(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))
    }
}

/// A column name that means frame times in seconds, not a neuron.
fn is_time(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    ["time", "t", "time_s", "timestamp", "timestamps"].contains(&name.as_str())
}

fn parse(text: &[u8]) -> Result<Draft, Problem> {
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
        false => Ok(table(names, width.unwrap_or_default(), cells)),
    }
}

fn table(names: Option<Vec<String>>, width: usize, cells: Vec<f64>) -> Draft {
    let n_rows = cells.len() / width.max(1);
    let times = names
        .as_ref()
        .and_then(|names| names.iter().position(|n| is_time(n)));
    let kept: Vec<usize> = (0..width).filter(|&c| Some(c) != times).collect();
    let values = Array2::from_shape_fn((n_rows, kept.len()), |(row, column)| {
        cells[row * width + kept[column]] as f32
    });
    let mut draft = Draft::bare("table", values.into_dyn());
    if let Some(names) = names {
        // With a header, rows are frames.
        draft.order = Some(AxisOrder::TimeNeuron);
        draft.neuron_ids = Some(kept.iter().map(|&c| names[c].clone()).collect());
    }
    if let Some(column) = times {
        let times: Vec<f64> = cells.iter().skip(column).step_by(width).copied().collect();
        draft.start_s = times.first().copied().unwrap_or_default();
        draft.clock = Clock::TimesS(times);
    }
    draft
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
