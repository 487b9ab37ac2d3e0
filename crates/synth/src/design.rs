//! Which trials there are, and which of them are held out.

use data::Split;
use ndarray::{Array2, Array3, Axis, stack};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::{check, check_count};
use crate::observe::ObservedTrial;

/// Conditions (initial states of the latent dynamics) times repeats (fresh spikes and noise).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrialDesign {
    /// Number of initial states.
    pub n_conditions: usize,
    /// Trials for each initial state.
    pub n_repeats: usize,
    /// Which trials go to the validation split.
    pub held_out: HeldOut,
}

/// Which trials go to the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldOut {
    /// The last so many repeats of every condition: known latents, fresh spikes.
    Repeats(usize),
    /// All repeats of the last so many conditions: latents never seen in training.
    Conditions(usize),
}

impl Default for TrialDesign {
    /// 65 conditions × 20 repeats, 4 repeats of each held out.
    fn default() -> Self {
        Self {
            n_conditions: 65,
            n_repeats: 20,
            held_out: HeldOut::Repeats(4),
        }
    }
}

/// One trial of a design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrialId {
    pub condition: usize,
    pub repeat: usize,
    /// Number of the trial in the whole design, whatever is held out.
    pub index: usize,
}

/// Arrays `[time, …]` of one trial.
pub(crate) struct Trial {
    pub latent: Array2<f32>,
    pub inputs: Option<Array2<f32>>,
    pub rates: Array2<f32>,
    pub spikes: Array2<f32>,
    pub calcium: Array2<f32>,
    pub fluor: Array2<f32>,
}

impl Trial {
    /// Rounds one trial to the 32-bit floats of the file.
    pub fn new(
        latent: &Array2<f64>,
        inputs: Option<Array2<f32>>,
        rates_hz: &Array2<f64>,
        seen: ObservedTrial,
    ) -> Self {
        Self {
            latent: latent.map(|&x| x as f32),
            inputs,
            rates: rates_hz.map(|&x| x as f32),
            spikes: seen.spikes,
            calcium: seen.calcium,
            fluor: seen.fluor,
        }
    }
}

impl TrialDesign {
    pub(crate) fn validate(&self) -> Result<(), SynthError> {
        check_count("design.n_conditions", self.n_conditions)?;
        check_count("design.n_repeats", self.n_repeats)?;
        match self.held_out {
            HeldOut::Repeats(n) => check(
                (1..self.n_repeats).contains(&n),
                "design.held_out.repeats",
                n,
                "at least 1 and fewer than `design.n_repeats`",
            ),
            HeldOut::Conditions(n) => check(
                (1..self.n_conditions).contains(&n),
                "design.held_out.conditions",
                n,
                "at least 1 and fewer than `design.n_conditions`",
            ),
        }
    }

    /// Runs every trial in parallel; returns the train and the valid split, each ordered by
    /// condition, then repeat, or what the first of them refuses.
    pub(crate) fn run(
        &self,
        simulate: impl Fn(TrialId) -> Result<Trial, SynthError> + Sync,
    ) -> Result<(Split, Split), SynthError> {
        let (valid, train): (Vec<_>, Vec<_>) = self.trials().partition(|&id| self.is_held_out(id));
        let run = |ids: Vec<TrialId>| {
            let trials: Vec<Result<_, _>> = ids.into_par_iter().map(&simulate).collect();
            let trials: Result<Vec<_>, _> = trials.into_iter().collect();
            trials.map(|trials| into_split(&trials))
        };
        Ok((run(train)?, run(valid)?))
    }

    fn trials(&self) -> impl Iterator<Item = TrialId> {
        let n_repeats = self.n_repeats;
        (0..self.n_conditions * n_repeats).map(move |index| TrialId {
            condition: index / n_repeats,
            repeat: index % n_repeats,
            index,
        })
    }

    fn is_held_out(&self, id: TrialId) -> bool {
        match self.held_out {
            HeldOut::Repeats(n) => id.repeat >= self.n_repeats - n,
            HeldOut::Conditions(n) => id.condition >= self.n_conditions - n,
        }
    }
}

/// Trials as arrays `[trial, …]`.
pub(crate) fn into_split(trials: &[Trial]) -> Split {
    let gather = |array: fn(&Trial) -> Option<&Array2<f32>>| {
        let views: Option<Vec<_>> = trials.iter().map(|t| Some(array(t)?.view())).collect();
        views.and_then(|views| -> Option<Array3<f32>> { stack(Axis(0), &views).ok() })
    };
    Split {
        latent: gather(|t| Some(&t.latent)),
        inputs: gather(|t| t.inputs.as_ref()),
        rates: gather(|t| Some(&t.rates)),
        spikes: gather(|t| Some(&t.spikes)),
        calcium: gather(|t| Some(&t.calcium)),
        fluor: gather(|t| Some(&t.fluor)),
    }
}
