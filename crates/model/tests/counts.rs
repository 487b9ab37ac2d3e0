//! What the ladder with counts infers of spikes, and what it refuses to count.

mod common;

use burn::tensor::Device;
use common::{DT_S, INDICATOR, count_ladder, dynamics, fluorescence};
use model::{CalciumModel, CountLadderConfig, FluorStatistics, posterior_mean, sample_posterior};
use ndarray::{Array3, Axis};

/// The mean of many samples, `[trial, time, neuron]`.
fn mean_of_samples(model: &model::CountLadder, x: &Array3<f32>, n_samples: usize) -> Array3<f32> {
    let mut sum = Array3::zeros(x.dim());
    sample_posterior(model, x.view(), n_samples, 1, |first, draw| {
        let spikes = draw.spikes.unwrap().swap_dims(0, 1);
        let [n_trials, n_bins, n_neurons] = spikes.dims();
        let spikes: Vec<f32> = spikes.into_data().iter::<f32>().collect();
        let spikes = Array3::from_shape_vec((n_trials, n_bins, n_neurons), spikes).unwrap();
        let mut trials = sum.slice_axis_mut(Axis(0), (first..first + n_trials).into());
        trials += &spikes;
    })
    .unwrap();
    sum / n_samples as f32
}

#[test]
fn posterior_means_are_what_samples_average_to() {
    let device = Device::flex().autodiff();
    let mut x = fluorescence().valid().to_owned();
    x[[1, 4, 2]] = f32::NAN;
    let model = count_ladder(&CountLadderConfig::default(), &device);
    let means = posterior_mean(&model, x.view(), 8, 1)
        .unwrap()
        .spikes
        .unwrap();
    let sampled = mean_of_samples(&model, &x, 300);
    let off = (&means - &sampled).mapv(f32::abs);
    // 300 samples, from nearly the posterior.
    assert!(off.mean().unwrap() < 0.02, "{:?}", off.mean());
    let again = posterior_mean(&model, x.view(), 8, 1)
        .unwrap()
        .spikes
        .unwrap();
    assert_eq!(means, again);
}

#[test]
fn a_spike_size_far_too_small_is_named() {
    let calcium = CalciumModel::shared(INDICATOR, 2);
    let statistics = FluorStatistics {
        mean_counts: vec![0.3, 4e6],
        sd: vec![1.0, 1.0],
    };
    let config = CountLadderConfig {
        dynamics: dynamics(),
        ..CountLadderConfig::default()
    };
    let device = Device::flex().autodiff();
    let refused = config
        .init(&statistics, &calcium, DT_S, 1, &device)
        .unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("spike_size") && refused.contains("4000000"),
        "{refused}"
    );
}
