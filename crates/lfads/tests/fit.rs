//! What a fit measures, holds out and respects, through the real binary.

mod common;

use common::{Lfads, TINY};
use data::Arrays;
use ndarray::{Array2, s};
use serde_json::Value;

fn record(lfads: &Lfads, run: &str) -> Value {
    let text = std::fs::read(lfads.path(run).join("run.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Spikes at 20 Hz that decay in 0.7 s, size 2 above a baseline of 50, noise 0.3.
fn traces(n_frames: usize, n_neurons: usize, silent: Option<usize>) -> Array2<f32> {
    let mut state = 7_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let mut calcium = vec![0.0; n_neurons];
    Array2::from_shape_fn((n_frames, n_neurons), |(_, n)| {
        let spikes = random() < 0.04 && silent != Some(n);
        calcium[n] = 0.93 * calcium[n] + 2.0 * f64::from(u8::from(spikes));
        let noise: f64 = (0..12).map(|_| random()).sum::<f64>() - 6.0;
        (50.0 + calcium[n] + 0.3 * noise) as f32
    })
}

#[test]
fn training_sees_most_of_a_recording_and_fit_says_how_much() {
    let lfads = Lfads::new();
    for (frames, overlap) in [(600, 40), (60, 10)] {
        let trace = traces(frames, 3, None);
        data::write_npy(&lfads.path("x.npy"), trace.view()).unwrap();
        let config = TINY.replace("overlap = 10", &format!("overlap = {overlap}"));
        std::fs::write(lfads.path("x.toml"), config).unwrap();
        let run = format!("run{frames}");
        let output = lfads.output(&format!(
            "fit x.npy --rate 20 --units f --tau 0.7 -c x.toml -o {run}"
        ));
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        assert!(log.contains("training sees"), "{log}");
        let results = Arrays::read(&lfads.path(&run).join("inferred.h5")).unwrap();
        let share = results.require("held_out").unwrap().mean().unwrap();
        assert!((0.1..0.35).contains(&share), "{share}");
    }
}

/// What `inspect` warns of is said where the work is done, too; and a run's own settings are those of the same run.
#[test]
fn faults_of_traces_are_said_and_own_settings_go_on() {
    let lfads = Lfads::new();
    let mut trace = traces(300, 3, None);
    let mut dip = trace.slice_mut(s![150..160, 0]);
    dip.mapv_inplace(|x| x - 30.0);
    data::write_npy(&lfads.path("x.npy"), trace.view()).unwrap();
    let fit = |config: &str| {
        let output = lfads.output(&format!(
            "fit x.npy --rate 20 --units f --tau 0.7 -m oasis-lfads -o run -c {config}"
        ));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        log
    };
    let log = fit("tiny.toml");
    let warned = log.contains("neurons 0 go down further than up") && log.contains("--mask");
    assert!(warned, "{log}");
    let log = fit("run/config.toml");
    assert!(log.contains("already complete"), "{log}");
}

/// Burn looks for `burn.toml` where it runs, and above.
#[test]
fn settings_of_libraries_in_the_folder_change_nothing() {
    let lfads = Lfads::new();
    data::write_npy(&lfads.path("x.npy"), traces(300, 3, None).view()).unwrap();
    let fit = |run: &str| {
        let output = lfads.output(&format!(
            "fit x.npy --rate 20 --units f --tau 0.7 -c tiny.toml -o {run}"
        ));
        let [out, log] =
            [output.stdout, output.stderr].map(|t| String::from_utf8_lossy(&t).into_owned());
        assert!(output.status.success(), "{log}");
        assert!(!log.contains("burn.toml"), "{log}");
        let results = Arrays::read(&lfads.path(run).join("inferred.h5")).unwrap();
        (
            out.lines().count(),
            results.require("rates").unwrap().clone(),
        )
    };
    let alone = fit("alone");
    std::fs::write(lfads.path("victim"), "mine").unwrap();
    let logger = "level = \"full\"\nstdout = true\nappend = false\nfile = \"victim\"\n";
    let settings =
        format!("[fusion.logger]\n{logger}[autodiff.logger]\n{logger}[remote.logger]\n{logger}");
    for (run, text) in [("hostile", &settings[..]), ("malformed", "fusion = [[[\n")] {
        std::fs::write(lfads.path("burn.toml"), text).unwrap();
        assert_eq!(fit(run), alone, "{run}");
        assert_eq!(
            std::fs::read_to_string(lfads.path("victim")).unwrap(),
            "mine"
        );
    }
}

#[test]
fn a_motion_artefact_and_silence_leave_every_number_finite_and_are_named() {
    let lfads = Lfads::new();
    let mut trace = traces(1200, 4, Some(2));
    // Thirty frames far below the baseline; a neuron that is silent.
    trace.slice_mut(s![500..530, 1]).mapv_inplace(|x| x - 40.0);
    data::write_npy(&lfads.path("x.npy"), trace.view()).unwrap();
    let fit = |options: &str| {
        let read = "fit x.npy --rate 20 --units f -c tiny.toml";
        let output = lfads.output(&format!("{read} {options}"));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        let named = log.contains("neurons 2 (`2`)") && log.contains("--leave-out 2");
        assert!(named, "{log}");
    };
    fit("-o default");
    // Who is left out takes nobody's number.
    fit("-o fewer --leave-out 0");
    let results = Arrays::read(&lfads.path("default/inferred.h5")).unwrap();
    let spikes = results.require("spikes").unwrap();
    let of = |neuron: usize| spikes.index_axis(ndarray::Axis(2), neuron).sum();
    assert!(of(0) > 20.0 && of(2) < 2.0, "{} {}", of(0), of(2));
    fit("-o run -m count-ladder --tau 0.7");
    let record = record(&lfads, "run");
    let sizes = record["calibration"]["spike_size"].as_array().unwrap();
    let sizes: Vec<f64> = sizes.iter().map(|size| size.as_f64().unwrap()).collect();
    for neuron in [0, 1, 3] {
        assert!((sizes[neuron] / 2.0 - 1.0).abs() < 0.35, "{sizes:?}");
    }
    let lost = record["calibration"]["uncalibrated"].as_array().unwrap();
    assert_eq!(lost, &[2], "{sizes:?}");
    for run in ["default", "run"] {
        lfads.run(&format!("report {run}"));
    }
}

#[test]
fn what_the_user_sets_is_kept_and_contradictions_are_refused() {
    let lfads = Lfads::new().with_trials();
    let write = |text: &str| std::fs::write(lfads.path("own.toml"), text).unwrap();
    let own = "trial_start = \"decaying\"\nlearn_calcium = false\n[model.dynamics]";
    write(&TINY.replace("[model.dynamics]", &format!("[model]\n{own}")));
    lfads.run("fit trials.h5 -o run -m count-ladder -c own.toml");
    let settings = record(&lfads, "run")["model_config"]["count-ladder"].clone();
    assert_eq!(settings["trial_start"], "decaying");
    assert_eq!(settings["learn_calcium"], false);
    write("[calibration]\nstart = \"rest\"\n[model]\ntrial_start = \"decaying\"\n");
    let output = lfads.output("fit trials.h5 -o other -m count-ladder -c own.toml");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("contradict each other"), "{message}");
}

#[test]
fn another_brightness_is_noticed_and_the_spikes_are_the_same() {
    let lfads = Lfads::new();
    let trace = traces(1200, 4, None);
    data::write_npy(&lfads.path("day1.npy"), trace.view()).unwrap();
    data::write_npy(&lfads.path("day2.npy"), trace.mapv(|x| 0.5 * x).view()).unwrap();
    lfads.run("fit day1.npy --rate 20 --units f --tau 0.7 -c tiny.toml -o run");
    let infer = |options: &str, out: &str| {
        let line = format!("infer run day2.npy --rate 20 --units f {options} -o {out}");
        let output = lfads.output(&line);
        assert!(output.status.success());
        let spikes = Arrays::read(&lfads.path(out)).unwrap().arrays["spikes"]
            .values
            .sum();
        (spikes, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let trained = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    let trained = trained.require("spikes").unwrap().sum();
    let (rescaled, log) = infer("", "day2.h5");
    assert!(log.contains("brightness is 0.50 x"), "{log}");
    assert!(
        (rescaled / trained - 1.0).abs() < 0.05,
        "{rescaled}, {trained}"
    );
    let (kept, log) = infer("--as-trained", "kept.h5");
    assert!(!log.contains("brightness"), "{log}");
    assert!(kept < 0.8 * trained, "{kept}, {trained}");
}

/// Lost or silent on the second day: the model infers them from the others, and the rest is compared.
#[test]
fn a_session_may_lack_neurons() {
    let lfads = Lfads::new();
    let trace = traces(1200, 5, None);
    data::write_npy(&lfads.path("day1.npy"), trace.view()).unwrap();
    let mut later = trace.mapv(|x| 0.5 * x);
    later.column_mut(1).fill(f32::NAN);
    later.column_mut(3).fill(20.0);
    data::write_npy(&lfads.path("day2.npy"), later.view()).unwrap();
    lfads.run("fit day1.npy --rate 20 --units f --tau 0.7 -c tiny.toml -o run");
    let output = lfads.output("infer run day2.npy --rate 20 --units f -o out.h5");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("brightness is 0.50 x"), "{log}");
    let results = Arrays::read(&lfads.path("out.h5")).unwrap();
    let rates = results.require("rates").unwrap();
    assert!(rates.iter().all(|rate| rate.is_finite()));
    // No number is made up on the page either.
    let page = lfads.run("inspect day2.npy --rate 20 --units f");
    assert!(!page.contains("NaN  "), "{page}");
}

/// What is written of calcium, spikes and their size agrees; and a size that is given is believed.
#[test]
fn the_size_of_a_spike_is_that_of_the_spikes_that_are_counted() {
    let lfads = Lfads::new();
    data::write_npy(&lfads.path("x.npy"), traces(6000, 4, None).view()).unwrap();
    let sums = |run: &str| {
        let results = Arrays::read(&lfads.path(run).join("inferred.h5")).unwrap();
        let sum = |name: &str| f64::from(results.require(name).unwrap().sum());
        [sum("calcium"), sum("spikes")]
    };
    let fit = "fit x.npy --rate 20 --units f --tau 0.7 -c";
    let output = lfads.output(&format!("{fit} tiny.toml -o run"));
    assert!(output.status.success());
    let [calcium, spikes] = sums("run");
    let run = record(&lfads, "run");
    let g = run["calibration"]["g"].as_f64().unwrap();
    let rise = run["calibration"]["rise"].as_f64();
    let lasting = match rise.map(|rise| calcium::Ar2::from_roots(g, rise).unwrap()) {
        Some(ar) => 1.0 / ((1.0 - g) * (1.0 - rise.unwrap_or(0.0)) * ar.peak()),
        None => 1.0 / (1.0 - g),
    };
    let frames = calcium / spikes;
    assert!(
        (frames / lasting - 1.0).abs() < 0.15,
        "{frames} frames a spike, {lasting}"
    );

    let given = format!("{TINY}\n[calibration]\nspike_size = 2.0\n");
    std::fs::write(lfads.path("given.toml"), given).unwrap();
    lfads.run(&format!("{fit} given.toml -o given"));
    let [_, spikes] = sums("given");
    let truth = 6000.0 * 4.0 * 0.04;
    assert!(
        (0.8..1.25).contains(&(spikes / truth)),
        "{spikes} for {truth}"
    );
}

/// One sample a frame, or by their own times; kept with the results, shown, and asked for again.
#[test]
fn inputs_that_are_known_are_put_on_the_frames_and_wanted_of_the_next_session() {
    let lfads = Lfads::new();
    data::write_npy(&lfads.path("x.npy"), traces(600, 3, None).view()).unwrap();
    let speed = Array2::from_shape_fn((600, 2), |(frame, input)| {
        ((frame / 10 + 7 * input) % 5) as f32
    });
    data::write_npy(&lfads.path("speed.npy"), speed.view()).unwrap();
    // The first at half the rate, beginning with the recording.
    let rows = (0..300).map(|row| {
        format!(
            "{},{}\n",
            f64::from(row) * 0.1,
            speed[[2 * row as usize, 0]]
        )
    });
    let table = std::iter::once("time (s),licks\n".to_owned()).chain(rows);
    std::fs::write(lfads.path("licks.csv"), table.collect::<String>()).unwrap();
    let fit = "fit x.npy --rate 20 --units f --tau 0.7 -m oasis-lfads -c tiny.toml";

    lfads.run(&format!("{fit} -o run --inputs speed.npy"));
    let results = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    let kept = results.require("external_inputs").unwrap().clone();
    let kept = kept.into_shape_with_order((600, 2)).unwrap();
    assert!(kept.iter().zip(&speed).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!(record(&lfads, "run")["external"]["names"][1], "1");
    lfads.run("report run");
    let page = std::fs::read_to_string(lfads.path("run/report.html")).unwrap();
    assert!(page.contains("Known inputs") && !page.contains("Inferred inputs"));

    let fit_by_times = format!("{fit} -o timed --inputs licks.csv --n-inputs 1");
    let output = lfads.output(&fit_by_times);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("known inputs: 1 (licks)"), "{log}");
    let timed = Arrays::read(&lfads.path("timed/inferred.h5")).unwrap();
    let licks = timed.require("external_inputs").unwrap().clone();
    assert!(
        licks
            .iter()
            .zip(speed.column(0))
            .all(|(a, b)| (a - b).abs() < 1e-5)
    );
    assert_eq!(timed.require("inputs").unwrap().shape(), [1, 600, 1]);

    let again = "infer run x.npy --rate 20 --units f -o again.h5 --samples 2";
    let refused = |command: &str, wanted: &str| {
        let output = lfads.output(command);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains(wanted),
            "{command}: {error}"
        );
    };
    refused(again, "give this session's with --inputs");
    refused(
        &format!("{again} --inputs licks.csv"),
        "1 inputs (licks), the model was fitted with 2 (0, 1)",
    );
    lfads.run(&format!("{again} --inputs speed.npy"));
    refused(
        "infer run x.npy --rate 20 --units f -o speed.npy --inputs speed.npy",
        "speed.npy",
    );

    let short = speed.slice(s![..590, ..]).to_owned();
    data::write_npy(&lfads.path("short.npy"), short.view()).unwrap();
    refused(
        &format!("{fit} -o no --inputs short.npy"),
        "have 590 samples, the recording 600 frames",
    );
    let mut gap = speed.clone();
    gap[[100, 1]] = f32::NAN;
    data::write_npy(&lfads.path("gap.npy"), gap.view()).unwrap();
    refused(
        &format!("{fit} -o no --inputs gap.npy"),
        "no number in `1` from 5.000 s to 5.050 s",
    );
    data::write_npy(
        &lfads.path("still.npy"),
        Array2::<f32>::ones((600, 1)).view(),
    )
    .unwrap();
    refused(
        &format!("{fit} -o no --inputs still.npy"),
        "the input `0` is 1 in every frame",
    );
}

#[test]
fn inputs_are_inferred_where_asked_for_and_shown() {
    let lfads = Lfads::new().with_trials();
    let said = lfads.run("fit trials.h5 -o run -m oasis-lfads -c tiny.toml --n-inputs 2");
    assert!(said.contains("inferred inputs"), "{said}");
    let results = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    let shape = |name: &str| results.require(name).unwrap().shape().to_vec();
    assert_eq!(shape("inputs"), [12, 40, 2]);
    assert_eq!(shape("inputs_sd"), [12, 40, 2]);
    let sds = results.require("inputs_sd").unwrap();
    assert!(sds.iter().all(|sd| sd.is_finite() && *sd > 0.0));
    lfads.run("report run");
    let page = std::fs::read_to_string(lfads.path("run/report.html")).unwrap();
    assert!(page.contains("Inferred inputs") && page.contains("KL of the inferred inputs"));
    let read = |name: &str| -> serde_json::Value {
        let text = std::fs::read(lfads.path("run").join(name)).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let history = read("history.json");
    let last = &history["validations"].as_array().unwrap().last().unwrap()["valid"];
    let wanted = serde_json::json!([last["kl_ic"], last["kl_inputs"]]);
    assert_eq!(read("result.json")["held_out_kl"], wanted);
    lfads.run("infer run trials.h5 -o again.h5 --samples 2");
    let again = Arrays::read(&lfads.path("again.h5")).unwrap();
    assert_eq!(again.require("inputs").unwrap().shape(), [12, 40, 2]);
    // Left out, there are none, and nothing is said of them.
    let said = lfads.run("fit trials.h5 -o without -m oasis-lfads -c tiny.toml");
    assert!(!said.contains("held-out KL"), "{said}");
    let results = Arrays::read(&lfads.path("without/inferred.h5")).unwrap();
    assert!(!results.arrays.contains_key("inputs"));
    let page = lfads.path("without/report.html");
    lfads.run("report without");
    assert!(
        !std::fs::read_to_string(page)
            .unwrap()
            .contains("Inferred inputs")
    );
}

#[test]
fn whether_inputs_are_inferred_is_settled_by_the_held_out_loss_unless_it_is_said() {
    let lfads = Lfads::new().with_trials();
    let fit = |run: &str, options: &str| {
        let output = lfads.output(&format!("fit trials.h5 -o {run} -c tiny.toml {options}"));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        (log, String::from_utf8(output.stdout).unwrap())
    };
    let loss = |run: &str| {
        let text = std::fs::read(lfads.path(run).join("result.json")).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&text).unwrap();
        result["held_out_loss"].as_f64().unwrap()
    };
    fit("with", "--n-inputs 4");
    fit("without", "--n-inputs 0");
    let (_, said) = fit("run", "");
    let (with, without) = (loss("with"), loss("without"));
    let (chosen, n_inputs) = if with < without {
        ("with", 4)
    } else {
        ("without", 0)
    };
    let line = format!(
        "held-out loss {with:.1} nats with 4 inputs to the dynamics, {without:.1} without: "
    );
    assert!(said.contains(&line), "{said}");
    let whole = record(&lfads, "run");
    assert_eq!(whole["driven"]["loss_with"], with);
    assert_eq!(
        whole["config"]["model"]["dynamics"]["controller"]["n_inputs"],
        n_inputs
    );
    assert!(record(&lfads, chosen).get("driven").is_none());
    let bytes = |run: &str| std::fs::read(lfads.path(run).join("inferred.h5")).unwrap();
    assert_eq!(bytes("run"), bytes(chosen));
    assert!(!lfads.path("run/choice").exists());
    lfads.run("report run");
    let page = std::fs::read_to_string(lfads.path("run/report.html")).unwrap();
    assert!(page.contains(&line));
    // It is settled: nothing is trained again, for whom who says it is the same fit, and more steps go on from it.
    for options in ["", &format!("--n-inputs {n_inputs}")] {
        let (log, _) = fit("run", options);
        assert!(log.contains("already complete"), "{options}: {log}");
    }
    let (log, _) = fit("run", "--steps 14");
    assert!(
        log.contains("goes on from 12 steps to 14") && !log.contains("step 1 of"),
        "{log}"
    );
    assert_eq!(record(&lfads, "run")["driven"], whole["driven"]);
}

#[test]
fn settings_are_chosen_by_what_they_foresee_and_the_choice_is_kept() {
    let lfads = Lfads::new().with_trials();
    let fit = "fit trials.h5 -o run -m oasis-lfads -c tiny.toml --n-inputs auto";
    let said = lfads.run(fit);
    let setting = "model.dynamics.controller.n_inputs = 4: co-smoothing";
    assert!(
        said.contains("settings as asked for: co-smoothing"),
        "{said}"
    );
    assert!(said.contains(setting), "{said}");
    let whole = record(&lfads, "run");
    let tried = whole["tried"].as_array().unwrap();
    let lead = tried[1]["lead"]["mean"].as_f64().unwrap();
    let chosen = whole["config"]["model"]["dynamics"].get("controller");
    let chosen = chosen.and_then(|controller| controller["n_inputs"].as_i64());
    assert_eq!(chosen, (lead > 0.0).then_some(4), "{said}");
    // Candidates hold a part of the trials for training out again.
    let candidate = record(&lfads, "run/choice/model.dynamics.controller.n_inputs=4");
    assert_eq!(candidate["source"]["n_trials"], 8);
    assert_eq!(whole["source"]["n_trials"], 12);
    lfads.run("report run");
    let page = std::fs::read_to_string(lfads.path("run/report.html")).unwrap();
    assert!(page.contains("Settings were chosen") && page.contains(setting));
    // What was chosen is not chosen again, and for another fit it does not hold.
    std::fs::remove_dir_all(lfads.path("run/choice/asked")).unwrap();
    assert_eq!(lfads.run(fit), said);
    assert!(!lfads.path("run/choice/asked").exists());
    let output = lfads.output(&format!("{fit} --seed 2"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{error}");
    assert!(
        error.contains("choice.json") && error.contains("config.seed"),
        "{error}"
    );
}

#[test]
fn a_choice_keeps_to_its_time_and_never_sees_what_is_held_out() {
    let lfads = Lfads::new().with_suite2p();
    lfads.run("fit mouse/suite2p -o run -c tiny.toml --budget 0.01");
    let tried = record(&lfads, "run")["tried"].as_array().unwrap().len();
    assert_eq!(
        tried, 1,
        "less than a second has room for no candidate but the first"
    );
    let read = |run: &str, name: &str| {
        let results = Arrays::read(&lfads.path(run).join("inferred.h5")).unwrap();
        results.require(name).unwrap().clone()
    };
    let held_out = read("run", "held_out");
    let seen_by_candidate = read("run/choice/asked", "observed");
    let (mut n_held_out, mut n_seen) = (0, 0);
    for (held_out, neurons) in held_out.iter().zip(seen_by_candidate.rows()) {
        let is_seen = neurons.iter().any(|x| x.is_finite());
        n_held_out += usize::from(*held_out > 0.5);
        n_seen += usize::from(is_seen);
        assert!(!(is_seen && *held_out > 0.5));
    }
    assert!(n_held_out > 60 && n_seen > 200, "{n_held_out} {n_seen}");
    // It holds out other frames than those.
    assert_ne!(read("run/choice/asked", "held_out"), held_out);
}
