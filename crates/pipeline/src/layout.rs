//! Trials laid end to end for methods that work on one long trace, and back.

use std::ops::Range;

use data::Recording;
use ndarray::{Array3, ArrayView1, ArrayView2, s};

/// Where the trials of a recording are when they are laid end to end with gaps between.
///
/// The gaps are missing frames, in which calcium decays: what one trial leaves does not reach
/// the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    lengths: Vec<usize>,
    gap: usize,
    /// Of so many trials one is laid out.
    step: usize,
}

impl Layout {
    /// Gaps of `gap_s` seconds between the trials of `recording`.
    pub fn new(recording: &Recording, gap_s: f64) -> Self {
        let lengths = recording
            .stretches()
            .iter()
            .map(ArrayView2::nrows)
            .collect();
        let gap = (gap_s / recording.dt_s).ceil().max(1.0) as usize;
        Self {
            lengths,
            gap,
            step: 1,
        }
    }

    /// The same of every n-th trial, so that the long trace has hardly more than `most_frames`, gaps and all: of
    /// very many short trials the gaps are most of it.
    pub fn thinned(recording: &Recording, gap_s: f64, most_frames: usize) -> Self {
        let whole = Self::new(recording, gap_s);
        let step = match whole.lengths.len() {
            1 => 1,
            _ => whole.n_frames().div_ceil(most_frames.max(1)).max(1),
        };
        let lengths = whole.lengths.into_iter().step_by(step).collect();
        Self {
            lengths,
            gap: whole.gap,
            step,
        }
    }

    /// Of so many trials one is laid out.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Frames of the long trace.
    pub fn n_frames(&self) -> usize {
        let gaps = self.gap * self.lengths.len().saturating_sub(1);
        self.lengths.iter().sum::<usize>() + gaps
    }

    /// Frames of the longest trial.
    pub fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or_default()
    }

    /// First frame and length of each trial.
    pub fn spans(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.lengths.iter().scan(0, |next, &length| {
            let first = *next;
            *next += length + self.gap;
            Some((first, length))
        })
    }

    /// The long trace of one neuron; NaN in the gaps.
    pub fn join(&self, recording: &Recording, neuron: usize) -> Vec<f32> {
        let mut joined = vec![f32::NAN; self.n_frames()];
        let trials = recording.stretches().into_iter().step_by(self.step);
        for ((first, length), trial) in self.spans().zip(trials) {
            let column: ArrayView1<'_, f32> = trial.column(neuron);
            for (to, &value) in joined[first..first + length].iter_mut().zip(column) {
                *to = value;
            }
        }
        joined
    }

    /// The same trace without what lies outside `seen`, stretches of frames of each trial.
    pub fn only(&self, seen: &[Vec<Range<usize>>], trace: &[f32]) -> Vec<f32> {
        let mut part = vec![f32::NAN; trace.len()];
        for ((first, _), spans) in self.spans().zip(seen) {
            for span in spans {
                let span = first + span.start..first + span.end;
                part[span.clone()].copy_from_slice(&trace[span]);
            }
        }
        part
    }

    /// A trace [`without gaps`](Self::without_gaps) as the long one; NaN in the gaps.
    pub fn with_gaps(&self, mut trace: impl Iterator<Item = f32>) -> Vec<f32> {
        let mut long = vec![f32::NAN; self.n_frames()];
        for (first, length) in self.spans() {
            for (to, from) in long[first..first + length].iter_mut().zip(&mut trace) {
                *to = from;
            }
        }
        long
    }

    /// The frames of the trials alone, one after another.
    pub fn without_gaps(&self, trace: Vec<f32>) -> Vec<f32> {
        if self.lengths.len() == 1 {
            return trace;
        }
        let trials = self.spans().map(|(first, length)| first..first + length);
        trials.flat_map(|trial| trace[trial].to_vec()).collect()
    }

    /// Traces [`without gaps`](Self::without_gaps), `[neuron][time]`, as trials `[trial, time, neuron]`;
    /// NaN behind shorter ones.
    pub fn split<'a>(&self, traces: impl ExactSizeIterator<Item = &'a [f32]>) -> Array3<f32> {
        let shape = (self.lengths.len(), self.longest(), traces.len());
        let mut trials = Array3::from_elem(shape, f32::NAN);
        for (neuron, trace) in traces.enumerate() {
            let mut rest = trace;
            for (trial, &length) in self.lengths.iter().enumerate() {
                let (frames, after) = rest.split_at(length);
                rest = after;
                trials
                    .slice_mut(s![trial, ..length, neuron])
                    .assign(&ArrayView1::from(frames));
            }
        }
        trials
    }
}
