//! Benchmark files: HDF5 in and out.

use std::io::Write;
use std::path::Path;

use hdf5_reader::{Attribute, Hdf5File, OpenOptions, group::Group};
use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::{Array, ArrayBase, Data, Dimension, Ix2, Ix3};

use crate::number::Number;
use crate::source::cannot_read;
use crate::{DataError, Dataset, Problem, Quantity, Split};

/// Axes of every trial array.
const TRIAL_AXES: &str = "[trial, time, neuron]";
/// Axes of the readout.
const LOADING_AXES: &str = "[latent, neuron]";
/// Deflate's: no dataset decodes to more bytes than this many times the file's.
const BEST_RATIO: u64 = 1032;

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
            .and_then(|()| Ok(encode(self).map_err(Problem::from)?))
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
        discretisation: root.text("discretisation")?,
        loadings: root
            .array("loadings")?
            .map(|a| with_rank::<Ix2>("dataset `loadings`", LOADING_AXES, a))
            .transpose()?,
        seed: root.seed()?,
        recipe: root.text("recipe")?,
        train: root.split("train")?,
        valid: root.split("valid")?,
    })
}

/// Opens the file and checks that it is as long as its own header says.
pub(crate) fn open(path: &Path) -> Result<Hdf5File, Problem> {
    let length = std::fs::metadata(path)
        .and_then(|found| {
            if found.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            Ok(found.len())
        })
        .map_err(cannot_read)?;
    // A damaged shape is refused before memory is asked for.
    let limit = usize::try_from(length.saturating_mul(BEST_RATIO)).unwrap_or(usize::MAX);
    let options = OpenOptions::default().with_max_read_bytes(limit);
    let file = Hdf5File::open_with_options(path, options).map_err(|e| match e {
        hdf5_reader::error::Error::Io(source) => cannot_read(source),
        hdf5_reader::error::Error::InvalidMagic => Problem::NotHdf5 { length },
        other => unreadable("the HDF5 header", other),
    })?;
    let expected = file.superblock().eof_address;
    if expected > length {
        return Err(Problem::CutShort {
            expected,
            found: length,
        });
    }
    Ok(file)
}

/// Refuses a shape of which the file cannot hold the values: those of a damaged header.
pub(crate) fn check_size(path: &Path, shape: &[u64], bytes_each: u64) -> Result<(), Problem> {
    let found = std::fs::metadata(path).map_err(cannot_read)?.len();
    let expected = shape
        .iter()
        .fold(bytes_each, |bytes, &n| bytes.saturating_mul(n));
    if expected > found.saturating_mul(BEST_RATIO) {
        return Err(Problem::CutShort { expected, found });
    }
    Ok(())
}

/// An array as it lies in the file, of any rank.
pub(crate) struct Stored<T = f32> {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<T>,
}

/// A group, with its attributes read once.
pub(crate) struct Node {
    pub(crate) group: Group,
    attributes: Vec<Attribute>,
}

impl Node {
    pub(crate) fn root(file: &Hdf5File) -> Result<Self, Problem> {
        let group = file
            .root_group()
            .map_err(|e| unreadable("the root group", e))?;
        Self::of(group, "the root group")
    }

    fn of(group: Group, object: &str) -> Result<Self, Problem> {
        let attributes = group
            .attributes()
            .map_err(|e| unreadable(&format!("the attributes of {object}"), e))?;
        Ok(Self { group, attributes })
    }

    /// The group `name` in this one, if there is one.
    pub(crate) fn child(&self, name: &str) -> Result<Option<Self>, Problem> {
        let object = format!("group `{name}`");
        match self.group.group(name) {
            Ok(group) => Self::of(group, &object).map(Some),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(unreadable(&object, e)),
        }
    }

    /// Names of the groups and of the datasets in this group.
    pub(crate) fn members(&self) -> Result<(Vec<String>, Vec<String>), Problem> {
        let listed = self.group.member_names();
        listed.map_err(|e| unreadable("the list of members of a group", e))
    }

    fn split(&self, split: &str) -> Result<Split, Problem> {
        let mut arrays = Split::default();
        for quantity in Quantity::ALL {
            let name = format!("{split}_{quantity}");
            if let Some(values) = self.array(&name)? {
                let object = format!("dataset `{name}`");
                *arrays.slot(quantity) = Some(with_rank::<Ix3>(&object, TRIAL_AXES, values)?);
            }
        }
        Ok(arrays)
    }

    fn array(&self, name: &str) -> Result<Option<Stored>, Problem> {
        self.numbers(name, |x| x as f32)
    }

    /// The dataset `name`, if there is one, each number cast.
    pub(crate) fn numbers<T>(
        &self,
        name: &str,
        cast: impl Fn(f64) -> T,
    ) -> Result<Option<Stored<T>>, Problem> {
        let object = format!("dataset `{name}`");
        let Some(stored) = self.dataset(name, &object)? else {
            return Ok(None);
        };
        let number = Number::of(stored.dtype(), &object)?;
        let bytes = stored
            .read_raw_bytes()
            .map_err(|e| unreadable(&object, e))?;
        let shape = stored.shape().iter().map(|&n| n as usize).collect();
        let values = number.decode(&bytes, cast);
        Ok(Some(Stored { shape, values }))
    }

    /// A scalar, from an attribute or else from a dataset of one element.
    pub(crate) fn number(&self, name: &'static str) -> Result<Option<f64>, Problem> {
        let (object, dtype, bytes) = if let Some(found) = self.attribute(name) {
            let object = format!("attribute `{name}`");
            (object, found.datatype.clone(), found.raw_data.clone())
        } else {
            let object = format!("dataset `{name}`");
            let Some(found) = self.dataset(name, &object)? else {
                return Ok(None);
            };
            let bytes = found.read_raw_bytes().map_err(|e| unreadable(&object, e))?;
            (object, found.dtype().clone(), bytes)
        };
        match Number::of(&dtype, &object)?.decode(&bytes, |x| x)[..] {
            [value] => Ok(Some(value)),
            ref values => Err(Problem::BadParameter {
                name,
                found: format!("an array of {} elements", values.len()),
                expected: "one number",
            }),
        }
    }

    fn seed(&self) -> Result<Option<u64>, Problem> {
        // A double cannot hold every seed, so our own type is read first.
        if let Some(seed) = self.attribute("seed").and_then(|a| a.read_scalar().ok()) {
            return Ok(Some(seed));
        }
        match self.number("seed")? {
            Some(seed) if seed < 0.0 || seed.fract() != 0.0 => Err(Problem::BadParameter {
                name: "seed",
                found: seed.to_string(),
                expected: "a whole number from 0 to 2^64 - 1",
            }),
            seed => Ok(seed.map(|s| s as u64)),
        }
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, Problem> {
        self.attribute(name)
            .map(|a| a.read_string().map_err(|_| Problem::NotText { name }))
            .transpose()
    }

    pub(crate) fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    pub(crate) fn dataset(
        &self,
        name: &str,
        object: &str,
    ) -> Result<Option<hdf5_reader::Dataset>, Problem> {
        match self.group.dataset(name) {
            Ok(dataset) => Ok(Some(dataset)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(unreadable(object, e)),
        }
    }
}

/// A number under any name, as attribute or dataset; `None` where it is absent or no scalar.
pub(crate) fn scalar(node: &Node, name: &str) -> Result<Option<f64>, Problem> {
    if let Some(found) = node.attribute(name) {
        return Ok(found.read_as_f64().ok());
    }
    let is_scalar = |d: hdf5_reader::Dataset| d.shape().iter().all(|&n| n == 1);
    let object = format!("dataset `{name}`");
    match node.dataset(name, &object)?.is_some_and(is_scalar) {
        true => Ok(node
            .numbers(name, |x| x)?
            .and_then(|s| s.values.first().copied())),
        false => Ok(None),
    }
}

pub(crate) fn is_absent(error: &hdf5_reader::error::Error) -> bool {
    match error {
        hdf5_reader::error::Error::DatasetNotFound(_)
        | hdf5_reader::error::Error::GroupNotFound(_) => true,
        hdf5_reader::error::Error::Context { source, .. } => is_absent(source),
        _ => false,
    }
}

pub(crate) fn unreadable(object: &str, source: hdf5_reader::error::Error) -> Problem {
    Problem::Unreadable {
        object: object.to_owned(),
        source: Box::new(source),
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
        ("discretisation", &dataset.discretisation),
        ("recipe", &dataset.recipe),
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
    DatasetBuilder::typed_data(name, shape, values.as_slice().unwrap_or_default())
}

pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let folder = folder_of(path);
    let write = || {
        let mut file = temporary_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(folder)
    };
    write().map_err(cannot_write)
}

pub(crate) fn cannot_write(source: std::io::Error) -> Problem {
    Problem::Io {
        action: "write the file",
        source,
    }
}

/// Where the file is.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A temporary file with the permissions of an ordinary one (the umask applies).
pub(crate) fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Makes the rename itself last through a power cut, where the system can.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
