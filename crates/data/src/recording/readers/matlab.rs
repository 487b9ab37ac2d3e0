//! MATLAB files of every version: variables, and what is in structs and cells, under their full names.

use super::{cells, pipelines, suite2p_fall, tables};
use crate::Problem;
use crate::format::tree::Tree;
#[cfg(feature = "hdf5")]
use crate::format::{hdf5, hdf5_tree::Hdf5Tree};
#[cfg(feature = "matlab")]
use crate::format::{matlab5, matlab5_tree::Matlab5Tree};
use crate::recording::draft::Draft;
use crate::recording::options::Options;
use crate::recording::reader::Reader;
use crate::recording::source::Source;
use crate::recording::traces::Format;

/// What a variable of traces is called in errors.
const KIND: &str = "numeric variable of two or three axes";

pub(super) struct Matlab;

impl Reader for Matlab {
    fn format(&self) -> Format {
        Format::Matlab
    }

    fn recognises(&self, source: &Source) -> bool {
        source.head.starts_with(b"MATLAB ") || is_version_4(&source.head)
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        let tree = open(source)?;
        let mut draft = if let Some(draft) = suite2p_fall::read(&*tree, options)? {
            draft
        } else if let Some(draft) = pipelines::read(&*tree, options)? {
            draft
        } else if let Some(draft) = cells::read(&*tree, options)? {
            draft
        } else {
            tables::read(&*tree, options, KIND)?
        };
        draft.notes.extend(tables::not_read(&*tree));
        Ok(draft)
    }
}

fn open(source: &Source) -> Result<Box<dyn Tree>, Problem> {
    if is_version_4(&source.head) {
        return Err(Problem::OldMatlab);
    }
    #[cfg(feature = "matlab")]
    if matlab5::recognises(&source.head) {
        return Ok(Box::new(Matlab5Tree::read(&source.path)?));
    }
    #[cfg(feature = "hdf5")]
    return Ok(Box::new(Hdf5Tree::new(hdf5::open(&source.path)?, true)?));
    #[cfg(not(feature = "hdf5"))]
    Err(Problem::UnknownFormat {
        head: source.head.iter().take(8).copied().collect(),
    })
}

/// Version 4 has no header, only a matrix: its type, rows, columns, whether it is complex, and its name.
fn is_version_4(head: &[u8]) -> bool {
    let Some((numbers, rest)) = head.split_at_checked(20) else {
        return false;
    };
    let (words, _) = numbers.as_chunks::<4>();
    let read = |from: fn([u8; 4]) -> u32| -> Vec<u32> { words.iter().map(|&w| from(w)).collect() };
    // Thousands: the byte order; tens: the type of the numbers; ones: full, text or sparse.
    let sound = |words: &[u32], order: u32| match *words {
        [kind, rows, columns, complex, length] => {
            let kind = kind.wrapping_sub(1000 * order);
            let name = rest.get(..length as usize);
            let is_name = name
                .and_then(<[u8]>::split_last)
                .is_some_and(|(end, name)| {
                    *end == 0 && !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
                });
            kind / 10 <= 5 && kind % 10 <= 2 && rows > 0 && columns > 0 && complex <= 1 && is_name
        }
        _ => false,
    };
    sound(&read(u32::from_le_bytes), 0) || sound(&read(u32::from_be_bytes), 1)
}
