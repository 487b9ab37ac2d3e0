//! Forward prediction: what a model and simple estimates foresee of frames to come.

use anyhow::Result;
use metrics::smoothed_from_past;
use ndarray::{Array2, Array3, ArrayView3, Axis, s};
use zoo::{ModelConfig, Posterior};

use crate::observations::Observations;
use crate::pieces::Piece;
use crate::proof::{Forecast, Measure, mean, ranked, scored};
use crate::simple::{Activity, N_COMPONENTS, Shown, whole_frames};

/// One frame of so many, the last ones of each piece, is hidden.
const FIFTH: usize = 5;
/// Posterior samples that are averaged.
const N_SAMPLES: usize = 8;

/// The ends of held-out pieces, and what came there.
pub(crate) struct Ends<'a> {
    observations: &'a Observations,
    /// Each with the first of its bins that is hidden, and the end of what it shows.
    pieces: Vec<(Piece, usize, usize)>,
    /// What came in the hidden bins, `[piece, time, neuron]`; NaN elsewhere.
    came: Array3<f32>,
    /// Of counts, the mean per frame on training frames, `[neuron]`.
    usual: Option<Vec<f32>>,
}

impl<'a> Ends<'a> {
    /// Of `pieces` in which these spikes `came`, `[piece, time, neuron]`: counts, with their `usual` number, or what the network
    /// expects. None if no piece is long enough.
    pub fn of(
        observations: &'a Observations,
        pieces: &[Piece],
        mut came: Array3<f32>,
        usual: Option<Vec<f32>>,
    ) -> Option<Self> {
        let mut ends = Vec::new();
        for (piece, mut came) in pieces.iter().zip(came.outer_iter_mut()) {
            let first = piece.visible.start - piece.start;
            let end = piece.visible.end - piece.start;
            let hidden = end - (end - first) / FIFTH;
            came.slice_mut(s![..hidden, ..]).fill(f32::NAN);
            ends.push((piece.clone(), hidden, end));
        }
        let is_any_hidden = ends.iter().any(|(_, hidden, end)| hidden < end);
        is_any_hidden.then_some(Self {
            observations,
            pieces: ends,
            came,
            usual,
        })
    }

    /// Scores `model` and, by what they show in frames `seen` by training, `activities`.
    ///
    /// # Errors
    /// Values that the model cannot read; too few frames to regress on.
    pub fn prove(
        &self,
        config: &ModelConfig,
        model: &dyn Posterior,
        (activities, seen): (&[Activity], &Array2<bool>),
        seed: u64,
    ) -> Result<Forecast> {
        let pieces: Vec<Piece> = self
            .pieces
            .iter()
            .map(|(piece, ..)| piece.clone())
            .collect();
        let hidden: Vec<usize> = self.pieces.iter().map(|(_, hidden, _)| *hidden).collect();
        let read = self.observations.read_up_to(config, &pieces, &hidden)?;
        let inferred = model.posterior_mean(read.view(), N_SAMPLES, seed)?;
        let rates_hz = self.observations.as_network_sees(inferred.rates_hz);
        let own = self.score(&rates_hz)?;
        let rival = |activity: &Activity| self.best_carried(activity, seen);
        let rivals = activities.iter().map(rival).collect::<Result<Vec<_>>>()?;
        Ok(Forecast {
            measure: match self.usual {
                Some(_) => Measure::BitsPerSpike,
                None => Measure::SpikesR2,
            },
            n_frames: self.longest(),
            model: mean(&own),
            rivals: ranked(&own, rivals),
            scores: own,
        })
    }

    /// Frames that are hidden of the longest piece.
    fn longest(&self) -> usize {
        let lengths = self.pieces.iter().map(|(_, hidden, end)| end - hidden);
        lengths.max().unwrap_or_default()
    }

    /// The score of each neuron, 0 for one that cannot be scored, of rates `[piece, time, neuron]` in Hz.
    fn score(&self, rates_hz: &Array3<f32>) -> Result<Vec<f64>> {
        let expected = rates_hz * self.observations.recording.dt_s as f32;
        Ok(scored(
            expected.view(),
            self.came.view(),
            self.usual.as_deref(),
        )?)
    }

    /// The principal components of an activity in the last frame that is shown, each later frame foreseen from them by a
    /// regression of its own: the name, and scores by the width of smoothing that serves them best.
    fn best_carried(&self, activity: &Activity, seen: &Array2<bool>) -> Result<(String, Vec<f64>)> {
        let mut best = Vec::new();
        for sd_s in activity.widths_s() {
            let scores = self.score(&self.carried(activity, sd_s, seen)?)?;
            if best.is_empty() || mean(&scores) > mean(&best) {
                best = scores;
            }
        }
        let by = activity.by.name();
        let name = format!("{N_COMPONENTS} components of smoothed {by}, carried on");
        Ok((name, best))
    }

    /// Rates that come of it, `[piece, time, neuron]`, Hz.
    fn carried(&self, activity: &Activity, sd_s: f64, seen: &Array2<bool>) -> Result<Array3<f32>> {
        let sd_frames = sd_s / self.observations.recording.dt_s;
        let past = smoothed_from_past(activity.values(), sd_frames);
        let frames = whole_frames(past.view(), seen.view());
        let shown = Shown::but(&[], past.view(), &frames)?;
        let all: Vec<usize> = (0..past.len_of(Axis(2))).collect();
        let is_there = |(trial, frame)| {
            past.slice(s![trial, frame, ..])
                .iter()
                .all(|x| x.is_finite())
        };
        let mut rates_hz = Array3::from_elem(self.came.dim(), f32::NAN);
        for ahead in 1..=self.longest() {
            let later = later(activity.values(), seen, ahead);
            let told = shown.tell(later.view(), &all, N_COMPONENTS)?;
            for (index, (piece, hidden, end)) in self.pieces.iter().enumerate() {
                let bin = hidden + ahead - 1;
                let last = (piece.trial, piece.start + hidden - 1);
                if bin < *end && is_there(last) {
                    let expected = told.expected(past.view(), &[last])?;
                    let expected = expected.row(0).mapv(|rate| rate.max(0.0));
                    rates_hz.slice_mut(s![index, bin, ..]).assign(&expected);
                }
            }
        }
        Ok(rates_hz)
    }
}

/// What comes `ahead` frames after each, `[trial, time, neuron]`; NaN where training does not see it.
fn later(values: ArrayView3<'_, f32>, seen: &Array2<bool>, ahead: usize) -> Array3<f32> {
    let n_frames = values.len_of(Axis(1));
    Array3::from_shape_fn(values.dim(), |(trial, frame, neuron)| {
        let at = frame + ahead;
        match at < n_frames && seen[[trial, at]] {
            true => values[[trial, at, neuron]],
            false => f32::NAN,
        }
    })
}

#[cfg(test)]
mod tests {
    use data::Units;
    use metrics::bits_per_spike;
    use zoo::ModelName;

    use super::*;
    use crate::config::WindowSize;
    use crate::held_out::HeldOut;
    use crate::testing::{self, Rates};

    const N_FRAMES: usize = 40;

    /// Counts of a wave that goes through ten neurons, each trial at another phase.
    fn wave() -> Array3<f32> {
        Array3::from_shape_fn((12, N_FRAMES, 10), |(trial, t, n)| {
            let phase = 0.4 * t as f32 + 0.628 * n as f32 + 0.9 * trial as f32;
            (2.0 + 2.0 * phase.sin()).round()
        })
    }

    fn forecast(rates_hz: impl Fn(ArrayView3<'_, f32>) -> Array3<f32> + Send) -> Forecast {
        let recording = testing::recording(wave().into_dyn(), Units::SpikeCounts);
        let windows = WindowSize {
            length: N_FRAMES,
            overlap: 0,
        };
        let name = ModelName::Lfads;
        let all = Observations::new(recording, windows, None, None, name).unwrap();
        let lfads = ModelConfig::parse(name, "dynamics = {}".parse().unwrap()).unwrap();
        let held_out = HeldOut::Trials(vec![2, 7]);
        let proof = all.prove(&lfads, &Rates(rates_hz), &held_out, 1);
        proof.unwrap().unwrap().forecast.unwrap()
    }

    /// Who is told what comes knows it; only the last fifth is hidden, and only what comes there counts.
    #[test]
    fn the_last_fifth_is_hidden_and_scored() {
        let truth = wave().select(Axis(0), &[2, 7]);
        let came = truth.clone();
        let found = forecast(move |x| {
            // Co-smoothing shows other frames and neurons.
            let hidden = |t: usize| x.slice(s![.., t, ..]).iter().all(|v| v.is_nan());
            let hides_end = (0..N_FRAMES).all(|t| hidden(t) == (t >= 32));
            let mut rates_hz = 10.0 * &came;
            rates_hz.slice_mut(s![.., ..32, ..]).fill(1.0);
            if hides_end {
                rates_hz
            } else {
                Array3::ones(x.dim())
            }
        });
        assert_eq!(found.n_frames, 8);
        let end = truth.slice(s![.., 32.., ..]);
        let seen: Vec<usize> = (0..12).filter(|trial| ![2, 7].contains(trial)).collect();
        let usual = wave().select(Axis(0), &seen);
        let usual: Vec<f32> = usual.axis_iter(Axis(2)).filter_map(|n| n.mean()).collect();
        let best = bits_per_spike(end, end, &usual).unwrap();
        for (score, best) in found.scores.iter().zip(best) {
            assert!((score - best.unwrap()).abs() < 1e-4, "{found:?}");
        }
    }

    #[test]
    fn dynamics_that_are_linear_are_carried_on() {
        let found = forecast(|x| Array3::from_elem(x.dim(), 20.0));
        let [rival] = &found.rivals[..] else {
            panic!("{found:?}")
        };
        assert!(
            rival.name.contains("carried on") && found.model.abs() < 0.05,
            "{found:?}"
        );
        // The whole wave is worth about as much.
        assert!(
            rival.score > 0.4 && rival.lead_in_errors < -2.0,
            "{found:?}"
        );
    }
}
