//! Where the series of an NWB file are, and which of them is meant.

use super::nwb_names::{Kind, is_ratio, kind};
use crate::Problem;
use crate::format::hdf5::Node;
use crate::format::hdf5_tree::Hdf5Tree;
use crate::format::tree::Tree;
use crate::recording::options::Options;
use crate::recording::units::Units;

/// One series of traces.
pub(super) struct Series {
    pub(super) path: String,
    /// The group that it lies in.
    pub(super) container: String,
    /// The container's.
    pub(super) units: Option<Units>,
    pub(super) node: Node,
}

impl Series {
    /// Whether its own name, and not its container's, says that it is dF/F.
    pub(super) fn is_ratio_by_name(&self) -> bool {
        self.units == Some(Units::Fluorescence) && is_ratio(&self.path)
    }

    /// The units that names tell.
    pub(super) fn told_units(&self) -> Option<Units> {
        match self.is_ratio_by_name() {
            true => Some(Units::DeltaFOverF),
            false => self.units,
        }
    }
}

/// Every series in `processing/<module>/<container>` and in `acquisition`.
pub(super) fn all_series(root: &Node) -> Result<Vec<Series>, Problem> {
    let mut found = Vec::new();
    if let Some(processing) = root.child("processing")? {
        for module in processing.members()?.0 {
            if let Some(node) = processing.child(&module)? {
                search(&node, &format!("processing/{module}"), &mut found)?;
            }
        }
    }
    if let Some(acquisition) = root.child("acquisition")? {
        search(&acquisition, "acquisition", &mut found)?;
    }
    Ok(found)
}

/// Series in `node` itself and in the containers in it.
fn search(node: &Node, path: &str, found: &mut Vec<Series>) -> Result<(), Problem> {
    for name in node.members()?.0 {
        let Some(child) = node.child(&name)? else {
            continue;
        };
        let path = format!("{path}/{name}");
        match kind_of_container(&child, &name).as_str() {
            "Fluorescence" => {
                collect(&child, &path, &name, Some(Units::Fluorescence), found)?;
            }
            "DfOverF" => collect(&child, &path, &name, Some(Units::DeltaFOverF), found)?,
            "RoiResponseSeries" => found.push(Series {
                path,
                container: name,
                units: None,
                node: child,
            }),
            _ => {}
        }
    }
    Ok(())
}

fn collect(
    container: &Node,
    path: &str,
    container_name: &str,
    units: Option<Units>,
    found: &mut Vec<Series>,
) -> Result<(), Problem> {
    for name in container.members()?.0 {
        let Some(node) = container.child(&name)? else {
            continue;
        };
        if is_roi_series(&node) {
            found.push(Series {
                path: format!("{path}/{name}"),
                container: container_name.to_owned(),
                units,
                node,
            });
        }
    }
    Ok(())
}

fn neurodata_type(node: &Node) -> String {
    let attribute = node.attribute("neurodata_type");
    attribute
        .and_then(|a| a.read_string().ok())
        .unwrap_or_default()
}

/// Candidates: where nobody names one, dF/F before F, and neither neuropil nor events.
pub(super) fn preferred(found: &[Series], options: &Options) -> Vec<String> {
    let paths = |keep: &dyn Fn(&Series) -> bool| -> Vec<String> {
        let kept = found.iter().filter(|series| keep(series));
        kept.map(|series| series.path.clone()).collect()
    };
    let is_signal = |series: &Series| kind(&series.path) == Kind::Signal;
    if options.dataset.is_some() {
        return paths(&|_| true);
    }
    let ratio = paths(&|s| is_signal(s) && s.told_units() == Some(Units::DeltaFOverF));
    let signal = paths(&|s| is_signal(s));
    [ratio, signal]
        .into_iter()
        .find(|candidates| !candidates.is_empty())
        .unwrap_or_else(|| paths(&|_| true))
}

/// What a container is: its type, or its name in version 1, where every container is an "Interface".
fn kind_of_container(node: &Node, name: &str) -> String {
    match neurodata_type(node).as_str() {
        "" | "Interface" => name.to_owned(),
        kind => kind.to_owned(),
    }
}

/// Whether these are traces of regions: by type, or by ancestry in version 1.
fn is_roi_series(node: &Node) -> bool {
    const KIND: &str = "RoiResponseSeries";
    let ancestry = node.attribute("ancestry");
    let ancestry = ancestry.and_then(|a| a.read_strings().ok());
    neurodata_type(node) == KIND || ancestry.is_some_and(|kinds| kinds.iter().any(|k| k == KIND))
}

/// Series of regions that lie anywhere else, and of other kinds if one is named.
pub(super) fn elsewhere(tree: &Hdf5Tree, options: &Options) -> Result<Vec<Series>, Problem> {
    let wanted = options.dataset.as_ref();
    let wanted = wanted.map(|name| name.trim_start_matches('/').trim_end_matches("/data"));
    let is_named =
        |path: &str| wanted.is_some_and(|name| path == name || path.ends_with(&format!("/{name}")));
    let mut found = Vec::new();
    for listed in tree.arrays() {
        let Some(path) = listed.name.strip_suffix("/data") else {
            continue;
        };
        let Some(node) = tree.node(path)? else {
            continue;
        };
        // Images have more axes.
        if !matches!(listed.shape.len(), 1 | 2) || !(is_named(path) || is_roi_series(&node)) {
            continue;
        }
        found.push(Series {
            path: path.to_owned(),
            container: tree.parent(path).to_owned(),
            units: None,
            node,
        });
    }
    Ok(found)
}

/// Paths of series of any kind that could be named as traces.
pub(super) fn other_series(tree: &Hdf5Tree) -> Vec<String> {
    let tables = tree.arrays().iter();
    let tables = tables.filter(|listed| matches!(listed.shape.len(), 1 | 2));
    let paths = tables.filter_map(|listed| listed.name.strip_suffix("/data"));
    paths.map(str::to_owned).collect()
}
