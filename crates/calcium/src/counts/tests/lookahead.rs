//! The sampler against enumeration of every sequence of counts.

use proptest::prelude::*;

use super::*;

fn draw<const P: usize, S: Sensor>(
    p: &CountModel<P, S>,
    x: &[f32],
    means: &[f32],
    uniform: f32,
) -> (CountSample<P>, f64) {
    let mut sample = CountSample::new(x.len());
    let log_means: Vec<f32> = means.iter().map(|mean| mean.ln()).collect();
    let trace = Trace {
        x,
        log_means: &log_means,
    };
    let chance = Chance {
        uniforms: &vec![uniform; x.len()],
        normal: 0.0,
    };
    let log_q = p.sample(trace, chance, &mut sample);
    (sample, log_q)
}

fn first_expected<const P: usize, S: Sensor>(
    p: &CountModel<P, S>,
    x: &[f32],
    means: &[f32],
) -> f64 {
    f64::from(draw(p, x, means, 0.5).0.expected[0])
}

/// E[s_1 | trace] from rest by enumeration of every sequence of up to `MAX` counts a frame.
fn first_count_by_enumeration<const P: usize, S: Sensor>(
    p: &CountModel<P, S>,
    x: &[f32],
    means: &[f32],
) -> f64 {
    const MAX: usize = 9;
    let (mut total, mut weighted) = (0.0, 0.0);
    for code in 0..MAX.pow(x.len() as u32) {
        let (mut log_weight, mut state, mut rest) = (0.0, [0.0; P], code);
        for (&x, &mean) in x.iter().zip(means) {
            let count = rest % MAX;
            rest /= MAX;
            state = p.calcium.carry(state);
            state[0] += p.calcium.gain * count as f64;
            log_weight += count as f64 * f64::from(mean).ln() - ln_factorial(count);
            log_weight += p.log_likelihood(f64::from(x), state[0]);
        }
        total += log_weight.exp();
        weighted += log_weight.exp() * (code % MAX) as f64;
    }
    weighted / total
}

/// Mean error of E[s_1] over simulated traces of four frames.
fn mean_error<const P: usize, S: Sensor>(p: &CountModel<P, S>, noise_sd: f64) -> f64 {
    let means = [0.4_f32, 0.1, 0.2, 0.5];
    let mut random = 1;
    let errors = (0..300).map(|_| {
        let x = simulate(p, &means, noise_sd, &mut random);
        let exact = first_count_by_enumeration(p, &x, &means);
        (first_expected(p, &x, &means) - exact).abs()
    });
    errors.sum::<f64>() / 300.0
}

#[test]
fn traces_of_the_model_are_nearly_exact() {
    let errors = [
        mean_error(&simple(0.3), 0.3),
        mean_error(&rising(0.3), 0.3),
        mean_error(&saturating(0.3), 0.3),
    ];
    let bounds = [0.02, 0.03, 0.04];
    let within = errors
        .iter()
        .zip(bounds)
        .all(|(error, bound)| *error < bound);
    assert!(within, "mean errors {errors:?}");
}

proptest! {
    #[test]
    fn two_frames_are_exact(
        trace in prop::collection::vec(-0.5_f32..3.0, 2),
        means in prop::collection::vec(0.05_f32..1.0, 2),
        noise_sd in 0.2..0.8,
    ) {
        let p = simple(noise_sd);
        let exact = first_count_by_enumeration(&p, &trace, &means);
        let found = first_expected(&p, &trace, &means);
        prop_assert!((found - exact).abs() < 0.02, "{found} against {exact}");
        let p = rising(noise_sd);
        let exact = first_count_by_enumeration(&p, &trace, &means);
        let found = first_expected(&p, &trace, &means);
        prop_assert!((found - exact).abs() < 0.02, "AR(2): {found} against {exact}");
    }

    #[test]
    fn calcium_follows_from_the_counts(
        trace in prop::collection::vec(-1.0_f32..5.0, 1..40),
        uniform in 0.0_f32..1.0,
    ) {
        let means = vec![0.2; trace.len()];
        let (sample, log_q) = draw(&simple(0.3), &trace, &means, uniform);
        prop_assert!(log_q <= 1e-12);
        let mut calcium = 0.0;
        for (count, found) in sample.counts.iter().map(|&count| f64::from(count)).zip(sample.calcium) {
            calcium = 0.75 * calcium + 0.1 + 1.2 * count;
            prop_assert!((calcium - found).abs() < 1e-9);
            prop_assert!(count >= 0.0 && count.fract() == 0.0);
        }
    }

    #[test]
    fn the_second_order_without_rise_is_the_first(
        trace in prop::collection::vec(-1.0_f32..4.0, 1..30),
        uniform in 0.0_f32..1.0,
    ) {
        let first = simple(0.3);
        let second = CountModel {
            calcium: CalciumDynamics {
                coefficients: [0.75, 0.0],
                gain: first.calcium.gain,
                baseline: first.calcium.baseline,
            },
            sensor: first.sensor,
            start: Start::Rest,
        };
        let means = vec![0.2; trace.len()];
        let (one, log_q_one) = draw(&first, &trace, &means, uniform);
        let (two, log_q_two) = draw(&second, &trace, &means, uniform);
        prop_assert_eq!(one.counts, two.counts);
        prop_assert!((log_q_one - log_q_two).abs() < 1e-6);
    }
}

#[test]
fn a_jump_far_beyond_the_prior_is_found() {
    let trace = [0.1 + 1.2 * 30.0, f32::NAN, f32::NAN];
    let (sample, log_q) = draw(&simple(0.02), &trace, &[0.0025; 3], 0.5);
    assert!((sample.counts[0] - 30.0).abs() < 1e-6);
    assert!(log_q.is_finite());
}

#[test]
fn without_data_the_prior_is_drawn() {
    let means = [0.3_f32, 1.0, 2.0, 0.1, 4.0];
    let (sample, _) = draw(&simple(0.2), &[f32::NAN; 5], &means, 0.3);
    for (expected, mean) in sample.expected.iter().zip(means) {
        assert!((expected - mean).abs() < 0.01 * mean, "{expected} {mean}");
    }
}

#[test]
fn a_trace_in_mid_decay_needs_no_spikes() {
    let trace: Vec<f32> = (1..20).map(|bin| 3.0 * 0.75_f32.powi(bin)).collect();
    let means = vec![0.05; trace.len()];
    let mut p = simple(0.1);
    p.calcium.baseline = 0.0;
    let (from_rest, _) = draw(&p, &trace, &means, 0.5);
    assert!(from_rest.counts[0] > 0.5);
    p.start = Start::Decaying {
        direction: [1.0],
        mean: 0.0,
        variance: 4.0,
    };
    let (free, _) = draw(&p, &trace, &means, 0.5);
    assert!(
        free.counts.iter().all(|&count| count == 0.0),
        "{:?}",
        free.counts
    );
    assert!((free.initial[0] - 3.0).abs() < 0.2, "{}", free.initial[0]);
}
