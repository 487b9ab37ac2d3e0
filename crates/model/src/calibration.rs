//! Whether posterior samples are as wide as their errors.

use burn::tensor::Tensor;
use ndarray::{Array3, ArrayView3, Zip};

use crate::batch::add_to_trials;
use crate::error::ModelError;
use crate::infer::Inference;
use crate::pass::DropoutMode;
use crate::vae::SequentialVae;

impl<M: SequentialVae> Inference<'_, M> {
    /// How much of `rates_hz`, the true rates, lies within the central credible intervals of each
    /// probability in `levels`, the model having seen `x`; both `[trial, time, neuron]`.
    ///
    /// The samples are drawn with the generator's dropout of the training, which makes their spread
    /// that of the generative model's weights too (Gal & Ghahramani 2016). The initial condition
    /// alone is too sure of itself: the generator that follows it is deterministic.
    ///
    /// # Errors
    /// [`ModelError::Data`] for empty or infinite observations or rates of another shape,
    /// [`ModelError::Config`] for no samples.
    pub fn rate_coverage(
        &self,
        x: ArrayView3<'_, f32>,
        rates_hz: ArrayView3<'_, f32>,
        n_samples: usize,
        seed: u64,
        levels: &[f64],
    ) -> Result<Vec<f64>, ModelError> {
        if x.dim() != rates_hz.dim() {
            return Err(ModelError::Data(format!(
                "the observations are {:?} and the true rates {:?} in [trial, time, neuron]",
                x.dim(),
                rates_hz.dim()
            )));
        }
        let mut ranks = Ranks::of(rates_hz);
        self.sample_deep(x, n_samples, seed, DropoutMode::Generator, |first, draw| {
            ranks.add(first, self.model().log_rates(&draw).exp());
        })?;
        Ok(levels.iter().map(|&level| ranks.coverage(level)).collect())
    }
}

/// The rank of the truth among posterior samples, value by value: 0 if all samples lie above
/// it, 1 if all lie below, uniform between 0 and 1 if the posterior is calibrated (Cook, Gelman &
/// Rubin 2006).
#[derive(Clone, Debug)]
pub struct Ranks<'a> {
    truth: ArrayView3<'a, f32>,
    below: Array3<f32>,
    n_values: f64,
}

impl<'a> Ranks<'a> {
    /// No samples yet of what is truly `truth`, `[trial, time, ·]`.
    pub fn of(truth: ArrayView3<'a, f32>) -> Self {
        Self {
            below: Array3::zeros(truth.dim()),
            truth,
            n_values: 0.0,
        }
    }

    /// Adds a sample, `[time, trial, ·]`, of the trials from `first_trial` on. Ties count half.
    pub fn add(&mut self, first_trial: usize, sample: Tensor<3>) {
        let [n_bins, n_trials, n_last] = sample.dims();
        self.n_values += (n_trials * n_bins) as f64;
        let mut values = Array3::zeros((n_trials, n_bins, n_last));
        add_to_trials(&mut values, 0, sample);
        let trials = ndarray::s![first_trial..first_trial + n_trials, .., ..];
        Zip::from(self.below.slice_mut(trials))
            .and(&values)
            .and(self.truth.slice(trials))
            .for_each(|below, sample, truth| {
                *below += match sample.total_cmp(truth) {
                    std::cmp::Ordering::Less => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Greater => 0.0,
                };
            });
    }

    /// How much of the truth lies within the central credible intervals of probability `level`.
    pub fn coverage(&self, level: f64) -> f64 {
        let (n_trials, n_bins, _) = self.truth.dim();
        let n_samples = self.n_values / (n_trials * n_bins) as f64;
        let tail = 0.5 * (1.0 - level);
        let within = |below: &&f32| (tail..=1.0 - tail).contains(&(f64::from(**below) / n_samples));
        self.below.iter().filter(within).count() as f64 / self.below.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::noise::{Noise, Stream};

    fn coverage(posterior_sd: f64) -> [f64; 2] {
        let device = Device::flex();
        let mut noise = Noise::new(1, Stream::Step(1), &device);
        let mut truth = Array3::zeros((40, 10, 5));
        add_to_trials(&mut truth, 0, noise.normal([10, 40, 5]));
        let mut ranks = Ranks::of(truth.view());
        for _ in 0..200 {
            ranks.add(0, noise.normal([10, 25, 5]).mul_scalar(posterior_sd));
            ranks.add(25, noise.normal([10, 15, 5]).mul_scalar(posterior_sd));
        }
        [ranks.coverage(0.5), ranks.coverage(0.9)]
    }

    #[test]
    fn samples_from_the_truth_cover_what_they_should() {
        let [half, most] = coverage(1.0);
        assert!(
            (half - 0.5).abs() < 0.04 && (most - 0.9).abs() < 0.03,
            "{half} {most}"
        );
        let [half, most] = coverage(0.2);
        assert!(half < 0.2 && most < 0.4, "{half} {most}");
    }
}
