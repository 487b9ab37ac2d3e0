//! Training steps as `fit` takes them, and posterior averages, at chosen sizes.

use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use calcium::estimate::median;
use clap::ValueEnum;
use model::train::{Observer, StepReport};
use model::{
    CalciumModel, ControllerConfig, CountLadderConfig, DynamicsConfig, FluorStatistics, Indicator,
    LadderConfig, LfadsConfig, SequentialVae, TrainConfig, TrainData, fit, posterior_mean,
};
use ndarray::{Array3, s};
use runs::machine::PeakMemory;
use serde::Serialize;
use zoo::ModelName;

use crate::release_memory;

const DT_S: f64 = 0.1;
const INDICATOR: Indicator = Indicator {
    g: 0.75,
    gain: 1.0,
    baseline: 0.0,
};
/// Of [`DynamicsConfig::default`].
const N_FACTORS: usize = 3;
/// Steps before those that count.
const WARM_UP_STEPS: usize = 6;
/// The posterior average that is timed.
const N_SAMPLES: usize = 200;
const N_TRIALS: usize = 260;

/// Inferred inputs of [`Timed::DrivenLfads`].
const N_INPUTS: usize = 2;

/// Models with training steps of different kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Timed {
    /// LFADS on spike counts
    Lfads,
    /// The same with two inferred inputs
    DrivenLfads,
    /// Ladder LFADS as published
    LadderLfads,
    /// Ladder LFADS whose spikes are counts
    CountLadder,
}

impl Timed {
    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lfads => "lfads",
            Self::DrivenLfads => "driven-lfads",
            Self::LadderLfads => "ladder-lfads",
            Self::CountLadder => "count-ladder",
        }
    }

    /// As in a table.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Lfads => ModelName::Lfads.title(),
            Self::DrivenLfads => "LFADS with two inferred inputs",
            Self::LadderLfads => ModelName::LadderLfads.title(),
            Self::CountLadder => ModelName::CountLadder.title(),
        }
    }
}

/// Products of a training step at Table 1's sizes, in 10⁹ operations.
fn gflop(model: Timed) -> f64 {
    let sizes = Sizes::TABLE_1;
    let per_bin = match model {
        Timed::LadderLfads => deep_flop(sizes) + shallow_flop(sizes),
        Timed::DrivenLfads => deep_flop(sizes) + controller_flop(sizes),
        Timed::Lfads | Timed::CountLadder => deep_flop(sizes),
    };
    per_bin * (sizes.n_bins * sizes.batch) as f64 / 1e9
}

/// Products of the deep level for one bin of one trial, forward and backward: two for each
/// multiplication. The gradient of the data is not computed; products with counts of zero, which are
/// skipped, are counted.
fn deep_flop(sizes: Sizes) -> f64 {
    let (n, h, f) = (sizes.n_neurons, sizes.hidden, N_FACTORS);
    let encoder = 2 * 3 * h * (2 * n + 3 * h);
    let generator = 3 * 3 * h * h;
    let readout = 3 * (h * f + f * n);
    2.0 * (encoder + generator + readout) as f64
}

/// The same for the controller of [`ControllerConfig::default`], its encoder and what it makes of inputs.
fn controller_flop(sizes: Sizes) -> f64 {
    let ControllerConfig {
        n_encoder: e,
        n_controller: c,
        ..
    } = ControllerConfig::default();
    let (n, f, u) = (sizes.n_neurons, N_FACTORS, N_INPUTS);
    let encoder = 2 * 3 * e * (2 * n + 3 * e);
    let controller = 3 * 3 * c * (2 * e + f + c);
    let posterior = 3 * c * 2 * u;
    let generator = 3 * 3 * u * sizes.hidden;
    2.0 * (encoder + controller + posterior + generator) as f64
}

/// The same for the shallow level of [`LadderConfig::default`].
fn shallow_flop(sizes: Sizes) -> f64 {
    let LadderConfig {
        n_encoder: e,
        n_controller: c,
        n_latent: z,
        ..
    } = LadderConfig::default();
    let (n, f) = (sizes.n_neurons, N_FACTORS);
    let encoder = 2 * 3 * e * (2 * n + 3 * e);
    let controller = 3 * 3 * c * (2 * e + c);
    let posterior = 3 * (c + n + f) * 2 * z;
    let spikes = 3 * (z + f) * n;
    2.0 * (encoder + controller + posterior + spikes) as f64
}

/// Sizes of the data and of the networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    pub n_neurons: usize,
    pub n_bins: usize,
    pub batch: usize,
    pub hidden: usize,
}

impl Sizes {
    /// Those of Table 1.
    pub const TABLE_1: Self = Self {
        n_neurons: 30,
        n_bins: 100,
        batch: 65,
        hidden: 64,
    };
}

/// Weights, running average, two moments of Adam, and each as the epoch began.
const WEIGHT_COPIES: usize = 8;

/// A training step of LFADS at some sizes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Step {
    pub milliseconds: f64,
    /// Most resident memory, above what there was before; nothing where the system does not tell.
    pub peak_mb: Option<f64>,
    /// What stays from step to step: the weights, their average and moments, and these as the
    /// epoch began, to which a diverged training goes back.
    pub weights_mb: f64,
    /// What the backward pass needs of the forward pass.
    pub saved_mb: f64,
}

/// What was measured at Table 1's sizes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    /// Products counted, 10⁹ operations a step.
    pub gflop: f64,
    /// Median of a training step.
    pub step_ms: f64,
    /// The first step, with all that comes before it.
    pub first_step_ms: f64,
    /// 200 posterior samples of 260 trials, averaged.
    pub posterior_mean_s: f64,
}

/// Times one model at Table 1's sizes.
///
/// # Errors
/// If it cannot be trained.
pub fn measure(kind: Timed) -> Result<Times> {
    let device = Device::flex().autodiff();
    let counts = counts(N_TRIALS, Sizes::TABLE_1);
    match kind {
        Timed::Lfads | Timed::DrivenLfads => {
            let mut config = LfadsConfig::default();
            if kind == Timed::DrivenLfads {
                config.dynamics.controller.n_inputs = N_INPUTS;
            }
            times(kind, config.init(&[0.1; 30], DT_S, 1, &device)?, counts)
        }
        Timed::LadderLfads => {
            let fluor = fluorescence(counts);
            let statistics = FluorStatistics::measure(fluor.view(), &INDICATOR);
            let config = LadderConfig::default();
            times(
                kind,
                config.init(&statistics, INDICATOR, DT_S, 1, &device)?,
                fluor,
            )
        }
        Timed::CountLadder => {
            let fluor = fluorescence(counts);
            let statistics = FluorStatistics::measure(fluor.view(), &INDICATOR);
            let calcium = CalciumModel::shared(INDICATOR, Sizes::TABLE_1.n_neurons);
            let config = CountLadderConfig::default();
            times(
                kind,
                config.init(&statistics, &calcium, DT_S, 1, &device)?,
                fluor,
            )
        }
    }
}

/// Times an LFADS of any size.
///
/// # Errors
/// If the model cannot be trained.
pub fn lfads_step(sizes: Sizes) -> Result<Step> {
    let config = LfadsConfig {
        dynamics: DynamicsConfig {
            n_encoder: sizes.hidden,
            n_generator: sizes.hidden,
            n_ic: sizes.hidden,
            ..DynamicsConfig::default()
        },
    };
    let mean_counts = vec![0.1; sizes.n_neurons];
    let observed = counts(sizes.batch, sizes);
    release_memory();
    let memory = PeakMemory::start();
    let before = memory.megabytes();
    let model = config.init(&mean_counts, DT_S, 1, &Device::flex().autodiff())?;
    let weights = model.num_params() * size_of::<f32>();
    let (_, milliseconds) = train(model, observed, sizes.batch, 9)?;
    let peak = memory.megabytes();
    Ok(Step {
        milliseconds: middle(&milliseconds[2..]),
        peak_mb: peak.zip(before).map(|(peak, before)| peak - before),
        weights_mb: (WEIGHT_COPIES * weights) as f64 / 1e6,
        saved_mb: saved_bytes(sizes) / 1e6,
    })
}

/// Per bin and trial: gates and states of three recurrent runs, the dropout mask of the generator's
/// states, factors, and for each neuron the counts, the encoder's part of them, the
/// reconstruction's weights and the log-rates.
fn saved_bytes(sizes: Sizes) -> f64 {
    let encoder = 2 * (4 + 1) * sizes.hidden;
    let generator = (3 + 1 + 1) * sizes.hidden;
    let values = encoder + generator + N_FACTORS + 4 * sizes.n_neurons;
    (values * sizes.n_bins * sizes.batch * size_of::<f32>()) as f64
}

fn times<M: SequentialVae>(kind: Timed, model: M, observed: Array3<f32>) -> Result<Times> {
    let (model, milliseconds) = train(model, observed.clone(), Sizes::TABLE_1.batch, 54)?;
    let start = Instant::now();
    posterior_mean(&model, observed.view(), N_SAMPLES, 1)?;
    Ok(Times {
        gflop: gflop(kind),
        step_ms: middle(&milliseconds[WARM_UP_STEPS..]),
        first_step_ms: milliseconds[0],
        posterior_mean_s: start.elapsed().as_secs_f64(),
    })
}

/// Trains for `n_steps` and returns the milliseconds of each.
fn train<M: SequentialVae>(
    model: M,
    observed: Array3<f32>,
    batch_size: usize,
    n_steps: usize,
) -> Result<(M, Vec<f64>)> {
    let config = TrainConfig {
        n_steps,
        batch_size,
        // Never.
        validate_every: n_steps + 1,
        ..TrainConfig::default()
    };
    let valid = observed.slice(s![..1, .., ..]).to_owned();
    let data = TrainData::new(observed, valid)?;
    let mut clock = Clock {
        last: Instant::now(),
        milliseconds: Vec::new(),
    };
    let fitted = fit(model, &data, &config, 1, None, &mut clock)?;
    Ok((fitted.model, clock.milliseconds))
}

fn middle(milliseconds: &[f64]) -> f64 {
    median(milliseconds.iter().copied()).expect("there are more steps than warm up")
}

/// Notes when each step ends.
struct Clock {
    last: Instant,
    milliseconds: Vec<f64>,
}

impl Observer for Clock {
    fn on_step(&mut self, _: &StepReport) {
        let now = Instant::now();
        let step = now.duration_since(std::mem::replace(&mut self.last, now));
        self.milliseconds.push(step.as_secs_f64() * 1e3);
    }
}

/// Counts of about 0.1 per bin. What they are does not matter to the time.
fn counts(n_trials: usize, sizes: Sizes) -> Array3<f32> {
    let count = |(trial, bin, neuron)| {
        let mixed: usize = (trial * 7919 + bin * 104_729 + neuron * 1_299_709) % 1009;
        f32::from(u8::from(mixed > 900)) + f32::from(u8::from(mixed > 1000))
    };
    Array3::from_shape_fn((n_trials, sizes.n_bins, sizes.n_neurons), count)
}

/// Calcium of [`INDICATOR`] with a deterministic ripple of about 0.2 for noise.
fn fluorescence(mut counts: Array3<f32>) -> Array3<f32> {
    for bin in 1..counts.dim().1 {
        let (before, mut now) = counts.multi_slice_mut((s![.., bin - 1, ..], s![.., bin, ..]));
        now.zip_mut_with(&before, |y, &before| *y += INDICATOR.g as f32 * before);
    }
    for (index, y) in counts.iter_mut().enumerate() {
        *y += 0.2 * ((index * 7919 % 997) as f32 / 288.0 - 1.73);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_timed_at_any_size() {
        let sizes = Sizes {
            n_neurons: 5,
            n_bins: 10,
            batch: 8,
            hidden: 8,
        };
        let step = lfads_step(sizes).unwrap();
        assert!(step.milliseconds > 0.0);
        assert!(step.weights_mb > 0.0 && step.saved_mb > 0.0);
    }
}
