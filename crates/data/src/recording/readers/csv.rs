//! Text tables: one row per frame, one column per neuron.

use ndarray::Array2;

use crate::Problem;
use crate::format::csv::{self, Table};
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::reader::Reader;
use crate::recording::source::Source;
use crate::recording::traces::Format;
use crate::whole_file::cannot_read;

pub(super) struct Csv;

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
        csv::parse(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text)).map(draft)
    }
}

/// A column name that means frame times in seconds, not a neuron.
fn is_time(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    ["time", "t", "time_s", "timestamp", "timestamps"].contains(&name.as_str())
}

fn draft(table: Table) -> Draft {
    let Table {
        names,
        width,
        cells,
    } = table;
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
