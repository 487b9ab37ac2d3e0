//! Expected spikes, which are blurred in time.

use burn::tensor::Tensor;
use ndarray::{Array2, Array3, ArrayView3, Axis};

use crate::error::ModelError;

/// Logarithms of rates, Hz, are held between these: those of blurred ones are numbers then.
const LOG_RATES: [f64; 2] = [-27.0, 80.0];

/// Where a spike is expected that was in another bin, of each neuron.
///
/// Whoever reads spikes from fluorescence knows when one was only nearly, and spreads what is expected of it over the bins
/// around. A model that takes these for counts learns rates that are blurred as they are:
/// E\[s_t\] = dt Σ_k w_k λ_{t+k−h} / Σ_k w_k, over the bins that a trial has.
/// One that compares them with its rates *after the same blur* learns the rates themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Blur {
    /// `[2h + 1, neuron]`, row by row.
    weights: Vec<f32>,
    n_neurons: usize,
}

impl Blur {
    /// From `weights`, `[2h + 1, neuron]`: how much of what is expected in a bin comes of spikes k − h bins later, for
    /// k from 0. Only their ratios matter.
    ///
    /// # Errors
    /// [`ModelError::Data`] unless they are an odd number for each neuron, none below 0 and the middle ones above.
    pub fn new(weights: &Array2<f32>) -> Result<Self, ModelError> {
        let (n_weights, n_neurons) = weights.dim();
        let refuse =
            |problem: String| Err(ModelError::Data(format!("weights of a blur {problem}")));
        if n_weights % 2 == 0 {
            return refuse(format!("are an odd number, not {n_weights}"));
        }
        if let Some(bad) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            return refuse(format!("are 0 or more and finite, not {bad}"));
        }
        if let Some(bad) = weights.row(n_weights / 2).iter().find(|w| **w <= 0.0) {
            return refuse(format!("are above 0 in the middle, not {bad}"));
        }
        Ok(Self {
            weights: weights.iter().copied().collect(),
            n_neurons,
        })
    }

    /// Number of neurons.
    pub fn n_neurons(&self) -> usize {
        self.n_neurons
    }

    /// Rates, `[trial, time, neuron]`, as they are seen.
    ///
    /// # Panics
    /// If they are those of another number of neurons.
    #[must_use]
    pub fn of_rates(&self, rates: ArrayView3<'_, f32>) -> Array3<f32> {
        assert_eq!(rates.len_of(Axis(2)), self.n_neurons, "neurons of a blur");
        let n_bins = rates.len_of(Axis(1));
        let half = self.weights.len() / self.n_neurons / 2;
        Array3::from_shape_fn(rates.dim(), |(trial, bin, neuron)| {
            let around = bin.saturating_sub(half)..n_bins.min(bin + half + 1);
            let (sum, whole) = around.fold((0.0, 0.0), |(sum, whole), at| {
                let weight = self.weights[(at + half - bin) * self.n_neurons + neuron];
                (sum + weight * rates[[trial, at, neuron]], whole + weight)
            });
            sum / whole
        })
    }

    /// Logarithms of the rates, `[time, trial, neuron]`, as they are seen.
    pub(crate) fn of_log_rates(&self, log_rates: Tensor<3>) -> Tensor<3> {
        let [least, most] = LOG_RATES;
        gru::blur(log_rates.clamp(least, most).exp(), &self.weights).log()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use ndarray::array;

    use super::*;

    #[test]
    fn what_is_expected_in_a_bin_comes_of_the_rates_around_it() {
        // Of the first neuron a spike is expected in its bin and the next one, of the second it is certain.
        let blur = Blur::new(&array![[1.0, 0.0], [3.0, 2.0], [0.0, 0.0]]).expect("two neurons");
        let rates: [f32; 6] = [8.0, 1.0, 4.0, 2.0, 0.0, 3.0];
        let logs = rates.map(f32::ln).to_vec();
        let logs = Tensor::from_data(TensorData::new(logs, [3, 1, 2]), &Device::flex());
        let seen = blur.of_log_rates(logs).exp().into_data();
        let seen: Vec<f32> = seen.iter::<f32>().collect();
        let by_trial = Array3::from_shape_vec((1, 3, 2), rates.to_vec()).expect("three bins");
        let plain = blur.of_rates(by_trial.view());
        assert!(plain.iter().zip(&seen).all(|(a, b)| (a - b).abs() < 1e-5));
        // Before the first bin there is none that could be meant.
        for (seen, wanted) in seen.iter().zip([8.0, 1.0, 5.0, 2.0, 1.0, 3.0]) {
            assert!((seen - wanted).abs() < 1e-5, "{seen}, {wanted}");
        }
    }

    #[test]
    fn weights_of_no_blur_are_refused() {
        for (weights, wanted) in [
            (array![[1.0], [1.0]], "odd number, not 2"),
            (array![[-1.0], [1.0], [0.0]], "not -1"),
            (array![[f32::NAN], [1.0], [0.0]], "not NaN"),
            (array![[1.0], [0.0], [0.0]], "in the middle, not 0"),
        ] {
            let error = Blur::new(&weights).expect_err("no blur").to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
