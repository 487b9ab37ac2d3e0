//! The backward pass of the network.

use calcium::network::grid::Normalised;
use calcium::network::layers::{Layers, N_TRAITS, Tape};
use gru::kernels::{
    BlockGradients, Isa, add_pool_gradient, convolution_gradient, gated_block_gradient,
};

use crate::loss::Loss;

/// The gradient of a loss by every parameter, in the order of the parameters.
pub fn gradient(layers: &Layers, chunk: &Normalised, tape: &Tape, loss: &Loss) -> Vec<f32> {
    let (isa, n_bins) = (Isa::best(), chunk.x.len());
    let (architecture, places) = (layers.architecture(), layers.places());
    let mut sums = vec![0.0; layers.parameters.len()];

    let last = &tape.states[tape.states.len() - 1];
    let [taps, _] = layers.pair(&places.output);
    let shape = architecture.output(n_bins);
    let output = convolution_gradient(isa, shape, last, taps, &loss.frames, true);
    sums[places.output[0].clone()].copy_from_slice(&output.w);
    sums[places.output[1].clone()].copy_from_slice(&output.row);
    let mut d_state = output.x.unwrap_or_default();
    let d_pooled = traits_gradient(layers, tape, loss, &mut sums);
    add_pool_gradient(last, &chunk.present, &tape.pooled, &d_pooled, &mut d_state);

    for (block, trace) in tape.blocks.iter().enumerate().rev() {
        let [taps, context, bias, mix, mix_bias] = sums
            .get_disjoint_mut(places.blocks[block].clone())
            .expect("tensors do not overlap");
        gated_block_gradient(
            isa,
            architecture.block(block, n_bins),
            layers.block(block),
            &tape.states[block],
            &chunk.present,
            trace,
            &mut d_state,
            BlockGradients {
                taps,
                context,
                bias,
                mix,
                mix_bias,
            },
        );
    }
    let [taps, _] = layers.pair(&places.input);
    let shape = architecture.input(n_bins);
    let input = convolution_gradient(isa, shape, &tape.features, taps, &d_state, false);
    sums[places.input[0].clone()].copy_from_slice(&input.w);
    sums[places.input[1].clone()].copy_from_slice(&input.row);
    sums
}

/// The gradient of the pooled last state; that of the traits' weights is written.
fn traits_gradient(layers: &Layers, tape: &Tape, loss: &Loss, sums: &mut [f32]) -> Vec<f32> {
    let [weight_at, bias_at] = &layers.places().traits;
    let [weight, _] = layers.pair(&layers.places().traits);
    sums[bias_at.clone()].copy_from_slice(&loss.traits);
    let rows = sums[weight_at.clone()].chunks_exact_mut(2 * N_TRAITS);
    for (row, pooled) in rows.zip(&tape.pooled) {
        for (sum, d) in row.iter_mut().zip(&loss.traits) {
            *sum = pooled * d;
        }
    }
    let by_pooled = |row: &[f32]| row.iter().zip(&loss.traits).map(|(w, d)| w * d).sum();
    weight.chunks_exact(2 * N_TRAITS).map(by_pooled).collect()
}

#[cfg(test)]
mod tests {
    use calcium::network::layers::{Architecture, N_OUTPUTS, Raw};

    use super::*;
    use crate::draws::{Draws, Purpose};

    /// A loss that is linear in what the network says.
    fn linear(raw: &Raw, loss: &Loss) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        dot(&raw.frames, &loss.frames) + dot(&raw.traits, &loss.traits)
    }

    /// Along random directions in each tensor, central differences match the gradient.
    #[test]
    fn the_gradient_matches_central_differences() {
        let n = 60;
        let mut layers = Layers::zeros(Architecture {
            width: 6,
            input_taps: 5,
            block_taps: 3,
            output_taps: 3,
            dilations: vec![1, 4, 9],
        });
        let mut draws = Draws::new(3, Purpose::Weights, 0);
        let mut random = |n: usize, scale: f64| -> Vec<f32> {
            (0..n)
                .map(|_| (scale * (draws.uniform() - 0.5)) as f32)
                .collect()
        };
        layers.parameters = random(layers.parameters.len(), 0.8);
        let chunk = Normalised {
            x: random(n, 9.0),
            present: (0..n).map(|t| f32::from(u8::from(t % 5 != 2))).collect(),
            zero: 0.0,
            noise_sd: 1.0,
        };
        let traits = random(2 * N_TRAITS, 2.0);
        let loss = Loss {
            value: 0.0,
            frames: random(n * N_OUTPUTS, 2.0),
            traits: std::array::from_fn(|index| traits[index]),
        };
        let (_, tape) = layers.record(&chunk);
        let got = gradient(&layers, &chunk, &tape, &loss);
        for place in layers.architecture().tensors() {
            let direction = random(place.range.len(), 2.0);
            let step = 2e-3;
            let at = |step: f32| {
                let mut moved = layers.clone();
                let to = moved.parameters[place.range.clone()].iter_mut();
                to.zip(&direction).for_each(|(to, d)| *to += step * d);
                linear(&moved.infer(&chunk), &loss)
            };
            let want = (at(step) - at(-step)) / (2.0 * f64::from(step));
            let along = got[place.range.clone()].iter().zip(&direction);
            let found: f64 = along.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let tolerance = 0.01 * (1.0 + want.abs());
            assert!(
                (found - want).abs() < tolerance,
                "{}: {found}, {want}",
                place.name
            );
        }
    }
}
