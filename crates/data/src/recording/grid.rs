//! Frame times on a grid of equal steps: which are late, and which frames are missing.

use std::collections::BinaryHeap;

use calcium::estimate::median;

use crate::Problem;

/// A step this many usual steps long may have dropped a frame: of two steps with one dropped between
/// them and a late one in the middle, the longer has 1.5.
const LONG_STEP: f64 = 1.3;
/// How much faster than the frames the grid of the fit runs, so that a clock that drifts by less is
/// followed.
const DRIFT: f64 = 1e-3;
/// Frames on either side of a long step that say whether the time was really lost.
const NEIGHBOURS: usize = 10;
/// Fewest frames behind a long step that show whether it was made up for.
const FEWEST_AFTER: usize = 4;
/// Steps by which a time must be off its place to be named.
const OFF: f64 = 0.25;
/// Of so many steps one may be none.
const MOST_BAD: usize = 100;

/// Frames on a grid of equal steps.
pub(crate) struct Grid {
    /// The place of each time.
    pub(crate) frames: Vec<usize>,
    pub(crate) dt_s: f64,
    /// Times off their place by more than a quarter of a step, and the farthest of them.
    n_off: usize,
    farthest_s: f64,
}

impl Grid {
    /// The place of each time, the clock judged as a whole.
    ///
    /// How far the times are behind equal steps is fitted by a rising staircase with the least sum of
    /// absolute errors: a frame stamped late is an error of one frame, which the next, on time again,
    /// takes back; a frame that was dropped puts all that follow behind. Where a step is long, the
    /// staircase on both sides of it says how many frames are missing.
    pub(crate) fn of(times: &[f64]) -> Result<Self, Problem> {
        let steps = rising_steps(times)?;
        let step = usual_step(&steps).ok_or(Problem::MissingRate)?;
        if !is_regular(&steps) {
            return Err(Problem::Irregular {
                times: format!(
                    "timestamps from {} s to {} s",
                    times[0],
                    times[times.len() - 1]
                ),
            });
        }
        let lag = |frame: usize| times[frame] - times[0] - frame as f64 * step * (1.0 - DRIFT);
        let lags: Vec<f64> = (0..times.len()).map(lag).collect();
        let stairs = rising_fit(&lags);
        let n_missing = missing(&steps, &stairs, step, times.len())?;
        let mut frame = 0;
        let frames: Vec<usize> = std::iter::once(0)
            .chain(n_missing.iter().map(|missing| {
                frame += 1 + missing;
                frame
            }))
            .collect();
        let off = lags
            .iter()
            .zip(&stairs)
            .map(|(lag, stair)| (lag - stair).abs());
        let off: Vec<f64> = off.collect();
        let is_off = |off: &f64| *off > OFF * step;
        let n = times.len();
        let at_ends = is_off(&off[0]) || is_off(&off[n - 1]);
        let (first, last) = match at_ends {
            // Where the fit says that they were.
            true => (
                stairs[0] - lags[0],
                times[n - 1] - times[0] - lags[n - 1] + stairs[n - 1],
            ),
            false => (0.0, times[n - 1] - times[0]),
        };
        let dt_s = (last - first) / frame as f64;
        if !is_time(dt_s) {
            return Err(Problem::BadParameter {
                name: "timestamps",
                found: format!("from {} s to {} s", times[0], times[n - 1]),
                expected: "times in seconds, or give `rate` instead",
            });
        }
        Ok(Self {
            frames,
            dt_s,
            n_off: off.iter().filter(|off| is_off(off)).count(),
            farthest_s: off.iter().copied().fold(0.0, f64::max),
        })
    }

    /// What the user should know of the times.
    pub(crate) fn note(&self, n_dropped: usize) -> Option<String> {
        let jitter = (self.n_off > 0).then(|| {
            format!(
                "{} times are up to {:.0} ms late or early",
                self.n_off,
                1e3 * self.farthest_s
            )
        });
        let dropped = (n_dropped > 0)
            .then(|| format!("the timestamps leave out {n_dropped} frames; they are NaN here"));
        match (dropped, jitter) {
            (None, None) => None,
            (Some(dropped), None) => Some(dropped),
            (None, Some(jitter)) => Some(format!("{jitter}: jitter, no frame is missing")),
            (Some(dropped), Some(jitter)) => Some(format!("{dropped} ({jitter}: jitter)")),
        }
    }
}

/// The steps between times. Of many, one in a hundred may be none: what came in a burst has one stamp.
fn rising_steps(times: &[f64]) -> Result<Vec<f64>, Problem> {
    let steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let is_good = |step: &f64| step.is_finite() && *step > 0.0;
    let Some(bad) = steps.iter().position(|step| !is_good(step)) else {
        return Ok(steps);
    };
    let n_bad = steps.iter().filter(|step| !is_good(step)).count();
    let usual = usual_step(&steps).unwrap_or_default();
    let goes_back = |step: &f64| !step.is_finite() || *step < -usual;
    if MOST_BAD * n_bad < steps.len() && !steps.iter().any(goes_back) {
        return Ok(steps);
    }
    let stands = |step: &&f64| **step == 0.0;
    if steps.iter().all(|step| *step >= 0.0)
        && 2 * steps.iter().filter(stands).count() > steps.len()
    {
        return Err(Problem::CoarseTimes {
            index: bad + 1,
            value: times[bad + 1],
        });
    }
    Err(Problem::Timestamps {
        index: bad + 1,
        value: times[bad + 1],
        before: times[bad],
    })
}

/// Fewest steps of which so many unusual ones are no chance.
const FEWEST_STEPS: usize = 16;

/// Whether most steps are about as long as the median one: of frames they are, however late some are; of
/// events, whose times are by chance, two of three are not.
pub(crate) fn is_regular(steps: &[f64]) -> bool {
    let Some(median) = median(steps.iter().copied()) else {
        return true;
    };
    let is_usual = |step: &&f64| **step > 0.5 * median && **step < 1.5 * median;
    steps.len() < FEWEST_STEPS || 2 * steps.iter().filter(is_usual).count() > steps.len()
}

/// The mean of the steps about as long as the median one, and of those beside them: whole milliseconds
/// have no mean of their own, and what is late makes one step longer and the next shorter.
pub(crate) fn usual_step(steps: &[f64]) -> Option<f64> {
    let median = median(steps.iter().copied())?;
    let is_usual = |step: f64| step > 0.5 * median && step < 1.5 * median;
    let around = |i: usize| &steps[i.saturating_sub(1)..(i + 2).min(steps.len())];
    let (mut sum, mut n) = (0.0, 0_usize);
    for i in (0..steps.len()).filter(|&i| around(i).iter().all(|&step| is_usual(step))) {
        sum += steps[i];
        n += 1;
    }
    match n {
        0 => Some(median),
        n => Some(sum / n as f64),
    }
}

/// The rising staircase with the least sum of absolute errors.
///
/// # Source
/// Isotonic median regression with a heap: every value pushes the stairs before it down to itself
/// where they are above.
fn rising_fit(values: &[f64]) -> Vec<f64> {
    let mut highest = BinaryHeap::new();
    let mut stairs: Vec<f64> = values
        .iter()
        .map(|&value| {
            highest.push(Ordered(value));
            if highest.peek().is_some_and(|top| top.0 > value) {
                highest.pop();
                highest.push(Ordered(value));
            }
            highest.peek().map_or(value, |top| top.0)
        })
        .collect();
    for i in (1..stairs.len()).rev() {
        stairs[i - 1] = stairs[i - 1].min(stairs[i]);
    }
    stairs
}

#[derive(PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Frames missing in each step.
fn missing(
    steps: &[f64],
    stairs: &[f64],
    step: f64,
    n_times: usize,
) -> Result<Vec<usize>, Problem> {
    let long: Vec<usize> = (0..steps.len())
        .filter(|&i| steps[i] > LONG_STEP * step)
        .collect();
    let mut missing = vec![0; steps.len()];
    let (mut owed, mut total) = (0.0, 0.0);
    // Long steps close together are judged together: a late frame may hide a dropped one.
    for cluster in long.chunk_by(|a, b| b - a <= 2 * NEIGHBOURS) {
        let (first, last) = (cluster[0], cluster[cluster.len() - 1]);
        let start = first.saturating_sub(NEIGHBOURS);
        let end = (last + 1 + NEIGHBOURS).min(stairs.len() - 1);
        let lost =
            |frame: usize| (stairs[frame] - stairs[start]) / step - DRIFT * (frame - start) as f64;
        // At the very end nothing says whether a late frame is on time again.
        let round = match end - last < FEWEST_AFTER {
            true => |frames: f64| (frames + 0.1).floor(),
            false => f64::round,
        };
        let n_lost = round(lost(end) + owed);
        if n_lost < 1.0 {
            continue;
        }
        total += n_lost;
        // More frames missing than recorded: not dropped frames but two sessions.
        if total >= n_times as f64 {
            return Err(Problem::LongGap {
                frame: last,
                gap_s: steps[last],
                dt_s: step,
            });
        }
        let mut so_far = 0.0;
        for (place, &i) in cluster.iter().enumerate() {
            let so_many = match cluster.get(place + 1) {
                Some(next) => (lost(i + 1 + (next - i - 1) / 2) + owed).round(),
                None => n_lost,
            };
            let so_many = so_many.clamp(so_far, n_lost);
            missing[i] = (so_many - so_far) as usize;
            so_far = so_many;
        }
        // Gaps are no whole frames: what rounding leaves is owed to the next.
        owed += lost(end) - n_lost;
    }
    Ok(missing)
}

/// Whether this is a length of time.
pub(crate) fn is_time(seconds: f64) -> bool {
    seconds.is_finite() && seconds > 0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(times: &[f64]) -> Vec<usize> {
        Grid::of(times).unwrap().frames
    }

    /// A number in 0..1 that looks like chance.
    fn noise(i: usize) -> f64 {
        ((i as f64 * 12.9898).sin() * 43_758.545).fract().abs()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(256)
        })]

        /// Dropped frames are found, and late ones invented nowhere.
        #[test]
        fn late_stamps_leave_no_frame_out_and_dropped_ones_do(
            rate_hz in 1.0..200.0_f64,
            late in 0.0..0.08_f64,
            dropped in prop::collection::btree_set(50_usize..1950, 0..6),
            quantum in prop::sample::select(vec![0.0, 1e-3]),
        ) {
            let dropped: Vec<usize> = dropped.into_iter().collect();
            prop_assume!(dropped.windows(2).all(|pair| pair[1] - pair[0] > 30));
            let kept: Vec<usize> = (0..2000).filter(|i| !dropped.contains(i)).collect();
            let mut last = -1.0;
            let stamp = |&i: &usize| {
                let lateness = if noise(i) < late { 0.9 * noise(i + 7000) } else { 0.02 * noise(i) };
                let mut time = (i as f64 + lateness) / rate_hz;
                if quantum > 0.0 && rate_hz < 60.0 {
                    time = (time / quantum).round() * quantum;
                }
                last = f64::max(time, last + 1e-7);
                last
            };
            let times: Vec<f64> = kept.iter().map(stamp).collect();
            let found = frames(&times);
            prop_assert_eq!(found.last(), kept.last());
            // Beside a late frame a dropped one may be either of two.
            prop_assert!(found.iter().zip(&kept).all(|(a, b)| a.abs_diff(*b) <= 1));
        }
    }

    #[test]
    fn a_stall_that_is_made_up_for_drops_nothing() {
        // 30 frames come in a burst, a second late.
        let mut times: Vec<f64> = (0..600).map(|i| f64::from(i) / 30.0).collect();
        for i in 0..30 {
            times[300 + i] = times[330] - 0.001 * (30 - i) as f64;
        }
        assert_eq!(frames(&times), (0..600).collect::<Vec<_>>());
    }

    #[test]
    fn equal_stamps_are_jitter_where_they_are_few() {
        let mut times: Vec<f64> = (0..1000).map(|i| f64::from(i) / 30.0).collect();
        times[500] = times[501];
        times[700] = times[701] + 0.004;
        assert_eq!(frames(&times), (0..1000).collect::<Vec<_>>());
        times[300] = times[100];
        assert!(Grid::of(&times).is_err());
    }

    #[test]
    fn a_clock_that_drifts_is_followed() {
        // 40 parts in a million over an hour: four frames.
        let times: Vec<f64> = (0..108_000)
            .map(|i| {
                let t = f64::from(i) / 30.0;
                t + 2e-5 * t * (t / 3600.0)
            })
            .collect();
        assert_eq!(*frames(&times).last().unwrap(), 107_999);
    }

    #[test]
    fn the_staircase_is_that_of_least_absolute_error() {
        let fit = rising_fit(&[0.0, 5.0, 1.0, 1.0, 3.0, 2.0, 9.0]);
        assert!(fit.windows(2).all(|pair| pair[0] <= pair[1]));
        let error: f64 = fit
            .iter()
            .zip([0.0, 5.0, 1.0, 1.0, 3.0, 2.0, 9.0])
            .map(|(a, b): (&f64, f64)| (a - b).abs())
            .sum();
        // 5 at one, 3 against 2 at one.
        assert!((error - 5.0).abs() < 1e-9, "{fit:?}");
    }
}
