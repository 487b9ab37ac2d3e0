//! Plain HDF5: `train_…` and `valid_…` as LFADS and our benchmarks have them, or one dataset.

use std::ops::Range;

use ndarray::{Array2, ArrayD, Axis, concatenate};

use super::{pipelines, tables};
use crate::Problem;
use crate::format::hdf5;
use crate::format::hdf5_tree::Hdf5Tree;
use crate::format::tree::Tree;
use crate::recording::clock::Clock;
use crate::recording::draft::{Draft, guess_order};
use crate::recording::options::{AxisOrder, Options};
use crate::recording::reader::{Opened, Reader, Store};
use crate::recording::source::Source;
use crate::recording::traces::Format;
use crate::recording::units::Units;

/// What traces are called in errors.
const KIND: &str = "dataset of two or three axes";

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
        let tree = Hdf5Tree::new(hdf5::open(&source.path)?, false)?;
        let mut draft = if let Some(name) = split_name(&tree, options) {
            read_splits(&tree, &name)?
        } else if let Some(draft) = pipelines::read(&tree, options)? {
            draft
        } else {
            tables::read(&tree, options, KIND).map_err(|problem| without(problem, &tree))?
        };
        if !tree.left_out().is_empty() {
            let left_out = tree.left_out().join(", ");
            draft.notes.push(format!("not read: {left_out}"));
        }
        draft.tau_s = tree.scalar("", "tau")?;
        draft.discretisation = tree.text("", "discretisation");
        Ok(draft)
    }

    fn in_blocks(&self, source: &Source, options: &Options) -> Result<Option<Opened>, Problem> {
        let tree = Hdf5Tree::new(hdf5::open(&source.path)?, false)?;
        if split_name(&tree, options).is_some() || pipelines::recognises(&tree, options)? {
            return Ok(None);
        }
        let name = tables::named(&tree, options, KIND);
        let name = &name.map_err(|problem| without(problem, &tree))?;
        let (dataset, object) = tree
            .dataset(name)?
            .ok_or(Problem::NoTraces { kind: KIND })?;
        let number = hdf5::number_of(dataset.dtype(), &object)?;
        let shape: Vec<usize> = dataset.shape().iter().map(|&n| n as usize).collect();
        let &[rows, columns] = &shape[..] else {
            return Ok(None);
        };
        if !number.is_f32() || rows == 0 || columns == 0 {
            return Ok(None);
        }
        hdf5::check_size(&source.path, dataset.shape(), number.size.into())?;
        let clock = tables::clock_above(&tree, name, &shape)?;
        let order = match options.order {
            Some(order) => order,
            None => guess_order(name, &shape, &clock)?,
        };
        let (axis, shape) = match order {
            AxisOrder::NeuronTime => (0, [rows, columns]),
            AxisOrder::TimeNeuron => (1, [columns, rows]),
        };
        let store = Lines {
            dataset,
            object,
            axis,
        };
        let mut opened = Opened::bare(name, Box::new(store), shape);
        opened.clock = clock;
        opened.tau_s = tree.scalar("", "tau")?;
        opened.discretisation = tree.text("", "discretisation");
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

/// Where nothing can be read: with what was not opened, which may be what is meant.
fn without(problem: Problem, tree: &Hdf5Tree) -> Problem {
    match problem {
        Problem::NoTraces { .. } if !tree.left_out().is_empty() => Problem::NotOpened {
            found: tree.left_out().join(", "),
        },
        other => other,
    }
}

/// The name after `train_`: the caller's, or the most wanted there is.
fn split_name(tree: &Hdf5Tree, options: &Options) -> Option<String> {
    let is_table = |name: &str| {
        tree.shape(name)
            .is_some_and(|s| matches!(s, [_, _] | [_, _, _]))
    };
    let has = |name: &str| is_table(&format!("train_{name}"));
    match &options.dataset {
        Some(wanted) => has(wanted).then(|| wanted.clone()),
        None => NAMES.into_iter().find(|n| has(n)).map(str::to_owned),
    }
}

fn read_splits(tree: &Hdf5Tree, name: &str) -> Result<Draft, Problem> {
    let train_name = format!("train_{name}");
    let train = tree.values(&train_name)?;
    let train = train.ok_or(Problem::NoTraces { kind: "dataset" })?;
    let valid = tree.values(&format!("valid_{name}"))?;
    let n_train = train.shape().first().copied();
    let values = match &valid {
        Some(valid) => join(&train_name, &train, name, valid)?,
        None => train,
    };
    let mut draft = Draft::bare(&train_name, values);
    draft.clock = Clock::from_scalars(|name| tree.scalar("", name))?;
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
