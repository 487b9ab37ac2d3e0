//! Seeded random tensors: posterior noise, dropout masks and initial weights.

use burn::tensor::{Device, Tensor, TensorData};
use gru::kernels::{Isa, box_muller, in_chunks};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Values drawn from one stream of the generator; fixes the bits whatever the thread count.
const CHUNK: usize = 8192;
/// Elements of a mask, or normal values, that are drawn together.
const BLOCK: usize = 512;

/// What random numbers are for: each purpose has a stream of its own under every seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Samples and dropout of an optimiser step.
    Step(usize),
    /// Fresh weights.
    Weights,
    /// Fresh weights of a deep level that has collapsed so many times.
    Reset(usize),
    /// Validations, which all draw the same.
    Validation,
    /// The spikes from which the deep level learns alone.
    Spikes,
    /// Posterior samples of the batch that begins with this trial.
    Posterior(usize),
    /// The search for the initial conditions of the batch that begins with this trial.
    Search(usize),
}

impl Stream {
    /// Purpose, and number within it.
    fn key(self) -> [u64; 2] {
        match self {
            Self::Step(step) => [0, step as u64],
            Self::Weights => [1, 0],
            Self::Reset(reset) => [2, reset as u64],
            Self::Validation => [3, 0],
            Self::Spikes => [4, 0],
            Self::Posterior(first_trial) => [5, first_trial as u64],
            Self::Search(first_trial) => [6, first_trial as u64],
        }
    }
}

/// A source of random tensors in which seed, stream and order of the calls fix every bit.
///
/// Each chunk of each tensor has a generator of its own (xoshiro256++, four times as fast as
/// ChaCha8), seeded from a ChaCha8 stream of its own, so that tensors fill in parallel and a resumed
/// training continues with the numbers an uninterrupted one would have drawn.
#[derive(Debug)]
pub struct Noise {
    key: [u8; 32],
    next_stream: u64,
    device: Device,
}

impl Noise {
    /// The noise of `stream` under `seed`, as tensors on `device`.
    pub fn new(seed: u64, stream: Stream, device: &Device) -> Self {
        let [purpose, number] = stream.key();
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&number.to_le_bytes());
        key[24..].copy_from_slice(&purpose.to_le_bytes());
        Self {
            key,
            next_stream: 0,
            device: device.clone(),
        }
    }

    /// The noise of one of the shards that a batch is cut into; the first one's is the batch's.
    #[must_use]
    pub(crate) fn of_shard(mut self, shard: usize) -> Self {
        self.key[16..24].copy_from_slice(&(shard as u64).to_le_bytes());
        self
    }

    /// Where the tensors are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Standard normal values, within ±5.8.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        let values = self.normals(shape.iter().product());
        self.tensor(values, shape)
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
        let values = self.mask(shape.iter().product(), probability, 1.0);
        self.tensor(values, shape)
    }

    /// Two masks of which one is zero where the other is not: the first 1/`probability` with
    /// `probability`, in steps of 2⁻¹⁶, the second 1/(1 − `probability`) elsewhere.
    pub fn either<const D: usize>(
        &mut self,
        shape: [usize; D],
        probability: f64,
    ) -> [Tensor<D>; 2] {
        let first = self.mask(shape.iter().product(), probability, inverse(probability));
        let value = inverse(1.0 - probability);
        let second = in_chunks(first.len(), CHUNK, |chunk, second| {
            for (second, first) in second.iter_mut().zip(&first[chunk * CHUNK..]) {
                *second = f32::from(u8::from(*first == 0.0)) * value;
            }
        });
        [first, second].map(|values| self.tensor(values, shape))
    }

    /// What inverted dropout multiplies `n` elements by: 0 with `probability`, else
    /// 1/(1 − `probability`). Nothing if that is 1 always.
    pub fn dropout(&mut self, n: usize, probability: f64) -> Option<Vec<f32>> {
        let keep = 1.0 - probability;
        (probability > 0.0).then(|| self.mask(n, keep, inverse(keep)))
    }

    /// Inverted dropout: `x` with each element zeroed with `probability`, the rest scaled up.
    pub fn drop_out<const D: usize>(&mut self, x: Tensor<D>, probability: f64) -> Tensor<D> {
        let shape = x.dims();
        match self.dropout(shape.iter().product(), probability) {
            Some(scale) => x * self.tensor(scale, shape),
            None => x,
        }
    }

    /// `value` with probability `probability`, in steps of 2⁻¹⁶; zeros elsewhere.
    fn mask(&mut self, n: usize, probability: f64, value: f32) -> Vec<f32> {
        let below = (probability * 65536.0).round() as u32;
        self.values(n, |rng, values| {
            let mut bytes = [0; 2 * BLOCK];
            for block in values.chunks_mut(BLOCK) {
                rng.fill_bytes(&mut bytes);
                for (element, &[low, high]) in block.iter_mut().zip(bytes.as_chunks().0) {
                    let drawn = u32::from(u16::from_le_bytes([low, high]));
                    // No branch: half of them would be foretold wrongly.
                    *element = f32::from(u8::from(drawn < below)) * value;
                }
            }
        })
    }

    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    fn values(
        &mut self,
        n: usize,
        fill: impl Fn(&mut Xoshiro256PlusPlus, &mut [f32]) + Sync,
    ) -> Vec<f32> {
        let first = self.next_stream;
        let key = self.key;
        self.next_stream += n.div_ceil(CHUNK) as u64;
        in_chunks(n, CHUNK, |chunk, values| {
            let mut seeds = ChaCha8Rng::from_seed(key);
            seeds.set_stream(first + chunk as u64);
            fill(&mut Xoshiro256PlusPlus::from_rng(&mut seeds), values);
        })
    }
}

fn inverse(probability: f64) -> f32 {
    (1.0 / probability) as f32
}

fn fill_normal(rng: &mut Xoshiro256PlusPlus, values: &mut [f32]) {
    let (mut bytes, mut block) = ([0; 4 * BLOCK], [0.0; BLOCK]);
    for values in values.chunks_mut(BLOCK) {
        rng.fill_bytes(&mut bytes);
        for (uniform, bytes) in block.iter_mut().zip(bytes.as_chunks().0) {
            // The middle of one of 2²³ steps, which f32 holds exactly: never 0 or 1.
            let drawn = (u32::from_le_bytes(*bytes) >> 9) as i32;
            *uniform = (drawn as f32 + 0.5) * (1.0 / (1 << 23) as f32);
        }
        box_muller(Isa::best(), &mut block);
        values.copy_from_slice(&block[..values.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise() -> Noise {
        Noise::new(3, Stream::Weights, &Device::flex())
    }

    /// Mean of a power of the values.
    fn moment(values: &[f32], power: i32) -> f64 {
        let powers = values.iter().map(|&value| f64::from(value).powi(power));
        powers.sum::<f64>() / values.len() as f64
    }

    #[test]
    fn normal_values_have_the_moments_of_a_normal_distribution() {
        let values = noise().normals(1_000_001);
        for (power, want) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
            let got = moment(&values, power);
            assert!((got - want).abs() < 0.02, "moment {power} is {got}");
        }
        let neighbours: f64 = values.windows(2).map(|w| f64::from(w[0] * w[1])).sum();
        assert!((neighbours / values.len() as f64).abs() < 0.005);
    }

    #[test]
    fn masks_keep_the_mean_and_exclude_each_other() {
        let values = |tensor: &Tensor<1>| tensor.to_data().try_to_vec::<f32>().unwrap();
        let [first, second] = noise().either([500_000], 0.7);
        let (first, second) = (values(&first), values(&second));
        for mask in [&first, &second] {
            assert!((moment(mask, 1) - 1.0).abs() < 0.01);
        }
        let mut pairs = first.iter().zip(&second);
        assert!(pairs.all(|(a, b)| (*a == 0.0) != (*b == 0.0)));
        let dropout = noise().dropout(500_000, 0.1).unwrap();
        assert!((moment(&dropout, 1) - 1.0).abs() < 0.01);
        let dropped = dropout.iter().filter(|value| **value == 0.0).count();
        assert!((dropped as f64 / 5e5 - 0.1).abs() < 0.003);
        assert!(noise().dropout(10, 0.0).is_none());
    }

    #[test]
    fn seed_stream_and_order_fix_every_bit() {
        let draw = |seed, stream| {
            let mut noise = Noise::new(seed, stream, &Device::flex());
            (noise.normals(20_000), noise.uniforms(3), noise.normals(5))
        };
        let step = Stream::Step(2);
        assert_eq!(draw(1, step), draw(1, step));
        assert_ne!(draw(1, step).0, draw(2, step).0);
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        assert_eq!(draw(1, step), one_thread.unwrap().install(|| draw(1, step)));
    }

    #[test]
    fn no_two_purposes_share_their_noise() {
        let streams = [
            Stream::Step(0),
            Stream::Step(1),
            Stream::Weights,
            Stream::Reset(0),
            Stream::Reset(1),
            Stream::Validation,
            Stream::Spikes,
            Stream::Posterior(0),
            Stream::Posterior(1),
            Stream::Search(0),
            Stream::Search(1),
        ];
        let of = |stream| Noise::new(1, stream, &Device::flex()).normals(4);
        for (index, stream) in streams.into_iter().enumerate() {
            for other in &streams[..index] {
                assert_ne!(of(stream), of(*other), "{stream:?} and {other:?}");
            }
        }
        let shard = Noise::new(1, Stream::Step(0), &Device::flex()).of_shard(1);
        assert_ne!({ shard }.normals(4), of(Stream::Step(0)));
    }
}
