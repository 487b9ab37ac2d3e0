//! Trials laid end to end for methods that work on one long trace, and back.

use std::ops::Range;

use data::Recording;
use ndarray::{Array3, ArrayView1, ArrayView2, s};

/// Where the trials of a recording are when they are laid end to end, one after another: what reads the long trace is
/// told where each begins, and starts anew there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    lengths: Vec<usize>,
    /// Of so many trials one is laid out.
    step: usize,
}

impl Layout {
    /// All trials of `recording`.
    pub fn new(recording: &Recording) -> Self {
        let stretches = recording.stretches();
        let lengths = stretches.iter().map(ArrayView2::nrows).collect();
        Self { lengths, step: 1 }
    }

    /// The same of every n-th trial, so that the long trace has hardly more than `most_frames`.
    pub fn thinned(recording: &Recording, most_frames: usize) -> Self {
        let whole = Self::new(recording);
        let step = match whole.lengths.len() {
            1 => 1,
            _ => whole.n_frames().div_ceil(most_frames.max(1)).max(1),
        };
        let lengths = whole.lengths.into_iter().step_by(step).collect();
        Self { lengths, step }
    }

    /// Of so many trials one is laid out.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Frames of the long trace.
    pub fn n_frames(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Frames of the longest trial.
    pub fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or_default()
    }

    /// First frame and length of each trial.
    pub fn spans(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.lengths.iter().scan(0, |next, &length| {
            let first = *next;
            *next += length;
            Some((first, length))
        })
    }

    /// First frame of each trial.
    pub fn starts(&self) -> Vec<usize> {
        self.spans().map(|(first, _)| first).collect()
    }

    /// The long trace of one neuron.
    pub fn join(&self, recording: &Recording, neuron: usize) -> Vec<f32> {
        let mut joined = Vec::with_capacity(self.n_frames());
        for trial in recording.stretches().into_iter().step_by(self.step) {
            joined.extend(trial.column(neuron));
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

    /// Long traces, `[neuron][time]`, as trials `[trial, time, neuron]`;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// However short frames are, what works on the long trace has no more of them than the recording.
    #[test]
    fn a_joint_between_trials_has_no_frames() {
        let values = Array3::from_shape_fn((7, 5, 2), |(i, t, n)| (100 * i + 10 * t + n) as f32);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trials.npy");
        data::write_npy(&path, values.view()).unwrap();
        let options = data::Options {
            order: Some(data::AxisOrder::TrialTimeNeuron),
            rate_hz: Some(10_000.0),
            ..data::Options::default()
        };
        let recording = Recording::open(&path, &options).unwrap();
        let layout = Layout::new(&recording);
        assert_eq!((layout.n_frames(), layout.longest()), (35, 5));
        assert_eq!(layout.starts(), [0, 5, 10, 15, 20, 25, 30]);
        let long = [0, 1].map(|neuron| layout.join(&recording, neuron));
        assert_eq!(long[1][..6], [1.0, 11.0, 21.0, 31.0, 41.0, 101.0]);
        assert_eq!(layout.split(long.iter().map(|trace| &trace[..])), values);
        // Of the second trial alone, a part.
        let mut seen = vec![Vec::new(); 7];
        seen[1] = vec![Range { start: 2, end: 4 }];
        let part = layout.only(&seen, &long[0]);
        let shown: Vec<usize> = (0..35).filter(|&frame| part[frame].is_finite()).collect();
        assert_eq!((shown, part[7]), (vec![7, 8], 120.0));
        let thinned = Layout::thinned(&recording, 15);
        assert_eq!((thinned.step(), thinned.n_frames()), (3, 15));
        assert_eq!(thinned.join(&recording, 0)[5..7], [300.0, 310.0]);
    }
}
