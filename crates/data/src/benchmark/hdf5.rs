//! The benchmark's file: HDF5 in and out.

use std::path::Path;

use calcium::Discretisation;
use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::{Array, ArrayBase, Data, Dimension, Ix2, Ix3};

use super::dataset::{Dataset, Split};
use super::quantity::Quantity;
use crate::format::hdf5::{Node, Stored, open};
use crate::indicator::discretisation;
use crate::whole_file::replace_file;
use crate::{DataError, Problem};

/// Axes of every trial array.
const TRIAL_AXES: &str = "[trial, time, neuron]";
/// Axes of the readout.
const LOADING_AXES: &str = "[latent, neuron]";

impl Dataset {
    /// Reads a benchmark file: ours, or one that h5py or libhdf5 wrote with the same names.
    ///
    /// Arrays may be stored as any integer, floating-point or boolean type in either byte
    /// order, compressed or not; numbers (`dt`, `tau`, `seed`) as attributes of the root
    /// group or as scalar datasets. Only `dt` and one array are required.
    ///
    /// # Errors
    /// One line naming the file, the dataset, what was found and what to do; see [`Problem`].
    pub fn read(path: &Path) -> Result<Self, DataError> {
        read(path)
            .and_then(|dataset| dataset.validate().map(|()| dataset))
            .map_err(|e| e.in_file(path))
    }

    /// Writes the benchmark as an HDF5 file of 32-bit floats, uncompressed.
    ///
    /// The file appears whole or not at all: it is written beside `path` under a temporary
    /// name, flushed to the disk and renamed, replacing what was there.
    ///
    /// # Errors
    /// A problem of the data, as [`Dataset::validate`] finds it, or of the disk.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        self.validate()
            .and_then(|()| Ok(encode(self).map_err(Problem::unwritable)?))
            .and_then(|bytes| Ok(replace_file(path, &bytes)?))
            .map_err(|e| e.in_file(path))
    }
}

fn read(path: &Path) -> Result<Dataset, DataError> {
    let file = open(path)?;
    let root = Node::root(&file)?;
    Ok(Dataset {
        dt_s: root.number("dt")?.ok_or(Problem::MissingNumber {
            name: "dt",
            unit: "seconds per time bin",
        })?,
        tau_s: root.number("tau")?,
        discretisation: discretisation(root.text("discretisation")?)?,
        loadings: array(&root, "loadings")?
            .map(|a| with_rank::<Ix2>("dataset `loadings`", LOADING_AXES, a))
            .transpose()?,
        seed: seed(&root)?,
        recipe: root.text("recipe")?,
        train: split(&root, "train")?,
        valid: split(&root, "valid")?,
    })
}

fn split(root: &Node, split: &str) -> Result<Split, Problem> {
    let mut arrays = Split::default();
    for quantity in Quantity::ALL {
        let name = format!("{split}_{quantity}");
        if let Some(values) = array(root, &name)? {
            let object = format!("dataset `{name}`");
            *arrays.slot(quantity) = Some(with_rank::<Ix3>(&object, TRIAL_AXES, values)?);
        }
    }
    Ok(arrays)
}

fn array(root: &Node, name: &str) -> Result<Option<Stored>, Problem> {
    root.numbers(name, |x| x as f32)
}

fn seed(root: &Node) -> Result<Option<u64>, Problem> {
    // A double cannot hold every seed, so our own type is read first.
    if let Some(seed) = root.attribute("seed").and_then(|a| a.read_scalar().ok()) {
        return Ok(Some(seed));
    }
    match root.number("seed")? {
        Some(seed) if seed < 0.0 || seed.fract() != 0.0 => Err(Problem::BadParameter {
            name: "seed",
            found: seed.to_string(),
            expected: "a whole number from 0 to 2^64 - 1",
        }),
        seed => Ok(seed.map(|s| s as u64)),
    }
}

fn with_rank<D: Dimension>(
    object: &str,
    axes: &'static str,
    Stored { shape, values }: Stored,
) -> Result<Array<f32, D>, Problem> {
    let wrong = || Problem::Rank {
        object: object.to_owned(),
        found: shape.clone(),
        axes,
    };
    Array::from_shape_vec(&shape[..], values)
        .and_then(Array::into_dimensionality)
        .map_err(|_| wrong())
}

fn encode(dataset: &Dataset) -> Result<Vec<u8>, hdf5_writer::Error> {
    let mut file = Hdf5Builder::new();
    for attribute in attributes(dataset)? {
        file = file.attribute(attribute);
    }
    if let Some(loadings) = &dataset.loadings {
        file = file.dataset(encode_array("loadings".to_owned(), loadings)?);
    }
    for array in dataset.arrays() {
        file = file.dataset(encode_array(array.dataset(), &array.values)?);
    }
    file.into_plan()?.encode(WriteOptions::default())
}

fn attributes(dataset: &Dataset) -> Result<Vec<AttributeBuilder>, hdf5_writer::Error> {
    let mut list = vec![AttributeBuilder::scalar("dt", dataset.dt_s)?];
    if let Some(tau_s) = dataset.tau_s {
        list.push(AttributeBuilder::scalar("tau", tau_s)?);
    }
    if let Some(seed) = dataset.seed {
        list.push(AttributeBuilder::scalar("seed", seed)?);
    }
    for (name, text) in [
        (
            "discretisation",
            dataset.discretisation.map(Discretisation::name),
        ),
        ("recipe", dataset.recipe.as_deref()),
    ] {
        if let Some(text) = text {
            list.push(AttributeBuilder::fixed_string(name, text));
        }
    }
    Ok(list)
}

fn encode_array<S: Data<Elem = f32>, D: Dimension>(
    name: String,
    values: &ArrayBase<S, D>,
) -> Result<DatasetBuilder, hdf5_writer::Error> {
    let shape: Vec<u64> = values.shape().iter().map(|&n| n as u64).collect();
    let values = values.as_standard_layout();
    DatasetBuilder::typed_data(name, shape, values.as_slice().expect("a standard layout"))
}
