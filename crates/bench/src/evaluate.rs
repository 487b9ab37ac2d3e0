//! What a trained model inferred, compared with the truth on the held-out trials.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use calcium::estimate::median;
use data::{Dataset, Quantity, Split};
use metrics::{AffineAlignment, Comparison, Fit, MetricsError, PulseTiming, pulse_timing};
use model::Inferred;
use ndarray::{Array3, ArrayView3, Axis, s};

use crate::figures::{Example, Pair};
use crate::table::Metric;

/// Neurons in the figure.
const N_EXAMPLES: usize = 3;

/// Posterior means: of the train split only what aligns factors with latents.
#[derive(Debug)]
pub struct Inference {
    pub train_factors: Array3<f32>,
    pub valid: Inferred,
}

/// Compares everything that both the model and the dataset have, on the held-out trials.
///
/// Rates, spikes and fluorescence are compared as they are, all elements pooled. The Lorenz
/// latents are compared with an affine map of the factors that is fitted on the train trials.
///
/// # Errors
/// If something inferred is not finite, or its truth is constant.
pub fn scores(
    inference: &Inference,
    dataset: &Dataset,
) -> Result<BTreeMap<Metric, Fit>, MetricsError> {
    let (inferred, truth) = (&inference.valid, &dataset.valid);
    let latent = inferred_latent(inference, dataset)?;
    let pairs = [
        (Metric::Lorenz, latent.as_ref(), truth.latent.as_ref()),
        (
            Metric::Rates,
            Some(&inferred.rates_hz),
            truth.rates.as_ref(),
        ),
        (
            Metric::Spikes,
            inferred.spikes.as_ref(),
            truth.spikes.as_ref(),
        ),
        (
            Metric::Fluorescence,
            inferred.fluor.as_ref(),
            truth.fluor.as_ref(),
        ),
    ];
    let comparable = pairs
        .into_iter()
        .filter_map(|(metric, inferred, truth)| Some((metric, inferred?, truth?)));
    comparable
        .map(|(metric, inferred, truth)| Ok((metric, metrics::fit(inferred.view(), truth.view())?)))
        .collect()
}

/// The median over neurons of the r² of the held-out rates, if those are known.
///
/// # Errors
/// Arrays of different shapes.
pub fn rates_per_neuron(
    inferred: &Inferred,
    dataset: &Dataset,
) -> Result<Option<f64>, MetricsError> {
    let Some(truth) = &dataset.valid.rates else {
        return Ok(None);
    };
    let neurons = Comparison::new(inferred.rates_hz.view(), truth.view())?.per_neuron();
    Ok(median(neurons.iter().flatten().map(|fit| fit.r2)))
}

/// What the inferred inputs tell of the held-out trials' pulses, if both are known and some trial has a pulse.
///
/// # Errors
/// Arrays of different shapes, or values that are not finite.
pub fn pulses(inferred: &Inferred, dataset: &Dataset) -> Result<Option<PulseTiming>, MetricsError> {
    let (Some(inputs), Some(truth)) = (&inferred.inputs, &dataset.valid.inputs) else {
        return Ok(None);
    };
    match pulse_timing(inputs.mean.view(), truth.view(), PulseTiming::TOLERANCE) {
        Err(MetricsError::ConstantTruth { .. }) => Ok(None),
        timing => timing.map(Some),
    }
}

/// The first held-out trial, its most active neurons; nothing if the model or the dataset lack
/// one of the figure's quantities.
pub fn example(inference: &Inference, dataset: &Dataset) -> Result<Option<Example>, MetricsError> {
    let latent = inferred_latent(inference, dataset)?;
    let (inferred, truth) = (&inference.valid, &dataset.valid);
    let neurons = most_active(truth);
    let example = || {
        let pair =
            |truth: Option<&Array3<f32>>, inferred: Option<&Array3<f32>>, which: &[usize]| {
                Some(Pair {
                    truth: series(truth?.view(), which),
                    inferred: series(inferred?.view(), which),
                })
            };
        Some(Example {
            dt_s: dataset.dt_s,
            trial: 0,
            fluorescence: pair(truth.fluor.as_ref(), inferred.fluor.as_ref(), &neurons)?,
            rates_hz: pair(truth.rates.as_ref(), Some(&inferred.rates_hz), &neurons)?,
            spikes: pair(truth.spikes.as_ref(), inferred.spikes.as_ref(), &neurons)?,
            lorenz: pair(truth.latent.as_ref(), latent.as_ref(), &[0, 1, 2])?,
            neurons: neurons.clone(),
        })
    };
    Ok(example())
}

/// The held-out factors in the coordinates of the true latents, if those are known.
fn inferred_latent(
    inference: &Inference,
    dataset: &Dataset,
) -> Result<Option<Array3<f32>>, MetricsError> {
    let (Some(train), Some(_)) = (&dataset.train.latent, &dataset.valid.latent) else {
        return Ok(None);
    };
    let alignment = AffineAlignment::fit(inference.train_factors.view(), train.view())?;
    alignment.apply(inference.valid.factors.view()).map(Some)
}

/// Neurons of the first trial by falling spike count, in ascending order of index.
fn most_active(truth: &Split) -> Vec<usize> {
    let Some(spikes) = truth.get(Quantity::Spikes) else {
        return Vec::new();
    };
    let counts = spikes.index_axis(Axis(0), 0).sum_axis(Axis(0));
    let mut neurons: Vec<usize> = (0..counts.len()).collect();
    neurons.sort_by_key(|&neuron| Reverse(counts[neuron] as u64));
    neurons.truncate(N_EXAMPLES);
    neurons.sort_unstable();
    neurons
}

/// The chosen series of the first trial of a `[trial, time, ·]` array.
fn series(array: ArrayView3<'_, f32>, which: &[usize]) -> Vec<Vec<f32>> {
    let one = |&index: &usize| array.slice(s![0, .., index]).to_vec();
    which.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        let mut recipe = synth::LorenzBenchmark {
            n_bins: 20,
            n_neurons: 4,
            ..synth::LorenzBenchmark::default()
        };
        recipe.design.n_conditions = 3;
        recipe.simulate(1).unwrap()
    }

    /// The truth as if it were inferred, the factors being latents in another order.
    fn perfect(dataset: &Dataset, order: [usize; 3]) -> Inference {
        let factors = |split: &Split| {
            let latent = split.latent.as_ref().unwrap();
            latent
                .select(Axis(2), &order)
                .mapv(|value| 0.5 - 2.0 * value)
        };
        Inference {
            train_factors: factors(&dataset.train),
            valid: Inferred {
                factors: factors(&dataset.valid),
                rates_hz: dataset.valid.rates.clone().unwrap(),
                spikes: dataset.valid.spikes.clone(),
                fluor: dataset.valid.fluor.clone(),
                inputs: None,
            },
        }
    }

    #[test]
    fn an_example_shows_the_truth_as_true_and_what_was_inferred_as_inferred() {
        let dataset = dataset();
        let mut inference = perfect(&dataset, [0, 1, 2]);
        inference.valid.rates_hz *= 2.0;
        let rates_hz = example(&inference, &dataset).unwrap().unwrap().rates_hz;
        for (inferred, truth) in rates_hz.inferred.iter().zip(&rates_hz.truth) {
            for (inferred, truth) in inferred.iter().zip(truth) {
                assert!(
                    (inferred - 2.0 * truth).abs() < 1e-4,
                    "{inferred} for {truth}"
                );
            }
        }
    }

    #[test]
    fn the_truth_scores_one_everywhere() {
        let dataset = dataset();
        let scores = scores(&perfect(&dataset, [2, 0, 1]), &dataset).unwrap();
        assert_eq!(scores.len(), Metric::ALL.len());
        for (metric, Fit { r2, cod }) in scores {
            let least = r2.min(cod);
            assert!(least > 1.0 - 1e-6, "{metric:?}: {r2} {cod}");
        }
    }

    #[test]
    fn the_latents_map_is_that_of_the_train_trials() {
        let dataset = dataset();
        let mut inference = perfect(&dataset, [2, 0, 1]);
        inference.valid.factors = perfect(&dataset, [0, 1, 2]).valid.factors;
        let Fit { r2, cod } = scores(&inference, &dataset).unwrap()[&Metric::Lorenz];
        assert!(r2 < 0.7 && cod < 0.5, "{r2} {cod}");
    }

    /// 1 − SSE/SST of twice the truth is 1 − Σ truth²/SST, not what half the truth gets.
    #[test]
    fn inferred_and_truth_are_not_swapped() {
        let dataset = dataset();
        let mut inference = perfect(&dataset, [0, 1, 2]);
        inference.valid.rates_hz *= 2.0;
        let truth = dataset.valid.rates.as_ref().unwrap().mapv(f64::from);
        let total = truth.var(0.0) * truth.len() as f64;
        let want = 1.0 - truth.mapv(|rate| rate * rate).sum() / total;
        let Fit { r2, cod } = scores(&inference, &dataset).unwrap()[&Metric::Rates];
        assert!((r2 - 1.0).abs() < 1e-6, "{r2}");
        assert!(
            (cod - want).abs() < 1e-4 * want.abs(),
            "{cod} is not {want}"
        );
    }
}
