//! Where runs live: one folder per recipe hash, written so that nothing is ever half there.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use data::WholeFile;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::lock::Lock;

/// The folder of results: tables, figures and `runs/<hash>`.
#[derive(Debug)]
pub struct Store {
    out: PathBuf,
}

impl Store {
    /// Opens `out`, creating it if need be.
    ///
    /// # Errors
    /// If files cannot be created there: better known before training than after.
    pub fn open(out: &Path) -> Result<Self> {
        let usable = fs::create_dir_all(out).and_then(|()| tempfile::tempfile_in(out));
        usable.with_context(|| format!("output folder {}: cannot write to it", out.display()))?;
        Ok(Self { out: out.into() })
    }

    /// The path of a file of results.
    pub fn path(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// Opens the folder of the run that `identity` describes, for this process alone.
    ///
    /// # Errors
    /// If the folder cannot be made, or another process is at work on this run.
    pub fn run(&self, identity: &Value) -> Result<RunDir> {
        let dir = self.out.join("runs").join(hash(identity));
        fs::create_dir_all(&dir)
            .with_context(|| format!("run folder {}: cannot create it", dir.display()))?;
        let lock = Lock::take(&dir.join("lock"), "--out")?;
        let run = RunDir { dir, lock };
        data::sweep(&run.dir);
        data::sweep(&run.checkpoints());
        run.write("recipe.json", identity)?;
        Ok(run)
    }
}

/// The folder of one run, locked while this value lives.
#[derive(Debug)]
pub struct RunDir {
    dir: PathBuf,
    lock: Lock,
}

impl RunDir {
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// What makes it this process's own.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Where the trainer keeps its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// Reads a JSON file of the run; nothing if it is missing or not what this version writes.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.dir.join(name);
        let text = fs::read(&path).ok()?;
        match serde_json::from_slice(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!("{}: {error}; ignored", path.display());
                None
            }
        }
    }

    /// Writes a JSON file of the run, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec_pretty(value)?;
        write_atomically(&self.dir.join(name), &text)
    }
}

/// Writes a file, whole or not at all, in a folder that is made if it is not there.
///
/// # Errors
/// A problem of the disk, naming the file.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| WholeFile::write(path, contents));
    written.with_context(|| format!("{}: cannot write it", path.display()))
}

/// SHA-256 of a JSON value as 64 hexadecimal digits, independent of the order of its fields.
pub fn hash(value: &Value) -> String {
    hex(&Sha256::digest(canonical(value)))
}

/// A JSON value as text that does not depend on the order of its fields.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let entries = fields
                .iter()
                .map(|(name, value)| format!("{}:{}", json!(name), canonical(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => {
            let entries: Vec<_> = values.iter().map(canonical).collect();
            format!("[{}]", entries.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_values_and_not_on_their_order() {
        let parse = |text| serde_json::from_str::<Value>(text).unwrap();
        let a = hash(&parse(r#"{"x": 1, "y": {"p": 0.5, "q": [1, 2]}}"#));
        let b = hash(&parse(r#"{"y": {"q": [1, 2], "p": 0.5}, "x": 1}"#));
        let c = hash(&parse(r#"{"x": 1, "y": {"p": 0.5, "q": [2, 1]}}"#));
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn a_run_folder_belongs_to_one_process_at_a_time() {
        let out = tempfile::tempdir().unwrap();
        let store = Store::open(out.path()).unwrap();
        let first = store.run(&json!({"seed": 1})).unwrap();
        let error = store.run(&json!({"seed": 1})).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        store.run(&json!({"seed": 2})).unwrap();
        drop(first);
        store.run(&json!({"seed": 1})).unwrap();
    }

    #[test]
    fn results_come_back_and_damaged_ones_count_as_missing() {
        let out = tempfile::tempdir().unwrap();
        let run = Store::open(out.path()).unwrap().run(&json!({})).unwrap();
        assert_eq!(run.read::<Vec<u8>>("result.json"), None);
        run.write("result.json", &[1, 2]).unwrap();
        assert_eq!(run.read::<Vec<u8>>("result.json"), Some(vec![1, 2]));
        fs::write(run.dir.join("result.json"), "[1,").unwrap();
        assert_eq!(run.read::<Vec<u8>>("result.json"), None);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = write_atomically(&path, b"x").unwrap_err();
        assert!(format!("{error:#}").contains("taken"), "{error:#}");
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
    }
}
