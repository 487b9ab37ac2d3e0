//! The time loop of LFADS with a controller, which infers the generator's inputs bin by bin.

mod backward;
mod elementwise;
mod forward;
mod reference;

use super::pool::Buffer;
use super::{GruSpec, ResetGate, check_len};

pub use backward::controlled_gradient;
pub use forward::controlled;
pub use reference::controlled_reference;

/// Sizes of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlledShape {
    /// Time bins.
    pub n_bins: usize,
    /// Trials of the batch.
    pub n_trials: usize,
    /// Hidden units of the controller.
    pub controller: usize,
    /// Hidden units of the generator.
    pub generator: usize,
    /// Inputs.
    pub n_inputs: usize,
    /// Factors.
    pub n_factors: usize,
}

/// Arguments of the loop; shapes as in `gru_generate_controlled` at the crate's root.
#[derive(Clone, Copy, Debug)]
pub struct ControlledSlices<'a, F = f32> {
    /// The controller's gates without feedback, r, z, n: `[time, trial, 3·controller]`.
    pub drive: &'a [F],
    /// The controller's state before the first bin: `[trial, controller]`.
    pub c0: &'a [F],
    /// The generator's: `[trial, generator]`.
    pub g0: &'a [F],
    /// From the factors to the next bin's controller: `[factor, 3·controller]`.
    pub w_feedback: &'a [F],
    /// `[controller, 3·controller]`.
    pub w_controller: &'a [F],
    /// From the controller to means and log-variances: `[controller, 2·input]`.
    pub w_posterior: &'a [F],
    /// `[2·input]`.
    pub b_posterior: &'a [F],
    /// From the inputs to the generator: `[input, 3·generator]`.
    pub w_input: &'a [F],
    /// `[generator, 3·generator]`.
    pub w_generator: &'a [F],
    /// `[3·generator]`.
    pub b_generator: &'a [F],
    /// From the generator to the factors: `[generator, factor]`.
    pub w_factors: &'a [F],
    /// Standard normal values: `[time, trial, input]`.
    pub noise: &'a [F],
    /// What the generator's states are multiplied by on their way to the factors, as dropout does:
    /// `[time, trial, generator]`.
    pub scale: Option<&'a [F]>,
    /// States of both are clipped to plus or minus this.
    pub clip: Option<f32>,
}

impl<F> ControlledSlices<'_, F> {
    /// Panics unless every slice is as long as the shape asks for.
    #[track_caller]
    fn check(&self, shape: &ControlledShape) {
        let ControlledShape {
            n_bins,
            n_trials,
            controller,
            generator,
            n_inputs,
            n_factors,
        } = *shape;
        let rows = n_bins * n_trials;
        for (name, slice, expected) in [
            ("drive", self.drive, rows * 3 * controller),
            ("c0", self.c0, n_trials * controller),
            ("g0", self.g0, n_trials * generator),
            ("w_feedback", self.w_feedback, n_factors * 3 * controller),
            (
                "w_controller",
                self.w_controller,
                controller * 3 * controller,
            ),
            ("w_posterior", self.w_posterior, controller * 2 * n_inputs),
            ("b_posterior", self.b_posterior, 2 * n_inputs),
            ("w_input", self.w_input, n_inputs * 3 * generator),
            ("w_generator", self.w_generator, generator * 3 * generator),
            ("b_generator", self.b_generator, 3 * generator),
            ("w_factors", self.w_factors, generator * n_factors),
            ("noise", self.noise, rows * n_inputs),
        ] {
            check_len(name, slice, expected);
        }
        if let Some(scale) = self.scale {
            check_len("scale", scale, rows * generator);
        }
    }

    /// Both units are LFADS's: the reset gate acts before the product.
    fn spec(&self) -> GruSpec {
        GruSpec {
            reset: ResetGate::BeforeProduct,
            clip: self.clip,
        }
    }
}

/// What the loop returns.
#[derive(Debug)]
pub struct ControlledOutput {
    /// `[time, trial, factor]`.
    pub factors: Vec<f32>,
    /// Means and log-variances of the inputs' posterior, `[time, trial, 2·input]`; the latter act
    /// within ±[`MAX_LOG_VARIANCE`](super::MAX_LOG_VARIANCE).
    pub posterior: Vec<f32>,
    /// States of the controller: `[time, trial, controller]`.
    pub control: Vec<f32>,
    /// What the gradient needs beside.
    pub trace: ControlledTrace,
}

/// Gates and states of a run.
#[derive(Debug)]
pub struct ControlledTrace(Vec<ChunkTrace>);

/// Those of a chunk of trials.
#[derive(Debug)]
struct ChunkTrace {
    /// `[time, trial, 3·controller]`, in the order of [`gates`](super::gates).
    controller_gates: Buffer,
    /// `[time, trial, 3·generator]`, likewise.
    generator_gates: Buffer,
    /// `[time + 1, trial, generator]`, the first being `g0`.
    generator: Buffer,
    /// The factors of `g0`: `[trial, factor]`.
    initial_factors: Buffer,
}

/// Outputs of a run and their gradients.
#[derive(Clone, Copy, Debug)]
pub struct ControlledUpstream<'a> {
    /// The run's factors, and the gradient of them: `[time, trial, factor]`.
    pub factors: [&'a [f32]; 2],
    /// The run's posterior and its gradient: `[time, trial, 2·input]`.
    pub posterior: [&'a [f32]; 2],
    /// The run's controller states, `[time, trial, controller]`.
    pub control: &'a [f32],
    /// Their gradient, if the loss depends on them directly.
    pub d_control: Option<&'a [f32]>,
}

impl ControlledUpstream<'_> {
    #[track_caller]
    fn check(&self, shape: &ControlledShape) {
        let rows = shape.n_bins * shape.n_trials;
        for slice in self.factors {
            check_len("upstream.factors", slice, rows * shape.n_factors);
        }
        for slice in self.posterior {
            check_len("upstream.posterior", slice, rows * 2 * shape.n_inputs);
        }
        for slice in [Some(self.control), self.d_control].into_iter().flatten() {
            check_len("upstream.control", slice, rows * shape.controller);
        }
    }
}

/// Gradients of the loop; shapes as those of its arguments.
#[derive(Debug)]
pub struct ControlledGradients<F = f32> {
    /// `[time, trial, 3·controller]`.
    pub drive: Vec<F>,
    /// `[trial, controller]`.
    pub c0: Vec<F>,
    /// `[trial, generator]`.
    pub g0: Vec<F>,
    /// `[factor, 3·controller]`.
    pub w_feedback: Vec<F>,
    /// `[controller, 3·controller]`.
    pub w_controller: Vec<F>,
    /// `[controller, 2·input]`.
    pub w_posterior: Vec<F>,
    /// `[2·input]`.
    pub b_posterior: Vec<F>,
    /// `[input, 3·generator]`.
    pub w_input: Vec<F>,
    /// `[generator, 3·generator]`.
    pub w_generator: Vec<F>,
    /// `[3·generator]`.
    pub b_generator: Vec<F>,
    /// `[generator, factor]`.
    pub w_factors: Vec<F>,
}
