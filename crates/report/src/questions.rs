//! What a reader asks first: is it better than simple things, whom to trust, what was assumed.

use maud::{Markup, html};
use pipeline::{Rival, Standing};
use zoo::ModelName;

use crate::{Report, section};

/// Below this r² of recorded and inferred fluorescence a neuron's rates rest on the others alone.
const LEAST_R2: f64 = 0.2;
/// Names of neurons that are listed.
const MAX_NAMES: usize = 12;

/// Rows of the model's score and of those of its rivals.
fn scores(model: f64, rivals: &[Rival]) -> Markup {
    html! {
        tr { td { "the model" } td { (format!("{model:.3}")) } td {} }
        @for rival in rivals {
            tr {
                td { (rival.name) }
                td { (format!("{:.3}", rival.score)) }
                td { (format!("the model leads by {:.1} standard errors", rival.lead_in_errors)) }
            }
        }
    }
}

impl Report<'_> {
    pub(super) fn questions(&self) -> Markup {
        let content = html! {
            h3 { "Does the model beat simple things here?" }
            (self.does_it_beat())
            h3 { "Which neurons can be trusted?" }
            (self.whom_to_trust())
            h3 { "What was assumed?" }
            (self.assumptions())
        };
        section("Three questions", &Markup::default(), &content)
    }

    fn does_it_beat(&self) -> Markup {
        let Some(proof) = &self.result.proof else {
            return html! { p { "It was not measured: that takes two neurons and some hundred frames." } };
        };
        let answer = match proof.standing() {
            Some(Standing::Beats) => "Yes.",
            Some(Standing::Equals) => "No difference can be told.",
            Some(Standing::FallsShort) => "No: the simple estimate is better.",
            None => "There was nothing to compare it with.",
        };
        html! {
            p { b { (answer) } " A tenth of the neurons was hidden from the model, and foreseen from the others in held-out frames (co-smoothing)." }
            table {
                (scores(proof.model, &proof.rivals))
                tr { td { "the model, in frames that it was trained on" } td { (format!("{:.3}", proof.in_training)) } td {} }
            }
            @if let Some(forecast) = &proof.forecast {
                p { (forecast.verdict()) "." }
                table { (scores(forecast.model, &forecast.rivals)) }
            }
            @for warning in proof.warnings() {
                p.warning { (warning) }
            }
        }
    }

    fn whom_to_trust(&self) -> Markup {
        let calibration = self.record.calibration.as_ref();
        let guessed = calibration.map_or(&[][..], |calibration| &calibration.uncalibrated[..]);
        let poor = poor(&self.fits, guessed);
        let n_good = self.fits.len() - guessed.len() - poor.len();
        html! {
            p { b { (n_good) " of " (self.fits.len()) " neurons" } " show spikes whose size could be measured, and traces that the model explains." }
            @if !guessed.is_empty() {
                p { (guessed.len()) " show no spikes that stand out; they were given the median size, and their counts are a guess: " (self.names(guessed)) "." }
            }
            @if !poor.is_empty() && self.quantities.fluor.is_some() {
                p { (poor.len()) " are explained badly (r² below " (LEAST_R2) " in held-out frames): " (self.names(&poor)) "." }
            }
        }
    }

    fn assumptions(&self) -> Markup {
        let mut said = Vec::new();
        if let Some(calibration) = &self.record.calibration {
            let how = |is_estimated| if is_estimated { "estimated" } else { "given" };
            said.push(format!(
                "Calcium decays in {:.3} s ({}).",
                calibration.tau_s,
                how(calibration.tau_is_estimated)
            ));
            said.push(match calibration.rise_s {
                Some(rise_s) => format!(
                    "It rises in {rise_s:.3} s ({}).",
                    how(calibration.rise_is_estimated)
                ),
                None => "It rises within a frame.".to_owned(),
            });
            said.push(match self.record.config.calibration.spike_size {
                Some(size) => format!("One spike is {size} of the recording's units, as given; rates go with its inverse."),
                None => "The size of a spike was measured for each neuron; if it is twice too small, rates are twice too large.".to_owned(),
            });
            if self.record.model == ModelName::NetworkLfads {
                said.push(
                    "Spikes and baselines are what the spike network finds in whole traces.".into(),
                );
            } else {
                said.push(match calibration.rolling_window_s {
                    Some(window_s) => format!("The baseline is the floor of {window_s:.0} s."),
                    None => "The baseline is one number for each neuron.".to_owned(),
                });
                said.push(match calibration.start_is_running {
                    true => {
                        "Calcium from before a window or trial is inferred, or taken off.".into()
                    }
                    false => "Trials start without calcium.".to_owned(),
                });
            }
        }
        if let Some(external) = &self.record.external {
            said.push(format!(
                "Known to drive the dynamics: {} ({}).",
                external.names.join(", "),
                external.path.display()
            ));
        }
        said.push(format!("Held out: {}.", self.record.held_out.describe()));
        if let Some(driven) = &self.record.driven {
            said.push(format!("Whether something drives these neurons: {driven}."));
        }
        if !self.record.tried.is_empty() {
            said.push("Settings were chosen by what they foresee of frames that were then trained on; tried, one after the other:".into());
        }
        html! {
            ul { @for line in said { li { (line) } } }
            @if !self.record.tried.is_empty() {
                ol { @for tried in &self.record.tried { li { (tried) } } }
            }
        }
    }

    fn names(&self, neurons: &[usize]) -> String {
        let ids = &self.record.source.neuron_ids;
        let shown = neurons.iter().take(MAX_NAMES);
        let mut names: Vec<&str> = shown.map(|&neuron| ids[neuron].as_str()).collect();
        let more = format!("and {} more", neurons.len().saturating_sub(MAX_NAMES));
        if neurons.len() > MAX_NAMES {
            names.push(&more);
        }
        names.join(", ")
    }
}

/// Neurons of a measured size whose traces the model does not explain.
fn poor(fits: &[Option<f64>], guessed: &[usize]) -> Vec<usize> {
    let is_poor = |neuron: &usize| fits[*neuron].is_none_or(|r2| r2 < LEAST_R2);
    let measured = (0..fits.len()).filter(|neuron| !guessed.contains(neuron));
    measured.filter(is_poor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_explained_or_was_guessed_is_not_called_poor() {
        let fits = [Some(0.9), Some(0.1), None, Some(0.05), Some(LEAST_R2)];
        assert_eq!(poor(&fits, &[3]), [1, 2]);
    }
}
