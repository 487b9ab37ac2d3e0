//! Formats: bytes to arrays and back. What the arrays mean is for readers to say.

pub(crate) mod cells;
#[cfg(feature = "csv")]
pub(crate) mod csv;
#[cfg(feature = "csv")]
mod csv_body;
#[cfg(feature = "csv")]
pub(crate) mod csv_plan;
mod filtered;
#[cfg(feature = "hdf5")]
pub(crate) mod hdf5;
#[cfg(feature = "hdf5")]
pub(crate) mod hdf5_links;
#[cfg(feature = "hdf5")]
pub(crate) mod hdf5_out;
#[cfg(feature = "hdf5")]
pub(crate) mod hdf5_table;
#[cfg(feature = "hdf5")]
pub(crate) mod hdf5_tree;
#[cfg(feature = "hdf5")]
pub(crate) mod hdf5_values;
#[cfg(feature = "hdf5")]
mod lzf;
#[cfg(feature = "matlab")]
pub(crate) mod matlab5;
#[cfg(feature = "matlab")]
pub(crate) mod matlab5_tree;
pub(crate) mod npy;
pub(crate) mod npy_matrix;
#[cfg(feature = "zip")]
pub(crate) mod npz;
pub(crate) mod number;
pub(crate) mod pickle;
mod pickle_code;
pub(crate) mod text;
#[cfg(any(feature = "hdf5", feature = "matlab"))]
pub(crate) mod tree;
