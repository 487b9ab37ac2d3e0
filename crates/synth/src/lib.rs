#![doc = include_str!("../README.md")]

mod benchmark;
mod design;
mod dynamics;
mod error;
mod extraction;
mod observe;
mod readout;
mod seed;
pub mod traces;

pub use benchmark::{
    Benchmark, ChaoticRnnBenchmark, LorenzBenchmark, SessionBenchmark, SessionDynamics, Sizes,
};
pub use calcium::{Discretisation, Hill, Indicator, Kernel};
pub use design::{HeldOut, TrialDesign};
pub use dynamics::lorenz::Lorenz;
pub use dynamics::pulse::Pulse;
pub use dynamics::pulsed::Pulsed;
pub use dynamics::ring::Ring;
pub use dynamics::switching::Switching;
pub use error::SynthError;
pub use extraction::Extraction;
pub use observe::{Heterogeneity, NeuronIndicator, Observation, ObservedTrial, Observer};
