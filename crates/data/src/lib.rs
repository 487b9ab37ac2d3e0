#![doc = include_str!("../README.md")]

mod error;
mod hdf5;
mod trials;

pub use error::{DataError, Problem};
pub use trials::{Dataset, NamedArray, Quantity, Split};
