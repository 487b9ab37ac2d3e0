//! What must be so of a place before a program writes there: better known before the work than after.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Refuses a file that cannot be written, or that is one of the `inputs`: then the recording would be
/// gone. Two names of one file, such as links, are the same file.
///
/// # Errors
/// If it is a folder, a device or a pipe, would lie in none, or is read.
pub fn check_file(path: &Path, inputs: &[&Path]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let shown = path.display();
    if path.is_dir() {
        bail!("{shown}: cannot write a file here, it is a folder; name a file in it");
    }
    if path.exists() && !path.is_file() {
        bail!("{shown}: cannot write a file here, it is a device or a pipe; give another name");
    }
    if !folder.is_dir() {
        let folder = folder.display();
        bail!("{shown}: cannot write the file, there is no folder {folder}; make it first");
    }
    refuse_inputs(path, inputs)
}

/// Refuses a folder of which one of the files that will be written, `names`, is one of the `inputs`.
///
/// # Errors
/// If one of them is read.
pub fn check_folder(folder: &Path, names: &[&str], inputs: &[&Path]) -> Result<()> {
    names
        .iter()
        .try_for_each(|name| refuse_inputs(&folder.join(name), inputs))
}

fn refuse_inputs(path: &Path, inputs: &[&Path]) -> Result<()> {
    let is_read = |input: &&&Path| is_same(path, input) || is_array_of(path, input);
    if let Some(input) = inputs.iter().find(is_read) {
        bail!(
            "{}: this is what is read ({}), and would be lost; give another file or folder to write to",
            path.display(),
            input.display()
        );
    }
    Ok(())
}

/// Whether it is an array in a folder that is read as a recording; results have other formats.
fn is_array_of(path: &Path, input: &Path) -> bool {
    let canonical = |path: &Path| -> Option<PathBuf> { path.canonicalize().ok() };
    let is_array = path.extension().is_some_and(|ending| ending == "npy");
    match (canonical(path), canonical(input)) {
        (Some(path), Some(input)) => is_array && input.is_dir() && path.starts_with(input),
        _ => false,
    }
}

/// Whether these are two names of one file that is there.
#[cfg(unix)]
pub fn is_same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino()));
    matches!((place(a), place(b)), (Ok(a), Ok(b)) if a == b)
}

/// Whether these are two names of one file that is there.
#[cfg(not(unix))]
pub fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_not_written_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("own.h5"), "data").unwrap();
        std::fs::write(at("F.npy"), "data").unwrap();
        let refused = |path: &str, input: &str| {
            let checked = check_file(&at(path), &[&at(input)]);
            checked.is_err_and(|error| error.to_string().contains("would be lost"))
        };
        assert!(refused("own.h5", "own.h5") && refused("./own.h5", "own.h5"));
        assert!(!refused("new.h5", "own.h5") && !refused("F.npy", "own.h5"));
        assert!(
            refused("F.npy", "") && !refused("own.h5", ""),
            "in the folder"
        );
        #[cfg(unix)]
        {
            std::fs::hard_link(at("own.h5"), at("hard.h5")).unwrap();
            std::os::unix::fs::symlink("own.h5", at("soft.h5")).unwrap();
            assert!(refused("hard.h5", "own.h5") && refused("soft.h5", "own.h5"));
        }
        let names = ["run.json", "own.h5"];
        assert!(check_folder(folder.path(), &names, &[&at("own.h5")]).is_err());
        check_folder(folder.path(), &names[..1], &[&at("own.h5")]).unwrap();
    }
}
