//! The folders of the International Brain Laboratory: `mpci.ROIActivityF.npy` and what is beside it.
//!
//! Source: Open Neurophysiology Environment, "ALF": files of one object agree along the first axis, times are
//! in seconds; a downloaded file's name may hold an identifier before its ending.

use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis};

use crate::Problem;
use crate::format::npy;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::reader::{Reader, choose};
use crate::recording::source::Source;
use crate::recording::traces::Format;
use crate::recording::units::Units;

/// The traces.
const TRACES: &str = "mpci.ROIActivityF";
/// Share of the neuropil that is subtracted where the caller names none; the files do not say.
const USUAL_SHARE: f32 = 0.7;

pub(super) struct Alf;

impl Reader for Alf {
    fn format(&self) -> Format {
        Format::Alf
    }

    fn recognises(&self, source: &Source) -> bool {
        source.is_folder && !fields(&source.path).is_empty()
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        let fields = fields(&source.path);
        let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
        let chosen = match &names[..] {
            // The folder itself.
            [only] if only.is_empty() => only,
            several => choose(several, options, "field of view")?,
        };
        let found = fields.iter().find(|(name, _)| name == chosen);
        let folder = found.map_or(source.path.as_path(), |(_, folder)| folder);
        read_field(folder, options)
    }
}

/// Folders with traces, by their names below the one given: itself, `FOV_…`, or `alf/FOV_…`.
fn fields(folder: &Path) -> Vec<(String, PathBuf)> {
    if member(folder, TRACES).is_some() {
        return vec![(String::new(), folder.to_owned())];
    }
    let mut found = Vec::new();
    for above in [folder.to_owned(), folder.join("alf")] {
        let entries = std::fs::read_dir(&above).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("FOV") && member(&entry.path(), TRACES).is_some() {
                found.push((name, entry.path()));
            }
        }
    }
    found.sort();
    found
}

/// The file of an attribute, with or without an identifier in its name.
fn member(folder: &Path, attribute: &str) -> Option<PathBuf> {
    let plain = folder.join(format!("{attribute}.npy"));
    if plain.is_file() {
        return Some(plain);
    }
    let start = format!("{attribute}.");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let middle = name
                .strip_prefix(&start)
                .and_then(|rest| rest.strip_suffix(".npy"));
            middle.is_some_and(|middle| !middle.contains('.'))
        })
        .collect();
    files.sort();
    files.into_iter().next()
}

/// The array of an attribute, each number cast; `None` where there is no file.
fn array<T>(
    folder: &Path,
    attribute: &str,
    cast: impl Fn(f64) -> T,
) -> Result<Option<ArrayD<T>>, Problem> {
    let Some(path) = member(folder, attribute) else {
        return Ok(None);
    };
    let name = format!("{attribute}.npy");
    npy::read_array(&path, attribute, cast)
        .map(Some)
        .map_err(|problem| problem.of_member(&name))
}

fn read_field(folder: &Path, options: &Options) -> Result<Draft, Problem> {
    let mut traces =
        array(folder, TRACES, |x| x as f32)?.ok_or(Problem::NoTraces { kind: TRACES })?;
    let mut notes = Vec::new();
    let share = options.neuropil.unwrap_or(USUAL_SHARE);
    let neuropil = match share {
        0.0 => None,
        _ => array(folder, "mpci.ROINeuropilActivityF", |x| x as f32)?,
    };
    if let Some(neuropil) = &neuropil {
        agree(
            &traces,
            "mpci.ROINeuropilActivityF",
            neuropil.shape(),
            "frames and regions",
            traces.shape(),
        )?;
        traces.scaled_add(-share, neuropil);
    }
    let &[n_frames, n_regions] = traces.shape() else {
        return Err(Problem::Rank {
            object: format!("`{TRACES}.npy`"),
            found: traces.shape().to_vec(),
            axes: "[time, roi]",
        });
    };
    let kept = cells(folder, &traces, n_regions, options)?;
    let subtracted = match neuropil {
        Some(_) => format!(" - {share} of the neuropil"),
        None => String::new(),
    };
    notes.push(format!(
        "F{subtracted} of {} of {n_regions} regions",
        kept.len()
    ));
    let values = match kept.len() {
        n if n == n_regions => traces,
        _ => traces.select(Axis(1), &kept),
    };
    let mut draft = Draft::bare(TRACES, values);
    draft.order = Some(AxisOrder::TimeNeuron);
    draft.units = Some(Units::Fluorescence);
    draft.neuron_ids = Some(kept.iter().map(ToString::to_string).collect());
    if let Some(times) = array(folder, "mpci.times", |x| x)? {
        draft.start_s = times.first().copied().unwrap_or_default();
        draft.clock = Clock::TimesS(times.into_iter().collect());
    }
    if let Some(bad) = array(folder, "mpci.badFrames", |x| x != 0.0)? {
        let n_bad = bad.iter().filter(|bad| **bad).count();
        if bad.len() == n_frames && n_bad > 0 {
            notes.push(format!(
                "mpci.badFrames flags {n_bad} of {n_frames} frames: no data, NaN here (`flagged_frames` keeps them)"
            ));
            draft.no_data = Some(bad.into_iter().collect());
        }
    }
    draft.notes = notes;
    Ok(draft)
}

/// Regions that were taken for cells: of another type than the first, "no cell".
fn cells(
    folder: &Path,
    traces: &ArrayD<f32>,
    n_regions: usize,
    options: &Options,
) -> Result<Vec<usize>, Problem> {
    let name = "mpciROIs.mpciROITypes";
    let types = array(folder, name, |x| x)?.filter(|_| options.cells_only);
    let Some(types) = types else {
        return Ok((0..n_regions).collect());
    };
    agree(traces, name, types.shape(), "regions", &[n_regions])?;
    let numbered = types.iter().enumerate();
    let kept: Vec<usize> = numbered
        .filter_map(|(region, kind)| (*kind > 0.5).then_some(region))
        .collect();
    match kept.is_empty() {
        true => Err(Problem::NoneAccepted {
            list: format!("{name}.npy"),
            n_regions,
        }),
        false => Ok(kept),
    }
}

fn agree(
    traces: &ArrayD<f32>,
    name: &str,
    found: &[usize],
    axis: &'static str,
    wanted: &[usize],
) -> Result<(), Problem> {
    match found == wanted {
        true => Ok(()),
        false => Err(Problem::Disagree {
            a: format!("{TRACES}.npy"),
            a_shape: traces.shape().to_vec(),
            b: format!("{name}.npy"),
            b_shape: found.to_vec(),
            axis,
        }),
    }
}
