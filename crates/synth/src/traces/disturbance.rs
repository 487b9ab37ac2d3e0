//! What moves a baseline: drift, bleaching, jumps, motion, neighbours, and beats.

use std::f64::consts::{PI, TAU};

use serde::{Deserialize, Serialize};

use super::range::{Range, chance, check_probability, exponential};
use crate::SynthError;
use crate::error::check_positive;
use crate::seed::Draws;

/// What else than the neuron's own spikes moves its fluorescence. Every trace draws its own.
///
/// Sizes are in SDs of the noise of a frame; those of `drift`, `neuropil` and `slow_drift` in half a single
/// spike where that is smaller, since nothing could be seen else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disturbances {
    /// SD of a drift with a correlation time of 10 s, uniform.
    pub drift: Range,
    /// SD of a drift with a correlation time of 60 s, uniform.
    pub slow_drift: Range,
    /// Share of traces that drift by much more, as when the focus creeps: far above their spikes, but slowly.
    pub creeping: f64,
    /// SD of that drift, uniform.
    pub creep: Range,
    /// Its correlation time, s, log-uniform.
    pub creep_s: Range,
    /// Share of traces that bleach: baseline and transients dim together.
    pub bleaching: f64,
    /// Share of the fluorescence lost within a time constant, log-uniform.
    pub bleached: Range,
    /// Time constant of bleaching, s, log-uniform.
    pub bleaching_s: Range,
    /// Share of traces whose baseline jumps, as when the plane shifts or files are joined.
    pub jumping: f64,
    /// How often it does, a whole number.
    pub jumps: Range,
    /// Size of a jump either way, uniform.
    pub jump: Range,
    /// Share of traces with brief motion, dimmer or brighter by the same factor for a moment.
    pub moving: f64,
    /// Movements a second, log-uniform.
    pub movements_hz: Range,
    /// Length of a movement, s, log-uniform.
    pub movement_s: Range,
    /// Its size, log-uniform.
    pub movement: Range,
    /// Share of movements that make the trace brighter.
    pub brighter: f64,
    /// Share of traces with another neuron in them.
    pub neighbours: f64,
    /// Fluorescence of its single spikes per own single spike, log-uniform.
    pub neighbour: Range,
    /// Share of neighbours that are subtracted, as neuropil correction does too much.
    pub subtracted: f64,
    /// Share of traces with neuropil.
    pub with_neuropil: f64,
    /// SD of the neuropil, uniform.
    pub neuropil: Range,
    /// Correlation time of the neuropil, s, log-uniform.
    pub neuropil_s: Range,
    /// Share of traces with a beat: heart, breath, or the line's frequency folded by the frame rate.
    pub beating: f64,
    /// Frequency of the beat, Hz, log-uniform: breath of 1 to 3, hearts of 2 (zebrafish) to 12 (mice).
    pub beat_hz: Range,
    /// Amplitude of the beat, uniform.
    pub beat: Range,
}

impl Default for Disturbances {
    fn default() -> Self {
        Self {
            drift: Range([0.0, 1.5]),
            slow_drift: Range([0.0, 3.0]),
            creeping: 0.15,
            creep: Range([2.0, 10.0]),
            creep_s: Range([30.0, 200.0]),
            bleaching: 0.3,
            bleached: Range([0.005, 0.2]),
            bleaching_s: Range([15.0, 600.0]),
            jumping: 0.08,
            jumps: Range([1.0, 3.0]),
            jump: Range([-8.0, 8.0]),
            moving: 0.2,
            movements_hz: Range([0.01, 0.3]),
            movement_s: Range([0.05, 1.5]),
            movement: Range([1.0, 10.0]),
            brighter: 0.2,
            neighbours: 0.3,
            neighbour: Range([0.03, 0.3]),
            subtracted: 0.3,
            with_neuropil: 0.5,
            neuropil: Range([0.0, 1.5]),
            neuropil_s: Range([0.3, 3.0]),
            beating: 0.12,
            beat_hz: Range([0.5, 14.0]),
            beat: Range([0.1, 0.8]),
        }
    }
}

/// Sizes that disturbances are measured in, and when frames are.
pub(super) struct Scale {
    /// Of a single spike, fluorescence units.
    pub spike: f64,
    /// SD of the noise of a frame, fluorescence units.
    pub noise_sd: f64,
    pub dt_s: f64,
    pub n_frames: usize,
}

impl Disturbances {
    pub(super) fn validate(&self) -> Result<(), SynthError> {
        for (field, share) in [
            ("disturbances.creeping", self.creeping),
            ("disturbances.bleaching", self.bleaching),
            ("disturbances.jumping", self.jumping),
            ("disturbances.moving", self.moving),
            ("disturbances.brighter", self.brighter),
            ("disturbances.neighbours", self.neighbours),
            ("disturbances.subtracted", self.subtracted),
            ("disturbances.with_neuropil", self.with_neuropil),
            ("disturbances.beating", self.beating),
        ] {
            check_probability(field, share)?;
        }
        for (field, range) in [
            ("disturbances.creep_s", self.creep_s),
            ("disturbances.bleached", self.bleached),
            ("disturbances.bleaching_s", self.bleaching_s),
            ("disturbances.movements_hz", self.movements_hz),
            ("disturbances.movement_s", self.movement_s),
            ("disturbances.movement", self.movement),
            ("disturbances.neighbour", self.neighbour),
            ("disturbances.neuropil_s", self.neuropil_s),
            ("disturbances.beat_hz", self.beat_hz),
        ] {
            range.check_positive(field)?;
        }
        check_positive("disturbances.drift", self.drift.0[1])?;
        let not_negative = "[low, high] with 0 <= low <= high";
        for (field, range) in [
            ("disturbances.drift", self.drift),
            ("disturbances.slow_drift", self.slow_drift),
            ("disturbances.creep", self.creep),
            ("disturbances.jumps", self.jumps),
            ("disturbances.neuropil", self.neuropil),
            ("disturbances.beat", self.beat),
        ] {
            range.check_within(field, [0.0, f64::MAX], not_negative)?;
        }
        self.jump.check("disturbances.jump")
    }

    /// What multiplies everything, 1 at first: bleaching and motion, `[frame]`.
    pub(super) fn gain(&self, scale: &Scale, draws: &mut Draws) -> Vec<f64> {
        let mut gain = vec![1.0; scale.n_frames];
        if chance(self.bleaching, draws) {
            let lost = self.bleached.log_uniform(draws);
            let rate = scale.dt_s / self.bleaching_s.log_uniform(draws);
            for (t, gain) in gain.iter_mut().enumerate() {
                *gain *= 1.0 - lost * (1.0 - libm::exp(-rate * t as f64));
            }
        }
        if chance(self.moving, draws) {
            let length_s = scale.dt_s * scale.n_frames as f64;
            let mean_s = 1.0 / self.movements_hz.log_uniform(draws);
            let mut start = mean_s * exponential(draws);
            while start < length_s {
                let movement_s = self.movement_s.log_uniform(draws);
                let size = self.movement.log_uniform(draws) * scale.noise_sd;
                let sign = if chance(self.brighter, draws) {
                    1.0
                } else {
                    -1.0
                };
                // Nothing gets darker than dark.
                let size = (sign * size).max(-0.9);
                move_once(&mut gain, start / scale.dt_s, movement_s / scale.dt_s, size);
                start += mean_s * exponential(draws);
            }
        }
        gain
    }

    /// What adds to the fluorescence but for other neurons, `[frame]`.
    pub(super) fn offset(&self, scale: &Scale, draws: &mut Draws) -> Vec<f64> {
        let unit = scale.noise_sd.min(0.5 * scale.spike);
        let mut offset = vec![0.0; scale.n_frames];
        let sd = self.drift.uniform(draws) * unit;
        wander(&mut offset, scale.dt_s, 10.0, sd, draws);
        let sd = self.slow_drift.uniform(draws) * unit;
        wander(&mut offset, scale.dt_s, 60.0, sd, draws);
        if self.creeping > 0.0 && chance(self.creeping, draws) {
            let sd = self.creep.uniform(draws) * scale.noise_sd;
            let correlation_s = self.creep_s.log_uniform(draws);
            wander(&mut offset, scale.dt_s, correlation_s, sd, draws);
        }
        if chance(self.with_neuropil, draws) {
            let sd = self.neuropil.uniform(draws) * unit;
            let correlation_s = self.neuropil_s.log_uniform(draws);
            wander(&mut offset, scale.dt_s, correlation_s, sd, draws);
        }
        if chance(self.jumping, draws) {
            for _jump in 0..self.jumps.whole(draws) {
                let first = (draws.uniform() * scale.n_frames as f64) as usize;
                let size = self.jump.uniform(draws) * scale.noise_sd;
                offset[first..].iter_mut().for_each(|y| *y += size);
            }
        }
        if chance(self.beating, draws) {
            let amplitude = self.beat.uniform(draws) * scale.noise_sd;
            let turn = TAU * self.beat_hz.log_uniform(draws) * scale.dt_s;
            let mut phase = TAU * draws.uniform();
            for y in &mut offset {
                *y += amplitude * libm::sin(phase);
                // Hearts and breath are no clocks.
                phase += turn * (1.0 + 0.05 * draws.normal());
            }
        }
        offset
    }

    /// How strongly another neuron leaks in, if one does; below zero where it is subtracted.
    pub(super) fn leak(&self, draws: &mut Draws) -> Option<f64> {
        let share = self.neighbour.log_uniform(draws);
        let sign = if chance(self.subtracted, draws) {
            -1.0
        } else {
            1.0
        };
        chance(self.neighbours, draws).then_some(sign * share)
    }
}

/// Multiplies `gain` by a raised cosine of `length` frames from `start` on.
fn move_once(gain: &mut [f64], start: f64, length: f64, size: f64) {
    let first = libm::ceil(start) as usize;
    let end = (libm::ceil(start + length) as usize).min(gain.len());
    for (t, gain) in gain.iter_mut().enumerate().take(end).skip(first) {
        let place = (t as f64 - start) / length;
        *gain *= 1.0 + size * 0.5 * (1.0 - libm::cos(2.0 * PI * place));
    }
}

/// Adds an Ornstein–Uhlenbeck process, drawn at twenty knots per correlation time and straight between.
fn wander(offset: &mut [f64], dt_s: f64, correlation_s: f64, sd: f64, draws: &mut Draws) {
    let step_s = (0.05 * correlation_s).max(dt_s);
    let kept = libm::exp(-step_s / correlation_s);
    let fresh = sd * (1.0 - kept * kept).sqrt();
    let mut here = sd * draws.normal();
    let mut next = kept * here + fresh * draws.normal();
    let mut knot = 0.0;
    for (t, y) in offset.iter_mut().enumerate() {
        let place = t as f64 * dt_s / step_s;
        while place >= knot + 1.0 {
            knot += 1.0;
            here = next;
            next = kept * here + fresh * draws.normal();
        }
        *y += here + (place - knot) * (next - here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{RootSeed, Stream};

    #[test]
    fn wandering_has_its_sd_and_correlation_time() {
        let mut draws = RootSeed(1).draws(Stream::TraceBaseline, 0);
        let mut y = vec![0.0; 400_000];
        wander(&mut y, 0.1, 2.0, 3.0, &mut draws);
        let n = y.len() as f64;
        let variance = y.iter().map(|y| y * y).sum::<f64>() / n;
        let lag = y.iter().zip(&y[20..]).map(|(a, b)| a * b).sum::<f64>() / n;
        assert!((variance - 9.0).abs() < 0.6, "{variance}");
        assert!(
            (lag / variance - libm::exp(-1.0)).abs() < 0.04,
            "{}",
            lag / variance
        );
    }

    #[test]
    fn motion_ends_where_it_ends() {
        let mut gain = vec![1.0; 20];
        move_once(&mut gain, 4.0, 8.0, -0.5);
        assert_eq!([&gain[..5], &gain[12..]].concat(), [1.0; 13]);
        assert!((gain[8] - 0.5).abs() < 1e-12);
    }
}
