//! A neuron's spikes by the network, from the recording's own trace: counted, sized, and with their uncertainty.

use std::ops::Range;

use crate::estimate::{band_noise, median};
use crate::network::{LogNormal, SpikeNetwork};
use crate::oasis::check_trace;
use crate::trials::trials;
use crate::{Ar2, CalciumError, Discretisation, NamedIndicator, QuietBaseline, Sample, error};

/// Counts are absolute where the SD of the logarithm of the size of a spike is no larger: a factor of 1.4.
const ABSOLUTE: f64 = 0.35;
/// Window of the baseline, s: what moves faster the network has learned to tell from spikes, on what it sees at once.
const SLOW_S: f64 = 200.0;
/// Expectation that belongs to no spike within this time is forgotten by [`sparse`], s.
const MEMORY_S: f64 = 0.3;
/// Longest gap that the network is shown between joined trials, s; a gap is no longer than trials are on average, so
/// that the work at most doubles. Without one a trial's first frames follow on the last of another, and the jump hides the
/// spikes on both sides.
const GAP_S: f64 = 2.0;

/// Settings of the inference; none is needed.
///
/// # Example
/// ```
/// use calcium::{Ar1, Discretisation, Inference};
///
/// let mut spikes = [0.0; 900];
/// (spikes[200], spikes[500], spikes[720]) = (1.0, 2.0, 1.0);
/// let calcium = Ar1::from_tau(0.5, 1.0 / 30.0, Discretisation::Exact)?.convolve(&spikes);
/// let noise = |i: usize| (i * 7919 % 101) as f64 / 505.0;
/// let trace: Vec<f64> = calcium.iter().enumerate().map(|(i, c)| 100.0 + c + noise(i)).collect();
///
/// let found = Inference::new(1.0 / 30.0)?.infer(&trace)?;
/// let near = |t: usize| found.expected[t - 2..t + 3].iter().sum::<f64>();
/// assert!(near(500) > near(200) && near(200) > 10.0 * near(350));
/// # Ok::<(), calcium::CalciumError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    dt_s: f64,
    window_s: Option<f64>,
    subtracts_baseline: bool,
    indicator: Option<NamedIndicator>,
    level: Option<f64>,
    starts: Vec<usize>,
}

/// What was found in one trace.
#[derive(Clone, Debug, PartialEq)]
pub struct InferredSpikes<T> {
    /// Expected spikes of each frame, `[time]`; NaN without data.
    pub expected: Vec<T>,
    /// SD of the number of spikes of each frame, `[time]`; variances add up over frames.
    pub sd: Vec<T>,
    /// A sparse estimate from the same expectation: whole spikes where they are likeliest, `[time]`.
    pub spikes: Vec<T>,
    /// Fluorescence above the baseline that the expected spikes explain, `[time]`.
    pub calcium: Vec<T>,
    /// Baseline, in the trace's units, `[time]`.
    pub baseline: Vec<T>,
    /// SD of the noise of a frame, in the trace's units.
    pub noise_sd: f64,
    /// Time constant of the rise, s.
    pub rise_s: LogNormal,
    /// Time constant of the decay, s.
    pub decay_s: LogNormal,
    /// Peak of a single spike, in the trace's units.
    pub spike_size: LogNormal,
}

impl<T> InferredSpikes<T> {
    /// Whether the size of a spike is known well enough for counts to be numbers of spikes: within a factor
    /// of 1.4, one SD. Otherwise they are right up to a factor, the same for the whole trace.
    pub fn is_absolute(&self) -> bool {
        self.spike_size.log_sd <= ABSOLUTE
    }
}

impl<T: Sample> InferredSpikes<T> {
    /// Mean and SD of the number of spikes in these frames. The SD holds what is not known of the size of a spike: over
    /// many frames it grows with their number, not with its root.
    pub fn count(&self, frames: Range<usize>) -> [f64; 2] {
        let pairs = self.expected[frames.clone()].iter().zip(&self.sd[frames]);
        let present = pairs.filter(|(mean, _)| !mean.to_f64().is_nan());
        let (mean, variance) = present.fold((0.0, 0.0), |(mean, variance), (m, sd)| {
            (mean + m.to_f64(), variance + sd.to_f64().powi(2))
        });
        let of_size = mean * self.spike_size.log_sd;
        [mean, libm::sqrt(variance + of_size * of_size)]
    }
}

impl Inference {
    /// Settings for frames every `dt_s`.
    ///
    /// # Units
    /// Seconds.
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn new(dt_s: f64) -> Result<Self, CalciumError> {
        Ok(Self {
            dt_s: error::duration("dt_s", dt_s)?,
            window_s: None,
            subtracts_baseline: true,
            indicator: None,
            level: None,
            starts: vec![0],
        })
    }

    /// Sets the window of the baseline: longer than the longest bout of activity, shorter than drift.
    ///
    /// # Errors
    /// [`CalciumError::NotADuration`].
    pub fn with_baseline_window(self, window_s: f64) -> Result<Self, CalciumError> {
        let window_s = Some(error::duration("window_s", window_s)?);
        Ok(Self { window_s, ..self })
    }

    /// The trace has no baseline.
    #[must_use]
    pub fn without_baseline(self) -> Self {
        Self {
            subtracts_baseline: false,
            ..self
        }
    }

    /// Says which indicator it is, and the resting fluorescence: 1 for dF/F. The sizes of its spikes are then
    /// weighed with what the trace says.
    ///
    /// # Errors
    /// [`CalciumError::NotPositive`] for `level`.
    pub fn with_indicator(
        self,
        indicator: NamedIndicator,
        level: Option<f64>,
    ) -> Result<Self, CalciumError> {
        let level = level.map(|level| error::positive("level", level));
        Ok(Self {
            indicator: Some(indicator),
            level: level.transpose()?,
            ..self
        })
    }

    /// Says where joined trials begin: first frames, ascending. Each has a baseline of its own where it needs one, and
    /// the network sees a gap before each.
    #[must_use]
    pub fn with_trials(self, starts: &[usize]) -> Self {
        Self {
            starts: starts.to_vec(),
            ..self
        }
    }

    /// Infers the spikes of one trace.
    ///
    /// # Shapes
    /// `trace` and all results: `[time]`.
    /// # Errors
    /// [`CalciumError::EmptyTrace`], [`CalciumError::Infinite`], and [`CalciumError::TooFewFrames`] below 8 frames with
    /// data.
    pub fn infer<T: Sample>(&self, trace: &[T]) -> Result<InferredSpikes<T>, CalciumError> {
        check_trace(trace)?;
        let noise = band_noise(trace)?;
        let baseline = self.baseline(trace, noise.sd)?;
        let pairs = trace.iter().zip(&baseline);
        let above: Vec<f64> = pairs.map(|(y, b)| y.to_f64() - b).collect();
        let apart = Apart::new(trace.len(), &self.starts, self.dt_s);
        let found = SpikeNetwork::bundled().infer(&apart.spread(&above), 1.0 / self.dt_s)?;
        let Some(neuron) = found.neuron else {
            return Ok(Self::silence(trace, &baseline, noise.frame_sd()));
        };
        let spike_size = self.weighed(neuron.spike_size, &baseline, |known, level| {
            known.spike_dff * level
        });
        // Spikes that are smaller than thought are more.
        let factor = neuron.spike_size.median / spike_size.median;
        let expected = apart.join(&found.expected);
        let expected: Vec<f64> = expected.map(|e| factor * f64::from(e)).collect();
        let kinetics = |of_network: LogNormal, of_indicator: fn(&NamedIndicator) -> f64| {
            self.indicator.map_or(of_network, |known| {
                product(of_network, NamedIndicator::belief(of_indicator(&known)))
            })
        };
        let rise_s = kinetics(neuron.rise_s, |known| known.rise_s);
        let decay_s = kinetics(neuron.decay_s, |known| known.decay_s);
        let calcium = explained(
            &expected,
            &above,
            &apart.trials,
            [rise_s.median, decay_s.median],
            self.dt_s,
        )?;
        let of_trials = apart.trials.iter().map(|trial| &expected[trial.clone()]);
        let sparse = of_trials.flat_map(|trial| sparse(trial, self.dt_s));
        let sd = apart
            .join(&found.variance)
            .map(|v| factor * f64::from(v).max(0.0).sqrt());
        let rounded = |values: &[f64]| values.iter().map(|&v| T::from_f64(v)).collect();
        Ok(InferredSpikes {
            sd: sd.map(T::from_f64).collect(),
            spikes: sparse.map(T::from_f64).collect(),
            calcium: rounded(&calcium),
            baseline: rounded(&baseline),
            expected: rounded(&expected),
            noise_sd: noise.frame_sd(),
            rise_s,
            decay_s,
            spike_size,
        })
    }

    fn baseline<T: Sample>(&self, trace: &[T], noise_sd: f64) -> Result<Vec<f64>, CalciumError> {
        if !self.subtracts_baseline {
            return Ok(vec![0.0; trace.len()]);
        }
        let tau_s = self.indicator.map_or(1.0, |known| known.decay_s);
        let problem = QuietBaseline::new(self.dt_s, tau_s)?
            .with_window(self.window_s.unwrap_or(SLOW_S))?
            .with_trials(&self.starts);
        let samples: Vec<f64> = trace.iter().map(|y| y.to_f64()).collect();
        problem.of(&samples, noise_sd)
    }

    /// The size of a spike, given what the indicator's is.
    fn weighed(
        &self,
        of_network: LogNormal,
        baseline: &[f64],
        of_indicator: impl Fn(&NamedIndicator, f64) -> f64,
    ) -> LogNormal {
        let Some(known) = self.indicator else {
            return of_network;
        };
        let present = || baseline.iter().copied().filter(|b| !b.is_nan());
        let Some(level) = self
            .level
            .or_else(|| median(present()))
            .filter(|&level| level > 0.0)
        else {
            return of_network;
        };
        product(
            of_network,
            NamedIndicator::belief(of_indicator(&known, level)),
        )
    }

    /// Nothing ever changes.
    fn silence<T: Sample>(trace: &[T], baseline: &[f64], noise_sd: f64) -> InferredSpikes<T> {
        let none: Vec<T> = trace
            .iter()
            .map(|y| T::from_f64(0.0 * y.to_f64()))
            .collect();
        let unknown = LogNormal {
            median: f64::NAN,
            log_sd: f64::INFINITY,
        };
        InferredSpikes {
            expected: none.clone(),
            sd: none.clone(),
            spikes: none.clone(),
            calcium: none,
            baseline: baseline.iter().map(|&b| T::from_f64(b)).collect(),
            noise_sd,
            rise_s: unknown,
            decay_s: unknown,
            spike_size: unknown,
        }
    }
}

/// Joined trials with gaps between them.
struct Apart {
    /// Where each trial lies in the joined trace.
    trials: Vec<Range<usize>>,
    /// Frames between two.
    gap: usize,
}

impl Apart {
    /// Trials that begin at `starts`, ascending, of a trace of `n_frames`.
    fn new(n_frames: usize, starts: &[usize], dt_s: f64) -> Self {
        let trials = trials(n_frames, starts);
        let longest = (GAP_S / dt_s).round() as usize;
        Self {
            gap: longest.min(n_frames / trials.len().max(1)),
            trials,
        }
    }

    /// The trials of a joined trace, with missing frames between them.
    fn spread(&self, joined: &[f64]) -> Vec<f64> {
        let between = vec![f64::NAN; self.gap];
        let trials: Vec<&[f64]> = self.trials.iter().map(|t| &joined[t.clone()]).collect();
        trials.join(&between[..])
    }

    /// The trials of a spread trace, joined again.
    fn join<'a, T: Copy>(&'a self, spread: &'a [T]) -> impl Iterator<Item = T> + 'a {
        let places = self.trials.iter().enumerate();
        places.flat_map(|(trial, place)| {
            let first = place.start + trial * self.gap;
            spread[first..first + place.len()].iter().copied()
        })
    }
}

/// What two independent beliefs say together.
fn product(a: LogNormal, b: LogNormal) -> LogNormal {
    let [pa, pb] = [a, b].map(|x| 1.0 / (x.log_sd * x.log_sd).max(1e-6));
    let mean = (pa * libm::log(a.median) + pb * libm::log(b.median)) / (pa + pb);
    LogNormal {
        median: libm::exp(mean),
        log_sd: 1.0 / (pa + pb).sqrt(),
    }
}

/// The transients of expected spikes, as high as fits the trace best; each trial starts without any, and frames without
/// data are bridged.
fn explained(
    expected: &[f64],
    above: &[f64],
    trials: &[Range<usize>],
    [rise_s, decay_s]: [f64; 2],
    dt_s: f64,
) -> Result<Vec<f64>, CalciumError> {
    let rise_s = rise_s.min(0.9 * decay_s);
    let ar = Ar2::from_taus(decay_s, rise_s, dt_s, Discretisation::Exact)?;
    let bridged: Vec<f64> = expected
        .iter()
        .map(|e| if e.is_nan() { 0.0 } else { *e })
        .collect();
    let of_trial = |trial: &Range<usize>| ar.convolve(&bridged[trial.clone()]);
    let shape: Vec<f64> = trials.iter().flat_map(of_trial).collect();
    let present = || shape.iter().zip(above).filter(|(_, y)| !y.is_nan());
    let n = present().count().max(1) as f64;
    let (mean_shape, mean_y) = present().fold((0.0, 0.0), |(s, m), (x, y)| (s + x / n, m + y / n));
    let (xy, xx) = present().fold((0.0, 0.0), |(xy, xx), (x, y)| {
        let x = x - mean_shape;
        (xy + x * (y - mean_y), xx + x * x)
    });
    let size = if xx > 0.0 { (xy / xx).max(0.0) } else { 0.0 };
    Ok(shape.iter().map(|x| size * x).collect())
}

/// Whole spikes from expected ones: a spike is placed as soon as half of one more has come together than was
/// placed, at the expectation's peak; what is spread too thinly is forgotten.
///
/// # Shapes
/// `expected` and result: `[time]`; NaN stays NaN.
pub fn sparse(expected: &[f64], dt_s: f64) -> Vec<f64> {
    let mut spikes: Vec<f64> = expected.iter().map(|e| 0.0 * e).collect();
    let kept = libm::exp(-dt_s / MEMORY_S);
    let mut waiting = 0.0_f64;
    // Where the expectation that waits is highest.
    let mut peak: Option<usize> = None;
    for (t, &now) in expected.iter().enumerate() {
        if now.is_nan() {
            // What was placed too early stays owed across a gap.
            (waiting, peak) = (waiting.min(0.0), None);
            continue;
        }
        // What was placed too early is made up for, not forgotten.
        waiting = if waiting > 0.0 {
            kept * waiting
        } else {
            waiting
        } + now;
        if waiting > 0.0 && peak.is_none_or(|p| now >= expected[p]) {
            peak = Some(t);
        }
        // While it still rises the peak is not there yet.
        let rises = expected.get(t + 1).is_some_and(|next| *next > now);
        if waiting >= 0.5 && !rises {
            let count = waiting.round().max(1.0);
            spikes[peak.unwrap_or(t)] += count;
            (waiting, peak) = (waiting - count, None);
        } else if waiting < 0.05 {
            peak = None;
        }
    }
    spikes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bumps_become_spikes_and_thin_expectation_nothing() {
        let mut expected = vec![0.002; 300];
        for (t, e) in [
            (99, 0.2),
            (100, 0.6),
            (101, 0.2),
            (199, 0.5),
            (200, 1.0),
            (201, 0.5),
        ] {
            expected[t] = e;
        }
        let spikes = sparse(&expected, 1.0 / 30.0);
        let counts: Vec<u32> = spikes.iter().map(|&s| s as u32).collect();
        let near = |t: usize| counts[t - 1..=t + 1].iter().sum::<u32>();
        assert_eq!((near(100), near(200)), (1, 2));
        assert_eq!(counts.iter().sum::<u32>(), 3);
    }

    #[test]
    fn what_waits_for_a_spike_is_forgotten_in_a_gap() {
        let spikes = sparse(&[0.4, f64::NAN, 0.4, 0.0], 1.0 / 30.0);
        assert!(spikes.iter().all(|s| s.is_nan() || *s == 0.0), "{spikes:?}");
    }

    #[test]
    fn transients_end_with_their_trial_and_point_upwards() {
        let (expected, trials) = ([0.0, 1.0, 0.0, 0.0, 0.0], [0..3, 3..5]);
        let kernel = Ar2::from_taus(2.0, 0.5, 1.0, Discretisation::Exact).unwrap();
        let mut above = kernel.convolve(&expected);
        above[3..].fill(0.0);
        let found = |above: &[f64]| explained(&expected, above, &trials, [0.5, 2.0], 1.0).unwrap();
        for (found, truth) in found(&above).iter().zip(&above) {
            assert!((found - truth).abs() < 1e-9, "{found}, not {truth}");
        }
        let below: Vec<f64> = above.iter().map(|y| -y).collect();
        assert!(found(&below).iter().all(|c| *c == 0.0));
    }

    #[test]
    fn two_beliefs_are_firmer_than_one() {
        let a = LogNormal {
            median: 1.0,
            log_sd: 0.3,
        };
        let b = LogNormal {
            median: 4.0,
            log_sd: 0.3,
        };
        let both = product(a, b);
        assert!((both.median - 2.0).abs() < 1e-12);
        assert!((both.log_sd - 0.3 / 2.0_f64.sqrt()).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn sparse_spikes_are_whole_and_no_more_than_expected(
            expected in prop::collection::vec(prop_oneof![6 => 0.0f64..0.4, 1 => 0.5f64..5.0, 1 => Just(f64::NAN)], 1..200),
            dt_s in 0.005f64..1.0,
        ) {
            let spikes = sparse(&expected, dt_s);
            let total: f64 = expected.iter().filter(|e| !e.is_nan()).sum();
            let placed: f64 = spikes.iter().filter(|s| !s.is_nan()).sum();
            prop_assert!(placed <= total + 0.5 + 1e-9, "{placed} of {total}");
            for (s, e) in spikes.iter().zip(&expected) {
                prop_assert_eq!(s.is_nan(), e.is_nan());
                prop_assert!(s.is_nan() || (*s >= 0.0 && s.fract() == 0.0));
            }
        }
    }
}
