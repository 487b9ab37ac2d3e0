//! Whatever ends or damages a fit, nothing is lost and nothing is taken for complete that is not.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Lfads, TINY, size};
use data::Arrays;

const FIT: &str = "fit trials.h5 -o run -c long.toml --n-inputs 4";

/// Trials, and a training of some seconds.
fn prepared(n_steps: usize) -> Lfads {
    let lfads = Lfads::new().with_trials();
    let config = TINY.replace("n_steps = 12", &format!("n_steps = {n_steps}"));
    std::fs::write(lfads.path("long.toml"), config).unwrap();
    lfads
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_mins(2), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts the fit and lets it come to another checkpoint.
fn started(lfads: &Lfads) -> Child {
    comes_to_a_checkpoint(lfads.command(FIT), &lfads.path("run"))
}

fn comes_to_a_checkpoint(mut command: Command, run: &Path) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let last = run.join("checkpoint/last.ckpt");
    let before = changed(&last);
    let child = child.unwrap();
    wait_until("no checkpoint", || {
        size(&last) > 0 && changed(&last) != before
    });
    child
}

fn changed(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|found| found.modified()).ok()
}

fn rates(lfads: &Lfads) -> Arrays {
    let mut all = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    all.arrays.retain(|name, _| name == "rates");
    all
}

#[cfg(unix)]
fn send(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status();
    assert!(sent.unwrap().success());
}

#[cfg(unix)]
#[test]
fn killed_interrupted_and_terminated_a_fit_goes_on_and_ends_the_same() {
    let whole = prepared(900);
    whole.run(FIT);
    let cut = prepared(900);
    let mut child = started(&cut);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(cut.path("run/.unfinished-x.tmp"), "half").unwrap();
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let child = started(&cut);
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{log}");
        let last = log.trim_end().lines().last().unwrap();
        assert!(
            last.contains("saved") && last.contains("same command goes on"),
            "{log}"
        );
    }
    assert!(!cut.path("run/result.json").exists());
    let early = cut.output("report run");
    let message = String::from_utf8_lossy(&early.stderr);
    assert!(
        message.contains("run: the fit is not complete"),
        "{message}"
    );
    assert!(!cut.path("run/.unfinished-x.tmp").exists());
    let output = cut.output(FIT);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("resumed"), "{log}");
    assert!(rates(&cut) == rates(&whole));
    let history = std::fs::read_to_string(cut.path("run/history.json")).unwrap();
    assert_eq!(history.matches("Resumed").count(), 4);
    assert!(String::from_utf8_lossy(&cut.output(FIT).stderr).contains("already complete"));
    let other = cut.output(&format!("{FIT} --seed 9"));
    let message = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(2));
    assert!(
        message.contains("`config.seed` is 1 there, 9 here"),
        "{message}"
    );
}

#[cfg(unix)]
#[test]
fn a_fit_that_is_trained_with_and_without_inputs_goes_on_from_either() {
    const FIT: &str = "fit trials.h5 -o run -c long.toml";
    let whole = prepared(300);
    whole.run(FIT);
    let cut = prepared(300);
    let to = |run: &str| comes_to_a_checkpoint(cut.command(FIT), &cut.path(run));
    let mut child = to("run/choice/n_inputs=0");
    child.kill().unwrap();
    child.wait().unwrap();
    let child = to("run/choice/n_inputs=4");
    send("-INT", &child);
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{log}");
    assert!(log.contains("same command goes on"), "{log}");
    let early = cut.output("report run");
    let message = String::from_utf8_lossy(&early.stderr);
    assert!(
        message.contains("run: the fit is not complete"),
        "{message}"
    );
    let output = cut.output(FIT);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("resumed"), "{log}");
    assert!(rates(&cut) == rates(&whole));
    assert!(!cut.path("run/choice").exists());
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_at_once() {
    let lfads = prepared(1_000_000);
    let mut child = started(&lfads);
    send("-STOP", &child);
    send("-INT", &child);
    send("-INT", &child);
    send("-TERM", &child);
    send("-CONT", &child);
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
}

#[cfg(unix)]
#[test]
fn what_its_starter_ignores_a_fit_ignores_and_a_hangup_hastens_nothing() {
    let lfads = prepared(900);
    // As `nohup` starts it, or a script that goes on without waiting.
    let ignoring = "trap '' HUP INT; exec \"$0\" \"$@\"";
    let plain = lfads.command(FIT);
    let mut command = Command::new("sh");
    command
        .args(["-c", ignoring])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(lfads.path(""));
    let child = comes_to_a_checkpoint(command, &lfads.path("run"));
    send("-HUP", &child);
    send("-INT", &child);
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !log.contains("interrupted"),
        "{log}"
    );
    let lfads = prepared(1_000_000);
    let child = started(&lfads);
    send("-STOP", &child);
    send("-TERM", &child);
    send("-HUP", &child);
    send("-CONT", &child);
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let last = log.trim_end().lines().last().unwrap();
    assert!(last.contains("same command goes on"), "{log}");
}

fn noise(place: usize) -> f32 {
    ((place as u32).wrapping_mul(2_654_435_761) >> 20) as f32
}

/// A file that is being written as the process ends at once is no file, nor the half of one.
#[cfg(unix)]
#[test]
fn what_ends_at_once_leaves_nothing_unfinished() {
    let lfads = Lfads::new();
    let traces = ndarray::Array2::from_shape_fn((20_000, 20), |(t, n)| noise(20 * t + n));
    data::write_npy(&lfads.path("long.npy"), traces.view()).unwrap();
    let unfinished = || {
        let entries = std::fs::read_dir(lfads.path("")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_string_lossy().contains("unfinished"))
            .count()
    };
    // The moment is short: as often as it takes to meet it.
    let caught = (0..50).find_map(|_| {
        let mut command =
            lfads.command("deconvolve long.npy --rate 30 --units f --tau 0.5 -o out.npz");
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut ended = false;
        wait_until("never begun", || {
            ended = child.try_wait().unwrap().is_some();
            ended || unfinished() > 0
        });
        if ended {
            assert!(child.wait().unwrap().success());
            return None;
        }
        send("-STOP", &child);
        let met = unfinished() > 0;
        send("-INT", &child);
        send("-CONT", &child);
        let code = child.wait().unwrap().code();
        (met && code != Some(0)).then_some(code)
    });
    assert_eq!((caught, unfinished()), (Some(Some(130)), 0));
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_taken_away_is_noticed() {
    let lfads = prepared(1_000_000);
    let child = started(&lfads);
    std::fs::rename(lfads.path("run"), lfads.path("moved")).unwrap();
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(
        log.contains("renamed") && !lfads.path("run").exists(),
        "{log}"
    );
    std::fs::rename(lfads.path("moved"), lfads.path("run")).unwrap();
    let child = started(&lfads);
    std::fs::remove_file(lfads.path("run/lock")).unwrap();
    let log = child.wait_with_output().unwrap().stderr;
    assert!(String::from_utf8_lossy(&log).contains("lock deleted"));
}

#[test]
fn nobody_need_read_what_is_said() {
    let lfads = prepared(12);
    let mut command = lfads.command(FIT);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert!(child.wait().unwrap().success());
    assert!(size(&lfads.path("run/inferred.h5")) > 0);
}

#[test]
fn what_is_missing_of_a_finished_fit_is_made_again() {
    let lfads = prepared(12);
    lfads.run(FIT);
    let before = rates(&lfads);
    let damaged = |name: &str, damage: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let path = lfads.path("run").join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, damage(bytes)).unwrap();
        let output = lfads.output(FIT);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {log}");
        assert!(rates(&lfads) == before, "{name}");
        log
    };
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let flipped = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    for name in [
        "inferred.h5",
        "history.json",
        "factor_axes.json",
        "checkpoint/states.ckpt",
    ] {
        let log = damaged(name, &half);
        assert!(log.contains("is made again") && log.contains(name), "{log}");
    }
    let log = damaged("checkpoint/last.ckpt", &flipped);
    assert!(log.contains("the one before it"), "{log}");
    let log = damaged("config.toml", &half);
    assert!(log.contains("already complete"), "{log}");
    let config = std::fs::read_to_string(lfads.path("run/config.toml")).unwrap();
    assert!(config.contains("n_steps = 12"), "{config}");
    lfads.run(&format!("{FIT} --npz"));
    let npz = Arrays::read(&lfads.path("run/inferred.npz")).unwrap();
    assert!(npz.require("rates").unwrap() == before.require("rates").unwrap());
    lfads.run("report run");
}

#[test]
fn more_steps_may_be_asked_of_a_finished_fit() {
    let lfads = prepared(12);
    lfads.run(FIT);
    let before = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    let log = lfads.output(&format!("{FIT} --steps 30"));
    let log = String::from_utf8_lossy(&log.stderr).into_owned();
    assert!(log.contains("goes on from 12 steps to 30"), "{log}");
    let read = |name: &str| std::fs::read_to_string(lfads.path("run").join(name)).unwrap();
    assert!(read("result.json").contains("\"steps\": 30"));
    assert!(read("run.json").contains("\"n_steps\": 30"));
    assert!(read("config.toml").contains("n_steps = 30"));
    let after = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    assert!(after.require("rates").unwrap() != before.require("rates").unwrap());
    let log = lfads.output(&format!("{FIT} --steps 30"));
    assert!(String::from_utf8_lossy(&log.stderr).contains("already complete"));
    let fewer = lfads.output(&format!("{FIT} --steps 20"));
    let message = String::from_utf8_lossy(&fewer.stderr).into_owned();
    assert_eq!(fewer.status.code(), Some(2));
    assert!(
        message.contains("n_steps` is 30 there, 20 here"),
        "{message}"
    );
    lfads.run("infer run trials.h5 -o again.h5");
    lfads.run("report run");
}

#[test]
fn weights_are_those_of_the_run_or_of_none() {
    let lfads = prepared(12);
    for (run, options) in [("one", ""), ("two", "--seed 2")] {
        lfads.run(&format!("fit trials.h5 -o {run} -c tiny.toml {options}"));
    }
    // The file says what is held out, so that the training alone differs.
    let loss = |run: &str| {
        let text = std::fs::read(lfads.path(run).join("result.json")).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&text).unwrap();
        result["held_out_loss"].as_f64().unwrap()
    };
    assert!((loss("one") - loss("two")).abs() > 1e-9);
    let refused = |words: &[&str]| {
        let output = lfads.output("infer one trials.h5 -o out.h5");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        let last = message.trim_end().lines().last().unwrap();
        assert!(words.iter().all(|word| last.contains(word)), "{message}");
    };
    let others = ["checkpoint/states.ckpt", "factor_axes.json"];
    for (name, words) in others.into_iter().zip(["`of.config.seed`", "another fit"]) {
        let [one, two] = ["one", "two"].map(|run| lfads.path(run).join(name));
        let own = std::fs::read(&one).unwrap();
        std::fs::copy(two, &one).unwrap();
        refused(&[name, words]);
        std::fs::write(&one, own).unwrap();
    }
    let last = lfads.path("one/checkpoint/last.ckpt");
    std::fs::copy(lfads.path("two/checkpoint/last.ckpt"), &last).unwrap();
    refused(&["last.ckpt", "`of.config.seed` is 2 there, 1 here"]);
    std::fs::write(&last, "LFADSCK3 or so").unwrap();
    refused(&["last.ckpt", "damaged"]);
    std::fs::remove_file(&last).unwrap();
    std::fs::remove_file(lfads.path("one/result.json")).unwrap();
    refused(&["no checkpoint yet", "lfads fit"]);
    // What contradicts itself, and what another version wrote.
    let run = lfads.path("one/run.json");
    let text = std::fs::read_to_string(&run).unwrap();
    std::fs::write(&run, text.replace("\"dt_s\": 0.1", "\"dt_s\": -1.0")).unwrap();
    refused(&["contradicts itself", "`source.dt_s` is -1"]);
    std::fs::write(&run, text.replace("\"tau_s\": 0.4,", "\"tau_s\": 1e300,")).unwrap();
    refused(&["contradicts itself", "`calibration.tau_s` is 1"]);
    std::fs::write(&run, text.replace("\"format\": 4", "\"format\": 1")).unwrap();
    refused(&["format 1"]);
    let message = lfads.output("fit trials.h5 -o one -c tiny.toml").stderr;
    assert!(String::from_utf8_lossy(&message).contains("format 1"));
    let message = lfads.output("evaluate one --truth trials.h5").stderr;
    assert!(String::from_utf8_lossy(&message).contains("format 1"));
}

/// The short form of what `cargo xtask torture` does at length.
#[test]
fn whatever_a_run_folder_holds_is_read_or_refused_in_words() {
    let lfads = prepared(12);
    lfads.run(FIT);
    let mut state = 11_u64;
    let mut below = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n
    };
    for name in ["run.json", "history.json", "result.json"] {
        let path = lfads.path("run").join(name);
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..15 {
            let mut bytes = whole.clone();
            let place = below(bytes.len());
            match below(3) {
                0 => bytes.truncate(place),
                // Another digit, or another sign in a number or a name.
                1 => bytes[place] = b"0123456789-e.\"]"[below(15)],
                _ => drop(bytes.drain(place..(place + 1 + below(30)).min(whole.len()))),
            }
            std::fs::write(&path, bytes).unwrap();
            let output = lfads.output("report run");
            let log = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => {}
                Some(2) => assert_eq!(log.trim_end().lines().count(), 1, "{name}: {log}"),
                code => panic!("{name}: {code:?}, {log}"),
            }
        }
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn infinity_is_kept_as_what_it_is_or_refused_at_the_start() {
    let lfads = prepared(12);
    let with = |setting: &str| {
        std::fs::write(lfads.path("own.toml"), format!("{TINY}{setting}\n")).unwrap();
        lfads.output("fit trials.h5 -o own -c own.toml")
    };
    let off = with("clip_norm = inf");
    assert!(off.status.success());
    lfads.run("report own");
    lfads.run("infer own trials.h5 -o out.h5");
    for setting in ["epsilon = inf", "beta_1 = nan", "average_decay = inf"] {
        let refused = with(setting);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        let name = setting.split(' ').next().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{message}");
        assert!(message.contains(name), "{message}");
    }
    // A held-out frame far from all others: the bound there is infinite, or nearly so.
    let mut traces = data::Dataset::read(&lfads.path("trials.h5")).unwrap();
    traces.valid.fluor.as_mut().unwrap()[[0, 20, 2]] = 1e20;
    traces.write(&lfads.path("outlier.h5")).unwrap();
    for model in ["count-ladder", "edgeworth-lfads"] {
        lfads.run(&format!(
            "fit outlier.h5 -o {model} -m {model} -c tiny.toml"
        ));
        lfads.run(&format!("report {model}"));
        lfads.run(&format!("infer {model} trials.h5 -o out.h5"));
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_and_names_that_are_codes_do_no_harm() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let lfads = prepared(12);
    let name = OsStr::from_bytes(b"m\xffuse");
    let recording = lfads.path("").join(name);
    if std::fs::copy(lfads.path("trials.h5"), &recording).is_err() {
        return; // Not on this file system.
    }
    for (command, rest) in [
        ("inspect", ""),
        ("deconvolve", "-o \u{fffd}.h5"),
        ("fit", "-o \u{fffd}run -c tiny.toml"),
    ] {
        let rest = rest.split_whitespace().map(|word| {
            let bytes = word.as_bytes().to_vec();
            let shown = "\u{fffd}".as_bytes();
            match word.strip_prefix('\u{fffd}') {
                Some(_) => [b"\xff", &bytes[shown.len()..]].concat(),
                None => bytes,
            }
        });
        let rest: Vec<Vec<u8>> = rest.collect();
        let rest = rest.iter().map(|word| OsStr::from_bytes(word));
        for format in ["--json", "-v"] {
            let mut run = lfads.command(command);
            let output = run
                .arg(format)
                .arg(name)
                .args(rest.clone())
                .output()
                .unwrap();
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command}: {log}");
        }
    }
    let rows: Vec<String> = (0..80)
        .map(|t| format!("{}.5,{}\n", t * t % 7, t % 5))
        .collect();
    let csv = format!("a\u{1b}[31m,b\u{9b}2J\n{}", rows.concat());
    std::fs::write(lfads.path("codes.csv"), csv).unwrap();
    for line in [
        "inspect codes.csv --rate 10",
        "--json inspect codes.csv --rate 10",
    ] {
        let printed = lfads.run(line);
        assert!(!printed.contains(['\u{1b}', '\u{9b}']), "{printed}");
        if line.starts_with("--json") {
            let value: serde_json::Value = serde_json::from_str(&printed).unwrap();
            assert_eq!(value["neurons"][0]["id"], "a\u{1b}[31m");
        }
    }
}
