//! Size of a spike and baseline at which a trace holds as many spikes as the network expects.
//!
//! The network knows how many spikes a noisy trace shows better than its moments do, but not how large
//! one is. Where its expected spikes are made calcium, the slope of the trace against that is the size of
//! a spike and the intercept the baseline, for whatever kinetics are taken: the number of spikes stays.

use std::ops::Range;

use calcium::trials::trials;
use calcium::{Ar2, CalciumError, Inference};

/// Frames that are looked at, at most: the network takes some microseconds for each.
const MAX_FRAMES: usize = 30_000;
/// Decay times after which the calcium from before a gap counts as gone.
const SETTLES: f64 = 2.0;
/// Means over a decay time that a slope needs, and how many errors it must be above 0.
const LEAST_MEANS: usize = 20;
const LEAST_SLOPE: f64 = 3.0;

/// A spike's peak and the baseline, in fluorescence units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    pub size: f64,
    pub baseline: f64,
}

impl Expected {
    /// Of trials that begin at `starts`, whose spikes rise and decay by `ar`, in frames of `dt_s`; nothing where too little of
    /// it is there or the trace does not follow the network's spikes.
    ///
    /// Means over a decay time are compared: noise, which the network follows too, averages out in them.
    pub fn of(
        trace: &[f32],
        starts: &[usize],
        ar: Ar2,
        dt_s: f64,
    ) -> Result<Option<Self>, CalciumError> {
        let trace = &trace[..trace.len().min(MAX_FRAMES)];
        // Too little in the first frames is no error: the whole of it was measured before.
        let inference = Inference::new(dt_s)?.with_trials(starts);
        let Ok(found) = inference.infer(trace) else {
            return Ok(None);
        };
        let decay_frames = -1.0 / ar.roots()[0].max(1e-9).ln();
        let spikes: Vec<f64> = found
            .expected
            .iter()
            .map(|&n| if n.is_finite() { f64::from(n) } else { 0.0 })
            .collect();
        let trials = trials(trace.len(), starts);
        let of_trial = |trial: &Range<usize>| ar.convolve(&spikes[trial.clone()]);
        let calcium: Vec<f64> = trials.iter().flat_map(of_trial).collect();
        let peak = ar.peak();
        let length = (decay_frames.ceil() as usize).max(1);
        let mut means = Vec::new();
        for trial in trials {
            let (trace, calcium) = (&trace[trial.clone()], &calcium[trial]);
            for (first, end) in settled(trace, SETTLES * decay_frames) {
                for start in (first..end).step_by(length) {
                    let frames = start..(start + length).min(end);
                    if frames.len() == length {
                        means.extend(mean(trace, calcium, frames));
                    }
                }
            }
        }
        Ok(Self::line(&means, peak))
    }

    /// Through pairs of calcium and fluorescence.
    fn line(means: &[(f64, f64)], peak: f64) -> Option<Self> {
        let n = means.len() as f64;
        if means.len() < LEAST_MEANS {
            return None;
        }
        let [c, x] = [0, 1].map(|which| {
            let value = |pair: &(f64, f64)| if which == 0 { pair.0 } else { pair.1 };
            means.iter().map(value).sum::<f64>() / n
        });
        let sum = |product: &dyn Fn(f64, f64) -> f64| -> f64 {
            means.iter().map(|&(a, b)| product(a - c, b - x)).sum()
        };
        let (spread, together) = (sum(&|c, _| c * c), sum(&|c, x| c * x));
        let slope = together / spread;
        let left = sum(&|_, x| x * x) - slope * together;
        let error = (left.max(0.0) / (n - 2.0) / spread).sqrt();
        (slope > LEAST_SLOPE * error).then_some(Self {
            size: slope * peak,
            baseline: x - slope * c,
        })
    }
}

/// Stretches of frames of a trial far enough behind its start, or a gap that lasts: shorter ones hide few spikes.
fn settled(trace: &[f32], settles: f64) -> Vec<(usize, usize)> {
    let lasting = (0.5 * settles).ceil() as usize;
    let (mut stretches, mut first, mut n_missing) = (Vec::new(), settles.ceil() as usize, 0);
    for (frame, x) in trace.iter().enumerate() {
        if x.is_nan() {
            n_missing += 1;
            continue;
        }
        if n_missing > lasting {
            stretches.push((first, frame - n_missing));
            first = frame + settles.ceil() as usize;
        }
        n_missing = 0;
    }
    stretches.push((first, trace.len() - n_missing));
    stretches.retain(|(first, end)| first < end);
    stretches
}

/// Mean calcium and fluorescence of the frames that are there, if most are.
fn mean(trace: &[f32], calcium: &[f64], frames: Range<usize>) -> Option<(f64, f64)> {
    let length = frames.len();
    let there = frames.filter(|&frame| !trace[frame].is_nan());
    let (n, c, x) = there.fold((0, 0.0, 0.0), |(n, c, x), frame| {
        (n + 1, c + calcium[frame], x + f64::from(trace[frame]))
    });
    (2 * n > length).then(|| (c / n as f64, x / n as f64))
}

#[cfg(test)]
mod tests {
    use calcium::Discretisation;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    #[test]
    fn spikes_hardly_above_the_noise_have_their_size_whatever_their_rise() {
        let ar = Ar2::from_taus(1.2, 0.1, 0.05, Discretisation::Exact).unwrap();
        let mut sizes: Vec<f64> = (0..7)
            .map(|seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let spikes: Vec<f64> = (0..6000)
                    .map(|t| {
                        let rate = 2.0 * (1.0 + 0.9 * (0.03 * f64::from(t)).sin());
                        f64::from(u8::from(rng.random::<f64>() < 0.05 * rate))
                    })
                    .collect();
                let trace: Vec<f32> = ar
                    .convolve(&spikes)
                    .iter()
                    .map(|c| {
                        let noise: f64 = StandardNormal.sample(&mut rng);
                        (50.0 + 3.0 * c / ar.peak() + 1.7 * noise) as f32
                    })
                    .collect();
                let found = Expected::of(&trace, &[0], ar, 0.05).unwrap().unwrap();
                assert!((found.baseline - 50.0).abs() < 5.0, "{found:?}");
                found.size
            })
            .collect();
        sizes.sort_by(f64::total_cmp);
        assert!((2.2..4.0).contains(&sizes[3]), "{sizes:?}");
    }

    #[test]
    fn what_is_too_short_or_flat_has_no_size() {
        let ar = Ar2::from_taus(1.2, 0.1, 0.05, Discretisation::Exact).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let short: Vec<f32> = (0..300).map(|_| StandardNormal.sample(&mut rng)).collect();
        assert_eq!(Expected::of(&short, &[0], ar, 0.05).unwrap(), None);
        assert_eq!(Expected::line(&[(1.0, 2.0); 40], 1.0), None);
    }

    #[test]
    fn frames_behind_a_long_gap_wait_for_the_calcium_from_before() {
        let mut trace = vec![0.0; 100];
        trace[40..60].fill(f32::NAN);
        trace[70..72].fill(f32::NAN);
        assert_eq!(settled(&trace, 10.0), [(10, 40), (70, 100)]);
        trace[..].fill(f32::NAN);
        assert!(settled(&trace, 10.0).is_empty());
    }
}
