//! The kernels against `PyTorch` (values made by `golden/pytorch.py`).

use std::ops::Range;

use gru::kernels::{
    GruShape, GruSlices, GruSpec, Isa, PoissonSlices, ResetGate, Upstream, backward, forward,
    poisson_gradient_counts, poisson_gradient_log_rates, poisson_log_likelihood,
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
        assert_close("states", &trace.states(None), &record["states"]);
        let upstream = Upstream {
            states: Some(&upstream),
            ..Upstream::default()
        };
        let got = backward(isa, &trace, &x, weights, upstream, true);
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
fn poisson_log_likelihood_equals_lgamma_and_digamma() {
    let record = &record()["poisson"];
    let (log_mean, counts) = (
        numbers(&record["log_mean"][0]),
        numbers(&record["counts"][0]),
    );
    let slices = |range: Range<usize>| PoissonSlices {
        log_rates: &log_mean[range.clone()],
        counts: &counts[range],
        weights: &[1.0],
        log_exposure: 0.0,
        with_factorials: true,
    };
    let n = counts.len();
    for isa in Isa::available() {
        let single = |index: usize| poisson_log_likelihood(isa, slices(index..index + 1));
        let log_prob: Vec<f32> = (0..n).map(single).collect();
        assert_close("log_prob", &log_prob, &record["log_prob"]);
        let by_log_mean = poisson_gradient_log_rates(isa, slices(0..n), 1.0);
        assert_close("d log_mean", &by_log_mean, &record["log_mean"][1]);
        let by_count = poisson_gradient_counts(isa, slices(0..n), 1.0);
        assert_close("d counts", &by_count, &record["counts"][1]);
    }
}
