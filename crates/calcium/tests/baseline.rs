//! The baseline: where traces are quiet, whatever the frame rate and whatever else happens.

use calcium::{Ar1, Discretisation, QuietBaseline, estimate};
use proptest::prelude::*;

/// Deterministic numbers that are uniform on [0, 1).
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

fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut uniform = Uniform(seed);
    (0..n).map(|_| uniform.normal()).collect()
}

/// Calcium of spikes at this rate, each as high as 1.
fn calcium(n: usize, hz: f64, rate_hz: f64, tau_s: f64, seed: u64) -> Vec<f64> {
    let mut uniform = Uniform(seed);
    let spikes: Vec<f64> = (0..n)
        .map(|_| f64::from(uniform.draw() < rate_hz / hz))
        .collect();
    let ar = Ar1::from_tau(tau_s, 1.0 / hz, Discretisation::Exact).unwrap();
    ar.convolve(&spikes)
}

fn sum(a: &[f64], b: &[f64], scale: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + scale * b).collect()
}

fn baseline(trace: &[f64], hz: f64, tau_s: f64) -> Vec<f64> {
    let noise = estimate::band_noise(trace).unwrap();
    let found = QuietBaseline::new(1.0 / hz, tau_s).unwrap();
    found.of(trace, noise.sd).unwrap()
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

#[test]
fn pure_noise_is_quiet_at_every_rate() {
    for hz in [1.0, 2.0, 3.0, 7.5, 10.0, 30.0, 100.0] {
        let found = baseline(&noise((600.0 * hz) as usize, 5), hz, 1.0);
        let off = mean(&found);
        assert!(off.abs() < 0.3, "{hz} Hz: {off} SDs off");
        let furthest = found.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        assert!(furthest < 1.0, "{hz} Hz: {furthest} SDs off");
    }
}

#[test]
fn transients_do_not_lift_it() {
    for (hz, rate_hz, tau_s, snr) in [
        (30.0, 0.3, 0.7, 4.0),
        (5.0, 0.2, 1.0, 6.0),
        (1.0, 0.05, 1.5, 5.0),
    ] {
        let n = (600.0 * hz) as usize;
        let trace = sum(&noise(n, 1), &calcium(n, hz, rate_hz, tau_s, 2), snr);
        let off = mean(&baseline(&trace, hz, tau_s));
        // Of a spike, and what the first moment of silence leaves.
        assert!(off.abs() < 0.15 * snr, "{hz} Hz: {off} SDs off");
    }
}

#[test]
fn brief_dips_do_not_pull_it_down() {
    let (hz, n) = (30.0, 9000);
    let mut trace = sum(&noise(n, 3), &calcium(n, hz, 0.3, 0.7, 4), 4.0);
    let before = baseline(&trace, hz, 0.7);
    for start in (100..n - 20).step_by(300) {
        trace[start..start + 12].iter_mut().for_each(|y| *y -= 15.0);
    }
    let after = baseline(&trace, hz, 0.7);
    for (a, b) in before.iter().zip(&after) {
        assert!((a - b).abs() < 0.5, "{a} became {b}");
    }
}

#[test]
fn trials_have_their_offsets() {
    let (hz, n, length) = (30.0, 12_000, 300);
    let plain = sum(&noise(n, 5), &calcium(n, hz, 0.3, 0.7, 6), 4.0);
    let mut uniform = Uniform(7);
    let offsets: Vec<f64> = (0..n / length).map(|_| 6.0 * uniform.normal()).collect();
    let trace: Vec<f64> = (0..n).map(|t| plain[t] + offsets[t / length]).collect();
    let starts: Vec<usize> = (0..n / length).map(|trial| trial * length).collect();
    let found = QuietBaseline::new(1.0 / hz, 0.7)
        .unwrap()
        .with_trials(&starts);
    let found = found.of(&trace, 1.0).unwrap();
    let errors: Vec<f64> = (0..n)
        .map(|t| (found[t] - offsets[t / length]).abs())
        .collect();
    assert!(mean(&errors) < 0.6, "{}", mean(&errors));
    // Trials that do not differ are not told apart.
    let same = QuietBaseline::new(1.0 / hz, 0.7)
        .unwrap()
        .with_trials(&starts);
    let same = same.of(&plain, 1.0).unwrap();
    let furthest = same.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    assert!(furthest < 0.8, "{furthest}");
}

#[test]
fn sessions_that_jump_are_told_apart() {
    let (hz, n) = (10.0, 9000);
    let plain = sum(&noise(n, 8), &calcium(n, hz, 0.2, 1.0, 9), 5.0);
    for (first, height) in [(3111, 8.0), (5432, -12.0)] {
        let trace: Vec<f64> = (0..n)
            .map(|t| plain[t] + if t >= first { height } else { 0.0 })
            .collect();
        let found = baseline(&trace, hz, 1.0);
        for t in (20..n - 20).filter(|t| t.abs_diff(first) > 12) {
            let truth = if t >= first { height } else { 0.0 };
            assert!(
                (found[t] - truth).abs() < 1.5,
                "{height}: {} at {t}",
                found[t]
            );
        }
    }
}

#[test]
fn a_long_bout_is_no_jump() {
    let (hz, n) = (30.0, 5400);
    let mut uniform = Uniform(21);
    let busy = |t: usize| (2100..3700).contains(&t);
    let spikes: Vec<f64> = (0..n)
        .map(|t| f64::from(uniform.draw() < if busy(t) { 20.0 } else { 0.05 } / hz))
        .collect();
    let ar = Ar1::from_tau(1.5, 1.0 / hz, Discretisation::Exact).unwrap();
    let trace = sum(&noise(n, 20), &ar.convolve(&spikes), 20.0);
    let found = QuietBaseline::new(1.0 / hz, 1.0).unwrap();
    let found = found.with_window(200.0).unwrap().of(&trace, 1.0).unwrap();
    let furthest = found.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    // A single spike is 20 high, the bout some 600.
    assert!(furthest < 12.0, "{furthest}");
}

#[test]
fn slow_indicators_keep_their_transients() {
    let (hz, n, tau_s) = (10.0, 12_000, 20.0);
    let calcium = calcium(n, hz, 0.01, tau_s, 11);
    let trace = sum(&noise(n, 10), &calcium, 10.0);
    let found = baseline(&trace, hz, tau_s);
    let above: Vec<f64> = trace.iter().zip(&found).map(|(y, b)| y - b).collect();
    let (seen, there) = (mean(&above), 10.0 * mean(&calcium));
    assert!((seen / there - 1.0).abs() < 0.3, "{seen} for {there}");
}

#[test]
fn drift_is_followed() {
    let (hz, n) = (20.0, 12_000);
    let plain = sum(&noise(n, 12), &calcium(n, hz, 0.2, 0.7, 13), 5.0);
    let drift = |t: usize| 8.0 * (t as f64 / n as f64 * 9.0).sin();
    let trace: Vec<f64> = (0..n).map(|t| plain[t] + drift(t)).collect();
    let found = baseline(&trace, hz, 0.7);
    let errors: Vec<f64> = (0..n).map(|t| (found[t] - drift(t)).abs()).collect();
    assert!(mean(&errors) < 0.6, "{}", mean(&errors));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn level_and_units_do_not_matter(level in -100.0f64..100.0, scale in 0.01f64..100.0, n in 30usize..900) {
        let plain = sum(&noise(n, 20), &calcium(n, 10.0, 0.3, 1.0, 21), 4.0);
        let moved: Vec<f64> = plain.iter().map(|y| level + scale * y).collect();
        for (a, b) in baseline(&plain, 10.0, 1.0).iter().zip(&baseline(&moved, 10.0, 1.0)) {
            prop_assert!((level + scale * a - b).abs() < 0.06 * scale + 1e-6 * level.abs(), "{a}, {b}");
        }
    }

    #[test]
    fn any_trace_has_a_baseline(
        trace in prop::collection::vec(prop_oneof![5 => -5.0f64..50.0, 1 => Just(f64::NAN)], 1..400),
        noise_sd in 0.0f64..3.0, start in 1usize..400,
    ) {
        let problem = QuietBaseline::new(0.1, 0.5).unwrap().with_trials(&[0, start.min(trace.len())]);
        let found = problem.of(&trace, noise_sd).unwrap();
        prop_assert_eq!(found.len(), trace.len());
        let nothing = trace.iter().all(|y| y.is_nan());
        prop_assert!(nothing || found.iter().all(|b| b.is_finite()));
    }
}

/// Of three trials the middle distance from the middle level is none.
#[test]
fn one_of_three_trials_has_its_offset() {
    let noise = |t: usize| (t * 7919 % 101) as f64 / 50.0 - 1.0;
    let trace: Vec<f64> = (0..900)
        .map(|t| noise(t) + if t < 600 { 0.0 } else { 40.0 })
        .collect();
    let problem = QuietBaseline::new(0.1, 1.0)
        .unwrap()
        .with_trials(&[0, 300, 600]);
    let baseline = problem.of(&trace, 0.58).unwrap();
    assert!(baseline[150].abs() < 2.0, "{}", baseline[150]);
    assert!((baseline[750] - 40.0).abs() < 2.0, "{}", baseline[750]);
}

#[test]
fn what_is_near_zero_is_no_light_that_dims() {
    let baseline: Vec<f64> = (0..100).map(|t| 10.0 - 0.06 * f64::from(t)).collect();
    assert!(calcium::dimming(&baseline, 0.5).is_some());
    assert_eq!(calcium::dimming(&baseline, 1.5), None);
}
