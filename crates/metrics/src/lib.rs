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
mod pulses;
mod r2;
mod rhythm;
mod ridge;
mod smoothing;
mod spikes;

pub use alignment::AffineAlignment;
pub use comparison::Comparison;
pub use error::MetricsError;
pub use pca::PrincipalComponents;
pub use pulses::{PulseTiming, pulse_timing};
pub use r2::{Fit, fit, r2};
pub use rhythm::shared_rhythm_hz;
pub use ridge::Ridge;
pub use smoothing::{smoothed, smoothed_from_past};
pub use spikes::bits_per_spike;
