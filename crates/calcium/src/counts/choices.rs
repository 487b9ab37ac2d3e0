//! The spike counts of one bin worth a look, and their weights.

use super::dynamics::Parabola;

/// Counts this much less likely than the best are left out. The Gaussian view of the future
/// can be far off where a rare burst lies ahead, so the best count's neighbours are always
/// looked at.
const NEGLIGIBLE: f64 = 1e-6;
/// Most counts considered on either side of the best.
const MAX_SIDE: usize = 16;
const MAX_CHOICES: usize = 2 * MAX_SIDE + 1;
/// Above this curvature e^{curvature} leaves no room in an `f64` for the ratios beside it.
const STEEP: f64 = 300.0;

/// Steps from the first guess; a best count further away is found by bisection.
const MAX_STEPS: usize = 32;
/// No count is greater, so that every step is exact in an `f64`.
const MAX_COUNT: f64 = 1e15;

/// Odds this small leave no doubt of the other count.
const CLEAR_ODDS: f64 = 1e-4;
/// Odds below e^this are none.
const NEGLIGIBLE_LOG_ODDS: f64 = -16.0;

/// The prior of a bin's spikes, Poisson(`mean`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PoissonPrior {
    pub mean: f64,
    pub log_mean: f64,
}

/// Poisson(k; μ) times a Gaussian in k: log-concave, so one walk finds the best count and the
/// counts that matter lie around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Peak {
    pub best: usize,
    /// The weight of best + 1 relative to that of best.
    up: f64,
    /// The weight of best − 1 relative to that of best; of no meaning for none.
    down: f64,
    /// e^{−curvature}: what each step from count to count multiplies the ratio with, beside a
    /// quotient of counts.
    falloff: f64,
}

impl Parabola {
    /// e^{−curvature}.
    pub fn falloff(&self) -> f64 {
        (-self.curvature).exp()
    }
}

impl Peak {
    /// The weight of one spike relative to none, if none is the best count and the odds are
    /// below [`CLEAR_ODDS`].
    pub fn clear_odds_of_one(prior: &PoissonPrior, view: &Parabola) -> Option<f64> {
        let log_odds = prior.log_mean + view.slope - 0.5 * view.curvature;
        if log_odds < NEGLIGIBLE_LOG_ODDS {
            return Some(0.0);
        }
        // Only near the threshold is the exponential worth its time.
        (log_odds < 0.0)
            .then(|| log_odds.exp())
            .filter(|odds| *odds < CLEAR_ODDS)
    }

    /// Whether every other count has odds below [`CLEAR_ODDS`].
    pub fn is_clear(&self) -> bool {
        self.up < CLEAR_ODDS && (self.best == 0 || self.down < CLEAR_ODDS)
    }

    /// Finds the best count, in bounded time; `falloff` is that of the view.
    pub fn find(prior: &PoissonPrior, view: &Parabola, falloff: f64) -> Self {
        let slope = view.slope + prior.log_mean;
        let wanted = match view.curvature > 0.0 {
            true => (view.slope + prior.log_mean.min(0.0)) / view.curvature,
            false => prior.mean,
        };
        // The cast rounds down and takes what is negative to 0.
        let mut best = (wanted + 0.5).min(MAX_COUNT) as usize as f64;
        let mut rise = slope - view.curvature * (best + 0.5);
        for _ in 0..MAX_STEPS {
            let peak = Self::at(best, rise, view.curvature, falloff);
            let step = match (peak.up > 1.0, best > 0.0 && peak.down > 1.0) {
                (true, _) => 1.0,
                (_, true) => -1.0,
                _ => return peak,
            };
            best += step;
            rise -= step * view.curvature;
        }
        let best = Self::bisect(slope, view.curvature);
        let rise = slope - view.curvature * (best + 0.5);
        let peak = Self::at(best, rise, view.curvature, falloff);
        // Rounding, or the greatest count, may leave a neighbour that looks better.
        Self {
            up: peak.up.min(1.0),
            down: peak.down.min(1.0),
            ..peak
        }
    }

    /// The least count k that is no less likely than k + 1: `slope` − `curvature`·(k + ½) ≤ ln(k + 1).
    fn bisect(slope: f64, curvature: f64) -> f64 {
        let (mut low, mut high) = (0.0, MAX_COUNT);
        while low < high {
            let middle = f64::midpoint(low, high).floor();
            match slope - curvature * (middle + 0.5) > (middle + 1.0).ln() {
                true => low = middle + 1.0,
                false => high = middle,
            }
        }
        low
    }

    /// The peak at `best`, `rise` being ln(weight of best + 1 / weight of best) without the quotient of factorials.
    fn at(best: f64, rise: f64, curvature: f64, falloff: f64) -> Self {
        let rise_exp = rise.exp();
        Self {
            best: best as usize,
            up: rise_exp / (best + 1.0),
            down: match curvature < STEEP {
                true => best * falloff / rise_exp,
                false => best * (-rise - curvature).exp(),
            },
            falloff,
        }
    }

    /// Σ weights, relative to the best.
    pub fn total(&self) -> f64 {
        let mut total = 1.0;
        self.walk_down(|_, weight| total += weight);
        self.walk_up(|_, weight| total += weight);
        total
    }

    /// Visits the counts below the best that matter, with their weights.
    fn walk_down(&self, mut visit: impl FnMut(usize, f64)) {
        let (mut ratio, mut weight) = (self.down, self.down);
        for side in 1..=MAX_SIDE.min(self.best) {
            if weight <= NEGLIGIBLE && side > 1 {
                break;
            }
            let count = self.best - side;
            visit(count, weight);
            ratio *= self.falloff * count as f64 / (count + 1) as f64;
            weight *= ratio;
        }
    }

    /// Visits the counts above the best that matter, with their weights.
    fn walk_up(&self, mut visit: impl FnMut(usize, f64)) {
        let (mut ratio, mut weight) = (self.up, self.up);
        for side in 1..=MAX_SIDE {
            if weight <= NEGLIGIBLE && side > 1 {
                break;
            }
            let count = self.best + side;
            visit(count, weight);
            ratio *= self.falloff * count as f64 / (count + 1) as f64;
            weight *= ratio;
        }
    }
}

/// Consecutive counts and their weights.
pub(super) struct Choices {
    first: usize,
    len: usize,
    weights: [f64; MAX_CHOICES],
}

impl Choices {
    /// The counts that matter around a peak.
    pub fn around(peak: &Peak) -> Self {
        let mut choices = Self {
            first: peak.best,
            len: 1,
            weights: [0.0; MAX_CHOICES],
        };
        choices.weights[0] = 1.0;
        peak.walk_down(|count, weight| {
            choices.weights[choices.len] = weight;
            choices.len += 1;
            choices.first = count;
        });
        choices.weights[..choices.len].reverse();
        peak.walk_up(|_, weight| {
            choices.weights[choices.len] = weight;
            choices.len += 1;
        });
        choices
    }

    /// Replaces the weights by e^{log} · factor, (log, factor) given for each count; the
    /// largest log is taken out of all. Counts are added while the heaviest is an outermost.
    pub fn reweigh(&mut self, log_and_factor: impl Fn(usize) -> (f64, f64)) {
        let mut logs = [0.0; MAX_CHOICES];
        for (index, log) in logs[..self.len].iter_mut().enumerate() {
            (*log, self.weights[index]) = log_and_factor(self.first + index);
        }
        while self.len < MAX_CHOICES {
            let inner = |logs: &[f64]| logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if logs[self.len - 1] >= inner(&logs[..self.len - 1]) {
                (logs[self.len], self.weights[self.len]) = log_and_factor(self.first + self.len);
            } else if self.first > 0 && logs[0] >= inner(&logs[1..self.len]) {
                self.first -= 1;
                logs.copy_within(..self.len, 1);
                self.weights.copy_within(..self.len, 1);
                (logs[0], self.weights[0]) = log_and_factor(self.first);
            } else {
                break;
            }
            self.len += 1;
        }
        let greatest = logs[..self.len].iter().copied().fold(logs[0], f64::max);
        for (weight, log) in self.weights[..self.len].iter_mut().zip(logs) {
            *weight *= (log - greatest).exp();
        }
    }

    /// The count at which the cumulated weight passes the share `uniform` of the total.
    pub fn pick(&self, uniform: f64) -> Pick {
        let weights = &self.weights[..self.len];
        let total: f64 = weights.iter().sum();
        let counts = weights.iter().zip(self.first..);
        let expected = counts
            .map(|(weight, count)| weight * count as f64)
            .sum::<f64>()
            / total;
        let mut rest = uniform * total;
        let chosen = weights[..self.len - 1]
            .iter()
            .position(|weight| {
                rest -= weight;
                rest < 0.0
            })
            .unwrap_or(self.len - 1);
        Pick {
            count: self.first + chosen,
            expected,
            log_probability: (weights[chosen] / total).ln(),
        }
    }
}

/// A sampled count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pick {
    pub count: usize,
    /// The mean of the distribution it was sampled from.
    pub expected: f64,
    /// Its logarithmic probability.
    pub log_probability: f64,
}

impl Pick {
    /// Of 0 and 1 spikes, the latter `odds` times as likely; `odds` well below 1.
    pub fn none_or_one(odds: f64, uniform: f64) -> Self {
        // To second order in the odds.
        let expected = odds - odds * odds;
        let one = uniform < expected;
        Self {
            count: usize::from(one),
            expected,
            log_probability: if one {
                expected.ln()
            } else {
                -expected - 0.5 * odds * odds
            },
        }
    }
}

/// ln n!.
pub fn ln_factorial(n: usize) -> f64 {
    const SMALL: [f64; 4] = [
        0.0,
        0.0,
        std::f64::consts::LN_2,
        1.791_759_469_228_055, // ln 6
    ];
    match SMALL.get(n) {
        Some(&value) => value,
        None => libm::lgamma(n as f64 + 1.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log_weight(count: usize, prior: &PoissonPrior, view: &Parabola) -> f64 {
        let k = count as f64;
        k * (prior.log_mean + view.slope) - ln_factorial(count) - 0.5 * view.curvature * k * k
    }

    proptest! {
        #[test]
        fn the_peak_is_the_likeliest_count(
            log_mean in -8.0_f64..3.0,
            slope in -50.0_f64..400.0,
            log_curvature in -3.0_f64..7.0,
        ) {
            let prior = PoissonPrior { mean: log_mean.exp(), log_mean };
            let curvature = log_curvature.exp();
            // At most some hundred counts.
            let view = Parabola { slope: slope.min(200.0 * curvature), curvature };
            let peak = Peak::find(&prior, &view, view.falloff());
            let best = log_weight(peak.best, &prior, &view);
            let above = (log_weight(peak.best + 1, &prior, &view) - best).exp();
            prop_assert!(above <= 1.0 + 1e-9);
            prop_assert!((peak.up - above).abs() < 1e-6);
            if peak.best > 0 {
                let below = (log_weight(peak.best - 1, &prior, &view) - best).exp();
                prop_assert!(below <= 1.0 + 1e-9);
                prop_assert!((peak.down - below).abs() < 1e-6);
            }
        }

        #[test]
        fn choices_are_the_normalised_weights(
            log_mean in -4.0_f64..1.0,
            slope in -5.0_f64..20.0,
            curvature in 0.5_f64..10.0,
        ) {
            let prior = PoissonPrior { mean: log_mean.exp(), log_mean };
            let view = Parabola { slope, curvature };
            let peak = Peak::find(&prior, &view, view.falloff());
            let weights: Vec<f64> = (0..80).map(|k| log_weight(k, &prior, &view).exp()).collect();
            let total: f64 = weights.iter().sum();
            let expected = weights.iter().enumerate().map(|(k, w)| w * k as f64).sum::<f64>() / total;
            let pick = Choices::around(&peak).pick(0.5);
            prop_assert!((pick.expected - expected).abs() < 1e-5 * (1.0 + expected));
            prop_assert!((pick.log_probability - (weights[pick.count] / total).ln()).abs() < 1e-5);
            let best = log_weight(peak.best, &prior, &view);
            prop_assert!((peak.total() - total / best.exp()).abs() < 1e-5);
        }
    }

    #[test]
    fn factorials() {
        assert!((ln_factorial(3) - 6.0_f64.ln()).abs() < 1e-14);
        assert!((ln_factorial(5) - 120.0_f64.ln()).abs() < 1e-13);
    }
}
