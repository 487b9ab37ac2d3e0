//! From latent states to binned latents and firing rates.

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::SynthError;
use crate::observe::MAX_COUNTS_PER_BIN;

/// rate = `base_rate_hz` · exp(state · `loadings`).
pub(crate) struct Readout {
    /// `[latent, neuron]`.
    pub loadings: Array2<f64>,
    pub base_rate_hz: f64,
    pub steps_per_bin: usize,
}

/// Latents and rates of one condition or trial, per time bin.
pub(crate) struct Binned {
    /// `[time, latent]`: mean over the integration steps of each bin.
    pub latent: Array2<f64>,
    /// `[time, neuron]`, Hz: mean over the integration steps, hence expected count / dt.
    pub rates_hz: Array2<f64>,
}

impl Readout {
    /// Averages over bins; `states` is `[step, latent]`, a whole number of bins long.
    pub fn bin(&self, states: &ArrayView2<'_, f64>) -> Binned {
        let (n_latents, n_neurons) = self.loadings.dim();
        let n_bins = states.nrows() / self.steps_per_bin;
        let mut latent = Array2::zeros((n_bins, n_latents));
        let mut rates_hz = Array2::zeros((n_bins, n_neurons));
        for (step, state) in states.outer_iter().enumerate() {
            let bin = step / self.steps_per_bin;
            latent.row_mut(bin).scaled_add(1.0, &state);
            for (rate, log_rate) in rates_hz.row_mut(bin).iter_mut().zip(self.drive(&state)) {
                *rate += self.base_rate_hz * libm::exp(log_rate);
            }
        }
        let n_steps = self.steps_per_bin as f64;
        Binned {
            latent: latent / n_steps,
            rates_hz: rates_hz / n_steps,
        }
    }

    /// state · loadings, summed in the order of the latents: a BLAS-like product would
    /// round as the processor at hand prefers.
    fn drive(&self, state: &ArrayView1<'_, f64>) -> Vec<f64> {
        let mut drive = vec![0.0; self.loadings.ncols()];
        for (z, weights) in state.iter().zip(self.loadings.outer_iter()) {
            for (d, w) in drive.iter_mut().zip(weights) {
                *d += z * w;
            }
        }
        drive
    }
}

impl Binned {
    /// Refuses rates whose counts would not be exact in 32-bit floats.
    pub fn check(self, condition: usize, dt_s: f64) -> Result<Self, SynthError> {
        let too_high = |rate: f64| rate.is_nan() || rate > MAX_COUNTS_PER_BIN / dt_s;
        let found = self.rates_hz.indexed_iter().find(|(_, r)| too_high(**r));
        match found {
            None => Ok(self),
            Some(((bin, neuron), rate)) => Err(SynthError::RateTooHigh {
                condition,
                bin,
                neuron,
                counts: rate * dt_s,
            }),
        }
    }
}
