//! Results in NWB and for pynapple, read back.
//!
//! That pynwb validates such files, nwbinspector finds nothing critical and pynapple opens them is seen by
//! `golden/check_results.py`.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::{Path, PathBuf};

use data::{Arrays, DataError, Options, Recording, TraceStream, Traces};
use ndarray::{Array1, Array3, ArrayView2, s};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recordings");
    folder.join(name)
}

fn open(name: &str, rate_hz: Option<f64>) -> Recording {
    let options = Options {
        rate_hz,
        ..Options::default()
    };
    Recording::open(&golden(name), &options).unwrap()
}

fn named(dataset: &str) -> Options {
    Options {
        dataset: Some(dataset.to_owned()),
        ..Options::default()
    }
}

/// Rates that tell trial, frame and neuron, factors, and a number for each neuron.
fn results(recording: &Recording) -> Arrays {
    let stretches = recording.stretches();
    let longest = stretches.iter().map(ArrayView2::nrows).max().unwrap();
    let mut rates = Array3::from_elem((stretches.len(), longest, recording.n_neurons()), f32::NAN);
    for (trial, stretch) in stretches.iter().enumerate() {
        for ((frame, neuron), _) in stretch.indexed_iter() {
            rates[[trial, frame, neuron]] = (100 * trial + 10 * frame + neuron) as f32;
        }
    }
    let factors = Array3::<f32>::ones((stretches.len(), longest, 5));
    let tau = Array1::from_elem(recording.n_neurons(), 0.5);
    let mut results = Arrays::default();
    results.insert("rates", "Hz", rates.into_dyn());
    results.insert("factors", "", factors.into_dyn());
    results.insert("tau", "s", tau.into_dyn());
    results
}

fn written(recording: &Recording, name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    results(recording).write_for(recording, &path).unwrap();
    (folder, path)
}

#[test]
fn a_new_file_holds_rates_factors_and_regions() {
    let recording = open("f4.npy", Some(8.0));
    let (_folder, path) = written(&recording, "new.nwb");
    let back = Recording::open(&path, &named("rates")).unwrap();
    let Traces::Continuous(trace) = &back.traces else {
        panic!("trials")
    };
    let wanted = ndarray::Array2::from_shape_fn((12, 3), |(t, n)| (10 * t + n) as f32);
    assert_eq!(trace, wanted);
    assert_eq!((back.dt_s, back.start_s), (0.125, 0.0));
    assert_eq!(back.neuron_ids, ["0", "1", "2"]);
}

#[test]
fn what_an_nwb_file_held_stays_and_its_regions_are_meant() {
    for name in ["rate.nwb", "times.nwb", "transposed.nwb"] {
        let recording = open(name, None);
        let (_folder, path) = written(&recording, "appended.nwb");
        let back = Recording::open(&path, &named("rates")).unwrap();
        assert_eq!(back.neuron_ids, ["0", "2", "3"], "{name}");
        assert_eq!((back.dt_s, back.start_s), (recording.dt_s, 2.0), "{name}");
        assert_eq!(back.trial_table, recording.trial_table, "{name}");
        let original = Recording::open(&path, &named(&recording.dataset)).unwrap_or_else(|_| {
            let series = recording.dataset.trim_end_matches("/data");
            Recording::open(&path, &named(series)).unwrap()
        });
        // Missing frames are NaN, which equals nothing.
        let values = |recording: &Recording| format!("{:?}", recording.traces);
        assert_eq!(values(&original), values(&recording), "{name}");
    }
}

#[test]
fn a_second_result_does_not_replace_the_first() {
    let recording = open("times.nwb", None);
    let (_folder, once) = written(&recording, "once.nwb");
    let raw = Recording::open(&once, &named("raw")).unwrap();
    let (_folder, twice) = written(&raw, "twice.nwb");
    for name in ["rates", "rates_2"] {
        let path = format!("processing/ophys/{name}");
        assert!(Recording::open(&twice, &named(&path)).is_ok(), "{name}");
    }
}

#[test]
fn trials_lie_end_to_end_at_their_times() {
    let recording = open("rate.nwb", None).cut_trials().unwrap();
    let (_folder, path) = written(&recording, "trials.nwb");
    let back = Recording::open(&path, &named("rates")).unwrap();
    // Trials from 2.0 to 2.5 s and from 2.625 to 3.25 s: the frame between is missing.
    let trials = back.cut_trials().unwrap();
    let stretches = trials.stretches();
    assert_eq!(
        stretches[0].slice(s![.., 1]).to_vec(),
        [1.0, 11.0, 21.0, 31.0]
    );
    assert_eq!(
        stretches[1].slice(s![.., 0]).to_vec(),
        [100.0, 110.0, 120.0, 130.0, 140.0]
    );
}

#[test]
fn the_same_results_are_the_same_bytes() {
    let recording = open("lfads.h5", None);
    let files: Vec<Vec<u8>> = (0..2)
        .map(|_| std::fs::read(written(&recording, "trials.nwb").1).unwrap())
        .collect();
    assert_eq!(files[0], files[1]);
}

#[test]
fn an_archive_for_pynapple_holds_times_and_values() {
    let recording = open("rate.nwb", None).cut_trials().unwrap();
    let (_folder, path) = written(&recording, "rates.tsd.npz");
    let archive = Arrays::read(&path).unwrap();
    let frames = [2.0, 2.125, 2.25, 2.375, 2.625, 2.75, 2.875, 3.0, 3.125];
    let list = |name: &str| {
        archive
            .require(name)
            .unwrap()
            .iter()
            .copied()
            .collect::<Vec<f32>>()
    };
    assert_eq!(list("t"), frames);
    assert_eq!(
        (list("start"), list("end")),
        (vec![2.0, 2.625], vec![2.375, 3.125])
    );
    assert_eq!(archive.require("d").unwrap().shape(), [9, 3]);
    let fifth = archive.require("d").unwrap().slice(s![4, ..]).to_owned();
    assert_eq!(fifth.into_raw_vec_and_offset().0, [100.0, 101.0, 102.0]);
    let bytes = std::fs::read(&path).unwrap();
    let holds = |text: &str| {
        let wide: Vec<u8> = text
            .chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect();
        bytes.windows(wide.len()).any(|window| window == wide)
    };
    assert!(holds("TsdFrame"));
}

#[test]
fn ids_of_neurons_are_an_array_of_texts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.h5");
    let mut results = Arrays::default();
    let ids = vec!["a,b".to_owned(), "ü".to_owned()];
    results.lists.insert("neuron_ids".into(), ids);
    results.write(&path).unwrap();
    assert_eq!(Arrays::read(&path).unwrap(), results);
}

#[test]
fn what_is_written_whole_is_no_stream() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["out.nwb", "out.tsd.npz"] {
        let path = folder.path().join(name);
        let refused = TraceStream::create(&path, &[("spikes", "F")], [3, 2]).unwrap_err();
        assert!(refused.to_string().contains("written whole"), "{refused}");
    }
}

#[test]
fn a_recording_that_is_gone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.nwb");
    std::fs::copy(golden("times.nwb"), &copy).unwrap();
    let recording = Recording::open(&copy, &Options::default()).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let out = folder.path().join("out.nwb");
    let failed: DataError = results(&recording).write_for(&recording, &out).unwrap_err();
    assert!(
        failed.to_string().contains("cannot read the file"),
        "{failed}"
    );
    assert!(!out.exists());
}
