//! Bayesian deconvolution under a constant rate: counts without any model of what drives them.

use super::dynamics::CalciumDynamics;
use super::sensor::{LinearSensor, SaturatingSensor};
use super::{CountModel, MAX_MEAN_COUNT, SmoothedCounts, Smoother, Start, Trace};
use crate::ar::Ar2;
use crate::error::positive;
use crate::{CalciumError, Hill};

/// Rounds of expectation–maximisation, and the relative change of rate and noise at its end.
const MAX_ROUNDS: usize = 30;
const TOLERANCE: f64 = 0.005;
/// Frames that rate and noise are estimated from.
const MAX_FRAMES: usize = 10_000;
/// The rate is not estimated as less than this many spikes a frame: from none there is no way back.
const LEAST_MEAN: f64 = 1e-5;

/// A neuron's response to spikes, c_t = Σ_i a_i c_{t−i} + gain·s_t + baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpikeResponse {
    /// Decay and rise; the rise is 0 under AR(1).
    pub ar: Ar2,
    /// Calcium of one spike, above 0.
    pub gain: f64,
    /// Drift per frame.
    pub baseline: f64,
    /// How calcium shows as fluorescence; as it is, if absent.
    pub saturation: Option<Hill>,
    /// Whether a trace may start in mid-decay; else it starts from rest.
    pub starts_decaying: bool,
}

/// The counts of a neuron under Poisson firing of a constant rate, with white noise: Bayes' rule, rate and noise by
/// maximum likelihood.
///
/// # Example
/// ```
/// use calcium::Ar2;
/// use calcium::counts::{ConstantRate, SpikeResponse};
///
/// let response = SpikeResponse {
///     ar: Ar2::from_roots(0.9, 0.0)?,
///     gain: 1.0,
///     baseline: 0.0,
///     saturation: None,
///     starts_decaying: false,
/// };
/// let spikes: Vec<f32> = (0..200).map(|t| if t % 40 == 10 { 2.0 } else { 0.0 }).collect();
/// let mut trace = response.ar.convolve(&spikes);
/// for (t, x) in trace.iter_mut().enumerate() {
///     *x += [0.1, -0.1, 0.05, -0.05][t * t % 7 % 4];
/// }
/// let fit = ConstantRate::fit(response, &[&trace])?;
/// let counts = fit.infer(&trace).expected;
/// assert!((counts[10] - 2.0).abs() < 0.1 && counts[20] < 0.1);
/// assert!((fit.mean_count() - 0.05).abs() < 0.01);
/// # Ok::<(), calcium::CalciumError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConstantRate {
    response: SpikeResponse,
    mean_count: f64,
    noise_sd: f64,
    /// Mean and variance of the calcium before a trace.
    start: [f64; 2],
    model: AnyCountModel,
}

impl ConstantRate {
    /// Finds rate and noise of a neuron that made `traces`; NaN frames carry no data.
    ///
    /// # Shapes
    /// `traces`: `[time]` each.
    /// # Errors
    /// [`CalciumError::NotPositive`] for a gain; [`CalciumError::EmptyTrace`] if no frame has data;
    /// [`CalciumError::TooManySpikes`] if the gain is far too small.
    /// # Source
    /// Expectation–maximisation (Dempster, Laird & Rubin 1977); the expectations are those of
    /// [`CountModel::smooth`].
    pub fn fit(response: SpikeResponse, traces: &[&[f32]]) -> Result<Self, CalciumError> {
        positive("gain", response.gain)?;
        let [mean, variance] = moments(traces)?;
        let start = [mean, variance.max(response.gain * response.gain)];
        let [g1, g2] = response.ar.g();
        let expected = ((1.0 - g1 - g2) * mean - response.baseline) / response.gain;
        if response.saturation.is_none() && expected > MAX_MEAN_COUNT {
            return Err(CalciumError::TooManySpikes { mean: expected });
        }
        let noise_sd = 0.5 * variance.sqrt().max(1e-3 * response.gain);
        let mut fit = Self {
            response,
            mean_count: expected.clamp(0.01, MAX_MEAN_COUNT),
            noise_sd,
            start,
            model: AnyCountModel::new(&response, noise_sd, start),
        };
        for _round in 0..MAX_ROUNDS {
            if fit.improve(traces) < TOLERANCE {
                break;
            }
        }
        Ok(fit)
    }

    /// Mean spikes per frame.
    pub fn mean_count(&self) -> f64 {
        self.mean_count
    }

    /// Standard deviation of the noise, fluorescence units.
    pub fn noise_sd(&self) -> f64 {
        self.noise_sd
    }

    /// What Bayes' rule says of the counts of a trace of this neuron, `[time]`.
    pub fn infer(&self, trace: &[f32]) -> SmoothedCounts {
        let log_means = vec![self.mean_count.ln() as f32; trace.len()];
        self.model.smooth(Trace {
            x: trace,
            log_means: &log_means,
        })
    }

    /// One round; the greater relative change of rate and noise.
    fn improve(&mut self, traces: &[&[f32]]) -> f64 {
        let (mut spikes, mut squares, mut n_frames, mut n_seen) = (0.0, 0.0, 0, 0);
        for trace in traces {
            if n_frames >= MAX_FRAMES {
                break;
            }
            let part = &trace[..trace.len().min(MAX_FRAMES - n_frames)];
            let found = self.infer(part);
            spikes += found.expected.iter().map(|&s| f64::from(s)).sum::<f64>();
            squares += found.squared_error;
            n_frames += part.len();
            n_seen += part.iter().filter(|x| !x.is_nan()).count();
        }
        let mean_count = (spikes / n_frames.max(1) as f64).max(LEAST_MEAN);
        // A simulation may have no noise at all.
        let noise_sd = (squares / n_seen.max(1) as f64)
            .sqrt()
            .max(1e-3 * self.noise_sd);
        let change = |new: f64, old: f64| (new / old).ln().abs();
        let changed = change(mean_count, self.mean_count).max(change(noise_sd, self.noise_sd));
        (self.mean_count, self.noise_sd) = (mean_count, noise_sd);
        self.model = AnyCountModel::new(&self.response, noise_sd, self.start);
        changed
    }
}

/// Mean and variance over the frames with data.
fn moments(traces: &[&[f32]]) -> Result<[f64; 2], CalciumError> {
    let present = || {
        let frames = traces.iter().flat_map(|trace| trace.iter());
        frames.map(|&x| f64::from(x)).filter(|x| !x.is_nan())
    };
    let n = present().count();
    if n == 0 {
        return Err(CalciumError::EmptyTrace);
    }
    let mean = present().sum::<f64>() / n as f64;
    let variance = present().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
    Ok([mean, variance])
}

/// A count model whose lags and sensor are known when the program runs.
#[derive(Clone, Debug, PartialEq)]
enum AnyCountModel {
    First(CountModel<1, LinearSensor>),
    Second(CountModel<2, LinearSensor>),
    FirstSaturating(CountModel<1, SaturatingSensor>),
    SecondSaturating(CountModel<2, SaturatingSensor>),
}

impl AnyCountModel {
    fn new(response: &SpikeResponse, noise_sd: f64, start: [f64; 2]) -> Self {
        let rises = response.ar.roots()[1] > 0.0;
        let linear = LinearSensor::new(noise_sd);
        match (rises, response.saturation) {
            (false, None) => Self::First(response.model(linear, start)),
            (true, None) => Self::Second(response.model(linear, start)),
            (rises, Some(hill)) => {
                let sensor = SaturatingSensor::new(hill, noise_sd);
                match rises {
                    false => Self::FirstSaturating(response.model(sensor, start)),
                    true => Self::SecondSaturating(response.model(sensor, start)),
                }
            }
        }
    }

    fn smooth(&self, trace: Trace<'_>) -> SmoothedCounts {
        match self {
            Self::First(model) => model.smooth(trace, &mut Smoother::default()),
            Self::Second(model) => model.smooth(trace, &mut Smoother::default()),
            Self::FirstSaturating(model) => model.smooth(trace, &mut Smoother::default()),
            Self::SecondSaturating(model) => model.smooth(trace, &mut Smoother::default()),
        }
    }

    fn log_evidence(&self, trace: Trace<'_>) -> f64 {
        match self {
            Self::First(model) => model.log_evidence(trace, &mut Smoother::default()),
            Self::Second(model) => model.log_evidence(trace, &mut Smoother::default()),
            Self::FirstSaturating(model) => model.log_evidence(trace, &mut Smoother::default()),
            Self::SecondSaturating(model) => model.log_evidence(trace, &mut Smoother::default()),
        }
    }
}

impl SpikeResponse {
    /// What Bayes' rule says of the counts of a trace with white noise; `start` is mean and variance of the calcium before it, where it may start in mid-decay.
    ///
    /// # Shapes
    /// Of `trace`: `[time]`.
    /// # Units
    /// `noise_sd` and `start`: those of the trace.
    /// # Errors
    /// [`CalciumError::NotPositive`] for a gain, noise or variance; [`CalciumError::OutputLength`] for another number of
    /// means than of frames.
    /// # Source
    /// [`CountModel::smooth`].
    pub fn smooth(
        &self,
        trace: Trace<'_>,
        noise_sd: f64,
        start: [f64; 2],
    ) -> Result<SmoothedCounts, CalciumError> {
        Ok(self.checked(trace, noise_sd, start)?.smooth(trace))
    }

    /// ln p(trace | μ) of the same, without its counts.
    ///
    /// # Errors
    /// Those of [`Self::smooth`].
    pub fn log_evidence(
        &self,
        trace: Trace<'_>,
        noise_sd: f64,
        start: [f64; 2],
    ) -> Result<f64, CalciumError> {
        Ok(self.checked(trace, noise_sd, start)?.log_evidence(trace))
    }

    /// The model, if it can be asked of this trace.
    fn checked(
        &self,
        Trace { x, log_means }: Trace<'_>,
        noise_sd: f64,
        start: [f64; 2],
    ) -> Result<AnyCountModel, CalciumError> {
        positive("gain", self.gain)?;
        positive("noise_sd", noise_sd)?;
        positive("variance of the start", start[1])?;
        if log_means.len() != x.len() {
            return Err(CalciumError::OutputLength {
                name: "log_means",
                expected: x.len(),
                found: log_means.len(),
            });
        }
        Ok(AnyCountModel::new(self, noise_sd, start))
    }

    fn model<const P: usize, S>(&self, sensor: S, [mean, variance]: [f64; 2]) -> CountModel<P, S> {
        let both = self.ar.g();
        CountModel {
            calcium: CalciumDynamics {
                coefficients: std::array::from_fn(|lag| both.get(lag).copied().unwrap_or(0.0)),
                gain: self.gain,
                baseline: self.baseline,
            },
            sensor,
            start: match self.starts_decaying {
                false => Start::Rest,
                true => Start::Decaying {
                    direction: CalciumDynamics::decaying(1.0, self.ar.roots()[0].max(1e-3)),
                    mean,
                    variance,
                },
            },
        }
    }
}
