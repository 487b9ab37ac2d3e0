//! The affine map that best carries inferred factors onto the true latent.

use ndarray::{Array1, Array2, Array3, ArrayView3, Axis};

use crate::MetricsError;
use crate::eigen::symmetric_eigen;
use crate::error::{check_finite, check_samples};

/// Directions whose variance, among standardised factors, is below this fraction of the largest
/// carry no information that f32 can hold, and get no weight.
const RANK_TOLERANCE: f64 = 1e-10;

/// An affine map from factors to latent, `latent ≈ factors · W + b`, fitted by least squares.
///
/// Factors have no axes of their own (any invertible map of them gives the same model), so they
/// are compared to a known latent only after such a map, fitted on the training trials.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineAlignment {
    /// `[factor, latent]`
    weights: Array2<f64>,
    /// `[latent]`
    bias: Array1<f64>,
}

impl AffineAlignment {
    /// Least squares over all trials and bins, in f64.
    ///
    /// Constant or linearly dependent factors are no error: among all optimal maps this is the one
    /// of smallest norm on the standardised factors (pseudo-inverse of their correlation matrix).
    ///
    /// # Shapes
    /// `from` is `[trial, time, factor]`, `to` is `[trial, time, latent]`.
    /// # Errors
    /// [`MetricsError::ShapeMismatch`] if trials or times differ, [`MetricsError::NonFinite`],
    /// [`MetricsError::TooFewSamples`].
    /// # Example
    /// ```
    /// use metrics::AffineAlignment;
    /// use ndarray::array;
    ///
    /// let factors = array![[[0.0], [1.0], [2.0]]];
    /// let latent = array![[[1.0, 0.0], [3.0, -1.0], [5.0, -2.0]]];
    /// let aligned = AffineAlignment::fit(factors.view(), latent.view())?.apply(factors.view())?;
    /// assert!((aligned - latent).iter().all(|difference| difference.abs() < 1e-6));
    /// # Ok::<(), metrics::MetricsError>(())
    /// ```
    pub fn fit(from: ArrayView3<'_, f32>, to: ArrayView3<'_, f32>) -> Result<Self, MetricsError> {
        check_pair(from, to)?;
        let (from, from_mean) = centred(samples(from));
        let (to, to_mean) = centred(samples(to));
        let scale = (&from * &from).sum_axis(Axis(0)).mapv(f64::sqrt);
        // A constant factor stays all zeros and is left to the pseudo-inverse.
        let inverse_scale = scale.mapv(|scale| if scale > 0.0 { scale.recip() } else { 0.0 });
        let from = from * &inverse_scale;

        let correlation = from.t().dot(&from);
        let weights = pseudo_inverse(correlation).dot(&from.t().dot(&to));
        let weights = weights * inverse_scale.insert_axis(Axis(1));
        let bias = to_mean - from_mean.dot(&weights);
        Ok(Self { weights, bias })
    }

    /// The latent this map predicts from factors.
    ///
    /// # Shapes
    /// `from` is `[trial, time, factor]`; the result is `[trial, time, latent]`.
    /// # Errors
    /// [`MetricsError::FactorCount`] and [`MetricsError::NonFinite`].
    pub fn apply(&self, from: ArrayView3<'_, f32>) -> Result<Array3<f32>, MetricsError> {
        let (n_trials, n_bins, n_factors) = from.dim();
        let (expected, n_latents) = self.weights.dim();
        if n_factors != expected {
            return Err(MetricsError::FactorCount {
                expected,
                found: n_factors,
            });
        }
        check_finite("from", from)?;
        let to = samples(from).dot(&self.weights) + &self.bias;
        let shape = (n_trials, n_bins, n_latents);
        Ok(Array3::from_shape_fn(shape, |(trial, bin, latent)| {
            to[[trial * n_bins + bin, latent]] as f32
        }))
    }
}

fn check_pair(from: ArrayView3<'_, f32>, to: ArrayView3<'_, f32>) -> Result<(), MetricsError> {
    if from.shape()[..2] != to.shape()[..2] {
        return Err(MetricsError::ShapeMismatch {
            left: "from",
            left_shape: from.shape().to_vec(),
            right: "to",
            right_shape: to.shape().to_vec(),
            must_agree: "trials and times",
        });
    }
    check_samples("from", from.shape()[0] * from.shape()[1])?;
    check_finite("from", from)?;
    check_finite("to", to)
}

/// `[trial, time, channel]` as `[trial · time, channel]` in f64.
fn samples(array: ArrayView3<'_, f32>) -> Array2<f64> {
    let (n_trials, n_bins, n_channels) = array.dim();
    let mut rows = Array2::zeros((n_trials * n_bins, n_channels));
    for (mut row, lane) in rows.outer_iter_mut().zip(array.lanes(Axis(2))) {
        row.zip_mut_with(&lane, |to, &from| *to = f64::from(from));
    }
    rows
}

/// The rows less their mean, and that mean.
pub(crate) fn centred(rows: Array2<f64>) -> (Array2<f64>, Array1<f64>) {
    let mean = rows.sum_axis(Axis(0)) / rows.nrows() as f64;
    (rows - &mean, mean)
}

/// Moore–Penrose inverse of a symmetric positive semi-definite matrix.
fn pseudo_inverse(matrix: Array2<f64>) -> Array2<f64> {
    let (values, vectors) = symmetric_eigen(matrix);
    let largest = values.fold(0.0, |largest: f64, &value| largest.max(value));
    let inverse = values.mapv(|value| {
        if value > RANK_TOLERANCE * largest {
            value.recip()
        } else {
            0.0
        }
    });
    (&vectors * &inverse).dot(&vectors.t())
}

#[cfg(test)]
mod tests {
    use ndarray::{array, concatenate, s};
    use proptest::prelude::*;

    use super::*;

    fn block(shape: (usize, usize, usize), limit: f32) -> impl Strategy<Value = Array3<f32>> {
        let n = shape.0 * shape.1 * shape.2;
        prop::collection::vec(-limit..limit, n)
            .prop_map(move |values| Array3::from_shape_vec(shape, values).unwrap())
    }

    fn largest(array: &Array3<f32>) -> f32 {
        array.iter().fold(0.0, |largest, x| largest.max(x.abs()))
    }

    fn sse(a: &Array3<f32>, b: &Array3<f32>) -> f64 {
        (a - b).iter().map(|&d| f64::from(d) * f64::from(d)).sum()
    }

    proptest! {
        #[test]
        fn recovers_an_affine_map_on_unseen_trials(
            factors in block((6, 5, 3), 1.0),
            weights in prop::collection::vec(-2.0f64..2.0, 6),
            bias in prop::collection::vec(-5.0f64..5.0, 2),
        ) {
            let map = AffineAlignment {
                weights: Array2::from_shape_vec((3, 2), weights).unwrap(),
                bias: bias.into(),
            };
            let latent = map.apply(factors.view()).unwrap();
            let train = s![..4, .., ..];
            let fitted = AffineAlignment::fit(factors.slice(train), latent.slice(train)).unwrap();
            let predicted = fitted.apply(factors.view()).unwrap();
            prop_assert!(largest(&(predicted - latent)) < 1e-4);
        }

        #[test]
        fn residuals_are_orthogonal_to_every_factor(
            factors in block((3, 4, 2), 10.0), latent in block((3, 4, 2), 10.0),
        ) {
            let fitted = AffineAlignment::fit(factors.view(), latent.view()).unwrap();
            let residual = samples((fitted.apply(factors.view()).unwrap() - &latent).view());
            let gradient = samples(factors.view()).t().dot(&residual);
            prop_assert!(gradient.iter().chain(&residual.sum_axis(Axis(0))).all(|g| g.abs() < 1e-2));
        }

        #[test]
        fn redundant_factors_change_nothing(
            factors in block((3, 6, 2), 1.0), latent in block((3, 6, 2), 1.0), constant in -3.0f32..3.0,
            scale in prop::sample::select(vec![1e-3f32, 1.0, 1e3]),
        ) {
            let sum = factors.sum_axis(Axis(2)).insert_axis(Axis(2)) + 1.0;
            let flat = Array3::from_elem((3, 6, 1), constant);
            let redundant =
                concatenate(Axis(2), &[factors.view(), sum.view(), flat.view()]).unwrap() * scale;
            let plain = AffineAlignment::fit(factors.view(), latent.view()).unwrap();
            let full = AffineAlignment::fit(redundant.view(), latent.view()).unwrap();
            let difference =
                plain.apply(factors.view()).unwrap() - full.apply(redundant.view()).unwrap();
            prop_assert!(largest(&difference) < 1e-3);
            prop_assert!(full.weights.row(3).iter().all(|w| w.abs() < 1e-12));
        }
    }

    #[test]
    fn hand_worked_line() {
        // Least squares through (0, 0), (1, 1), (2, 1): slope 1/2, intercept 1/6.
        let factors = array![[[0.0], [1.0], [2.0]]];
        let fitted =
            AffineAlignment::fit(factors.view(), array![[[0.0], [1.0], [1.0]]].view()).unwrap();
        assert!((fitted.weights[[0, 0]] - 0.5).abs() < 1e-15);
        assert!((fitted.bias[0] - 1.0 / 6.0).abs() < 1e-15);
    }

    #[test]
    fn factors_of_very_different_scale_are_all_used() {
        let factors = array![[[1e-12, 0.0], [0.0, 1e12], [1e-12, 1e12], [0.0, 0.0]]];
        let latent = array![[[1.0], [2.0], [3.0], [0.0]]];
        let fitted = AffineAlignment::fit(factors.view(), latent.view()).unwrap();
        assert!(sse(&fitted.apply(factors.view()).unwrap(), &latent) < 1e-12);
    }

    #[test]
    fn axis_order_in_memory_does_not_matter() {
        let latent = array![[[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]]];
        let swapped = latent
            .view()
            .permuted_axes([0, 2, 1])
            .as_standard_layout()
            .to_owned();
        let (a, b) = (latent.view(), swapped.view().permuted_axes([0, 2, 1]));
        let (a, b) = (
            AffineAlignment::fit(a, a).unwrap(),
            AffineAlignment::fit(b, b).unwrap(),
        );
        assert_eq!(a, b);
    }

    #[test]
    fn bad_input_is_named() {
        let (two, three) = (
            Array3::<f32>::zeros((2, 3, 2)),
            Array3::<f32>::zeros((3, 3, 2)),
        );
        let error = AffineAlignment::fit(two.view(), three.view())
            .unwrap_err()
            .to_string();
        assert!(error.contains("trials and times must agree"), "{error}");

        let fitted = AffineAlignment::fit(two.view(), two.view()).unwrap();
        let wide = Array3::<f32>::zeros((2, 3, 5));
        let expected = MetricsError::FactorCount {
            expected: 2,
            found: 5,
        };
        assert_eq!(fitted.apply(wide.view()).unwrap_err(), expected);

        let mut infinite = two.clone();
        infinite[[1, 0, 1]] = f32::INFINITY;
        let error = AffineAlignment::fit(two.view(), infinite.view())
            .unwrap_err()
            .to_string();
        assert!(error.contains("`to` is inf at index [1, 0, 1]"), "{error}");

        let empty = Array3::<f32>::zeros((0, 3, 2));
        let error = AffineAlignment::fit(empty.view(), empty.view()).unwrap_err();
        assert_eq!(
            error,
            MetricsError::TooFewSamples {
                array: "from",
                n_samples: 0
            }
        );
    }
}
