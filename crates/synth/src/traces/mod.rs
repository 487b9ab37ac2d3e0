//! Single traces as microscopes see them, with the spikes behind them: what spike inference is trained on.

mod disturbance;
mod firing;
mod noise;
mod range;
mod response;

use serde::{Deserialize, Serialize};

pub use disturbance::Disturbances;
pub use firing::Firing;
pub use noise::Noise;
pub use range::Range;
pub use response::Indicators;

use crate::SynthError;
use crate::seed::{Draws, RootSeed, Stream};
use disturbance::Scale;
use range::{chance, check_probability};

/// Longest step in which spikes become calcium: shorter than most rises.
const STEP_S: f64 = 0.008;
/// A trace begins so many decays after the neuron began to fire, or this many seconds.
const WARM_UP: [f64; 2] = [4.0, 10.0];

/// What traces are like: every trace draws its own values from these ranges.
///
/// `fluor = gain(t) · (1 + spike_dff · brightness(calcium)) + offset(t) + noise`: the baseline is 1, so
/// the result is fluorescence per baseline at rest.
///
/// # Example
/// ```
/// use synth::traces::TraceRecipe;
///
/// let trace = TraceRecipe::default().simulate(7, 0)?;
/// assert_eq!(trace.fluor.len(), trace.baseline.len());
/// let counts = trace.counts(0.1, 600);
/// assert_eq!(counts.iter().sum::<u32>() as usize, trace.spike_times_s.len());
/// # Ok::<(), synth::SynthError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceRecipe {
    /// Length of a trace, s, log-uniform.
    pub duration_s: Range,
    /// Frames a second of most recordings, log-uniform.
    pub usual_rate_hz: Range,
    /// Share of recordings with other rates.
    pub unusual: f64,
    /// Frames a second of these, log-uniform.
    pub unusual_rate_hz: Range,
    /// Share of a frame in which a neuron is exposed, uniform: a scanner passes over it quickly.
    pub exposure: Range,
    /// Share of recordings that are joined of trials, with nothing recorded between them.
    pub of_trials: f64,
    /// Length of a trial, s, log-uniform.
    pub trial_s: Range,
    /// Time between trials, s, uniform.
    pub pause_s: Range,
    /// SD of the offsets of trials, noise SDs, uniform.
    pub trial_offset: Range,
    /// How neurons fire.
    pub firing: Firing,
    /// How indicators respond.
    pub indicators: Indicators,
    /// What else moves the fluorescence.
    pub disturbances: Disturbances,
    /// Noise and resampling.
    pub noise: Noise,
}

impl Default for TraceRecipe {
    /// One or two minutes at 6 to 60 Hz, sometimes 1 to 120: from light sheets and many planes to fast line scans.
    fn default() -> Self {
        Self {
            duration_s: Range([60.0, 140.0]),
            usual_rate_hz: Range([6.0, 60.0]),
            unusual: 0.12,
            unusual_rate_hz: Range([1.0, 120.0]),
            exposure: Range([0.1, 1.0]),
            of_trials: 0.15,
            trial_s: Range([3.0, 20.0]),
            pause_s: Range([0.5, 5.0]),
            trial_offset: Range([0.0, 4.0]),
            firing: Firing::default(),
            indicators: Indicators::default(),
            disturbances: Disturbances::default(),
            noise: Noise::default(),
        }
    }
}

/// One trace and what is behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedTrace {
    /// Time between frames, s; frame t lasts from t·dt to (t + 1)·dt.
    pub dt_s: f64,
    /// Fluorescence per baseline at rest, `[time]`; NaN without data.
    pub fluor: Vec<f32>,
    /// What it would be without spikes and noise, `[time]`.
    pub baseline: Vec<f32>,
    /// When the neuron fired, ascending, s from the beginning of the first frame. A spike may be slightly
    /// before it or after the last frame where the trace was resampled.
    pub spike_times_s: Vec<f64>,
    /// First frame of each trial; `[0]` where there are none.
    pub trial_starts: Vec<usize>,
    /// Time constant of the rise, s; the sum of both where it has two steps.
    pub rise_s: f64,
    /// Time constant of the decay, s.
    pub decay_s: f64,
    /// Peak of a single spike from rest, in the units of `fluor`.
    pub spike_size: f64,
    /// SD of the noise of a frame at baseline before resampling and smoothing, in the units of `fluor`.
    pub noise_sd: f64,
}

impl SimulatedTrace {
    /// Spikes per bin of `dt_s` for `n_bins` bins; those before the first or after the last go into it.
    pub fn counts(&self, dt_s: f64, n_bins: usize) -> Vec<u32> {
        let mut counts = vec![0; n_bins];
        let last = n_bins.saturating_sub(1);
        for time in &self.spike_times_s {
            if let Some(count) = counts.get_mut(((time / dt_s).max(0.0) as usize).min(last)) {
                *count += 1;
            }
        }
        counts
    }
}

/// Which frames are recorded, of all that pass.
struct Timeline {
    dt_s: f64,
    /// First frame and the one after the last of each trial.
    recorded: Vec<[usize; 2]>,
}

impl Timeline {
    fn n_frames(&self) -> usize {
        self.recorded.last().map_or(0, |trial| trial[1])
    }

    fn cut(&self, values: &[f64]) -> Vec<f64> {
        let trials = self.recorded.iter();
        trials.flat_map(|&[a, b]| values[a..b].to_vec()).collect()
    }

    /// Times of what is recorded, as if trials followed each other without a pause.
    fn joined(&self, times_s: &[f64]) -> Vec<f64> {
        let mut before = 0;
        let mut joined = Vec::new();
        for &[a, b] in &self.recorded {
            let (start, end) = (a as f64 * self.dt_s, b as f64 * self.dt_s);
            let first = times_s.partition_point(|&t| t < start);
            let last = times_s.partition_point(|&t| t < end);
            let shift = before as f64 * self.dt_s - start;
            joined.extend(times_s[first..last].iter().map(|t| t + shift));
            before += b - a;
        }
        joined
    }
}

impl TraceRecipe {
    /// Checks every range.
    ///
    /// # Errors
    /// [`SynthError::BadField`], naming the field and its value.
    pub fn validate(&self) -> Result<(), SynthError> {
        for (field, range) in [
            ("duration_s", self.duration_s),
            ("usual_rate_hz", self.usual_rate_hz),
            ("unusual_rate_hz", self.unusual_rate_hz),
            ("trial_s", self.trial_s),
        ] {
            range.check_positive(field)?;
        }
        check_probability("unusual", self.unusual)?;
        check_probability("of_trials", self.of_trials)?;
        let share = "[low, high] with 0 <= low <= high <= 1";
        self.exposure.check_within("exposure", [0.0, 1.0], share)?;
        let not_negative = "[low, high] with 0 <= low <= high";
        for (field, range) in [
            ("pause_s", self.pause_s),
            ("trial_offset", self.trial_offset),
        ] {
            range.check_within(field, [0.0, f64::MAX], not_negative)?;
        }
        self.firing.validate()?;
        self.indicators.validate()?;
        self.disturbances.validate()?;
        self.noise.validate()
    }

    /// Simulates trace number `index`: the same recipe, seed and index give the same bits everywhere, whatever
    /// other traces are drawn.
    ///
    /// # Errors
    /// Those of [`Self::validate`].
    pub fn simulate(&self, seed: u64, index: usize) -> Result<SimulatedTrace, SynthError> {
        self.validate()?;
        let root = RootSeed(seed);
        let mut of_firing = root.draws(Stream::TraceFiring, index);
        let mut of_indicator = root.draws(Stream::TraceIndicator, index);
        let mut of_baseline = root.draws(Stream::TraceBaseline, index);
        let mut of_noise = root.draws(Stream::TraceNoise, index);
        let mut of_timing = root.draws(Stream::TraceTiming, index);

        let response = self.indicators.response(&mut of_indicator);
        let rate_hz = self.rate_hz(&mut of_timing);
        let timeline = self.timeline(rate_hz, response.decay_s, &mut of_timing);
        let (dt_s, n_frames) = (timeline.dt_s, timeline.n_frames());
        let length_s = n_frames as f64 * dt_s;
        let spikes = self.firing.spikes(length_s, &mut of_firing);
        let snr = match spikes.fast {
            true => self.indicators.fast_snr,
            false => self.indicators.snr,
        };
        let spike = self.indicators.spike_dff.log_uniform(&mut of_indicator);
        let at_30_hz = spike / snr.log_uniform(&mut of_indicator);
        let noise_sd = self.noise.per_frame(at_30_hz, rate_hz, &mut of_noise);

        let exposure = self.exposure.uniform(&mut of_timing);
        let exposed = exposed(
            &response,
            &spikes.times_s,
            [dt_s, exposure],
            n_frames,
            &mut of_indicator,
        );
        let scale = Scale {
            spike,
            noise_sd,
            dt_s,
            n_frames,
        };
        let gain = self.disturbances.gain(&scale, &mut of_baseline);
        let mut offset = self.disturbances.offset(&scale, &mut of_baseline);
        if let Some(leak) = self.disturbances.leak(&mut of_baseline) {
            let other = self.firing.spikes(length_s, &mut of_baseline);
            let calcium = response.calcium(&other.times_s, n_frames, dt_s, &mut of_baseline);
            for (y, c) in offset.iter_mut().zip(calcium) {
                *y += leak * spike * response.brightness(c);
            }
        }
        self.offset_trials(&timeline, &mut offset, noise_sd, &mut of_baseline);
        let baseline: Vec<f64> = gain.iter().zip(&offset).map(|(g, o)| g + o).collect();
        let mut fluor: Vec<f64> = (0..n_frames)
            .map(|t| baseline[t] + gain[t] * spike * exposed[t])
            .collect();
        self.noise.add(&mut fluor, noise_sd, &mut of_noise);
        let seen = Seen {
            dt_s,
            fluor: timeline.cut(&fluor),
            baseline: timeline.cut(&baseline),
            spike_times_s: timeline.joined(&spikes.times_s),
            trial_starts: starts(&timeline.recorded),
        };
        let seen = self.processed(seen, &mut of_noise);
        let mut fluor: Vec<f32> = seen.fluor.iter().map(|&y| y as f32).collect();
        self.noise.cut_gaps(&mut fluor, seen.dt_s, &mut of_noise);
        Ok(SimulatedTrace {
            dt_s: seen.dt_s,
            fluor,
            baseline: seen.baseline.iter().map(|&y| y as f32).collect(),
            spike_times_s: seen.spike_times_s,
            trial_starts: seen.trial_starts,
            rise_s: response.rise_s,
            decay_s: response.decay_s,
            spike_size: spike,
            noise_sd,
        })
    }

    fn rate_hz(&self, draws: &mut Draws) -> f64 {
        match chance(self.unusual, draws) {
            true => self.unusual_rate_hz.log_uniform(draws),
            false => self.usual_rate_hz.log_uniform(draws),
        }
    }

    /// Frames of a trace, or of its trials, after the neuron has fired for a while.
    fn timeline(&self, rate_hz: f64, decay_s: f64, draws: &mut Draws) -> Timeline {
        let frames = |seconds: f64| libm::round(seconds * rate_hz) as usize;
        let mut left = frames(self.duration_s.log_uniform(draws)).max(2);
        let mut next = frames((WARM_UP[0] * decay_s).min(WARM_UP[1]));
        let mut recorded = Vec::new();
        let of_trials = chance(self.of_trials, draws);
        let length = match of_trials {
            true => frames(self.trial_s.log_uniform(draws)).max(2),
            false => left,
        };
        while left > 0 {
            let length = length.min(left);
            recorded.push([next, next + length]);
            left -= length;
            next += length + frames(self.pause_s.uniform(draws));
        }
        Timeline {
            dt_s: 1.0 / rate_hz,
            recorded,
        }
    }

    fn offset_trials(
        &self,
        timeline: &Timeline,
        offset: &mut [f64],
        noise_sd: f64,
        draws: &mut Draws,
    ) {
        let sd = self.trial_offset.uniform(draws) * noise_sd;
        if timeline.recorded.len() > 1 {
            for &[a, b] in &timeline.recorded {
                let size = sd * draws.normal();
                offset[a..b].iter_mut().for_each(|y| *y += size);
            }
        }
    }

    /// What users do to traces before they deconvolve them.
    fn processed(&self, mut seen: Seen, draws: &mut Draws) -> Seen {
        if let Some(half) = self.noise.smoothing(draws) {
            seen.fluor = noise::smooth(&seen.fluor, &half);
        }
        let Some(resampling) = self.noise.resampling(draws) else {
            return seen;
        };
        let dt_s = seen.dt_s * resampling.step;
        // The middle of the new first frame, in old frames, less half of a new frame.
        let origin_s = (resampling.first + 0.5) * seen.dt_s - 0.5 * dt_s;
        let n = libm::floor(seen.fluor.len() as f64 / resampling.step) as usize;
        let new_place = |frame: usize| {
            let place = libm::ceil((frame as f64 - 0.5 - resampling.first) / resampling.step);
            (place.max(0.0) as usize).min(n.saturating_sub(1))
        };
        Seen {
            dt_s,
            fluor: resampling.apply(&seen.fluor),
            baseline: resampling.apply(&seen.baseline),
            spike_times_s: seen.spike_times_s.iter().map(|t| t - origin_s).collect(),
            trial_starts: seen.trial_starts.iter().map(|&f| new_place(f)).collect(),
        }
    }
}

/// A recorded trace before it is rounded.
struct Seen {
    dt_s: f64,
    fluor: Vec<f64>,
    baseline: Vec<f64>,
    spike_times_s: Vec<f64>,
    trial_starts: Vec<usize>,
}

/// Where trials begin once they are joined.
fn starts(recorded: &[[usize; 2]]) -> Vec<usize> {
    let mut next = 0;
    let start = |&[a, b]: &[usize; 2]| {
        let start = next;
        next += b - a;
        start
    };
    recorded.iter().map(start).collect()
}

/// Mean brightness while the neuron is exposed, in the middle of each frame, `[frame]`.
fn exposed(
    response: &response::Response,
    spikes_s: &[f64],
    [dt_s, exposure]: [f64; 2],
    n_frames: usize,
    draws: &mut Draws,
) -> Vec<f64> {
    let n_steps = libm::ceil(dt_s / STEP_S) as usize;
    let step_s = dt_s / n_steps as f64;
    let calcium = response.calcium(spikes_s, n_steps * n_frames, step_s, draws);
    // As many steps as are exposed, of the same parity as the frame so that its middle is theirs.
    let dark = libm::floor(0.5 * (1.0 - exposure) * n_steps as f64) as usize;
    let dark = dark.min((n_steps - 1) / 2);
    let frame = |frame: &[f64]| {
        let seen = &frame[dark..n_steps - dark];
        let brightness = seen.iter().map(|&c| response.brightness(c));
        brightness.sum::<f64>() / seen.len() as f64
    };
    calcium.chunks_exact(n_steps).map(frame).collect()
}
