//! NumPy's .npy: arrays in and out.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ndarray::{Array, ArrayD, ArrayView, Dimension, ShapeBuilder};

use super::cells::Cells;
use super::number::{Kind, Number};
use crate::whole_file::{cannot_read, replace_file};
use crate::{DataError, Problem};

pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header that is parsed; NumPy itself stops at 10,000 bytes.
pub(crate) const MAX_HEADER: usize = 65_536 + 12;

/// Bytes that are in memory before they are numbers; a multiple of every number's size.
const PIECE: usize = 1 << 18;

/// Writes an array as a .npy file of little-endian 32-bit floats, in C order.
///
/// The file appears whole or not at all.
///
/// # Errors
/// A problem of the disk, naming the file.
pub fn write_npy<D: Dimension>(
    path: &Path,
    values: ArrayView<'_, f32, D>,
) -> Result<(), DataError> {
    replace_file(path, &encode(values)).map_err(|e| DataError::from(e).in_file(path))
}

/// The bytes of a .npy file.
pub(crate) fn encode<D: Dimension>(values: ArrayView<'_, f32, D>) -> Vec<u8> {
    let mut bytes = header(values.shape(), false);
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// The bytes of a .npy file of 64-bit floats along one axis.
#[cfg(feature = "zip")]
pub(crate) fn encode_f64(values: &[f64]) -> Vec<u8> {
    let mut bytes = preamble("<f8", false, &format!("({},)", values.len()));
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// The bytes of a .npy file of texts along one axis, padded with zeros to the longest.
#[cfg(feature = "zip")]
pub(crate) fn encode_texts<S: AsRef<str>>(texts: &[S]) -> Vec<u8> {
    let lengths = texts.iter().map(|text| text.as_ref().chars().count());
    let width = lengths.max().unwrap_or_default().max(1);
    let mut bytes = preamble(&format!("<U{width}"), false, &format!("({},)", texts.len()));
    for text in texts {
        let padding = std::iter::repeat('\0');
        let characters = text.as_ref().chars().chain(padding).take(width);
        bytes.extend(characters.flat_map(|c| u32::from(c).to_le_bytes()));
    }
    bytes
}

/// The bytes of a .npy file that holds one pickled object.
pub(crate) fn encode_object(pickle: &[u8]) -> Vec<u8> {
    let mut bytes = preamble("|O", false, "()");
    bytes.extend(pickle);
    bytes
}

/// What precedes little-endian 32-bit floats.
pub(crate) fn header(shape: &[usize], fortran_order: bool) -> Vec<u8> {
    let lengths: Vec<_> = shape.iter().map(ToString::to_string).collect();
    let comma = if lengths.len() == 1 { "," } else { "" };
    preamble(
        "<f4",
        fortran_order,
        &format!("({}{comma})", lengths.join(", ")),
    )
}

fn preamble(descr: &str, fortran_order: bool, shape: &str) -> Vec<u8> {
    let order = if fortran_order { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    // Magic, version, length, header and newline fill a multiple of 64 bytes.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 11;
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((padded as u16 + 1).to_le_bytes());
    bytes.extend(format!("{header:padded$}\n").as_bytes());
    bytes
}

/// The array of a .npy file, each number cast; `object` is what errors call it.
pub(crate) fn read_array<T>(
    path: &Path,
    object: &str,
    cast: impl Fn(f64) -> T,
) -> Result<ArrayD<T>, Problem> {
    let mut file = File::open(path).map_err(cannot_read)?;
    let length = file.metadata().map_err(cannot_read)?.len();
    let header = Header::read(&mut file, object)?;
    header.check_length(length)?;
    header.values(file, object, cast)
}

/// A structured array as a table: names of its columns, and its numbers row by row. Text and what has axes of
/// its own is left out; `None` where the file holds another array.
pub(crate) fn records(path: &Path, object: &str) -> Result<Option<Records>, Problem> {
    let mut file = File::open(path).map_err(cannot_read)?;
    let length = file.metadata().map_err(cannot_read)?.len();
    let head = head(&mut file)?;
    let (text, offset) = header_text(&head).map_err(|e| e.problem(&head, object))?;
    let Some(fields) = value_of(text, "descr").and_then(fields) else {
        return Ok(None);
    };
    let n_rows = value_of(text, "shape").and_then(shape);
    let Some(&[n_rows]) = n_rows.as_deref() else {
        return Ok(None);
    };
    let size: usize = fields.iter().map(|field| field.size).sum();
    let expected = (size.saturating_mul(n_rows)).saturating_add(offset) as u64;
    let cut_short = |found| Problem::CutShort { expected, found };
    if expected > length {
        return Err(cut_short(length));
    }
    let numbers = fields.iter().filter(|field| field.number.is_some());
    let names: Vec<String> = numbers.map(|field| field.name.clone()).collect();
    let mut rows = Cells::new(names.len());
    let in_piece = (PIECE / size.max(1)).max(1);
    let (mut piece, mut numbers) = (Vec::new(), Vec::new());
    for first in (0..n_rows).step_by(in_piece) {
        piece.clear();
        let wanted = size * in_piece.min(n_rows - first);
        let found = (&mut file).take(wanted as u64).read_to_end(&mut piece);
        if found.map_err(cannot_read)? < wanted {
            return Err(cut_short((offset + size * first + piece.len()) as u64));
        }
        for row in piece.chunks_exact(size.max(1)) {
            let mut place = 0;
            for field in &fields {
                if let Some(number) = field.number {
                    let stored = &row[place..place + field.size];
                    numbers.clear();
                    number.decode_into(stored, |x| x, &mut numbers);
                    for &x in &numbers {
                        rows.push(x);
                    }
                }
                place += field.size;
            }
        }
    }
    Ok(Some(Records { names, rows }))
}

/// A table of named columns.
pub(crate) struct Records {
    pub(crate) names: Vec<String>,
    pub(crate) rows: Cells,
}

/// A field of a structured array.
struct Field {
    name: String,
    /// `None` of what is no single number.
    number: Option<Number>,
    size: usize,
}

/// The fields behind a type such as `[('time', '<f8'), ('id', '<U4')]`; `None` of any that is not laid out so,
/// or whose size is not known.
fn fields(descr: &str) -> Option<Vec<Field>> {
    let (list, _) = descr.strip_prefix('[')?.split_once(']')?;
    let field = |text: &str| {
        let mut parts = text.split(['\'', '"']).skip(1).step_by(2);
        let (name, kind) = (parts.next()?, parts.next()?);
        let number = number(&format!("'{kind}'"));
        let digits = kind.find(|c: char| c.is_ascii_digit())?;
        let length: usize = kind[digits..].parse().ok()?;
        // One with axes has their lengths behind its type.
        let has_axes = text.rsplit_once(['\'', '"'])?.1.contains('(');
        let size = match kind
            .trim_start_matches(['<', '>', '|', '='])
            .chars()
            .next()?
        {
            'U' => 4 * length,
            'S' | 'V' | 'f' | 'i' | 'u' | 'b' | 'c' => length,
            _ => return None,
        };
        (!has_axes).then(|| Field {
            name: name.to_owned(),
            number,
            size,
        })
    };
    let items = list
        .split_inclusive(')')
        .map(|item| item.trim_start_matches([',', ' ', '(']));
    let items = items.filter(|item| item.contains(['\'', '"']));
    let fields: Vec<Field> = items.map(field).collect::<Option<_>>()?;
    (fields.iter().map(|field| field.size).sum::<usize>() > 0).then_some(fields)
}

/// What precedes the values.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) number: Number,
    pub(crate) fortran_order: bool,
    pub(crate) shape: Vec<usize>,
    /// Bytes before the first value.
    pub(crate) offset: usize,
    /// Bytes of header and values together.
    pub(crate) n_bytes: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`, which need not hold the values.
    pub(crate) fn parse(bytes: &[u8], object: &str) -> Result<Self, Problem> {
        let malformed = |found: &str| Problem::BadNpy {
            object: object.to_owned(),
            found: found.to_owned(),
        };
        let (text, offset) = header_text(bytes).map_err(|e| e.problem(bytes, object))?;
        let descr = value_of(text, "descr").ok_or_else(|| malformed("no `descr`"))?;
        let number = number(descr).ok_or_else(|| Problem::NotNumeric {
            object: object.to_owned(),
            found: match descr.starts_with('[') {
                true => "a structured array of NumPy".to_owned(),
                false if descr.contains("|O") => {
                    "a Python object (a dict, a list?): load it in Python and save the array in it"
                        .to_owned()
                }
                false => format!("NumPy type {}", first_item(descr)),
            },
        })?;
        let order = value_of(text, "fortran_order");
        let order = order.ok_or_else(|| malformed("no `fortran_order`"))?;
        let shape = value_of(text, "shape").and_then(shape);
        let shape = shape.ok_or_else(|| malformed("no shape of whole numbers"))?;
        let n_bytes = shape
            .iter()
            .try_fold(usize::from(number.size), |n, &axis| n.checked_mul(axis))
            .and_then(|n| n.checked_add(offset))
            .filter(|&n| isize::try_from(n).is_ok())
            .ok_or_else(|| malformed("a shape too large for any file"))?;
        Ok(Self {
            number,
            fortran_order: order.starts_with("True"),
            shape,
            offset,
            n_bytes,
        })
    }

    /// Reads the header, and nothing behind it.
    pub(crate) fn read(file: &mut impl Read, object: &str) -> Result<Self, Problem> {
        Self::parse(&head(file)?, object)
    }

    /// That a file of `length` bytes holds all the values.
    pub(crate) fn check_length(&self, length: u64) -> Result<(), Problem> {
        let expected = self.n_bytes as u64;
        match length < expected {
            true => Err(Problem::CutShort {
                expected,
                found: length,
            }),
            false => Ok(()),
        }
    }

    /// The array whose values come from a reader, each number cast; C or Fortran order as the header says.
    ///
    /// The bytes are in memory a piece at a time.
    pub(crate) fn values<T>(
        &self,
        mut from: impl Read,
        object: &str,
        cast: impl Fn(f64) -> T,
    ) -> Result<ArrayD<T>, Problem> {
        let n_bytes = self.n_bytes - self.offset;
        let mut values = Vec::with_capacity(n_bytes / usize::from(self.number.size));
        let mut piece = Vec::with_capacity(n_bytes.min(PIECE));
        let mut n_read = 0;
        while n_read < n_bytes {
            piece.clear();
            let wanted = (n_bytes - n_read).min(PIECE);
            let found = (&mut from).take(wanted as u64).read_to_end(&mut piece);
            n_read += found.map_err(cannot_read)?;
            if piece.len() < wanted {
                return Err(Problem::CutShort {
                    expected: self.n_bytes as u64,
                    found: (self.offset + n_read) as u64,
                });
            }
            self.number.decode_into(&piece, &cast, &mut values);
        }
        let shape = self.shape.clone().set_f(self.fortran_order);
        Array::from_shape_vec(shape, values).map_err(|e| Problem::BadNpy {
            object: object.to_owned(),
            found: e.to_string(),
        })
    }
}

/// The bytes of the header, and none behind it.
fn head(file: &mut impl Read) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    // Enough for the length of the header, then the header.
    for wanted in [12, MAX_HEADER] {
        let end = header_end(&bytes).unwrap_or(wanted).min(MAX_HEADER);
        let missing = end.saturating_sub(bytes.len()) as u64;
        file.by_ref()
            .take(missing)
            .read_to_end(&mut bytes)
            .map_err(cannot_read)?;
    }
    Ok(bytes)
}

/// Why there is no header.
enum NoHeader {
    NotNpy,
    Version(u8),
    CutShort(usize),
    NotText,
}

impl NoHeader {
    fn problem(self, bytes: &[u8], object: &str) -> Problem {
        let found = match self {
            Self::CutShort(expected) => {
                return Problem::CutShort {
                    expected: expected as u64,
                    found: bytes.len() as u64,
                };
            }
            Self::NotNpy => "no NumPy signature".to_owned(),
            Self::Version(version) => format!("format version {version}, not 1, 2 or 3"),
            Self::NotText => "a header that is not text".to_owned(),
        };
        Problem::BadNpy {
            object: object.to_owned(),
            found,
        }
    }
}

/// Where the header ends, as far as its first bytes tell.
fn header_end(bytes: &[u8]) -> Option<usize> {
    match *bytes.strip_prefix(MAGIC)? {
        [1, _, a, b, ..] => Some(10 + usize::from(u16::from_le_bytes([a, b]))),
        [2 | 3, _, a, b, c, d, ..] => Some(12 + u32::from_le_bytes([a, b, c, d]) as usize),
        _ => None,
    }
}

/// The header's text and the place of the first value.
fn header_text(bytes: &[u8]) -> Result<(&str, usize), NoHeader> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(NoHeader::NotNpy)?;
    let start = match *rest {
        [1, ..] => 10,
        [2 | 3, ..] => 12,
        [] => return Err(NoHeader::CutShort(12)),
        [version, ..] => return Err(NoHeader::Version(version)),
    };
    let end = header_end(bytes).ok_or(NoHeader::CutShort(12))?;
    if end - start > MAX_HEADER {
        return Err(NoHeader::NotText);
    }
    let text = bytes.get(start..end).ok_or(NoHeader::CutShort(end))?;
    let text = std::str::from_utf8(text).map_err(|_| NoHeader::NotText)?;
    Ok((text, end))
}

/// What follows `'key':` in the header, a Python dictionary.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, after) = text
        .split_once(&format!("'{key}'"))
        .or_else(|| text.split_once(&format!("\"{key}\"")))?;
    Some(after.trim_start().strip_prefix(':')?.trim_start())
}

fn first_item(text: &str) -> &str {
    text.split([',', '}']).next().unwrap_or(text)
}

/// The layout behind a type such as `'<f4'`; `None` for one that holds no plain numbers.
fn number(descr: &str) -> Option<Number> {
    let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let name = descr[1..].split(quote).next()?;
    let (big_endian, name) = match name.split_at_checked(1)? {
        (">", rest) => (true, rest),
        ("<" | "|" | "=", rest) => (false, rest),
        _ => (false, name),
    };
    let (kind, size) = name.split_at_checked(1)?;
    let kind = match kind {
        "f" => Kind::Float,
        "i" => Kind::Signed,
        "u" | "b" => Kind::Unsigned,
        _ => return None,
    };
    Number::known(kind, size.parse().ok()?, big_endian)
}

fn shape(text: &str) -> Option<Vec<usize>> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let lengths = inside.split(',').map(str::trim).filter(|n| !n.is_empty());
    lengths
        .map(|n| n.trim_end_matches('L').parse().ok())
        .collect()
}

/// The file's values after a header of type `object`: a pickle, which we do not run.
pub(crate) fn pickled(bytes: &[u8]) -> Option<&[u8]> {
    let (text, offset) = header_text(bytes).ok()?;
    let kind = value_of(text, "descr")?.strip_prefix(['\'', '"'])?;
    bytes.get(offset..).filter(|_| kind.starts_with("|O"))
}
