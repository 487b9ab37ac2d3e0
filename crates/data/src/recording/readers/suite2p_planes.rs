//! Where the output of suite2p is: the folder given, one below it, or beside the file given.

use std::path::{Path, PathBuf};

use super::zarr;
use crate::Problem;
use crate::recording::options::Options;
use crate::recording::reader::choose;
use crate::whole_file::{cannot_read, folder_of};

/// suite2p's own joining of all planes.
const COMBINED: &str = "combined";
/// A file that is suite2p's where one of its neighbours lies beside it.
const TRACES: &str = "F.npy";
const NEIGHBOURS: [&str; 3] = ["iscell.npy", "ops.npy", "stat.npy"];

/// A folder with `F.npy`, by its name.
pub(super) struct Plane {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

/// Whether this is `F.npy` of a suite2p folder.
pub(super) fn is_traces(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == TRACES)
        && NEIGHBOURS
            .iter()
            .any(|name| path.with_file_name(name).is_file())
}

/// The planes to read: the one given or named, suite2p's own joining of all, or all.
pub(super) fn planes(path: &Path, options: &Options) -> Result<Vec<Plane>, Problem> {
    if is_traces(path) {
        return Ok(vec![Plane::at(folder_of(path))]);
    }
    if path.join(TRACES).is_file() {
        return Ok(vec![Plane::at(path)]);
    }
    let mut found = below(path)?;
    if found.is_empty() && path.join("suite2p").is_dir() {
        found = below(&path.join("suite2p"))?;
    }
    if found.is_empty() {
        return Err(zarr::below(path).unwrap_or(Problem::NotSuite2p));
    }
    let names: Vec<String> = found.iter().map(|plane| plane.name.clone()).collect();
    let chosen = match &options.dataset {
        Some(_) => Some(choose(&names, options, "plane folder")?),
        None => names
            .iter()
            .map(String::as_str)
            .find(|name| *name == COMBINED),
    };
    if let Some(chosen) = chosen {
        found.retain(|plane| plane.name == chosen);
    }
    Ok(found)
}

impl Plane {
    /// Whether it is suite2p's own joining of planes, which fills those that end before others with zeros.
    pub(super) fn is_filled(&self) -> bool {
        self.name == COMBINED
    }

    fn at(folder: &Path) -> Self {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        Self {
            name: name.into_owned(),
            folder: folder.to_owned(),
        }
    }
}

/// Folders right below this one that hold traces: plane2 before plane10.
fn below(folder: &Path) -> Result<Vec<Plane>, Problem> {
    let entries = std::fs::read_dir(folder).map_err(cannot_read)?;
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<Plane> = folders
        .filter(|folder| folder.join(TRACES).is_file())
        .map(|folder| Plane::at(&folder))
        .collect();
    found.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    Ok(found)
}
