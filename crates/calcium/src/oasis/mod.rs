//! Sparse nonnegative deconvolution by pool-adjacent-violators.
//!
//! # Source
//! Friedrich, Zhou & Paninski 2017, "Fast online deconvolution of calcium imaging data".

mod ar1;
mod ar2;
mod ar2_threshold;
mod constrained;

use rayon::prelude::*;

use crate::{CalciumError, Sample};

pub(crate) use ar1::check_trace;
pub use ar1::{Ar1Problem, Workspace};
pub use ar2::Ar2Problem;
pub use constrained::{Ar1NoiseConstrained, Baseline, Fitted};

/// Denoised calcium and deconvolved spikes of one trace, or of several laid end to end.
#[derive(Debug, Clone, PartialEq)]
pub struct Deconvolved<T> {
    /// Denoised calcium c, in fluorescence units; NaN where the trace is.
    pub calcium: Vec<T>,
    /// Spike amplitudes `s_t = c_t − g·c_{t−1}`, in fluorescence units; 0 at the first frame, whose
    /// calcium is an initial condition, and NaN where the trace is.
    pub spikes: Vec<T>,
}

/// Applies `deconvolve` to each trace of a block in parallel, naming the first that it refuses.
pub(crate) fn in_parallel<T: Sample, R: Send>(
    traces: &[T],
    n_bins: usize,
    deconvolve: impl Fn(&[T]) -> Result<R, CalciumError> + Sync + Send,
) -> Result<Vec<R>, CalciumError> {
    check_block(traces.len(), n_bins)?;
    let results: Vec<Result<R, CalciumError>> = traces.par_chunks(n_bins).map(deconvolve).collect();
    let named = results.into_iter().enumerate().map(|(trace, result)| {
        result.map_err(|source| CalciumError::InTrace {
            trace,
            source: Box::new(source),
        })
    });
    named.collect()
}

pub(crate) fn check_block(n_samples: usize, n_bins: usize) -> Result<(), CalciumError> {
    if n_bins == 0 {
        return Err(CalciumError::EmptyTrace);
    }
    if !n_samples.is_multiple_of(n_bins) {
        return Err(CalciumError::NotWholeTraces { n_samples, n_bins });
    }
    Ok(())
}
