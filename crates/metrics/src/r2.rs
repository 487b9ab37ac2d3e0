//! Squared Pearson correlation and coefficient of determination.

use ndarray::{ArrayView, Dimension};

use crate::MetricsError;
use crate::error::{check_finite, check_samples};

/// How well a prediction fits the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Fit {
    /// Squared Pearson correlation, in [0, 1]; blind to scale and offset.
    pub r2: f64,
    /// Coefficient of determination 1 − SSE/SST, at most `r2`; 1 only for a perfect prediction.
    pub cod: f64,
}

/// `r2` and `cod` of two arrays, pooled over all elements.
///
/// A constant prediction explains nothing: its `r2` is 0.
///
/// # Shapes
/// Any, the same for both.
/// # Errors
/// [`MetricsError::ShapeMismatch`], [`MetricsError::NonFinite`], [`MetricsError::TooFewSamples`]
/// and [`MetricsError::ConstantTruth`].
/// # Example
/// ```
/// use metrics::fit;
/// use ndarray::array;
///
/// let truth = array![1.0, 2.0, 3.0];
/// let doubled = array![2.0, 4.0, 6.0];
/// let fit = fit(doubled.view(), truth.view())?;
/// assert_eq!((fit.r2, fit.cod), (1.0, -6.0));
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn fit<D: Dimension>(
    prediction: ArrayView<'_, f32, D>,
    truth: ArrayView<'_, f32, D>,
) -> Result<Fit, MetricsError> {
    check(&prediction, &truth)?;
    let pairs = prediction.iter().zip(truth.iter());
    Moments::of(pairs.map(|(&p, &t)| (f64::from(p), f64::from(t))))
        .fit()
        .ok_or_else(|| MetricsError::ConstantTruth {
            value: truth.first().copied().unwrap_or_default(),
        })
}

/// Squared Pearson correlation of the two flattened arrays.
///
/// # Shapes
/// Any, the same for both.
/// # Errors
/// As [`fit`].
pub fn r2<D: Dimension>(
    prediction: ArrayView<'_, f32, D>,
    truth: ArrayView<'_, f32, D>,
) -> Result<f64, MetricsError> {
    Ok(fit(prediction, truth)?.r2)
}

fn check<D: Dimension>(
    prediction: &ArrayView<'_, f32, D>,
    truth: &ArrayView<'_, f32, D>,
) -> Result<(), MetricsError> {
    if prediction.shape() != truth.shape() {
        return Err(MetricsError::ShapeMismatch {
            left: "prediction",
            left_shape: prediction.shape().to_vec(),
            right: "truth",
            right_shape: truth.shape().to_vec(),
            must_agree: "all dimensions",
        });
    }
    check_samples("truth", truth.len())?;
    check_finite("prediction", prediction.view())?;
    check_finite("truth", truth.view())
}

/// Centred second moments and squared error, summed over all pairs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moments {
    prediction: f64,
    truth: f64,
    cross: f64,
    error: f64,
}

impl Moments {
    /// Of pairs of predicted and true values.
    ///
    /// Two passes in f64. Inputs are f32, so a mean that is off by the rounding of a plain f64 sum
    /// (relative 1e-16 per element) is far below the smallest spread f32 values can have.
    pub(crate) fn of(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let (n, sum, true_sum) = pairs
            .clone()
            .fold((0.0, 0.0, 0.0), |(n, sum, true_sum), (p, t)| {
                (n + 1.0, sum + p, true_sum + t)
            });
        let (mean, true_mean) = (sum / n, true_sum / n);
        pairs.fold(Self::default(), |sums, (p, t)| {
            let (dp, dt) = (p - mean, t - true_mean);
            Self {
                prediction: sums.prediction + dp * dp,
                truth: sums.truth + dt * dt,
                cross: sums.cross + dp * dt,
                error: sums.error + (p - t) * (p - t),
            }
        })
    }

    /// `None` if the truth is constant.
    pub(crate) fn fit(&self) -> Option<Fit> {
        if self.truth == 0.0 {
            return None;
        }
        let r2 = if self.prediction == 0.0 {
            0.0
        } else {
            (self.cross / self.prediction * (self.cross / self.truth)).min(1.0)
        };
        // Equal in exact arithmetic at most; rounding must not reverse them.
        let cod = (1.0 - self.error / self.truth).min(r2);
        Some(Fit { r2, cod })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array3, array};
    use proptest::prelude::*;

    use super::*;

    fn cod(prediction: &Array1<f32>, truth: &Array1<f32>) -> f64 {
        fit(prediction.view(), truth.view()).unwrap().cod
    }

    fn moments(prediction: &Array1<f32>, truth: &Array1<f32>) -> Moments {
        let pairs = prediction.iter().zip(truth);
        Moments::of(pairs.map(|(&p, &t)| (f64::from(p), f64::from(t))))
    }

    fn mean(array: &Array1<f32>) -> f64 {
        array.mapv(f64::from).mean().unwrap()
    }

    fn pair() -> impl Strategy<Value = (Array1<f32>, Array1<f32>)> {
        prop::collection::vec((-100.0f32..100.0, -100.0f32..100.0), 3..50)
            .prop_filter("truth must vary", |pairs| {
                pairs.iter().any(|pair| (pair.1 - pairs[0].1).abs() > 1.0)
            })
            .prop_map(|pairs| pairs.into_iter().unzip::<_, _, Vec<_>, Vec<_>>())
            .prop_map(|(prediction, truth)| (prediction.into(), truth.into()))
    }

    proptest! {
        #[test]
        fn r2_ignores_affine_maps_of_the_prediction(
            (prediction, truth) in pair(),
            scale in prop_oneof![-50.0f32..-0.1, 0.1f32..50.0],
            offset in -100.0f32..100.0,
        ) {
            prop_assume!(moments(&prediction, &truth).prediction > 1.0);
            let mapped = &prediction * scale + offset;
            let before = r2(prediction.view(), truth.view()).unwrap();
            let after = r2(mapped.view(), truth.view()).unwrap();
            prop_assert!((before - after).abs() < 1e-3, "{before} became {after}");
        }

        #[test]
        fn cod_is_one_only_for_the_truth_itself(
            (_, truth) in pair(), index in 0usize..3, change in 0.1f32..10.0,
        ) {
            prop_assert_eq!(fit(truth.view(), truth.view()).unwrap(), Fit { r2: 1.0, cod: 1.0 });
            let mut changed = truth.clone();
            changed[index] += change;
            prop_assert!(cod(&changed, &truth) < 1.0);
        }

        #[test]
        fn cod_never_exceeds_r2((prediction, truth) in pair()) {
            let fit = fit(prediction.view(), truth.view()).unwrap();
            prop_assert!(fit.cod <= fit.r2 && (0.0..=1.0).contains(&fit.r2));
        }

        #[test]
        fn the_best_affine_map_of_the_prediction_has_cod_equal_to_r2((prediction, truth) in pair()) {
            let moments = moments(&prediction, &truth);
            prop_assume!(moments.prediction > 1.0);
            let slope = moments.cross / moments.prediction;
            let offset = mean(&truth) - slope * mean(&prediction);
            let best = prediction.mapv(|p| (slope * f64::from(p) + offset) as f32);
            let expected = r2(prediction.view(), truth.view()).unwrap();
            prop_assert!((cod(&best, &truth) - expected).abs() < 1e-3);
        }
    }

    #[test]
    fn hand_worked_example() {
        // Deviations (-1, 0, 1) and (-4/3, -1/3, 5/3): cross 3, squares 2 and 14/3, SSE 0+0+1.
        let (prediction, truth) = (array![1.0, 2.0, 3.0], array![1.0, 2.0, 4.0]);
        let fit = fit(prediction.view(), truth.view()).unwrap();
        assert!((fit.r2 - 27.0 / 28.0).abs() < 1e-15);
        assert!((fit.cod - 11.0 / 14.0).abs() < 1e-15);
    }

    #[test]
    fn a_large_offset_does_not_drown_the_variance() {
        let truth = Array1::from_iter((0..1000).map(|i| 1e6 + (i % 7) as f32));
        let prediction = Array1::from_iter((0..1000).map(|i| (i % 7) as f32));
        assert!((r2(prediction.view(), truth.view()).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_constant_prediction_explains_nothing() {
        let (prediction, truth) = (array![2.0, 2.0, 2.0], array![1.0, 2.0, 3.0]);
        let fit = fit(prediction.view(), truth.view()).unwrap();
        assert_eq!(fit, Fit { r2: 0.0, cod: 0.0 });
    }

    #[test]
    fn bad_input_is_named() {
        let zeros = Array3::<f32>::zeros((2, 3, 4));
        let other = Array3::<f32>::zeros((2, 4, 3));
        let error = fit(zeros.view(), other.view()).unwrap_err().to_string();
        assert!(
            error.contains("[2, 3, 4]") && error.contains("[2, 4, 3]"),
            "{error}"
        );

        let mut holed = zeros.clone();
        holed[[1, 2, 3]] = f32::NAN;
        let error = fit(zeros.view(), holed.view()).unwrap_err().to_string();
        assert!(
            error.contains("`truth` is NaN at index [1, 2, 3]"),
            "{error}"
        );

        let constant = Array3::from_elem((2, 3, 4), 0.1f32);
        let expected = MetricsError::ConstantTruth { value: 0.1 };
        assert_eq!(fit(zeros.view(), constant.view()).unwrap_err(), expected);

        let single = array![1.0f32];
        let expected = MetricsError::TooFewSamples {
            array: "truth",
            n_samples: 1,
        };
        assert_eq!(fit(single.view(), single.view()).unwrap_err(), expected);
    }
}
