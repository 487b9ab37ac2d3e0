//! Neurons that are not wanted.

use std::path::Path;

use super::blocks::TraceBlocks;
use super::check::silence;
use super::options::Options;
use super::traces::Recording;
use crate::{DataError, Problem};

/// Neurons to leave out of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// By their place in the recording, from 0.
    pub neurons: Vec<usize>,
    /// Also all that are NaN or of one value in every frame.
    pub silent: bool,
}

impl LeftOut {
    /// The recording, as it was opened, without them; of silent ones it notes which.
    ///
    /// # Errors
    /// [`Problem::NoSuchNeuron`]; [`Problem::AllLeftOut`].
    pub fn of(&self, recording: Recording) -> Result<Recording, DataError> {
        if *self == Self::default() {
            return Ok(recording);
        }
        let silent: Vec<usize> = match self.silent {
            true => recording.silent().into_iter().map(|s| s.number).collect(),
            false => Vec::new(),
        };
        let kept = self.kept(&recording.path, recording.n_neurons(), &silent)?;
        let mut rest = recording.keep(&kept)?;
        rest.notes.extend(noted(&silent));
        Ok(rest)
    }

    /// The places of the neurons that stay of the recording that `blocks` read with `options`; where silent ones are to be
    /// found, it is read once for that, and `blocks` note them.
    ///
    /// # Errors
    /// Those of [`Self::of`] and of reading.
    pub fn kept_of_blocks(
        &self,
        options: &Options,
        blocks: &mut TraceBlocks,
    ) -> Result<Vec<usize>, DataError> {
        let path = blocks.path().to_owned();
        let mut silent = Vec::new();
        if self.silent {
            let again = TraceBlocks::open(&path, options, 1)?;
            for block in again.into_iter().flatten() {
                let block = block?;
                if silence(block.traces.iter()).is_some() {
                    silent.push(block.first_neuron);
                }
            }
        }
        let kept = self.kept(&path, blocks.n_neurons(), &silent)?;
        if let Some(note) = noted(&silent) {
            blocks.note(note);
        }
        Ok(kept)
    }

    fn kept(
        &self,
        path: &Path,
        n_neurons: usize,
        silent: &[usize],
    ) -> Result<Vec<usize>, DataError> {
        let refused = |problem: Problem| Err(DataError::from(problem).in_file(path));
        if let Some(&neuron) = self.neurons.iter().find(|&&neuron| neuron >= n_neurons) {
            return refused(Problem::NoSuchNeuron { neuron, n_neurons });
        }
        let stays = |neuron: &usize| !self.neurons.contains(neuron) && !silent.contains(neuron);
        let kept: Vec<usize> = (0..n_neurons).filter(stays).collect();
        match kept.is_empty() {
            true => refused(Problem::AllLeftOut { n_neurons }),
            false => Ok(kept),
        }
    }
}

fn noted(silent: &[usize]) -> Option<String> {
    let list: Vec<String> = silent.iter().map(ToString::to_string).collect();
    (!list.is_empty()).then(|| format!("silent neurons left out: {}", list.join(",")))
}
