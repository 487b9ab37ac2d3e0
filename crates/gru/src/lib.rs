#![doc = include_str!("../README.md")]

#[cfg(feature = "burn")]
mod ops;

#[cfg(feature = "burn")]
pub use ops::{GruSpec, GruWeights, ResetGate, SpikeLoop};
#[cfg(feature = "burn")]
pub use ops::{ar1_filter, gru_generate, gru_sequence, plain, poisson_log_prob, spike_loop};
