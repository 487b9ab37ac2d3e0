//! What a trace shows before any spike is looked for: where it is quiet, what is no calcium, what is new in each frame.

use calcium::CalciumError;
use calcium::estimate::{Average, autocovariance, noise_sd};

/// How far the variance of the noise may be from its estimate.
const NOISE_ERROR: f64 = 0.02;
/// A fraction of the frames so low that they hold noise alone, and how far below the mean of
/// such frames they lie, in SDs of the noise, if those are three tenths of all.
const QUIET_PERCENTILE: f64 = 0.08;
const QUIET_SDS: f64 = 0.62;
/// Fluorescence cannot fall below its baseline by more than noise does: frames further down than
/// this many SDs, and than all but the extremes lie apart, are artefacts such as motion.
const ARTEFACT_SDS: f64 = 6.0;

/// The fluorescence without calcium, and how far apart all but the extremes lie.
pub struct Quiet {
    pub level: f64,
    range: f64,
}

impl Quiet {
    /// Of a trace with noise of this SD.
    pub fn of(trace: &[f32], noise_sd: f64) -> Self {
        let mut present: Vec<f32> = trace.iter().copied().filter(|x| !x.is_nan()).collect();
        present.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| {
            let rank = (share * present.len() as f64) as usize;
            present.get(rank).map_or(0.0, |&x| f64::from(x))
        };
        let low = at(QUIET_PERCENTILE);
        Self {
            level: low + QUIET_SDS * noise_sd,
            range: at(1.0 - QUIET_PERCENTILE) - low,
        }
    }
}

/// A trace whose artefacts are missing; as it is if it is too short to tell.
pub fn without_artefacts(trace: &[f32]) -> Vec<f32> {
    let mut clean = trace.to_vec();
    if let Ok(noise_sd) = noise_sd(trace, Average::Mean) {
        hide_artefacts(&mut clean, &Quiet::of(trace, noise_sd), noise_sd);
    }
    clean
}

/// Marks frames as missing that no calcium explains; whether there are any.
pub fn hide_artefacts(trace: &mut [f32], quiet: &Quiet, noise_sd: f64) -> bool {
    let depth = (ARTEFACT_SDS * noise_sd).max(quiet.range);
    let floor = (quiet.level - depth) as f32;
    let mut found = false;
    for x in trace.iter_mut().filter(|x| **x < floor) {
        *x = f32::NAN;
        found = true;
    }
    found
}

/// u_t = x_t − g x_{t−1} from the second frame on; NaN where either is missing or of another trial.
pub fn innovations(trace: &[f32], starts: &[usize], g: f64) -> Vec<f64> {
    let pairs = trace.windows(2);
    let of_pair = |pair: &[f32]| f64::from(pair[1]) - g * f64::from(pair[0]);
    let mut innovations: Vec<f64> = pairs.map(of_pair).collect();
    for before in starts.iter().filter_map(|start| start.checked_sub(1)) {
        if let Some(innovation) = innovations.get_mut(before) {
            *innovation = f64::NAN;
        }
    }
    innovations
}

/// What is new in each frame of a trace, as numbers.
pub struct Innovations {
    g: f64,
    mean: f64,
    variance: f64,
    greatest: f64,
    pub noise_sd: f64,
    n: usize,
}

impl Innovations {
    /// `noise_sd` may be too large: fast decays look like noise to [`noise_sd`], and slow rates hide it
    /// from the covariance of neighbouring innovations, −g σ². Here the smaller of the two is taken.
    pub fn of(
        trace: &[f32],
        starts: &[usize],
        g: f64,
        noise_sd: f64,
    ) -> Result<Self, CalciumError> {
        let innovations = innovations(trace, starts, g);
        let covariance = autocovariance(&innovations, 1)?;
        let from_covariance = (-covariance[1] / g.max(0.05)).max(0.0).sqrt();
        let present = innovations.iter().filter(|u| !u.is_nan());
        let n = present.clone().count().max(1);
        Ok(Self {
            g,
            mean: present.clone().sum::<f64>() / n as f64,
            variance: covariance[0],
            greatest: present.fold(0.0, |greatest: f64, &u| greatest.max(u)),
            noise_sd: noise_sd.min(from_covariance),
            n,
        })
    }

    /// Fluorescence of one spike above `baseline`, where spikes do not stand out: the variance of the
    /// innovations less that of their noise, over their mean. Nothing if they vary no more than noise
    /// does, do not rise, or less than a spike would have to.
    pub fn size(&self, baseline: f64) -> Option<f64> {
        let mean = self.mean - (1.0 - self.g) * baseline;
        let noise = self.noise_sd.powi(2) * (1.0 + self.g.powi(2));
        let signal = self.variance - noise;
        let least = self.noise_sd.max(0.1 * self.variance.sqrt());
        let size = (signal / mean).max(least);
        let error = 2.0 * (2.0 / self.n as f64).sqrt() + NOISE_ERROR;
        let is_sound = signal > error * noise && mean > 0.0 && size <= self.greatest;
        is_sound.then_some(size)
    }
}
