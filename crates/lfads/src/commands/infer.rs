//! `lfads infer`: a trained model on new data.

use std::path::PathBuf;

use anyhow::{Result, bail};
use data::{Likelihood, Recording};
use runs::device::DeviceKind;
use serde_json::json;
use zoo::Setting;

use super::{Session, check_output};
use crate::calibration::Calibration;
use crate::inference::Observations;
use crate::input::{InputArgs, with_option_names};
use crate::run_folder::{RunFolder, RunRecord};

/// Infer spikes, rates and factors from new data with a trained model.
///
/// The neurons must be those of the training, in the same order. Units of one spike are as in the
/// training; a rolling baseline is taken anew. Example:
/// `lfads infer run day2/suite2p -o day2.h5`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Infer {
    /// Folder that `fit` wrote
    run: PathBuf,

    /// Recording of the same neurons
    path: PathBuf,

    /// File to write: HDF5; or, by its ending, .npz, .nwb or .tsd.npz (for pynapple)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Posterior samples averaged for each trial [default: as in the fit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    samples: Option<u32>,

    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceKind::Flex)]
    device: DeviceKind,

    #[command(flatten)]
    input: InputArgs,
}

impl Infer {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        check_output(&self.output)?;
        let device = self.device.open()?;
        let (folder, record) = RunFolder::open(&self.run)?;
        let recording = self.input.open(&self.path)?;
        check(&record, &recording)?;
        let calibration = record.calibration.as_ref();
        let observations = Observations::new(
            &recording,
            &record.model_config,
            calibration,
            record.config.windows,
        )?;
        let n_neurons = recording.n_neurons();
        let calcium = calibration.map(Calibration::calcium);
        let setting = Setting::of_sizes(n_neurons, calcium, record.source.dt_s);
        let model = record
            .model_config
            .load(&setting, &device, &folder.weights())?;
        let n_samples = self.samples.map_or(record.config.n_samples, |n| n as usize);
        let results = observations.infer(
            model.as_ref(),
            &recording,
            calibration,
            n_samples,
            record.config.seed,
        )?;
        results.write_for(&recording, &self.output)?;
        let (n_pieces, n_bins) = observations.cut.dim();
        let value = json!({
            "output": self.output,
            "n_pieces": n_pieces,
            "n_bins": n_bins,
            "n_samples": n_samples,
        });
        let text = format!(
            "{}: {n_pieces} trials or windows of {n_bins} frames, {n_samples} posterior samples each\n",
            self.output.display()
        );
        session.print(&value, &text)
    }
}

/// Whether the model can read the recording.
fn check(record: &RunRecord, recording: &Recording) -> Result<()> {
    let (fitted, found) = (record.source.neuron_ids.len(), recording.n_neurons());
    let path = recording.path.display();
    if fitted != found {
        bail!(
            "{path}: dataset `{}` has {found} neurons, the model was fitted to {fitted}; give the same neurons in the same order (--leave-out), or fit a new model",
            recording.dataset
        );
    }
    let (fitted, found) = (record.source.dt_s, recording.dt_s);
    if (fitted - found).abs() > 0.01 * fitted {
        let [found, fitted] = [found, fitted].map(|s| (1e5 * s).round() / 1e5);
        bail!(
            "{path}: its frames last {found} s, those of the fit {fitted} s; resample the recording, or state its rate (--rate)"
        );
    }
    let likelihood = match record.model.reads_spikes() {
        true => Likelihood::Poisson,
        false => Likelihood::Gaussian,
    };
    recording
        .check_values(likelihood)
        .map_err(with_option_names)
}
