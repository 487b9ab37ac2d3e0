//! Bayesian deconvolution under a constant rate of each neuron.

use anyhow::{Context, Result};
use calcium::Ar2;
use calcium::counts::{ConstantRate, SmoothedCounts, SpikeResponse};
use model::{CalciumModel, Indicator};
use ndarray::{Array3, Axis};
use rayon::prelude::*;

use crate::dataset::BenchmarkData;
use crate::table::Metric;
use crate::untrained::Scored;

/// Finds each neuron's rate and noise on the train trials, and the counts of the held-out ones.
///
/// # Errors
/// Data without fluorescence, or of an indicator that is not one.
pub fn scores(data: &BenchmarkData) -> Result<Scored> {
    let fluor = |split: &data::Split| split.require(data::Quantity::Fluor).cloned();
    let (train, valid) = (fluor(&data.dataset.train)?, fluor(&data.dataset.valid)?);
    let calcium = data.calcium(train.dim().2, None)?;
    let counts = infer(&train, &valid, &calcium)?;
    let collect = |value: fn(&SmoothedCounts) -> &Vec<f32>| {
        Array3::from_shape_fn(valid.dim(), |(trial, bin, neuron)| {
            value(&counts[neuron][trial])[bin]
        })
    };
    let mut scores = vec![(
        Metric::Fluorescence,
        metrics::fit(collect(|counts| &counts.fluorescence).view(), valid.view())?,
    )];
    if let Some(truth) = &data.dataset.valid.spikes {
        scores.push((
            Metric::Spikes,
            metrics::fit(collect(|counts| &counts.expected).view(), truth.view())?,
        ));
    }
    Ok(scores)
}

/// Counts of the `valid` trials, `[neuron][trial]`.
fn infer(
    train: &Array3<f32>,
    valid: &Array3<f32>,
    calcium: &CalciumModel,
) -> Result<Vec<Vec<SmoothedCounts>>> {
    let traces = |fluor: &Array3<f32>, neuron: usize| -> Vec<Vec<f32>> {
        let trials = fluor.index_axis(Axis(2), neuron);
        trials.rows().into_iter().map(|row| row.to_vec()).collect()
    };
    let neurons = calcium.neurons.par_iter().enumerate();
    let infer = |(neuron, indicator): (usize, &Indicator)| -> Result<Vec<SmoothedCounts>> {
        let response = SpikeResponse {
            ar: Ar2::from_roots(indicator.g, calcium.rise.unwrap_or(0.0))?,
            gain: indicator.gain,
            baseline: indicator.baseline,
            saturation: calcium.saturation,
            starts_decaying: false,
        };
        let own = traces(train, neuron);
        let own: Vec<&[f32]> = own.iter().map(Vec::as_slice).collect();
        let fit = ConstantRate::fit(response, &own).with_context(|| format!("neuron {neuron}"))?;
        let held_out = traces(valid, neuron);
        Ok(held_out.iter().map(|trace| fit.infer(trace)).collect())
    };
    let counts: Vec<Result<_>> = neurons.map(infer).collect();
    counts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn it_knows_the_spikes_of_the_quick_benchmark() {
        let data = BenchmarkData::load(&Recipe::quick().unwrap(), 1, None).unwrap();
        let scores = scores(&data).unwrap();
        let (_, spikes) = scores
            .iter()
            .find(|(metric, _)| *metric == Metric::Spikes)
            .unwrap();
        assert!(spikes.r2 > 0.985 && spikes.cod > 0.985, "{spikes:?}");
    }
}
