//! Size of a spike and baseline of a trace that is shot noise: spikes that jump and decay.
//!
//! Cumulants of the innovations know nothing of the baseline: for Poisson spikes of one size they are
//! n·size², n·size³, …, whatever calcium is always there. Quantiles of the trace tell the baseline, but
//! how much calcium the lowest frames still hold depends on the rate; it is found by simulation.
//!
//! # Source
//! Campbell 1909 for the cumulants of shot noise; Efron 1979 for the correction of a bias by
//! simulation.

use calcium::estimate::autocovariance;
use calcium::trials::trials;
use calcium::{Ar1, CalciumError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::innovations::{Quiet, innovations};

/// Frames are averaged until a decay lasts about so many of them: noise hides less then.
const DECAY_FRAMES: f64 = 15.0;
/// A third cumulant of the innovations below this many standard errors is noise.
const LEAST_SKEW: f64 = 3.0;
/// Rounds in which rate and baseline find each other, and the step of each.
const N_ROUNDS: usize = 12;
const STEP: f64 = 0.5;
/// Frames of a simulated trace, and decay times for which its rate stays as it is.
const N_SIMULATED: usize = 8000;
const RATE_LASTS: f64 = 5.0;
/// Greatest squared coefficient of variation of a rate.
const MAX_CV2: f64 = 4.0;
/// Before the simulated trace is in its stationary state.
const SETTLING: f64 = 8.0;

/// Size of a spike and baseline, in fluorescence units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shots {
    pub size: f64,
    pub baseline: f64,
}

/// A trace whose frames are averaged, and what that makes of a spike.
struct Averaged {
    trace: Vec<f32>,
    /// First frames of its trials.
    starts: Vec<usize>,
    g: f64,
    /// All that the innovations of one spike of size 1 sum to, wherever in a frame it lies.
    total: f64,
    /// The mean sum of their cubes.
    cubes: f64,
    noise_sd: f64,
}

impl Averaged {
    /// Means of k frames; missing where one of them is. A spike j frames into such a mean has an
    /// innovation of (1 − g^(k−j))/(k(1 − g)) in it and one of (g^(k−j) − g^k)/(k(1 − g)) in the next.
    fn of(trace: &[f32], starts: &[usize], ar: Ar1, noise_sd: f64) -> Self {
        let g = ar.g();
        let decay_frames = -1.0 / g.max(1e-9).ln();
        let k = ((decay_frames / DECAY_FRAMES) as usize).max(1);
        let mean = |frames: &[f32]| {
            let sum: f64 = frames.iter().map(|&x| f64::from(x)).sum();
            (sum / k as f64) as f32
        };
        let (mut means, mut starts_of_means) = (Vec::new(), Vec::new());
        for trial in trials(trace.len(), starts) {
            starts_of_means.push(means.len());
            means.extend(trace[trial].chunks_exact(k).map(mean));
        }
        let g_k = g.powi(k as i32);
        let scale = 1.0 / (k as f64 * (1.0 - g));
        let cube = |j: usize| {
            let left = g.powi((k - j) as i32);
            ((1.0 - left) * scale).powi(3) + ((left - g_k) * scale).powi(3)
        };
        Self {
            trace: means,
            starts: starts_of_means,
            g: g_k,
            total: (1.0 - g_k) * scale,
            cubes: (0..k).map(cube).sum::<f64>() / k as f64,
            noise_sd: noise_sd / (k as f64).sqrt(),
        }
    }
}

impl Shots {
    /// Of trials without artefacts that begin at `starts`, with spikes of a `given` size or whatever they have; nothing if
    /// they do not stand out of noise of this SD.
    pub fn of(
        trace: &[f32],
        starts: &[usize],
        ar: Ar1,
        noise_sd: f64,
        given: Option<f64>,
    ) -> Result<Option<Self>, CalciumError> {
        let averaged = Averaged::of(trace, starts, ar, noise_sd);
        let Averaged { g, total, .. } = averaged;
        let innovations = innovations(&averaged.trace, &averaged.starts, g);
        let present: Vec<f64> = innovations
            .iter()
            .copied()
            .filter(|u| !u.is_nan())
            .collect();
        if present.len() < 16 {
            return Ok(None);
        }
        let covariance = autocovariance(&innovations, 1)?;
        let mean = present.iter().sum::<f64>() / present.len() as f64;
        let third = present.iter().map(|u| (u - mean).powi(3)).sum::<f64>() / present.len() as f64;
        let noise_variance = averaged.noise_sd.powi(2);
        // Noise is in both lags: the sum holds little of it.
        let second = covariance[0] + 2.0 * covariance[1] - noise_variance * (1.0 - g).powi(2);
        let error = (15.0 * (noise_variance * (1.0 + g * g)).powi(3) / present.len() as f64).sqrt();
        let size = (third / averaged.cubes) / (second / total.powi(2));
        let greatest = present
            .iter()
            .fold(0.0, |greatest: f64, &u| greatest.max(u));
        let is_sound = second > 0.0 && third > LEAST_SKEW * error && size <= 2.0 * greatest;
        let size = given.unwrap_or(size);
        Ok(is_sound.then(|| Self {
            size,
            baseline: averaged.baseline(size),
        }))
    }
}

impl Averaged {
    /// The quiet level less the calcium that a quiet level holds where the trace has as many spikes of
    /// this size, and a rate that varies as much.
    fn baseline(&self, size: f64) -> f64 {
        let present = self
            .trace
            .iter()
            .map(|&x| f64::from(x))
            .filter(|x| !x.is_nan());
        let n = present.clone().count() as f64;
        let mean = present.clone().sum::<f64>() / n;
        let variance = present.map(|x| (x - mean).powi(2)).sum::<f64>() / n - self.noise_sd.powi(2);
        let quiet = Quiet::of(&self.trace, self.noise_sd).level;
        let simulation = Simulation::new(self);
        let mut baseline = quiet;
        for _ in 0..N_ROUNDS {
            let per_frame = ((mean - baseline) * (1.0 - self.g) / (self.total * size)).max(1e-6);
            let poisson = per_frame * self.total.powi(2) / (1.0 - self.g.powi(2));
            let level = per_frame * self.total / (1.0 - self.g);
            let excess = variance / size.powi(2) - poisson;
            let cv2 = (excess / level.powi(2)).clamp(0.0, MAX_CV2);
            let held = simulation.quiet_level(per_frame, cv2, self.noise_sd / size);
            baseline += STEP * (quiet - size * held - baseline);
        }
        baseline
    }
}

/// Random numbers of a simulated trace, the same whatever its rate: what it says then changes
/// smoothly with the rate.
struct Simulation<'a> {
    averaged: &'a Averaged,
    uniforms: Vec<f64>,
    noise: Vec<f64>,
    rates: Vec<f64>,
}

impl<'a> Simulation<'a> {
    fn new(averaged: &'a Averaged) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normals =
            |n: usize| -> Vec<f64> { (0..n).map(|_| StandardNormal.sample(&mut rng)).collect() };
        let (noise, rates) = (normals(N_SIMULATED), normals(N_SIMULATED));
        Self {
            averaged,
            uniforms: (0..N_SIMULATED).map(|_| rng.random()).collect(),
            noise,
            rates,
        }
    }

    /// The quiet level of a trace with baseline 0 and spikes of size 1.
    fn quiet_level(&self, per_frame: f64, cv2: f64, noise_sd: f64) -> f64 {
        let Averaged { g, total, .. } = *self.averaged;
        let decay_frames = -1.0 / g.max(1e-9).ln();
        let lasts = ((RATE_LASTS * decay_frames) as usize).max(1);
        let sd = cv2.ln_1p().sqrt();
        let factors: Vec<f64> = self.rates.iter().map(|z| (sd * z).exp()).collect();
        let factors = &factors[..N_SIMULATED.div_ceil(lasts)];
        let mean = factors.iter().sum::<f64>() / factors.len() as f64;
        let mut calcium = per_frame * total / (1.0 - g);
        let mut trace = Vec::with_capacity(N_SIMULATED);
        for frame in 0..N_SIMULATED {
            let rate = per_frame * factors[frame / lasts] / mean;
            calcium = g * calcium + total * poisson(self.uniforms[frame], rate);
            trace.push((calcium + noise_sd * self.noise[frame]) as f32);
        }
        let settled = ((SETTLING * decay_frames) as usize).min(N_SIMULATED / 2);
        Quiet::of(&trace[settled..], noise_sd).level
    }
}

/// The count of this mean whose distribution function first reaches `uniform`.
fn poisson(uniform: f64, mean: f64) -> f64 {
    let (mut count, mut probability) = (0.0, (-mean).exp());
    let mut below = probability;
    while uniform > below && probability > 1e-12 {
        count += 1.0;
        probability *= mean / count;
        below += probability;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `seconds` of `rate_hz` spikes of size 3 above a baseline of 7, whose rate swings by half.
    fn trace(
        hz: f64,
        tau_s: f64,
        rate_hz: f64,
        noise_sd: f64,
        seconds: f64,
        seed: u64,
    ) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let g = (-1.0 / (hz * tau_s)).exp();
        let mut calcium = 3.0 * rate_hz * tau_s;
        (0..(seconds * hz) as usize)
            .map(|frame| {
                let swing = 1.0 + 0.5 * (0.7 * frame as f64 / hz).sin();
                calcium = g * calcium + 3.0 * poisson(rng.random(), swing * rate_hz / hz);
                let noise: f64 = StandardNormal.sample(&mut rng);
                (7.0 + calcium + noise_sd * noise) as f32
            })
            .collect()
    }

    #[test]
    fn size_and_counts_do_not_depend_on_how_long_a_transient_lasts() {
        for (hz, tau_s, rate_hz, noise_sd, seconds) in [
            (500.0, 0.5, 2.0, 1.5, 120.0),
            (60.0, 2.0, 0.5, 1.0, 240.0),
            (30.0, 1.5, 0.5, 1.0, 600.0),
            (20.0, 0.7, 1.0, 0.75, 600.0),
            (10.0, 0.7, 0.5, 0.6, 600.0),
        ] {
            let found: Vec<Shots> = (0..5)
                .map(|seed| {
                    let trace = trace(hz, tau_s, rate_hz, noise_sd, seconds, seed);
                    let ar = Ar1::new((-1.0 / (hz * tau_s)).exp()).unwrap();
                    Shots::of(&trace, &[0], ar, noise_sd, None)
                        .unwrap()
                        .unwrap()
                })
                .collect();
            let mean = |value: &dyn Fn(&Shots) -> f64| found.iter().map(value).sum::<f64>() / 5.0;
            let size = mean(&|shots| shots.size);
            assert!(
                (size / 3.0 - 1.0).abs() < 0.15,
                "{hz} Hz: size {size}, not 3"
            );
            // Mean calcium above the baseline, in spikes: the rate times tau.
            let level = 7.0 + 3.0 * rate_hz * tau_s;
            let counts = mean(&|shots| (level - shots.baseline) / shots.size) / (rate_hz * tau_s);
            assert!(
                (counts - 1.0).abs() < 0.2,
                "{hz} Hz: counts {counts} x the truth"
            );
        }
    }

    #[test]
    fn noise_alone_has_no_spikes() {
        let ar = Ar1::new(0.9).unwrap();
        let silent = trace(10.0, 0.7, 0.0, 1.0, 600.0, 3);
        assert_eq!(Shots::of(&silent, &[0], ar, 1.0, None).unwrap(), None);
    }
}
