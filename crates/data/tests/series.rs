//! What lies beside traces and says what they are: tables of regions, neuropil, other planes and channels, times
//! with their units. The files are made by `golden/make_series.py`.
#![cfg(all(feature = "hdf5", feature = "matlab"))]

use std::path::{Path, PathBuf};

use data::{Options, Recording, Units};
use ndarray::{Array2, Axis, concatenate};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/series");
    folder.join(name)
}

fn named(dataset: &str) -> Options {
    Options {
        dataset: Some(dataset.to_owned()),
        ..Options::default()
    }
}

fn at_8_hz() -> Options {
    Options {
        rate_hz: Some(8.0),
        ..Options::default()
    }
}

fn truth() -> Array2<f32> {
    let value = |t: usize, n: usize| (7 * t * (n + 3) % 11) as f32 / 4.0 - n as f32;
    Array2::from_shape_fn((40, 3), |(t, n)| value(t, n))
}

fn neurons(which: &[usize]) -> Array2<f32> {
    truth().select(Axis(1), which)
}

fn open(name: &str, options: &Options) -> Recording {
    Recording::open(&golden(name), options).unwrap()
}

fn refusal(name: &str, options: &Options) -> String {
    let refused = Recording::open(&golden(name), options);
    refused.unwrap_err().to_string()
}

fn assert_same(recording: &Recording, wanted: &Array2<f32>) {
    let found = concatenate(Axis(0), &recording.stretches()).unwrap();
    let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
    assert!(
        found.shape() == wanted.shape() && found.iter().zip(wanted).all(same),
        "{}: {:?} {found}",
        recording.path.display(),
        recording.notes
    );
}

fn notes(recording: &Recording) -> String {
    recording.notes.join("\n")
}

fn assert_says(recording: &Recording, words: &str) {
    let notes = notes(recording);
    assert!(notes.contains(words), "no `{words}` in: {notes}");
}

fn assert_at_8_hz(recording: &Recording) {
    let notes = notes(recording);
    assert!((recording.dt_s - 0.125).abs() < 1e-6, "{notes}");
}

#[test]
fn regions_are_accepted_by_the_table_that_they_are_of() {
    let recording = open("referred.nwb", &Options::default());
    assert_same(&recording, &neurons(&[0, 2]));
    assert_says(&recording, "ImageSegmentation/T/iscell` accepts 2 of 3");
    // What another table says is of other regions.
    let recording = open("referred_bare.nwb", &Options::default());
    assert_same(&recording, &truth());
    assert!(!notes(&recording).contains("iscell"));
    let recording = open("not_referred.nwb", &Options::default());
    assert_same(&recording, &truth());
    assert_says(&recording, "ImageSegmentation/U/iscell could be meant");
}

#[test]
fn each_plane_has_its_table_its_neuropil_and_its_units() {
    // F is the truth plus 1; of a neuropil of 2, 0.7 is taken off.
    let wanted = neurons(&[0, 2]) + 1.0 - 1.4;
    for name in ["planes.nwb", "neuroconv.nwb"] {
        let recording = open(name, &Options::default());
        assert_same(&recording, &wanted);
        assert_eq!(recording.units, Some(Units::Fluorescence), "{name}");
        assert_says(&recording, "all 2 planes together");
        assert!(!notes(&recording).contains("not known"), "{name}");
    }
    let recording = open("planes_dff.nwb", &Options::default());
    assert_same(&recording, &neurons(&[0, 2]));
    assert_eq!(recording.units, Some(Units::DeltaFOverF));
    // Named wholly, by the end of a path, and by one that two paths have.
    for name in [
        "processing/ophys/Fluorescence/plane1",
        "Fluorescence/plane1",
    ] {
        assert_same(&open("planes.nwb", &named(name)), &(neurons(&[2]) - 0.4));
    }
    let said = refusal("planes.nwb", &named("plane1"));
    assert!(said.contains("Neuropil/plane1"), "{said}");
}

#[test]
fn neuropil_that_cannot_be_paired_is_said() {
    let recording = open("unpaired.nwb", &Options::default());
    assert_same(&recording, &(truth() + 1.0));
    assert_says(&recording, "no neuropil is subtracted");
}

#[test]
fn other_channels_and_corrected_signals_are_no_planes() {
    for (name, both) in [
        ("channels.nwb", ["GCaMP", "tdTomato"]),
        ("raw_corrected.nwb", ["Raw", "NeuropilCorrected"]),
    ] {
        let said = refusal(name, &Options::default());
        assert!(both.iter().all(|series| said.contains(series)), "{said}");
        for series in both {
            let recording = open(name, &named(series));
            assert_same(&recording, &truth());
            assert!(!notes(&recording).contains("less"), "{name}");
        }
    }
    let recording = open("corrected.nwb", &Options::default());
    assert_same(&recording, &truth());
    assert!(recording.dataset.contains("neuropil_corrected"));
}

#[test]
fn a_ratio_among_fluorescence_is_one() {
    let recording = open("ratio.nwb", &Options::default());
    assert_same(&recording, &truth());
    assert_eq!(recording.units, Some(Units::DeltaFOverF));
    assert_says(&recording, "is dF/F by its name");
}

#[test]
fn planes_without_a_cell_are_left_out() {
    let recording = open("one_empty.nwb", &Options::default());
    assert_same(&recording, &truth());
    assert_eq!(recording.neuron_ids, ["plane1/2", "plane1/3", "plane1/4"]);
    assert_says(
        &recording,
        "plane0: `processing/ophys/ImageSegmentation/T/iscell` accepts none of 2",
    );
    let every = Options {
        cells_only: false,
        ..Options::default()
    };
    assert_eq!(open("one_empty.nwb", &every).n_neurons(), 5);
    let said = refusal("all_empty.nwb", &Options::default());
    assert!(said.contains("T/iscell` accepts none of 2"), "{said}");
    let recording = open("flyback", &Options::default());
    assert_same(&recording, &truth());
    assert_eq!(recording.neuron_ids[0], "plane1/0");
    assert_says(&recording, "plane0: `iscell.npy` accepts none of 3 regions");
}

#[test]
fn planes_at_different_rates_are_asked_for() {
    let said = refusal("rates", &Options::default());
    assert!(said.contains("plane0 (8 Hz), plane1 (4 Hz)"), "{said}");
    assert_eq!(open("rates", &at_8_hz()).n_neurons(), 6);
    assert_same(&open("rates", &named("plane0")), &truth());
}

#[test]
fn times_are_in_the_units_that_are_written() {
    for unit in ["days", "minutes", "milliseconds"] {
        let recording = open(&format!("{unit}.nc"), &Options::default());
        assert_same(&recording, &truth());
        assert_at_8_hz(&recording);
        assert_says(
            &recording,
            &format!("`time` is the time, in {unit}, as its"),
        );
    }
}

#[test]
fn rates_that_differ_are_asked_for() {
    let said = refusal("rates.mat", &Options::default());
    assert!(said.contains("`fs` = 1000, `frameRate` = 8"), "{said}");
    assert_same(&open("rates.mat", &at_8_hz()), &truth());
    assert_at_8_hz(&open("same_rates.mat", &Options::default()));
}

#[test]
fn counters_are_no_times() {
    let said = refusal("counter.mat", &Options::default());
    assert!(said.contains("no frame rate"), "{said}");
    let recording = open("counter.mat", &at_8_hz());
    assert_same(&recording, &truth());
    assert_at_8_hz(&recording);
    assert_says(&recording, "`t` rises by 1 a frame");
    let recording = open("times.mat", &Options::default());
    assert_at_8_hz(&recording);
    assert_says(&recording, "`t` is the time, in seconds");
}

#[test]
fn what_cannot_be_read_is_named() {
    for (name, words) in [
        ("scaled.nwb", ["Fluorescence/F/data", "`conversion` is NaN"]),
        ("axes.h5", ["`stack`", "[2, 3, 4, 5]"]),
        ("complex.mat", ["`z`", "complex numbers"]),
        ("dict.npy", ["dict.npy", "a Python object"]),
    ] {
        let said = refusal(name, &at_8_hz());
        assert!(words.iter().all(|words| said.contains(words)), "{said}");
    }
}

/// Where a plane ends before the others, suite2p's joining of them goes on in zeros.
#[test]
fn zeros_that_suite2p_fills_in_are_no_data() {
    let mut wanted = neurons(&[0, 1, 2]) - 0.7;
    wanted.column_mut(1).fill(0.0);
    let check = |recording: &Recording| {
        let found = concatenate(Axis(0), &recording.stretches()).unwrap();
        for ((frame, neuron), x) in found.indexed_iter() {
            let is_filled = neuron == 2 && frame >= 35;
            assert_eq!(x.is_nan(), is_filled, "{frame} {neuron}");
            assert!(is_filled || (x - wanted[[frame, neuron]]).abs() < 1e-5);
        }
        assert!(
            notes(recording).contains("1 regions end up to 5 frames before"),
            "{:?}",
            recording.notes
        );
    };
    check(&open("joined", &Options::default()));
}

/// minian's YrA is the trace, C in it; the dimensions say which axis is which.
#[test]
fn minian_keeps_the_trace_in_yra() {
    let recording = open("minian.nc", &at_8_hz());
    assert_same(&recording, &truth());
    assert_eq!(recording.neuron_ids, ["4", "7", "9"]);
    assert!(notes(&recording).contains("`YrA` of minian"));
    assert_same(&open("minian_alone.nc", &at_8_hz()), &(truth() / 2.0));
}
