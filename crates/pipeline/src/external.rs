//! Inputs to the dynamics that are known: scaled, and cut as the recording is.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Result, bail};
use data::Recording;
use ndarray::{Array2, Array3, ArrayView3, Axis, CowArray, Ix3, concatenate, s};
use serde::{Deserialize, Serialize};

use crate::pieces::Piece;

/// `run.json`: the known inputs of a fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalRecord {
    /// File.
    #[serde(serialize_with = "crate::run_folder::lossy")]
    pub path: PathBuf,
    /// Dataset in it.
    pub dataset: String,
    /// Inputs by name.
    pub names: Vec<String>,
    /// Of each over the frames that training sees: what is taken off.
    pub mean: Vec<f32>,
    /// Likewise: what it is divided by then.
    pub sd: Vec<f32>,
}

impl ExternalRecord {
    /// What of it contradicts itself, or a model of `n_inputs`.
    pub(crate) fn contradiction(&self, n_inputs: usize) -> Option<String> {
        let (mean, sd) = (self.mean.len(), self.sd.len());
        if [self.names.len(), mean, sd] != [n_inputs; 3] {
            return Some(format!(
                "`external` has {} names, {mean} means and {sd} SDs for {n_inputs} inputs",
                self.names.len()
            ));
        }
        let wrong = |sd: &&f32| !(sd.is_finite() && **sd > 0.0);
        let sd = self.sd.iter().find(wrong)?;
        Some(format!(
            "`external.sd` has the value {sd}; it must be above 0"
        ))
    }
}

/// The known inputs of a recording, in the units of a record.
#[derive(Clone, Debug)]
pub(crate) struct External {
    /// `[time, input]` of each trial or the one stretch.
    stretches: Vec<Array2<f32>>,
    record: ExternalRecord,
}

impl External {
    /// Inputs beside the recording, as [`Recording::beside`] made them, scaled by what training sees of them.
    ///
    /// # Errors
    /// An input that never changes there.
    pub fn measure(inputs: &Recording, seen: &[Vec<Range<usize>>]) -> Result<Self> {
        let stretches = inputs.stretches();
        let spans = stretches.iter().zip(seen);
        let (mut mean, mut sd) = (Vec::new(), Vec::new());
        for (input, name) in inputs.neuron_ids.iter().enumerate() {
            let values = spans.clone().flat_map(|(stretch, spans)| {
                let column = stretch.index_axis(Axis(1), input);
                spans
                    .iter()
                    .cloned()
                    .flat_map(move |span| column.slice_move(s![span]))
            });
            let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
            for &value in values {
                let value = f64::from(value);
                n += 1.0;
                sum += value;
                squares += value * value;
            }
            let average = sum / n;
            let variance = squares / n - average * average;
            if variance.is_nan() || variance <= 1e-12 * squares / n {
                bail!(
                    "{}: the input `{name}` is {average} in every frame that training sees; leave it out",
                    inputs.path.display()
                );
            }
            mean.push(average as f32);
            sd.push(variance.sqrt() as f32);
        }
        let record = ExternalRecord {
            path: inputs.path.clone(),
            dataset: inputs.dataset.clone(),
            names: inputs.neuron_ids.clone(),
            mean,
            sd,
        };
        Ok(Self::scaled(inputs, record))
    }

    /// Inputs of another session, in the units of the training's.
    ///
    /// # Errors
    /// Others than those of the training; none where those were.
    pub fn of_session(
        inputs: Option<&Recording>,
        trained: Option<&ExternalRecord>,
    ) -> Result<Option<Self>> {
        match (inputs, trained) {
            (None, None) => Ok(None),
            (Some(inputs), Some(trained)) => {
                let (found, names) = (&inputs.neuron_ids, &trained.names);
                if found.len() != names.len() {
                    bail!(
                        "{}: {} inputs ({}), the model was fitted with {} ({}); give the same in the same order",
                        inputs.path.display(),
                        found.len(),
                        found.join(", "),
                        names.len(),
                        names.join(", ")
                    );
                }
                if found != names {
                    tracing::warn!(
                        "the inputs are called {}, those of the training {}: taken as the same, in this order",
                        found.join(", "),
                        names.join(", ")
                    );
                }
                Ok(Some(Self::scaled(inputs, trained.clone())))
            }
            (None, Some(trained)) => bail!(
                "the model was fitted with known inputs ({}): give this session's with --inputs",
                trained.names.join(", ")
            ),
            (Some(inputs), None) => bail!(
                "{}: the model was fitted without known inputs; leave --inputs out",
                inputs.path.display()
            ),
        }
    }

    fn scaled(inputs: &Recording, record: ExternalRecord) -> Self {
        let scaled = |stretch: ndarray::ArrayView2<'_, f32>| {
            let mut stretch = stretch.to_owned();
            for (input, mut column) in stretch.axis_iter_mut(Axis(1)).enumerate() {
                column.mapv_inplace(|x| (x - record.mean[input]) / record.sd[input]);
            }
            stretch
        };
        Self {
            stretches: inputs.stretches().into_iter().map(scaled).collect(),
            record,
        }
    }

    /// Which they are and how they are scaled.
    pub fn record(&self) -> &ExternalRecord {
        &self.record
    }

    /// As they were given, `[trial, time, input]`; NaN where a trial has ended.
    pub fn trials(&self) -> Array3<f32> {
        let ExternalRecord { mean, sd, .. } = &self.record;
        let longest = self.stretches.iter().map(Array2::nrows).max().unwrap_or(0);
        let shape = (self.stretches.len(), longest, mean.len());
        let mut all = Array3::from_elem(shape, f32::NAN);
        for (mut to, stretch) in all.outer_iter_mut().zip(&self.stretches) {
            for ((frame, input), &value) in stretch.indexed_iter() {
                to[[frame, input]] = value * sd[input] + mean[input];
            }
        }
        all
    }

    /// `values`, `[piece, time, neuron]`, with the inputs of their frames behind the neurons.
    fn behind(&self, values: ArrayView3<'_, f32>, pieces: &[Piece]) -> Array3<f32> {
        let (n_pieces, n_bins, _) = values.dim();
        let mut shown = Array3::from_elem((n_pieces, n_bins, self.record.names.len()), f32::NAN);
        for (piece, mut shown) in pieces.iter().zip(shown.outer_iter_mut()) {
            let stretch = &self.stretches[piece.trial];
            // As of the neurons: what training must not see has no length.
            let frames = piece.visible.clone();
            shown
                .slice_mut(s![frames.start - piece.start..frames.end - piece.start, ..])
                .assign(&stretch.slice(s![frames, ..]));
        }
        concatenate![Axis(2), values, shown]
    }
}

/// What a model takes of pieces: their values, and known inputs behind them where there are any.
pub(crate) fn batch<'a>(
    external: Option<&External>,
    values: ArrayView3<'a, f32>,
    pieces: &[Piece],
) -> CowArray<'a, f32, Ix3> {
    match external {
        Some(external) => external.behind(values, pieces).into(),
        None => values.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_contradicts_itself_is_found_out() {
        let record = ExternalRecord {
            path: "speed.npy".into(),
            dataset: "speed".into(),
            names: vec!["speed".into(), "licks".into()],
            mean: vec![0.0, 1.0],
            sd: vec![1.0, 2.0],
        };
        assert_eq!(record.contradiction(2), None);
        let said = record.contradiction(1).unwrap();
        assert!(
            said.contains("2 names") && said.contains("1 inputs"),
            "{said}"
        );
        let mut short = record.clone();
        short.mean.pop();
        assert!(short.contradiction(2).unwrap().contains("1 means"));
        let mut flat = record;
        flat.sd[1] = 0.0;
        assert!(flat.contradiction(2).unwrap().contains("`external.sd`"));
    }
}
