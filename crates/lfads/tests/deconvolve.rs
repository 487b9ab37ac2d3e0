//! `lfads deconvolve` and what `lfads inspect` says of traces, as users meet them.

mod common;

use common::Lfads;
use data::Arrays;
use ndarray::{Array2, Axis};

struct Uniform(u64);

impl Uniform {
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.draw().ln()).sqrt() * (std::f64::consts::TAU * self.draw()).cos()
    }
}

/// Spikes, and calcium in single spikes, `[time, neuron]`.
fn population(n_frames: usize, n_neurons: usize, hz: f64, tau_s: f64) -> [Array2<f64>; 2] {
    let mut uniform = Uniform(1);
    let spikes = Array2::from_shape_simple_fn((n_frames, n_neurons), || {
        f64::from(uniform.draw() < 0.4 / hz)
    });
    let g = (-1.0 / (hz * tau_s)).exp();
    let mut calcium = spikes.clone();
    for t in 1..n_frames {
        for i in 0..n_neurons {
            calcium[[t, i]] += g * calcium[[t - 1, i]];
        }
    }
    [spikes, calcium]
}

fn noise(n_frames: usize, n_neurons: usize) -> Array2<f64> {
    let mut uniform = Uniform(2);
    Array2::from_shape_simple_fn((n_frames, n_neurons), || uniform.normal())
}

fn write(lfads: &Lfads, name: &str, traces: &Array2<f64>) {
    let traces = traces.map(|&y| y as f32);
    data::write_npy(&lfads.path(name), traces.view().into_dyn()).unwrap();
}

fn array(lfads: &Lfads, file: &str, name: &str) -> Array2<f32> {
    let read = Arrays::read(&lfads.path(file)).unwrap();
    let values = read
        .require(name)
        .unwrap()
        .index_axis(Axis(0), 0)
        .to_owned();
    values.into_dimensionality().unwrap()
}

fn warned(lfads: &Lfads, line: &str, words: &[&str]) -> bool {
    let found = lfads.json(&format!("inspect {line}"));
    let warnings = found["warnings"].as_array().unwrap();
    let text = |w: &serde_json::Value| w.as_str().unwrap_or_default().to_owned();
    warnings
        .iter()
        .map(text)
        .any(|w| words.iter().all(|word| w.contains(word)))
}

#[test]
fn without_settings_the_network_counts_spikes() {
    let lfads = Lfads::new();
    let [spikes, calcium] = population(3000, 3, 20.0, 0.6);
    let traces = 0.2 * &calcium + 0.04 * &noise(3000, 3);
    write(&lfads, "dff.npy", &traces);
    let read = "dff.npy --rate 20 --units dff --order time-neuron";
    let value = lfads.json(&format!("deconvolve {read} -o out.h5"));
    assert_eq!(value["method"], "network");
    assert!(value["median_tau_s"].as_f64().unwrap() > 0.1, "{value}");
    let activity = array(&lfads, "out.h5", "activity");
    let (rates, sd) = (
        array(&lfads, "out.h5", "rates_hz"),
        array(&lfads, "out.h5", "activity_sd"),
    );
    assert!((rates[[1234, 1]] - 20.0 * activity[[1234, 1]]).abs() < 1e-4);
    assert!(sd.iter().all(|&sd| sd >= 0.0));
    for neuron in 0..3 {
        // Expected spikes within 100 ms of a spike, and elsewhere.
        let near =
            |t: usize| (t.saturating_sub(2)..(t + 3).min(3000)).any(|u| spikes[[u, neuron]] > 0.0);
        let (mut close, mut far) = (0.0, 0.0);
        for t in 0..3000 {
            if near(t) {
                close += activity[[t, neuron]];
            } else {
                far += activity[[t, neuron]];
            }
        }
        assert!(
            close > 2.0 * far,
            "neuron {neuron}: {close} near spikes, {far} elsewhere"
        );
    }
    let whole = array(&lfads, "out.h5", "spikes");
    assert!(whole.iter().all(|s| s.fract() == 0.0) && whole.sum() > 10.0);
    let read_back = Arrays::read(&lfads.path("out.h5")).unwrap();
    assert_eq!(read_back.arrays["activity"].unit, "spikes");
    assert!(
        read_back.texts["counts"].contains("ative")
            || read_back.texts["counts"].contains("absolute")
    );
    // Block by block the same.
    lfads.run(&format!("deconvolve {read} -o blocks.h5 --blocks"));
    assert!(Arrays::read(&lfads.path("blocks.h5")).unwrap() == read_back);
    // The indicator is told, and the method chosen.
    let told = lfads.json(&format!("deconvolve {read} -o told.h5 --indicator gcamp6s"));
    let [known, found] = [&told, &value].map(|v| v["median_spike_size_log_sd"].as_f64().unwrap());
    assert!(known < found);
    for method in ["oasis", "posterior"] {
        let value = lfads.json(&format!(
            "deconvolve {read} -o {method}.h5 --method {method}"
        ));
        assert_eq!(value["method"], method);
    }
    assert!(
        Arrays::read(&lfads.path("posterior.h5"))
            .unwrap()
            .arrays
            .contains_key("activity")
    );
    // Of values that may be anything it tells nothing, which is said.
    let vague = lfads.output(&format!(
        "deconvolve {} -o vague.h5 --indicator gcamp6s",
        read.replace("--units dff", "")
    ));
    let message = String::from_utf8_lossy(&vague.stderr).into_owned();
    assert!(
        vague.status.success() && message.contains("gcamp6s is left out"),
        "{message}"
    );
    let refused = lfads.output(&format!("deconvolve {read} -o no.h5 --indicator gfp"));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        message.contains("gfp") && message.contains("gcamp6f"),
        "{message}"
    );
}

#[test]
fn a_tau_that_the_data_contradict_is_named() {
    let lfads = Lfads::new();
    let [_, calcium] = population(6000, 2, 20.0, 2.5);
    write(&lfads, "slow.npy", &(calcium + 0.05 * &noise(6000, 2)));
    let read = "slow.npy --rate 20 --units dff --order time-neuron";
    let value = lfads.json(&format!("deconvolve {read} -o out.h5 --tau 0.2"));
    assert!(
        value["notes"][0]
            .as_str()
            .unwrap()
            .contains("clear transients decay"),
        "{value}"
    );
    // Without a tau, OASIS meets the transients halfway, which serves real recordings better than either.
    let value = lfads.json(&format!("deconvolve {read} -o out.h5 --method oasis"));
    let tau_s = value["median_tau_s"].as_f64().unwrap();
    assert!((1.2..5.0).contains(&tau_s), "{value}");
    write(&lfads, "noise.npy", &noise(6000, 2));
    let value = lfads.json(
        "deconvolve noise.npy --rate 20 --units dff --order time-neuron -o out.h5 --method oasis",
    );
    assert!(
        value["notes"][0]
            .as_str()
            .unwrap()
            .contains("--typical-tau"),
        "{value}"
    );
}

#[test]
fn bleaching_does_not_fade_the_spikes() {
    let lfads = Lfads::new();
    let n = 12_000;
    let [spikes, calcium] = population(n, 4, 10.0, 0.7);
    let noise = noise(n, 4);
    let traces = Array2::from_shape_fn((n, 4), |(t, i)| {
        let gain = 1.0 - 0.65 * t as f64 / n as f64;
        gain * (200.0 + 40.0 * calcium[[t, i]]) + 8.0 * gain.sqrt() * noise[[t, i]]
    });
    write(&lfads, "f.npy", &traces);
    let read = "f.npy --rate 10 --units f --order time-neuron";
    for (options, name) in [("--tau 0.7", "spikes"), ("", "activity")] {
        let value = lfads.json(&format!("deconvolve {read} -o out.h5 {options}"));
        assert!(value["notes"].to_string().contains("bleaching"), "{value}");
        let found = array(&lfads, "out.h5", name);
        let share = |from: usize| {
            let of = |x: f32, s: f64| (f64::from(x), s);
            let (mut seen, mut there) = (0.0, 0.0);
            for t in from..from + n / 10 {
                for i in 0..4 {
                    let (x, s) = of(found[[t, i]], spikes[[t, i]]);
                    seen += if x.is_nan() { 0.0 } else { x };
                    there += s;
                }
            }
            seen / there
        };
        let fade = share(n - n / 10) / share(0);
        assert!((0.5..2.0).contains(&fade), "{options}: {fade}");
    }
    assert!(warned(&lfads, read, &["baseline falls"]));
}

#[test]
fn inspect_names_what_is_wrong_with_traces() {
    let lfads = Lfads::new();
    let [_, calcium] = population(6000, 4, 20.0, 0.7);
    let noise = noise(6000, 4);
    let sound = &calcium + 0.15 * &noise;
    let read = |name: &str, units: &str| {
        format!("{name}.npy --rate 20 --units {units} --order time-neuron")
    };
    write(&lfads, "sound.npy", &sound);
    let found = lfads.json(&format!("inspect {}", read("sound", "dff")));
    assert_eq!(
        found["warnings"].as_array().unwrap().len(),
        0,
        "{}",
        found["warnings"]
    );

    write(
        &lfads,
        "beat.npy",
        &Array2::from_shape_fn((6000, 4), |(t, i)| {
            sound[[t, i]] + 0.1 * (std::f64::consts::TAU * 7.0 * t as f64 / 20.0).sin()
        }),
    );
    assert!(warned(&lfads, &read("beat", "dff"), &["beat of 7.0"]));
    write(&lfads, "down.npy", &sound.map(|y| 500.0 - 50.0 * y));
    assert!(warned(&lfads, &read("down", "f"), &["0,1,2,3", "go down"]));
    write(
        &lfads,
        "clipped.npy",
        &sound.map(|y| (100.0 * y).min(110.0)),
    );
    assert!(warned(&lfads, &read("clipped", "f"), &["saturated"]));
    write(&lfads, "raw.npy", &sound.map(|y| 8000.0 + 50.0 * y));
    assert!(warned(&lfads, &read("raw", "dff"), &["dF/F beyond 30"]));
    write(&lfads, "dead.npy", &sound.map(|y| -300.0 - 7.0 * y));
    assert!(warned(
        &lfads,
        &read("dead", "f"),
        &["below 0", "dead region"]
    ));
}

#[test]
fn pure_noise_is_flagged_at_every_rate() {
    let lfads = Lfads::new();
    for hz in [1.0, 2.0, 3.0, 7.5, 10.0, 30.0] {
        let n = (600.0 * hz) as usize;
        write(&lfads, "noise.npy", &noise(n, 3).map(|y| 100.0 + y));
        let line = format!("noise.npy --rate {hz} --units f --order time-neuron");
        assert!(warned(&lfads, &line, &["hardly rise", "0,1,2"]), "{hz} Hz");
    }
}

#[test]
fn frames_of_forty_seconds_are_no_error_of_oasis() {
    let lfads = Lfads::new();
    let [_, calcium] = population(400, 2, 0.5, 10.0);
    write(&lfads, "slow.npy", &(calcium + 0.1 * &noise(400, 2)));
    for method in ["oasis", "posterior"] {
        lfads.run(&format!("deconvolve slow.npy --rate 0.025 --units dff --order time-neuron -o out.h5 --method {method}"));
    }
}

#[test]
fn a_spike_under_a_rise_is_as_high_as_its_transient() {
    let lfads = Lfads::new();
    let (n, hz, rise, decay) = (2000, 30.0, 0.1, 0.8);
    let (r, d): (f64, f64) = (
        (-1.0_f64 / (hz * rise)).exp(),
        (-1.0_f64 / (hz * decay)).exp(),
    );
    let mut trace = vec![0.0; n];
    for t in 2..n {
        trace[t] =
            (d + r) * trace[t - 1] - d * r * trace[t - 2] + if t % 200 == 100 { 1.0 } else { 0.0 };
    }
    let peak = trace.iter().copied().fold(0.0, f64::max);
    let noise = noise(n, 2);
    let traces = Array2::from_shape_fn((n, 2), |(t, i)| trace[t] / peak + 0.002 * noise[[t, i]]);
    write(&lfads, "rise.npy", &traces);
    lfads.run("deconvolve rise.npy --rate 30 --units dff --order time-neuron -o out.h5 --baseline none --tau 0.8 --tau-rise 0.1 --s-min 0.5");
    let found = array(&lfads, "out.h5", "spikes");
    for spike in found.iter().filter(|&&s| s > 0.3) {
        assert!((spike - 1.0).abs() < 0.05, "{spike}");
    }
    assert!(found.iter().filter(|&&s| s > 0.3).count() >= 18);
}
