//! Co-smoothing: what a model and simple estimates foresee of neurons that they are not shown.

use anyhow::Result;
use metrics::{Comparison, bits_per_spike, shared_rhythm_hz};
use model::NeuronCalcium;
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2, Axis, s};
use zoo::{ModelConfig, Posterior};

use crate::calibration::ByNetwork;
use crate::forecast::Ends;
use crate::held_out::HeldOut;
use crate::observations::Observations;
use crate::pieces::{Cut, Piece};
use crate::proof::{Measure, Proof, mean, ranked};
use crate::simple::{Activity, Deconvolver, N_COMPONENTS, Observed, Shown, whole_frames};

/// Neurons are hidden a tenth at a time, until so many were or all have been.
const N_GROUPS: usize = 10;
const N_HIDDEN: usize = 20;
/// Posterior samples that are averaged: a score needs no more.
const N_SAMPLES: usize = 8;

/// What was recorded of hidden neurons in some pieces, and how it follows from their rates.
struct Trial<'a> {
    observations: &'a Observations,
    pieces: Vec<Piece>,
    hidden: Vec<usize>,
    recorded: Recorded,
}

/// What the rates of hidden neurons are scored on, `[piece, time, hidden]`.
enum Recorded {
    Counts {
        came: Array3<f32>,
        /// Mean count per frame on training frames, `[hidden]`.
        usual: Vec<f32>,
    },
    /// Spikes that the network expects.
    Expected {
        /// Without what all shown neurons have in common.
        came: Array3<f32>,
        /// What the shown ones have in common, `[piece, time]`.
        common: Array2<f32>,
    },
    Fluorescence {
        /// Without what was there before each piece and what all shown neurons have in common.
        came: Array3<f32>,
        /// Decay and rise per frame of each hidden neuron.
        kernels: Vec<[f64; 2]>,
        /// Of each hidden neuron what the shown ones have in common, without its own start, `[piece, time]`.
        common: Vec<Array2<f32>>,
    },
}

/// What hidden neurons are scored on.
enum Scored<'a> {
    Counts,
    /// Spikes that the network expects of whole traces.
    Expected(&'a ByNetwork),
    /// Fluorescence, by decay and rise per frame of each neuron, as learned or calibrated.
    Fluorescence(Vec<[f64; 2]>),
}

impl Recorded {
    fn counts(recorded: &Array3<f32>, hidden: &[usize], usual: Vec<f32>) -> Self {
        Self::Counts {
            came: recorded.select(Axis(2), hidden),
            usual,
        }
    }

    /// Of spikes that are expected of all neurons, `[piece, time, neuron]`.
    fn expected(expected: &Array3<f32>, hidden: &[usize]) -> Self {
        let common = common(expected, hidden, |_| 1.0);
        let mut came = expected.select(Axis(2), hidden);
        for came in came.axis_iter_mut(Axis(2)) {
            take_out(came, common.view());
        }
        Self::Expected { came, common }
    }
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
        let scored = self.scored(model);
        let simple = Simple::of(self, everything, seen)?;
        let trials = |pieces: &[Piece]| -> Vec<Trial<'_>> {
            let recorded = match scored {
                Scored::Expected(network) => self.part_of(network.spikes.view(), pieces),
                Scored::Counts | Scored::Fluorescence(_) => self.values(pieces),
            };
            let trial = |hidden: Vec<usize>| Trial {
                observations: self,
                pieces: pieces.to_vec(),
                recorded: match &scored {
                    Scored::Counts => Recorded::counts(&recorded, &hidden, simple.usual(&hidden)),
                    Scored::Expected(_) => Recorded::expected(&recorded, &hidden),
                    Scored::Fluorescence(kernels) => self.recorded(&recorded, &hidden, kernels),
                },
                hidden,
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
        let forecast = match self.ends(&simple, &valid) {
            Some(ends) => Some(ends.prove(config, model, activities, seed)?),
            None => None,
        };
        Ok(Some(Proof {
            measure: match scored {
                Scored::Counts => Measure::BitsPerSpike,
                Scored::Expected(_) => Measure::SpikesR2,
                Scored::Fluorescence(_) => Measure::FluorescenceR2,
            },
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
        let measure = match simple.counts {
            true => Measure::BitsPerSpike,
            false => Measure::SpikesR2,
        };
        let all: Vec<usize> = (0..self.recording.n_neurons()).collect();
        Ends::of(self, pieces, came, measure, simple.usual(&all))
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

    /// What the neurons that `model` does not see are scored on. Spikes, where the network has found them: of
    /// fluorescence most is noise, and calcium is too slow to tell who foresees when it changes.
    fn scored(&self, model: &dyn Posterior) -> Scored<'_> {
        if let Some(network) = self.network() {
            return Scored::Expected(network);
        }
        let Some(calibration) = self.calibration() else {
            return Scored::Counts;
        };
        let neurons = model.calcium().unwrap_or_default();
        if neurons.is_empty() {
            let calcium = calibration.calcium();
            let rise = calcium.rise.unwrap_or(0.0);
            let known = calcium.neurons.iter();
            return Scored::Fluorescence(known.map(|neuron| [neuron.g, rise]).collect());
        }
        let learned = neurons.iter().cycle().take(self.recording.n_neurons());
        let kernel = |neuron: &NeuronCalcium| [neuron.decay, neuron.rise.unwrap_or(0.0)];
        Scored::Fluorescence(learned.map(kernel).collect())
    }
}

impl Observations {
    /// What was recorded of the hidden in pieces of which `recorded`, `[piece, time, neuron]`, shows all, given
    /// every neuron's decay and rise.
    fn recorded(&self, recorded: &Array3<f32>, hidden: &[usize], kernels: &[[f64; 2]]) -> Recorded {
        let calibration = self.calibration();
        let scale =
            |neuron: usize| calibration.map_or(1.0, |c| c.spike_size[neuron] / c.noise_sd[neuron]);
        let shared = common(recorded, hidden, scale);
        let kernels: Vec<[f64; 2]> = hidden.iter().map(|&neuron| kernels[neuron]).collect();
        let mut came = recorded.select(Axis(2), hidden);
        let neurons = came.axis_iter_mut(Axis(2)).zip(&kernels);
        let common = neurons.map(|(mut came, kernel)| {
            let mut common = shared.clone();
            take_out_start(common.view_mut(), kernel[0]);
            take_out_start(came.view_mut(), kernel[0]);
            take_out(came, common.view());
            common
        });
        Recorded::Fluorescence {
            common: common.collect(),
            came,
            kernels,
        }
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

    /// The score of each hidden neuron, 0 for one that cannot be scored, of rates
    /// `[piece, time, hidden]` in Hz.
    fn score(&self, rates_hz: Array3<f32>) -> Result<Vec<f64>> {
        let dt_s = self.observations.recording.dt_s as f32;
        let mut expected = rates_hz * dt_s;
        let scores = match &self.recorded {
            Recorded::Counts { came, usual } => {
                bits_per_spike(expected.view(), came.view(), usual)?
            }
            Recorded::Expected { came, common } => {
                for expected in expected.axis_iter_mut(Axis(2)) {
                    take_out(expected, common.view());
                }
                let fits = Comparison::new(expected.view(), came.view())?.per_neuron();
                fits.into_iter().map(|fit| Some(fit?.r2)).collect()
            }
            Recorded::Fluorescence {
                came,
                kernels,
                common,
            } => {
                let neurons = expected.axis_iter_mut(Axis(2)).zip(kernels);
                for ((mut expected, &kernel), common) in neurons.zip(common) {
                    for mut piece in expected.outer_iter_mut() {
                        to_calcium(piece.iter_mut(), kernel);
                    }
                    take_out_start(expected.view_mut(), kernel[0]);
                    take_out(expected, common.view());
                }
                let fits = Comparison::new(expected.view(), came.view())?.per_neuron();
                fits.into_iter().map(|fit| Some(fit?.r2)).collect()
            }
        };
        Ok(scores.into_iter().map(Option::unwrap_or_default).collect())
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

    /// Mean count per frame on training frames.
    fn usual(&self, hidden: &[usize]) -> Vec<f32> {
        if !self.counts {
            return vec![0.0; hidden.len()];
        }
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

/// Mean of the neurons that are not hidden, each times its scale, `[piece, time]`; NaN where none is there.
fn common(recorded: &Array3<f32>, hidden: &[usize], scale: impl Fn(usize) -> f32) -> Array2<f32> {
    recorded.map_axis(Axis(2), |frame| {
        let shown = frame.iter().enumerate().filter(|(neuron, x)| {
            x.is_finite() && scale(*neuron).is_finite() && !hidden.contains(neuron)
        });
        let (n, sum) = shown.fold((0, 0.0), |(n, sum), (neuron, x)| {
            (n + 1, sum + x * scale(neuron))
        });
        sum / n as f32
    })
}

/// Takes the part of each piece's `values`, `[piece, time]`, out that decays from its start as calcium does.
fn take_out_start(mut values: ArrayViewMut2<'_, f32>, decay: f64) {
    for mut piece in values.outer_iter_mut() {
        let left = |bin: usize| decay.powi(bin as i32);
        let present = piece.iter().enumerate().filter(|(_, x)| x.is_finite());
        let (xd, dd) = present.fold((0.0, 0.0), |(xd, dd), (bin, &x)| {
            (xd + f64::from(x) * left(bin), dd + left(bin).powi(2))
        });
        let amplitude = if dd > 0.0 { xd / dd } else { 0.0 };
        for (bin, x) in piece.iter_mut().enumerate() {
            *x -= (amplitude * left(bin)) as f32;
        }
    }
}

/// Takes the part of `values` out that follows `common` in a straight line, both `[piece, time]`.
fn take_out(mut values: ArrayViewMut2<'_, f32>, common: ArrayView2<'_, f32>) {
    let pairs = || {
        let pairs = values.iter().zip(common);
        let pairs = pairs.filter(|(x, c)| x.is_finite() && c.is_finite());
        pairs.map(|(&x, &c)| (f64::from(x), f64::from(c)))
    };
    let n = pairs().count().max(1) as f64;
    let (x, c) = pairs().fold((0.0, 0.0), |(a, b), (x, c)| (a + x / n, b + c / n));
    let (xc, cc) = pairs().fold((0.0, 0.0), |(a, b), (y, d)| {
        (a + (y - x) * (d - c), b + (d - c).powi(2))
    });
    let slope = if cc > 0.0 { xc / cc } else { 0.0 };
    for (x, c) in values.iter_mut().zip(common) {
        *x -= (slope * f64::from(*c)) as f32;
    }
}

/// Counts per frame become the calcium that they let expect, from none. What is missing goes on as before.
fn to_calcium<'a>(counts: impl Iterator<Item = &'a mut f32>, [decay, rise]: [f64; 2]) {
    let (mut risen, mut calcium, mut last) = (0.0, 0.0, None);
    for count in counts {
        if count.is_finite() {
            last = Some(f64::from(*count));
        }
        let Some(count_now) = last else { continue };
        risen = rise * risen + count_now;
        calcium = decay * calcium + risen;
        *count = calcium as f32;
    }
}

#[cfg(test)]
mod tests {
    use data::Units;
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

    #[test]
    fn an_impulse_rises_and_decays() {
        let mut impulse = [f32::NAN, 0.0, 1.0, 0.0, f32::NAN];
        to_calcium(impulse.iter_mut(), [0.9, 0.5]);
        assert!(impulse[0].is_nan());
        let wanted = [0.0, 1.0, 1.4, 1.51];
        let pairs = impulse[1..].iter().zip(wanted);
        assert!(
            pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6),
            "{impulse:?}"
        );
    }

    #[test]
    fn what_was_there_before_and_what_all_have_in_common_are_taken_out_and_nothing_else() {
        let common = Array2::from_shape_fn((2, 50), |(piece, bin)| ((7 * bin + piece) % 11) as f32);
        let own = |bin: usize| ((5 * bin) % 13) as f32;
        let before =
            |piece: usize, bin: usize| 8.0 * (piece as f32 + 1.0) * 0.9_f32.powi(bin as i32);
        let mut alone = Array2::from_shape_fn((2, 50), |(_, bin)| own(bin));
        let mut values = Array2::from_shape_fn((2, 50), |(piece, bin)| {
            own(bin) + 3.0 * common[[piece, bin]] + before(piece, bin)
        });
        (values[[1, 4]], alone[[1, 4]]) = (f32::NAN, f32::NAN);
        let mut others = common;
        others[[1, 4]] = f32::NAN;
        take_out_start(others.view_mut(), 0.9);
        for values in [&mut values, &mut alone] {
            take_out_start(values.view_mut(), 0.9);
            take_out(values.view_mut(), others.view());
        }
        for (a, b) in values.iter().zip(&alone) {
            assert!((a - b).abs() < 1e-4 || a.is_nan() && b.is_nan(), "{a} {b}");
        }
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
