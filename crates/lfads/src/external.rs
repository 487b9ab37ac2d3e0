//! Inputs to the dynamics that are known, from a file of their own.

use std::path::PathBuf;

use anyhow::{Context, Result};
use data::{Part, Problem, Recording};

/// What the experimenter knows to drive the neurons.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Known inputs")]
pub struct ExternalArgs {
    /// File of what is known to drive the neurons (a stimulus, licks, speed), `[time, input]` or
    /// `[trial, time, input]`, in any format of a recording; put on the frames by its own times or rate, else
    /// one sample a frame
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,

    /// Dataset or series in it [default: `train_ext_input`, or the only one there is]
    #[arg(long, value_name = "NAME", requires = "inputs")]
    pub inputs_dataset: Option<String>,
}

impl ExternalArgs {
    /// The inputs on the frames of `recording`, which was read of `part` and not yet cut into trials; says what
    /// was understood.
    ///
    /// # Errors
    /// One line with the file, what was found and what to do.
    pub fn open(&self, recording: &Recording, part: Part) -> Result<Option<Recording>> {
        let Some(path) = &self.inputs else {
            return Ok(None);
        };
        let inputs = recording
            .open_inputs(path, self.inputs_dataset.as_deref(), part)
            .map_err(|error| anyhow::anyhow!("{error}{}", hint(&error.problem)))
            .context("--inputs")?;
        let beside = recording.beside(&inputs).context("--inputs")?;
        let names = beside.neuron_ids.join(", ");
        let (rate, frames) = (1.0 / inputs.dt_s, 1.0 / beside.dt_s);
        tracing::info!(
            "known inputs: {} ({names}) of dataset `{}`, {rate:.4} Hz {}, put on frames of {frames:.4} Hz",
            beside.n_neurons(),
            inputs.dataset,
            inputs.rate_from,
        );
        Ok(Some(beside))
    }
}

/// The option that mends a problem.
fn hint(problem: &Problem) -> &'static str {
    match problem {
        Problem::Ambiguous { .. } | Problem::NotFound { .. } => " (--inputs-dataset NAME)",
        _ => "",
    }
}
