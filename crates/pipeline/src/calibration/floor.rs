//! The rolling baseline, in time that does not grow with the frame rate.

use calcium::CalciumError;
use calcium::estimate::maximin_baseline_of_trials;
use calcium::trials::trials;

use super::innovations::without_artefacts;

/// Frames of the smoothing above which frames are averaged before it.
const FINEST_SMOOTHING: f64 = 32.0;

/// The floor of a smoothed trace over a window, artefacts left out: one would be the floor for as long as
/// the window. Of trials that begin at `starts` each is smoothed alone. Nothing without a window.
pub(super) fn rolling_baseline(
    trace: &[f32],
    starts: &[usize],
    window_s: Option<f64>,
    tau_s: f64,
    dt_s: f64,
) -> Result<Vec<f32>, CalciumError> {
    match window_s {
        None => Ok(Vec::new()),
        Some(window_s) => {
            let trace = without_artefacts(trace);
            let smoothing = 0.5 * tau_s / dt_s;
            // The work grows with the smoothing, which at high rates is far finer than the floor.
            let n_together = (smoothing / FINEST_SMOOTHING).floor().max(1.0) as usize;
            let window = (window_s / dt_s / n_together as f64).ceil() as usize;
            let smoothing = smoothing / n_together as f64;
            if n_together == 1 {
                return maximin_baseline_of_trials(&trace, starts, smoothing, window);
            }
            let trials = trials(trace.len(), starts);
            let (mut coarse, mut coarse_starts) = (Vec::new(), Vec::new());
            for trial in &trials {
                coarse_starts.push(coarse.len());
                coarse.extend(trace[trial.clone()].chunks(n_together).map(mean_present));
            }
            let floor = maximin_baseline_of_trials(&coarse, &coarse_starts, smoothing, window)?;
            let mut rest = &floor[..];
            let of_trial = |trial: std::ops::Range<usize>| {
                let (floor, after) = rest.split_at(trial.len().div_ceil(n_together));
                rest = after;
                between(floor, n_together, trial.len())
            };
            Ok(trials.into_iter().flat_map(of_trial).collect())
        }
    }
}

/// The mean of what is there; NaN of nothing.
fn mean_present(values: &[f32]) -> f32 {
    let present = values.iter().filter(|value| !value.is_nan());
    let (sum, n) = present.fold((0.0, 0.0), |(sum, n), &v| (sum + f64::from(v), n + 1.0));
    (sum / n) as f32
}

/// Values at the middles of so many frames, on straight lines in between and level at the ends.
fn between(values: &[f32], n_together: usize, n_frames: usize) -> Vec<f32> {
    let at = |frame: usize| {
        let place = (frame as f32 + 0.5) / n_together as f32 - 0.5;
        let place = place.clamp(0.0, (values.len() - 1) as f32);
        let (first, share) = (place as usize, place.fract());
        let next = values[(first + 1).min(values.len() - 1)];
        values[first] + share * (next - values[first])
    };
    (0..n_frames).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At 20 and at 2,000 Hz the floor of the same signal is the same, and the work is in proportion.
    #[test]
    fn the_floor_does_not_depend_on_the_frame_rate() {
        let floor = |rate_hz: f64| {
            let frames = 0..(60.0 * rate_hz) as usize;
            let trace = frames.map(|frame| {
                let t_s = frame as f64 / rate_hz;
                (10.0 + 0.02 * t_s + f64::from(u8::from(t_s % 5.0 < 1.0))) as f32
            });
            let trace: Vec<f32> = trace.collect();
            let floor = rolling_baseline(&trace, &[0], Some(20.0), 0.7, 1.0 / rate_hz).unwrap();
            [10.0, 30.0, 50.0].map(|t_s| floor[(t_s * rate_hz) as usize])
        };
        let (slow, fast) = (floor(20.0), floor(2000.0));
        for (slow, fast) in slow.iter().zip(fast) {
            assert!((slow - fast).abs() < 0.02, "{slow} is not {fast}");
        }
    }

    #[test]
    fn values_in_between_are_on_straight_lines() {
        let found = between(&[1.0, 3.0, f32::NAN], 2, 6);
        assert_eq!(found[..3], [1.0, 1.5, 2.5]);
        assert!(found[3..].iter().all(|value| value.is_nan()));
    }
}
