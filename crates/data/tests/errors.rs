//! Every problem is one line that names the file, the place, what was found, what to do.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::Path;

use data::{Dataset, Quantity, Split};
use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::{Array2, Array3};

const FLUOR: &str = "train_fluor";

fn zeros(name: &str, shape: &[u64]) -> DatasetBuilder {
    let n = shape.iter().product::<u64>() as usize;
    DatasetBuilder::typed_data(name, shape, &vec![0_f32; n]).unwrap()
}

fn with_dt() -> Hdf5Builder {
    Hdf5Builder::new().attribute(AttributeBuilder::scalar("dt", 0.1).unwrap())
}

fn bytes(file: Hdf5Builder) -> Vec<u8> {
    let plan = file.into_plan().unwrap();
    plan.encode(WriteOptions::default()).unwrap()
}

/// What reading these bytes says after the file name.
fn complaint(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5");
    std::fs::write(&path, bytes).unwrap();
    let said = Dataset::read(&path).unwrap_err().to_string();
    assert!(!said.contains('\n'), "{said}");
    let prefix = format!("{}: ", path.display());
    said.strip_prefix(&prefix).expect(&said).to_owned()
}

fn in_memory(change: impl FnOnce(&mut Dataset)) -> String {
    let full = |n| Some(Array3::zeros(n));
    let split = || Split {
        latent: full((4, 5, 2)),
        inputs: full((4, 5, 7)),
        rates: full((4, 5, 3)),
        spikes: full((4, 5, 3)),
        calcium: full((4, 5, 3)),
        fluor: full((4, 5, 3)),
    };
    let mut dataset = Dataset {
        dt_s: 0.1,
        tau_s: Some(0.4),
        discretisation: Some(data::Discretisation::Euler),
        loadings: Some(Array2::zeros((2, 3))),
        seed: Some(1),
        recipe: None,
        train: split(),
        valid: split(),
    };
    dataset.validate().unwrap();
    change(&mut dataset);
    dataset.validate().unwrap_err().to_string()
}

#[test]
fn a_missing_file() {
    let said = Dataset::read(Path::new("nowhere.h5"))
        .unwrap_err()
        .to_string();
    assert!(
        said.starts_with("nowhere.h5: cannot read the file: No such file"),
        "{said}"
    );
}

#[test]
fn a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let said = Dataset::read(folder.path()).unwrap_err().to_string();
    assert!(
        said.contains("cannot read the file: is a directory"),
        "{said}"
    );
}

#[test]
fn not_hdf5() {
    assert_eq!(
        complaint(b"PK\x03\x04 a zip archive"),
        "this is not an HDF5 file (18 bytes, no HDF5 signature); \
         give a file written by this project, h5py or libhdf5"
    );
    assert!(complaint(b"").starts_with("this is not an HDF5 file (0 bytes"));
}

#[test]
fn cut_short() {
    let whole = bytes(with_dt().dataset(zeros(FLUOR, &[2, 3, 4])));
    let said = complaint(&whole[..whole.len() - 7]);
    let n = whole.len();
    let wanted = format!(
        "the file is cut short: its header says {n} bytes, it has {}; copy or download it again",
        n - 7
    );
    assert_eq!(said, wanted);
}

#[test]
fn no_dt() {
    let said = complaint(&bytes(Hdf5Builder::new().dataset(zeros(FLUOR, &[2, 3, 4]))));
    assert_eq!(
        said,
        "no `dt`; add it, in seconds per time bin, as an attribute of the root group \
         or as a scalar dataset"
    );
}

#[test]
fn dt_of_two_elements() {
    let file = Hdf5Builder::new()
        .attribute(AttributeBuilder::vector("dt", &[0.1, 0.2]).unwrap())
        .dataset(zeros(FLUOR, &[2, 3, 4]));
    let wanted = "`dt` is an array of 2 elements; it must be one number";
    assert_eq!(complaint(&bytes(file)), wanted);
}

#[test]
fn negative_seed() {
    let seed = AttributeBuilder::scalar("seed", -3_i64).unwrap();
    let file = with_dt().attribute(seed).dataset(zeros(FLUOR, &[2, 3, 4]));
    let wanted = "`seed` is -3; it must be a whole number from 0 to 2^64 - 1";
    assert_eq!(complaint(&bytes(file)), wanted);
}

#[test]
fn a_number_where_text_belongs() {
    let recipe = AttributeBuilder::scalar("recipe", 5_i32).unwrap();
    let file = with_dt()
        .attribute(recipe)
        .dataset(zeros(FLUOR, &[2, 3, 4]));
    let wanted = "attribute `recipe` is not text; store it as a string or delete it";
    assert_eq!(complaint(&bytes(file)), wanted);
}

#[test]
fn no_known_array() {
    let said = complaint(&bytes(with_dt().dataset(zeros("dff", &[2, 3, 4]))));
    assert_eq!(
        said,
        "no array of the benchmark layout; name at least one dataset `train_…` or `valid_…` \
         with … among latent, inputs, rates, spikes, calcium, fluor"
    );
}

#[test]
fn two_axes() {
    let said = complaint(&bytes(with_dt().dataset(zeros(FLUOR, &[6, 4]))));
    let wanted = "dataset `train_fluor` has shape [6, 4]; \
                  its axes must be [trial, time, neuron]";
    assert_eq!(said, wanted);
}

#[test]
fn text_where_numbers_belong() {
    let words = DatasetBuilder::fixed_string_data(FLUOR, [2, 1, 1], &["a", "b"]).unwrap();
    let said = complaint(&bytes(with_dt().dataset(words)));
    let wanted = "dataset `train_fluor` is stored as text; \
                  store it as integers or floating-point numbers";
    assert_eq!(said, wanted);
}

#[test]
fn a_value_too_large_for_f32() {
    let values = [0.0, 1e300, 0.0, 0.0];
    let fluor = DatasetBuilder::typed_data(FLUOR, [1, 2, 2], &values).unwrap();
    let said = complaint(&bytes(with_dt().dataset(fluor)));
    assert!(
        said.starts_with("dataset `train_fluor` holds inf at [0, 0, 1]"),
        "{said}"
    );
}

#[test]
fn values_outside_their_domain() {
    let said = in_memory(|d| d.valid.fluor.as_mut().unwrap()[[3, 1, 2]] = f32::NAN);
    let wanted = "dataset `valid_fluor` holds NaN at [3, 1, 2]; \
                  replace or cut out missing values first";
    assert_eq!(said, wanted);
    for value in [-1.0, 0.5, 2e7] {
        let said = in_memory(|d| d.train.spikes.as_mut().unwrap()[[0, 4, 1]] = value);
        let wanted = format!(
            "dataset `train_spikes` holds {value} at [0, 4, 1]; \
             spikes are counts per bin, whole numbers from 0 to 2^24"
        );
        assert_eq!(said, wanted);
    }
    let said = in_memory(|d| d.train.rates.as_mut().unwrap()[[0, 0, 0]] = -0.25);
    assert!(
        said.starts_with("dataset `train_rates` holds -0.25 at [0, 0, 0]"),
        "{said}"
    );
    let said = in_memory(|d| d.loadings.as_mut().unwrap()[[1, 2]] = f32::INFINITY);
    assert!(
        said.starts_with("dataset `loadings` holds inf at [1, 2]"),
        "{said}"
    );
}

#[test]
fn shapes_that_disagree() {
    let said = in_memory(|d| d.train.spikes = Some(Array3::zeros((4, 6, 3))));
    assert_eq!(
        said,
        "dataset `train_latent` has shape [4, 5, 2] but `train_spikes` has [4, 6, 3]: \
         the number of time bins must be the same in both"
    );
    let said = in_memory(|d| d.valid.latent = Some(Array3::zeros((4, 5, 3))));
    assert!(
        said.contains("`valid_latent` has [4, 5, 3]: the number of latents"),
        "{said}"
    );
    let said = in_memory(|d| {
        d.valid = Split {
            fluor: Some(Array3::zeros((9, 8, 2))),
            ..Split::default()
        };
    });
    assert!(
        said.contains("`valid_fluor` has [9, 8, 2]: the number of neurons"),
        "{said}"
    );
    let said = in_memory(|d| d.loadings = Some(Array2::zeros((2, 4))));
    assert!(
        said.contains("but `loadings` has [2, 4]: the number of neurons"),
        "{said}"
    );
    let said = in_memory(|d| d.train.fluor = Some(Array3::zeros((0, 5, 3))));
    assert!(
        said.starts_with("dataset `train_fluor` has shape [0, 5, 3]: an axis is"),
        "{said}"
    );
}

#[test]
fn splits_may_differ_in_trials_and_bins() {
    let split = |n| Split {
        fluor: Some(Array3::zeros(n)),
        ..Split::default()
    };
    let said = in_memory(|d| {
        d.train = split((4, 5, 3));
        d.valid = split((2, 7, 3));
        d.validate().unwrap();
        d.dt_s = -1.0;
    });
    assert_eq!(said, "`dt` is -1; it must be a positive number of seconds");
}

#[test]
fn parameters_outside_their_domain() {
    let said = in_memory(|d| d.tau_s = Some(f64::NAN));
    assert_eq!(
        said,
        "`tau` is NaN; it must be a positive number of seconds"
    );
    let euler = AttributeBuilder::fixed_string("discretisation", "Euler");
    let said = complaint(&bytes(with_dt().attribute(euler)));
    assert!(
        said.starts_with("`discretisation` is \"Euler\"; it must be \"euler\""),
        "{said}"
    );
}

#[test]
fn texts_that_an_attribute_cannot_hold() {
    for text in ["a\0b".to_owned(), "x".repeat(40_000)] {
        let wanted = format!(
            "`recipe` is a text of {} bytes; it must be at most 32768 bytes with no NUL among them",
            text.len()
        );
        assert_eq!(in_memory(|d| d.recipe = Some(text)), wanted);
    }
}

#[test]
fn a_quantity_the_split_lacks() {
    let split = Split {
        fluor: Some(Array3::zeros((1, 1, 1))),
        latent: Some(Array3::zeros((1, 1, 1))),
        ..Split::default()
    };
    let said = split.require(Quantity::Spikes).unwrap_err().to_string();
    assert_eq!(
        said,
        "the split has no `spikes` (it holds latent, fluor); \
         simulate or record `spikes`, or choose a model that does without"
    );
    let said = Split::default().require(Quantity::Fluor).unwrap_err();
    assert!(said.to_string().contains("(it holds nothing)"));
}
