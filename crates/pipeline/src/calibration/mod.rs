//! From a recording's fluorescence to units of one spike above a baseline, and back.

mod blur;
mod by_network;
mod draw_together;
mod evidence;
mod floor;
mod in_turn;
mod innovations;
mod measure;
mod network;
mod rates;
mod shots;

use std::ops::Range;

use anyhow::{Context, Result};
use calcium::estimate::median;
use calcium::oasis::Ar1Problem;
use calcium::{Ar1, Ar2, Discretisation, dimmed_to, dimming};
use data::{Recording, Traces, Units};
use model::{Blur, CalciumModel, Indicator};
use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::config::{BaselineConfig, CalibrationConfig, StartConfig};
use crate::dimming::dimming_line;
use crate::layout::Layout;
use crate::neurons::each_neuron;
use crate::signal::listed;
pub use by_network::Own;
use floor::rolling_baseline;
use measure::{Known, Neuron};

/// What is being done to each neuron.
const CALIBRATED: &str = "neurons calibrated";

/// What turns one neuron's fluorescence x into units of one spike: (x − baseline) / `spike_size`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Decay time of the indicator, seconds.
    pub tau_s: f64,
    /// Whether it was estimated; else it was given.
    pub tau_is_estimated: bool,
    /// How the decay time becomes the decay per frame.
    #[serde(default)]
    pub discretisation: Discretisation,
    /// Decay per frame.
    pub g: f64,
    /// Rise time of the indicator, seconds; absent if it rises within a frame or the model knows no rise.
    #[serde(default)]
    pub rise_s: Option<f64>,
    /// Whether the rise was estimated; else it was given, or is none.
    #[serde(default)]
    pub rise_is_estimated: bool,
    /// Rise per frame.
    #[serde(default)]
    pub rise: Option<f64>,
    /// What was subtracted first: a rolling baseline over this many seconds.
    pub rolling_window_s: Option<f64>,
    /// What was subtracted then, in the recording's units, `[neuron]`.
    pub baseline: Vec<f32>,
    /// Fluorescence of one spike at its peak, in the recording's units, `[neuron]`.
    pub spike_size: Vec<f32>,
    /// Neurons, by number, whose spikes could not be measured: they have the median size.
    pub uncalibrated: Vec<usize>,
    /// Noise of a frame, in the recording's units, `[neuron]`.
    pub noise_sd: Vec<f32>,
    /// Median over frames of all that is subtracted, in the recording's units, `[neuron]`: the
    /// fluorescence of a neuron at rest.
    pub resting: Vec<f32>,
    /// Whether calcium from before a trial is taken off, or inferred.
    pub start_is_running: bool,
}

/// A recording with its calibration: everything that scaling needs, computed once.
pub struct Calibrated {
    /// What was measured.
    pub calibration: Calibration,
    /// Where the trials are in the long traces.
    pub layout: Layout,
    /// The rolling baseline, long traces `[neuron][time]`, if there is one.
    rolling: Option<Vec<Vec<f32>>>,
    /// The calcium that OASIS finds, in spikes, long traces `[neuron][time]`, if it was asked for.
    calcium: Option<Vec<Vec<f32>>>,
    /// What the spike network found, if it was asked.
    pub network: Option<ByNetwork>,
}

/// What the spike network found in whole traces, `[trial, time, neuron]`.
pub struct ByNetwork {
    /// The spikes that it expects, per frame.
    pub spikes: Array3<f32>,
    /// The fluorescence above the baseline that they explain, in the recording's units.
    pub calcium: Array3<f32>,
    /// How the spikes are blurred, if that was asked.
    pub blur: Option<Blur>,
}

impl Calibrated {
    /// Estimates what is not given, from the frames in `seen`: stretches of each trial.
    ///
    /// 1. tau is the median over neurons of what [`calcium::Automatic`] finds, or of a fit, if that
    ///    is shorter.
    ///    The rise, if the model `knows_rise`, is the median of what the network finds.
    /// 2. Each neuron's noise, baseline and spike size: see [`Neuron::measure`].
    /// 3. A neuron whose spikes cannot be measured gets the median size of the others.
    ///
    /// # Errors
    /// A trace with too few frames, or none that varies; no neuron that can be measured.
    pub fn measure(
        recording: &Recording,
        config: &CalibrationConfig,
        seen: &[Vec<Range<usize>>],
        knows_rise: bool,
    ) -> Result<Self> {
        let known = Known::of(recording, config, seen, knows_rise)?;
        let is_continuous = matches!(recording.traces, Traces::Continuous(_));
        let rolling = match config.baseline {
            BaselineConfig::Auto => is_continuous,
            BaselineConfig::Rolling => true,
            BaselineConfig::Constant | BaselineConfig::None => false,
        };
        let rolling_window_s = rolling.then_some(config.baseline_window_s);
        let layout = Layout::new(recording);
        let starts = layout.starts();
        let neurons = each_neuron(recording, CALIBRATED, |neuron| {
            let trace = layout.join(recording, neuron);
            let rolling = rolling_baseline(
                &trace,
                &starts,
                rolling_window_s,
                known.tau_s,
                recording.dt_s,
            )?;
            Neuron::measure(&trace, rolling, &layout, seen, &known, config)
        })?;
        let baselines = neurons.iter().map(|n| (&n.rolling[..], n.noise_sd));
        warn_of_dimming(recording, baselines);
        let sizes: Vec<Option<f64>> = neurons.iter().map(|neuron| neuron.spike_size).collect();
        let (spike_size, uncalibrated) = spike_sizes(recording, &sizes)?;
        let start_is_running = match config.start {
            StartConfig::Rest => false,
            StartConfig::Running => true,
            StartConfig::Auto => {
                is_continuous || !measure::starts_from_rest(&neurons, &spike_size, known.ar.g())
            }
        };
        let each = |value: &dyn Fn(&Neuron) -> f64| -> Vec<f32> {
            neurons.iter().map(|neuron| value(neuron) as f32).collect()
        };
        let calibration = Calibration {
            tau_s: known.tau_s,
            tau_is_estimated: known.tau_is_estimated,
            discretisation: known.discretisation,
            g: known.ar.g(),
            rise_s: known.rise_s,
            rise_is_estimated: known.rise_is_estimated,
            rise: known.rise(),
            rolling_window_s,
            baseline: each(&|neuron| neuron.baseline),
            noise_sd: each(&|neuron| neuron.noise_sd),
            resting: each(&|neuron| neuron.resting),
            spike_size,
            uncalibrated,
            start_is_running,
        };
        Ok(Self {
            calibration,
            layout,
            rolling: rolling_window_s.map(|_| neurons.into_iter().map(|n| n.rolling).collect()),
            calcium: None,
            network: None,
        })
    }

    /// The same calibration for another recording; a rolling baseline is taken anew.
    ///
    /// # Errors
    /// An infinite value.
    pub fn apply(calibration: Calibration, recording: &Recording) -> Result<Self> {
        let layout = Layout::new(recording);
        let starts = layout.starts();
        let (window_s, tau_s) = (calibration.rolling_window_s, calibration.tau_s);
        let rolling = each_neuron(recording, CALIBRATED, |neuron| {
            let trace = layout.join(recording, neuron);
            rolling_baseline(&trace, &starts, window_s, tau_s, recording.dt_s)
        })?;
        Ok(Self {
            rolling: window_s.map(|_| rolling),
            calibration,
            layout,
            calcium: None,
            network: None,
        })
    }

    /// Adds the calcium that OASIS finds, for models that cannot infer what pieces start with.
    ///
    /// # Errors
    /// An infinite value.
    pub fn find_calcium(&mut self, recording: &Recording) -> Result<()> {
        let problem = Ar1Problem::new(Ar1::new(self.calibration.g)?).with_s_min(0.5)?;
        let this = &*self;
        let starts = this.layout.starts();
        let calcium = each_neuron(recording, CALIBRATED, |neuron| {
            let mut trace = this.layout.join(recording, neuron);
            for (frame, x) in trace.iter_mut().enumerate() {
                *x = this.scaled(neuron, frame, *x);
            }
            Ok(problem.deconvolve_trials(&trace, &starts)?.calcium)
        })?;
        self.calcium = Some(calcium);
        Ok(())
    }

    /// Says what was measured and assumed.
    pub fn log(&self, recording: &Recording) {
        let calibration = &self.calibration;
        let how = match (self.calibration.tau_is_estimated, &self.network) {
            (true, Some(_)) => "estimated; spikes do not depend on it",
            (true, None) => "estimated; give --tau if you know your indicator's",
            (false, _) => "given",
        };
        let sizes = calibration.spike_size.iter().copied().map(f64::from);
        tracing::info!(
            "tau {:.3} s ({how}){}; one spike: {:.4} (median over neurons); {}",
            calibration.tau_s,
            calibration
                .rise_s
                .map_or_else(String::new, |rise_s| format!(
                    ", rise {rise_s:.3} s ({})",
                    match calibration.rise_is_estimated {
                        true => "estimated; or give --tau-rise",
                        false => "given",
                    }
                )),
            median(sizes).unwrap_or(f64::NAN),
            match (&self.network, calibration.start_is_running) {
                (Some(_), _) => "spikes by the network from whole traces",
                (None, true) => {
                    "trials start in mid-decay: calcium from before is taken off, or inferred"
                }
                (None, false) => "trials start from rest",
            }
        );
        if !calibration.uncalibrated.is_empty() {
            let (names, numbers) = (
                names(recording, &calibration.uncalibrated),
                listed(&calibration.uncalibrated, &recording.neuron_numbers),
            );
            tracing::warn!(
                "the spikes of neurons {names} cannot be told from noise or artefacts: they are given the median size, and their counts are a guess (--leave-out {numbers}, or `[calibration] spike_size`)"
            );
        }
    }

    /// What is subtracted from a neuron's fluorescence in a frame of the long trace.
    pub fn baseline(&self, neuron: usize, frame: usize) -> f32 {
        let rolling = self.rolling.as_ref();
        rolling.map_or(0.0, |rolling| rolling[neuron][frame]) + self.calibration.baseline[neuron]
    }

    /// Fluorescence x of a neuron in a frame of the long trace, in units of one spike.
    pub fn scaled(&self, neuron: usize, frame: usize, x: f32) -> f32 {
        (x - self.baseline(neuron, frame)) / self.calibration.spike_size[neuron]
    }

    /// Whether [`Calibrated::find_calcium`] was called.
    pub fn has_calcium(&self) -> bool {
        self.calcium.is_some()
    }

    /// The calcium of a neuron in a frame of the long trace, if it was looked for and is known.
    pub fn calcium(&self, neuron: usize, frame: usize) -> Option<f64> {
        let calcium = f64::from(self.calcium.as_ref()?[neuron][frame]);
        (!calcium.is_nan()).then_some(calcium)
    }
}

impl Calibration {
    /// One spike of the scaled recording is 1, its baseline 0.
    pub fn calcium(&self) -> CalciumModel {
        let indicator = Indicator {
            g: self.g,
            gain: 1.0 / peak(self.g, self.rise),
            baseline: 0.0,
        };
        CalciumModel {
            rise: self.rise,
            ..CalciumModel::shared(indicator, self.spike_size.len())
        }
    }
}

/// The peak of a spike of gain 1 with this decay and rise per frame.
pub fn peak(decay: f64, rise: Option<f64>) -> f64 {
    rise.map_or(1.0, |rise| {
        Ar2::from_roots(decay, rise).map_or(1.0, Ar2::peak)
    })
}

/// The size of each neuron's spikes, and the numbers of those that have the median of the others.
fn spike_sizes(recording: &Recording, sizes: &[Option<f64>]) -> Result<(Vec<f32>, Vec<usize>)> {
    let usual = median(sizes.iter().copied().flatten()).with_context(|| {
        format!(
            "{}: no neuron shows spikes by which their size could be measured; give it in a file for --config: `[calibration] spike_size`, in the recording's units",
            recording.path.display()
        )
    })?;
    let uncalibrated = (0..sizes.len())
        .filter(|&neuron| sizes[neuron].is_none())
        .collect();
    let sizes = sizes.iter();
    let sizes = sizes.map(|size| size.unwrap_or(usual) as f32).collect();
    Ok((sizes, uncalibrated))
}

/// Says so where raw fluorescence dims: transients shrink with it, and one size of a spike no longer holds.
fn warn_of_dimming<'a>(recording: &Recording, baselines: impl Iterator<Item = (&'a [f32], f64)>) {
    if recording.units != Some(Units::Fluorescence) {
        return;
    }
    let dimmed_to = baselines
        .map(|(baseline, noise_sd)| dimming(baseline, noise_sd).map(|factors| dimmed_to(&factors)));
    let what_then = " and seem to hold fewer spikes; fit dF/F instead";
    if let Some(line) = dimming_line(dimmed_to, what_then) {
        tracing::warn!("{line}");
    }
}

/// `3 ("a"), 7 ("b")`: at most ten of them.
fn names(recording: &Recording, neurons: &[usize]) -> String {
    let name = |&neuron: &usize| {
        let number = recording.neuron_numbers[neuron];
        format!("{number} (`{}`)", recording.neuron_ids[neuron])
    };
    let mut names: Vec<String> = neurons.iter().take(10).map(name).collect();
    if neurons.len() > names.len() {
        names.push(format!("and {} more", neurons.len() - names.len()));
    }
    names.join(", ")
}
