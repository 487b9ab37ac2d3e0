//! Results: named arrays, whole or a trace at a time, in HDF5 or .npz.

mod arrays;
mod hdf5_stream;
mod npz_stream;
mod nwb;
mod nwb_objects;
mod pynapple;
mod sink;
mod stream;
mod timeline;
mod write;

pub use arrays::{Arrays, UnitArray};
pub use stream::TraceStream;
