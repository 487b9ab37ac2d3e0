//! Zarr stores, which minian and xarray write: known, not read.

use crate::Problem;
use crate::recording::draft::Draft;
use crate::recording::options::Options;
use crate::recording::reader::Reader;
use crate::recording::source::Source;
use crate::recording::traces::Format;

/// Files that only a Zarr store has: of version 2, and of version 3.
const MARKS: [&str; 4] = [".zgroup", ".zarray", ".zattrs", "zarr.json"];

pub(super) struct Zarr;

impl Reader for Zarr {
    fn format(&self) -> Format {
        Format::Zarr
    }

    fn recognises(&self, source: &Source) -> bool {
        let holds = |mark: &str| source.path.join(mark).is_file();
        source.is_folder && MARKS.iter().any(|mark| holds(mark))
    }

    fn read(&self, _: &Source, _: &Options) -> Result<Draft, Problem> {
        Err(Problem::Zarr)
    }
}
