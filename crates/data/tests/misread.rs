//! Files of which more or less was once read than they hold: no column but a neuron's is one, and what is not
//! read is named. `golden/make_misread.py` made those that are no text.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "matlab", feature = "zip"))]

use std::path::{Path, PathBuf};

use data::{AxisOrder, Options, Recording, TraceBlocks, Traces, Units, write_npy};
use ndarray::{Array2, Array3, ArrayD, Axis, s};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/misread");
    folder.join(name)
}

fn at_8_hz() -> Options {
    Options {
        rate_hz: Some(8.0),
        ..Options::default()
    }
}

fn in_order(order: AxisOrder) -> Options {
    Options {
        order: Some(order),
        ..at_8_hz()
    }
}

fn named(dataset: &str, options: Options) -> Options {
    Options {
        dataset: Some(dataset.to_owned()),
        ..options
    }
}

fn value(frame: usize, neuron: usize) -> f32 {
    (7 * frame * (neuron + 3) % 11) as f32 / 4.0 - neuron as f32
}

fn truth() -> Array2<f32> {
    Array2::from_shape_fn((40, 3), |(t, n)| value(t, n))
}

/// All stretches, one after another.
fn joined(recording: &Recording) -> Array2<f32> {
    ndarray::concatenate(Axis(0), &recording.stretches()).unwrap()
}

fn assert_same(recording: &Recording, wanted: &Array2<f32>) {
    let found = joined(recording);
    let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5 || (a.is_nan() && b.is_nan());
    assert!(
        found.shape() == wanted.shape() && found.iter().zip(wanted).all(same),
        "{}: {:?} {found}",
        recording.path.display(),
        recording.notes
    );
}

fn assert_says(recording: &Recording, words: &str) {
    let notes = recording.notes.join("\n");
    assert!(notes.contains(words), "no `{words}` in: {notes}");
}

fn open(name: &str, options: &Options) -> Recording {
    Recording::open(&golden(name), options).unwrap()
}

fn refusal(name: &str, options: &Options) -> String {
    Recording::open(&golden(name), options)
        .unwrap_err()
        .to_string()
}

/// What is made of a text.
fn read(text: &str, options: &Options) -> Result<Recording, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    std::fs::write(&path, text).unwrap();
    Recording::open(&path, options).map_err(|e| e.to_string())
}

/// Lines of a frame each, with something before and after.
fn table(line: impl Fn(usize) -> String) -> String {
    (0..40).map(|t| line(t) + "\n").collect()
}

/// Values of a frame between commas; a quarter more than the truth, so that none is whole.
fn row(t: usize) -> String {
    let values = (0..3).map(|n| format!("{}", value(t, n) + 0.1));
    values.collect::<Vec<_>>().join(",")
}

fn raised() -> Array2<f32> {
    truth() + 0.1
}

#[test]
fn numbers_of_regions_are_a_header() {
    for header in ["3,7,15", "12,7,8", "517400111,517400148,517400037"] {
        let text = format!("{header}\n{}", table(row));
        let recording = read(&text, &at_8_hz()).unwrap();
        assert_same(&recording, &raised());
        assert_eq!(recording.neuron_ids.join(","), header);
    }
    let text = format!(",12,7,8\n{}", table(|t| format!("{t},{}", row(t))));
    let recording = read(&text, &at_8_hz()).unwrap();
    assert_same(&recording, &raised());
    assert_eq!(recording.neuron_ids, ["12", "7", "8"]);
    // Counts are whole as well, and stay a row.
    let counts = table(|t| format!("{},{},{}", t % 3, t % 5, t % 2 + 1));
    let recording = read(&format!("3,7,15\n{counts}"), &at_8_hz()).unwrap();
    assert_eq!(joined(&recording).nrows(), 41);
}

#[test]
fn an_index_before_rows_of_neurons_is_none() {
    let line = |n: usize| {
        let values = (0..40).map(|t| format!("{}", value(t, n) + 0.1));
        format!("{n},{}\n", values.collect::<Vec<_>>().join(","))
    };
    let text: String = (0..3).map(line).collect();
    let recording = read(&text, &in_order(AxisOrder::NeuronTime)).unwrap();
    assert_same(&recording, &raised());
}

#[test]
fn headers_have_several_lines_and_columns_text() {
    let body = table(|t| format!("{t},{}", row(t)));
    for header in [
        ",m1,m1,m2\n,a,b,c",
        "mouse,m1,m1,m2\ncell,4,2,9",
        "frame,a,b,c\n,dF/F,dF/F,dF/F",
    ] {
        let recording = read(&format!("{header}\n{body}"), &at_8_hz()).unwrap();
        assert_same(&recording, &raised());
        assert_says(&recording, "the first 2 lines are the header");
    }
    let text = table(|t| format!("{},stack:{t},{},True", t + 1, row(t)));
    let text = format!(" ,Label,a,b,c,moving\n{text}");
    let recording = read(&text, &at_8_hz()).unwrap();
    assert_same(&recording, &raised());
    assert_says(&recording, "`Label`, `moving`: text, left out");
    let fiji = table(|t| format!("{},stack:{t},50,{},0,9", t + 1, value(t, 0)));
    let recording = read(&format!(" ,Label,Area,Mean,Min,Max\n{fiji}"), &at_8_hz()).unwrap();
    assert_same(&recording, &truth().slice(s![.., ..1]).to_owned());
}

#[test]
fn numbers_of_other_countries_are_no_names_of_rows() {
    let said = read("a,b\n\"1,100.5\",2\n\"1,200.5\",3\n", &at_8_hz()).unwrap_err();
    assert!(
        said.contains("line 2") && said.contains("1,100.5"),
        "{said}"
    );
    let one = table(|t| format!("{:.2}", value(t, 0) + 0.05).replace('.', ","));
    let recording = read(&format!("F\n{one}"), &at_8_hz()).unwrap();
    assert_same(&recording, &(truth().slice(s![.., ..1]).to_owned() + 0.05));
}

#[test]
fn lists_go_by_what_their_columns_are() {
    let line = |t: usize, n: usize| format!("{n},{t},{}\n", value(t, n));
    let all = || (0..3).flat_map(|n| (0..40).map(move |t| (t, n)));
    let list: String = all().map(|(t, n)| line(t, n)).collect();
    // The values may be called anything, cells parted by blanks, and regions recorded in turn.
    for text in [
        format!("neuron,frame,zscore\n{list}"),
        format!("neuron frame zscore\n{}", list.replace(',', " ")),
    ] {
        assert_same(&read(&text, &at_8_hz()).unwrap(), &truth());
    }
    let part = all()
        .filter(|(t, n)| (*t < 20) == (*n < 2))
        .map(|(t, n)| line(t, n))
        .collect::<Vec<_>>()
        .concat();
    let mut wanted = truth();
    wanted.slice_mut(s![20.., ..2]).fill(f32::NAN);
    wanted.slice_mut(s![..20, 2..]).fill(f32::NAN);
    let text = format!("neuron,frame,dff\n{part}");
    assert_same(&read(&text, &at_8_hz()).unwrap(), &wanted);
    // With frames and times, and with trials.
    let timed = all()
        .map(|(t, n)| format!("{n},{t},{},{}\n", t as f64 / 8.0, value(t, n)))
        .collect::<Vec<_>>()
        .concat();
    let recording = read(
        &format!("cell,frame,time,dff\n{timed}"),
        &Options::default(),
    )
    .unwrap();
    assert_same(&recording, &truth());
    let trials = all()
        .map(|(t, n)| format!("{},{},{n},{}\n", t / 10, t % 10, value(t, n)))
        .collect::<Vec<_>>()
        .concat();
    let recording = read(&format!("trial,frame,neuron,value\n{trials}"), &at_8_hz()).unwrap();
    assert_same(&recording, &truth());
    assert_eq!(recording.stretches().len(), 4);
    // What is not said is asked for.
    let two = all()
        .map(|(t, n)| format!("{t},{n},{},{}\n", value(t, n), value(t, n) * 100.0))
        .collect::<Vec<_>>()
        .concat();
    let text = format!("frame,neuron,F,dff\n{two}");
    let said = read(&text, &at_8_hz()).unwrap_err();
    assert!(said.contains("column of values: F, dff"), "{said}");
    assert_same(&read(&text, &named("F", at_8_hz())).unwrap(), &truth());
    let twice = all()
        .map(|(t, n)| format!("{n},{},{}\n", t % 20, value(t, n)))
        .collect::<Vec<_>>()
        .concat();
    let said = read(&format!("neuron,frame,dff\n{twice}"), &at_8_hz()).unwrap_err();
    assert!(said.contains("two values of neuron `0`"), "{said}");
}

/// Times by chance, as of spikes.
fn spikes() -> Vec<(usize, f64)> {
    let chance = |i: usize| ((i as f64 * 12.9898).sin() * 43_758.545).fract().abs();
    let mut time = 0.0;
    (0..200)
        .map(|i| {
            time -= 0.1 * chance(i).max(1e-9).ln();
            ((chance(i + 999) * 4.0) as usize, time)
        })
        .collect()
}

#[test]
fn spikes_are_no_frames() {
    let list = |line: &dyn Fn(usize, f64) -> String| -> String {
        spikes().into_iter().map(|(n, t)| line(n, t)).collect()
    };
    let bare = list(&|n, t| format!("{n} {t:.4}\n"));
    for options in [Options::default(), at_8_hz()] {
        let said = read(&bare, &options).unwrap_err();
        assert!(said.contains("too uneven"), "{said}");
    }
    let sorted = list(&|n, t| format!("{t:.4},{n}\n"));
    let text = format!("spike_times,spike_clusters\n{sorted}");
    let said = read(&text, &Options::default()).unwrap_err();
    assert!(said.contains("200 spikes of 4 neurons"), "{said}");
    assert_eq!(
        read(&text, &at_8_hz()).unwrap().units,
        Some(Units::SpikeCounts)
    );
    let trials = list(&|n, t| format!("{},{n},{:.4}\n", t as usize / 5, t % 5.0));
    let recording = read(&format!("trial,neuron,time\n{trials}"), &at_8_hz()).unwrap();
    let counts: f32 = joined(&recording).sum();
    assert!(recording.stretches().len() > 2 && (counts - 200.0).abs() < 1e-3);
}

#[test]
fn columns_of_pandas_go_by_their_names_whatever_their_types() {
    for name in ["pandas_fixed.h5", "pandas_table.h5"] {
        let recording = open(name, &Options::default());
        assert_same(&recording, &truth());
        assert_eq!(recording.neuron_ids, ["a", "b", "c"], "{name}");
        assert_eq!(recording.stretches().len(), 4, "{name}");
        assert!((recording.dt_s - 0.125).abs() < 1e-9, "{name}");
    }
    for name in ["pandas_dates.h5", "pandas_dates.csv"] {
        let recording = open(name, &Options::default());
        assert_same(&recording, &truth());
        assert!((recording.dt_s - 0.125).abs() < 1e-6, "{name}");
    }
}

#[test]
fn structured_arrays_are_tables_and_clocks_no_neurons() {
    let recording = open("records.npy", &Options::default());
    assert_same(&recording, &truth());
    assert_eq!(recording.neuron_ids, ["a", "b", "c"]);
    let recording = open("unix.npy", &at_8_hz());
    assert_same(&recording, &truth());
    assert_says(&recording, "never falls");
}

#[test]
fn elements_of_matlab_arrays_are_trials_or_traces() {
    let recording = open("struct_trials.mat", &Options::default());
    assert_same(&recording, &truth());
    assert_eq!(recording.stretches().len(), 4);
    assert_says(&recording, "the 4 structs of `trial.dff` are trials");
    let said = refusal("struct_rois.mat", &Options::default());
    assert!(
        said.contains("[3, 40]") && said.contains("`order`"),
        "{said}"
    );
    let stated = in_order(AxisOrder::NeuronTime);
    assert_same(&open("struct_rois.mat", &stated), &truth());
    // As many times as a trace is long say it.
    assert_same(&open("cell_rois.mat", &Options::default()), &truth());
}

#[test]
fn objects_of_matlab_are_named() {
    let recording = open("objects.mat", &Options::default());
    assert_same(&recording, &truth());
    assert_says(&recording, "`tab` (an object of MATLAB's, table");
    assert!(!recording.notes.join("").contains("note"));
    let said = refusal("only_table.mat", &at_8_hz());
    assert!(said.contains("x = tab{:,:}"), "{said}");
    let said = refusal("sparse.mat", &at_8_hz());
    assert!(said.contains("`S` (a sparse matrix"), "{said}");
}

#[test]
fn images_and_places_are_no_traces_and_links_no_second_ones() {
    assert_same(&open("links.h5", &Options::default()), &truth());
    let said = refusal("places.h5", &Options::default());
    assert!(
        said.contains("roi_centroids") && said.contains("`dataset`"),
        "{said}"
    );
    let stated = named("roi_centroids", Options::default());
    assert_eq!(open("places.h5", &stated).n_neurons(), 2);
}

#[test]
fn what_a_file_states_must_be_possible() {
    let said = refusal("period.h5", &Options::default());
    assert!(said.contains("0.125 frames per second"), "{said}");
    let period = golden("period.h5");
    let stated = TraceBlocks::open(&period, &Options::default(), 1);
    assert!(stated.is_err() || stated.is_ok_and(|blocks| blocks.is_none()));
    assert_same(&open("period.h5", &at_8_hz()), &truth());
    let said = refusal("none_accepted.hdf5", &Options::default());
    assert!(said.contains("accepts none of 3 regions"), "{said}");
}

#[test]
fn stores_and_pickles_are_named_wherever_they_are() {
    for name in ["minian2", "minian3", "minian2/YrA.zarr", "store.zip"] {
        let said = refusal(name, &at_8_hz());
        assert!(said.contains("Zarr") && said.contains("x['YrA']"), "{said}");
    }
    assert!(refusal("minian3", &at_8_hz()).contains("minian3/YrA.zarr'"));
    let said = refusal("old.pkl", &at_8_hz());
    assert!(said.contains("pickle"), "{said}");
}

#[test]
fn masks_may_be_of_single_neurons() {
    let folder = tempfile::tempdir().unwrap();
    let [path, mask] = ["x.npy", "mask.npy"].map(|name| folder.path().join(name));
    write_npy(&path, truth().view()).unwrap();
    let mut hidden = Array2::<f32>::zeros((40, 3));
    hidden.slice_mut(s![10..20, 1]).fill(1.0);
    let mut wanted = truth();
    wanted.slice_mut(s![10..20, 1]).fill(f32::NAN);
    let mut options = Options {
        mask: Some(mask.clone()),
        ..at_8_hz()
    };
    for view in [hidden.view(), hidden.t()] {
        write_npy(&mask, view).unwrap();
        assert_same(&Recording::open(&path, &options).unwrap(), &wanted);
        let blocks = TraceBlocks::open(&path, &options, 1).unwrap().unwrap();
        for block in blocks {
            let block = block.unwrap();
            let missing = block.traces.iter().filter(|v| v.is_nan()).count();
            assert_eq!(missing, if block.first_neuron == 1 { 10 } else { 0 });
        }
    }
    // Of trials: frames of single ones.
    write_npy(
        &path,
        Array3::from_shape_fn((4, 10, 3), |(k, t, n)| value(10 * k + t, n)).view(),
    )
    .unwrap();
    options.order = Some(AxisOrder::TrialTimeNeuron);
    let mut hidden = Array2::<f32>::zeros((4, 10));
    hidden[[2, 5]] = 1.0;
    write_npy(&mask, hidden.view()).unwrap();
    let mut wanted = truth();
    wanted.row_mut(25).fill(f32::NAN);
    assert_same(&Recording::open(&path, &options).unwrap(), &wanted);
    write_npy(&mask, Array2::<f32>::zeros((5, 5)).view()).unwrap();
    let said = Recording::open(&path, &options).unwrap_err().to_string();
    assert!(
        said.contains("[5, 5]") && said.contains("[trial, time]"),
        "{said}"
    );
}

#[test]
fn axes_of_neurons_and_trials_are_not_exchanged() {
    // [neuron, time, trial]: what differs are the neurons.
    let wave = |t: usize, k: usize| ((t as f32) * 0.3 + 7.0 * (k * k) as f32).sin();
    let values = Array3::from_shape_fn((8, 30, 20), |(n, t, k)| wave(t, k) + 3.0 * n as f32);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    write_npy(&path, values.view()).unwrap();
    let said = Recording::open(&path, &at_8_hz()).unwrap_err().to_string();
    assert!(said.contains("do not tell trials from neurons"), "{said}");
    let recording = Recording::open(&path, &in_order(AxisOrder::NeuronTimeTrial)).unwrap();
    assert!(matches!(&recording.traces, Traces::Trials(trials) if trials.len() == 20));
    // Dim light of 8 bits.
    let light = ArrayD::from_shape_fn(vec![40, 20, 20], |i| {
        ((i[0] + 7 * i[1] + 3 * i[2]) % 60) as f32
    });
    write_npy(&path, light.view()).unwrap();
    let said = Recording::open(&path, &at_8_hz()).unwrap_err().to_string();
    assert!(said.contains("movie"), "{said}");
}

#[test]
fn times_that_are_no_seconds_or_rounded_are_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let open = |first: f64, unit_s: f64| {
        let lines = (0..600).map(|t| {
            let time = first + f64::from(t) / 30.0 / unit_s;
            format!(
                "{time:.9},{},{}\n",
                value(t as usize, 0),
                value(t as usize, 1)
            )
        });
        let text = format!("t,a,b\n{}", lines.collect::<String>());
        std::fs::write(&path, text).unwrap();
        Recording::open(&path, &Options::default())
    };
    let said = open(739_000.5, 86_400.0).unwrap_err().to_string();
    assert!(
        said.contains("3.86e-7 s: days?") || said.contains("0.000000386 s: days?"),
        "{said}"
    );
    let minutes = open(0.0, 60.0).unwrap();
    assert!(
        minutes
            .notes
            .iter()
            .any(|note| note.contains("1800 frames a second")),
        "{:?}",
        minutes.notes
    );
    let lines = (0..600).map(|t| format!("{},{}\n", t / 30, value(t, 0)));
    std::fs::write(&path, format!("t,a\n{}", lines.collect::<String>())).unwrap();
    let said = Recording::open(&path, &Options::default())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("0 s at frame 1: the times were rounded"),
        "{said}"
    );
    let seconds = open(0.0, 1.0).unwrap();
    assert!((seconds.dt_s.recip() - 30.0).abs() < 1e-3);
}
