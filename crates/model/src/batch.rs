//! Observations as the trainer sees them: trials in `[trial, time, neuron]`, time-major batches.

use burn::tensor::{Device, Tensor, TensorData};
use gru::kernels::in_chunks;
use ndarray::{Array3, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut1, Axis, s};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::ModelError;

/// Bins of a batch that a task puts in order.
const BATCH_BINS: usize = 25;

/// Training and validation observations, `[trial, time, neuron]`.
#[derive(Clone, Debug)]
pub struct TrainData {
    train: Array3<f32>,
    valid: Array3<f32>,
    /// Bins of each training trial up to the last that has data.
    lengths: Vec<usize>,
}

/// A part of a trial; all of a batch are of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub trial: usize,
    pub first: usize,
}

/// How often an epoch of excerpts sees a bin on average.
const VIEWS: usize = 2;

impl TrainData {
    /// Checks and takes both splits. NaN marks what is missing: frames without data, and bins
    /// past the end of a trial shorter than the others.
    ///
    /// # Errors
    /// [`ModelError::Data`] if a split is empty, the splits differ in bins or neurons, a value
    /// is infinite, or a neuron has no value at all in training.
    pub fn new(train: Array3<f32>, valid: Array3<f32>) -> Result<Self, ModelError> {
        if train.dim().1 != valid.dim().1 {
            return Err(disagree(&train, &valid, "bins and neurons must agree"));
        }
        Self::excerpts_of(train, valid)
    }

    /// The same with training trials, or stretches of a long recording, of which each epoch sees
    /// excerpts at random places, as long as the validation trials.
    ///
    /// # Errors
    /// As [`TrainData::new`], but that training trials may be longer than validation trials.
    pub fn excerpts_of(train: Array3<f32>, valid: Array3<f32>) -> Result<Self, ModelError> {
        for (name, split) in [("train", &train), ("valid", &valid)] {
            check_observations(name, split.view())?;
        }
        check_every_neuron(train.view())?;
        if train.dim().1 < valid.dim().1 || train.dim().2 != valid.dim().2 {
            let must = "neurons must agree, and training trials be as long as the others at least";
            return Err(disagree(&train, &valid, must));
        }
        let has_data = |bin: ArrayView1<'_, f32>| bin.iter().any(|x| !x.is_nan());
        let length = |trial: ArrayView2<'_, f32>| {
            let last = trial.outer_iter().rposition(has_data);
            last.map_or(0, |last| last + 1)
        };
        Ok(Self {
            lengths: train.outer_iter().map(length).collect(),
            train,
            valid,
        })
    }

    /// Bins that a training step sees of a trial.
    pub(crate) fn n_bins(&self) -> usize {
        self.valid.dim().1
    }

    /// What epoch `epoch` sees, in its order: every trial, or excerpts of all of them.
    pub(crate) fn epoch(&self, seed: u64, epoch: usize) -> Vec<Excerpt> {
        let (n_trials, n_bins) = (self.train.dim().0, self.n_bins());
        if self.train.dim().1 == n_bins {
            let whole = |trial| Excerpt { trial, first: 0 };
            return shuffled(n_trials, seed, epoch)
                .into_iter()
                .map(whole)
                .collect();
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(epoch as u64);
        let mut excerpts = Vec::new();
        for (trial, &length) in self.lengths.iter().enumerate() {
            let room = length.saturating_sub(n_bins);
            let n = (VIEWS * length).div_ceil(n_bins);
            // One at a random place of each of so many equal parts.
            excerpts.extend((0..n).map(|part| Excerpt {
                trial,
                first: rng.random_range(part * room / n..=(part + 1) * room / n),
            }));
        }
        excerpts.shuffle(&mut rng);
        excerpts
    }

    /// At most `most` excerpts, spread over all trials in regular order.
    pub(crate) fn spread(&self, most: usize) -> Vec<Excerpt> {
        let n_bins = self.n_bins();
        let all: Vec<Excerpt> = (0..self.train.dim().0)
            .flat_map(|trial| {
                let room = self.lengths[trial].saturating_sub(n_bins);
                let places = (0..=room).step_by((n_bins / 4).max(1));
                places.map(move |first| Excerpt { trial, first })
            })
            .collect();
        let n = all.len().min(most);
        (0..n).map(|index| all[index * all.len() / n]).collect()
    }

    /// The training trials.
    pub fn train(&self) -> ArrayView3<'_, f32> {
        self.train.view()
    }

    /// The validation trials.
    pub fn valid(&self) -> ArrayView3<'_, f32> {
        self.valid.view()
    }
}

fn disagree(train: &Array3<f32>, valid: &Array3<f32>, must: &str) -> ModelError {
    ModelError::Data(format!(
        "train is {:?} and valid {:?} in [trial, time, neuron]: {must}",
        train.dim(),
        valid.dim()
    ))
}

pub(crate) fn check_observations(name: &str, x: ArrayView3<'_, f32>) -> Result<(), ModelError> {
    if x.is_empty() {
        return Err(ModelError::Data(format!(
            "{name} is empty: shape {:?} in [trial, time, neuron]",
            x.dim()
        )));
    }
    if let Some((index, value)) = x.indexed_iter().find(|(_, value)| value.is_infinite()) {
        return Err(ModelError::Data(format!(
            "{name} has the value {value} at [trial, time, neuron] {index:?}; observations must be \
             finite, or NaN where there are none"
        )));
    }
    Ok(())
}

fn check_every_neuron(train: ArrayView3<'_, f32>) -> Result<(), ModelError> {
    let mut neurons = train.axis_iter(Axis(2));
    match neurons.position(|neuron| neuron.iter().all(|x| x.is_nan())) {
        Some(neuron) => Err(ModelError::Data(format!(
            "train has no value for neuron {neuron}: all are NaN; leave the neuron out"
        ))),
        None => Ok(()),
    }
}

/// The chosen trials as `[time, trial, neuron]` on `device`.
pub(crate) fn time_major(x: ArrayView3<'_, f32>, trials: &[usize], device: &Device) -> Tensor<3> {
    let whole = |&trial: &usize| Excerpt { trial, first: 0 };
    let trials: Vec<Excerpt> = trials.iter().map(whole).collect();
    excerpts(x, &trials, x.dim().1, device)
}

/// Excerpts of `n_bins` bins as `[time, trial, neuron]` on `device`.
pub(crate) fn excerpts(
    x: ArrayView3<'_, f32>,
    chosen: &[Excerpt],
    n_bins: usize,
    device: &Device,
) -> Tensor<3> {
    let n_neurons = x.dim().2;
    let shape = [n_bins, chosen.len(), n_neurons];
    let row_len = chosen.len() * n_neurons;
    // Trial by trial, since the bins of a trial lie together; a task's bins fit the cache.
    let values = in_chunks(n_bins * row_len, BATCH_BINS * row_len, |task, rows| {
        let bins = rows.len() / row_len;
        for (column, &Excerpt { trial, first }) in chosen.iter().enumerate() {
            let first = first + task * BATCH_BINS;
            let trial = x.slice(s![trial, first..first + bins, ..]);
            for (row, from) in rows.chunks_exact_mut(row_len).zip(trial.outer_iter()) {
                let to = &mut row[column * n_neurons..][..n_neurons];
                ArrayViewMut1::from(to).assign(&from);
            }
        }
    });
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Adds a `[time, trial, ·]` tensor to the given trials of a `[trial, time, ·]` array.
pub(crate) fn add_to_trials(sum: &mut Array3<f32>, first_trial: usize, tensor: Tensor<3>) {
    let [_, n_trials, n_last] = tensor.dims();
    let values = host(&tensor);
    let row_len = n_trials * n_last;
    for (offset, mut trial) in sum
        .axis_iter_mut(Axis(0))
        .skip(first_trial)
        .take(n_trials)
        .enumerate()
    {
        for (mut target, rows) in trial.outer_iter_mut().zip(values.chunks_exact(row_len)) {
            let row = ArrayView1::from(&rows[offset * n_last..(offset + 1) * n_last]);
            target += &row;
        }
    }
}

/// The values, whatever float type the device computes in.
pub(crate) fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    let data = tensor.to_data();
    match data.as_slice::<f32>() {
        Ok(values) => values.to_vec(),
        Err(_) => data.iter::<f32>().collect(),
    }
}

/// The order in which epoch `epoch` visits the trials.
pub(crate) fn shuffled(n_trials: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n_trials).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64);
    order.shuffle(&mut rng);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two stretches of 40 and 25 bins, in excerpts of 10; a bin's value is its number.
    fn data() -> TrainData {
        let train = Array3::from_shape_fn((2, 40, 1), |(trial, bin, _)| match (trial, bin) {
            (1, 25..) => f32::NAN,
            _ => (100 * trial + bin) as f32,
        });
        TrainData::excerpts_of(train, Array3::zeros((1, 10, 1))).unwrap()
    }

    #[test]
    fn every_epoch_sees_other_excerpts_of_all_that_there_is() {
        let data = data();
        let mut seen = [[0_usize; 40]; 2];
        for epoch in 0..200 {
            let excerpts = data.epoch(7, epoch);
            assert_eq!(excerpts.len(), 8 + 5);
            assert_eq!(excerpts, data.epoch(7, epoch));
            assert_ne!(excerpts, data.epoch(7, epoch + 1));
            for Excerpt { trial, first } in excerpts {
                seen[trial][first..first + 10]
                    .iter_mut()
                    .for_each(|n| *n += 1);
            }
        }
        assert!(seen[0].iter().all(|&n| n > 20), "{seen:?}");
        assert!(seen[1][..25].iter().all(|&n| n > 20), "{seen:?}");
        assert!(seen[1][25..].iter().all(|&n| n == 0), "{seen:?}");
    }

    #[test]
    fn an_excerpt_begins_where_it_says() {
        let data = data();
        let chosen = [(0, 30), (1, 4)].map(|(trial, first)| Excerpt { trial, first });
        let values = host(&excerpts(data.train(), &chosen, 10, &Device::flex()));
        let want: Vec<f32> = (0..10)
            .flat_map(|bin| [30.0, 104.0].map(|x| x + bin as f32))
            .collect();
        assert_eq!(values, want);
    }

    #[test]
    fn excerpts_are_no_longer_than_trials() {
        let error = TrainData::excerpts_of(Array3::zeros((1, 9, 1)), Array3::zeros((1, 10, 1)));
        assert!(error.unwrap_err().to_string().contains("(1, 9, 1)"));
    }
}
