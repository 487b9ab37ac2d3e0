//! Results: named arrays, whole or a trace at a time, in HDF5 or .npz.

mod arrays;
mod hdf5_stream;
mod npz_stream;
mod nwb;
mod nwb_objects;
mod sink;
mod stream;

pub use arrays::{Arrays, UnitArray};
pub use nwb::{is_nwb, write_nwb};
pub use stream::TraceStream;
