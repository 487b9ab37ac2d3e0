#![doc = include_str!("../README.md")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "an array view is passed by value, as a slice is"
)]

mod alignment;
mod comparison;
mod eigen;
mod error;
mod pca;
mod r2;

pub use alignment::AffineAlignment;
pub use comparison::Comparison;
pub use error::MetricsError;
pub use pca::PrincipalComponents;
pub use r2::{Fit, fit, r2};
