//! Results in NWB: behind what the recording's own file holds, or in a new one.
//!
//! Source: NWB 2 schema (core: `RoiResponseSeries`, `TimeSeries`, `PlaneSegmentation`; hdmf-common:
//! `DynamicTable`, `DynamicTableRegion`).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::arrays::{Arrays, UnitArray};
use super::nwb_objects::{Objects, PLANE, column, dataset, description, new_file};
use super::timeline::Timeline;
use crate::format::hdf5::{self, Node, unreadable};
use crate::format::hdf5_links::links;
use crate::format::hdf5_out::{self, GroupOut, MemberOut, Target, Value};
use crate::whole_file::{WholeFile, cannot_write};
use crate::{Format, Problem, Recording};
use hdf5_reader::Hdf5File;
use hdf5_reader::messages::link::LinkTarget;

/// Where results go.
const MODULE: &str = "processing/ophys";
/// Arrays whose last axis is none of neurons.
const NOT_OF_NEURONS: [&str; 5] = [
    "factors",
    "inferred_inputs",
    "inputs",
    "inputs_sd",
    "external_inputs",
];

/// Writes results behind what the recording's own file holds, or into a new one.
pub(super) fn write(path: &Path, results: &Arrays, recording: &Recording) -> Result<(), Problem> {
    match recording.format {
        Format::Nwb => append(path, results, recording),
        _ => create(path, results, recording),
    }
}

fn create(path: &Path, results: &Arrays, recording: &Recording) -> Result<(), Problem> {
    let objects = Objects::new(results, recording);
    let mut root = new_file(&objects, recording)?;
    let regions = Regions {
        table: Target::New(format!("/{PLANE}")),
        rows: (0..recording.n_neurons() as i64).collect(),
    };
    add_results(&mut root, results, recording, Some(&regions), &objects);
    // The superblock comes first and is written last.
    write_file(path, |file| {
        let room = hdf5_out::superblock(0, 0);
        file.write_all(&room)?;
        let (address, end) = hdf5_out::write(&root, &mut *file, room.len() as u64)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&hdf5_out::superblock(address, end))?;
        Ok(Some(()))
    })
}

fn append(path: &Path, results: &Arrays, recording: &Recording) -> Result<(), Problem> {
    let source = &recording.path;
    let file = hdf5::open(source)?;
    let block = file.superblock();
    if block.base_address != 0 || block.offset_size != 8 || block.length_size != 8 {
        return Err(Problem::NotAppendable);
    }
    let objects = Objects::new(results, recording);
    let mut root = kept_groups(&file)?;
    let regions = regions_of(&file, recording)?;
    if !matches!(root.group(MODULE).attributes[..], []) || root.group(MODULE).kept.is_empty() {
        let module = root.group(MODULE);
        module.attributes = objects.attributes(MODULE, "core", "ProcessingModule");
        let description = "optical physiology".into();
        module.attributes.push(("description".into(), description));
    }
    add_results(&mut root, results, recording, regions.as_ref(), &objects);
    write_file(path, |copy| {
        let mut original = File::open(source)?;
        let length = std::io::copy(&mut original, copy)?;
        let start = length.next_multiple_of(8);
        copy.write_all(&[0; 8][..(start - length) as usize])?;
        let (address, end) = hdf5_out::write(&root, &mut *copy, start)?;
        let mut head = [0; 96];
        copy.seek(SeekFrom::Start(0))?;
        copy.read_exact(&mut head)?;
        let patched = hdf5_out::patch_superblock(&mut head, address, end);
        copy.seek(SeekFrom::Start(0))?;
        copy.write_all(&head)?;
        Ok(patched)
    })
}

/// Writes a file that appears whole or not at all.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<Option<()>>,
) -> Result<(), Problem> {
    let mut file = WholeFile::create(path).map_err(cannot_write)?;
    let written = write(file.file_mut()).map_err(cannot_write)?;
    written.ok_or(Problem::NotAppendable)?;
    file.finish().map_err(cannot_write)
}

/// The root and the groups on the way to the module, with all that they hold where it is.
fn kept_groups(file: &Hdf5File) -> Result<GroupOut, Problem> {
    let mut root = GroupOut::default();
    let mut node = Some(Node::root(file)?);
    let mut path = String::new();
    for name in std::iter::once("").chain(MODULE.split('/')) {
        if !name.is_empty() {
            path = format!("{path}/{name}");
            node = match node {
                Some(above) => above.child(name)?,
                None => None,
            };
        }
        let Some(here) = &node else { break };
        let kept = kept_group(here).map_err(|e| unreadable(&format!("group `{path}`"), e))?;
        match path.strip_prefix('/') {
            Some(path) => *root.group(path) = kept,
            None => root = kept,
        }
    }
    Ok(root)
}

fn kept_group(node: &Node) -> Result<GroupOut, hdf5_reader::error::Error> {
    let mut group = GroupOut::default();
    for link in links(&node.group)? {
        let member = match link.target {
            LinkTarget::Hard { address } => MemberOut::Kept(address),
            LinkTarget::Soft { path } => MemberOut::Soft(path),
            LinkTarget::External { filename, path } => MemberOut::External(filename, path),
        };
        group.members.insert(link.name, member);
    }
    let attributes = node.group.raw_attributes()?.into_iter();
    group.kept = attributes
        .map(hdf5_reader::RawAttribute::into_parts)
        .collect();
    Ok(group)
}

/// Rows of a table of regions.
struct Regions {
    table: Target,
    rows: Vec<i64>,
}

/// The regions of the series that the recording was read from; `None` where it has none.
fn regions_of(file: &Hdf5File, recording: &Recording) -> Result<Option<Regions>, Problem> {
    let series = recording.dataset.trim_end_matches("/data");
    let path = format!("{series}/rois");
    let rois = match file.dataset(&path) {
        Ok(rois) => rois,
        Err(e) if hdf5::is_absent(&e) => return Ok(None),
        Err(e) => return Err(unreadable(&format!("dataset `{path}`"), e)),
    };
    let table = rois.attribute("table").ok();
    let table = table.and_then(|t| Some(u64::from_le_bytes(t.raw_data.get(..8)?.try_into().ok()?)));
    let rows: Option<Vec<i64>> = recording
        .neuron_ids
        .iter()
        .map(|id| id.parse().ok())
        .collect();
    Ok(table.zip(rows).map(|(address, rows)| Regions {
        table: Target::Kept(address),
        rows,
    }))
}

/// Adds every array to the module.
fn add_results(
    root: &mut GroupOut,
    results: &Arrays,
    recording: &Recording,
    regions: Option<&Regions>,
    objects: &Objects,
) {
    let n_neurons = recording.n_neurons();
    let module = root.group(MODULE);
    let mut columns = Vec::new();
    for (name, array) in &results.arrays {
        let of_neurons = !NOT_OF_NEURONS.contains(&name.as_str());
        match *array.values.shape() {
            [_, _, width] => {
                let regions = regions.filter(|_| of_neurons && width == n_neurons);
                let name = free_name(module, name);
                let group = series(&name, array, recording, regions, objects);
                module.members.insert(name, MemberOut::Group(group));
            }
            [length] if of_neurons && length == n_neurons => columns.push((name, array)),
            _ => {}
        }
    }
    if !columns.is_empty() {
        let name = free_name(module, "neurons");
        let table = neuron_table(&name, &columns, recording, regions, objects);
        module.members.insert(name, MemberOut::Group(table));
    }
}

/// The name, or the first numbered one that is not taken.
fn free_name(module: &GroupOut, name: &str) -> String {
    let numbered = (2..).map(|n: u32| format!("{name}_{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names
        .find(|name| !module.members.contains_key(name))
        .unwrap_or_default()
}

/// One array as a series, its trials end to end.
fn series(
    name: &str,
    array: &UnitArray,
    recording: &Recording,
    regions: Option<&Regions>,
    objects: &Objects,
) -> GroupOut {
    let path = format!("{MODULE}/{name}");
    let kind = match regions {
        Some(_) => "RoiResponseSeries",
        None => "TimeSeries",
    };
    let mut group = GroupOut {
        attributes: objects.attributes(&path, "core", kind),
        ..GroupOut::default()
    };
    for (key, text) in [
        ("description", description(name)),
        ("comments", objects.comments.clone()),
    ] {
        group.attributes.push((key.into(), Value::Text(text)));
    }
    let timeline = Timeline::of(recording);
    let (values, shape) = timeline.end_to_end(&array.values);
    let unit = match array.unit.as_str() {
        "" => "a.u.",
        unit => unit,
    };
    let mut data = dataset(&shape, Value::F32(values));
    data.attributes = vec![
        ("unit".into(), unit.into()),
        ("conversion".into(), Value::F32(vec![1.0])),
        ("resolution".into(), Value::F32(vec![-1.0])),
        ("offset".into(), Value::F32(vec![0.0])),
    ];
    group
        .members
        .insert("data".into(), MemberOut::Dataset(data));
    let (clock, times) = clock(recording, &timeline);
    group
        .members
        .insert(clock.into(), MemberOut::Dataset(times));
    if let Some(regions) = regions {
        let rois = region(regions, &format!("{path}/rois"), objects);
        group
            .members
            .insert("rois".into(), MemberOut::Dataset(rois));
    }
    group
}

/// Rate and start of a recording without breaks, or the time of every frame.
fn clock(recording: &Recording, timeline: &Timeline) -> (&'static str, hdf5_out::DatasetOut) {
    if timeline.is_regular {
        let mut start = dataset(&[], Value::F64(vec![recording.start_s]));
        start.attributes = vec![
            ("rate".into(), Value::F64(vec![1.0 / recording.dt_s])),
            ("unit".into(), "seconds".into()),
        ];
        return ("starting_time", start);
    }
    let times = timeline.times();
    let mut stamps = dataset(&[times.len()], Value::F64(times));
    stamps.attributes = vec![
        ("interval".into(), Value::I64(vec![1])),
        ("unit".into(), "seconds".into()),
    ];
    ("timestamps", stamps)
}

fn region(regions: &Regions, path: &str, objects: &Objects) -> hdf5_out::DatasetOut {
    let rows = regions.rows.clone();
    let mut region = dataset(&[rows.len()], Value::I64(rows));
    region.attributes = objects.attributes(path, "hdmf-common", "DynamicTableRegion");
    region.attributes.extend([
        ("description".into(), "the regions of these traces".into()),
        ("table".into(), Value::Reference(regions.table.clone())),
    ]);
    region
}

/// Numbers of each neuron.
fn neuron_table(
    name: &str,
    columns: &[(&String, &UnitArray)],
    recording: &Recording,
    regions: Option<&Regions>,
    objects: &Objects,
) -> GroupOut {
    let path = format!("{MODULE}/{name}");
    let mut table = objects.table(&path, "DynamicTable", "hdmf-common", recording.n_neurons());
    let description = "what was found of each neuron".into();
    table.attributes.push(("description".into(), description));
    let mut names: Vec<String> = columns.iter().map(|(name, _)| (*name).clone()).collect();
    for (name, array) in columns {
        let values = Value::F32(array.values.iter().copied().collect());
        let text = match array.unit.as_str() {
            "" => (*name).clone(),
            unit => format!("{name}, {unit}"),
        };
        let column = column(values, &text, &format!("{path}/{name}"), objects);
        table
            .members
            .insert((*name).clone(), MemberOut::Dataset(column));
    }
    if let Some(regions) = regions {
        names.push("roi".into());
        let roi = region(regions, &format!("{path}/roi"), objects);
        table.members.insert("roi".into(), MemberOut::Dataset(roi));
    }
    table
        .attributes
        .push(("colnames".into(), Value::Texts(names)));
    table
}

/// Whether results are to be written as NWB.
pub(super) fn is_nwb(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("nwb"))
}
