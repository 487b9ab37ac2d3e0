//! Tables that are laid out in a way of their own: Inscopix' two lines of header, Fiji's measurements, one
//! line a frame and neuron, and one line a spike.

use std::collections::HashMap;

use ndarray::{Array2, Axis};

use super::rows::{DATASET, Rows, frame_rows};
use crate::Problem;
use crate::format::csv as text;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::units::Units;

/// Names of columns, without spaces and signs, in small letters.
const IDS: [&str; 12] = [
    "id",
    "unit",
    "unitid",
    "cell",
    "cellid",
    "cellname",
    "neuron",
    "neuronid",
    "roi",
    "roiid",
    "cluster",
    "clusterid",
];
const TIMES: [&str; 14] = [
    "t",
    "time",
    "times",
    "timesec",
    "timeseconds",
    "timems",
    "timestamp",
    "timestamps",
    "seconds",
    "spiketime",
    "spiketimes",
    "spiketimems",
    "frame",
    "framenumber",
];
const VALUES: [&str; 12] = [
    "value",
    "values",
    "dff",
    "f",
    "fluorescence",
    "trace",
    "signal",
    "intensity",
    "activity",
    "yra",
    "c",
    "amplitude",
];
/// What Fiji measures besides the mean.
const OTHER_MEASURES: [&str; 12] = [
    "area",
    "min",
    "max",
    "intden",
    "rawintden",
    "stddev",
    "mode",
    "median",
    "x",
    "y",
    "perim",
    "%area",
];
/// Columns of the longest list that is told from a table.
const WIDEST_LIST: usize = 8;
/// Bins of all neurons together, at most.
const MOST_BINS: f64 = 1e9;

/// Inscopix' line of states: each cell of the first line, and whether it was accepted.
pub(super) struct States(Vec<(String, String)>);

/// The second line, if it says of every column whether it was accepted; and the text without it.
pub(super) fn states(table: &[u8]) -> Option<(States, Vec<u8>)> {
    let mut lines = table.splitn(3, |&b| b == b'\n');
    let (first, second) = (lines.next()?, lines.next()?);
    let rest = lines.next().unwrap_or_default();
    let cells = |line: &[u8]| -> Vec<String> {
        let line = String::from_utf8_lossy(line);
        line.split([',', ';', '\t'])
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let (names, states) = (cells(first), cells(second));
    let is_state = |state: &String| {
        matches!(
            &*state.to_ascii_lowercase(),
            "accepted" | "rejected" | "undecided"
        )
    };
    let [corner, of_cells @ ..] = &states[..] else {
        return None;
    };
    let is_time = corner.to_ascii_lowercase().starts_with("time");
    if !is_time
        || of_cells.is_empty()
        || !of_cells.iter().all(is_state)
        || names.len() != states.len()
    {
        return None;
    }
    // A blank line keeps the numbers of the lines; the first column is called what the second line says.
    let separator = first.iter().find(|b| matches!(b, b',' | b';' | b'\t'))?;
    let place = first.iter().position(|b| b == separator)?;
    let text = [b"Time (s)", &first[place..], b"\n\n", rest].concat();
    let states = names.into_iter().zip(states).skip(1).collect();
    Some((States(states), text))
}

impl States {
    /// Leaves out the cells that were not accepted; where none was, those that were rejected.
    pub(super) fn apply(&self, draft: &mut Draft, options: &Options) {
        let is = |id: &str, wanted: &str| {
            let state = self.0.iter().find(|(name, _)| name == id);
            state.is_some_and(|(_, state)| state.eq_ignore_ascii_case(wanted))
        };
        let n_accepted = self
            .0
            .iter()
            .filter(|(_, s)| s.eq_ignore_ascii_case("accepted"))
            .count();
        let n_cells = self.0.len();
        if !options.cells_only {
            draft.notes.push(format!(
                "{n_accepted} of {n_cells} cells are accepted; all are read"
            ));
            return;
        }
        let note = match n_accepted {
            0 => format!("none of {n_cells} cells is accepted: those not rejected are read"),
            n => format!("{n} of {n_cells} cells, those that are accepted"),
        };
        keep(draft, |id| match n_accepted {
            0 => !is(id, "rejected"),
            _ => is(id, "accepted"),
        });
        draft.notes.push(note);
    }
}

/// Of Fiji's measurements, the means.
pub(super) fn keep_means(draft: &mut Draft) {
    let measure = |id: &str| {
        let id = id.trim().to_ascii_lowercase();
        let end = id.find(|c: char| c.is_ascii_digit() || c == '(')?;
        Some(id[..end].to_owned())
    };
    let ids = draft.neuron_ids.iter().flatten();
    let measures: Vec<Option<String>> = ids.map(|id| measure(id)).collect();
    let is_mean = |measure: &Option<String>| measure.as_deref() == Some("mean");
    let is_other = |measure: &Option<String>| {
        measure
            .as_deref()
            .is_some_and(|m| OTHER_MEASURES.contains(&m))
    };
    let (n_means, n_others) = (
        measures.iter().filter(|m| is_mean(m)).count(),
        measures.iter().filter(|m| is_other(m)).count(),
    );
    if n_means > 0 && n_others > 0 && n_means + n_others == measures.len() {
        keep(draft, |id| measure(id).as_deref() == Some("mean"));
        draft.notes.push(format!(
            "of Fiji's measurements the {n_means} means; {n_others} columns of others are left out"
        ));
    }
}

/// Keeps the columns whose ids are wanted.
fn keep(draft: &mut Draft, is_wanted: impl Fn(&str) -> bool) {
    let Some(ids) = draft.neuron_ids.take() else {
        return;
    };
    if draft.order == Some(AxisOrder::TimeNeuron) {
        let kept: Vec<usize> = (0..ids.len())
            .filter(|&n| is_wanted(ids[n].trim()))
            .collect();
        draft.values = draft.values.select(Axis(1), &kept);
        draft.neuron_ids = Some(kept.iter().map(|&n| ids[n].clone()).collect());
    } else {
        draft.neuron_ids = Some(ids);
    }
}

/// A list of neurons, times and perhaps values; `None` if the table is none.
pub(super) fn list(table: &[u8], options: &Options) -> Result<Option<Draft>, Problem> {
    let Some(columns) = Columns::find(table) else {
        return Ok(None);
    };
    let list = columns.read(table)?;
    if list.ids.is_empty() || list.rows.len() < 2 * list.ids.len() {
        return Ok(None);
    }
    match list.as_table() {
        Some(draft) => Ok(Some(draft)),
        None => list.in_bins(options).map(Some),
    }
}

/// Places of the columns of a list.
struct Columns {
    delimiter: u8,
    id: usize,
    time: usize,
    value: Option<usize>,
    time_name: String,
}

impl Columns {
    fn find(table: &[u8]) -> Option<Self> {
        let mut lines = table.split(|&b| b == b'\n');
        let header = lines.find(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"))?;
        let header = std::str::from_utf8(header).ok()?;
        let delimiter = *b";\t,".iter().find(|b| header.contains(char::from(**b)))?;
        let names: Vec<&str> = header.split(char::from(delimiter)).collect();
        let plain = |name: &&str| -> String {
            let name = name.chars().filter(|c| c.is_alphanumeric());
            name.collect::<String>().to_lowercase()
        };
        let plain: Vec<String> = names.iter().map(plain).collect();
        let only = |known: &[&str]| {
            let mut places =
                (0..plain.len()).filter(|&place| known.contains(&plain[place].as_str()));
            places.next().filter(|_| places.next().is_none())
        };
        if names.len() > WIDEST_LIST {
            return None;
        }
        let time = only(&TIMES)?;
        Some(Self {
            delimiter,
            id: only(&IDS)?,
            time,
            value: only(&VALUES),
            time_name: names[time].trim().trim_matches('"').to_owned(),
        })
    }

    fn read(&self, table: &[u8]) -> Result<List, Problem> {
        let mut list = List {
            time_name: self.time_name.clone(),
            has_values: self.value.is_some(),
            ids: Vec::new(),
            rows: Vec::new(),
        };
        let mut places: HashMap<String, usize> = HashMap::new();
        text::records(table, self.delimiter, |line, cells| {
            let number = |column: usize| {
                let cell = cells.get(column).copied().unwrap_or_default();
                text::number(cell).ok_or_else(|| Problem::BadCell {
                    line,
                    column: column + 1,
                    found: cell.chars().take(30).collect(),
                })
            };
            let id = cells.get(self.id).copied().unwrap_or_default();
            let next = places.len();
            let neuron = *places.entry(id.to_owned()).or_insert(next);
            if neuron == next {
                list.ids.push(id.to_owned());
            }
            let value = self.value.map_or(Ok(1.0), number)?;
            list.rows.push((neuron, number(self.time)?, value));
            Ok(())
        })?;
        Ok(list)
    }
}

/// Neuron, time and value of each line.
struct List {
    time_name: String,
    has_values: bool,
    ids: Vec<String>,
    rows: Vec<(usize, f64, f64)>,
}

impl List {
    /// A table, where every neuron has a value at nearly every time.
    fn as_table(&self) -> Option<Draft> {
        let mut times: Vec<f64> = self.rows.iter().map(|row| row.1).collect();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let n_cells = times.len() * self.ids.len();
        if !self.has_values || 10 * self.rows.len() < 9 * n_cells || self.rows.len() > n_cells {
            return None;
        }
        let width = 1 + self.ids.len();
        let mut cells = vec![f64::NAN; width * times.len()];
        for (row, time) in times.iter().enumerate() {
            cells[row * width] = *time;
        }
        for &(neuron, time, value) in &self.rows {
            let row = times.binary_search_by(|t| t.total_cmp(&time)).ok()?;
            cells[row * width + 1 + neuron] = value;
        }
        let names: Vec<String> = std::iter::once(&self.time_name)
            .chain(&self.ids)
            .cloned()
            .collect();
        let mut draft = frame_rows(&Rows { width, cells }, Some(&names));
        draft.notes.push(format!(
            "one line for each of {} neurons and {} frames, put into a table",
            self.ids.len(),
            times.len()
        ));
        Some(draft)
    }

    /// Spikes counted in bins of the width that the caller states.
    fn in_bins(&self, options: &Options) -> Result<Draft, Problem> {
        let Some(rate_hz) = options.rate_hz.filter(|rate_hz| *rate_hz > 0.0) else {
            return Err(Problem::SpikeTimes {
                n_lines: self.rows.len(),
                n_neurons: self.ids.len(),
            });
        };
        let name = self.time_name.to_ascii_lowercase();
        let unit_s = if name.contains("ms") || name.contains("milli") {
            1e-3
        } else {
            1.0
        };
        let bin_of = |time: f64| (time * unit_s * rate_hz + 1e-9).floor();
        let is_time = |time: f64| time.is_finite() && time >= 0.0;
        if let Some(row) = self.rows.iter().find(|row| !is_time(row.1)) {
            return Err(Problem::BadParameter {
                name: "time",
                found: row.1.to_string(),
                expected: "zero or more, for every spike",
            });
        }
        let last = self
            .rows
            .iter()
            .map(|row| bin_of(row.1))
            .fold(0.0, f64::max);
        if (last + 1.0) * self.ids.len() as f64 > MOST_BINS {
            return Err(Problem::BadParameter {
                name: "rate",
                found: format!("{rate_hz}, with spikes up to {} s", last / rate_hz),
                expected: "a number of bins per second that fits into memory",
            });
        }
        let mut counts = Array2::<f32>::zeros((last as usize + 1, self.ids.len()));
        for &(neuron, time, _) in &self.rows {
            counts[[bin_of(time) as usize, neuron]] += 1.0;
        }
        let mut draft = Draft::bare(DATASET, counts.into_dyn());
        draft.order = Some(AxisOrder::TimeNeuron);
        draft.clock = Clock::RateHz(rate_hz);
        draft.units = Some(Units::SpikeCounts);
        draft.neuron_ids = Some(self.ids.clone());
        draft.sorted = true;
        draft.notes.push(format!(
            "one line a spike: {} spikes of {} neurons, counted in bins of {} s from 0 s on",
            self.rows.len(),
            self.ids.len(),
            1.0 / rate_hz
        ));
        Ok(draft)
    }
}
