//! Trains the spike network of `calcium`.

use std::process::ExitCode;

use crate::bench::{cargo, hand_over};

/// Runs `deconvolver ARGS` from the workspace root, building it first.
pub fn train(args: &[String]) -> ExitCode {
    let mut cargo = cargo();
    cargo
        .args(["run", "--release", "--package", "deconvolver", "--"])
        .args(args);
    hand_over(cargo)
}
