//! The time loop of the ladder model's shallow level.

#[cfg(feature = "flex")]
use std::sync::Arc;

#[cfg(feature = "flex")]
use burn::backend::Dispatch;
#[cfg(feature = "flex")]
use burn::tensor::Tensor;

use super::arguments::{SpikeLoop, SpikeLoopArguments};
use super::checks::check;
#[cfg(feature = "flex")]
use super::checks::has_fused;
#[cfg(feature = "flex")]
use super::fused::{FusedSpikeLoop, Outputs, outputs_of};
use super::plain;

/// Runs the time loop of the ladder model's shallow level, in which the spikes of one bin feed
/// the posterior of the next.
///
/// For each bin: the halves of `drive_t` + `s_{t−1}` `W_feedback` are mean and log-variance of
/// z's posterior, the latter held within ±12; `z_t` = mean + exp(½ log-variance)⊙`noise_t`;
/// `a_t` = `spike_drive_t` + `z_t` `W_spike`; `s_t` = max(0, exp(`a_t`) − 1). Above `max_log` the
/// exponential continues along its tangent, exp(m)·(1 + a − m), so a large `a_t` stays bounded
/// and keeps a gradient. Gradients flow to everything but `noise`.
///
/// # Panics
/// If a shape disagrees with the others, naming it.
/// # Source
/// Prince & Richards 2019, section 2.3.
pub fn spike_loop(arguments: SpikeLoopArguments, max_log: f32) -> SpikeLoop {
    check_spike_loop(&arguments);
    let arguments = SpikeLoopArguments {
        noise: arguments.noise.detach(),
        ..arguments
    };
    #[cfg(feature = "flex")]
    if has_fused(&arguments.drive) {
        return run_spike_loop(arguments, max_log);
    }
    plain::spike_loop(arguments, max_log)
}

#[cfg(feature = "flex")]
fn run_spike_loop(arguments: SpikeLoopArguments, max_log: f32) -> SpikeLoop {
    let outputs = Arc::new(Outputs::default());
    let tie = <Dispatch as FusedSpikeLoop>::shallow(
        arguments.drive.into_dispatch(),
        arguments.spike_drive.into_dispatch(),
        arguments.initial_spikes.into_dispatch(),
        arguments.w_feedback.into_dispatch(),
        arguments.w_spike.into_dispatch(),
        arguments.prior.into_dispatch(),
        arguments.noise.into_dispatch(),
        max_log,
        outputs.clone(),
    );
    let [spikes, kl] = outputs_of(&tie, &outputs);
    SpikeLoop {
        spikes: Tensor::from_dispatch(spikes),
        kl: Tensor::from_dispatch(kl),
    }
}

fn check_spike_loop(arguments: &SpikeLoopArguments) {
    let [n_bins, n_trials, n_neurons] = arguments.spike_drive.dims();
    let [latent, _] = arguments.w_spike.dims();
    assert!(n_bins > 0, "spike_loop needs at least one bin");
    let SpikeLoopArguments {
        drive,
        initial_spikes,
        w_feedback,
        w_spike,
        prior,
        noise,
        ..
    } = arguments;
    check("drive", drive.dims(), [n_bins, n_trials, 2 * latent]);
    let initial = [n_trials, n_neurons];
    check("initial_spikes", initial_spikes.dims(), initial);
    check("w_feedback", w_feedback.dims(), [n_neurons, 2 * latent]);
    check("w_spike", w_spike.dims(), [latent, n_neurons]);
    check("prior", prior.dims(), [2 * latent]);
    check("noise", noise.dims(), [n_bins, n_trials, latent]);
}
