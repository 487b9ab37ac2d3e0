//! What a reader found, made a recording: axes put in order, time put on equal steps.

use std::path::Path;

use ndarray::{Array, Array2, ArrayD, ArrayView2, ArrayView3, Dimension, s};

use super::clock::{self, Clock, is_time};
use super::options::{AxisOrder, Options};
use super::traces::{Format, Recording, Traces, TrialInterval};
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
    pub(crate) discretisation: Option<String>,
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
            notes: Vec::new(),
        }
    }

    pub(super) fn finish(
        self,
        format: Format,
        path: &Path,
        options: &Options,
    ) -> Result<Recording, Problem> {
        let Self {
            dataset,
            values,
            clock,
            mut notes,
            ..
        } = self;
        if values.ndim() > 0 && values.is_empty() {
            return Err(Problem::Empty {
                dataset,
                shape: values.shape().to_vec(),
            });
        }
        let order = match (format, options.order) {
            (Format::Suite2p, _) | (_, None) => self.order,
            (_, stated) => stated,
        };
        let order = match order {
            Some(order) => order,
            None => guess_order(&dataset, values.shape(), &clock)?,
        };
        let values = time_first(values, order);
        check_finite(&dataset, &values)?;
        let n_neurons = values.shape().last().copied().unwrap_or_default();
        let clock = options.rate_hz.map_or(clock, Clock::RateHz);
        let (traces, dt_s, start_s) = if values.ndim() == 3 {
            let trials = unpad(with_axes(values, &dataset, "[trial, time, neuron]")?.view())?;
            (Traces::Trials(trials), clock.dt_s()?, self.start_s)
        } else {
            let axes = "[time, neuron] or [trial, time, neuron]";
            let trace = with_axes(values, &dataset, axes)?;
            let regular = clock::regularise(clock, trace, self.start_s, &dataset)?;
            notes.extend(regular.note);
            (
                Traces::Continuous(regular.trace),
                regular.dt_s,
                regular.start_s,
            )
        };
        let ids = self.neuron_ids.filter(|ids| ids.len() == n_neurons);
        Ok(Recording {
            traces,
            dt_s,
            start_s,
            units: options.units.or(self.units),
            neuron_ids: ids.unwrap_or_else(|| (0..n_neurons).map(|n| n.to_string()).collect()),
            trial_table: self.trial_table,
            n_train: self.n_train,
            tau_s: self.tau_s.filter(|&tau_s| is_time(tau_s)),
            discretisation: self.discretisation,
            path: path.to_owned(),
            format,
            dataset,
            notes,
        })
    }
}

fn time_first(mut values: ArrayD<f32>, order: AxisOrder) -> ArrayD<f32> {
    let n_axes = values.ndim();
    if order == AxisOrder::NeuronTime && n_axes >= 2 {
        values.swap_axes(n_axes - 2, n_axes - 1);
    }
    values
}

fn with_axes<D: Dimension>(
    values: ArrayD<f32>,
    dataset: &str,
    axes: &'static str,
) -> Result<Array<f32, D>, Problem> {
    let found = values.shape().to_vec();
    let object = format!("dataset `{dataset}`");
    let array = values.into_dimensionality();
    array.map_err(|_| Problem::Rank {
        object,
        found,
        axes,
    })
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

/// Time first, unless a clock says otherwise or there would be more neurons than frames.
pub(crate) fn guess_order(
    dataset: &str,
    shape: &[usize],
    clock: &Clock,
) -> Result<AxisOrder, Problem> {
    let &[rows, columns] = shape else {
        return Ok(AxisOrder::TimeNeuron);
    };
    if let Clock::TimesS(times) = clock {
        if times.len() == columns && columns != rows {
            return Ok(AxisOrder::NeuronTime);
        }
    } else if columns > rows {
        return Err(Problem::AxisOrder {
            dataset: dataset.to_owned(),
            rows,
            columns,
        });
    }
    Ok(AxisOrder::TimeNeuron)
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
