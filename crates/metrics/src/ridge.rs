//! Linear regression with a penalty: what one set of signals tells of another.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::MetricsError;
use crate::alignment::centred;
use crate::eigen::symmetric_eigen;
use crate::error::{check_finite, check_samples};

/// An affine map from features to targets, fitted by penalised least squares.
///
/// # Example
/// ```
/// use metrics::Ridge;
/// use ndarray::array;
///
/// let (features, targets) = (array![[0.0], [1.0], [2.0]], array![[1.0], [3.0], [5.0]]);
/// let ridge = Ridge::fit(features.view(), targets.view(), 0.0)?;
/// assert!((ridge.predict(array![[3.0]].view())?[[0, 0]] - 7.0).abs() < 1e-5);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    /// `[feature, target]`
    weights: Array2<f64>,
    /// `[target]`
    bias: Array1<f64>,
}

impl Ridge {
    /// Least squares of the targets plus `penalty` times the mean variance of a feature, for each
    /// sample, times the squared weights. The mean is not penalised.
    ///
    /// # Shapes
    /// `features`: `[sample, feature]`, `targets`: `[sample, target]`.
    /// # Errors
    /// [`MetricsError::ShapeMismatch`] if the numbers of samples differ, [`MetricsError::NonFinite`],
    /// [`MetricsError::TooFewSamples`].
    /// # Source
    /// Hoerl & Kennard 1970.
    pub fn fit(
        features: ArrayView2<'_, f32>,
        targets: ArrayView2<'_, f32>,
        penalty: f64,
    ) -> Result<Self, MetricsError> {
        if features.nrows() != targets.nrows() {
            return Err(MetricsError::ShapeMismatch {
                left: "features",
                left_shape: features.shape().to_vec(),
                right: "targets",
                right_shape: targets.shape().to_vec(),
                must_agree: "samples",
            });
        }
        check_samples("features", features.nrows())?;
        check_finite("features", features)?;
        check_finite("targets", targets)?;
        let (features, mean) = centred(features.mapv(f64::from));
        let (targets, target_mean) = centred(targets.mapv(f64::from));
        let (values, vectors) = symmetric_eigen(features.t().dot(&features));
        let ridge = penalty * values.mean().unwrap_or(0.0);
        let least = 1e-10 * values.fold(0.0, |most: f64, &v| most.max(v));
        let inverse = values.mapv(|v| if v > least { (v + ridge).recip() } else { 0.0 });
        let weights = (&vectors * &inverse)
            .dot(&vectors.t())
            .dot(&features.t().dot(&targets));
        let bias = target_mean - mean.dot(&weights);
        Ok(Self { weights, bias })
    }

    /// The targets that features, `[sample, feature]`, let expect, `[sample, target]`.
    ///
    /// # Errors
    /// [`MetricsError::FactorCount`].
    pub fn predict(&self, features: ArrayView2<'_, f32>) -> Result<Array2<f32>, MetricsError> {
        let (expected, found) = (self.weights.nrows(), features.len_of(Axis(1)));
        if found != expected {
            return Err(MetricsError::FactorCount { expected, found });
        }
        let predicted = features.mapv(f64::from).dot(&self.weights) + &self.bias;
        Ok(predicted.mapv(|x| x as f32))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_penalty_shrinks_and_none_is_least_squares(
            features in prop::collection::vec(-2.0_f32..2.0, 60),
            targets in prop::collection::vec(-2.0_f32..2.0, 20),
        ) {
            let features = Array2::from_shape_vec((20, 3), features).unwrap();
            let targets = Array2::from_shape_vec((20, 1), targets).unwrap();
            let free = Ridge::fit(features.view(), targets.view(), 0.0).unwrap();
            let residual = &free.predict(features.view()).unwrap() - &targets;
            let gradient = features.t().dot(&residual);
            prop_assert!(gradient.iter().all(|g| g.abs() < 1e-2), "{gradient}");
            let held = Ridge::fit(features.view(), targets.view(), 0.5).unwrap();
            let size = |ridge: &Ridge| ridge.weights.iter().map(|w| w * w).sum::<f64>();
            prop_assert!(size(&held) <= size(&free) + 1e-12);
        }
    }

    #[test]
    fn hand_worked_penalty() {
        // Uncorrelated features of variances 1 and 9: half of their mean, 2.5, is added to each.
        let x = [[1.0, 3.0], [1.0, -3.0], [-1.0, 3.0], [-1.0, -3.0]];
        let features = ndarray::arr2(&x.map(|[a, b]| [a + 4.0, b - 1.0]));
        let targets = ndarray::arr2(&x.map(|[a, b]| [2.0 * a - b + 7.0]));
        let ridge = Ridge::fit(features.view(), targets.view(), 0.5).unwrap();
        let [a, b] = [2.0 / 3.5, -9.0 / 11.5];
        let predicted = ridge.predict(features.view()).unwrap();
        for (row, [x, y]) in x.into_iter().enumerate() {
            let expected = a * f64::from(x) + b * f64::from(y) + 7.0;
            assert!((f64::from(predicted[[row, 0]]) - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn sizes_that_differ_are_named() {
        let (three, two) = (Array2::<f32>::zeros((3, 2)), Array2::<f32>::zeros((2, 2)));
        let error = Ridge::fit(three.view(), two.view(), 0.1).unwrap_err();
        assert!(error.to_string().contains("samples must agree"), "{error}");
        let ridge = Ridge::fit(three.view(), three.view(), 0.1).unwrap();
        let error = ridge.predict(Array2::zeros((1, 5)).view()).unwrap_err();
        assert_eq!(
            error,
            MetricsError::FactorCount {
                expected: 2,
                found: 5
            }
        );
    }
}
