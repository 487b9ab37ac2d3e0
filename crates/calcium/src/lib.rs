#![doc = include_str!("../README.md")]

mod ar;
mod automatic;
pub mod counts;
mod error;
pub mod estimate;
mod hill;
mod kinetics;
pub mod network;
pub mod oasis;
mod posterior;
mod sample;

pub use ar::{Ar1, Ar2, Discretisation};
pub use automatic::{Automatic, AutomaticFit, Estimates};
pub use error::CalciumError;
pub use hill::Hill;
pub use kinetics::Kinetics;
pub use posterior::{SpikePosterior, SpikePrior};
pub use sample::Sample;
