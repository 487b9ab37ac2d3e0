//! When the frames of results were, trial by trial.

use ndarray::{ArrayD, ArrayView2, Axis, Slice};

use crate::Recording;
use crate::recording::first_frame;

/// The stretches of a recording on its clock.
pub(super) struct Timeline {
    /// Frames of each stretch.
    pub(super) lengths: Vec<usize>,
    /// Frame of the recording with which each begins.
    firsts: Vec<usize>,
    start_s: f64,
    dt_s: f64,
    /// Whether the frames follow one another without a break.
    pub(super) is_regular: bool,
}

impl Timeline {
    /// Trials of which no times are known lie end to end.
    pub(super) fn of(recording: &Recording) -> Self {
        let stretches = recording.stretches();
        let lengths: Vec<usize> = stretches.iter().map(ArrayView2::nrows).collect();
        let (start_s, dt_s) = (recording.start_s, recording.dt_s);
        let table = &recording.trial_table;
        let end_to_end = || {
            let lengths = lengths.iter();
            lengths.scan(0, |next, length| {
                Some(std::mem::replace(next, *next + length))
            })
        };
        let firsts: Vec<usize> = if table.len() == lengths.len() && lengths.len() > 1 {
            let first = |time_s: f64| first_frame(time_s, start_s, dt_s);
            table.iter().map(|trial| first(trial.start_s)).collect()
        } else {
            end_to_end().collect()
        };
        Self {
            is_regular: end_to_end().eq(firsts.iter().copied()),
            lengths,
            firsts,
            start_s,
            dt_s,
        }
    }

    /// The time of every frame, seconds.
    pub(super) fn times(&self) -> Vec<f64> {
        let stretches = self.firsts.iter().zip(&self.lengths);
        let frames = stretches.flat_map(|(&first, &length)| first..first + length);
        frames.map(|frame| self.time_s(frame)).collect()
    }

    /// `[trial, time, column]` as `[time, column]`, without what lies behind the end of a trial.
    pub(super) fn end_to_end(&self, values: &ArrayD<f32>) -> (Vec<f32>, [usize; 2]) {
        let width = values.shape()[2];
        let mut all = Vec::new();
        for (trial, &length) in values.outer_iter().zip(&self.lengths) {
            let end = length.min(trial.shape()[0]);
            all.extend(trial.slice_axis(Axis(0), Slice::from(..end)));
        }
        let n_frames = all.len() / width.max(1);
        (all, [n_frames, width])
    }

    /// Start and end of each stretch, seconds.
    pub(super) fn trials(&self) -> (Vec<f64>, Vec<f64>) {
        let stretches = self.firsts.iter().zip(&self.lengths);
        stretches
            .map(|(&first, &length)| (self.time_s(first), self.time_s(first + length)))
            .unzip()
    }

    /// Time of the first and of the last frame of each stretch, seconds: epochs with both ends, of which
    /// no two touch.
    pub(super) fn epochs(&self) -> (Vec<f64>, Vec<f64>) {
        // Of the same bits as `times`: a frame that is later by the last of them is in no epoch.
        let stretches = self.firsts.iter().zip(&self.lengths);
        stretches
            .map(|(&first, &length)| {
                let last = first + length.saturating_sub(1);
                (self.time_s(first), self.time_s(last))
            })
            .unzip()
    }

    fn time_s(&self, frame: usize) -> f64 {
        self.start_s + frame as f64 * self.dt_s
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::{Options, write_npy};

    #[test]
    fn epochs_end_with_a_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dff.npy");
        let dff = Array2::from_shape_fn((3000, 2), |(t, n)| (t as f32 * 0.7 + n as f32).sin());
        write_npy(&path, dff.view()).unwrap();
        for rate_hz in [7.0, 8.0, 20.0, 30.0, 30.03, 1000.0] {
            let options = Options {
                rate_hz: Some(rate_hz),
                ..Options::default()
            };
            let timeline = Timeline::of(&Recording::open(&path, &options).unwrap());
            let (times, (starts, ends)) = (timeline.times(), timeline.epochs());
            let bits = |time: &f64| time.to_bits();
            assert_eq!(starts.first().map(bits), times.first().map(bits));
            assert_eq!(ends.last().map(bits), times.last().map(bits), "{rate_hz}");
        }
    }
}
