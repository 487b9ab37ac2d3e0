//! The network: its sizes, its weights and its forward pass over one chunk of a trace.

use std::ops::Range;

use gru::kernels::{
    BlockShape, BlockSlices, BlockTrace, ConvolutionShape, Isa, convolution, gated_block,
    pool_channels,
};

use super::grid::Normalised;

/// Channels of the input: the trace compressed for bursts, for single spikes, and where there is data.
pub const N_FEATURES: usize = 3;

/// Channels of the output, see [`Raw::frames`].
pub const N_OUTPUTS: usize = 2;

/// What the network says of a whole chunk, see [`Raw::traits`].
pub const N_TRAITS: usize = 3;

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Channels of the blocks.
    pub width: usize,
    /// Taps of the first convolution: odd.
    pub input_taps: usize,
    /// Taps of each block: odd.
    pub block_taps: usize,
    /// Taps of the last convolution: odd.
    pub output_taps: usize,
    /// Bins between taps, a block each.
    pub dilations: Vec<usize>,
}

/// A weight tensor: its name, its shape, and where it lies among all parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlace {
    /// Its name in the file.
    pub name: String,
    /// Sizes of its axes, outputs last.
    pub shape: Vec<usize>,
    /// Numbers summed up in each output: 0 for biases.
    pub fan_in: usize,
    /// Its part of the parameters.
    pub range: Range<usize>,
}

impl Architecture {
    /// Every weight tensor, in the order of the parameters.
    pub fn tensors(&self) -> Vec<TensorPlace> {
        let (c, wide) = (self.width, 2 * self.width);
        let mut places: Vec<TensorPlace> = Vec::new();
        let mut add = |name: String, shape: Vec<usize>, fan_in: usize| {
            let start = places.last().map_or(0, |last| last.range.end);
            let range = start..start + shape.iter().product::<usize>();
            places.push(TensorPlace {
                name,
                shape,
                fan_in,
                range,
            });
        };
        let taps = self.input_taps;
        add(
            "input.taps".into(),
            vec![taps, N_FEATURES, c],
            taps * N_FEATURES,
        );
        add("input.bias".into(), vec![c], 0);
        for block in 0..self.dilations.len() {
            let taps = self.block_taps;
            add(format!("block.{block}.taps"), vec![taps, c, wide], taps * c);
            add(format!("block.{block}.context"), vec![wide, wide], wide);
            add(format!("block.{block}.bias"), vec![wide], 0);
            add(format!("block.{block}.mix"), vec![c, c], c);
            add(format!("block.{block}.mix_bias"), vec![c], 0);
        }
        let taps = self.output_taps;
        add("output.taps".into(), vec![taps, c, N_OUTPUTS], taps * c);
        add("output.bias".into(), vec![N_OUTPUTS], 0);
        add("traits.weight".into(), vec![wide, 2 * N_TRAITS], wide);
        add("traits.bias".into(), vec![2 * N_TRAITS], 0);
        places
    }

    /// Numbers of all tensors together.
    pub fn n_parameters(&self) -> usize {
        self.tensors().last().map_or(0, |last| last.range.end)
    }

    /// Sizes of the first convolution.
    pub fn input(&self, n_bins: usize) -> ConvolutionShape {
        ConvolutionShape {
            n_bins,
            n_inputs: N_FEATURES,
            n_outputs: self.width,
            n_taps: self.input_taps,
            dilation: 1,
        }
    }

    /// Sizes of a block.
    pub fn block(&self, block: usize, n_bins: usize) -> BlockShape {
        BlockShape {
            n_bins,
            width: self.width,
            n_taps: self.block_taps,
            dilation: self.dilations[block],
        }
    }

    /// Sizes of the last convolution.
    pub fn output(&self, n_bins: usize) -> ConvolutionShape {
        ConvolutionShape {
            n_bins,
            n_inputs: self.width,
            n_outputs: N_OUTPUTS,
            n_taps: self.output_taps,
            dilation: 1,
        }
    }
}

/// Weights by what they are for; of parameters or, mutably, of their gradients.
#[derive(Clone, Debug)]
pub struct Places {
    /// Taps and bias of the first convolution.
    pub input: [Range<usize>; 2],
    /// Of each block: taps, context, bias, mix, bias of the mix.
    pub blocks: Vec<[Range<usize>; 5]>,
    /// Taps and bias of the last convolution.
    pub output: [Range<usize>; 2],
    /// Weights and bias of the traits.
    pub traits: [Range<usize>; 2],
}

impl Places {
    fn new(architecture: &Architecture) -> Self {
        let mut ranges = architecture.tensors().into_iter().map(|place| place.range);
        let mut next = || ranges.next().unwrap_or_default();
        Self {
            input: [next(), next()],
            blocks: architecture
                .dilations
                .iter()
                .map(|_| [next(), next(), next(), next(), next()])
                .collect(),
            output: [next(), next()],
            traits: [next(), next()],
        }
    }
}

/// Sizes and weights.
#[derive(Clone, Debug)]
pub struct Layers {
    architecture: Architecture,
    places: Places,
    /// Every weight, in the order of [`Architecture::tensors`].
    pub parameters: Vec<f32>,
}

/// What the network says of a chunk, before it is brought to units.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Per working frame, before softplus: expected spikes, and how many times more than Poisson's
    /// their variance is, less one. `[time, 2]`.
    pub frames: Vec<f32>,
    /// Natural logarithms of rise (s), decay (s) and the peak of a single spike's transient (noise SDs
    /// of a working frame), then the logarithms of their standard errors.
    pub traits: [f32; 2 * N_TRAITS],
}

/// What a backward pass needs of a forward pass.
#[derive(Debug)]
pub struct Tape {
    /// The input, `[time, feature]`.
    pub features: Vec<f32>,
    /// The input of each block and the output of the last, `[time, channel]` each.
    pub states: Vec<Vec<f32>>,
    /// What each block kept.
    pub blocks: Vec<BlockTrace>,
    /// Means and root mean squares of the last state.
    pub pooled: Vec<f32>,
}

impl Layers {
    /// A network of these sizes with all weights 0.
    pub fn zeros(architecture: Architecture) -> Self {
        Self {
            places: Places::new(&architecture),
            parameters: vec![0.0; architecture.n_parameters()],
            architecture,
        }
    }

    /// Its sizes.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Where its weights lie.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The weights of a block.
    pub fn block(&self, block: usize) -> BlockSlices<'_> {
        let [taps, context, bias, mix, mix_bias] = &self.places.blocks[block];
        BlockSlices {
            taps: &self.parameters[taps.clone()],
            context: &self.parameters[context.clone()],
            bias: &self.parameters[bias.clone()],
            mix: &self.parameters[mix.clone()],
            mix_bias: &self.parameters[mix_bias.clone()],
        }
    }

    /// Weights and bias of one of the other layers.
    pub fn pair(&self, places: &[Range<usize>; 2]) -> [&[f32]; 2] {
        places
            .each_ref()
            .map(|place| &self.parameters[place.clone()])
    }

    /// The network's word on a chunk.
    pub fn infer(&self, chunk: &Normalised) -> Raw {
        self.run(chunk, false).0
    }

    /// [`Self::infer`], and what the backward pass needs.
    pub fn record(&self, chunk: &Normalised) -> (Raw, Tape) {
        self.run(chunk, true)
    }

    fn run(&self, chunk: &Normalised, keep: bool) -> (Raw, Tape) {
        let (isa, n_bins) = (Isa::best(), chunk.x.len());
        let features = features(chunk);
        let [taps, bias] = self.pair(&self.places.input);
        let mut state = convolution(isa, self.architecture.input(n_bins), &features, taps, bias);
        let (mut states, mut blocks) = (Vec::new(), Vec::new());
        for block in 0..self.architecture.dilations.len() {
            let shape = self.architecture.block(block, n_bins);
            let weights = self.block(block);
            let (next, kept) = gated_block(isa, shape, weights, &state, &chunk.present, keep);
            let before = std::mem::replace(&mut state, next);
            if let Some(kept) = kept {
                states.push(before);
                blocks.push(kept);
            }
        }
        let [taps, bias] = self.pair(&self.places.output);
        let frames = convolution(isa, self.architecture.output(n_bins), &state, taps, bias);
        let pooled = pool_channels(&state, &chunk.present, self.architecture.width);
        let raw = Raw {
            frames,
            traits: self.traits(&pooled),
        };
        states.push(state);
        let tape = Tape {
            features,
            states,
            blocks,
            pooled,
        };
        (raw, tape)
    }

    fn traits(&self, pooled: &[f32]) -> [f32; 2 * N_TRAITS] {
        let [weight, bias] = self.pair(&self.places.traits);
        std::array::from_fn(|output| {
            let column = weight.iter().skip(output).step_by(2 * N_TRAITS);
            let products = column.zip(pooled).map(|(weight, pooled)| weight * pooled);
            bias[output] + products.sum::<f32>()
        })
    }
}

/// The input's channels, `[time, feature]`.
fn features(chunk: &Normalised) -> Vec<f32> {
    let of = |(&x, &present): (&f32, &f32)| [libm::asinhf(x / 2.0), libm::tanhf(x / 4.0), present];
    chunk.x.iter().zip(&chunk.present).flat_map(of).collect()
}

/// ln(1 + eˣ).
pub fn softplus(x: f32) -> f32 {
    x.max(0.0) + libm::log1pf(libm::expf(-x.abs()))
}
