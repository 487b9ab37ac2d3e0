//! Lists: one line for each frame and neuron, or one for each spike.

use std::iter::repeat_n;

use ndarray::{Array2, Axis};

use super::list_survey::{Survey, Times};
use super::rows::{DATASET, of_sorted};
use crate::Problem;
use crate::format::csv::{self, Line};
use crate::format::text::{Text, decoded};
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::units::Units;
use crate::recording::{column_names, columns};

/// Names of columns, without spaces and signs, in small letters.
const IDS: [&str; 26] = [
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
    "neuronnumber",
    "roi",
    "roiid",
    "roiname",
    "roilabel",
    "roinumber",
    "cluster",
    "clusterid",
    "spikeclusters",
    "trackid",
    "objectnumber",
    "objectid",
    "componentid",
];
/// Names that may be those of neurons where no column is called as one of the above.
const MAYBE_IDS: [&str; 1] = ["id"];
/// The same, if what follows is a list of values and nothing else: as of pandas' `melt` and R's `pivot_longer`.
const HARDLY_IDS: [&str; 5] = ["variable", "name", "label", "object", "key"];
/// Times; so are names that [`column_names::time_unit_of`] knows.
const TIMES: [&str; 12] = [
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
];
/// Frames, where a list has no times.
const FRAMES: [&str; 5] = [
    "frame",
    "framenumber",
    "frameindex",
    "frameid",
    "imagenumber",
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
/// Columns of the longest list that is told from a table where no column is called as its values are.
const WIDEST_LIST: usize = 8;
/// Bins of all neurons together, at most.
const MOST_BINS: f64 = 1e9;
/// Share of neurons and times that a table has a value for.
const FULL: f64 = 0.9;

/// A list of neurons, times and perhaps values; `None` if the table is none.
///
/// The text is read twice: what neurons and times there are, then the values into their places.
///
/// # Errors
/// [`Problem::Ambiguous`] of several columns of values; [`Problem::SpikeTimes`] of spikes without a rate;
/// a cell that is no number.
pub(super) fn list(text: &Text, options: &Options) -> Result<Option<Draft>, Problem> {
    let Some(columns) = Columns::find(text.head(), options) else {
        return Ok(None);
    };
    let mut survey = Survey::default();
    // Of a table a cell of the time may be anything.
    let mut slip = None;
    csv::records(text, columns.delimiter, |line| {
        let time = line.number(columns.time);
        if time.is_none() {
            slip.get_or_insert_with(|| line.problem(columns.time));
        }
        let trial = columns.trial.map(|column| line.text(column));
        survey.see(
            &line.text(columns.id),
            trial.as_deref(),
            time.unwrap_or(f64::NAN),
        );
        Ok(())
    })?;
    // A table of one neuron that is called `cell` has as many values as lines.
    if !survey.is_list() {
        return Ok(None);
    }
    let value = match columns.is_sure {
        true => columns.value()?,
        false => columns.value().unwrap_or_default(),
    };
    if !columns.is_sure && (value.is_none() || slip.is_some()) {
        return Ok(None);
    }
    if let Some(slip) = slip {
        return Err(slip);
    }
    let list = List {
        value,
        times: survey.settle(),
        survey,
        columns,
    };
    if !list.columns.is_sure && !list.is_table() {
        return Ok(None);
    }
    if value.is_some() && !list.is_table() && list.survey.is_regular() {
        return Err(Problem::BadParameter {
            name: "the list",
            found: format!(
                "one in which each neuron has frames at a `{}` of its own",
                list.time_name()
            ),
            expected: "one in which all neurons have the same: number the frames in a column `frame`, in place of the time",
        });
    }
    match list.value.filter(|_| list.is_table()) {
        Some(value) => list.as_table(text, value).map(Some),
        None => list.in_bins(text, options).map(Some),
    }
}

/// Places of the columns of a list.
struct Columns {
    delimiter: u8,
    id: usize,
    time: usize,
    trial: Option<usize>,
    /// Whether the neurons' column is called as one.
    is_sure: bool,
    /// Columns that may be the values: the one, if it is known which.
    values: Vec<usize>,
    names: Vec<String>,
}

impl Columns {
    fn find(head: &[u8], options: &Options) -> Option<Self> {
        let mut lines = head.split(|&b| b == b'\n');
        let header = lines.find(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"))?;
        let header = decoded(header);
        let header = header.trim();
        let delimiter = *b";\t, ".iter().find(|b| header.contains(char::from(**b)))?;
        let names: Vec<&str> = header.split(char::from(delimiter)).collect();
        let names: Vec<String> = names
            .into_iter()
            .filter(|name| delimiter != b' ' || !name.is_empty())
            .map(|name| name.trim().trim_matches('"').to_owned())
            .collect();
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
        let ids = [&IDS[..], &MAYBE_IDS, &HARDLY_IDS];
        let known = ids.into_iter().find(|known| !all(known).is_empty())?;
        let id = only(known)?;
        let is_sure = known != HARDLY_IDS;
        let trial = only(&TRIALS);
        // Times before frames: where a list has both, the first is taken.
        let rank = |place: &usize| {
            let among = |known: &[&str]| known.iter().position(|name| *name == plain[*place]);
            let by_unit = || column_names::time_unit_of(&names[*place]).map(|_| TIMES.len());
            let of_frames = || among(&FRAMES).map(|rank| TIMES.len() + 1 + rank);
            among(&TIMES).or_else(by_unit).or_else(of_frames)
        };
        let is_time =
            |place: &usize| *place != id && Some(*place) != trial && rank(place).is_some();
        let times: Vec<usize> = (0..names.len()).filter(is_time).collect();
        let time = *times.iter().min_by_key(|place| rank(place))?;
        if names.len() > WIDEST_LIST && only(&VALUES).is_none() {
            return None;
        }
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
            is_sure,
            values: match (named, &all(&VALUES)[..]) {
                (Some(named), _) => vec![named],
                (None, []) => others(),
                (None, known) => known.to_vec(),
            },
            names,
        })
    }

    /// The column of values, if there is one.
    fn value(&self) -> Result<Option<usize>, Problem> {
        match self.values[..] {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            _ => {
                let names = self.values.iter().map(|&place| self.names[place].clone());
                Err(Problem::Ambiguous {
                    kind: "column of values",
                    found: names.collect::<Vec<_>>().join(", "),
                })
            }
        }
    }
}

/// A list of which all is known but the values.
struct List {
    columns: Columns,
    value: Option<usize>,
    survey: Survey,
    /// Of each trial.
    times: Vec<Times>,
}

impl List {
    fn n_times(&self) -> usize {
        self.times.iter().map(Times::len).sum()
    }

    fn time_name(&self) -> &str {
        &self.columns.names[self.columns.time]
    }

    /// Whether neurons have their values at the same times.
    fn is_table(&self) -> bool {
        let (n_lines, n_times) = (self.survey.n_lines, self.n_times());
        let n_ids = self.survey.ids.names.len();
        let is_full = n_lines as f64 >= FULL * (n_times * n_ids) as f64;
        // Events of two neurons are hardly ever at one time, and those of many are a few of them; neurons
        // recorded in turn have their times in common.
        let is_shared = n_ids > 1 && 5 * n_lines > 6 * n_times && 4 * n_lines > n_times * n_ids;
        is_full || is_shared
    }

    /// Visits every line, with its neuron and its trial.
    fn visit(
        &self,
        text: &Text,
        mut visit: impl FnMut(&Line<'_>, usize, usize) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        csv::records(text, self.columns.delimiter, |line| {
            let neuron = self.survey.ids.place(&line.text(self.columns.id));
            let trial = self.columns.trial.map(|column| line.text(column));
            let trial = trial.and_then(|trial| self.survey.trials.place(&trial));
            // A file that changes while it is read has lines that the survey did not see.
            let neuron = neuron.ok_or_else(|| line.problem(self.columns.id))?;
            visit(line, neuron, trial.unwrap_or(0))
        })
    }

    /// The values `[time, neuron]`, NaN where there is none.
    fn values(&self, text: &Text, value: usize) -> Result<Array2<f32>, Problem> {
        let n_ids = self.survey.ids.names.len();
        let mut values = Array2::from_elem((self.n_times(), n_ids), f32::NAN);
        let mut is_taken = vec![0_u64; values.len().div_ceil(64)];
        let firsts: Vec<usize> = self
            .times
            .iter()
            .scan(0, |first, times| {
                let here = *first;
                *first += times.len();
                Some(here)
            })
            .collect();
        let mut cursors = vec![0; self.times.len()];
        self.visit(text, |line, neuron, trial| {
            let number = |column: usize| line.number(column).ok_or_else(|| line.problem(column));
            let (time, value) = (number(self.columns.time)?, number(value)?);
            let place = self.times[trial].place(time, &mut cursors[trial]);
            let place = place.ok_or_else(|| line.problem(self.columns.time))?;
            let row = firsts[trial] + place;
            let bit = row * n_ids + neuron;
            if is_taken[bit / 64] >> (bit % 64) & 1 == 1 {
                return Err(Problem::BadParameter {
                    name: "the list",
                    found: format!(
                        "two values of neuron `{}` at {} {time}",
                        self.survey.ids.names[neuron],
                        self.time_name()
                    ),
                    expected: "one for each neuron and time, or a column `trial` that tells them apart",
                });
            }
            is_taken[bit / 64] |= 1 << (bit % 64);
            values[[row, neuron]] = value as f32;
            Ok(())
        })?;
        Ok(values)
    }

    fn as_table(&self, text: &Text, value: usize) -> Result<Draft, Problem> {
        let values = self.values(text, value)?;
        let ids = &self.survey.ids.names;
        let trial = self.columns.trial.map(|_| "trial".to_owned());
        let time = self.time_name().to_owned();
        let n_before = usize::from(trial.is_some()) + 1;
        let names: Vec<String> = trial
            .into_iter()
            .chain([time])
            .chain(ids.iter().cloned())
            .collect();
        let times = || self.times.iter().enumerate();
        let column = |place: usize| -> Vec<f64> {
            match place.checked_sub(n_before) {
                Some(neuron) => values
                    .column(neuron)
                    .iter()
                    .map(|&v| f64::from(v))
                    .collect(),
                None if place + 1 == n_before => {
                    times().flat_map(|(_, times)| times.all()).collect()
                }
                None => times()
                    .flat_map(|(trial, times)| repeat_n(trial as f64, times.len()))
                    .collect(),
            }
        };
        let mut sorted = columns::sort(Some(&names), names.len(), column);
        let kept: Vec<usize> = sorted
            .neurons
            .iter()
            .filter_map(|place| place.checked_sub(n_before))
            .collect();
        let (n_times, n_ids) = values.dim();
        let values = match kept.len() == n_ids {
            true => values,
            false => values.select(Axis(1), &kept),
        };
        sorted.neurons = kept.iter().map(|place| place + n_before).collect();
        let mut draft = of_sorted(sorted, values, Some(&names));
        draft.notes.push(format!(
            "one line for each of {n_ids} neurons and {n_times} frames, put into a table"
        ));
        Ok(draft)
    }

    /// Spikes counted in bins of the width that the caller states.
    fn in_bins(&self, text: &Text, options: &Options) -> Result<Draft, Problem> {
        let ids = &self.survey.ids.names;
        let Some(rate_hz) = options.rate_hz.filter(|rate_hz| *rate_hz > 0.0) else {
            return Err(Problem::SpikeTimes {
                n_lines: self.survey.n_lines,
                n_neurons: ids.len(),
            });
        };
        let name = self.time_name().replace("spike", "").replace("Spike", "");
        let is_in_ms = name.to_ascii_lowercase().ends_with("ms");
        let by_name = column_names::time_unit_of(&name);
        let unit_s = by_name.unwrap_or(if is_in_ms { 1e-3 } else { 1.0 });
        let bin_of = |time: f64| (time * unit_s * rate_hz + 1e-9).floor();
        let is_time = |time: &f64| time.is_finite() && *time >= 0.0;
        let times = || self.times.iter().flat_map(Times::all);
        if let Some(time) = times().find(|time| !is_time(time)) {
            return Err(Problem::BadParameter {
                name: "time",
                found: time.to_string(),
                expected: "zero or more, for every spike",
            });
        }
        let n_bins = times().map(bin_of).fold(0.0, f64::max) + 1.0;
        let n_trials = self.times.len();
        if n_bins * n_trials as f64 * ids.len() as f64 > MOST_BINS {
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
        let mut counts = Array2::<f32>::zeros((n_trials * n_bins, ids.len()));
        self.visit(text, |line, neuron, trial| {
            let time = line.number(self.columns.time);
            let bin = time.filter(is_time).map(|time| bin_of(time) as usize);
            let bin = bin.filter(|bin| *bin < n_bins);
            let bin = bin.ok_or_else(|| line.problem(self.columns.time))?;
            counts[[trial * n_bins + bin, neuron]] += 1.0;
            Ok(())
        })?;
        let mut draft = Draft::bare(DATASET, counts.into_dyn());
        draft.order = Some(AxisOrder::TimeNeuron);
        draft.clock = Clock::RateHz(rate_hz);
        draft.units = Some(Units::SpikeCounts);
        draft.neuron_ids = Some(ids.clone());
        draft.trial_lengths = self.columns.trial.map(|_| vec![n_bins; n_trials]);
        draft.sorted = true;
        let unused = match self.value {
            Some(place) => format!(" (`{}` is not used)", self.columns.names[place]),
            None => String::new(),
        };
        draft.notes.push(format!(
            "one line a spike{unused}: {} spikes of {} neurons, counted in bins of {} s from 0 s on",
            self.survey.n_lines,
            ids.len(),
            1.0 / rate_hz
        ));
        Ok(draft)
    }
}
