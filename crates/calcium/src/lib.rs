#![doc = include_str!("../README.md")]

mod ar;
mod automatic;
mod error;
pub mod estimate;
pub mod oasis;
mod sample;

pub use ar::{Ar1, Ar2, Discretisation};
pub use automatic::{Automatic, AutomaticFit};
pub use error::CalciumError;
pub use sample::Sample;
