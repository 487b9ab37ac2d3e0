//! What can be wrong with a benchmark file, each as one line that says what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Quantity;

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
        source: Box<hdf5_reader::error::Error>,
    },
    /// The file cannot be encoded.
    #[error("cannot encode the file: {0}")]
    Unwritable(#[from] hdf5_writer::Error),
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
    #[error("{object} has shape {found:?}; it must have {} axes, {axes}", axes.split(',').count())]
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
        "dataset `{dataset}` has shape {shape:?}: an axis is empty; leave the dataset out instead"
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
        self.problem.fmt(f)
    }
}

// The line above already quotes its cause, so `source` stays empty: reporters that
// print the chain would say everything twice.
impl std::error::Error for DataError {}
