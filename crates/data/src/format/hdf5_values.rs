//! The numbers of an HDF5 dataset, decoded a piece of the file at a time.

use std::ops::Range;

use hdf5_reader::error::Error;
use hdf5_reader::{ByteOrder, Dataset, Datatype, H5Type, SliceInfo, SliceInfoElem};
use ndarray::{ArrayView, ArrayViewMut, Axis, IxDyn, Slice};

use super::hdf5::{Stored, number_of, unreadable};
use super::number::Number;
use crate::Problem;

/// Bytes of a dataset that are in memory before they are numbers.
const PIECE: usize = 1 << 20;

/// All of a dataset, each number cast; `object` is what errors call it.
///
/// # Errors
/// [`Problem::NotNumeric`]; [`Problem::Unreadable`], of a shape that takes more than `most_bytes` too.
pub(crate) fn read_dataset<T: Clone>(
    dataset: &Dataset,
    object: &str,
    most_bytes: u64,
    cast: impl Fn(f64) -> T,
) -> Result<Stored<T>, Problem> {
    let number = number_of(dataset.dtype(), object)?;
    let packing = Packing::of(dataset, object)?;
    let cast = |stored: f64| cast(packing.unpack(stored));
    let shape: Vec<usize> = dataset.shape().iter().map(|&n| n as usize).collect();
    let n_bytes = check_bytes(dataset.shape(), number.size.into(), object, most_bytes)?;
    let values = match dataset.chunks() {
        Some(_) => of_chunks(dataset, number, &shape, &cast),
        None if n_bytes <= PIECE as u64 => dataset
            .read_raw_bytes()
            .map(|bytes| number.decode(&bytes, cast)),
        None => of_rows(dataset, number, &shape, &cast),
    };
    let values = values.map_err(|e| unreadable(object, e))?;
    Ok(Stored { shape, values })
}

/// How numbers are packed into a dataset: what is stored, times `scale_factor` plus `add_offset`; none where a
/// fill value stands.
///
/// # Source
/// Climate and Forecast (CF) conventions 1.11, sections 2.5.1 and 8.1, which netCDF, xarray and minian follow.
pub(crate) struct Packing {
    scale: Option<f64>,
    offset: Option<f64>,
    missing: Vec<f64>,
}

impl Packing {
    /// That of a dataset; `object` is what errors call it.
    ///
    /// # Errors
    /// [`Problem::NotNumeric`] of a scale or an offset that is not one number.
    pub(crate) fn of(dataset: &Dataset, object: &str) -> Result<Self, Problem> {
        let numbers = |name: &str| -> Option<Result<Vec<f64>, Problem>> {
            let found = dataset.attribute(name).ok()?;
            let object = format!("attribute `{name}` of {object}");
            let number = number_of(&found.datatype, &object);
            Some(number.map(|number| number.decode(&found.raw_data, |x| x)))
        };
        let one = |name: &str| -> Result<Option<f64>, Problem> {
            match numbers(name).transpose()?.as_deref() {
                None => Ok(None),
                Some([value]) => Ok(Some(*value)),
                Some(several) => Err(Problem::NotNumeric {
                    object: format!("attribute `{name}` of {object}"),
                    found: format!("{} numbers", several.len()),
                }),
            }
        };
        // Fill values that are text stand for no number.
        let fills = ["_FillValue", "missing_value"].into_iter();
        let fills = fills.filter_map(|name| numbers(name)?.ok()).flatten();
        Ok(Self {
            scale: one("scale_factor")?,
            offset: one("add_offset")?,
            missing: fills.filter(|value| !value.is_nan()).collect(),
        })
    }

    /// Whether numbers are stored as they are.
    pub(crate) fn is_none(&self) -> bool {
        self.scale.is_none() && self.offset.is_none() && self.missing.is_empty()
    }

    fn unpack(&self, stored: f64) -> f64 {
        match self.missing.contains(&stored) {
            true => f64::NAN,
            false => stored * self.scale.unwrap_or(1.0) + self.offset.unwrap_or(0.0),
        }
    }
}

/// The bytes of so many elements.
///
/// # Errors
/// [`Problem::Unreadable`] of more than `most_bytes`: a damaged shape.
pub(crate) fn check_bytes(
    shape: &[u64],
    bytes_each: u64,
    object: &str,
    most_bytes: u64,
) -> Result<u64, Problem> {
    let n_bytes = shape
        .iter()
        .fold(bytes_each, |n, &length| n.saturating_mul(length));
    if n_bytes > most_bytes {
        let found = format!("a shape of {n_bytes} bytes, more than the file can hold");
        return Err(unreadable(object, Error::InvalidData(found)));
    }
    Ok(n_bytes)
}

/// The values of a dataset in chunks, of which those that were never written hold the fill value.
fn of_chunks<T: Clone>(
    dataset: &Dataset,
    number: Number,
    shape: &[usize],
    cast: &impl Fn(f64) -> T,
) -> Result<Vec<T>, Error> {
    let fill = dataset.fill_value().and_then(|fill| fill.value.as_deref());
    let fill = fill.and_then(|bytes| number.decode(bytes, |x| x).first().copied());
    let n_values = shape.iter().product();
    let mut values = vec![cast(fill.unwrap_or(0.0)); n_values];
    let invalid = |e: ndarray::ShapeError| Error::InvalidData(e.to_string());
    let whole = ArrayViewMut::from_shape(IxDyn(shape), &mut values[..]);
    let mut whole = whole.map_err(invalid)?;
    for chunk in dataset.iter_chunks()? {
        let chunk = chunk?;
        let lengths: Vec<usize> = chunk.shape().iter().map(|&n| n as usize).collect();
        let decoded = number.decode(chunk.bytes(), cast);
        let decoded = ArrayView::from_shape(IxDyn(&lengths), &decoded[..]);
        let decoded = decoded.map_err(invalid)?;
        let first = |axis: Axis| chunk.offsets()[axis.index()] as usize;
        // The last chunk along an axis may reach beyond it.
        let n_inside = |axis: Axis| {
            let left = shape[axis.index()].checked_sub(first(axis));
            left.map(|left| left.min(lengths[axis.index()]))
        };
        if (0..shape.len()).any(|axis| n_inside(Axis(axis)).is_none()) {
            return Err(Error::InvalidData("a chunk beyond the dataset".to_owned()));
        }
        let inside = decoded.slice_each_axis(|of| Slice::from(..n_inside(of.axis).unwrap_or(0)));
        let mut place = whole.slice_each_axis_mut(|of| {
            let first = first(of.axis);
            Slice::from(first..first + n_inside(of.axis).unwrap_or(0))
        });
        place.assign(&inside);
    }
    Ok(values)
}

/// The values of a dataset that lies in one piece, some rows at a time.
fn of_rows<T>(
    dataset: &Dataset,
    number: Number,
    shape: &[usize],
    cast: &impl Fn(f64) -> T,
) -> Result<Vec<T>, Error> {
    let mut values = Vec::with_capacity(shape.iter().product());
    let row_bytes = shape[1..].iter().product::<usize>() * usize::from(number.size);
    let n_rows = (PIECE / row_bytes.max(1)).max(1);
    let part = |range: Range<usize>| SliceInfoElem::Slice {
        start: range.start as u64,
        end: range.end as u64,
        step: 1,
    };
    for start in (0..shape[0]).step_by(n_rows) {
        let mut selections: Vec<_> = shape.iter().map(|&length| part(0..length)).collect();
        selections[0] = part(start..(start + n_rows).min(shape[0]));
        let rows = dataset.read_slice::<Value>(&SliceInfo { selections })?;
        values.extend(rows.iter().map(|value| cast(value.0)));
    }
    Ok(values)
}

/// A number of any stored type.
#[derive(Clone)]
struct Value(f64);

impl H5Type for Value {
    fn hdf5_type() -> Datatype {
        Datatype::FloatingPoint {
            size: 8,
            byte_order: ByteOrder::LittleEndian,
        }
    }

    fn from_bytes(bytes: &[u8], dtype: &Datatype) -> Result<Self, Error> {
        let decoded = Self::decode_vec(bytes, dtype, 1).transpose()?;
        let first = decoded.and_then(|values| values.into_iter().next());
        first.ok_or_else(|| Error::InvalidData("no number".to_owned()))
    }

    fn element_size(dtype: &Datatype) -> usize {
        number_of(dtype, "").map_or(1, |number| number.size.into())
    }

    fn decode_vec(raw: &[u8], dtype: &Datatype, _: usize) -> Option<Result<Vec<Self>, Error>> {
        let number = number_of(dtype, "").ok()?;
        Some(Ok(number.decode(raw, Self)))
    }
}
