//! Options that say how to read a recording, and the recording read with them.

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use data::{AxisOrder, DataError, Options, Problem, Recording, Traces, Units};
use serde::{Deserialize, Serialize};

/// How to read a recording: only what the file does not say itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
#[command(next_help_heading = "Reading the recording")]
pub struct InputArgs {
    /// Frames per second [default: as the file says]
    #[arg(long, value_name = "HZ")]
    pub rate: Option<f64>,

    /// What the values are [default: as the file says]
    #[arg(long, value_enum)]
    pub units: Option<UnitsArg>,

    /// Dataset, variable, archive member or plane folder that holds the traces
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,

    /// Order of the axes, where the file does not tell
    #[arg(long, value_enum)]
    pub order: Option<OrderArg>,

    /// suite2p: share of the neuropil's fluorescence to subtract
    #[arg(long, value_name = "SHARE", default_value_t = 0.7)]
    pub neuropil: f32,

    /// suite2p: also the regions that iscell.npy rejects
    #[arg(long)]
    pub all_rois: bool,

    /// Neurons to leave out, counted from 0, separated by commas
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub leave_out: Vec<usize>,

    /// Do not cut the recording into the trials of its table
    #[arg(long)]
    pub continuous: bool,
}

/// Units on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum UnitsArg {
    /// Raw fluorescence
    F,
    /// Relative fluorescence, dF/F
    Dff,
    /// Spike counts per frame
    Counts,
}

/// Order of axes on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OrderArg {
    /// [time, neuron], or [trial, time, neuron]
    TimeNeuron,
    /// [neuron, time], or [trial, neuron, time]
    NeuronTime,
}

impl InputArgs {
    /// Reads `path`, leaves out what is to be left out, and cuts trials where there is a table.
    ///
    /// # Errors
    /// One line naming file, dataset, what was found and what to do.
    pub fn open(&self, path: &Path) -> Result<Recording> {
        let recording = Recording::open(path, &self.options()).map_err(with_option_names)?;
        let recording = self.without_left_out(recording)?;
        let has_table = !recording.trial_table.is_empty();
        match recording.traces {
            Traces::Continuous(_) if has_table && !self.continuous => {
                let cut = recording.cut_trials();
                cut.map_err(|error| {
                    anyhow::anyhow!("{error} (--continuous: read on through the trials)")
                })
            }
            _ => Ok(recording),
        }
    }

    /// The same for the reading library.
    pub fn options(&self) -> Options {
        Options {
            rate_hz: self.rate,
            units: self.units.map(|units| match units {
                UnitsArg::F => Units::Fluorescence,
                UnitsArg::Dff => Units::DeltaFOverF,
                UnitsArg::Counts => Units::SpikeCounts,
            }),
            dataset: self.dataset.clone(),
            order: self.order.map(|order| match order {
                OrderArg::TimeNeuron => AxisOrder::TimeNeuron,
                OrderArg::NeuronTime => AxisOrder::NeuronTime,
            }),
            neuropil: self.neuropil,
            cells_only: !self.all_rois,
        }
    }

    fn without_left_out(&self, recording: Recording) -> Result<Recording> {
        if self.leave_out.is_empty() {
            return Ok(recording);
        }
        let kept = self.kept(&recording.path, recording.n_neurons())?;
        Ok(recording.keep(&kept)?)
    }

    /// The neurons that are not left out, of `n_neurons`.
    ///
    /// # Errors
    /// If one to leave out is not there, or none would be left.
    pub fn kept(&self, path: &Path, n_neurons: usize) -> Result<Vec<usize>> {
        let path = path.display();
        if let Some(outside) = self.leave_out.iter().find(|&&n| n >= n_neurons) {
            anyhow::bail!(
                "{path}: --leave-out {outside}: the recording has {n_neurons} neurons, 0 to {}",
                n_neurons.saturating_sub(1)
            );
        }
        let kept: Vec<usize> = (0..n_neurons)
            .filter(|neuron| !self.leave_out.contains(neuron))
            .collect();
        if kept.is_empty() {
            anyhow::bail!("{path}: --leave-out leaves none of {n_neurons} neurons; name fewer");
        }
        Ok(kept)
    }
}

/// The library's message and the option that it asks for.
pub fn with_option_names(error: DataError) -> anyhow::Error {
    let hint = option_names(&error.problem);
    anyhow::anyhow!("{error}{hint}")
}

/// The options that mend a problem, in brackets; nothing where there are none.
pub fn option_names(problem: &Problem) -> &'static str {
    match problem {
        Problem::MissingRate | Problem::Timestamps { .. } => " (--rate HZ)",
        Problem::AxisOrder { .. } => " (--order neuron-time, or --order time-neuron)",
        Problem::Ambiguous { .. } | Problem::NotFound { .. } => " (--dataset NAME)",
        Problem::NoCells { .. }
        | Problem::MissingMember {
            name: "iscell.npy", ..
        } => " (--all-rois)",
        Problem::MissingMember {
            name: "Fneu.npy", ..
        } => " (--neuropil 0)",
        Problem::AllMissing { .. } | Problem::Constant { .. } => " (--leave-out N)",
        Problem::LooksLikeCounts { .. } => {
            " (--units f, or lfads fit --model lfads --units counts)"
        }
        Problem::UnitsDoNotSuit { .. } | Problem::NotACount { .. } => {
            " (--units; lfads fit --model lfads for spike counts, any other for fluorescence)"
        }
        _ => "",
    }
}
