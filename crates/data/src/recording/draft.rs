//! What a reader found, made a recording: axes put in order, time put on equal steps.

use std::path::Path;

use calcium::Discretisation;
use calcium::estimate::median;
use ndarray::{Array2, ArrayD, ArrayView2, ArrayView3, Axis, Dimension, Ix2, s};

use super::axes;
use super::clock::{self, Clock};
use super::columns;
use super::grid::is_time;
use super::mask::Mask;
use super::options::{AxisOrder, Options};
use super::traces::{Format, RateFrom, Recording, Traces, TrialInterval};
use super::units::Units;
use crate::Problem;

/// What a reader found, before the caller's options apply.
pub(crate) struct Draft {
    /// Dataset, variable or file.
    pub(crate) dataset: String,
    /// Two axes, continuous; three, trials.
    pub(crate) values: ArrayD<f32>,
    /// `None` where the file does not say.
    pub(crate) order: Option<AxisOrder>,
    pub(crate) clock: Clock,
    pub(crate) start_s: f64,
    pub(crate) units: Option<Units>,
    pub(crate) neuron_ids: Option<Vec<String>>,
    pub(crate) trial_table: Vec<TrialInterval>,
    pub(crate) n_train: Option<usize>,
    pub(crate) tau_s: Option<f64>,
    pub(crate) discretisation: Option<Discretisation>,
    /// Whether the reader has told counters and times from neurons.
    pub(crate) sorted: bool,
    /// Frames of each trial of two axes, where they lie end to end.
    pub(crate) trial_lengths: Option<Vec<usize>>,
    /// Frames that the file itself calls no data, `[time]`.
    pub(crate) no_data: Option<Vec<bool>>,
    pub(crate) notes: Vec<String>,
}

impl Draft {
    /// Values of which the file says nothing more.
    pub(crate) fn bare(dataset: &str, values: ArrayD<f32>) -> Self {
        Self {
            dataset: dataset.to_owned(),
            values,
            order: None,
            clock: Clock::Unstated,
            start_s: 0.0,
            units: None,
            neuron_ids: None,
            trial_table: Vec::new(),
            n_train: None,
            tau_s: None,
            discretisation: None,
            sorted: false,
            trial_lengths: None,
            no_data: None,
            notes: Vec::new(),
        }
    }

    pub(super) fn finish(
        mut self,
        format: Format,
        path: &Path,
        options: &Options,
    ) -> Result<Recording, Problem> {
        self.orient(format, options)?;
        check_finite(&self.dataset, &self.values)?;
        if !self.sorted {
            self.set_apart()?;
        }
        self.hide(options)?;
        self.notes.extend(code_of_missing(&self.values));
        let n_neurons = self.values.shape().last().copied().unwrap_or_default();
        let ids = self.neuron_ids.take().filter(|ids| ids.len() == n_neurons);
        let ids = ids.unwrap_or_else(|| (0..n_neurons).map(|n| n.to_string()).collect());
        let rate_from = match (options.rate_hz, &self.clock) {
            (Some(_), _) => RateFrom::Stated,
            (None, Clock::TimesS(_)) => RateFrom::Times,
            (None, _) => RateFrom::File,
        };
        let Timed {
            traces,
            dt_s,
            start_s,
        } = self.timed(options)?;
        if self.tau_s.is_some() && self.discretisation.is_none() {
            self.notes.push(format!(
                "`tau` comes without `discretisation`: \"{}\" is assumed",
                Discretisation::default()
            ));
        }
        let recording = Recording {
            traces,
            dt_s,
            rate_from,
            start_s,
            units: options.units.or(self.units),
            neuron_ids: ids,
            neuron_numbers: (0..n_neurons).collect(),
            trial_table: self.trial_table,
            n_train: self.n_train,
            tau_s: self.tau_s.filter(|&tau_s| is_time(tau_s)),
            discretisation: self.discretisation,
            path: path.to_owned(),
            format,
            dataset: self.dataset,
            notes: self.notes,
        };
        recording.part(&options.part)
    }

    /// Time before neurons, trials before both.
    fn orient(&mut self, format: Format, options: &Options) -> Result<(), Problem> {
        if self.sorted && matches!(self.values.shape(), [n, 0] if *n > 0) {
            let dataset = self.dataset.clone();
            return Err(Problem::OnlyCounters { dataset });
        }
        if self.values.ndim() > 0 && self.values.is_empty() {
            return Err(Problem::Empty {
                dataset: self.dataset.clone(),
                shape: self.values.shape().to_vec(),
            });
        }
        // suite2p has but one order, and a table's reader has seen to it.
        let (order, is_own) = match (format, options.order) {
            (Format::Suite2p | Format::Csv, _) | (_, None) => (self.order, true),
            (_, Some(stated)) => {
                self.check_trials(stated)?;
                (Some(stated), false)
            }
        };
        // The lengths of trials are those of frames in the file's own order.
        if self.trial_lengths.is_some() && order != self.order {
            return Err(Problem::BadParameter {
                name: "order",
                found: order.map_or_else(String::new, |order| order.to_string()),
                expected: "what the trials of this file tell: leave it out",
            });
        }
        let values = std::mem::take(&mut self.values);
        let oriented = axes::oriented(&self.dataset, values, order, &self.clock)?;
        self.values = oriented.values;
        if !(is_own && self.order.is_some()) {
            self.notes.extend(oriented.notes);
        }
        Ok(())
    }

    /// Trials that lie one behind the other tell which axis is the time.
    fn check_trials(&self, stated: AxisOrder) -> Result<(), Problem> {
        let own = self.order.filter(|_| self.trial_lengths.is_some());
        if own.is_none_or(|own| own.is_neuron_first() == stated.is_neuron_first()) {
            return Ok(());
        }
        Err(Problem::BadParameter {
            name: "order",
            found: stated.to_string(),
            expected: "the other one of [time, neuron] and [neuron, time], as the trials follow one another \
                       along that axis, or their lengths differ along it",
        })
    }

    /// Columns that are counters or times leave the neurons.
    fn set_apart(&mut self) -> Result<(), Problem> {
        let last = Axis(self.values.ndim() - 1);
        let first_trial = match self.values.ndim() {
            2 => self.values.view(),
            _ => self.values.index_axis(Axis(0), 0),
        };
        let first_trial = first_trial
            .into_dimensionality::<Ix2>()
            .map_err(|_| Problem::Rank {
                object: format!("dataset `{}`", self.dataset),
                found: self.values.shape().to_vec(),
                axes: "[time, neuron] or [trial, time, neuron]",
            })?;
        let column = |place: usize| -> Vec<f64> {
            let lane = first_trial.index_axis(Axis(1), place);
            lane.iter().map(|&v| f64::from(v)).collect()
        };
        // Whole columns are looked at only where one begins as a counter does.
        let rows = first_trial.axis_windows(Axis(0), 2).into_iter();
        let mut n_falls = vec![0; self.values.len_of(last)];
        for pair in rows.take(columns::FEWEST_ROWS - 1) {
            let steps = pair.index_axis(Axis(0), 1).into_iter();
            let steps = steps.zip(pair.index_axis(Axis(0), 0));
            for (n_falls, (later, earlier)) in n_falls.iter_mut().zip(steps) {
                *n_falls += usize::from(later <= earlier);
            }
        }
        let begins_large = |place: usize| first_trial[[0, place]] >= columns::LARGE as f32;
        let n_columns = self.values.len_of(last);
        if n_falls.iter().all(|n| *n > MOST_FALLS) && !(0..n_columns).any(begins_large) {
            return Ok(());
        }
        let sorted = columns::sort(None, n_columns, column);
        if sorted.neurons.len() == n_columns {
            return Ok(());
        }
        if sorted.neurons.is_empty() {
            return Err(Problem::OnlyCounters {
                dataset: self.dataset.clone(),
            });
        }
        self.values = self.values.select(last, &sorted.neurons);
        if let Some(ids) = self.neuron_ids.take().filter(|ids| ids.len() == n_columns) {
            let kept = sorted.neurons.iter().map(|&n| ids[n].clone());
            self.neuron_ids = Some(kept.collect());
        }
        if self.values.ndim() == 2 && matches!(self.clock, Clock::Unstated) {
            self.clock = sorted.clock;
            self.start_s = sorted.start_s;
        }
        self.notes.extend(sorted.notes);
        Ok(())
    }

    /// Frames that are no data become NaN: the file's own and those of the mask.
    fn hide(&mut self, options: &Options) -> Result<(), Problem> {
        let own = self.no_data.take().filter(|_| !options.flagged_frames);
        let stated = match &options.mask {
            Some(path) => Some(Mask::read(path, self.values.shape(), &mut self.notes)?),
            None => None,
        };
        for mask in own.map(Mask::of_frames).into_iter().chain(stated) {
            mask.apply(self.values.view_mut(), 0);
        }
        Ok(())
    }

    /// Time on equal steps.
    fn timed(&mut self, options: &Options) -> Result<Timed, Problem> {
        let clock = std::mem::replace(&mut self.clock, Clock::Unstated);
        if matches!((&clock, options.rate_hz), (Clock::TimesS(_), Some(_))) {
            self.notes
                .push("the file's frame times are not used, as a rate is stated (`rate`)".into());
        }
        let clock = match options.rate_hz {
            None => clock.plausible()?,
            stated => clock.stated(stated),
        };
        let values = std::mem::take(&mut self.values);
        if values.ndim() == 3 {
            let trials = unpad(axes::as_trials(values, &self.dataset)?.view())?;
            return Ok(Timed {
                traces: Traces::Trials(trials),
                dt_s: clock.of_trials()?.dt_s()?,
                start_s: self.start_s,
            });
        }
        let found = values.shape().to_vec();
        let trace: Array2<f32> =
            values
                .into_dimensionality::<Ix2>()
                .map_err(|_| Problem::Rank {
                    object: format!("dataset `{}`", self.dataset),
                    found,
                    axes: "[time, neuron] or [trial, time, neuron]",
                })?;
        if let Some(lengths) = self.trial_lengths.take() {
            return self.in_trials(&trace, clock, &lengths);
        }
        let regular = clock::regularise(clock, trace, self.start_s, &self.dataset)?;
        self.notes.extend(regular.notes);
        Ok(Timed {
            traces: Traces::Continuous(regular.trace),
            dt_s: regular.dt_s,
            start_s: regular.start_s,
        })
    }

    /// Trials that lie end to end, each with its own times.
    fn in_trials(
        &mut self,
        trace: &Array2<f32>,
        clock: Clock,
        lengths: &[usize],
    ) -> Result<Timed, Problem> {
        let mut trials = Vec::new();
        let mut steps_s = Vec::new();
        let mut first = 0;
        for &length in lengths {
            let span = first..first + length;
            first += length;
            let clock = match &clock {
                // One frame has no step of its own.
                Clock::TimesS(_) if length < 2 => continue,
                Clock::TimesS(times) => Clock::TimesS(times[span.clone()].to_vec()),
                other => other.clone(),
            };
            let trial = trace.slice(s![span, ..]).to_owned();
            let regular = clock::regularise(clock, trial, self.start_s, &self.dataset)?;
            self.notes.extend(regular.notes);
            trials.push(regular.trace);
            steps_s.push(regular.dt_s);
        }
        let dt_s = median(steps_s).ok_or(Problem::MissingRate)?;
        if trials.len() < lengths.len() {
            let n_short = lengths.len() - trials.len();
            self.notes
                .push(format!("{n_short} trials of a single frame are left out"));
        }
        Ok(Timed {
            traces: Traces::Trials(trials),
            dt_s,
            start_s: self.start_s,
        })
    }
}

/// Of a counter's first steps so many may fall back.
const MOST_FALLS: usize = 3;

/// Traces on equal steps.
struct Timed {
    traces: Traces,
    dt_s: f64,
    start_s: f64,
}

/// Trials without the frames at their end in which every neuron is NaN.
fn unpad(trials: ArrayView3<'_, f32>) -> Result<Vec<Array2<f32>>, Problem> {
    let unpad_one = |(trial, values): (usize, ArrayView2<'_, f32>)| {
        let recorded = |frame: &usize| !values.row(*frame).iter().all(|v| v.is_nan());
        match (0..values.nrows()).rev().find(recorded) {
            Some(last) => Ok(values.slice(s![..=last, ..]).to_owned()),
            None => Err(Problem::EmptyTrial {
                trial,
                found: "nothing but NaN".to_owned(),
            }),
        }
    };
    trials.outer_iter().enumerate().map(unpad_one).collect()
}

/// What tables hold where there is no data, and no fluorescence is.
const CODES: [f32; 3] = [-999.0, -9999.0, -99999.0];

/// A note of a lowest value that can only be such a code.
fn code_of_missing(values: &ArrayD<f32>) -> Option<String> {
    let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
    let code = CODES
        .into_iter()
        .find(|code| code.total_cmp(&lowest).is_eq())?;
    let others = values.iter().filter(|v| **v > code);
    let next = others.copied().fold(f32::INFINITY, f32::min);
    let n = values.iter().filter(|v| **v <= code).count();
    (next > 0.5 * code).then(|| {
        format!(
            "{n} values are {code}, as of missing frames: write NaN there, they are taken for data"
        )
    })
}

fn check_finite(dataset: &str, values: &ArrayD<f32>) -> Result<(), Problem> {
    if !values.iter().fold(false, |any, v| any | v.is_infinite()) {
        return Ok(());
    }
    let bad = values.indexed_iter().find(|(_, v)| v.is_infinite());
    bad.map_or(Ok(()), |(index, &value)| {
        Err(Problem::Infinite {
            dataset: dataset.to_owned(),
            index: index.slice().to_vec(),
            value,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_missing_frames_are_named() {
        let said = |values: &[f32]| {
            let values = Array2::from_shape_vec((values.len(), 1), values.to_vec()).unwrap();
            code_of_missing(&values.into_dyn()).unwrap_or_default()
        };
        assert!(said(&[0.1, -9999.0, -0.3, -9999.0]).starts_with("2 values are -9999,"));
        assert_eq!(said(&[0.1, -999.0, -998.0]), "");
        assert_eq!(said(&[0.1, -0.3, f32::NAN]), "");
    }
}
