//! Spikes that the spike network expects, of all neurons.

use std::ops::Range;

use calcium::Inference;
use ndarray::{Array3, ArrayView3, Axis, s};
use rayon::prelude::*;

use crate::error::ZooError;

/// Expected spikes per bin of each neuron by [`calcium::Inference`], neurons in parallel, trials one after the
/// other. A neuron of which nothing is there has none.
///
/// # Shapes
/// `fluor` and result: `[trial, time, neuron]`; NaN is missing, and behind the end of a shorter trial.
/// # Units
/// `dt_s`: seconds per bin.
/// # Errors
/// [`ZooError::Trace`] for an infinite value or a frame interval that is none.
pub fn expected_spikes(fluor: ArrayView3<'_, f32>, dt_s: f64) -> Result<Array3<f32>, ZooError> {
    let spans = spans(fluor);
    let starts: Vec<usize> = spans.iter().map(|span| span.start).collect();
    let inference = Inference::new(dt_s).map_err(|source| ZooError::Trace { neuron: 0, source })?;
    let inference = inference.with_trials(&starts);
    let n_neurons = fluor.len_of(Axis(2));
    let traces: Vec<Result<Vec<f32>, ZooError>> = (0..n_neurons)
        .into_par_iter()
        .map(|neuron| {
            let trials = spans.iter().enumerate();
            let trace: Vec<f32> = trials
                .flat_map(|(trial, span)| fluor.slice(s![trial, ..span.len(), neuron]))
                .copied()
                .collect();
            if trace.iter().all(|x| x.is_nan()) {
                return Ok(vec![0.0; trace.len()]);
            }
            let found = inference.infer(&trace);
            let found = found.map_err(|source| ZooError::Trace { neuron, source })?;
            Ok(found.expected)
        })
        .collect();
    let traces: Vec<Vec<f32>> = traces.into_iter().collect::<Result<_, _>>()?;
    let mut spikes = Array3::from_elem(fluor.dim(), f32::NAN);
    for (trace, mut neuron) in traces.iter().zip(spikes.axis_iter_mut(Axis(2))) {
        for (span, mut trial) in spans.iter().zip(neuron.outer_iter_mut()) {
            for (to, &from) in trial.iter_mut().zip(&trace[span.clone()]) {
                *to = from;
            }
        }
    }
    Ok(spikes)
}

/// Where each trial lies when they are laid end to end, without what is missing of all neurons behind its end.
pub fn spans(values: ArrayView3<'_, f32>) -> Vec<Range<usize>> {
    let mut next = 0;
    let spans = values.outer_iter().map(|trial| {
        let is_there = |&bin: &usize| trial.row(bin).iter().any(|x| !x.is_nan());
        let last = (0..trial.nrows()).rfind(is_there);
        let span = next..next + last.map_or(0, |last| last + 1);
        next = span.end;
        span
    });
    spans.collect()
}

#[cfg(test)]
mod tests {
    use calcium::{Ar1, Discretisation};

    use super::*;

    #[test]
    fn spikes_stand_in_their_trials_and_what_is_missing_stays_so() {
        let ar = Ar1::from_tau(0.5, 1.0 / 30.0, Discretisation::Exact).unwrap();
        let mut spikes = [0.0; 600];
        (spikes[150], spikes[400]) = (2.0, 2.0);
        let calcium = ar.convolve(&spikes);
        let mut fluor = Array3::from_shape_fn((2, 350, 3), |(trial, bin, neuron)| {
            let noise = ((bin * 7919 + 31 * trial) % 101) as f32 / 505.0;
            let shown = calcium[(300 * trial + bin).min(599)] as f32;
            if neuron == 0 { shown + noise } else { noise }
        });
        fluor.slice_mut(s![.., 300.., ..]).fill(f32::NAN);
        fluor.slice_mut(s![.., .., 2]).fill(f32::NAN);
        fluor[[0, 10, 0]] = f32::NAN;
        assert_eq!(spans(fluor.view()), [0..300, 300..600]);
        let found = expected_spikes(fluor.view(), 1.0 / 30.0).unwrap();
        let near = |trial: usize, bin: usize, neuron: usize| {
            found.slice(s![trial, bin - 3..bin + 4, neuron]).sum()
        };
        assert!(near(0, 150, 0) > 1.0 && near(1, 100, 0) > 1.0);
        assert!(near(0, 150, 1) < 0.5 && near(0, 150, 2) == 0.0);
        assert!(found[[0, 10, 0]].is_nan() && found[[1, 320, 1]].is_nan());
    }
}
