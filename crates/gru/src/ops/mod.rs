//! The public operations: shape checks, then the plain or the fused body.

mod arguments;
mod checks;
mod controlled;
mod elementwise;
#[cfg(feature = "flex")]
mod fused;
pub mod plain;
mod recurrent;
mod spike_loop;

pub use arguments::{Controlled, ControlledArguments, GruWeights, SpikeLoop, SpikeLoopArguments};
pub use controlled::gru_generate_controlled;
pub use elementwise::{
    affine, ar1_filter, blur, gaussian_log_likelihood, poisson_log_likelihood,
    poisson_log_likelihood_of_rates,
};
pub use recurrent::{gru_final_states, gru_generate, gru_sequence, gru_sequence_and_final_states};
pub use spike_loop::spike_loop;

/// How many operations have run as one fused pass in this process so far: 0 where a device or a
/// number type falls back to burn's own operations, which take many times as long.
pub fn fused_runs() -> u64 {
    #[cfg(feature = "flex")]
    let runs = fused::runs();
    #[cfg(not(feature = "flex"))]
    let runs = 0;
    runs
}
