//! Expected spikes: the posterior mean under AR(1), white noise and sparse spikes.

use crate::error::{nonnegative, positive};
use crate::oasis::check_trace;
use crate::{Ar1, CalciumError, Sample};

/// Sweeps over the trace; ten to twenty are usual.
const MAX_SWEEPS: usize = 50;
/// How far each sweep moves towards what it finds: messages that are all replaced at once overshoot.
const DAMPING: f64 = 0.4;
/// Change of every expected spike at the end, in units of the mean amplitude.
const TOLERANCE: f64 = 1e-3;
/// Variance of the messages, in units of the mean amplitude squared: they can say nothing, or all.
const VARIANCE: [f64; 2] = [1e-8, 1e4];

/// What is believed of the spikes before the trace is seen: in each frame there is one with
/// probability `probability`, and its size is exponentially distributed.
///
/// With the AR(1) dynamics and white noise of known SD this makes every quantity below a posterior
/// mean. A sparse optimum, such as OASIS finds, must commit to one time for each spike; the posterior
/// mean spreads it over the frames where it may have been, which is the estimate with the least
/// squared error.
///
/// # Example
/// ```
/// use calcium::{Ar1, SpikePrior};
///
/// let ar = Ar1::new(0.9)?;
/// let mut spikes = [0.0; 40];
/// (spikes[10], spikes[25]) = (1.0, 2.0);
/// let prior = SpikePrior::new(ar, 0.1)?.with_spikes(0.05, 1.0)?;
/// let posterior = prior.infer(&ar.convolve(&spikes))?;
/// assert!((posterior.spikes[25] - 2.0).abs() < 0.1 && posterior.probability[25] > 0.99);
/// assert!(posterior.probability[24] < 0.05);
/// # Ok::<(), calcium::CalciumError>(())
/// ```
/// # Source
/// Expectation propagation (Minka 2001): each spike's prior is replaced by the Gaussian that leaves its
/// posterior moments right, given a Kalman smoother (Durbin & Koopman 2012, section 4.5, for the
/// disturbances) over all others. Linear in the trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpikePrior {
    ar: Ar1,
    noise_sd: f64,
    probability: f64,
    amplitude: f64,
}

/// Posterior means, per frame.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikePosterior {
    /// Expected spike, in fluorescence units; 0 at the first frame, whose calcium is an initial
    /// condition.
    pub spikes: Vec<f64>,
    /// Probability of a spike; 0 at the first frame.
    pub probability: Vec<f64>,
    /// Expected calcium, in fluorescence units.
    pub calcium: Vec<f64>,
}

impl SpikePrior {
    /// A spike in every tenth frame, of a mean size of three times the noise.
    ///
    /// # Units
    /// `noise_sd`: fluorescence units.
    /// # Errors
    /// [`CalciumError::NotPositive`].
    pub fn new(ar: Ar1, noise_sd: f64) -> Result<Self, CalciumError> {
        let noise_sd = positive("noise_sd", noise_sd)?;
        Ok(Self {
            ar,
            noise_sd,
            probability: 0.1,
            amplitude: 3.0 * noise_sd,
        })
    }

    /// Sets the probability of a spike per frame and the mean size of a spike.
    ///
    /// # Units
    /// `amplitude`: fluorescence units.
    /// # Errors
    /// [`CalciumError::NotAProbability`] unless 0 < `probability` < 1; [`CalciumError::NotPositive`].
    pub fn with_spikes(self, probability: f64, amplitude: f64) -> Result<Self, CalciumError> {
        if !(probability > 0.0 && probability < 1.0) {
            return Err(CalciumError::NotAProbability {
                name: "probability",
                value: probability,
            });
        }
        Ok(Self {
            probability,
            amplitude: positive("amplitude", amplitude)?,
            ..self
        })
    }

    /// Takes the mean size of a spike from the trace: shot noise of n spikes per frame with exponential
    /// sizes of mean a has variance `2·n·a²/(1 − g²)`, to which the noise adds.
    ///
    /// # Shapes
    /// `trace`: `[time]`.
    /// # Errors
    /// [`CalciumError::EmptyTrace`] and [`CalciumError::Infinite`].
    pub fn with_amplitude_of<T: Sample>(self, trace: &[T]) -> Result<Self, CalciumError> {
        check_trace(trace)?;
        let present = || trace.iter().map(|y| y.to_f64()).filter(|y| !y.is_nan());
        let n = present().count().max(1) as f64;
        let mean = present().sum::<f64>() / n;
        let variance = present().map(|y| (y - mean).powi(2)).sum::<f64>() / n;
        let noise = self.noise_sd * self.noise_sd;
        // A silent trace still has to be given some size of spike.
        let signal = (variance - noise).max(0.05 * noise);
        let g = self.ar.g();
        let amplitude = (signal * (1.0 - g * g) / (2.0 * self.probability)).sqrt();
        Ok(Self { amplitude, ..self })
    }

    /// Posterior means given one trace above its baseline. NaN frames carry no data.
    ///
    /// # Shapes
    /// `trace` and results: `[time]`.
    /// # Errors
    /// [`CalciumError::EmptyTrace`] and [`CalciumError::Infinite`], naming the frame.
    pub fn infer<T: Sample>(&self, trace: &[T]) -> Result<SpikePosterior, CalciumError> {
        self.infer_weighted(trace, &vec![1.0; trace.len()])
    }

    /// As [`Self::infer`], for frames that are means of `weights` samples each.
    ///
    /// # Shapes
    /// `trace`, `weights` and results: `[time]`.
    /// # Errors
    /// Those of [`Self::infer`], [`CalciumError::OutputLength`], and [`CalciumError::Negative`] for a weight.
    pub fn infer_weighted<T: Sample>(
        &self,
        trace: &[T],
        weights: &[f64],
    ) -> Result<SpikePosterior, CalciumError> {
        check_trace(trace)?;
        if weights.len() != trace.len() {
            return Err(CalciumError::OutputLength {
                name: "weights",
                expected: trace.len(),
                found: weights.len(),
            });
        }
        for &weight in weights {
            nonnegative("weights", weight)?;
        }
        Ok(self.propagate(trace, weights))
    }

    fn propagate<T: Sample>(&self, trace: &[T], weights: &[f64]) -> SpikePosterior {
        let mut smoother = Smoother::new(self, trace, weights);
        let n = trace.len();
        let mut posterior = SpikePosterior {
            spikes: vec![0.0; n],
            probability: vec![0.0; n],
            calcium: vec![0.0; n],
        };
        for _sweep in 0..MAX_SWEEPS {
            smoother.forward();
            if smoother.backward(self, &mut posterior) <= TOLERANCE * self.amplitude {
                break;
            }
        }
        posterior
    }

    /// Moments of a spike whose neighbours and data say that it is Gaussian around `cavity.mean`.
    fn moments(&self, cavity: Gaussian) -> Moments {
        let sd = cavity.variance.sqrt();
        // The exponential tilts the Gaussian down the slope, and 0 cuts it off.
        let centre = cavity.mean - cavity.variance / self.amplitude;
        let cut = Truncated::at(centre / sd);
        let log_spike = (self.probability / self.amplitude).ln() - cavity.mean / self.amplitude
            + 0.5 * cavity.variance / (self.amplitude * self.amplitude)
            + cut.log_mass;
        let log_silence = (1.0 - self.probability).ln()
            - 0.5 * cavity.mean * cavity.mean / cavity.variance
            - 0.5 * (std::f64::consts::TAU * cavity.variance).ln();
        let probability = 1.0 / (1.0 + libm::exp(log_silence - log_spike));
        let (size, spread) = (sd * cut.mean, cavity.variance * cut.variance);
        let mean = probability * size;
        Moments {
            probability,
            mean,
            variance: probability * (spread + size * size) - mean * mean,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Gaussian {
    mean: f64,
    variance: f64,
}

struct Moments {
    probability: f64,
    mean: f64,
    variance: f64,
}

/// A Gaussian of mean z and variance 1, cut off below 0.
struct Truncated {
    /// ln Φ(z)
    log_mass: f64,
    mean: f64,
    variance: f64,
}

impl Truncated {
    fn at(z: f64) -> Self {
        let log_density = -0.5 * (z * z + std::f64::consts::TAU.ln());
        if z > -30.0 {
            let mass = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
            let hazard = libm::exp(log_density) / mass;
            return Self {
                log_mass: mass.ln(),
                mean: z + hazard,
                variance: 1.0 - hazard * (z + hazard),
            };
        }
        // Mills' ratio far out, where the mass underflows.
        let square = 1.0 / (z * z);
        Self {
            log_mass: log_density - (-z).ln() - square,
            mean: -(1.0 - 2.0 * square) / z,
            variance: square * (1.0 - 6.0 * square),
        }
    }
}

/// The Kalman filter over calcium, given a Gaussian message for each spike.
struct Smoother<'a, T> {
    trace: &'a [T],
    g: f64,
    /// Noise variance per frame.
    noise: Vec<f64>,
    messages: Vec<Gaussian>,
    /// Predictions of calcium from the past.
    predicted: Vec<Gaussian>,
    initial: Gaussian,
    /// Least and most variance of a message.
    bounds: [f64; 2],
}

impl<'a, T: Sample> Smoother<'a, T> {
    fn new(prior: &SpikePrior, trace: &'a [T], weights: &[f64]) -> Self {
        let (g, a, p) = (prior.ar.g(), prior.amplitude, prior.probability);
        let message = Gaussian {
            mean: p * a,
            variance: 2.0 * p * a * a,
        };
        let initial = message.mean / (1.0 - g);
        Self {
            trace,
            g,
            noise: weights.iter().map(|w| prior.noise_sd.powi(2) / w).collect(),
            messages: vec![message; trace.len()],
            predicted: vec![message; trace.len()],
            // What is left from before may be anything between nothing and a burst.
            initial: Gaussian {
                mean: initial,
                variance: message.variance / (1.0 - g * g) + initial * initial,
            },
            bounds: VARIANCE.map(|v| v * a * a),
        }
    }

    /// What the frame adds: its residual, the variance of that, and the gain; none without data.
    fn innovation(&self, t: usize) -> Option<[f64; 3]> {
        let (predicted, sample) = (self.predicted[t], self.trace[t].to_f64());
        let variance = predicted.variance + self.noise[t];
        let has_data = !sample.is_nan() && variance.is_finite();
        has_data.then(|| {
            [
                sample - predicted.mean,
                variance,
                predicted.variance / variance,
            ]
        })
    }

    fn forward(&mut self) {
        let mut now = self.initial;
        for t in 0..self.trace.len() {
            if t > 0 {
                now = Gaussian {
                    mean: self.g * now.mean + self.messages[t].mean,
                    variance: self.g * self.g * now.variance + self.messages[t].variance,
                };
            }
            self.predicted[t] = now;
            if let Some([residual, _, gain]) = self.innovation(t) {
                now.mean += gain * residual;
                now.variance *= 1.0 - gain;
            }
        }
    }

    /// Updates messages and posterior from the last frame to the first; the largest change of a spike.
    fn backward(&mut self, prior: &SpikePrior, posterior: &mut SpikePosterior) -> f64 {
        // The later data's pull on calcium and its precision.
        let (mut pull, mut precision) = (0.0, 0.0);
        let mut change: f64 = 0.0;
        for t in (0..self.trace.len()).rev() {
            if let Some([residual, variance, gain]) = self.innovation(t) {
                let kept = 1.0 - gain;
                pull = kept * pull + residual / variance;
                precision = kept * kept * precision + 1.0 / variance;
            }
            let predicted = self.predicted[t];
            posterior.calcium[t] = predicted.mean + predicted.variance * pull;
            if t == 0 {
                break;
            }
            let moments = self.update(t, prior, pull, precision);
            change = change.max((moments.mean - posterior.spikes[t]).abs());
            posterior.spikes[t] = moments.mean;
            posterior.probability[t] = moments.probability;
            pull *= self.g;
            precision *= self.g * self.g;
        }
        change
    }

    /// Replaces one message by the Gaussian that gives the spike its moments.
    fn update(&mut self, t: usize, prior: &SpikePrior, pull: f64, precision: f64) -> Moments {
        let message = self.messages[t];
        // Without data after the frame nothing but the prior speaks; a millionth says as little as 0.
        let precision = precision.max(1e-6 / (prior.amplitude * prior.amplitude));
        let free = (1.0 - message.variance * precision).max(1e-9);
        let cavity = Gaussian {
            mean: message.mean + pull / precision,
            variance: free / precision,
        };
        let moments = prior.moments(cavity);
        let [least, most] = self.bounds;
        let wanted = 1.0 / moments.variance.max(least) - 1.0 / cavity.variance;
        let wanted = wanted.clamp(1.0 / most, 1.0 / least);
        let weighted =
            moments.mean * (wanted + 1.0 / cavity.variance) - cavity.mean / cavity.variance;
        let old = 1.0 / message.variance;
        let new = old + DAMPING * (wanted - old);
        let mean = message.mean * old + DAMPING * (weighted - message.mean * old);
        self.messages[t] = Gaussian {
            mean: mean / new,
            variance: 1.0 / new,
        };
        moments
    }
}
