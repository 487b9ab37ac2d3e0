//! Sparse nonnegative deconvolution by pool-adjacent-violators.
//!
//! # Source
//! Friedrich, Zhou & Paninski 2017, "Fast online deconvolution of calcium imaging data".

mod ar1;

pub use ar1::{Ar1Problem, Workspace};

/// Denoised calcium and deconvolved spikes of one trace, or of several laid end to end.
#[derive(Debug, Clone, PartialEq)]
pub struct Deconvolved<T> {
    /// Denoised calcium c, in fluorescence units; NaN where the trace is.
    pub calcium: Vec<T>,
    /// Spike amplitudes `s_t = c_t − g·c_{t−1}`, in fluorescence units; 0 at the first frame, whose
    /// calcium is an initial condition, and NaN where the trace is.
    pub spikes: Vec<T>,
}
