//! HDF5: groups, datasets of every type of number, attributes.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use hdf5_reader::{
    Attribute, ByteOrder, Datatype, FilesystemExternalFileResolver, FilesystemExternalLinkResolver,
    FilterRegistry, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem, group::Group,
};
use ndarray::{Array2, ArrayD, Ix2};

use crate::Problem;
use crate::format::hdf5_values::read_dataset;
use crate::format::lzf;
use crate::format::number::{Kind, Number};
use crate::whole_file::{cannot_read, folder_of};

/// Deflate's: no dataset decodes to more bytes than this many times the file's.
const BEST_RATIO: u64 = 1032;

/// Decoded chunks that are kept, for arrays of which only some columns are wanted.
const CHUNK_CACHE_BYTES: usize = 1 << 20;

/// h5py's own filter, by its registered number.
const LZF: u16 = 32_000;

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, hdf5_reader::error::Error> {
    let damaged = || hdf5_reader::error::Error::DecompressionError("a damaged LZF stream".into());
    lzf::decompress(bytes).ok_or_else(damaged)
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
    let mut filters = FilterRegistry::new();
    filters.register(LZF, Box::new(|_, bytes, _| unpack(bytes)));
    let options = OpenOptions::default()
        .with_max_read_bytes(limit)
        // Every chunk is read once.
        .with_chunk_cache_bytes(CHUNK_CACHE_BYTES)
        .with_filter_registry(filters)
        .with_external_link_resolver(Arc::new(FilesystemExternalLinkResolver::new(folder_of(
            path,
        ))))
        .with_external_file_resolver(Arc::new(FilesystemExternalFileResolver::new(folder_of(
            path,
        ))));
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

/// Most bytes that a dataset of the file can decode to: more is a damaged shape.
pub(crate) fn most_bytes(file: &Hdf5File) -> u64 {
    let length = file.superblock().eof_address;
    length.saturating_mul(BEST_RATIO)
}

/// An array as it lies in the file, of any rank.
pub(crate) struct Stored<T = f32> {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<T>,
}

impl<T> Stored<T> {
    /// The values in their shape; `object` is what errors call them.
    pub(crate) fn into_array(self, object: &str) -> Result<ArrayD<T>, Problem> {
        ArrayD::from_shape_vec(self.shape, self.values).map_err(|error| {
            unreadable(
                object,
                hdf5_reader::error::Error::InvalidData(error.to_string()),
            )
        })
    }
}

/// Some of the lines along an axis (0: rows, 1: columns) of a matrix of 32-bit floats, `[line, place]`.
pub(crate) fn lines(
    dataset: &hdf5_reader::Dataset,
    object: &str,
    axis: usize,
    lines: Range<usize>,
) -> Result<Array2<f32>, Problem> {
    let selection = |of_axis: usize| {
        let (start, end) = match of_axis == axis {
            true => (lines.start as u64, lines.end as u64),
            false => (0, dataset.shape()[of_axis]),
        };
        SliceInfoElem::Slice {
            start,
            end,
            step: 1,
        }
    };
    let selections = vec![selection(0), selection(1)];
    let values = dataset
        .read_slice::<f32>(&SliceInfo { selections })
        .map_err(|e| unreadable(object, e))?;
    let found = values.shape().to_vec();
    let matrix = values
        .into_dimensionality::<Ix2>()
        .map_err(|_| Problem::Rank {
            object: object.to_owned(),
            found,
            axes: "[time, neuron]",
        })?;
    Ok(match axis {
        0 => matrix,
        _ => matrix.reversed_axes().as_standard_layout().into_owned(),
    })
}

/// A group, with its attributes read once.
pub(crate) struct Node {
    pub(crate) group: Group,
    attributes: Vec<Attribute>,
    /// Of what one dataset decodes to.
    most_bytes: u64,
}

impl Node {
    pub(crate) fn root(file: &Hdf5File) -> Result<Self, Problem> {
        let group = file
            .root_group()
            .map_err(|e| unreadable("the root group", e))?;
        Self::of(group, "the root group", most_bytes(file))
    }

    fn of(group: Group, object: &str, most_bytes: u64) -> Result<Self, Problem> {
        let attributes = group
            .attributes()
            .map_err(|e| unreadable(&format!("the attributes of {object}"), e))?;
        Ok(Self {
            group,
            attributes,
            most_bytes,
        })
    }

    /// The group `name` in this one, if there is one.
    pub(crate) fn child(&self, name: &str) -> Result<Option<Self>, Problem> {
        let object = format!("group `{name}`");
        match self.group.group(name) {
            Ok(group) => Self::of(group, &object, self.most_bytes).map(Some),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(unreadable(&object, e)),
        }
    }

    /// Names of the groups and of the datasets in this group.
    pub(crate) fn members(&self) -> Result<(Vec<String>, Vec<String>), Problem> {
        let listed = self.group.member_names();
        listed.map_err(|e| unreadable("the list of members of a group", e))
    }

    /// The dataset `name`, if there is one, each number cast.
    pub(crate) fn numbers<T: Clone>(
        &self,
        name: &str,
        cast: impl Fn(f64) -> T,
    ) -> Result<Option<Stored<T>>, Problem> {
        let object = format!("dataset `{name}`");
        let Some(stored) = self.dataset(name, &object)? else {
            return Ok(None);
        };
        read_dataset(&stored, &object, self.most_bytes, cast).map(Some)
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
        match number_of(&dtype, &object)?.decode(&bytes, |x| x)[..] {
            [value] => Ok(Some(value)),
            ref values => Err(Problem::BadParameter {
                name,
                found: format!("an array of {} elements", values.len()),
                expected: "one number",
            }),
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

/// Whether this is a dataset put together of others.
pub(crate) fn is_virtual(error: &hdf5_reader::error::Error) -> bool {
    match error {
        // Class 3 of data layouts.
        hdf5_reader::error::Error::UnsupportedLayoutClass(3) => true,
        hdf5_reader::error::Error::Context { source, .. } => is_virtual(source),
        _ => false,
    }
}

/// The number of the filter that is missing.
fn missing_filter(error: &hdf5_reader::error::Error) -> Option<u16> {
    match error {
        hdf5_reader::error::Error::UnsupportedFilter(found) => {
            found.rsplit(' ').next()?.parse().ok()
        }
        hdf5_reader::error::Error::Context { source, .. } => missing_filter(source),
        _ => None,
    }
}

pub(crate) fn unreadable(object: &str, source: hdf5_reader::error::Error) -> Problem {
    let object = object.to_owned();
    if let Some(filter) = missing_filter(&source) {
        return Problem::UnknownFilter { object, filter };
    }
    if is_virtual(&source) {
        return Problem::VirtualDataset { object };
    }
    Problem::Unreadable {
        object,
        source: Box::new(source),
    }
}

/// The layout of an HDF5 type.
pub(crate) fn number_of(dtype: &Datatype, object: &str) -> Result<Number, Problem> {
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
        Datatype::Enum { base, .. } => return number_of(base, object),
        other => return Err(not_numeric(object, other)),
    };
    let big_endian = *order == ByteOrder::BigEndian;
    Number::known(kind, size, big_endian).ok_or_else(|| not_numeric(object, dtype))
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
