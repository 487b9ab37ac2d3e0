//! Which frames training never sees.

use std::ops::Range;

use anyhow::Result;
use data::Recording;
use ndarray::Array2;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::config::FitConfig;
use crate::pieces::{Cut, Piece};

/// A guard is at most this share of its block, on either side of it.
const MAX_GUARD: f64 = 0.125;

/// What training never sees: whole trials, or blocks of a continuous recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldOut {
    /// Trials by number, in ascending order.
    Trials(Vec<usize>),
    /// Stretches of frames, each `[first, end)`, in ascending order.
    Blocks {
        /// What results are scored on.
        blocks: Vec<[usize; 2]>,
        /// Frames on either side of a block that are neither trained nor scored on: a transient that
        /// begins in one would end in the other.
        guard: usize,
    },
}

impl HeldOut {
    /// Holds out trials as the file splits them, else at random; of a continuous recording, blocks
    /// a window long, one at a random place in each of as many equal parts, with guards of
    /// `guard_s` seconds.
    ///
    /// # Errors
    /// Fewer than two trials or windows.
    pub fn choose(
        recording: &Recording,
        cut: &Cut,
        config: &FitConfig,
        guard_s: f64,
    ) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let n_trials = cut.lengths().len();
        if let Some(n_train) = recording.n_train {
            return Ok(Self::Trials((n_train..n_trials).collect()));
        }
        let n_pieces = match cut.is_continuous() {
            true => cut.dim().0,
            false => n_trials,
        };
        if n_pieces < 2 {
            anyhow::bail!(
                "{}: {n_pieces} trial or window in all; at least 2 are needed, one to train and one to hold out: record longer, or choose shorter `windows`",
                recording.path.display()
            );
        }
        if cut.is_continuous() {
            let guard = guard_s / recording.dt_s;
            return Ok(Self::in_blocks(cut, config.held_out, guard, &mut rng));
        }
        let wanted = (config.held_out * n_pieces as f64).round() as usize;
        let mut order: Vec<usize> = (0..n_pieces).collect();
        order.shuffle(&mut rng);
        order.truncate(wanted.clamp(1, n_pieces - 1));
        order.sort_unstable();
        Ok(Self::Trials(order))
    }

    fn in_blocks(cut: &Cut, share: f64, guard: f64, rng: &mut ChaCha8Rng) -> Self {
        let n_frames = cut.lengths()[0];
        let wanted = (share * n_frames as f64).round() as usize;
        let wanted = wanted.clamp(1, n_frames.saturating_sub(2).max(1));
        let length = cut.piece_length().min(wanted);
        // A window at least is left to train on.
        let most = (n_frames.saturating_sub(cut.piece_length()) / length).max(1);
        let n_blocks = ((wanted as f64 / length as f64).round() as usize).clamp(1, most);
        let guard = guard.ceil().min(MAX_GUARD * length as f64) as usize;
        let part = |index: usize| index * n_frames / n_blocks;
        let blocks = (0..n_blocks).map(|index| {
            let room = (part(index + 1) - part(index)).saturating_sub(length);
            let first = part(index) + rng.random_range(0..=room);
            [first, first + length]
        });
        Self::Blocks {
            blocks: blocks.collect(),
            guard,
        }
    }

    /// The stretches of frames that training sees, trial by trial.
    pub fn seen(&self, cut: &Cut) -> Vec<Vec<Range<usize>>> {
        match self {
            Self::Trials(held_out) => {
                let lengths = cut.lengths().iter().enumerate();
                let is_seen = |trial| held_out.binary_search(&trial).is_err();
                let whole = |(trial, &length): (usize, &usize)| is_seen(trial).then_some(0..length);
                lengths
                    .map(|trial| whole(trial).into_iter().collect())
                    .collect()
            }
            Self::Blocks { blocks, guard } => {
                let (mut seen, mut next) = (Vec::new(), 0);
                for &[first, end] in blocks {
                    seen.push(next..first.saturating_sub(*guard).max(next));
                    next = end + guard;
                }
                let n_frames = cut.lengths()[0];
                seen.push(next.min(n_frames)..n_frames);
                seen.retain(|span| !span.is_empty());
                vec![seen]
            }
        }
    }

    /// The pieces that a model is trained on.
    ///
    /// # Errors
    /// If nothing is left to train on.
    pub fn train(&self, cut: &Cut) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for (trial, spans) in self.seen(cut).iter().enumerate() {
            for span in spans {
                match cut.is_continuous() {
                    true => pieces.extend(cut.windows_within(span)?),
                    false => pieces.extend(cut.pieces_of(trial)),
                }
            }
        }
        something_left(pieces)
    }

    /// The stretches of frames that training sees, each as one piece.
    ///
    /// # Errors
    /// If nothing is left to train on.
    pub fn stretches(&self, cut: &Cut) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for (trial, spans) in self.seen(cut).into_iter().enumerate() {
            pieces.extend(spans.into_iter().map(|visible| Piece {
                trial,
                start: visible.start,
                visible,
            }));
        }
        something_left(pieces)
    }

    /// The pieces that it is validated on.
    ///
    /// # Errors
    /// None for the recording of the cut.
    pub fn valid(&self, cut: &Cut) -> Result<Vec<Piece>> {
        match self {
            Self::Trials(trials) => {
                let pieces = trials.iter().flat_map(|&trial| cut.pieces_of(trial));
                Ok(pieces.collect())
            }
            Self::Blocks { blocks, .. } => {
                let mut pieces = Vec::new();
                for &[first, end] in blocks {
                    pieces.extend(cut.windows_within(&(first..end))?);
                }
                Ok(pieces)
            }
        }
    }

    /// `[trial, time]`, 1 where frames are held out.
    pub fn frames(&self, cut: &Cut) -> Array2<f32> {
        let longest = cut.lengths().iter().copied().max().unwrap_or_default();
        let mut frames = Array2::zeros((cut.lengths().len(), longest));
        let mut mark = |trial: usize, span: Range<usize>| {
            for frame in span {
                frames[[trial, frame]] = 1.0;
            }
        };
        match self {
            Self::Trials(trials) => {
                for &trial in trials {
                    mark(trial, 0..cut.lengths()[trial]);
                }
            }
            Self::Blocks { blocks, .. } => {
                for &[first, end] in blocks {
                    mark(0, first..end);
                }
            }
        }
        frames
    }

    /// What is held out, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Trials(trials) => format!("{} trials", trials.len()),
            Self::Blocks { blocks, guard } => {
                format!("{} blocks, guards of {guard} frames", blocks.len())
            }
        }
    }
}

fn something_left(pieces: Vec<Piece>) -> Result<Vec<Piece>> {
    if pieces.is_empty() {
        anyhow::bail!("nothing is left to train on; hold out less, or record longer");
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use data::Units;
    use ndarray::Array3;
    use proptest::prelude::*;

    use super::*;
    use crate::config::WindowSize;
    use crate::testing;

    proptest! {
        #[test]
        fn training_sees_what_is_not_held_out_nor_guarded_and_nothing_else(
            n_frames in 8_usize..700,
            length in 2_usize..150,
            overlap_share in 0.0_f64..0.99,
            share in 0.05_f64..0.5,
            guard in 0.0_f64..50.0,
            seed in 0_u64..100,
        ) {
            let length = length.min(n_frames);
            let overlap = ((length - 1) as f64 * overlap_share) as usize;
            let windows = WindowSize { length, overlap };
            let cut = Cut::of(vec![n_frames], true, true, windows).unwrap();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let held_out = HeldOut::in_blocks(&cut, share, guard, &mut rng);
            let HeldOut::Blocks { guard, .. } = held_out else { panic!("trials") };

            let mut shown = vec![false; n_frames];
            for piece in held_out.train(&cut).unwrap() {
                prop_assert!(piece.start + cut.piece_length() <= n_frames);
                shown[piece.visible].fill(true);
            }
            let mut stretched = vec![false; n_frames];
            for piece in held_out.stretches(&cut).unwrap() {
                stretched[piece.visible].fill(true);
            }
            prop_assert_eq!(&stretched, &shown);
            let frames = held_out.frames(&cut);
            let mut scored = vec![false; n_frames];
            for piece in held_out.valid(&cut).unwrap() {
                scored[piece.visible].fill(true);
            }
            let mut n_guarded = 0;
            for frame in 0..n_frames {
                let is_held_out = frames[[0, frame]] > 0.5;
                prop_assert_eq!(scored[frame], is_held_out);
                prop_assert!(!(shown[frame] && is_held_out));
                n_guarded += usize::from(!shown[frame] && !is_held_out);
                let near = frame.saturating_sub(guard)..(frame + guard + 1).min(n_frames);
                let is_near = near.into_iter().any(|other| frames[[0, other]] > 0.5);
                prop_assert_eq!(shown[frame], !is_near);
            }
            let held = f64::from(frames.sum());
            // Whole blocks, and a window at least to train on.
            prop_assert!((held - share * n_frames as f64).abs() <= length as f64 + 1.0);
            prop_assert!(n_guarded as f64 <= 2.0 * MAX_GUARD * held + 2.0);
        }
    }

    #[test]
    fn as_much_is_held_out_as_was_asked_for() {
        let wave = |t: usize, n: usize| ((3 * t + n) % 7) as f32;
        let long = Array2::from_shape_fn((1000, 2), |(t, n)| wave(t, n));
        let long = testing::recording(long.into_dyn(), Units::SpikeCounts);
        let trials = Array3::from_shape_fn((40, 10, 2), |(i, t, n)| wave(t, n + i));
        let trials = testing::recording(trials.into_dyn(), Units::SpikeCounts);
        let chosen = |recording: &Recording, seed: u64| {
            let windows = WindowSize {
                length: 100,
                overlap: 50,
            };
            let cut = Cut::new(recording, true, windows).unwrap();
            let config = FitConfig {
                seed,
                held_out: 0.4,
                ..FitConfig::default()
            };
            HeldOut::choose(recording, &cut, &config, 0.55).unwrap()
        };
        let HeldOut::Blocks { blocks, guard } = chosen(&long, 1) else {
            panic!("a continuous recording has no trials")
        };
        // Blocks of a window of 100 frames; 0.55 s at 10 Hz.
        assert_eq!((blocks.len(), guard), (4, 6));
        let HeldOut::Trials(some) = chosen(&trials, 1) else {
            panic!("trials have no blocks")
        };
        assert_eq!(some.len(), 16);
        assert_ne!(chosen(&trials, 2), HeldOut::Trials(some));
        assert_ne!(chosen(&long, 2), chosen(&long, 1));
    }

    /// Of two frames one is held out.
    #[test]
    fn the_shortest_recording_is_divided() {
        let two = Array2::from_shape_fn((2, 2), |(t, n)| (t + n) as f32);
        let two = testing::recording(two.into_dyn(), Units::SpikeCounts);
        let windows = WindowSize {
            length: 1,
            overlap: 0,
        };
        let cut = Cut::new(&two, true, windows).unwrap();
        let config = FitConfig::default();
        let HeldOut::Blocks { blocks, .. } = HeldOut::choose(&two, &cut, &config, 0.0).unwrap()
        else {
            panic!("a continuous recording has no trials")
        };
        assert_eq!(blocks.len(), 1);
    }
}
