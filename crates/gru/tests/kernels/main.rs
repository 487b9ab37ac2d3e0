//! The fast kernels against the scalar reference, on every instruction set of this processor, and
//! the reference's gradients against central differences.

mod affine;
mod common;
mod controlled;
mod elementwise;
mod gated_block;
mod gru;
mod random;
mod spike_loop;
