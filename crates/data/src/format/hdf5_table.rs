//! Tables of HDF5: datasets of records, as PyTables, pandas and NumPy's structured arrays have them.

use hdf5_reader::error::Error;
use hdf5_reader::{ByteOrder, Dataset, Datatype, H5Type, SliceInfo, SliceInfoElem};

use super::cells::Cells;
use super::hdf5::{Stored, number_of, unreadable};
use super::hdf5_values::check_bytes;
use super::number::Number;
use crate::Problem;

/// Numbers of a record that follow each other.
struct Field {
    name: String,
    offset: usize,
    number: Number,
    /// How many, where it is no single number.
    width: Option<usize>,
}

/// The numbers of each record; text and all else is none of them.
pub(crate) struct Record {
    size: usize,
    fields: Vec<Field>,
}

impl Record {
    /// `None` of other types than records, of complex numbers, and of records without numbers.
    pub(crate) fn of(dtype: &Datatype) -> Option<Self> {
        let Datatype::Compound { size, fields } = dtype else {
            return None;
        };
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        if matches!(names[..], ["r", "i"] | ["real", "imag"]) {
            return None;
        }
        let fields = fields.iter().filter_map(|field| {
            let (base, width) = match &field.datatype {
                Datatype::Array { base, dims } => match dims[..] {
                    [width] => (&**base, Some(usize::try_from(width).ok()?)),
                    _ => return None,
                },
                other => (other, None),
            };
            let number = number_of(base, &field.name).ok()?;
            let offset = field.byte_offset as usize;
            let end = offset + width.unwrap_or(1).checked_mul(usize::from(number.size))?;
            (end <= *size as usize).then(|| Field {
                name: field.name.clone(),
                offset,
                number,
                width,
            })
        });
        let fields: Vec<Field> = fields.collect();
        (!fields.is_empty()).then_some(Self {
            size: *size as usize,
            fields,
        })
    }

    /// A name for each number of a record: `speed`, or `values_block_0[3]` where a field has several.
    pub(crate) fn columns(&self) -> Vec<String> {
        let names = |field: &Field| match field.width {
            None => vec![field.name.clone()],
            Some(width) => (0..width).map(|n| format!("{}[{n}]", field.name)).collect(),
        };
        self.fields.iter().flat_map(names).collect()
    }

    /// The same, with the names that each field has for its numbers, where it has as many.
    pub(crate) fn named_columns(
        &self,
        names_of: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Vec<String> {
        let named = |field: &Field| {
            let width = field.width.unwrap_or(1);
            names_of(&field.name).filter(|names| names.len() == width)
        };
        let plain = self.columns();
        let mut plain = plain.into_iter();
        let names = self.fields.iter().flat_map(|field| {
            let own: Vec<String> = plain.by_ref().take(field.width.unwrap_or(1)).collect();
            named(field).unwrap_or(own)
        });
        names.collect()
    }

    /// All records, `[record, column]`, of which the file holds no more than `most_bytes`.
    pub(crate) fn read<T>(
        &self,
        dataset: &Dataset,
        object: &str,
        most_bytes: u64,
        cast: impl Fn(f64) -> T,
    ) -> Result<Stored<T>, Problem> {
        let shape = vec![n_records(dataset), self.columns().len()];
        let mut values = Vec::new();
        self.each(dataset, object, most_bytes, |number| {
            if values.is_empty() {
                values.reserve_exact(shape.iter().product());
            }
            values.push(cast(number));
        })?;
        Ok(Stored { shape, values })
    }

    /// The same as rows that take no more memory than they need while they are read.
    pub(crate) fn rows(
        &self,
        dataset: &Dataset,
        object: &str,
        most_bytes: u64,
    ) -> Result<Cells, Problem> {
        let mut rows = Cells::new(self.columns().len());
        self.each(dataset, object, most_bytes, |number| rows.push(number))?;
        Ok(rows)
    }

    /// Every number, record by record; some records of the file are in memory at a time.
    fn each(
        &self,
        dataset: &Dataset,
        object: &str,
        most_bytes: u64,
        mut take: impl FnMut(f64),
    ) -> Result<(), Problem> {
        check_bytes(dataset.shape(), self.size as u64, object, most_bytes)?;
        let n_records = n_records(dataset);
        let in_chunk = dataset.chunks().and_then(|chunks| chunks.first().copied());
        // Whole chunks, so that none is unpacked twice.
        let step = (PIECE / self.size.max(1)).max(1);
        let step = step.next_multiple_of(in_chunk.map_or(1, |n| n.max(1) as usize));
        let mut numbers = Vec::new();
        for start in (0..n_records).step_by(step) {
            let slice = SliceInfoElem::Slice {
                start: start as u64,
                end: (start.saturating_add(step)).min(n_records) as u64,
                step: 1,
            };
            let selection = SliceInfo {
                selections: vec![slice],
            };
            let records = dataset.read_slice::<Bytes>(&selection);
            for Bytes(record) in &records.map_err(|e| unreadable(object, e))? {
                for field in &self.fields {
                    let length = field.width.unwrap_or(1) * usize::from(field.number.size);
                    let stored = record.get(field.offset..field.offset + length);
                    let stored = stored.ok_or_else(|| {
                        unreadable(object, Error::InvalidData("a record cut short".to_owned()))
                    })?;
                    numbers.clear();
                    field.number.decode_into(stored, |x| x, &mut numbers);
                    for &number in &numbers {
                        take(number);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Bytes of records that are in memory before they are numbers.
const PIECE: usize = 1 << 18;

fn n_records(dataset: &Dataset) -> usize {
    dataset.shape().iter().map(|&n| n as usize).product()
}

/// A record as it is stored.
#[derive(Clone)]
struct Bytes(Box<[u8]>);

impl H5Type for Bytes {
    fn hdf5_type() -> Datatype {
        Datatype::FixedPoint {
            size: 1,
            signed: false,
            byte_order: ByteOrder::LittleEndian,
        }
    }

    fn from_bytes(bytes: &[u8], _: &Datatype) -> Result<Self, Error> {
        Ok(Self(bytes.into()))
    }

    fn element_size(dtype: &Datatype) -> usize {
        match dtype {
            Datatype::Compound { size, .. } => *size as usize,
            _ => 1,
        }
    }
}
