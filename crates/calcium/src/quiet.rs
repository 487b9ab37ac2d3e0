//! The baseline: the level at which a trace is quiet, found from the noise below it.

use std::ops::Range;

use crate::error::{duration, nonnegative};
use crate::estimate::median;
use crate::oasis::check_trace;
use crate::trials::trials;
use crate::{CalciumError, Sample};

/// Mean square of a standard normal between −3 and 0: what lies deeper is no noise.
const MEAN_SQUARE: f64 = 0.9733;
/// How deep below the level noise is looked for, in its SDs.
const REACH: f64 = 3.0;
/// Steps of the level, in SDs of the noise.
const STEP: f64 = 0.05;
/// Share of a window, and frames, that must lie within reach below the level.
const LEAST: (f64, usize) = (0.1, 6);
/// Levels per window, between which the baseline is straight.
const KNOTS: usize = 4;
/// A window has at least so many averaged frames.
const LEAST_WINDOW: usize = 120;
/// A jump is so many SDs of the noise high.
const JUMP: f64 = 10.0;
/// It keeps at least this share of its height, and is at first no higher than height per share.
const KEPT: f64 = 0.6;
/// Levels before and after a jump are those of so many seconds.
const JUMP_WINDOW_S: f64 = 25.0;
/// For so many of these windows a level stays: bouts of activity do not.
const JUMP_WINDOWS: usize = 4;
/// Parts of a window that must each have the level: activity pauses, if only for a moment.
const WINDOW_PARTS: usize = 5;
/// Parts of a window within which a jump is over.
const AT_ONCE: usize = 12;
/// Baselines that vary by less do not change transients to speak of.
const DIMMED: f64 = 7.0 / 6.0;
/// SD of a level, in SDs of the noise per root of the frames that it is taken from.
const LEVEL_ERROR: f64 = 2.0;

/// Baseline of one trace: where it is quiet.
///
/// The level of a window is the lowest one below which the frames scatter as noise does: their mean square
/// distance to it, of those up to three SDs below it, is that of a half normal. It does not need to know how
/// many frames are quiet, does not sink with the number of frames as a minimum does, and passes over
/// dips. Frames are averaged over a part of a transient first. Levels of overlapping windows are joined by
/// straight lines, twice, so that drift within a window counts as well.
///
/// Where trials are joined, or the level jumps for good, each part gets an offset of its own, as far as
/// the scatter of the offsets exceeds their errors.
#[derive(Debug, Clone, PartialEq)]
pub struct QuietBaseline {
    dt_s: f64,
    average_s: f64,
    window_s: f64,
    starts: Vec<usize>,
    finds_jumps: bool,
}

/// What transients must be multiplied by where the whole trace dims, as by bleaching: the baseline's median over
/// the baseline. None where it varies by less than a seventh, or is no fluorescence at rest: below zero, or within four
/// SDs of the noise of it.
///
/// # Shapes
/// `baseline` and result: `[time]`.
pub fn dimming<T: Sample>(baseline: &[T], noise_sd: f64) -> Option<Vec<f64>> {
    let mut sorted: Vec<f64> = baseline.iter().map(|b| b.to_f64()).collect();
    sorted.retain(|b| !b.is_nan());
    sorted.sort_unstable_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted[sorted.len() / 2];
    let is_light = least > 4.0 * noise_sd && least > 0.1 * middle;
    (is_light && most > DIMMED * least)
        .then(|| baseline.iter().map(|b| middle / b.to_f64()).collect())
}

/// The lowest baseline per highest, from the factors of [`dimming`].
///
/// # Shapes
/// `factors`: `[time]`; NaN frames carry no data.
pub fn dimmed_to(factors: &[f64]) -> f64 {
    let present = factors.iter().copied().filter(|f| !f.is_nan());
    let (least, most) = present.fold((f64::INFINITY, 0.0_f64), |(a, b), f| (a.min(f), b.max(f)));
    least / most
}

/// Means over a few frames, which never span two parts.
struct Bins {
    values: Vec<f64>,
    /// Middle of each, frames.
    places: Vec<f64>,
    /// First bin of each part, and the number of bins.
    parts: Vec<usize>,
    /// SD of the noise of a bin.
    noise_sd: f64,
}

impl QuietBaseline {
    /// A baseline under transients that decay in `tau_s`, in frames of `dt_s`: windows are 60 s long, or
    /// fifteen decays if that is longer.
    ///
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn new(dt_s: f64, tau_s: f64) -> Result<Self, CalciumError> {
        let tau_s = duration("tau_s", tau_s)?;
        Ok(Self {
            dt_s: duration("dt_s", dt_s)?,
            average_s: 0.2 * tau_s,
            window_s: (15.0 * tau_s).max(60.0),
            starts: vec![0],
            finds_jumps: true,
        })
    }

    /// Sets the window: longer than the longest bout of activity, shorter than drift.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn with_window(self, window_s: f64) -> Result<Self, CalciumError> {
        let window_s = duration("window_s", window_s)?;
        Ok(Self { window_s, ..self })
    }

    /// Says where trials begin, each of which may have an offset: first frames, ascending.
    #[must_use]
    pub fn with_trials(self, starts: &[usize]) -> Self {
        let mut starts = starts.to_vec();
        if starts.first() != Some(&0) {
            starts.insert(0, 0);
        }
        // Trials are told from each other by their table; nothing is to be found within them.
        let finds_jumps = starts.len() == 1;
        Self {
            starts,
            finds_jumps,
            ..self
        }
    }

    /// The baseline of a trace whose noise has a power density like white noise of `noise_sd`, as from
    /// [`crate::estimate::band_noise`].
    ///
    /// # Shapes
    /// `trace` and result: `[time]`; NaN in the result only if the trace has no data.
    /// # Errors
    /// [`CalciumError::EmptyTrace`], [`CalciumError::Infinite`], [`CalciumError::Negative`] for `noise_sd`.
    pub fn of<T: Sample>(&self, trace: &[T], noise_sd: f64) -> Result<Vec<T>, CalciumError> {
        check_trace(trace)?;
        nonnegative("noise_sd", noise_sd)?;
        let mut bins = self.bins(trace, noise_sd);
        if self.finds_jumps {
            self.split_at_jumps(&mut bins);
        }
        let baseline = self.of_bins(&bins);
        let at_frame = Line {
            places: &bins.places,
            values: &baseline,
            parts: &bins.parts,
        };
        Ok(at_frame.at_frames(trace.len(), &self.part_frames(&bins, trace.len())))
    }

    fn bins<T: Sample>(&self, trace: &[T], noise_sd: f64) -> Bins {
        let n = ((self.average_s / self.dt_s).round() as usize).max(1);
        let mut bins = Bins {
            values: Vec::new(),
            places: Vec::new(),
            parts: Vec::new(),
            noise_sd: noise_sd / (n as f64).sqrt(),
        };
        for trial in trials(trace.len(), &self.starts) {
            bins.parts.push(bins.values.len());
            for first in trial.clone().step_by(n) {
                let frames = &trace[first..(first + n).min(trial.end)];
                let present = frames.iter().map(|y| y.to_f64()).filter(|y| !y.is_nan());
                let (sum, count) = present.fold((0.0, 0.0), |(s, c), y| (s + y, c + 1.0));
                // A bin with few frames is noisier than the others.
                let value = if 2.0 * count >= frames.len() as f64 {
                    sum / count
                } else {
                    f64::NAN
                };
                bins.values.push(value);
                bins.places
                    .push(first as f64 + 0.5 * (frames.len() as f64 - 1.0));
            }
        }
        bins.parts.push(bins.values.len());
        bins.noise_sd = noise_of(&bins.values, bins.noise_sd);
        bins
    }

    /// Bins per second.
    fn bin_rate(&self) -> f64 {
        let n = (self.average_s / self.dt_s).round().max(1.0);
        1.0 / (n * self.dt_s)
    }

    fn of_bins(&self, bins: &Bins) -> Vec<f64> {
        let offsets = offsets(bins);
        let mut rest: Vec<f64> = bins.values.clone();
        let mut baseline = vec![0.0; rest.len()];
        let mut subtract = |rest: &mut [f64], what: &[f64]| {
            for ((r, b), w) in rest.iter_mut().zip(&mut baseline).zip(what) {
                *r -= w;
                *b += w;
            }
        };
        subtract(&mut rest, &offsets);
        let window = ((self.window_s * self.bin_rate()) as usize).max(LEAST_WINDOW);
        for _pass in 0..2 {
            let levels = rolling_level(&rest, window, bins.noise_sd);
            subtract(&mut rest, &levels);
        }
        baseline
    }

    /// Parts begin anew where the level jumps for good.
    fn split_at_jumps(&self, bins: &mut Bins) {
        let near = (JUMP_WINDOW_S * self.bin_rate()) as usize;
        let n = bins.values.len();
        if near < 20 || n < 4 * near {
            return;
        }
        let step = (near / 12).max(1);
        let level = |from: usize, to: usize| quiet_level(&bins.values[from..to], bins.noise_sd);
        let mut jumps: Vec<(usize, f64)> = Vec::new();
        for at in (2 * near..=n - 2 * near).step_by(step) {
            let height = level(at, at + near) - level(at - near, at);
            if !(height.abs() > JUMP * bins.noise_sd && Self::is_for_good(bins, at, near, height)) {
                continue;
            }
            match jumps.last_mut() {
                Some((last, highest)) if at - *last < 2 * near => {
                    if height.abs() > highest.abs() {
                        (*last, *highest) = (at, height);
                    }
                }
                _ => jumps.push((at, height)),
            }
        }
        let starts: Vec<usize> = jumps
            .into_iter()
            .filter_map(|(at, height)| {
                let at = jump_at(&bins.values, at, near, height)?;
                // Drift goes as far, but not at once, and activity further, at once.
                let soon = (near / AT_ONCE).max(1).min(at).min(n - at);
                let at_once = (level(at, at + soon) - level(at - soon, at)) / height;
                (KEPT < at_once && at_once < 1.0 / KEPT).then_some(at)
            })
            .collect();
        bins.parts.splice(1..1, starts);
    }

    /// Whether the level stays: wherever it is looked at on the side where it is high, it is above where it is low.
    fn is_for_good(bins: &Bins, at: usize, near: usize, height: f64) -> bool {
        let level = |part: Range<usize>| quiet_level(&bins.values[part], bins.noise_sd);
        let far = JUMP_WINDOWS * near;
        let before = at.saturating_sub(far)..at - near / 4;
        let after = at + near / 4..(at + far).min(bins.values.len());
        let (low, high) = match height > 0.0 {
            true => (before, after),
            false => (after, before),
        };
        let part = near / WINDOW_PARTS;
        let parts = (high.start..(high.end + 1).saturating_sub(part)).step_by(part);
        let lowest = parts
            .map(|first| level(first..first + part))
            .fold(f64::INFINITY, f64::min);
        (lowest - level(low)) / height.abs() > KEPT
    }

    /// First frame of each part, and the number of frames.
    fn part_frames(&self, bins: &Bins, n_frames: usize) -> Vec<usize> {
        let n = ((self.average_s / self.dt_s).round() as usize).max(1);
        let first = |&bin: &usize| match bins.places.get(bin) {
            Some(place) => (place - 0.5 * (n as f64 - 1.0)).ceil().max(0.0) as usize,
            None => n_frames,
        };
        bins.parts.iter().map(first).collect()
    }
}

/// The SD of the noise, which is at most `most`: onsets of spikes add to the power of slow recordings, but not to
/// the median difference of neighbours. Interpolated frames share noise with the next, not with the one
/// after.
fn noise_of(values: &[f64], most: f64) -> f64 {
    let of_lag = |lag: usize| {
        let pairs = values.iter().zip(values.iter().skip(lag));
        let differences = pairs.map(|(a, b)| (b - a).abs());
        let differences: Vec<f64> = differences.filter(|d| !d.is_nan()).collect();
        let n = differences.len();
        match median(differences) {
            Some(middle) if n >= 8 => middle / (0.6745 * std::f64::consts::SQRT_2),
            _ => most,
        }
    };
    of_lag(1).max(of_lag(2)).min(most)
}

/// Where exactly the trace crosses from one level to the other: the split that leaves the least squares,
/// none if it is a slow change.
fn jump_at(values: &[f64], at: usize, near: usize, height: f64) -> Option<usize> {
    let (from, to) = (at - near, (at + near).min(values.len()));
    let window = &values[from..to];
    let low = quiet_level(&window[..near / 2], 0.0_f64.max(height.abs() / JUMP));
    let mid = low + 0.5 * height;
    // Votes of frames on either side: transients may cross, for a while.
    let side = |y: f64| {
        if y.is_nan() {
            0.0
        } else {
            ((y - mid) * height).signum()
        }
    };
    let total: f64 = window.iter().map(|&y| side(y)).sum();
    let (mut before, mut best) = (0.0, (f64::NEG_INFINITY, 0));
    for (i, &y) in window.iter().enumerate() {
        let agreement = (total - before) - before;
        if agreement > best.0 {
            best = (agreement, i);
        }
        before += side(y);
    }
    (best.1 > 0).then_some(from + best.1)
}

/// Offset of each part from the median of all, shrunk by what it could be by chance; per bin.
fn offsets(bins: &Bins) -> Vec<f64> {
    let parts: Vec<&[f64]> = bins
        .parts
        .windows(2)
        .map(|part| &bins.values[part[0]..part[1]])
        .collect();
    let mut offsets = vec![0.0; bins.values.len()];
    if parts.len() < 2 {
        return offsets;
    }
    let levels: Vec<f64> = parts
        .iter()
        .map(|part| quiet_level(part, bins.noise_sd))
        .collect();
    let present: Vec<f64> = levels.iter().copied().filter(|l| !l.is_nan()).collect();
    let Some(middle) = median(present.iter().copied()) else {
        return offsets;
    };
    let error = |part: &[f64]| {
        let n = part.iter().filter(|y| !y.is_nan()).count().max(1);
        LEVEL_ERROR * bins.noise_sd / (n as f64).sqrt()
    };
    let distances: Vec<f64> = present.iter().map(|level| (level - middle).abs()).collect();
    let middle_of = |values: Vec<f64>| median(values).expect("a part has a level");
    let scatter = (middle_of(distances.clone()) / 0.6745).powi(2);
    let by_chance = middle_of(parts.iter().map(|part| error(part)).collect()).powi(2);
    // Two or three parts have no median distance to speak of: their largest decides.
    let scatter = match present.len() {
        0..4 => distances.iter().fold(0.0, |a: f64, d| a.max(d * d)),
        _ => scatter,
    };
    let true_scatter = scatter - by_chance;
    if true_scatter <= 0.0 {
        return offsets;
    }
    for ((part, level), bounds) in parts.iter().zip(&levels).zip(bins.parts.windows(2)) {
        let shrinkage = true_scatter / (true_scatter + error(part).powi(2));
        let offset = if level.is_nan() {
            0.0
        } else {
            shrinkage * (level - middle)
        };
        offsets[bounds[0]..bounds[1]].fill(offset);
    }
    offsets
}

/// Levels of windows around knots, joined by straight lines.
fn rolling_level(values: &[f64], window: usize, noise_sd: f64) -> Vec<f64> {
    let n = values.len();
    let n_knots = (KNOTS * n).div_ceil(window).max(2);
    let mut knots: Vec<(f64, f64)> = Vec::new();
    // At the ends windows are no shorter, but reach further inwards.
    for knot in 0..n_knots {
        let place = knot as f64 * (n - 1) as f64 / (n_knots - 1) as f64;
        let from = (place as usize)
            .saturating_sub(window / 2)
            .min(n.saturating_sub(window));
        let level = quiet_level(&values[from..(from + window).min(n)], noise_sd);
        if !level.is_nan() {
            knots.push((place, level));
        }
    }
    let Some(&(_, first)) = knots.first() else {
        return vec![f64::NAN; n];
    };
    let levels: Vec<f64> = knots.iter().map(|knot| knot.1).collect();
    for (i, knot) in knots.iter_mut().enumerate() {
        // Now and then a level is far too low by chance; five of them share two windows.
        let near = &levels[i.saturating_sub(2)..(i + 3).min(levels.len())];
        knot.1 = median(near.iter().copied()).expect("a knot is near itself");
    }
    let mut next = 0;
    let at = |t: usize| {
        while next < knots.len() && knots[next].0 < t as f64 {
            next += 1;
        }
        match (next.checked_sub(1).map(|i| knots[i]), knots.get(next)) {
            (Some((x0, y0)), Some(&(x1, y1))) => y0 + (t as f64 - x0) / (x1 - x0) * (y1 - y0),
            (Some((_, y)), None) | (None, Some(&(_, y))) => y,
            (None, None) => first,
        }
    };
    (0..n).map(at).collect()
}

/// The lowest level below which values scatter as noise of this SD does, at most their median; NaN of none.
pub(crate) fn quiet_level(values: &[f64], noise_sd: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|y| !y.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 {
        return f64::NAN;
    }
    let most = f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]);
    let least = ((LEAST.0 * n as f64) as usize).max(LEAST.1);
    let lowest = sorted[0];
    // Without noise, or noise below the resolution of the steps, the lowest level is at the bottom.
    let step = (STEP * noise_sd).max(1e-4 * (most - lowest));
    let wanted = MEAN_SQUARE * noise_sd * noise_sd;
    let (mut first, mut end) = (0, 0);
    // Sums over the frames within reach, of their height above the lowest and its square.
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut above = 0.0;
    while lowest + above < most {
        above += step;
        while end < n && sorted[end] - lowest <= above {
            sum += sorted[end] - lowest;
            squares += (sorted[end] - lowest).powi(2);
            end += 1;
        }
        while first < end && sorted[first] - lowest < above - REACH * noise_sd {
            sum -= sorted[first] - lowest;
            squares -= (sorted[first] - lowest).powi(2);
            first += 1;
        }
        let count = end - first;
        if count < least {
            continue;
        }
        let mean_square = above * above - (2.0 * above * sum - squares) / count as f64;
        if mean_square >= wanted {
            return (lowest + above).min(most);
        }
    }
    most
}

/// Values at places, straight between them within each part.
struct Line<'a> {
    places: &'a [f64],
    values: &'a [f64],
    parts: &'a [usize],
}

impl Line<'_> {
    fn at_frames<T: Sample>(&self, n_frames: usize, part_frames: &[usize]) -> Vec<T> {
        let mut frames = Vec::with_capacity(n_frames);
        for (bins, span) in self.parts.windows(2).zip(part_frames.windows(2)) {
            let (places, values) = (
                &self.places[bins[0]..bins[1]],
                &self.values[bins[0]..bins[1]],
            );
            let mut next = 0;
            for frame in span[0]..span[1].min(n_frames) {
                let x = frame as f64;
                while next < places.len() && places[next] < x {
                    next += 1;
                }
                let value = match (next.checked_sub(1), places.get(next)) {
                    (Some(i), Some(place)) => {
                        let share = (x - places[i]) / (place - places[i]);
                        values[i] + share * (values[next] - values[i])
                    }
                    (Some(i), None) => values[i],
                    (None, _) => values.first().copied().unwrap_or(f64::NAN),
                };
                frames.push(T::from_f64(value));
            }
        }
        frames
    }
}
