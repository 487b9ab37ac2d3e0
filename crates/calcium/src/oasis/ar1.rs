//! OASIS for AR(1): L1 penalty, hard threshold, missing frames.

use rayon::prelude::*;

use super::{Deconvolved, check_block};
use crate::error::nonnegative;
use crate::trials::trials;
use crate::{Ar1, CalciumError, Sample};

/// Minimise ½‖c − y‖² + lambda·‖s‖₁ subject to `s_t = c_t − g·c_{t−1}` with `s_t ≥ s_min`
/// or `s_t = 0`.
///
/// With `s_min` = 0 the problem is convex and the answer is its optimum. A positive `s_min` makes
/// it combinatorial; the answer is then feasible and greedy, as in the source.
///
/// # Conventions
/// Those of the `oasis-deconv` package:
/// - The first frame's calcium is a free initial condition `c_0 ≥ 0`. Its spike is reported as 0,
///   but `c_0` counts in ‖s‖₁.
/// - ‖s‖₁ acts as a weight `mu_t` on `c_t`: lambda on the last frame, lambda·(1 − g) before. A trace of
///   a single frame has lambda·(1 − g).
/// - A frame that is NaN carries no data and no mu, but time passes: calcium decays through it. Both
///   results are NaN there. A NaN *first* frame stands for y = 0, mu = 0 (matters if `s_min` > 0).
///
/// # Example
/// ```
/// use calcium::Ar1;
/// use calcium::oasis::Ar1Problem;
///
/// let problem = Ar1Problem::new(Ar1::new(0.5)?).with_s_min(0.5)?;
/// let result = problem.deconvolve(&[0.0, 1.0, 0.5, 0.3, f32::NAN, 1.0])?;
/// assert_eq!(result.spikes[..4], [0.0, 1.009_523_9, 0.0, 0.0]);
/// # Ok::<(), calcium::CalciumError>(())
/// ```
/// # Source
/// Friedrich, Zhou & Paninski 2017, equations 3–8 and algorithm 1. Pools keep Σ g^k·y and Σ g^{2k}
/// in place of their ratio, so that merging divides nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ar1Problem {
    ar: Ar1,
    lambda: f64,
    s_min: f64,
}

/// Memory for the pools of one trace, reusable from trace to trace.
#[derive(Debug, Default)]
pub struct Workspace {
    pools: Vec<Pool>,
}

impl Ar1Problem {
    /// Nonnegative deconvolution under `ar`, without penalty or threshold.
    pub fn new(ar: Ar1) -> Self {
        Self {
            ar,
            lambda: 0.0,
            s_min: 0.0,
        }
    }

    /// Sets the weight of the L1 penalty.
    ///
    /// # Units
    /// Fluorescence units.
    /// # Errors
    /// [`CalciumError::Negative`].
    pub fn with_lambda(self, lambda: f64) -> Result<Self, CalciumError> {
        let lambda = nonnegative("lambda", lambda)?;
        Ok(Self { lambda, ..self })
    }

    /// Sets the smallest spike allowed.
    ///
    /// # Units
    /// Fluorescence units.
    /// # Errors
    /// [`CalciumError::Negative`].
    pub fn with_s_min(self, s_min: f64) -> Result<Self, CalciumError> {
        let s_min = nonnegative("s_min", s_min)?;
        Ok(Self { s_min, ..self })
    }

    /// Deconvolves one trace in time linear in its length.
    ///
    /// # Shapes
    /// `trace` and both results: `[time]`.
    /// # Errors
    /// [`CalciumError::EmptyTrace`] and [`CalciumError::Infinite`], naming the frame.
    pub fn deconvolve<T: Sample>(&self, trace: &[T]) -> Result<Deconvolved<T>, CalciumError> {
        let mut result = Deconvolved::zeros(trace.len());
        self.deconvolve_into(
            trace,
            &mut result.calcium,
            &mut result.spikes,
            &mut Workspace::default(),
        )?;
        Ok(result)
    }

    /// As [`Self::deconvolve`], for trials that are joined: each is what it would be alone, an initial condition at
    /// its first frame.
    ///
    /// # Shapes
    /// `trace` and both results: `[time]`; `starts`: first frame of each trial, ascending.
    /// # Errors
    /// Those of [`Self::deconvolve`].
    pub fn deconvolve_trials<T: Sample>(
        &self,
        trace: &[T],
        starts: &[usize],
    ) -> Result<Deconvolved<T>, CalciumError> {
        check_trace(trace)?;
        let mut result = Deconvolved::zeros(trace.len());
        let mut workspace = Workspace::default();
        for trial in trials(trace.len(), starts) {
            self.deconvolve_into(
                &trace[trial.clone()],
                &mut result.calcium[trial.clone()],
                &mut result.spikes[trial],
                &mut workspace,
            )?;
        }
        Ok(result)
    }

    /// As [`Self::deconvolve`], but into given slices. It allocates only while `workspace` is
    /// smaller than the trace needs.
    ///
    /// # Shapes
    /// `trace`, `calcium` and `spikes`: `[time]`.
    /// # Errors
    /// Those of [`Self::deconvolve`], and [`CalciumError::OutputLength`].
    pub fn deconvolve_into<T: Sample>(
        &self,
        trace: &[T],
        calcium: &mut [T],
        spikes: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<(), CalciumError> {
        check_length("calcium", trace, calcium)?;
        check_length("spikes", trace, spikes)?;
        let complete = check_trace(trace)?;
        if self.s_min > 0.0 {
            let violates = |pool: &Pool, before: &Pool| pool.falls_short(before, self.s_min);
            self.pool(trace, &mut workspace.pools, violates);
        } else {
            // Without the threshold's arithmetic the commonest case is 4 % faster.
            self.pool(trace, &mut workspace.pools, Pool::undercuts);
        }
        self.place_onsets(&workspace.pools, calcium);
        self.decay_from_onsets(calcium, spikes);
        if !complete {
            mark_missing(trace, calcium);
            mark_missing(trace, spikes);
        }
        Ok(())
    }

    /// Deconvolves many traces in parallel on rayon's current pool; the result does not depend on
    /// the number of threads.
    ///
    /// # Shapes
    /// `traces` and both results: `[trace, time]`, flattened, with `n_bins` frames per trace.
    /// # Errors
    /// [`CalciumError::NotWholeTraces`], [`CalciumError::EmptyTrace`] if `n_bins` is 0, and
    /// [`CalciumError::InTrace`] for the first trace that [`Self::deconvolve`] would refuse.
    pub fn deconvolve_many<T: Sample>(
        &self,
        traces: &[T],
        n_bins: usize,
    ) -> Result<Deconvolved<T>, CalciumError> {
        let mut result = Deconvolved::zeros(traces.len());
        self.deconvolve_many_into(traces, n_bins, &mut result.calcium, &mut result.spikes)?;
        Ok(result)
    }

    /// As [`Self::deconvolve_many`], but into given slices: for block after block of traces without
    /// new memory, which costs the system as much as a tenth of the work.
    ///
    /// # Shapes
    /// `traces`, `calcium` and `spikes`: `[trace, time]`, flattened.
    /// # Errors
    /// Those of [`Self::deconvolve_many`], and [`CalciumError::OutputLength`].
    pub fn deconvolve_many_into<T: Sample>(
        &self,
        traces: &[T],
        n_bins: usize,
        calcium: &mut [T],
        spikes: &mut [T],
    ) -> Result<(), CalciumError> {
        check_block(traces.len(), n_bins)?;
        check_length("calcium", traces, calcium)?;
        check_length("spikes", traces, spikes)?;
        let refused = traces
            .par_chunks(n_bins)
            .zip(calcium.par_chunks_mut(n_bins))
            .zip(spikes.par_chunks_mut(n_bins))
            .enumerate()
            .map_init(Workspace::default, |workspace, (index, row)| {
                let ((trace, calcium), spikes) = row;
                let done = self.deconvolve_into(trace, calcium, spikes, workspace);
                done.map_err(|source| (index, source))
            })
            .find_map_first(Result::err);
        match refused {
            None => Ok(()),
            Some((trace, source)) => Err(CalciumError::InTrace {
                trace,
                source: Box::new(source),
            }),
        }
    }

    /// Pools `trace` under the penalty `lambda`, without a threshold.
    pub(super) fn pool_at(self, lambda: f64, trace: &[f64], pools: &mut Vec<Pool>) {
        Self { lambda, ..self }.pool(trace, pools, Pool::undercuts);
    }

    /// Pools neighbours until none `violates` its bound against the one before.
    fn pool<T: Sample>(
        &self,
        trace: &[T],
        pools: &mut Vec<Pool>,
        violates: impl Fn(&Pool, &Pool) -> bool,
    ) {
        let g = self.ar.g();
        let mu = self.lambda * (1.0 - g);
        pools.clear();
        let Some((first, rest)) = trace.split_first() else {
            return;
        };
        let first = first.to_f64() - mu;
        let mut last = Pool::new(if first.is_nan() { 0.0 } else { first }, g, 0);
        for (index, sample) in rest.iter().enumerate() {
            let mu = if index + 1 == rest.len() {
                self.lambda
            } else {
                mu
            };
            let frame = Pool::new(sample.to_f64() - mu, g, index + 1);
            if frame.weighted.is_nan() {
                last.decay *= g;
            } else if violates(&frame, &last) {
                last = last.merged(&frame);
                while let Some(before) = pools.pop_if(|before| violates(&last, before)) {
                    last = before.merged(&last);
                }
            } else {
                pools.push(last);
                last = frame;
            }
        }
        pools.push(last);
    }

    /// Writes each pool's initial calcium at its first frame, and 0 elsewhere.
    fn place_onsets<T: Sample>(&self, pools: &[Pool], calcium: &mut [T]) {
        calcium.fill(T::default());
        for pool in pools {
            let onset = pool.weighted / pool.weight;
            // Before any activity a pool can exceed a negative one by `s_min` and yet be too small.
            if (pool.start == 0 && onset > 0.0) || onset >= self.s_min {
                calcium[pool.start] = T::from_f64(onset.max(0.0));
            }
        }
    }

    /// Fills calcium in after its onsets, and takes the spikes from it.
    ///
    /// An onset is never below the decay of what precedes it, so the larger of the two is the
    /// calcium at every frame, without asking which frames are onsets.
    fn decay_from_onsets<T: Sample>(&self, calcium: &mut [T], spikes: &mut [T]) {
        let g = self.ar.g();
        // The initial condition is not a spike.
        let mut decayed = calcium.first().map_or(0.0, |initial| initial.to_f64());
        for (calcium, spike) in calcium.iter_mut().zip(spikes) {
            let onset = calcium.to_f64();
            // Not `f64::max`, whose care for NaN doubles the time of this loop.
            let now = if onset > decayed { onset } else { decayed };
            *calcium = T::from_f64(now);
            *spike = T::from_f64(now - decayed);
            decayed = g * now;
        }
    }
}

/// Neighbouring frames k = 0, 1, … after `start` that share one onset v: c_{start+k} = g^k·v.
///
/// The best v is `weighted / weight`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    /// Σ g^k·(y − mu)
    pub(super) weighted: f64,
    /// Σ g^{2k}
    pub(super) weight: f64,
    /// g to the power of the number of frames
    decay: f64,
    pub(super) start: usize,
}

impl Pool {
    fn new(sample: f64, g: f64, start: usize) -> Self {
        Self {
            weighted: sample,
            weight: 1.0,
            decay: g,
            start,
        }
    }

    /// Whether the spike at this pool's onset, v − g^n·v' after n frames from v', is negative.
    fn undercuts(&self, before: &Self) -> bool {
        self.weighted * before.weight < before.decay * before.weighted * self.weight
    }

    /// Whether that spike is smaller than `s_min`.
    fn falls_short(&self, before: &Self, s_min: f64) -> bool {
        let weighted = self.weighted - s_min * self.weight;
        Self { weighted, ..*self }.undercuts(before)
    }

    fn merged(&self, next: &Self) -> Self {
        Self {
            weighted: self.weighted + self.decay * next.weighted,
            weight: self.weight + self.decay * self.decay * next.weight,
            decay: self.decay * next.decay,
            start: self.start,
        }
    }
}

impl<T: Sample> Deconvolved<T> {
    fn zeros(n_samples: usize) -> Self {
        Self {
            calcium: vec![T::default(); n_samples],
            spikes: vec![T::default(); n_samples],
        }
    }
}

fn check_length<T>(name: &'static str, trace: &[T], output: &[T]) -> Result<(), CalciumError> {
    if trace.len() == output.len() {
        return Ok(());
    }
    Err(CalciumError::OutputLength {
        name,
        expected: trace.len(),
        found: output.len(),
    })
}

/// Whether every frame has data.
pub(crate) fn check_trace<T: Sample>(trace: &[T]) -> Result<bool, CalciumError> {
    if trace.is_empty() {
        return Err(CalciumError::EmptyTrace);
    }
    // No early exit, so that the compiler can vectorise the common case.
    let finite = |complete, sample: &T| complete & sample.to_f64().is_finite();
    if trace.iter().fold(true, finite) {
        return Ok(true);
    }
    match trace
        .iter()
        .position(|sample| sample.to_f64().is_infinite())
    {
        None => Ok(false),
        Some(index) => Err(CalciumError::Infinite {
            index,
            value: trace[index].to_f64(),
        }),
    }
}

fn mark_missing<T: Sample>(trace: &[T], output: &mut [T]) {
    for (sample, output) in trace.iter().zip(output) {
        if sample.to_f64().is_nan() {
            *output = T::MISSING;
        }
    }
}
