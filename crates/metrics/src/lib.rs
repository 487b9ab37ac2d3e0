#![doc = include_str!("../README.md")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "an array view is passed by value, as a slice is"
)]

mod alignment;
mod error;
mod r2;

pub use alignment::AffineAlignment;
pub use error::MetricsError;
pub use r2::{Fit, cod, fit, fit_per_neuron, r2};
