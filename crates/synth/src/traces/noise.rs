//! Noise of the detector, and what resampling and smoothing make of a trace.

use serde::{Deserialize, Serialize};

use super::range::{Range, chance, check_probability};
use crate::SynthError;
use crate::seed::Draws;

/// Noise, and what was done to the trace afterwards. Every trace draws its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// The noise of a frame grows with this power of the frame rate, uniform: 1/2 where frames share the
    /// photons of a second, 0 where slow frames only visit more places.
    pub rate_exponent: Range,
    /// Share of traces with shot noise, whose variance grows with the fluorescence.
    pub shot: f64,
    /// Share of the variance at baseline that is shot noise, uniform.
    pub shot_share: Range,
    /// Share of traces that were resampled to a higher rate, as when planes or clocks are aligned.
    pub resampled: f64,
    /// How much higher the rate is, log-uniform.
    pub stretch: Range,
    /// Share of these by cubic interpolation, the others linear.
    pub cubic: f64,
    /// Share of traces that were smoothed.
    pub smoothed: f64,
    /// SD of the Gaussian that smoothed them, frames, uniform.
    pub smoothing: Range,
    /// Share of traces with stretches without data.
    pub gappy: f64,
    /// Stretches without data, a whole number.
    pub gaps: Range,
    /// Their lengths, s, log-uniform.
    pub gap_s: Range,
}

impl Default for Noise {
    fn default() -> Self {
        Self {
            rate_exponent: Range([0.0, 0.5]),
            shot: 0.4,
            shot_share: Range([0.3, 1.0]),
            resampled: 0.3,
            stretch: Range([1.0, 3.0]),
            cubic: 0.4,
            smoothed: 0.1,
            smoothing: Range([0.3, 1.2]),
            gappy: 0.05,
            gaps: Range([1.0, 4.0]),
            gap_s: Range([0.05, 2.0]),
        }
    }
}

/// Frames at a new rate: frame j is seen at place `first + j · step` of the old ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resampling {
    pub first: f64,
    pub step: f64,
    cubic: bool,
}

impl Noise {
    pub(super) fn validate(&self) -> Result<(), SynthError> {
        for (field, share) in [
            ("noise.shot", self.shot),
            ("noise.resampled", self.resampled),
            ("noise.cubic", self.cubic),
            ("noise.smoothed", self.smoothed),
            ("noise.gappy", self.gappy),
        ] {
            check_probability(field, share)?;
        }
        let shares = "[low, high] with 0 <= low <= high <= 1";
        self.rate_exponent
            .check_within("noise.rate_exponent", [0.0, 1.0], shares)?;
        self.shot_share
            .check_within("noise.shot_share", [0.0, 1.0], shares)?;
        let faster = "[low, high] with 1 <= low <= high <= 100";
        self.stretch
            .check_within("noise.stretch", [1.0, 100.0], faster)?;
        let frames = "[low, high] with 0 < low <= high <= 20";
        self.smoothing
            .check_within("noise.smoothing", [1e-3, 20.0], frames)?;
        let not_negative = "[low, high] with 0 <= low <= high";
        self.gaps
            .check_within("noise.gaps", [0.0, f64::MAX], not_negative)?;
        self.gap_s.check_positive("noise.gap_s")
    }

    /// SD of the noise of a frame, given that at 30 frames a second.
    pub(super) fn per_frame(&self, sd_at_30_hz: f64, rate_hz: f64, draws: &mut Draws) -> f64 {
        sd_at_30_hz * libm::pow(rate_hz / 30.0, self.rate_exponent.uniform(draws))
    }

    /// Adds noise to fluorescence in units of the baseline, whose SD is `sd` at baseline.
    pub(super) fn add(&self, fluor: &mut [f64], sd: f64, draws: &mut Draws) {
        let share = self.shot_share.uniform(draws);
        let shot = if chance(self.shot, draws) { share } else { 0.0 };
        for y in fluor {
            let growth = (1.0 + shot * (*y - 1.0)).max(0.0);
            *y += sd * growth.sqrt() * draws.normal();
        }
    }

    /// Draws how the trace was resampled, if it was.
    pub(super) fn resampling(&self, draws: &mut Draws) -> Option<Resampling> {
        let resampling = Resampling {
            step: 1.0 / self.stretch.log_uniform(draws),
            first: draws.uniform() - 0.5,
            cubic: chance(self.cubic, draws),
        };
        chance(self.resampled, draws).then_some(resampling)
    }

    /// Draws how the trace was smoothed; the kernel's half, from its middle on.
    pub(super) fn smoothing(&self, draws: &mut Draws) -> Option<Vec<f64>> {
        let sd = self.smoothing.uniform(draws);
        let reach = libm::ceil(3.0 * sd) as usize;
        let half = (0..=reach).map(|k| libm::exp(-0.5 * (k * k) as f64 / (sd * sd)));
        chance(self.smoothed, draws).then(|| half.collect())
    }

    /// Marks stretches as missing.
    pub(super) fn cut_gaps(&self, fluor: &mut [f32], dt_s: f64, draws: &mut Draws) {
        if !chance(self.gappy, draws) {
            return;
        }
        for _gap in 0..self.gaps.whole(draws) {
            let first = (draws.uniform() * fluor.len() as f64) as usize;
            let length = libm::ceil(self.gap_s.log_uniform(draws) / dt_s) as usize;
            // A trace without data teaches nothing.
            let length = length.min(fluor.len() / 10);
            let end = (first + length).min(fluor.len());
            fluor[first..end].fill(f32::NAN);
        }
    }
}

impl Resampling {
    /// The trace at the new rate; beyond its ends it stays as it is there.
    pub(super) fn apply(self, trace: &[f64]) -> Vec<f64> {
        let last = trace.len() as i64 - 1;
        let at = |index: i64| trace[index.clamp(0, last) as usize];
        let n = libm::floor(trace.len() as f64 / self.step) as usize;
        let frame = |j: usize| {
            let place = self.first + j as f64 * self.step;
            let below = libm::floor(place);
            let (part, i) = (place - below, below as i64);
            let (a, b) = (at(i), at(i + 1));
            if !self.cubic {
                return a + part * (b - a);
            }
            // Catmull & Rom 1974.
            let (before, after) = (at(i - 1), at(i + 2));
            let slope = b - before;
            let bend = 2.0 * before - 5.0 * a + 4.0 * b - after;
            let twist = 3.0 * (a - b) + after - before;
            a + 0.5 * part * (slope + part * (bend + part * twist))
        };
        (0..n).map(frame).collect()
    }
}

/// Means under a symmetric kernel, whose `half` starts in its middle; fewer frames at the ends.
pub(super) fn smooth(trace: &[f64], half: &[f64]) -> Vec<f64> {
    let reach = half.len() - 1;
    let at = |t: usize| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for other in t.saturating_sub(reach)..(t + reach + 1).min(trace.len()) {
            let w = half[other.abs_diff(t)];
            sum += w * trace[other];
            weight += w;
        }
        sum / weight
    };
    (0..trace.len()).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resampling_keeps_straight_lines_straight() {
        let line: Vec<f64> = (0..50).map(|t| 3.0 + 0.5 * f64::from(t)).collect();
        for cubic in [false, true] {
            let resampling = Resampling {
                first: 0.3,
                step: 0.4,
                cubic,
            };
            let fine = resampling.apply(&line);
            assert_eq!(fine.len(), 125);
            for (j, y) in fine.iter().enumerate().skip(5).take(110) {
                let wanted = 3.0 + 0.5 * (0.3 + 0.4 * j as f64);
                assert!((y - wanted).abs() < 1e-9, "{j}: {y}, not {wanted}");
            }
        }
    }

    #[test]
    fn smoothing_keeps_constants_and_spreads_the_rest() {
        let half = [1.0, 0.5];
        assert_eq!(smooth(&[2.0; 5], &half), [2.0; 5]);
        assert_eq!(
            smooth(&[0.0, 0.0, 4.0, 0.0, 0.0], &half),
            [0.0, 1.0, 2.0, 1.0, 0.0]
        );
    }
}
