//! A recording as a model reads it: calibrated once, cut into pieces when they are needed.

use anyhow::Result;
use data::Recording;
use model::TrainData;
use ndarray::{Array3, ArrayView3, Axis, CowArray, Ix3, s};
use zoo::{ModelConfig, ModelName, Reading, Setting};

use crate::calibration::{ByNetwork, Calibrated, Calibration};
use crate::config::WindowSize;
use crate::external::{External, batch};
use crate::held_out::HeldOut;
use crate::pieces::{Cut, Piece};

/// A recording with everything that cutting and scaling need. The values themselves stay in the
/// recording; pieces of them are made when asked for, so that they need not be kept.
pub struct Observations {
    /// The recording.
    pub recording: Recording,
    /// How it is cut.
    pub cut: Cut,
    /// Absent for spike counts.
    calibrated: Option<Calibrated>,
    /// Known inputs, if there are any.
    external: Option<External>,
}

/// Pieces as a model reads them.
pub(crate) struct Pieces {
    /// `[piece, time, neuron]`.
    pub reading: Reading,
    /// What was taken off each because it was there before, in spikes, `[piece, time, neuron]`;
    /// absent if nothing was.
    pub before: Option<Array3<f32>>,
}

impl Observations {
    /// Counts are taken as they are; fluorescence with its calibration. Models that cannot infer
    /// the calcium with which a piece starts have it taken off.
    ///
    /// # Errors
    /// A window that does not fit, or an infinite value.
    pub(crate) fn new(
        recording: Recording,
        windows: WindowSize,
        mut calibrated: Option<Calibrated>,
        external: Option<External>,
        model: ModelName,
    ) -> Result<Self> {
        if let Some(calibrated) = &mut calibrated
            && calibrated.calibration.start_is_running
            && !infers_start(model)
        {
            calibrated.find_calcium(&recording)?;
        }
        let may_cut = calibrated
            .as_ref()
            .is_none_or(|c| c.calibration.start_is_running);
        Ok(Self {
            cut: Cut::new(&recording, may_cut, windows)?,
            recording,
            calibrated,
            external,
        })
    }

    /// How its values are scaled, if they are fluorescence.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibrated.as_ref().map(|c| &c.calibration)
    }

    /// The known inputs, if there are any.
    pub(crate) fn external(&self) -> Option<&External> {
        self.external.as_ref()
    }

    /// What the spike network found, where the model reads its spikes: it looks further than a piece.
    pub(crate) fn network(&self) -> Option<&ByNetwork> {
        self.calibrated.as_ref()?.network.as_ref()
    }

    /// What the model is trained and validated on, and what it must know of it. Where windows are cut of
    /// something longer, training sees excerpts at random places, if the model can infer the calcium
    /// with which an excerpt starts; else windows at fixed ones.
    ///
    /// # Errors
    /// Values that the model cannot read; nothing left to train on.
    pub(crate) fn to_train(
        &self,
        model: &ModelConfig,
        held_out: &HeldOut,
    ) -> Result<(TrainData, Setting)> {
        let pieces = match self.starts_anywhere() {
            true => held_out.stretches(&self.cut)?,
            false => held_out.train(&self.cut)?,
        };
        let train = self.read(model, &pieces)?.reading;
        let shown = held_out.valid(&self.cut)?;
        let valid = self.read(model, &shown)?.reading;
        let setting = train.setting();
        let train = self.to_batch(train.values, &pieces);
        let valid = self.to_batch(valid.values, &shown);
        Ok((TrainData::excerpts_of(train, valid)?, setting))
    }

    /// Whether any frame of the recording may be the first that the model sees.
    fn starts_anywhere(&self) -> bool {
        let has_calcium = |calibrated: &Calibrated| calibrated.has_calcium();
        self.cut.is_cut() && !self.calibrated.as_ref().is_some_and(has_calcium)
    }

    /// Pieces as the model reads them where it sees nothing of the neurons in `hidden`,
    /// `[piece, time, neuron]`.
    ///
    /// # Errors
    /// Values that the model cannot read.
    pub(crate) fn read_without(
        &self,
        model: &ModelConfig,
        pieces: &[Piece],
        hidden: &[usize],
    ) -> Result<Array3<f32>> {
        let mut values = self.read(model, pieces)?.reading.values;
        for &neuron in hidden {
            values.index_axis_mut(Axis(2), neuron).fill(f32::NAN);
        }
        Ok(self.to_batch(values, pieces))
    }

    /// The same where it sees nothing of any neuron from bin `ends[piece]` of each on; what is known of inputs stays.
    ///
    /// # Errors
    /// Values that the model cannot read.
    pub(crate) fn read_up_to(
        &self,
        model: &ModelConfig,
        pieces: &[Piece],
        ends: &[usize],
    ) -> Result<Array3<f32>> {
        let mut values = self.read(model, pieces)?.reading.values;
        for (mut values, &end) in values.outer_iter_mut().zip(ends) {
            values.slice_mut(s![end.., ..]).fill(f32::NAN);
        }
        Ok(self.to_batch(values, pieces))
    }

    /// Rates, `[piece, time, neuron]`, as what the network expects shows them: blurred, where that is known.
    pub(crate) fn as_network_sees(&self, rates_hz: Array3<f32>) -> Array3<f32> {
        match self.network().and_then(|network| network.blur.as_ref()) {
            Some(blur) => blur.of_rates(rates_hz.view()),
            None => rates_hz,
        }
    }

    /// What the model takes of pieces with these values.
    fn to_batch(&self, values: Array3<f32>, pieces: &[Piece]) -> Array3<f32> {
        match &self.external {
            None => values,
            external => batch(external.as_ref(), values.view(), pieces).into_owned(),
        }
    }

    /// What the model takes of pieces that were read: their values, and behind them what is known.
    pub(crate) fn batch<'a>(
        &self,
        reading: &'a Reading,
        pieces: &[Piece],
    ) -> CowArray<'a, f32, Ix3> {
        batch(self.external.as_ref(), reading.values.view(), pieces)
    }

    /// All pieces, each whole.
    ///
    /// # Errors
    /// Values that the model cannot read.
    pub(crate) fn to_infer(&self, model: &ModelConfig) -> Result<Pieces> {
        self.read(model, &self.cut.pieces())
    }

    fn read(&self, model: &ModelConfig, pieces: &[Piece]) -> Result<Pieces> {
        if let Some(network) = self.network() {
            let expected = self.part_of(network.spikes.view(), pieces);
            let blur = network.blur.clone();
            return Ok(Pieces {
                reading: Reading::of_expected(expected, self.recording.dt_s, blur),
                before: None,
            });
        }
        let calcium = self.calibration().map(Calibration::calcium);
        let mut values = self.values(pieces);
        let before = self.before(pieces);
        if let Some(before) = &before {
            values -= before;
        }
        Ok(Pieces {
            reading: model.read(values, calcium.as_ref(), self.recording.dt_s)?,
            before,
        })
    }

    /// `[piece, time, neuron]`, scaled; NaN where a piece does not show.
    pub(crate) fn values(&self, pieces: &[Piece]) -> Array3<f32> {
        let trials = self.recording.stretches();
        let firsts = self.firsts();
        self.shown(pieces, |trial, frame, neuron| {
            let x = trials[trial][[frame, neuron]];
            match &self.calibrated {
                Some(scale) => scale.scaled(neuron, firsts[trial] + frame, x),
                None => x,
            }
        })
    }

    /// What pieces show of `all`, `[trial, time, neuron]`: `[piece, time, neuron]`, NaN elsewhere.
    pub(crate) fn part_of(&self, all: ArrayView3<'_, f32>, pieces: &[Piece]) -> Array3<f32> {
        self.shown(pieces, |trial, frame, neuron| all[[trial, frame, neuron]])
    }

    /// What pieces show of `value` by trial, frame and neuron, `[piece, time, neuron]`; NaN elsewhere.
    fn shown(&self, pieces: &[Piece], value: impl Fn(usize, usize, usize) -> f32) -> Array3<f32> {
        let longest = pieces.iter().map(|piece| piece.visible.end - piece.start);
        let length = longest.fold(self.cut.piece_length(), usize::max);
        let shape = (pieces.len(), length, self.recording.n_neurons());
        let mut values = Array3::from_elem(shape, f32::NAN);
        for (piece, mut values) in pieces.iter().zip(values.outer_iter_mut()) {
            for frame in piece.visible.clone() {
                let to = values.row_mut(frame - piece.start);
                for (neuron, to) in to.into_iter().enumerate() {
                    *to = value(piece.trial, frame, neuron);
                }
            }
        }
        values
    }

    /// First frame of each trial in the long traces of the calibration.
    fn firsts(&self) -> Vec<usize> {
        match &self.calibrated {
            Some(calibrated) => calibrated.layout.starts(),
            None => vec![0; self.cut.lengths().len()],
        }
    }

    /// What is left in each piece of the calcium that OASIS found in the frame before it:
    /// g^(t+1) c. In the very first frame of a trial, which has none before, c is the calcium of that
    /// frame. Nothing if the model infers that itself, or trials start from rest.
    fn before(&self, pieces: &[Piece]) -> Option<Array3<f32>> {
        let calibrated = self.calibrated.as_ref().filter(|c| c.has_calcium())?;
        let g = calibrated.calibration.g;
        let firsts = self.firsts();
        let shape = (
            pieces.len(),
            self.cut.piece_length(),
            self.recording.n_neurons(),
        );
        let mut before = Array3::zeros(shape);
        for (piece, mut left) in pieces.iter().zip(before.outer_iter_mut()) {
            let first = firsts[piece.trial] + piece.start;
            let is_start = piece.start == 0;
            let from = if is_start { first } else { first - 1 };
            for (neuron, left) in left.axis_iter_mut(Axis(1)).enumerate() {
                let Some(mut value) = calibrated.calcium(neuron, from) else {
                    continue;
                };
                for (bin, to) in left.into_iter().enumerate() {
                    if bin > 0 || !is_start {
                        value *= g;
                    }
                    *to = value as f32;
                }
            }
        }
        Some(before)
    }

    /// Calcium in spikes, `[trial, time, neuron]`, as fluorescence of the recording; nothing for
    /// counts.
    pub fn in_units(&self, mut calcium: Array3<f32>) -> Option<Array3<f32>> {
        let calibrated = self.calibrated.as_ref()?;
        let firsts = self.firsts();
        for ((trial, bin, neuron), value) in calcium.indexed_iter_mut() {
            if bin < self.cut.lengths()[trial] {
                let size = calibrated.calibration.spike_size[neuron];
                *value = *value * size + calibrated.baseline(neuron, firsts[trial] + bin);
            }
        }
        Some(calcium)
    }
}

/// Whether a piece may start in mid-decay without help: a model that infers with what, or whose spikes come from
/// longer traces.
const fn infers_start(model: ModelName) -> bool {
    matches!(model, ModelName::CountLadder | ModelName::NetworkLfads)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use data::Units;
    use ndarray::{Array2, ArrayView3};

    use super::*;
    use crate::testing;

    /// Every value tells its frame.
    #[test]
    fn training_and_validation_see_their_own_frames() {
        let value = |t: usize| t * 187 % 300 + 1;
        let values = Array2::from_shape_fn((300, 2), |(t, _)| value(t) as f32);
        let recording = testing::recording(values.into_dyn(), Units::SpikeCounts);
        let settings = "dynamics = {}".parse().unwrap();
        let lfads = ModelConfig::parse(ModelName::Lfads, settings).unwrap();
        let windows = WindowSize {
            length: 20,
            overlap: 10,
        };
        let all = Observations::new(recording, windows, None, None, ModelName::Lfads).unwrap();
        let held_out = HeldOut::Blocks {
            blocks: vec![[100, 140]],
            guard: 3,
        };
        let (data, _) = all.to_train(&lfads, &held_out).unwrap();
        let seen = |x: ArrayView3<'_, f32>| -> BTreeSet<usize> {
            let there = x.iter().filter(|v| !v.is_nan());
            there.map(|v| *v as usize).collect()
        };
        let before_and_behind = (0..97).chain(143..300);
        assert_eq!(seen(data.train()), before_and_behind.map(value).collect());
        assert_eq!(seen(data.valid()), (100..140).map(value).collect());
    }

    #[test]
    fn what_spikes_before_a_window_left_is_taken_off() {
        let came = |trial: usize, t: usize| {
            f32::from(matches!((trial, t), (0, 3 | 17 | 40) | (1, 8 | 29 | 33)))
        };
        let mut level = [0.0, 4.0];
        let values = Array3::from_shape_fn((2, 60, 1), |(trial, t, _)| {
            level[trial] = 0.9 * level[trial] + came(trial, t);
            5.0 + 2.0 * level[trial]
        });
        let recording = testing::recording(values.into_dyn(), Units::Fluorescence);
        let calibration = testing::calibration(0.9);
        let calibrated = Calibrated::apply(calibration, &recording).unwrap();
        let windows = WindowSize {
            length: 20,
            overlap: 10,
        };
        let name = ModelName::OasisLfads;
        let all = Observations::new(recording, windows, Some(calibrated), None, name).unwrap();
        let settings = "s_min = 0.5\ndynamics = {}".parse().unwrap();
        let oasis = ModelConfig::parse(name, settings).unwrap();
        let read = all.to_infer(&oasis).unwrap().reading.values;
        for (index, piece) in all.cut.pieces().iter().enumerate() {
            for bin in 0..20 {
                let wanted = came(piece.trial, piece.start + bin);
                let found = read[[index, bin, 0]];
                assert!((found - wanted).abs() < 1e-5, "{piece:?} {bin}: {found}");
            }
        }
    }
}
