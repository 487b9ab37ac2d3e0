//! Benchmark files: HDF5 in and out.

use std::io::Write;
use std::path::Path;

use hdf5_reader::{Attribute, ByteOrder, Datatype, Hdf5File, OpenOptions, group::Group};
use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions};
use ndarray::{Array, ArrayBase, Data, Dimension, Ix2, Ix3};

use crate::{DataError, Dataset, Problem, Quantity, Split};

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
            .and_then(|()| Ok(encode(self).map_err(Problem::from)?))
            .and_then(|bytes| Ok(replace_file(path, &bytes)?))
            .map_err(|e| e.in_file(path))
    }
}

fn read(path: &Path) -> Result<Dataset, DataError> {
    let file = open(path)?;
    let root = Root::of(&file)?;
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
fn open(path: &Path) -> Result<Hdf5File, Problem> {
    let length = std::fs::metadata(path)
        .and_then(|found| {
            if found.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            Ok(found.len())
        })
        .map_err(|source| Problem::Io {
            action: "read the file",
            source,
        })?;
    // No dataset can decode to more than deflate's best ratio, 1032 to 1: a damaged
    // shape is refused before memory is asked for.
    let limit = usize::try_from(length.saturating_mul(1032)).unwrap_or(usize::MAX);
    let options = OpenOptions::default().with_max_read_bytes(limit);
    let file = Hdf5File::open_with_options(path, options).map_err(|e| match e {
        hdf5_reader::error::Error::Io(source) => Problem::Io {
            action: "read the file",
            source,
        },
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

/// An array as it lies in the file, of any rank.
struct Stored {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// The root group, with its attributes read once.
struct Root {
    group: Group,
    attributes: Vec<Attribute>,
}

impl Root {
    fn of(file: &Hdf5File) -> Result<Self, Problem> {
        let group = file
            .root_group()
            .map_err(|e| unreadable("the root group", e))?;
        let attributes = group
            .attributes()
            .map_err(|e| unreadable("the attributes of the root group", e))?;
        Ok(Self { group, attributes })
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
        let object = format!("dataset `{name}`");
        let Some(stored) = self.dataset(name, &object)? else {
            return Ok(None);
        };
        let number = Number::of(stored.dtype(), &object)?;
        let bytes = stored
            .read_raw_bytes()
            .map_err(|e| unreadable(&object, e))?;
        let shape = stored.shape().iter().map(|&n| n as usize).collect();
        let values = number.decode(&bytes, |x| x as f32);
        Ok(Some(Stored { shape, values }))
    }

    /// A scalar, from an attribute or else from a dataset of one element.
    fn number(&self, name: &'static str) -> Result<Option<f64>, Problem> {
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

    fn text(&self, name: &'static str) -> Result<Option<String>, Problem> {
        self.attribute(name)
            .map(|a| a.read_string().map_err(|_| Problem::NotText { name }))
            .transpose()
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }

    fn dataset(&self, name: &str, object: &str) -> Result<Option<hdf5_reader::Dataset>, Problem> {
        match self.group.dataset(name) {
            Ok(dataset) => Ok(Some(dataset)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(unreadable(object, e)),
        }
    }
}

fn is_absent(error: &hdf5_reader::error::Error) -> bool {
    match error {
        hdf5_reader::error::Error::DatasetNotFound(_) => true,
        hdf5_reader::error::Error::Context { source, .. } => is_absent(source),
        _ => false,
    }
}

fn unreadable(object: &str, source: hdf5_reader::error::Error) -> Problem {
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

/// How one number is laid out in the file.
#[derive(Clone, Copy)]
struct Number {
    kind: Kind,
    size: u8,
    big_endian: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Float,
    Signed,
    Unsigned,
}

impl Number {
    fn of(dtype: &Datatype, object: &str) -> Result<Self, Problem> {
        let (kind, size, order) = match dtype {
            Datatype::FloatingPoint { size, byte_order } => (Kind::Float, *size, byte_order),
            Datatype::FixedPoint {
                size,
                signed: true,
                byte_order,
            } => (Kind::Signed, *size, byte_order),
            Datatype::FixedPoint {
                size, byte_order, ..
            } => (Kind::Unsigned, *size, byte_order),
            // h5py stores booleans as an enumeration.
            Datatype::Enum { base, .. } => return Self::of(base, object),
            other => return Err(not_numeric(object, other)),
        };
        let known = match kind {
            Kind::Float => matches!(size, 2 | 4 | 8),
            Kind::Signed | Kind::Unsigned => matches!(size, 1 | 2 | 4 | 8),
        };
        if !known {
            return Err(not_numeric(object, dtype));
        }
        Ok(Self {
            kind,
            size,
            big_endian: *order == ByteOrder::BigEndian,
        })
    }

    #[allow(
        clippy::cast_lossless,
        reason = "64-bit integers have no lossless cast, and one macro serves all types"
    )]
    fn decode<T>(self, bytes: &[u8], cast: impl Fn(f64) -> T) -> Vec<T> {
        macro_rules! each {
            ($number:ty) => {
                self.decode_each(bytes, |b| cast(<$number>::from_le_bytes(b) as f64))
            };
        }
        match (self.kind, self.size) {
            (Kind::Float, 2) => self.decode_each(bytes, |b| cast(half(u16::from_le_bytes(b)))),
            (Kind::Float, 4) => each!(f32),
            (Kind::Float, _) => each!(f64),
            (Kind::Signed, 1) => each!(i8),
            (Kind::Signed, 2) => each!(i16),
            (Kind::Signed, 4) => each!(i32),
            (Kind::Signed, _) => each!(i64),
            (Kind::Unsigned, 1) => each!(u8),
            (Kind::Unsigned, 2) => each!(u16),
            (Kind::Unsigned, 4) => each!(u32),
            (Kind::Unsigned, _) => each!(u64),
        }
    }

    fn decode_each<const N: usize, T>(self, bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = bytes.as_chunks::<N>();
        if self.big_endian {
            let swapped = |mut chunk: [u8; N]| {
                chunk.reverse();
                chunk
            };
            chunks.iter().map(|&chunk| f(swapped(chunk))).collect()
        } else {
            chunks.iter().map(|&chunk| f(chunk)).collect()
        }
    }
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match exponent {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
}

fn not_numeric(object: &str, dtype: &Datatype) -> Problem {
    let found = match dtype {
        Datatype::FloatingPoint { size, .. } => format!("{size}-byte floating-point numbers"),
        Datatype::FixedPoint { size, .. } => format!("{size}-byte integers"),
        Datatype::String { .. } => "text".to_owned(),
        Datatype::Compound { .. } => "a compound type (complex numbers?)".to_owned(),
        Datatype::VarLen { .. } => "variable-length sequences or text".to_owned(),
        _ => "a type that holds no plain numbers".to_owned(),
    };
    Problem::NotNumeric {
        object: object.to_owned(),
        found,
    }
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

fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let write = || {
        let mut file = temporary_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(folder)
    };
    write().map_err(|source| Problem::Io {
        action: "write the file",
        source,
    })
}

/// A temporary file with the permissions of an ordinary one (the umask applies).
fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
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
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
