//! Inputs to the dynamics that are known, from a file of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use data::{AxisOrder, DataError, Options, Problem, Recording};

/// What lfads-torch calls them.
const OF_SPLITS: &str = "train_ext_input";

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
    /// The inputs on the frames of `recording`, which was read with `options` and not yet cut into trials; says what
    /// was understood.
    ///
    /// # Errors
    /// One line with the file, what was found and what to do.
    pub fn open(&self, recording: &Recording, options: &Options) -> Result<Option<Recording>> {
        let Some(path) = &self.inputs else {
            return Ok(None);
        };
        let inputs = self
            .read(path, recording, options)
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

    fn read(
        &self,
        path: &Path,
        recording: &Recording,
        of_recording: &Options,
    ) -> Result<Recording, DataError> {
        let own = |dataset: Option<String>| Options {
            dataset,
            order: Some(AxisOrder::TimeNeuron),
            ..Options::default()
        };
        let open = |options: Options| match Recording::open(path, &options) {
            // One sample a frame then, of the same part.
            Err(error) if matches!(*error.problem, Problem::MissingRate) => {
                let of_frames = Options {
                    rate_hz: Some(1.0 / recording.dt_s),
                    part: of_recording.part,
                    ..options
                };
                Recording::open(path, &of_frames)
            }
            read => read,
        };
        if self.inputs_dataset.is_some() {
            return open(own(self.inputs_dataset.clone()));
        }
        match open(own(Some(OF_SPLITS.into()))) {
            Ok(inputs) if inputs.dataset == OF_SPLITS => Ok(inputs),
            _ => open(own(None)),
        }
    }
}

/// The option that mends a problem.
fn hint(problem: &Problem) -> &'static str {
    match problem {
        Problem::Ambiguous { .. } | Problem::NotFound { .. } => " (--inputs-dataset NAME)",
        _ => "",
    }
}
