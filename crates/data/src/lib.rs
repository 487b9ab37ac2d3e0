#![cfg_attr(
    all(feature = "csv", feature = "hdf5", feature = "zip"),
    doc = include_str!("../README.md")
)]
#![cfg_attr(
    not(all(feature = "csv", feature = "hdf5", feature = "zip")),
    doc = "Benchmark files and recordings; the features choose the formats."
)]
// What only some formats need is there for all.
#![cfg_attr(
    not(all(feature = "csv", feature = "hdf5", feature = "zip")),
    allow(dead_code)
)]

mod benchmark;
mod error;
mod format;
mod indicator;
mod recording;
#[cfg(all(feature = "hdf5", feature = "zip"))]
mod results;
mod whole_file;
mod windows;

pub use benchmark::{Dataset, NamedArray, Quantity, Split};
pub use calcium::Discretisation;
pub use error::{DataError, Problem, Silent};
#[cfg(feature = "csv")]
pub use format::csv::write_csv;
pub use format::npy::write_npy;
#[cfg(feature = "zip")]
pub use format::npz::write_npz;
pub use recording::{
    AxisOrder, BlockCheck, Format, LeftOut, Likelihood, Options, PaddedTrials, Part, RateFrom,
    Recording, Suite2pFolder, TraceBlock, TraceBlocks, Traces, TrialInterval, Units, write_suite2p,
};
#[cfg(all(feature = "hdf5", feature = "zip"))]
pub use results::{Arrays, TraceStream, UnitArray};
pub use whole_file::{WholeFile, abandon_unfinished, sweep};
pub use windows::Windows;
