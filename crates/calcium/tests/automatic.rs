//! The automatic settings on simulated recordings.

use calcium::{
    Ar1, Automatic, AutomaticFit, CalciumError, Discretisation, Estimates, Kinetics, estimate,
};
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
    let truth = estimate::gaussian_smoothing(&spikes(), 0.08 / DT_S).unwrap();
    let mut trace = recording(0.6, 1.0, 5.0);
    let whole = correlation(&solve(&trace).activity, &truth);
    assert!(whole > 0.75, "{whole}");
    for t in (0..N_BINS).step_by(9) {
        trace[t] = f64::NAN;
    }
    let fit = solve(&trace);
    assert!(fit.result.spikes[9].is_nan() && fit.activity[9].is_finite());
    let gappy = correlation(&fit.activity, &truth);
    assert!(gappy > whole - 0.02, "{gappy} instead of {whole}");
}

fn estimated_tau(typical_tau_s: f64, trace: &[f64]) -> f64 {
    let problem = Automatic::new(DT_S).unwrap();
    let problem = problem.with_typical_tau(typical_tau_s).unwrap();
    problem.estimate(trace).unwrap().tau_s
}

#[test]
fn tau_is_halfway_between_the_spectrums_and_the_typical_one() {
    let mut found = Vec::new();
    for tau_s in [0.3, 0.6, 1.2] {
        let trace = recording(tau_s, 0.0, 0.0);
        for decay_s in [1.0, tau_s] {
            let typical = Kinetics {
                rise_s: 0.01,
                decay_s,
            };
            let spectrum = estimate::kinetics(&trace, DT_S, typical).unwrap();
            let halfway = (decay_s * spectrum.decay_s).sqrt();
            assert!((estimated_tau(decay_s, &trace) - halfway).abs() < 1e-12);
        }
        // Half the error of the spectrum, whose logarithm has an SD of 0.2 to 0.35: here it is 0.11 at most.
        let error = (estimated_tau(tau_s, &trace) / tau_s).ln();
        assert!(error.abs() < 0.12, "{error} for {tau_s}");
        found.push(estimated_tau(1.0, &trace));
    }
    assert!(found[0] < found[1] && found[1] < found[2], "{found:?}");
}

#[test]
fn tau_is_the_typical_one_where_the_spectrum_shows_no_decay() {
    assert!((estimated_tau(0.7, &[1.0; 50]) - 0.7).abs() < 1e-15);
    // The corner of this decay is at 0.13 Hz; below 3 Hz the spectrum is not looked at.
    let slow = estimated_tau(0.1, &recording(1.2, 0.0, 0.0));
    assert!((slow / 0.1).ln().abs() < 0.05, "{slow}");
    // Half the SD of the prior, which noise can not overcome.
    for noise in noise().chunks(1000) {
        let tau_s = estimated_tau(1.0, noise);
        assert!(tau_s.ln().abs() < 0.25, "{tau_s}");
    }
}

#[test]
fn given_kinetics_are_bounded() {
    let bounded = |rise_s: f64, decay_s: f64| {
        let problem = Automatic::new(DT_S).and_then(|problem| problem.with_typical_tau(0.5));
        let problem = problem.and_then(|p| p.with_kinetics(Kinetics { rise_s, decay_s }));
        let found = problem.unwrap().estimate(&noise()).unwrap();
        let (rise_s, decay_s) = (found.rise_s, found.tau_s);
        Kinetics { rise_s, decay_s }
    };
    for (rise_s, decay_s, expected) in [
        (0.05, 2.0, [0.05, 1.0]),
        (0.05, 0.125, [0.05, 0.25]),
        (0.3, 100.0, [0.2, 1.0]),
        (0.05, 0.001, [0.05, 0.1]),
    ] {
        let [rise, tau] = expected;
        let expected = Kinetics {
            rise_s: rise,
            decay_s: tau,
        };
        assert_eq!(bounded(rise_s, decay_s), expected);
    }
}

#[test]
fn estimates_alone_are_those_of_the_deconvolution() {
    let mut trace = recording(0.6, 1.0, 5.0);
    trace[700..720].fill(f64::NAN);
    let problem = Automatic::new(DT_S).unwrap();
    let fit = solve(&trace);
    let expected = Estimates {
        baseline: fit.baseline,
        noise_sd: fit.noise_sd,
        band_noise: estimate::band_noise(&trace).unwrap(),
        tau_s: fit.tau_s,
        rise_s: fit.rise_s,
    };
    assert_eq!(problem.estimate(&trace).unwrap(), expected);
    let error = problem.estimate(&trace[700..725]).unwrap_err();
    assert_eq!(error, problem.deconvolve(&trace[700..725]).unwrap_err());
    assert!(matches!(error, CalciumError::TooFewFrames { found: 5, .. }));
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
        error.starts_with("trace 0: the trace has 4 frames with data"),
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

/// Whatever clear transients of one trace show: kinetics of the whole recording are not a trace's to change.
#[test]
fn given_kinetics_hold_against_transients() {
    let mut spikes = vec![0.0; 6000];
    for spike in (100..6000).step_by(600) {
        spikes[spike] = 5.0;
    }
    let noise = |t: usize| (t * 7919 % 101) as f64 / 505.0 - 0.1;
    let calcium = Ar1::new((-1.0_f64 / 90.0).exp()).unwrap().convolve(&spikes);
    let trace: Vec<f64> = calcium
        .iter()
        .enumerate()
        .map(|(t, c)| c + noise(t))
        .collect();
    let automatic = Automatic::new(1.0 / 30.0).unwrap();
    let own = automatic.estimate(&trace).unwrap().tau_s;
    let kinetics = calcium::Kinetics {
        rise_s: 0.01,
        decay_s: 1.0,
    };
    let given = automatic.with_kinetics(kinetics).unwrap();
    let given = given.estimate(&trace).unwrap().tau_s;
    assert!((given - 1.0).abs() < 1e-9 && own > 1.5, "{given}, {own}");
}
