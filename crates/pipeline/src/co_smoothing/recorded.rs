//! What hidden neurons are scored on.

use anyhow::Result;
use model::NeuronCalcium;
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2, Axis};
use zoo::Posterior;

use crate::calibration::{ByNetwork, Calibration};
use crate::observations::Observations;
use crate::pieces::Piece;
use crate::proof::{Measure, scored};

/// What of a recording hidden neurons are scored on.
pub enum Scored<'a> {
    Counts,
    /// Spikes that the network expects of whole traces.
    Expected(&'a ByNetwork),
    /// Fluorescence, by decay and rise per frame of each neuron, as learned or calibrated.
    Fluorescence(Vec<[f64; 2]>),
}

impl<'a> Scored<'a> {
    /// Spikes, where the network has found them: of
    /// fluorescence most is noise, and calcium is too slow to tell who foresees when it changes.
    pub fn of(observations: &'a Observations, model: &dyn Posterior) -> Self {
        if let Some(network) = observations.network() {
            return Self::Expected(network);
        }
        let Some(calibration) = observations.calibration() else {
            return Self::Counts;
        };
        let neurons = model.calcium().unwrap_or_default();
        if neurons.is_empty() {
            let calcium = calibration.calcium();
            let rise = calcium.rise.unwrap_or(0.0);
            let known = calcium.neurons.iter();
            return Self::Fluorescence(known.map(|neuron| [neuron.g, rise]).collect());
        }
        let learned = neurons
            .iter()
            .cycle()
            .take(observations.recording.n_neurons());
        let kernel = |neuron: &NeuronCalcium| [neuron.decay, neuron.rise.unwrap_or(0.0)];
        Self::Fluorescence(learned.map(kernel).collect())
    }

    /// What pieces of it show of all neurons, `[piece, time, neuron]`.
    pub fn values(&self, observations: &Observations, pieces: &[Piece]) -> Array3<f32> {
        match self {
            Self::Expected(network) => observations.part_of(network.spikes.view(), pieces),
            Self::Counts | Self::Fluorescence(_) => observations.values(pieces),
        }
    }

    /// What scores are.
    pub fn measure(&self) -> Measure {
        match self {
            Self::Counts => Measure::BitsPerSpike,
            Self::Expected(_) => Measure::SpikesR2,
            Self::Fluorescence(_) => Measure::FluorescenceR2,
        }
    }
}

/// What the rates of hidden neurons are scored on, `[piece, time, hidden]`.
pub enum Recorded {
    Counts {
        came: Array3<f32>,
        /// Mean count per frame on training frames, `[hidden]`.
        usual: Vec<f32>,
    },
    /// Spikes that the network expects.
    Expected {
        /// Without what all shown neurons have in common.
        came: Array3<f32>,
        /// What the shown ones have in common, `[piece, time]`.
        common: Array2<f32>,
    },
    Fluorescence {
        /// Without what was there before each piece and what all shown neurons have in common.
        came: Array3<f32>,
        /// Decay and rise per frame of each hidden neuron.
        kernels: Vec<[f64; 2]>,
        /// Of each hidden neuron what the shown ones have in common, without its own start, `[piece, time]`.
        common: Vec<Array2<f32>>,
    },
}

impl Recorded {
    /// Of these neurons, where pieces show `values`, `[piece, time, neuron]`, of all; `usual` is the mean of each on training frames.
    pub fn of(
        scored: &Scored<'_>,
        values: &Array3<f32>,
        hidden: &[usize],
        usual: impl FnOnce() -> Vec<f32>,
        calibration: Option<&Calibration>,
    ) -> Self {
        match scored {
            Scored::Counts => Self::Counts {
                came: values.select(Axis(2), hidden),
                usual: usual(),
            },
            Scored::Expected(_) => Self::expected(values, hidden),
            Scored::Fluorescence(kernels) => {
                Self::fluorescence(values, hidden, kernels, calibration)
            }
        }
    }

    /// Of spikes that are expected of all neurons, `[piece, time, neuron]`.
    fn expected(expected: &Array3<f32>, hidden: &[usize]) -> Self {
        let common = common(expected, hidden, |_| 1.0);
        let mut came = expected.select(Axis(2), hidden);
        for came in came.axis_iter_mut(Axis(2)) {
            take_out(came, common.view());
        }
        Self::Expected { came, common }
    }

    /// Of fluorescence in pieces of which `recorded`, `[piece, time, neuron]`, shows all, given
    /// every neuron's decay and rise.
    fn fluorescence(
        recorded: &Array3<f32>,
        hidden: &[usize],
        kernels: &[[f64; 2]],
        calibration: Option<&Calibration>,
    ) -> Self {
        let scale =
            |neuron: usize| calibration.map_or(1.0, |c| c.spike_size[neuron] / c.noise_sd[neuron]);
        let shared = common(recorded, hidden, scale);
        let kernels: Vec<[f64; 2]> = hidden.iter().map(|&neuron| kernels[neuron]).collect();
        let mut came = recorded.select(Axis(2), hidden);
        let neurons = came.axis_iter_mut(Axis(2)).zip(&kernels);
        let common = neurons.map(|(mut came, kernel)| {
            let mut common = shared.clone();
            take_out_start(common.view_mut(), kernel[0]);
            take_out_start(came.view_mut(), kernel[0]);
            take_out(came, common.view());
            common
        });
        Self::Fluorescence {
            common: common.collect(),
            came,
            kernels,
        }
    }

    /// The score of each hidden neuron, 0 for one that cannot be scored, of `expected` spikes per frame,
    /// `[piece, time, hidden]`.
    ///
    /// # Errors
    /// Another shape than that of what came.
    pub fn score(&self, mut expected: Array3<f32>) -> Result<Vec<f64>> {
        let (came, usual) = match self {
            Self::Counts { came, usual } => (came, Some(&usual[..])),
            Self::Expected { came, common } => {
                for expected in expected.axis_iter_mut(Axis(2)) {
                    take_out(expected, common.view());
                }
                (came, None)
            }
            Self::Fluorescence {
                came,
                kernels,
                common,
            } => {
                let neurons = expected.axis_iter_mut(Axis(2)).zip(kernels);
                for ((mut expected, &kernel), common) in neurons.zip(common) {
                    for mut piece in expected.outer_iter_mut() {
                        to_calcium(piece.iter_mut(), kernel);
                    }
                    take_out_start(expected.view_mut(), kernel[0]);
                    take_out(expected, common.view());
                }
                (came, None)
            }
        };
        Ok(scored(expected.view(), came.view(), usual)?)
    }
}

/// Mean of the neurons that are not hidden, each times its scale, `[piece, time]`; NaN where none is there.
fn common(recorded: &Array3<f32>, hidden: &[usize], scale: impl Fn(usize) -> f32) -> Array2<f32> {
    recorded.map_axis(Axis(2), |frame| {
        let shown = frame.iter().enumerate().filter(|(neuron, x)| {
            x.is_finite() && scale(*neuron).is_finite() && !hidden.contains(neuron)
        });
        let (n, sum) = shown.fold((0, 0.0), |(n, sum), (neuron, x)| {
            (n + 1, sum + x * scale(neuron))
        });
        sum / n as f32
    })
}

/// Takes the part of each piece's `values`, `[piece, time]`, out that decays from its start as calcium does.
fn take_out_start(mut values: ArrayViewMut2<'_, f32>, decay: f64) {
    for mut piece in values.outer_iter_mut() {
        let left = |bin: usize| decay.powi(bin as i32);
        let present = piece.iter().enumerate().filter(|(_, x)| x.is_finite());
        let (xd, dd) = present.fold((0.0, 0.0), |(xd, dd), (bin, &x)| {
            (xd + f64::from(x) * left(bin), dd + left(bin).powi(2))
        });
        let amplitude = if dd > 0.0 { xd / dd } else { 0.0 };
        for (bin, x) in piece.iter_mut().enumerate() {
            *x -= (amplitude * left(bin)) as f32;
        }
    }
}

/// Takes the part of `values` out that follows `common` in a straight line, both `[piece, time]`.
fn take_out(mut values: ArrayViewMut2<'_, f32>, common: ArrayView2<'_, f32>) {
    let pairs = || {
        let pairs = values.iter().zip(common);
        let pairs = pairs.filter(|(x, c)| x.is_finite() && c.is_finite());
        pairs.map(|(&x, &c)| (f64::from(x), f64::from(c)))
    };
    let n = pairs().count().max(1) as f64;
    let (x, c) = pairs().fold((0.0, 0.0), |(a, b), (x, c)| (a + x / n, b + c / n));
    let (xc, cc) = pairs().fold((0.0, 0.0), |(a, b), (y, d)| {
        (a + (y - x) * (d - c), b + (d - c).powi(2))
    });
    let slope = if cc > 0.0 { xc / cc } else { 0.0 };
    for (x, c) in values.iter_mut().zip(common) {
        *x -= (slope * f64::from(*c)) as f32;
    }
}

/// Counts per frame become the calcium that they let expect, from none. What is missing goes on as before.
fn to_calcium<'a>(counts: impl Iterator<Item = &'a mut f32>, [decay, rise]: [f64; 2]) {
    let (mut risen, mut calcium, mut last) = (0.0, 0.0, None);
    for count in counts {
        if count.is_finite() {
            last = Some(f64::from(*count));
        }
        let Some(count_now) = last else { continue };
        risen = rise * risen + count_now;
        calcium = decay * calcium + risen;
        *count = calcium as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impulse_rises_and_decays() {
        let mut impulse = [f32::NAN, 0.0, 1.0, 0.0, f32::NAN];
        to_calcium(impulse.iter_mut(), [0.9, 0.5]);
        assert!(impulse[0].is_nan());
        let wanted = [0.0, 1.0, 1.4, 1.51];
        let pairs = impulse[1..].iter().zip(wanted);
        assert!(
            pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6),
            "{impulse:?}"
        );
    }

    #[test]
    fn what_was_there_before_and_what_all_have_in_common_are_taken_out_and_nothing_else() {
        let common = Array2::from_shape_fn((2, 50), |(piece, bin)| ((7 * bin + piece) % 11) as f32);
        let own = |bin: usize| ((5 * bin) % 13) as f32;
        let before =
            |piece: usize, bin: usize| 8.0 * (piece as f32 + 1.0) * 0.9_f32.powi(bin as i32);
        let mut alone = Array2::from_shape_fn((2, 50), |(_, bin)| own(bin));
        let mut values = Array2::from_shape_fn((2, 50), |(piece, bin)| {
            own(bin) + 3.0 * common[[piece, bin]] + before(piece, bin)
        });
        (values[[1, 4]], alone[[1, 4]]) = (f32::NAN, f32::NAN);
        let mut others = common;
        others[[1, 4]] = f32::NAN;
        take_out_start(others.view_mut(), 0.9);
        for values in [&mut values, &mut alone] {
            take_out_start(values.view_mut(), 0.9);
            take_out(values.view_mut(), others.view());
        }
        for (a, b) in values.iter().zip(&alone) {
            assert!((a - b).abs() < 1e-4 || a.is_nan() && b.is_nan(), "{a} {b}");
        }
    }
}
