//! What was inferred beside the truth, where it is known.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use calcium::estimate::median;
use data::{Arrays, Dataset, Quantity};
use metrics::{AffineAlignment, Comparison, Fit, MetricsError, PulseTiming, pulse_timing};
use ndarray::{Array2, Array3, ArrayView1, ArrayView3, Axis, Ix2, Ix3, concatenate, s};
use serde::Serialize;

use crate::simple::{Activity, Deconvolver, N_COMPONENTS, Observed, of_components};

/// One quantity beside the truth.
#[derive(Debug, Serialize)]
pub struct Quality {
    /// Every frame that has a value in both files.
    pub all: Option<Fit>,
    /// Of those, the held-out ones, if the file says which.
    pub held_out: Option<Fit>,
    /// Held-out frames if there are any, else all; nothing for a neuron whose truth is constant.
    pub per_neuron: Vec<Option<Fit>>,
    /// Mean over the mean of the truth, of the same frames.
    pub mean_ratio: Option<f64>,
}

impl Quality {
    /// Of the neurons whose truth varies.
    pub fn median_r2(&self) -> Option<f64> {
        median(self.per_neuron.iter().flatten().map(|fit| fit.r2))
    }
}

/// Rates for which no model of the population is needed.
#[derive(Debug, Serialize)]
pub struct Simple {
    /// How they were made.
    pub name: String,
    #[serde(flatten)]
    /// How good they are.
    pub quality: Quality,
}

/// All that the truth says of a result.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// By the names of the arrays.
    #[serde(flatten)]
    pub qualities: BTreeMap<&'static str, Quality>,
    /// Rates by the simplest means, beside the inferred ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub simple: Vec<Simple>,
    /// What inferred inputs tell of the true pulses of the held-out trials, of all where none is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulses: Option<PulseTiming>,
}

/// `[trial, time]`, true where held out; none where the file does not say.
fn held_out(inferred: &Arrays) -> Result<Option<Array2<bool>>> {
    let Some(array) = inferred.arrays.get("held_out") else {
        return Ok(None);
    };
    let mask = array.values.clone().into_dimensionality::<Ix2>();
    Ok(Some(
        mask.context("`held_out` must be [trial, time]")?
            .mapv(|v| v > 0.5),
    ))
}

/// Results of a program and the truth that they should come near to.
struct BesideTruth<'a> {
    path: &'a Path,
    truth_path: &'a Path,
    inferred: &'a Arrays,
    truth: &'a Dataset,
    held_out: Option<Array2<bool>>,
}

impl Evaluation {
    /// What the results at `path` are worth, by the truth at `truth_path`.
    ///
    /// # Errors
    /// Files that cannot be read, have nothing in common, or arrays of other shapes.
    pub fn of(path: &Path, truth_path: &Path) -> Result<Self> {
        let inferred = Arrays::read(path)?;
        let truth = Dataset::read(truth_path)?;
        let beside = BesideTruth::new([path, truth_path], &inferred, &truth)?;
        let qualities = beside.qualities()?;
        if qualities.is_empty() {
            let known: Vec<&str> = inferred.arrays.keys().map(String::as_str).collect();
            bail!(
                "{}: it holds {}, of which {} has none; nothing to compare",
                path.display(),
                known.join(", "),
                truth_path.display()
            );
        }
        let simple = match qualities.contains_key("rates") {
            true => beside.simple()?,
            false => Vec::new(),
        };
        Ok(Self {
            qualities,
            simple,
            pulses: beside.pulses()?,
        })
    }
}

impl<'a> BesideTruth<'a> {
    /// What was `inferred` and the `truth`, read from these `paths`; `held_out` must be `[trial, time]`.
    fn new(paths: [&'a Path; 2], inferred: &'a Arrays, truth: &'a Dataset) -> Result<Self> {
        let [path, truth_path] = paths;
        Ok(Self {
            path,
            truth_path,
            inferred,
            truth,
            held_out: held_out(inferred)?,
        })
    }

    /// Every quantity that both hold; the latents by an affine map of the factors, fitted where nothing was held out, and the factors by
    /// one of the latents.
    ///
    /// # Errors
    /// Shapes that differ.
    fn qualities(&self) -> Result<BTreeMap<&'static str, Quality>> {
        let pairs = [
            ("rates", Quantity::Rates),
            ("spikes", Quantity::Spikes),
            ("calcium", Quantity::Calcium),
            ("fluor", Quantity::Fluor),
        ];
        let mut qualities = BTreeMap::new();
        for (name, quantity) in pairs {
            if let (Some(inferred), Some(truth)) = (self.array(name)?, both(self.truth, quantity)?)
            {
                self.check(name, &inferred, &truth)?;
                qualities.insert(name, self.quality(inferred.view(), truth.view())?);
            }
        }
        if let (Some(factors), Some(latent)) =
            (self.array("factors")?, both(self.truth, Quantity::Latent)?)
        {
            // Both ways: factors may hold all of the latents and much else beside.
            let [carried, back] =
                [(&factors, &latent), (&latent, &factors)].map(|(from, to)| self.align(from, to));
            qualities.insert("latent", self.quality(carried?.view(), latent.view())?);
            qualities.insert("factors", self.quality(back?.view(), factors.view())?);
        }
        Ok(qualities)
    }

    /// Smoothed deconvolved activity of what was observed, and its principal components, beside the
    /// true rates; nothing where the file does not hold what was observed. Each is smoothed by the width that
    /// comes nearest to the truth, which no user could know: a model is measured against the best that
    /// smoothing can do.
    ///
    /// # Errors
    /// Shapes that differ; no `dt`.
    fn simple(&self) -> Result<Vec<Simple>> {
        let (Some(observed), Some(rates)) =
            (self.array("observed")?, both(self.truth, Quantity::Rates)?)
        else {
            return Ok(Vec::new());
        };
        self.check("observed", &observed, &rates)?;
        let dt_s = self.inferred.numbers.get("dt").copied();
        let dt_s = dt_s.with_context(|| format!("{}: it has no `dt`", self.path.display()))?;
        let numbers = |name: &str| -> Option<Vec<f32>> {
            let array = self.inferred.arrays.get(name)?;
            Some(array.values.iter().copied().collect())
        };
        let sizes = numbers("spike_size").filter(|sizes| sizes.len() == rates.dim().2);
        let observed = Observed {
            values: observed.view(),
            dt_s,
            tau_s: None,
            spike_size: sizes.as_deref(),
        };
        let frames = rates.dim();
        let train = match &self.held_out {
            Some(held_out) => held_out.mapv(|held_out| !held_out),
            None => Array2::from_elem((frames.0, frames.1), true),
        };
        let by = match sizes {
            Some(_) => &[Deconvolver::Oasis, Deconvolver::Network][..],
            None => &[Deconvolver::Counts],
        };
        let mut found = Vec::new();
        for &by in by {
            let activity = Activity::of(observed, by)?;
            let by = by.name();
            let [mut best, mut best_held] = [None, None];
            for sd_s in activity.widths_s() {
                let smooth = activity.smoothed(sd_s);
                // Components weigh neurons by how much they vary: in spikes, or as bright as they are.
                for units in std::iter::once(None).chain(sizes.as_deref().map(Some)) {
                    let held = in_units(units, &smooth, |s| of_components(s, train.view()))?;
                    let components = format!("{by}, {N_COMPONENTS} components, {sd_s} s");
                    self.keep_better(&mut best_held, components, held.view(), rates.view())?;
                }
                let smoothed = format!("{by}, smoothed {sd_s} s");
                self.keep_better(&mut best, smoothed, smooth.view(), rates.view())?;
            }
            found.extend(best.into_iter().chain(best_held));
        }
        Ok(found)
    }

    /// What the inferred inputs tell of the pulses, if the truth has one in each trial.
    ///
    /// # Errors
    /// Numbers that are none.
    fn pulses(&self) -> Result<Option<PulseTiming>> {
        let (Some(inferred), Some(truth)) =
            (self.array("inputs")?, both(self.truth, Quantity::Inputs)?)
        else {
            return Ok(None);
        };
        if inferred.shape()[..2] != truth.shape()[..2] {
            return Ok(None);
        }
        // Behind the end of a shorter trial nothing is inferred.
        let is_whole = |trial: usize| {
            let held_out = |mask: &Array2<bool>| mask.row(trial).iter().all(|&v| v);
            let inputs = inferred.index_axis(Axis(0), trial);
            self.held_out.as_ref().is_none_or(held_out) && inputs.iter().all(|u| u.is_finite())
        };
        let trials: Vec<usize> = (0..inferred.dim().0).filter(|&t| is_whole(t)).collect();
        let of_trials = |array: &Array3<f32>| array.select(Axis(0), &trials);
        let [inferred, truth] = [&inferred, &truth].map(of_trials);
        match pulse_timing(inferred.view(), truth.view(), PulseTiming::TOLERANCE) {
            Err(MetricsError::ConstantTruth { .. }) => Ok(None),
            timing => Ok(timing.map(Some)?),
        }
    }

    fn keep_better(
        &self,
        best: &mut Option<Simple>,
        name: String,
        estimate: ArrayView3<'_, f32>,
        rates: ArrayView3<'_, f32>,
    ) -> Result<()> {
        let quality = self.quality(estimate, rates)?;
        let score = |simple: &Simple| simple.quality.median_r2();
        let found = Simple { name, quality };
        if best.as_ref().is_none_or(|best| score(&found) > score(best)) {
            *best = Some(found);
        }
        Ok(())
    }

    fn array(&self, name: &str) -> Result<Option<Array3<f32>>> {
        let Some(array) = self.inferred.arrays.get(name) else {
            return Ok(None);
        };
        let found = array.values.shape().to_vec();
        let values = match found.len() {
            // One recording, as `deconvolve --blocks` writes it.
            2 => array.values.clone().insert_axis(Axis(0)),
            _ => array.values.clone(),
        };
        let array = values.into_dimensionality::<Ix3>();
        array.map(Some).map_err(|_| {
            anyhow::anyhow!(
                "{}: dataset `{name}` has shape {found:?}; its axes must be [trial, time, neuron]",
                self.path.display()
            )
        })
    }

    fn check(&self, name: &str, inferred: &Array3<f32>, truth: &Array3<f32>) -> Result<()> {
        if inferred.shape() != truth.shape() {
            bail!(
                "{}: dataset `{name}` has shape {:?}, the truth in {} {:?}, in [trial, time, neuron]; compare what was inferred from the same recording",
                self.path.display(),
                inferred.shape(),
                self.truth_path.display(),
                truth.shape()
            );
        }
        Ok(())
    }

    /// What of `from`, factors or latents, an affine map carries onto the other, `to`: fitted where nothing was held
    /// out.
    fn align(&self, from: &Array3<f32>, to: &Array3<f32>) -> Result<Array3<f32>> {
        if from.shape()[..2] != to.shape()[..2] {
            bail!(
                "{}: `factors` and the true latents have shapes {:?} and {:?}: trials and frames must agree",
                self.path.display(),
                from.shape(),
                to.shape()
            );
        }
        let is_there = |trial: usize, bin: usize| {
            let all = |array: &Array3<f32>| {
                let frame = array.slice(s![trial, bin, ..]);
                frame.iter().all(|value| value.is_finite())
            };
            all(from) && all(to)
        };
        let held_out = |frame| self.held_out.as_ref().is_some_and(|mask| mask[frame]);
        let bins: Vec<(usize, usize)> = ndarray::indices((from.dim().0, from.dim().1))
            .into_iter()
            .filter(|&(trial, bin)| !held_out([trial, bin]) && is_there(trial, bin))
            .collect();
        let gather = |array: &Array3<f32>| {
            Array3::from_shape_fn((1, bins.len(), array.dim().2), |(_, row, column)| {
                let (trial, bin) = bins[row];
                array[[trial, bin, column]]
            })
        };
        let alignment = AffineAlignment::fit(gather(from).view(), gather(to).view())?;
        // Frames behind the end of a trial stay missing.
        let zeroed = from.mapv(|value| if value.is_nan() { 0.0 } else { value });
        let mut carried = alignment.apply(zeroed.view())?;
        for ((trial, bin, _), value) in carried.indexed_iter_mut() {
            if from[[trial, bin, 0]].is_nan() {
                *value = f32::NAN;
            }
        }
        Ok(carried)
    }

    fn quality(
        &self,
        inferred: ArrayView3<'_, f32>,
        truth: ArrayView3<'_, f32>,
    ) -> Result<Quality, MetricsError> {
        let all = Comparison::new(inferred, truth)?;
        let held_out = self
            .held_out
            .as_ref()
            .filter(|mask| mask.iter().any(|&v| v));
        let held_out = held_out.map(|mask| all.within(mask.view())).transpose()?;
        Ok(Quality {
            all: all.pooled(),
            held_out: held_out.and_then(|held_out| held_out.pooled()),
            per_neuron: held_out.unwrap_or(all).per_neuron(),
            mean_ratio: held_out.unwrap_or(all).mean_ratio(),
        })
    }
}

/// What `estimate` makes of rates, `[trial, time, neuron]`, in units in which a spike of each neuron has such a size; in
/// rates again.
fn in_units(
    units: Option<&[f32]>,
    rates: &Array3<f32>,
    estimate: impl Fn(ArrayView3<'_, f32>) -> Result<Array3<f32>>,
) -> Result<Array3<f32>> {
    let Some(units) = units else {
        return estimate(rates.view());
    };
    let sizes = ArrayView1::from(units);
    Ok(estimate((rates * &sizes).view())? / sizes)
}

/// Trials of both splits, those for training first.
fn both(truth: &Dataset, quantity: Quantity) -> Result<Option<Array3<f32>>> {
    match (truth.train.get(quantity), truth.valid.get(quantity)) {
        (Some(train), Some(valid)) => Ok(Some(
            concatenate(Axis(0), &[train.view(), valid.view()])
                .with_context(|| format!("truth: `{quantity}` of both splits"))?,
        )),
        (one, other) => Ok(one.or(other).cloned()),
    }
}

#[cfg(test)]
mod tests {
    use data::Split;

    use super::*;

    /// Three trials are inferred as they were; the fourth, which is held out, with its neurons exchanged and twice the rate.
    #[test]
    fn held_out_frames_are_judged_and_rivals_at_their_best() {
        let rates = Array3::from_shape_fn((4, 200, 3), |(i, t, n)| {
            4.0 + 3.6 * (0.2 * t as f32 + (i + 2 * n) as f32).sin()
        });
        let counts = Array3::from_shape_fn((4, 200, 3), |(i, t, n)| {
            let uniform = ((t * 7919 + n * 31 + i * 101) % 97) as f32 / 97.0;
            f32::from(uniform < 0.05 * rates[[i, t, n]])
        });
        let mut inferred = rates.clone();
        for n in 0..3 {
            let other = &rates.slice(s![3, .., (n + 1) % 3]) * 2.0;
            inferred.slice_mut(s![3, .., n]).assign(&other);
        }
        let split = |trials: std::ops::Range<usize>| Split {
            rates: Some(rates.slice(s![trials, .., ..]).to_owned()),
            ..Split::default()
        };
        let truth = Dataset {
            dt_s: 0.05,
            tau_s: None,
            discretisation: None,
            loadings: None,
            seed: None,
            recipe: None,
            train: split(0..3),
            valid: split(3..4),
        };
        let held_out = Array2::from_shape_fn((4, 200), |(trial, _)| f32::from(trial == 3));
        let mut found = Arrays::default();
        found.numbers.insert("dt".into(), 0.05);
        found.insert("rates", "Hz", inferred.clone().into_dyn());
        found.insert("observed", "", counts.clone().into_dyn());
        found.insert("held_out", "", held_out.into_dyn());
        let files = [Path::new("a"), Path::new("b")];
        let beside = BesideTruth::new(files, &found, &truth).unwrap();
        let own = &beside.qualities().unwrap()["rates"];
        let unseen = |x: &Array3<f32>| x.slice(s![3, .., 0]).to_owned();
        let wanted = metrics::fit(unseen(&inferred).view(), unseen(&rates).view()).unwrap();
        assert!((own.per_neuron[0].unwrap().cod - wanted.cod).abs() < 1e-6);
        assert!((own.mean_ratio.unwrap() - 2.0).abs() < 1e-4);
        let best = beside.simple().unwrap().remove(0).quality.median_r2();
        let observed = Observed {
            values: counts.view(),
            dt_s: 0.05,
            tau_s: None,
            spike_size: None,
        };
        let activity = Activity::of(observed, Deconvolver::Counts).unwrap();
        for sd_s in activity.widths_s() {
            let smoothed = activity.smoothed(sd_s);
            let other = beside.quality(smoothed.view(), rates.view()).unwrap();
            assert!(best >= other.median_r2(), "{sd_s}");
        }
    }
}
