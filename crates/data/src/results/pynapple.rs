//! An archive that pynapple opens as a `TsdFrame`: times, values, epochs and columns, and nothing else.

use std::path::Path;

use ndarray::ArrayD;

use super::arrays::Arrays;
use super::timeline::Timeline;
use crate::format::npy;
use crate::format::npz::{self, Member};
use crate::{Problem, Recording};

/// The array that is written, most wanted first.
const SHOWN: [&str; 4] = ["rates", "rates_hz", "activity", "spikes"];

/// Whether the file is to be one of pynapple's.
pub(super) fn is_frame(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.to_ascii_lowercase().ends_with(".tsd.npz")
}

/// Writes the rates, or else the deconvolved activity.
pub(super) fn write(path: &Path, results: &Arrays, recording: &Recording) -> Result<(), Problem> {
    let shown = SHOWN.iter().find_map(|name| results.arrays.get(*name));
    let is_of_neurons = |values: &&ArrayD<f32>| matches!(*values.shape(), [_, _, width] if width == recording.n_neurons());
    let values = shown.map(|array| &array.values).filter(is_of_neurons);
    let values = values.ok_or(Problem::NoTraces {
        kind: "array of rates or activity among the results",
    })?;
    let timeline = Timeline::of(recording);
    let (frames, shape) = timeline.end_to_end(values);
    let frames = ArrayD::from_shape_vec(shape.to_vec(), frames);
    let frames = frames.map_err(|_| Problem::Rank {
        object: "the results".to_owned(),
        found: values.shape().to_vec(),
        axes: "[trial, time, neuron]",
    })?;
    let (starts, ends) = timeline.epochs();
    let members: [(&str, Vec<u8>); 6] = [
        ("t", npy::encode_f64(&timeline.times())),
        ("d", npy::encode(frames.view())),
        ("start", npy::encode_f64(&starts)),
        ("end", npy::encode_f64(&ends)),
        ("columns", npy::encode_texts(&recording.neuron_ids)),
        ("type", npy::encode_texts(&["TsdFrame"])),
    ];
    let members: Vec<Member> = members.map(|(name, bytes)| (name.to_owned(), bytes)).into();
    npz::write_members(path, &members)
}
