//! Which regions of an NWB file were accepted as cells: columns of its plane segmentations.

use ndarray::Axis;

use crate::Problem;
use crate::format::hdf5::Node;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};

/// Columns that say it: suite2p's, and those of other pipelines.
const COLUMNS: [&str; 4] = ["iscell", "is_cell", "accepted", "Accepted"];

/// Leaves out the regions that the file's own table rejects; a note in any case.
///
/// Neurons are rows of the table by their ids, as `rois` has them.
pub(super) fn keep_accepted(
    draft: &mut Draft,
    root: &Node,
    options: &Options,
) -> Result<(), Problem> {
    let neuron_axis = Axis(match draft.order {
        Some(AxisOrder::NeuronTime) => 0,
        _ => 1,
    });
    let Some(ids) = &draft.neuron_ids else {
        return Ok(());
    };
    let rows: Vec<usize> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    let n_regions = draft.values.shape().get(neuron_axis.0).copied();
    if rows.len() != ids.len() || n_regions != Some(rows.len()) {
        return Ok(());
    }
    let Some((column, accepted)) = accepted(root, &rows)? else {
        return Ok(());
    };
    let kept: Vec<usize> = (0..rows.len()).filter(|&n| accepted[rows[n]]).collect();
    let how = format!(
        "`{column}` accepts {} of {} regions",
        kept.len(),
        rows.len()
    );
    if !options.cells_only || kept.len() == rows.len() {
        draft.notes.push(how);
        return Ok(());
    }
    if kept.is_empty() {
        return Err(Problem::NoCells {
            n_regions: rows.len(),
        });
    }
    draft.values = draft.values.select(neuron_axis, &kept);
    draft.neuron_ids = Some(kept.iter().map(|&n| rows[n].to_string()).collect());
    draft
        .notes
        .push(format!("{how}: the others are left out (`cells_only`)"));
    Ok(())
}

/// The column, by its path, and whether each row of its table was accepted; `None` where no table or
/// more than one could be meant.
fn accepted(root: &Node, rows: &[usize]) -> Result<Option<(String, Vec<bool>)>, Problem> {
    let highest = rows.iter().copied().max().unwrap_or_default();
    let mut found = Vec::new();
    let Some(processing) = root.child("processing")? else {
        return Ok(None);
    };
    for module in processing.members()?.0 {
        let Some(node) = processing.child(&module)? else {
            continue;
        };
        for container in node.members()?.0 {
            let Some(tables) = node.child(&container)? else {
                continue;
            };
            for table in tables.members()?.0 {
                let Some(node) = tables.child(&table)? else {
                    continue;
                };
                if node.attribute("colnames").is_none() {
                    continue;
                }
                let path = format!("processing/{module}/{container}/{table}");
                if let Some((name, rows)) = column(&node)?.filter(|(_, c)| c.len() > highest) {
                    found.push((format!("{path}/{name}"), rows));
                }
            }
        }
    }
    Ok(match found.len() {
        1 => found.pop(),
        _ => None,
    })
}

/// The column of a table that says it; of several numbers a row the first counts.
fn column(table: &Node) -> Result<Option<(&'static str, Vec<bool>)>, Problem> {
    for name in COLUMNS {
        let stored = match table.numbers(name, |x| x as f32) {
            Err(Problem::NotNumeric { .. }) => continue,
            stored => stored?,
        };
        if let Some(stored) = stored {
            let width = stored.shape.iter().skip(1).product::<usize>().max(1);
            let firsts = stored.values.iter().step_by(width);
            return Ok(Some((name, firsts.map(|v| *v > 0.5).collect())));
        }
    }
    Ok(None)
}

/// Names of the regions in version 1: `cell_specimen_ids` of the module that a series lies in.
pub(super) fn specimens(root: &Node, series: &str) -> Result<Option<Vec<String>>, Problem> {
    let mut node = None;
    for name in series.split('/').take(2).chain(["ImageSegmentation"]) {
        node = node.as_ref().unwrap_or(root).child(name)?;
        if node.is_none() {
            return Ok(None);
        }
    }
    let ids = node.map(|node| node.numbers("cell_specimen_ids", |x| x));
    let ids = ids.transpose()?.flatten();
    Ok(ids.map(|ids| ids.values.iter().map(ToString::to_string).collect()))
}
