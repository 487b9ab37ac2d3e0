//! The working grid: what a recording of any frame rate and scale is brought to before the network
//! sees it, and how expected spikes come back to the recording's frames.

use std::ops::Range;

use crate::Sample;

/// Frames per second of the working grid.
pub const WORKING_RATE_HZ: f64 = 30.0;

/// Most working frames that the network takes at once: 200 s.
pub const MAX_CHUNK: usize = 6000;

/// Working frames that neighbouring chunks share: 20 s, several times as far as the convolutions see.
const OVERLAP: usize = 600;

/// Lags of the differences that measure the noise: neighbouring frames of a recording that was
/// resampled from down to a quarter of the working rate share theirs.
const NOISE_LAGS: [usize; 3] = [1, 2, 4];

/// The fraction of frames below what counts as zero.
const ZERO_QUANTILE: f64 = 0.2;

/// Least noise SD, as a fraction of the trace's range: noiseless traces have none.
const LEAST_NOISE: f32 = 1e-3;

/// SD of the normal distribution over the median of the absolute difference of two of its draws.
const SD_PER_MEDIAN_DIFFERENCE: f64 = 1.0 / (0.674_489_75 * std::f64::consts::SQRT_2);

/// How a recording's frames lie on the working grid. Frame i of the recording covers the time from
/// i/rate to (i + 1)/rate, working frames likewise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    n_frames: usize,
    n_working: usize,
    /// Recording frames in a working frame.
    ratio: f64,
}

impl Grid {
    /// The grid of a recording of `n_frames` at `rate_hz` > 0.
    pub fn new(n_frames: usize, rate_hz: f64) -> Self {
        let ratio = rate_hz / WORKING_RATE_HZ;
        Self {
            n_frames,
            n_working: (n_frames as f64 / ratio - 1e-6).ceil().max(0.0) as usize,
            ratio,
        }
    }

    /// Working frames, of which the last may end after the recording.
    pub fn n_working(&self) -> usize {
        self.n_working
    }

    /// Working frames that hold the given frames of the recording.
    pub fn working_frames(&self, frames: Range<usize>) -> Range<usize> {
        let first = (frames.start as f64 / self.ratio + 1e-6) as usize;
        let end = (frames.end as f64 / self.ratio - 1e-6).ceil() as usize;
        first.min(self.n_working)..end.min(self.n_working)
    }

    /// The trace on the working grid: means over each working frame where the recording is faster,
    /// linear interpolation between the middles of its frames where it is slower. NaN where a
    /// frame has less than half of its data.
    ///
    /// # Shapes
    /// `trace`: `[frame]`, result: `[working frame]`.
    pub fn sample<T: Sample>(&self, trace: &[T]) -> Vec<f32> {
        let at = |frame: usize| trace[frame].to_f64();
        let sample = |working: usize| {
            let value = if self.ratio >= 1.0 {
                self.mean(working, at)
            } else {
                self.interpolate(working, at)
            };
            value as f32
        };
        (0..self.n_working).map(sample).collect()
    }

    fn mean(&self, working: usize, at: impl Fn(usize) -> f64) -> f64 {
        let (mut sum, mut covered) = (0.0, 0.0);
        for (frame, share) in overlaps(working, self.ratio, self.n_frames) {
            let value = at(frame);
            if value.is_finite() {
                sum += share * value;
                covered += share;
            }
        }
        if covered < 0.5 * self.ratio {
            return f64::NAN;
        }
        sum / covered
    }

    fn interpolate(&self, working: usize, at: impl Fn(usize) -> f64) -> f64 {
        let position = (working as f64 + 0.5) * self.ratio - 0.5;
        let position = position.clamp(0.0, self.n_frames as f64 - 1.0);
        let (before, share) = (position as usize, position.fract());
        let after = (before + 1).min(self.n_frames - 1);
        let (nearer, farther) = if share < 0.5 {
            (at(before), at(after))
        } else {
            (at(after), at(before))
        };
        if farther.is_finite() {
            let share = share.min(1.0 - share);
            nearer + share * (farther - nearer)
        } else {
            nearer
        }
    }

    /// Sums over each frame of the recording of what happens in the working frames, spread evenly
    /// over each: counts stay counts.
    ///
    /// # Shapes
    /// `working`: `[working frame]`, result: `[frame]`.
    pub fn sums(&self, working: &[f32]) -> Vec<f32> {
        let sum = |frame: usize| {
            let shares = overlaps(frame, 1.0 / self.ratio, self.n_working);
            let sum: f64 = shares
                .map(|(at, share)| share * f64::from(working[at]))
                .sum();
            sum as f32
        };
        (0..self.n_frames).map(sum).collect()
    }
}

/// Which of `n` unit intervals the interval from `index`·`length` to (`index` + 1)·`length` covers,
/// and how much of each.
fn overlaps(index: usize, length: f64, n: usize) -> impl Iterator<Item = (usize, f64)> {
    let (start, end) = (index as f64 * length, (index + 1) as f64 * length);
    let last = (end.ceil() as usize).min(n);
    (start as usize..last).filter_map(move |unit| {
        let share = end.min((unit + 1) as f64) - start.max(unit as f64);
        (share > 1e-9).then_some((unit, share))
    })
}

/// The chunks in which a long trace is taken: equally long, of at most [`MAX_CHUNK`] working frames.
pub fn chunks(n_working: usize) -> Vec<Range<usize>> {
    if n_working <= MAX_CHUNK {
        return std::iter::once(0..n_working).collect();
    }
    let n = (n_working - OVERLAP).div_ceil(MAX_CHUNK - OVERLAP);
    let len = (n_working + (n - 1) * OVERLAP).div_ceil(n);
    let start = |chunk: usize| chunk * (n_working - len) / (n - 1);
    (0..n)
        .map(|chunk| start(chunk)..start(chunk) + len)
        .collect()
}

/// Weight of each frame of a chunk: where chunks overlap, one fades as the next comes.
pub fn fade(chunks: &[Range<usize>], index: usize) -> Vec<f32> {
    let chunk = &chunks[index];
    let mut weights = vec![1.0; chunk.len()];
    if let Some(before) = index.checked_sub(1).map(|before| &chunks[before]) {
        let shared = before.end - chunk.start;
        for (i, weight) in weights[..shared].iter_mut().enumerate() {
            *weight = (i as f32 + 0.5) / shared as f32;
        }
    }
    if let Some(after) = chunks.get(index + 1) {
        let shared = chunk.end - after.start;
        for (i, weight) in weights.iter_mut().rev().take(shared).enumerate() {
            *weight = (i as f32 + 0.5) / shared as f32;
        }
    }
    weights
}

/// A chunk of a trace as the network sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalised {
    /// The trace above its zero, in SDs of its noise; gaps are bridged by straight lines.
    pub x: Vec<f32>,
    /// 1 where there is data, 0 in gaps.
    pub present: Vec<f32>,
    /// What counts as zero, in the trace's units: a low percentile.
    pub zero: f32,
    /// SD of the noise of a working frame, in the trace's units.
    pub noise_sd: f32,
}

impl Normalised {
    /// Brings a trace on the working grid to a scale of its own. None where it has no data or never changes.
    pub fn of(trace: &[f32]) -> Option<Self> {
        let mut finite: Vec<f32> = trace.iter().copied().filter(|x| x.is_finite()).collect();
        let zero = quantile(&mut finite, ZERO_QUANTILE)?;
        let top = finite.iter().copied().fold(zero, f32::max);
        let bottom = finite.iter().copied().fold(zero, f32::min);
        let noise_sd = NOISE_LAGS
            .iter()
            .filter_map(|&lag| difference_sd(trace, lag))
            .fold(LEAST_NOISE * (top - bottom), f32::max);
        if noise_sd.is_nan() || noise_sd <= 0.0 {
            return None;
        }
        let present = trace.iter().map(|x| f32::from(u8::from(x.is_finite())));
        Some(Self {
            present: present.collect(),
            x: bridged(trace)
                .iter()
                .map(|x| (x - zero) / noise_sd)
                .collect(),
            zero,
            noise_sd,
        })
    }
}

/// SD of white noise from the differences of frames `lag` apart.
fn difference_sd(trace: &[f32], lag: usize) -> Option<f32> {
    let pairs = trace.iter().zip(trace.iter().skip(lag));
    let mut differences: Vec<f32> = pairs
        .map(|(a, b)| (b - a).abs())
        .filter(|difference| difference.is_finite())
        .collect();
    let median = quantile(&mut differences, 0.5)?;
    Some((f64::from(median) * SD_PER_MEDIAN_DIFFERENCE) as f32)
}

/// The value below which this fraction of the values lies; reorders them.
fn quantile(values: &mut [f32], fraction: f64) -> Option<f32> {
    let last = values.len().checked_sub(1)?;
    let rank = (fraction * last as f64).round() as usize;
    Some(*values.select_nth_unstable_by(rank, f32::total_cmp).1)
}

/// The trace with straight lines over gaps, level at its ends.
fn bridged(trace: &[f32]) -> Vec<f32> {
    let mut filled = trace.to_vec();
    let mut last: Option<usize> = None;
    let known = trace.iter().enumerate().filter(|(_, x)| x.is_finite());
    for (frame, &value) in known {
        let first = last.map_or(0, |last| last + 1);
        let before = last.map_or(value, |last| trace[last]);
        let slope = (value - before) / (frame + 1 - first) as f32;
        for (step, gap) in filled[first..frame].iter_mut().enumerate() {
            *gap = before + slope * (step + 1) as f32;
        }
        last = Some(frame);
    }
    if let Some(last) = last {
        filled[last + 1..].fill(trace[last]);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn at_the_working_rate_nothing_changes() {
        let trace: Vec<f32> = (0..50).map(|i| (i * i % 17) as f32).collect();
        let grid = Grid::new(50, WORKING_RATE_HZ);
        assert_eq!(grid.sample(&trace), trace);
        assert_eq!(grid.sums(&trace), trace);
    }

    #[test]
    fn fast_recordings_are_averaged_and_slow_ones_interpolated() {
        let fast = Grid::new(6, 60.0);
        assert_eq!(
            fast.sample(&[0.0, 2.0, 4.0, f64::NAN, f64::NAN, f64::NAN])[..2],
            [1.0, 4.0]
        );
        let slow = Grid::new(3, 15.0);
        let values = slow.sample(&[0.0, 1.0, 3.0]);
        assert_eq!(values, [0.0, 0.25, 0.75, 1.5, 2.5, 3.0]);
        assert_eq!(slow.sums(&[1.0; 6]), [2.0; 3]);
    }

    #[test]
    fn gaps_are_marked_and_bridged() {
        let trace = [f32::NAN, 1.0, f32::NAN, f32::NAN, 4.0, 2.0, f32::NAN];
        assert_eq!(bridged(&trace), [1.0, 1.0, 2.0, 3.0, 4.0, 2.0, 2.0]);
        let normalised = Normalised::of(&trace).unwrap();
        assert_eq!(normalised.present, [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        assert!(normalised.x.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn what_never_changes_has_no_scale() {
        assert_eq!(Normalised::of(&[3.0; 100]), None);
        assert_eq!(Normalised::of(&[f32::NAN; 100]), None);
        assert_eq!(Normalised::of(&[]), None);
    }

    proptest! {
        #[test]
        fn counts_are_conserved(n in 1..400_usize, rate in 0.5..150.0_f64) {
            let grid = Grid::new(n, rate);
            let working: Vec<f32> = (0..grid.n_working()).map(|i| (i % 5) as f32).collect();
            // What lies after the recording's end, less than a working frame, is lost.
            let covered = n as f64 * WORKING_RATE_HZ / rate;
            let lost = (grid.n_working() as f64 - covered) * f64::from(*working.last().unwrap());
            let want: f64 = working.iter().map(|&x| f64::from(x)).sum::<f64>() - lost;
            let got: f64 = grid.sums(&working).iter().map(|&x| f64::from(x)).sum();
            prop_assert!((got - want).abs() < 1e-3 * (1.0 + want));
            prop_assert_eq!(grid.sample(&vec![2.0_f32; n]).len(), grid.n_working());
        }

        /// Up to a fraction of a frame, since frames that lie across two working frames count in both.
        #[test]
        fn a_line_stays_a_line(n in 5..200_usize, rate in 2.0..120.0_f64) {
            let trace: Vec<f64> = (0..n).map(|i| (i as f64 + 0.5) / rate).collect();
            let grid = Grid::new(n, rate);
            let margin = (WORKING_RATE_HZ / rate).ceil() as usize + 1;
            let working = grid.sample(&trace);
            for (k, value) in working.iter().enumerate().skip(margin) {
                if k + margin < working.len() {
                    let want = (k as f64 + 0.5) / WORKING_RATE_HZ;
                    let tolerance = 0.15 / rate;
                    prop_assert!((f64::from(*value) - want).abs() < tolerance, "{k}: {value}, {want}");
                }
            }
        }

        #[test]
        fn chunks_cover_the_trace_and_their_weights_add_to_one(n in 1..60_000_usize) {
            let chunks = chunks(n);
            let mut sums = vec![0.0; n];
            for (index, chunk) in chunks.iter().enumerate() {
                prop_assert!(chunk.len() <= MAX_CHUNK);
                for (sum, weight) in sums[chunk.clone()].iter_mut().zip(fade(&chunks, index)) {
                    *sum += weight;
                }
            }
            prop_assert!(sums.iter().all(|sum| (sum - 1.0_f32).abs() < 1e-5));
        }

        #[test]
        fn the_scale_of_the_trace_does_not_matter(
            scale in 0.01..100.0_f32, shift in -5.0..5.0_f32, seed in 1..1000_usize,
        ) {
            let trace: Vec<f32> = (0..300).map(|i| ((i * 7919 + seed) % 101) as f32 / 50.0).collect();
            let scaled: Vec<f32> = trace.iter().map(|x| scale * (x + shift)).collect();
            let (a, b) = (Normalised::of(&trace).unwrap(), Normalised::of(&scaled).unwrap());
            for (a, b) in a.x.iter().zip(&b.x) {
                prop_assert!((a - b).abs() < 1e-3 * (1.0 + a.abs()), "{a}, {b}");
            }
        }
    }
}
