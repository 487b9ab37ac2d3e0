//! What NWB asks of every object, and of a new file: names of types, identifiers, descriptions.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::arrays::Arrays;
use super::timeline::Timeline;
use crate::format::hdf5_out::{DatasetOut, GroupOut, MemberOut, Value};
use crate::whole_file::cannot_read;
use crate::{Problem, Recording};

/// The table of regions of a new file.
pub(super) const PLANE: &str = "processing/ophys/ImageSegmentation/PlaneSegmentation";
/// Version of the schema that a new file follows.
const NWB_VERSION: &str = "2.8.0";
const IMAGING_PLANE: &str = "general/optophysiology/imaging_plane";
const UNSTATED: &str = "not stated by the recording";
const DEVICE: &str = "general/devices/microscope";

type Attributes = Vec<(String, Value)>;

/// Makes objects of NWB.
pub(super) struct Objects {
    /// Of all values and texts: the same results have the same identifiers.
    digest: [u8; 32],
    /// What is known of the results.
    pub(super) comments: String,
}

impl Objects {
    pub(super) fn new(results: &Arrays, recording: &Recording) -> Self {
        let mut hash = Sha256::new();
        hash.update(recording.path.display().to_string());
        for (name, text) in &results.texts {
            hash.update(name);
            hash.update(text);
        }
        for (name, array) in &results.arrays {
            hash.update(name);
            for value in &array.values {
                hash.update(value.to_le_bytes());
            }
        }
        let texts = results
            .texts
            .iter()
            .filter(|(name, _)| *name != "neuron_ids");
        let texts: Vec<String> = texts
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        Self {
            digest: hash.finalize().into(),
            comments: texts.join("; "),
        }
    }

    /// An identifier of the form of a UUID, version 8 (RFC 9562): of the results and the object's path.
    fn id(&self, path: &str) -> String {
        let digest = Sha256::new().chain_update(self.digest).chain_update(path);
        let mut bytes: Vec<u8> = digest.finalize()[..16].to_vec();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |range: std::ops::Range<usize>| digits[range].concat();
        [0..4, 4..6, 6..8, 8..10, 10..16].map(part).join("-")
    }

    /// The attributes that say what an object is.
    pub(super) fn attributes(&self, path: &str, namespace: &str, kind: &str) -> Attributes {
        vec![
            ("namespace".into(), namespace.into()),
            ("neurodata_type".into(), kind.into()),
            ("object_id".into(), Value::Text(self.id(path))),
        ]
    }

    /// A table without columns, of so many rows.
    pub(super) fn table(&self, path: &str, kind: &str, namespace: &str, n_rows: usize) -> GroupOut {
        let mut id = dataset(&[n_rows], Value::I64((0..n_rows as i64).collect()));
        let id_path = format!("{path}/id");
        id.attributes = self.attributes(&id_path, "hdmf-common", "ElementIdentifiers");
        let mut table = GroupOut {
            attributes: self.attributes(path, namespace, kind),
            ..GroupOut::default()
        };
        table.members.insert("id".into(), MemberOut::Dataset(id));
        table
    }

    fn typed<'a>(&self, root: &'a mut GroupOut, path: &str, kind: &str) -> &'a mut GroupOut {
        let group = root.group(path);
        group.attributes = self.attributes(path, "core", kind);
        group
    }
}

/// What an array of results is called.
pub(super) fn description(name: &str) -> String {
    let known = match name.trim_end_matches(|c: char| c == '_' || c.is_ascii_digit()) {
        "spikes" => "spikes, deconvolved or inferred",
        "activity" => "expected spikes, deconvolved without a threshold",
        "calcium" => "denoised calcium",
        "baseline" => "baseline of the fluorescence",
        "rates" | "rates_hz" => "inferred firing rates",
        "activity_sd" => "SD of the expected spikes",
        "fluor" => "fluorescence as the model explains it",
        "observed" => "fluorescence as recorded",
        "factors" => "inferred factors",
        "inferred_inputs" | "inputs" => "inferred inputs",
        other => other,
    };
    format!("{known}, by lfads")
}

/// A column of a table.
pub(super) fn column(values: Value, text: &str, path: &str, objects: &Objects) -> DatasetOut {
    let mut column = dataset(&[values.len()], values);
    column.attributes = objects.attributes(path, "hdmf-common", "VectorData");
    column.attributes.push(("description".into(), text.into()));
    column
}

pub(super) fn dataset(shape: &[usize], value: Value) -> DatasetOut {
    DatasetOut {
        shape: shape.to_vec(),
        value,
        attributes: Vec::new(),
    }
}

/// A file without results: session, microscope, imaging plane and one region per neuron.
pub(super) fn new_file(objects: &Objects, recording: &Recording) -> Result<GroupOut, Problem> {
    let mut root = GroupOut {
        attributes: objects.attributes("", "core", "NWBFile"),
        ..GroupOut::default()
    };
    root.attributes
        .push(("nwb_version".into(), NWB_VERSION.into()));
    let written = iso_date(last_written(&recording.path)?);
    let session = format!(
        "Results of lfads from {}. When the session began is not known: its time here is that at which the \
         recording's file was last written.",
        recording.path.display()
    );
    put_text(&mut root, "identifier", objects.id(""));
    put_text(&mut root, "session_description", session);
    put_text(&mut root, "session_start_time", written.clone());
    put_text(&mut root, "timestamps_reference_time", written.clone());
    let created = dataset(&[1], Value::Texts(vec![written]));
    let name = "file_create_date".to_owned();
    root.members.insert(name, MemberOut::Dataset(created));
    for path in [
        "acquisition",
        "analysis",
        "stimulus/presentation",
        "stimulus/templates",
    ] {
        root.group(path);
    }
    subject(&mut root, objects);
    imaging_plane(&mut root, objects, recording);
    regions(&mut root, objects, recording);
    trials(&mut root, objects, recording);
    Ok(root)
}

/// Somebody of whom nothing is known, as the schema says that: of an age from zero days up.
fn subject(root: &mut GroupOut, objects: &Objects) {
    let subject = objects.typed(root, "general/subject", "Subject");
    for (name, text) in [
        ("age", "P0D/"),
        ("description", UNSTATED),
        ("sex", "U"),
        ("subject_id", "unknown"),
    ] {
        put_text(subject, name, text.into());
    }
}

fn imaging_plane(root: &mut GroupOut, objects: &Objects, recording: &Recording) {
    let device = objects.typed(root, DEVICE, "Device");
    let text = Value::Text(UNSTATED.into());
    device.attributes.push(("description".into(), text));
    let plane = objects.typed(root, IMAGING_PLANE, "ImagingPlane");
    put_text(plane, "description", UNSTATED.into());
    put_text(plane, "indicator", "unknown".into());
    put_text(plane, "location", "unknown".into());
    put_number(plane, "imaging_rate", 1.0 / recording.dt_s);
    put_number(plane, "excitation_lambda", f64::NAN);
    let device = MemberOut::Soft(format!("/{DEVICE}"));
    plane.members.insert("device".into(), device);
    let channel = objects.typed(
        root,
        &format!("{IMAGING_PLANE}/optical_channel"),
        "OpticalChannel",
    );
    put_text(channel, "description", UNSTATED.into());
    put_number(channel, "emission_lambda", f64::NAN);
}

fn regions(root: &mut GroupOut, objects: &Objects, recording: &Recording) {
    let module = objects.typed(root, "processing/ophys", "ProcessingModule");
    let description = "optical physiology".into();
    module.attributes.push(("description".into(), description));
    let segmentation = "processing/ophys/ImageSegmentation";
    objects.typed(root, segmentation, "ImageSegmentation");
    let mut table = objects.table(PLANE, "PlaneSegmentation", "core", recording.n_neurons());
    let ids = Value::Texts(recording.neuron_ids.clone());
    let text = "the neuron's name in the recording";
    let ids = column(ids, text, &format!("{PLANE}/neuron_id"), objects);
    // The schema's readers want masks; where the neurons are, the recording does not say.
    let n_neurons = recording.n_neurons();
    let text = "one empty pixel: the masks are not known";
    let path = format!("{PLANE}/image_mask");
    let mut masks = column(Value::F32(vec![0.0; n_neurons]), text, &path, objects);
    masks.shape = vec![n_neurons, 1, 1];
    for (name, column) in [("neuron_id", ids), ("image_mask", masks)] {
        table
            .members
            .insert(name.into(), MemberOut::Dataset(column));
    }
    table.group("reference_images");
    let names = ["neuron_id", "image_mask"].map(str::to_owned);
    table.attributes.extend([
        ("colnames".into(), Value::Texts(names.into())),
        ("description".into(), "neurons of the recording".into()),
    ]);
    let plane = MemberOut::Soft(format!("/{IMAGING_PLANE}"));
    table.members.insert("imaging_plane".into(), plane);
    *root.group(PLANE) = table;
}

/// The trials, where there are several.
fn trials(root: &mut GroupOut, objects: &Objects, recording: &Recording) {
    let timeline = Timeline::of(recording);
    let n_trials = timeline.lengths.len();
    if n_trials < 2 {
        return;
    }
    let (starts, stops) = timeline.trials();
    let path = "intervals/trials";
    let mut table = objects.table(path, "TimeIntervals", "core", n_trials);
    for (name, times, text) in [
        ("start_time", starts, "start of the trial, seconds"),
        ("stop_time", stops, "end of the trial, seconds"),
    ] {
        let column = column(Value::F64(times), text, &format!("{path}/{name}"), objects);
        table
            .members
            .insert(name.into(), MemberOut::Dataset(column));
    }
    let names = vec!["start_time".into(), "stop_time".into()];
    table.attributes.extend([
        ("colnames".into(), Value::Texts(names)),
        ("description".into(), "trials".into()),
    ]);
    *root.group(path) = table;
}

fn put_text(group: &mut GroupOut, name: &str, text: String) {
    let text = dataset(&[], Value::Text(text));
    group.members.insert(name.into(), MemberOut::Dataset(text));
}

fn put_number(group: &mut GroupOut, name: &str, number: f64) {
    let number = dataset(&[], Value::F64(vec![number]));
    group
        .members
        .insert(name.into(), MemberOut::Dataset(number));
}

/// When the file or folder was last written, in seconds since 1970; 0 where the system does not say.
fn last_written(path: &Path) -> Result<u64, Problem> {
    let modified = std::fs::metadata(path).map_err(cannot_read)?.modified();
    let since = modified
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(since.map_or(0, |since| since.as_secs()))
}

/// A time in seconds since 1970 as ISO 8601 has it, in UTC.
fn iso_date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, in eras of 400 years, so that a leap day ends a year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = 400 * era + year + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `datetime.fromtimestamp(s, timezone.utc).isoformat()` of Python.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_400, "2000-02-29T00:00:00+00:00"),
            (1_709_251_199, "2024-02-29T23:59:59+00:00"),
            (1_767_225_600, "2026-01-01T00:00:00+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00+00:00"),
        ] {
            assert_eq!(iso_date(seconds), date);
        }
    }
}
