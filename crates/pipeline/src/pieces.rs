//! Pieces of equal length that a model reads, and what it inferred from them put back in place.

use std::ops::Range;

use anyhow::Result;
use data::{Recording, Traces, Windows};
use ndarray::{Array3, ArrayView2, ArrayView3, Axis, s};

use crate::config::WindowConfig;

/// How a recording is cut: its trials, padded with missing frames, or windows of a long one.
#[derive(Clone, Debug)]
pub struct Cut {
    lengths: Vec<usize>,
    windows: Option<Windows>,
    config: WindowConfig,
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
    /// Trials as they are; a continuous recording in windows, or whole if it is shorter than one.
    ///
    /// # Errors
    /// An overlap that is not shorter than the window.
    pub fn new(recording: &Recording, config: WindowConfig) -> Result<Self> {
        let stretches = recording.stretches();
        let lengths = stretches.iter().map(ArrayView2::nrows).collect();
        let is_continuous = matches!(recording.traces, Traces::Continuous(_));
        Self::of(lengths, is_continuous, config)
    }

    /// The same of trials of these lengths, or of one continuous recording.
    pub(crate) fn of(
        lengths: Vec<usize>,
        is_continuous: bool,
        config: WindowConfig,
    ) -> Result<Self> {
        let windows = match is_continuous {
            true => {
                let length = config.length.min(lengths[0]);
                Some(Windows::new(lengths[0], length, config.overlap)?)
            }
            false => None,
        };
        Ok(Self {
            lengths,
            windows,
            config,
        })
    }

    /// Pieces, and frames in each.
    pub fn dim(&self) -> (usize, usize) {
        let n_pieces = match &self.windows {
            Some(windows) => windows.starts().len(),
            None => self.lengths.len(),
        };
        (n_pieces, self.piece_length())
    }

    /// Whether the recording is one long one.
    pub fn is_continuous(&self) -> bool {
        self.windows.is_some()
    }

    /// Frames of each trial.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Frames of a piece.
    pub fn piece_length(&self) -> usize {
        match &self.windows {
            Some(_) => self.config.length.min(self.lengths[0]),
            None => self.lengths.iter().copied().max().unwrap_or_default(),
        }
    }

    /// All pieces, each showing all that it has.
    pub fn pieces(&self) -> Vec<Piece> {
        let length = self.piece_length();
        match &self.windows {
            Some(windows) => {
                let starts = windows.starts().iter();
                starts
                    .map(|&start| Piece {
                        trial: 0,
                        start,
                        visible: start..start + length,
                    })
                    .collect()
            }
            None => (0..self.lengths.len())
                .map(|trial| self.whole(trial))
                .collect(),
        }
    }

    /// A trial as one piece.
    pub fn whole(&self, trial: usize) -> Piece {
        Piece {
            trial,
            start: 0,
            visible: 0..self.lengths[trial],
        }
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
    /// into one trial.
    ///
    /// # Errors
    /// Pieces of another shape.
    pub fn merge(&self, pieces: ArrayView3<'_, f32>) -> Result<Array3<f32>> {
        if let Some(windows) = &self.windows {
            return Ok(windows.merge(pieces)?.insert_axis(Axis(0)));
        }
        let mut trials = pieces.to_owned();
        for (mut trial, &length) in trials.outer_iter_mut().zip(&self.lengths) {
            trial.slice_mut(s![length.., ..]).fill(f32::NAN);
        }
        Ok(trials)
    }
}
