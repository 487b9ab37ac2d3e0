//! What is written is what is read, and is there whole or not at all.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use data::{Dataset, Discretisation, Split};
use ndarray::{Array2, Array3};
use proptest::prelude::*;

fn array(shape: (usize, usize, usize)) -> impl Strategy<Value = Option<Array3<f32>>> {
    let values = prop::collection::vec(-1e30_f32..1e30, shape.0 * shape.1 * shape.2);
    let array = values.prop_map(move |v| Array3::from_shape_vec(shape, v).unwrap());
    prop::option::of(array)
}

fn split(n: [usize; 4]) -> impl Strategy<Value = Split> {
    let [trials, bins, neurons, latents] = n;
    let wide = move || array((trials, bins, neurons));
    let counts = move || wide().prop_map(|a| a.map(|a| a.mapv(|x| (x.abs() % 1e6).floor())));
    let latent = array((trials, bins, latents));
    (latent, counts(), counts(), wide(), wide()).prop_map(
        |(latent, rates, spikes, calcium, fluor)| Split {
            latent,
            inputs: None,
            rates,
            spikes,
            calcium,
            fluor,
        },
    )
}

prop_compose! {
    fn dataset()(n in (1..5_usize, 1..5_usize, 1..5_usize, 1..5_usize, 1..5_usize))(
        dt_s in 1e-6..1e6,
        tau_s in prop::option::of(1e-6..1e6),
        discretisation in prop::option::of(prop_oneof![Just(Discretisation::Euler), Just(Discretisation::Exact)]),
        loadings in prop::option::of(Just(Array2::from_elem((n.4, n.3), 0.25))),
        seed in any::<Option<u64>>(),
        recipe in prop::option::of("[a-zÀ-ž\n\"= ]{1,40}"),
        train in split([n.0, n.2, n.3, n.4]),
        valid in split([n.1, n.2, n.3, n.4]),
    ) -> Dataset {
        Dataset { dt_s, tau_s, discretisation, loadings, seed, recipe, train, valid }
    }
}

proptest! {
    #[test]
    fn reading_gives_back_what_was_written(dataset in dataset()) {
        prop_assume!(dataset.arrays().count() > 0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.h5");
        dataset.write(&path).unwrap();
        prop_assert_eq!(Dataset::read(&path).unwrap(), dataset);
    }
}

fn tiny() -> Dataset {
    Dataset {
        dt_s: 0.1,
        tau_s: None,
        discretisation: None,
        loadings: None,
        seed: None,
        recipe: None,
        train: Split {
            fluor: Some(Array3::zeros((2, 3, 4))),
            ..Split::default()
        },
        valid: Split::default(),
    }
}

#[test]
fn a_transposed_array_is_written_in_its_logical_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5");
    let mut dataset = tiny();
    let counting = Array3::from_shape_fn((4, 3, 2), |(i, j, k)| (i * 6 + j * 2 + k) as f32);
    dataset.train.fluor = Some(counting.reversed_axes());
    dataset.write(&path).unwrap();
    assert_eq!(Dataset::read(&path).unwrap(), dataset);
}

#[test]
fn the_longest_recipe_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5");
    let mut dataset = tiny();
    dataset.recipe = Some("x".repeat(32_768));
    dataset.write(&path).unwrap();
    assert_eq!(Dataset::read(&path).unwrap(), dataset);
}

#[test]
fn an_invalid_data_set_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.h5");
    tiny().write(&path).unwrap();
    let mut bad = tiny();
    bad.train.fluor.as_mut().unwrap()[[1, 2, 3]] = f32::NAN;
    bad.write(&path).unwrap_err();
    assert_eq!(Dataset::read(&path).unwrap(), tiny());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let error = tiny().write("no/such/folder/a.h5".as_ref()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("no/such/folder/a.h5: cannot write the file: No such"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn others_may_read_the_file_as_the_umask_says() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str| {
        let found = std::fs::metadata(folder.path().join(name)).unwrap();
        found.permissions().mode() & 0o777
    };
    tiny().write(&folder.path().join("ours.h5")).unwrap();
    std::fs::write(folder.path().join("ordinary"), "").unwrap();
    assert_eq!(mode("ours.h5"), mode("ordinary"));
}
