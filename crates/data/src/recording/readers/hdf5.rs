//! Plain HDF5: `train_…` and `valid_…` as LFADS and our benchmarks have them, or one dataset.

use std::ops::Range;

use ndarray::Array2;

use super::{clock_beside, pandas, pipelines, splits, tables};
use crate::Problem;
use crate::format::hdf5;
use crate::format::hdf5_tree::Hdf5Tree;
use crate::format::hdf5_values::Packing;
use crate::format::tree::Tree;
use crate::indicator::discretisation;
use crate::recording::axes::guess_order;
use crate::recording::clock::Clock;
use crate::recording::draft::Draft;
use crate::recording::options::Options;
use crate::recording::reader::{Opened, Reader, Store};
use crate::recording::source::Source;
use crate::recording::traces::Format;

/// What traces are called in errors.
const KIND: &str = "dataset of two or three axes";

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
        let mut draft = if let Some(split) = splits_of(&tree, options) {
            read_splits(&tree, &split)?
        } else if let Some(draft) = pipelines::read(&tree, options)? {
            draft
        } else if let Some(frame) = pandas::frame(&tree, options)? {
            let shape = [frame.n_rows(), frame.names.len()];
            let (group, notes) = (frame.group.clone(), frame.notes.clone());
            let mut draft = tables::of_columns(&tree, &group, shape, frame.into_draft(), options)?;
            draft.notes.extend(notes);
            draft
        } else {
            tables::read(&tree, options, KIND)?
        };
        draft.notes.extend(tables::not_read(&tree));
        draft.tau_s = tree.scalar("", "tau")?;
        draft.discretisation = discretisation(tree.text("", "discretisation"))?;
        Ok(draft)
    }

    fn in_blocks(&self, source: &Source, options: &Options) -> Result<Option<Opened>, Problem> {
        let tree = Hdf5Tree::new(hdf5::open(&source.path)?, false)?;
        if splits_of(&tree, options).is_some() || pipelines::recognises(&tree, options)? {
            return Ok(None);
        }
        let name = &tables::named(&tree, options, KIND)?;
        let (dataset, object) = tree
            .dataset(name)?
            .ok_or(Problem::NoTraces { kind: KIND })?;
        if tree.columns(name).is_some() || pandas::has_frame(&tree, options) {
            return Ok(None);
        }
        let number = hdf5::number_of(dataset.dtype(), &object)?;
        let shape: Vec<usize> = dataset.shape().iter().map(|&n| n as usize).collect();
        let &[rows, columns] = &shape[..] else {
            return Ok(None);
        };
        let is_packed = !Packing::of(&dataset, &object)?.is_none();
        if !number.is_f32() || is_packed || rows == 0 || columns == 0 {
            return Ok(None);
        }
        hdf5::check_size(&source.path, dataset.shape(), number.size.into())?;
        let mut notes = Vec::new();
        let clock = clock_beside::clock_above(&tree, name, &shape, options, &mut notes)?;
        let order = match options.order {
            Some(order) => order,
            None => guess_order(name, [rows, columns], &clock)?,
        };
        let (axis, shape) = match order.is_neuron_first() {
            true => (0, [rows, columns]),
            false => (1, [columns, rows]),
        };
        let store = Lines {
            dataset,
            object,
            axis,
        };
        let mut opened = Opened::bare(name, Box::new(store), shape);
        opened.clock = clock;
        opened.notes = notes;
        opened.tau_s = tree.scalar("", "tau")?;
        opened.discretisation = discretisation(tree.text("", "discretisation"))?;
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

/// The arrays that are split into trials for training and others, where there are such.
fn splits_of(tree: &Hdf5Tree, options: &Options) -> Option<splits::Split> {
    let tables = tree.arrays().iter();
    let tables = tables.filter(|listed| matches!(listed.shape[..], [_, _] | [_, _, _]));
    let shapes: Vec<_> = tables
        .map(|listed| (listed.name.clone(), listed.shape.clone()))
        .collect();
    splits::find(&shapes, options)
}

fn read_splits(tree: &Hdf5Tree, split: &splits::Split) -> Result<Draft, Problem> {
    let mut draft = split.read(|name| {
        let values = tree.values(name)?;
        values.ok_or(Problem::NoTraces { kind: "dataset" })
    })?;
    draft.clock = Clock::from_scalars(|name| tree.scalar("", name))?;
    Ok(draft)
}
