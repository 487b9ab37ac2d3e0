//! Seeded random tensors: posterior noise, dropout masks and initial weights.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Values drawn from one stream of the generator; fixes the bits whatever the thread count.
const CHUNK: usize = 8192;
/// Elements of a mask that are drawn together.
const MASK_BLOCK: usize = 512;

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
        self.tensor(shape, fill_normal)
    }

    /// Standard normal values, for code that runs beside the tensors.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        self.values(n, fill_normal)
    }

    /// Uniform values in [0, 1), for code that runs beside the tensors.
    pub fn uniforms(&mut self, n: usize) -> Vec<f32> {
        self.values(n, |rng, values| values.fill_with(|| rng.random()))
    }

    /// Ones with probability `probability`, in steps of 2⁻¹⁶; zeros elsewhere.
    pub fn bernoulli<const D: usize>(&mut self, shape: [usize; D], probability: f64) -> Tensor<D> {
        self.mask(shape, probability, 1.0)
    }

    /// Inverted dropout: `x` with each element zeroed with `probability`, the rest scaled up.
    pub fn dropout<const D: usize>(&mut self, x: Tensor<D>, probability: f64) -> Tensor<D> {
        if probability == 0.0 {
            return x;
        }
        let keep = 1.0 - probability;
        let scale = self.mask(x.dims(), keep, 1.0 / keep as f32);
        x * scale
    }

    /// `value` with probability `probability`, in steps of 2⁻¹⁶; zeros elsewhere.
    fn mask<const D: usize>(
        &mut self,
        shape: [usize; D],
        probability: f64,
        value: f32,
    ) -> Tensor<D> {
        let below = (probability * 65536.0).round() as u32;
        self.tensor(shape, |rng, values| {
            let mut bytes = [0; 2 * MASK_BLOCK];
            for block in values.chunks_mut(MASK_BLOCK) {
                rng.fill_bytes(&mut bytes);
                for (element, &[low, high]) in block.iter_mut().zip(bytes.as_chunks().0) {
                    let drawn = u32::from(u16::from_le_bytes([low, high]));
                    // No branch: half of them would be foretold wrongly.
                    *element = f32::from(u8::from(drawn < below)) * value;
                }
            }
        })
    }

    fn tensor<const D: usize>(
        &mut self,
        shape: [usize; D],
        fill: impl Fn(&mut ChaCha8Rng, &mut [f32]) + Sync,
    ) -> Tensor<D> {
        let values = self.values(shape.iter().product(), fill);
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    fn values(&mut self, n: usize, fill: impl Fn(&mut ChaCha8Rng, &mut [f32]) + Sync) -> Vec<f32> {
        let mut values = vec![0.0; n];
        let first = self.next_stream;
        let key = self.key;
        values
            .par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(chunk, values)| {
                let mut rng = ChaCha8Rng::from_seed(key);
                rng.set_stream(first + chunk as u64);
                fill(&mut rng, values);
            });
        self.next_stream += n.div_ceil(CHUNK) as u64;
        values
    }
}

fn fill_normal(rng: &mut ChaCha8Rng, values: &mut [f32]) {
    values.fill_with(|| StandardNormal.sample(rng));
}
