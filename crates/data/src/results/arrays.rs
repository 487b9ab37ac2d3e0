//! Results: named arrays with their units, in HDF5 or .npz, out and in again.

use std::collections::BTreeMap;
use std::path::Path;

use hdf5_writer::{
    AttributeBuilder, DatasetBuilder, FILTER_DEFLATE, FILTER_SHUFFLE, FilterDescription,
    Hdf5Builder, WriteOptions,
};
use ndarray::{ArrayD, IxDyn};

use crate::format::hdf5::{self, Node};
use crate::format::{npy, npz};
use crate::recording::source::Source;
use crate::{DataError, Problem};

/// Bytes of a chunk of a compressed dataset, before compression.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Deflate's level: higher ones take longer and gain little on floats.
pub(crate) const DEFLATE_LEVEL: u32 = 4;
/// Longest text that is an attribute: the format allows 64 kB with all that belongs to it.
const ATTRIBUTE_BYTES: usize = 60_000;

/// Named arrays of 32-bit floats, numbers and texts that belong together.
///
/// In HDF5 the arrays are datasets, chunked and compressed (shuffle, deflate), with their unit as
/// attribute `unit`; the numbers and texts are attributes of the file, texts too long for one (ids of
/// many neurons) datasets without axes, the lists datasets of one axis. In .npz the numbers are arrays
/// without axes, and texts and units are left out; lists are written, and not read.
///
/// # Example
/// ```
/// use data::Arrays;
/// use ndarray::Array3;
///
/// let mut results = Arrays::default();
/// results.numbers.insert("dt".into(), 0.1);
/// results.insert("rates", "Hz", Array3::from_elem((2, 5, 3), 1.5).into_dyn());
/// let folder = tempfile::tempdir()?;
/// for name in ["results.h5", "results.npz"] {
///     let path = folder.path().join(name);
///     results.write(&path)?;
///     assert_eq!(Arrays::read(&path)?.arrays["rates"].values, results.arrays["rates"].values);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrays {
    /// Numbers, by name.
    pub numbers: BTreeMap<String, f64>,
    /// Texts, by name.
    pub texts: BTreeMap<String, String>,
    /// Lists of texts, such as the ids of the neurons, by name.
    pub lists: BTreeMap<String, Vec<String>>,
    /// Arrays, by name.
    pub arrays: BTreeMap<String, UnitArray>,
}

/// An array and its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitArray {
    /// Such as "Hz"; empty where unknown.
    pub unit: String,
    /// The values.
    pub values: ArrayD<f32>,
}

impl Arrays {
    /// Adds an array.
    pub fn insert(&mut self, name: &str, unit: &str, values: ArrayD<f32>) {
        let unit = unit.to_owned();
        self.arrays
            .insert(name.to_owned(), UnitArray { unit, values });
    }

    /// Adds what a dataset of text holds, if it can be read.
    fn insert_text(&mut self, name: String, dataset: &hdf5_reader::Dataset) {
        if dataset.ndim() == 0 {
            if let Ok(text) = dataset.read_string() {
                self.texts.insert(name, text);
            }
        } else if let Ok(texts) = dataset.read_strings() {
            self.lists.insert(name, texts);
        }
    }

    /// The array called `name`.
    ///
    /// # Errors
    /// [`Problem::NotFound`], naming the arrays there are.
    pub fn require(&self, name: &str) -> Result<&ArrayD<f32>, DataError> {
        self.arrays
            .get(name)
            .map(|array| &array.values)
            .ok_or_else(|| {
                let known: Vec<&str> = self.arrays.keys().map(String::as_str).collect();
                Problem::NotFound {
                    wanted: name.to_owned(),
                    kind: "array",
                    found: known.join(", "),
                }
                .into()
            })
    }

    /// Reads every array of numbers in an HDF5 file's root group or in an .npz archive, told
    /// apart by content.
    ///
    /// # Errors
    /// A file of another kind, or a damaged one.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let read = || {
            let source = Source::probe(path)?;
            if source.is_hdf5() {
                return read_hdf5(path);
            }
            if !source.head.starts_with(b"PK") {
                return Err(Problem::NotResults {
                    head: source.head.iter().take(8).copied().collect(),
                });
            }
            Ok(of_archive(npz::read_all(path)?))
        };
        read().map_err(|problem| DataError::from(problem).in_file(path))
    }

    /// Numbers, lists and arrays as an archive holds them.
    pub(crate) fn members(&self) -> impl Iterator<Item = npz::Member> {
        let numbers = self.numbers.iter().map(|(name, &value)| {
            let value = ArrayD::from_elem(IxDyn(&[]), value as f32);
            (name.clone(), npy::encode(value.view()))
        });
        let lists = self.lists.iter();
        let lists = lists.map(|(name, texts)| (name.clone(), npy::encode_texts(texts)));
        let arrays = self.arrays.iter();
        let arrays = arrays.map(|(name, array)| (name.clone(), npy::encode(array.values.view())));
        numbers.chain(lists).chain(arrays)
    }

    /// The bytes of an HDF5 file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, hdf5_writer::Error> {
        let plan = self.describe(Hdf5Builder::new())?.into_plan()?;
        plan.encode(WriteOptions::default())
    }

    /// The same file with all that is here added.
    pub(crate) fn describe(
        &self,
        mut file: Hdf5Builder,
    ) -> Result<Hdf5Builder, hdf5_writer::Error> {
        for (name, &value) in &self.numbers {
            file = file.attribute(AttributeBuilder::scalar(name, value)?);
        }
        for (name, text) in &self.texts {
            file = match text.len() {
                0..ATTRIBUTE_BYTES => file.attribute(AttributeBuilder::fixed_string(name, text)),
                _ => file.dataset(DatasetBuilder::fixed_string_data(name, [], &[text])?),
            };
        }
        for (name, texts) in &self.lists {
            let shape = [texts.len() as u64];
            file = file.dataset(DatasetBuilder::fixed_string_data(name, shape, texts)?);
        }
        for (name, array) in &self.arrays {
            file = file.dataset(array.encode(name)?);
        }
        Ok(file)
    }
}

impl UnitArray {
    fn encode(&self, name: &str) -> Result<DatasetBuilder, hdf5_writer::Error> {
        let shape: Vec<u64> = self.values.shape().iter().map(|&n| n as u64).collect();
        let values = self.values.as_standard_layout();
        let values = values.as_slice().expect("a standard layout");
        let mut dataset = DatasetBuilder::typed_data(name, shape, values)?;
        if !self.unit.is_empty() {
            dataset = dataset.attribute(AttributeBuilder::fixed_string("unit", &self.unit));
        }
        if values.len() < 256 {
            return Ok(dataset);
        }
        Ok(compressed(dataset, chunk(self.values.shape())))
    }
}

/// A dataset of 32-bit floats in chunks, each shuffled and deflated.
pub(crate) fn compressed(dataset: DatasetBuilder, chunk: Vec<u64>) -> DatasetBuilder {
    let filter = |id, client_data| FilterDescription {
        id,
        name: None,
        client_data,
    };
    dataset
        .chunked(chunk)
        .filter(filter(FILTER_SHUFFLE, vec![size_of::<f32>() as u32]))
        .filter(filter(FILTER_DEFLATE, vec![DEFLATE_LEVEL]))
}

/// A chunk of about [`CHUNK_BYTES`]: the whole of the last axes, as much as fits of the first.
fn chunk(shape: &[usize]) -> Vec<u64> {
    let mut chunk = shape.to_vec();
    for axis in 0..chunk.len() {
        let rest: usize = chunk[axis + 1..].iter().product();
        let fit = CHUNK_BYTES / size_of::<f32>() / rest.max(1);
        chunk[axis] = chunk[axis].min(fit.max(1));
        if fit > 1 {
            break;
        }
    }
    chunk.iter().map(|&n| n.max(1) as u64).collect()
}

pub(crate) fn is_npz(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("npz"))
}

fn read_hdf5(path: &Path) -> Result<Arrays, Problem> {
    let root = Node::root(&hdf5::open(path)?)?;
    let mut found = Arrays::default();
    for attribute in root.attributes() {
        if let Ok(text) = attribute.read_string() {
            found.texts.insert(attribute.name.clone(), text);
        } else if let Ok(value) = attribute.read_as_f64() {
            found.numbers.insert(attribute.name.clone(), value);
        }
    }
    for name in root.members()?.1 {
        let object = format!("dataset `{name}`");
        let stored = match root.numbers(&name, |x| x as f32) {
            Err(Problem::NotNumeric { .. }) => {
                if let Some(dataset) = root.dataset(&name, &object)? {
                    found.insert_text(name, &dataset);
                }
                continue;
            }
            stored => stored?,
        };
        let (Some(stored), Some(dataset)) = (stored, root.dataset(&name, &object)?) else {
            continue;
        };
        let unit = dataset
            .attribute("unit")
            .and_then(|unit| unit.read_string());
        let values = stored.into_array(&object)?;
        found.insert(&name, &unit.unwrap_or_default(), values);
    }
    Ok(found)
}

fn of_archive(members: Vec<(String, ArrayD<f32>)>) -> Arrays {
    let mut found = Arrays::default();
    for (name, values) in members {
        match (values.ndim(), values.first()) {
            (0, Some(&value)) => {
                found.numbers.insert(name, f64::from(value));
            }
            _ => found.insert(&name, "", values),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn chunks_hold_whole_rows_and_about_a_megabyte() {
        assert_eq!(chunk(&[1, 18_000, 40]), [1, 6553, 40]);
        assert_eq!(chunk(&[1300, 100, 30]), [87, 100, 30]);
        assert_eq!(chunk(&[2, 3, 1_000_000]), [1, 1, 262_144]);
        assert_eq!(chunk(&[0, 4]), [1, 4]);
    }

    #[test]
    fn hdf5_gives_back_everything_and_npz_the_numbers() {
        let values = Array3::from_shape_fn((7, 600, 5), |(i, t, n)| {
            if t == 3 { f32::NAN } else { (i * t + n) as f32 }
        });
        let mut results = Arrays::default();
        results.numbers.insert("dt".into(), 0.25);
        results.texts.insert("model".into(), "ladder".into());
        results.insert("rates", "Hz", values.into_dyn());
        results.insert("tau", "s", ArrayD::from_elem(IxDyn(&[5]), 0.5));
        let folder = tempfile::tempdir().unwrap();
        let (h5, npz) = (folder.path().join("a.h5"), folder.path().join("a.npz"));
        results.write(&h5).unwrap();
        results.write(&npz).unwrap();
        let bits = |a: &Arrays| {
            let values = a.arrays["rates"].values.iter().map(|v| v.to_bits());
            values.collect::<Vec<_>>()
        };
        let (from_h5, from_npz) = (Arrays::read(&h5).unwrap(), Arrays::read(&npz).unwrap());
        assert_eq!(bits(&from_h5), bits(&results));
        assert_eq!(bits(&from_npz), bits(&results));
        assert_eq!(from_h5.arrays["tau"], results.arrays["tau"]);
        assert_eq!(
            (&from_h5.numbers, &from_h5.texts),
            (&results.numbers, &results.texts)
        );
        assert_eq!(from_npz.numbers, results.numbers);
        let n_bytes = std::fs::metadata(&h5).unwrap().len();
        assert!(n_bytes < 4 * 7 * 600 * 5 / 2, "{n_bytes} bytes");
    }

    #[test]
    fn ids_of_any_number_of_neurons_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.h5");
        for n_neurons in [1, 10_000, 50_000] {
            let ids: Vec<String> = (0..n_neurons).map(|n: usize| n.to_string()).collect();
            let mut results = Arrays::default();
            results.texts.insert("joined".into(), ids.join(","));
            results.lists.insert("neuron_ids".into(), ids);
            results.write(&path).unwrap();
            assert_eq!(Arrays::read(&path).unwrap(), results);
        }
    }
}
