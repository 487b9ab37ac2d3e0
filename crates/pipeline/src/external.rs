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
    #[serde(alias = "sd")]
    pub scale: Vec<f32>,
}

impl ExternalRecord {
    /// What of it contradicts itself, or a model of `n_inputs`.
    pub(crate) fn contradiction(&self, n_inputs: usize) -> Option<String> {
        let (mean, scale) = (self.mean.len(), self.scale.len());
        if [self.names.len(), mean, scale] != [n_inputs; 3] {
            return Some(format!(
                "`external` has {} names, {mean} means and {scale} scales for {n_inputs} inputs",
                self.names.len()
            ));
        }
        let wrong = |scale: &&f32| !(scale.is_finite() && **scale > 0.0);
        let scale = self.scale.iter().find(wrong)?;
        Some(format!(
            "`external.scale` has the value {scale}; it must be above 0"
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
        let (mut mean, mut scale) = (Vec::new(), Vec::new());
        for (input, name) in inputs.neuron_ids.iter().enumerate() {
            let values = spans.clone().flat_map(|(stretch, spans)| {
                let column = stretch.index_axis(Axis(1), input);
                spans
                    .iter()
                    .cloned()
                    .flat_map(move |span| column.slice_move(s![span]))
            });
            let values: Vec<f64> = values.map(|&value| value.into()).collect();
            let (average, unit) = Self::mean_and_unit(&values);
            let Some(unit) = unit else {
                bail!(
                    "{}: the input `{name}` is {average} in every frame that training sees; leave it out",
                    inputs.path.display()
                );
            };
            mean.push(average as f32);
            scale.push(unit as f32);
        }
        let record = ExternalRecord {
            path: inputs.path.clone(),
            dataset: inputs.dataset.clone(),
            names: inputs.neuron_ids.clone(),
            mean,
            scale,
        };
        Ok(Self::scaled(inputs, record))
    }

    /// The mean, and the unit in which deviations are measured: the SD of a normal distribution with the same ratio of fourth
    /// and second moments. Of what varies all the time that is the SD; of rare events it is about as large as they are,
    /// where the SD goes to zero with their number, and in its units every event would drive the gates of the generator into
    /// saturation. Nothing where all are the same.
    fn mean_and_unit(values: &[f64]) -> (f64, Option<f64>) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let moment = |power| values.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
        let (second, fourth) = (moment(2), moment(4));
        let varies = second > 1e-12 * (second + mean * mean);
        (mean, varies.then(|| (fourth / second / 3.0).sqrt()))
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
                column.mapv_inplace(|x| (x - record.mean[input]) / record.scale[input]);
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
        let ExternalRecord { mean, scale, .. } = &self.record;
        let longest = self.stretches.iter().map(Array2::nrows).max().unwrap_or(0);
        let shape = (self.stretches.len(), longest, mean.len());
        let mut all = Array3::from_elem(shape, f32::NAN);
        for (mut to, stretch) in all.outer_iter_mut().zip(&self.stretches) {
            for ((frame, input), &value) in stretch.indexed_iter() {
                to[[frame, input]] = value * scale[input] + mean[input];
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
    use data::Units;

    use super::*;
    use crate::testing;

    /// Of noise the SD; of pulses the same however rare they are.
    #[test]
    fn rare_events_are_as_large_as_noise() {
        let uniform: Vec<f64> = (0..1000).map(|k| f64::from(k) / 500.0).collect();
        let (mean, unit) = External::mean_and_unit(&uniform);
        assert!((mean - 0.999).abs() < 1e-9);
        // Fourth over second moment of a uniform distribution of half-width 1: 1/5 over 1/3.
        assert!((unit.unwrap() - (0.6f64 / 3.0).sqrt()).abs() < 1e-3);
        for every in [50, 1000] {
            let pulses: Vec<f64> = (0..100_000)
                .map(|k| if k % every == 7 { 2.0 } else { 0.0 })
                .collect();
            let unit = External::mean_and_unit(&pulses).1.unwrap();
            assert!((unit - 2.0 / 3f64.sqrt()).abs() < 0.05, "{unit}");
        }
        assert_eq!(External::mean_and_unit(&[5.0; 9]).1, None);
    }

    #[test]
    fn a_record_that_contradicts_itself_is_found_out() {
        let record = ExternalRecord {
            path: "speed.npy".into(),
            dataset: "speed".into(),
            names: vec!["speed".into(), "licks".into()],
            mean: vec![0.0, 1.0],
            scale: vec![1.0, 2.0],
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
        flat.scale[1] = 0.0;
        assert!(flat.contradiction(2).unwrap().contains("`external.scale`"));
    }

    #[test]
    fn a_model_sees_the_inputs_of_its_frames_in_units_of_the_training() {
        let input = |late: f32| {
            let values = Array2::from_shape_fn((60, 1), |(t, _)| match t < 40 {
                true => (t % 4) as f32,
                false => late,
            });
            testing::recording(values.into_dyn(), Units::Fluorescence)
        };
        let seen = [vec![0..20, 20..40]];
        let external = External::measure(&input(1000.0), &seen).unwrap();
        let other = External::measure(&input(7.0), &seen).unwrap();
        assert_eq!(external.record.mean, other.record.mean);
        assert_eq!(external.record.scale, other.record.scale);
        let piece = Piece {
            trial: 0,
            start: 30,
            visible: 33..38,
        };
        let (mean, scale) = (external.record.mean[0], external.record.scale[0]);
        let behind = external.behind(Array3::zeros((1, 10, 2)).view(), &[piece]);
        for bin in 0..10 {
            let shown = behind[[0, bin, 2]] * scale + mean;
            match (3..8).contains(&bin) {
                true => assert!(
                    (shown - ((30 + bin) % 4) as f32).abs() < 1e-5,
                    "{bin}: {shown}"
                ),
                false => assert!(shown.is_nan(), "{bin}: {shown}"),
            }
        }
        let later = External::of_session(Some(&input(5.0)), Some(&external.record));
        let later = later.unwrap().unwrap();
        assert!((later.stretches[0][[50, 0]] - (5.0 - mean) / scale).abs() < 1e-5);
    }
}
