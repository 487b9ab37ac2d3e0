//! Three steps of every model, number by number, against a record of them.
//!
//! Portable kernels make the numbers those of any machine. After a change that is meant to change
//! them, `UPDATE_GOLDEN=1 cargo test -p model --test golden` writes the record anew; say in the
//! commit why it differs.

mod common;

use std::path::Path;

use baselines::Moments;
use burn::tensor::Device;
use common::{
    INDICATOR, count_ladder, count_ladder_with, counts, driven_dynamics, dynamics, edgeworth,
    events, fluorescence, gaussian, gaussian_with, ladder, ladder_with, lfads, lfads_with,
    parameters, saturating_count_ladder, zig_lfads_with,
};
use model::train::{Observer, StepReport};
use model::{
    CountLadderConfig, LearningRate, SequentialVae, TrainConfig, TrainData, WarmUp, fit,
    posterior_mean,
};
use serde_json::{Map, Value, json};

/// What differs by less is rounding: functions of the C library are not the same everywhere.
const TOLERANCE: f64 = 1e-4;

/// Steps of which the first three see the shallow level alone, the deep one alone, and both.
fn training() -> TrainConfig {
    TrainConfig {
        n_steps: 3,
        batch_size: 5,
        learning_rate: LearningRate::Cosine {
            peak: 0.01,
            constant_fraction: 0.0,
            final_fraction: 0.1,
        },
        // Below the norm of every gradient here.
        clip_norm: 4.0,
        warm_up: WarmUp {
            shallow_steps: 2,
            deep_start: 1,
            deep_alone: 1,
            deep_steps: 3,
        },
        ..TrainConfig::default()
    }
}

#[derive(Default)]
struct Steps(Vec<Value>);

impl Observer for Steps {
    fn on_step(&mut self, report: &StepReport) {
        let terms: Map<String, Value> = report
            .terms
            .iter()
            .map(|(term, value)| (term.name().to_owned(), value.into()))
            .collect();
        self.0.push(json!({
            "loss": report.loss,
            "terms": terms,
            "gradient_norm": report.gradient_norm,
            "learning_rate": report.learning_rate,
        }));
    }
}

/// Two sums that no two vectors of weights met in practice share.
fn fingerprint(values: impl IntoIterator<Item = f32>) -> Value {
    let [mut sum, mut waves] = [0.0; 2];
    for (index, value) in values.into_iter().enumerate() {
        sum += f64::from(value);
        waves += f64::from(value) * (index as f64).cos();
    }
    json!([sum, waves])
}

fn record<M: SequentialVae>(model: M, data: &TrainData) -> Value {
    let before = gru::fused_runs();
    let mut steps = Steps::default();
    let fitted = fit(model, data, &training(), 5, None, &mut steps).expect("it trains");
    let fused_runs = gru::fused_runs() - before;
    let weights: Map<String, Value> = parameters(&fitted.model)
        .into_iter()
        .map(|(name, values)| (name, fingerprint(values)))
        .collect();
    let held_out: Map<String, Value> = fitted.history[0]
        .valid
        .iter()
        .map(|(term, value)| (term.name().to_owned(), value.into()))
        .collect();
    let inferred = posterior_mean(&fitted.model, data.valid(), 2, 5).expect("it infers");
    let mut posterior = Map::new();
    posterior.insert("factors".into(), fingerprint(inferred.factors));
    posterior.insert("rates_hz".into(), fingerprint(inferred.rates_hz));
    let [mean, sd] = match inferred.inputs {
        Some(inputs) => [Some(inputs.mean), Some(inputs.sd)],
        None => [None, None],
    };
    for (name, values) in [
        ("spikes", inferred.spikes),
        ("fluor", inferred.fluor),
        ("inputs", mean),
        ("inputs_sd", sd),
    ] {
        if let Some(values) = values {
            posterior.insert(name.into(), fingerprint(values));
        }
    }
    json!({
        "steps": steps.0,
        "fused_runs": fused_runs,
        "weights": weights,
        "held_out": held_out,
        "posterior_mean": posterior,
    })
}

fn all_models() -> Value {
    let device = Device::flex().autodiff();
    let (counts, fluorescence) = (counts(), fluorescence());
    let counting = count_ladder(&CountLadderConfig::default(), &device);
    let driven = CountLadderConfig {
        dynamics: driven_dynamics(),
        ..CountLadderConfig::default()
    };
    json!({
        "lfads": record(lfads(&device), &counts),
        "gaussian, as published":
            record(gaussian(Moments::AsPublished, &device), &fluorescence),
        "gaussian, exact": record(gaussian(Moments::Exact, &device), &fluorescence),
        "edgeworth, as published":
            record(edgeworth(Moments::AsPublished, &device), &fluorescence),
        "edgeworth, exact": record(edgeworth(Moments::Exact, &device), &fluorescence),
        "ladder": record(ladder(&device), &fluorescence),
        "count ladder": record(counting, &fluorescence),
        "count ladder, saturating":
            record(saturating_count_ladder(&device), &fluorescence),
        "lfads, driven": record(lfads_with(driven_dynamics(), &device), &counts),
        "gaussian, driven": record(
            gaussian_with(driven_dynamics(), Moments::AsPublished, &device),
            &fluorescence,
        ),
        "ladder, driven": record(ladder_with(driven_dynamics(), &device), &fluorescence),
        "count ladder, driven":
            record(count_ladder_with(INDICATOR.g, &driven, &device), &fluorescence),
        "zig lfads": record(zig_lfads_with(dynamics(), &device), &events()),
    })
}

/// Every place at which two records differ.
fn differences(place: &str, got: &Value, want: &Value, found: &mut Vec<String>) {
    match (got, want) {
        (Value::Object(got), Value::Object(want)) => {
            let names: std::collections::BTreeSet<_> = got.keys().chain(want.keys()).collect();
            for name in names {
                let [got, want] = [got, want].map(|map| map.get(name).unwrap_or(&Value::Null));
                differences(&format!("{place}/{name}"), got, want, found);
            }
        }
        (Value::Array(got), Value::Array(want)) if got.len() == want.len() => {
            for (index, (got, want)) in got.iter().zip(want).enumerate() {
                differences(&format!("{place}/{index}"), got, want, found);
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            if (a - b).abs() > TOLERANCE * (1.0 + b.abs()) {
                found.push(format!("{place}: {a}, recorded {b}"));
            }
        }
        _ if got == want => {}
        _ => found.push(format!("{place}: {got}, recorded {want}")),
    }
}

// One test: the kernels and the count of fused runs are the process's.
#[test]
fn three_steps_of_every_model_are_those_on_record() {
    gru::kernels::Isa::use_portable();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/three_steps.json");
    let got = all_models();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let text = serde_json::to_string_pretty(&got).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let want = std::fs::read_to_string(&path).expect("the record is there");
    let want: Value = serde_json::from_str(&want).expect("the record is JSON");
    let mut found = Vec::new();
    differences("", &got, &want, &mut found);
    assert!(
        found.is_empty(),
        "{} numbers differ:\n{}",
        found.len(),
        found[..found.len().min(40)].join("\n")
    );
}
