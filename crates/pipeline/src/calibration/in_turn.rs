//! Planes imaged in turn: of a neuron every n-th frame is there, and no other.

use std::borrow::Cow;

use calcium::trials::trials;
use calcium::{Ar1, CalciumError};

/// A trace of the frames that are there, n frames of the recording apart.
pub struct InTurn<'a> {
    /// NaN where one of these is missing.
    pub trace: Cow<'a, [f32]>,
    /// First frames of its trials.
    pub starts: Cow<'a, [usize]>,
    /// Frames of the recording from one to the next: 1 for most recordings.
    pub stride: usize,
}

impl<'a> InTurn<'a> {
    /// Of trials that begin at `starts`; the stride is the usual distance between frames that are not missing.
    pub fn of(trace: &'a [f32], starts: &'a [usize]) -> Self {
        let stride = stride(trace);
        if stride == 1 {
            return Self {
                trace: Cow::Borrowed(trace),
                starts: Cow::Borrowed(starts),
                stride,
            };
        }
        let (mut thin, mut thin_starts) = (Vec::with_capacity(trace.len() / stride), Vec::new());
        for trial in trials(trace.len(), starts) {
            thin_starts.push(thin.len());
            let mut last = None;
            for place in trial.filter(|&place| !trace[place].is_nan()) {
                if let Some(last) = last.replace(place) {
                    let gap: usize = place - last;
                    // Out of turn, the two are no neighbours.
                    let n_missing = match gap % stride {
                        0 => gap / stride - 1,
                        _ => (gap / stride).max(1),
                    };
                    thin.extend(std::iter::repeat_n(f32::NAN, n_missing));
                }
                thin.push(trace[place]);
            }
        }
        thin_starts.dedup();
        Self {
            trace: Cow::Owned(thin),
            starts: Cow::Owned(thin_starts),
            stride,
        }
    }

    /// The decay from one frame to the next, and how much of a spike is seen on average: it falls on
    /// any of the frames between.
    ///
    /// # Errors
    /// None of a decay per frame between 0 and 1.
    pub fn decay(&self, ar: Ar1) -> Result<(Ar1, f64), CalciumError> {
        if self.stride == 1 {
            return Ok((ar, 1.0));
        }
        let frames = 0..self.stride as i32;
        let seen: f64 = frames.map(|frame| ar.g().powi(frame)).sum();
        let decay = Ar1::new(ar.g().powi(self.stride as i32))?;
        Ok((decay, seen / self.stride as f64))
    }
}

/// The usual distance between frames that are not missing.
pub fn stride(trace: &[f32]) -> usize {
    let present: Vec<usize> = (0..trace.len()).filter(|&i| !trace[i].is_nan()).collect();
    let mut gaps: Vec<usize> = present.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_third_frame_is_a_trace_of_its_own() {
        let mut trace = vec![f32::NAN; 30];
        for frame in (1..16).step_by(3) {
            trace[frame] = frame as f32;
        }
        // Another trial begins out of turn, and lacks a frame.
        for frame in [20, 23, 29] {
            trace[frame] = frame as f32;
        }
        let found = InTurn::of(&trace, &[0, 18]);
        assert_eq!(found.stride, 3);
        let kept: Vec<i32> = found.trace.iter().map(|v| *v as i32).collect();
        let (ar, seen) = found.decay(Ar1::new(0.9).unwrap()).unwrap();
        // NaN is 0 as a whole number.
        assert_eq!(kept, [1, 4, 7, 10, 13, 20, 23, 0, 29]);
        assert_eq!(found.starts[..], [0, 5]);
        assert!((ar.g() - 0.729).abs() < 1e-12);
        assert!((seen - (1.0 + 0.9 + 0.81) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_whole_trace_stays_as_it_is() {
        let trace = [1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0];
        let found = InTurn::of(&trace, &[0]);
        assert_eq!(found.stride, 1);
        assert!(matches!(found.trace, Cow::Borrowed(_)));
    }
}
