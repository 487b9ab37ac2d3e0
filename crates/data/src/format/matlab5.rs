//! MATLAB files of versions 5 to 7: named arrays, in structs and cells to any depth.
//!
//! Source: MathWorks, "MAT-File Format", chapter 1 (level 5). A file is a header of 128 bytes and data
//! elements, each a tag (type, number of bytes) and its bytes, padded to eight; from version 7 on an element
//! may be a deflated one.

use std::io::Read;
use std::ops::Range;
use std::rc::Rc;

use flate2::read::ZlibDecoder;
use ndarray::{Array, ArrayD, ShapeBuilder};

use super::number::{Kind, Number};
use crate::Problem;

/// Bytes before the first element.
const HEADER: usize = 128;
/// Where the header says in which byte order the file is.
const BYTE_ORDER: usize = 126;
/// Structs within structs that are followed; deeper ones are damage.
const MAX_DEPTH: usize = 64;
/// Deflate's: nothing decodes to more bytes than this many times its own.
const BEST_RATIO: usize = 1032;
/// Elements of one array of structs or cells that are listed.
const MAX_ELEMENTS: usize = 10_000;

/// Types of data elements.
const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;

/// Classes of arrays.
const CELL: u8 = 1;
const STRUCT: u8 = 2;
const OBJECT: u8 = 3;
const CHAR: u8 = 4;
const NUMERIC: std::ops::RangeInclusive<u8> = 6..=15;

/// What a file holds under one name, such as `neuron.options.fs` or `cells{2}`.
#[derive(Debug)]
pub(crate) struct Variable {
    /// Name, with those of the structs around it.
    pub(crate) path: String,
    pub(crate) content: Content,
}

/// What a variable is.
#[derive(Debug)]
pub(crate) enum Content {
    Array(StoredArray),
    Text(String),
    /// Not read: what it is called in errors.
    Other(&'static str),
}

/// An array as it lies in the file, in Fortran order.
#[derive(Debug)]
pub(crate) struct StoredArray {
    pub(crate) shape: Vec<usize>,
    number: Number,
    /// What its bytes lie in, the file or an inflated element: a copy would double what is in memory.
    within: Rc<Vec<u8>>,
    place: Range<usize>,
}

/// What is listed and not read.
pub(crate) const SPARSE: &str = "a sparse matrix";
/// Numbers of two parts.
pub(crate) const COMPLEX: &str = "complex numbers";
pub(crate) const AN_OBJECT: &str = "an object of MATLAB's, such as a table or a string";

impl StoredArray {
    /// The array with the axes in the order that MATLAB shows, each number cast.
    pub(crate) fn decode<T>(
        &self,
        name: &str,
        cast: impl Fn(f64) -> T,
    ) -> Result<ArrayD<T>, Problem> {
        let values = self.number.decode(&self.within[self.place.clone()], cast);
        let found = format!("{} numbers for shape {:?}", values.len(), self.shape);
        let array = Array::from_shape_vec(self.shape.clone().f(), values);
        array.map_err(|_| damaged(name, found))
    }
}

/// Whether a file that begins so is of this format, sound or damaged.
pub(crate) fn recognises(head: &[u8]) -> bool {
    head.starts_with(b"MATLAB")
        && matches!(head.get(BYTE_ORDER..HEADER), Some(b"IM" | b"MI"))
        && head
            .get(124..126)
            .is_some_and(|v| v != [0, 2] && v != [2, 0])
}

/// Every variable of a file, those in structs and cells on their own.
///
/// # Errors
/// [`Problem::BadMatlab`], naming the variable or its place; [`Problem::CutShort`].
pub(crate) fn parse(bytes: Vec<u8>) -> Result<Vec<Variable>, Problem> {
    let bytes = &Rc::new(bytes);
    let Some(b"IM" | b"MI") = bytes.get(BYTE_ORDER..HEADER) else {
        return Err(damaged("the header", "no mark of the byte order".into()));
    };
    let mut elements = Elements {
        rest: &bytes[HEADER..],
        big_endian: &bytes[BYTE_ORDER..HEADER] == b"MI",
        within: bytes,
    };
    // The subsystem's data, for objects, lie where the header says and have no name.
    let mut found = Vec::new();
    while !elements.rest.is_empty() {
        let place = bytes.len() - elements.rest.len();
        let object = format!("the variable at byte {place}");
        let (kind, data) = elements.next(&object)?;
        let inflated;
        let mut within = bytes;
        let (kind, data) = match kind {
            COMPRESSED => {
                inflated = Rc::new(inflate(data, elements.big_endian, &object)?);
                within = &inflated;
                let rest = &inflated[..];
                Elements { rest, ..elements }.next(&object)?
            }
            _ => (kind, data),
        };
        if kind == MATRIX {
            let of_data = Elements {
                rest: data,
                within,
                ..elements
            };
            let matrix = Matrix::parse(of_data, &object)?;
            let path = matrix.name.clone();
            matrix.list(path, 0, &mut found)?;
        }
    }
    Ok(found)
}

fn inflate(data: &[u8], big_endian: bool, object: &str) -> Result<Vec<u8>, Problem> {
    let mut decoder = ZlibDecoder::new(data);
    let mut inflated = Vec::new();
    let mut read = |n: u64, inflated: &mut Vec<u8>| {
        let read = decoder.by_ref().take(n).read_to_end(inflated);
        read.map_err(|e| damaged(object, e.to_string()))
    };
    // The tag says how much there will be, within what so few bytes can hold: a vector that grows takes up to
    // twice that.
    read(8, &mut inflated)?;
    let length = inflated.get(4..8).and_then(|word| word.try_into().ok());
    let length = length.map_or(
        0,
        match big_endian {
            true => u32::from_be_bytes,
            false => u32::from_le_bytes,
        },
    ) as usize;
    // Where there is no room, it grows as far as it gets.
    let _ = inflated.try_reserve_exact(length.min(BEST_RATIO.saturating_mul(data.len())));
    read(u64::MAX, &mut inflated)?;
    Ok(inflated)
}

/// Data elements end to end.
#[derive(Clone, Copy)]
struct Elements<'a> {
    rest: &'a [u8],
    big_endian: bool,
    /// What they lie in.
    within: &'a Rc<Vec<u8>>,
}

impl<'a> Elements<'a> {
    /// Type and bytes of the next element.
    fn next(&mut self, object: &str) -> Result<(u32, &'a [u8]), Problem> {
        let rest = self.rest;
        let word = |place: usize| {
            let bytes = rest.get(place..place + 4)?.try_into().ok()?;
            Some(match self.big_endian {
                true => u32::from_be_bytes(bytes),
                false => u32::from_le_bytes(bytes),
            })
        };
        let parse = || {
            let first = word(0)?;
            // At most four bytes lie in the tag itself, their number above the type.
            let (kind, start, length): (u32, usize, usize) = match first >> 16 {
                0 => (first, 8, word(4)? as usize),
                length => (first & 0xffff, 4, length as usize),
            };
            let data = rest.get(start..start.checked_add(length)?)?;
            let end = match kind {
                COMPRESSED => start + length,
                _ => (start + length).next_multiple_of(8),
            };
            Some((kind, data, rest.get(end..).unwrap_or_default()))
        };
        let (kind, data, after) = parse().ok_or_else(|| damaged(object, "it ends early".into()))?;
        self.rest = after;
        Ok((kind, data))
    }

    /// Where some of the bytes are in what they lie in.
    fn place(&self, data: &[u8]) -> Range<usize> {
        let start = data.as_ptr() as usize - self.within.as_ptr() as usize;
        start..start + data.len()
    }

    /// The next element's numbers.
    fn numbers<T>(&mut self, object: &str, cast: impl Fn(f64) -> T) -> Result<Vec<T>, Problem> {
        let (kind, data) = self.next(object)?;
        let number = number(kind, self.big_endian);
        let number = number.ok_or_else(|| damaged(object, format!("numbers of type {kind}")))?;
        Ok(number.decode(data, cast))
    }

    /// The next element as text, one byte a character.
    fn name(&mut self, object: &str) -> Result<&'a [u8], Problem> {
        self.next(object).map(|(_, data)| data)
    }
}

/// One array of any class, its contents not looked at yet.
struct Matrix<'a> {
    class: u8,
    is_complex: bool,
    shape: Vec<usize>,
    name: String,
    contents: Elements<'a>,
}

impl<'a> Matrix<'a> {
    fn parse(mut parts: Elements<'a>, object: &str) -> Result<Self, Problem> {
        // An empty cell or field.
        if parts.rest.is_empty() {
            return Ok(Self {
                class: 6,
                is_complex: false,
                shape: vec![0, 0],
                name: String::new(),
                contents: parts,
            });
        }
        let flags = parts.numbers(object, |x| x as u32)?;
        let flags = *flags
            .first()
            .ok_or_else(|| damaged(object, "no flags".into()))?;
        let class = flags as u8;
        // Newer classes, such as strings and tables, have no axes.
        let shape = match class {
            1..=16 => parts.numbers(object, |x| x.max(0.0) as usize)?,
            _ => Vec::new(),
        };
        let name = match class {
            1..=16 => String::from_utf8_lossy(parts.name(object)?).into_owned(),
            _ => String::new(),
        };
        Ok(Self {
            class,
            is_complex: flags & 0x0800 != 0,
            shape,
            name,
            contents: parts,
        })
    }

    /// Adds the array, or what is in it, under `path`.
    fn list(
        mut self,
        path: String,
        depth: usize,
        found: &mut Vec<Variable>,
    ) -> Result<(), Problem> {
        let content = match self.class {
            STRUCT | OBJECT => return self.list_fields(&path, depth, found),
            CELL => return self.list_cells(&path, depth, found),
            CHAR => self.text(&path)?,
            _ if NUMERIC.contains(&self.class) && self.is_complex => Content::Other(COMPLEX),
            _ if NUMERIC.contains(&self.class) => self.array(&path)?,
            5 => Content::Other(SPARSE),
            _ => Content::Other(AN_OBJECT),
        };
        // The subsystem's data have no name.
        if !path.is_empty() {
            found.push(Variable { path, content });
        }
        Ok(())
    }

    fn array(&mut self, path: &str) -> Result<Content, Problem> {
        if self.shape.contains(&0) {
            return Ok(Content::Other("empty"));
        }
        let (kind, data) = self.contents.next(path)?;
        let number = number(kind, self.contents.big_endian);
        let number = number.ok_or_else(|| damaged(path, format!("numbers of type {kind}")))?;
        let n_bytes = usize::from(number.size);
        let n_bytes = self
            .shape
            .iter()
            .try_fold(n_bytes, |n, &axis| n.checked_mul(axis));
        if n_bytes != Some(data.len()) {
            let found = format!("{} bytes for shape {:?}", data.len(), self.shape);
            return Err(damaged(path, found));
        }
        Ok(Content::Array(StoredArray {
            shape: self.shape.clone(),
            number,
            place: self.contents.place(data),
            within: Rc::clone(self.contents.within),
        }))
    }

    /// One row of characters.
    fn text(&mut self, path: &str) -> Result<Content, Problem> {
        let (kind, data) = self.contents.next(path)?;
        let number = number(kind, self.contents.big_endian).filter(|n| n.size == 2);
        Ok(Content::Text(match number {
            Some(wide) => String::from_utf16_lossy(&wide.decode(data, |x| x as u16)),
            None => String::from_utf8_lossy(data).into_owned(),
        }))
    }

    fn list_fields(
        mut self,
        path: &str,
        depth: usize,
        found: &mut Vec<Variable>,
    ) -> Result<(), Problem> {
        if self.class == OBJECT {
            self.contents.name(path)?;
        }
        let width = self.contents.numbers(path, |x| x as usize)?;
        let width = *width.first().filter(|&&n| n > 0).unwrap_or(&1);
        let names = self.contents.name(path)?.chunks(width);
        let names: Vec<String> = names.map(until_zero).collect();
        let n_elements = self.n_elements(path, names.len())?;
        for element in 0..n_elements {
            for name in &names {
                let path = match n_elements {
                    1 => format!("{path}.{name}"),
                    _ => format!("{path}({}).{name}", element + 1),
                };
                self.list_next(path, depth, found)?;
            }
        }
        Ok(())
    }

    fn list_cells(
        mut self,
        path: &str,
        depth: usize,
        found: &mut Vec<Variable>,
    ) -> Result<(), Problem> {
        for element in 0..self.n_elements(path, 1)? {
            self.list_next(format!("{path}{{{}}}", element + 1), depth, found)?;
        }
        Ok(())
    }

    /// The next array of the contents.
    fn list_next(
        &mut self,
        path: String,
        depth: usize,
        found: &mut Vec<Variable>,
    ) -> Result<(), Problem> {
        if depth == MAX_DEPTH {
            return Err(damaged(&path, format!("structs {MAX_DEPTH} deep")));
        }
        let (kind, data) = self.contents.next(&path)?;
        if kind != MATRIX {
            return Err(damaged(&path, format!("an element of type {kind}")));
        }
        let of_data = Elements {
            rest: data,
            ..self.contents
        };
        let matrix = Matrix::parse(of_data, &path)?;
        matrix.list(path, depth + 1, found)
    }

    /// Elements to list, of which each has so many parts; each part takes eight bytes or more.
    fn n_elements(&self, path: &str, n_parts: usize) -> Result<usize, Problem> {
        let n_elements = self
            .shape
            .iter()
            .try_fold(1, |n: usize, &axis| n.checked_mul(axis));
        let most = self.contents.rest.len() / 8 / n_parts.max(1);
        match n_elements {
            _ if n_parts == 0 => Ok(0),
            Some(n_elements) if n_elements <= most => Ok(n_elements.min(MAX_ELEMENTS)),
            _ => Err(damaged(
                path,
                format!("shape {:?} of so few bytes", self.shape),
            )),
        }
    }
}

/// The layout of numbers of a type of data element.
fn number(kind: u32, big_endian: bool) -> Option<Number> {
    let (kind, size) = match kind {
        1 => (Kind::Signed, 1),
        // UTF-8 too.
        2 | 16 => (Kind::Unsigned, 1),
        3 => (Kind::Signed, 2),
        // UTF-16 too.
        4 | 17 => (Kind::Unsigned, 2),
        5 => (Kind::Signed, 4),
        6 | 18 => (Kind::Unsigned, 4),
        7 => (Kind::Float, 4),
        9 => (Kind::Float, 8),
        12 => (Kind::Signed, 8),
        13 => (Kind::Unsigned, 8),
        _ => return None,
    };
    Number::known(kind, size, big_endian)
}

fn until_zero(name: &[u8]) -> String {
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn damaged(object: &str, found: String) -> Problem {
    Problem::BadMatlab {
        object: object.to_owned(),
        found,
    }
}
