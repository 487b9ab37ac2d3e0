//! Does a fit foresee what it was not shown, and better than the simplest estimates do?

use metrics::{Comparison, MetricsError, bits_per_spike};
use ndarray::ArrayView3;
use serde::{Deserialize, Serialize};

/// Training windows explained by so much more than held-out ones are learned by heart.
const OVERFIT_RATIO: f64 = 1.25;
const OVERFIT_LEAST: f64 = 0.03;

/// Co-smoothing: a tenth of the neurons is hidden from the model, which infers their rates in held-out
/// frames from the other neurons; these are compared with what was recorded of the hidden. No second
/// training is needed, and a model that only copies its input scores nothing. Of fluorescence, two things are
/// taken out of both first, neuron by neuron: in each window a decay from its start, which spikes before it
/// leave and nobody is asked for; and what all shown neurons have in common, since neuropil and motion are
/// foreseen as well as spikes are, and are none. Of spikes that the network expects it is the second alone.
///
/// # Source
/// Macke et al. 2011 and Pei, Ye et al. 2021 for co-smoothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// What scores are.
    pub measure: Measure,
    /// Neurons that were hidden.
    pub n_hidden: usize,
    /// The model's score, the mean over hidden neurons in held-out frames.
    pub model: f64,
    /// The same of each hidden neuron.
    #[serde(default)]
    pub scores: Vec<f64>,
    /// The same in as many windows or trials that training saw.
    pub in_training: f64,
    /// What needs no model, the best first.
    pub rivals: Vec<Rival>,
    /// Of frames to come; none if held-out trials or windows are shorter than five frames.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// Frequency, Hz, at which all neurons rise and fall together: such a rhythm is foreseen well, and
    /// proves nothing.
    pub shared_rhythm_hz: Option<f64>,
}

/// Forward prediction: the last fifth of each held-out trial or window is hidden, of all neurons, and what comes there is foreseen
/// by the dynamics alone. Activity in the last frame that is shown may have been told by a few of the next, the model's and its
/// rivals' alike.
///
/// # Source
/// Pei, Ye et al. 2021, who hide the frames behind each trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// What scores are.
    pub measure: Measure,
    /// Frames that were hidden of the longest.
    pub n_frames: usize,
    /// The model's score, the mean over neurons.
    pub model: f64,
    /// The same of each neuron.
    pub scores: Vec<f64>,
    /// What needs no model, the best first.
    pub rivals: Vec<Rival>,
}

/// What a score is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Squared partial correlation of recorded fluorescence and the calcium that the rates let expect, given the
    /// mean fluorescence of the shown neurons and what was there before each window.
    FluorescenceR2,
    /// Squared partial correlation of the spikes that the network expects and those that the rates let expect, as the network
    /// blurs them, given the mean of what it expects of the shown neurons.
    SpikesR2,
    /// Bits per spike above a constant rate.
    BitsPerSpike,
}

/// A simple estimate, foreseen by a regression from held-in to hidden neurons on training frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rival {
    /// What it is.
    pub name: String,
    /// Its score.
    pub score: f64,
    /// The model's score less this one, over the standard error of that difference among neurons.
    pub lead_in_errors: f64,
}

/// How the model stands to its best rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Better by two standard errors.
    Beats,
    /// Neither.
    Equals,
    /// Worse by two standard errors.
    FallsShort,
}

impl Proof {
    /// How the model stands to the best of what needs none; none if there is nothing to compare with.
    pub fn standing(&self) -> Option<Standing> {
        Some(self.rivals.first()?.standing())
    }

    /// Whether training windows are explained much better than held-out ones.
    pub fn is_overfit(&self) -> bool {
        let (seen, unseen) = (self.in_training, self.model.max(0.0));
        seen > OVERFIT_RATIO * unseen && seen > unseen + OVERFIT_LEAST
    }

    /// One line: the scores, and whether the model is worth having.
    pub fn verdict(&self) -> String {
        let Self {
            n_hidden,
            model,
            measure,
            ..
        } = self;
        let measure = measure.name();
        let scores = format!(
            "co-smoothing ({n_hidden} neurons hidden in turn, held-out frames, {measure}): the model {model:.3}"
        );
        beside_best(scores, &self.rivals)
    }

    /// What makes the verdict worth less.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_overfit() {
            warnings.push(format!(
                "co-smoothing is {:.3} in windows that training saw and {:.3} in held-out ones: the model has learned them by heart (a longer recording, shorter `windows`, a smaller `[model.dynamics]` or more `l2` helps)",
                self.in_training, self.model
            ));
        }
        if let Some(hz) = self.shared_rhythm_hz {
            warnings.push(format!(
                "all neurons rise and fall together at {hz:.2} Hz, as no neurons do: light, breath or a scanner; rates hold it as spikes, and co-smoothing foresees it and proves nothing (filter it out of the traces)"
            ));
        }
        warnings
    }
}

impl Forecast {
    /// One line: the scores, and whether the dynamics foresee more than what needs none.
    pub fn verdict(&self) -> String {
        let Self {
            n_frames,
            model,
            measure,
            ..
        } = self;
        let measure = measure.name();
        let scores = format!(
            "forward prediction (the last fifth hidden, {n_frames} frames, {measure}): the model {model:.3}"
        );
        beside_best(scores, &self.rivals)
    }
}

impl Rival {
    /// How the model stands to it.
    fn standing(&self) -> Standing {
        match self.lead_in_errors {
            lead if lead > 2.0 => Standing::Beats,
            lead if lead < -2.0 => Standing::FallsShort,
            _ => Standing::Equals,
        }
    }
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::FluorescenceR2 => "r2 of fluorescence",
            Self::SpikesR2 => "r2 of the network's spikes",
            Self::BitsPerSpike => "bits per spike",
        }
    }
}

/// The model's `scores` in words, and those of its best rival.
fn beside_best(scores: String, rivals: &[Rival]) -> String {
    let Some(best) = rivals.first() else {
        return scores;
    };
    let Rival { name, score, .. } = best;
    let verdict = match best.standing() {
        Standing::Beats => "the model is better",
        Standing::Equals => "no difference that can be told",
        Standing::FallsShort => "the model is worse: take those, or train longer",
    };
    format!("{scores}, {name} {score:.3}: {verdict}")
}

/// How much better one estimate foresees the same neurons than another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lead {
    /// Mean difference of their scores.
    pub mean: f64,
    /// The same over its standard error among neurons.
    pub in_errors: f64,
}

impl Lead {
    /// Of `own` scores over those of another, neuron by neuron.
    pub(crate) fn of(own: &[f64], other: &[f64]) -> Self {
        let pairs = own.iter().zip(other);
        let leads: Vec<f64> = pairs.map(|(own, other)| own - other).collect();
        let lead = mean(&leads);
        let variance = leads.iter().map(|l| (l - lead).powi(2)).sum::<f64>();
        let n = leads.len() as f64;
        let error = (variance / (n - 1.0).max(1.0) / n).sqrt().max(1e-12);
        Self {
            mean: lead,
            in_errors: lead / error,
        }
    }
}

/// The score of each neuron, 0 for one that cannot be scored, of `expected` spikes per frame where these `came`, both
/// `[piece, time, neuron]`: of counts, of which `usual` says how many come per frame, bits per spike; else r².
///
/// # Errors
/// Shapes that differ.
pub(crate) fn scored(
    expected: ArrayView3<'_, f32>,
    came: ArrayView3<'_, f32>,
    usual: Option<&[f32]>,
) -> Result<Vec<f64>, MetricsError> {
    let scores: Vec<Option<f64>> = if let Some(usual) = usual {
        bits_per_spike(expected, came, usual)?
    } else {
        let fits = Comparison::new(expected, came)?.per_neuron();
        fits.into_iter().map(|fit| Some(fit?.r2)).collect()
    };
    Ok(scores.into_iter().map(Option::unwrap_or_default).collect())
}

pub(crate) fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

/// Rivals and how the model's `own` scores compare with theirs, the best first.
pub(crate) fn ranked(own: &[f64], rivals: Vec<(String, Vec<f64>)>) -> Vec<Rival> {
    let mut rivals: Vec<Rival> = rivals
        .into_iter()
        .map(|(name, scores)| Rival {
            name,
            score: mean(&scores),
            lead_in_errors: Lead::of(own, &scores).in_errors,
        })
        .collect();
    rivals.sort_by(|a, b| b.score.total_cmp(&a.score));
    rivals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(model: f64, in_training: f64, lead: f64) -> Proof {
        Proof {
            measure: Measure::FluorescenceR2,
            n_hidden: 24,
            model,
            scores: vec![model; 24],
            in_training,
            rivals: vec![Rival {
                name: "8 components of smoothed OASIS".into(),
                score: 0.3,
                lead_in_errors: lead,
            }],
            forecast: None,
            shared_rhythm_hz: None,
        }
    }

    #[test]
    fn a_verdict_says_who_is_better_and_what_it_is_worth() {
        assert_eq!(proof(0.4, 0.4, 3.0).standing(), Some(Standing::Beats));
        assert!(proof(0.31, 0.3, 0.4).verdict().contains("no difference"));
        let worse = proof(0.02, 0.3, -9.0);
        assert!(worse.verdict().contains("0.020") && worse.verdict().contains("worse"));
        let warnings = worse.warnings();
        assert!(
            warnings.len() == 1 && warnings[0].contains("by heart"),
            "{warnings:?}"
        );
        assert!(proof(0.3, 0.31, 0.0).warnings().is_empty());
    }

    #[test]
    fn leads_are_weighed_by_how_much_they_differ_among_neurons() {
        let rival = |name: &str, scores: [f64; 4]| (name.to_owned(), scores.to_vec());
        let rivals = ranked(
            &[0.5, 0.7, 0.6, 0.4],
            vec![rival("b", [0.0; 4]), rival("a", [0.4, 0.6, 0.5, 0.5])],
        );
        assert_eq!(rivals[0].name, "a");
        assert!((rivals[0].score - 0.5).abs() < 1e-12);
        // Leads of 0.1, 0.1, 0.1 and -0.1: mean 0.05, SD 0.1, error 0.05.
        assert!((rivals[0].lead_in_errors - 1.0).abs() < 1e-9);
    }
}
