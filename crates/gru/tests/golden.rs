//! The kernels against `PyTorch` (values made by `golden/pytorch.py`).

use gru::kernels::{
    GruShape, GruSlices, GruSpec, Isa, ResetGate, Upstream, backward, forward,
    poisson_gradient_count, poisson_gradient_log_mean, poisson_log_prob,
};
use serde_json::Value;

fn record() -> Value {
    serde_json::from_str(include_str!("golden/pytorch.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

fn assert_close(name: &str, got: &[f32], want: &Value) {
    let want = numbers(want);
    assert_eq!(got.len(), want.len(), "{name}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let tolerance = 3e-6 * (1.0 + want.abs());
        assert!(
            (got - want).abs() <= tolerance,
            "{name}[{index}]: {got} is not {want}"
        );
    }
}

#[test]
fn bidirectional_gru_equals_nn_gru() {
    let record = record();
    let size = |name: &str| record[name].as_u64().unwrap() as usize;
    let shape = GruShape {
        n_bins: size("n_bins"),
        n_trials: size("n_trials"),
        n_inputs: size("n_inputs"),
        hidden: size("hidden"),
        n_directions: 2,
    };
    let spec = GruSpec {
        reset: ResetGate::AfterProduct,
        clip: None,
    };
    let names = ["x", "h0", "w_in", "w_rec", "b_in", "b_rec"];
    let [x, h0, w_in, w_rec, b_in, b_rec] = names.map(|name| numbers(&record[name][0]));
    let weights = GruSlices {
        w_in: &w_in,
        w_rec: &w_rec,
        b_in: &b_in,
        b_rec: &b_rec,
    };
    let upstream = numbers(&record["upstream"]);
    for isa in Isa::available() {
        let trace = forward(isa, shape, spec, &x, &h0, weights, true);
        let mut states = vec![f32::NAN; upstream.len()];
        trace.write_states(&mut states);
        assert_close("states", &states, &record["states"]);
        let got = backward(isa, &trace, &x, weights, Upstream::States(&upstream), true);
        let got = [
            got.x.unwrap(),
            got.h0,
            got.w_in,
            got.w_rec,
            got.b_in,
            got.b_rec,
        ];
        for (name, got) in names.into_iter().zip(&got) {
            assert_close(name, got, &record[name][1]);
        }
    }
}

#[test]
fn poisson_log_prob_equals_lgamma_and_digamma() {
    let record = &record()["poisson"];
    let (log_mean, counts) = (
        numbers(&record["log_mean"][0]),
        numbers(&record["counts"][0]),
    );
    let ones = vec![1.0; counts.len()];
    let inputs = [&log_mean[..], &counts[..], &ones[..]];
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; counts.len()];
        poisson_log_prob(isa, &log_mean, &counts, &mut out);
        assert_close("log_prob", &out, &record["log_prob"]);
        poisson_gradient_log_mean(isa, inputs, &mut out);
        assert_close("d log_mean", &out, &record["log_mean"][1]);
        poisson_gradient_count(isa, inputs, &mut out);
        assert_close("d counts", &out, &record["counts"][1]);
    }
}
