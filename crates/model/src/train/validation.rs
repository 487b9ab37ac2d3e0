//! Validation: the bound on held-out trials, the way out of a collapse, the early stop.

use ndarray::Array3;

use crate::batch::time_major;
use crate::elbo::{ElboValues, Term};
use crate::infer::device_of;
use crate::noise::{Noise, Stream};
use crate::number::Number;
use crate::optimizer::{OnePassAdam, forget};
use crate::pass::{Pass, Stage};
use crate::vae::SequentialVae;

use super::{Event, Observer, Trainer, ValidationReport, mean};

/// Below this many nats initial condition and inputs say nothing: the deep level has collapsed.
const COLLAPSED_KL: f64 = 0.5;
/// Above this share of what the deep level says the inputs leave nothing to the initial condition.
const MOST_BY_INPUTS: f64 = 0.95;
/// Below this standard deviation the factors are constant.
const COLLAPSED_FACTOR_SD: f64 = 1e-3;
/// Resets of a collapsed deep level before training goes on without.
const MAX_RESETS: usize = 3;

impl<M: SequentialVae> Trainer<'_, M> {
    pub(super) fn validate(&mut self, observer: &mut dyn Observer) {
        let (valid, factor_sd) = self.evaluate();
        let report = ValidationReport {
            step: self.state.step,
            train_loss: mean(
                std::mem::take(&mut self.state.losses)
                    .iter()
                    .map(|loss| loss.0),
            ),
            valid: valid.clone(),
            factor_sd,
        };
        tracing::debug!(?report, "validation");
        if let Some((term, value)) = valid.non_finite() {
            tracing::warn!(
                "step {}: `{}` of the held-out trials is {value}: a frame far from all others? (lfads inspect; --mask)",
                report.step,
                term.name()
            );
        }
        observer.on_validation(&report);
        self.state.history.push(report);
        let (weights, stage) = (self.weights(), self.stage());
        if stage == Stage::Shallow || weights.kl_deep < 1.0 || weights.kl_shallow < 1.0 {
            return;
        }
        if self.finished() {
            warn_if_inputs_carry_all(&valid, observer);
        }
        let recovered = self.recover_from_collapse(&valid, factor_sd, observer);
        if !recovered && stage != Stage::Deep {
            self.track_patience(valid.negative_bound(), observer);
        }
    }

    /// Terms of the bound on the validation trials, and the spread of the factors.
    fn evaluate(&self) -> (ElboValues, f64) {
        let valid = self.data.valid();
        let device = device_of(&self.average);
        let (stage, task) = (self.stage(), self.task_on(valid));
        let mut noise = Noise::new(self.seed, Stream::Validation, &device);
        let trials: Vec<usize> = (0..valid.dim().0).collect();
        let mut spread = Vec::new();
        let values: Vec<(usize, ElboValues)> = trials
            .chunks(self.config.batch_size)
            .map(|trials| {
                let x = time_major(valid, trials, &device);
                if stage != Stage::Shallow {
                    let encoded = self.average.encode(x.clone());
                    let factors = self.average.draw_mean(&encoded, false, &mut noise).factors;
                    spread.push(f64::from(factors.var(0).mean().into_scalar::<f32>()));
                }
                let spikes_of = |spikes: &Array3<f32>| time_major(spikes.view(), trials, &device);
                let task = task.as_ref().map(spikes_of);
                let elbo = self.average.elbo(x, task, &mut Pass::plain(&mut noise));
                (trials.len(), elbo.values())
            })
            .collect();
        (ElboValues::mean(&values), mean(spread.into_iter()).sqrt())
    }

    /// Resets a collapsed deep level; tells whether it did.
    fn recover_from_collapse(
        &mut self,
        valid: &ElboValues,
        factor_sd: f64,
        observer: &mut dyn Observer,
    ) -> bool {
        let Some(kl_ic) = valid.get(Term::KlIc) else {
            return false;
        };
        let kl_inputs = valid.get(Term::KlInputs).unwrap_or(0.0);
        if kl_ic + kl_inputs > COLLAPSED_KL && factor_sd > COLLAPSED_FACTOR_SD {
            return false;
        }
        let step = self.state.step;
        let reset = self.state.resets < MAX_RESETS;
        tracing::warn!(
            step,
            kl_ic,
            factor_sd,
            reset,
            "the deep level has collapsed"
        );
        let event = Event::Collapsed {
            step,
            kl_ic,
            factor_sd,
            reset,
        };
        self.tell(event, observer);
        if !reset {
            return false;
        }
        self.state.resets += 1;
        let stream = Stream::Reset(self.state.resets);
        let mut noise = Noise::new(self.seed, stream, &self.device);
        // Moments of weights that are no more would go along for ever.
        let adam = OnePassAdam::new(self.config.beta_1, self.config.beta_2, self.config.epsilon);
        self.optimizer = forget(self.optimizer.clone(), self.model.dynamics(), adam);
        self.model = self.model.clone().reset_dynamics(&mut noise);
        self.average = self.model.valid();
        self.state.n_steps += step - self.state.deep_start;
        self.state.deep_start = step;
        self.state.best_valid = None;
        true
    }

    fn track_patience(&mut self, bound: f64, observer: &mut dyn Observer) {
        if self.state.best_valid.is_none_or(|best| bound < best.0) {
            self.state.best_valid = Some(Number(bound));
            self.state.validations_since_best = 0;
            return;
        }
        self.state.validations_since_best += 1;
        let patience = self.config.patience.unwrap_or(usize::MAX);
        if self.state.validations_since_best >= patience {
            self.state.stopped_early = true;
            let step = self.state.step;
            self.tell(Event::StoppedEarly { step }, observer);
        }
    }
}

/// What a controller explains that an initial condition could is not dynamics.
fn warn_if_inputs_carry_all(valid: &ElboValues, observer: &mut dyn Observer) {
    let (Some(kl_ic), Some(kl_inputs)) = (valid.get(Term::KlIc), valid.get(Term::KlInputs)) else {
        return;
    };
    if kl_inputs <= MOST_BY_INPUTS * (kl_ic + kl_inputs) {
        return;
    }
    tracing::warn!(
        "the inferred inputs carry nearly all that the dynamics say of a trial ({kl_inputs:.1} nats, the initial \
         condition {kl_ic:.1}): the generator is driven rather than running; fewer inputs, a smaller \
         `prior_variance` of the `controller` or a larger `l2` would leave it more"
    );
    observer.on_event(&Event::InputsCarryAll { kl_ic, kl_inputs });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Vec<Event>);

    impl Observer for Told {
        fn on_event(&mut self, event: &Event) {
            self.0.push(event.clone());
        }
    }

    #[test]
    fn inputs_that_carry_nearly_all_are_told_of() {
        let told = |terms: &str| {
            let mut told = Told::default();
            warn_if_inputs_carry_all(&serde_json::from_str(terms).unwrap(), &mut told);
            told.0.len()
        };
        assert_eq!(told(r#"{"kl_ic": 1.0, "kl_inputs": 30.0}"#), 1);
        assert_eq!(told(r#"{"kl_ic": 4.0, "kl_inputs": 30.0}"#), 0);
        assert_eq!(told(r#"{"kl_ic": 0.0}"#), 0);
    }
}
