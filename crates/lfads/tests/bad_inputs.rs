//! What the program says of input it cannot use: exit code 2 and one line that names file, place,
//! value and remedy.

mod common;

use common::Lfads;
use data::{Dataset, Split};
use ndarray::{Array2, Array3, s};

/// A command, and what its one line must contain.
type Case = (&'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    // Files and folders.
    (
        "inspect nothing.h5",
        &["nothing.h5", "cannot read the file"],
    ),
    (
        "inspect empty-folder",
        &["empty-folder", "not suite2p's", "F.npy", "plane0"],
    ),
    (
        "inspect cut.h5",
        &["cut.h5", "cut short", "copy or download it again"],
    ),
    ("inspect cut-mouse", &["cut-mouse", "F.npy", "cut short"]),
    (
        "inspect noise.bin",
        &["noise.bin", "format is not known", "NWB"],
    ),
    // Rate, order, names.
    (
        "inspect no-rate.npy",
        &["no-rate.npy", "no frame rate", "--rate HZ"],
    ),
    ("inspect no-rate.npy --rate -30", &["rate", "-30"]),
    (
        "inspect wide.npy --rate 30",
        &["wide.npy", "[20, 300]", "--order neuron-time"],
    ),
    (
        "inspect trials.h5 --dataset nope",
        &["trials.h5", "`nope`", "train_fluor", "--dataset NAME"],
    ),
    (
        "inspect trials.h5 --leave-out 6",
        &["neuron 6", "6 neurons, 0 to 5 (--leave-out)"],
    ),
    // Neurons a model cannot be fitted to.
    (
        "fit nan-column.npy -o run --rate 30",
        &[
            "nan-column.npy",
            "neuron 2",
            "NaN in every frame",
            "(--leave-out 2, or --leave-out silent)",
        ],
    ),
    (
        "fit constant.npy -o run --rate 30",
        &[
            "constant.npy",
            "neuron 1",
            "is 3 in every frame",
            "--leave-out 1",
        ],
    ),
    (
        "fit negative.npy -o run --rate 30 -m lfads",
        &["negative.npy", "holds -1 at [0, 5, 0]", "whole numbers"],
    ),
    (
        "fit trials.h5 -o run -m lfads",
        &[
            "trials.h5",
            "F, which this model's likelihood",
            "Poisson for spike counts",
        ],
    ),
    (
        "fit counts.npy -o run --rate 30",
        &["counts.npy", "spike counts?", "lfads fit --model lfads"],
    ),
    (
        "deconvolve trials.h5 -o out.h5 --dataset spikes",
        &["trials.h5", "spike counts"],
    ),
    (
        "fit empty-trial.npy -o run --rate 30 --order trial-time-neuron",
        &["empty-trial.npy", "trial 1", "nothing but NaN"],
    ),
    (
        "fit short.npy -o run --rate 30 --units dff",
        &["short.npy", "1 trial or window", "at least 2"],
    ),
    (
        "deconvolve nan-column.npy -o out.h5 --rate 30 --blocks",
        &["nan-column.npy", "neuron 2", "NaN in every", "--leave-out"],
    ),
    (
        "deconvolve constant.npy -o out.h5 --rate 30 --blocks --leave-out 0",
        &["constant.npy", "neuron 1", "is 3 in every", "--leave-out"],
    ),
    (
        "deconvolve counts.npy -o out.h5 --rate 30 --blocks",
        &["counts.npy", "whole numbers from 0 to 3", "--units f"],
    ),
    (
        "deconvolve counts.npy -o out.h5 --rate 30 --units counts --blocks",
        &["counts.npy", "spike counts", "--model lfads"],
    ),
    (
        "deconvolve counts.npy -o out.h5 --rate 30 --blocks --leave-out 4",
        &["counts.npy", "neuron 4", "4 neurons, 0 to 3 (--leave-out)"],
    ),
    (
        "deconvolve counts.npy -o out.h5 --rate 30 --leave-out 0,1,2,3",
        &["counts.npy", "of 4 neurons all", "name fewer (--leave-out)"],
    ),
    (
        "deconvolve no-rate.npy -o empty-folder --rate 30",
        &["empty-folder", "it is a folder", "name a file"],
    ),
    (
        "deconvolve no-rate.npy -o no/such/folder/out.h5 --rate 30 --blocks",
        &["no/such/folder/out.h5", "there is no folder", "make it"],
    ),
    (
        "inspect vector.npy --rate 30 --frames 400:500",
        &["frame 400", "300 frames", "--frames"],
    ),
    (
        "inspect vector.npy --rate 30 --from 20",
        &["20 s", "300 frames, from 0 s to 10 s"],
    ),
    (
        "inspect no-rate.npy --rate 30 --mask short.npy",
        &["short.npy", "300 frames", "--mask"],
    ),
    (
        "inspect movie.npy --rate 30",
        &["movie.npy", "[40, 20, 20]", "movie", "suite2p"],
    ),
    (
        "inspect late.csv",
        &["late.csv", "33.3", "milliseconds?", "--rate HZ"],
    ),
    (
        "inspect book.xlsx",
        &["book.xlsx", "Excel", "save the sheet as CSV"],
    ),
    ("inspect data.pkl", &["data.pkl", "pickle", "numpy.save"]),
    ("inspect table.csv.gz", &["table.csv.gz", "gunzip"]),
    (
        "fit two-silent.npy -o run --rate 30",
        &["neuron 0", "neuron 2", "--leave-out 0,2"],
    ),
    (
        "fit two-silent.npy -o run --rate 30 --leave-out 0",
        &["neuron 2 (`2`)", "--leave-out 2,"],
    ),
    (
        "inspect words.h5",
        &["words.h5", "text without a line of numbers"],
    ),
    (
        "evaluate no-rate.npy --truth trials.h5",
        &["no-rate.npy", "neither HDF5 nor an .npz archive"],
    ),
    (
        "deconvolve trials.h5 -o out.npz --blocks",
        &["trials.h5", "in blocks", "leave --blocks out"],
    ),
    // Settings.
    (
        "fit trials.h5 -o run -c typo.toml",
        &["typo.toml, line 2", "sede"],
    ),
    (
        "fit trials.h5 -o run -c factors.toml",
        &["[model]", "n_factor"],
    ),
    ("fit trials.h5 -o run -c none.toml", &["none.toml"]),
    ("fit trials.h5 -o run -m lader", &["lader", "ladder"]),
    ("fit trials.h5 -o run --tau -1", &["tau"]),
    (
        "fit trials.h5 -o run --steps 0",
        &["--steps", "from 1 to 1000000000"],
    ),
    (
        "fit trials.h5 -o run --device tch",
        &["tch", "not compiled in"],
    ),
    (
        "deconvolve trials.h5 -o out.h5 --lambda 1 --s-min 1",
        &["--lambda", "--s-min"],
    ),
    // What would be given in vain.
    (
        "deconvolve no-rate.npy -o out.h5 --rate 30 --units f --method network --lambda 1",
        &["--lambda", "--method network", "leave one"],
    ),
    (
        "deconvolve no-rate.npy -o out.h5 --rate 30 --units f --method network --tau 1",
        &["--tau", "--method network", "leave one"],
    ),
    (
        "deconvolve no-rate.npy -o out.h5 --rate 30 --units f --method oasis --indicator gcamp6f",
        &["--indicator gcamp6f", "oasis", "leave one"],
    ),
    (
        "simulate ring -o mouse --conditions 3",
        &["--conditions", "continuous", "--bins"],
    ),
    ("simulate lorenz -o out.h5 --dt 0", &["--dt", "0.00001 to"]),
    (
        "simulate lorenz -o no/such/folder/out.h5 --conditions 4 --repeats 2 --bins 5",
        &["no/such/folder", "cannot"],
    ),
    // Numbers out of their range.
    (
        "inspect no-rate.npy --rate 1e9",
        &["--rate", "to 100000 Hz"],
    ),
    (
        "inspect trials.h5 --typical-tau 1e6",
        &["--typical-tau", "0.001 to 100 seconds"],
    ),
    (
        "deconvolve trials.h5 -o out.h5 --tau 1e-9",
        &["--tau", "0.001 to 100 seconds"],
    ),
    (
        "deconvolve trials.h5 -o out.h5 --lambda 1e308",
        &["--lambda", "from 0 to"],
    ),
    (
        "deconvolve trials.h5 -o out.h5 --noise-constrained --noise nan",
        &["--noise", "nan", "number from"],
    ),
    (
        "simulate lorenz -o out.h5 --neurons 4294967296",
        &["--neurons", "1 to 100000"],
    ),
    (
        "simulate lorenz -o out.h5 --neurons 100000 --bins 100000000",
        &["at most 2^32 values", "--bins"],
    ),
    (
        "fit trials.h5 -o run -c large.toml",
        &["n_encoder", "4294967296", "from 1 to 4096"],
    ),
    (
        "fit trials.h5 -o run --n-inputs 4294967296",
        &["--n-inputs", "0 to 4096"],
    ),
    (
        "fit trials.h5 -o run -c slow.toml",
        &["calibration.typical_tau_s", "0.001 to 100"],
    ),
    (
        "deconvolve no-rate.npy -o out.h5 --rate 0.01 --units f",
        &["frames last 100 s", "--tau"],
    ),
    (
        "fit trials.h5 -o run -c tiny.toml --rate 0.001",
        &["frames last 1000 s", "--rate", "oasis-lfads"],
    ),
    // What is read is not written over.
    (
        "deconvolve trials.h5 -o trials.h5",
        &["trials.h5", "would be lost"],
    ),
    (
        "deconvolve mouse/suite2p -o mouse/suite2p/plane0/F.npy",
        &["F.npy", "would be lost"],
    ),
    (
        "deconvolve trials.h5 -o mask.txt --mask mask.txt",
        &["mask.txt", "would be lost"],
    ),
    (
        "infer run6 trials.h5 -o trials.h5",
        &["trials.h5", "would be lost"],
    ),
    (
        "infer run6 trials.h5 -o run6/inferred.h5",
        &["run6/inferred.h5", "would be lost"],
    ),
    (
        "report run6 -o run6/run.json",
        &["run.json", "would be lost"],
    ),
    (
        "report run6 -o run6/checkpoint/last.ckpt",
        &["last.ckpt", "would be lost"],
    ),
    (
        "infer run6 trials.h5 -o run6/factor_axes.json",
        &["factor_axes.json", "would be lost"],
    ),
    ("report run6 -o trials.h5", &["trials.h5", "would be lost"]),
    (
        "fit inferred.h5 -o . -c tiny.toml",
        &["inferred.h5", "would be lost"],
    ),
    (
        "fit trials.h5 -o own -c tiny.toml",
        &["config.toml", "no fit's", "would be lost"],
    ),
    (
        "simulate lorenz -o own.toml --recipe own.toml",
        &["own.toml", "would be lost"],
    ),
    (
        "simulate lorenz -o real --format suite2p",
        &["real", "not simulated"],
    ),
    // Models and their data.
    (
        "infer run6 seven.h5 -o out.h5",
        &["seven.h5", "7 neurons", "fitted to 6"],
    ),
    (
        "infer run6 slow.h5 -o out.h5",
        &["slow.h5", "0.2 s", "0.1 s"],
    ),
    (
        "infer mouse trials.h5 -o out.h5",
        &["mouse", "not a run folder", "lfads fit -o"],
    ),
    ("report mouse", &["mouse", "not a run folder"]),
    (
        "evaluate run6 --truth seven.h5",
        &["[12, 40, 6]", "[12, 40, 7]", "same recording"],
    ),
    ("evaluate trials.h5 --truth nothing.h5", &["nothing.h5"]),
    ("evaluate trials.h5", &["--truth", "run folder"]),
    (
        "fit trials.h5 -o run --model gaussian-lfads --tau-rise 0.1",
        &["gaussian-lfads", "no rise", "0.1", "count-ladder"],
    ),
    (
        "evaluate trials.h5 --truth trials.h5",
        &["nothing to compare"],
    ),
];

#[test]
fn every_bad_input_gets_one_line_that_says_what_to_do() {
    let lfads = Lfads::new().with_trials().with_suite2p();
    prepare(&lfads);
    let mut failures = Vec::new();
    for (line, words) in CASES {
        let output = lfads.output(line);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        // The log, if any, comes before the one line.
        let message = stderr.trim_end().lines().last().unwrap_or_default();
        let is_logged = |line: &str| line.contains(" INFO ") || line.contains(" WARN ");
        let n_lines = stderr.trim_end().lines().filter(|l| !is_logged(l)).count();
        let missing: Vec<_> = words
            .iter()
            .filter(|word| !message.contains(**word))
            .collect();
        if output.status.code() != Some(2) || n_lines != 1 || !missing.is_empty() {
            failures.push(format!(
                "lfads {line}\n  {:?}, lacks {missing:?}\n  {stderr}",
                output.status.code()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn prepare(lfads: &Lfads) {
    let write = |name: &str, text: &[u8]| std::fs::write(lfads.path(name), text).unwrap();
    let npy = |name: &str, values: &Array2<f32>| {
        data::write_npy(&lfads.path(name), values.view()).unwrap();
    };
    let wave = Array2::from_shape_fn((300, 4), |(t, n)| ((t * (n + 3)) as f32 * 0.1).sin());
    std::fs::create_dir(lfads.path("empty-folder")).unwrap();
    let whole = std::fs::read(lfads.path("trials.h5")).unwrap();
    write("cut.h5", &whole[..whole.len() / 2]);
    let plane = lfads.path("mouse/suite2p/plane0");
    std::fs::create_dir(lfads.path("cut-mouse")).unwrap();
    for name in ["F.npy", "Fneu.npy", "iscell.npy", "ops.npy"] {
        let bytes = std::fs::read(plane.join(name)).unwrap();
        let kept = if name == "F.npy" {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        write(&format!("cut-mouse/{name}"), &bytes[..kept]);
    }
    write(
        "noise.bin",
        &[0x07, 0xfe, 0x13, 0x00, 0x99, 0x01, 0x02, 0x03],
    );
    npy("no-rate.npy", &wave);
    let vector = wave.column(0);
    data::write_npy(&lfads.path("vector.npy"), vector).unwrap();
    let camera = Array3::from_shape_fn((40, 20, 20), |(t, y, x)| {
        ((t * 7919 + y * 104_729 + x * 31) % 4000) as f32
    });
    data::write_npy(&lfads.path("movie.npy"), camera.view()).unwrap();
    let rows: Vec<String> = (0..50)
        .map(|t| format!("{},0.{}\n", f64::from(t) * 33.3, t * t % 7))
        .collect();
    write("late.csv", format!("time,a\n{}", rows.concat()).as_bytes());
    write("book.xlsx", b"PK\x03\x04 [Content_Types].xml");
    write("data.pkl", b"\x80\x04\x95\x0c");
    write("table.csv.gz", &[0x1f, 0x8b, 8, 0]);
    write("words.h5", b"this is no HDF5 file\n");
    npy(
        "wide.npy",
        &Array2::from_shape_fn((20, 300), |(n, t)| (n * t) as f32),
    );
    let mut changed = wave.clone();
    changed.column_mut(2).fill(f32::NAN);
    npy("nan-column.npy", &changed);
    changed.clone_from(&wave);
    changed.column_mut(1).fill(3.0);
    npy("constant.npy", &changed);
    changed.column_mut(0).fill(0.0);
    changed.column_mut(1).assign(&wave.column(3));
    changed.column_mut(2).fill(f32::NAN);
    npy("two-silent.npy", &changed);
    let counts = Array2::from_shape_fn((300, 4), |(t, n)| ((t * (n + 1) + t / 4) % 4) as f32);
    npy("counts.npy", &counts);
    changed = counts;
    changed[[5, 0]] = -1.0;
    npy("negative.npy", &changed);
    npy("short.npy", &wave.slice(s![..40, ..]).to_owned());
    let mut trials = Array3::from_shape_fn((3, 30, 2), |(i, t, n)| ((i + t * n) as f32).cos());
    trials.slice_mut(s![1, .., ..]).fill(f32::NAN);
    data::write_npy(&lfads.path("empty-trial.npy"), trials.view()).unwrap();
    std::fs::create_dir_all(lfads.path("real/suite2p/plane0")).unwrap();
    write("real/suite2p/plane0/F.npy", b"a recording");
    write("inferred.h5", &whole);
    write("mask.txt", b"1\n2\n");
    write("own.toml", b"[lorenz]\n");
    std::fs::create_dir(lfads.path("own")).unwrap();
    write("own/config.toml", b"mine = 1\n");
    write("slow.toml", b"[calibration]\ntypical_tau_s = 1e6\n");
    let large = b"[model.dynamics]\nn_encoder = 4294967296\n";
    write("large.toml", large);
    write("typo.toml", b"held_out = 0.3\nsede = 1\n");
    write("factors.toml", b"[model.dynamics]\nn_factor = 3\n");
    lfads.run("fit trials.h5 -o run6 -c tiny.toml");
    lfads.run("simulate lorenz -o seven.h5 --conditions 4 --repeats 3 --bins 40 --neurons 7");
    let trials = Dataset::read(&lfads.path("trials.h5")).unwrap();
    let fluor_only = |split: Split| Split {
        fluor: split.fluor,
        ..Split::default()
    };
    let slow = Dataset {
        dt_s: 0.2,
        train: fluor_only(trials.train),
        valid: fluor_only(trials.valid),
        ..trials
    };
    slow.write(&lfads.path("slow.h5")).unwrap();
}
