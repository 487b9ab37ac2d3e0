//! Which regions of an NWB file were accepted as cells: columns of its plane segmentations.

use hdf5_reader::Datatype;
use hdf5_reader::reference::read_object_references;
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
    series: &Node,
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
    let Column { path, accepted } = match accepted(root, table_of(series), &rows)? {
        Listed::Nowhere => return Ok(()),
        Listed::Once(column) => column,
        Listed::Unclear(paths) => {
            draft.notes.push(format!(
                "`rois` leads to no table with a row for each region, and {} could be meant: not used, all regions \
                 are read",
                paths.join(", ")
            ));
            return Ok(());
        }
    };
    let kept: Vec<usize> = (0..rows.len()).filter(|&n| accepted[rows[n]]).collect();
    let how = format!("`{path}` accepts {} of {} regions", kept.len(), rows.len());
    if !options.cells_only || kept.len() == rows.len() {
        draft.notes.push(how);
        return Ok(());
    }
    if kept.is_empty() {
        return Err(Problem::NoneAccepted {
            list: path,
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

/// A column that says which rows of its table were accepted.
struct Column {
    path: String,
    accepted: Vec<bool>,
}

/// Where regions are accepted.
enum Listed {
    Nowhere,
    Once(Column),
    /// In columns of which nothing tells that they are those of these regions.
    Unclear(Vec<String>),
}

/// The address of the table whose rows are the regions of a series: where `rois` refers to.
pub(super) fn table_of(series: &Node) -> Option<u64> {
    let rois = series.dataset("rois", "dataset `rois`").ok()??;
    let table = rois.attribute("table").ok()?;
    if !matches!(table.datatype, Datatype::Reference { .. }) {
        return None;
    }
    let addresses = read_object_references(&table.raw_data, series.group.offset_size());
    addresses.ok()?.first().copied()
}

/// The column of the table that is referred to, where it has one; without a reference the only one that has a
/// value for each of `rows`.
fn accepted(root: &Node, referred: Option<u64>, rows: &[usize]) -> Result<Listed, Problem> {
    let highest = rows.iter().copied().max().unwrap_or_default();
    let mut found = Vec::new();
    let Some(processing) = root.child("processing")? else {
        return Ok(Listed::Nowhere);
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
                let is_referred = Some(node.group.address()) == referred;
                let of_table = column(&node)?;
                if is_referred && of_table.is_none() {
                    return Ok(Listed::Nowhere);
                }
                let path = format!("processing/{module}/{container}/{table}");
                if let Some((name, accepted)) = of_table.filter(|(_, c)| c.len() > highest) {
                    let path = format!("{path}/{name}");
                    let column = Column { path, accepted };
                    if is_referred {
                        return Ok(Listed::Once(column));
                    }
                    found.push(column);
                }
            }
        }
    }
    Ok(match (found.len(), referred) {
        (0, _) => Listed::Nowhere,
        (1, None) => found.pop().map_or(Listed::Nowhere, Listed::Once),
        _ => Listed::Unclear(found.into_iter().map(|column| column.path).collect()),
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
