//! The generator of LFADS with the controller that infers its inputs.

#[cfg(feature = "flex")]
use std::sync::Arc;

#[cfg(feature = "flex")]
use burn::backend::Dispatch;
#[cfg(feature = "flex")]
use burn::tensor::Tensor;

use super::arguments::{Controlled, ControlledArguments};
#[cfg(feature = "flex")]
use super::checks::has_fused;
use super::checks::{check, check_scale};
#[cfg(feature = "flex")]
use super::fused::{FusedControlled, Outputs, outputs_of};
use super::plain;

/// Runs the generator of LFADS with the controller that infers its inputs, bin by bin in order of
/// time: `c_t` = GRU(`drive_t` + `f_{t−1}` `W_feedback`, `c_{t−1}`); the halves of
/// `c_t` `W_posterior` + `b_posterior` are mean and log-variance of the inputs' posterior;
/// `u_t` = mean + exp(½ log-variance)⊙`noise_t`; `g_t` = GRU(`u_t`, `g_{t−1}`);
/// `f_t` = (`scale_t` ⊙ `g_t`) `W_factors`, and `f_0` = `g_0` `W_factors`.
///
/// In both units the reset gate acts before the product, and states are clipped to ±`clip`.
/// Gradients flow to everything but `noise` and `scale`.
///
/// # Panics
/// If a shape disagrees with the others, naming it.
/// # Source
/// Pandarinath et al. 2018, supplementary note; Prince & Richards 2019, section 2.2.
pub fn gru_generate_controlled(arguments: ControlledArguments, clip: Option<f32>) -> Controlled {
    check_controlled(&arguments);
    let arguments = ControlledArguments {
        noise: arguments.noise.detach(),
        ..arguments
    };
    #[cfg(feature = "flex")]
    if has_fused(&arguments.drive) {
        return run_controlled(arguments, clip);
    }
    plain::gru_generate_controlled(arguments, clip)
}

#[cfg(feature = "flex")]
fn run_controlled(arguments: ControlledArguments, clip: Option<f32>) -> Controlled {
    let outputs = Arc::new(Outputs::default());
    let tie = <Dispatch as FusedControlled>::controlled(
        arguments.drive.into_dispatch(),
        arguments.c0.into_dispatch(),
        arguments.g0.into_dispatch(),
        arguments.w_feedback.into_dispatch(),
        arguments.w_controller.into_dispatch(),
        arguments.w_posterior.into_dispatch(),
        arguments.b_posterior.into_dispatch(),
        arguments.w_input.into_dispatch(),
        arguments.w_generator.into_dispatch(),
        arguments.b_generator.into_dispatch(),
        arguments.w_factors.into_dispatch(),
        arguments.noise.into_dispatch(),
        arguments.scale,
        clip,
        outputs.clone(),
    );
    let [factors, posterior, control] = outputs_of(&tie, &outputs).map(Tensor::from_dispatch);
    Controlled {
        factors,
        posterior,
        control,
    }
}

fn check_controlled(arguments: &ControlledArguments) {
    let ControlledArguments {
        drive,
        c0,
        g0,
        w_feedback,
        w_controller,
        w_posterior,
        b_posterior,
        w_input,
        w_generator,
        b_generator,
        w_factors,
        noise,
        scale,
    } = arguments;
    let [n_bins, n_trials, n_inputs] = noise.dims();
    let ([_, controller], [generator, n_factors]) = (c0.dims(), w_factors.dims());
    assert!(
        n_bins > 0 && n_inputs > 0,
        "gru_generate_controlled needs at least one bin and one input"
    );
    check("drive", drive.dims(), [n_bins, n_trials, 3 * controller]);
    check("c0", c0.dims(), [n_trials, controller]);
    check("g0", g0.dims(), [n_trials, generator]);
    check("w_feedback", w_feedback.dims(), [n_factors, 3 * controller]);
    let square = [controller, 3 * controller];
    check("w_controller", w_controller.dims(), square);
    check(
        "w_posterior",
        w_posterior.dims(),
        [controller, 2 * n_inputs],
    );
    check("b_posterior", b_posterior.dims(), [2 * n_inputs]);
    let from_inputs = [n_inputs, 3 * generator];
    check("w_input", w_input.dims(), from_inputs);
    check(
        "w_generator",
        w_generator.dims(),
        [generator, 3 * generator],
    );
    check("b_generator", b_generator.dims(), [3 * generator]);
    check_scale(scale.as_deref(), [n_bins, n_trials, generator]);
}
