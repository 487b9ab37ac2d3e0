//! The ladder's shallow time loop.

use gru::kernels::{
    Isa, SpikeLoopShape, SpikeLoopSlices, SpikeLoopUpstream, reference, spike_loop,
    spike_loop_gradient,
};
use proptest::prelude::*;

use crate::common::{assert_close, assert_same_on_any_threads, differences, dot, noise, single};

/// The shallow loop with made-up arguments.
struct SpikeCase {
    shape: SpikeLoopShape,
    /// drive, spike_drive, initial_spikes, w_feedback, w_spike, prior, noise.
    arguments: [Vec<f64>; 7],
    /// Of the spikes, then of the divergence.
    upstream: Vec<f64>,
}

/// Low enough that some activations lie above it.
const MAX_LOG: f32 = 0.9;

impl SpikeCase {
    fn new(shape: SpikeLoopShape, seed: u64) -> Self {
        let SpikeLoopShape {
            n_bins,
            n_trials,
            latent,
            n_neurons,
        } = shape;
        let rows = n_bins * n_trials;
        let initial = noise(n_trials * n_neurons, seed + 2, 1.0);
        let mut feedback = noise(
            n_neurons * 2 * latent,
            seed + 3,
            0.5 / (n_neurons as f64).sqrt(),
        );
        // Spikes that raise their own variance run away.
        for weights in feedback.chunks_exact_mut(2 * latent) {
            weights[latent..]
                .iter_mut()
                .for_each(|weight| *weight = -weight.abs());
        }
        let arguments = [
            noise(rows * 2 * latent, seed, 1.0),
            noise(rows * n_neurons, seed + 1, 1.5),
            initial.iter().map(|value| value.abs()).collect(),
            feedback,
            noise(latent * n_neurons, seed + 4, 1.0 / (latent as f64).sqrt()),
            noise(2 * latent, seed + 7, 1.0),
            noise(rows * latent, seed + 5, 1.5),
        ];
        Self {
            shape,
            arguments,
            upstream: noise(rows * n_neurons + 1, seed + 6, 1.0),
        }
    }

    /// Spikes, then the divergence.
    fn run(&self, arguments: &[Vec<f64>; 7]) -> Vec<f64> {
        let [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
        ] = arguments;
        let max_log = f64::from(MAX_LOG);
        let slices = SpikeLoopSlices {
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
            max_log,
        };
        let (mut out, kl) = reference::spike_loop(self.shape, slices);
        out.push(kl);
        out
    }

    fn check(&self, with_gradients: bool) {
        let singles = self.arguments.each_ref().map(|argument| single(argument));
        let [
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
        ] = singles.each_ref().map(Vec::as_slice);
        let slices = SpikeLoopSlices {
            drive,
            spike_drive,
            initial_spikes,
            w_feedback,
            w_spike,
            prior,
            noise,
            max_log: MAX_LOG,
        };
        let want = self.run(&self.arguments);
        let upstream = single(&self.upstream);
        let (kl, spikes) = upstream.split_last().unwrap();
        let upstream = SpikeLoopUpstream { spikes, kl: *kl };
        let mut portable = None;
        for isa in Isa::available().into_iter().rev() {
            let mut out = spike_loop(isa, self.shape, slices);
            let (spikes, trace) = (out.spikes.clone(), out.trace);
            let got = spike_loop_gradient(isa, self.shape, slices, &spikes, &trace, upstream);
            out.spikes.push(out.kl);
            assert_close("output", &out.spikes, &want, 2e-5);
            let got = [
                got.drive,
                got.spike_drive,
                got.initial_spikes,
                got.w_feedback,
                got.w_spike,
                got.prior,
            ];
            let want = portable.get_or_insert_with(|| {
                if with_gradients {
                    self.gradients()
                } else {
                    got.each_ref()
                        .map(|g| g.iter().map(|v| f64::from(*v)).collect())
                }
            });
            for (got, want) in got.iter().zip(want) {
                assert_close("gradient", got, want, 2e-4);
            }
        }
    }

    fn gradients(&self) -> [Vec<f64>; 6] {
        let loss = |changed: &[Vec<f64>; 7]| dot(&self.run(changed), &self.upstream);
        std::array::from_fn(|argument| differences(&self.arguments, argument, loss))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn spike_loop_and_gradients_match_the_reference(
        n_trials in 1..4_usize, n_bins in 1..6_usize, latent in 1..20_usize,
        n_neurons in 1..20_usize, seed in 0..1000_u64,
    ) {
        let shape = SpikeLoopShape { n_bins, n_trials, latent, n_neurons };
        SpikeCase::new(shape, seed).check(true);
    }

    #[test]
    fn spike_loop_matches_the_reference_at_large_sizes(
        n_trials in 30..80_usize, n_bins in 1..8_usize, latent in 1..110_usize,
        n_neurons in 1..40_usize, seed in 0..1000_u64,
    ) {
        let shape = SpikeLoopShape { n_bins, n_trials, latent, n_neurons };
        SpikeCase::new(shape, seed).check(false);
    }
}

/// Small enough for Miri.
#[test]
fn small_loops_match_the_reference() {
    let shape = SpikeLoopShape {
        n_bins: 2,
        n_trials: 2,
        latent: 3,
        n_neurons: 5,
    };
    SpikeCase::new(shape, 4).check(true);
}

/// Held log-variances pass no gradient and keep the loop finite.
#[test]
fn log_variances_beyond_the_bound_are_held() {
    let shape = SpikeLoopShape {
        n_bins: 3,
        n_trials: 2,
        latent: 5,
        n_neurons: 4,
    };
    let mut case = SpikeCase::new(shape, 1);
    for drive in case.arguments[0].chunks_exact_mut(2 * shape.latent) {
        drive[shape.latent] = 40.0;
        drive[shape.latent + 1] = -40.0;
    }
    // No variance beyond the bound may come back within it.
    case.arguments[6]
        .iter_mut()
        .for_each(|noise| *noise *= 1e-3);
    case.check(true);
}

#[test]
fn the_loop_does_not_depend_on_the_number_of_threads() {
    let shape = SpikeLoopShape {
        n_bins: 9,
        n_trials: 130,
        latent: 20,
        n_neurons: 17,
    };
    let case = SpikeCase::new(shape, 2);
    let upstream = single(&case.upstream);
    let (kl, spikes) = upstream.split_last().unwrap();
    let upstream = SpikeLoopUpstream { spikes, kl: *kl };
    let [
        drive,
        spike_drive,
        initial_spikes,
        w_feedback,
        w_spike,
        prior,
        noise,
    ] = case.arguments.each_ref().map(|argument| single(argument));
    let slices = SpikeLoopSlices {
        drive: &drive,
        spike_drive: &spike_drive,
        initial_spikes: &initial_spikes,
        w_feedback: &w_feedback,
        w_spike: &w_spike,
        prior: &prior,
        noise: &noise,
        max_log: MAX_LOG,
    };
    assert_same_on_any_threads(|| {
        let out = spike_loop(Isa::best(), shape, slices);
        let (spikes, trace) = (&out.spikes, &out.trace);
        let got = spike_loop_gradient(Isa::best(), shape, slices, spikes, trace, upstream);
        let weights = (got.w_feedback, got.w_spike, got.prior);
        (out.spikes, out.kl, got.drive, got.initial_spikes, weights)
    });
}
