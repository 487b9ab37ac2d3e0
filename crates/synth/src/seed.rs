//! One root seed, named streams: who draws what, with the same bits everywhere.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    CellProbability,
    Indicator,
    InitialState,
    Loadings,
    MeanRate,
    Movement,
    Neuropil,
    Noise,
    Pulse,
    Recurrence,
    Region,
    Spikes,
    TraceBaseline,
    TraceFiring,
    TraceIndicator,
    TraceNoise,
    TraceTiming,
}

impl Stream {
    /// Part of the key: renaming a stream changes every benchmark drawn from it.
    const fn name(self) -> &'static [u8] {
        match self {
            Self::CellProbability => b"cell probability",
            Self::Indicator => b"indicator",
            Self::InitialState => b"initial state",
            Self::Loadings => b"loadings",
            Self::MeanRate => b"mean rate",
            Self::Movement => b"movement",
            Self::Neuropil => b"neuropil",
            Self::Noise => b"noise",
            Self::Pulse => b"pulse",
            Self::Recurrence => b"recurrence",
            Self::Region => b"region",
            Self::Spikes => b"spikes",
            Self::TraceBaseline => b"trace baseline",
            Self::TraceFiring => b"trace firing",
            Self::TraceIndicator => b"trace indicator",
            Self::TraceNoise => b"trace noise",
            Self::TraceTiming => b"trace timing",
        }
    }
}

/// The root seed of a simulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RootSeed(pub u64);

impl RootSeed {
    /// Opens stream number `index` (a trial, a condition) of its kind.
    ///
    /// The `ChaCha` key is the seed and the name, the nonce the index. Streams are thus
    /// independent, and a trial draws the same whichever thread runs it and whatever the
    /// other trials or streams draw.
    pub fn draws(self, stream: Stream, index: usize) -> Draws {
        let mut key = [0; 32];
        let (seed, name) = key.split_at_mut(8);
        seed.copy_from_slice(&self.0.to_le_bytes());
        name[..stream.name().len()].copy_from_slice(stream.name());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index as u64);
        Draws { rng, spare: None }
    }
}

/// Random numbers of one stream.
///
/// Written here and on `libm`, since the distributions of `rand_distr` take their
/// exponentials from the platform whenever any crate of the build asks for `std`.
pub(crate) struct Draws {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Draws {
    /// Uniform on [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * (0.5 * f64::EPSILON)
    }

    /// N(0, 1).
    ///
    /// # Source
    /// Box & Muller 1958.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        let (sin, cos) = libm::sincos(TAU * self.uniform());
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Poisson(`mean`) for a finite `mean` ≥ 0, as a whole number.
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean < 10.0 {
            self.poisson_by_inversion(mean)
        } else {
            self.poisson_by_rejection(mean)
        }
    }

    fn poisson_by_inversion(&mut self, mean: f64) -> f64 {
        let mut rest = self.uniform();
        let mut probability = libm::exp(-mean);
        let mut count = 0.0;
        // Beyond the last bit of `rest` nothing is left to find but rounding errors.
        while rest >= probability && (count < mean || probability > 1e-18) {
            rest -= probability;
            count += 1.0;
            probability *= mean / count;
        }
        count
    }

    /// # Source
    /// Hörmann 1993, "The transformed rejection method for generating Poisson random
    /// variables", algorithm PTRS.
    fn poisson_by_rejection(&mut self, mean: f64) -> f64 {
        let b = 0.931 + 2.53 * libm::sqrt(mean);
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let v_r = 0.9277 - 3.6224 / (b - 2.0);
        let log_mean = libm::log(mean);
        loop {
            let u = self.uniform() - 0.5;
            let v = self.uniform();
            let u_s = 0.5 - u.abs();
            let count = libm::floor((2.0 * a / u_s + b) * u + mean + 0.43);
            if u_s >= 0.07 && v <= v_r {
                return count;
            }
            if count < 0.0 || (u_s < 0.013 && v > u_s) {
                continue;
            }
            let log_proposal = libm::log(v * inverse_alpha / (a / (u_s * u_s) + b));
            if log_proposal <= count * log_mean - mean - libm::lgamma(count + 1.0) {
                return count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(index: usize) -> Draws {
        RootSeed(11).draws(Stream::Spikes, index)
    }

    /// Mean and variance of `n` values.
    fn moments(n: usize, mut value: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..n).map(|_| value()).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let square = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        (mean, square / n as f64)
    }

    #[test]
    fn every_name_fits_the_key_and_no_two_agree() {
        let all = [
            Stream::CellProbability,
            Stream::Indicator,
            Stream::InitialState,
            Stream::Loadings,
            Stream::Neuropil,
            Stream::Noise,
            Stream::Pulse,
            Stream::Recurrence,
            Stream::Region,
            Stream::Spikes,
            Stream::TraceBaseline,
            Stream::TraceFiring,
            Stream::TraceIndicator,
            Stream::TraceNoise,
            Stream::TraceTiming,
        ];
        let mut first: Vec<u64> = all
            .iter()
            .map(|&stream| RootSeed(5).draws(stream, 0).uniform().to_bits())
            .collect();
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), all.len());
    }

    #[test]
    fn streams_differ_by_seed_and_index_and_repeat_themselves() {
        let value = |seed, index| {
            RootSeed(seed)
                .draws(Stream::Noise, index)
                .uniform()
                .to_bits()
        };
        assert_eq!(value(1, 2), value(1, 2));
        assert_ne!(value(1, 2), value(1, 3));
        assert_ne!(value(1, 2), value(2, 2));
    }

    #[test]
    fn normal_deviates_fill_the_quantiles_of_the_normal_distribution() {
        let mut draws = draws(0);
        let n = 200_000;
        let mut below = [0.0; 5];
        let cuts = [-2.0, -1.0, 0.0, 1.0, 2.0];
        for _ in 0..n {
            let x = draws.normal();
            for (count, cut) in below.iter_mut().zip(cuts) {
                *count += f64::from(x < cut);
            }
        }
        for (count, cut) in below.iter().zip(cuts) {
            let p = 0.5 * libm::erfc(-cut / std::f64::consts::SQRT_2);
            let z = (count - f64::from(n) * p) / (f64::from(n) * p * (1.0 - p)).sqrt();
            assert!(z.abs() < 4.0, "{z} standard errors below {cut}");
        }
    }

    #[test]
    fn poisson_counts_have_their_mean_as_mean_and_variance() {
        for (i, mean) in [1e-3, 0.13, 1.0, 9.99, 10.0, 11.5, 80.0, 1e4, 9e6]
            .into_iter()
            .enumerate()
        {
            let n = 100_000;
            let mut draws = draws(i);
            let (found, variance) = moments(n, || draws.poisson(mean));
            let z_mean = (found - mean) / (mean / n as f64).sqrt();
            // Var of the sample variance: (mu_4 − mu_2²)/n with mu_4 = mean + 3 mean².
            let sd = ((mean + 2.0 * mean * mean) / n as f64).sqrt();
            let z_variance = (variance - mean) / sd;
            assert!(
                z_mean.abs() < 4.0 && z_variance.abs() < 4.0,
                "{mean}: {z_mean}, {z_variance}"
            );
        }
    }

    #[test]
    fn poisson_counts_have_the_poisson_distribution() {
        for (i, mean) in [0.3, 6.0, 10.0, 25.0].into_iter().enumerate() {
            let n = 200_000;
            let mut draws = draws(100 + i);
            let mut seen = [0.0; 100];
            for _ in 0..n {
                seen[draws.poisson(mean) as usize] += 1.0;
            }
            let mut chi2 = 0.0;
            let mut cells = 0.0_f64;
            for (count, found) in seen.iter().enumerate() {
                let k = count as f64;
                let wanted = f64::from(n) * (k * mean.ln() - mean - libm::lgamma(k + 1.0)).exp();
                if wanted > 5.0 {
                    chi2 += (found - wanted) * (found - wanted) / wanted;
                    cells += 1.0;
                }
            }
            assert!(
                chi2 < cells + 4.0 * (2.0 * cells).sqrt(),
                "{mean}: chi2 {chi2} of {cells}"
            );
        }
    }

    #[test]
    fn nothing_is_expected_where_the_rate_is_zero() {
        let mut draws = draws(0);
        assert!((0..100).all(|_| draws.poisson(0.0) == 0.0));
    }
}
