//! Noise-constrained AR(1): the penalty follows from the noise SD.

use std::ops::Range;

use super::ar1::{Ar1Problem, Pool, check_trace};
use super::{Deconvolved, in_parallel};
use crate::error::nonnegative;
use crate::trials::trials;
use crate::{Ar1, CalciumError, Sample};

/// Steps of the safeguarded Newton searches; a handful is usual.
const MAX_STEPS: usize = 100;
/// Relative accuracy of the residual sum of squares, and of the baseline.
const TOLERANCE: f64 = 1e-11;
/// Coarse steps, by a factor of √2, either way of the given time constant.
const G_STEPS: i32 = 4;
/// Relative accuracy of the time constant.
const TAU_TOLERANCE: f64 = 1e-4;

/// The constant fluorescence b that calcium adds to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Baseline {
    /// Known.
    Fixed(f64),
    /// Fitted, between the lowest sample and the highest.
    Free,
    /// The same subject to b ≥ 0.
    Nonnegative,
}

/// Minimise ‖s‖₁ subject to ‖y − b − c‖² ≤ `noise_sd`²·T and `s_t = c_t − g·c_{t−1} ≥ 0`, over the T
/// frames with data.
///
/// The answer is that of [`Ar1Problem`] for the one lambda that makes the constraint tight, under the
/// same conventions. Where even lambda = 0 cannot meet the constraint, that is the answer; where
/// silence meets it, the spikes are 0.
///
/// # Example
/// ```
/// use calcium::Ar1;
/// use calcium::oasis::{Ar1NoiseConstrained, Baseline};
///
/// let trace = [1.1, 0.9, 2.1, 1.4, 1.3, 1.0, 1.2, 0.9];
/// let problem = Ar1NoiseConstrained::new(Ar1::new(0.5)?, 0.1)?.with_baseline(Baseline::Free)?;
/// let fit = problem.deconvolve(&trace)?;
/// let residuals = trace.iter().zip(&fit.result.calcium).map(|(y, c)| y - fit.baseline - c);
/// let rss: f64 = residuals.map(|r| r * r).sum();
/// assert!((rss - 0.1f64.powi(2) * 8.0).abs() < 1e-9);
/// # Ok::<(), calcium::CalciumError>(())
/// ```
/// # Source
/// Friedrich, Zhou & Paninski 2017, "Solving the noise constrained problem" and "Optimizing parameters":
/// between merges c is linear in lambda and b, so that the residual sum of squares is a quadratic whose
/// root is the next lambda. We repeat it on pools made afresh, inside a bracket. g is our own: the source
/// refits it to a few large events, whose result depends on where it began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ar1NoiseConstrained {
    ar: Ar1,
    noise_sd: f64,
    baseline: Baseline,
    fits_g: bool,
}

/// Deconvolution with the parameters that were found along with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted<T> {
    /// Calcium above the baseline, and spikes.
    pub result: Deconvolved<T>,
    /// Weight of the L1 penalty.
    pub lambda: f64,
    /// Baseline b, in fluorescence units.
    pub baseline: f64,
    /// The dynamics: those given, unless g was fitted.
    pub ar: Ar1,
}

impl Ar1NoiseConstrained {
    /// The problem with baseline 0.
    ///
    /// # Units
    /// `noise_sd`: fluorescence units, as from [`crate::estimate::noise_sd`].
    /// # Errors
    /// [`CalciumError::Negative`].
    pub fn new(ar: Ar1, noise_sd: f64) -> Result<Self, CalciumError> {
        Ok(Self {
            ar,
            noise_sd: nonnegative("noise_sd", noise_sd)?,
            baseline: Baseline::Fixed(0.0),
            fits_g: false,
        })
    }

    /// Fits g too: within a factor of four of the given time constant, the one for which the noise
    /// constraint allows the largest lambda.
    ///
    /// It takes some 25 times as long.
    #[must_use]
    pub fn with_fitted_g(self) -> Self {
        Self {
            fits_g: true,
            ..self
        }
    }

    /// Sets what is known of the baseline.
    ///
    /// # Errors
    /// [`CalciumError::NotFinite`] for a fixed baseline.
    pub fn with_baseline(self, baseline: Baseline) -> Result<Self, CalciumError> {
        match baseline {
            Baseline::Fixed(value) if !value.is_finite() => Err(CalciumError::NotFinite {
                name: "baseline",
                value,
            }),
            _ => Ok(Self { baseline, ..self }),
        }
    }

    /// Deconvolves one trace, in some tens of passes over it.
    ///
    /// # Shapes
    /// `trace` and both results: `[time]`.
    /// # Errors
    /// Those of [`Ar1Problem::deconvolve`].
    pub fn deconvolve<T: Sample>(&self, trace: &[T]) -> Result<Fitted<T>, CalciumError> {
        self.deconvolve_trials(trace, &[0])
    }

    /// As [`Self::deconvolve`], for trials that are joined: they share the noise constraint, lambda, baseline and g,
    /// and each is what [`Ar1Problem`] finds in it alone.
    ///
    /// # Shapes
    /// `trace` and both results: `[time]`; `starts`: first frame of each trial, ascending.
    /// # Errors
    /// Those of [`Ar1Problem::deconvolve`].
    pub fn deconvolve_trials<T: Sample>(
        &self,
        trace: &[T],
        starts: &[usize],
    ) -> Result<Fitted<T>, CalciumError> {
        check_trace(trace)?;
        let mut search = Search::new(trace, starts, self);
        let has_decay = search.ar.g() > 0.0;
        let point = if self.fits_g && has_decay {
            search.fit_g()
        } else {
            search.constrain()
        };
        let problem = Ar1Problem::new(search.ar).with_lambda(point.lambda)?;
        let above: Vec<f64> = search.samples.iter().map(|y| y - point.baseline).collect();
        Ok(Fitted {
            result: problem.deconvolve_trials(&above, starts)?.rounded(),
            lambda: point.lambda,
            baseline: point.baseline,
            ar: search.ar,
        })
    }

    /// Deconvolves many traces in parallel on rayon's current pool, each with its own lambda, baseline
    /// and g.
    ///
    /// # Shapes
    /// `traces`: `[trace, time]`, flattened, with `n_bins` frames per trace; result: one per trace.
    /// # Errors
    /// [`CalciumError::NotWholeTraces`], [`CalciumError::EmptyTrace`] if `n_bins` is 0, and
    /// [`CalciumError::InTrace`] for the first trace that [`Self::deconvolve`] would refuse.
    pub fn deconvolve_many<T: Sample>(
        &self,
        traces: &[T],
        n_bins: usize,
    ) -> Result<Vec<Fitted<T>>, CalciumError> {
        in_parallel(traces, n_bins, |trace| self.deconvolve(trace))
    }
}

/// A choice of lambda and b, and how the residuals there depend on both.
#[derive(Debug, Clone, Copy)]
struct Point {
    lambda: f64,
    baseline: f64,
    sums: Sums,
}

/// Sums over frames with data of the residual r = y − b − c, and of its derivatives p along lambda and
/// q along b at fixed pools.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    r: f64,
    p: f64,
    q: f64,
    rr: f64,
    rp: f64,
    rq: f64,
    pp: f64,
    pq: f64,
    qq: f64,
}

struct Search {
    samples: Vec<f64>,
    trials: Vec<Range<usize>>,
    above: Vec<f64>,
    /// Of one trial.
    pools: Vec<Pool>,
    ar: Ar1,
    baseline: Baseline,
    /// The residual sum of squares allowed.
    target: f64,
    extent: [f64; 2],
}

impl Search {
    fn new<T: Sample>(trace: &[T], starts: &[usize], problem: &Ar1NoiseConstrained) -> Self {
        let samples: Vec<f64> = trace.iter().map(|y| y.to_f64()).collect();
        let n_present = samples.iter().filter(|y| !y.is_nan()).count();
        // Of nothing but gaps the baseline is moot.
        let extent = samples
            .iter()
            .filter(|y| !y.is_nan())
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &y| {
                [low.min(y), high.max(y)]
            });
        Self {
            above: samples.clone(),
            trials: trials(trace.len(), starts),
            samples,
            pools: Vec::new(),
            ar: problem.ar,
            baseline: problem.baseline,
            target: problem.noise_sd.powi(2) * n_present as f64,
            extent: if n_present == 0 { [0.0; 2] } else { extent },
        }
    }

    /// The lambda whose residual sum of squares, at the best baseline, is the target.
    fn constrain(&mut self) -> Point {
        let (mut low, mut high) = (0.0, f64::INFINITY);
        let mut point = self.at_best_baseline(0.0, self.extent[0]);
        for _step in 0..MAX_STEPS {
            let excess = point.sums.rr - self.target;
            let close = excess.abs() <= TOLERANCE * self.target;
            let is_extreme = match excess < 0.0 {
                true => point.is_silent(),
                false => point.lambda == 0.0,
            };
            if close || is_extreme {
                break;
            }
            if excess < 0.0 {
                low = point.lambda;
            } else {
                high = point.lambda;
            }
            let follows = !self.at_bound(&point);
            let next = point.lambda + point.sums.step_to(self.target, follows);
            let next = if next > low && next < high {
                next
            } else if high.is_finite() {
                f64::midpoint(low, high)
            } else {
                2.0 * low + self.target.sqrt()
            };
            if next <= low || next >= high {
                break;
            }
            point = self.at_best_baseline(next, point.baseline);
        }
        point
    }

    /// The answer for the decay that tolerates the largest lambda: any other needs spikes that are not
    /// there to stay within the noise, and cannot afford the penalty.
    fn fit_g(&mut self) -> Point {
        let given = libm::log(-libm::log(self.ar.g()));
        let step = std::f64::consts::LN_2 / 2.0;
        let coarse = (-G_STEPS..=G_STEPS).map(|k| given + step * f64::from(k));
        let tried: Vec<(f64, f64)> = coarse.map(|rate| (rate, self.lambda_at(rate))).collect();
        let best = tried
            .iter()
            .copied()
            .reduce(|a, b| if b.1 > a.1 { b } else { a });
        let best = best
            .filter(|(_, lambda)| *lambda > 0.0)
            .map_or(given, |(rate, _)| rate);
        let (low, high) = (best - step, best + step);
        let rate = golden_section(|rate| self.lambda_at(rate), low, high);
        self.lambda_at(rate);
        self.constrain()
    }

    /// lambda where the logarithm of the decays per frame is `log_rate`.
    fn lambda_at(&mut self, log_rate: f64) -> f64 {
        self.ar = Ar1::new(libm::exp(-libm::exp(log_rate))).unwrap_or(self.ar);
        self.constrain().lambda
    }

    /// Where the baseline may lie: a lower one than any sample would have spikes undo the decay of
    /// calcium.
    fn bounds(&self) -> [f64; 2] {
        match self.baseline {
            Baseline::Fixed(baseline) => [baseline; 2],
            Baseline::Free => self.extent,
            Baseline::Nonnegative => self.extent.map(|bound| bound.max(0.0)),
        }
    }

    fn at_bound(&self, point: &Point) -> bool {
        let [low, high] = self.bounds();
        point.baseline <= low || point.baseline >= high
    }

    /// The baseline where the residuals sum to 0, found by Newton's method inside a bracket: the
    /// objective is convex in b and its derivative is −Σr.
    fn at_best_baseline(&mut self, lambda: f64, start: f64) -> Point {
        let [mut low, mut high] = self.bounds();
        if low >= high {
            return self.at(lambda, low);
        }
        let accuracy = TOLERANCE * (self.extent[1] - self.extent[0]).max(f64::MIN_POSITIVE);
        let bound = self.at(lambda, low);
        if bound.sums.r <= 0.0 {
            return bound;
        }
        let mut point = self.at(lambda, start.clamp(low, high));
        for _step in 0..MAX_STEPS {
            if point.sums.r > 0.0 {
                low = point.baseline;
            } else {
                high = point.baseline;
            }
            let newton = point.baseline - point.sums.r / point.sums.q;
            let next = if newton >= low && newton <= high {
                newton
            } else {
                f64::midpoint(low, high)
            };
            let moved = (next - point.baseline).abs();
            point = self.at(lambda, next);
            if moved <= accuracy {
                break;
            }
        }
        point
    }

    fn at(&mut self, lambda: f64, baseline: f64) -> Point {
        for (above, sample) in self.above.iter_mut().zip(&self.samples) {
            *above = sample - baseline;
        }
        let problem = Ar1Problem::new(self.ar);
        let mut sums = Sums::default();
        for trial in &self.trials {
            let trial = &self.above[trial.clone()];
            problem.pool_at(lambda, trial, &mut self.pools);
            for index in 0..self.pools.len() {
                add_pool(trial, &self.pools, index, self.ar.g(), &mut sums);
            }
        }
        Point {
            lambda,
            baseline,
            sums,
        }
    }
}

/// Adds the frames of a pool of one trial, of samples above the baseline.
fn add_pool(above: &[f64], pools: &[Pool], index: usize, g: f64, sums: &mut Sums) {
    let pool = &pools[index];
    let next = pools.get(index + 1);
    let frames = pool.start..next.map_or(above.len(), |next| next.start);
    let onset = (pool.weighted / pool.weight).max(0.0);
    // How fast the onset falls per lambda and per b.
    let (mut per_lambda, mut per_baseline) = (0.0, 0.0);
    if onset > 0.0 {
        let mut decay = 1.0 / pool.weight;
        for t in frames.clone() {
            if !above[t].is_nan() {
                let is_last = t > 0 && t + 1 == above.len();
                // The weight of c_t in ‖s‖₁.
                per_lambda += decay * if is_last { 1.0 } else { 1.0 - g };
                per_baseline += decay;
            }
            decay *= g;
        }
    }
    let mut decay = 1.0;
    for t in frames {
        if !above[t].is_nan() {
            let residual = above[t] - decay * onset;
            sums.add(residual, decay * per_lambda, decay * per_baseline - 1.0);
        }
        decay *= g;
    }
}

/// Where a function with one peak between `a` and `b` is largest.
fn golden_section(mut f: impl FnMut(f64) -> f64, mut a: f64, mut b: f64) -> f64 {
    let ratio = 0.5 * (5f64.sqrt() - 1.0);
    let (mut left, mut right) = (b - ratio * (b - a), a + ratio * (b - a));
    let (mut at_left, mut at_right) = (f(left), f(right));
    while (b - a).abs() > TAU_TOLERANCE {
        if at_left > at_right {
            (b, right, at_right) = (right, left, at_left);
            left = b - ratio * (b - a);
            at_left = f(left);
        } else {
            (a, left, at_left) = (left, right, at_right);
            right = a + ratio * (b - a);
            at_right = f(right);
        }
    }
    f64::midpoint(a, b)
}

impl Point {
    /// Whether no calcium is left that lambda could lower.
    fn is_silent(&self) -> bool {
        self.sums.pp == 0.0
    }
}

impl Sums {
    fn add(&mut self, r: f64, p: f64, q: f64) {
        self.r += r;
        self.p += p;
        self.q += q;
        self.rr += r * r;
        self.rp += r * p;
        self.rq += r * q;
        self.pp += p * p;
        self.pq += p * q;
        self.qq += q * q;
    }

    /// How far lambda has to move for the residual sum of squares to meet `target`, b following so
    /// that the residuals keep their sum if it `follows`.
    fn step_to(&self, target: f64, follows: bool) -> f64 {
        let slope = if follows && self.q < 0.0 {
            -self.p / self.q
        } else {
            0.0
        };
        let linear = self.rp + slope * self.rq;
        let square = self.pp + slope * (2.0 * self.pq + slope * self.qq);
        let excess = self.rr - target;
        let root = (linear * linear - square * excess).max(0.0).sqrt();
        (root - linear) / square
    }
}

impl Deconvolved<f64> {
    pub(super) fn rounded<T: Sample>(self) -> Deconvolved<T> {
        let round = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect();
        Deconvolved {
            calcium: round(self.calcium),
            spikes: round(self.spikes),
        }
    }
}
