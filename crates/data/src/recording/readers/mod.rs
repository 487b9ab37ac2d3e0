//! The registry: every reader there is, and which one a file needs.

mod alf;
#[cfg(any(feature = "hdf5", feature = "matlab"))]
mod cells;
#[cfg(any(feature = "hdf5", feature = "matlab"))]
mod clock_beside;
#[cfg(feature = "csv")]
mod csv;
#[cfg(feature = "csv")]
mod csv_layouts;
#[cfg(feature = "csv")]
mod csv_lists;
#[cfg(feature = "csv")]
mod csv_order;
#[cfg(feature = "hdf5")]
mod hdf5;
#[cfg(feature = "csv")]
mod list_survey;
#[cfg(any(feature = "hdf5", feature = "matlab"))]
mod matlab;
mod npy;
#[cfg(feature = "zip")]
mod npz;
#[cfg(feature = "hdf5")]
mod nwb;
#[cfg(feature = "hdf5")]
mod nwb_names;
#[cfg(feature = "hdf5")]
mod nwb_planes;
#[cfg(feature = "hdf5")]
mod nwb_regions;
#[cfg(feature = "hdf5")]
mod nwb_series;
#[cfg(feature = "hdf5")]
mod pandas;
#[cfg(any(feature = "hdf5", feature = "matlab"))]
mod pipelines;
mod planes_together;
mod rows;
#[cfg(feature = "hdf5")]
mod splits;
pub(super) mod suite2p;
#[cfg(any(feature = "hdf5", feature = "matlab"))]
mod suite2p_fall;
mod suite2p_planes;
mod suite2p_settings;
#[cfg(any(feature = "hdf5", feature = "matlab"))]
mod tables;
mod zarr;

use super::reader::Reader;
use super::source::Source;
use crate::Problem;

/// From the most particular to the most general.
static READERS: &[&dyn Reader] = &[
    &alf::Alf,
    &zarr::Zarr,
    &suite2p::Suite2p,
    &npy::Npy,
    #[cfg(feature = "zip")]
    &npz::Npz,
    #[cfg(any(feature = "hdf5", feature = "matlab"))]
    &matlab::Matlab,
    #[cfg(feature = "hdf5")]
    &nwb::Nwb,
    #[cfg(feature = "hdf5")]
    &hdf5::PlainHdf5,
    #[cfg(feature = "csv")]
    &csv::Csv,
];

/// The reader of the format that the source is in.
pub(super) fn reader_of(source: &Source) -> Result<&'static dyn Reader, Problem> {
    if let Some(problem) = source.of_other_format() {
        return Err(problem);
    }
    let known = READERS.iter().find(|reader| reader.recognises(source));
    known.copied().ok_or_else(|| source.unknown())
}
