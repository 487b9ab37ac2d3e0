//! Simulated traces as the network sees them, with what it should say.

use std::ops::Range;

use anyhow::Result;
use calcium::network::grid::{Grid, Normalised, WORKING_RATE_HZ};
use calcium::network::layers::N_TRAITS;
use rayon::prelude::*;
use synth::traces::{SimulatedTrace, TraceRecipe};

use crate::draws::{Draws, Purpose};

/// A simulated trace on the working grid.
pub struct Trace {
    /// Fluorescence, NaN without data: `[working frame]`.
    fluor: Vec<f32>,
    /// True spikes: `[working frame]`.
    counts: Vec<f32>,
    /// Logarithms of rise and decay in seconds and of a spike's size in the trace's units.
    log_traits: [f64; N_TRAITS],
}

/// A part of a trace.
pub struct Example {
    /// What the network sees.
    pub chunk: Normalised,
    /// True spikes: `[working frame]`.
    pub counts: Vec<f32>,
    /// What the traits should be, in the network's units.
    pub traits: [f64; N_TRAITS],
}

impl Trace {
    fn new(simulated: &SimulatedTrace) -> Self {
        let grid = Grid::new(simulated.fluor.len(), 1.0 / simulated.dt_s);
        let counts = simulated.counts(1.0 / WORKING_RATE_HZ, grid.n_working());
        Self {
            fluor: grid.sample(&simulated.fluor),
            counts: counts.into_iter().map(|count| count as f32).collect(),
            log_traits: [simulated.rise_s, simulated.decay_s, simulated.spike_size].map(f64::ln),
        }
    }

    /// Some frames of the trace, brought to their own scale; None where they hold nothing.
    pub fn part(&self, frames: Range<usize>) -> Option<Example> {
        let chunk = Normalised::of(&self.fluor[frames.clone()])?;
        let [rise, decay, size] = self.log_traits;
        Some(Example {
            counts: self.counts[frames].to_vec(),
            traits: [rise, decay, size - f64::from(chunk.noise_sd).ln()],
            chunk,
        })
    }

    /// The whole trace.
    pub fn whole(&self) -> Option<Example> {
        self.part(0..self.fluor.len())
    }

    /// A part of random length and place.
    fn random_part(&self, [shortest, longest]: [usize; 2], draws: &mut Draws) -> Option<Example> {
        let longest = longest.min(self.fluor.len()) as f64;
        let shortest = longest.min(shortest as f64);
        let len = (shortest * (longest / shortest).powf(draws.uniform())).round() as usize;
        let start = draws.below(self.fluor.len() - len + 1);
        self.part(start..start + len)
    }
}

/// Simulates the traces with these numbers, in parallel.
pub fn simulate(recipe: &TraceRecipe, seed: u64, numbers: Range<usize>) -> Result<Vec<Trace>> {
    let traces: Vec<Result<Trace>> = numbers
        .into_par_iter()
        .map(|index| Ok(Trace::new(&recipe.simulate(seed, index)?)))
        .collect();
    traces.into_iter().collect()
}

/// The examples of a step: the next traces of a pool in this round's order, a random part of each.
/// Traces that hold nothing are left out.
pub fn batch(
    pool: &[Trace],
    frames: [usize; 2],
    seed: u64,
    [step, round, place]: [usize; 3],
    size: usize,
) -> Vec<Example> {
    let order = Draws::new(seed, Purpose::Order, round).order(pool.len());
    let mut draws = Draws::new(seed, Purpose::Part, step);
    order[place..place + size]
        .iter()
        .filter_map(|&trace| pool[trace].random_part(frames, &mut draws))
        .collect()
}
