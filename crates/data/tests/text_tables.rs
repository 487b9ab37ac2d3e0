//! Text tables as other programs leave them: read as they are meant, or refused in a line that says what to do.
#![cfg(feature = "csv")]

use data::{AxisOrder, Options, Recording};
use ndarray::Array2;

fn at_8_hz() -> Options {
    Options {
        rate_hz: Some(8.0),
        ..Options::default()
    }
}

/// What is made of a text.
fn read(text: &str, options: &Options) -> Result<Recording, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    std::fs::write(&path, text).unwrap();
    Recording::open(&path, options).map_err(|e| e.to_string())
}

fn value(frame: usize, neuron: usize) -> f32 {
    (7 * frame * (neuron + 3) % 11) as f32 / 4.0 - neuron as f32 + 0.1
}

fn truth() -> Array2<f32> {
    Array2::from_shape_fn((40, 3), |(t, n)| value(t, n))
}

/// Lines of a frame each.
fn table(line: impl Fn(usize) -> String) -> String {
    (0..40).map(|t| line(t) + "\n").collect()
}

/// Values of a frame between commas.
fn row(t: usize) -> String {
    let values = (0..3).map(|n| value(t, n).to_string());
    values.collect::<Vec<_>>().join(",")
}

/// That a text is read as the truth, at 8 Hz; the notes.
fn is_truth(text: &str, options: &Options) -> String {
    let recording = read(text, options).unwrap_or_else(|e| panic!("{e}: {text:.90}"));
    let found = ndarray::concatenate(ndarray::Axis(0), &recording.stretches()).unwrap();
    let wanted = truth();
    let same = found.shape() == wanted.shape()
        && found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(same, "{text:.90}: {:?} {found}", recording.notes);
    assert!((recording.dt_s - 0.125).abs() < 1e-3, "{text:.90}");
    recording.notes.join("\n")
}

fn refusal(text: &str) -> String {
    match read(text, &at_8_hz()) {
        Ok(recording) => panic!("{text:.90}: {:?}", recording.notes),
        Err(said) => said,
    }
}

/// Rows of neurons whose values run on, frames across.
fn neuron_rows(n_neurons: usize, n_frames: usize) -> String {
    let value = |n: usize, t: usize| ((t as f64) * 0.2 + (n * n * 37 % 101) as f64).sin();
    let line = |n: usize| {
        let values = (0..n_frames).map(|t| format!("{:.3}", value(n, t)));
        values.collect::<Vec<_>>().join(",") + "\n"
    };
    (0..n_neurons).map(line).collect()
}

#[test]
fn tables_the_other_way_round_are_asked_for_as_arrays_are() {
    let header = |stem: &str, n: usize| {
        let names = (0..n).map(|i| format!("{stem}{i}"));
        names.collect::<Vec<_>>().join(",")
    };
    let long = neuron_rows(60, 50);
    let wide = neuron_rows(20, 50);
    for text in [
        long.clone(),
        format!("{}\n{long}", header("Var", 50)),
        format!("{}\n{wide}", header("V", 50)),
    ] {
        let said = refusal(&text);
        assert!(said.contains("`order`"), "{said}");
        let stated = Options {
            order: Some(AxisOrder::NeuronTime),
            ..at_8_hz()
        };
        let recording = read(&text, &stated).unwrap();
        assert_eq!(recording.stretches()[0].nrows(), 50);
    }
    // Names of cells above the columns, or a time, say which they are.
    let said = format!("{}\n{wide}", header("cell_", 50));
    assert_eq!(read(&said, &at_8_hz()).unwrap().n_neurons(), 50);
}

#[test]
fn names_of_frames_and_cells_tell_rows_of_neurons() {
    let frames: Vec<String> = (0..40).map(|t| format!("frame_{t}")).collect();
    let rows = |name: &dyn Fn(usize) -> String| -> String {
        let line = |n: usize| {
            let values = (0..40).map(|t| value(t, n).to_string());
            format!("{},{}\n", name(n), values.collect::<Vec<_>>().join(","))
        };
        (0..3).map(line).collect()
    };
    let header = frames.join(",");
    for names in [
        &(|n| format!("cell_{n}")) as &dyn Fn(usize) -> String,
        &|n| n.to_string(),
    ] {
        let text = format!("cell,{header}\n{}", rows(names));
        let notes = is_truth(&text, &at_8_hz());
        assert!(notes.contains("rows are neurons"), "{notes}");
    }
    let plain = header.replace("frame_", "Var");
    is_truth(
        &format!("x,{plain}\n{}", rows(&|n| format!("roi {n}"))),
        &at_8_hz(),
    );
}

#[test]
fn commas_of_thousands_are_asked_about() {
    let text = table(|t| format!("{t}\t1,0{:02}\t{}", t + 10, 900 + t));
    let said = refusal(&format!("Frame\ta\tb\n{text}"));
    assert!(
        said.contains("line 2 holds `1,010`") && said.contains("thousands"),
        "{said}"
    );
}

/// A line for each neuron and frame, frame by frame or neuron by neuron.
fn list(by_frame: bool, line: impl Fn(usize, usize) -> String) -> String {
    let place = |i: usize| {
        if by_frame {
            (i / 3, i % 3)
        } else {
            (i % 40, i / 40)
        }
    };
    let lines = (0..120).map(|i| {
        let (t, n) = place(i);
        line(t, n) + "\n"
    });
    lines.collect()
}

#[test]
fn lists_of_other_programs_become_tables() {
    for by_frame in [true, false] {
        for (header, line) in [
            (
                "frame,variable,value",
                &(|t, n| format!("{t},cell_{n},{}", value(t, n)))
                    as &dyn Fn(usize, usize) -> String,
            ),
            ("\"\",\"frame\",\"name\",\"value\"", &|t, n| {
                format!("\"1\",{t},\"cell_{n}\",{}", value(t, n))
            }),
            ("ImageNumber,ObjectNumber,Intensity_Mean", &|t, n| {
                format!("{},{},{}", t + 1, n + 1, value(t, n))
            }),
            ("TRACK_ID,FRAME,MEAN_INTENSITY", &|t, n| {
                format!("{n},{t},{}", value(t, n))
            }),
            ("mouse,date,session,roi,frame,x,y,area,dff", &|t, n| {
                format!("m1,20200101,2,{n},{t},{n}.5,1.5,40,{}", value(t, n))
            }),
            ("unit_id,timestamp_ms,dff", &|t, n| {
                format!("{n},{},{}", 125 * t, value(t, n))
            }),
            ("timeMs,label,intensity", &|t, n| {
                format!("{},{n},{}", 125 * t, value(t, n))
            }),
        ] {
            let text = format!("{header}\n{}", list(by_frame, line));
            let has_time = header.to_lowercase().contains("time");
            let options = if has_time {
                Options::default()
            } else {
                at_8_hz()
            };
            is_truth(&text, &options);
        }
    }
}

#[test]
fn lists_that_are_none_of_the_known_are_refused() {
    let text = list(true, |t, n| format!("{t},c{n},{}", value(t, n)));
    let said = refusal(&format!("frame,which,value\n{text}"));
    assert!(
        said.contains("`frame` starts again") && said.contains("`neuron`"),
        "{said}"
    );
    // Times of trials without numbers.
    let text = table(|t| format!("trial_{},{},{}", t / 10, (t % 10) as f64 / 8.0, row(t)));
    let said = refusal(&format!("trial,time,a,b,c\n{text}"));
    assert!(said.contains("whole numbers"), "{said}");
    // Neurons recorded in turn, each at times of its own.
    let text = list(true, |t, n| {
        format!(
            "{n},{:.4},{}",
            t as f64 / 8.0 + 0.005 * n as f64,
            value(t, n)
        )
    });
    let said = refusal(&format!("roi,time,dff\n{text}"));
    assert!(
        said.contains("`time` of its own") && said.contains("`frame`"),
        "{said}"
    );
}

#[test]
fn times_of_spikes_have_the_unit_of_their_name() {
    for (name, unit) in [("t_ms", 1e3), ("time_us", 1e6), ("spike_times", 1.0)] {
        let line = |i: u8| format!("{},{}\n", i % 2, f64::from(i).powi(2) * 0.01 * unit);
        let text: Vec<String> = (0..20).map(line).collect();
        let text = text.concat();
        let recording = read(&format!("neuron,{name}\n{text}"), &at_8_hz()).unwrap();
        assert_eq!(recording.stretches()[0].nrows(), 29, "{name}");
    }
}

#[test]
fn delimiters_at_the_end_of_rows_shift_no_names() {
    let timed = |t: usize| format!("{},{}", t as f64 / 8.0, row(t));
    let text = format!("a,b,c\n{}", table(|t| row(t) + ","));
    is_truth(&text, &at_8_hz());
    assert_eq!(read(&text, &at_8_hz()).unwrap().neuron_ids, ["a", "b", "c"]);
    let text = format!("time,a,b,c\n{}", table(|t| timed(t) + ","));
    is_truth(&text, &Options::default());
    is_truth(&text.replace(',', "\t"), &Options::default());
}

#[test]
fn of_fijis_measurements_the_means_are_kept_whatever_else_there_is() {
    for others in [
        ["Area", "Perim."],
        ["Circ.", "AR"],
        ["XM", "YM"],
        ["Area", "Custom"],
    ] {
        let names: Vec<String> = (1..4)
            .map(|n| format!("{}{n},Mean{n},Min{n},{}{n}", others[0], others[1]))
            .collect();
        let text = table(|t| {
            let cells = (0..3).map(|n| format!("20.5,{},3.5,7.25", value(t, n)));
            format!("{},{}", t + 1, cells.collect::<Vec<_>>().join(","))
        });
        let notes = is_truth(&format!(" ,{}\n{text}", names.join(",")), &at_8_hz());
        assert!(notes.contains("the 3 means; 9 columns"), "{notes}");
    }
}

#[test]
fn a_first_row_of_0_and_1_is_a_row_where_times_go_on() {
    let text = table(|t| {
        format!(
            "{},{}",
            t as f64 / 8.0,
            if t == 0 { 1.0 } else { value(t, 0) }
        )
    });
    let recording = read(&text, &Options::default()).unwrap();
    assert_eq!(recording.stretches()[0].nrows(), 40);
    let text = table(|t| format!("{},{}", value(t, 0), value(t, 1)));
    let recording = read(&format!("0,1\n{text}"), &at_8_hz()).unwrap();
    assert_eq!(recording.stretches()[0].dim(), (40, 2));
}

#[test]
fn names_parted_by_capitals_have_their_units() {
    for name in ["TimeMs", "timestampMs"] {
        let text = table(|t| format!("{},{}", 125 * t, row(t)));
        is_truth(&format!("{name},a,b,c\n{text}"), &Options::default());
    }
}

#[test]
fn words_for_nothing_are_missing_frames() {
    for word in ["n/a", "-", "#DIV/0!", "-nan(ind)", "<NA>", "Missing"] {
        let text = table(|t| match t < 15 {
            true => format!("{word},{}", value(t, 1)),
            false => format!("{},{}", value(t, 0), value(t, 1)),
        });
        let recording = read(&format!("a,b\n{text}"), &at_8_hz()).unwrap();
        let trace = recording.stretches()[0];
        let missing = trace.column(0).iter().filter(|v| v.is_nan()).count();
        assert_eq!((trace.dim(), missing), ((40, 2), 15), "{word}");
    }
    // Other words above numbers are slips.
    let text = table(|t| match t < 15 {
        true => format!("{},bad", value(t, 1)),
        false => format!("{},{}", value(t, 1), value(t, 0)),
    });
    let said = refusal(&format!("a,b\n{text}"));
    assert!(said.contains("line 2, column 2 holds `bad`"), "{said}");
    let said = refusal(&format!("a,b\n{}", table(|t| format!("{t}.5%,1.5%"))));
    assert!(said.contains("`0.5%`"), "{said}");
}

#[test]
fn text_here_and_there_is_left_out() {
    let text = table(|t| format!("{},{}", row(t), if t == 30 { "stim on" } else { "" }));
    let notes = is_truth(&format!("a,b,c,event\n{text}"), &at_8_hz());
    assert!(notes.contains("`event`: text, left out"), "{notes}");
    let text = table(|t| match t {
        0..20 => format!("{},", row(t)),
        30 => format!("{},x", row(t)),
        _ => format!("{},{t}.5", row(t)),
    });
    let said = refusal(&format!("a,b,c,d\n{text}"));
    assert!(said.contains("column 4 holds `x`"), "{said}");
}

#[test]
fn blank_rows_and_lines_before_the_header_are_left_out() {
    let timed = table(|t| format!("{},{}", t as f64 / 8.0, row(t)));
    for (before, after, words) in [
        ("", ",,,\n,,,\n", "2 lines at the end"),
        (
            "Experiment: mouse 1\nDate: 2020-01-02\n\ntime,a,b,c\n",
            "",
            "2 lines before the header",
        ),
        (
            "Mouse,m1,,\nRate,30,,\ntime,a,b,c\n",
            "",
            "2 lines before the header",
        ),
    ] {
        let header = if before.contains("time") {
            before.to_owned()
        } else {
            format!("{before}time,a,b,c\n")
        };
        let notes = is_truth(&format!("{header}{timed}{after}"), &Options::default());
        assert!(notes.contains(words), "{notes}");
    }
}

#[test]
fn quotes_and_foreign_letters_do_not_hide_the_delimiter() {
    let quoted = |sign: &str| {
        let quote = |line: String| format!("\"{}\"", line.replace(',', &format!("\"{sign}\"")));
        format!(
            "{}\n{}",
            quote("a,b,c".to_owned()),
            table(|t| quote(row(t)))
        )
    };
    is_truth(&quoted(";"), &at_8_hz());
    is_truth(&quoted("\t"), &at_8_hz());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    let body = table(row).replace(',', ";");
    std::fs::write(&path, [b"Zelle \xe4;b;c\n", body.as_bytes()].concat()).unwrap();
    let recording = Recording::open(&path, &at_8_hz()).unwrap();
    assert_eq!(recording.stretches()[0], truth());
}

#[test]
fn times_of_day_in_halves_and_minutes_are_times() {
    let half = table(|t| format!("11:59:{:06.3} AM,{}", 50.0 + t as f64 / 8.0, row(t)));
    let minutes = table(|t| format!("{:02}:{:06.3},{}", 3, t as f64 / 8.0, row(t)));
    for text in [half, minutes] {
        is_truth(&format!("Time,a,b,c\n{text}"), &Options::default());
    }
}
