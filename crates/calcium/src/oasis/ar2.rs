//! Sparse nonnegative deconvolution under AR(2): by an interior-point method, or with a hard threshold.

use super::ar1::check_trace;
use super::ar2_threshold::thresholded;
use super::{Deconvolved, in_parallel};
use crate::error::nonnegative;
use crate::trials::trials;
use crate::{Ar2, CalciumError, Sample};

/// Iterations of Newton's method; 15 to 30 are usual.
const MAX_ITERATIONS: usize = 100;
/// Mean product of spike and multiplier at the end, in units of the trace squared: where both are 0,
/// each is its square root. The residuals, which every step shrinks, are gone long before.
const GAP: f64 = 1e-15;
/// How much of the way to the boundary a step may go.
const TO_BOUNDARY: f64 = 0.995;

/// Minimise ½‖c − y‖² + lambda·‖s‖₁ subject to `s_t = c_t − g1·c_{t−1} − g2·c_{t−2}` with `s_t ≥ s_min`
/// or `s_t = 0`.
///
/// With `s_min` = 0 the problem is convex and the answer its optimum, to about 10⁻⁷ of the trace's scale.
/// A positive `s_min` makes it combinatorial; the answer is then feasible but greedy, not the optimum, and
/// where noise hides a spike's first frame it finds the spike in the next.
///
/// # Conventions
/// As for [`super::Ar1Problem`]:
/// - The first frame's calcium is a free initial condition `c_0 ≥ 0` that decays by the slower root, as
///   if it were left from long before: `s_1 = c_1 − d·c_0`. Its spike is reported as 0, but `c_0`
///   counts in ‖s‖₁.
/// - A frame that is NaN carries no data, but time passes. Both results are NaN there. Unlike in AR(1),
///   a spike in a gap costs lambda as any other; with `s_min` > 0 there is none. A NaN *first* frame then
///   stands for y = 0, mu = 0.
///
/// # Example
/// ```
/// use calcium::Ar2;
/// use calcium::oasis::Ar2Problem;
///
/// let ar = Ar2::from_roots(0.9, 0.5)?;
/// let spikes: [f64; 10] = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0];
/// let result = Ar2Problem::new(ar).deconvolve(&ar.convolve(&spikes))?;
/// for (found, truth) in result.spikes.iter().zip(&spikes) {
///     assert!((found - truth).abs() < 1e-6);
/// }
/// # Ok::<(), calcium::CalciumError>(())
/// ```
/// # Source
/// The problem is that of Friedrich, Zhou & Paninski 2017, equation 2, for p = 2, where pools are only
/// approximate. We solve it with Mehrotra's predictor and corrector (1992): each Newton step is a
/// pentadiagonal system, so that time is linear in the trace. With `s_min` > 0 it is the source's greedy
/// pooling for AR(p): a pool begins with its least-squares value given the pools before, and joins them
/// while its spike is too small. That we keep sums over pools which merge in constant time is our own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ar2Problem {
    ar: Ar2,
    lambda: f64,
    s_min: f64,
}

impl Ar2Problem {
    /// Nonnegative deconvolution under `ar`, without penalty or threshold.
    pub fn new(ar: Ar2) -> Self {
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
        check_trace(trace)?;
        let samples: Vec<f64> = trace.iter().map(|y| y.to_f64()).collect();
        let filter = Filter::new(self.ar, samples.len());
        let mut spikes = if self.s_min > 0.0 {
            let penalty = filter.penalty(self.lambda);
            thresholded(self.ar, self.s_min, &samples, &penalty)
        } else {
            self.optimum(&filter, &samples)
        };
        let mut calcium = filter.integrate(&spikes);
        spikes[0] = 0.0;
        for (t, _missing) in samples.iter().enumerate().filter(|(_, y)| y.is_nan()) {
            (calcium[t], spikes[t]) = (f64::NAN, f64::NAN);
        }
        Ok(Deconvolved { calcium, spikes }.rounded())
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
        let mut result = Deconvolved {
            calcium: Vec::with_capacity(trace.len()),
            spikes: Vec::with_capacity(trace.len()),
        };
        for trial in trials(trace.len(), starts) {
            let found = self.deconvolve(&trace[trial])?;
            result.calcium.extend(found.calcium);
            result.spikes.extend(found.spikes);
        }
        Ok(result)
    }

    /// Deconvolves many traces in parallel on rayon's current pool.
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
    ) -> Result<Vec<Deconvolved<T>>, CalciumError> {
        in_parallel(traces, n_bins, |trace| self.deconvolve(trace))
    }

    /// Spikes without a threshold; the first is the initial calcium.
    fn optimum(&self, filter: &Filter, samples: &[f64]) -> Vec<f64> {
        // In units of the trace the tolerances mean the same for every recording.
        let present = samples.iter().filter(|y| !y.is_nan());
        let unit = present.fold(0.0, |unit: f64, y| unit.max(y.abs()));
        let unit = if unit > 0.0 { unit } else { 1.0 };
        let scaled: Vec<f64> = samples.iter().map(|y| y / unit).collect();
        let spikes = InteriorPoint::new(filter, &scaled, self.lambda / unit).solve();
        spikes.iter().map(|s| unit * s).collect()
    }
}

/// The matrix G of s = G·c: row t has 1, −`first[t]` and −`second[t]` at t, t − 1 and t − 2.
struct Filter {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Filter {
    fn new(ar: Ar2, n_bins: usize) -> Self {
        let [g1, g2] = ar.g();
        let [decay, _rise] = ar.roots();
        let pick = |t: usize, start: f64, later: f64| match t {
            0 => 0.0,
            1 => start,
            _ => later,
        };
        Self {
            first: (0..n_bins).map(|t| pick(t, decay, g1)).collect(),
            second: (0..n_bins).map(|t| pick(t, 0.0, g2)).collect(),
        }
    }

    fn len(&self) -> usize {
        self.first.len()
    }

    /// What row t takes away, G's diagonal aside.
    fn predicted(&self, calcium: &[f64], t: usize) -> f64 {
        let last = if t > 0 { calcium[t - 1] } else { 0.0 };
        let before = if t > 1 { calcium[t - 2] } else { 0.0 };
        self.first[t] * last + self.second[t] * before
    }

    /// G·c
    fn spikes(&self, calcium: &[f64]) -> Vec<f64> {
        (0..self.len())
            .map(|t| calcium[t] - self.predicted(calcium, t))
            .collect()
    }

    /// G⁻¹·s
    fn integrate(&self, spikes: &[f64]) -> Vec<f64> {
        let mut calcium = spikes.to_vec();
        for t in 0..self.len() {
            calcium[t] += self.predicted(&calcium, t);
        }
        calcium
    }

    /// Gᵀ·z
    fn transposed(&self, z: &[f64]) -> Vec<f64> {
        (0..self.len())
            .map(|t| {
                let first = z.get(t + 1).map_or(0.0, |z| self.first[t + 1] * z);
                let second = z.get(t + 2).map_or(0.0, |z| self.second[t + 2] * z);
                z[t] - first - second
            })
            .collect()
    }

    /// lambda·Gᵀ1, the weight that ‖s‖₁ gives to each frame's calcium.
    fn penalty(&self, lambda: f64) -> Vec<f64> {
        self.transposed(&vec![lambda; self.len()])
    }

    /// The Cholesky factor of diag(`weights`) + Gᵀ·diag(`scaling`)·G.
    fn factorised(&self, weights: &[f64], scaling: &[f64]) -> Pentadiagonal {
        let n = self.len();
        let mut factor = Pentadiagonal {
            diagonal: weights.to_vec(),
            below: vec![0.0; n],
            second_below: vec![0.0; n],
        };
        for (t, &scaling) in scaling.iter().enumerate() {
            let (first, second) = (self.first[t], self.second[t]);
            factor.diagonal[t] += scaling;
            if t > 0 {
                factor.diagonal[t - 1] += scaling * first * first;
                factor.below[t] -= scaling * first;
            }
            if t > 1 {
                factor.diagonal[t - 2] += scaling * second * second;
                factor.below[t - 1] += scaling * first * second;
                factor.second_below[t] -= scaling * second;
            }
        }
        factor.factorise();
        factor
    }
}

/// A symmetric matrix with two bands below its diagonal, or its factor L of L·Lᵀ: row t has
/// `below[t]` at t − 1 and `second_below[t]` at t − 2.
struct Pentadiagonal {
    diagonal: Vec<f64>,
    below: Vec<f64>,
    second_below: Vec<f64>,
}

impl Pentadiagonal {
    fn factorise(&mut self) {
        for t in 0..self.diagonal.len() {
            if t > 1 {
                self.second_below[t] /= self.diagonal[t - 2];
                self.below[t] -= self.second_below[t] * self.below[t - 1];
            }
            if t > 0 {
                self.below[t] /= self.diagonal[t - 1];
            }
            let taken = self.below[t].powi(2) + self.second_below[t].powi(2);
            let pivot = self.diagonal[t] - taken;
            // Where spikes are all but 0, rounding cancels what little freedom calcium has left; an
            // infinite pivot keeps it where it is.
            let lost = pivot <= f64::EPSILON * self.diagonal[t];
            let pivot = if lost { f64::INFINITY } else { pivot };
            self.diagonal[t] = pivot.sqrt();
        }
    }

    fn solve(&self, mut x: Vec<f64>) -> Vec<f64> {
        let n = x.len();
        for t in 0..n {
            let last = if t > 0 { self.below[t] * x[t - 1] } else { 0.0 };
            let before = if t > 1 {
                self.second_below[t] * x[t - 2]
            } else {
                0.0
            };
            x[t] = (x[t] - last - before) / self.diagonal[t];
        }
        for t in (0..n).rev() {
            let next = if t + 1 < n {
                self.below[t + 1] * x[t + 1]
            } else {
                0.0
            };
            let after = if t + 2 < n {
                self.second_below[t + 2] * x[t + 2]
            } else {
                0.0
            };
            x[t] = (x[t] - next - after) / self.diagonal[t];
        }
        x
    }
}

/// Calcium c, spikes s and multipliers z ≥ 0 of s ≥ 0, on the way to
/// `w(c − y) + lambda·Gᵀ1 = Gᵀz`, `Gc = s` and `s·z = 0`, with w = 0 in gaps and 1 elsewhere.
struct InteriorPoint<'a> {
    filter: &'a Filter,
    samples: Vec<f64>,
    weights: Vec<f64>,
    penalty: Vec<f64>,
    calcium: Vec<f64>,
    spikes: Vec<f64>,
    multipliers: Vec<f64>,
}

struct Step {
    calcium: Vec<f64>,
    spikes: Vec<f64>,
    multipliers: Vec<f64>,
}

impl<'a> InteriorPoint<'a> {
    fn new(filter: &'a Filter, samples: &[f64], lambda: f64) -> Self {
        let n = filter.len();
        let start = vec![1.0; n];
        Self {
            filter,
            samples: samples
                .iter()
                .map(|y| if y.is_nan() { 0.0 } else { *y })
                .collect(),
            weights: samples
                .iter()
                .map(|y| if y.is_nan() { 0.0 } else { 1.0 })
                .collect(),
            penalty: filter.penalty(lambda),
            calcium: filter.integrate(&start),
            spikes: start.clone(),
            multipliers: start,
        }
    }

    /// The optimal spikes, exactly 0 where the multiplier is the larger of the two.
    fn solve(mut self) -> Vec<f64> {
        let n = self.filter.len() as f64;
        for _iteration in 0..MAX_ITERATIONS {
            let gap = dot(&self.spikes, &self.multipliers) / n;
            if gap <= GAP {
                break;
            }
            let (dual, primal) = self.residuals();
            self.advance(gap, &dual, &primal);
        }
        self.spikes
            .iter()
            .zip(&self.multipliers)
            .map(|(&s, &z)| if s < z { 0.0 } else { s })
            .collect()
    }

    fn residuals(&self) -> (Vec<f64>, Vec<f64>) {
        let pull = self.filter.transposed(&self.multipliers);
        let dual = (0..pull.len()).map(|t| {
            self.weights[t] * (self.calcium[t] - self.samples[t]) + self.penalty[t] - pull[t]
        });
        let found = self.filter.spikes(&self.calcium);
        let primal = found.iter().zip(&self.spikes).map(|(found, s)| found - s);
        (dual.collect(), primal.collect())
    }

    /// Predicts how far plain Newton would go, then aims at the centre as far as that fell short.
    fn advance(&mut self, gap: f64, dual: &[f64], primal: &[f64]) {
        let scaling: Vec<f64> = self
            .multipliers
            .iter()
            .zip(&self.spikes)
            .map(|(z, s)| z / s)
            .collect();
        let factor = self.filter.factorised(&self.weights, &scaling);
        let products: Vec<f64> = self
            .spikes
            .iter()
            .zip(&self.multipliers)
            .map(|(s, z)| s * z)
            .collect();
        let step = self.newton(&factor, &scaling, dual, primal, &products);
        let length = self.length(&step, 1.0);
        let moved = |x: &[f64], dx: &[f64]| -> Vec<f64> {
            x.iter().zip(dx).map(|(x, dx)| x + length * dx).collect()
        };
        let predicted = dot(
            &moved(&self.spikes, &step.spikes),
            &moved(&self.multipliers, &step.multipliers),
        ) / products.len() as f64;
        let centre = gap * (predicted / gap).powi(3);
        let corrected: Vec<f64> = (0..products.len())
            .map(|t| products[t] + step.spikes[t] * step.multipliers[t] - centre)
            .collect();
        let step = self.newton(&factor, &scaling, dual, primal, &corrected);
        let length = self.length(&step, TO_BOUNDARY);
        for (x, dx) in [
            (&mut self.calcium, &step.calcium),
            (&mut self.spikes, &step.spikes),
            (&mut self.multipliers, &step.multipliers),
        ] {
            x.iter_mut().zip(dx).for_each(|(x, dx)| *x += length * dx);
        }
    }

    /// The step that would take the residuals, and the products s·z less their targets, to 0.
    fn newton(
        &self,
        factor: &Pentadiagonal,
        scaling: &[f64],
        dual: &[f64],
        primal: &[f64],
        products: &[f64],
    ) -> Step {
        let n = dual.len();
        let pull: Vec<f64> = (0..n)
            .map(|t| scaling[t] * primal[t] + products[t] / self.spikes[t])
            .collect();
        let pull = self.filter.transposed(&pull);
        let calcium = factor.solve((0..n).map(|t| -dual[t] - pull[t]).collect());
        let mut spikes = self.filter.spikes(&calcium);
        spikes
            .iter_mut()
            .zip(primal)
            .for_each(|(s, residual)| *s += residual);
        let multipliers = (0..n)
            .map(|t| -products[t] / self.spikes[t] - scaling[t] * spikes[t])
            .collect();
        Step {
            calcium,
            spikes,
            multipliers,
        }
    }

    /// The part of a step, at most all, that goes `share` of the way to where s or z would be 0.
    fn length(&self, step: &Step, share: f64) -> f64 {
        let room = |x: &[f64], dx: &[f64]| {
            let ratios = x.iter().zip(dx).filter(|(_, dx)| **dx < 0.0);
            ratios.map(|(x, dx)| -x / dx).fold(f64::INFINITY, f64::min)
        };
        let spikes = room(&self.spikes, &step.spikes);
        let multipliers = room(&self.multipliers, &step.multipliers);
        (share * spikes.min(multipliers)).min(1.0)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
