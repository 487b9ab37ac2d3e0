//! Co-smoothing: what a model and simple estimates foresee of neurons that they are not shown.

mod recorded;

use anyhow::Result;
use metrics::shared_rhythm_hz;
use ndarray::{Array2, Array3, Axis, s};
use zoo::{ModelConfig, Posterior};

use self::recorded::{Recorded, Scored};
use crate::forecast::Ends;
use crate::held_out::HeldOut;
use crate::observations::Observations;
use crate::pieces::{Cut, Piece};
use crate::proof::{Proof, mean, ranked};
use crate::simple::{Activity, Deconvolver, N_COMPONENTS, Observed, Shown, whole_frames};

/// Neurons are hidden a tenth at a time, until so many were or all have been.
const N_GROUPS: usize = 10;
const N_HIDDEN: usize = 20;
/// Posterior samples that are averaged: a score needs no more.
const N_SAMPLES: usize = 8;

/// Some pieces of which some neurons are hidden, and what was recorded of these.
struct Trial<'a> {
    observations: &'a Observations,
    pieces: Vec<Piece>,
    hidden: Vec<usize>,
    recorded: Recorded,
}

impl Observations {
    /// Scores `model`, and what it must beat.
    ///
    /// # Errors
    /// Values that the model cannot read; too few frames or neurons to regress on.
    pub(crate) fn prove(
        &self,
        config: &ModelConfig,
        model: &dyn Posterior,
        held_out: &HeldOut,
        seed: u64,
    ) -> Result<Option<Proof>> {
        let n_neurons = self.recording.n_neurons();
        if n_neurons < 2 {
            return Ok(None);
        }
        let valid = held_out.valid(&self.cut)?;
        let train = held_out.train(&self.cut)?;
        let stride = train.len().div_ceil(valid.len()).max(1);
        let train: Vec<Piece> = train.into_iter().step_by(stride).collect();
        let everything = Cut::trials(&self.recording);
        let seen = self.seen(held_out, everything.dim());
        let scored = Scored::of(self, model);
        let simple = Simple::of(self, everything, seen)?;
        let trials = |pieces: &[Piece]| -> Vec<Trial<'_>> {
            let values = scored.values(self, pieces);
            let trial = |hidden: Vec<usize>| {
                let usual = || simple.usual(&hidden);
                Trial {
                    observations: self,
                    pieces: pieces.to_vec(),
                    recorded: Recorded::of(&scored, &values, &hidden, usual, self.calibration()),
                    hidden,
                }
            };
            groups(n_neurons).into_iter().map(trial).collect()
        };
        let of_model = |trials: &[Trial<'_>]| -> Result<Vec<f64>> {
            let scores = trials
                .iter()
                .map(|trial| trial.score_model(config, model, seed));
            Ok(scores.collect::<Result<Vec<_>>>()?.concat())
        };
        let unseen = trials(&valid);
        let own = of_model(&unseen)?;
        let trained = of_model(&trials(&train))?;
        let rivals = simple.rivals(&unseen)?;
        let activities = (&simple.activities[..], &simple.seen);
        let forecast = self.ends(&simple, &valid).and_then(|ends| {
            let found = ends.prove(config, model, activities, seed);
            found
                .inspect_err(|error| {
                    tracing::warn!("forward prediction cannot be measured: {error:#}");
                })
                .ok()
        });
        Ok(Some(Proof {
            measure: scored.measure(),
            n_hidden: own.len(),
            model: mean(&own),
            in_training: mean(&trained),
            rivals: ranked(&own, rivals),
            scores: own,
            forecast,
            shared_rhythm_hz: shared_rhythm_hz(simple.observed.view(), self.recording.dt_s),
        }))
    }

    /// The ends of pieces, and what came there: counts, or what the network expects.
    fn ends(&self, simple: &Simple, pieces: &[Piece]) -> Option<Ends<'_>> {
        let by = match simple.counts {
            true => Deconvolver::Counts,
            false => Deconvolver::Network,
        };
        let activity = simple
            .activities
            .iter()
            .find(|activity| activity.by == by)?;
        let came = self.part_of(activity.values(), pieces) * self.recording.dt_s as f32;
        let usual = simple.counts.then(|| {
            let all: Vec<usize> = (0..self.recording.n_neurons()).collect();
            simple.usual(&all)
        });
        Ends::of(self, pieces, came, usual)
    }

    /// `[trial, time]`, true where training sees.
    fn seen(
        &self,
        held_out: &HeldOut,
        (n_trials, n_frames, _): (usize, usize, usize),
    ) -> Array2<bool> {
        let mut seen = Array2::from_elem((n_trials, n_frames), false);
        for (trial, spans) in held_out.seen(&self.cut).into_iter().enumerate() {
            for span in spans {
                seen.slice_mut(s![trial, span]).fill(true);
            }
        }
        seen
    }
}

impl Trial<'_> {
    /// The score of each hidden neuron by the model.
    fn score_model(
        &self,
        config: &ModelConfig,
        model: &dyn Posterior,
        seed: u64,
    ) -> Result<Vec<f64>> {
        let read = self
            .observations
            .read_without(config, &self.pieces, &self.hidden)?;
        let inferred = model.posterior_mean(read.view(), N_SAMPLES, seed)?;
        let rates_hz = self.observations.as_network_sees(inferred.rates_hz);
        self.score(rates_hz.select(Axis(2), &self.hidden))
    }

    /// What is expected of the hidden in the frames that each piece shows, `[piece, time, hidden]`.
    fn foreseen(
        &self,
        expected: impl Fn(&[(usize, usize)]) -> Result<Array2<f32>>,
    ) -> Result<Array3<f32>> {
        let (n_pieces, n_bins) = (self.pieces.len(), self.observations.cut.piece_length());
        let mut rates = Array3::from_elem((n_pieces, n_bins, self.hidden.len()), f32::NAN);
        for (piece, mut rates) in self.pieces.iter().zip(rates.outer_iter_mut()) {
            let frames = piece.visible.clone().map(|bin| (piece.trial, bin));
            let frames: Vec<(usize, usize)> = frames.collect();
            let first = piece.visible.start - piece.start;
            rates
                .slice_mut(s![first..first + frames.len(), ..])
                .assign(&expected(&frames)?);
        }
        Ok(rates)
    }

    /// The score of each hidden neuron, 0 for one that cannot be scored, of rates `[piece, time, hidden]` in Hz.
    fn score(&self, rates_hz: Array3<f32>) -> Result<Vec<f64>> {
        self.recorded
            .score(rates_hz * self.observations.recording.dt_s as f32)
    }
}

/// Activity that needs no model, everything about it that does not depend on who is hidden.
struct Simple {
    observed: Array3<f32>,
    seen: Array2<bool>,
    counts: bool,
    activities: Vec<Activity>,
}

impl Simple {
    fn of(observations: &Observations, observed: Array3<f32>, seen: Array2<bool>) -> Result<Self> {
        let calibration = observations.calibration();
        let input = Observed {
            values: observed.view(),
            dt_s: observations.recording.dt_s,
            tau_s: calibration.and_then(|c| (!c.tau_is_estimated).then_some(c.tau_s)),
            spike_size: calibration.map(|calibration| &calibration.spike_size[..]),
        };
        let by = match calibration {
            Some(_) => &[Deconvolver::Oasis, Deconvolver::Network][..],
            None => &[Deconvolver::Counts],
        };
        let activity = |by: &Deconvolver| match (observations.network(), by) {
            (Some(network), Deconvolver::Network) => {
                Ok(Activity::of_spikes(network.spikes.clone(), *by, input.dt_s))
            }
            _ => Activity::of(input, *by),
        };
        let activities = by.iter().map(activity).collect::<Result<_>>()?;
        Ok(Self {
            counts: calibration.is_none(),
            activities,
            observed,
            seen,
        })
    }

    /// Of counts, the mean per frame on training frames.
    fn usual(&self, hidden: &[usize]) -> Vec<f32> {
        let mean = |&neuron: &usize| {
            let values = self.observed.index_axis(Axis(2), neuron);
            let seen = values.iter().zip(&self.seen);
            let seen = seen.filter(|(x, seen)| **seen && x.is_finite());
            let (n, sum) = seen.fold((0.0_f32, 0.0), |(n, sum), (x, _)| (n + 1.0, sum + x));
            sum / n.max(1.0)
        };
        hidden.iter().map(mean).collect()
    }

    /// Scores of the hidden neurons of all trials by each rival, with its name, smoothed by the width that serves it
    /// best.
    fn rivals(&self, trials: &[Trial<'_>]) -> Result<Vec<(String, Vec<f64>)>> {
        let mut rivals = Vec::new();
        for activity in &self.activities {
            let by = activity.by.name();
            let kinds = [
                (usize::MAX, format!("smoothed {by}")),
                (
                    N_COMPONENTS,
                    format!("{N_COMPONENTS} components of smoothed {by}"),
                ),
            ];
            let mut best = kinds.map(|(_, name)| (name, Vec::new()));
            for sd_s in activity.widths_s() {
                let smooth = activity.smoothed(sd_s);
                let frames = whole_frames(smooth.view(), self.seen.view());
                let mut scores = [Vec::new(), Vec::new()];
                for trial in trials {
                    let shown = Shown::but(&trial.hidden, smooth.view(), &frames)?;
                    for (scores, n) in scores.iter_mut().zip([usize::MAX, N_COMPONENTS]) {
                        let told = shown.tell(activity.values(), &trial.hidden, n)?;
                        let rates_hz = trial.foreseen(|frames| {
                            let expected = told.expected(smooth.view(), frames)?;
                            Ok(expected.mapv(|rate| rate.max(0.0)))
                        })?;
                        scores.extend(trial.score(rates_hz)?);
                    }
                }
                for ((_, best), scores) in best.iter_mut().zip(scores) {
                    if best.is_empty() || mean(&scores) > mean(best) {
                        *best = scores;
                    }
                }
            }
            rivals.extend(best);
        }
        Ok(rivals)
    }
}

/// Groups of neurons to hide, each spread over all.
fn groups(n_neurons: usize) -> Vec<Vec<usize>> {
    let n_groups = N_GROUPS.min(n_neurons);
    let mut groups = Vec::new();
    let mut n_hidden = 0;
    for group in 0..n_groups {
        if n_hidden >= N_HIDDEN {
            break;
        }
        let hidden: Vec<usize> = (group..n_neurons).step_by(n_groups).collect();
        n_hidden += hidden.len();
        groups.push(hidden);
    }
    groups
}

#[cfg(test)]
mod tests {
    use data::Units;
    use metrics::bits_per_spike;
    use ndarray::ArrayView3;
    use zoo::ModelName;

    use super::*;
    use crate::config::WindowSize;
    use crate::testing::{self, Rates};

    #[test]
    fn groups_hide_a_tenth_and_enough() {
        assert_eq!(groups(3), [vec![0], vec![1], vec![2]]);
        let many = groups(300);
        assert_eq!((many.len(), many[0].len()), (1, 30));
        let some = groups(30);
        assert_eq!((some.len(), some[0].len()), (7, 3));
        let mut all: Vec<usize> = some.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 21);
    }

    /// What it sees is the rate; that of the others is the mean of what it sees.
    fn echo(x: ArrayView3<'_, f32>) -> Array3<f32> {
        let mut rates_hz = x.to_owned();
        for mut frame in rates_hz.rows_mut() {
            let shown: Vec<f32> = frame.iter().copied().filter(|v| !v.is_nan()).collect();
            let mean = shown.iter().sum::<f32>() / shown.len() as f32;
            frame.mapv_inplace(|v| 10.0 * if v.is_nan() { mean } else { v });
        }
        rates_hz
    }

    /// All neurons are alike in held-out trials, each on its own elsewhere.
    #[test]
    fn hidden_neurons_are_foreseen_by_the_others_in_held_out_trials() {
        let (held, seen) = ([3, 7], [0, 1, 2, 4, 5, 6, 8, 9]);
        let counts = Array3::from_shape_fn((10, 30, 6), |(trial, t, n)| {
            f32::from(match held.contains(&trial) {
                true => t % 3 == 0,
                false => (7 * t + 5 * n + 3 * trial) % 11 < 2,
            })
        });
        let recording = testing::recording(counts.clone().into_dyn(), Units::SpikeCounts);
        let windows = WindowSize {
            length: 30,
            overlap: 0,
        };
        let name = ModelName::Lfads;
        let all = Observations::new(recording, windows, None, None, name).unwrap();
        let lfads = ModelConfig::parse(name, "dynamics = {}".parse().unwrap()).unwrap();
        let held_out = HeldOut::Trials(held.to_vec());
        let model = Rates(echo);
        let proof = all.prove(&lfads, &model, &held_out, 1);
        let proof = proof.unwrap().unwrap();
        let unseen = counts.select(Axis(0), &held);
        let trained_on = counts.select(Axis(0), &seen);
        let usual = |n: usize| trained_on.index_axis(Axis(2), n).mean().unwrap();
        let usual: Vec<f32> = (0..6).map(usual).collect();
        let best = bits_per_spike(unseen.view(), unseen.view(), &usual).unwrap();
        assert_eq!(proof.scores.len(), 6);
        for (score, best) in proof.scores.iter().zip(best) {
            assert!((score - best.unwrap()).abs() < 1e-4, "{proof:?}");
        }
        assert!(proof.in_training < 0.0, "{proof:?}");
    }
}
