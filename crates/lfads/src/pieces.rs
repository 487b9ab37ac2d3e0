//! Pieces of equal length that a model reads, and what it inferred from them put back in place.

use anyhow::Result;
use data::{Recording, Traces, Windows};
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, s};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::calibration::Scaled;
use crate::config::{FitConfig, WindowConfig};

/// How a recording is cut: its trials, padded with missing frames, or windows of a long one.
#[derive(Clone, Debug)]
pub struct Cut {
    lengths: Vec<usize>,
    windows: Option<Windows>,
}

impl Cut {
    /// Trials as they are; a continuous recording in windows, or whole if it is shorter than one.
    ///
    /// # Errors
    /// An overlap that is not shorter than the window.
    pub fn new(recording: &Recording, config: WindowConfig) -> Result<Self> {
        let lengths: Vec<usize> = recording
            .stretches()
            .iter()
            .map(ArrayView2::nrows)
            .collect();
        let windows = match recording.traces {
            Traces::Continuous(ref trace) => {
                let length = config.length.min(trace.nrows());
                Some(Windows::new(trace.nrows(), length, config.overlap)?)
            }
            Traces::Trials(_) => None,
        };
        Ok(Self { lengths, windows })
    }

    /// Pieces, and frames in each.
    pub fn dim(&self) -> (usize, usize) {
        match &self.windows {
            Some(windows) => {
                let starts = windows.starts();
                (starts.len(), self.lengths[0] - starts[starts.len() - 1])
            }
            None => (self.lengths.len(), self.longest()),
        }
    }

    fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or_default()
    }

    /// The recording as `[trial, time, neuron]`; NaN where a trial has ended.
    pub fn trials(recording: &Recording) -> Array3<f32> {
        let trials = recording.stretches();
        let longest = trials
            .iter()
            .map(ArrayView2::nrows)
            .max()
            .unwrap_or_default();
        padded(&trials, longest)
    }

    /// `[piece, time, column]` from trials, each `[time, column]`; NaN where a trial has ended.
    ///
    /// # Errors
    /// Trials of other lengths.
    pub fn cut(&self, trials: &[ArrayView2<'_, f32>]) -> Result<Array3<f32>> {
        if let Some(windows) = &self.windows {
            return Ok(windows.cut(trials[0])?);
        }
        Ok(padded(trials, self.longest()))
    }

    /// `[trial, time, column]` from `[piece, time, column]`: windows crossfaded into one trial.
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

    /// Marks as missing, in the pieces for training, the frames that held-out windows share.
    ///
    /// `train` is `[piece, time, neuron]`, of the pieces that are not in `held_out`.
    pub fn hide(&self, held_out: &[usize], train: &mut Array3<f32>) {
        let Some(windows) = &self.windows else {
            return;
        };
        let frames = self.held_out_frames(held_out);
        let starts = windows.starts().iter().enumerate();
        let starts = starts.filter(|(piece, _)| held_out.binary_search(piece).is_err());
        for ((_, &start), mut piece) in starts.zip(train.outer_iter_mut()) {
            for (bin, mut values) in piece.outer_iter_mut().enumerate() {
                if frames[[0, start + bin]] > 0.5 {
                    values.fill(f32::NAN);
                }
            }
        }
    }

    /// `[trial, time]`, 1 where a held-out piece has frames.
    pub fn held_out_frames(&self, held_out: &[usize]) -> Array2<f32> {
        let mut frames = Array2::zeros((self.lengths.len(), self.longest()));
        let length = self.dim().1;
        for &piece in held_out {
            let (trial, span) = match &self.windows {
                Some(windows) => {
                    let start = windows.starts()[piece];
                    (0, start..start + length)
                }
                None => (piece, 0..self.lengths[piece]),
            };
            frames.slice_mut(s![trial, span]).fill(1.0);
        }
        frames
    }
}

fn padded(trials: &[ArrayView2<'_, f32>], longest: usize) -> Array3<f32> {
    let n_columns = trials.first().map_or(0, ArrayView2::ncols);
    let mut pieces = Array3::from_elem((trials.len(), longest, n_columns), f32::NAN);
    for (mut piece, trial) in pieces.outer_iter_mut().zip(trials) {
        piece.slice_mut(s![..trial.nrows(), ..]).assign(trial);
    }
    pieces
}

/// The pieces that training never sees, in ascending order: as the file splits its trials, else
/// a random choice.
///
/// # Errors
/// Fewer than two pieces.
pub fn held_out(recording: &Recording, n_pieces: usize, config: &FitConfig) -> Result<Vec<usize>> {
    if let Some(n_train) = recording.n_train {
        return Ok((n_train..n_pieces).collect());
    }
    if n_pieces < 2 {
        anyhow::bail!(
            "{}: {n_pieces} trial or window in all; at least 2 are needed, one to train and one to hold out: record longer, or choose shorter `windows`",
            recording.path.display()
        );
    }
    let wanted = (config.held_out * n_pieces as f64).round() as usize;
    let mut order: Vec<usize> = (0..n_pieces).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
    order.truncate(wanted.clamp(1, n_pieces - 1));
    order.sort_unstable();
    Ok(order)
}

/// Fluorescence in units of one spike, piece by piece, and the calcium taken off each because
/// it was there before.
pub struct Innovating {
    /// `[piece, time, neuron]`.
    pub fluor: Array3<f32>,
    /// `[piece, time, neuron]`.
    pub before: Array3<f32>,
}

impl Innovating {
    /// Cuts `scaled`; with `start_is_running`, each piece loses what is left of the calcium that
    /// OASIS found in the frame before it: g^(t+1) c. In the very first frame of a trial, which
    /// has none before, c is the calcium of that frame.
    ///
    /// # Errors
    /// None for the recording of the cut.
    pub fn new(cut: &Cut, scaled: &Scaled, g: f64, start_is_running: bool) -> Result<Self> {
        let spans: Vec<(usize, usize)> = scaled.layout.spans().collect();
        let n_neurons = scaled.traces.len();
        let long = |traces: &[Vec<f32>], (first, length): (usize, usize)| {
            Array2::from_shape_fn((length, n_neurons), |(t, n)| traces[n][first + t])
        };
        let trials: Vec<Array2<f32>> = spans.iter().map(|&s| long(&scaled.traces, s)).collect();
        let views: Vec<_> = trials.iter().map(|trial| trial.view()).collect();
        let mut fluor = cut.cut(&views)?;
        let mut before = Array3::zeros(fluor.dim());
        if start_is_running {
            for (piece, mut left) in before.outer_iter_mut().enumerate() {
                let first = match &cut.windows {
                    Some(windows) => spans[0].0 + windows.starts()[piece],
                    None => spans[piece].0,
                };
                let is_start = cut.windows.is_none() || piece == 0;
                for (calcium, mut left) in scaled.calcium.iter().zip(left.axis_iter_mut(Axis(1))) {
                    let from = if is_start { first } else { first - 1 };
                    let mut value = f64::from(calcium[from]);
                    if value.is_nan() {
                        continue;
                    }
                    for (bin, to) in left.iter_mut().enumerate() {
                        if bin > 0 || !is_start {
                            value *= g;
                        }
                        *to = value as f32;
                    }
                }
            }
            fluor -= &before;
        }
        Ok(Self { fluor, before })
    }
}
