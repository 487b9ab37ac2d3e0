//! Known inputs, a recording of the same time of what is no neuron, put on the frames of another.

use std::path::Path;

use ndarray::{Array2, ArrayView2, Axis};

use super::options::{AxisOrder, Options, Part};
use super::traces::{RateFrom, Recording, Traces};
use crate::{DataError, Problem};

/// Parts of a sample that are no part: times are decimal, and clocks are read to so much.
const SLACK: f64 = 1e-3;
/// What lfads-torch calls known inputs.
const OF_SPLITS: &str = "train_ext_input";

/// Samples on equal steps.
#[derive(Clone, Copy, Debug)]
struct Steps {
    start_s: f64,
    dt_s: f64,
    n: usize,
}

impl Steps {
    fn end_s(self) -> f64 {
        self.start_s + self.n as f64 * self.dt_s
    }
}

impl Recording {
    /// Reads known inputs for this recording, `[time, input]` or `[trial, time, input]`, as they are in the file: those of
    /// `dataset`, else `train_ext_input` or the only ones there are. Without a rate or times of their own they have a sample
    /// a frame, of the same `part` as this recording.
    ///
    /// # Errors
    /// Those of [`Recording::open`].
    pub fn open_inputs(
        &self,
        path: &Path,
        dataset: Option<&str>,
        part: Part,
    ) -> Result<Self, DataError> {
        let open = |dataset: Option<&str>| {
            let own = Options {
                dataset: dataset.map(Into::into),
                order: Some(AxisOrder::TimeNeuron),
                ..Options::default()
            };
            match Self::open(path, &own) {
                Err(error) if matches!(*error.problem, Problem::MissingRate) => {
                    let of_frames = Options {
                        rate_hz: Some(1.0 / self.dt_s),
                        part,
                        ..own
                    };
                    Self::open(path, &of_frames)
                }
                read => read,
            }
        };
        if dataset.is_some() {
            return open(dataset);
        }
        match open(Some(OF_SPLITS)) {
            Ok(inputs) if inputs.dataset == OF_SPLITS => Ok(inputs),
            _ => open(None),
        }
    }

    /// `inputs` on the frames of this recording, with its trials, clock and table: each frame has the mean of
    /// what was sampled in its time, or the last sample where these are slower. Inputs whose rate was stated
    /// by the caller have one sample a frame; a first or last frame without any has its neighbour's.
    ///
    /// # Errors
    /// [`Problem::Inputs`] if they are of another time, have other trials, or a gap.
    pub fn beside(&self, inputs: &Self) -> Result<Self, DataError> {
        let traces = self
            .resampled(inputs)
            .map_err(|problem| inputs.problem(problem))?;
        Ok(Self {
            neuron_ids: inputs.neuron_ids.clone(),
            neuron_numbers: inputs.neuron_numbers.clone(),
            path: inputs.path.clone(),
            dataset: inputs.dataset.clone(),
            ..self.with_traces(traces)
        })
    }

    fn resampled(&self, inputs: &Self) -> Result<Traces, Problem> {
        let on_frames = |values: ArrayView2<'_, f32>, n: usize, starts: [f64; 2], place: &str| {
            let by_frame = inputs.rate_from == RateFrom::Stated;
            let frames = Steps {
                start_s: starts[0],
                dt_s: self.dt_s,
                n,
            };
            if by_frame && values.nrows() != n {
                return Err(Problem::Inputs {
                    found: format!("have {} samples{place}, the recording {n} frames", values.nrows()),
                    expected: "without a rate or times of their own they must have one a frame; give them times in seconds, or cut both alike".into(),
                });
            }
            let samples = match by_frame {
                true => frames,
                false => Steps {
                    start_s: starts[1],
                    dt_s: inputs.dt_s,
                    n: values.nrows(),
                },
            };
            resample(values, samples, frames, &inputs.neuron_ids)
        };
        match (&self.traces, &inputs.traces) {
            (Traces::Continuous(trace), Traces::Continuous(values)) => {
                let starts = [self.start_s, inputs.start_s];
                on_frames(values.view(), trace.nrows(), starts, "").map(Traces::Continuous)
            }
            (Traces::Trials(trials), Traces::Trials(values)) if trials.len() == values.len() => {
                let trials = trials.iter().zip(values).enumerate();
                trials
                    .map(|(trial, (trace, values))| {
                        let place = format!(" in trial {trial}");
                        let observed = observed_rows(trace.view());
                        let shown = values.slice(ndarray::s![..observed_rows(values.view()), ..]);
                        // Trials of an array are padded with what is no data.
                        let mut padded = Array2::from_elem((trace.nrows(), values.ncols()), 0.0);
                        let own = on_frames(shown, observed, [0.0, 0.0], &place)?;
                        padded.slice_mut(ndarray::s![..observed, ..]).assign(&own);
                        Ok(padded)
                    })
                    .collect::<Result<_, Problem>>()
                    .map(Traces::Trials)
            }
            _ => Err(Problem::Inputs {
                found: format!("are {}, the recording {}", layout(inputs), layout(self)),
                expected: "they must be laid out alike: [time, input] beside [time, neuron], [trial, time, input] beside [trial, time, neuron]".into(),
            }),
        }
    }
}

fn layout(recording: &Recording) -> String {
    match &recording.traces {
        Traces::Continuous(trace) => format!("one stretch of {}", trace.nrows()),
        Traces::Trials(trials) => format!("{} trials", trials.len()),
    }
}

/// Rows up to the last that has data.
fn observed_rows(values: ArrayView2<'_, f32>) -> usize {
    let has_data = |row: ndarray::ArrayView1<'_, f32>| row.iter().any(|x| !x.is_nan());
    values
        .outer_iter()
        .rposition(has_data)
        .map_or(0, |last| last + 1)
}

/// Means of `[sample, input]` over the time of each frame, `[frame, input]`.
fn resample(
    values: ArrayView2<'_, f32>,
    samples: Steps,
    frames: Steps,
    names: &[String],
) -> Result<Array2<f32>, Problem> {
    let (early, late) = (
        samples.start_s - frames.start_s,
        frames.end_s() - samples.end_s(),
    );
    if early > (1.0 + SLACK) * frames.dt_s || late > (1.0 + SLACK) * frames.dt_s {
        return Err(Problem::Inputs {
            found: format!(
                "last from {:.3} s to {:.3} s, the recording from {:.3} s to {:.3} s",
                samples.start_s,
                samples.end_s(),
                frames.start_s,
                frames.end_s()
            ),
            expected: "they must be there all the time; cut the recording to it (`from`, `to`)"
                .into(),
        });
    }
    // Of one frame's time, in samples.
    let snapped = |time_s: f64| {
        let place = (time_s - samples.start_s) / samples.dt_s;
        let whole = place.round();
        let place = match (place - whole).abs() < SLACK {
            true => whole,
            false => place,
        };
        place.clamp(0.0, samples.n as f64)
    };
    let mut on_frames = Array2::zeros((frames.n, values.ncols()));
    for (frame, mut to) in on_frames.outer_iter_mut().enumerate() {
        let start_s = frames.start_s + frame as f64 * frames.dt_s;
        let (first, end) = (snapped(start_s), snapped(start_s + frames.dt_s));
        let place = (first.floor() as usize).min(samples.n - 1);
        let covered = place..(end.ceil() as usize).max(place + 1);
        let weight = |sample: usize| {
            let (low, high) = (first.max(sample as f64), end.min(sample as f64 + 1.0));
            if end > first {
                (high - low).max(0.0) / (end - first)
            } else {
                1.0
            }
        };
        for (input, to) in to.iter_mut().enumerate() {
            let column = values.index_axis(Axis(1), input);
            let mean: f64 = covered
                .clone()
                .map(|sample| weight(sample) * f64::from(column[sample]))
                .sum();
            if !mean.is_finite() {
                return Err(gap(column, samples, covered.start, &names[input]));
            }
            *to = mean as f32;
        }
    }
    Ok(on_frames)
}

/// What is missing from `first` on.
fn gap(column: ndarray::ArrayView1<'_, f32>, samples: Steps, first: usize, name: &str) -> Problem {
    let missing = |sample: usize| !column[sample].is_finite();
    let start = (first..samples.n).find(|&s| missing(s)).unwrap_or(first);
    let end = (start..samples.n)
        .find(|&s| !missing(s))
        .unwrap_or(samples.n);
    let at = |sample: usize| samples.start_s + sample as f64 * samples.dt_s;
    Problem::Inputs {
        found: format!(
            "have no number in `{name}` from {:.3} s to {:.3} s",
            at(start),
            at(end)
        ),
        expected: "what is known must be known all the time: fill the gap, or cut the recording (`from`, `to`)"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(start_s: f64, dt_s: f64, n: usize) -> Steps {
        Steps { start_s, dt_s, n }
    }

    fn ramp(n: usize) -> Array2<f32> {
        Array2::from_shape_fn((n, 1), |(sample, _)| sample as f32)
    }

    fn resampled(values: &Array2<f32>, from: Steps, to: Steps) -> Result<Vec<f32>, String> {
        let found = resample(values.view(), from, to, &["speed".to_owned()]);
        found
            .map(|values| values.into_iter().collect())
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_frame_has_the_mean_of_its_time_or_the_sample_that_holds() {
        let (fast, slow) = (steps(0.0, 0.01, 12), steps(0.0, 0.1, 2));
        let frames = steps(0.0, 0.04, 3);
        assert_eq!(resampled(&ramp(12), fast, frames), Ok(vec![1.5, 5.5, 9.5]));
        let frames = steps(0.0, 0.05, 4);
        assert_eq!(
            resampled(&ramp(2), slow, frames),
            Ok(vec![0.0, 0.0, 1.0, 1.0])
        );
    }

    #[test]
    fn gaps_and_other_times_are_named() {
        let mut values = ramp(10);
        values[[4, 0]] = f32::NAN;
        let all = steps(0.0, 0.1, 10);
        let error = resampled(&values, all, all).unwrap_err();
        assert!(error.contains("`speed` from 0.400 s to 0.500 s"), "{error}");
        let error = resampled(&ramp(10), all, steps(0.0, 0.1, 13)).unwrap_err();
        assert!(
            error.contains("to 1.000 s, the recording from 0.000 s to 1.300 s"),
            "{error}"
        );
        assert!(resampled(&ramp(10), all, steps(0.0, 0.1, 11)).is_ok());
    }

    proptest! {
        /// The integral over the time is kept, and equal steps change nothing.
        #[test]
        fn the_mean_over_all_time_is_kept(
            values in proptest::collection::vec(-10.0_f32..10.0, 1..60),
            n_frames in 1_usize..60,
        ) {
            let n = values.len();
            let column = Array2::from_shape_vec((n, 1), values.clone()).unwrap();
            let samples = steps(3.0, 0.1, n);
            let total_s = 0.1 * n as f64;
            let frames = steps(3.0, total_s / n_frames as f64, n_frames);
            let found = resampled(&column, samples, frames).unwrap();
            let mean = |x: &[f32]| x.iter().copied().map(f64::from).sum::<f64>() / x.len() as f64;
            // Snapping moves borders by a thousandth of a sample.
            prop_assert!((mean(&found) - mean(&values)).abs() < 0.03);
            prop_assert_eq!(resampled(&column, samples, samples).unwrap(), values);
        }
    }
}
