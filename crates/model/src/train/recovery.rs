//! The way back from a divergence: states some steps old, and the learning rate halved.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::ModuleOptimizer;
use burn::tensor::Tensor;

use crate::error::ModelError;
use crate::vae::SequentialVae;

use super::{Event, NonFinite, Observer, State, Trainer};

/// Restarts after a NaN before giving up.
const MAX_DIVERGENCES: usize = 5;
/// Steps between states that are kept, of which the older of two is gone back to: weights explode some
/// steps before the loss does, and where an epoch is one step its start is no way back.
const STEPS_BETWEEN: usize = 25;

/// A training at the start of an epoch.
#[derive(Clone)]
pub(super) struct Snapshot<M> {
    pub(super) model: M,
    pub(super) average: M,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) state: State,
}

impl<M: SequentialVae> Trainer<'_, M> {
    /// Keeps the start of an epoch to go back to, if the last that was kept is some steps ago.
    pub(super) fn remember(&mut self) {
        let step = self.state.step;
        let is_old = |last: &Snapshot<M>| step >= last.state.step + STEPS_BETWEEN;
        if self.state.epoch_steps > 0 || !self.back.last().is_none_or(is_old) {
            return;
        }
        if self.back.len() > 1 {
            self.back.remove(0);
        }
        self.back.push(Snapshot {
            model: self.model.clone(),
            average: self.average.clone(),
            optimizer: self.optimizer.clone(),
            state: self.state.clone(),
        });
    }

    /// Goes back to the older of the states that were kept, at half the learning rate.
    pub(super) fn go_back(
        &mut self,
        (term, value): NonFinite,
        observer: &mut dyn Observer,
    ) -> Result<(), ModelError> {
        let State {
            step,
            divergences,
            rate_scale,
            ..
        } = self.state;
        if divergences == MAX_DIVERGENCES {
            return Err(ModelError::Diverged {
                term,
                value,
                step,
                recoveries: divergences,
            });
        }
        self.back.truncate(1);
        // An epoch begins with one at least.
        let Some(good) = self.back.first().cloned() else {
            return Ok(());
        };
        tracing::warn!(
            "training diverged at step {step} (`{term}` is {value}): back to step {} at half the learning rate",
            good.state.step
        );
        let (events, seconds) = (std::mem::take(&mut self.state.events), self.state.seconds);
        self.model = good.model;
        self.average = good.average;
        self.optimizer = good.optimizer;
        self.state = State {
            divergences: divergences + 1,
            rate_scale: 0.5 * rate_scale,
            events,
            seconds,
            ..good.state
        };
        let term = term.to_owned();
        self.tell(Event::Diverged { step, term }, observer);
        Ok(())
    }

    pub(super) fn weights_are_finite(&self) -> bool {
        is_finite(&self.model) && is_finite(&self.average)
    }
}

/// Whether all weights are numbers.
pub(super) fn is_finite<M: Module>(model: &M) -> bool {
    let mut sum = Sum(0.0);
    model.visit(&mut sum);
    sum.0.is_finite()
}

/// NaN and infinity outlast a sum of magnitudes.
struct Sum(f64);

impl ModuleVisitor for Sum {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 += f64::from(param.val().abs().mean().into_scalar::<f32>());
    }
}
