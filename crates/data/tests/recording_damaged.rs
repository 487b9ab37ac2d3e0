//! Damaged recordings of every format end in an error or in sound traces, never in a panic.
//!
//! With those of `damaged.rs` they are ten thousand; `fuzz/` goes on from there.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::{Path, PathBuf};

use data::{AxisOrder, Options, Recording, TraceBlocks, Windows};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const FILES: [&str; 13] = [
    "../layouts/struct_plain.mat",
    "../layouts/struct_deflated.mat",
    "../layouts/lzf.h5",
    "f4.npy",
    "i8_fortran.npy",
    "version2.npy",
    "stored.npz",
    "dropped.npz",
    "header.csv",
    "rate.nwb",
    "times.nwb",
    "session.mat",
    "lfads.h5",
];

const SUITE2P: [&str; 4] = ["F.npy", "Fneu.npy", "iscell.npy", "ops.npy"];

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recordings");
    folder.join(name)
}

/// Whatever opens can be used, whatever does not says one line.
fn open(path: &Path, rate_hz: Option<f64>, dataset: Option<&str>) {
    let options = Options {
        rate_hz,
        dataset: dataset.map(str::to_owned),
        ..Options::default()
    };
    open_with(path, &options);
}

fn open_with(path: &Path, options: &Options) {
    read_in_pieces(path, options);
    match Recording::open(path, options) {
        Ok(recording) => assert_sound(&recording),
        Err(e) => {
            let said = e.to_string();
            let starts = said.starts_with(&path.display().to_string());
            assert!(starts && !said.contains('\n'), "{said:?}");
        }
    }
}

/// Reading in pieces neither panics nor says more than one line.
fn read_in_pieces(path: &Path, options: &Options) {
    let errors = match TraceBlocks::open(path, options, 2) {
        Ok(blocks) => blocks
            .into_iter()
            .flatten()
            .filter_map(Result::err)
            .collect(),
        Err(e) => vec![e],
    };
    assert!(errors.iter().all(|e| !e.to_string().contains('\n')));
}

fn assert_sound(recording: &Recording) {
    assert!(recording.dt_s.is_finite() && recording.dt_s > 0.0);
    for stretch in recording.stretches() {
        assert_eq!(stretch.ncols(), recording.n_neurons());
        assert!(!stretch.is_empty() && stretch.iter().all(|v| !v.is_infinite()));
        Windows::new(stretch.nrows(), 1, 0).unwrap();
    }
    let _ = recording.cut_trials();
}

/// Bytes to put at a place.
type Edit = (prop::sample::Index, Vec<u8>);

/// Overwrites bytes, then perhaps cuts the end off.
fn damage(bytes: &mut Vec<u8>, edits: &[Edit], cut: Option<prop::sample::Index>) {
    for (place, new) in edits {
        let place = place.index(bytes.len());
        let end = (place + new.len()).min(bytes.len());
        bytes[place..end].copy_from_slice(&new[..end - place]);
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
}

/// Noise, and what goes further into a parser: digits, quotes, words of extreme value.
fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let character = prop::sample::select(b"0919,:'(){}.-\n\0\xff".to_vec());
    let word = prop::sample::select(vec![0, 1, 0x7fff_ffff_u64, 1 << 40, u64::MAX / 2, u64::MAX]);
    let bytes = prop_oneof![
        4 => any::<u8>().prop_map(|b| vec![b]),
        4 => character.prop_map(|b| vec![b]),
        1 => word.prop_map(|w| w.to_le_bytes().to_vec()),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), bytes), 1..12)
}

/// Sometimes a cut.
fn cut() -> impl Strategy<Value = Option<prop::sample::Index>> {
    prop::option::weighted(0.15, any::<prop::sample::Index>())
}

/// Given in every other case: without one, the file's own clock is read.
fn rate(edits: &[Edit]) -> Option<f64> {
    edits.len().is_multiple_of(2).then_some(8.0)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

/// Damages one of the files, `cases` times over.
fn damage_each(names: &'static [&'static str], cases: u32, dataset: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let sound: Vec<_> = names
        .iter()
        .map(|n| std::fs::read(golden(n)).unwrap())
        .collect();
    let damaged = (0..sound.len(), edits(), cut());
    let mut runner = TestRunner::new(config(cases));
    let run = runner.run(&damaged, |(which, edits, cut)| {
        let mut bytes = sound[which].clone();
        damage(&mut bytes, &edits, cut);
        std::fs::write(&path, &bytes).unwrap();
        open(&path, rate(&edits), dataset);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn npy() {
    damage_each(&["f4.npy", "i8_fortran.npy", "version2.npy"], 900, None);
}

#[test]
fn npz() {
    damage_each(&["stored.npz", "dropped.npz"], 900, None);
}

#[test]
fn csv() {
    const TABLES: [&str; 5] = [
        "header.csv",
        "savetxt.csv",
        "../readings/pandas.csv",
        "../readings/trials.csv",
        "../readings/ascii.txt",
    ];
    damage_each(&TABLES, 900, None);
}

#[test]
fn nwb() {
    damage_each(
        &[
            "rate.nwb",
            "times.nwb",
            "transposed.nwb",
            "../readings/ophys.nwb",
        ],
        900,
        None,
    );
}

#[test]
fn matlab() {
    damage_each(&["session.mat"], 900, Some("dff"));
}

#[test]
fn matlab_5() {
    damage_each(
        &[
            "../layouts/struct_plain.mat",
            "../layouts/struct_deflated.mat",
            "../layouts/big_endian.mat",
            "../layouts/cnmfe.mat",
            "../layouts/Fall.mat",
        ],
        900,
        None,
    );
}

#[test]
fn hdf5() {
    damage_each(&["lfads.h5", "plain.h5"], 900, None);
}

#[test]
fn hdf5_of_pipelines() {
    damage_each(
        &[
            "../layouts/caiman.hdf5",
            "../layouts/lzf.h5",
            "../layouts/deep.h5",
            "../layouts/virtual.h5",
        ],
        900,
        None,
    );
}

/// Damages one file of a folder at a time.
fn damage_folder(sound: &Path, names: &[&str], cases: u32) {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let bytes: Vec<_> = names
        .iter()
        .map(|name| std::fs::read(sound.join(name)).unwrap())
        .collect();
    for (name, bytes) in names.iter().zip(&bytes) {
        std::fs::write(place(name), bytes).unwrap();
    }
    let damaged = (0..names.len(), edits(), cut());
    let mut runner = TestRunner::new(config(cases));
    let run = runner.run(&damaged, |(victim, edits, cut)| {
        let mut spoilt = bytes[victim].clone();
        damage(&mut spoilt, &edits, cut);
        std::fs::write(place(names[victim]), spoilt).unwrap();
        open(folder.path(), rate(&edits), None);
        std::fs::write(place(names[victim]), &bytes[victim]).unwrap();
        Ok(())
    });
    run.unwrap();
}

#[test]
fn suite2p() {
    damage_folder(&golden("suite2p/plane0"), &SUITE2P, 900);
}

#[test]
fn alf() {
    let names = [
        "mpci.ROIActivityF.f9860a11-24d3-452e-ab95-39e199f20a93.npy",
        "mpci.ROINeuropilActivityF.npy",
        "mpci.times.npy",
        "mpci.badFrames.npy",
        "mpciROIs.mpciROITypes.npy",
    ];
    damage_folder(&golden("../layouts/ibl/alf/FOV_00"), &names, 900);
}

#[test]
fn lists_and_tables() {
    damage_each(
        &[
            "../layouts/long_times.csv",
            "../layouts/spikes.csv",
            "../layouts/inscopix.csv",
            "../layouts/fiji.csv",
            "../layouts/excel.csv",
            "../layouts/utf16.txt",
        ],
        900,
        None,
    );
}

#[test]
fn nwb_elsewhere_and_of_version_1() {
    damage_each(
        &["../layouts/version1.nwb", "../layouts/elsewhere.nwb"],
        900,
        None,
    );
}

/// Every value of every byte of a NumPy header.
#[test]
fn every_header_byte() {
    let folder = tempfile::tempdir().unwrap();
    let plane = folder.path();
    for name in SUITE2P {
        std::fs::copy(golden("suite2p/plane0").join(name), plane.join(name)).unwrap();
    }
    for name in ["F.npy", "ops.npy"] {
        let whole = std::fs::read(plane.join(name)).unwrap();
        for place in 0..80 {
            for byte in 0..=u8::MAX {
                let mut bytes = whole.clone();
                bytes[place] = byte;
                std::fs::write(plane.join(name), &bytes).unwrap();
                open(plane, None, None);
            }
        }
        std::fs::write(plane.join(name), &whole).unwrap();
    }
}

/// A length or a shape out of all proportion asks for no memory.
#[test]
fn every_word_huge() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge");
    for name in [
        "plain.h5",
        "lfads.h5",
        "session.mat",
        "../layouts/struct_plain.mat",
        "f4.npy",
        "stored.npz",
    ] {
        let whole = std::fs::read(golden(name)).unwrap();
        for place in (0..whole.len() - 8).step_by(8) {
            for word in [1_u64 << 40, 1 << 56] {
                let mut bytes = whole.clone();
                bytes[place..place + 8].copy_from_slice(&word.to_le_bytes());
                std::fs::write(&path, &bytes).unwrap();
                for order in [AxisOrder::NeuronTime, AxisOrder::TimeNeuron] {
                    let options = Options {
                        rate_hz: Some(8.0),
                        order: Some(order),
                        ..Options::default()
                    };
                    open_with(&path, &options);
                }
            }
        }
    }
}

#[test]
fn every_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short");
    for name in FILES {
        let whole = std::fs::read(golden(name)).unwrap();
        for length in (0..whole.len()).step_by(whole.len().div_ceil(50)) {
            std::fs::write(&path, &whole[..length]).unwrap();
            open(&path, Some(8.0), None);
        }
    }
}
