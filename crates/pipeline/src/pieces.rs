//! Pieces of equal length that a model reads, and what it inferred from them put back in place.

use std::ops::Range;

use anyhow::Result;
use data::{Recording, Traces, Windows};
use ndarray::{Array3, ArrayView2, ArrayView3, s};

use crate::config::WindowSize;

/// Trials longer than so many windows are cut into windows too.
const LONG: usize = 2;

/// How a recording is cut: its trials, padded with missing frames, or windows of long ones.
#[derive(Clone, Debug)]
pub struct Cut {
    lengths: Vec<usize>,
    /// Of each trial; a trial that is not cut is one window.
    windows: Vec<Windows>,
    is_continuous: bool,
    in_windows: bool,
    config: WindowSize,
}

/// Some frames of one trial, of which a model may see a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number of the trial; 0 for a continuous recording.
    pub trial: usize,
    /// Its first frame in the trial.
    pub start: usize,
    /// The frames of the trial that it shows; all others are missing.
    pub visible: Range<usize>,
}

impl Cut {
    /// Trials as they are, or in windows where they are long and `may_cut`: where each starts from rest, a
    /// window within it would not. A continuous recording in windows, or whole if it is shorter than one.
    ///
    /// # Errors
    /// An overlap that is not shorter than the window.
    pub fn new(recording: &Recording, may_cut: bool, config: WindowSize) -> Result<Self> {
        let stretches = recording.stretches();
        let lengths = stretches.iter().map(ArrayView2::nrows).collect();
        let is_continuous = matches!(recording.traces, Traces::Continuous(_));
        Self::of(lengths, is_continuous, may_cut, config)
    }

    /// The same of trials of these lengths, or of one continuous recording.
    pub(crate) fn of(
        lengths: Vec<usize>,
        is_continuous: bool,
        may_cut: bool,
        config: WindowSize,
    ) -> Result<Self> {
        let longest = lengths.iter().copied().max().unwrap_or_default();
        let is_cut = is_continuous || may_cut && longest > LONG * config.length;
        let windows = |&length: &usize| match is_cut && length > config.length {
            true => Windows::new(length, config.length, config.overlap),
            false => Windows::new(length, length, 0),
        };
        Ok(Self {
            windows: lengths.iter().map(windows).collect::<Result<_, _>>()?,
            lengths,
            is_continuous,
            in_windows: is_cut,
            config,
        })
    }

    /// Pieces, and frames in each.
    pub fn dim(&self) -> (usize, usize) {
        let n_pieces = self.windows.iter().map(|windows| windows.starts().len());
        (n_pieces.sum(), self.piece_length())
    }

    /// Whether the recording is one long one.
    pub fn is_continuous(&self) -> bool {
        self.is_continuous
    }

    /// Whether pieces are windows of something longer.
    pub fn is_cut(&self) -> bool {
        self.in_windows
    }

    /// Frames of each trial.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Frames of a piece.
    pub fn piece_length(&self) -> usize {
        let longest = self.lengths.iter().copied().max().unwrap_or_default();
        match self.in_windows {
            true => self.config.length.min(longest),
            false => longest,
        }
    }

    /// All pieces, each showing all that it has.
    pub fn pieces(&self) -> Vec<Piece> {
        let trials = 0..self.lengths.len();
        trials.flat_map(|trial| self.pieces_of(trial)).collect()
    }

    /// Those of one trial.
    pub fn pieces_of(&self, trial: usize) -> Vec<Piece> {
        let windows = &self.windows[trial];
        let length = self.piece_length().min(self.lengths[trial]);
        let piece = |&start: &usize| Piece {
            trial,
            start,
            visible: start..start + length,
        };
        windows.starts().iter().map(piece).collect()
    }

    /// Windows that together show `span` of a continuous recording and nothing else; where it is
    /// shorter than a window, one that has it in its middle.
    ///
    /// # Errors
    /// None for a span of the recording.
    pub fn windows_within(&self, span: &Range<usize>) -> Result<Vec<Piece>> {
        let length = self.piece_length();
        let starts = if span.len() <= length {
            let room = length - span.len();
            let last = self.lengths[0] - length;
            vec![span.start.saturating_sub(room / 2).min(last)]
        } else {
            let windows = Windows::new(span.len(), length, self.config.overlap)?;
            let starts = windows.starts().iter();
            starts.map(|start| span.start + start).collect()
        };
        let piece = |start: usize| Piece {
            trial: 0,
            start,
            visible: span.start.max(start)..span.end.min(start + length),
        };
        Ok(starts.into_iter().map(piece).collect())
    }

    /// The recording as `[trial, time, neuron]`; NaN where a trial has ended.
    pub fn trials(recording: &Recording) -> Array3<f32> {
        let trials = recording.stretches();
        let longest = trials.iter().map(ArrayView2::nrows).max();
        let shape = (
            trials.len(),
            longest.unwrap_or_default(),
            recording.n_neurons(),
        );
        let mut all = Array3::from_elem(shape, f32::NAN);
        for (mut to, trial) in all.outer_iter_mut().zip(trials) {
            to.slice_mut(s![..trial.nrows(), ..]).assign(&trial);
        }
        all
    }

    /// `[trial, time, column]` from `[piece, time, column]` of [`Cut::pieces`]: windows crossfaded
    /// into their trials, NaN where a trial has ended.
    ///
    /// # Errors
    /// Pieces of another shape.
    pub fn merge(&self, pieces: ArrayView3<'_, f32>) -> Result<Array3<f32>> {
        let longest = self.lengths.iter().copied().max().unwrap_or_default();
        let shape = (self.lengths.len(), longest, pieces.dim().2);
        let mut trials = Array3::from_elem(shape, f32::NAN);
        let mut first = 0;
        for (trial, mut merged) in trials.outer_iter_mut().enumerate() {
            let (windows, n_frames) = (&self.windows[trial], self.lengths[trial]);
            let end = first + windows.starts().len();
            let length = self.piece_length().min(n_frames);
            let own = pieces.slice(s![first..end, ..length, ..]);
            merged
                .slice_mut(s![..n_frames, ..])
                .assign(&windows.merge(own)?);
            first = end;
        }
        Ok(trials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: WindowSize = WindowSize {
        length: 10,
        overlap: 5,
    };

    /// What each piece shows of frames that hold their number, and NaN behind.
    fn read(cut: &Cut) -> Array3<f32> {
        let pieces = cut.pieces();
        Array3::from_shape_fn((pieces.len(), cut.piece_length(), 1), |(index, bin, _)| {
            let Piece {
                trial,
                start,
                visible,
            } = &pieces[index];
            match visible.contains(&(start + bin)) {
                true => (1000 * trial + start + bin) as f32,
                false => f32::NAN,
            }
        })
    }

    #[test]
    fn long_trials_are_cut_and_put_together_again_and_short_ones_left() {
        for (lengths, n_pieces, length) in [(vec![25, 7, 31], 4 + 1 + 6, 10), (vec![12, 20], 2, 20)]
        {
            let cut = Cut::of(lengths.clone(), false, true, WINDOWS).unwrap();
            assert_eq!(cut.dim(), (n_pieces, length));
            let merged = cut.merge(read(&cut).view()).unwrap();
            for ((trial, bin, _), &value) in merged.indexed_iter() {
                let want = match bin < lengths[trial] {
                    true => (1000 * trial + bin) as f32,
                    false => f32::NAN,
                };
                assert_eq!(value.to_bits(), want.to_bits(), "{trial}, {bin}");
            }
        }
        let whole = Cut::of(vec![25, 7, 31], false, false, WINDOWS).unwrap();
        assert_eq!(whole.dim(), (3, 31));
    }
}
