//! OASIS + LFADS: spikes are deconvolved first, and LFADS reads the counts.

use calcium::oasis::{Ar1Problem, Ar2Problem};
use calcium::{Ar1, Ar2, CalciumError};
use ndarray::{Array3, ArrayView3, s};

/// Spike counts by OASIS: hard threshold `s_min`, no penalty, in units of one spike's `gain`,
/// rounded to integers. Without a rise, the exact solver for AR(1); with one, the greedy one for AR(2).
///
/// One zero is put before each trial, so that its first bin may hold a spike.
///
/// # Shapes
/// `fluor` and result: `[trial, time, neuron]`.
/// # Units
/// `s_min`, `gain`: fluorescence units.
/// # Errors
/// [`CalciumError`] for a negative `s_min` or an infinite value.
/// # Source
/// Friedrich, Zhou & Paninski 2017, section "Hard shrinkage"; Prince & Richards 2019, section 3.
pub fn deconvolve_counts(
    fluor: ArrayView3<'_, f32>,
    ar: Ar2,
    gain: f64,
    s_min: f64,
) -> Result<Array3<f32>, CalciumError> {
    let (n_trials, n_bins, n_neurons) = fluor.dim();
    let mut traces = Array3::<f32>::zeros((n_trials, n_neurons, n_bins + 1));
    traces
        .slice_mut(s![.., .., 1..])
        .assign(&fluor.permuted_axes([0, 2, 1]));
    let (traces, _) = traces.into_raw_vec_and_offset();
    let spikes: Vec<f32> = if let [decay, 0.0] = ar.roots() {
        let problem = Ar1Problem::new(Ar1::new(decay)?).with_s_min(s_min)?;
        problem.deconvolve_many(&traces, n_bins + 1)?.spikes
    } else {
        let problem = Ar2Problem::new(ar).with_s_min(s_min)?;
        let deconvolved = problem.deconvolve_many(&traces, n_bins + 1)?;
        deconvolved.into_iter().flat_map(|d| d.spikes).collect()
    };
    let gain = gain as f32;
    Ok(Array3::from_shape_fn(
        (n_trials, n_bins, n_neurons),
        |(trial, bin, neuron)| {
            let place = (trial * n_neurons + neuron) * (n_bins + 1) + 1 + bin;
            match traces[place].is_nan() {
                true => f32::NAN,
                false => (spikes[place] / gain).round(),
            }
        },
    ))
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayView1, Axis};

    use super::*;

    #[test]
    fn noiseless_counts_come_back_whole() {
        for ar in [Ar2::from_roots(0.75, 0.0), Ar2::from_roots(0.9, 0.6)] {
            let ar = ar.unwrap();
            let counts = Array3::from_shape_fn((2, 12, 3), |(trial, bin, neuron)| {
                f32::from((trial + 2 * bin + 3 * neuron) % 5 == 0) * (1 + bin % 2) as f32
            });
            let mut fluor = counts.mapv(|count| 2.0 * count);
            for mut trace in fluor.lanes_mut(Axis(1)) {
                let calcium = ar.convolve(&trace.to_vec());
                trace.assign(&ArrayView1::from(&calcium));
            }
            let found = deconvolve_counts(fluor.view(), ar, 2.0, 1.0).unwrap();
            assert_eq!(found, counts, "{ar:?}");
        }
    }

    #[test]
    fn an_infinite_sample_is_named() {
        let mut fluor = Array3::<f32>::zeros((1, 4, 1));
        fluor[[0, 2, 0]] = f32::INFINITY;
        let error = deconvolve_counts(fluor.view(), Ar2::from_roots(0.5, 0.0).unwrap(), 1.0, 0.5);
        assert!(error.is_err());
    }
}
