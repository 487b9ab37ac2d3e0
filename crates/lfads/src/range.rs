//! Numbers on the command line, each within a range that its error states.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Serialize;

/// A decay or rise time, seconds.
pub fn tau(text: &str) -> Result<f64, String> {
    within(text, 1e-3..=100.0, "seconds")
}

/// Frames per second.
pub fn rate(text: &str) -> Result<f64, String> {
    within(text, 1e-3..=1e5, "Hz")
}

/// A moment on the clock of a recording, seconds.
pub fn moment(text: &str) -> Result<f64, String> {
    within(text, -1e12..=1e12, "seconds")
}

/// A window or a frame, seconds.
pub fn duration(text: &str) -> Result<f64, String> {
    within(text, 1e-5..=1e6, "seconds")
}

/// A size in the recording's units that may be 0.
pub fn size(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1e15, "")
}

/// A standard deviation in the recording's units.
pub fn sd(text: &str) -> Result<f64, String> {
    within(text, 1e-15..=1e15, "")
}

/// A share of the neuropil.
pub fn share(text: &str) -> Result<f32, String> {
    within(text, -10.0..=10.0, "")
}

/// Optimiser steps.
pub fn steps(text: &str) -> Result<usize, String> {
    within(text, 1..=1_000_000_000, "")
}

/// How many inputs to the dynamics are inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// As many as serve the fit.
    Auto,
    /// So many.
    Number(usize),
}

/// Inputs to the dynamics, or `auto`.
pub fn inputs(text: &str) -> Result<Inputs, String> {
    if text == "auto" {
        return Ok(Inputs::Auto);
    }
    let number = within(text, 0..=4096, "").map(Inputs::Number);
    number.map_err(|error| format!("{error}, or auto"))
}

/// Time for a choice of settings and a fit, minutes.
pub fn minutes(text: &str) -> Result<f64, String> {
    within(text, 0.01..=1e5, "minutes")
}

/// Posterior samples.
pub fn samples(text: &str) -> Result<usize, String> {
    within(text, 1..=1_000_000, "")
}

/// Threads.
pub fn threads(text: &str) -> Result<usize, String> {
    within(text, 1..=1024, "")
}

/// Neurons, or initial states, of a simulation.
pub fn count(text: &str) -> Result<usize, String> {
    within(text, 1..=100_000, "")
}

/// Trials from each initial state: one is held out at least.
pub fn repeats(text: &str) -> Result<usize, String> {
    within(text, 2..=100_000, "")
}

/// Frames of a simulation.
pub fn frames(text: &str) -> Result<usize, String> {
    within(text, 1..=100_000_000, "")
}

/// Frames from the first to before the end; either may be left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    pub first: Option<usize>,
    pub end: Option<usize>,
}

/// Frames, `A:B`.
pub fn span(text: &str) -> Result<Span, String> {
    let bound = |text: &str| match text.trim() {
        "" => Ok(None),
        number => number.parse().map(Some),
    };
    let span = text
        .split_once(':')
        .map(|(first, end)| [bound(first), bound(end)]);
    match span {
        Some([Ok(first), Ok(end)]) => Ok(Span { first, end }),
        _ => Err("it must be A:B, such as 100:6000, counted from 0".into()),
    }
}

fn within<T>(text: &str, range: RangeInclusive<T>, unit: &str) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (least, most) = (range.start(), range.end());
            let space = if unit.is_empty() { "" } else { " " };
            Err(format!(
                "it must be a number from {least} to {most}{space}{unit}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_told_it() {
        assert_eq!(tau("0.7"), Ok(0.7));
        let error = "it must be a number from 0.001 to 100 seconds";
        for text in ["1e-9", "1e6", "nan", "inf", "-1", "fast", ""] {
            assert_eq!(tau(text).unwrap_err(), error, "{text}");
        }
        let of = |text: &str| span(text).map(|span| (span.first, span.end));
        assert_eq!(of("100:6000"), Ok((Some(100), Some(6000))));
        assert_eq!(
            (of(":60"), of("9:")),
            (Ok((None, Some(60))), Ok((Some(9), None)))
        );
        assert!(span("100").is_err() && span("a:b").is_err());
        assert_eq!(
            count("4294967296").unwrap_err(),
            "it must be a number from 1 to 100000"
        );
    }
}
