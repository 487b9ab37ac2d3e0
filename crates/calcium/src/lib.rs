#![doc = include_str!("../README.md")]

mod ar;
mod automatic;
pub mod counts;
mod decay;
mod error;
pub mod estimate;
mod hill;
mod indicator;
mod indicators;
mod inference;
mod kinetics;
pub mod network;
pub mod oasis;
mod posterior;
pub mod quality;
mod quantile;
mod quiet;
mod sample;
pub mod trials;

pub use ar::{Ar1, Ar2, Discretisation};
pub use automatic::{Automatic, AutomaticFit, Estimates};
pub use decay::{decay_seen, decay_seen_in_trials};
pub use error::CalciumError;
pub use hill::Hill;
pub use indicator::{Indicator, Kernel, SampledIndicator};
pub use indicators::{INDICATORS, NamedIndicator};
pub use inference::{Inference, InferredSpikes, sparse};
pub use kinetics::Kinetics;
pub use posterior::{SpikePosterior, SpikePrior};
pub use quiet::{QuietBaseline, dimmed_to, dimming};
pub use sample::Sample;
