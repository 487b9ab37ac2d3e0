//! What can be wrong with arrays handed to a metric, and the checks that find it.

use ndarray::{ArrayView, Dimension};

/// Why a fit or an alignment could not be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Two arrays that must agree in shape do not.
    #[error(
        "`{left}` has shape {left_shape:?} but `{right}` has shape {right_shape:?}; {must_agree} must agree"
    )]
    ShapeMismatch {
        /// Name of the first array.
        left: &'static str,
        /// Its shape.
        left_shape: Vec<usize>,
        /// Name of the second array.
        right: &'static str,
        /// Its shape.
        right_shape: Vec<usize>,
        /// Which part of the shapes has to agree.
        must_agree: &'static str,
    },
    /// An array holds NaN or an infinity.
    #[error(
        "`{array}` is {value} at index {index:?}; mask out or repair non-finite values before measuring fit"
    )]
    NonFinite {
        /// Name of the array.
        array: &'static str,
        /// Where the first such value is.
        index: Vec<usize>,
        /// The value itself.
        value: f32,
    },
    /// Fewer than two samples: neither a variance nor a line is defined.
    #[error("`{array}` has {n_samples} samples; at least 2 are needed")]
    TooFewSamples {
        /// Name of the array.
        array: &'static str,
        /// How many samples it has.
        n_samples: usize,
    },
    /// All true values are equal: there is no variance to explain.
    #[error(
        "`truth` is {value} everywhere; r2 and cod need a truth that varies, so leave this array out"
    )]
    ConstantTruth {
        /// The value that never changes.
        value: f32,
    },
    /// An alignment was applied to another number of factors than it was fitted on.
    #[error("`from` has {found} factors, but the alignment was fitted on {expected}")]
    FactorCount {
        /// Factors at fitting.
        expected: usize,
        /// Factors given.
        found: usize,
    },
}

/// Fails on the first NaN or infinity, naming array and index.
pub(crate) fn check_finite<D: Dimension>(
    name: &'static str,
    array: ArrayView<'_, f32, D>,
) -> Result<(), MetricsError> {
    if array.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let array = array.into_dyn();
    let first = array.indexed_iter().find(|(_, value)| !value.is_finite());
    match first {
        None => Ok(()),
        Some((index, &value)) => Err(MetricsError::NonFinite {
            array: name,
            index: index.slice().to_vec(),
            value,
        }),
    }
}

/// Fails unless there are two samples or more.
pub(crate) fn check_samples(array: &'static str, n_samples: usize) -> Result<(), MetricsError> {
    if n_samples < 2 {
        return Err(MetricsError::TooFewSamples { array, n_samples });
    }
    Ok(())
}
