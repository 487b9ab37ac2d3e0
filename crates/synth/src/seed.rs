//! One root seed, named streams: who draws what, with the same bits everywhere.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    InitialState,
    Loadings,
    Noise,
    Pulse,
    Recurrence,
    Spikes,
}

impl Stream {
    /// Part of the key: renaming a stream changes every benchmark drawn from it.
    const fn name(self) -> &'static [u8] {
        match self {
            Self::InitialState => b"initial state",
            Self::Loadings => b"loadings",
            Self::Noise => b"noise",
            Self::Pulse => b"pulse",
            Self::Recurrence => b"recurrence",
            Self::Spikes => b"spikes",
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
