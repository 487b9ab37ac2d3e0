//! Samples of the counts, looking one frame ahead: Bayes' rule up to a Gaussian view of spikes two or more frames ahead.

use super::choices::{Choices, Peak, Pick, PoissonPrior, ln_factorial};
use super::dynamics::{Message, State};
use super::{CountModel, Sensor, Start, Trace};

/// How far below a count's calcium later data may lie, in their standard deviations, for the
/// count to be taken as it looks.
const MOST_TOO_LOW: f64 = 3.0;

/// The random numbers that choose a sample.
#[derive(Clone, Copy, Debug)]
pub struct Chance<'a> {
    /// In [0, 1), `[time]`.
    pub uniforms: &'a [f32],
    /// Standard normal: it chooses the calcium before the first frame.
    pub normal: f32,
}

/// One sample, and the memory to draw it in.
#[derive(Clone, Debug, PartialEq)]
pub struct CountSample<const P: usize> {
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
pub(super) struct Frame<const P: usize> {
    pub prior: PoissonPrior,
    /// Of the frame's data and all later ones'.
    pub message: Message<P>,
}

impl<const P: usize> Frame<P> {
    /// Nothing yet.
    pub const EMPTY: Self = Self {
        prior: PoissonPrior {
            mean: 0.0,
            log_mean: f64::NEG_INFINITY,
        },
        message: Message::FLAT,
    };
}

impl<const P: usize> CountSample<P> {
    /// Room for a trace of `n_bins` frames.
    pub fn new(n_bins: usize) -> Self {
        Self {
            expected: vec![0.0; n_bins],
            counts: vec![0.0; n_bins],
            calcium: vec![0.0; n_bins],
            initial: [0.0; P],
            frames: vec![Frame::EMPTY; n_bins],
        }
    }
}

impl<const P: usize, S: Sensor> CountModel<P, S> {
    /// Draws s_1, s_2, … in order from q(s_t | c_{t−1}, x_t, x_{t+1}, …). Returns ln q(counts).
    ///
    /// The current and the next frame's counts are enumerated, and what later frames say of the calcium is a
    /// Gaussian message, passed backward, in which future spikes have their Poisson mean and variance. The time it
    /// takes is bounded whatever the counts.
    pub fn sample(&self, trace: Trace<'_>, chance: Chance<'_>, sample: &mut CountSample<P>) -> f64 {
        self.pass_back(trace, &mut sample.frames);
        sample.initial = self.draw_start(&sample.frames, f64::from(chance.normal));
        let mut state = sample.initial;
        let mut log_q = 0.0;
        for bin in 0..trace.x.len() {
            state = self.calcium.carry(state);
            let pick = self.draw_count(bin, trace, chance, &sample.frames, state);
            state = self.with_spikes(state, pick.count);
            log_q += pick.log_probability;
            sample.expected[bin] = pick.expected as f32;
            sample.counts[bin] = pick.count as f32;
            sample.calcium[bin] = state[0];
        }
        log_q
    }

    /// What each frame and the later ones say of the calcium.
    pub(super) fn pass_back(&self, trace: Trace<'_>, frames: &mut [Frame<P>]) {
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
        chance: Chance<'_>,
        frames: &[Frame<P>],
        without: State<P>,
    ) -> Pick {
        let frame = &frames[bin];
        let uniform = f64::from(chance.uniforms[bin]);
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
