//! Whether inputs to the dynamics are inferred, where the user leaves it open.
//!
//! A recording that something drives needs them, and one that nothing does is fitted better without: the fit is trained both ways,
//! and the bound on what training did not see tells which explains the recording. That is one bit that held-out frames decide; who
//! wants them to decide nothing says how many inputs there are.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use zoo::Trained;

use crate::fit::{Prepared, held_out_loss};
use crate::run_folder::{Locked, RunFolder};
use crate::tried::Driven;

impl Prepared {
    /// Decides whether inputs are inferred, if that is open: `train` trains the fit with and without them, in folders of their
    /// own within that of the run, which keeps the training that is chosen. Goes on where it was interrupted, and decides
    /// nothing anew.
    ///
    /// # Errors
    /// Those of `train`; a folder that holds another fit or cannot be written.
    pub fn settle_inputs(
        mut self,
        run: &Path,
        train: &mut dyn FnMut(&Self, &Locked) -> Result<Trained>,
    ) -> Result<Self> {
        if !self.inputs_are_open() {
            return Ok(self);
        }
        let n_inputs = self.n_inputs();
        let folder = |n_inputs: usize| {
            run.join(RunFolder::CHOICE)
                .join(format!("n_inputs={n_inputs}"))
        };
        if run.join("run.json").is_file() {
            let (_, before) = RunFolder::open(run)?;
            if before.model_config.dynamics().controller.n_inputs == 0 {
                self.exchange_inputs();
            }
            self.record.driven = before.driven;
        } else {
            tracing::info!(
                "training without inferred inputs, then with {n_inputs}: the held-out loss decides (--n-inputs N, if you know)"
            );
            let mut loss = |fit: &Self| {
                let locked = RunFolder::begin(&folder(fit.n_inputs()), &fit.record)?;
                let loss = held_out_loss(&train(fit, &locked)?.history);
                loss.filter(|loss| loss.is_finite()).with_context(|| {
                    let at = locked.folder.path().display();
                    format!("{at}: no finite held-out loss; say how many inputs there are (--n-inputs N)")
                })
            };
            self.exchange_inputs();
            let loss_without = loss(&self)?;
            self.exchange_inputs();
            let driven = Driven {
                n_inputs,
                loss_with: loss(&self)?,
                loss_without,
            };
            tracing::info!("{driven}");
            if !driven.is_driven() {
                self.exchange_inputs();
            }
            self.record.driven = Some(driven);
        }
        let locked = RunFolder::begin(run, &self.record)?;
        let chosen = folder(self.n_inputs()).join(RunFolder::CHECKPOINTS);
        if chosen.is_dir() && !locked.folder.checkpoints().exists() {
            let moved = std::fs::rename(&chosen, locked.folder.checkpoints());
            moved.with_context(|| format!("{}: cannot be moved", chosen.display()))?;
        }
        for rest in [folder(0), folder(n_inputs)] {
            match std::fs::remove_dir_all(&rest) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!("{}: cannot be removed: {error}", rest.display());
                }
                _ => {}
            }
        }
        // What else is there belongs to somebody else.
        let _ = std::fs::remove_dir(run.join(RunFolder::CHOICE));
        Ok(self)
    }
}
