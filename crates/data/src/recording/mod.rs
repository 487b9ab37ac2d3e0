//! A user's own recording: from any known format to traces on equal steps.

mod axes;
mod axis_evidence;
mod beside;
mod blocks;
mod check;
mod clock;
mod column_names;
mod columns;
mod draft;
mod family;
mod grid;
mod left_out;
mod mask;
#[cfg(feature = "csv")]
mod moments;
mod open;
pub(crate) mod options;
mod part;
mod reader;
mod readers;
pub(crate) mod source;
mod traces;
pub(crate) mod units;

pub use blocks::{TraceBlock, TraceBlocks};
pub use check::{BlockCheck, Likelihood};
pub use left_out::LeftOut;
pub use options::{AxisOrder, Options, Part};
pub use readers::suite2p::{Suite2pFolder, write_suite2p};
#[cfg(all(feature = "hdf5", feature = "zip"))]
pub(crate) use traces::first_frame;
pub use traces::{Format, PaddedTrials, RateFrom, Recording, Traces, TrialInterval};
pub use units::Units;
