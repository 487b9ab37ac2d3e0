//! Checkpoints: one file with the trainer's state, the weights and the optimiser's moments.

use std::io::Write;
use std::path::Path;

use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// Ends in the version of what follows.
const MAGIC: &[u8; 8] = b"LFADSCK2";

/// A JSON state and named blobs of bytes.
pub(crate) struct Checkpoint<S> {
    pub state: S,
    pub blobs: Vec<(String, Bytes)>,
}

#[derive(Serialize, Deserialize)]
struct Header<S> {
    state: S,
    blobs: Vec<(String, u64)>,
}

impl<S: Serialize + for<'de> Deserialize<'de>> Checkpoint<S> {
    /// Writes beside `path`, then renames, so that a reader never sees half a checkpoint.
    pub fn write(self, path: &Path) -> Result<(), ModelError> {
        self.try_write(path)
            .map_err(|error| ModelError::Checkpoint {
                path: path.to_owned(),
                problem: format!("cannot be written: {error}"),
            })
    }

    fn try_write(self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let header = serde_json::to_vec(&Header {
            state: self.state,
            blobs: self
                .blobs
                .iter()
                .map(|(name, bytes)| (name.clone(), bytes.len() as u64))
                .collect(),
        })?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(MAGIC)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, bytes) in &self.blobs {
            file.write_all(bytes)?;
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// Reads what [`Checkpoint::write`] wrote.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let fail = |problem: String| ModelError::Checkpoint {
            path: path.to_owned(),
            problem: format!("{problem}; remove it and train again"),
        };
        let bytes =
            std::fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        Self::parse(&bytes).ok_or_else(|| {
            fail(format!(
                "is not a checkpoint of this version of the program or was cut short ({} bytes)",
                bytes.len()
            ))
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_at_checked(8)?;
        let length = u64::from_le_bytes(length.try_into().ok()?);
        let (header, mut rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let header: Header<S> = serde_json::from_slice(header).ok()?;
        let mut blobs = Vec::new();
        for (name, length) in header.blobs {
            let (blob, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            blobs.push((name, Bytes::from_bytes_vec(blob.to_vec())));
            rest = after;
        }
        rest.is_empty().then_some(Self {
            state: header.state,
            blobs,
        })
    }

    /// Takes the blob called `name`.
    pub fn take(&mut self, path: &Path, name: &str) -> Result<Bytes, ModelError> {
        let index = self.blobs.iter().position(|(other, _)| other == name);
        match index {
            Some(index) => Ok(self.blobs.swap_remove(index).1),
            None => Err(ModelError::Checkpoint {
                path: path.to_owned(),
                problem: format!("has no part `{name}`; remove it and train again"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_truncation_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.ckpt");
        let checkpoint = Checkpoint {
            state: 7_u32,
            blobs: vec![("weights".into(), Bytes::from_bytes_vec(vec![1, 2, 3]))],
        };
        checkpoint.write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut read = Checkpoint::<u32>::read(&path).unwrap();
        assert_eq!(read.state, 7);
        assert_eq!(&*read.take(&path, "weights").unwrap(), &[1, 2, 3]);
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Checkpoint::<u32>::read(&path).is_err(), "length {length}");
        }
    }
}
