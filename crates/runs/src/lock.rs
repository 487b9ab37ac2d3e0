//! A folder that belongs to one process, as long as it is the same folder.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use model::train::{Event, Observer, StepReport, ValidationReport};

/// A locked file: of this process while the value lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Locks a file for this process alone, creating it if need be. `option` is where the user names
    /// another folder.
    ///
    /// # Errors
    /// If another process holds it, or it cannot be made.
    pub fn take(path: &Path, option: &str) -> Result<Self> {
        let shown = path.display();
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("{shown}: cannot create it"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "{shown}: another process is working on this run; wait for it, or give another folder to {option}"
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{shown}: cannot lock it"));
            }
        }
        Ok(Self {
            file,
            path: path.into(),
        })
    }

    /// Whether the folder is still the one that was locked.
    ///
    /// # Errors
    /// If the file is gone or another: the folder was renamed, or the lock deleted.
    pub fn check(&self) -> Result<(), String> {
        match is_same(&self.file, &self.path) {
            true => Ok(()),
            false => Err(format!(
                "{} is gone: the folder was renamed, or its lock deleted, while this process worked in it. What was written until then is whole; start the same command again, with the folder's new name",
                self.path.display()
            )),
        }
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: std::fs::Metadata| (found.dev(), found.ino());
    let held = file.metadata().map(place);
    matches!((held, path.metadata().map(place)), (Ok(held), Ok(there)) if held == there)
}

#[cfg(not(unix))]
fn is_same(_: &File, path: &Path) -> bool {
    path.is_file()
}

/// Passes a training on, and ends it where its folder is no longer its own.
pub struct InFolder<'a> {
    /// The folder's.
    pub lock: &'a Lock,
    /// Who watches.
    pub observer: &'a mut dyn Observer,
}

impl Observer for InFolder<'_> {
    fn on_step(&mut self, report: &StepReport) {
        self.observer.on_step(report);
    }

    fn on_validation(&mut self, report: &ValidationReport) {
        self.observer.on_validation(report);
    }

    fn on_event(&mut self, event: &Event) {
        self.observer.on_event(event);
    }

    fn wants_to_stop(&mut self) -> bool {
        self.observer.wants_to_stop()
    }

    fn before_checkpoint(&mut self) -> Result<(), String> {
        self.lock.check()?;
        self.observer.before_checkpoint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_one_processs_and_its_loss_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let lock = Lock::take(&path, "-o").unwrap();
        let error = Lock::take(&path, "-o").unwrap_err().to_string();
        assert!(
            error.contains("another process") && error.contains("-o"),
            "{error}"
        );
        lock.check().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(lock.check().is_err());
        let _another = Lock::take(&path, "-o").unwrap();
        let error = lock.check().unwrap_err();
        assert!(error.contains("renamed"), "{error}");
    }
}
