//! Zarr stores, which minian and xarray write: known, not read.

use std::path::{Path, PathBuf};

use crate::Problem;
use crate::recording::draft::Draft;
use crate::recording::options::Options;
use crate::recording::reader::Reader;
use crate::recording::source::Source;
use crate::recording::traces::Format;

/// Files that only a Zarr store has: of version 2, and of version 3.
const MARKS: [&str; 4] = [".zgroup", ".zarray", ".zattrs", "zarr.json"];
/// What traces are called in minian's stores, most wanted first.
const TRACES: [&str; 3] = ["YrA", "C", "S"];

pub(super) struct Zarr;

impl Reader for Zarr {
    fn format(&self) -> Format {
        Format::Zarr
    }

    fn recognises(&self, source: &Source) -> bool {
        source.is_folder && is_store(&source.path)
    }

    fn read(&self, source: &Source, _: &Options) -> Result<Draft, Problem> {
        Err(refusal(&source.path))
    }
}

/// Whether this folder is a store, or an array of one.
fn is_store(folder: &Path) -> bool {
    MARKS.iter().any(|mark| folder.join(mark).is_file())
}

/// The refusal of a folder that is no store, where stores lie in it.
pub(super) fn below(folder: &Path) -> Option<Problem> {
    let entries = std::fs::read_dir(folder).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let stores: Vec<PathBuf> = paths.filter(|path| is_store(path)).collect();
    let first = stores.iter().min()?;
    let called = |name: &&str| {
        stores
            .iter()
            .find(|store| store.file_stem().is_some_and(|s| s == *name))
    };
    let store = TRACES.iter().find_map(called).unwrap_or(first);
    Some(refusal(store))
}

/// What to run, for a store of one array or of several.
fn refusal(store: &Path) -> Problem {
    let holds = |name: &&&str| store.join(name).is_dir();
    let array = TRACES.iter().find(holds).copied().unwrap_or("YrA");
    Problem::Zarr {
        store: store.display().to_string(),
        array: array.to_owned(),
    }
}
