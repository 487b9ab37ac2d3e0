//! Series of an NWB file that are planes imaged in turn.

use super::nwb_names::{kind, last};
use super::nwb_regions::table_of;
use super::nwb_series::Series;
use super::planes_together;
use crate::Problem;
use crate::recording::draft::Draft;
use crate::recording::options::Options;

/// Several series of one container that hold the same of other regions and go on at the same rate for as long:
/// planes imaged in turn. `None` where what is listed is anything else.
pub(super) fn planes(
    listed: &[String],
    found: &[Series],
    options: &Options,
    read: impl Fn(&str) -> Result<Draft, Problem>,
) -> Result<Option<Draft>, Problem> {
    let container = |path: &str| {
        path.rsplit_once('/')
            .map_or("", |(group, _)| group)
            .to_owned()
    };
    let goes_with = |a: &str, b: &str| container(a) == container(b) && kind(a) == kind(b);
    let all_go = listed.windows(2).all(|two| goes_with(&two[0], &two[1]));
    if listed.len() < 2 || !all_go || has_same_regions(listed, found)? {
        return Ok(None);
    }
    let of_plane = |path: &String| (last(path).to_owned(), read(path));
    let (mut drafts, notes) = planes_together::with_cells(listed.iter().map(of_plane))?;
    let known = |draft: &Draft| draft.order.is_some() && draft.values.ndim() == 2;
    let (_, first) = &drafts[0];
    let step_s = first.clock.usual_step_s();
    let goes_along = |draft: &Draft| {
        let same_step = match (step_s, draft.clock.usual_step_s()) {
            (Some(a), Some(b)) => planes_together::is_same_step(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let [n, m] = [draft, first].map(planes_together::n_frames);
        // Planes imaged in turn begin within a frame of each other.
        let begins = (draft.start_s - first.start_s).abs() <= step_s.unwrap_or_default();
        same_step && begins && n.abs_diff(m) <= 1
    };
    if !drafts
        .iter()
        .all(|(_, draft)| known(draft) && goes_along(draft))
    {
        return Ok(None);
    }
    // Plane 2 before plane 10.
    drafts.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    let mut draft = planes_together::together(drafts, options)?;
    draft.notes.extend(notes);
    draft.dataset = container(&listed[0]);
    Ok(Some(draft))
}

/// Whether two of the series are of the same rows of the same table: other channels of the same regions, or the
/// same signal processed otherwise.
fn has_same_regions(listed: &[String], found: &[Series]) -> Result<bool, Problem> {
    let mut seen = Vec::new();
    for series in found.iter().filter(|series| listed.contains(&series.path)) {
        let Some(table) = table_of(&series.node) else {
            continue;
        };
        let rois = series.node.numbers("rois", |x| x as u64)?;
        let regions = (table, rois.map(|rois| rois.values));
        if seen.contains(&regions) {
            return Ok(true);
        }
        seen.push(regions);
    }
    Ok(false)
}
