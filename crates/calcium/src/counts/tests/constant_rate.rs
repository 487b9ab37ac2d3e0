//! Rate and noise are found, and a unit in which there is no counting is refused.

use super::*;
use crate::{Ar2, CalciumError};

fn response(rise: f64) -> SpikeResponse {
    SpikeResponse {
        ar: Ar2::from_roots(0.8, rise).unwrap(),
        gain: 1.0,
        baseline: 0.0,
        saturation: None,
        starts_decaying: false,
    }
}

#[test]
fn rate_and_noise_are_found_and_the_counts_are_bayes_rule() {
    let model: CountModel<2, LinearSensor> = CountModel {
        calcium: CalciumDynamics {
            coefficients: [1.2, -0.32],
            gain: 1.0,
            baseline: 0.0,
        },
        sensor: LinearSensor::new(0.3),
        start: Start::Rest,
    };
    let means = vec![0.15; 300];
    let mut random = 5;
    let traces: Vec<Vec<f32>> = (0..10)
        .map(|_| simulate(&model, &means, 0.3, &mut random))
        .collect();
    let traces: Vec<&[f32]> = traces.iter().map(Vec::as_slice).collect();
    let fit = ConstantRate::fit(response(0.4), &traces).unwrap();
    assert!(
        (fit.mean_count() / 0.15 - 1.0).abs() < 0.1,
        "{}",
        fit.mean_count()
    );
    assert!(
        (fit.noise_sd() / 0.3 - 1.0).abs() < 0.05,
        "{}",
        fit.noise_sd()
    );
    let log_means = logarithms(&means);
    let trace = Trace {
        x: traces[0],
        log_means: &log_means,
    };
    let told = model.smooth(trace, &mut Smoother::default());
    let found = fit.infer(traces[0]);
    let off = found
        .expected
        .iter()
        .zip(&told.expected)
        .map(|(a, b)| (a - b).abs());
    assert!(off.fold(0.0, f32::max) < 0.1);
}

#[test]
fn a_unit_far_too_small_is_refused() {
    let trace: Vec<f32> = (0..100).map(|t| 8e6 + 10.0 * (t % 7) as f32).collect();
    let error = ConstantRate::fit(response(0.0), &[&trace]).unwrap_err();
    assert!(
        matches!(error, CalciumError::TooManySpikes { .. }),
        "{error}"
    );
    let nothing = ConstantRate::fit(response(0.0), &[&[f32::NAN; 5]]).unwrap_err();
    assert_eq!(nothing, CalciumError::EmptyTrace);
}
