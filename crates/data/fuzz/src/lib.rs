//! What all targets do with the bytes they are given.

use std::path::Path;

use data::{Dataset, Options, Recording, TraceBlocks, Windows};

/// Reads the bytes as a recording of whatever format they are, with and without a rate.
///
/// # Panics
/// If what opens is not sound, or what does not says more than one line.
pub fn recording(bytes: &[u8], dataset: Option<&str>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("fuzzed");
    std::fs::write(&path, bytes).expect("room for the file");
    open(&path, dataset);
}

/// Reads the bytes as a benchmark file.
///
/// # Panics
/// As [`recording`].
pub fn benchmark(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("fuzzed");
    std::fs::write(&path, bytes).expect("room for the file");
    match Dataset::read(&path) {
        Ok(dataset) => dataset.validate().expect("what was read is valid"),
        Err(e) => assert_one_line(&e, &path),
    }
}

/// Reads the bytes as the `which`-th file of a suite2p folder that is sound but for it.
///
/// # Panics
/// As [`recording`].
pub fn suite2p(which: u8, bytes: &[u8]) {
    const NAMES: [&str; 4] = ["F.npy", "Fneu.npy", "iscell.npy", "ops.npy"];
    const SOUND: [&[u8]; 4] = [
        include_bytes!("../../tests/golden/recordings/suite2p/plane0/F.npy"),
        include_bytes!("../../tests/golden/recordings/suite2p/plane0/Fneu.npy"),
        include_bytes!("../../tests/golden/recordings/suite2p/plane0/iscell.npy"),
        include_bytes!("../../tests/golden/recordings/suite2p/plane0/ops.npy"),
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let which = usize::from(which) % NAMES.len();
    for (place, name) in NAMES.iter().enumerate() {
        let content = if place == which { bytes } else { SOUND[place] };
        std::fs::write(folder.path().join(name), content).expect("room for the file");
    }
    open(folder.path(), None);
}

fn open(path: &Path, dataset: Option<&str>) {
    for rate_hz in [None, Some(8.0)] {
        let options = Options {
            rate_hz,
            dataset: dataset.map(str::to_owned),
            ..Options::default()
        };
        match Recording::open(path, &options) {
            Ok(recording) => assert_sound(&recording),
            Err(e) => assert_one_line(&e, path),
        }
        match TraceBlocks::open(path, &options, 2) {
            Ok(blocks) => blocks.into_iter().flatten().for_each(|block| {
                if let Err(e) = block {
                    assert_one_line(&e, path);
                }
            }),
            Err(e) => assert_one_line(&e, path),
        }
    }
}

fn assert_sound(recording: &Recording) {
    assert!(recording.dt_s.is_finite() && recording.dt_s > 0.0);
    for stretch in recording.stretches() {
        assert_eq!(stretch.ncols(), recording.n_neurons());
        assert!(!stretch.is_empty() && stretch.iter().all(|v| !v.is_infinite()));
        assert!(Windows::new(stretch.nrows(), 1, 0).is_ok());
    }
    let _ = recording.cut_trials();
}

fn assert_one_line(error: &data::DataError, path: &Path) {
    let said = error.to_string();
    let starts = said.starts_with(&path.display().to_string());
    assert!(starts && !said.contains('\n'), "{said:?}");
}
