//! Plain HDF5: `train_…` and `valid_…` as LFADS and our benchmarks have them, or one dataset.

use std::ops::Range;

use ndarray::{Array2, ArrayD, Axis, concatenate};

use crate::Problem;
use crate::format::hdf5::{self, Node};
use crate::recording::clock::Clock;
use crate::recording::draft::{Draft, guess_order};
use crate::recording::options::{AxisOrder, Options};
use crate::recording::reader::{Opened, Reader, Store, choose};
use crate::recording::source::Source;
use crate::recording::traces::Format;
use crate::recording::units::Units;

/// What the traces are called after `train_`, most wanted first.
const NAMES: [&str; 5] = ["fluor", "data", "encod_data", "recon_data", "spikes"];

/// How many times their own size trials may take when padded to one length.
const MOST_PADDED: usize = 16;

pub(super) struct PlainHdf5;

impl Reader for PlainHdf5 {
    fn format(&self) -> Format {
        Format::Hdf5
    }

    fn recognises(&self, source: &Source) -> bool {
        source.is_hdf5()
    }

    fn read(&self, source: &Source, options: &Options) -> Result<Draft, Problem> {
        let root = Node::root(&hdf5::open(&source.path)?)?;
        let tables = tables(&root)?;
        let mut draft = if let Some(name) = split_name(&tables, options) {
            read_splits(&root, &name)?
        } else {
            let name = choose(&tables, options, "dataset of two or three axes")?;
            Draft::bare(name, require(&root, name)?)
        };
        draft.clock = Clock::from_scalars(|name| hdf5::scalar(&root, name))?;
        draft.tau_s = hdf5::scalar(&root, "tau")?;
        draft.discretisation = root.text("discretisation").ok().flatten();
        Ok(draft)
    }

    fn in_blocks(&self, source: &Source, options: &Options) -> Result<Option<Opened>, Problem> {
        let root = Node::root(&hdf5::open(&source.path)?)?;
        let tables = tables(&root)?;
        if split_name(&tables, options).is_some() {
            return Ok(None);
        }
        let name = choose(&tables, options, "dataset of two or three axes")?;
        let dataset = dataset_at(&root, name)?.ok_or(Problem::NoTraces { kind: "dataset" })?;
        let number = hdf5::number_of(dataset.dtype(), &format!("dataset `{name}`"))?;
        let shape: Vec<usize> = dataset.shape().iter().map(|&n| n as usize).collect();
        let &[rows, columns] = &shape[..] else {
            return Ok(None);
        };
        if !number.is_f32() || rows == 0 || columns == 0 {
            return Ok(None);
        }
        hdf5::check_size(&source.path, dataset.shape(), number.size.into())?;
        let order = match options.order {
            Some(order) => order,
            None => guess_order(name, &shape, &Clock::Unstated)?,
        };
        let (axis, shape) = match order {
            AxisOrder::NeuronTime => (0, [rows, columns]),
            AxisOrder::TimeNeuron => (1, [columns, rows]),
        };
        let store = Lines {
            dataset,
            object: format!("dataset `{name}`"),
            axis,
        };
        let mut opened = Opened::bare(name, Box::new(store), shape);
        opened.clock = Clock::from_scalars(|name| hdf5::scalar(&root, name))?;
        opened.tau_s = hdf5::scalar(&root, "tau")?;
        opened.discretisation = root.text("discretisation").ok().flatten();
        Ok(Some(opened))
    }
}

/// Neurons along one axis of a dataset.
struct Lines {
    dataset: hdf5_reader::Dataset,
    object: String,
    axis: usize,
}

impl Store for Lines {
    fn read(&mut self, neurons: Range<usize>) -> Result<Array2<f32>, Problem> {
        hdf5::lines(&self.dataset, &self.object, self.axis, neurons)
    }
}

/// Datasets of the root group, and of the groups in it, with two or three axes.
fn tables(root: &Node) -> Result<Vec<String>, Problem> {
    let (groups, mut names) = root.members()?;
    for group in groups {
        if let Some(node) = root.child(&group)? {
            let inner = node.members()?.1;
            names.extend(inner.iter().map(|name| format!("{group}/{name}")));
        }
    }
    let mut found = Vec::new();
    for name in names {
        let n_axes = dataset_at(root, &name)?.map_or(0, |d| d.shape().len());
        if matches!(n_axes, 2 | 3) {
            found.push(name);
        }
    }
    Ok(found)
}

fn dataset_at(root: &Node, path: &str) -> Result<Option<hdf5_reader::Dataset>, Problem> {
    let object = format!("dataset `{path}`");
    match path.split_once('/') {
        Some((group, name)) => match root.child(group)? {
            Some(node) => node.dataset(name, &object),
            None => Ok(None),
        },
        None => root.dataset(path, &object),
    }
}

/// The name after `train_`: the caller's, or the most wanted there is.
fn split_name(tables: &[String], options: &Options) -> Option<String> {
    let has = |name: &str| tables.iter().any(|t| *t == format!("train_{name}"));
    match &options.dataset {
        Some(wanted) => has(wanted).then(|| wanted.clone()),
        None => NAMES.into_iter().find(|n| has(n)).map(str::to_owned),
    }
}

fn read_splits(root: &Node, name: &str) -> Result<Draft, Problem> {
    let train_name = format!("train_{name}");
    let train = require(root, &train_name)?;
    let valid = match root.numbers(&format!("valid_{name}"), |x| x as f32)? {
        Some(stored) => Some(stored.into_array(&format!("dataset `valid_{name}`"))?),
        None => None,
    };
    let n_train = train.shape().first().copied();
    let values = match &valid {
        Some(valid) => join(&train_name, &train, name, valid)?,
        None => train,
    };
    let mut draft = Draft::bare(&train_name, values);
    draft.n_train = n_train.filter(|_| valid.is_some());
    draft.units = match name {
        "spikes" => Some(Units::SpikeCounts),
        "fluor" => Some(Units::Fluorescence),
        _ => None,
    };
    Ok(draft)
}

/// Trials of both splits, those for training first; the shorter split gets NaN frames.
fn join(
    train_name: &str,
    train: &ArrayD<f32>,
    name: &str,
    valid: &ArrayD<f32>,
) -> Result<ArrayD<f32>, Problem> {
    let disagree = |axis| Problem::Disagree {
        a: train_name.to_owned(),
        a_shape: train.shape().to_vec(),
        b: format!("valid_{name}"),
        b_shape: valid.shape().to_vec(),
        axis,
    };
    let (&[n_train, a, n], &[n_valid, b, m]) = (train.shape(), valid.shape()) else {
        return Err(disagree("axes"));
    };
    if n != m {
        return Err(disagree("neurons"));
    }
    let padded = (n_train + n_valid).saturating_mul(a.max(b).saturating_mul(n));
    if padded > MOST_PADDED.saturating_mul(train.len() + valid.len()) {
        return Err(disagree("frames"));
    }
    let lengthen = |values: &ArrayD<f32>| {
        let mut shape = values.shape().to_vec();
        shape[1] = a.max(b);
        let mut long = ArrayD::from_elem(shape, f32::NAN);
        let length = values.shape()[1];
        long.slice_axis_mut(Axis(1), (..length).into())
            .assign(values);
        long
    };
    let (train, valid) = (lengthen(train), lengthen(valid));
    concatenate(Axis(0), &[train.view(), valid.view()]).map_err(|_| disagree("trials"))
}

fn require(root: &Node, path: &str) -> Result<ArrayD<f32>, Problem> {
    let stored = match path.split_once('/') {
        Some((group, name)) => match root.child(group)? {
            Some(node) => node.numbers(name, |x| x as f32)?,
            None => None,
        },
        None => root.numbers(path, |x| x as f32)?,
    };
    let stored = stored.ok_or(Problem::NoTraces { kind: "dataset" })?;
    stored.into_array(&format!("dataset `{path}`"))
}
