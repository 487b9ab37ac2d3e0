//! Principal components: the directions in which samples vary most.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::MetricsError;
use crate::alignment::centred;
use crate::eigen::symmetric_eigen;
use crate::error::{check_finite, check_samples};

/// Orthonormal axes through the mean of some samples, by the variance along them.
///
/// # Example
/// ```
/// use metrics::PrincipalComponents;
/// use ndarray::array;
///
/// let samples = array![[1.0, 2.0], [3.0, 2.0], [2.0, 1.5], [2.0, 2.5]];
/// let components = PrincipalComponents::of(samples.view())?;
/// assert_eq!(components.variances().to_vec(), [0.5, 0.125]);
/// assert_eq!(components.project(array![3.0, 2.0].view())?.to_vec(), [1.0, 0.0]);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PrincipalComponents {
    /// `[factor]`
    mean: Array1<f64>,
    /// `[factor]`, the largest first.
    variances: Array1<f64>,
    /// `[component, factor]`
    axes: Array2<f64>,
}

impl PrincipalComponents {
    /// Those of `samples`, in f64.
    ///
    /// An axis and its opposite serve alike: the coordinate of largest size is positive.
    ///
    /// # Shapes
    /// `[sample, factor]`.
    /// # Errors
    /// [`MetricsError::NonFinite`], [`MetricsError::TooFewSamples`].
    pub fn of(samples: ArrayView2<'_, f32>) -> Result<Self, MetricsError> {
        check_samples("samples", samples.nrows())?;
        check_finite("samples", samples)?;
        let (centred, mean) = centred(samples.mapv(f64::from));
        let covariance = centred.t().dot(&centred) / samples.nrows() as f64;
        let (variances, vectors) = symmetric_eigen(covariance);
        let mut axes = vectors.reversed_axes();
        for mut axis in axes.outer_iter_mut() {
            let largest = axis.fold(0.0, |a: f64, &b| if b.abs() > a.abs() { b } else { a });
            axis *= largest.signum();
        }
        Ok(Self {
            mean,
            variances,
            axes,
        })
    }

    /// Variance along each axis, the largest first, `[factor]`.
    pub fn variances(&self) -> ArrayView1<'_, f64> {
        self.variances.view()
    }

    /// Orthonormal axes in the order of their variances, `[component, factor]`.
    pub fn axes(&self) -> ArrayView2<'_, f64> {
        self.axes.view()
    }

    /// Where a sample, `[factor]`, lies along each axis, `[component]`.
    ///
    /// # Errors
    /// [`MetricsError::FactorCount`].
    pub fn project(&self, sample: ArrayView1<'_, f32>) -> Result<Array1<f64>, MetricsError> {
        if sample.len() != self.mean.len() {
            return Err(MetricsError::FactorCount {
                expected: self.mean.len(),
                found: sample.len(),
            });
        }
        Ok(self.axes.dot(&(sample.mapv(f64::from) - &self.mean)))
    }

    /// What the first `n` components hold of a sample, `[factor]`.
    ///
    /// # Errors
    /// [`MetricsError::FactorCount`].
    pub fn reconstruct(
        &self,
        sample: ArrayView1<'_, f32>,
        n: usize,
    ) -> Result<Array1<f32>, MetricsError> {
        let place = self.project(sample)?;
        let mut back = self.mean.clone();
        for (axis, &along) in self.axes.outer_iter().zip(&place).take(n) {
            back.scaled_add(along, &axis);
        }
        Ok(back.mapv(|x| x as f32))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn coordinates_are_uncorrelated_with_the_variances_told(
            samples in prop::collection::vec(-3.0f32..3.0, 60),
        ) {
            let samples = Array2::from_shape_vec((20, 3), samples).unwrap();
            let components = PrincipalComponents::of(samples.view()).unwrap();
            let mut covariance = Array2::<f64>::zeros((3, 3));
            for sample in samples.outer_iter() {
                let place = components.project(sample).unwrap().insert_axis(Axis(1));
                covariance = covariance + place.dot(&place.t()) / 20.0;
            }
            let wanted = Array2::from_diag(&components.variances());
            prop_assert!((covariance - wanted).iter().all(|d| d.abs() < 1e-12));
            let sample = samples.row(4);
            prop_assert!((components.reconstruct(sample, 3).unwrap() - sample).iter().all(|d| d.abs() < 1e-5));
            let left = |n| (components.reconstruct(sample, n).unwrap() - sample).iter().map(|d| d * d).sum::<f32>();
            prop_assert!(left(2) <= left(1) + 1e-6 && left(1) <= left(0) + 1e-6);
            let gram = components.axes().dot(&components.axes().t());
            prop_assert!((gram - Array2::<f64>::eye(3)).iter().all(|d| d.abs() < 1e-12));
        }
    }

    #[test]
    fn bad_samples_are_named() {
        let one = PrincipalComponents::of(ArrayView2::from(&[[1.0, 2.0]])).unwrap_err();
        assert!(one.to_string().contains("`samples` has 1 samples"), "{one}");
        let infinite = [[1.0, 2.0], [f32::INFINITY, 0.0]];
        let error = PrincipalComponents::of(ArrayView2::from(&infinite)).unwrap_err();
        assert!(error.to_string().contains("inf at index [1, 0]"), "{error}");
        let components = PrincipalComponents::of(ArrayView2::from(&[[1.0, 2.0], [3.0, 2.0]]));
        let error = components.unwrap().project(ArrayView1::from(&[1.0]));
        assert!(matches!(error, Err(MetricsError::FactorCount { .. })));
    }
}
