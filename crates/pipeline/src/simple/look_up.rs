//! The most similar trials: what a recording repeats needs no dynamics to be foreseen.

use ndarray::{Array2, Array3, ArrayView3, Axis};

/// Training trials in the order of their likeness to each of some other trials.
#[derive(Clone, Debug)]
pub struct LookUp {
    /// `[trial][rank]`: numbers of training trials.
    ranked: Vec<Vec<usize>>,
}

impl LookUp {
    /// Ranks the trials of `train` by their distance to each of `trials`: squared differences of the square roots of
    /// smoothed activity, which vary alike whatever the rate, over all bins and neurons.
    ///
    /// # Shapes
    /// `[trial, time, neuron]`, the same times and neurons; nothing is missing.
    /// # Units
    /// Spikes per second, or any other.
    pub fn new(train: ArrayView3<'_, f32>, trials: ArrayView3<'_, f32>) -> Self {
        let (train, trials) = (features(train), features(trials));
        let lengths = |features: &Array2<f32>| -> Vec<f32> {
            features.outer_iter().map(|row| row.dot(&row)).collect()
        };
        let of_train = lengths(&train);
        let alike = trials.dot(&train.t());
        let ranked = alike.outer_iter().map(|alike| {
            // The length of the trial itself is the same for all.
            let distance = |&other: &usize| of_train[other] - 2.0 * alike[other];
            let mut order: Vec<usize> = (0..of_train.len()).collect();
            order.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
            order
        });
        Self {
            ranked: ranked.collect(),
        }
    }

    /// For each trial the mean of `values`, of the training trials, over the `n` most similar ones.
    ///
    /// # Shapes
    /// `values`: `[training trial, time, ·]`; the result: `[trial, time, ·]`.
    pub fn mean_of(&self, n: usize, values: ArrayView3<'_, f32>) -> Array3<f32> {
        let (n_train, n_bins, n_columns) = values.dim();
        let n = n.clamp(1, n_train);
        let mut means = Array3::zeros((self.ranked.len(), n_bins, n_columns));
        for (mut mean, order) in means.outer_iter_mut().zip(&self.ranked) {
            for &trial in &order[..n] {
                mean += &values.index_axis(Axis(0), trial);
            }
            mean /= n as f32;
        }
        means
    }
}

/// `[trial, time·neuron]`.
fn features(activity: ArrayView3<'_, f32>) -> Array2<f32> {
    let (n_trials, n_bins, n_neurons) = activity.dim();
    let roots = activity.iter().map(|rate| rate.max(0.0).sqrt()).collect();
    Array2::from_shape_vec((n_trials, n_bins * n_neurons), roots)
        .expect("every value has become one")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three conditions, told apart by which neuron is active, each with its own latent.
    #[test]
    fn trials_are_explained_by_those_of_their_own_condition() {
        let activity = |n: usize, shift: f32| {
            Array3::from_shape_fn((n, 5, 3), |(trial, t, neuron)| {
                let active = if trial % 3 == neuron { 4.0 } else { 0.5 };
                active + shift * (t % 2) as f32
            })
        };
        let (train, trials) = (activity(9, 0.3), activity(4, -0.2));
        let latent =
            Array3::from_shape_fn((9, 5, 1), |(trial, t, _)| (10 * (trial % 3) + t) as f32);
        let found = LookUp::new(train.view(), trials.view()).mean_of(3, latent.view());
        for ((trial, t, _), &value) in found.indexed_iter() {
            let wanted = (10 * (trial % 3) + t) as f32;
            assert!((value - wanted).abs() < 1e-5, "{value}, {wanted}");
        }
    }

    #[test]
    fn more_neighbours_than_trials_are_all_trials() {
        let train = Array3::from_shape_fn((4, 2, 2), |(trial, ..)| trial as f32);
        let trials = Array3::zeros((1, 2, 2));
        let look_up = LookUp::new(train.view(), trials.view());
        assert_eq!(
            look_up.mean_of(99, train.view()),
            Array3::from_elem((1, 2, 2), 1.5)
        );
        assert_eq!(look_up.mean_of(0, train.view()), trials);
    }
}
