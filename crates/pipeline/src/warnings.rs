//! How a file was understood: what to say of it beside the notes of the reader.

use data::{Recording, Traces, Units};

use crate::signal::listed;

/// Share of the frames that a stretch of one value must have to be named.
const LONG_STRETCH: f64 = 0.1;
/// Share of a continuous recording that must be zero at its end to be named.
const PADDING: f64 = 0.01;
/// Neurons listed in a line.
const MOST_LISTED: usize = 12;

/// What the axes of the traces are.
pub fn axes(recording: &Recording) -> &'static str {
    match recording.traces {
        Traces::Continuous(_) => "[time, neuron]",
        Traces::Trials(_) => "[trial, time, neuron]",
    }
}

/// What looks as if the file had been meant otherwise.
pub fn doubts(recording: &Recording) -> Vec<String> {
    let mut found = Vec::new();
    if recording.units.is_none() {
        found.push("the file does not say what the values are; state --units".into());
    }
    found.extend(padding(recording));
    // Counts are zero most of the time.
    if recording.units != Some(Units::SpikeCounts) {
        found.extend(constant(recording));
        found.extend(whole_numbers(recording));
    }
    found
}

/// Neurons of whole numbers alone beside others of fractions: labels and counts look so.
fn whole_numbers(recording: &Recording) -> Option<String> {
    let stretches = recording.stretches();
    let is_whole = |neuron: &usize| {
        let values = stretches.iter().flat_map(|s| s.column(*neuron));
        values.clone().any(|v| v.abs() > 0.0)
            && values.into_iter().all(|v| v.is_nan() || v.fract() == 0.0)
    };
    let whole: Vec<usize> = (0..recording.n_neurons()).filter(is_whole).collect();
    if whole.is_empty() || 2 * whole.len() > recording.n_neurons() {
        return None;
    }
    let whole = listed(&whole, &recording.neuron_numbers);
    Some(format!(
        "whole numbers alone in neurons {whole}, fractions in the others: labels, or counts? (--leave-out {whole})"
    ))
}

fn padding(recording: &Recording) -> Option<String> {
    let (n_ending, n_zeros) = recording.zeros_at_ends();
    let what = match (&recording.traces, n_ending) {
        (_, 0) => return None,
        (Traces::Trials(trials), n) => format!("{n} of {} trials end", trials.len()),
        (Traces::Continuous(trace), _) if n_zeros as f64 > PADDING * trace.nrows() as f64 => {
            "the recording ends".to_owned()
        }
        (Traces::Continuous(_), _) => return None,
    };
    Some(format!(
        "{what} in zeros in every neuron, up to {n_zeros} frames: padding? Store NaN there, or leave them out (--frames, --mask)"
    ))
}

fn constant(recording: &Recording) -> Option<String> {
    let silent: Vec<usize> = recording.silent().into_iter().map(|s| s.number).collect();
    let stretches: Vec<(usize, usize)> = recording
        .constant_stretches(LONG_STRETCH)
        .into_iter()
        .map(|(neuron, run)| (recording.neuron_numbers[neuron], run))
        .filter(|(number, _)| !silent.contains(number))
        .collect();
    let longest = stretches.iter().map(|(_, run)| *run).max()?;
    let mut numbers: Vec<String> = stretches
        .iter()
        .take(MOST_LISTED)
        .map(|(number, _)| number.to_string())
        .collect();
    if stretches.len() > MOST_LISTED {
        numbers.push(format!("and {} more", stretches.len() - MOST_LISTED));
    }
    Some(format!(
        "the same value for more than a tenth of the frames on end (up to {longest}) in neurons {}: no data there? Store NaN, or leave them out (--leave-out, --mask)",
        numbers.join(",")
    ))
}
