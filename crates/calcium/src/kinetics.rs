//! How fast the indicator rises and decays, from the spectrum of the fluorescence.

use crate::error::duration;
use crate::estimate::{band_noise_of, present, welch};
use crate::{CalciumError, Sample};

/// Time constants of an indicator's response to a spike.
///
/// # Units
/// Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kinetics {
    /// Of the rise.
    pub rise_s: f64,
    /// Of the decay.
    pub decay_s: f64,
}

/// Frames per segment of the spectrum: ten seconds at 100 Hz.
const SEGMENT: usize = 1024;
const MIN_FRAMES: usize = 8;
/// Slower than this, in cycles per typical decay, the spectrum is that of firing rates and drift.
const SLOWEST: f64 = 0.3;
/// Above this many Hz no indicator's signal stands out.
const FASTEST_HZ: f64 = 12.0;
/// SD of the logarithms of rise and decay among indicators and cells.
const SPREAD: Kinetics = Kinetics {
    rise_s: 1.0,
    decay_s: 0.5,
};
/// Rises and decays that are tried, in seconds and per typical decay: first, last, how many.
const RISES_S: (f64, f64, usize) = (0.003, 1.0, 20);
const DECAYS: (f64, f64, usize) = (0.2, 4.0, 10);
/// What of the noise at high frequencies may be noise: the rest is calcium.
const NOISE_SHARES: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
/// Scoring steps for the power of the signal.
const N_STEPS: usize = 12;

/// Rise and decay, as the posterior means of their logarithms.
///
/// The power spectrum of spikes seen through a rise and a decay, at times that are independent of one
/// another, is that of AR(2), and noise adds a constant. The prior is log-normal around `typical`, by
/// a factor e either way for the rise and √e for the decay; where the noise leaves little to be seen,
/// the answer is `typical`. Frequencies below 0.3 per typical decay are left to firing rates and drift,
/// so that a slow decay shows little, and the answer is near `typical`. Firing that comes in bursts makes both too long.
///
/// # Shapes
/// `trace`: `[time]`.
/// # Units
/// Seconds.
/// # Errors
/// [`CalciumError::NotADuration`] for `dt_s` and `typical`; those of [`crate::estimate::noise_sd`].
/// # Source
/// Whittle's likelihood (1953) of a spectrum that is averaged over segments (Welch 1967) and bands.
pub fn kinetics<T: Sample>(
    trace: &[T],
    dt_s: f64,
    typical: Kinetics,
) -> Result<Kinetics, CalciumError> {
    let dt_s = duration("dt_s", dt_s)?;
    duration("rise_s", typical.rise_s)?;
    duration("decay_s", typical.decay_s)?;
    let samples = present(trace, "the kinetics", MIN_FRAMES)?;
    let noise = band_noise_of(&samples);
    let slowest = SLOWEST * dt_s / typical.decay_s;
    let fastest = (0.9 * noise.limit).min(FASTEST_HZ * dt_s);
    let bands = bands(&samples, slowest, fastest);
    let loudest = bands.iter().map(|band| band.power).fold(0.0, f64::max);
    if loudest == 0.0 {
        return Ok(typical);
    }
    // A simulation may have no noise at all.
    let noise = (noise.sd * noise.sd).max(1e-9 * loudest);
    let candidates = geometric(RISES_S).flat_map(|rise_s| {
        geometric(DECAYS).map(move |decay| Kinetics {
            rise_s,
            decay_s: decay * typical.decay_s,
        })
    });
    let weighted: Vec<(Kinetics, f64)> = candidates
        .map(|kinetics| {
            let misfit = misfit(&bands, kinetics, dt_s, noise);
            (kinetics, misfit + surprise(kinetics, typical))
        })
        .collect();
    Ok(log_mean(&weighted))
}

/// Power over neighbouring frequencies.
struct Band {
    /// Radians per frame.
    angle: f64,
    power: f64,
    /// Independent estimates that it averages.
    weight: f64,
}

/// The spectrum between two frequencies, in cycles per frame, in eighths of an octave.
fn bands(samples: &[f64], slowest: f64, fastest: f64) -> Vec<Band> {
    let n = SEGMENT.min(samples.len());
    let power = welch(samples, n);
    let n_segments = samples.len() as f64 / n as f64;
    let mut bands: Vec<(i64, Band)> = Vec::new();
    for (k, &power) in power.iter().enumerate().skip(1) {
        let frequency = k as f64 / n as f64;
        if frequency < slowest || frequency > fastest {
            continue;
        }
        let key = (8.0 * libm::log2(k as f64)).floor() as i64;
        let angle = std::f64::consts::TAU * frequency;
        match bands.last_mut() {
            Some((last, band)) if *last == key => {
                let share = n_segments / (band.weight + n_segments);
                band.angle += share * (angle - band.angle);
                band.power += share * (power - band.power);
                band.weight += n_segments;
            }
            _ => bands.push((
                key,
                Band {
                    angle,
                    power,
                    weight: n_segments,
                },
            )),
        }
    }
    bands.into_iter().map(|(_, band)| band).collect()
}

/// Minus the log likelihood, at the best power of the signal and share of the noise.
fn misfit(bands: &[Band], kinetics: Kinetics, dt_s: f64, noise: f64) -> f64 {
    let shape: Vec<f64> = bands
        .iter()
        .map(|band| response(kinetics, dt_s, band.angle))
        .collect();
    let at_share = |share: &f64| {
        let noise = share * noise;
        let signal = signal(bands, &shape, noise);
        let terms = bands.iter().zip(&shape).map(|(band, shape)| {
            let expected = signal * shape + noise;
            band.weight * (libm::log(expected) + band.power / expected)
        });
        terms.sum::<f64>()
    };
    NOISE_SHARES
        .iter()
        .map(at_share)
        .fold(f64::INFINITY, f64::min)
}

/// The power of the signal that makes the spectrum likeliest, by scoring in its logarithm.
fn signal(bands: &[Band], shape: &[f64], noise: f64) -> f64 {
    let excess: f64 = bands
        .iter()
        .map(|band| band.weight * (band.power - noise))
        .sum();
    let total: f64 = bands
        .iter()
        .zip(shape)
        .map(|(band, shape)| band.weight * shape)
        .sum();
    let least = 1e-3 * noise;
    let mut signal = (excess / total).max(least);
    for _step in 0..N_STEPS {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for (band, shape) in bands.iter().zip(shape) {
            let expected = signal * shape + noise;
            let share = signal * shape / expected;
            slope += band.weight * share * (band.power / expected - 1.0);
            curvature += band.weight * share * share;
        }
        let step = slope / curvature;
        if !step.is_finite() {
            break;
        }
        signal = (signal * libm::exp(step.clamp(-1.0, 1.0))).max(least);
    }
    signal
}

/// Power of the response to a spike, 1 at frequency 0.
fn response(kinetics: Kinetics, dt_s: f64, angle: f64) -> f64 {
    let lowpass = |tau_s: f64| {
        let decay = libm::exp(-dt_s / tau_s);
        let gain = 1.0 - 2.0 * decay * libm::cos(angle) + decay * decay;
        (1.0 - decay).powi(2) / gain
    };
    lowpass(kinetics.rise_s) * lowpass(kinetics.decay_s)
}

/// Minus the log prior.
fn surprise(kinetics: Kinetics, typical: Kinetics) -> f64 {
    let rise = libm::log(kinetics.rise_s / typical.rise_s) / SPREAD.rise_s;
    let decay = libm::log(kinetics.decay_s / typical.decay_s) / SPREAD.decay_s;
    0.5 * (rise * rise + decay * decay)
}

fn log_mean(weighted: &[(Kinetics, f64)]) -> Kinetics {
    let least = weighted
        .iter()
        .map(|(_, misfit)| *misfit)
        .fold(f64::INFINITY, f64::min);
    let (mut total, mut rise, mut decay) = (0.0, 0.0, 0.0);
    for (kinetics, misfit) in weighted {
        let weight = libm::exp(least - misfit);
        total += weight;
        rise += weight * libm::log(kinetics.rise_s);
        decay += weight * libm::log(kinetics.decay_s);
    }
    Kinetics {
        rise_s: libm::exp(rise / total),
        decay_s: libm::exp(decay / total),
    }
}

/// From the first to the last in equal ratios.
fn geometric((first, last, n): (f64, f64, usize)) -> impl Iterator<Item = f64> {
    let ratio: f64 = last / first;
    (0..n).map(move |i| first * libm::pow(ratio, i as f64 / (n - 1) as f64))
}
