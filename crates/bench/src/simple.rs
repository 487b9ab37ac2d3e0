//! Rates by the simplest means, each set as suits the truth best: a model is measured against the best they can do.

use anyhow::{Context, Result};
use data::{Quantity, Split};
use metrics::Fit;
use model::Inferred;
use ndarray::{Array2, Array3, ArrayView3, Axis, concatenate};
use pipeline::simple::{Activity, Deconvolver, LookUp, Observed, of_components};

use crate::dataset::BenchmarkData;
use crate::evaluate::{self, Inference};
use crate::table::Metric;
use crate::untrained::Scored;

/// Most similar trials that are averaged.
const NEIGHBOURS: [usize; 5] = [2, 4, 8, 16, 32];
/// Hz: rates are compared with latents by their logarithms, none below this.
const LEAST_RATE_HZ: f32 = 0.1;

/// What follows on deconvolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Smoothing,
    Components,
    LookUp,
}

/// The activity of all neurons in one dataset, by each deconvolver that was asked for: taken once.
#[derive(Debug)]
pub struct Activities<'a> {
    data: &'a BenchmarkData,
    taken: Vec<Activity>,
}

impl<'a> Activities<'a> {
    /// None taken yet.
    pub fn of(data: &'a BenchmarkData) -> Self {
        let taken = Vec::new();
        Self { data, taken }
    }

    fn by(&mut self, by: Deconvolver) -> Result<&Activity> {
        if self.taken.iter().all(|activity| activity.by != by) {
            self.taken.push(take(self.data, by)?);
        }
        let taken = self.taken.iter().find(|activity| activity.by == by);
        Ok(taken.expect("it was taken just now, if not before"))
    }
}

/// What a deconvolver reads.
const fn read_by(by: Deconvolver) -> Quantity {
    match by {
        Deconvolver::Counts => Quantity::Spikes,
        Deconvolver::Oasis | Deconvolver::Network => Quantity::Fluor,
    }
}

/// The activity of the train trials, then of the held-out ones.
fn take(data: &BenchmarkData, by: Deconvolver) -> Result<Activity> {
    let dataset = &data.dataset;
    let quantity = read_by(by);
    let read = |split: &Split| split.require(quantity).cloned();
    let (train, valid) = (read(&dataset.train)?, read(&dataset.valid)?);
    let values = concatenate(Axis(0), &[train.view(), valid.view()])?;
    let observed = Observed {
        values: values.view(),
        dt_s: dataset.dt_s,
        tau_s: dataset.tau_s.filter(|_| by == Deconvolver::Oasis),
        spike_size: None,
    };
    Activity::of(observed, by)
}

/// The scores on the held-out trials of whatever fits their rates best, and the median r² over neurons.
///
/// # Errors
/// Data without what `by` reads.
pub fn scores(
    activities: &mut Activities<'_>,
    by: Deconvolver,
    means: Means,
) -> Result<(Scored, Option<f64>)> {
    let data = activities.data;
    let n_train = data.dataset.train.require(read_by(by))?.dim().0;
    let activity = activities.by(by)?;
    let mut best: Option<(Scored, Option<f64>)> = None;
    for sd_s in activity.widths_s() {
        for [train, valid] in estimates(activity.smoothed(sd_s), n_train, means)? {
            let found = score(data, train.view(), valid)?;
            if best
                .as_ref()
                .is_none_or(|(best, _)| rates_r2(&found.0) > rates_r2(best))
            {
                best = Some(found);
            }
        }
    }
    best.context("no Gaussian is wide enough for its bins")
}

/// Rates of the train and of the held-out trials, in each setting there is.
fn estimates(smooth: Array3<f32>, n_train: usize, means: Means) -> Result<Vec<[Array3<f32>; 2]>> {
    let split = |rates: ArrayView3<'_, f32>| {
        let (train, valid) = rates.split_at(Axis(0), n_train);
        [train.to_owned(), valid.to_owned()]
    };
    Ok(match means {
        Means::Smoothing => vec![split(smooth.view())],
        Means::Components => {
            let (n_trials, n_bins, _) = smooth.dim();
            let seen = Array2::from_shape_fn((n_trials, n_bins), |(trial, _)| trial < n_train);
            vec![split(of_components(smooth.view(), seen.view())?.view())]
        }
        Means::LookUp => {
            let [train, valid] = split(smooth.view());
            let look_up = LookUp::new(train.view(), valid.view());
            let with = |n: usize| [train.clone(), look_up.mean_of(n, train.view())];
            NEIGHBOURS.into_iter().map(with).collect()
        }
    })
}

fn score(
    data: &BenchmarkData,
    train: ArrayView3<'_, f32>,
    valid: Array3<f32>,
) -> Result<(Scored, Option<f64>)> {
    let log = |rates: ArrayView3<'_, f32>| rates.mapv(|rate| rate.max(LEAST_RATE_HZ).ln());
    let inference = Inference {
        train_factors: log(train),
        valid: Inferred {
            factors: log(valid.view()),
            rates_hz: valid,
            spikes: None,
            fluor: None,
            inputs: None,
        },
    };
    let scored = evaluate::scores(&inference, &data.dataset)?;
    let per_neuron = evaluate::rates_per_neuron(&inference.valid, &data.dataset)?;
    Ok((scored.into_iter().collect(), per_neuron))
}

fn rates_r2(scored: &Scored) -> f64 {
    let rates = scored.iter().find(|(metric, _)| *metric == Metric::Rates);
    rates.map_or(f64::NEG_INFINITY, |(_, Fit { r2, .. })| *r2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    /// Repeats of the same conditions: similar trials tell more than the trial's own smoothed spikes.
    #[test]
    fn on_repeats_similar_trials_tell_more_than_smoothing() {
        let data = BenchmarkData::load(&Recipe::quick().unwrap(), 1, None).unwrap();
        let mut activities = Activities::of(&data);
        let mut r2 = |means| {
            let (scored, per_neuron) = scores(&mut activities, Deconvolver::Counts, means).unwrap();
            assert!(per_neuron.unwrap() > 0.1, "{per_neuron:?}");
            rates_r2(&scored)
        };
        let [smoothed, components, look_up] =
            [Means::Smoothing, Means::Components, Means::LookUp].map(&mut r2);
        assert!(smoothed < components, "{smoothed} {components}");
        assert!(smoothed < look_up && look_up > 0.5, "{smoothed} {look_up}");
    }
}
