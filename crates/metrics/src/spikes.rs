//! How much better expected counts foresee spikes than a constant rate does.

use ndarray::{ArrayView3, Axis};

use crate::MetricsError;

/// Least expected count per frame: a spike where none was expected is a surprise, not an impossibility.
const LEAST: f64 = 1e-9;

/// Bits per spike of each neuron, `[neuron]`: log-likelihood of Poisson counts under what is `expected`,
/// less that under the neuron's `usual` count per frame, over the number of spikes and log 2. `None` for a
/// neuron without spikes. What is not finite in either does not count.
///
/// # Shapes
/// `expected`, `counts`: `[trial, time, neuron]`; `usual`: `[neuron]`.
/// # Units
/// Counts per frame.
/// # Errors
/// [`MetricsError::ShapeMismatch`].
/// # Source
/// Pei, Ye et al. 2021, "Neural Latents Benchmark", equation 1.
/// # Example
/// ```
/// use metrics::bits_per_spike;
/// use ndarray::array;
///
/// let counts = array![[[0.0], [1.0], [0.0], [1.0]]];
/// let bits = bits_per_spike(counts.view(), counts.view(), &[0.5])?;
/// // A spike is expected as often again: one bit each, and nothing else is said.
/// assert!((bits[0].unwrap() - 1.0).abs() < 1e-6);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn bits_per_spike(
    expected: ArrayView3<'_, f32>,
    counts: ArrayView3<'_, f32>,
    usual: &[f32],
) -> Result<Vec<Option<f64>>, MetricsError> {
    let wanted = [counts.shape()[0], counts.shape()[1], usual.len()];
    if expected.shape() != counts.shape() || counts.shape() != wanted {
        return Err(MetricsError::ShapeMismatch {
            left: "expected",
            left_shape: expected.shape().to_vec(),
            right: "counts",
            right_shape: wanted.to_vec(),
            must_agree: "all dimensions, and the neurons of `usual`,",
        });
    }
    let neurons = expected.axis_iter(Axis(2)).zip(counts.axis_iter(Axis(2)));
    let bits = neurons.zip(usual).map(|((expected, counts), &usual)| {
        let usual = f64::from(usual).max(LEAST);
        let (mut gain, mut n_spikes) = (0.0, 0.0);
        for (&expected, &count) in expected.iter().zip(counts) {
            let (expected, count) = (f64::from(expected), f64::from(count));
            if expected.is_finite() && count.is_finite() {
                let expected = expected.max(LEAST);
                gain += count * (expected / usual).ln() - (expected - usual);
                n_spikes += count;
            }
        }
        (n_spikes > 0.0).then(|| gain / n_spikes / std::f64::consts::LN_2)
    });
    Ok(bits.collect())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_beats_the_mean_among_constants(
            counts in prop::collection::vec(0_u8..4, 5..40), other in 0.01_f32..4.0,
        ) {
            let counts = Array3::from_shape_fn((1, counts.len(), 1), |(_, t, _)| f32::from(counts[t]));
            let mean = counts.mean().unwrap();
            prop_assume!(mean > 0.0);
            let bits = |rate: f32| {
                let expected = Array3::from_elem(counts.dim(), rate);
                bits_per_spike(expected.view(), counts.view(), &[mean]).unwrap()[0].unwrap()
            };
            prop_assert!(bits(mean).abs() < 1e-6);
            prop_assert!(bits(other) < 1e-6);
        }
    }

    #[test]
    fn silence_gaps_and_shapes() {
        let expected = array![[[1.0, 1.0], [1.0, f32::NAN]]];
        let counts = array![[[0.0, 2.0], [f32::NAN, 5.0]]];
        let bits = bits_per_spike(expected.view(), counts.view(), &[0.5, 0.5]).unwrap();
        assert_eq!(bits[0], None);
        // Two spikes at twice the rate: two bits, less half a spike too many.
        let wanted = (2.0 - 0.5 / std::f64::consts::LN_2) / 2.0;
        assert!((bits[1].unwrap() - wanted).abs() < 1e-9);
        let error = bits_per_spike(expected.view(), counts.view(), &[0.5]).unwrap_err();
        assert!(error.to_string().contains("[1, 2, 1]"), "{error}");
    }
}
