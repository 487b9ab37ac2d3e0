//! What the usual tools write, one test per row of the README's table of layouts.
//!
//! The files are made by `golden/make_layouts.py`, with the tools' own libraries.

#![cfg(all(feature = "hdf5", feature = "matlab", feature = "csv"))]

use std::path::{Path, PathBuf};

use data::{AxisOrder, Format, Options, RateFrom, Recording, TraceBlocks, Traces, Units};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};

fn layout(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/layouts");
    folder.join(name)
}

/// Frame t of neuron n holds t / 4 - n.
fn truth() -> Array2<f32> {
    Array2::from_shape_fn((12, 3), |(t, n)| t as f32 / 4.0 - n as f32)
}

fn at_8_hz() -> Options {
    Options {
        rate_hz: Some(8.0),
        ..Options::default()
    }
}

fn named(dataset: &str) -> Options {
    Options {
        dataset: Some(dataset.to_owned()),
        ..Options::default()
    }
}

fn open(name: &str, options: &Options) -> Recording {
    Recording::open(&layout(name), options).unwrap()
}

fn refusal(name: &str, options: &Options) -> String {
    Recording::open(&layout(name), options)
        .unwrap_err()
        .to_string()
}

fn trace(recording: &Recording) -> &Array2<f32> {
    match &recording.traces {
        Traces::Continuous(trace) => trace,
        Traces::Trials(_) => panic!("trials"),
    }
}

fn says(recording: &Recording, what: &str) -> bool {
    recording.notes.iter().any(|note| note.contains(what))
}

/// The recording, by everything that a layout can say of it.
fn assert_is_truth(recording: &Recording) {
    assert_eq!(trace(recording), truth());
    assert!(
        (recording.dt_s - 0.125).abs() < 1e-12,
        "{:?}",
        recording.notes
    );
}

#[test]
fn matlab_5_to_7_structs_and_what_is_beside_them() {
    for name in ["struct_plain.mat", "struct_deflated.mat"] {
        let recording = open(name, &named("session.imaging.dff"));
        assert_is_truth(&recording);
        assert_eq!(recording.format, Format::Matlab);
        let by_end = open(name, &named("session/imaging/dff"));
        assert_is_truth(&by_end);
        // The identity matrix in a cell is a table too.
        let said = refusal(name, &Options::default());
        assert!(said.contains("session.imaging.dff, cells{1}"), "{said}");
    }
}

#[test]
fn matlab_5_numbers_of_every_kind_and_both_byte_orders() {
    assert_is_truth(&open("single.mat", &Options::default()));
    let recording = open("int16.mat", &Options::default());
    assert_eq!(trace(&recording), truth() * 4.0);
    assert_eq!(trace(&open("big_endian.mat", &at_8_hz())), truth());
    let options = Options {
        order: Some(AxisOrder::TrialTimeNeuron),
        ..Options::default()
    };
    let trials = open("trials.mat", &options);
    assert_eq!(trials.stretches().len(), 2);
    assert_eq!(trials.stretches()[1], truth().slice(s![6.., ..]));
}

#[test]
fn matlab_4_is_told_apart() {
    let said = refusal("version4.mat", &Options::default());
    assert!(said.contains("version 4; save it again"), "{said}");
}

#[test]
fn cnmf_e_in_both_matlab_formats() {
    for name in ["cnmfe.mat", "cnmfe73.mat"] {
        let recording = open(name, &Options::default());
        assert_is_truth(&recording);
        assert_eq!(recording.dataset, "neuron.C_raw");
        assert_eq!(recording.units, Some(Units::Fluorescence));
        let denoised = open(name, &named("neuron.C"));
        assert_eq!(trace(&denoised), truth() + 1.0);
    }
}

#[test]
fn extract_stores_time_first() {
    let recording = open("extract.mat", &at_8_hz());
    assert_is_truth(&recording);
    assert_eq!(recording.dataset, "output.temporal_weights");
}

#[test]
fn caiman_accepted_components() {
    let kept = truth().select(Axis(1), &[0, 2]);
    let recording = open("caiman.hdf5", &Options::default());
    assert_eq!(trace(&recording), &kept / 2.0);
    assert_eq!(recording.units, Some(Units::DeltaFOverF));
    assert_eq!(
        (recording.dt_s, recording.neuron_ids),
        (0.125, vec!["0".into(), "2".into()])
    );
    // Denoised and residual together are what was recorded.
    let recording = open("caiman_no_dff.hdf5", &Options::default());
    assert_eq!(trace(&recording), kept);
    assert_eq!(recording.units, Some(Units::Fluorescence));
    let all = Options {
        cells_only: false,
        ..named("C+YrA")
    };
    assert_eq!(trace(&open("caiman.hdf5", &all)), truth());
}

#[test]
fn allen_traces_and_events() {
    let recording = open("allen_dff.h5", &at_8_hz());
    assert_is_truth(&recording);
    assert_eq!(recording.units, Some(Units::DeltaFOverF));
    assert_eq!(recording.neuron_ids, ["517", "518", "521"]);
    let events = open("allen_events.h5", &at_8_hz());
    assert_eq!(trace(&events), truth().mapv(f32::abs));
    assert_eq!(events.neuron_ids, ["517", "518", "521"]);
}

#[test]
fn hdf5_at_any_depth_with_its_rate_or_times() {
    let recording = open("deep.h5", &Options::default());
    assert_is_truth(&recording);
    assert!((recording.start_s - 2.0).abs() < 1e-12);
    assert_is_truth(&open("deep.h5", &named("/a/b/c/d/dff")));
    assert_is_truth(&open("rate_on_it.h5", &Options::default()));
}

#[test]
fn hdf5_compressions() {
    let recording = open("lzf.h5", &Options::default());
    let repeated = Array2::from_shape_fn((480, 3), |(t, n)| (t / 40) as f32 / 4.0 - n as f32);
    assert_eq!(trace(&recording), repeated);
    for (name, compression) in [("blosc.h5", "Blosc"), ("zstd.h5", "Zstandard")] {
        let said = refusal(name, &Options::default());
        let told = said.contains(compression) && said.contains("h5repack -f GZIP=4");
        assert!(told, "{said}");
    }
}

#[test]
fn hdf5_links_are_followed_in_the_folder_and_named_otherwise() {
    let recording = open("linked.h5", &Options::default());
    assert_is_truth(&recording);
    let named_lost = |note: &String| note.contains("`lost` (a link to elsewhere.h5");
    assert!(
        recording.notes.iter().any(named_lost),
        "{:?}",
        recording.notes
    );
}

#[test]
fn hdf5_with_a_virtual_dataset() {
    let recording = open("virtual.h5", &Options::default());
    assert_is_truth(&recording);
    let named = |note: &String| note.contains("`movie` (a virtual dataset");
    assert!(recording.notes.iter().any(named), "{:?}", recording.notes);
    let said = refusal("only_virtual.h5", &Options::default());
    assert!(said.contains("`dff` (a virtual dataset"), "{said}");
}

#[test]
fn the_caller_may_still_say_the_order() {
    let options = Options {
        order: Some(AxisOrder::NeuronTime),
        ..at_8_hz()
    };
    let recording = open("single.mat", &options);
    assert_eq!(recording.n_neurons(), 12);
}

#[test]
fn suite2p_for_matlab_is_read_as_the_folder_is() {
    let recording = open("Fall.mat", &Options::default());
    assert_eq!(trace(&recording), truth().select(Axis(1), &[0, 2]));
    assert!((recording.dt_s - 0.125).abs() < 1e-12);
    assert_eq!(recording.neuron_ids, ["0", "2"]);
    let all = Options {
        cells_only: false,
        neuropil: Some(0.0),
        ..Options::default()
    };
    assert_eq!(trace(&open("Fall.mat", &all)), truth() + 1.0);
}

#[test]
fn suite2p_planes_of_a_session() {
    let recording = open("session", &Options::default());
    let kept = truth().select(Axis(1), &[0, 2]);
    let kept = kept.slice(s![..11, ..]);
    assert_eq!(trace(&recording), concatenate![Axis(1), kept, kept]);
    let ids = ["plane0/0", "plane0/2", "plane1/0", "plane1/2"];
    assert_eq!(recording.neuron_ids, ids);
    let one = open("session", &named("plane1"));
    assert_eq!(trace(&one), kept);
    let joined = open("joined", &Options::default());
    assert_eq!(trace(&joined), truth().select(Axis(1), &[0, 2]));
    assert!((joined.dt_s - 0.125).abs() < 1e-12);
}

#[test]
fn suite2p_traces_find_what_is_beside_them() {
    let recording = open("session/suite2p/plane0/F.npy", &Options::default());
    assert_eq!(recording.format, Format::Suite2p);
    assert_eq!(trace(&recording), truth().select(Axis(1), &[0, 2]));
}

#[test]
fn ibl_folders() {
    for name in ["ibl", "ibl/alf", "ibl/alf/FOV_00"] {
        let recording = open(name, &Options::default());
        assert_eq!(recording.format, Format::Alf);
        assert!((recording.start_s - 2.0).abs() < 1e-12 && (recording.dt_s - 0.125).abs() < 1e-9);
        let found = trace(&recording);
        let wanted = truth().select(Axis(1), &[0, 2]);
        for ((frame, neuron), value) in found.indexed_iter() {
            match frame {
                5 => assert!(value.is_nan()),
                _ => assert!((value - wanted[[frame, neuron]]).abs() < 1e-6),
            }
        }
    }
}

#[test]
fn zarr_is_named_with_what_to_run() {
    let said = refusal("minian", &Options::default());
    assert!(said.contains("xarray.open_zarr"), "{said}");
}

#[test]
fn nwb_of_version_1() {
    let recording = open("version1.nwb", &Options::default());
    assert_is_truth(&recording);
    assert_eq!(recording.units, Some(Units::DeltaFOverF));
    assert_eq!(recording.neuron_ids, ["517", "518", "521"]);
}

#[test]
fn nwb_series_anywhere_and_of_any_kind() {
    let recording = open("elsewhere.nwb", &Options::default());
    assert_is_truth(&recording);
    let photometry = open("elsewhere.nwb", &named("photometry"));
    assert_eq!(trace(&photometry), truth().slice(s![.., ..2]));
}

#[test]
fn nwb_trials_outside_the_imaging_are_left_out() {
    let recording = open("elsewhere.nwb", &Options::default());
    let cut = recording.cut_trials().unwrap();
    let lengths: Vec<usize> = cut
        .stretches()
        .iter()
        .map(ndarray::ArrayView2::nrows)
        .collect();
    // From 2 s on: half of the second trial, all of the third.
    assert_eq!(lengths, [4, 4]);
    assert_eq!(cut.trial_table.len(), 2);
    let notes = cut.notes.join("; ");
    assert!(
        notes.contains("2 of 4 trials are before or after the recording"),
        "{notes}"
    );
    assert!(notes.contains("1 trials are cut short"), "{notes}");
}

#[test]
fn tables_of_inscopix_keep_the_accepted_cells() {
    let recording = open("inscopix.csv", &Options::default());
    assert_eq!(trace(&recording), truth().select(Axis(1), &[0, 2]));
    assert!((recording.dt_s - 0.125).abs() < 1e-9);
    assert_eq!(recording.neuron_ids, ["C0", "C2"]);
    let all = Options {
        cells_only: false,
        ..Options::default()
    };
    assert_eq!(trace(&open("inscopix.csv", &all)), truth());
}

#[test]
fn tables_of_fiji_and_r() {
    let recording = open("fiji.csv", &at_8_hz());
    assert_is_truth(&recording);
    assert_eq!(recording.neuron_ids, ["Mean1", "Mean2", "Mean3"]);
    let recording = open("r.csv", &at_8_hz());
    assert_is_truth(&recording);
    assert_eq!(recording.neuron_ids, ["a", "b", "c"]);
}

#[test]
fn lists_become_tables() {
    for (name, options) in [
        ("long.csv", at_8_hz()),
        ("long_times.csv", Options::default()),
    ] {
        let recording = open(name, &options);
        assert_eq!(trace(&recording), truth(), "{name}");
        assert!((recording.dt_s - 0.125).abs() < 1e-9, "{name}");
        assert_eq!(recording.neuron_ids, ["C0", "C1", "C2"], "{name}");
    }
}

#[test]
fn lists_of_spikes_ask_for_the_width_of_a_bin() {
    let said = refusal("spikes.csv", &Options::default());
    assert!(
        said.contains("5 spikes of 2 neurons") && said.contains("give `rate`"),
        "{said}"
    );
    let recording = open(
        "spikes.csv",
        &Options {
            rate_hz: Some(10.0),
            ..Options::default()
        },
    );
    assert_eq!(recording.units, Some(Units::SpikeCounts));
    assert_eq!(
        trace(&recording).column(0).to_vec(),
        [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    );
    assert_eq!(
        trace(&recording).column(1).to_vec(),
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    );
}

#[test]
fn tables_in_every_country() {
    for name in [
        "decimal_comma.csv",
        "excel.csv",
        "utf16.txt",
        "latin1.csv",
        "bom.csv",
    ] {
        let recording = open(name, &Options::default());
        assert_eq!(trace(&recording), truth(), "{name}");
        assert!((recording.dt_s - 0.125).abs() < 1e-9, "{name}");
        assert_eq!(recording.n_neurons(), 3, "{name}");
    }
    let said = refusal("wrong_cell.csv", &at_8_hz());
    assert!(said.contains("line 3, column 2 holds `x`"), "{said}");
}

#[test]
fn behaviour_beside_cells_is_no_neuron() {
    let recording = open("behaviour.csv", &Options::default());
    assert_is_truth(&recording);
    assert_eq!(recording.neuron_ids, ["cell_0", "cell_1", "cell_2"]);
    let note = "`speed`, `licks`: called otherwise than the 3 columns `cell…`";
    assert!(says(&recording, note), "{:?}", recording.notes);
}

#[test]
fn dates_and_times_of_day_are_times() {
    for name in ["dates.csv", "times_of_day.csv"] {
        let recording = open(name, &Options::default());
        assert_is_truth(&recording);
        assert_eq!(recording.rate_from, RateFrom::Times, "{name}");
    }
}

#[test]
fn workbooks_and_json_are_named() {
    assert!(refusal("workbook.xlsx", &Options::default()).contains("an Excel workbook (.xlsx)"));
    assert!(refusal("cells.json", &Options::default()).contains("JSON"));
}

#[test]
fn tables_of_pandas_and_of_records() {
    for name in ["pandas_fixed.h5", "pandas_table.h5"] {
        let recording = open(name, &at_8_hz());
        assert_is_truth(&recording);
        assert_eq!(recording.rate_from, RateFrom::Stated);
    }
    let recording = open("records.h5", &Options::default());
    assert_is_truth(&recording);
    assert_eq!(recording.neuron_ids, ["cell_0", "cell_1", "cell_2"]);
    assert!(says(&recording, "column 0 (`time`) is the time"));
    assert!(says(&recording, "`speed`: called otherwise"));
    assert!(TraceBlocks::open(&layout("records.h5"), &at_8_hz(), 2).is_ok_and(|b| b.is_none()));
}

#[test]
fn matlab_cells_of_trials() {
    for name in ["cells.mat", "cells73.mat"] {
        let recording = open(name, &Options::default());
        let stretches = recording.stretches();
        let lengths: Vec<usize> = stretches.iter().map(ArrayView2::nrows).collect();
        assert_eq!(lengths, [4, 3, 5], "{name}");
        let views = recording.stretches();
        assert_eq!(concatenate(Axis(0), &views).unwrap(), truth(), "{name}");
        assert_eq!(recording.rate_from, RateFrom::File);
        assert!(says(&recording, "the 3 cells of `trials` are trials"));
        let against = Options {
            order: Some(AxisOrder::TimeNeuron),
            ..Options::default()
        };
        let said = refusal(name, &against);
        assert!(said.contains("`order` is time-neuron"), "{said}");
        let neuron_first = Options {
            order: Some(AxisOrder::NeuronTime),
            ..named("trials{2}")
        };
        let one = open(name, &neuron_first);
        assert_eq!(trace(&one), truth().slice(s![4..7, ..]));
        // Found by fuzzing: the trials are of different lengths, and these would be their neurons.
        let time_first = Options {
            order: Some(AxisOrder::TimeNeuron),
            ..Options::default()
        };
        let said = refusal(name, &time_first);
        assert!(said.contains("`order` is time-neuron"), "{said}");
    }
}

#[test]
fn nwb_planes_in_turn_are_one_recording() {
    let recording = open("planes.nwb", &Options::default());
    assert_is_truth(&recording);
    assert_eq!(recording.neuron_ids, ["plane0/0", "plane0/1", "plane1/0"]);
    assert!(says(&recording, "all 2 planes together"));
    let one = open("planes.nwb", &named("plane1"));
    assert_eq!(trace(&one), truth().slice(s![.., 2..]));
    let said = refusal("sessions.nwb", &Options::default());
    assert!(said.contains("more than one RoiResponseSeries"), "{said}");
}

#[test]
fn netcdf_numbers_are_unpacked() {
    let recording = open("packed.nc", &at_8_hz());
    let found = trace(&recording);
    assert!(found[[5, 1]].is_nan());
    let mut expected = truth();
    expected[[5, 1]] = 0.0;
    assert_eq!(found.mapv(|x| if x.is_nan() { 0.0 } else { x }), expected);
}
