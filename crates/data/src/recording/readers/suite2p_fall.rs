//! suite2p's output for MATLAB, `Fall.mat`: read as the folder is.

use ndarray::{Array2, Ix2};

use super::suite2p::{assemble, disagree};
use super::suite2p_settings::Settings;
use crate::Problem;
use crate::format::tree::Tree;
use crate::recording::draft::Draft;
use crate::recording::options::Options;

/// The accepted regions; `None` where the file is none, or the caller names another of its arrays.
pub(super) fn read(tree: &dyn Tree, options: &Options) -> Result<Option<Draft>, Problem> {
    let is_named = options.dataset.as_ref().is_none_or(|name| name == "F");
    let is_fall = ["F", "Fneu", "iscell"]
        .iter()
        .all(|n| tree.shape(n).is_some());
    if !is_named || !is_fall {
        return Ok(None);
    }
    let read = |name: &str| -> Result<Array2<f32>, Problem> {
        let values = tree.values(name)?.ok_or(Problem::NotSuite2p)?;
        let found = values.shape().to_vec();
        values
            .into_dimensionality::<Ix2>()
            .map_err(|_| Problem::Rank {
                object: format!("variable `{name}`"),
                found,
                axes: "[roi, time]",
            })
    };
    let settings = Settings {
        rate_hz: tree.scalar("ops", "fs")?,
        neuropil: tree.scalar("ops", "neucoeff")?,
        bad_frames: match tree.numbers(&tree.join("ops", "badframes"))? {
            Some(flags) => Some(("ops", flags)),
            None => None,
        },
    };
    let traces = read("F")?;
    let neuropil = match settings.share(options) {
        0.0 => None,
        _ => Some(read("Fneu")?),
    };
    let is_cell = read("iscell")?;
    if is_cell.nrows() != traces.nrows() {
        return Err(disagree(
            traces.shape(),
            "iscell",
            is_cell.shape(),
            "regions",
        ));
    }
    let accepts = |region: &usize| !options.cells_only || is_cell[[*region, 0]] > 0.5;
    let kept: Vec<usize> = (0..traces.nrows()).filter(accepts).collect();
    if kept.is_empty() {
        let n_regions = traces.nrows();
        return Err(Problem::NoCells { n_regions });
    }
    assemble("F", traces, neuropil, &kept, &settings, options).map(Some)
}
