//! Work on every neuron, in parallel, that tells how far it is and whose fault an error is.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use calcium::CalciumError;
use data::Recording;
use model::PROGRESS;
use rayon::prelude::*;

/// Tells of each neuron that is done.
pub(crate) struct Told {
    what: &'static str,
    done: AtomicUsize,
    of: usize,
}

impl Told {
    /// `what` is being done to `n_neurons` neurons.
    pub(crate) fn of(what: &'static str, n_neurons: usize) -> Self {
        Self {
            what,
            done: AtomicUsize::new(0),
            of: n_neurons,
        }
    }

    pub(crate) fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::trace!(
            target: PROGRESS,
            what = self.what,
            done = done as u64,
            of = self.of as u64
        );
    }
}

/// What `work` finds of each neuron; an error names its neuron.
pub(crate) fn each_neuron<T: Send>(
    recording: &Recording,
    what: &'static str,
    work: impl Fn(usize) -> Result<T, CalciumError> + Sync,
) -> Result<Vec<T>> {
    let n_neurons = recording.n_neurons();
    let told = Told::of(what, n_neurons);
    let one = |neuron: usize| {
        let found = work(neuron);
        told.one_more();
        found
    };
    let found: Vec<Result<T, CalciumError>> = (0..n_neurons).into_par_iter().map(one).collect();
    let named = found.into_iter().enumerate();
    named
        .map(|(neuron, found)| found.with_context(|| neuron_of(recording, neuron)))
        .collect()
}

/// A neuron of `recording`, and how to go on without it.
pub(crate) fn neuron_of(recording: &Recording, neuron: usize) -> String {
    let number = recording.neuron_numbers[neuron];
    neuron_in(&recording.path, number, &recording.neuron_ids[neuron])
}

/// The same of the neuron that a file has under `number`.
pub(crate) fn neuron_in(path: &Path, number: usize, id: &str) -> String {
    let path = path.display();
    format!("{path}: neuron {number} (`{id}`; --leave-out {number})")
}
