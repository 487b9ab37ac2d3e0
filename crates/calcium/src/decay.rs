//! How fast transients decay, seen on the transients themselves: no assumption of the indicator.

use std::ops::Range;

use crate::Sample;
use crate::trials::trials;

/// Fluorescence above this many SDs of the noise is a transient beyond doubt.
const CLEAR: f64 = 10.0;
/// Frames of transients, and separate transients, that are needed.
const LEAST: (usize, usize) = (40, 5);
/// Frames of transients that are looked at.
const MOST: usize = 5000;
/// The share of frames after which nothing fired for a while.
const QUIET_SHARE: f64 = 0.2;
/// A decay has been seen when so much is left.
const LEFT: f64 = 0.5;

/// Time constant of the decay of clear transients, in seconds; none where there are too few.
///
/// Spikes only add to calcium: what is left of it after a while, as a share, is at least that of the decay. The
/// lower end of these shares is where nothing fired in between; the shortest while after which half is gone
/// there gives the time constant.
///
/// # Shapes
/// `above`: `[time]`, above its baseline; NaN frames carry no data.
/// # Units
/// `noise_sd`: SD of the noise of a frame, in the units of `above`.
pub fn decay_seen<T: Sample>(above: &[T], dt_s: f64, noise_sd: f64) -> Option<f64> {
    decay_seen_in_trials(above, &[0], dt_s, noise_sd)
}

/// [`decay_seen`] for trials that are joined: what is left of calcium is looked for in the same trial.
///
/// # Shapes
/// `starts`: first frame of each trial, ascending.
pub fn decay_seen_in_trials<T: Sample>(
    above: &[T],
    starts: &[usize],
    dt_s: f64,
    noise_sd: f64,
) -> Option<f64> {
    let at = |t: usize| above[t].to_f64();
    let is_clear = |t: &usize| at(*t) > CLEAR * noise_sd && at(*t) > 0.0;
    // With the end of its trial.
    let of_trial = |trial: Range<usize>| {
        let end = trial.end;
        trial.filter(is_clear).map(move |t| (t, end))
    };
    let clear = trials(above.len(), starts).into_iter().flat_map(of_trial);
    let clear: Vec<(usize, usize)> = clear.collect();
    let n_transients = 1 + clear
        .windows(2)
        .filter(|pair| pair[1].0 > pair[0].0 + 3 || pair[1].1 > pair[0].1)
        .count();
    if noise_sd <= 0.0 || clear.len() < LEAST.0 || n_transients < LEAST.1 {
        return None;
    }
    let stride = clear.len().div_ceil(MOST);
    let clear: Vec<(usize, usize)> = clear.into_iter().step_by(stride).collect();
    let mut lag = 1;
    while lag < above.len() / 4 {
        let followed = clear.iter().filter(|(t, end)| t + lag < *end);
        let shares = followed.map(|&(t, _)| at(t + lag) / at(t));
        let mut shares: Vec<f64> = shares.filter(|share| !share.is_nan()).collect();
        if shares.len() < LEAST.0 {
            return None;
        }
        let rank = (QUIET_SHARE * shares.len() as f64) as usize;
        let left = *shares.select_nth_unstable_by(rank, f64::total_cmp).1;
        if left < LEFT {
            return Some(lag as f64 * dt_s / -libm::log(left.max(0.05)));
        }
        lag += (lag / 4).max(1);
    }
    None
}
