//! The automatic settings on simulated recordings.

use calcium::{Ar1, Automatic, AutomaticFit, CalciumError, Discretisation};
use proptest::prelude::*;

const DT_S: f64 = 1.0 / 30.0;
const N_BINS: usize = 3000;

/// Spikes of the package's example, which fire at 0.5 Hz.
fn spikes() -> Vec<f64> {
    let text = include_str!("golden/example.tsv");
    let column = text.lines().skip(1).map(|line| line.split('\t').nth(1));
    column
        .map(|spike| spike.unwrap().parse().unwrap())
        .collect()
}

/// The noise of the package's example: its SD is 0.3.
fn noise() -> Vec<f64> {
    let text = include_str!("golden/example.tsv");
    let column = text.lines().skip(1).map(|line| line.split('\t').next());
    let trace: Vec<f64> = column.map(|y| y.unwrap().parse().unwrap()).collect();
    let calcium = Ar1::new(0.95).unwrap().convolve(&spikes());
    trace.iter().zip(&calcium).map(|(y, c)| y - c).collect()
}

/// A drifting recording with decay `tau_s`.
fn recording(tau_s: f64, drift: f64, level: f64) -> Vec<f64> {
    let ar = Ar1::from_tau(tau_s, DT_S, Discretisation::Exact).unwrap();
    let calcium = ar.convolve(&spikes());
    let drift = (0..N_BINS).map(|t| level + drift * (t as f64 / N_BINS as f64 * 6.0).sin());
    let samples = calcium.iter().zip(noise()).zip(drift);
    samples.map(|((c, e), d)| c + e + d).collect()
}

fn solve(trace: &[f64]) -> AutomaticFit<f64> {
    Automatic::new(DT_S).unwrap().deconvolve(trace).unwrap()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let sum = |pairs: &[(f64, f64)]| -> f64 {
        pairs.iter().map(|(a, b)| (a - mean_a) * (b - mean_b)).sum()
    };
    let zip = |a: &[f64], b: &[f64]| a.iter().copied().zip(b.iter().copied()).collect::<Vec<_>>();
    let covariance = sum(&zip(a, b));
    let deviation = |x: &[f64], mean: f64| x.iter().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt();
    covariance / deviation(a, mean_a) / deviation(b, mean_b)
}

#[test]
fn activity_follows_the_spikes_through_drift_and_gaps() {
    let truth = calcium::estimate::gaussian_smoothing(&spikes(), 0.08 / DT_S).unwrap();
    let mut trace = recording(0.6, 1.0, 5.0);
    let whole = correlation(&solve(&trace).activity, &truth);
    assert!(whole > 0.7, "{whole}");
    for t in (0..N_BINS).step_by(9) {
        trace[t] = f64::NAN;
    }
    let fit = solve(&trace);
    assert!(fit.result.spikes[9].is_nan() && fit.activity[9].is_finite());
    let gappy = correlation(&fit.activity, &truth);
    assert!(gappy > whole - 0.1, "{gappy} instead of {whole}");
}

#[test]
fn the_time_constant_follows_the_trace_within_bounds() {
    let taus: Vec<f64> = [0.3, 0.6, 1.2]
        .map(|tau_s| solve(&recording(tau_s, 0.0, 0.0)).tau_s)
        .to_vec();
    assert!(taus[0] < taus[1] && taus[1] < taus[2], "{taus:?}");
    for (found, truth) in taus.iter().zip([0.3f64, 0.6, 1.2]) {
        assert!(
            (found / truth.sqrt()).ln().abs() < 0.35,
            "{found} for {truth}"
        );
    }
    // Noise alone, and nothing at all, leave tau between its bounds.
    for trace in [noise(), vec![1.0; 50]] {
        let tau_s = solve(&trace).tau_s;
        assert!((0.2..=2.0).contains(&tau_s), "{tau_s}");
    }
    let problem = Automatic::new(DT_S).unwrap().with_typical_tau(0.1).unwrap();
    let tau_s = problem.deconvolve(&recording(1.2, 0.0, 0.0)).unwrap().tau_s;
    assert!((0.02..=0.2).contains(&tau_s), "{tau_s}");
}

#[test]
fn many_recordings_are_each_solved_alone() {
    let trace = recording(0.6, 1.0, 5.0);
    let problem = Automatic::new(DT_S)
        .and_then(|problem| problem.with_baseline_window(10.0))
        .and_then(|problem| problem.with_smoothing(0.05))
        .unwrap();
    let fits = problem.deconvolve_many(&trace, 1000).unwrap();
    let shared = problem.kinetics(&trace, 1000).unwrap();
    let alone = problem.with_kinetics(shared).unwrap();
    assert_eq!(fits[1], alone.deconvolve(&trace[1000..2000]).unwrap());
    let error = problem
        .deconvolve_many(&[0.0; 8], 4)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("trace 0: the trace has data in 4 frames"),
        "{error}"
    );
    let error = Automatic::new(0.0).unwrap_err();
    assert_eq!(
        error,
        CalciumError::NotADuration {
            name: "dt_s",
            value: 0.0
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn level_and_units_do_not_matter(level in -100.0f64..100.0, scale in 0.01f64..100.0) {
        let trace = recording(0.6, 0.5, 0.0);
        let moved: Vec<f64> = trace.iter().map(|y| scale * y + level).collect();
        let (plain, moved) = (solve(&trace), solve(&moved));
        prop_assert!((plain.tau_s - moved.tau_s).abs() < 1e-6);
        for (a, b) in plain.activity.iter().zip(&moved.activity) {
            prop_assert!((scale * a - b).abs() < 1e-6 * scale);
        }
    }
}
