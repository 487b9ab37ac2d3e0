//! Files written by h5py; `golden/make_foreign.py` made them.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::Path;

use data::{Dataset, Quantity};
use ndarray::{Array3, array};

fn read(name: &str) -> Dataset {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    Dataset::read(&path).unwrap()
}

fn by_index(n_trials: usize, value: impl Fn(f32) -> f32) -> Array3<f32> {
    Array3::from_shape_fn((n_trials, 4, 2), |(i, j, k)| {
        value((i * 8 + j * 2 + k) as f32)
    })
}

fn assert_arrays(dataset: &Dataset) {
    let train = |q| dataset.train.require(q).unwrap();
    let valid = |q| dataset.valid.require(q).unwrap();
    assert_eq!(train(Quantity::Spikes), by_index(3, |i| i % 5.0));
    assert_eq!(train(Quantity::Fluor), by_index(3, |i| i / 8.0 - 1.0));
    assert_eq!(train(Quantity::Rates), by_index(3, |i| i / 4.0));
    assert_eq!(train(Quantity::Calcium), by_index(3, |i| i));
    assert_eq!(train(Quantity::Spikes).dim(), (3, 4, 2));
    let is_third = |i: f32| f32::from(i % 3.0 == 0.0);
    assert_eq!(valid(Quantity::Spikes), by_index(2, is_third));
    assert_eq!(valid(Quantity::Fluor), by_index(2, |i| i / 8.0));
    assert_eq!(dataset.train.get(Quantity::Latent), None);
    assert_eq!(dataset.loadings, Some(array![[1.5, -1.25]]));
}

#[test]
fn reads_the_oldest_format_with_numbers_as_datasets() {
    let dataset = read("foreign_v0.h5");
    assert_arrays(&dataset);
    assert_eq!((dataset.dt_s, dataset.tau_s), (0.25, Some(2.0)));
    assert_eq!((dataset.seed, dataset.discretisation), (None, None));
}

#[test]
fn reads_the_newest_format_behind_a_user_block() {
    let dataset = read("foreign_v3.h5");
    assert_arrays(&dataset);
    assert_eq!((dataset.dt_s, dataset.tau_s), (0.25, Some(2.0)));
    assert_eq!(dataset.seed, Some(7));
    assert_eq!(dataset.discretisation, Some(data::Discretisation::Exact));
    assert_eq!(dataset.recipe.as_deref(), Some("hand made"));
}
