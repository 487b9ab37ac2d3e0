//! Planes that were imaged in turn, made one recording.

use ndarray::{Axis, concatenate};

use crate::Problem;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};

/// Planes by their names.
type Planes = Vec<(String, Draft)>;

/// The planes of which a region is accepted, and a note of each other.
///
/// # Errors
/// That of the first plane where no plane has a cell; any other.
pub(super) fn with_cells(
    planes: impl IntoIterator<Item = (String, Result<Draft, Problem>)>,
) -> Result<(Planes, Vec<String>), Problem> {
    let (mut kept, mut notes, mut refusal) = (Vec::new(), Vec::new(), None);
    for (plane, draft) in planes {
        let (list, n_regions) = match &draft {
            Err(Problem::NoCells { n_regions }) => ("iscell.npy", *n_regions),
            Err(Problem::NoneAccepted { list, n_regions }) => (list.as_str(), *n_regions),
            _ => {
                kept.push((plane, draft?));
                continue;
            }
        };
        notes.push(format!(
            "{plane}: `{list}` accepts none of {n_regions} regions: the plane is left out (`cells_only = false` reads it)"
        ));
        refusal = refusal.or(draft.err());
    }
    match refusal {
        Some(refusal) if kept.is_empty() => Err(refusal),
        _ => Ok((kept, notes)),
    }
}

/// Whether frames last as long.
pub(super) fn is_same_step(a_s: f64, b_s: f64) -> bool {
    (a_s - b_s).abs() <= 1e-4 * a_s
}

/// Planes are frames of one recording at one rate only.
fn check_rates(planes: &[(String, Draft)], options: &Options) -> Result<(), Problem> {
    let step_s = |draft: &Draft| draft.clock.usual_step_s();
    let first = planes.iter().find_map(|(_, draft)| step_s(draft));
    let differs = |(_, draft): &(String, Draft)| match (first, step_s(draft)) {
        (Some(first), Some(step_s)) => !is_same_step(first, step_s),
        _ => false,
    };
    if options.rate_hz.is_some() || !planes.iter().any(differs) {
        return Ok(());
    }
    let names = planes.iter().map(|(plane, draft)| match step_s(draft) {
        Some(step_s) => format!("{plane} ({} Hz)", (1e4 / step_s).round() / 1e4),
        None => plane.clone(),
    });
    Err(Problem::Ambiguous {
        kind: "plane, at different rates",
        found: names.collect::<Vec<_>>().join(", "),
    })
}

/// The regions of all planes, by the planes' names, each imaged at the rate of a plane; frames that not
/// all have are left out.
///
/// # Errors
/// [`Problem::NoTraces`] without a plane; [`Problem::Ambiguous`] where they state different rates.
pub(super) fn together(planes: Planes, options: &Options) -> Result<Draft, Problem> {
    check_rates(&planes, options)?;
    let lengths = || planes.iter().map(|(_, draft)| n_frames(draft));
    let shortest = lengths().min().unwrap_or_default();
    let longest = lengths().max().unwrap_or_default();
    let (mut ids, mut notes, mut no_data) = (Vec::new(), Vec::new(), vec![false; shortest]);
    for (plane, draft) in &planes {
        let of_plane = draft.neuron_ids.iter().flatten();
        ids.extend(of_plane.map(|id| format!("{plane}/{id}")));
        let of_plane = draft.notes.iter();
        notes.extend(of_plane.map(|note| format!("{plane}: {note}")));
        for (to, flag) in no_data.iter_mut().zip(draft.no_data.iter().flatten()) {
            *to |= flag;
        }
    }
    if planes.len() > 1 {
        notes.push(format!(
            "all {} planes together (`dataset` names one)",
            planes.len()
        ));
    }
    if longest > shortest {
        notes.push(format!(
            "planes of up to {longest} frames: those behind frame {shortest} are left out"
        ));
    }
    let views: Vec<_> = planes
        .iter()
        .map(|(_, draft)| {
            let values = match draft.order {
                Some(AxisOrder::NeuronTime) => draft.values.view(),
                _ => draft.values.t(),
            };
            values.slice_axis_move(Axis(1), (..shortest).into())
        })
        .collect();
    let no_planes = || Problem::NoTraces { kind: "plane" };
    let values = concatenate(Axis(0), &views).map_err(|_| no_planes())?;
    let (_, first) = planes.into_iter().next().ok_or_else(no_planes)?;
    Ok(Draft {
        values,
        order: Some(AxisOrder::NeuronTime),
        neuron_ids: Some(ids),
        no_data: no_data.contains(&true).then_some(no_data),
        notes,
        ..first
    })
}

/// Frames of a plane, of which the order of axes is known.
pub(super) fn n_frames(draft: &Draft) -> usize {
    let time = match draft.order {
        Some(AxisOrder::NeuronTime) => 1,
        _ => 0,
    };
    draft.values.shape().get(time).copied().unwrap_or_default()
}
