//! Benchmarks: simulated or recorded trials with what is behind them, and their file.

mod dataset;
#[cfg(feature = "hdf5")]
mod hdf5;
pub(crate) mod quantity;

pub use dataset::{Dataset, NamedArray, Split};
pub use quantity::Quantity;
