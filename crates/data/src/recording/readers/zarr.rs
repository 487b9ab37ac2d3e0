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

fn stores_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| is_store(path)).collect()
}

/// The refusal of a folder that is no store, where stores lie in it.
pub(super) fn below(folder: &Path) -> Option<Problem> {
    let stores = stores_in(folder);
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
    let holds = |name: &str| store.join(name).is_dir();
    let place = store.display().to_string();
    Problem::Zarr {
        run: match is_group(store) {
            true => of_group(&place, array_of(holds)),
            false => of_array(&place),
        },
    }
}

/// Whether arrays lie in the store; else it is one itself, which has no name and only chunks in it.
fn is_group(store: &Path) -> bool {
    store.join(".zgroup").is_file() || !stores_in(store).is_empty()
}

/// What the traces are called, in minian's stores.
fn array_of(holds: impl Fn(&str) -> bool) -> Option<&'static str> {
    TRACES.iter().copied().find(|name| holds(name))
}

fn of_array(place: &str) -> String {
    format!("import zarr, numpy; numpy.save('traces.npy', zarr.open('{place}', mode='r')[:])")
}

fn of_group(place: &str, array: Option<&str>) -> String {
    let open = format!("import xarray, numpy; x = xarray.open_zarr('{place}')");
    match array {
        Some(array) => format!(
            "{open}; numpy.save('traces.npy', x['{array}'].transpose('frame', 'unit_id').values)"
        ),
        None => {
            format!("{open}; print(x); numpy.save('traces.npy', x['NAME OF THE TRACES'].values)")
        }
    }
}

/// The refusal of an archive of these files, where they are those of a store or of several.
#[cfg(feature = "zip")]
pub(super) fn in_archive(path: &Path, names: &[String]) -> Option<Problem> {
    let marked = names.iter().filter_map(|name| {
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
        MARKS.contains(&last).then(|| Path::new(folder))
    });
    let marked: Vec<&Path> = marked.collect();
    let is_below = |folder: &Path, above: &Path| folder != above && folder.starts_with(above);
    // Arrays and groups are marked as the store is that they are in.
    let mut stores = marked.clone();
    stores.retain(|folder| !marked.iter().any(|other| is_below(folder, other)));
    let called = |name: &&str| {
        stores
            .iter()
            .find(|s| s.file_stem().is_some_and(|s| s == *name))
    };
    let store = *TRACES.iter().find_map(called).or(stores.iter().min())?;
    let holds = |array: &str| {
        let inside = store.join(array);
        names.iter().any(|name| is_below(Path::new(name), &inside))
    };
    let place = Path::new("unpacked").join(store).display().to_string();
    let place = place.trim_end_matches('/');
    let read = match marked.iter().any(|folder| is_below(folder, store)) {
        true => of_group(place, array_of(holds)),
        false => of_array(place),
    };
    let archive = path.display();
    let unpack = format!("import shutil; shutil.unpack_archive('{archive}', 'unpacked', 'zip')");
    Some(Problem::Zarr {
        run: format!("{unpack}; {read}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_no_group() {
        let folder = tempfile::tempdir().unwrap();
        let said = || refusal(folder.path()).to_string();
        for mark in [".zarray", "zarr.json"] {
            std::fs::write(folder.path().join(mark), "{}").unwrap();
            let said = said();
            assert!(said.contains("zarr.open("), "{said}");
            assert!(!said.contains("open_zarr"), "{said}");
        }
        // Chunks are no arrays, whatever the description of the group repeats of those.
        std::fs::create_dir_all(folder.path().join("c/0")).unwrap();
        assert!(said().contains("zarr.open("));
        std::fs::create_dir(folder.path().join("C")).unwrap();
        std::fs::write(folder.path().join("C/zarr.json"), "{}").unwrap();
        assert!(said().contains("open_zarr("), "{}", said());
        assert!(said().contains("x['C']"), "{}", said());
        std::fs::rename(folder.path().join("C"), folder.path().join("dff")).unwrap();
        assert!(said().contains("x['NAME OF THE TRACES']"), "{}", said());
    }

    #[cfg(feature = "zip")]
    #[test]
    fn an_archive_is_unpacked_and_the_store_in_it_named() {
        let said = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            in_archive(Path::new("a.zip"), &names).map_or_else(String::new, |p| p.to_string())
        };
        let found = said(&[
            "one.zarr/zarr.json",
            "one.zarr/C/zarr.json",
            "one.zarr/C/c/0",
        ]);
        assert!(found.contains("open_zarr('unpacked/one.zarr')"), "{found}");
        assert!(found.contains("x['C']"), "{found}");
        let found = said(&[
            "m/C.zarr/.zgroup",
            "m/YrA.zarr/.zgroup",
            "m/YrA.zarr/YrA/.zarray",
        ]);
        assert!(
            found.contains("open_zarr('unpacked/m/YrA.zarr')"),
            "{found}"
        );
        let found = said(&["zarr.json", "C/zarr.json", "C/c/0/0"]);
        assert!(found.contains("open_zarr('unpacked')"), "{found}");
        assert!(said(&[".zarray", "0.0"]).contains("zarr.open('unpacked'"));
        assert_eq!(said(&["dff.npy"]), "");
    }
}
