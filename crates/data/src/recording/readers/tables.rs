//! Traces that a caller keeps as one array among others, with a rate or frame times beside it.

use super::clock_beside::clock_above;
use super::rows::frame_rows;
use crate::Problem;
use crate::format::cells::Cells;
use crate::format::tree::{Listed, Tree};
use crate::recording::clock::Clock;
use crate::recording::column_names;
use crate::recording::draft::Draft;
use crate::recording::family;
use crate::recording::options::Options;
use crate::recording::reader::{choose, is_likely};

/// Arrays that could be traces: tables; where there is none, rows and columns that are no times.
pub(super) fn candidates(tree: &dyn Tree) -> Vec<String> {
    let named = |keep: &dyn Fn(&Listed) -> bool| -> Vec<String> {
        let kept = tree.arrays().iter().filter(|listed| keep(listed));
        kept.map(|listed| listed.name.clone()).collect()
    };
    // Plain arrays before tables of named columns, which may say what is in the others.
    let plain = named(&|listed| listed.is_table() && tree.columns(&listed.name).is_none());
    let tables = match plain.is_empty() {
        true => named(&Listed::is_table),
        false => plain,
    };
    let is_time = |listed: &Listed| column_names::time_unit_of(last(tree, &listed.name)).is_some();
    match tables.is_empty() {
        true => named(&|listed| length(&listed.shape).is_some() && !is_time(listed)),
        false => tables,
    }
}

/// What of the file was not read, as a note.
pub(super) fn not_read(tree: &dyn Tree) -> Option<String> {
    let left_out = tree.left_out();
    (!left_out.is_empty()).then(|| format!("not read: {}", left_out.join(", ")))
}

/// A name without its groups.
pub(super) fn last<'a>(tree: &dyn Tree, name: &'a str) -> &'a str {
    let parts = name.rsplit_once(tree.separator());
    parts.map_or(name, |(_, last)| last)
}

/// How long a row or column is.
pub(super) fn length(shape: &[usize]) -> Option<usize> {
    match *shape {
        [n] | [1, n] | [n, 1] if n > 1 => Some(n),
        _ => None,
    }
}

/// The array that the caller names, of two axes or three, or else the only one that could be traces.
pub(super) fn read(
    tree: &dyn Tree,
    options: &Options,
    kind: &'static str,
) -> Result<Draft, Problem> {
    let name = named(tree, options, kind)?;
    if let Some(columns) = tree.columns(&name) {
        return named_columns(tree, &name, &columns, options);
    }
    let values = tree.values(&name)?.ok_or(Problem::NoTraces { kind })?;
    let shape = values.shape().to_vec();
    let values = match length(&shape) {
        Some(_) => values.flatten().into_owned().into_dyn(),
        None => values,
    };
    let mut draft = Draft::bare(&name, values);
    draft.clock = clock_above(tree, &name, &shape, options, &mut draft.notes)?;
    Ok(draft)
}

/// A table whose columns are called something.
fn named_columns(
    tree: &dyn Tree,
    name: &str,
    columns: &[String],
    options: &Options,
) -> Result<Draft, Problem> {
    let rows = tree.rows(name)?;
    let rows = rows.unwrap_or_else(|| Cells::new(columns.len()));
    let shape = [rows.n_rows(), columns.len()];
    let draft = frame_rows(rows, Some(columns));
    of_columns(tree, name, shape, draft, options)
}

/// Frames whose columns are called something, of a table so large, and what the groups around it say of time.
pub(super) fn of_columns(
    tree: &dyn Tree,
    name: &str,
    shape: [usize; 2],
    mut draft: Draft,
    options: &Options,
) -> Result<Draft, Problem> {
    name.clone_into(&mut draft.dataset);
    family::leave_strangers(&mut draft);
    if matches!(draft.clock, Clock::Unstated) {
        draft.clock = clock_above(tree, name, &shape, options, &mut draft.notes)?;
    }
    Ok(draft)
}

/// The first array of more axes than trials, time and neurons, as what is wrong.
fn too_many_axes(tree: &dyn Tree) -> Option<Problem> {
    let listed = tree.arrays().iter().find(|listed| listed.shape.len() > 3)?;
    Some(Problem::Rank {
        object: format!("`{}`", listed.name),
        found: listed.shape.clone(),
        axes: "[time, neuron] or [trial, time, neuron]",
    })
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
    let found = candidates(tree);
    let likely: Vec<String> = found
        .iter()
        .filter(|name| is_likely(last(tree, name)))
        .cloned()
        .collect();
    if options.dataset.is_none() && likely.len() < found.len() {
        return match &likely[..] {
            [] => Err(Problem::Unlikely {
                found: found.join(", "),
            }),
            _ => choose(&likely, &options, kind).map(str::to_owned),
        };
    }
    choose(&found, &options, kind)
        .map(str::to_owned)
        .map_err(|problem| match problem {
            // What was not opened may be what is meant.
            Problem::NoTraces { .. } if !tree.left_out().is_empty() => Problem::NotOpened {
                found: tree.left_out().join(", "),
            },
            Problem::NoTraces { .. } => too_many_axes(tree).unwrap_or(problem),
            other => other,
        })
}
