//! Traces that a caller keeps as one array among others, with a rate or frame times beside it.

use crate::Problem;
use crate::format::tree::Tree;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::Options;
use crate::recording::reader::choose;

/// Names of frame times.
const TIMES: [&str; 6] = [
    "timestamps",
    "time",
    "times",
    "t",
    "frame_times",
    "timestamp",
];

/// What the programs that keep arrays in groups call their rate, besides the usual names.
const RATES: [&str; 7] = [
    "sampling_rate",
    "samplingRate",
    "sample_rate",
    "imaging_rate",
    "frameRate",
    "fps",
    "fr",
];

/// Arrays that could be traces.
pub(super) fn candidates(tree: &dyn Tree) -> Vec<String> {
    let tables = tree.arrays().iter().filter(|listed| listed.is_table());
    tables.map(|listed| listed.name.clone()).collect()
}

/// The array that the caller names, of two axes or three, or else the only one that could be traces.
pub(super) fn read(
    tree: &dyn Tree,
    options: &Options,
    kind: &'static str,
) -> Result<Draft, Problem> {
    let name = named(tree, options, kind)?;
    let values = tree.values(&name)?.ok_or(Problem::NoTraces { kind })?;
    let shape = values.shape().to_vec();
    let mut draft = Draft::bare(&name, values);
    draft.clock = clock_above(tree, &name, &shape)?;
    Ok(draft)
}

/// The name of that array.
pub(super) fn named(
    tree: &dyn Tree,
    options: &Options,
    kind: &'static str,
) -> Result<String, Problem> {
    let wanted = options.dataset.as_ref();
    let separator = tree.separator().to_string();
    let wanted = wanted.map(|name| name.trim_start_matches('/').replace('/', &separator));
    // What is named exactly may be a row or a column too.
    if let Some(exact) = wanted.as_ref().filter(|name| tree.shape(name).is_some()) {
        return Ok(exact.clone());
    }
    let options = Options {
        dataset: wanted,
        ..options.clone()
    };
    choose(&candidates(tree), &options, kind).map(str::to_owned)
}

/// What an array, and the groups around it, say of time: the nearest wins.
pub(super) fn clock_above(tree: &dyn Tree, name: &str, shape: &[usize]) -> Result<Clock, Problem> {
    let mut group = name;
    loop {
        match clock_in(tree, group, shape)? {
            Clock::Unstated if !group.is_empty() => group = tree.parent(group),
            clock => return Ok(clock),
        }
    }
}

/// What one group says: a rate, or frame times of which there are as many as the array is long.
pub(super) fn clock_in(tree: &dyn Tree, group: &str, shape: &[usize]) -> Result<Clock, Problem> {
    let stated = Clock::from_scalars(|name| tree.scalar(group, name))?;
    if !matches!(stated, Clock::Unstated) {
        return Ok(stated);
    }
    for name in RATES {
        if let Some(rate_hz) = tree.scalar(group, name)? {
            return Ok(Clock::RateHz(rate_hz));
        }
    }
    for name in TIMES {
        let name = tree.join(group, name);
        let is_list = |shape: &[usize]| matches!(shape, [_] | [1, _] | [_, 1]);
        let listed = tree.shape(&name).filter(|shape| is_list(shape));
        let n_times = listed.map(|shape| shape.iter().product());
        let fits = |n: &usize| *n > 1 && shape.contains(n);
        if n_times.as_ref().is_some_and(fits) {
            let times = tree.numbers(&name)?;
            return Ok(times.map_or(Clock::Unstated, Clock::TimesS));
        }
    }
    Ok(Clock::Unstated)
}
