#![doc = include_str!("../README.md")]

mod edgeworth_lfads;
mod filtered_poisson;
mod gaussian_lfads;
pub mod oasis_lfads;

pub use edgeworth_lfads::{EdgeworthLfads, EdgeworthLfadsConfig};
pub use filtered_poisson::{Data, Moments};
pub use gaussian_lfads::{GaussianLfads, GaussianLfadsConfig};
pub use oasis_lfads::deconvolve_counts;
