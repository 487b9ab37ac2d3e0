//! The AR(1) filter and the likelihoods.

use gru::kernels::{
    AffineShape, GaussianSlices, Isa, Offset, PoissonSlices, affine, ar1_filter,
    ar1_filter_gradient, blur, blur_gradient, gaussian_gradient, gaussian_log_likelihood,
    poisson_gradient_counts, poisson_gradient_log_rates, poisson_log_likelihood, reference,
};
use proptest::prelude::*;

use crate::common::{assert_close, differences, dot, noise, single};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ar1_filter_and_gradient_match_the_reference(
        n_bins in 1..20_usize, n_trials in 1..5_usize, n_neurons in 1..40_usize, seed in 0..1000_u64,
    ) {
        let row = n_trials * n_neurons;
        let arguments = [noise(n_bins * row, seed, 1.0), noise(row, seed + 1, 1.0)];
        let (g, upstream) = (noise(n_neurons, seed + 2, 0.95), noise(n_bins * row, seed + 3, 1.0));
        let run = |arguments: &[Vec<f64>; 2]| {
            reference::ar1_filter(&arguments[0], &arguments[1], &g)
        };
        let mut y = vec![f32::NAN; n_bins * row];
        let g_single = single(&g);
        ar1_filter(&single(&arguments[0]), &single(&arguments[1]), &g_single, &mut y);
        assert_close("y", &y, &run(&arguments), 1e-6);
        let (mut ds, mut d_initial) = (y.clone(), vec![f32::NAN; row]);
        ar1_filter_gradient(&single(&upstream), &g_single, &mut ds, &mut d_initial);
        for (argument, gradient) in [ds, d_initial].iter().enumerate() {
            let want = differences(&arguments, argument, |changed| dot(&run(changed), &upstream));
            assert_close("gradient", gradient, &want, 1e-5);
        }
    }

    #[test]
    fn blur_and_gradient_match_the_reference(
        n_bins in 1..20_usize, n_trials in 1..5_usize, n_neurons in 1..20_usize, half in 0..12_usize, seed in 0..1000_u64,
    ) {
        let shape = [n_bins, n_trials, n_neurons];
        let n = n_bins * n_trials * n_neurons;
        let weights = noise((2 * half + 1) * n_neurons, seed + 1, 1.0);
        let weights: Vec<f64> = weights.iter().map(|w| 0.1 + w.abs()).collect();
        let (arguments, upstream) = ([noise(n, seed, 1.0)], noise(n, seed + 2, 1.0));
        let run = |arguments: &[Vec<f64>; 1]| reference::blur(&arguments[0], &weights, shape);
        let y = blur(&single(&arguments[0]), &single(&weights), shape);
        assert_close("y", &y, &run(&arguments), 1e-5);
        let gradient = blur_gradient(&single(&upstream), &single(&weights), shape);
        let want = differences(&arguments, 0, |changed| dot(&run(changed), &upstream));
        assert_close("gradient", &gradient, &want, 1e-5);
    }

    #[test]
    fn poisson_log_likelihood_and_gradients_match_the_reference(
        log_rates in prop::collection::vec(-8.0..5.0_f64, 1..50), seed in 0..1000_u64,
        with_factorials: bool, is_weighted: bool,
    ) {
        let n = log_rates.len();
        let counts: Vec<f64> = noise(n, seed, 1.0)
            .iter()
            .map(|u| f64::from((u.abs().powi(3) * 60.0) as f32))
            .map(|s| if s < 0.1 { 0.0 } else { s })
            .collect();
        let arguments = [single(&log_rates).iter().map(|v| f64::from(*v)).collect(), counts];
        let weights = noise(if is_weighted { n } else { 1 }, seed + 1, 2.0);
        let (log_exposure, upstream) = (-0.25_f32, 1.5_f32);
        let run = |arguments: &[Vec<f64>; 2]| -> f64 {
            let term = |index: usize| {
                let (log_rate, s) = (arguments[0][index], arguments[1][index]);
                let log_mean = log_rate + f64::from(log_exposure);
                let value = match with_factorials {
                    true => reference::poisson_log_prob(log_mean, s),
                    false => s * log_mean - log_mean.exp(),
                };
                weights[index % weights.len()] * value
            };
            (0..n).map(term).sum()
        };
        let singles = [&arguments[0], &arguments[1], &weights].map(|values| single(values));
        let slices = PoissonSlices {
            log_rates: &singles[0],
            counts: &singles[1],
            weights: &singles[2],
            log_exposure,
            with_factorials,
        };
        // Of the terms, which may cancel in the sum.
        let scale = n as f64 * 100.0;
        for isa in Isa::available() {
            let sum = f64::from(poisson_log_likelihood(isa, slices));
            prop_assert!((sum - run(&arguments)).abs() <= 1e-6 * scale, "{sum}, {}", run(&arguments));
            let gradients = [
                poisson_gradient_log_rates(isa, slices, upstream),
                poisson_gradient_counts(isa, slices, upstream),
            ];
            for (argument, gradient) in gradients.iter().enumerate() {
                let loss = |changed: &[Vec<f64>; 2]| f64::from(upstream) * run(changed);
                assert_close("gradient", gradient, &differences(&arguments, argument, loss), 5e-6);
            }
        }
    }

    #[test]
    fn gaussian_log_likelihood_and_gradients_match_the_reference(
        n_rows in 1..40_usize, n_neurons in 1..40_usize, seed in 0..1000_u64,
    ) {
        let n = n_rows * n_neurons;
        let mut x = noise(n, seed, 3.0);
        let missing = |index: usize| index % 7 == 3;
        (0..n).filter(|&index| missing(index)).for_each(|index| x[index] = f64::NAN);
        let arguments = [noise(n, seed + 1, 2.0), noise(n_neurons, seed + 2, 1.5)];
        let upstream = -0.75_f32;
        let run = |arguments: &[Vec<f64>; 2]| -> f64 {
            let value = |index: usize| {
                reference::gaussian_log_prob(
                    x[index], arguments[0][index], arguments[1][index % n_neurons],
                )
            };
            (0..n).filter(|&index| !missing(index)).map(value).sum()
        };
        let singles = [&x, &arguments[0], &arguments[1]].map(|values| single(values));
        let slices = GaussianSlices {
            x: &singles[0],
            mean: &singles[1],
            log_sd: &singles[2],
        };
        for isa in Isa::available() {
            let sum = gaussian_log_likelihood(isa, slices);
            assert_close("log-likelihood", &[sum], &[run(&arguments)], 2e-6);
            let (by_mean, by_log_sd) = gaussian_gradient(isa, slices, upstream);
            for (argument, gradient) in [by_mean, by_log_sd].iter().enumerate() {
                let loss = |changed: &[Vec<f64>; 2]| f64::from(upstream) * run(changed);
                assert_close("gradient", gradient, &differences(&arguments, argument, loss), 2e-5);
            }
        }
    }
}

/// Long enough for several tasks and a tail: the sum is that of its parts.
#[test]
fn sums_over_many_tasks_are_those_of_their_parts() {
    let n = 40_000;
    let (log_rates, counts) = (single(&noise(n, 1, 1.0)), single(&noise(n, 2, 3.0)));
    let counts: Vec<f32> = counts.into_iter().map(f32::abs).collect();
    let slices = |range: std::ops::Range<usize>| PoissonSlices {
        log_rates: &log_rates[range.clone()],
        counts: &counts[range],
        weights: &[1.0],
        log_exposure: 0.0,
        with_factorials: true,
    };
    let isa = Isa::best();
    let parts = (0..n)
        .step_by(1000)
        .map(|first| slices(first..first + 1000));
    let parts = parts.map(|part| f64::from(poisson_log_likelihood(isa, part)));
    let (sum, parts) = (
        poisson_log_likelihood(isa, slices(0..n)),
        parts.sum::<f64>(),
    );
    assert!(
        (f64::from(sum) - parts).abs() <= 1e-6 * parts.abs(),
        "{sum}, {parts}"
    );
}

/// What a kernel says before it panics.
fn complaint(run: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = std::panic::catch_unwind(run).expect_err("it took slices of another length");
    *payload.downcast::<String>().expect("a message")
}

#[test]
fn slices_of_another_length_are_named() {
    let filter = |n: usize, n_initial: usize, n_y: usize| {
        complaint(move || {
            ar1_filter(
                &vec![1.0; n],
                &vec![0.0; n_initial],
                &[0.5; 3],
                &mut vec![0.0; n_y],
            );
        })
    };
    assert!(filter(24, 6, 18).contains("`y` has 18 numbers where the sizes ask for 24"));
    assert!(filter(25, 6, 25).contains("25 numbers are not whole bins of 6"));
    assert!(filter(24, 8, 24).contains("not whole trials of 3 neurons"));

    let isa = Isa::best();
    let (three, four) = ([0.5; 3], [0.5; 4]);
    let poisson = PoissonSlices {
        log_rates: &three,
        counts: &four,
        weights: &[1.0],
        log_exposure: 0.0,
        with_factorials: true,
    };
    assert!(
        complaint(|| drop(poisson_gradient_log_rates(isa, poisson, 1.0))).contains("`log_rates`")
    );
    let gaussian = GaussianSlices {
        x: &four,
        mean: &three,
        log_sd: &[0.0],
    };
    assert!(complaint(|| drop(gaussian_gradient(isa, gaussian, 1.0))).contains("`mean`"));
    let shape = AffineShape {
        n_rows: 2,
        n_inputs: 2,
        n_outputs: 3,
    };
    let product = complaint(|| drop(affine(isa, shape, &four, &four, Offset::Row(&three))));
    assert!(
        product.contains("`w` has 4 numbers where the sizes ask for 6"),
        "{product}"
    );
}
