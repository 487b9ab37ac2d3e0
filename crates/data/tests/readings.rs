//! What is easily taken for something else, one test per row of the README's table; `golden/make_readings.py`
//! made the files.
#![cfg(all(feature = "csv", feature = "hdf5", feature = "zip"))]

use std::path::{Path, PathBuf};

use data::{AxisOrder, Options, Part, Recording, TraceBlocks, Traces, Units, write_npy, write_npz};
use ndarray::{Array1, Array2, Array3, ArrayD, array, s};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/readings");
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

fn open(name: &str, options: &Options) -> Recording {
    Recording::open(&golden(name), options).unwrap()
}

fn value(frame: usize, neuron: usize) -> f32 {
    (7 * frame * (neuron + 3) % 11) as f32 / 4.0 - neuron as f32
}

/// What every file holds.
fn truth() -> Array2<f32> {
    Array2::from_shape_fn((40, 3), |(t, n)| value(t, n))
}

fn trace(recording: &Recording) -> &Array2<f32> {
    match &recording.traces {
        Traces::Continuous(trace) => trace,
        Traces::Trials(_) => panic!("{} holds trials", recording.path.display()),
    }
}

/// Equal, where NaN equals NaN.
fn assert_same(found: &Array2<f32>, wanted: &Array2<f32>) {
    let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6 || (a.is_nan() && b.is_nan());
    assert!(
        found.shape() == wanted.shape() && found.iter().zip(wanted).all(same),
        "{found}"
    );
}

fn says(recording: &Recording, words: &str) {
    let notes = recording.notes.join("\n");
    assert!(notes.contains(words), "no `{words}` in: {notes}");
}

#[test]
fn a_first_row_or_column_that_counts_is_no_data() {
    for (name, words) in [
        ("pandas.csv", "the first line counts from 0 to 2"),
        ("pandas_no_index.csv", "the first line counts from 0 to 2"),
    ] {
        let recording = open(name, &at_8_hz());
        assert_same(trace(&recording), &truth());
        assert_eq!(recording.neuron_ids, ["0", "1", "2"]);
        says(&recording, words);
    }
    says(&open("pandas.csv", &at_8_hz()), "column 0 rises by 1");
    let spikefinder = open("spikefinder.csv", &at_8_hz());
    let mut wanted = truth();
    wanted.slice_mut(s![35.., 2]).fill(f32::NAN);
    assert_same(trace(&spikefinder), &wanted);
}

#[test]
fn a_table_the_other_way_round_is_asked_for_or_told_by_its_header() {
    let path = golden("pandas_transposed.csv");
    let said = Recording::open(&path, &at_8_hz()).unwrap_err().to_string();
    assert!(
        said.contains("[3, 40]") && said.contains("`order`"),
        "{said}"
    );
    let recording = open("pandas_transposed.csv", &in_order(AxisOrder::NeuronTime));
    assert_same(trace(&recording), &truth());
    assert_eq!(recording.neuron_ids, ["0", "1", "2"]);
    let recording = open("pandas_named_rows.csv", &at_8_hz());
    assert_same(trace(&recording), &truth());
    assert_eq!(recording.neuron_ids, ["C0", "C1", "C2"]);
    let recording = open("pandas_times_across.csv", &Options::default());
    assert_same(trace(&recording), &truth());
    assert!((recording.dt_s - 0.125).abs() < 1e-9);
}

#[test]
fn times_frames_and_trials_are_told_by_name_and_unit() {
    for (name, words, start_s) in [
        ("pandas_time_index.csv", "taken for the time", 0.0),
        ("time_ms.csv", "in milliseconds", 0.0),
        ("time_last.csv", "(`Time [s]`) is the time", 2.0),
    ] {
        let recording = open(name, &Options::default());
        assert_same(trace(&recording), &truth());
        assert_eq!(recording.neuron_ids, ["a", "b", "c"], "{name}");
        assert!((recording.dt_s - 0.125).abs() < 1e-9, "{name}");
        assert!((recording.start_s - start_s).abs() < 1e-9, "{name}");
        says(&recording, words);
    }
    let recording = open("trials.csv", &Options::default());
    let Traces::Trials(trials) = &recording.traces else {
        panic!("no trials")
    };
    assert_eq!(trials.len(), 4);
    assert_same(&trials[2], &truth().slice(s![20..30, ..]).to_owned());
    says(&recording, "numbers 4 trials");
    // Numbers of frames tell the dropped ones once the rate is given.
    let recording = open("dropped_frames.csv", &at_8_hz());
    let mut wanted = truth();
    wanted.slice_mut(s![20..22, ..]).fill(f32::NAN);
    assert_same(trace(&recording), &wanted);
}

#[test]
fn text_without_commas() {
    for name in ["ascii.txt", "pipes.txt", "semicolon.csv"] {
        assert_same(trace(&open(name, &at_8_hz())), &truth());
    }
    assert_eq!(open("semicolon.csv", &at_8_hz()).neuron_ids[0], "a; left");
}

#[test]
fn a_column_that_rises_by_itself_is_no_neuron_in_any_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let with_column = |step: f32| {
        Array2::from_shape_fn((40, 4), |(t, n)| match n {
            0 => t as f32 * step + 3.0,
            n => value(t, n - 1),
        })
    };
    write_npy(&path, with_column(1.0).view()).unwrap();
    let recording = Recording::open(&path, &at_8_hz()).unwrap();
    assert_same(trace(&recording), &truth());
    says(&recording, "column 0 rises by 1");
    let blocks = TraceBlocks::open(&path, &at_8_hz(), 2).unwrap().unwrap();
    let mut check = blocks.check().unwrap();
    let block = blocks.into_iter().next().unwrap().unwrap();
    let said = check.see(0, block.traces.row(0)).unwrap_err().to_string();
    assert!(said.contains("rises all the way"), "{said}");
    write_npy(&path, with_column(0.125).view()).unwrap();
    let recording = Recording::open(&path, &Options::default()).unwrap();
    assert_same(trace(&recording), &truth());
    assert!((recording.dt_s - 0.125).abs() < 1e-6 && (recording.start_s - 3.0).abs() < 1e-6);
    let only: Array2<f32> = with_column(1.0).slice(s![.., ..1]).to_owned();
    write_npy(&path, only.view()).unwrap();
    let said = Recording::open(&path, &at_8_hz()).unwrap_err().to_string();
    assert!(said.contains("nothing but counters"), "{said}");
    let rows: Vec<String> = (0..40).map(|t| format!("{t},{}\n", 33 * t)).collect();
    std::fs::write(&path, format!("Frame,time_ms\n{}", rows.concat())).unwrap();
    let said = Recording::open(&path, &at_8_hz()).unwrap_err().to_string();
    assert!(said.contains("nothing but counters"), "{said}");
    // Beside the traces in an archive, in units of its own name.
    let times = Array1::from_shape_fn(41, |t| 125.0 * t as f32);
    write_npz(
        &path,
        &[
            ("dff", truth().view().into_dyn()),
            ("timestamps_ms", times.view().into_dyn()),
        ],
    )
    .unwrap();
    let recording = Recording::open(&path, &Options::default()).unwrap();
    assert!((recording.dt_s - 0.125).abs() < 1e-9);
    says(&recording, "41 frame times for 40 frames");
}

#[test]
fn a_vector_is_one_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let vector = truth().column(1).to_owned();
    write_npy(&path, vector.view()).unwrap();
    let recording = Recording::open(&path, &at_8_hz()).unwrap();
    assert_same(trace(&recording), &truth().slice(s![.., 1..2]).to_owned());
    write_npz(
        &path,
        &[
            ("f", vector.view().into_dyn()),
            ("fs", ArrayD::from_elem(vec![], 8.0).view()),
        ],
    )
    .unwrap();
    assert_eq!(
        Recording::open(&path, &Options::default())
            .unwrap()
            .n_neurons(),
        1
    );
}

#[test]
fn three_axes_in_every_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let wave = |trial: usize, t: usize, n: usize| {
        (t as f32 * 0.3 + (trial * 7 + n * 3) as f32).sin() + n as f32
    };
    let stored = Array3::from_shape_fn((5, 6, 40), |(n, trial, t)| wave(trial, t, n));
    write_npy(&path, stored.view()).unwrap();
    let said = Recording::open(&path, &at_8_hz()).unwrap_err().to_string();
    assert!(said.contains("`order`"), "{said}");
    let recording = Recording::open(&path, &in_order(AxisOrder::NeuronTrialTime)).unwrap();
    let wanted = Array2::from_shape_fn((40, 5), |(t, n)| wave(3, t, n));
    assert_same(&recording.stretches()[3].to_owned(), &wanted);
    says(&recording, "[neuron, trial, time]");
}

#[test]
fn frames_that_suite2p_flagged_are_no_data_and_its_coefficient_counts() {
    for name in ["flagged", "version1"] {
        let recording = open(name, &Options::default());
        // F is the truth plus 1, which is half of the neuropil.
        let mut wanted = truth();
        wanted.slice_mut(s![10..14, ..]).fill(f32::NAN);
        assert_same(trace(&recording), &wanted);
        says(&recording, "0.5 Fneu (the recording's own coefficient)");
        says(&recording, "flags 4 of 40 frames");
        let kept = Options {
            flagged_frames: true,
            neuropil: Some(0.0),
            ..Options::default()
        };
        assert_same(trace(&open(name, &kept)), &(truth() + 1.0));
        let blocks = TraceBlocks::open(&golden(name), &Options::default(), 3);
        let block = blocks.unwrap().unwrap().next().unwrap().unwrap();
        assert_same(&block.traces.reversed_axes(), &wanted);
    }
}

#[test]
fn nwb_keeps_accepted_regions_and_takes_off_the_neuropil() {
    let recording = open("ophys.nwb", &Options::default());
    // F is the truth plus 1; of a neuropil of 2, 0.7 is taken off.
    let wanted = (truth() + 1.0 - 1.4).select(ndarray::Axis(1), &[0, 2]);
    assert_same(trace(&recording), &wanted);
    assert_eq!(recording.neuron_ids, ["0", "2"]);
    assert_eq!(recording.units, Some(Units::Fluorescence));
    says(&recording, "iscell` accepts 2 of 3 regions");
    says(&recording, "less 0.7 of");
    let every = Options {
        cells_only: false,
        neuropil: Some(0.5),
        ..Options::default()
    };
    assert_same(trace(&open("ophys.nwb", &every)), &truth());
}

#[test]
fn masked_frames_are_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let mask = folder.path().join("mask");
    let masked = Options {
        mask: Some(mask.clone()),
        ..at_8_hz()
    };
    let mut wanted = truth();
    wanted.slice_mut(s![5..7, ..]).fill(f32::NAN);
    let flags = Array1::from_shape_fn(40, |t| f32::from(t == 5 || t == 6));
    write_npy(&mask, flags.view()).unwrap();
    assert_same(trace(&open("ascii.txt", &masked)), &wanted);
    write_npy(&mask, array![5.0_f32, 6.0].view()).unwrap();
    assert_same(trace(&open("ascii.txt", &masked)), &wanted);
    std::fs::write(&mask, "5\n6\n").unwrap();
    let recording = open("ascii.txt", &masked);
    assert_same(trace(&recording), &wanted);
    says(&recording, "takes 2 of 40 frames out");
    // As images have it, and as tables are written: with a header, an index, words.
    write_npy(&mask, flags.mapv(|flag| 255.0 * flag).view()).unwrap();
    assert_same(trace(&open("ascii.txt", &masked)), &wanted);
    let lines = |line: fn(usize, bool) -> String| -> String {
        let marked = |t: usize| t == 5 || t == 6;
        (0..40).map(|t| line(t, marked(t))).collect()
    };
    let plain = lines(|_, is_marked| format!("{}\n", u8::from(is_marked)));
    let indexed = lines(|t, is_marked| format!("{t},{is_marked}\n"));
    for text in [format!("0\n{plain}"), format!(",bad\n{indexed}")] {
        std::fs::write(&mask, text).unwrap();
        assert_same(trace(&open("ascii.txt", &masked)), &wanted);
    }
    // In Latin-1.
    let foreign = [&b"f\xfcr Bewegung\n"[..], plain.as_bytes()].concat();
    std::fs::write(&mask, foreign).unwrap();
    assert_same(trace(&open("ascii.txt", &masked)), &wanted);
    // Marks of another number of frames are no list of the frames 0 and 1.
    let longer = format!("{plain}0\n1\n");
    for (text, words) in [
        ("5\n40\n", ["40 among them", "40 frames"]),
        (longer.as_str(), ["42 marks for 40 frames", "40 frames"]),
        ("5\n7\n5\n", ["5 more than once", "40 frames"]),
    ] {
        std::fs::write(&mask, text).unwrap();
        let said = Recording::open(&golden("ascii.txt"), &masked);
        let said = said.unwrap_err().to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn a_part_of_the_time() {
    let part = |part: Part| Options { part, ..at_8_hz() };
    let seconds = part(Part {
        from_s: Some(1.0),
        to_s: Some(2.5),
        ..Part::default()
    });
    let recording = open("ascii.txt", &seconds);
    assert_same(trace(&recording), &truth().slice(s![8..20, ..]).to_owned());
    assert!((recording.start_s - 1.0).abs() < 1e-9);
    let frames = part(Part {
        first_frame: Some(30),
        ..Part::default()
    });
    assert_eq!(trace(&open("ascii.txt", &frames)).nrows(), 10);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    write_npy(&path, truth().view()).unwrap();
    let mut blocks = TraceBlocks::open(&path, &seconds, 2).unwrap().unwrap();
    let wanted = truth().slice(s![8..20, 1..2]).to_owned();
    assert_same(&blocks.read(1..2).unwrap().reversed_axes(), &wanted);
    let beyond = part(Part {
        from_s: Some(9.0),
        ..Part::default()
    });
    let said = Recording::open(&path, &beyond).unwrap_err().to_string();
    assert!(
        said.contains("9 s") && said.contains("40 frames, from 0 s to 5 s"),
        "{said}"
    );
}

#[test]
fn trials_that_are_not_wholly_in_a_part_are_left_out() {
    let nwb = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recordings/rate.nwb");
    let options = Options {
        part: Part {
            from_s: Some(2.5),
            ..Part::default()
        },
        ..Options::default()
    };
    let recording = Recording::open(&nwb, &options).unwrap();
    assert_eq!(recording.trial_table.len(), 1);
    says(&recording, "1 of 2 trials are not wholly in that part");
    assert_eq!(recording.cut_trials().unwrap().stretches()[0].nrows(), 5);
}

#[test]
fn what_is_silent_constant_or_padded_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let mut values = truth();
    values.column_mut(0).fill(0.0);
    values.slice_mut(s![10..20, 2]).fill(1.0);
    write_npy(&path, values.view()).unwrap();
    let recording = Recording::open(&path, &at_8_hz())
        .unwrap()
        .keep(&[2, 0])
        .unwrap();
    let silent = recording.silent();
    assert_eq!((silent.len(), silent[0].number), (1, 0));
    assert_eq!(recording.constant_stretches(0.2), [(0, 10), (1, 40)]);
    let mut trials = Array3::from_shape_fn((4, 10, 3), |(i, t, n)| value(10 * i + t, n) + 9.0);
    trials.slice_mut(s![2, 7.., ..]).fill(0.0);
    write_npy(&path, trials.view()).unwrap();
    let recording = Recording::open(&path, &in_order(AxisOrder::TrialTimeNeuron)).unwrap();
    assert_eq!(recording.zeros_at_ends(), (1, 3));
}

/// Frames without a spike end trials of counts by chance; many of them do not.
#[test]
fn counts_are_padded_where_chance_brings_no_such_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counts.npy");
    // A frame in three has no spike, and so do the last ones of some trials.
    let mut counts = Array3::from_shape_fn((20, 60, 4), |(trial, t, n)| {
        let draw = (trial * 7919 + t * 104_729) % 1009 % 3;
        if draw == 0 {
            0.0
        } else {
            ((draw + n) % 3) as f32
        }
    });
    let open = |counts: &Array3<f32>| {
        write_npy(&path, counts.view()).unwrap();
        Recording::open(&path, &in_order(AxisOrder::TrialTimeNeuron)).unwrap()
    };
    assert_eq!(open(&counts).zeros_at_ends().0, 0);
    for (trial, n) in [(3, 20), (11, 30)] {
        counts.slice_mut(s![trial, 60 - n.., ..]).fill(0.0);
    }
    let (n_padded, most) = open(&counts).zeros_at_ends();
    assert_eq!((n_padded, most / 10), (2, 3));
}
