//! Damaged files end in an error or in valid data, never in a panic.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::{Path, PathBuf};

use data::{Dataset, Split};
use ndarray::Array3;
use proptest::prelude::*;

/// Bytes of a foreign file of each format and of one of ours.
fn samples() -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.h5");
    let split = || Split {
        spikes: Some(Array3::ones((2, 3, 2))),
        ..Split::default()
    };
    let dataset = Dataset {
        dt_s: 0.1,
        tau_s: Some(0.4),
        discretisation: Some(data::Discretisation::Euler),
        loadings: None,
        seed: Some(3),
        recipe: Some("[lorenz]".into()),
        train: split(),
        valid: split(),
    };
    dataset.write(&ours).unwrap();
    [
        golden.join("foreign_v0.h5"),
        golden.join("foreign_v3.h5"),
        ours,
    ]
    .iter()
    .map(|path| std::fs::read(path).unwrap())
    .collect()
}

struct Scratch {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            path: folder.path().join("damaged.h5"),
            _folder: folder,
        }
    }

    /// Reads the bytes as a file; an error must be one line that begins with the path.
    fn read(&self, bytes: &[u8]) -> Option<Dataset> {
        std::fs::write(&self.path, bytes).unwrap();
        match Dataset::read(&self.path) {
            Ok(dataset) => Some(dataset),
            Err(e) => {
                let said = e.to_string();
                let path = self.path.display().to_string();
                assert!(said.starts_with(&path) && !said.contains('\n'), "{said}");
                None
            }
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    let scratch = Scratch::new();
    for sample in samples() {
        for length in (0..sample.len()).step_by(13) {
            assert!(scratch.read(&sample[..length]).is_none(), "{length} bytes");
        }
        assert!(scratch.read(&sample).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn bytes_overwritten_at_random_never_panic(
        sample in prop::sample::select(samples()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = sample;
        for (place, value) in edits {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(dataset) = Scratch::new().read(&bytes) {
            dataset.validate().unwrap();
        }
    }

    #[test]
    fn extreme_words_never_panic(
        sample in prop::sample::select(samples()),
        place in any::<prop::sample::Index>(),
        word in prop::sample::select(vec![0, 1, 0x7fff_ffff_u64, 1 << 40, u64::MAX / 2, u64::MAX]),
    ) {
        let mut bytes = sample;
        let place = place.index(bytes.len() - 8);
        bytes[place..place + 8].copy_from_slice(&word.to_le_bytes());
        if let Some(dataset) = Scratch::new().read(&bytes) {
            dataset.validate().unwrap();
        }
    }
}
