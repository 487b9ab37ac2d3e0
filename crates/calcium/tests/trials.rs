//! Trials that are joined give what each gives alone.

use std::ops::Range;

use calcium::estimate::{maximin_baseline, maximin_baseline_of_trials};
use calcium::oasis::{Ar1NoiseConstrained, Ar1Problem, Ar2Problem, Baseline, Deconvolved};
use calcium::trials::trials;
use calcium::{Ar1, Ar2, Automatic, CalciumError, decay_seen, decay_seen_in_trials};
use proptest::prelude::*;

/// Trials with and without missing frames.
fn some_trials() -> impl Strategy<Value = Vec<Vec<f64>>> {
    let frame = prop_oneof![8 => -1.0f64..3.0, 1 => Just(f64::NAN)];
    prop::collection::vec(prop::collection::vec(frame, 1..40), 1..8)
}

fn starts_of(trials: &[Vec<f64>]) -> Vec<usize> {
    let starts = trials.iter().scan(0, |next, trial| {
        *next += trial.len();
        Some(*next - trial.len())
    });
    starts.collect()
}

/// Bits, so that NaN is NaN.
fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn assert_same(joined: &Deconvolved<f64>, alone: &[Deconvolved<f64>]) {
    let calcium = alone.iter().flat_map(|found| found.calcium.clone());
    let spikes = alone.iter().flat_map(|found| found.spikes.clone());
    assert_eq!(bits(&joined.calcium), bits(&calcium.collect::<Vec<_>>()));
    assert_eq!(bits(&joined.spikes), bits(&spikes.collect::<Vec<_>>()));
}

fn each<R>(trials: &[Vec<f64>], of_one: impl Fn(&[f64]) -> Result<R, CalciumError>) -> Vec<R> {
    trials.iter().map(|trial| of_one(trial).unwrap()).collect()
}

proptest! {
    #[test]
    fn ar1(trials in some_trials(), g in 0.0f64..0.999, lambda in 0.0f64..0.5, s_min in 0.0f64..0.5) {
        let problem = Ar1Problem::new(Ar1::new(g).unwrap()).with_lambda(lambda).unwrap();
        for problem in [problem, problem.with_s_min(s_min).unwrap()] {
            let joined = problem.deconvolve_trials(&trials.concat(), &starts_of(&trials)).unwrap();
            assert_same(&joined, &each(&trials, |trial| problem.deconvolve(trial)));
        }
    }

    #[test]
    fn ar2(trials in some_trials(), d in 0.5f64..0.99, r in 0.0f64..0.5, lambda in 0.0f64..0.5, s_min in 0.1f64..0.5) {
        let problem = Ar2Problem::new(Ar2::from_roots(d, r).unwrap()).with_lambda(lambda).unwrap();
        for problem in [problem, problem.with_s_min(s_min).unwrap()] {
            let joined = problem.deconvolve_trials(&trials.concat(), &starts_of(&trials)).unwrap();
            assert_same(&joined, &each(&trials, |trial| problem.deconvolve(trial)));
        }
    }

    /// They share lambda, baseline and the sum of squares that the noise allows.
    #[test]
    fn noise_constrained(trials in some_trials(), g in 0.1f64..0.98, noise_sd in 0.05f64..0.6) {
        let ar = Ar1::new(g).unwrap();
        let (trace, starts) = (trials.concat(), starts_of(&trials));
        let problem = Ar1NoiseConstrained::new(ar, noise_sd).unwrap();
        let problem = problem.with_baseline(Baseline::Free).unwrap();
        let fit = problem.deconvolve_trials(&trace, &starts).unwrap();
        let at_lambda = Ar1Problem::new(ar).with_lambda(fit.lambda).unwrap();
        let alone = each(&trials, |trial| {
            let above: Vec<f64> = trial.iter().map(|y| y - fit.baseline).collect();
            at_lambda.deconvolve(&above)
        });
        assert_same(&fit.result, &alone);
        let residuals = trace.iter().zip(&fit.result.calcium).map(|(y, c)| y - fit.baseline - c);
        let present: Vec<f64> = residuals.filter(|r| !r.is_nan()).collect();
        let rss: f64 = present.iter().map(|r| r * r).sum();
        let allowed = noise_sd * noise_sd * present.len() as f64;
        // Where no penalty meets the constraint exactly, spikes are silent or lambda is 0.
        let is_silent = fit.result.calcium.iter().all(|c| c.is_nan() || *c == 0.0);
        let is_extreme = fit.lambda == 0.0 || is_silent;
        prop_assert!(is_extreme || (rss - allowed).abs() < 1e-6 * allowed, "{rss}, not {allowed}");
    }

    /// What is smoothed, or looked for behind a frame, is of the same trial: their order does not matter.
    #[test]
    fn their_order_does_not_matter(trials in some_trials(), turn in 0usize..8) {
        let mut turned = trials.clone();
        turned.rotate_left(turn % trials.len());
        let expected = |trials: &[Vec<f64>]| {
            let automatic = Automatic::new(0.01).unwrap();
            let mut trace = trials.concat();
            // Enough frames with data for an estimate.
            trace.extend((0..16).map(|i| f64::from(i % 3)));
            let mut starts = starts_of(trials);
            starts.push(trials.concat().len());
            let mut estimates = automatic.estimate_trials(&trace, &starts).unwrap();
            (estimates.tau_s, estimates.rise_s) = (0.3, 0.02);
            estimates.band_noise.sd = 0.3;
            let found = automatic.expected_spikes_of_trials(&trace, &starts, &estimates).unwrap();
            let spans = calcium::trials::trials(trace.len(), &starts);
            spans[..trials.len()].iter().map(|span| found[span.clone()].to_vec()).collect::<Vec<_>>()
        };
        let (found, mut other) = (expected(&trials), expected(&turned));
        other.rotate_right(turn % trials.len());
        for (a, b) in found.concat().iter().zip(&other.concat()) {
            prop_assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "{a}, {b}");
        }
    }

    /// A window that reaches over everything finds the floor of the lowest trial, each smoothed alone.
    #[test]
    fn floors(trials in some_trials(), smoothing in 0.0f64..5.0) {
        let (trace, starts) = (trials.concat(), starts_of(&trials));
        let window = 4 * trace.len();
        let joined = maximin_baseline_of_trials(&trace, &starts, smoothing, window).unwrap();
        let alone = each(&trials, |trial| maximin_baseline(trial, smoothing, window));
        let lowest = alone.iter().flatten().copied().fold(f64::NAN, f64::min);
        for floor in joined {
            prop_assert!(floor.to_bits() == lowest.to_bits() || floor.is_nan() && lowest.is_nan());
        }
    }
}

/// Transients of one decay, in trials too short to hold a baseline of their own.
fn transients(n_trials: usize, frames: Range<i32>, tau: f64) -> Vec<Vec<f64>> {
    let at = |trial: usize, t: i32| (1.0 + trial as f64) * (-f64::from(t) / tau).exp();
    let trial = |trial| frames.clone().map(|t| at(trial, t)).collect();
    (0..n_trials).map(trial).collect()
}

#[test]
fn a_decay_is_seen_in_trials() {
    let trials = transients(20, 0..12, 8.0);
    let (trace, starts) = (trials.concat(), starts_of(&trials));
    let found = decay_seen_in_trials(&trace, &starts, 0.1, 0.01).unwrap();
    assert!((found - 0.8).abs() < 0.05, "{found}");
    // Within a trial less than half is gone, though it is where the next begins.
    let mut trials = transients(20, 0..4, 8.0);
    for trial in &mut trials {
        trial.splice(0..0, [0.0; 3]);
    }
    let (trace, starts) = (trials.concat(), starts_of(&trials));
    assert_eq!(decay_seen_in_trials(&trace, &starts, 0.1, 0.01), None);
    assert!(decay_seen(&trace, 0.1, 0.01).is_some());
}

#[test]
fn an_infinite_value_is_named_by_its_place_among_all() {
    let (trace, starts) = ([0.0, 1.0, 2.0, f64::INFINITY], [0, 2]);
    let ar = Ar1::new(0.5).unwrap();
    let refused = Ar1Problem::new(ar).deconvolve_trials(&trace, &starts);
    assert!(matches!(
        refused,
        Err(CalciumError::Infinite { index: 3, .. })
    ));
    let refused = Ar2Problem::new(Ar2::from_roots(0.5, 0.1).unwrap());
    let refused = refused.deconvolve_trials(&trace, &starts);
    assert!(matches!(
        refused,
        Err(CalciumError::Infinite { index: 3, .. })
    ));
    assert_eq!(trials(4, &starts), [0..2, 2..4]);
}
