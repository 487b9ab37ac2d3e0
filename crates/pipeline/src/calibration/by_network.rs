//! Calibration by the spike network alone, for models that read its spikes: one look at each trace.

use anyhow::{Result, bail};
use calcium::estimate::median;
use calcium::network::{LogNormal, SpikeNetwork};
use calcium::trials::trials;
use calcium::{Ar1, Ar2, CalciumError, Inference, InferredSpikes};
use data::{Recording, Units};
use model::Blur;

use super::blur::{self, Shown, Traits};
use super::draw_together::draw_together;
use super::evidence::{self, Asked};
use super::in_turn::stride;
use super::measure::{KNOWN_DECAY, Known, MOST_RISE, usual_rise};
use super::{ByNetwork, CALIBRATED, Calibrated, Calibration, peak, spike_sizes, warn_of_dimming};
use crate::config::{BaselineConfig, CalibrationConfig, StartConfig};
use crate::layout::Layout;
use crate::neurons::each_neuron;

/// Of what is expected of a neuron that fires, at least this share comes together to whole spikes; of noise it is spread
/// thinly (ring recordings of `lfads simulate`, seeds 1 and 2: at most 0.1 of silent neurons, at least 0.39 of others).
const WHOLE: f64 = 0.2;
/// Which kinetics are each neuron's own, as none were given for all.
#[derive(Clone, Copy)]
pub struct Own {
    pub decay: bool,
    pub rise: bool,
}

impl Calibrated {
    /// The spikes that the network expects of every neuron, what it says of kinetics, noise and baseline, and the
    /// fluorescence of a spike that it counts. It reads held-out frames too: it was trained elsewhere, and learns
    /// no more of one neuron from another than what the indicator does.
    ///
    /// # Errors
    /// An infinite value; no neuron that shows spikes.
    pub fn by_network(recording: &Recording, config: &CalibrationConfig) -> Result<Self> {
        let own = Own {
            decay: config.tau_s.or(recording.tau_s).is_none(),
            rise: config.tau_rise_s.is_none(),
        };
        Self::of_session(recording, config, own, |measure| measure())
    }

    /// The same by a calibration that is chosen in view of what is measured, or could not be, if it is asked for.
    ///
    /// # Errors
    /// An infinite value; none to choose.
    pub fn of_session(
        recording: &Recording,
        config: &CalibrationConfig,
        own: Own,
        choose: impl FnOnce(&dyn Fn() -> Result<Calibration>) -> Result<Calibration>,
    ) -> Result<Self> {
        let mut found = Found::of(recording, config)?;
        let baselines = found.neurons.iter().map(|n| (&n.baseline[..], n.noise_sd));
        warn_of_dimming(recording, baselines);
        let calibration = choose(&|| found.calibrate(recording, config, own))?;
        found.count_by(&calibration);
        let blur = match config.blur {
            Some(true) => found.blur(recording.dt_s, config, own, &calibration)?,
            // A fit that does not say was made before there was any.
            Some(false) | None => None,
        };
        Ok(found.with(calibration, blur))
    }
}

impl Found {
    /// What it says of the indicator and of each neuron.
    fn calibrate(
        &self,
        recording: &Recording,
        config: &CalibrationConfig,
        own: Own,
    ) -> Result<Calibration> {
        let known = Known::new(
            recording,
            config,
            || Ok(self.decay_s().unwrap_or(config.typical_tau_s)),
            |tau_s| self.rise_s(recording.dt_s, tau_s),
        )?;
        let resting = self.resting();
        let measured = self.sizes(Shape {
            decay: known.ar.g(),
            rise: known.rise(),
        });
        let mut sizes = measured.clone();
        if config.spike_size.is_none() {
            // Of dF/F the baseline is no light.
            let is_light = recording.units == Some(Units::Fluorescence);
            draw_together(&mut sizes, is_light.then_some(&resting[..]));
            self.mend_sizes(recording, &known, own, &measured, &mut sizes)?;
        }
        let sizes = sizes.into_iter().map(|size| config.spike_size.or(size));
        let (spike_size, uncalibrated) = spike_sizes(recording, &sizes.collect::<Vec<_>>())?;
        Ok(Calibration {
            tau_s: known.tau_s,
            tau_is_estimated: known.tau_is_estimated,
            discretisation: known.discretisation,
            g: known.ar.g(),
            rise_s: known.rise_s,
            rise_is_estimated: known.rise_is_estimated,
            rise: known.rise(),
            rolling_window_s: None,
            baseline: resting.clone(),
            noise_sd: self.neurons.iter().map(|n| n.noise_sd as f32).collect(),
            resting,
            spike_size,
            uncalibrated,
            // Its spikes come from whole traces, and windows may start anywhere.
            start_is_running: config.start != StartConfig::Rest,
        })
    }
}

/// What the network found.
struct Found {
    neurons: Vec<Neuron>,
    /// Where the trials are in its traces.
    layout: Layout,
}

/// The part of it that is kept.
struct Neuron {
    /// Per frame, as [`InferredSpikes`] has them.
    expected: Vec<f32>,
    calcium: Vec<f32>,
    baseline: Vec<f32>,
    noise_sd: f64,
    /// Fluorescence of one spike at its peak.
    spike_size: f64,
    rise_s: LogNormal,
    decay_s: LogNormal,
    /// Whether what is expected ever comes together to whole spikes.
    fires: bool,
    /// Whether it is imaged every nth frame.
    is_in_turn: bool,
}

/// Of a spike's calcium: its roots per frame.
#[derive(Clone, Copy)]
struct Shape {
    decay: f64,
    rise: Option<f64>,
}

impl Shape {
    fn g(self) -> [f64; 2] {
        let both = Ar2::from_roots(self.decay, self.rise.unwrap_or(0.0));
        both.map_or([self.decay, 0.0], Ar2::g)
    }

    /// Calcium of `spikes` with a peak of 1 each, as if none were before those of a trial, of which `starts` are the first
    /// frames; none where there is no number.
    fn of(self, spikes: &[f32], starts: &[usize]) -> Vec<f64> {
        let peak = peak(self.decay, self.rise);
        let [g1, g2] = self.g();
        let mut all = Vec::with_capacity(spikes.len());
        for trial in trials(spikes.len(), starts) {
            let mut last = [0.0, 0.0];
            for &spike in &spikes[trial] {
                let spike = if spike.is_nan() {
                    0.0
                } else {
                    f64::from(spike)
                };
                let calcium = g1 * last[0] + g2 * last[1] + spike / peak;
                last = [calcium, last[0]];
                all.push(calcium);
            }
        }
        all
    }
}

impl Found {
    fn of(recording: &Recording, config: &CalibrationConfig) -> Result<Self> {
        let (dt_s, longest_s) = (recording.dt_s, SpikeNetwork::LONGEST_FRAME_S);
        if dt_s > longest_s {
            bail!(
                "{}: its frames last {dt_s} s, in which transients come and go: the spike network takes frames of up to {longest_s} s; state the rate, if the file is wrong (--rate), or give `oasis-lfads`, which needs no network",
                recording.path.display()
            );
        }
        let layout = Layout::new(recording);
        let starts = layout.starts();
        let found = each_neuron(recording, CALIBRATED, |neuron| {
            let trace = layout.join(recording, neuron);
            if trace.iter().all(|x| x.is_nan()) {
                return Ok(Neuron::lost(trace));
            }
            let stride = stride(&trace);
            let dt_s = recording.dt_s;
            let found = match stride {
                1 => inference(config, dt_s, trace.len(), &starts)?.infer(&trace)?,
                _ => in_turn(&trace, stride, &starts, |length, starts| {
                    inference(config, stride as f64 * dt_s, length, starts)
                })?,
            };
            Ok(Neuron {
                is_in_turn: stride > 1,
                ..Neuron::of(found)
            })
        })?;
        Ok(Self {
            neurons: found,
            layout,
        })
    }

    /// Decay of the indicator, seconds: the median of what the network knows.
    fn decay_s(&self) -> Option<f64> {
        let known = self.neurons.iter().map(|neuron| neuron.decay_s);
        median(known.filter(|d| d.log_sd < KNOWN_DECAY).map(|d| d.median))
    }

    /// Rise of the indicator, seconds, where the decay is known; nothing if it is over within a frame.
    fn rise_s(&self, dt_s: f64, tau_s: f64) -> Option<f64> {
        let known = self
            .neurons
            .iter()
            .filter(|neuron| neuron.decay_s.log_sd < KNOWN_DECAY);
        usual_rise(known.map(|neuron| neuron.rise_s.median), dt_s, tau_s)
    }

    /// Median baseline of each neuron.
    fn resting(&self) -> Vec<f32> {
        let middle = |neuron: &Neuron| {
            let present = neuron.baseline.iter().copied().map(f64::from);
            median(present.filter(|b| !b.is_nan())).unwrap_or(0.0) as f32
        };
        self.neurons.iter().map(middle).collect()
    }

    /// Fluorescence of one spike as the network counts them, of each neuron that fires: the slope of its calcium on
    /// that of the expected spikes. Where indicators may be supralinear, which the network cannot see of every
    /// trace, a spike on its own is smaller than this.
    fn sizes(&self, shape: Shape) -> Vec<Option<f64>> {
        let starts = self.layout.starts();
        let size = |neuron: &Neuron| neuron.size(shape, &starts);
        self.neurons.iter().map(size).collect()
    }

    /// Mends sizes, all alike, where spikes and indicators are as simple as the likelihood has them. Where no decay was
    /// given, each neuron is asked by its own: one that is off by a tenth makes spikes of its own.
    fn mend_sizes(
        &self,
        recording: &Recording,
        known: &Known,
        own: Own,
        measured: &[Option<f64>],
        sizes: &mut [Option<f64>],
    ) -> Result<()> {
        let dt_s = recording.dt_s;
        let starts = self.layout.starts();
        let both = |number: usize| Some([measured[number]?, sizes[number]?]);
        let numbers: Vec<usize> = (0..sizes.len()).filter(|&n| both(n).is_some()).collect();
        let ask = |number: usize| {
            let neuron = &self.neurons[number];
            let trace = self.layout.join(recording, number);
            let above = trace.iter().zip(&neuron.baseline).map(|(x, b)| x - b);
            Ok(Asked {
                above: above.collect(),
                starts: &starts,
                expected: &neuron.expected,
                noise_sd: neuron.noise_sd,
                ar: neuron.kernel(dt_s, known, own)?,
                size: neuron.spike_size,
                drawn: both(number)
                    .map(|[measured, drawn]| measured / drawn)
                    .expect("of those asked there are both sizes"),
            })
        };
        if let Some(excess) = evidence::excess(&numbers, dt_s, ask)? {
            tracing::info!(
                "spikes of one size and calcium as under AR(2): Bayes' rule finds {:.2} of the spikes that these sizes make, and is believed",
                1.0 / excess
            );
            for size in sizes.iter_mut().flatten() {
                *size *= excess;
            }
        }
        Ok(())
    }

    /// Counts spikes of the sizes of a calibration: smaller ones are more.
    fn count_by(&mut self, calibration: &Calibration) {
        let measured = self.sizes(Shape {
            decay: calibration.g,
            rise: calibration.rise,
        });
        let sizes = &calibration.spike_size;
        for ((neuron, measured), &size) in self.neurons.iter_mut().zip(measured).zip(sizes) {
            let factor = measured.map_or(1.0, |measured| measured / f64::from(size));
            if factor.is_finite() {
                for expected in &mut neuron.expected {
                    *expected *= factor as f32;
                }
            }
        }
    }

    /// How its expected spikes are blurred.
    fn blur(
        &self,
        dt_s: f64,
        config: &CalibrationConfig,
        own: Own,
        calibration: &Calibration,
    ) -> Result<Option<Blur>> {
        let told = (calibration.tau_s, calibration.rise_s);
        let starts = self.layout.starts();
        let shown = |number: usize| {
            let neuron = &self.neurons[number];
            if neuron.is_in_turn {
                return Shown::InTurn;
            }
            if !neuron.fires || calibration.uncalibrated.contains(&number) {
                return Shown::Nothing;
            }
            let (decay_s, rise_s) = neuron.kinetics(dt_s, told, own);
            Shown::Spikes(Traits {
                decay_s,
                rise_s,
                size: calibration.spike_size[number].into(),
                noise_sd: neuron.noise_sd,
                expected: &neuron.expected,
                starts: &starts,
            })
        };
        let neurons: Vec<Shown<'_>> = (0..self.neurons.len()).map(shown).collect();
        blur::measure(&neurons, dt_s, |trace| {
            inference(config, dt_s, trace.len(), &[0])?.infer(trace)
        })
    }

    fn with(self, calibration: Calibration, blur: Option<Blur>) -> Calibrated {
        let layout = self.layout;
        let spikes = layout.split(self.neurons.iter().map(|neuron| &neuron.expected[..]));
        let calcium = layout.split(self.neurons.iter().map(|neuron| &neuron.calcium[..]));
        let drift = self.neurons.iter().zip(&calibration.baseline);
        let rolling = drift
            .map(|(neuron, rest)| neuron.baseline.iter().map(|b| b - rest).collect())
            .collect();
        Calibrated {
            rolling: Some(rolling),
            calibration,
            layout,
            calcium: None,
            network: Some(ByNetwork {
                spikes,
                calcium,
                blur,
            }),
        }
    }
}

/// The network's settings for traces of so many frames, of trials that begin at `starts`.
fn inference(
    config: &CalibrationConfig,
    dt_s: f64,
    n_frames: usize,
    starts: &[usize],
) -> Result<Inference, CalciumError> {
    let inference = Inference::new(dt_s)?.with_trials(starts);
    match config.baseline {
        BaselineConfig::Auto => Ok(inference),
        BaselineConfig::Rolling => inference.with_baseline_window(config.baseline_window_s),
        BaselineConfig::Constant => inference.with_baseline_window(2.0 * n_frames as f64 * dt_s),
        BaselineConfig::None => Ok(inference.without_baseline()),
    }
}

/// What the network finds in the frames that are there, `stride` apart: each stands for those since the one
/// before, over which its expected spikes are spread.
fn in_turn(
    trace: &[f32],
    stride: usize,
    starts: &[usize],
    inference: impl Fn(usize, &[usize]) -> Result<Inference, CalciumError>,
) -> Result<InferredSpikes<f32>, CalciumError> {
    let places: Vec<usize> = (0..trace.len()).filter(|&t| !trace[t].is_nan()).collect();
    let thin: Vec<f32> = places.iter().map(|&place| trace[place]).collect();
    let first_of = |&start: &usize| places.partition_point(|&place| place < start);
    let mut thin_starts: Vec<usize> = starts.iter().map(first_of).collect();
    thin_starts.dedup();
    thin_starts.retain(|&start| start < thin.len());
    let found = inference(thin.len(), &thin_starts)?.infer(&thin)?;
    let missing = || vec![f32::NAN; trace.len()];
    let mut all = InferredSpikes {
        expected: missing(),
        sd: missing(),
        spikes: missing(),
        calcium: missing(),
        baseline: missing(),
        ..found
    };
    let mut next = 0;
    for (k, &place) in places.iter().enumerate() {
        let first = next.max((place + 1).saturating_sub(stride));
        next = place + 1;
        let n = (next - first) as f32;
        all.expected[first..next].fill(found.expected[k] / n);
        all.sd[first..next].fill(found.sd[k] / n.sqrt());
        all.baseline[first..next].fill(found.baseline[k]);
        all.spikes[first..next].fill(0.0);
        (all.spikes[place], all.calcium[place]) = (found.spikes[k], found.calcium[k]);
    }
    Ok(all)
}

/// Nothing is known.
const UNKNOWN: LogNormal = LogNormal {
    median: f64::NAN,
    log_sd: f64::INFINITY,
};

impl Neuron {
    /// Where expected spikes never come together to whole ones, a trace shows noise: those few that do are its
    /// spikes, and tell no size.
    fn of(found: InferredSpikes<f32>) -> Self {
        let sum = |values: &[f32]| -> f64 {
            let present = values.iter().copied().filter(|x| !x.is_nan());
            present.map(f64::from).sum()
        };
        let fires = sum(&found.spikes) >= WHOLE * sum(&found.expected);
        Self {
            expected: match fires {
                true => found.expected,
                false => found.spikes,
            },
            fires,
            is_in_turn: false,
            calcium: found.calcium,
            baseline: found.baseline,
            noise_sd: found.noise_sd,
            spike_size: found.spike_size.median,
            rise_s: found.rise_s,
            decay_s: found.decay_s,
        }
    }

    /// The slope of its calcium on that of the expected spikes, if it fires.
    fn size(&self, shape: Shape, starts: &[usize]) -> Option<f64> {
        let unit = shape.of(&self.expected, starts);
        let both = || {
            let calcium = self.calcium.iter().map(|&c| f64::from(c));
            calcium.zip(&unit).filter(|(c, _)| !c.is_nan())
        };
        let n = both().count() as f64;
        let mean_c = both().map(|(c, _)| c).sum::<f64>() / n;
        let mean_u = both().map(|(_, u)| u).sum::<f64>() / n;
        let product: f64 = both().map(|(c, u)| (c - mean_c) * (u - mean_u)).sum();
        let square: f64 = both().map(|(_, u)| (u - mean_u).powi(2)).sum();
        let slope = product / square;
        (self.fires && slope.is_finite() && slope > 0.0).then_some(slope)
    }

    /// How its spikes decay and rise, s, where those of all are `told`; a rise of its own that is over within half a frame is
    /// none.
    fn kinetics(&self, dt_s: f64, told: (f64, Option<f64>), own: Own) -> (f64, Option<f64>) {
        let decay_s = match own.decay {
            true => self.decay_s.median,
            false => told.0,
        };
        let rise_s = match own.rise {
            true => Some(self.rise_s.median.min(MOST_RISE * decay_s)).filter(|r| *r > 0.5 * dt_s),
            false => told.1,
        };
        (decay_s, rise_s)
    }

    /// The same per frame.
    fn kernel(&self, dt_s: f64, known: &Known, own: Own) -> Result<Ar2, CalciumError> {
        let (decay_s, rise_s) = self.kinetics(dt_s, (known.tau_s, known.rise_s), own);
        if let Some(rise_s) = rise_s {
            return Ar2::from_taus(decay_s, rise_s, dt_s, known.discretisation);
        }
        let decay = Ar1::from_tau(decay_s, dt_s, known.discretisation)?;
        Ar2::from_roots(decay.g(), 0.0)
    }

    /// Of which this recording shows nothing.
    fn lost(trace: Vec<f32>) -> Self {
        Self {
            calcium: trace.clone(),
            baseline: trace.clone(),
            expected: trace,
            noise_sd: f64::NAN,
            spike_size: f64::NAN,
            rise_s: UNKNOWN,
            decay_s: UNKNOWN,
            fires: false,
            is_in_turn: false,
        }
    }
}
