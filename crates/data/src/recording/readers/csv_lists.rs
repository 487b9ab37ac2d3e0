//! Lists: one line for each frame and neuron, or one for each spike.

use std::collections::{BTreeSet, HashMap};

use ndarray::Array2;

use super::rows::{DATASET, Rows, frame_rows};
use crate::Problem;
use crate::format::csv as text;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::units::Units;

/// Names of columns, without spaces and signs, in small letters.
const IDS: [&str; 21] = [
    "id",
    "unit",
    "unitid",
    "unitname",
    "cell",
    "cells",
    "cellid",
    "cellname",
    "cellindex",
    "cellnumber",
    "neuron",
    "neuronid",
    "neuronname",
    "neuronindex",
    "roi",
    "roiid",
    "roiname",
    "roinumber",
    "cluster",
    "clusterid",
    "spikeclusters",
];
/// Times before frames: where a list has both, the first is taken.
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
const TRIALS: [&str; 5] = ["trial", "trialid", "trialnumber", "sweep", "epoch"];
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
/// Columns of the longest list that is told from a table.
const WIDEST_LIST: usize = 8;
/// Bins of all neurons together, at most.
const MOST_BINS: f64 = 1e9;
/// Share of neurons and times that a table has a value for.
const FULL: f64 = 0.9;

/// A list of neurons, times and perhaps values; `None` if the table is none.
///
/// # Errors
/// [`Problem::Ambiguous`] of several columns of values; [`Problem::SpikeTimes`] of spikes without a rate;
/// a cell that is no number.
pub(super) fn list(table: &[u8], options: &Options) -> Result<Option<Draft>, Problem> {
    let Some(columns) = Columns::find(table, options) else {
        return Ok(None);
    };
    let table = match columns.delimiter {
        b' ' => &text::without_runs(table)[..],
        _ => table,
    };
    // A table of one neuron that is called `cell` has as many values as lines.
    let (n_ids, n_lines) = columns.count_ids(table)?;
    if n_ids == 0 || n_lines < 2 * n_ids {
        return Ok(None);
    }
    let list = columns.read(table)?;
    match list.as_table()? {
        Some(draft) => Ok(Some(draft)),
        None => list.in_bins(options).map(Some),
    }
}

/// Places of the columns of a list.
struct Columns {
    delimiter: u8,
    id: usize,
    time: usize,
    trial: Option<usize>,
    /// Columns that may be the values: the one, if it is known which.
    values: Vec<usize>,
    names: Vec<String>,
}

impl Columns {
    fn find(table: &[u8], options: &Options) -> Option<Self> {
        let mut lines = table.split(|&b| b == b'\n');
        let header = lines.find(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"))?;
        let header = std::str::from_utf8(header).ok()?.trim();
        let delimiter = *b";\t, ".iter().find(|b| header.contains(char::from(**b)))?;
        let names: Vec<&str> = header.split(char::from(delimiter)).collect();
        let names: Vec<String> = names
            .into_iter()
            .filter(|name| delimiter != b' ' || !name.is_empty())
            .map(|name| name.trim().trim_matches('"').to_owned())
            .collect();
        if names.len() > WIDEST_LIST {
            return None;
        }
        let plain = |name: &String| -> String {
            let name = name.chars().filter(|c| c.is_alphanumeric());
            name.collect::<String>().to_lowercase()
        };
        let plain: Vec<String> = names.iter().map(plain).collect();
        let all = |known: &[&str]| -> Vec<usize> {
            let is_known = |place: &usize| known.contains(&plain[*place].as_str());
            (0..plain.len()).filter(is_known).collect()
        };
        let only = |known: &[&str]| match all(known)[..] {
            [only] => Some(only),
            _ => None,
        };
        let id = only(&IDS)?;
        let trial = only(&TRIALS);
        let times = all(&TIMES);
        let rank = |place: &usize| TIMES.iter().position(|name| *name == plain[*place]);
        let time = *times.iter().min_by_key(|place| rank(place))?;
        let named = options.dataset.as_ref();
        let named = named.and_then(|wanted| names.iter().position(|name| name == wanted));
        let is_other = |place: &usize| {
            *place != id
                && Some(*place) != trial
                && !times.contains(place)
                && !matches!(&plain[*place][..], "" | "index" | "unnamed0")
        };
        let others = || (0..names.len()).filter(is_other).collect();
        Some(Self {
            delimiter,
            id,
            time,
            trial,
            values: match (named, &all(&VALUES)[..]) {
                (Some(named), _) => vec![named],
                (None, []) => others(),
                (None, known) => known.to_vec(),
            },
            names,
        })
    }

    /// The delimiter of what is read: blanks have become tabs.
    fn separator(&self) -> u8 {
        match self.delimiter {
            b' ' => b'\t',
            other => other,
        }
    }

    fn count_ids(&self, table: &[u8]) -> Result<(usize, usize), Problem> {
        let (mut ids, mut n_lines) = (BTreeSet::new(), 0);
        text::records(table, self.separator(), |_, cells| {
            n_lines += 1;
            // More than that is no list, whatever follows.
            if 2 * ids.len() <= n_lines + 100 {
                ids.insert(cells.get(self.id).copied().unwrap_or_default().to_owned());
            }
            Ok(())
        })?;
        Ok((ids.len(), n_lines))
    }

    fn read(&self, table: &[u8]) -> Result<List, Problem> {
        let value = match self.values[..] {
            [] => None,
            [only] => Some(only),
            _ => {
                let names = self.values.iter().map(|&place| self.names[place].clone());
                return Err(Problem::Ambiguous {
                    kind: "column of values",
                    found: names.collect::<Vec<_>>().join(", "),
                });
            }
        };
        let (mut ids, mut trials) = (Places::default(), Places::default());
        let mut rows = Vec::new();
        text::records(table, self.separator(), |line, cells| {
            let number = |column: usize| {
                let cell = cells.get(column).copied().unwrap_or_default();
                text::number(cell).ok_or_else(|| Problem::BadCell {
                    line,
                    column: column + 1,
                    found: cell.chars().take(30).collect(),
                })
            };
            let cell = |column: usize| cells.get(column).copied().unwrap_or_default();
            rows.push(Row {
                neuron: ids.of(cell(self.id)),
                trial: self.trial.map_or(0, |column| trials.of(cell(column))),
                time: number(self.time)?,
                value: value.map_or(Ok(1.0), number)?,
            });
            Ok(())
        })?;
        let mut list = List {
            time_name: self.names[self.time].clone(),
            value_name: value.map(|place| self.names[place].clone()),
            n_trials: self.trial.map(|_| trials.names.len()),
            ids: ids.names,
            rows,
        };
        list.sort_ids();
        Ok(list)
    }
}

/// Names in the order of their first appearance.
#[derive(Default)]
struct Places {
    names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl Places {
    fn of(&mut self, name: &str) -> usize {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        let place = self.names.len();
        self.by_name.insert(name.to_owned(), place);
        self.names.push(name.to_owned());
        place
    }
}

/// One line.
struct Row {
    neuron: usize,
    trial: usize,
    time: f64,
    value: f64,
}

/// Neuron, time and value of each line.
struct List {
    time_name: String,
    value_name: Option<String>,
    /// Where a column tells of trials.
    n_trials: Option<usize>,
    ids: Vec<String>,
    rows: Vec<Row>,
}

impl List {
    /// Neurons that have numbers stand in their order.
    fn sort_ids(&mut self) {
        let numbers: Option<Vec<f64>> = self.ids.iter().map(|id| id.parse().ok()).collect();
        let Some(numbers) = numbers else { return };
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        let mut place = vec![0; order.len()];
        for (to, &from) in order.iter().enumerate() {
            place[from] = to;
        }
        self.ids = order.iter().map(|&n| self.ids[n].clone()).collect();
        for row in &mut self.rows {
            row.neuron = place[row.neuron];
        }
    }

    /// A table, where neurons have their values at the same times.
    fn as_table(&self) -> Result<Option<Draft>, Problem> {
        if self.value_name.is_none() {
            return Ok(None);
        }
        let mut times: Vec<(usize, f64)> = self.rows.iter().map(|r| (r.trial, r.time)).collect();
        let order = |a: &(usize, f64), b: &(usize, f64)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
        times.sort_by(order);
        times.dedup();
        let is_full = self.rows.len() as f64 >= FULL * (times.len() * self.ids.len()) as f64;
        // Events of two neurons are hardly ever at one time, and those of many are a few of them; neurons
        // recorded in turn have their times in common.
        let is_shared = self.ids.len() > 1
            && 5 * self.rows.len() > 6 * times.len()
            && 4 * self.rows.len() > times.len() * self.ids.len();
        if !is_full && !is_shared {
            return Ok(None);
        }
        let n_before = usize::from(self.n_trials.is_some()) + 1;
        let width = n_before + self.ids.len();
        let mut cells = vec![f64::NAN; width * times.len()];
        for (row, (trial, time)) in times.iter().enumerate() {
            cells[row * width] = *trial as f64;
            cells[row * width + n_before - 1] = *time;
        }
        let mut is_taken = vec![false; times.len() * self.ids.len()];
        for row in &self.rows {
            let place = times.binary_search_by(|t| order(t, &(row.trial, row.time)));
            let place = place.unwrap_or_else(|place| place);
            if std::mem::replace(&mut is_taken[place * self.ids.len() + row.neuron], true) {
                return Err(Problem::BadParameter {
                    name: "the list",
                    found: format!(
                        "two values of neuron `{}` at {} {}",
                        self.ids[row.neuron], self.time_name, row.time
                    ),
                    expected: "one for each neuron and time, or a column `trial` that tells them apart",
                });
            }
            cells[place * width + n_before + row.neuron] = row.value;
        }
        let trial = self.n_trials.map(|_| "trial".to_owned());
        let names = trial.iter().chain([&self.time_name]).chain(&self.ids);
        let names: Vec<String> = names.cloned().collect();
        let mut draft = frame_rows(&Rows { width, cells }, Some(&names));
        draft.notes.push(format!(
            "one line for each of {} neurons and {} frames, put into a table",
            self.ids.len(),
            times.len()
        ));
        Ok(Some(draft))
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
        if let Some(row) = self.rows.iter().find(|row| !is_time(row.time)) {
            return Err(Problem::BadParameter {
                name: "time",
                found: row.time.to_string(),
                expected: "zero or more, for every spike",
            });
        }
        let bins = self.rows.iter().map(|row| bin_of(row.time));
        let n_bins = bins.fold(0.0, f64::max) + 1.0;
        let n_trials = self.n_trials.unwrap_or(1);
        if n_bins * n_trials as f64 * self.ids.len() as f64 > MOST_BINS {
            return Err(Problem::BadParameter {
                name: "rate",
                found: format!(
                    "{rate_hz}, with spikes up to {} s",
                    (n_bins - 1.0) / rate_hz
                ),
                expected: "a number of bins per second that fits into memory",
            });
        }
        let n_bins = n_bins as usize;
        let mut counts = Array2::<f32>::zeros((n_trials * n_bins, self.ids.len()));
        for row in &self.rows {
            counts[[row.trial * n_bins + bin_of(row.time) as usize, row.neuron]] += 1.0;
        }
        let mut draft = Draft::bare(DATASET, counts.into_dyn());
        draft.order = Some(AxisOrder::TimeNeuron);
        draft.clock = Clock::RateHz(rate_hz);
        draft.units = Some(Units::SpikeCounts);
        draft.neuron_ids = Some(self.ids.clone());
        draft.trial_lengths = self.n_trials.map(|n_trials| vec![n_bins; n_trials]);
        draft.sorted = true;
        let unused = match &self.value_name {
            Some(name) => format!(" (`{name}` is not used)"),
            None => String::new(),
        };
        draft.notes.push(format!(
            "one line a spike{unused}: {} spikes of {} neurons, counted in bins of {} s from 0 s on",
            self.rows.len(),
            self.ids.len(),
            1.0 / rate_hz
        ));
        Ok(draft)
    }
}
