//! The same recording in every format; `golden/make_recordings.py` made the files.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::{Path, PathBuf};

use data::{
    AxisOrder, Format, Options, Recording, Traces, TrialInterval, Units, write_csv, write_npy,
    write_npz,
};
use ndarray::{Array2, Axis, array, s};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recordings");
    folder.join(name)
}

fn at_8_hz() -> Options {
    Options {
        rate_hz: Some(8.0),
        ..Options::default()
    }
}

fn open(name: &str, options: &Options) -> Recording {
    Recording::open(&golden(name), options).unwrap()
}

/// What every file holds, times `scale`.
fn truth(scale: f32) -> Array2<f32> {
    Array2::from_shape_fn((12, 3), |(t, n)| scale * (t as f32 / 4.0 - n as f32))
}

fn continuous(recording: &Recording) -> &Array2<f32> {
    match &recording.traces {
        Traces::Continuous(trace) => trace,
        Traces::Trials(_) => panic!("{} holds trials", recording.path.display()),
    }
}

/// Equal, where NaN equals NaN.
fn assert_same(found: &Array2<f32>, wanted: &Array2<f32>) {
    let bits = |a: &Array2<f32>| a.mapv(|v| if v.is_nan() { u32::MAX } else { v.to_bits() });
    // -0 and 0 are one number.
    assert_eq!(bits(&(found + 0.0)), bits(&(wanted + 0.0)), "{found}");
}

#[test]
fn npy_of_every_type_byte_order_axis_order_and_version() {
    for (name, wanted) in [
        ("f4.npy", truth(1.0)),
        ("f8_big_fortran.npy", truth(1.0)),
        ("f2.npy", truth(1.0)),
        ("version2.npy", truth(1.0)),
        ("version3.npy", truth(1.0)),
        ("i2_big.npy", truth(4.0)),
        ("i8_fortran.npy", truth(4.0)),
        ("u1.npy", truth(4.0) + 8.0),
        ("bool.npy", truth(1.0).mapv(|v| f32::from(v > 0.0))),
    ] {
        let recording = open(name, &at_8_hz());
        assert_same(continuous(&recording), &wanted);
        assert_eq!((recording.format, recording.dt_s), (Format::Npy, 0.125));
        assert_eq!(recording.neuron_ids, ["0", "1", "2"]);
    }
}

#[test]
fn npz_with_a_rate_beside_the_traces() {
    let recording = open("stored.npz", &Options::default());
    assert_same(continuous(&recording), &truth(1.0));
    assert_eq!((recording.format, recording.dt_s), (Format::Npz, 0.125));
    assert_eq!(recording.dataset, "dff");
    let named = Options {
        dataset: Some("f".into()),
        ..Options::default()
    };
    assert_eq!(open("two.npz", &named).dataset, "f");
}

#[test]
fn dropped_frames_become_nan() {
    let mut wanted = truth(1.0);
    wanted.slice_mut(s![4..6, ..]).fill(f32::NAN);
    for (name, start_s) in [("dropped.npz", 10.0), ("times.nwb", 2.0)] {
        let recording = open(name, &Options::default());
        let wanted = match name {
            "times.nwb" => &wanted + 100.0,
            _ => wanted.clone(),
        };
        assert_same(continuous(&recording), &wanted);
        assert_eq!((recording.dt_s, recording.start_s), (0.125, start_s));
        assert!(recording.notes[0].contains("leave out 2 frames"));
        let padded = recording.padded();
        assert!(!padded.observed[[0, 5, 1]] && padded.observed[[0, 6, 1]]);
        assert_eq!(padded.values[[0, 5, 1]].to_bits(), 0);
    }
}

#[test]
fn csv_with_header_times_and_an_empty_cell() {
    let recording = open("header.csv", &Options::default());
    let mut wanted = truth(1.0);
    wanted[[2, 1]] = f32::NAN;
    assert_same(continuous(&recording), &wanted);
    assert_eq!((recording.format, recording.dt_s), (Format::Csv, 0.125));
    assert_eq!(recording.neuron_ids, ["a", "b", "c"]);
    assert_same(continuous(&open("savetxt.csv", &at_8_hz())), &truth(1.0));
}

#[test]
fn suite2p_from_the_folder_or_the_one_above() {
    let half = Options {
        neuropil: Some(0.25),
        ..Options::default()
    };
    for name in ["suite2p", "suite2p/plane0"] {
        let recording = open(name, &half);
        assert_same(
            continuous(&recording),
            &(truth(1.0).select(Axis(1), &[0, 2]) + 0.5),
        );
        assert_eq!((recording.format, recording.dt_s), (Format::Suite2p, 0.125));
        assert_eq!(recording.units, Some(Units::Fluorescence));
        assert_eq!(recording.neuron_ids, ["0", "2"]);
    }
    let every = Options {
        cells_only: false,
        ..Options::default()
    };
    let recording = open("suite2p", &every);
    // F is the truth plus half of a neuropil of 2, of which 0.7 is subtracted by default.
    let wanted = truth(1.0) + 1.0 - 1.4;
    assert!(
        (continuous(&recording) - &wanted)
            .iter()
            .all(|e| e.abs() < 1e-6)
    );
}

#[test]
fn nwb_prefers_df_over_f_and_follows_a_soft_link() {
    let recording = open("rate.nwb", &Options::default());
    assert_same(continuous(&recording), &truth(1.0));
    assert_eq!((recording.format, recording.dt_s), (Format::Nwb, 0.125));
    assert_eq!(recording.dataset, "processing/ophys/DfOverF/dff/data");
    assert_eq!(recording.units, Some(Units::DeltaFOverF));
    assert_eq!(recording.neuron_ids, ["0", "2", "3"]);
    let raw = Options {
        dataset: Some("raw".into()),
        ..Options::default()
    };
    let recording = open("rate.nwb", &raw);
    assert_same(continuous(&recording), &(truth(1.0) + 100.0));
    assert_eq!(recording.units, Some(Units::Fluorescence));
}

#[test]
fn nwb_stored_region_by_time_is_noticed() {
    let recording = open("transposed.nwb", &Options::default());
    assert_same(continuous(&recording), &(truth(1.0) + 100.0));
    assert!(recording.notes[0].contains("shape [3, 12], [roi, time]"));
}

#[test]
fn nwb_trials_cut_the_recording() {
    let recording = open("rate.nwb", &Options::default());
    let first = TrialInterval {
        start_s: 2.0,
        stop_s: 2.5,
    };
    assert_eq!(recording.trial_table[0], first);
    let Traces::Trials(trials) = recording.cut_trials().unwrap().traces else {
        panic!("no trials")
    };
    // 2.0 to 2.5 s and 2.625 to 3.25 s, from 2 s on, 8 frames per second.
    assert_eq!(trials[0], truth(1.0).slice(s![0..4, ..]));
    assert_eq!(trials[1], truth(1.0).slice(s![5..10, ..]));
}

#[test]
fn matlab_axes_are_reversed() {
    let dff = Options {
        dataset: Some("dff".into()),
        ..Options::default()
    };
    let recording = open("session.mat", &dff);
    assert_same(continuous(&recording), &truth(1.0));
    assert_eq!((recording.format, recording.dt_s), (Format::Matlab, 0.125));
}

#[test]
fn lfads_trials_of_unequal_length() {
    let recording = open("lfads.h5", &Options::default());
    let padded = recording.padded();
    assert_eq!(padded.lengths, [5, 3, 5, 4]);
    assert_eq!(recording.n_train, Some(3));
    assert_eq!((recording.format, recording.dt_s), (Format::Hdf5, 0.125));
    let observed = padded.observed.iter().filter(|o| **o).count();
    assert_eq!(observed, (5 + 3 + 5 + 4) * 3);
    let valid = padded.values.slice(s![3, ..4, ..]);
    assert_eq!(valid, truth(1.0).slice(s![8..12, ..]));
}

#[test]
fn plain_hdf5_in_a_group() {
    let recording = open("plain.h5", &Options::default());
    assert_same(continuous(&recording), &truth(1.0));
    assert_eq!(recording.dataset, "session/dff");
}

#[test]
fn order_and_rate_of_the_caller_win() {
    let options = Options {
        order: Some(AxisOrder::NeuronTime),
        rate_hz: Some(2.0),
        ..Options::default()
    };
    let recording = open("stored.npz", &options);
    assert_same(continuous(&recording), &truth(1.0).reversed_axes());
    assert_eq!((recording.n_neurons(), recording.dt_s), (12, 0.5));
}

#[test]
fn keeps_the_neurons_asked_for() {
    let recording = open("header.csv", &Options::default()).keep(&[2, 0]);
    let recording = recording.unwrap();
    assert_eq!(recording.neuron_ids, ["c", "a"]);
    assert_same(continuous(&recording), &truth(1.0).select(Axis(1), &[2, 0]));
}

#[test]
fn what_is_written_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut rates = truth(1.0) / 3.0;
    rates[[3, 0]] = f32::NAN;
    let ids: Vec<String> = ["a", "b, left", "c"].map(str::to_owned).to_vec();
    write_npy(&path("x.npy"), rates.view()).unwrap();
    write_npz(
        &path("x.npz"),
        &[
            ("rates", rates.view().into_dyn()),
            ("dt", array![0.125].view().into_dyn()),
        ],
    )
    .unwrap();
    write_csv(&path("x.csv"), &ids, rates.view()).unwrap();
    for name in ["x.npy", "x.csv"] {
        let recording = Recording::open(&path(name), &at_8_hz()).unwrap();
        assert_same(continuous(&recording), &rates);
    }
    let npz = Recording::open(&path("x.npz"), &Options::default()).unwrap();
    assert_same(continuous(&npz), &rates);
    let csv = Recording::open(&path("x.csv"), &at_8_hz()).unwrap();
    assert_eq!(csv.neuron_ids, ids);
    let bytes = std::fs::read(path("x.npz")).unwrap();
    write_npz(
        &path("again.npz"),
        &[
            ("rates", rates.view().into_dyn()),
            ("dt", array![0.125].view().into_dyn()),
        ],
    )
    .unwrap();
    assert_eq!(bytes, std::fs::read(path("again.npz")).unwrap());
}
