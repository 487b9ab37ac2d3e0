//! The published benchmark: its statistics, and its bits.

use std::sync::OnceLock;

use data::{Dataset, Quantity};
use ndarray::{Array3, Axis};
use sha2::{Digest, Sha256};
use synth::{ChaoticRnnBenchmark, HeldOut, LorenzBenchmark, TrialDesign};

fn published() -> &'static Dataset {
    static DATASET: OnceLock<Dataset> = OnceLock::new();
    DATASET.get_or_init(|| LorenzBenchmark::default().simulate(1).unwrap())
}

fn train(quantity: Quantity) -> &'static Array3<f32> {
    published().train.require(quantity).unwrap()
}

/// Mean and variance in double precision.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    (mean, variance)
}

#[test]
fn the_shapes_are_the_published_ones() {
    let (train, valid) = (&published().train, &published().valid);
    for quantity in [
        Quantity::Rates,
        Quantity::Spikes,
        Quantity::Calcium,
        Quantity::Fluor,
    ] {
        assert_eq!(train.require(quantity).unwrap().dim(), (1040, 100, 30));
        assert_eq!(valid.require(quantity).unwrap().dim(), (260, 100, 30));
    }
    let latent = train.require(Quantity::Latent).unwrap();
    assert_eq!(latent.dim(), (1040, 100, 3));
    assert_eq!(published().tau_s, Some(0.4));
    assert_eq!(
        published().discretisation,
        Some(synth::Discretisation::Euler)
    );
}

fn mean_rate_hz(seed: u64) -> f64 {
    let recipe = LorenzBenchmark {
        design: TrialDesign {
            n_repeats: 2,
            held_out: HeldOut::Repeats(1),
            ..TrialDesign::default()
        },
        ..LorenzBenchmark::default()
    };
    let dataset = recipe.simulate(seed).unwrap();
    let rates = dataset.train.require(Quantity::Rates).unwrap();
    moments(rates.iter().map(|&r| f64::from(r))).0
}

#[test]
fn neurons_fire_at_about_1_5_hz() {
    let means: Vec<f64> = (0..20).map(mean_rate_hz).collect();
    let (mean, variance) = moments(means.iter().copied());
    let sd = variance.sqrt();
    assert!((1.4..1.6).contains(&mean) && sd < 0.15, "{mean} ± {sd}");
}

#[test]
fn loadings_have_magnitudes_from_1_to_2_and_both_signs() {
    let loadings = published().loadings.as_ref().unwrap();
    assert!(loadings.iter().all(|w| (1.0..=2.0).contains(&w.abs())));
    let n_positive = loadings.iter().filter(|w| **w > 0.0).count();
    // 90 fair signs: 45 ± 4.7.
    assert!((26..=64).contains(&n_positive), "{n_positive} of 90");
    let (mean, _) = moments(loadings.iter().map(|w| f64::from(w.abs())));
    let standard_error = (1.0_f64 / 12.0 / 90.0).sqrt();
    assert!((mean - 1.5).abs() < 4.0 * standard_error, "{mean}");
}

#[test]
fn spikes_are_poisson_given_the_rates() {
    let (spikes, rates) = (train(Quantity::Spikes), train(Quantity::Rates));
    let scores = spikes.iter().zip(rates).map(|(&s, &r)| {
        let expected = f64::from(r) * 0.1;
        (f64::from(s) - expected) / expected.sqrt()
    });
    let n = spikes.len() as f64;
    let (mean, variance) = moments(scores);
    assert!(
        mean.abs() < 4.0 * (1.0 / n).sqrt(),
        "standardised mean {mean}"
    );
    assert!(
        (variance - 1.0).abs() < 0.01,
        "variance over mean {variance}"
    );
}

#[test]
fn noise_is_normal_with_the_given_deviation() {
    let (fluor, calcium) = (train(Quantity::Fluor), train(Quantity::Calcium));
    let scores = fluor
        .iter()
        .zip(calcium)
        .map(|(&x, &y)| (f64::from(x) - f64::from(y)) / 0.2);
    let n = fluor.len() as f64;
    let (mean, variance) = moments(scores.clone());
    assert!(mean.abs() < 4.0 / n.sqrt(), "mean {mean}");
    assert!(
        (variance - 1.0).abs() < 4.0 * (2.0 / n).sqrt(),
        "variance {variance}"
    );
    let (fourth, _) = moments(scores.map(|z| z.powi(4)));
    assert!(
        (fourth - 3.0).abs() < 4.0 * (96.0 / n).sqrt(),
        "kurtosis {fourth}"
    );
}

#[test]
fn trials_and_neurons_draw_independent_noise() {
    let noise = train(Quantity::Fluor) - train(Quantity::Calcium);
    let trace = |[trial, neuron]: [usize; 2]| noise.slice(ndarray::s![trial, .., neuron]);
    // The sum of squares of 100 bins of noise 0.2 is 4; products of strangers sum to 0 ± 0.4.
    for (a, b) in [
        ([0, 0], [1, 0]),
        ([0, 0], [0, 1]),
        ([16, 3], [17, 3]),
        ([5, 5], [21, 5]),
    ] {
        let product = trace(a).dot(&trace(b));
        assert!(product.abs() < 1.6, "{a:?} and {b:?}: {product}");
    }
}

#[test]
fn latents_are_centred_and_fill_their_range() {
    let latent = train(Quantity::Latent);
    for coordinate in latent.axis_iter(Axis(2)) {
        let (mean, _) = moments(coordinate.iter().map(|&z| f64::from(z)));
        assert!(mean.abs() < 1e-5, "mean {mean}");
    }
    let largest = latent.iter().fold(0.0_f32, |m, z| m.max(z.abs()));
    assert!((0.95..=1.0).contains(&largest), "{largest}");
}

fn digest(dataset: &Dataset) -> String {
    let mut hash = Sha256::new();
    for array in dataset.arrays() {
        hash.update(array.dataset());
        for value in array.values {
            hash.update(value.to_le_bytes());
        }
    }
    let bytes = hash.finalize();
    let hex = |text: String, byte: &u8| text + &format!("{byte:02x}");
    bytes.iter().fold(String::new(), hex)
}

fn few_trials() -> TrialDesign {
    TrialDesign {
        n_conditions: 5,
        n_repeats: 3,
        held_out: HeldOut::Repeats(1),
    }
}

// If one of these fails on one machine only, that machine rounds differently. If it fails
// after a change, every simulated file changes: say so in the change.

#[test]
fn the_bits_of_the_lorenz_benchmark_are_the_same_everywhere() {
    let recipe = LorenzBenchmark {
        design: few_trials(),
        ..LorenzBenchmark::default()
    };
    let found = digest(&recipe.simulate(1).unwrap());
    assert_eq!(
        found,
        "18820ee58e1796d84c7f03cee5ac04f79930fe239c055fdf9a5edc555b64c2bc"
    );
}

#[test]
fn the_bits_of_the_chaotic_network_are_the_same_everywhere() {
    let recipe = ChaoticRnnBenchmark {
        design: few_trials(),
        ..ChaoticRnnBenchmark::default()
    };
    let found = digest(&recipe.simulate(1).unwrap());
    assert_eq!(
        found,
        "e7ac4833a426f61307a91947469f6e8234702c15db59fe4875f8c4375aab722a"
    );
}
