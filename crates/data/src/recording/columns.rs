//! Columns of a table that are no neurons: counters, times, numbers of trials.

use calcium::estimate::median;

use super::clock::Clock;
use super::column_names::{called, is_counter_name, is_trial_name, time_unit, words};
use super::grid::is_regular;

/// Fewest rows of which a constant step is no chance.
pub(crate) const FEWEST_ROWS: usize = 16;
/// Fewest rows of which rising all the way is no chance.
const FEWEST_RISING: usize = 32;
/// Of so many steps one may be another, such as back to the start.
const MOST_UNUSUAL: usize = 8;
/// Lengths of a frame in seconds that a column without a name may have to be taken for its time.
const FRAME_S: std::ops::Range<f64> = 1e-4..4.0;

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    /// Values of a neuron.
    Neuron,
    /// A counter of rows, or what else rises by itself.
    Counter,
    /// The time of each row, with its unit in seconds.
    Time(f64),
    /// The number of the trial of each row.
    Trial,
    /// Nothing in any row, under no name: what a comma at the end of a line leaves.
    Blank,
}

/// A table of which every column has its role.
#[derive(Debug)]
pub(crate) struct Sorted {
    /// Columns that are neurons.
    pub(crate) neurons: Vec<usize>,
    pub(crate) clock: Clock,
    pub(crate) start_s: f64,
    /// Frames of each trial, where a column numbers them.
    pub(crate) trial_lengths: Option<Vec<usize>>,
    pub(crate) notes: Vec<String>,
}

/// Sorts the columns by their names, where they have some, and by their values.
pub(crate) fn sort(
    names: Option<&[String]>,
    n_columns: usize,
    column: impl Fn(usize) -> Vec<f64>,
) -> Sorted {
    let mut sorted = Sorted {
        neurons: Vec::new(),
        clock: Clock::Unstated,
        start_s: 0.0,
        trial_lengths: None,
        notes: Vec::new(),
    };
    let mut nameless_time = None;
    for place in 0..n_columns {
        let name = names.and_then(|names| names.get(place)).map(String::as_str);
        let label = match name {
            Some(name) if !name.trim().is_empty() => format!("column {place} (`{}`)", name.trim()),
            _ => format!("column {place}"),
        };
        let values = column(place);
        match role(name, &values) {
            Role::Neuron => sorted.neurons.push(place),
            Role::Blank => sorted.notes.push(format!("{label} is empty: left out")),
            Role::Trial => {
                let lengths = runs(&values);
                sorted.notes.push(format!(
                    "{label} numbers {} trials; no neuron",
                    lengths.len()
                ));
                sorted.trial_lengths = Some(lengths);
            }
            Role::Time(unit_s) if matches!(sorted.clock, Clock::Unstated | Clock::Numbers(_)) => {
                sorted.time(&label, name, &values, unit_s);
            }
            Role::Time(_) => sorted
                .notes
                .push(format!("{label} is a time too: left out")),
            Role::Counter => {
                let step = constant_step(&values);
                let is_whole = values.iter().all(|v| v.fract() == 0.0);
                let rises = rises(&values);
                if !is_whole && climbs(&values) && step.is_none_or(|step| FRAME_S.contains(&step)) {
                    nameless_time.get_or_insert((label, values));
                    continue;
                }
                let how = match step {
                    Some(step) => format!("rises by {} a row", rounded(step)),
                    None if rises => "rises all the way".to_owned(),
                    None if is_coarse_clock(&values) => {
                        "never falls, as a clock of which the last digits are lost".to_owned()
                    }
                    None => "is a counter".to_owned(),
                };
                sorted
                    .notes
                    .push(format!("{label} {how}: no neuron, left out"));
                if step.is_none() && is_whole && rises && matches!(sorted.clock, Clock::Unstated) {
                    sorted.clock = Clock::Numbers(values);
                }
            }
        }
    }
    if let Some((label, values)) = nameless_time {
        match sorted.clock {
            Clock::Unstated | Clock::Numbers(_) if !is_regular(&steps(&values)) => {
                sorted.clock = Clock::Irregular(label);
            }
            Clock::Unstated | Clock::Numbers(_) => {
                sorted.time(&label, None, &values, 1.0);
            }
            _ => sorted
                .notes
                .push(format!("{label} rises all the way: no neuron, left out")),
        }
    }
    sorted
}

impl Sorted {
    fn time(&mut self, label: &str, name: Option<&str>, values: &[f64], unit_s: f64) {
        let times: Vec<f64> = values.iter().map(|t| t * unit_s).collect();
        self.start_s = times.first().copied().unwrap_or_default();
        let unit = called(unit_s);
        let taken = match name {
            Some(_) => "the time",
            None => "taken for the time, as it rises all the way",
        };
        self.notes.push(format!("{label} is {taken}, in {unit}"));
        self.clock = Clock::TimesS(times);
    }
}

fn role(name: Option<&str>, values: &[f64]) -> Role {
    let words = words(name.unwrap_or_default());
    let rises = rises(values);
    if words.is_empty() {
        return match () {
            () if name.is_some() && values.iter().all(|v| v.is_nan()) => Role::Blank,
            // The index that pandas writes under no name.
            () if name.is_some() && counts_rows(values) => Role::Counter,
            () if is_counter(values) => Role::Counter,
            () => Role::Neuron,
        };
    }
    if let Some(unit_s) = time_unit(&words) {
        let is_plain = words.iter().any(|word| word.len() > 2);
        if is_plain || mostly_rises(values) {
            return Role::Time(unit_s);
        }
    }
    if is_trial_name(&words) && is_trial_number(values) {
        return Role::Trial;
    }
    // Counters may start again with every trial, and buffers go round.
    let is_whole = values.iter().all(|v| v.fract() == 0.0);
    if is_counter_name(&words) && (rises || is_whole) {
        return Role::Counter;
    }
    match is_counter(values) {
        true => Role::Counter,
        false => Role::Neuron,
    }
}

/// Numbers from which on 32 bits hardly tell neighbouring frames apart, as of the days of a calendar and the
/// seconds since 1970.
pub(crate) const LARGE: f64 = 5e5;

/// Whether a column can be a clock of which only the large part is left: it never falls, and is large.
fn is_coarse_clock(values: &[f64]) -> bool {
    values.len() >= FEWEST_ROWS
        && values.first().is_some_and(|v| *v >= LARGE)
        && values.windows(2).all(|pair| pair[1] >= pair[0])
}

/// Whether a column can only be a counter or a clock: it rises by a constant step, or all the way.
pub(crate) fn is_counter(values: &[f64]) -> bool {
    let n = values.len();
    is_coarse_clock(values)
        || (n >= FEWEST_ROWS && (constant_step(values).is_some() || starts_again(values)))
        || (n >= FEWEST_RISING && climbs(values))
}

/// Whether nearly all steps are the same step up: a counter that starts again now and then.
fn starts_again(values: &[f64]) -> bool {
    // Most columns are none: told without their steps in memory.
    let n_not_up = values.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    if MOST_UNUSUAL * n_not_up >= values.len() {
        return false;
    }
    let steps = steps(values);
    let Some(usual) = median(steps.iter().copied()) else {
        return false;
    };
    let largest = values
        .iter()
        .fold(0.0, |largest: f64, v| largest.max(v.abs()));
    let slack = 1e-3 * usual + 4.0 * f64::from(f32::EPSILON) * largest;
    let is_usual = |step: &&f64| (**step - usual).abs() <= slack;
    let n_usual = steps.iter().filter(is_usual).count();
    usual > 0.0 && slack < 0.5 * usual && MOST_UNUSUAL * (steps.len() - n_usual) <= steps.len()
}

fn steps(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Whether a column never falls and mostly rises: two spikes may be at one time.
fn climbs(values: &[f64]) -> bool {
    let n_up = values.windows(2).filter(|pair| pair[1] > pair[0]).count();
    2 * n_up > values.len().saturating_sub(1) && values.windows(2).all(|pair| pair[1] >= pair[0])
}

fn rises(values: &[f64]) -> bool {
    values.len() > 1 && values.windows(2).all(|pair| pair[1] > pair[0])
}

/// As a clock with faults does, and no neuron.
fn mostly_rises(values: &[f64]) -> bool {
    let falls = values.windows(2).filter(|pair| pair[1] < pair[0]).count();
    values.len() > 1 && 5 * falls < values.len() && values[values.len() - 1] > values[0]
}

/// Whole numbers that rise.
fn counts_rows(values: &[f64]) -> bool {
    rises(values) && values.iter().all(|v| v.fract() == 0.0)
}

/// The step of a column that rises by the same all the way, as far as 32-bit numbers tell.
fn constant_step(values: &[f64]) -> Option<f64> {
    let (first, last) = (values.first()?, values.last()?);
    let step = (last - first) / (values.len() - 1) as f64;
    let largest = first.abs().max(last.abs());
    let slack = 1e-3 * step + 4.0 * f64::from(f32::EPSILON) * largest;
    let is_even = |pair: &[f64]| (pair[1] - pair[0] - step).abs() <= slack;
    (step > 0.0 && slack < 0.5 * step && values.windows(2).all(is_even)).then_some(step)
}

/// Whole numbers that stay the same over many rows.
fn is_trial_number(values: &[f64]) -> bool {
    values.iter().all(|v| v.fract() == 0.0) && 2 * runs(values).len() <= values.len()
}

/// Lengths of the runs of one value.
fn runs(values: &[f64]) -> Vec<usize> {
    let same = values.chunk_by(|a, b| a.total_cmp(b).is_eq());
    same.map(<[f64]>::len).collect()
}

fn rounded(step: f64) -> f64 {
    (step * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rising(step: f64) -> Vec<f64> {
        (0..50).map(|i| f64::from(i) * step).collect()
    }

    fn wave() -> Vec<f64> {
        (0..50).map(|i| (f64::from(i) * 0.7).sin()).collect()
    }

    #[test]
    fn times_go_by_many_names() {
        for (name, unit_s) in [
            ("Time (s)", 1.0),
            ("time [s]", 1.0),
            ("time_ms", 1e-3),
            ("Time Stamp (ms)", 1e-3),
            ("seconds", 1.0),
            ("timestamps", 1.0),
            ("t", 1.0),
            ("frame_time", 1.0),
            ("Time (min)", 60.0),
            ("timestamp_us", 1e-6),
        ] {
            assert_eq!(
                role(Some(name), &rising(0.03)),
                Role::Time(unit_s),
                "{name}"
            );
        }
        for name in ["Frame", "frame number", "Unnamed: 0", "index", "", " "] {
            assert_eq!(role(Some(name), &rising(1.0)), Role::Counter, "{name}");
        }
        let trials: Vec<f64> = (0..50).map(|i| f64::from(i / 10)).collect();
        assert_eq!(role(Some("Trial"), &trials), Role::Trial);
    }

    #[test]
    fn neurons_may_be_called_anything() {
        for name in [
            "T1",
            "cell_t",
            "t",
            "ms",
            "frame rate cell",
            "trial",
            "0",
            "time cell 3",
        ] {
            assert_eq!(role(Some(name), &wave()), Role::Neuron, "{name}");
        }
        assert_eq!(role(None, &wave()), Role::Neuron);
        let constant = vec![3.0; 50];
        assert_eq!(role(Some("dead"), &constant), Role::Neuron);
    }

    #[test]
    fn a_counter_is_no_neuron_whatever_its_name() {
        assert_eq!(role(Some("pulse"), &rising(7.0)), Role::Counter);
        assert_eq!(role(None, &rising(1.0 / 30.0)), Role::Counter);
        let single: Vec<f64> = rising(1.0 / 30.0)
            .iter()
            .map(|t| f64::from((t + 600.0) as f32))
            .collect();
        assert_eq!(role(None, &single), Role::Counter);
    }

    #[test]
    fn counters_that_start_again_and_buffers_are_no_neurons() {
        let saw: Vec<f64> = (0..60).map(|i| f64::from(i % 20)).collect();
        let buffers: Vec<f64> = (0..60).map(|i| f64::from(i * i % 7 % 3)).collect();
        assert_eq!(role(Some("frame_in_trial"), &saw), Role::Counter);
        assert_eq!(role(Some("x"), &saw), Role::Counter);
        assert_eq!(role(None, &saw), Role::Counter);
        assert_eq!(role(Some("Buffer Index"), &buffers), Role::Counter);
        assert_eq!(role(Some("c1"), &buffers), Role::Neuron);
        let sorted = sort(None, 2, |c| if c == 0 { saw.clone() } else { wave() });
        assert_eq!(sorted.neurons, [1]);
        assert!(matches!(sorted.clock, Clock::Unstated));
    }

    #[test]
    fn the_named_time_wins_over_one_without_a_name() {
        let columns = [rising(1.0), wave(), rising(0.05), wave()];
        let names = ["", "a", "time", "b"].map(str::to_owned);
        let sorted = sort(Some(&names), 4, |c| columns[c].clone());
        assert_eq!(sorted.neurons, [1, 3]);
        assert!(matches!(sorted.clock, Clock::TimesS(times) if (times[1] - 0.05).abs() < 1e-9));
        let sorted = sort(None, 4, |c| columns[c].clone());
        assert_eq!(sorted.neurons, [1, 3]);
        assert!(matches!(sorted.clock, Clock::TimesS(times) if (times[1] - 0.05).abs() < 1e-9));
    }
}
