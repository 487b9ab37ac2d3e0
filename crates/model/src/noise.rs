//! Seeded random tensors: posterior noise, dropout masks and initial weights.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Values drawn from one stream of the generator; fixes the bits whatever the thread count.
const CHUNK: usize = 8192;

/// A source of random tensors in which seed, step and order of the calls fix every bit.
///
/// Each chunk of each tensor has a ChaCha8 stream of its own, so that tensors fill in parallel
/// and a resumed training continues with the numbers an uninterrupted one would have drawn.
#[derive(Debug)]
pub struct Noise {
    key: [u8; 32],
    next_stream: u64,
    device: Device,
}

impl Noise {
    /// The noise of training step (or sample) `step` under `seed`, as tensors on `device`.
    pub fn new(seed: u64, step: u64, device: &Device) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&step.to_le_bytes());
        Self {
            key,
            next_stream: 0,
            device: device.clone(),
        }
    }

    /// Standard normal values.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        self.tensor(shape, |rng| StandardNormal.sample(rng))
    }

    /// Uniform values in [0, 1), for code that runs beside the tensors.
    pub fn uniforms(&mut self, n: usize) -> Vec<f32> {
        self.values(n, RngExt::random::<f32>)
    }

    /// Standard normal values, for code that runs beside the tensors.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        self.values(n, |rng| StandardNormal.sample(rng))
    }

    /// Ones with probability `probability`, zeros elsewhere.
    pub fn bernoulli<const D: usize>(&mut self, shape: [usize; D], probability: f64) -> Tensor<D> {
        let probability = probability as f32;
        self.tensor(shape, |rng| f32::from(rng.random::<f32>() < probability))
    }

    /// Inverted dropout: `x` with each element zeroed with `probability`, the rest scaled up.
    pub fn dropout<const D: usize>(&mut self, x: Tensor<D>, probability: f64) -> Tensor<D> {
        if probability == 0.0 {
            return x;
        }
        let keep = 1.0 - probability;
        let scale = self.bernoulli(x.dims(), keep).div_scalar(keep);
        x * scale
    }

    fn tensor<const D: usize>(
        &mut self,
        shape: [usize; D],
        draw: impl Fn(&mut ChaCha8Rng) -> f32 + Sync,
    ) -> Tensor<D> {
        let values = self.values(shape.iter().product(), draw);
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    fn values(&mut self, n: usize, draw: impl Fn(&mut ChaCha8Rng) -> f32 + Sync) -> Vec<f32> {
        let mut values = vec![0.0; n];
        let first = self.next_stream;
        let key = self.key;
        values
            .par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(chunk, values)| {
                let mut rng = ChaCha8Rng::from_seed(key);
                rng.set_stream(first + chunk as u64);
                values.fill_with(|| draw(&mut rng));
            });
        self.next_stream += n.div_ceil(CHUNK) as u64;
        values
    }
}
