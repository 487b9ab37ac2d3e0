//! Formats: bytes to arrays and back. What the arrays mean is for readers to say.

#[cfg(feature = "csv")]
pub(crate) mod csv;
#[cfg(feature = "hdf5")]
pub(crate) mod hdf5;
pub(crate) mod npy;
pub(crate) mod npy_matrix;
#[cfg(feature = "zip")]
pub(crate) mod npz;
pub(crate) mod number;
pub(crate) mod pickle;
