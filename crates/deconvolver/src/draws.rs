//! Random numbers of the training: each purpose and index has its own stream.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What random numbers are for.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// The weights at the start.
    Weights = 1,
    /// The order of a pool's traces.
    Order,
    /// Which part of a trace is used.
    Part,
}

/// The random numbers of one purpose and index.
pub struct Draws(ChaCha8Rng);

impl Draws {
    pub fn new(seed: u64, purpose: Purpose, index: usize) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = purpose as u8;
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index as u64);
        Self(rng)
    }

    /// Uniform on [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (0.5 * f64::EPSILON)
    }

    /// Uniform on 0..n, for n ≥ 1.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n - 1)
    }

    /// The numbers 0..n in random order.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}
