//! Observations as the trainer sees them: trials in `[trial, time, neuron]`, time-major batches.

use burn::tensor::{Device, Tensor, TensorData};
use gru::kernels::in_chunks;
use ndarray::{Array3, ArrayView1, ArrayView3, ArrayViewMut1, Axis, s};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::ModelError;

/// Bins of a batch that a task puts in order.
const BATCH_BINS: usize = 25;

/// Training and validation observations, `[trial, time, neuron]`.
#[derive(Clone, Debug)]
pub struct TrainData {
    train: Array3<f32>,
    valid: Array3<f32>,
}

impl TrainData {
    /// Checks and takes both splits. NaN marks what is missing: frames without data, and bins
    /// past the end of a trial shorter than the others.
    ///
    /// # Errors
    /// [`ModelError::Data`] if a split is empty, the splits differ in bins or neurons, a value
    /// is infinite, or a neuron has no value at all in training.
    pub fn new(train: Array3<f32>, valid: Array3<f32>) -> Result<Self, ModelError> {
        for (name, split) in [("train", &train), ("valid", &valid)] {
            check_observations(name, split.view())?;
        }
        check_every_neuron(train.view())?;
        if train.dim().1 != valid.dim().1 || train.dim().2 != valid.dim().2 {
            return Err(ModelError::Data(format!(
                "train is {:?} and valid {:?} in [trial, time, neuron]: bins and neurons must agree",
                train.dim(),
                valid.dim()
            )));
        }
        Ok(Self { train, valid })
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
    let (_, n_bins, n_neurons) = x.dim();
    let shape = [n_bins, trials.len(), n_neurons];
    let row_len = trials.len() * n_neurons;
    // Trial by trial, since the bins of a trial lie together; a task's bins fit the cache.
    let values = in_chunks(n_bins * row_len, BATCH_BINS * row_len, |task, rows| {
        let first = task * BATCH_BINS;
        let bins = first..first + rows.len() / row_len;
        for (column, &trial) in trials.iter().enumerate() {
            let trial = x.slice(s![trial, bins.clone(), ..]);
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
