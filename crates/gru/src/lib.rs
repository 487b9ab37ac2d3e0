#![doc = include_str!("../README.md")]

pub mod kernels;
#[cfg(feature = "burn")]
mod ops;

pub use kernels::{GruSpec, ResetGate};
#[cfg(feature = "burn")]
pub use ops::{Controlled, ControlledArguments, GruWeights, SpikeLoop, SpikeLoopArguments, plain};
#[cfg(feature = "burn")]
pub use ops::{
    affine, ar1_filter, blur, fused_runs, gaussian_log_likelihood, gru_final_states, gru_generate,
    gru_generate_controlled, gru_sequence, gru_sequence_and_final_states, poisson_log_likelihood,
    poisson_log_likelihood_of_rates, spike_loop,
};
