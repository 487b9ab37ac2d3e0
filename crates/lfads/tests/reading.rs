//! What of a recording is read: a part of its time, some of its frames, some of its neurons.

mod common;

use common::Lfads;
use data::Arrays;
use ndarray::{Array1, Array2, Axis};
use serde_json::Value;

const N_FRAMES: usize = 900;
/// Spikes of one neuron.
const N_SPIKES: usize = 60;

/// dF/F of four neurons at 30 Hz, a spike of 1 now and then, decaying within half a second, with some
/// noise; and all the spikes.
fn recording() -> (Array2<f32>, Array2<f32>) {
    let chance = |i: usize| ((i as f64 * 12.9898).sin() * 43_758.545).fract().abs();
    let mut spikes = Array2::zeros((N_FRAMES, 4));
    for i in 0..4 * N_SPIKES {
        spikes[[(chance(i) * N_FRAMES as f64) as usize, i % 4]] += 1.0;
    }
    let mut fluor = spikes.clone();
    for t in 1..N_FRAMES {
        for n in 0..4 {
            fluor[[t, n]] += 0.935 * fluor[[t - 1, n]];
        }
    }
    for ((t, n), x) in fluor.indexed_iter_mut() {
        let noise: f64 = (0..4).map(|k| chance(40_000 + 16 * t + 4 * n + k)).sum();
        *x += 0.15 * (noise as f32 - 2.0);
    }
    (fluor, spikes)
}

fn spikes_of(lfads: &Lfads, name: &str) -> Array2<f32> {
    let results = Arrays::read(&lfads.path(name)).unwrap();
    let spikes = results.require("spikes").unwrap();
    spikes
        .index_axis(Axis(0), 0)
        .to_owned()
        .into_dimensionality()
        .unwrap()
}

/// Equal to the bit, where NaN equals NaN.
fn is_same(a: &Array2<f32>, b: &Array2<f32>) -> bool {
    let bits = |x: &Array2<f32>| x.mapv(|v| if v.is_nan() { u32::MAX } else { v.to_bits() });
    bits(a) == bits(b)
}

fn texts(value: &Value) -> String {
    let list = value.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned() + "\n")
        .collect()
}

#[test]
fn planes_imaged_in_turn_are_fitted_together() {
    let lfads = Lfads::new();
    let (mut fluor, spikes) = recording();
    for ((t, n), x) in fluor.indexed_iter_mut() {
        if t % 3 != n % 3 {
            *x = f32::NAN;
        }
    }
    data::write_npy(&lfads.path("turns.npy"), fluor.view()).unwrap();
    for tau in ["--tau 0.5", ""] {
        lfads.run(&format!(
            "fit turns.npy -o run{} --rate 30 --units dff -c tiny.toml {tau}",
            tau.len()
        ));
        let found = spikes_of(&lfads, &format!("run{}/inferred.h5", tau.len()));
        // The last frames stand for no later one.
        let present = found.iter().filter(|x| x.is_finite());
        assert!(present.clone().count() + 2 * found.ncols() >= found.len());
        let ratio = present.sum::<f32>() / spikes.sum();
        assert!((0.6..1.6).contains(&ratio), "{tau}: {ratio}");
    }
}

#[test]
fn every_command_reads_a_part_of_the_time() {
    let lfads = Lfads::new();
    let (fluor, _) = recording();
    data::write_npy(&lfads.path("x.npy"), fluor.view()).unwrap();
    let read = "x.npy --rate 30 --units dff";
    let seen = lfads.json(&format!("inspect {read} --from 10 --to 20"));
    assert_eq!(seen["n_frames"][1], 300);
    assert!(texts(&seen["notes"]).contains("frames 300 to 599 of 900"));
    lfads.run(&format!(
        "deconvolve {read} --frames 300:600 --tau 0.5 -o part.h5"
    ));
    lfads.run(&format!(
        "deconvolve {read} --frames 300:600 --tau 0.5 -o blocks.h5 --blocks"
    ));
    assert_eq!(spikes_of(&lfads, "part.h5").nrows(), 300);
    assert_eq!(spikes_of(&lfads, "part.h5"), spikes_of(&lfads, "blocks.h5"));
    lfads.run(&format!(
        "fit {read} --frames :600 --tau 0.5 -o run -c tiny.toml"
    ));
    lfads.run(&format!("infer run {read} --from 20 -o late.h5"));
    assert_eq!(spikes_of(&lfads, "run/inferred.h5").nrows(), 600);
    assert_eq!(spikes_of(&lfads, "late.h5").nrows(), 300);
}

#[test]
fn masked_frames_and_silent_neurons_stay_out() {
    let lfads = Lfads::new();
    let (mut fluor, _) = recording();
    data::write_npy(&lfads.path("clean.npy"), fluor.view()).unwrap();
    for t in 100..110 {
        fluor.row_mut(t).fill(50.0);
    }
    fluor.column_mut(2).fill(0.0);
    data::write_npy(&lfads.path("light.npy"), fluor.view()).unwrap();
    let mask = Array1::from_shape_fn(N_FRAMES, |t| f32::from((100..110).contains(&t)));
    data::write_npy(&lfads.path("mask.npy"), mask.view()).unwrap();
    let options = "--rate 30 --units dff --mask mask.npy";
    let seen = lfads.json(&format!("inspect light.npy {options}"));
    assert!(texts(&seen["notes"]).contains("takes 10 of 900 frames out"));
    assert!(texts(&seen["warnings"]).contains("neuron 2 (`2`) is 0 in every frame"));
    assert!(texts(&seen["warnings"]).contains("--leave-out 2, or --leave-out silent"));
    // Who is left out takes nobody's number.
    let seen = lfads.json(&format!("inspect light.npy {options} --leave-out 0"));
    assert!(texts(&seen["warnings"]).contains("--leave-out 2, or"));
    assert_eq!(seen["neurons"][0]["number"], 1);
    let mut found = Vec::new();
    for (name, blocks) in [("whole.h5", ""), ("blocks.h5", "--blocks")] {
        let output = lfads.output(&format!(
            "deconvolve light.npy {options} --leave-out silent --tau 0.5 -o {name} {blocks}"
        ));
        let log = String::from_utf8_lossy(&output.stderr);
        for note in ["takes 10 of 900 frames out", "silent neurons left out: 2"] {
            assert!(output.status.success() && log.contains(note), "{log}");
        }
        found.push(spikes_of(&lfads, name));
    }
    assert!(is_same(&found[0], &found[1]));
    assert_eq!(found[0].dim(), (N_FRAMES, 3));
    lfads.run("deconvolve clean.npy --rate 30 --units dff --mask mask.npy --leave-out 2 --tau 0.5 -o clean.h5");
    assert!(is_same(&found[0], &spikes_of(&lfads, "clean.h5")));
    // A trained model knows what a lost neuron does.
    lfads.run("fit clean.npy --rate 30 --units dff --tau 0.5 -o run -c tiny.toml");
    lfads.run(&format!("infer run light.npy {options} -o lost.h5"));
    assert_eq!(spikes_of(&lfads, "lost.h5").ncols(), 4);
}

#[test]
fn many_short_trials_are_judged_by_some_and_memory_is_said() {
    let lfads = Lfads::new();
    let (fluor, _) = recording();
    let trials = ndarray::Array3::from_shape_fn((20_000, 110, 1), |(trial, t, n)| {
        fluor[[(7 * trial + t) % N_FRAMES, n]] + (trial % 2) as f32
    });
    data::write_npy(&lfads.path("short.npy"), trials.view()).unwrap();
    let seen = lfads.json("inspect short.npy --rate 30 --units dff --order trial-time-neuron");
    assert!(texts(&seen["notes"]).contains("are of one trial in 2"));
    // Means are of all trials.
    let mean = seen["neurons"][0]["mean"].as_f64().unwrap();
    let wanted = f64::from(trials.index_axis(Axis(2), 0).mean().unwrap());
    assert!((mean - wanted).abs() < 1e-4, "{mean} is not {wanted}");
    let memory = |name: &str| seen["memory_mb"][name].as_f64().unwrap();
    assert!((memory("traces") - 8.8).abs() < 1e-9);
    assert!(memory("deconvolve").min(memory("fit")) > memory("traces"));
}
