//! What lies beside an array and says when its frames were: a rate, or the time of each.

use super::tables::{last, length};
use crate::Problem;
use crate::format::tree::Tree;
use crate::recording::clock::{Clock, PERIODS, RATES, can_be_paired};
use crate::recording::column_names::{self, called};
use crate::recording::options::Options;

/// What the programs that keep arrays in groups call their rate, besides the usual names.
const OTHER_RATES: [&str; 7] = [
    "sampling_rate",
    "samplingRate",
    "sample_rate",
    "imaging_rate",
    "frameRate",
    "fps",
    "fr",
];
/// Rates that differ by less than this share are one, rounded otherwise.
const ROUNDED: f64 = 0.01;
/// What an array, and the groups around it, say of time: the nearest wins; a note of the array that is the time.
pub(super) fn clock_above(
    tree: &dyn Tree,
    name: &str,
    shape: &[usize],
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Clock, Problem> {
    let mut group = name;
    loop {
        let clock = match stated(tree, group, options)? {
            Clock::Unstated => times(tree, group, shape, notes)?,
            stated => stated,
        };
        match clock {
            Clock::Unstated if !group.is_empty() => group = tree.parent(group),
            clock => return Ok(clock),
        }
    }
}

/// The rate that one group states, or the length of a frame.
///
/// # Errors
/// [`Problem::Rates`] where it states several, and the caller none.
fn stated(tree: &dyn Tree, group: &str, options: &Options) -> Result<Clock, Problem> {
    let scalars = |names: &[&'static str]| -> Result<Vec<(&'static str, f64)>, Problem> {
        let read = |&name: &&'static str| {
            let value = tree.scalar(group, name).transpose()?;
            Some(value.map(|value| (name, value)))
        };
        names.iter().filter_map(read).collect()
    };
    let mut rates = scalars(&RATES)?;
    let has_usual = !rates.is_empty();
    let period_s = scalars(&PERIODS)?.first().map(|&(_, period_s)| period_s);
    rates.extend(scalars(&OTHER_RATES)?);
    let Some(&(_, first)) = rates.first() else {
        return Ok(period_s.map_or(Clock::Unstated, Clock::PeriodS));
    };
    let differs = |(_, rate_hz): &(&str, f64)| (rate_hz - first).abs() > ROUNDED * first.abs();
    if options.rate_hz.is_none() && rates.iter().any(differs) {
        let named = rates
            .iter()
            .map(|(name, rate_hz)| format!("`{name}` = {rate_hz}"));
        return Err(Problem::Rates {
            found: named.collect::<Vec<_>>().join(", "),
        });
    }
    Ok(match period_s {
        Some(period_s) if !has_usual => Clock::PeriodS(period_s),
        _ => Clock::RateHz(first),
    })
}

/// The array of one group that is called a time and is as long as the traces.
fn times(
    tree: &dyn Tree,
    group: &str,
    shape: &[usize],
    notes: &mut Vec<String>,
) -> Result<Clock, Problem> {
    for listed in tree.arrays() {
        let (path, name) = (&listed.name, last(tree, &listed.name));
        let is_here = tree.parent(path) == group;
        let Some(by_name_s) = column_names::time_unit_of(name).filter(|_| is_here) else {
            continue;
        };
        let fits = |n: usize| shape.iter().any(|&length| can_be_paired(n, length));
        if !length(&listed.shape).is_some_and(fits) {
            continue;
        }
        let times = tree.numbers(path)?.unwrap_or_default();
        // "days since 2026-01-01"
        let written = tree.text(path, "units");
        let written = written.as_ref().and_then(|units| unit(units));
        if written.is_none() && !names_unit(name) && counts(&times) {
            notes.push(format!(
                "`{path}` rises by 1 a frame: a counter, no time in seconds"
            ));
            return Ok(Clock::Numbers(times));
        }
        let (unit_s, whose) = match written {
            Some(unit_s) => (unit_s, ", as its `units` say"),
            None => (by_name_s, ""),
        };
        notes.push(format!(
            "`{path}` is the time, in {}{whose}",
            called(unit_s)
        ));
        return Ok(Clock::TimesS(times.iter().map(|t| t * unit_s).collect()));
    }
    Ok(Clock::Unstated)
}

/// The unit in seconds that a text begins with.
fn unit(text: &str) -> Option<f64> {
    let first = text
        .split(|c: char| !c.is_alphanumeric())
        .find(|word| !word.is_empty())?;
    column_names::written_unit(&first.to_lowercase())
}

/// Whether a name has a unit among its words.
fn names_unit(name: &str) -> bool {
    name.split(|c: char| !c.is_alphanumeric())
        .any(|word| unit(word).is_some())
}

/// Whether these are whole numbers that mostly rise by one, as those of frames do.
fn counts(times: &[f64]) -> bool {
    let is_one = |pair: &&[f64]| (pair[1] - pair[0]).total_cmp(&1.0).is_eq();
    let pairs = || times.windows(2);
    let n_ones = pairs().filter(is_one).count();
    let rises = pairs().all(|pair| pair[1] > pair[0]);
    let is_whole = times.iter().all(|time| time.fract().abs() <= 0.0);
    is_whole && rises && 2 * n_ones > times.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_first_word() {
        for (text, wanted) in [
            ("days since 2026-01-01 00:00:00", Some(86_400.0)),
            ("milliseconds since 2026-01-01", Some(1e-3)),
            ("minutes", Some(60.0)),
            ("ms", Some(1e-3)),
            ("s", Some(1.0)),
            ("1", None),
            ("frames", None),
            ("", None),
        ] {
            assert_eq!(unit(text), wanted, "{text}");
        }
        assert!(names_unit("time_ms") && names_unit("t (s)") && !names_unit("t"));
    }

    #[test]
    fn frames_are_counted_by_ones() {
        assert!(counts(&[1.0, 2.0, 3.0, 5.0, 6.0]));
        assert!(!counts(&[0.0, 2.0, 4.0]) && !counts(&[0.0, 0.5, 1.0]));
        assert!(!counts(&[0.0, 33.0, 66.0, 67.0]) && !counts(&[3.0, f64::NAN, 4.0]));
    }
}
