//! Fits of arrays with gaps: all neurons together, each alone, or each about its mean.

use ndarray::{ArrayView2, ArrayView3, Axis};

use crate::r2::Moments;
use crate::{Fit, MetricsError};

/// A prediction beside the truth. What is not finite in either does not count.
///
/// A fit is `None` where fewer than two values count or the truth never changes: it is undefined,
/// and should not hide the fits of other neurons.
///
/// # Example
/// ```
/// use metrics::Comparison;
/// use ndarray::array;
///
/// let truth = array![[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]];
/// let prediction = array![[[2.0, 1.0], [4.0, 0.0], [f32::NAN, 0.0]]];
/// let fits = Comparison::new(prediction.view(), truth.view())?.per_neuron();
/// assert_eq!(fits[0].map(|fit| fit.r2), Some(1.0));
/// assert_eq!(fits[1], None);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    prediction: ArrayView3<'a, f32>,
    truth: ArrayView3<'a, f32>,
    frames: Option<ArrayView2<'a, bool>>,
}

impl<'a> Comparison<'a> {
    /// Compares all frames.
    ///
    /// # Shapes
    /// `[trial, time, neuron]` for both.
    /// # Errors
    /// [`MetricsError::ShapeMismatch`].
    pub fn new(
        prediction: ArrayView3<'a, f32>,
        truth: ArrayView3<'a, f32>,
    ) -> Result<Self, MetricsError> {
        let shapes = [prediction.shape(), truth.shape()];
        same_shape(["prediction", "truth"], shapes, "all dimensions")?;
        Ok(Self {
            prediction,
            truth,
            frames: None,
        })
    }

    /// Compares the frames that are true in `frames` alone.
    ///
    /// # Shapes
    /// `frames`: `[trial, time]`.
    /// # Errors
    /// [`MetricsError::ShapeMismatch`].
    pub fn within(self, frames: ArrayView2<'a, bool>) -> Result<Self, MetricsError> {
        let shapes = [frames.shape(), &self.truth.shape()[..2]];
        same_shape(["frames", "truth"], shapes, "trials and times")?;
        Ok(Self {
            frames: Some(frames),
            ..self
        })
    }

    /// The fit of all neurons together.
    pub fn pooled(&self) -> Option<Fit> {
        let all: Vec<(f64, f64)> = (0..self.n_neurons()).flat_map(|n| self.pairs(n)).collect();
        fit(&all)
    }

    /// The fit of each neuron, `[neuron]`.
    pub fn per_neuron(&self) -> Vec<Option<Fit>> {
        let neurons = 0..self.n_neurons();
        neurons.map(|neuron| fit(&self.pairs(neuron))).collect()
    }

    /// The fit of all neurons together, each less its means: how they change, not where they are.
    pub fn about_means(&self) -> Option<Fit> {
        let centred = |neuron| {
            let mut pairs = self.pairs(neuron);
            let n = pairs.len().max(1) as f64;
            let mean = pairs.iter().map(|pair| pair.0).sum::<f64>() / n;
            let true_mean = pairs.iter().map(|pair| pair.1).sum::<f64>() / n;
            for (prediction, truth) in &mut pairs {
                *prediction -= mean;
                *truth -= true_mean;
            }
            pairs
        };
        let all: Vec<(f64, f64)> = (0..self.n_neurons()).flat_map(centred).collect();
        fit(&all)
    }

    /// Mean of the prediction over that of the truth, all neurons together; `None` where the truth's is 0.
    pub fn mean_ratio(&self) -> Option<f64> {
        let pairs = (0..self.n_neurons()).flat_map(|neuron| self.pairs(neuron));
        let (sum, true_sum) = pairs.fold((0.0, 0.0), |(p, t), pair| (p + pair.0, t + pair.1));
        (true_sum != 0.0).then(|| sum / true_sum)
    }

    fn n_neurons(&self) -> usize {
        self.truth.len_of(Axis(2))
    }

    /// Predicted and true values of a neuron, those that count.
    fn pairs(&self, neuron: usize) -> Vec<(f64, f64)> {
        let truth = self.truth.index_axis(Axis(2), neuron);
        let prediction = self.prediction.index_axis(Axis(2), neuron);
        let is_in = |place| self.frames.is_none_or(|frames| frames[place]);
        let all = prediction.indexed_iter().zip(truth);
        all.filter(|((place, p), t)| is_in(*place) && p.is_finite() && t.is_finite())
            .map(|((_, &p), &t)| (f64::from(p), f64::from(t)))
            .collect()
    }
}

fn fit(pairs: &[(f64, f64)]) -> Option<Fit> {
    (pairs.len() > 1).then(|| Moments::of(pairs.iter().copied()).fit())?
}

fn same_shape(
    [left, right]: [&'static str; 2],
    [left_shape, right_shape]: [&[usize]; 2],
    must_agree: &'static str,
) -> Result<(), MetricsError> {
    if left_shape == right_shape {
        return Ok(());
    }
    Err(MetricsError::ShapeMismatch {
        left,
        left_shape: left_shape.to_vec(),
        right,
        right_shape: right_shape.to_vec(),
        must_agree,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array, s};
    use proptest::prelude::*;

    use super::*;

    fn block() -> impl Strategy<Value = Array3<f32>> {
        prop::collection::vec(-10.0f32..10.0, 24)
            .prop_map(|values| Array3::from_shape_vec((2, 4, 3), values).unwrap())
    }

    #[test]
    fn means_are_compared_where_both_are_known() {
        let (prediction, truth) = (
            array![[[3.0], [f32::NAN], [5.0]]],
            array![[[1.0], [7.0], [3.0]]],
        );
        let comparison = Comparison::new(prediction.view(), truth.view()).unwrap();
        assert_eq!(comparison.mean_ratio(), Some(2.0));
        let nothing = Array3::zeros((1, 3, 1));
        let comparison = Comparison::new(prediction.view(), nothing.view()).unwrap();
        assert_eq!(comparison.mean_ratio(), None);
    }

    proptest! {
        #[test]
        fn without_gaps_it_is_the_plain_fit(prediction in block(), truth in block()) {
            let comparison = Comparison::new(prediction.view(), truth.view()).unwrap();
            let plain = crate::fit(prediction.view(), truth.view()).unwrap();
            let pooled = comparison.pooled().unwrap();
            prop_assert!((plain.r2 - pooled.r2).abs() < 1e-12);
            prop_assert!((plain.cod - pooled.cod).abs() < 1e-12);
            for (neuron, found) in comparison.per_neuron().into_iter().enumerate() {
                let one = s![.., .., neuron];
                let alone = crate::fit(prediction.slice(one), truth.slice(one)).ok();
                prop_assert_eq!(found, alone);
            }
        }

        #[test]
        fn what_is_masked_or_missing_does_not_count(
            prediction in block(), truth in block(), wrong in -1e6f32..1e6,
        ) {
            let frames = Array2::from_shape_fn((2, 4), |(trial, bin)| (trial + bin) % 3 != 0);
            let fits = |prediction: &Array3<f32>| {
                let all = Comparison::new(prediction.view(), truth.view()).unwrap();
                let some = all.within(frames.view()).unwrap();
                (some.pooled(), some.per_neuron(), some.about_means())
            };
            let with = |wrong: f32| {
                let mut changed = prediction.clone();
                for ((trial, bin, _), value) in changed.indexed_iter_mut() {
                    if !frames[[trial, bin]] {
                        *value = wrong;
                    }
                }
                changed
            };
            prop_assert_eq!(fits(&prediction), fits(&with(wrong)));
            let changed = with(f32::NAN);
            let gaps = Comparison::new(changed.view(), truth.view()).unwrap();
            prop_assert_eq!(fits(&prediction).0, gaps.pooled());
        }

        #[test]
        fn offsets_of_neurons_do_not_count_about_means(
            prediction in block(), truth in block(), offset in -100.0f32..100.0,
        ) {
            let about_means = |prediction: &Array3<f32>, truth: &Array3<f32>| {
                let all = Comparison::new(prediction.view(), truth.view()).unwrap();
                all.about_means().unwrap().cod
            };
            let moved = |values: &Array3<f32>, offset: f32| {
                let mut moved = values.clone();
                moved.slice_mut(s![.., .., 1]).mapv_inplace(|x| x + offset);
                moved
            };
            let as_they_are = about_means(&prediction, &truth);
            let predicted = about_means(&moved(&prediction, offset), &truth);
            prop_assert!((as_they_are - predicted).abs() < 1e-3);
            let both = about_means(&prediction, &moved(&truth, 0.3 * offset));
            prop_assert!((as_they_are - both).abs() < 1e-3);
        }
    }

    #[test]
    fn each_neuron_is_fitted_alone_and_silent_ones_are_left_out() {
        let truth = array![
            [[1.0, 0.0, 1.0], [2.0, 0.0, 2.0]],
            [[3.0, 0.0, 4.0], [4.0, 0.0, 9.0]]
        ];
        let mut prediction = truth.clone();
        prediction
            .slice_mut(s![.., .., 2])
            .mapv_inplace(|x| x + 1.0);
        prediction[[0, 1, 1]] = 5.0;
        let comparison = Comparison::new(prediction.view(), truth.view()).unwrap();
        let fits = comparison.per_neuron();
        assert_eq!(fits[0], Some(Fit { r2: 1.0, cod: 1.0 }));
        assert_eq!(fits[1], None);
        // SSE 4, SST 38 about a mean of 4.
        assert!((fits[2].unwrap().cod - (1.0 - 4.0 / 38.0)).abs() < 1e-15);
    }

    #[test]
    fn prediction_and_truth_are_not_the_same() {
        let truth = array![[[1.0], [2.0], [4.0]]];
        let prediction = array![[[1.0], [2.0], [3.0]]];
        let cod = |a: &Array3<f32>, b: &Array3<f32>| {
            Comparison::new(a.view(), b.view())
                .unwrap()
                .pooled()
                .unwrap()
                .cod
        };
        assert!((cod(&prediction, &truth) - 11.0 / 14.0).abs() < 1e-15);
        assert!((cod(&truth, &prediction) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn other_shapes_are_named() {
        let (two, three) = (Array3::<f32>::zeros((2, 3, 1)), Array3::zeros((3, 3, 1)));
        let error = Comparison::new(two.view(), three.view()).unwrap_err();
        assert!(error.to_string().contains("[2, 3, 1]"), "{error}");
        let comparison = Comparison::new(two.view(), two.view()).unwrap();
        let frames = Array2::from_elem((2, 4), true);
        let error = comparison.within(frames.view()).unwrap_err();
        assert!(
            error.to_string().contains("`frames` has shape [2, 4]"),
            "{error}"
        );
    }
}
