#![doc = include_str!("../README.md")]

mod arrays;
mod blocks;
mod check;
mod clock;
mod csv;
mod error;
mod hdf5;
mod hdf5_stream;
mod mat;
mod npy;
mod npz;
mod npz_stream;
mod number;
mod nwb;
mod pickle;
mod plain;
mod recording;
mod source;
mod suite2p;
mod trace_stream;
mod trials;
mod windows;

pub use arrays::{Arrays, UnitArray};
pub use blocks::{TraceBlock, TraceBlocks};
pub use check::{BlockCheck, Likelihood};
pub use csv::write_csv;
pub use error::{DataError, Problem};
pub use npy::write_npy;
pub use npz::write_npz;
pub use recording::{
    AxisOrder, Format, Options, PaddedTrials, Recording, Traces, TrialInterval, Units,
};
pub use suite2p::{Suite2pFolder, write_suite2p};
pub use trace_stream::TraceStream;
pub use trials::{Dataset, NamedArray, Quantity, Split};
pub use windows::Windows;
