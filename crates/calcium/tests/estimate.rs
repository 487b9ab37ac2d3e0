//! Estimates against the public package, against brute force, and by their properties.

use std::collections::HashMap;

use calcium::oasis::{Ar1NoiseConstrained, Ar1Problem, Baseline, Fitted};
use calcium::{Ar1, CalciumError, estimate};
use estimate::Average;
use proptest::prelude::*;

const NAN: f64 = f64::NAN;

fn golden(name: &str) -> Vec<Vec<String>> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// The package's own example trace.
fn example() -> Vec<f64> {
    golden("example.tsv")[1..]
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect()
}

/// What the package makes of it.
fn expected() -> HashMap<String, f64> {
    golden("estimates/example.tsv")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].parse().unwrap()))
        .collect()
}

/// A trace of `n_bins` that is NaN in every `period`-th frame from frame 3.
fn with_gaps(trace: &[f64], period: usize) -> Vec<f64> {
    trace
        .iter()
        .enumerate()
        .map(|(t, &y)| if t % period == 3 { NAN } else { y })
        .collect()
}

fn rss(trace: &[f64], fit: &Fitted<f64>) -> f64 {
    let residuals = trace.iter().zip(&fit.result.calcium);
    residuals
        .filter(|(y, _)| !y.is_nan())
        .map(|(y, c)| (y - fit.baseline - c).powi(2))
        .sum()
}

fn constrained(noise_sd: f64) -> Ar1NoiseConstrained {
    Ar1NoiseConstrained::new(Ar1::new(0.95).unwrap(), noise_sd).unwrap()
}

#[test]
fn noise_and_dynamics_agree_with_the_package() {
    let (trace, expected) = (example(), expected());
    for n_bins in [200, 700, 3000] {
        let part = &trace[..n_bins];
        let mean = estimate::noise_sd(part, Average::Mean).unwrap();
        assert!((mean - expected[&format!("noise_sd_mean_{n_bins}")]).abs() < 1e-12);
        let median = estimate::noise_sd(part, Average::Median).unwrap();
        assert!((median - expected[&format!("noise_sd_median_{n_bins}")]).abs() < 1e-12);
        let g = estimate::ar1(part, mean, 10).unwrap().g();
        assert!((g - expected[&format!("g_{n_bins}")]).abs() < 1e-12);
    }
    let g = estimate::ar1(&trace, 0.3, 5).unwrap().g();
    assert!((g - expected["g_5_lags"]).abs() < 1e-12);
    let noise_sd = estimate::noise_sd(&trace, Average::Mean).unwrap();
    let [first, second] = estimate::ar2(&trace, noise_sd, 10).unwrap().g();
    assert!((first - expected["g1"]).abs() < 1e-10 && (second - expected["g2"]).abs() < 1e-10);
}

#[test]
fn gaps_barely_change_the_estimates() {
    let (trace, expected) = (example(), expected());
    let gappy = with_gaps(&trace, 7);
    let noise_sd = estimate::noise_sd(&gappy, Average::Mean).unwrap();
    assert!((noise_sd - expected["noise_sd_mean_3000"]).abs() < 0.02);
    let g = estimate::ar1(&gappy, noise_sd, 10).unwrap().g();
    assert!((g - expected["g_3000"]).abs() < 0.015, "{g}");
}

/// The package stops within 3·10⁻⁵ of the constraint; we meet it.
#[test]
fn the_penalty_for_a_given_noise_agrees_with_the_package() {
    let (trace, expected) = (example(), expected());
    let fit = constrained(0.3).deconvolve(&trace).unwrap();
    assert!((fit.lambda - expected["lambda"]).abs() < 1e-3);
    assert!((rss(&trace, &fit) - 270.0).abs() < 1e-7);
    let shifted: Vec<f64> = trace.iter().map(|y| y + 1.0).collect();
    for baseline in [Baseline::Free, Baseline::Nonnegative] {
        let problem = constrained(0.3).with_baseline(baseline).unwrap();
        let fit = problem.deconvolve(&shifted).unwrap();
        assert!((fit.lambda - expected["lambda_with_b"]).abs() < 1e-3);
        assert!((fit.baseline - 1.0 - expected["b_with_b"]).abs() < 1e-3);
        assert!((rss(&shifted, &fit) - 270.0).abs() < 1e-7);
    }
}

/// The package fits g as well, but where it ends depends on where it began and how long it is let: it is
/// asked to do its best here, and to be no nearer to the truth.
#[test]
fn a_fitted_g_finds_the_truth() {
    let (trace, expected) = (example(), expected());
    let shifted: Vec<f64> = trace.iter().map(|y| y + 1.0).collect();
    let mut found = Vec::new();
    for start in [0.9, 0.93, 0.97] {
        let problem = Ar1NoiseConstrained::new(Ar1::new(start).unwrap(), 0.3).unwrap();
        let problem = problem
            .with_baseline(Baseline::Free)
            .unwrap()
            .with_fitted_g();
        let fit = problem.deconvolve(&shifted).unwrap();
        assert!(
            (fit.ar.g() - 0.95).abs() < 0.005,
            "{} from {start}",
            fit.ar.g()
        );
        assert!((fit.ar.g() - 0.95).abs() < (expected["g_fitted"] - 0.95).abs());
        assert!((rss(&shifted, &fit) - 270.0).abs() < 1e-6);
        found.push(fit.ar.g());
    }
    assert!((found[0] - found[1]).abs() < 1e-4 && (found[0] - found[2]).abs() < 1e-4);
    let silent = constrained(1.0)
        .with_fitted_g()
        .deconvolve(&[0.0; 30])
        .unwrap();
    assert!(silent.result.spikes.iter().all(|&s| s == 0.0));
}

#[test]
fn many_traces_are_each_solved_alone() {
    let trace = example();
    let problem = constrained(0.3).with_baseline(Baseline::Free).unwrap();
    let fits = problem.deconvolve_many(&trace, 1000).unwrap();
    assert_eq!(fits.len(), 3);
    assert_eq!(fits[2], problem.deconvolve(&trace[2000..]).unwrap());
    let error = problem
        .deconvolve_many(&[0.0, f64::INFINITY], 1)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("trace 1: the trace is inf at frame 0")
    );
}

#[test]
fn noise_too_small_or_too_large_has_an_answer() {
    let trace = example();
    let fit = constrained(0.0).deconvolve(&trace).unwrap();
    assert!(fit.lambda == 0.0 && rss(&trace, &fit) > 0.0);
    let fit = constrained(100.0).deconvolve(&trace).unwrap();
    assert!(fit.result.spikes.iter().all(|&s| s == 0.0));
    let problem = constrained(0.1).with_baseline(Baseline::Free).unwrap();
    let fit = problem.deconvolve(&[NAN, NAN]).unwrap();
    assert!(fit.result.calcium.iter().all(|c| c.is_nan()));
}

fn frame() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1.0f64..3.0, 1 => Just(NAN)]
}

/// Frames around `t` as documented.
fn near(trace: &[f64], t: usize, window: usize) -> Vec<f64> {
    let end = (t + window.div_ceil(2)).min(trace.len());
    let near = trace[t.saturating_sub(window / 2)..end].iter().copied();
    near.filter(|y| !y.is_nan()).collect()
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| (a - b).abs() < 1e-12 || (a.is_nan() && b.is_nan()))
}

proptest! {
    #[test]
    fn rolling_baselines_agree_with_their_definition(
        trace in prop::collection::vec(frame(), 1..60), window in 1usize..20,
    ) {
        let extreme = |trace: &[f64], pick: fn(f64, f64) -> f64| -> Vec<f64> {
            let at = |t| near(trace, t, window).into_iter().reduce(pick).unwrap_or(NAN);
            (0..trace.len()).map(at).collect()
        };
        let low = extreme(&trace, f64::min);
        let lowest = estimate::percentile_baseline(&trace, window, 0.0).unwrap();
        prop_assert!(same(&low, &lowest));
        let maximin = estimate::maximin_baseline(&trace, 0.0, window).unwrap();
        prop_assert!(same(&maximin, &extreme(&low, f64::max)));
        let median = estimate::percentile_baseline(&trace, window, 50.0).unwrap();
        for (t, found) in median.iter().enumerate() {
            let mut near = near(&trace, t, window);
            near.sort_by(f64::total_cmp);
            let n = near.len();
            if n == 0 {
                prop_assert!(found.is_nan());
            } else {
                let expected = f64::midpoint(near[(n - 1) / 2], near[n / 2]);
                prop_assert!((found - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn smoothing_keeps_constants_and_lowers_noise(
        level in -2.0f64..2.0, smoothing in 0.0f64..5.0,
        noise in prop::collection::vec(-1.0f64..1.0, 2..60),
    ) {
        let flat = vec![level; noise.len()];
        let smooth = estimate::gaussian_smoothing(&with_gaps(&flat, 5), smoothing).unwrap();
        prop_assert!(smooth.iter().all(|y| (y - level).abs() < 1e-12 || smoothing < 0.5));
        let range = |trace: &[f64]| {
            trace.iter().fold(f64::MIN, |a, &b| a.max(b)) - trace.iter().fold(f64::MAX, |a, &b| a.min(b))
        };
        let smooth = estimate::gaussian_smoothing(&noise, smoothing).unwrap();
        prop_assert!(range(&smooth) <= range(&noise) + 1e-12);
    }

    #[test]
    fn noise_scales_with_the_trace_and_ignores_its_level(
        scale in 0.1f64..10.0, level in -5.0f64..5.0,
        trace in prop::collection::vec(frame(), 30..600),
    ) {
        let moved: Vec<f64> = trace.iter().map(|y| scale * y + level).collect();
        for average in [Average::Mean, Average::Median] {
            let plain = estimate::noise_sd(&trace, average).unwrap();
            let moved = estimate::noise_sd(&moved, average).unwrap();
            prop_assert!((moved - scale * plain).abs() < 1e-9 * scale);
        }
    }

    #[test]
    fn the_constraint_is_tight_and_the_answer_optimal(
        g in 0.2f64..0.98, share in 0.05f64..0.9, free in any::<bool>(),
        trace in prop::collection::vec(frame(), 10..80),
    ) {
        let ar = Ar1::new(g).unwrap();
        let baseline = if free { Baseline::Free } else { Baseline::Fixed(0.0) };
        let solve = |noise_sd: f64| {
            let problem = Ar1NoiseConstrained::new(ar, noise_sd).unwrap().with_baseline(baseline).unwrap();
            problem.deconvolve(&trace).unwrap()
        };
        let n = trace.iter().filter(|y| !y.is_nan()).count() as f64;
        prop_assume!(n > 5.0 && !trace[0].is_nan());
        // Between the best fit and silence any noise can be met.
        let (least, most) = (rss(&trace, &solve(0.0)), rss(&trace, &solve(100.0)));
        prop_assume!(most > least + 1e-3);
        let target = least + share * (most - least);
        let fit = solve((target / n).sqrt());
        let problem = Ar1Problem::new(ar).with_lambda(fit.lambda).unwrap();
        let above: Vec<f64> = trace.iter().map(|y| y - fit.baseline).collect();
        prop_assert_eq!(format!("{:?}", problem.deconvolve(&above).unwrap()), format!("{:?}", fit.result));
        prop_assert!((rss(&trace, &fit) - target).abs() < 1e-6, "{} for {target}", rss(&trace, &fit));
        let lowest = trace.iter().copied().fold(f64::INFINITY, f64::min);
        if free && fit.baseline > lowest {
            let sum: f64 = above.iter().zip(&fit.result.calcium).map(|(y, c)| y - c)
                .filter(|r| !r.is_nan()).sum();
            prop_assert!(sum.abs() < 1e-6, "residuals sum to {sum}");
        }
    }
}

/// Traces whose best baseline is, or is not far from, the lowest sample.
#[test]
fn the_constraint_is_tight_where_the_baseline_is_at_its_bound() {
    let slow = [2.48, 1.17, 0.0, 2.94, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let fast = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.93, 0.0, 0.0, 0.0];
    for (trace, g, noise_sds) in [(slow, 0.97, [1.051, 1.06]), (fast, 0.89, [0.8, 0.83])] {
        for noise_sd in noise_sds {
            let problem = Ar1NoiseConstrained::new(Ar1::new(g).unwrap(), noise_sd).unwrap();
            let problem = problem.with_baseline(Baseline::Free).unwrap();
            let rss = rss(&trace, &problem.deconvolve(&trace).unwrap());
            let target = 10.0 * noise_sd * noise_sd;
            assert!((rss - target).abs() < 1e-6, "{rss} for {target}");
        }
    }
}

#[test]
fn bad_input_is_named() {
    let message = |error: CalciumError| error.to_string();
    let error = estimate::noise_sd(&[1.0, NAN, 2.0], Average::Mean).unwrap_err();
    assert!(message(error).contains("2 frames with data; estimating noise_sd needs at least 8"));
    let error = estimate::ar1(&[0.0; 20], 0.0, 10).unwrap_err();
    assert!(message(error).starts_with("the autocovariance gives g = "));
    let error = estimate::percentile_baseline(&[0.0], 3, 101.0).unwrap_err();
    assert!(message(error).starts_with("percentile = 101 "));
    let error = estimate::maximin_baseline(&[0.0], 1.0, 0).unwrap_err();
    assert!(message(error).starts_with("window is 0"));
    let error = estimate::gaussian_smoothing(&[f64::INFINITY], 1.0).unwrap_err();
    assert!(message(error).starts_with("the trace is inf at frame 0"));
    let error = constrained(0.1)
        .with_baseline(Baseline::Fixed(NAN))
        .unwrap_err();
    assert_eq!(message(error), "baseline = NaN is not finite");
}

#[test]
fn a_baseline_that_must_not_be_negative_is_not() {
    let trace: Vec<f64> = (0..60).map(|t| f64::from(t % 7) * 0.1 - 5.0).collect();
    let problem = Ar1NoiseConstrained::new(Ar1::new(0.9).unwrap(), 0.2).unwrap();
    let fit = |baseline| {
        problem
            .with_baseline(baseline)
            .unwrap()
            .deconvolve(&trace)
            .unwrap()
    };
    assert!(fit(Baseline::Free).baseline < -4.0);
    assert!(fit(Baseline::Nonnegative).baseline >= 0.0);
}

/// Interference above what indicators follow does not count.
#[test]
fn a_hum_does_not_change_the_kinetics() {
    let noise = |t: usize| (t * 7919 % 1009) as f64 / 1009.0 - 0.5;
    let mut spikes = vec![0.0; 20_000];
    for spike in (50..20_000).step_by(173) {
        spikes[spike + spike * spike % 97] = 1.0;
    }
    let calcium = Ar1::new((-0.005_f64 / 0.5).exp())
        .unwrap()
        .convolve(&spikes);
    let typical = calcium::Kinetics {
        rise_s: 0.02,
        decay_s: 0.7,
    };
    let found = |hum: f64| {
        let at = |(t, c): (usize, &f64)| c + 0.1 * noise(t) + hum * (1.2566 * t as f64).sin();
        let trace: Vec<f64> = calcium.iter().enumerate().map(at).collect();
        calcium::estimate::kinetics(&trace, 0.005, typical).unwrap()
    };
    let (quiet, loud) = (found(0.0), found(0.3));
    assert!(
        (loud.decay_s / quiet.decay_s).ln().abs() < 0.05,
        "{quiet:?}, {loud:?}"
    );
    assert!(
        (loud.rise_s / quiet.rise_s).ln().abs() < 0.05,
        "{quiet:?}, {loud:?}"
    );
}
