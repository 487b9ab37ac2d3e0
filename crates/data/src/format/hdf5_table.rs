//! Tables of HDF5: datasets of records, as PyTables, pandas and NumPy's structured arrays have them.

use hdf5_reader::{Dataset, Datatype};

use super::hdf5::{Stored, number_of, unreadable};
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

    /// All records, `[record, column]`.
    pub(crate) fn read<T>(
        &self,
        dataset: &Dataset,
        object: &str,
        cast: impl Fn(f64) -> T,
    ) -> Result<Stored<T>, Problem> {
        let bytes = dataset.read_raw_bytes();
        let bytes = bytes.map_err(|e| unreadable(object, e))?;
        let records = bytes.chunks_exact(self.size);
        let shape = vec![records.len(), self.columns().len()];
        let mut values = Vec::with_capacity(shape.iter().product());
        for record in records {
            for field in &self.fields {
                let length = field.width.unwrap_or(1) * usize::from(field.number.size);
                let stored = &record[field.offset..field.offset + length];
                values.extend(field.number.decode(stored, &cast));
            }
        }
        Ok(Stored { shape, values })
    }
}
