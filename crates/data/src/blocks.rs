//! Recordings larger than memory: traces a block of neurons at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use hdf5_reader::{SliceInfo, SliceInfoElem};
use ndarray::Array2;

use crate::clock::Clock;
use crate::hdf5::{self, Node, unreadable};
use crate::npy::{self, Header};
use crate::number::Number;
use crate::recording::{guess_order, is_time};
use crate::source::{self, Source, cannot_read, choose};
use crate::{AxisOrder, BlockCheck, DataError, Format, Options, Problem, Units, plain, suite2p};

/// Traces of a continuous recording in blocks of neurons, each read when it is asked for.
///
/// A `.npy` matrix, a suite2p folder and a two-axis dataset of 32-bit floats in plain HDF5 can be read
/// so, in memory of the size of two blocks.
///
/// # Example
/// ```
/// use data::{Options, TraceBlocks, write_npy};
/// use ndarray::Array2;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("f.npy");
/// write_npy(&path, Array2::from_shape_fn((100, 5), |(t, n)| (t + n) as f32).view())?;
/// let options = Options { rate_hz: Some(30.0), ..Options::default() };
/// let blocks = TraceBlocks::open(&path, &options, 2)?.ok_or("not in pieces")?;
/// let n_neurons: Vec<usize> = blocks.map(|block| Ok(block?.traces.nrows())).collect::<Result<_, data::DataError>>()?;
/// assert_eq!(n_neurons, [2, 2, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TraceBlocks {
    store: Store,
    path: PathBuf,
    dataset: String,
    n_neurons: usize,
    n_bins: usize,
    dt_s: f64,
    units: Option<Units>,
    neuron_ids: Vec<String>,
    tau_s: Option<f64>,
    discretisation: Option<String>,
    per_block: usize,
    next: usize,
}

/// Traces of neighbouring neurons.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceBlock {
    /// Place of the first neuron in the recording.
    pub first_neuron: usize,
    /// `[neuron, time]`, each neuron's frames together.
    pub traces: Array2<f32>,
}

impl TraceBlocks {
    /// Opens a recording to be read `per_block` neurons at a time; `None` if it cannot be read in
    /// pieces, and [`crate::Recording::open`] has to take it whole.
    ///
    /// # Errors
    /// Those of [`crate::Recording::open`] about the file and its rate; [`Problem::BadParameter`] if
    /// `per_block` is 0.
    pub fn open(
        path: &Path,
        options: &Options,
        per_block: usize,
    ) -> Result<Option<Self>, DataError> {
        let open = || open(path, options, per_block);
        open().map_err(|problem| DataError::from(problem).in_file(path))
    }

    /// Number of neurons.
    pub fn n_neurons(&self) -> usize {
        self.n_neurons
    }

    /// Frames per trace.
    pub fn n_bins(&self) -> usize {
        self.n_bins
    }

    /// Width of a frame in seconds.
    pub fn dt_s(&self) -> f64 {
        self.dt_s
    }

    /// What the values are, as in [`crate::Recording`].
    pub fn units(&self) -> Option<Units> {
        self.units
    }

    /// One name per neuron, as in [`crate::Recording`].
    pub fn neuron_ids(&self) -> &[String] {
        &self.neuron_ids
    }

    /// Decay time of the indicator, seconds, where the file says.
    pub fn tau_s(&self) -> Option<f64> {
        self.tau_s
    }

    /// How tau becomes the AR(1) coefficient, as in [`crate::Recording`].
    pub fn discretisation(&self) -> Option<&str> {
        self.discretisation.as_deref()
    }

    /// Begins to check that a model of fluorescence can be fitted to every neuron.
    ///
    /// # Errors
    /// [`Problem::UnitsDoNotSuit`] for spike counts.
    pub fn check(&self) -> Result<BlockCheck, DataError> {
        BlockCheck::new(
            self.path.clone(),
            self.dataset.clone(),
            self.neuron_ids.clone(),
            self.units,
        )
    }

    /// The traces of some neurons, `[neuron, time]`, whatever has been read before.
    ///
    /// # Errors
    /// A problem of the disk; [`Problem::Infinite`]; [`Problem::BadParameter`] beyond the last neuron.
    pub fn read(&mut self, neurons: Range<usize>) -> Result<Array2<f32>, DataError> {
        let read = |store: &mut Store| {
            if neurons.start > neurons.end || neurons.end > self.n_neurons {
                return Err(Problem::BadParameter {
                    name: "neurons",
                    found: format!("{} to {}", neurons.start, neurons.end),
                    expected: "a range of the recording's neurons",
                });
            }
            let traces = store.read(neurons.clone())?;
            check_finite(&traces, neurons.start, &self.dataset)?;
            Ok(traces)
        };
        read(&mut self.store).map_err(|problem| DataError::from(problem).in_file(&self.path))
    }
}

impl Iterator for TraceBlocks {
    type Item = Result<TraceBlock, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.n_neurons {
            return None;
        }
        let neurons = self.next..(self.next + self.per_block).min(self.n_neurons);
        self.next = neurons.end;
        Some(self.read(neurons.clone()).map(|traces| TraceBlock {
            first_neuron: neurons.start,
            traces,
        }))
    }
}

/// Where traces are read from.
enum Store {
    Npy(Matrix),
    /// F and, where some of it is subtracted, Fneu, of the regions that are kept.
    Suite2p {
        fluorescence: Matrix,
        neuropil: Option<Matrix>,
        share: f32,
        kept: Vec<usize>,
    },
    Hdf5 {
        dataset: Box<hdf5_reader::Dataset>,
        name: String,
        order: AxisOrder,
    },
}

impl Store {
    fn read(&mut self, neurons: Range<usize>) -> Result<Array2<f32>, Problem> {
        match self {
            Self::Npy(matrix) => matrix.read(neurons),
            Self::Suite2p {
                fluorescence,
                neuropil,
                share,
                kept,
            } => {
                let n_bins = fluorescence.n_bins();
                let mut traces = Array2::zeros((0, n_bins));
                for &region in &kept[neurons] {
                    let mut trace = fluorescence.read(region..region + 1)?;
                    if let Some(neuropil) = neuropil {
                        trace.scaled_add(-*share, &neuropil.read(region..region + 1)?);
                    }
                    // Of one length by construction.
                    let _pushed = traces.push_row(trace.row(0));
                }
                Ok(traces)
            }
            Self::Hdf5 {
                dataset,
                name,
                order,
            } => read_slice(dataset, name, *order, neurons),
        }
    }
}

/// A matrix in a .npy file.
#[derive(Debug)]
struct Matrix {
    file: File,
    header: Header,
    /// Lengths of the slow and the fast axis in the file.
    axes: [usize; 2],
    neurons_are_slow: bool,
}

impl Matrix {
    /// Opens the file if it holds a matrix of numbers; `order` where it is known.
    fn open(path: &Path, object: &str, order: Option<AxisOrder>) -> Result<Option<Self>, Problem> {
        let mut file = File::open(path).map_err(cannot_read)?;
        let length = file.metadata().map_err(cannot_read)?.len();
        let mut head = Vec::new();
        let limit = npy::MAX_HEADER as u64;
        (&mut file)
            .take(limit)
            .read_to_end(&mut head)
            .map_err(cannot_read)?;
        let header = Header::parse(&head, object)?;
        let &[rows, columns] = &header.shape[..] else {
            return Ok(None);
        };
        if (header.n_bytes as u64) > length {
            return Err(Problem::CutShort {
                expected: header.n_bytes as u64,
                found: length,
            });
        }
        if rows == 0 || columns == 0 {
            return Err(Problem::Empty {
                dataset: object.to_owned(),
                shape: header.shape.clone(),
            });
        }
        let order = match order {
            Some(order) => order,
            None => guess_order(object, &header.shape, &Clock::Unstated)?,
        };
        let rows_are_slow = !header.fortran_order;
        Ok(Some(Self {
            axes: if rows_are_slow {
                [rows, columns]
            } else {
                [columns, rows]
            },
            neurons_are_slow: rows_are_slow == (order == AxisOrder::NeuronTime),
            file,
            header,
        }))
    }

    fn n_neurons(&self) -> usize {
        self.axes[usize::from(!self.neurons_are_slow)]
    }

    fn n_bins(&self) -> usize {
        self.axes[usize::from(self.neurons_are_slow)]
    }

    fn read(&mut self, neurons: Range<usize>) -> Result<Array2<f32>, Problem> {
        let shape = (neurons.len(), self.n_bins());
        if self.neurons_are_slow {
            let values = self.run(neurons.start * self.axes[1], shape.0 * shape.1)?;
            return Ok(shaped(shape, values));
        }
        let mut traces = Array2::zeros(shape);
        for (frame, mut column) in traces.columns_mut().into_iter().enumerate() {
            let start = frame * self.axes[1] + neurons.start;
            let values = self.run(start, shape.0)?;
            column
                .iter_mut()
                .zip(values)
                .for_each(|(to, value)| *to = value);
        }
        Ok(traces)
    }

    /// Numbers that lie together, from the one in place `start`.
    fn run(&mut self, start: usize, count: usize) -> Result<Vec<f32>, Problem> {
        let Number { size, .. } = self.header.number;
        let place = self.header.offset + start * usize::from(size);
        let mut bytes = vec![0; count * usize::from(size)];
        self.file
            .seek(SeekFrom::Start(place as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(cannot_read)?;
        Ok(self.header.number.decode(&bytes, |x| x as f32))
    }
}

/// Values in C order; their number is the shape's by construction.
fn shaped(shape: (usize, usize), values: Vec<f32>) -> Array2<f32> {
    Array2::from_shape_vec(shape, values).unwrap_or_else(|_| Array2::zeros(shape))
}

fn open(path: &Path, options: &Options, per_block: usize) -> Result<Option<TraceBlocks>, Problem> {
    if per_block == 0 {
        return Err(Problem::BadParameter {
            name: "per_block",
            found: "0".to_owned(),
            expected: "at least 1",
        });
    }
    let source = Source::probe(path)?;
    let opened = match source::reader_of(&source)?.format() {
        Format::Npy => open_npy(path, options)?,
        Format::Suite2p => open_suite2p(path, options)?,
        Format::Hdf5 => open_hdf5(path, options)?,
        _ => None,
    };
    let Some(opened) = opened else {
        return Ok(None);
    };
    let clock = options.rate_hz.map_or(opened.clock, Clock::RateHz);
    let [n_neurons, n_bins] = opened.shape;
    let numbered = || (0..n_neurons).map(|n| n.to_string()).collect();
    Ok(Some(TraceBlocks {
        store: opened.store,
        path: path.to_owned(),
        dataset: opened.dataset,
        n_neurons,
        n_bins,
        dt_s: clock.dt_s()?,
        units: options.units.or(opened.units),
        neuron_ids: opened.neuron_ids.unwrap_or_else(numbered),
        tau_s: opened.tau_s.filter(|&tau_s| is_time(tau_s)),
        discretisation: opened.discretisation,
        per_block,
        next: 0,
    }))
}

struct Opened {
    store: Store,
    dataset: String,
    /// Neurons and frames.
    shape: [usize; 2],
    clock: Clock,
    units: Option<Units>,
    neuron_ids: Option<Vec<String>>,
    tau_s: Option<f64>,
    discretisation: Option<String>,
}

fn open_npy(path: &Path, options: &Options) -> Result<Option<Opened>, Problem> {
    let matrix = Matrix::open(path, "array", options.order)?;
    Ok(matrix.map(|matrix| Opened {
        shape: [matrix.n_neurons(), matrix.n_bins()],
        store: Store::Npy(matrix),
        dataset: "array".to_owned(),
        clock: Clock::Unstated,
        units: None,
        neuron_ids: None,
        tau_s: None,
        discretisation: None,
    }))
}

fn open_suite2p(path: &Path, options: &Options) -> Result<Option<Opened>, Problem> {
    let folder = suite2p::plane(path, options)?;
    let open = |name: &str| {
        let matrix = Matrix::open(&folder.join(name), name, Some(AxisOrder::NeuronTime));
        matrix.map_err(|problem| problem.of_member(name))
    };
    // Of another kind of matrix the whole reader says what is wrong.
    let Some(fluorescence) = open("F.npy")? else {
        return Ok(None);
    };
    let shape = &fluorescence.header.shape;
    let mut neuropil = None;
    if suite2p::has_neuropil(&folder, options)? {
        let Some(matrix) = open("Fneu.npy")? else {
            return Ok(None);
        };
        let found = &matrix.header.shape;
        if found != shape {
            return Err(suite2p::disagree(
                shape,
                "Fneu.npy",
                found,
                "regions and frames",
            ));
        }
        neuropil = Some(matrix);
    }
    let kept = suite2p::accepted(&folder, shape, options)?;
    let clock = match options.rate_hz {
        Some(rate_hz) => Clock::RateHz(rate_hz),
        None => suite2p::frame_rate(&folder)?,
    };
    Ok(Some(Opened {
        shape: [kept.len(), fluorescence.n_bins()],
        neuron_ids: Some(kept.iter().map(ToString::to_string).collect()),
        clock,
        units: Some(Units::Fluorescence),
        dataset: "F.npy".to_owned(),
        tau_s: None,
        discretisation: None,
        store: Store::Suite2p {
            fluorescence,
            neuropil,
            share: options.neuropil,
            kept,
        },
    }))
}

fn open_hdf5(path: &Path, options: &Options) -> Result<Option<Opened>, Problem> {
    let root = Node::root(&hdf5::open(path)?)?;
    let tables = plain::tables(&root)?;
    if plain::split_name(&tables, options).is_some() {
        return Ok(None);
    }
    let name = choose(&tables, options, "dataset of two or three axes")?.to_owned();
    let dataset = plain::dataset_at(&root, &name)?;
    let dataset = dataset.ok_or(Problem::NoTraces { kind: "dataset" })?;
    let number = Number::of(dataset.dtype(), &format!("dataset `{name}`"))?;
    let shape: Vec<usize> = dataset.shape().iter().map(|&n| n as usize).collect();
    let &[rows, columns] = &shape[..] else {
        return Ok(None);
    };
    if !number.is_f32() || rows == 0 || columns == 0 {
        return Ok(None);
    }
    hdf5::check_size(path, dataset.shape(), number.size.into())?;
    let order = match options.order {
        Some(order) => order,
        None => guess_order(&name, &shape, &Clock::Unstated)?,
    };
    Ok(Some(Opened {
        shape: match order {
            AxisOrder::NeuronTime => [rows, columns],
            AxisOrder::TimeNeuron => [columns, rows],
        },
        clock: Clock::from_scalars(|name| hdf5::scalar(&root, name))?,
        units: None,
        neuron_ids: None,
        tau_s: hdf5::scalar(&root, "tau")?,
        discretisation: root.text("discretisation").ok().flatten(),
        dataset: name.clone(),
        store: Store::Hdf5 {
            dataset: Box::new(dataset),
            name,
            order,
        },
    }))
}

fn read_slice(
    dataset: &hdf5_reader::Dataset,
    name: &str,
    order: AxisOrder,
    neurons: Range<usize>,
) -> Result<Array2<f32>, Problem> {
    let object = format!("dataset `{name}`");
    let every = |end: u64| SliceInfoElem::Slice {
        start: 0,
        end,
        step: 1,
    };
    let some = SliceInfoElem::Slice {
        start: neurons.start as u64,
        end: neurons.end as u64,
        step: 1,
    };
    let shape = dataset.shape();
    let selections = match order {
        AxisOrder::NeuronTime => vec![some, every(shape[1])],
        AxisOrder::TimeNeuron => vec![every(shape[0]), some],
    };
    let values = dataset
        .read_slice::<f32>(&SliceInfo { selections })
        .map_err(|e| unreadable(&object, e))?;
    let found = values.shape().to_vec();
    let matrix = values
        .into_dimensionality::<ndarray::Ix2>()
        .map_err(|_| Problem::Rank {
            object,
            found,
            axes: "[time, neuron]",
        })?;
    Ok(match order {
        AxisOrder::NeuronTime => matrix,
        AxisOrder::TimeNeuron => matrix.reversed_axes().as_standard_layout().into_owned(),
    })
}

fn check_finite(traces: &Array2<f32>, first_neuron: usize, dataset: &str) -> Result<(), Problem> {
    if !traces.iter().fold(false, |any, v| any | v.is_infinite()) {
        return Ok(());
    }
    let bad = traces.indexed_iter().find(|(_, v)| v.is_infinite());
    bad.map_or(Ok(()), |((neuron, frame), &value)| {
        Err(Problem::Infinite {
            dataset: dataset.to_owned(),
            index: vec![frame, first_neuron + neuron],
            value,
        })
    })
}
