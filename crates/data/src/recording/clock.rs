//! When frames were: a rate, or the time of each; dropped frames become NaN.

use ndarray::{Array2, s};

use crate::Problem;

/// What a file says of time.
pub(crate) enum Clock {
    /// Nothing.
    Unstated,
    /// Frames per second.
    RateHz(f64),
    /// Seconds per frame.
    PeriodS(f64),
    /// Time of each frame, seconds.
    TimesS(Vec<f64>),
}

/// A trace with equal steps.
pub(crate) struct Regular {
    pub(crate) trace: Array2<f32>,
    pub(crate) dt_s: f64,
    pub(crate) start_s: f64,
    pub(crate) note: Option<String>,
}

impl Clock {
    /// Reads a clock from scalars under the names that people give them.
    pub(crate) fn from_scalars(
        mut scalar: impl FnMut(&str) -> Result<Option<f64>, Problem>,
    ) -> Result<Self, Problem> {
        for name in ["fs", "Fs", "rate", "rate_hz", "frame_rate", "framerate"] {
            if let Some(rate_hz) = scalar(name)? {
                return Ok(Self::RateHz(rate_hz));
            }
        }
        for name in ["dt", "dt_s"] {
            if let Some(dt_s) = scalar(name)? {
                return Ok(Self::PeriodS(dt_s));
            }
        }
        Ok(Self::Unstated)
    }

    /// Width of a frame.
    ///
    /// # Errors
    /// [`Problem::MissingRate`]; [`Problem::BadParameter`] for one that is not positive.
    pub(crate) fn dt_s(&self) -> Result<f64, Problem> {
        let (name, found) = match *self {
            Self::RateHz(rate_hz) => ("rate", rate_hz),
            Self::PeriodS(dt_s) => ("dt", dt_s),
            Self::Unstated | Self::TimesS(_) => return Err(Problem::MissingRate),
        };
        let dt_s = if name == "rate" { found.recip() } else { found };
        if is_time(dt_s) {
            return Ok(dt_s);
        }
        Err(Problem::BadParameter {
            name,
            found: found.to_string(),
            expected: "a positive number, in frames per second for `rate`, in seconds for `dt`",
        })
    }
}

/// Puts a trace `[time, neuron]` on equal steps: where frame times leave a gap, NaN frames.
///
/// The step is the median difference between frames, then refined to the mean over all
/// steps, so that jitter does not add up.
pub(crate) fn regularise(
    clock: Clock,
    trace: Array2<f32>,
    start_s: f64,
    dataset: &str,
) -> Result<Regular, Problem> {
    let Clock::TimesS(times) = clock else {
        let dt_s = clock.dt_s()?;
        return Ok(Regular {
            trace,
            dt_s,
            start_s,
            note: None,
        });
    };
    if times.len() != trace.nrows() {
        return Err(Problem::Disagree {
            a: dataset.to_owned(),
            a_shape: trace.shape().to_vec(),
            b: "timestamps".to_owned(),
            b_shape: vec![times.len()],
            axis: "frames",
        });
    }
    let frames = frame_numbers(&times)?;
    let n_frames = frames.last().map_or(0, |last| last + 1);
    let n_dropped = n_frames - trace.nrows();
    let (first, last) = (times[0], times[times.len() - 1]);
    let dt_s = (last - first) / (n_frames - 1) as f64;
    if !is_time(dt_s) {
        return Err(Problem::BadParameter {
            name: "timestamps",
            found: format!("from {first} s to {last} s"),
            expected: "times in seconds, or give `rate` instead",
        });
    }
    if n_dropped == 0 {
        return Ok(Regular {
            trace,
            dt_s,
            start_s: times[0],
            note: None,
        });
    }
    let mut filled = Array2::from_elem((n_frames, trace.ncols()), f32::NAN);
    for (row, &frame) in trace.outer_iter().zip(&frames) {
        filled.slice_mut(s![frame, ..]).assign(&row);
    }
    Ok(Regular {
        trace: filled,
        dt_s,
        start_s: times[0],
        note: Some(format!(
            "the timestamps leave out {n_dropped} frames; they are NaN here"
        )),
    })
}

/// The place of each time on the grid of equal steps.
fn frame_numbers(times: &[f64]) -> Result<Vec<usize>, Problem> {
    let steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let good = |step: &f64| step.is_finite() && *step > 0.0;
    if let Some(bad) = steps.iter().position(|step| !good(step)) {
        return Err(Problem::Timestamps {
            index: bad + 1,
            value: times[bad + 1],
            before: times[bad],
        });
    }
    let mut sorted = steps.clone();
    sorted.sort_by(f64::total_cmp);
    let Some(&median) = sorted.get(sorted.len() / 2) else {
        return Err(Problem::MissingRate);
    };
    let mut frames = vec![0];
    let mut frame = 0.0;
    for (index, step) in steps.iter().enumerate() {
        let gap = (step / median).round().max(1.0);
        frame += gap;
        // More frames missing than recorded: not dropped frames but two sessions.
        if frame >= 2.0 * times.len() as f64 {
            return Err(Problem::LongGap {
                frame: index,
                gap_s: *step,
                dt_s: median,
            });
        }
        frames.push(frame as usize);
    }
    Ok(frames)
}

/// Whether this is a length of time.
pub(crate) fn is_time(seconds: f64) -> bool {
    seconds.is_finite() && seconds > 0.0
}
