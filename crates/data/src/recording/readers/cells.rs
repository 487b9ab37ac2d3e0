//! Trials that a cell or struct array of MATLAB holds, one matrix each; or neurons, one trace each.

use ndarray::{ArrayD, Axis, concatenate};

use super::clock_beside::clock_above;
use super::tables::{candidates, length};
use crate::Problem;
use crate::format::tree::Tree;
use crate::recording::axes::guess_order;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};

/// The trials of the one array of cells or structs whose elements are all there is that could be traces, or
/// of the one named; `None` where there is anything else.
///
/// # Errors
/// [`Problem::Ambiguous`] of several such arrays; those of an order of axes that the shapes leave open.
pub(super) fn read(tree: &dyn Tree, options: &Options) -> Result<Option<Draft>, Problem> {
    let candidates = candidates(tree);
    let Some((array, elements)) = elements(&candidates, options)? else {
        return Ok(None);
    };
    let array = &array[..];
    if let Some(draft) = traces(tree, array, &elements, options)? {
        return Ok(Some(draft));
    }
    let shapes = elements.iter().map(|name| match tree.shape(name) {
        Some(&[rows, columns]) => Some([rows, columns]),
        _ => None,
    });
    let Some(shapes) = shapes.collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let Some(order) = order(array, &shapes, options)? else {
        return Ok(None);
    };
    let time = usize::from(order.is_neuron_first());
    let values = elements.iter().map(|name| {
        let found = tree.values(name)?;
        found.ok_or(Problem::NoTraces { kind: "cell" })
    });
    let values: Vec<ArrayD<f32>> = values.collect::<Result<_, _>>()?;
    let views: Vec<_> = values.iter().map(|trial| trial.view()).collect();
    let joined = concatenate(Axis(time), &views);
    let joined = joined.map_err(|_| Problem::NoTraces { kind: "cell" })?;
    let mut draft = Draft::bare(array, joined);
    draft.order = Some(order);
    draft.sorted = true;
    draft.trial_lengths = Some(shapes.iter().map(|shape| shape[time]).collect());
    // Times, if any, are those of a trial.
    draft.clock = match clock_above(tree, elements[0], &[], options, &mut draft.notes)? {
        Clock::TimesS(_) | Clock::Numbers(_) => Clock::Unstated,
        clock => clock,
    };
    draft.notes.push(format!(
        "the {} {} of `{array}` are trials",
        elements.len(),
        kind(&elements)
    ));
    Ok(Some(draft))
}

/// Elements of one row or column each and of one length: a matrix, of which the caller or frame times tell
/// whether its rows are neurons.
fn traces(
    tree: &dyn Tree,
    array: &str,
    elements: &[&str],
    options: &Options,
) -> Result<Option<Draft>, Problem> {
    let lengths = elements
        .iter()
        .map(|name| tree.shape(name).and_then(length));
    let Some(lengths) = lengths.collect::<Option<Vec<usize>>>() else {
        return Ok(None);
    };
    if lengths.iter().any(|n| *n != lengths[0]) {
        return Ok(None);
    }
    let rows = elements.iter().map(|name| {
        let found = tree.values(name)?;
        found.ok_or(Problem::NoTraces { kind: "cell" })
    });
    let mut values = Vec::new();
    for row in rows {
        values.extend(row?);
    }
    let shape = [elements.len(), lengths[0]];
    let values = ArrayD::from_shape_vec(shape.to_vec(), values);
    let mut draft = Draft::bare(
        array,
        values.map_err(|_| Problem::NoTraces { kind: "cell" })?,
    );
    draft.clock = clock_above(tree, elements[0], &shape, options, &mut draft.notes)?;
    draft.notes.push(format!(
        "the {} {} of `{array}` are one trace each",
        elements.len(),
        kind(elements)
    ));
    Ok(Some(draft))
}

/// The array that an element is of: `trials` of `trials{2}`, `trial.dff` of `trial(2).dff`.
fn array_of(name: &str) -> Option<String> {
    if let Some(element) = name.strip_suffix('}') {
        return Some(element.rsplit_once('{')?.0.to_owned());
    }
    let (before, rest) = name.rsplit_once('(')?;
    let (number, field) = rest.split_once(").")?;
    let is_number = number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| format!("{before}.{field}"))
}

/// What elements are called in notes.
fn kind(elements: &[&str]) -> &'static str {
    match elements.first().is_some_and(|name| name.ends_with('}')) {
        true => "cells",
        false => "structs",
    }
}

/// An array, and its elements in their order.
type Elements<'a> = (String, Vec<&'a str>);

fn elements<'a>(
    candidates: &'a [String],
    options: &Options,
) -> Result<Option<Elements<'a>>, Problem> {
    let wanted = options.dataset.as_deref();
    let wanted = wanted.map(|name| name.trim_start_matches('/').replace('/', "."));
    let of_array: Vec<(String, &str)> = candidates
        .iter()
        .filter_map(|name| Some((array_of(name)?, name.as_str())))
        .filter(|(array, _)| wanted.as_ref().is_none_or(|wanted| wanted == array))
        .collect();
    let Some(array) = of_array.first().map(|(array, _)| array.clone()) else {
        return Ok(None);
    };
    let all_of_one = of_array.iter().all(|(other, _)| *other == array);
    let nothing_else = wanted.is_some() || of_array.len() == candidates.len();
    let has_several = |array: &str| of_array.iter().filter(|(other, _)| other == array).count() > 1;
    let is_alone = all_of_one && nothing_else;
    if wanted.is_none() && !is_alone && of_array.iter().any(|(array, _)| has_several(array)) {
        let of_several = |name: &String| array_of(name).filter(|array| has_several(array));
        let names = candidates
            .iter()
            .map(|name| of_several(name).unwrap_or_else(|| name.clone()));
        let mut names: Vec<String> = names.collect();
        names.dedup();
        return Err(Problem::Ambiguous {
            kind: "array of cells or structs, or variable",
            found: names.join(", "),
        });
    }
    let elements: Vec<&str> = of_array.into_iter().map(|(_, name)| name).collect();
    let is_array = is_alone && elements.len() > 1;
    Ok(is_array.then_some((array, elements)))
}

/// Neurons are as many in every trial, frames need not be; `None` of matrices that are no trials of one
/// population.
fn order(
    array: &str,
    shapes: &[[usize; 2]],
    options: &Options,
) -> Result<Option<AxisOrder>, Problem> {
    let is_same = |axis: usize| shapes.iter().all(|shape| shape[axis] == shapes[0][axis]);
    Ok(match (is_same(0), is_same(1), options.order) {
        (true, false, _) => Some(AxisOrder::NeuronTime),
        (false, true, _) => Some(AxisOrder::TimeNeuron),
        (false, false, _) => None,
        (true, true, Some(order)) => Some(match order.is_neuron_first() {
            true => AxisOrder::NeuronTime,
            false => AxisOrder::TimeNeuron,
        }),
        (true, true, None) => Some(guess_order(array, shapes[0], &Clock::Unstated)?),
    })
}
