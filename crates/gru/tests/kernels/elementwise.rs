//! The AR(1) filter and the likelihoods.

use gru::kernels::{
    Isa, ar1_filter, ar1_filter_gradient, gaussian_gradient, gaussian_log_prob,
    poisson_gradient_count, poisson_gradient_log_mean, poisson_log_prob, reference,
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
    fn poisson_log_prob_and_gradients_match_the_reference(
        log_mean in prop::collection::vec(-8.0..5.0_f64, 1..50), seed in 0..1000_u64,
    ) {
        let n = log_mean.len();
        let counts: Vec<f64> = noise(n, seed, 1.0)
            .iter()
            .map(|u| f64::from((u.abs().powi(3) * 60.0) as f32))
            .map(|s| if s < 0.1 { 0.0 } else { s })
            .collect();
        let arguments = [single(&log_mean).iter().map(|v| f64::from(*v)).collect(), counts];
        let upstream = noise(n, seed + 1, 1.0);
        let run = |arguments: &[Vec<f64>; 2]| -> Vec<f64> {
            let pairs = arguments[0].iter().zip(&arguments[1]);
            pairs.map(|(log_mean, s)| reference::poisson_log_prob(*log_mean, *s)).collect()
        };
        let singles = [single(&arguments[0]), single(&arguments[1]), single(&upstream)];
        let inputs = singles.each_ref().map(Vec::as_slice);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; n];
            poisson_log_prob(isa, inputs[0], inputs[1], &mut out);
            assert_close("log-probability", &out, &run(&arguments), 2e-6);
            let (mut by_log_mean, mut by_count) = (out.clone(), out);
            poisson_gradient_log_mean(isa, inputs, &mut by_log_mean);
            poisson_gradient_count(isa, inputs, &mut by_count);
            for (argument, gradient) in [by_log_mean, by_count].iter().enumerate() {
                let loss = |changed: &[Vec<f64>; 2]| dot(&run(changed), &upstream);
                assert_close("gradient", gradient, &differences(&arguments, argument, loss), 2e-6);
            }
        }
    }

    #[test]
    fn gaussian_log_prob_and_gradients_match_the_reference(
        n_rows in 1..40_usize, n_neurons in 1..40_usize, seed in 0..1000_u64,
    ) {
        let n = n_rows * n_neurons;
        let mut x = noise(n, seed, 3.0);
        let missing = |index: usize| index % 7 == 3;
        (0..n).filter(|&index| missing(index)).for_each(|index| x[index] = f64::NAN);
        let arguments = [noise(n, seed + 1, 2.0), noise(n_neurons, seed + 2, 1.5)];
        let upstream = noise(n, seed + 3, 1.0);
        let run = |arguments: &[Vec<f64>; 2]| -> Vec<f64> {
            let value = |index: usize| match missing(index) {
                true => 0.0,
                false => reference::gaussian_log_prob(
                    x[index], arguments[0][index], arguments[1][index % n_neurons],
                ),
            };
            (0..n).map(value).collect()
        };
        let singles = [single(&x), single(&arguments[0]), single(&upstream)];
        let inputs = singles.each_ref().map(Vec::as_slice);
        let log_sd = single(&arguments[1]);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; n];
            gaussian_log_prob(isa, inputs[0], inputs[1], &log_sd, &mut out);
            assert_close("log-probability", &out, &run(&arguments), 2e-6);
            let (mut by_mean, mut by_log_sd) = (out, vec![f32::NAN; n_neurons]);
            gaussian_gradient(isa, inputs, &log_sd, &mut by_mean, &mut by_log_sd);
            for (argument, gradient) in [by_mean, by_log_sd].iter().enumerate() {
                let loss = |changed: &[Vec<f64>; 2]| dot(&run(changed), &upstream);
                assert_close("gradient", gradient, &differences(&arguments, argument, loss), 2e-5);
            }
        }
    }
}
