//! A part of a recording's time.

use std::ops::Range;

use ndarray::{Array2, s};

use super::options::Part;
use super::traces::{Recording, Traces};
use crate::Problem;

impl Part {
    /// The frames that the part holds of `n_frames`, the first of which was at `start_s`.
    ///
    /// # Errors
    /// [`Problem::Part`] if there is none.
    pub(crate) fn frames(
        &self,
        n_frames: usize,
        start_s: f64,
        dt_s: f64,
    ) -> Result<Range<usize>, Problem> {
        // Times are decimal and frames binary: a millionth of a frame is not a frame.
        let from = |time_s: f64| ((time_s - start_s) / dt_s - 1e-6).ceil().max(0.0) as usize;
        let first = self.first_frame.unwrap_or(0);
        let first = first.max(self.from_s.map_or(0, from));
        let end = self.end_frame.unwrap_or(n_frames).min(n_frames);
        let end = end.min(self.to_s.map_or(n_frames, from));
        if first < end {
            return Ok(first..end);
        }
        let place = |frame: Option<usize>, time_s: Option<f64>, whole: &str| match (frame, time_s) {
            (Some(frame), _) => format!("frame {frame}"),
            (None, Some(time_s)) => format!("{time_s} s"),
            (None, None) => whole.to_owned(),
        };
        Err(Problem::Part {
            from: place(self.first_frame, self.from_s, "the start"),
            to: place(self.end_frame, self.to_s, "the end"),
            n_frames,
            start_s,
            end_s: start_s + n_frames as f64 * dt_s,
        })
    }
}

impl Recording {
    /// The part of the recording; of trials, of every trial, timed from its start.
    ///
    /// Trials of the table that do not lie wholly in it are left out.
    ///
    /// # Errors
    /// [`Problem::Part`] if it holds none of the recording, or none of a trial.
    pub(super) fn part(mut self, part: &Part) -> Result<Self, Problem> {
        if part.is_whole() {
            return Ok(self);
        }
        let (start_s, dt_s) = (self.start_s, self.dt_s);
        let cut = |trace: &Array2<f32>, start_s: f64| -> Result<_, Problem> {
            let frames = part.frames(trace.nrows(), start_s, dt_s)?;
            Ok((trace.slice(s![frames.clone(), ..]).to_owned(), frames))
        };
        match &mut self.traces {
            Traces::Continuous(trace) => {
                let n_frames = trace.nrows();
                let (kept, frames) = cut(trace, start_s)?;
                *trace = kept;
                self.start_s = start_s + frames.start as f64 * dt_s;
                let end_s = start_s + frames.end as f64 * dt_s;
                self.notes.push(format!(
                    "frames {} to {} of {n_frames}, {:.3} s to {end_s:.3} s",
                    frames.start,
                    frames.end - 1,
                    self.start_s,
                ));
            }
            Traces::Trials(trials) => {
                for trial in trials {
                    *trial = cut(trial, 0.0)?.0;
                }
                self.notes
                    .push("of every trial the part that was asked for".to_owned());
            }
        }
        self.keep_whole_trials();
        Ok(self)
    }

    /// Leaves out of the table the trials that are not wholly in a continuous recording.
    fn keep_whole_trials(&mut self) {
        let Traces::Continuous(trace) = &self.traces else {
            return;
        };
        let slack = 1e-6 * self.dt_s;
        let (start_s, end_s) = (
            self.start_s - slack,
            self.start_s + trace.nrows() as f64 * self.dt_s + slack,
        );
        let n_all = self.trial_table.len();
        self.trial_table
            .retain(|trial| trial.start_s >= start_s && trial.stop_s <= end_s);
        let n_left = n_all - self.trial_table.len();
        if n_left > 0 {
            self.notes.push(format!(
                "{n_left} of {n_all} trials are not wholly in that part: left out"
            ));
        }
    }
}
