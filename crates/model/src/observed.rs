//! Observations of which some are missing.

use burn::tensor::Tensor;

/// A batch of observations, `[time, trial, neuron]`, with something in place of what is missing.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The observations.
    pub values: Tensor<3>,
    /// Ones where something was observed, zeros elsewhere; absent if nothing is missing.
    pub(crate) present: Option<Tensor<3>>,
}

impl Observed {
    /// Takes NaN as missing and puts zeros there.
    pub fn new(x: Tensor<3>) -> Self {
        Self::filled_with(x, |missing| missing.zeros_like())
    }

    /// Takes NaN as missing and puts each neuron's `fill`, `[neuron]`, there.
    pub fn filled(x: Tensor<3>, fill: impl FnOnce() -> Tensor<1>) -> Self {
        Self::filled_with(x, |missing| {
            let n_neurons = missing.dims()[2];
            missing * fill().reshape([1, 1, n_neurons])
        })
    }

    fn filled_with(x: Tensor<3>, fill: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Self {
        if !has_missing(&x) {
            return Self {
                values: x,
                present: None,
            };
        }
        let missing = x.clone().is_nan();
        let marks = missing.clone().float();
        let present = marks.clone().neg().add_scalar(1.0);
        Self {
            values: x.mask_fill(missing, 0.0) + fill(marks),
            present: Some(present),
        }
    }

    /// `terms`, or weights of all, where something was observed; zeros elsewhere.
    pub fn only_present(&self, terms: Tensor<3>) -> Tensor<3> {
        match &self.present {
            Some(present) => terms * present.clone(),
            None => terms,
        }
    }
}

/// Whether any value is NaN: the sum is, if one of its terms is.
fn has_missing(x: &Tensor<3>) -> bool {
    x.clone().sum().into_scalar::<f32>().is_nan()
}
