//! Neurodata Without Borders: fluorescence of regions of interest, with trials.

use ndarray::{ArrayD, Axis};

use super::nwb_names::{Kind, is_corrected, kind, last, whose};
use super::nwb_planes::planes;
use super::nwb_regions;
use super::nwb_series::{Series, all_series, elsewhere, other_series, preferred};
use super::suite2p_settings::USUAL_SHARE;
use crate::Problem;
use crate::format::hdf5::{self, Node, Stored};
use crate::format::hdf5_tree::Hdf5Tree;
use crate::format::tree::Tree;
use crate::recording::clock::{Clock, can_be_paired};
use crate::recording::draft::Draft;
use crate::recording::options::{AxisOrder, Options};
use crate::recording::reader::{Reader, choose};
use crate::recording::source::Source;
use crate::recording::traces::{Format, TrialInterval};
use crate::recording::units::Units;

/// What says that a file is NWB.
const VERSION: &str = "nwb_version";
/// What traces are called in errors.
const KIND: &str = "RoiResponseSeries";

pub(super) struct Nwb;

impl Reader for Nwb {
    fn format(&self) -> Format {
        Format::Nwb
    }

    fn recognises(&self, source: &Source) -> bool {
        let root = || Node::root(&hdf5::open(&source.path).ok()?).ok();
        // An attribute; in version 1 a dataset.
        let names_it = |root: Node| {
            let dataset = || root.dataset(VERSION, VERSION).ok().flatten();
            root.attribute(VERSION).is_some() || dataset().is_some()
        };
        source.is_hdf5() && root().is_some_and(names_it)
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        let file = hdf5::open(&source.path)?;
        let root = Node::root(&file)?;
        let mut found = all_series(&root)?;
        let mut listed = preferred(&found, options);
        let chosen = choose(&listed, options, KIND);
        let is_missing = matches!(
            chosen,
            Err(Problem::NoTraces { .. } | Problem::NotFound { .. })
        );
        if is_missing {
            // What is named may be no series of regions, and any may lie anywhere.
            let tree = Hdf5Tree::new(file, false)?;
            found = elsewhere(&tree, options)?;
            listed = preferred(&found, options);
            if found.is_empty() && options.dataset.is_none() {
                let others = other_series(&tree);
                let n_units = tree.shape("units/spike_times_index").map(|shape| shape[0]);
                return Err(match (n_units, &others[..]) {
                    (Some(n_units), []) => Problem::UnitsTable { n_units },
                    (None, []) => Problem::NoTraces { kind: KIND },
                    _ => Problem::OtherSeries {
                        found: others.join(", "),
                    },
                });
            }
        }
        let read = |path: &str| {
            let series = found.iter().find(|series| series.path == path);
            let series = series.ok_or(Problem::NoTraces { kind: KIND })?;
            read_corrected(series, &found, &root, options)
        };
        let planes = match &options.dataset {
            None => planes(&listed, &found, options, read)?,
            Some(_) => None,
        };
        let mut draft = match planes {
            Some(together) => together,
            None => read(choose(&listed, options, KIND)?)?,
        };
        draft.trial_table = trials(&root)?;
        Ok(draft)
    }
}

/// One series less its neuropil, of the regions that are accepted.
fn read_corrected(
    series: &Series,
    found: &[Series],
    root: &Node,
    options: &Options,
) -> Result<Draft, Problem> {
    let mut draft = read_series(series, options)?;
    if series.told_units() == Some(Units::Fluorescence) {
        match neuropil_beside(series, found) {
            Beside::None => {}
            Beside::One(neuropil) => subtract_neuropil(&mut draft, series, neuropil, options)?,
            Beside::Unclear(paths) => draft.notes.push(format!(
                "no neuropil is subtracted: names do not tell which of {} is that of `{}`",
                paths.join(", "),
                series.path
            )),
        }
    }
    nwb_regions::keep_accepted(&mut draft, &series.node, root, options)?;
    if draft.neuron_ids.is_none() {
        draft.neuron_ids = nwb_regions::specimens(root, &series.path)?;
    }
    Ok(draft)
}

/// The neuropil of a series of fluorescence.
enum Beside<'a> {
    None,
    One(&'a Series),
    /// Series of which none goes by the same name.
    Unclear(Vec<&'a str>),
}

/// The neuropil's series that belongs to a series of fluorescence.
fn neuropil_beside<'a>(series: &Series, found: &'a [Series]) -> Beside<'a> {
    let is_neuropil = |other: &&Series| kind(&other.path) == Kind::Neuropil;
    let all: Vec<&Series> = found.iter().filter(is_neuropil).collect();
    if is_neuropil(&series) || all.is_empty() {
        return Beside::None;
    }
    if let [only] = all[..] {
        return Beside::One(only);
    }
    // Of several planes, that of the same name, or of the same plane and channel.
    let name = |path: &str| last(path).to_ascii_lowercase();
    if let Some(named) = all
        .iter()
        .find(|other| name(&other.path) == name(&series.path))
    {
        return Beside::One(named);
    }
    let is_of_plane = |other: &&&Series| whose(&other.path) == whose(&series.path);
    match all.iter().filter(is_of_plane).collect::<Vec<_>>()[..] {
        [only] => Beside::One(only),
        _ => Beside::Unclear(all.iter().map(|other| other.path.as_str()).collect()),
    }
}

/// Takes off the share of the neuropil's fluorescence that is asked for, else suite2p's default where
/// nothing says that it has been taken off; a note in any case.
fn subtract_neuropil(
    draft: &mut Draft,
    series: &Series,
    neuropil: &Series,
    options: &Options,
) -> Result<(), Problem> {
    let share = match options.neuropil {
        Some(share) => share,
        None if is_corrected(&series.path) => 0.0,
        None => USUAL_SHARE,
    };
    if share == 0.0 {
        draft.notes.push(format!(
            "the neuropil of `{}` is not subtracted (`neuropil` does)",
            neuropil.path
        ));
        return Ok(());
    }
    let values = values_of(neuropil)?;
    if values.shape() != draft.values.shape() {
        return Err(Problem::Disagree {
            a: draft.dataset.clone(),
            a_shape: draft.values.shape().to_vec(),
            b: format!("{}/data", neuropil.path),
            b_shape: values.shape().to_vec(),
            axis: "regions and frames",
        });
    }
    draft.values.scaled_add(-share, &values);
    let whose = match options.neuropil {
        Some(_) => "",
        None => ": suite2p's default coefficient, as none is written (`neuropil`)",
    };
    draft
        .notes
        .push(format!("less {share} of `{}`{whose}", neuropil.path));
    Ok(())
}

/// The values in their own units; a series of one region has one axis.
fn values_of(series: &Series) -> Result<ArrayD<f32>, Problem> {
    let dataset = format!("{}/data", series.path);
    let node = &series.node;
    let scale = |name, default| match node.dataset("data", "dataset `data`") {
        Ok(Some(data)) => attribute(&data, name).unwrap_or(default),
        _ => default,
    };
    let (conversion, offset) = (scale("conversion", 1.0), scale("offset", 0.0));
    let has_scale = conversion.is_finite() && conversion.abs() > 0.0;
    for (name, value, is_sound) in [
        ("conversion", conversion, has_scale),
        ("offset", offset, offset.is_finite()),
    ] {
        if !is_sound {
            let problem = Problem::BadParameter {
                name,
                found: value.to_string(),
                expected: "a finite number, and `conversion` not 0: correct it in the file",
            };
            return Err(problem.of_member(&dataset));
        }
    }
    let scaled = |x: f64| (x * conversion + offset) as f32;
    let data = node.numbers("data", scaled)?.ok_or(Problem::NotFound {
        wanted: dataset.clone(),
        kind: "dataset",
        found: "none".to_owned(),
    })?;
    let values = data.into_array(&format!("dataset `{dataset}`"))?;
    Ok(match values.ndim() {
        1 => values.insert_axis(Axis(1)),
        _ => values,
    })
}

fn read_series(series: &Series, options: &Options) -> Result<Draft, Problem> {
    let node = &series.node;
    let dataset = format!("{}/data", series.path);
    let values = values_of(series)?;
    let shape = values.shape().to_vec();
    let rois = node.numbers("rois", |x| x)?.map(|rois| rois.values);
    let (clock, start_s) = clock(node)?;
    // A stated rate makes up for times that do not fit.
    let clock = match options.rate_hz {
        Some(rate_hz) => Clock::RateHz(rate_hz),
        None => clock,
    };
    let mut draft = Draft::bare(&dataset, values);
    draft.order = order(&dataset, &shape, rois.as_ref().map(Vec::len), &clock)?;
    if draft.order == Some(AxisOrder::NeuronTime) {
        draft.notes.push(format!(
            "`{dataset}` has shape {shape:?}, [roi, time] instead of NWB's [time, roi]; transposed"
        ));
    }
    draft.clock = clock;
    draft.start_s = start_s;
    draft.units = series.told_units();
    if series.is_ratio_by_name() {
        draft
            .notes
            .push(format!("`{}` is dF/F by its name", series.path));
    }
    draft.sorted = true;
    draft.neuron_ids = rois.map(|rois| rois.iter().map(ToString::to_string).collect());
    if draft.units.is_none() {
        draft.notes.push(format!(
            "`{}` lies in no Fluorescence or DfOverF container: its units are not known",
            series.container
        ));
    }
    Ok(draft)
}

fn attribute(dataset: &hdf5_reader::Dataset, name: &str) -> Option<f64> {
    dataset.attribute(name).ok()?.read_as_f64().ok()
}

/// Frame times, or rate and start.
fn clock(node: &Node) -> Result<(Clock, f64), Problem> {
    if let Some(Stored { values, .. }) = node.numbers("timestamps", |x| x)? {
        let start_s = values.first().copied().unwrap_or_default();
        return Ok((Clock::TimesS(values), start_s));
    }
    let Some(start) = node.dataset("starting_time", "dataset `starting_time`")? else {
        return Ok((Clock::Unstated, 0.0));
    };
    let start_s = node.number("starting_time")?.unwrap_or_default();
    let clock = attribute(&start, "rate").map_or(Clock::Unstated, Clock::RateHz);
    Ok((clock, start_s))
}

/// The order that the number of regions, or of frame times, tells.
fn order(
    dataset: &str,
    shape: &[usize],
    n_rois: Option<usize>,
    clock: &Clock,
) -> Result<Option<AxisOrder>, Problem> {
    let &[rows, columns] = shape else {
        return Ok(None);
    };
    let n_times = clock.n_times();
    let fits = |time: usize, neuron: usize| {
        n_rois.is_none_or(|n| n == neuron) && n_times.is_none_or(|n| can_be_paired(n, time))
    };
    match (fits(rows, columns), fits(columns, rows)) {
        (true, _) if n_rois.is_some() => Ok(Some(AxisOrder::TimeNeuron)),
        (true, false) => Ok(Some(AxisOrder::TimeNeuron)),
        (false, true) => Ok(Some(AxisOrder::NeuronTime)),
        (true, true) => Ok(None),
        (false, false) => Err(Problem::Disagree {
            a: dataset.to_owned(),
            a_shape: shape.to_vec(),
            b: "rois and timestamps".to_owned(),
            b_shape: [n_times, n_rois].into_iter().flatten().collect(),
            axis: "frames and regions",
        }),
    }
}

/// `intervals/trials`, where there is one.
fn trials(root: &Node) -> Result<Vec<TrialInterval>, Problem> {
    let intervals = root.child("intervals")?;
    let Some(table) = intervals.map(|i| i.child("trials")).transpose()?.flatten() else {
        return Ok(Vec::new());
    };
    let column = |name: &str| -> Result<Vec<f64>, Problem> {
        let stored = table.numbers(name, |x| x)?;
        Ok(stored.map_or(Vec::new(), |column| column.values))
    };
    let (starts, stops) = (column("start_time")?, column("stop_time")?);
    if starts.len() != stops.len() {
        return Err(Problem::Disagree {
            a: "intervals/trials/start_time".to_owned(),
            a_shape: vec![starts.len()],
            b: "intervals/trials/stop_time".to_owned(),
            b_shape: vec![stops.len()],
            axis: "trials",
        });
    }
    let pairs = starts.into_iter().zip(stops);
    Ok(pairs
        .map(|(start_s, stop_s)| TrialInterval { start_s, stop_s })
        .collect())
}
