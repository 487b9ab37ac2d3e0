//! Checkpoints: one file with what it belongs to, the trainer's state, weights, moments, a checksum.

use std::io::{self, Write};
use std::path::Path;

use burn::tensor::Bytes;
use data::WholeFile;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::ModelError;
use crate::identity::Difference;

/// Ends in the version of what follows.
const MAGIC: &[u8; 8] = b"LFADSCK3";
/// Of this crate: another may compute otherwise.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Bytes of the SHA-256 of all before it, with which a file ends.
const DIGEST: usize = 32;

/// What it belongs to, a JSON state and named blobs of bytes.
pub(crate) struct Checkpoint<S> {
    pub identity: Value,
    pub state: S,
    pub blobs: Vec<(String, Bytes)>,
}

#[derive(Serialize, Deserialize)]
struct Header<S> {
    identity: Value,
    state: S,
    blobs: Vec<(String, u64)>,
}

impl<S: Serialize + for<'de> Deserialize<'de>> Checkpoint<S> {
    /// Writes beside `path`, then renames, so that a reader never sees half a checkpoint.
    pub fn write(self, path: &Path) -> Result<(), ModelError> {
        self.try_write(path, || Ok(())).map_err(unwritten(path))
    }

    /// The same; the one that was there stays as [`before`].
    pub fn succeed(self, path: &Path) -> Result<(), ModelError> {
        self.try_write(path, || keep_the_last(path))
            .map_err(unwritten(path))
    }

    /// `make_way` is called when all is on the disk but under another name.
    fn try_write(self, path: &Path, make_way: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let header = serde_json::to_vec(&Header {
            identity: self.identity,
            state: self.state,
            blobs: self
                .blobs
                .iter()
                .map(|(name, bytes)| (name.clone(), bytes.len() as u64))
                .collect(),
        })?;
        let mut file = WholeFile::create(path)?;
        let mut digest = Sha256::new();
        let mut write = |bytes: &[u8]| {
            digest.update(bytes);
            file.write_all(bytes)
        };
        write(MAGIC)?;
        write(&(header.len() as u64).to_le_bytes())?;
        write(&header)?;
        for (_, bytes) in &self.blobs {
            write(bytes)?;
        }
        file.write_all(&digest.finalize())?;
        make_way()?;
        file.finish()
    }

    /// Reads what [`Checkpoint::write`] wrote.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let fail = |problem: String| ModelError::Checkpoint {
            path: path.to_owned(),
            problem,
        };
        let bytes =
            std::fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        Self::parse(&bytes).map_err(fail)
    }

    /// The same, if the training called itself `of` and this version of the crate wrote it.
    pub fn read_of(path: &Path, of: Option<&Value>) -> Result<Self, ModelError> {
        let mut checkpoint = Self::read(path)?;
        let known = checkpoint.identity.take();
        let wanted = json!({"of": of.unwrap_or(&known["of"]), "version": VERSION});
        checkpoint.identity = json!({"of": known["of"], "version": known["version"]});
        checkpoint.check(path, &wanted)?;
        Ok(checkpoint)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        if !bytes.starts_with(MAGIC) {
            return Err("is not a checkpoint of this version of the program".into());
        }
        let length = bytes.len();
        let whole = bytes.split_last_chunk::<DIGEST>();
        let whole = whole.filter(|(all, digest)| Sha256::digest(all).as_slice() == *digest);
        let (all, _) = whole.ok_or_else(|| {
            format!("is damaged or cut short: its {length} bytes do not have their checksum")
        })?;
        Self::parts(all).ok_or_else(|| "holds something else than it should".into())
    }

    /// The parts of a file whose checksum holds.
    fn parts(bytes: &[u8]) -> Option<Self> {
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
            identity: header.identity,
            state: header.state,
            blobs,
        })
    }

    /// Refuses what belongs to something else than `identity`, naming the field.
    pub fn check(&self, path: &Path, identity: &Value) -> Result<(), ModelError> {
        match Difference::between(&self.identity, identity) {
            None => Ok(()),
            Some(difference) => Err(ModelError::Checkpoint {
                path: path.to_owned(),
                problem: format!(
                    "belongs to another training: {difference}; remove it, or give another folder"
                ),
            }),
        }
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

fn unwritten(path: &Path) -> impl Fn(io::Error) -> ModelError {
    move |error| ModelError::Checkpoint {
        path: path.to_owned(),
        problem: format!("cannot be written: {error}"),
    }
}

/// Where the checkpoint before the one at `path` is kept.
pub(crate) fn before(path: &Path) -> std::path::PathBuf {
    path.with_file_name("previous.ckpt")
}

/// Gives the checkpoint at `path` a second name, so that it outlasts its successor.
fn keep_the_last(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let kept = before(path);
    match std::fs::remove_file(&kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Not every file system has links.
    std::fs::hard_link(path, &kept).or_else(|_| std::fs::rename(path, &kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(state: u32) -> Checkpoint<u32> {
        Checkpoint {
            identity: json!({"seed": 1}),
            state,
            blobs: vec![("weights".into(), Bytes::from_bytes_vec(vec![1, 2, 3]))],
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.ckpt");
        checkpoint(7).write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut read = Checkpoint::<u32>::read(&path).unwrap();
        assert_eq!(read.state, 7);
        assert_eq!(&*read.take(&path, "weights").unwrap(), &[1, 2, 3]);
        for length in 0..whole.len() {
            let cut = &whole[..length];
            assert!(Checkpoint::<u32>::parse(cut).is_err(), "length {length}");
            let mut flipped = whole.clone();
            flipped[length] ^= 1 << (length % 8);
            assert!(Checkpoint::<u32>::parse(&flipped).is_err(), "byte {length}");
        }
    }

    #[test]
    fn the_one_before_is_kept_and_another_trainings_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.ckpt");
        for state in [1, 2, 3] {
            checkpoint(state).succeed(&path).unwrap();
        }
        // What lies beside it, such as the known states, leaves it alone.
        checkpoint(4)
            .write(&folder.path().join("states.ckpt"))
            .unwrap();
        assert_eq!(Checkpoint::<u32>::read(&path).unwrap().state, 3);
        let kept = Checkpoint::<u32>::read(&before(&path)).unwrap();
        assert_eq!(kept.state, 2);
        kept.check(&path, &json!({"seed": 1})).unwrap();
        let error = kept.check(&path, &json!({"seed": 2})).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`seed` is 1 there, 2 here"), "{error}");
    }
}
