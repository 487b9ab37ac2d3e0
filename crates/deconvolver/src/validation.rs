//! Scores on simulated traces that training never sees.

use std::fmt;

use anyhow::Result;
use calcium::network::layers::{Layers, N_OUTPUTS, softplus};
use rayon::prelude::*;
use synth::traces::TraceRecipe;

use crate::example::{Example, simulate};
use crate::loss::{SMOOTHING_S, correlation};

/// Traces, of which those with few spikes are left out.
const N_TRACES: usize = 200;
const MIN_SPIKES: f32 = 5.0;

/// Seeds of validation and training never meet.
const OTHER_SEED: u64 = 1 << 63;

/// Simulated traces to score on.
pub struct Validation(Vec<Example>);

/// Means over traces.
pub struct Scores {
    /// Correlations with the true spikes, smoothed by 50 and by 200 ms.
    correlations: [f64; 2],
    /// Median of inferred over true spikes.
    ratio: f64,
}

impl Validation {
    pub fn new(recipe: &TraceRecipe, seed: u64) -> Result<Self> {
        let traces = simulate(recipe, seed ^ OTHER_SEED, 0..N_TRACES)?;
        let examples = traces.iter().filter_map(crate::example::Trace::whole);
        let enough = |example: &Example| example.counts.iter().sum::<f32>() >= MIN_SPIKES;
        Ok(Self(examples.filter(enough).collect()))
    }

    pub fn scores(&self, layers: &Layers) -> Scores {
        let each: Vec<[f64; 3]> = self
            .0
            .par_iter()
            .map(|example| score(layers, example))
            .collect();
        let mean = |index: usize| each.iter().map(|s| s[index]).sum::<f64>() / each.len() as f64;
        let mut ratios: Vec<f64> = each.iter().map(|scores| scores[2]).collect();
        ratios.sort_by(f64::total_cmp);
        Scores {
            correlations: [mean(0), mean(1)],
            ratio: ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN),
        }
    }
}

/// Two correlations, and inferred over true spikes.
fn score(layers: &Layers, example: &Example) -> [f64; 3] {
    let raw = layers.infer(&example.chunk);
    let (pairs, _) = raw.frames.as_chunks::<N_OUTPUTS>();
    let inferred: Vec<f64> = pairs
        .iter()
        .map(|[mean, _]| softplus(*mean).into())
        .collect();
    let counts: Vec<f64> = example.counts.iter().map(|&count| count.into()).collect();
    let present: Vec<f64> = example.chunk.present.iter().map(|&p| p.into()).collect();
    let [fine, coarse] = SMOOTHING_S.map(|s| correlation(&inferred, &counts, &present, s));
    [
        fine,
        coarse,
        inferred.iter().sum::<f64>() / counts.iter().sum::<f64>(),
    ]
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [fine, coarse] = self.correlations;
        write!(
            f,
            "r50 {fine:.4}  r200 {coarse:.4}  inferred/true {:.2}",
            self.ratio
        )
    }
}
