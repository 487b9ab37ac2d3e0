#![doc = include_str!("../README.md")]

pub mod kernels;
#[cfg(feature = "burn")]
mod ops;

pub use kernels::{GruSpec, ResetGate};
#[cfg(feature = "burn")]
pub use ops::{GruWeights, SpikeLoop, plain};
#[cfg(feature = "burn")]
pub use ops::{
    ar1_filter, gru_final_states, gru_generate, gru_sequence, poisson_log_prob, spike_loop,
};
