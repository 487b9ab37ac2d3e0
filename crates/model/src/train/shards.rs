//! The gradient of a batch: its shards of trials go through the whole model side by side.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use ndarray::ArrayView3;
use rayon::prelude::*;

use super::NonFinite;
use crate::batch::{Excerpt, excerpts};
use crate::elbo::{ElboValues, TermWeights};
use crate::noise::{Noise, Stream};
use crate::optimizer::add_gradients;
use crate::pass::{DropoutMode, Pass, Task};
use crate::vae::SequentialVae;

/// Most trials of a shard, as long as there are no more than [`MAX_SHARDS`].
const SHARD_TRIALS: usize = 36;
/// Most shards of a batch: each costs another run through burn's graph.
const MAX_SHARDS: usize = 8;

/// What the loss of a step depends on, beside the model and the trials.
pub(super) struct Batch<'a> {
    /// Observations, `[trial, time, neuron]`.
    pub(super) x: ArrayView3<'a, f32>,
    /// Of each excerpt.
    pub(super) n_bins: usize,
    /// Spikes as `[trial, time, neuron]`.
    pub(super) task: Task<ArrayView3<'a, f32>>,
    pub(super) weights: TermWeights,
    pub(super) seed: u64,
    pub(super) step: usize,
    pub(super) device: &'a Device,
}

/// A batch's loss, its terms and its gradient, each the mean over trials.
pub(super) struct BatchGradient {
    pub(super) loss: f64,
    pub(super) terms: ElboValues,
    pub(super) gradients: GradientsParams,
}

impl Batch<'_> {
    /// The gradient at `model` of the loss of some trials: the same for any number of threads.
    pub(super) fn gradient<M: SequentialVae>(
        &self,
        model: &M,
        trials: &[Excerpt],
    ) -> Result<BatchGradient, NonFinite> {
        let forks: Vec<(M, &[Excerpt])> = shards(trials, self.device)
            .map(|shard| (fork(model), shard))
            .collect();
        let parts: Vec<Result<_, NonFinite>> = forks
            .into_par_iter()
            .enumerate()
            .with_max_len(1)
            .map(|(index, (model, shard))| {
                let (loss, terms) = self.loss(&model, shard, index)?;
                let loss = loss.mul_scalar(shard.len() as f64 / trials.len() as f64);
                let share = f64::from(loss.clone().into_scalar::<f32>());
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                Ok((share, (shard.len(), terms), gradients))
            })
            .collect();
        let (mut loss, mut terms) = (0.0, Vec::with_capacity(parts.len()));
        let mut gradients = GradientsParams::new();
        for part in parts {
            let (share, shard_terms, shard_gradients) = part?;
            loss += share;
            terms.push(shard_terms);
            add_gradients(model, &mut gradients, shard_gradients);
        }
        Ok(BatchGradient {
            loss,
            terms: ElboValues::mean(&terms),
            gradients,
        })
    }

    /// The loss of one shard, and its terms.
    fn loss<M: SequentialVae>(
        &self,
        model: &M,
        trials: &[Excerpt],
        shard: usize,
    ) -> Result<(Tensor<1>, ElboValues), NonFinite> {
        let device = self.device;
        let mut noise = Noise::new(self.seed, Stream::Step(self.step), device).of_shard(shard);
        let mut pass = Pass {
            weights: self.weights,
            dropout: DropoutMode::Training,
            noise: &mut noise,
        };
        let of = |values| excerpts(values, trials, self.n_bins, device);
        let elbo = model.elbo(of(self.x), self.task.map(of), &mut pass);
        let terms = elbo.values();
        match terms.non_finite() {
            Some((term, value)) => Err((term.name(), value)),
            None => Ok((elbo.loss(self.weights), terms)),
        }
    }
}

/// Cuts the trials of a batch into shards of about equal size. They depend on nothing but the
/// batch; devices that run whole batches in parallel by themselves get one.
fn shards<'a, T>(trials: &'a [T], device: &Device) -> impl Iterator<Item = &'a [T]> {
    let n = match *device == Device::flex() {
        true => trials.len().div_ceil(SHARD_TRIALS).min(MAX_SHARDS),
        false => 1,
    };
    (0..n).map(move |shard| &trials[shard * trials.len() / n..(shard + 1) * trials.len() / n])
}

/// The same weights as leaves of a graph of their own: graphs that share leaves share a lock.
fn fork<M: Module>(model: &M) -> M {
    model.clone().map(&mut Fork)
}

struct Fork;

impl ModuleMapper for Fork {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weights| {
            let tracked = weights.is_require_grad();
            weights.detach().set_require_grad(tracked)
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::dynamics::DynamicsConfig;
    use crate::elbo::Term;
    use crate::lfads::LfadsConfig;

    #[test]
    fn shards_are_about_equal_and_hold_every_trial_once() {
        let device = Device::flex().autodiff();
        let sizes = |n_trials: usize| -> Vec<usize> {
            let trials: Vec<usize> = (0..n_trials).collect();
            let shards: Vec<&[usize]> = shards(&trials, &device).collect();
            assert_eq!(shards.concat(), trials);
            shards.iter().map(|shard| shard.len()).collect()
        };
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(36), [36]);
        assert_eq!(sizes(65), [32, 33]);
        assert_eq!(sizes(512), [64; 8]);
    }

    /// What does not depend on the noise is that of the batch as a whole.
    #[test]
    fn terms_of_shards_add_up_to_the_batchs() {
        let device = Device::flex().autodiff();
        let dynamics = DynamicsConfig {
            n_encoder: 6,
            n_generator: 5,
            n_ic: 5,
            coordinated_dropout: 0.0,
            dropout: 0.0,
            ..DynamicsConfig::default()
        };
        let model = LfadsConfig { dynamics }.init(&[0.5; 4], 0.01, 1, &device);
        let model = model.expect("the configuration is valid");
        let count = |(trial, bin, neuron)| ((7 * trial + 5 * bin + 3 * neuron) % 4) as f32;
        let x = Array3::from_shape_fn((80, 6, 4), count);
        let whole = |trial| Excerpt { trial, first: 0 };
        let trials: Vec<Excerpt> = (0..80).map(whole).collect();
        assert_eq!(shards(&trials, &device).count(), 3);
        let batch = Batch {
            x: x.view(),
            n_bins: 6,
            task: Task::Joint,
            weights: TermWeights::FULL,
            seed: 1,
            step: 0,
            device: &device,
        };
        let got = batch
            .gradient(&model, &trials)
            .expect("all terms are finite");
        let (_, want) = batch
            .loss(&model, &trials, 0)
            .expect("all terms are finite");
        for term in [Term::KlIc, Term::L2] {
            let both = got.terms.get(term).zip(want.get(term));
            let (got, want) = both.expect("LFADS has both terms");
            assert!((got - want).abs() < 1e-5 * want, "{got} is not {want}");
        }
        let sum: f64 = got.terms.iter().map(|(_, term)| term).sum();
        assert!(
            (got.loss - sum).abs() < 1e-5 * sum,
            "{} is not {sum}",
            got.loss
        );
    }
}
