//! Samples of the spike counts behind one trace, given the rates: the exact posterior up to
//! a Gaussian view of spikes two or more frames ahead.

mod calcium;
mod choices;
mod gradient;
mod sensor;

pub(crate) use calcium::Calcium;
pub(crate) use choices::ln_factorial;
pub(crate) use gradient::{Residuals, residuals};
pub(crate) use sensor::{Linear, Saturating, Sensor};

use calcium::{Message, State};
use choices::{Choices, Peak, Pick, PoissonPrior};

/// How far below a count's calcium later data may lie, in their standard deviations, for the
/// count to be taken as it looks.
const MOST_TOO_LOW: f64 = 3.0;

/// The neuron and its indicator as one trace shows them, with Poisson spikes and Gaussian noise:
///
/// s_t ~ Poisson(μ_t), c_t = Σ_i a_i c_{t−i} + gain·s_t + baseline, x_t ~ N(f(c_t), noise²).
///
/// [`sample`](Self::sample) draws s_1, s_2, … in order from q(s_t | c_{t−1}, x_t, x_{t+1}, …):
/// the current and the next frame's counts are enumerated, and what later frames say of the
/// calcium is a Gaussian message, passed backward, in which future spikes have their Poisson
/// mean and variance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpikePosterior<const P: usize, S> {
    pub calcium: Calcium<P>,
    pub sensor: S,
    pub start: Start<P>,
}

/// The calcium before the first bin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start<const P: usize> {
    /// None.
    Rest,
    /// A multiple of `direction` that is N(`mean`, `variance`).
    Decaying {
        direction: State<P>,
        mean: f64,
        variance: f64,
    },
}

/// What is given of one trace, `[time]` each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace<'a> {
    /// Fluorescence; NaN: no data.
    pub x: &'a [f32],
    /// ln μ.
    pub log_means: &'a [f32],
    /// In [0, 1): they choose the sample.
    pub uniforms: &'a [f32],
    /// Standard normal: it chooses the calcium before the first bin.
    pub normal: f32,
}

/// One sample, and the memory to draw it in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpikeSample<const P: usize> {
    /// E[s_t | the sample before t, the trace], counts per frame, `[time]`.
    pub expected: Vec<f32>,
    /// The sampled counts, `[time]`.
    pub counts: Vec<f32>,
    /// Their calcium, `[time]`.
    pub calcium: Vec<f64>,
    /// The calcium before the first bin.
    pub initial: State<P>,
    frames: Vec<Frame<P>>,
}

/// What is known of a frame before its spikes are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Frame<const P: usize> {
    prior: PoissonPrior,
    /// Of the frame's data and all later ones'.
    message: Message<P>,
}

impl<const P: usize> SpikeSample<P> {
    /// Room for a trace of `n_bins` frames.
    pub fn new(n_bins: usize) -> Self {
        let frame = Frame {
            prior: PoissonPrior {
                mean: 0.0,
                log_mean: f64::NEG_INFINITY,
            },
            message: Message::FLAT,
        };
        Self {
            expected: vec![0.0; n_bins],
            counts: vec![0.0; n_bins],
            calcium: vec![0.0; n_bins],
            initial: [0.0; P],
            frames: vec![frame; n_bins],
        }
    }
}

impl<const P: usize, S: Sensor> SpikePosterior<P, S> {
    /// Draws one sample. Returns ln q(counts).
    pub fn sample(&self, trace: Trace<'_>, sample: &mut SpikeSample<P>) -> f64 {
        self.pass_back(trace, &mut sample.frames);
        sample.initial = self.draw_start(&sample.frames, f64::from(trace.normal));
        let mut state = sample.initial;
        let mut log_q = 0.0;
        for bin in 0..trace.x.len() {
            state = self.calcium.carry(state);
            let pick = self.draw_count(bin, trace, &sample.frames, state);
            state = self.with_spikes(state, pick.count);
            log_q += pick.log_probability;
            sample.expected[bin] = pick.expected as f32;
            sample.counts[bin] = pick.count as f32;
            sample.calcium[bin] = state[0];
        }
        log_q
    }

    fn pass_back(&self, trace: Trace<'_>, frames: &mut [Frame<P>]) {
        let mut carried = Message::FLAT;
        for (bin, frame) in frames.iter_mut().enumerate().rev() {
            let log_mean = f64::from(trace.log_means[bin]);
            let prior = PoissonPrior {
                mean: log_mean.exp(),
                log_mean,
            };
            let x = f64::from(trace.x[bin]);
            if !x.is_nan() {
                let (mean, precision) = self.sensor.calcium(x);
                carried.observe(mean, precision);
            }
            *frame = Frame {
                prior,
                message: carried,
            };
            carried = carried.carried_back(&self.calcium, prior.mean);
        }
    }

    fn draw_start(&self, frames: &[Frame<P>], normal: f64) -> State<P> {
        let Start::Decaying {
            direction,
            mean,
            variance,
        } = self.start
        else {
            return [0.0; P];
        };
        let (eta, precision) = frames.first().map_or((0.0, 0.0), |first| {
            let carried = first.message.carried_back(&self.calcium, first.prior.mean);
            carried.along(direction)
        });
        let precision = precision + 1.0 / variance;
        let calcium = (eta + mean / variance) / precision + normal / precision.sqrt();
        direction.map(|share| share * calcium)
    }

    /// Draws the count of a bin whose state without spikes is `without`.
    fn draw_count(
        &self,
        bin: usize,
        trace: Trace<'_>,
        frames: &[Frame<P>],
        without: State<P>,
    ) -> Pick {
        let frame = &frames[bin];
        let uniform = f64::from(trace.uniforms[bin]);
        let view = frame.message.along_spikes(&self.calcium, without);
        if let Some(odds) = Peak::clear_odds_of_one(&frame.prior, &view) {
            // A misjudged burst ahead could only have made a spike look likelier.
            return Pick::none_or_one(odds, uniform);
        }
        let peak = Peak::find(&frame.prior, &view, view.falloff());
        let mut choices = Choices::around(&peak);
        let next = frames.get(bin + 1);
        let Some(next) = next.filter(|next| !self.is_settled(&peak, next, without)) else {
            return choices.pick(uniform);
        };
        let x = f64::from(trace.x[bin]);
        let next_falloff = next.message.along_spikes(&self.calcium, without).falloff();
        choices.reweigh(|count| {
            let state = self.with_spikes(without, count);
            let carried = self.calcium.carry(state);
            let (log_next, total_next) = self.evidence(next, carried, next_falloff);
            let log = count as f64 * frame.prior.log_mean - ln_factorial(count)
                + self.log_likelihood(x, state[0])
                + log_next;
            (log, total_next)
        });
        choices.pick(uniform)
    }

    /// Whether a count is clear, and the next frame clearly without spikes and not too low for
    /// it, so that the Gaussian view of them, on which the count's odds rest, is not far off.
    fn is_settled(&self, peak: &Peak, next: &Frame<P>, without: State<P>) -> bool {
        peak.is_clear() && {
            let carried = self.calcium.carry(self.with_spikes(without, peak.best));
            let view = next.message.along_spikes(&self.calcium, carried);
            view.slope > -MOST_TOO_LOW * view.curvature.sqrt()
                && Peak::clear_odds_of_one(&next.prior, &view).is_some()
        }
    }

    fn with_spikes(&self, mut state: State<P>, count: usize) -> State<P> {
        state[0] += self.calcium.gain * count as f64;
        state
    }

    /// ln p(x | calcium), constants left out; nothing for a missing frame.
    fn log_likelihood(&self, x: f64, calcium: f64) -> f64 {
        match x.is_nan() {
            true => 0.0,
            false => {
                -0.5 * self.sensor.precision() * (x - self.sensor.fluorescence(calcium)).powi(2)
            }
        }
    }

    /// Σ_k Poisson(k; μ)·message at the state `without` and k spikes, as logarithm of the
    /// greatest term and their sum relative to it; constants left out.
    fn evidence(&self, frame: &Frame<P>, without: State<P>, falloff: f64) -> (f64, f64) {
        let view = frame.message.along_spikes(&self.calcium, without);
        let peak = Peak::find(&frame.prior, &view, falloff);
        let best = peak.best as f64;
        let log_best = best * (frame.prior.log_mean + view.slope - 0.5 * view.curvature * best)
            - ln_factorial(peak.best)
            + frame.message.log_density(without);
        (log_best, peak.total())
    }
}

#[cfg(test)]
mod tests;
