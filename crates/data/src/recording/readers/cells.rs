//! Trials that a cell array of MATLAB holds, one matrix each.

use ndarray::{ArrayD, Axis, concatenate};

use super::tables::{candidates, clock_above};
use crate::Problem;
use crate::format::tree::Tree;
use crate::recording::axes::guess_order;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};

/// The trials of the one cell array whose elements are all there is that could be traces, or of the one
/// named; `None` where there is anything else.
///
/// # Errors
/// Those of an order of axes that the shapes leave open.
pub(super) fn read(tree: &dyn Tree, options: &Options) -> Result<Option<Draft>, Problem> {
    let candidates = candidates(tree);
    let Some((array, elements)) = elements(&candidates, options) else {
        return Ok(None);
    };
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
    draft.clock = match clock_above(tree, array, &[])? {
        Clock::TimesS(_) | Clock::Numbers(_) => Clock::Unstated,
        clock => clock,
    };
    draft.notes.push(format!(
        "the {} cells of `{array}` are trials",
        elements.len()
    ));
    Ok(Some(draft))
}

/// The cell array, and its elements in their order.
fn elements<'a>(candidates: &'a [String], options: &Options) -> Option<(&'a str, Vec<&'a str>)> {
    let array_of = |name: &'a str| name.strip_suffix('}')?.rsplit_once('{');
    let wanted = options.dataset.as_deref();
    let wanted = wanted.map(|name| name.trim_start_matches('/').replace('/', "."));
    let of_array: Vec<(&str, &str)> = candidates
        .iter()
        .filter_map(|name| Some((array_of(name)?.0, name.as_str())))
        .filter(|(array, _)| wanted.as_ref().is_none_or(|wanted| wanted == array))
        .collect();
    let (array, _) = *of_array.first()?;
    let all_of_one = of_array.iter().all(|(other, _)| *other == array);
    let nothing_else = wanted.is_some() || of_array.len() == candidates.len();
    let elements: Vec<&str> = of_array.into_iter().map(|(_, name)| name).collect();
    (all_of_one && nothing_else && elements.len() > 1).then_some((array, elements))
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
