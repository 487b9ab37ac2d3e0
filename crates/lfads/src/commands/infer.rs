//! `lfads infer`: a trained model on new data.

use std::path::PathBuf;

use anyhow::{Result, bail};
use pipeline::{RunFolder, likelihood_of};
use runs::device::DeviceKind;
use runs::output::check_file;
use serde_json::json;

use super::Session;
use crate::external::ExternalArgs;
use crate::input::{InputArgs, with_option_names};
use crate::range;

/// Infer spikes, rates and factors from new data with a trained model.
///
/// The neurons must be those of the training, in the same order. Brightness, noise and baseline are
/// compared with the training's: spikes are rescaled if they follow the brightness, and whatever differs
/// is said. A rolling baseline is taken anew. Example: `lfads infer run day2/suite2p -o day2.h5`.
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
    #[arg(long, value_name = "N", value_parser = range::samples)]
    samples: Option<usize>,

    /// Keep the training's spike sizes and constant baselines, whatever the brightness
    #[arg(long)]
    as_trained: bool,

    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceKind::Flex)]
    device: DeviceKind,

    #[command(flatten)]
    external: ExternalArgs,

    #[command(flatten)]
    input: InputArgs,
}

impl Infer {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        let mut inputs = self.input.files(&self.path);
        inputs.extend(self.external.inputs.as_deref());
        let own = RunFolder::FILES.map(|name| self.run.join(name));
        inputs.extend(own.iter().map(PathBuf::as_path));
        check_file(&self.output, &inputs)?;
        let device = self.device.open()?;
        let (folder, record) = RunFolder::open(&self.run)?;
        // What the fit read is not read again, but is as precious.
        check_file(&self.output, &[&record.source.path])?;
        if !folder.is_complete() {
            if !folder.weights().exists() {
                bail!(
                    "{}: the fit has no checkpoint yet; go on with it by the same `lfads fit`",
                    self.run.display()
                );
            }
            tracing::warn!(
                "{}: the fit is not complete; the weights of its last checkpoint are used",
                self.run.display()
            );
        }
        let (recording, external) = self.input.open_beside(&self.path, &self.external)?;
        pipeline::check_session(&record, &recording)?;
        let checked = recording.check_values(likelihood_of(record.model));
        checked.map_err(with_option_names)?;
        let n_samples = self.samples.unwrap_or(record.config.n_samples);
        let (results, observations) = pipeline::infer(
            &folder,
            &record,
            recording,
            external.as_ref(),
            n_samples,
            self.as_trained,
            &device,
        )?;
        results.write_for(&observations.recording, &self.output)?;
        let (n_pieces, n_bins) = observations.cut.dim();
        let value = json!({
            "output": self.output.to_string_lossy(),
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
