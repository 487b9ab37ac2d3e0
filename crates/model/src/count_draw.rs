//! Spike counts of every neuron in a batch of trials, in parallel: samples, or posterior means.

use calcium::counts::{Chance, CountModel, CountSample, Sensor, Smoother, Trace, ln_factorial};
use rayon::prelude::*;

use crate::count_residuals::{Residuals, residuals};

/// Traces that one task draws; fixes the order of every sum whatever the thread count.
const BLOCK: usize = 64;

/// A batch of traces, `[time, trial, neuron]` flat.
pub(crate) struct CountBatch<'a> {
    /// Fluorescence; NaN: no data.
    pub x: &'a [f32],
    /// ln(λ dt).
    pub log_means: &'a [f32],
    pub n_bins: usize,
}

/// The random numbers that choose a sample of every trace.
#[derive(Clone, Copy)]
pub(crate) struct BatchChance<'a> {
    /// `[trial, neuron, time]`, in [0, 1).
    pub uniforms: &'a [f32],
    /// `[trial, neuron]`, standard normal.
    pub normals: &'a [f32],
}

/// Posterior means of every trace, `[time, trial, neuron]` flat.
pub(crate) struct CountMeans {
    /// Of the counts.
    pub counts: Vec<f32>,
    /// Of the noiseless fluorescence.
    pub fluor: Vec<f32>,
    /// The probability of what was dropped as negligible, mean over frames and traces.
    pub discarded: f64,
}

/// One sample of every trace, `[time, trial, neuron]` flat.
pub(crate) struct CountDraw<const P: usize> {
    /// E[s_t | the sample before t, the trace].
    pub expected: Vec<f32>,
    /// Σ ln q(counts).
    pub log_q: f64,
    /// Σ ln counts!.
    pub log_factorials: f64,
    /// Fit of the sampled calcium, `[neuron]`.
    pub residuals: Vec<Residuals<P>>,
    /// Sampled counts and their noiseless fluorescence.
    pub counts: Vec<f32>,
    pub fluor: Vec<f32>,
}

/// What a task found for its traces; values are `[time, trace]`.
struct Block<const P: usize> {
    expected: Vec<f32>,
    counts: Vec<f32>,
    fluor: Vec<f32>,
    log_q: f64,
    log_factorials: f64,
    residuals: Vec<Residuals<P>>,
}

impl CountBatch<'_> {
    /// Draws one sample; `posteriors`: one a neuron.
    pub fn draw<const P: usize, S: Sensor>(
        &self,
        posteriors: &[CountModel<P, S>],
        chance: BatchChance<'_>,
    ) -> CountDraw<P> {
        let blocks: Vec<Block<P>> =
            self.by_block(|first, end| self.draw_block(posteriors, chance, first, end));
        let mut residuals = vec![Residuals::NONE; posteriors.len()];
        for (trace, found) in blocks.iter().flat_map(|block| &block.residuals).enumerate() {
            let neuron = trace % posteriors.len();
            residuals[neuron] = residuals[neuron].and(found);
        }
        CountDraw {
            expected: self.join(&blocks, |block: &Block<P>| &block.expected),
            counts: self.join(&blocks, |block| &block.counts),
            fluor: self.join(&blocks, |block| &block.fluor),
            log_q: blocks.iter().map(|block| block.log_q).sum(),
            log_factorials: blocks.iter().map(|block| block.log_factorials).sum(),
            residuals,
        }
    }

    /// Posterior means; `posteriors`: one a neuron.
    pub fn smooth<const P: usize, S: Sensor>(&self, posteriors: &[CountModel<P, S>]) -> CountMeans {
        let blocks: Vec<CountMeans> =
            self.by_block(|first, end| self.smooth_block(posteriors, first, end));
        let n_traces = (self.x.len() / self.n_bins).max(1);
        CountMeans {
            counts: self.join(&blocks, |block: &CountMeans| &block.counts),
            fluor: self.join(&blocks, |block| &block.fluor),
            discarded: blocks.iter().map(|block| block.discarded).sum::<f64>() / n_traces as f64,
        }
    }

    /// What `work` makes of the traces from the first to before the last of each block.
    fn by_block<B: Send>(&self, work: impl Fn(usize, usize) -> B + Sync) -> Vec<B> {
        let n_traces = self.x.len() / self.n_bins;
        let block = |block: usize| {
            let first = block * BLOCK;
            work(first, n_traces.min(first + BLOCK))
        };
        let blocks = 0..n_traces.div_ceil(BLOCK);
        blocks.into_par_iter().map(block).collect()
    }

    /// Copies one trace and its log-means to where they are contiguous.
    fn copy_trace(&self, trace: usize, x: &mut [f32], log_means: &mut [f32]) {
        let n_traces = self.x.len() / self.n_bins;
        for bin in 0..self.n_bins {
            x[bin] = self.x[bin * n_traces + trace];
            log_means[bin] = self.log_means[bin * n_traces + trace];
        }
    }

    fn smooth_block<const P: usize, S: Sensor>(
        &self,
        posteriors: &[CountModel<P, S>],
        first: usize,
        end: usize,
    ) -> CountMeans {
        let (n_bins, width) = (self.n_bins, end - first);
        let mut block = CountMeans {
            counts: vec![0.0; n_bins * width],
            fluor: vec![0.0; n_bins * width],
            discarded: 0.0,
        };
        let mut smoother = Smoother::default();
        let (mut x, mut log_means) = (vec![0.0; n_bins], vec![0.0; n_bins]);
        for trace in first..end {
            self.copy_trace(trace, &mut x, &mut log_means);
            let given = Trace {
                x: &x,
                log_means: &log_means,
            };
            let smoothed = posteriors[trace % posteriors.len()].smooth(given, &mut smoother);
            block.discarded += smoothed.discarded;
            for bin in 0..n_bins {
                let place = bin * width + trace - first;
                block.counts[place] = smoothed.expected[bin];
                block.fluor[place] = smoothed.fluorescence[bin];
            }
        }
        block
    }

    fn draw_block<const P: usize, S: Sensor>(
        &self,
        posteriors: &[CountModel<P, S>],
        chance: BatchChance<'_>,
        first: usize,
        end: usize,
    ) -> Block<P> {
        let (n_bins, width) = (self.n_bins, end - first);
        let mut block = Block {
            expected: vec![0.0; n_bins * width],
            counts: vec![0.0; n_bins * width],
            fluor: vec![0.0; n_bins * width],
            log_q: 0.0,
            log_factorials: 0.0,
            residuals: Vec::with_capacity(width),
        };
        let mut sample = CountSample::new(n_bins);
        let (mut x, mut log_means) = (vec![0.0; n_bins], vec![0.0; n_bins]);
        for trace in first..end {
            self.copy_trace(trace, &mut x, &mut log_means);
            let posterior = &posteriors[trace % posteriors.len()];
            let given = Trace {
                x: &x,
                log_means: &log_means,
            };
            let own = Chance {
                uniforms: &chance.uniforms[trace * n_bins..(trace + 1) * n_bins],
                normal: chance.normals[trace],
            };
            block.log_q += posterior.sample(given, own, &mut sample);
            block.keep(trace - first, width, &sample, posterior);
            block.residuals.push(residuals(
                &posterior.calcium,
                &posterior.sensor,
                &x,
                &sample.counts,
                sample.initial,
            ));
        }
        block
    }

    /// The blocks' columns side by side.
    fn join<B: Sync>(&self, blocks: &[B], values: impl Fn(&B) -> &Vec<f32> + Sync) -> Vec<f32> {
        let n_traces = self.x.len() / self.n_bins;
        let mut joined = vec![0.0; self.x.len()];
        joined
            .par_chunks_mut(n_traces)
            .enumerate()
            .for_each(|(bin, row)| {
                for (block, part) in blocks.iter().zip(row.chunks_mut(BLOCK)) {
                    let width = part.len();
                    part.copy_from_slice(&values(block)[bin * width..(bin + 1) * width]);
                }
            });
        joined
    }
}

impl<const P: usize> Block<P> {
    fn keep<S: Sensor>(
        &mut self,
        column: usize,
        width: usize,
        sample: &CountSample<P>,
        posterior: &CountModel<P, S>,
    ) {
        for (bin, &count) in sample.counts.iter().enumerate() {
            let place = bin * width + column;
            self.expected[place] = sample.expected[bin];
            self.counts[place] = count;
            self.fluor[place] = posterior.sensor.fluorescence(sample.calcium[bin]) as f32;
            self.log_factorials += ln_factorial(count as usize);
        }
    }
}
