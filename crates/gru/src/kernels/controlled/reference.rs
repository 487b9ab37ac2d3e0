//! What the loop computes, in scalar code over any real number type.

use super::{ControlledShape, ControlledSlices};
use crate::kernels::GruSlices;
use crate::kernels::reference::{Real, affine, bounded, clip, gru_step, pairs};

/// Runs the loop, as `gru_generate_controlled`: factors, posterior and controller states.
pub fn controlled_reference<F: Real>(
    shape: ControlledShape,
    slices: ControlledSlices<'_, F>,
) -> [Vec<F>; 3] {
    let (spec, zero) = (slices.spec(), F::from_f64(0.0));
    let state = |all: &[F], trial: usize, width: usize| all[trial * width..][..width].to_vec();
    let trials = 0..shape.n_trials;
    let mut c: Vec<Vec<F>> = trials
        .clone()
        .map(|trial| state(slices.c0, trial, shape.controller))
        .collect();
    let mut g: Vec<Vec<F>> = trials
        .map(|trial| state(slices.g0, trial, shape.generator))
        .collect();
    let readout = |g: &[F]| affine(g, slices.w_factors, &vec![zero; shape.n_factors]);
    let mut f: Vec<Vec<F>> = g.iter().map(|g| readout(g)).collect();
    let mut outputs = [Vec::new(), Vec::new(), Vec::new()];
    for (bin, trial) in pairs(shape.n_bins, shape.n_trials) {
        let row = bin * shape.n_trials + trial;
        let controller = GruSlices {
            w_in: slices.w_feedback,
            w_rec: slices.w_controller,
            b_in: &slices.drive[row * 3 * shape.controller..][..3 * shape.controller],
            b_rec: &vec![zero; 3 * shape.controller],
        };
        let step = gru_step(spec, &controller, &f[trial], &c[trial]);
        c[trial] = step.unclipped.into_iter().map(|c| clip(spec, c)).collect();
        let posterior = affine(&c[trial], slices.w_posterior, slices.b_posterior);
        let (mean, log_variance) = posterior.split_at(shape.n_inputs);
        let noise = &slices.noise[row * shape.n_inputs..];
        let mut u: Vec<F> = mean.to_vec();
        for ((u, log_variance), noise) in u.iter_mut().zip(log_variance).zip(noise) {
            *u += (F::from_f64(0.5) * bounded(*log_variance)).exp() * *noise;
        }
        let generator = GruSlices {
            w_in: slices.w_input,
            w_rec: slices.w_generator,
            b_in: slices.b_generator,
            b_rec: &vec![zero; 3 * shape.generator],
        };
        let step = gru_step(spec, &generator, &u, &g[trial]);
        g[trial] = step.unclipped.into_iter().map(|g| clip(spec, g)).collect();
        let mut scaled = g[trial].clone();
        if let Some(scale) = slices.scale {
            for (value, scale) in scaled.iter_mut().zip(&scale[row * shape.generator..]) {
                *value = *value * *scale;
            }
        }
        f[trial] = readout(&scaled);
        outputs[0].extend_from_slice(&f[trial]);
        outputs[1].extend_from_slice(&posterior);
        outputs[2].extend_from_slice(&c[trial]);
    }
    outputs
}
