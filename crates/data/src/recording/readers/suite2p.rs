//! suite2p's output folder: fluorescence less neuropil, of the accepted regions; and such a
//! folder written.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, ArrayView1, Axis, Ix2, s};

use super::planes_together;
use super::suite2p_planes::{Plane, is_traces, planes};
use super::suite2p_settings::Settings;
use crate::format::npy_matrix::Matrix;
use crate::format::{npy, pickle};
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::reader::{Opened, Reader, Store};
use crate::recording::source::Source;
use crate::recording::traces::Format;
use crate::recording::units::Units;
use crate::whole_file::replace_file;
use crate::{DataError, Problem};

/// What [`write_suite2p`] writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite2pFolder {
    /// F, `[roi, time]`.
    pub fluorescence: Array2<f32>,
    /// Fneu, `[roi, time]`.
    pub neuropil: Array2<f32>,
    /// Probability of being a cell, `[roi]`; above one half it counts as one.
    pub cell_probability: Vec<f32>,
    /// Frames per second.
    pub rate_hz: f64,
}

/// Writes `F.npy`, `Fneu.npy`, `iscell.npy` and `ops.npy` (with `fs`, `nframes` and `neucoeff`)
/// into `folder`, which is made if need be: what suite2p's own users load, for examples and tests.
///
/// # Errors
/// [`Problem::Disagree`] for shapes that differ; a problem of the disk.
///
/// # Example
/// ```
/// use data::{Options, Recording, Suite2pFolder, write_suite2p};
/// use ndarray::Array2;
///
/// let folder = tempfile::tempdir()?;
/// let suite2p = Suite2pFolder {
///     fluorescence: Array2::from_shape_fn((2, 50), |(roi, frame)| (100 + roi * frame) as f32),
///     neuropil: Array2::zeros((2, 50)),
///     cell_probability: vec![0.2, 0.9],
///     rate_hz: 30.0,
/// };
/// write_suite2p(folder.path(), &suite2p)?;
/// let recording = Recording::open(folder.path(), &Options::default())?;
/// assert_eq!((recording.neuron_ids, recording.dt_s), (vec!["1".into()], 1.0 / 30.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_suite2p(folder: &Path, suite2p: &Suite2pFolder) -> Result<(), DataError> {
    let (traces, neuropil) = (&suite2p.fluorescence, &suite2p.neuropil);
    let n_listed = suite2p.cell_probability.len();
    if neuropil.shape() != traces.shape() {
        let problem = disagree(
            traces.shape(),
            "Fneu.npy",
            neuropil.shape(),
            "regions and frames",
        );
        return Err(DataError::from(problem).in_file(folder));
    }
    if n_listed != traces.nrows() {
        let problem = disagree(traces.shape(), "iscell.npy", &[n_listed, 2], "regions");
        return Err(DataError::from(problem).in_file(folder));
    }
    let is_cell = Array2::from_shape_fn((n_listed, 2), |(region, column)| {
        let probability = suite2p.cell_probability[region];
        match column {
            0 => f32::from(probability > 0.5),
            _ => probability,
        }
    });
    std::fs::create_dir_all(folder).map_err(|source| {
        let action = "make the folder";
        DataError::from(Problem::Io { action, source }).in_file(folder)
    })?;
    for (name, values) in [("F", traces), ("Fneu", neuropil), ("iscell", &is_cell)] {
        npy::write_npy(&folder.join(format!("{name}.npy")), values.view())?;
    }
    let path = folder.join("ops.npy");
    let settings = [
        ("fs", suite2p.rate_hz),
        ("nframes", traces.ncols() as f64),
        ("neucoeff", 0.7),
    ];
    replace_file(&path, &npy::encode_object(&pickle::dictionary(&settings)))
        .map_err(|problem| DataError::from(problem).in_file(&path))
}

pub(super) struct Suite2p;

impl Reader for Suite2p {
    fn format(&self) -> Format {
        Format::Suite2p
    }

    fn recognises(&self, source: &Source) -> bool {
        source.is_folder || is_traces(&source.path)
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        let planes = planes(&source.path, options)?;
        let read = |plane: &Plane| read_plane(plane, options);
        match &planes[..] {
            [only] => read(only),
            several => {
                let of_plane = |plane: &Plane| (plane.name.clone(), read(plane));
                let (drafts, notes) = planes_together::with_cells(several.iter().map(of_plane))?;
                let mut draft = planes_together::together(drafts, options)?;
                draft.notes.extend(notes);
                Ok(draft)
            }
        }
    }

    fn in_blocks(&self, source: &Source, options: &Options) -> Result<Option<Opened>, Problem> {
        let planes = planes(&source.path, options)?;
        let [plane] = &planes[..] else {
            return Ok(None);
        };
        let folder = &plane.folder;
        let open = |name: &str| {
            let matrix = Matrix::open(&folder.join(name), name);
            matrix.map_err(|problem| problem.of_member(name))
        };
        // Of another kind of matrix the whole reader says what is wrong.
        let Some(fluorescence) = open("F.npy")? else {
            return Ok(None);
        };
        let shape = fluorescence.shape();
        let settings = Settings::read(folder);
        let share = settings.share(options);
        let mut neuropil = None;
        if has_neuropil(folder, share)? {
            let Some(matrix) = open("Fneu.npy")? else {
                return Ok(None);
            };
            let found = matrix.shape();
            if found != shape {
                return Err(disagree(&shape, "Fneu.npy", &found, "regions and frames"));
            }
            neuropil = Some(matrix);
        }
        let kept = accepted(folder, &shape, options)?;
        let ids = kept.iter().map(ToString::to_string).collect();
        let n_kept = kept.len();
        let mut notes = settings.notes(share, &kept, shape[0], options);
        let mut regions = Regions {
            fluorescence,
            neuropil,
            share,
            ends: vec![shape[1]; n_kept],
            kept,
        };
        if plane.is_filled() {
            regions.find_ends()?;
            notes.extend(note_of_ends(&regions.ends, shape[1]));
        }
        let mut opened = Opened::bare("F.npy", Box::new(regions), [n_kept, shape[1]]);
        opened.clock = settings.clock();
        opened.notes = notes;
        opened.no_data = settings.flagged(shape[1], options, &mut opened.notes);
        opened.units = Some(Units::Fluorescence);
        opened.neuron_ids = Some(ids);
        Ok(Some(opened))
    }
}

/// F and, where some of it is subtracted, Fneu, of the regions that are kept.
struct Regions {
    fluorescence: Matrix,
    neuropil: Option<Matrix>,
    share: f32,
    kept: Vec<usize>,
    /// Of each that is kept, the frame behind its last one with data.
    ends: Vec<usize>,
}

impl Regions {
    /// Looks for the zeros with which suite2p has filled them.
    fn find_ends(&mut self) -> Result<(), Problem> {
        for (end, &region) in self.ends.iter_mut().zip(&self.kept) {
            let one = region..region + 1;
            let trace = self.fluorescence.lines(0, one.clone())?;
            let neuropil = self.neuropil.as_mut();
            let neuropil = neuropil.map(|matrix| matrix.lines(0, one)).transpose()?;
            *end = end_of_data(trace.row(0), neuropil.as_ref().map(|lines| lines.row(0)));
        }
        Ok(())
    }
}

/// The frame behind the last in which something was recorded: fluorescence and neuropil are both exactly 0 from there on. A
/// region that is 0 everywhere is one that shows nothing, to its last frame.
fn end_of_data(trace: ArrayView1<'_, f32>, neuropil: Option<ArrayView1<'_, f32>>) -> usize {
    let is_there = |&frame: &usize| {
        let neuropil = neuropil.is_some_and(|neuropil| neuropil[frame].abs() > 0.0);
        neuropil || trace[frame].is_nan() || trace[frame].abs() > 0.0
    };
    let last = (0..trace.len()).rfind(is_there);
    last.map_or(trace.len(), |last| last + 1)
}

/// What is said of regions whose data end there.
fn note_of_ends(ends: &[usize], n_frames: usize) -> Option<String> {
    let n_short = ends.iter().filter(|end| **end < n_frames).count();
    let missing = n_frames - *ends.iter().min()?;
    (n_short > 0).then(|| {
        format!(
            "{n_short} regions end up to {missing} frames before the others, which suite2p fills with zeros: no data there"
        )
    })
}

impl Store for Regions {
    fn read(&mut self, neurons: Range<usize>) -> Result<Array2<f32>, Problem> {
        let n_frames = self.fluorescence.shape()[1];
        let mut traces = Array2::zeros((neurons.len(), n_frames));
        let kept = self.kept[neurons.clone()].iter().zip(&self.ends[neurons]);
        for (mut to, (&region, &end)) in traces.outer_iter_mut().zip(kept) {
            let mut trace = self.fluorescence.lines(0, region..region + 1)?;
            if let Some(neuropil) = &mut self.neuropil {
                trace.scaled_add(-self.share, &neuropil.lines(0, region..region + 1)?);
            }
            trace.slice_mut(s![.., end..]).fill(f32::NAN);
            to.assign(&trace.row(0));
        }
        Ok(traces)
    }
}

/// The accepted regions of one plane.
fn read_plane(plane: &Plane, options: &Options) -> Result<Draft, Problem> {
    let folder = &plane.folder;
    let settings = Settings::read(folder);
    let mut traces = matrix(folder, "F.npy")?;
    let share = settings.share(options);
    let neuropil = match has_neuropil(folder, share)? {
        true => Some(matrix(folder, "Fneu.npy")?),
        false => None,
    };
    let kept = accepted(folder, traces.shape(), options)?;
    let mut note = None;
    let n_frames = traces.ncols();
    let same_shape = neuropil.as_ref().is_none_or(|n| n.dim() == traces.dim());
    if plane.is_filled() && same_shape {
        let end = |&region: &usize| {
            let neuropil = neuropil.as_ref().map(|neuropil| neuropil.row(region));
            end_of_data(traces.row(region), neuropil)
        };
        let ends: Vec<usize> = kept.iter().map(end).collect();
        for (&region, &end) in kept.iter().zip(&ends) {
            traces.slice_mut(s![region, end..]).fill(f32::NAN);
        }
        note = note_of_ends(&ends, n_frames);
    }
    let mut draft = assemble("F.npy", traces, neuropil, &kept, &settings, options)?;
    draft.notes.extend(note);
    Ok(draft)
}

/// F less its neuropil, of the regions that are kept.
pub(super) fn assemble(
    name: &str,
    mut traces: Array2<f32>,
    neuropil: Option<Array2<f32>>,
    kept: &[usize],
    settings: &Settings,
    options: &Options,
) -> Result<Draft, Problem> {
    let share = settings.share(options);
    if let Some(neuropil) = neuropil {
        if neuropil.shape() != traces.shape() {
            let axis = "regions and frames";
            return Err(disagree(traces.shape(), "Fneu.npy", neuropil.shape(), axis));
        }
        traces.scaled_add(-share, &neuropil);
    }
    let (n_regions, n_frames) = traces.dim();
    let mut draft = Draft::bare(name, traces.select(Axis(0), kept).into_dyn());
    draft.order = Some(AxisOrder::NeuronTime);
    draft.units = Some(Units::Fluorescence);
    // Its rows are regions, whatever they do.
    draft.sorted = true;
    draft.neuron_ids = Some(kept.iter().map(ToString::to_string).collect());
    draft.clock = settings.clock();
    draft.notes = settings.notes(share, kept, n_regions, options);
    draft.no_data = settings.flagged(n_frames, options, &mut draft.notes);
    Ok(draft)
}

/// `[roi, time]`.
fn matrix(folder: &Path, name: &str) -> Result<Array2<f32>, Problem> {
    let values = array(folder, name)?;
    let found = values.shape().to_vec();
    // Regions without frames can be any number: they take no room in the file.
    if values.is_empty() {
        let dataset = name.to_owned();
        return Err(Problem::Empty {
            dataset,
            shape: found,
        });
    }
    let matrix = values.into_dimensionality::<Ix2>();
    matrix.map_err(|_| Problem::Rank {
        object: format!("`{name}`"),
        found,
        axes: "[roi, time]",
    })
}

/// Whether there is neuropil to subtract.
fn has_neuropil(folder: &Path, share: f32) -> Result<bool, Problem> {
    if share == 0.0 {
        return Ok(false);
    }
    let remedy = "put it back, or subtract no neuropil (`neuropil = 0`)";
    require(folder, "Fneu.npy", remedy).map(|()| true)
}

fn require(folder: &Path, name: &'static str, remedy: &'static str) -> Result<(), Problem> {
    match folder.join(name).is_file() {
        true => Ok(()),
        false => Err(Problem::MissingMember { name, remedy }),
    }
}

/// The array of one file of the folder; errors name the file.
fn array(folder: &Path, name: &str) -> Result<ndarray::ArrayD<f32>, Problem> {
    let read = npy::read_array(&folder.join(name), name, |x| x as f32);
    read.map_err(|problem| problem.of_member(name))
}

/// Regions that a person or the classifier took for cells.
fn accepted(folder: &Path, shape: &[usize], options: &Options) -> Result<Vec<usize>, Problem> {
    let n_regions = shape.first().copied().unwrap_or_default();
    let every = 0..n_regions;
    if !options.cells_only {
        return Ok(every.collect());
    }
    let remedy = "put it back, or read every region (`cells_only = false`)";
    require(folder, "iscell.npy", remedy)?;
    let is_cell = array(folder, "iscell.npy")?;
    let n_listed = is_cell.shape().first().copied().unwrap_or_default();
    if n_listed != n_regions {
        return Err(disagree(shape, "iscell.npy", is_cell.shape(), "regions"));
    }
    let by_region = is_cell.view();
    let kept = every.filter(|&region| {
        let row = by_region.index_axis(Axis(0), region);
        row.first().is_some_and(|&cell| cell > 0.5)
    });
    let kept: Vec<_> = kept.collect();
    if kept.is_empty() {
        return Err(Problem::NoCells { n_regions });
    }
    Ok(kept)
}

pub(super) fn disagree(
    fluorescence: &[usize],
    name: &str,
    shape: &[usize],
    axis: &'static str,
) -> Problem {
    Problem::Disagree {
        a: "F.npy".to_owned(),
        a_shape: fluorescence.to_vec(),
        b: name.to_owned(),
        b_shape: shape.to_vec(),
        axis,
    }
}
