//! Spikes by a network that was trained on simulated traces alone: any frame rate, any indicator, no settings.

pub mod grid;
pub mod layers;
mod weights;

use std::sync::LazyLock;

use rayon::prelude::*;

use crate::{CalciumError, Sample, error};
use grid::{Grid, Normalised, WORKING_RATE_HZ};
use layers::{Layers, N_OUTPUTS, N_TRAITS, Raw, softplus};

pub use weights::{WeightsError, from_bytes, to_bytes};

/// The weights that come with the crate.
pub const WEIGHTS: &[u8] = include_bytes!("../../weights/spikes.safetensors");

static BUNDLED: LazyLock<SpikeNetwork> = LazyLock::new(|| {
    let members = from_bytes(WEIGHTS).expect("the crate's own weights");
    SpikeNetwork { members }
});

/// Infers spikes from fluorescence.
///
/// The trace is brought to 30 frames a second and to a scale of its own, in chunks of at most 200 s
/// ([`grid`]); gated dilated convolutions see some 6 s before and after each frame and the
/// statistics of the whole chunk ([`layers`]). What several networks say is averaged.
///
/// # Example
/// ```
/// use calcium::network::SpikeNetwork;
/// use calcium::{Ar1, Discretisation};
///
/// let mut spikes = [0.0; 900];
/// (spikes[200], spikes[500], spikes[720]) = (1.0, 2.0, 1.0);
/// let calcium = Ar1::from_tau(0.5, 1.0 / 30.0, Discretisation::Exact)?.convolve(&spikes);
/// // Something that looks like noise: the network never saw a trace without it.
/// let noise = |i: usize| (i * i * 7919 % 1009) as f64 / 5045.0;
/// let trace: Vec<f64> = calcium.iter().enumerate().map(|(i, c)| 100.0 + c + noise(i)).collect();
///
/// let found = SpikeNetwork::bundled().infer(&trace, 30.0)?;
/// let strongest = (0..900).max_by(|&a, &b| found.expected[a].total_cmp(&found.expected[b]));
/// assert!((499..=502).contains(&strongest.unwrap()));
/// # Ok::<(), calcium::CalciumError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SpikeNetwork {
    members: Vec<Layers>,
}

/// What the network found in one trace.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSpikes {
    /// Expected spikes of each frame, `[frame]`; NaN where the trace has no data.
    pub expected: Vec<f32>,
    /// The share of each frame in the variance of the number of spikes: over a second or so
    /// the number has the sum of `expected` as mean and the sum of this as variance, `[frame]`.
    pub variance: Vec<f32>,
    /// What was found out about the neuron; None where the trace has no data or never changes.
    pub neuron: Option<NeuronTraits>,
}

/// What the network says of a neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeuronTraits {
    /// Time constant of the rise, in seconds.
    pub rise_s: LogNormal,
    /// Time constant of the decay, in seconds.
    pub decay_s: LogNormal,
    /// Peak of a single spike's transient, in the trace's units.
    pub spike_size: LogNormal,
    /// SD of the noise in a frame of 1/30 s, in the trace's units.
    pub noise_sd: f64,
    /// What counts as zero: below it lie a fifth of the frames, in the trace's units.
    pub zero: f64,
}

/// A positive quantity and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogNormal {
    /// Its median.
    pub median: f64,
    /// SD of its natural logarithm.
    pub log_sd: f64,
}

/// What the network said of one chunk, on the working grid.
struct ChunkSpikes {
    expected: Vec<f32>,
    variance: Vec<f32>,
    traits: [f32; 2 * N_TRAITS],
    noise_sd: f64,
    zero: f64,
    /// Working frames with data.
    n_present: f64,
}

impl SpikeNetwork {
    /// The longest frames, seconds, in which it looks for spikes: in longer ones transients come and go.
    pub const LONGEST_FRAME_S: f64 = 2.0;

    /// The network that comes with the crate.
    #[must_use]
    pub fn bundled() -> &'static Self {
        &BUNDLED
    }

    /// The networks that are averaged, each alone: to see what the mean is worth.
    #[must_use]
    pub fn each(&self) -> Vec<Self> {
        let alone = |member: &Layers| Self {
            members: vec![member.clone()],
        };
        self.members.iter().map(alone).collect()
    }

    /// Infers the spikes of one trace. Chunks of long traces run in parallel.
    ///
    /// # Shapes
    /// `trace`: `[frame]`, with NaN where there are no data.
    /// # Units
    /// `rate_hz`: frames per second. The trace may have any unit and offset.
    /// # Errors
    /// [`CalciumError::EmptyTrace`], [`CalciumError::Infinite`]; [`CalciumError::NotPositive`] and
    /// [`CalciumError::FramesTooLong`] for the rate.
    pub fn infer<T: Sample>(
        &self,
        trace: &[T],
        rate_hz: f64,
    ) -> Result<NetworkSpikes, CalciumError> {
        error::positive("rate_hz", rate_hz)?;
        // Every frame is filled with some at 30 Hz.
        if rate_hz < 1.0 / Self::LONGEST_FRAME_S {
            return Err(CalciumError::FramesTooLong {
                dt_s: 1.0 / rate_hz,
                longest_s: Self::LONGEST_FRAME_S,
            });
        }
        check(trace)?;
        let grid = Grid::new(trace.len(), rate_hz);
        let working = grid.sample(trace);
        let chunks = grid::chunks(working.len());
        let found: Vec<Option<ChunkSpikes>> = chunks
            .par_iter()
            .map(|chunk| self.infer_chunk(&working[chunk.clone()]))
            .collect();
        let mut expected = vec![0.0; working.len()];
        let mut variance = vec![0.0; working.len()];
        for (index, chunk) in chunks.iter().enumerate() {
            if let Some(found) = &found[index] {
                let weights = grid::fade(&chunks, index);
                add_weighted(&found.expected, &weights, &mut expected[chunk.clone()]);
                add_weighted(&found.variance, &weights, &mut variance[chunk.clone()]);
            }
        }
        let missing: Vec<bool> = trace.iter().map(|y| y.to_f64().is_nan()).collect();
        Ok(NetworkSpikes {
            expected: marked(grid.sums(&expected), &missing),
            variance: marked(grid.sums(&variance), &missing),
            neuron: neuron(&found),
        })
    }

    /// [`Self::infer`] for traces that lie one after the other, in parallel.
    ///
    /// # Shapes
    /// `traces`: `[trace, frame]`, of `n_frames` each.
    /// # Errors
    /// As [`Self::infer`], naming the trace; [`CalciumError::NotWholeTraces`].
    pub fn infer_many<T: Sample>(
        &self,
        traces: &[T],
        n_frames: usize,
        rate_hz: f64,
    ) -> Result<Vec<NetworkSpikes>, CalciumError> {
        if n_frames == 0 || !traces.len().is_multiple_of(n_frames) {
            return Err(CalciumError::NotWholeTraces {
                n_samples: traces.len(),
                n_bins: n_frames,
            });
        }
        traces
            .par_chunks_exact(n_frames)
            .enumerate()
            .map(|(trace, samples)| {
                self.infer(samples, rate_hz)
                    .map_err(|source| CalciumError::InTrace {
                        trace,
                        source: Box::new(source),
                    })
            })
            .collect()
    }

    fn infer_chunk(&self, working: &[f32]) -> Option<ChunkSpikes> {
        let chunk = Normalised::of(working)?;
        let mut expected = vec![0.0; working.len()];
        let mut variance = vec![0.0; working.len()];
        let mut traits = [0.0; 2 * N_TRAITS];
        let share = 1.0 / self.members.len() as f32;
        for member in &self.members {
            let Raw {
                frames,
                traits: of_member,
            } = member.infer(&chunk);
            let (pairs, _) = frames.as_chunks::<N_OUTPUTS>();
            for (t, [mean, excess]) in pairs.iter().enumerate() {
                let mean = share * softplus(*mean);
                expected[t] += mean;
                variance[t] += mean * (1.0 + softplus(*excess));
            }
            for (sum, value) in traits.iter_mut().zip(of_member) {
                *sum += share * value;
            }
        }
        Some(ChunkSpikes {
            expected,
            variance,
            traits,
            noise_sd: f64::from(chunk.noise_sd),
            zero: f64::from(chunk.zero),
            n_present: chunk
                .present
                .iter()
                .map(|&present| f64::from(present))
                .sum(),
        })
    }
}

fn check<T: Sample>(trace: &[T]) -> Result<(), CalciumError> {
    if trace.is_empty() {
        return Err(CalciumError::EmptyTrace);
    }
    match trace.iter().position(|y| y.to_f64().is_infinite()) {
        Some(index) => Err(CalciumError::Infinite {
            index,
            value: trace[index].to_f64(),
        }),
        None => Ok(()),
    }
}

fn add_weighted(values: &[f32], weights: &[f32], sums: &mut [f32]) {
    for ((sum, value), weight) in sums.iter_mut().zip(values).zip(weights) {
        *sum += weight * value;
    }
}

/// NaN where there are no data.
fn marked(mut values: Vec<f32>, missing: &[bool]) -> Vec<f32> {
    for (value, _) in values
        .iter_mut()
        .zip(missing)
        .filter(|(_, missing)| **missing)
    {
        *value = f32::NAN;
    }
    values
}

/// Means over chunks, by their frames with data; they are no independent measurements, since each errs
/// the same way.
fn neuron(chunks: &[Option<ChunkSpikes>]) -> Option<NeuronTraits> {
    let total: f64 = chunks.iter().flatten().map(|chunk| chunk.n_present).sum();
    let mean = |value: &dyn Fn(&ChunkSpikes) -> f64| {
        let weighted = chunks
            .iter()
            .flatten()
            .map(|chunk| chunk.n_present * value(chunk));
        weighted.sum::<f64>() / total
    };
    let log_normal = |index: usize, log_unit: &dyn Fn(&ChunkSpikes) -> f64| LogNormal {
        median: libm::exp(mean(&|chunk| {
            f64::from(chunk.traits[index]) + log_unit(chunk)
        })),
        log_sd: libm::exp(mean(&|chunk| f64::from(chunk.traits[N_TRAITS + index]))),
    };
    (total > 0.0).then(|| NeuronTraits {
        rise_s: log_normal(0, &|_| 0.0),
        decay_s: log_normal(1, &|_| 0.0),
        spike_size: log_normal(2, &|chunk| libm::log(chunk.noise_sd)),
        noise_sd: mean(&|chunk| chunk.noise_sd),
        zero: mean(&|chunk| chunk.zero),
    })
}

/// Frames per second on which the network works; spikes cannot be told apart on a finer scale.
pub const RATE_HZ: f64 = WORKING_RATE_HZ;
