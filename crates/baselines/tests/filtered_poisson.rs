//! Gaussian and Edgeworth LFADS: finite bounds, shapes, exact moments against simulation.

use baselines::{Data, EdgeworthLfadsConfig, GaussianLfadsConfig, Moments};
use burn::tensor::{Device, Tensor};
use model::{
    DynamicsConfig, FluorStatistics, Indicator, LearningRate, Noise, SequentialVae, Stream,
    TrainConfig, TrainData, WarmUp, fit,
};
use ndarray::Array3;

const INDICATOR: Indicator = Indicator {
    g: 0.75,
    gain: 1.0,
    baseline: 0.0,
};

fn fluorescence() -> Array3<f32> {
    // One spike every six bins, at another phase for each neuron, and its decay.
    Array3::from_shape_fn((8, 15, 4), |(trial, bin, neuron)| {
        let since = (bin + neuron + trial) % 6;
        0.75_f32.powi(since as i32) + 0.01 * ((trial * 7 + bin * 3 + neuron) % 5) as f32
    })
}

fn dynamics() -> DynamicsConfig {
    DynamicsConfig {
        n_encoder: 8,
        n_generator: 8,
        n_ic: 8,
        ..DynamicsConfig::default()
    }
}

fn improves<M: SequentialVae>(model: M, fluor: &Array3<f32>) {
    let data = TrainData::new(fluor.clone(), fluor.clone()).unwrap();
    let config = TrainConfig {
        n_steps: 200,
        batch_size: 4,
        validate_every: 20,
        // The bound at full weights is what is compared.
        warm_up: WarmUp {
            deep_steps: 0,
            ..WarmUp::default()
        },
        average_decay: 0.9,
        learning_rate: LearningRate::Cosine {
            peak: 0.01,
            constant_fraction: 0.5,
            final_fraction: 0.1,
        },
        ..TrainConfig::default()
    };
    let fitted = fit(model, &data, &config, 1, None, &mut ()).unwrap();
    let bounds: Vec<f64> = fitted
        .history
        .iter()
        .map(|report| report.valid.negative_bound())
        .collect();
    assert!(bounds.iter().all(|bound| bound.is_finite()), "{bounds:?}");
    assert!(bounds[bounds.len() - 1] < bounds[0], "{bounds:?}");
}

#[test]
fn every_variant_trains_to_a_better_bound() {
    let fluor = fluorescence();
    let statistics = FluorStatistics::measure(fluor.view(), &INDICATOR);
    let data = Data {
        statistics: &statistics,
        indicator: INDICATOR,
        dt_s: 0.1,
    };
    let device = Device::flex().autodiff();
    for moments in [Moments::AsPublished, Moments::Exact] {
        let gaussian = GaussianLfadsConfig {
            dynamics: dynamics(),
            moments,
        };
        improves(gaussian.init(data, 1, &device).unwrap(), &fluor);
        let edgeworth = EdgeworthLfadsConfig {
            dynamics: dynamics(),
            moments,
        };
        improves(edgeworth.init(data, 1, &device).unwrap(), &fluor);
    }
}

#[test]
fn the_exact_mean_is_the_filtered_rate() {
    let fluor = fluorescence();
    let statistics = FluorStatistics::measure(fluor.view(), &INDICATOR);
    let data = Data {
        statistics: &statistics,
        indicator: INDICATOR,
        dt_s: 0.1,
    };
    let device = Device::flex();
    let config = GaussianLfadsConfig {
        dynamics: dynamics(),
        moments: Moments::Exact,
    };
    let model = config.init(data, 1, &device).unwrap();
    let mut noise = Noise::new(1, Stream::Step(1), &device);
    let encoded = model.encode(Tensor::ones([15, 2, 4], &device));
    let draw = model.draw(&encoded, &mut noise);
    let rates: Vec<f32> = draw.log_rates.exp().into_data().try_to_vec().unwrap();
    let means: Vec<f32> = draw.fluor.unwrap().into_data().try_to_vec().unwrap();
    let mut filtered = [0.0_f32; 8];
    for (bin, (rates, means)) in rates.chunks(8).zip(means.chunks(8)).enumerate() {
        for ((filtered, rate), mean) in filtered.iter_mut().zip(rates).zip(means) {
            *filtered = 0.75 * *filtered + 0.1 * rate;
            assert!(
                (*filtered - mean).abs() < 1e-4,
                "bin {bin}: {filtered} {mean}"
            );
        }
    }
}
