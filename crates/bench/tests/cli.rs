//! The program as its users meet it: tables, reuse, resumption, and what it says of bad input.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const TINY: &str = include_str!("recipes/tiny.toml");

/// `bench reproduce-table1` on a recipe, in a folder of its own.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(recipe: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_bench"));
        program
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG");
        program
    }

    fn command(&self) -> Command {
        let mut command = self.program();
        command.args(["reproduce-table1", "--out", "out", "--threads", "1"]);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        let recipe = ["--recipe", "recipe.toml"];
        self.command().args(recipe).args(args).output().unwrap()
    }

    /// Runs, expects success, returns stderr.
    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    }

    fn table(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("out/table1.json")).unwrap()).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Expects exit code 2 and one line of stderr that holds all of `words`.
fn refused(output: &Output, words: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    for word in words {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        names.push(entry.file_name().into_string().unwrap());
        names.extend(files_below(&entry.path()));
    }
    names
}

#[test]
fn a_table_is_trained_written_printed_and_reused() {
    let bench = Bench::new(TINY);
    let output = bench.run(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("step 6 of 6"));
    let page = fs::read_to_string(bench.path("out/table1.md")).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), page);
    assert!(page.contains("(0.962)"), "{page}");
    for figure in ["figure2.svg", "figure2.png"] {
        assert!(bench.path("out/figures").join(figure).exists(), "{figure}");
    }

    let table = bench.table();
    let ladder = &table["rows"][1];
    assert_eq!(ladder["model"], "ladder-lfads");
    assert_eq!(ladder["seeds"], serde_json::json!([1, 2]));
    for metric in ["lorenz", "rates", "spikes", "fluorescence"] {
        for kind in ["r2", "cod"] {
            let values = ladder["metrics"][metric][kind].as_array().unwrap();
            assert_eq!(values.len(), 2, "{metric} {kind}");
            assert!(values.iter().all(Value::is_f64), "{metric} {kind}");
        }
    }
    assert_eq!(table["rows"][0]["metrics"]["lorenz"]["paper"], 0.978);
    assert!(table["rows"][0]["metrics"]["spikes"].is_null());

    let log = bench.succeed(&[]);
    assert_eq!(log.matches("reused").count(), 4, "{log}");
    assert!(!log.contains("step "), "{log}");
    assert_eq!(bench.table()["rows"], table["rows"]);
}

#[test]
fn the_encoders_answer_and_that_of_the_search_stand_in_their_columns() {
    let row = |recipe: &str| {
        let bench = Bench::new(recipe);
        bench.succeed(&["--models", "lfads", "--seeds", "1"]);
        bench.table()["rows"][0].clone()
    };
    let searched = row(TINY);
    let none = "n_samples = 4\nsearch = { n_steps = 0, n_starts = 0 }";
    let encoded = row(&TINY.replacen("n_samples = 4", none, 1));
    let by_encoder = &searched["by_encoder"]["rates"];
    assert!(by_encoder[0].is_f64(), "{searched}");
    assert_eq!(&encoded["metrics"]["rates"]["r2"], by_encoder);
    assert_eq!(&encoded["by_encoder"]["rates"], by_encoder);
    assert_ne!(&searched["metrics"]["rates"]["r2"], by_encoder);
}

#[test]
fn each_dataset_is_another_one() {
    let bench = Bench::new(TINY);
    bench.succeed(&["--models", "lfads", "--seeds", "1", "--datasets", "2"]);
    let table = bench.table();
    let row = &table["rows"][0];
    assert_eq!(row["dataset_seeds"], serde_json::json!([1, 2]));
    let digests = table["dataset"]["sha256"].as_array().unwrap();
    assert!(
        digests.len() == 2 && digests[0] != digests[1],
        "{digests:?}"
    );
}

#[test]
fn a_changed_recipe_trains_again_and_only_what_changed() {
    let bench = Bench::new(TINY);
    bench.succeed(&["--seeds", "1"]);
    let recipe = TINY.replacen("n_steps = 6", "n_steps = 8", 1);
    fs::write(bench.path("recipe.toml"), recipe).unwrap();
    let log = bench.succeed(&["--seeds", "1"]);
    assert_eq!(log.matches("reused").count(), 1, "{log}");
    assert!(log.contains("step 8 of 8"), "{log}");
}

#[test]
fn an_interrupted_run_is_resumed_and_ends_the_same() {
    let recipe = TINY.replacen("n_steps = 6", "n_steps = 600\nvalidate_every = 1", 1);
    let args = ["--models", "lfads", "--seeds", "1"];
    let whole = Bench::new(&recipe);
    whole.succeed(&args);

    let cut = Bench::new(&recipe);
    let mut child = cut
        .command()
        .args(["--recipe", "recipe.toml"])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !files_below(&cut.path("out")).contains(&"last.ckpt".into()) {
        assert!(start.elapsed() < Duration::from_mins(1), "no checkpoint");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!cut.path("out/table1.json").exists(), "it was interrupted");

    let log = cut.succeed(&args);
    assert!(log.contains("resumed from the checkpoint"), "{log}");
    let metrics = |bench: &Bench| bench.table()["rows"][0]["metrics"].clone();
    assert_eq!(metrics(&cut), metrics(&whole));
}

#[test]
fn a_training_that_diverges_leaves_a_gap_and_exit_code_1() {
    let rate = r#"{ kind = "cosine", peak = 1e30, constant_fraction = 0.3, final_fraction = 0.1 }"#;
    let recipe = TINY.replacen(
        "n_steps = 6",
        &format!("n_steps = 6\nlearning_rate = {rate}"),
        1,
    );
    let bench = Bench::new(&recipe);
    let output = bench.run(&["--seeds", "1"]);
    let log = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("lfads, seed 1: training diverged"), "{log}");
    let table = bench.table();
    assert_eq!(table["rows"][0]["seeds"], serde_json::json!([]));
    assert_eq!(table["rows"][1]["seeds"], serde_json::json!([1]));
}

#[test]
fn a_fit_below_the_recipes_floor_is_named_and_exit_code_1() {
    let floor = |r2: &str| {
        let paper = "paper = { lorenz = 0.978, rates = 0.970 }";
        let floors = format!("{paper}\nfloor = {{ rates = {r2} }}");
        let output = Bench::new(&TINY.replacen(paper, &floors, 1)).run(&["--seeds", "1"]);
        (output.status.code(), stderr(&output))
    };
    let (code, log) = floor("0.999");
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("lfads, seed 1: r² of rates is 0."), "{log}");
    assert!(log.contains("floor is 0.999"), "{log}");
    let (code, log) = floor("1e-9");
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_simulated_file_gives_the_runs_of_its_recipe() {
    let bench = Bench::new(TINY);
    bench.succeed(&["--seeds", "1", "--models", "lfads"]);
    let simulate = ["simulate", "lorenz.h5", "--recipe", "recipe.toml"];
    let output = bench.program().args(simulate).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let args = "--seeds 1 --models lfads --dataset lorenz.h5";
    let log = bench.succeed(&args.split(' ').collect::<Vec<_>>());
    assert!(log.contains("reused"), "{log}");
    let table = bench.table();
    assert_eq!(table["dataset"]["file"], "lorenz.h5");
    let printed = String::from_utf8(output.stdout).unwrap();
    let sha256 = table["dataset"]["sha256"].as_str().unwrap();
    assert!(printed.contains(sha256), "{printed}");
}

#[test]
fn a_dataset_file_that_cannot_be_written_is_refused() {
    let bench = Bench::new(TINY);
    let simulate = [
        "simulate",
        "no/such/folder/lorenz.h5",
        "--recipe",
        "recipe.toml",
    ];
    let output = bench.program().args(simulate).output().unwrap();
    refused(&output, &["no/such/folder/lorenz.h5"]);
}

#[test]
fn a_dataset_that_cannot_be_used_is_named() {
    let bench = Bench::new(TINY);
    let with = |name| bench.run(&["--dataset", name]);
    refused(&with("missing.h5"), &["missing.h5"]);

    let mut dataset = synth::LorenzBenchmark::default();
    dataset.design.n_conditions = 2;
    let mut dataset = dataset.simulate(1).unwrap();
    dataset.write(&bench.path("whole.h5")).unwrap();
    let bytes = fs::read(bench.path("whole.h5")).unwrap();
    fs::write(bench.path("cut.h5"), &bytes[..bytes.len() / 2]).unwrap();
    refused(&with("cut.h5"), &["cut.h5", "cut short"]);

    dataset.valid.fluor = None;
    dataset.write(&bench.path("blind.h5")).unwrap();
    refused(&with("blind.h5"), &["valid", "fluor"]);
    assert!(!bench.path("out/table1.json").exists());
}

#[test]
fn unknown_names_on_the_command_line_are_answered_with_the_known_ones() {
    let bench = Bench::new(TINY);
    refused(
        &bench.run(&["--models", "lfadz"]),
        &["lfadz", "count-ladder"],
    );
    refused(
        &bench.run(&["--models", "oasis-lfads"]),
        &["no row 'oasis-lfads'", "lfads"],
    );
    refused(&bench.run(&["--device", "abacus"]), &["abacus", "flex"]);
    refused(&bench.run(&["--quick"]), &["--quick", "--recipe"]);
    refused(&bench.run(&["--seeds", "0"]), &["--seeds", "1"]);
}

#[cfg(not(feature = "wgpu"))]
#[test]
fn a_device_that_is_not_compiled_in_names_its_feature() {
    let bench = Bench::new(TINY);
    let output = bench.run(&["--device", "wgpu"]);
    refused(&output, &["'wgpu'", "--features wgpu"]);
}

#[test]
fn a_wrong_recipe_is_answered_with_file_place_and_field() {
    let wrong = |from: &str, to: &str| Bench::new(&TINY.replacen(from, to, 1)).run(&[]);
    let typo = wrong("n_samples = 4", "n_sample = 4");
    refused(&typo, &["recipe.toml, line 16", "n_sample"]);
    let model = wrong("n_latent", "n_latents");
    refused(&model, &["recipe.toml", "ladder-lfads", "n_latents"]);
    let size = wrong("n_latent = 8", "n_latent = 0");
    refused(&size, &["ladder-lfads", "n_latent", "0"]);
    let dataset = wrong("n_bins = 20", "n_bins = 0");
    refused(&dataset, &["recipe.toml", "n_bins", "0"]);
    let missing = Bench::new(TINY)
        .command()
        .args(["--recipe", "none.toml"])
        .output();
    refused(&missing.unwrap(), &["none.toml"]);
}

#[test]
fn an_output_folder_that_cannot_be_written_is_refused_before_training() {
    let bench = Bench::new(TINY);
    fs::write(bench.path("out"), "a file is in the way").unwrap();
    refused(&bench.run(&[]), &["output folder out"]);
}

/// A limit on file size stands for the full disk: writes fail in the same way.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_line_and_leaves_nothing_half_written() {
    let bench = Bench::new(TINY);
    let program = env!("CARGO_BIN_EXE_bench");
    let script = format!(
        "trap '' XFSZ; ulimit -f 4; exec {program} reproduce-table1 --recipe recipe.toml --out out"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .env("RUST_LOG", "warn")
        .current_dir(bench.folder.path())
        .output()
        .unwrap();
    refused(&output, &[".ckpt", "cannot be written"]);
    let left = files_below(&bench.path("out"));
    assert!(
        left.iter().all(|name| !name.starts_with('.')),
        "temporary files are gone: {left:?}"
    );
    assert!(!left.contains(&"last.ckpt".into()), "{left:?}");
    assert!(!left.contains(&"table1.json".into()), "{left:?}");
}
