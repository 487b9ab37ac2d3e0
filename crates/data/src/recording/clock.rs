//! When frames were: a rate, or the time of each; dropped frames become NaN.

use ndarray::{Array2, s};

use super::grid::{Grid, is_time, usual_step};
use crate::Problem;

/// Seconds a frame above which times are hardly seconds.
const SLOWEST_S: f64 = 4.0;
/// Seconds a frame below which they are not: no line is scanned so fast.
const FASTEST_S: f64 = 2e-5;
/// Seconds a frame below which they may be.
const FAST_S: f64 = 1e-3;
/// What a rate in frames per second is called, and the seconds of a frame.
pub(crate) const RATES: [&str; 6] = ["fs", "Fs", "rate", "rate_hz", "frame_rate", "framerate"];
pub(crate) const PERIODS: [&str; 2] = ["dt", "dt_s"];
/// Most times that may lack a frame, or frames a time, at the end.
const MOST_UNPAIRED: usize = 2;

/// What a file says of time.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// Nothing.
    Unstated,
    /// Frames per second.
    RateHz(f64),
    /// Seconds per frame.
    PeriodS(f64),
    /// Time of each frame, seconds.
    TimesS(Vec<f64>),
    /// Number of each frame, where some were dropped; how long a frame is must be stated.
    Numbers(Vec<f64>),
    /// A column without a name that rises, and not as the times of frames do.
    Irregular(String),
}

/// A trace with equal steps.
pub(crate) struct Regular {
    pub(crate) trace: Array2<f32>,
    pub(crate) dt_s: f64,
    pub(crate) start_s: f64,
    pub(crate) notes: Vec<String>,
}

impl Clock {
    /// Reads a clock from scalars under the names that people give them.
    pub(crate) fn from_scalars(
        mut scalar: impl FnMut(&str) -> Result<Option<f64>, Problem>,
    ) -> Result<Self, Problem> {
        for name in RATES {
            if let Some(rate_hz) = scalar(name)? {
                return Ok(Self::RateHz(rate_hz));
            }
        }
        for name in PERIODS {
            if let Some(dt_s) = scalar(name)? {
                return Ok(Self::PeriodS(dt_s));
            }
        }
        Ok(Self::Unstated)
    }

    /// What holds when the caller states a rate: numbers of frames still tell the dropped ones.
    pub(crate) fn stated(self, rate_hz: Option<f64>) -> Self {
        match (rate_hz, self) {
            (None, clock) | (_, clock @ Self::Irregular(_)) => clock,
            (Some(rate_hz), Self::Numbers(numbers)) if rate_hz > 0.0 => {
                let pairs = numbers.windows(2);
                let steps: Vec<f64> = pairs.map(|pair| pair[1] - pair[0]).collect();
                let step = usual_step(&steps).unwrap_or(1.0);
                Self::TimesS(numbers.iter().map(|n| n / step / rate_hz).collect())
            }
            (Some(rate_hz), _) => Self::RateHz(rate_hz),
        }
    }

    /// What the file states, if frames can be as long.
    ///
    /// # Errors
    /// [`Problem::SlowRate`]: a frame of more than four seconds is asked about.
    pub(crate) fn plausible(self) -> Result<Self, Problem> {
        match self {
            Self::RateHz(rate_hz) if rate_hz > 0.0 && rate_hz.recip() > SLOWEST_S => {
                Err(Problem::SlowRate { rate_hz })
            }
            clock => Ok(clock),
        }
    }

    /// What the times of a trial's frames say of all trials.
    pub(crate) fn of_trials(self) -> Result<Self, Problem> {
        match self {
            Self::TimesS(times) => Ok(Self::PeriodS(Grid::of(&times)?.dt_s)),
            other => Ok(other),
        }
    }

    /// How long a frame usually is, as far as it is stated, in seconds.
    pub(crate) fn usual_step_s(&self) -> Option<f64> {
        match self {
            Self::RateHz(rate_hz) => Some(rate_hz.recip()),
            Self::PeriodS(dt_s) => Some(*dt_s),
            Self::TimesS(times) => {
                let pairs = times.windows(2);
                usual_step(&pairs.map(|pair| pair[1] - pair[0]).collect::<Vec<_>>())
            }
            Self::Unstated | Self::Numbers(_) | Self::Irregular(_) => None,
        }
    }

    /// Number of frames that it times.
    pub(crate) fn n_times(&self) -> Option<usize> {
        match self {
            Self::TimesS(times) | Self::Numbers(times) => Some(times.len()),
            _ => None,
        }
    }

    /// Width of a frame.
    ///
    /// # Errors
    /// [`Problem::MissingRate`]; [`Problem::BadParameter`] for one that is not positive;
    /// [`Problem::NotSeconds`].
    pub(crate) fn dt_s(&self) -> Result<f64, Problem> {
        let (name, found) = match *self {
            Self::RateHz(rate_hz) => ("rate", rate_hz),
            Self::PeriodS(dt_s) => ("dt", dt_s),
            Self::Irregular(ref column) => {
                return Err(Problem::Irregular {
                    times: column.clone(),
                });
            }
            Self::Unstated | Self::TimesS(_) | Self::Numbers(_) => {
                return Err(Problem::MissingRate);
            }
        };
        let dt_s = if name == "rate" { found.recip() } else { found };
        if name == "dt" {
            seconds(dt_s)?;
        }
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

/// Puts a trace `[time, neuron]` on equal steps: where frames were dropped, NaN frames.
///
/// The clock is judged as a whole: see [`Grid::of`].
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
            notes: Vec::new(),
        });
    };
    let mut notes = Vec::new();
    let (times, trace) = paired(times, trace, dataset, &mut notes)?;
    let grid = Grid::of(&times)?;
    seconds(grid.dt_s)?;
    if grid.dt_s < FAST_S {
        notes.push(format!(
            "{:.0} frames a second by their times: are these seconds? If not, give the rate",
            grid.dt_s.recip()
        ));
    }
    let n_frames = grid.frames.last().map_or(0, |last| last + 1);
    let n_dropped = n_frames - trace.nrows();
    notes.extend(grid.note(n_dropped));
    if n_dropped == 0 {
        return Ok(Regular {
            trace,
            dt_s: grid.dt_s,
            start_s: times[0],
            notes,
        });
    }
    let mut filled = Array2::from_elem((n_frames, trace.ncols()), f32::NAN);
    for (row, &frame) in trace.outer_iter().zip(&grid.frames) {
        filled.slice_mut(s![frame, ..]).assign(&row);
    }
    Ok(Regular {
        trace: filled,
        dt_s: grid.dt_s,
        start_s: times[0],
        notes,
    })
}

/// That a frame can last so long.
fn seconds(step: f64) -> Result<(), Problem> {
    let unit = match step {
        step if step > SLOWEST_S => "milliseconds",
        step if step > 0.0 && step < FASTEST_S => "days",
        _ => return Ok(()),
    };
    Err(Problem::NotSeconds { step, unit })
}

/// Whether so many times can be those of so many frames, but for one or two at the end.
pub(crate) fn can_be_paired(n_times: usize, n_frames: usize) -> bool {
    let most = MOST_UNPAIRED.max(n_frames.min(n_times) / 1000);
    n_times > 0 && n_times.abs_diff(n_frames) <= most
}

/// As many times as frames: one or two more of either, at the end, are left out.
fn paired(
    mut times: Vec<f64>,
    mut trace: Array2<f32>,
    dataset: &str,
    notes: &mut Vec<String>,
) -> Result<(Vec<f64>, Array2<f32>), Problem> {
    let (n_times, n_frames) = (times.len(), trace.nrows());
    if !can_be_paired(n_times, n_frames) {
        return Err(Problem::Disagree {
            a: dataset.to_owned(),
            a_shape: trace.shape().to_vec(),
            b: "timestamps".to_owned(),
            b_shape: vec![n_times],
            axis: "frames",
        });
    }
    if n_times > n_frames {
        notes.push(format!(
            "{n_times} frame times for {n_frames} frames: the first {n_frames} are used, the first time being the first frame's"
        ));
        times.truncate(n_frames);
    } else if n_times < n_frames {
        notes.push(format!(
            "{n_times} frame times for {n_frames} frames: the last {} without a time are left out",
            n_frames - n_times
        ));
        trace = trace.slice_move(s![..n_times, ..]);
    }
    Ok((times, trace))
}
