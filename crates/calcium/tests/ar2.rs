//! AR(2) deconvolution: optimality, recovery, and agreement with the public package.

use calcium::oasis::{Ar2Problem, Deconvolved};
use calcium::{Ar2, CalciumError};
use proptest::prelude::*;

const NAN: f64 = f64::NAN;

fn solve(ar: Ar2, lambda: f64, trace: &[f64]) -> Deconvolved<f64> {
    let problem = Ar2Problem::new(ar).with_lambda(lambda).unwrap();
    problem.deconvolve(trace).unwrap()
}

/// Gᵀx for the G that takes calcium to spikes, and to `c_1 − d·c_0` in frame 1.
fn transposed(ar: Ar2, x: &[f64]) -> Vec<f64> {
    let ([g1, g2], [decay, _]) = (ar.g(), ar.roots());
    let at = |t: usize| x.get(t).copied().unwrap_or_default();
    (0..x.len())
        .map(|t| {
            let first = if t == 0 { decay } else { g1 };
            at(t) - first * at(t + 1) - g2 * at(t + 2)
        })
        .collect()
}

/// z of Gᵀz = x.
fn untransposed(ar: Ar2, x: &[f64]) -> Vec<f64> {
    let ([g1, g2], [decay, _]) = (ar.g(), ar.roots());
    let mut z = vec![0.0; x.len() + 2];
    for t in (0..x.len()).rev() {
        let first = if t == 0 { decay } else { g1 };
        z[t] = x[t] + first * z[t + 1] + g2 * z[t + 2];
    }
    z.truncate(x.len());
    z
}

#[test]
fn the_package_agrees() {
    for name in ["plain", "lambda", "s_min", "lambda_and_s_min"] {
        let path = format!("{}/tests/golden/ar2/{name}.tsv", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let header: Vec<&str> = text.lines().next().unwrap().split('\t').collect();
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(1)
            .map(|line| line.split('\t').map(|x| x.parse().unwrap()).collect())
            .collect();
        let number = |index: usize| header[index].parse::<f64>().unwrap();
        let ar = Ar2::new(number(1), number(3)).unwrap();
        let trace: Vec<f64> = rows.iter().map(|row| row[0]).collect();
        let problem = Ar2Problem::new(ar).with_lambda(number(5)).unwrap();
        let problem = problem.with_s_min(number(7)).unwrap();
        let result = problem.deconvolve(&trace).unwrap();
        for (t, row) in rows.iter().enumerate() {
            assert!(
                (result.calcium[t] - row[1]).abs() < 1e-6,
                "{name}: calcium at {t}: {} and {}",
                result.calcium[t],
                row[1]
            );
            assert!(
                (result.spikes[t] - row[2]).abs() < 1e-6,
                "{name}: spikes at {t}"
            );
        }
    }
}

proptest! {
    #[test]
    fn traces_with_gaps_are_fitted_where_they_have_data(
        decay in 0.3f64..0.98, rise in 0.0f64..0.9,
        trace in prop::collection::vec(prop_oneof![3 => -1.0f64..3.0, 1 => Just(NAN)], 3..60),
    ) {
        let ar = Ar2::from_roots(decay, rise).unwrap();
        let result = solve(ar, 0.1, &trace);
        prop_assert!(result.spikes.iter().zip(&trace).all(|(s, y)| s.is_nan() == y.is_nan()));
        let squares = |result: &Deconvolved<f64>| -> f64 {
            let residuals = result.calcium.iter().zip(&trace).map(|(c, y)| c - y);
            residuals.filter(|r| !r.is_nan()).map(|r| r * r).sum()
        };
        let silent: f64 = trace.iter().filter(|y| !y.is_nan()).map(|y| y * y).sum();
        prop_assert!(squares(&result) <= silent + 1e-6);
        prop_assert!(squares(&solve(ar, 0.0, &trace)) <= squares(&result) + 1e-6);
    }

    #[test]
    fn the_answer_meets_the_optimality_conditions(
        decay in 0.3f64..0.98, rise in 0.0f64..0.9, lambda in 0.0f64..1.0,
        trace in prop::collection::vec(-1.0f64..3.0, 2..60),
    ) {
        let ar = Ar2::from_roots(decay, rise).unwrap();
        let result = solve(ar, lambda, &trace);
        let pull = transposed(ar, &vec![lambda; trace.len()]);
        let slope: Vec<f64> = (0..trace.len())
            .map(|t| result.calcium[t] - trace[t] + pull[t])
            .collect();
        let multipliers = untransposed(ar, &slope);
        for (t, &z) in multipliers.iter().enumerate() {
            let spike = if t == 0 { result.calcium[0] } else { result.spikes[t] };
            prop_assert!(spike >= 0.0 && z > -1e-5, "s = {spike}, z = {z} at {t}");
            prop_assert!(spike * z < 1e-5, "s = {spike}, z = {z} at {t}");
        }
    }

    #[test]
    fn noiseless_spikes_are_recovered_through_gaps(
        decay in 0.5f64..0.98, rise in 0.0f64..0.8, scale in 0.01f64..100.0,
        spikes in prop::collection::vec(prop_oneof![4 => Just(0.0), 1 => 0.6f64..3.0], 10..80),
        gap in 3usize..7,
    ) {
        let ar = Ar2::from_roots(decay, rise).unwrap();
        let mut spikes: Vec<f64> = spikes.iter().map(|s| scale * s).collect();
        spikes[0] = 0.0;
        spikes[gap] = 0.0;
        let mut trace = ar.convolve(&spikes);
        trace[gap] = NAN;
        // Without a spike after it the missing frame says nothing false.
        let result = solve(ar, 0.0, &trace);
        prop_assert!(result.spikes[gap].is_nan() && result.calcium[gap].is_nan());
        for (t, c) in trace.iter().enumerate().filter(|(_, c)| !c.is_nan()) {
            prop_assert!((result.calcium[t] - c).abs() < 1e-4 * scale, "{t}");
        }
        for t in (0..spikes.len()).filter(|t| t.abs_diff(gap) > 2) {
            prop_assert!((result.spikes[t] - spikes[t]).abs() < 1e-3 * scale, "{t}");
        }
    }
}

#[test]
fn the_initial_condition_decays_by_the_slow_root() {
    let trace: Vec<f64> = (0..20).map(|t| 3.0 * 0.9f64.powi(t)).collect();
    let result = solve(Ar2::from_roots(0.9, 0.4).unwrap(), 0.0, &trace);
    assert!(result.spikes.iter().all(|&s| s < 1e-6));
    assert!(
        result
            .calcium
            .iter()
            .zip(&trace)
            .all(|(c, y)| (c - y).abs() < 1e-6)
    );
}

#[test]
fn odd_traces_have_answers() {
    let ar = Ar2::from_roots(0.9, 0.4).unwrap();
    assert!(
        solve(ar, 0.5, &[NAN, NAN])
            .calcium
            .iter()
            .all(|c| c.is_nan())
    );
    assert_eq!(solve(ar, 0.5, &[0.0; 5]).spikes, [0.0; 5]);
    let alone = solve(ar, 0.5, &[2.0]);
    assert!((alone.calcium[0] - 1.5).abs() < 1e-9 && alone.spikes[0] == 0.0);
    let problem = Ar2Problem::new(ar);
    let many = problem
        .deconvolve_many(&[0.0f32, 1.0, 0.5, 1.0, 0.9, 0.8], 3)
        .unwrap();
    assert_eq!(many[1], problem.deconvolve(&[1.0f32, 0.9, 0.8]).unwrap());
    assert_eq!(
        problem.deconvolve::<f64>(&[]).unwrap_err(),
        CalciumError::EmptyTrace
    );
    assert!(problem.with_lambda(-1.0).is_err());
}
