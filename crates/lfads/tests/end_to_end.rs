//! The whole way on small data, through the real binary.

mod common;

use common::Lfads;
use data::{Arrays, Options, Recording};
use ndarray::{Array1, Array2, Array3, ArrayD, Axis, concatenate, s};

#[test]
fn a_suite2p_folder_becomes_spikes_rates_factors_and_a_page() {
    let lfads = Lfads::new().with_suite2p();
    let found = lfads.json("inspect mouse/suite2p");
    assert_eq!(found["n_neurons"], 5);
    assert_eq!(found["n_frames"], serde_json::json!([400, 400]));
    assert!((found["rate_hz"].as_f64().unwrap() - 30.0).abs() < 1e-3);
    assert!(found["neurons"][4]["snr"].as_f64().unwrap() > 2.0);

    let fitted =
        lfads.json("fit mouse/suite2p -o run --tau 0.7 -c tiny.toml --npz --nwb --pynapple");
    let results = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    for name in ["rates", "spikes", "calcium", "fluor", "observed"] {
        let array = results.require(name).unwrap();
        assert_eq!(array.shape(), [1, 400, 5], "{name}");
        assert!(array.iter().all(|v| v.is_finite()), "{name}");
    }
    assert_eq!(results.require("factors").unwrap().shape(), [1, 400, 3]);
    // Fluorescence is calcium, counted in the spikes that were learned, above a slow baseline.
    let [calcium, fluor] = ["calcium", "fluor"].map(|name| results.require(name).unwrap());
    let [sizes, taus_s] = ["spike_size", "tau"].map(|name| results.require(name).unwrap());
    for neuron in 0..5 {
        let at = |array: &ArrayD<f32>, bin: usize| array[[0, bin, neuron]];
        let baseline = |bin| at(fluor, bin) - sizes[[neuron]] * at(calcium, bin);
        for bin in 1..400 {
            let drift = (baseline(bin) - baseline(bin - 1)).abs();
            assert!(drift < 0.2 * sizes[[neuron]], "{neuron}, {bin}: {drift}");
        }
        assert!((0.4..1.2).contains(&taus_s[[neuron]]), "{taus_s}");
    }
    let [found, seen] = ["fluor", "observed"].map(|name| results.require(name).unwrap().mean());
    let level = found.unwrap() / seen.unwrap();
    assert!((level - 1.0).abs() < 0.1, "{level} of what was recorded");
    let held_out = results.require("held_out").unwrap();
    let share = held_out.sum() / held_out.len() as f32;
    assert!((0.1..0.4).contains(&share), "{share}");
    let r2 = fitted["result"]["held_out_fluor_r2"].as_f64().unwrap();
    let want = held_out_r2(fluor, results.require("observed").unwrap(), held_out);
    assert!((r2 - want).abs() < 1e-6, "{r2} is not {want}");
    let npz = Arrays::read(&lfads.path("run/inferred.npz")).unwrap();
    assert_eq!(
        npz.require("rates").unwrap(),
        results.require("rates").unwrap()
    );
    let rates = Options {
        dataset: Some("rates".to_owned()),
        ..Options::default()
    };
    let nwb = Recording::open(&lfads.path("run/inferred.nwb"), &rates).unwrap();
    assert_eq!((nwb.n_neurons(), nwb.stretches()[0].nrows()), (5, 400));
    let frame = Arrays::read(&lfads.path("run/inferred.tsd.npz")).unwrap();
    assert_eq!(frame.require("d").unwrap().shape(), [400, 5]);

    let scores = lfads.json("evaluate run --truth mouse/truth.h5");
    for quantity in ["rates", "spikes", "calcium", "latent"] {
        for frames in ["all", "held_out"] {
            let r2 = scores[quantity][frames]["r2"].as_f64();
            assert!(
                r2.is_some_and(|r2| (0.0..=1.0).contains(&r2)),
                "{quantity} {frames}"
            );
        }
    }

    evaluation_prints_what_its_head_says(&lfads, &scores);
    let simple = scores["simple"].as_array().unwrap();
    assert_eq!(
        simple.len(),
        4,
        "OASIS and the network, smoothed and their components"
    );
    for rival in simple {
        assert!(rival["held_out"]["r2"].as_f64().is_some(), "{rival}");
    }
    // All five neurons were hidden, and the fit says how it did.
    let proof = lfads.json("evaluate run");
    assert_eq!(proof["n_hidden"], 5);
    assert_eq!(proof["rivals"].as_array().unwrap().len(), 4);
    let score = proof["model"].as_f64().unwrap();
    let said = fitted["result"]["proof"]["model"].as_f64().unwrap();
    assert!((score - said).abs() < 1e-12, "{score} {said}");
    assert!((0.0..=1.0).contains(&score), "{score}");

    lfads.run("report run");
    let page = std::fs::read_to_string(lfads.path("run/report.html")).unwrap();
    common::open_in_chromium(&lfads.path("run/report.html"));
    for part in [
        "Three questions",
        "Traces",
        "Population",
        "Factors",
        "Neurons",
        "Training",
        "Settings",
    ] {
        assert!(page.contains(&format!("<h2>{part}</h2>")), "{part}");
    }
    for foreign in ["http://", "https://", "src=", "NaN", "inf"] {
        assert!(!page.replace("infer", "").contains(foreign), "{foreign}");
    }

    lfads.run("infer run mouse/suite2p -o again.h5 --samples 2");
    let again = Arrays::read(&lfads.path("again.h5")).unwrap();
    assert_eq!(
        again.require("rates").unwrap(),
        results.require("rates").unwrap()
    );
}

/// Beside the true rates: the median over neurons, all pooled, and the mean.
fn evaluation_prints_what_its_head_says(lfads: &Lfads, scores: &serde_json::Value) {
    let text = lfads.run("evaluate run --truth mouse/truth.h5");
    let line = text.lines().find(|line| line.starts_with("this file"));
    let said = line.unwrap().split_whitespace().skip(2);
    let said: Vec<f64> = said.map(|word| word.parse().unwrap()).collect();
    let rates = &scores["rates"];
    let each = rates["per_neuron"].as_array().unwrap().iter();
    let mut each: Vec<f64> = each.map(|fit| fit["r2"].as_f64().unwrap()).collect();
    each.sort_by(f64::total_cmp);
    let pooled = rates["held_out"]["r2"].as_f64().unwrap();
    let wanted = [each[2], pooled, rates["mean_ratio"].as_f64().unwrap()];
    assert_eq!(said.len(), 3, "{text}");
    for (said, wanted) in said.iter().zip(wanted) {
        assert!((said - wanted).abs() < 1e-4, "{wanted} in {text}");
    }
}

#[test]
fn samples_and_blur_are_as_asked_for() {
    let lfads = Lfads::new().with_suite2p();
    lfads.run("fit mouse/suite2p -o run --tau 0.7 -c tiny.toml");
    let results = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    let more = lfads.json("infer run mouse/suite2p -o more.h5 --samples 3");
    assert_eq!(more["n_samples"], 3);
    let more = Arrays::read(&lfads.path("more.h5")).unwrap();
    assert_ne!(
        more.require("rates").unwrap(),
        results.require("rates").unwrap()
    );

    // Rates are compared with the network's spikes after their blur, unless that is declined.
    let sharp = format!("{}\n[calibration]\nblur = false\n", common::TINY);
    std::fs::write(lfads.path("sharp.toml"), sharp).unwrap();
    lfads.run("fit mouse/suite2p -o sharp --tau 0.7 -c sharp.toml");
    let sharp = Arrays::read(&lfads.path("sharp/inferred.h5")).unwrap();
    assert_ne!(
        sharp.require("rates").unwrap(),
        results.require("rates").unwrap()
    );
}

/// Squared correlation over the held-out frames, each neuron about its mean there.
fn held_out_r2(inferred: &ArrayD<f32>, observed: &ArrayD<f32>, held_out: &ArrayD<f32>) -> f64 {
    let values = |array: &ArrayD<f32>| -> Vec<f32> {
        let neurons = array.axis_iter(Axis(2)).map(|neuron| {
            let frames: Vec<f32> = neuron
                .iter()
                .zip(held_out)
                .filter_map(|(&value, &out)| (out > 0.5).then_some(value))
                .collect();
            let mean = frames.iter().sum::<f32>() / frames.len() as f32;
            frames.into_iter().map(|value| value - mean).collect()
        });
        neurons.collect::<Vec<Vec<f32>>>().concat()
    };
    let [inferred, observed] = [values(inferred), values(observed)].map(Array1::from);
    metrics::r2(inferred.view(), observed.view()).unwrap()
}

/// Told half the decay time, a few steps of training bring it nearer to the true one.
#[test]
fn a_wrong_decay_time_is_learned_away() {
    let lfads = Lfads::new().with_suite2p();
    let fitted = lfads.json("fit mouse/suite2p -o run -m count-ladder --tau 0.35 -c tiny.toml");
    let tau_s = fitted["result"]["median_tau_s"].as_f64().unwrap();
    assert!((0.3505..0.7).contains(&tau_s), "{tau_s}");
}

/// What is compared with what, on which frames, and where the factors' map comes from.
#[test]
fn evaluation_is_of_the_inferred_against_the_truth_on_the_frames_it_names() {
    let lfads = Lfads::new().with_trials();
    let truth = data::Dataset::read(&lfads.path("trials.h5")).unwrap();
    let both = |get: &dyn Fn(&data::Split) -> &Option<Array3<f32>>| {
        let [train, valid] = [&truth.train, &truth.valid].map(|s| get(s).as_ref().unwrap().view());
        concatenate![Axis(0), train, valid]
    };
    let [rates, spikes, latent] = [
        both(&|split| &split.rates),
        both(&|split| &split.spikes),
        both(&|split| &split.latent),
    ];
    let n_train = truth.train.rates.as_ref().unwrap().dim().0;
    // Perfect where nothing is held out; elsewhere the next neuron's spikes, and latents exchanged.
    let with_held_out = |array: &Array3<f32>, shift: usize| {
        let mut inferred = array.clone();
        let n = array.dim().2;
        for column in 0..n {
            let from = array.slice(s![n_train.., .., (column + shift) % n]);
            inferred.slice_mut(s![n_train.., .., column]).assign(&from);
        }
        inferred
    };
    let factors = with_held_out(&latent, 1).mapv(|value| 3.0 - value);
    let mut held_out = Array2::<f32>::zeros((rates.dim().0, rates.dim().1));
    held_out.slice_mut(s![n_train.., ..]).fill(1.0);
    let mut arrays = Arrays::default();
    arrays.insert("rates", "Hz", (&rates * 0.5).into_dyn());
    arrays.insert("spikes", "", with_held_out(&spikes, 1).into_dyn());
    arrays.insert("factors", "", factors.clone().into_dyn());
    arrays.insert("held_out", "", held_out.into_dyn());
    arrays.write(&lfads.path("out.npz")).unwrap();

    let scores = lfads.json("evaluate out.npz --truth trials.h5");
    let score =
        |quantity: &str, frames: &str, kind: &str| scores[quantity][frames][kind].as_f64().unwrap();
    let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-4, "{got} is not {want}");
    let half = metrics::fit((&rates * 0.5).view(), rates.view()).unwrap();
    close(score("rates", "all", "cod"), half.cod);
    let of_valid = |array: &Array3<f32>| array.slice(s![n_train.., .., ..]).to_owned();
    let (shifted, valid) = (of_valid(&with_held_out(&spikes, 1)), of_valid(&spikes));
    let wrong = metrics::fit(shifted.view(), valid.view()).unwrap();
    close(score("spikes", "held_out", "r2"), wrong.r2);
    assert!(score("spikes", "all", "r2") > wrong.r2 + 0.2);
    let of_train = |array: &Array3<f32>| array.slice(s![..n_train, .., ..]).to_owned();
    let (seen, known) = (of_train(&factors), of_train(&latent));
    let alignment = metrics::AffineAlignment::fit(seen.view(), known.view()).unwrap();
    let aligned = alignment.apply(of_valid(&factors).view()).unwrap();
    let fit = metrics::fit(aligned.view(), of_valid(&latent).view()).unwrap();
    close(score("latent", "held_out", "r2"), fit.r2);
    close(score("latent", "held_out", "cod"), fit.cod);
    let alignment = metrics::AffineAlignment::fit(known.view(), seen.view()).unwrap();
    let aligned = alignment.apply(of_valid(&latent).view()).unwrap();
    let fit = metrics::fit(aligned.view(), of_valid(&factors).view()).unwrap();
    close(score("factors", "held_out", "r2"), fit.r2);
}

/// One pulse a trial: found a frame late in those that are held out, and nowhere near in the others.
#[test]
fn inferred_inputs_are_asked_for_the_pulses_of_held_out_trials() {
    let lfads = Lfads::new().with_trials();
    let mut truth = data::Dataset::read(&lfads.path("trials.h5")).unwrap();
    let pulses = |split: &data::Split, bin: usize| {
        let (n_trials, n_bins, _) = split.rates.as_ref().unwrap().dim();
        let at = |(_, t, _)| if t == bin { 2.0 } else { 0.1 };
        Array3::from_shape_fn((n_trials, n_bins, 1), at)
    };
    let splits = [&truth.train, &truth.valid];
    let [seen, unseen] =
        splits.map(|split| pulses(split, 5).mapv(|u| if u > 1.0 { u } else { 0.0 }));
    let inferred = concatenate![Axis(0), pulses(&truth.train, 15), pulses(&truth.valid, 6)];
    (truth.train.inputs, truth.valid.inputs) = (Some(seen), Some(unseen));
    truth.write(&lfads.path("driven.h5")).unwrap();
    let both = |get: fn(&data::Split) -> &Option<Array3<f32>>| {
        let [train, valid] = [&truth.train, &truth.valid].map(|s| get(s).as_ref().unwrap().view());
        concatenate![Axis(0), train, valid]
    };
    let rates = both(|split| &split.rates);
    let n_train = truth.train.rates.as_ref().unwrap().dim().0;
    let held_out = Array2::from_shape_fn((rates.dim().0, rates.dim().1), |(trial, _)| {
        f32::from(u8::from(trial >= n_train))
    });
    let mut arrays = Arrays::default();
    arrays.insert("rates", "Hz", rates.into_dyn());
    arrays.insert("inputs", "", inferred.into_dyn());
    arrays.insert("held_out", "", held_out.into_dyn());
    arrays.write(&lfads.path("out.npz")).unwrap();
    let scores = lfads.json("evaluate out.npz --truth driven.h5");
    let of = |key: &str| scores["pulses"][key].as_f64().unwrap();
    assert!(
        of("found") > 0.999 && (of("median_distance") - 1.0).abs() < 1e-9,
        "{scores}"
    );
    let text = lfads.run("evaluate out.npz --truth driven.h5");
    assert!(
        text.contains("of the pulse in 100% of the trials"),
        "{text}"
    );
}

/// Neurons that fire in slow waves: the autocovariance alone gives 1.5 s.
#[test]
fn a_decay_time_that_is_not_given_is_the_indicators() {
    let lfads = Lfads::new().with_trials();
    lfads.run("simulate lorenz -o slow --format suite2p --dt 0.1 --bins 6000");
    let value = lfads.json("fit slow/suite2p -o run -c tiny.toml");
    let calibration = &value["calibration"];
    assert_eq!(calibration["tau_is_estimated"], true);
    let tau_s = calibration["tau_s"].as_f64().unwrap();
    assert!((0.5..1.0).contains(&tau_s), "{tau_s}, not 0.7 s");
}

#[test]
fn every_model_fits_trials() {
    let lfads = Lfads::new().with_trials();
    for model in [
        "count-ladder",
        "oasis-lfads",
        "zig-lfads",
        "network-lfads",
        "gaussian-lfads",
        "edgeworth",
    ] {
        let value = lfads.json(&format!("fit trials.h5 -o {model} -m {model} -c tiny.toml"));
        // What the network expects does not depend on where a trial starts.
        let runs = value["calibration"]["start_is_running"].as_bool();
        assert_eq!(runs, Some(model == "network-lfads"), "{model}");
        assert_eq!(value["calibration"]["g"], 0.75, "{model}");
        if model == "count-ladder" {
            // What starts at rest does not decay from what was there.
            let text = std::fs::read(lfads.path("count-ladder/run.json")).unwrap();
            let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(record["model_config"][model]["trial_start"], "rest");
        }
        lfads.run(&format!("report {model}"));
    }
    lfads.run("fit trials.h5 -o lfads -m lfads -c tiny.toml --dataset spikes");
    lfads.run("report lfads");
    let warm_up = "warm_up = { shallow_steps = 2, deep_start = 4, deep_alone = 4, deep_steps = 4 }";
    let paper = common::TINY.replace("warm_up = { deep_steps = 4 }", warm_up);
    std::fs::write(lfads.path("paper.toml"), paper).unwrap();
    lfads.run("fit trials.h5 -o paper -m ladder-lfads -c paper.toml");
    let results = Arrays::read(&lfads.path("paper/inferred.h5")).unwrap();
    // Three conditions in twelve trials, the last of each three held out, as the file splits them.
    let held_out = results.require("held_out").unwrap();
    assert_eq!(
        held_out
            .sum_axis(ndarray::Axis(1))
            .as_slice_memory_order()
            .unwrap(),
        [
            0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 40.0, 40.0, 40.0, 40.0
        ]
    );
}

#[test]
fn missing_frames_and_trials_of_unequal_length_are_fitted() {
    let lfads = Lfads::new().with_trials();
    let mut traces = data::Dataset::read(&lfads.path("trials.h5"))
        .unwrap()
        .train
        .fluor
        .unwrap();
    traces.slice_mut(ndarray::s![1, 25.., ..]).fill(f32::NAN);
    traces.slice_mut(ndarray::s![2, 5..9, 1]).fill(f32::NAN);
    data::write_npy(&lfads.path("gaps.npy"), traces.view()).unwrap();
    lfads.run("fit gaps.npy -o run --rate 10 --units dff --tau 0.4 -c tiny.toml --order trial-time-neuron");
    let results = Arrays::read(&lfads.path("run/inferred.h5")).unwrap();
    let rates = results.require("rates").unwrap();
    let is_finite = |trial: usize, bin: usize| rates[[trial, bin, 1]].is_finite();
    assert!(is_finite(2, 6) && is_finite(1, 24), "gaps are filled");
    assert!(!is_finite(1, 25), "nothing is made up behind a trial's end");
    lfads.run("report run");
}

#[test]
fn deconvolution_finds_the_spikes_whatever_the_method() {
    let lfads = Lfads::new().with_trials();
    for options in ["--s-min 0.5", "", "--lambda 0.1", "--noise-constrained"] {
        lfads.run(&format!(
            "deconvolve trials.h5 -o out.npz --baseline none {options}"
        ));
        let scores = lfads.json("evaluate out.npz --truth trials.h5");
        let r2 = scores["spikes"]["all"]["r2"].as_f64().unwrap();
        assert!(r2 > 0.7, "{options}: {r2}");
    }
    // Told half or twice the decay time, it finds the true one, given the noise and data enough: Euler's 0.4 s,
    // 1 - dt/tau, are 0.348 s of exact decay, exp(-dt/tau).
    lfads.run("simulate lorenz -o many.h5 --conditions 20 --repeats 5 --neurons 8");
    for tau in ["0.2", "0.8"] {
        let value = lfads.json(&format!(
            "deconvolve many.h5 -o out.npz --baseline none --tau {tau} --noise-constrained --noise 0.2 --fit-tau"
        ));
        let found = value["median_tau_s"].as_f64().unwrap();
        assert!((found - 0.348).abs() < 0.02, "{tau}: {found}");
    }
    let value = lfads.json("deconvolve trials.h5 -o ar2.h5 --tau 0.4 --tau-rise 0.05");
    assert_eq!(value["median_tau_s"], 0.4);
    let value = lfads.json("deconvolve trials.h5 -o ar2.h5 --tau 0.4 --tau-rise 0.05 --s-min 0.3");
    assert_eq!(value["median_tau_s"], 0.4);
    let found = Arrays::read(&lfads.path("ar2.h5")).unwrap();
    let mut spikes = found.require("spikes").unwrap().iter();
    assert!(spikes.all(|&s| s == 0.0 || s >= 0.3 - 1e-5));
}

#[test]
fn block_by_block_the_answer_is_the_same() {
    let lfads = Lfads::new().with_suite2p();
    for options in [
        "--tau 0.7 --noise-constrained",
        "--typical-tau 0.7 --leave-out 1,3",
    ] {
        for format in ["h5", "npz"] {
            let deconvolve = format!("deconvolve mouse/suite2p {options} -o");
            lfads.run(&format!("{deconvolve} whole.{format}"));
            lfads.run(&format!("{deconvolve} blocks.{format} --blocks"));
            let [whole, blocks] = ["whole", "blocks"]
                .map(|name| Arrays::read(&lfads.path(&format!("{name}.{format}"))).unwrap());
            assert!(whole == blocks, "{options}, {format}");
        }
    }
    // What an HDF5 file says of its indicator counts too.
    let mut traces = Arrays {
        numbers: [("fs".to_owned(), 10.0), ("tau".to_owned(), 0.5)].into(),
        texts: [("discretisation".to_owned(), "euler".to_owned())].into(),
        ..Arrays::read(&lfads.path("whole.h5")).unwrap()
    };
    traces.arrays.retain(|name, _| name == "calcium");
    for array in traces.arrays.values_mut() {
        let matrix = array.values.index_axis(ndarray::Axis(0), 0);
        array.values = matrix.to_owned().into_dyn();
    }
    traces.write(&lfads.path("traces.h5")).unwrap();
    lfads.run("deconvolve traces.h5 -o whole.h5 --units dff --baseline none");
    lfads.run("deconvolve traces.h5 -o blocks.h5 --units dff --baseline none --blocks");
    let [whole, blocks] =
        ["whole.h5", "blocks.h5"].map(|name| Arrays::read(&lfads.path(name)).unwrap());
    assert!(whole == blocks);
    assert_eq!(blocks.arrays["spikes"].unit, "dF/F");
    lfads.run("deconvolve mouse/suite2p --tau 0.7 -o blocks.npz --blocks");
    let scores = lfads.json("evaluate blocks.npz --truth mouse/truth.h5");
    assert!(
        scores["spikes"]["all"]["r2"].as_f64().unwrap() > 0.5,
        "{scores}"
    );
}
