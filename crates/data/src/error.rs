//! What can be wrong with a benchmark file, each as one line that says what to do.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use crate::benchmark::quantity::Quantity;
use crate::recording::options::AxisOrder;
use crate::recording::units::Units;

/// A problem with a data set, and the file it was found in, if any.
///
/// Displays as one line: `path: what was found; what to do`.
#[derive(Debug)]
pub struct DataError {
    /// The file concerned; `None` for data that were never in a file.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// What can be wrong with a data set or its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, such as "read the file".
        action: &'static str,
        /// The system's own words.
        source: std::io::Error,
    },
    /// No HDF5 signature.
    #[error(
        "this is not an HDF5 file ({length} bytes, no HDF5 signature); give a file written by this project, h5py or libhdf5"
    )]
    NotHdf5 {
        /// File length in bytes.
        length: u64,
    },
    /// The file ends before the end its own header declares.
    #[error(
        "the file is cut short: its header says {expected} bytes, it has {found}; copy or download it again"
    )]
    CutShort {
        /// End-of-file address in the superblock.
        expected: u64,
        /// File length in bytes.
        found: u64,
    },
    /// The HDF5 structure cannot be followed.
    #[error(
        "cannot read {object}: {source}; the file is damaged or uses an HDF5 feature that is not supported: copy it again, or rewrite it with h5py"
    )]
    Unreadable {
        /// What was being read, such as "dataset `train_spikes`".
        object: String,
        /// The reader's own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Compressed in a way that is not read.
    #[error(
        "{object} is compressed with {} (HDF5 filter {filter}), which is not read; store it with gzip: h5repack -f GZIP=4 OLD NEW, with HDF5's plugins, or copy it in Python after `import hdf5plugin`",
        filter_name(*filter)
    )]
    UnknownFilter {
        /// Dataset.
        object: String,
        /// Registered number.
        filter: u16,
    },
    /// A dataset put together of others.
    #[error(
        "{object} is a virtual dataset, put together of others; copy it into one of its own: f['copy'] = f['name'][:] in h5py"
    )]
    VirtualDataset {
        /// Dataset.
        object: String,
    },
    /// Nothing but what cannot be opened.
    #[error("there is nothing to read but {found}")]
    NotOpened {
        /// Datasets and links, each with the reason.
        found: String,
    },
    /// Only arrays whose names say that they are something else.
    #[error("by their names these are no traces: {found}; if one is, name it with `dataset`")]
    Unlikely {
        /// Their names.
        found: String,
    },
    /// An NWB file without traces of regions, but with series of other kinds.
    #[error(
        "there is no RoiResponseSeries; if one of these holds traces, name it with `dataset`: {found}"
    )]
    OtherSeries {
        /// Their paths.
        found: String,
    },
    /// An NWB file of spike times.
    #[error(
        "there is no RoiResponseSeries, but `units`, the spike times of {n_units} neurons; count them in bins, with pynapple: units.count(0.02).values, and store these, [time, neuron]"
    )]
    UnitsTable {
        /// How many neurons it has.
        n_units: usize,
    },
    /// An NWB file to which nothing can be added.
    #[error(
        "the recording's NWB file cannot be added to: it begins behind a block of other data, or uses addresses of less than 64 bits; write the results as .h5"
    )]
    NotAppendable,
    /// One line a spike, and nothing that says how wide the bins are to be.
    #[error(
        "this is a list of {n_lines} spikes of {n_neurons} neurons, one a line; give `rate`, the bins per second to count them in"
    )]
    SpikeTimes {
        /// Lines below the header.
        n_lines: usize,
        /// Neurons.
        n_neurons: usize,
    },
    /// A Zarr store.
    #[error(
        "this is a Zarr store, or a folder of such, as minian writes them, which is not read; in Python, after pip install xarray zarr: {run}; then give traces.npy and `rate`"
    )]
    Zarr {
        /// What makes a file of its traces.
        run: String,
    },
    /// A format of which every trace is needed at once.
    #[error(
        "NWB and pynapple's archives are written whole, not a block at a time; name a .h5 or .npz file, or do without blocks"
    )]
    NotStreamed,
    /// A MATLAB file that is damaged.
    #[error(
        "{object} of the MATLAB file is damaged: {found}; copy the file again, or save it again"
    )]
    BadMatlab {
        /// Variable, or its place.
        object: String,
        /// What was found.
        found: String,
    },
    /// A pipeline accepted no region.
    #[error(
        "`{list}` accepts none of {n_regions} regions; accept some, or read them all (`cells_only = false`)"
    )]
    NoneAccepted {
        /// The list.
        list: String,
        /// Regions found.
        n_regions: usize,
    },
    /// The file cannot be encoded.
    #[error("cannot encode the file: {0}")]
    Unwritable(String),
    /// A value is stored as something that holds no plain numbers.
    #[error("{object} is stored as {found}; store it as integers or floating-point numbers")]
    NotNumeric {
        /// Dataset or attribute.
        object: String,
        /// Stored type.
        found: String,
    },
    /// A text attribute that is not text.
    #[error("attribute `{name}` is not text; store it as a string or delete it")]
    NotText {
        /// Attribute name.
        name: &'static str,
    },
    /// Wrong number of axes.
    #[error("{object} has shape {found:?}; its axes must be {axes}")]
    Rank {
        /// Dataset or attribute.
        object: String,
        /// Stored shape.
        found: Vec<usize>,
        /// Names of the axes wanted, such as "[trial, time, neuron]".
        axes: &'static str,
    },
    /// An axis of length zero.
    #[error(
        "dataset `{dataset}` has shape {shape:?}: an axis is empty; give one with values, or leave the dataset out"
    )]
    Empty {
        /// Dataset name.
        dataset: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Two arrays that must agree along an axis do not.
    #[error(
        "dataset `{a}` has shape {a_shape:?} but `{b}` has {b_shape:?}: the number of {axis} must be the same in both"
    )]
    Disagree {
        /// One dataset.
        a: String,
        /// Its shape.
        a_shape: Vec<usize>,
        /// The other dataset.
        b: String,
        /// Its shape.
        b_shape: Vec<usize>,
        /// What is counted along the axis, such as "trials".
        axis: &'static str,
    },
    /// NaN or infinity.
    #[error(
        "dataset `{dataset}` holds {value} at {index:?}; replace or cut out missing values first"
    )]
    NonFinite {
        /// Dataset name.
        dataset: String,
        /// `[trial, time, neuron]`, from 0.
        index: Vec<usize>,
        /// Value found.
        value: f32,
    },
    /// A spike count that is no count.
    #[error(
        "dataset `{dataset}` holds {value} at {index:?}; spikes are counts per bin, whole numbers from 0 to 2^24"
    )]
    NotACount {
        /// Dataset name.
        dataset: String,
        /// `[trial, time, neuron]`, from 0.
        index: Vec<usize>,
        /// Value found.
        value: f32,
    },
    /// A negative rate.
    #[error("dataset `{dataset}` holds {value} at {index:?}; rates are in Hz, zero or more")]
    NegativeRate {
        /// Dataset name.
        dataset: String,
        /// `[trial, time, neuron]`, from 0.
        index: Vec<usize>,
        /// Value found.
        value: f32,
    },
    /// A required number is nowhere in the file.
    #[error(
        "no `{name}`; add it, in {unit}, as an attribute of the root group or as a scalar dataset"
    )]
    MissingNumber {
        /// Attribute name.
        name: &'static str,
        /// Unit wanted.
        unit: &'static str,
    },
    /// Known inputs that do not lie beside a recording.
    #[error("the inputs {found}; {expected}")]
    Inputs {
        /// What was found.
        found: String,
        /// What is wanted.
        expected: String,
    },
    /// A parameter outside its domain.
    #[error("`{name}` is {found}; it must be {expected}")]
    BadParameter {
        /// Attribute name.
        name: &'static str,
        /// Value found.
        found: String,
        /// What is wanted.
        expected: &'static str,
    },
    /// None of the datasets that this format knows.
    #[error(
        "no array of the benchmark layout; name at least one dataset `train_…` or `valid_…` with … among {}",
        Quantity::names()
    )]
    NoArrays,
    /// No reader knows the file.
    #[error(
        "the format is not known (it begins with {}); give .npy, .npz, CSV, a suite2p folder, NWB, MATLAB v7.3 or HDF5",
        hex(head)
    )]
    UnknownFormat {
        /// First bytes.
        head: Vec<u8>,
    },
    /// No reader of results knows the file.
    #[error(
        "this is neither HDF5 nor an .npz archive (it begins with {}); give results in one of these",
        hex(head)
    )]
    NotResults {
        /// First bytes.
        head: Vec<u8>,
    },
    /// Text that is no table.
    #[error(
        "this is text without a line of numbers; a table has one row per frame, one column per neuron"
    )]
    NoRows,
    /// A folder without suite2p's output.
    #[error(
        "this folder is not suite2p's: no F.npy in it or in a folder right below; give the folder that holds F.npy, Fneu.npy and iscell.npy, such as suite2p/plane0"
    )]
    NotSuite2p,
    /// A folder of suite2p's without one of its files.
    #[error("there is no {name} beside F.npy; {remedy}")]
    MissingMember {
        /// File wanted.
        name: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// suite2p took no region for a cell.
    #[error(
        "iscell.npy accepts none of {n_regions} regions; accept some in suite2p, or read them all (`cells_only = false`)"
    )]
    NoCells {
        /// Regions found.
        n_regions: usize,
    },
    /// MATLAB's oldest format.
    #[error("this is a MATLAB file of version 4; save it again, with save('file.mat', '-v7')")]
    OldMatlab,
    /// No frame rate anywhere.
    #[error("the file states no frame rate; give `rate`, in frames per second")]
    MissingRate,
    /// Rates under several names.
    #[error("the file states frame rates that differ: {found}; give `rate`, in frames per second")]
    Rates {
        /// Their names, with what they state.
        found: String,
    },
    /// Times that are hardly seconds.
    #[error(
        "a frame would last {} s: {unit}? Give `rate`, in frames per second",
        rounded(*step)
    )]
    NotSeconds {
        /// Step between frames, or their length.
        step: f64,
        /// What they may be.
        unit: &'static str,
    },
    /// A rate that is hardly one of frames.
    #[error(
        "the file states {rate_hz} frames per second: is that the seconds of a frame? Give `rate`, in frames per second"
    )]
    SlowRate {
        /// What is stated.
        rate_hz: f64,
    },
    /// An order of axes that the shape leaves open, or the values contradict.
    #[error(
        "dataset `{dataset}` has shape {shape:?}: read as {}{why}; say with `order` which axis is which",
        as_read(shape)
    )]
    AxisOrder {
        /// Dataset name.
        dataset: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What speaks against it.
        why: &'static str,
        /// What it may be.
        plausible: Vec<AxisOrder>,
    },
    /// Images over time.
    #[error(
        "dataset `{dataset}`, {shape:?}, looks like a movie [time, y, x]; extract the traces first, with suite2p or CaImAn, or say with `order` which axes are trials, time and neurons"
    )]
    Movie {
        /// Dataset name.
        dataset: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Columns that rise by themselves, and no other.
    #[error(
        "dataset `{dataset}` holds nothing but counters or times, rising all the way: no neuron; name another with `dataset`"
    )]
    OnlyCounters {
        /// Dataset name.
        dataset: String,
    },
    /// A mask that does not suit the recording.
    #[error("the mask {name} holds {found}; {}", masks(shape))]
    Mask {
        /// Its file.
        name: String,
        /// What it holds.
        found: String,
        /// Shape of the recording as it is read: `[time, neuron]` or `[trial, time, neuron]`.
        shape: Vec<usize>,
    },
    /// A part that is none of the recording's.
    #[error(
        "the part from {from} to {to} holds none of the recording, which lasts {n_frames} frames, from {start_s} s to {end_s} s; choose another"
    )]
    Part {
        /// Where it begins.
        from: String,
        /// Where it ends.
        to: String,
        /// Frames of the recording, or of its shortest trial.
        n_frames: usize,
        /// Time of the first frame.
        start_s: f64,
        /// Time of the end.
        end_s: f64,
    },
    /// A format that is known and not read.
    #[error("this is {format}; {remedy}")]
    OtherFormat {
        /// The format.
        format: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Nothing that could be traces.
    #[error("there is no {kind}; store the traces as one, [time, neuron]")]
    NoTraces {
        /// What was looked for.
        kind: &'static str,
    },
    /// Several arrays could be meant.
    #[error("there is more than one {kind}: {found}; name one with `dataset`")]
    Ambiguous {
        /// What was looked for.
        kind: &'static str,
        /// Candidates.
        found: String,
    },
    /// The array that the caller named is not there.
    #[error("there is no {kind} `{wanted}` (there is: {found}); name one of these with `dataset`")]
    NotFound {
        /// Name given.
        wanted: String,
        /// What was looked for.
        kind: &'static str,
        /// Candidates.
        found: String,
    },
    /// Something wrong with one file of a folder.
    #[error("`{name}`: {problem}")]
    InMember {
        /// File name.
        name: String,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// A .npy header that cannot be read.
    #[error("{object} is not a sound .npy array: {found}; save it again with numpy.save")]
    BadNpy {
        /// Array or file.
        object: String,
        /// What was found.
        found: String,
    },
    /// A .npz archive that cannot be read.
    #[error(
        "the .npz archive is damaged or cut short: {0}; copy it again, or save it again with numpy.savez"
    )]
    BadArchive(String),
    /// A row of a table with more or fewer cells than the first.
    #[error(
        "line {line} has {found} cells, the first has {expected}; a table has one row per frame, one column per neuron"
    )]
    RaggedCsv {
        /// Line, from 1.
        line: u64,
        /// Cells in it.
        found: usize,
        /// Cells in the first.
        expected: usize,
    },
    /// A cell that is no number.
    #[error(
        "line {line}, column {column} holds `{found}`, not a number; write NaN, or nothing, for a missing frame"
    )]
    BadCell {
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: usize,
        /// Its text, at most 30 characters of it.
        found: String,
    },
    /// Commas that are decimals in some countries and part the thousands in others.
    #[error(
        "line {line} holds `{found}`: a decimal comma, or one of thousands? Every comma stands before three digits; write the numbers without separators of thousands, or with decimal points"
    )]
    Thousands {
        /// Line, from 1.
        line: usize,
        /// The number.
        found: String,
    },
    /// A text table that cannot be read as text.
    #[error("the table cannot be read or written: {0}; save it as UTF-8 text")]
    BadText(String),
    /// Frame times that do not increase.
    #[error(
        "timestamps go from {before} s to {value} s at frame {index}; they must increase: sort the frames, or give `rate` instead"
    )]
    Timestamps {
        /// Frame, from 0.
        index: usize,
        /// Its time.
        value: f64,
        /// Time of the frame before.
        before: f64,
    },
    /// Times with fewer digits than frames need.
    #[error(
        "most frames have the time of the one before, {value} s at frame {index}: the times were rounded; give `rate` instead"
    )]
    CoarseTimes {
        /// The first such frame, from 0.
        index: usize,
        /// Its time.
        value: f64,
    },
    /// Times of no frames.
    #[error(
        "{times}: the steps are too uneven for the times of frames; if each line is a spike or an event, call the columns `neuron` and `time`; if these are frames, call the times `time` and give `rate`, which is used instead"
    )]
    Irregular {
        /// Which times.
        times: String,
    },
    /// A gap too long for dropped frames.
    #[error(
        "timestamps leave a gap of {} s after frame {frame}, at {} s a frame; more frames would be missing than recorded: cut the file into sessions there",
        rounded(*gap_s),
        rounded(*dt_s)
    )]
    LongGap {
        /// Frame before the gap, from 0.
        frame: usize,
        /// Seconds to the next frame.
        gap_s: f64,
        /// Usual seconds between frames.
        dt_s: f64,
    },
    /// Infinity.
    #[error("dataset `{dataset}` holds {value} at {index:?}; write NaN for a missing frame")]
    Infinite {
        /// Dataset name.
        dataset: String,
        /// As stored with time before neuron, from 0.
        index: Vec<usize>,
        /// Value found.
        value: f32,
    },
    /// A trial without frames.
    #[error("trial {trial} holds {found}; correct its times or leave it out")]
    EmptyTrial {
        /// Trial, from 0.
        trial: usize,
        /// What it holds.
        found: String,
    },
    /// Nothing to cut into trials.
    #[error(
        "there is no continuous recording with a table of trials; cut it into windows instead, or store intervals/trials in an NWB file"
    )]
    NoTrials,
    /// Windows that cannot cover the recording.
    #[error(
        "windows of {length} bins that overlap by {overlap} cannot cover {n_bins} bins; choose overlap < length <= {n_bins}"
    )]
    Windows {
        /// Bins per window.
        length: usize,
        /// Bins that neighbours share.
        overlap: usize,
        /// Bins to cover.
        n_bins: usize,
    },
    /// Neurons of which a model learns nothing.
    #[error(
        "dataset `{dataset}`: {}; leave them out, a silent neuron has no rate to infer",
        silences(neurons)
    )]
    Silent {
        /// Dataset name.
        dataset: String,
        /// Every one of them.
        neurons: Vec<Silent>,
    },
    /// A neuron to leave out that is not there.
    #[error(
        "neuron {neuron} is to be left out, and there are {n_neurons} neurons, 0 to {}",
        n_neurons.saturating_sub(1)
    )]
    NoSuchNeuron {
        /// Neuron, from 0.
        neuron: usize,
        /// Neurons of the recording.
        n_neurons: usize,
    },
    /// Neurons to leave out, which are all.
    #[error("of {n_neurons} neurons all are to be left out; name fewer")]
    AllLeftOut {
        /// Neurons of the recording.
        n_neurons: usize,
    },
    /// A column that rises by itself.
    #[error(
        "dataset `{dataset}`: neuron {neuron} (`{id}`) rises all the way, as a counter or a time does; leave it out"
    )]
    Counter {
        /// Dataset name.
        dataset: String,
        /// Neuron, from 0.
        neuron: usize,
        /// Its name.
        id: String,
    },
    /// Units that the likelihood cannot have produced.
    #[error(
        "the values are {units}, which this model's likelihood does not describe; choose Gaussian for fluorescence, Poisson for spike counts, or correct `units`"
    )]
    UnitsDoNotSuit {
        /// Units stated.
        units: Units,
    },
    /// Counts where fluorescence is expected.
    #[error(
        "dataset `{dataset}` holds only whole numbers from 0 to {largest}: spike counts? Fluorescence is expected; choose a Poisson model, or state `units` as F"
    )]
    LooksLikeCounts {
        /// Dataset name.
        dataset: String,
        /// Largest value.
        largest: f32,
    },
    /// An array that the caller needs.
    #[error(
        "the split has no `{wanted}` (it holds {held}); simulate or record `{wanted}`, or choose a model that does without"
    )]
    Missing {
        /// Array wanted.
        wanted: Quantity,
        /// Arrays present.
        held: String,
    },
}

/// A neuron that is the same in every frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Silent {
    /// Its place in the file, from 0.
    pub number: usize,
    /// Its name.
    pub id: String,
    /// Its one value; NaN where it was never recorded.
    pub value: f32,
}

impl DataError {
    /// The same problem, said of the file at `path`.
    #[must_use]
    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..self
        }
    }
}

impl Problem {
    /// What the writer of a format says.
    #[cfg(feature = "hdf5")]
    pub(crate) fn unwritable(error: impl fmt::Display) -> Self {
        Self::Unwritable(error.to_string())
    }

    /// The same problem, said of one file of a folder.
    pub(crate) fn of_member(self, name: &str) -> Self {
        Self::InMember {
            name: name.to_owned(),
            problem: Box::new(self),
        }
    }
}

/// Names from a file may hold control characters, line feeds among them: escaped, the
/// message stays one line.
fn write_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| match c.is_control() {
        true => write!(f, "{}", c.escape_default()),
        false => f.write_char(c),
    })
}

/// What a mask of a recording of this shape may hold.
fn masks(shape: &[usize]) -> String {
    let (n_frames, several) = match *shape {
        [trials, time, neurons] => (
            time,
            format!("[trial, time] ({trials}, {time}) or [trial, time, neuron] (and {neurons})"),
        ),
        [time, neurons] => (
            time,
            format!("[time, neuron] ({time}, {neurons}) or [neuron, time]"),
        ),
        _ => (0, String::new()),
    };
    format!(
        "it must hold a number for each of {n_frames} frames, 1 where there is no data and 0 elsewhere, such numbers as {several}, or the numbers of such frames, counted from 0"
    )
}

/// A shape with what its axes would be, unless another order is stated.
fn as_read(shape: &[usize]) -> String {
    match shape {
        [time, neuron] => format!("[time, neuron], {time} frames of {neuron} neurons, "),
        [trial, time, neuron] => {
            format!("[trial, time, neuron], {trial} trials of {time} frames of {neuron} neurons, ")
        }
        _ => String::new(),
    }
}

/// Neurons listed in an error.
const MOST_LISTED: usize = 12;

fn silences(neurons: &[Silent]) -> String {
    let value = |silent: &Silent| match silent.value.is_nan() {
        true => "NaN".to_owned(),
        false => silent.value.to_string(),
    };
    let one = |silent: &Silent| {
        format!(
            "neuron {} (`{}`) is {} in every frame",
            silent.number,
            silent.id,
            value(silent)
        )
    };
    let mut listed: Vec<String> = neurons.iter().take(MOST_LISTED).map(one).collect();
    if neurons.len() > MOST_LISTED {
        listed.push(format!(
            "and {} more are silent",
            neurons.len() - MOST_LISTED
        ));
    }
    listed.join(", ")
}

/// To the hundredth of a millisecond, or to three digits: differences of times have digits that mean nothing.
fn rounded(seconds: f64) -> f64 {
    let digits = seconds.abs().max(1e-300).log10().floor() as i32;
    let unit = 10_f64.powi(5.max(2 - digits));
    (seconds * unit).round() / unit
}

/// Compressions that people meet, by their registered numbers.
fn filter_name(filter: u16) -> &'static str {
    match filter {
        307 => "bzip2",
        32_001 => "Blosc",
        32_008 => "bitshuffle",
        32_013 => "ZFP",
        32_015 => "Zstandard",
        32_026 => "Blosc2",
        _ => "a filter of its own",
    }
}

/// Bytes as people look them up.
fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing: it is empty".to_owned();
    }
    let digits: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    digits.join(" ")
}

impl From<Problem> for DataError {
    fn from(problem: Problem) -> Self {
        Self {
            path: None,
            problem: Box::new(problem),
        }
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        write_line(f, &self.problem.to_string())
    }
}

// The line above already quotes its cause, so `source` stays empty: reporters that
// print the chain would say everything twice.
impl std::error::Error for DataError {}
