//! Planes that were imaged in turn, made one recording.

use ndarray::{Axis, concatenate};

use crate::Problem;
use crate::recording::draft::Draft;
use crate::recording::options::AxisOrder;

/// The regions of all planes, by the planes' names, each imaged at the rate of a plane; frames that not
/// all have are left out.
///
/// # Errors
/// [`Problem::NoTraces`] without a plane.
pub(super) fn together(planes: Vec<(String, Draft)>) -> Result<Draft, Problem> {
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
    notes.push(format!(
        "all {} planes together (`dataset` names one)",
        planes.len()
    ));
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
