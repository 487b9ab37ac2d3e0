//! What a model inferred, put back into the recording's trials and units.

use std::path::Path;

use anyhow::{Context, Result};
use calcium::Ar1;
use data::Arrays;
use model::{Inferred, NeuronCalcium};
use ndarray::{ArrayD, Axis};
use zoo::{ModelConfig, Posterior};

use crate::calibration::{Calibration, peak};
use crate::observations::{Observations, Pieces};
use crate::pieces::Cut;

impl Observations {
    /// Infers everything from every piece; the result has the recording's trials and units.
    ///
    /// # Errors
    /// A value that the model cannot read.
    pub fn infer(
        &self,
        config: &ModelConfig,
        model: &dyn Posterior,
        n_samples: usize,
        seed: u64,
    ) -> Result<Arrays> {
        let pieces = self.to_infer(config)?;
        let batch = self.batch(&pieces.reading, &self.cut.pieces());
        let inferred = model.posterior_mean(batch.view(), n_samples, seed)?;
        drop(batch);
        let recording = &self.recording;
        let mut results = heading(&recording.path, recording.dt_s, &recording.neuron_ids);
        self.add_inferred(&mut results, inferred, pieces)?;
        self.add_network(&mut results);
        if let Some(calibration) = self.calibration() {
            let learned = model.calcium();
            add_calcium(
                &mut results,
                calibration,
                recording.dt_s,
                learned.as_deref(),
            )?;
        }
        if let Some(external) = self.external() {
            let known = external.trials().into_dyn();
            results.insert("external_inputs", "as given", known);
        }
        fill_missing_spikes(&mut results, recording.dt_s);
        let units = recording.units.map(|units| units.to_string());
        let observed = Cut::trials(recording).into_dyn();
        results.insert("observed", &units.unwrap_or_default(), observed);
        Ok(results)
    }

    /// What the spike network found in whole traces, in place of what windows of it show.
    fn add_network(&self, results: &mut Arrays) {
        let (Some(found), Some(calibration)) = (self.network(), self.calibration()) else {
            return;
        };
        let mut calcium = found.calcium.clone();
        for (mut neuron, size) in calcium.axis_iter_mut(Axis(2)).zip(&calibration.spike_size) {
            neuron.mapv_inplace(|x| x / size);
        }
        let spikes = found.spikes.clone().into_dyn();
        results.insert("spikes", "counts per frame", spikes);
        if let Some(fluor) = self.in_units(calcium.clone()) {
            results.insert("fluor", "as observed", fluor.into_dyn());
        }
        results.insert("calcium", "spikes", calcium.into_dyn());
    }

    /// Each array is merged and let go before the next.
    fn add_inferred(&self, results: &mut Arrays, inferred: Inferred, pieces: Pieces) -> Result<()> {
        let Inferred {
            factors,
            rates_hz,
            spikes,
            fluor,
            inputs,
        } = inferred;
        let Pieces { reading, before } = pieces;
        let of_pieces = || {
            let spikes = reading.spikes().filter(|_| self.network().is_none());
            spikes.cloned()
        };
        let spikes = spikes.or_else(of_pieces);
        drop(reading);
        let calcium = fluor.map(|fluor| match before {
            Some(before) => fluor + before,
            None => fluor,
        });
        let [inputs, inputs_sd] = match inputs {
            Some(inputs) => [Some(inputs.mean), Some(inputs.sd)],
            None => [None, None],
        };
        let named = [
            ("factors", "", Some(factors)),
            ("rates", "Hz", Some(rates_hz)),
            ("spikes", "counts per frame", spikes),
            ("calcium", "spikes", calcium),
            ("inputs", "", inputs),
            ("inputs_sd", "", inputs_sd),
        ];
        for (name, unit, array) in named {
            let Some(array) = array else { continue };
            let trials = self.cut.merge(array.view())?;
            drop(array);
            if name == "calcium"
                && let Some(fluor) = self.in_units(trials.clone())
            {
                results.insert("fluor", "as observed", fluor.into_dyn());
            }
            results.insert(name, unit, trials.into_dyn());
        }
        Ok(())
    }
}

/// Spikes of frames without data: as many as the rates expect.
fn fill_missing_spikes(results: &mut Arrays, dt_s: f64) {
    let Some(rates) = results
        .arrays
        .get("rates")
        .map(|rates| rates.values.clone())
    else {
        return;
    };
    let Some(spikes) = results.arrays.get_mut("spikes") else {
        return;
    };
    if spikes.values.shape() == rates.shape() {
        spikes.values.zip_mut_with(&rates, |spikes, rate_hz| {
            if spikes.is_nan() {
                *spikes = rate_hz * dt_s as f32;
            }
        });
    }
}

/// Adds what is known of each neuron's calcium, or was learned from the calibration on, and counts
/// the inferred calcium in the spikes of that.
fn add_calcium(
    results: &mut Arrays,
    calibration: &Calibration,
    dt_s: f64,
    learned: Option<&[NeuronCalcium]>,
) -> Result<()> {
    let n_neurons = calibration.spike_size.len();
    let mut sizes = calibration.spike_size.clone();
    let mut taus_s = vec![calibration.tau_s as f32; n_neurons];
    if let Some(learned) = learned {
        for ((neuron, size), tau_s) in learned.iter().zip(&mut sizes).zip(&mut taus_s) {
            *size *= (neuron.gain * peak(neuron.decay, neuron.rise)) as f32;
            let ar = Ar1::new(neuron.decay)?;
            *tau_s = ar.tau_s(dt_s, calibration.discretisation)? as f32;
        }
        if let Some(calcium) = results.arrays.get_mut("calcium") {
            let neurons = calcium.values.lanes_mut(Axis(1)).into_iter();
            for (mut trace, neuron) in neurons.zip(learned.iter().cycle()) {
                let rise = neuron.rise.unwrap_or(0.0);
                let rest = neuron.baseline / ((1.0 - neuron.decay) * (1.0 - rise));
                let size = neuron.gain * peak(neuron.decay, neuron.rise);
                trace.mapv_inplace(|c| ((f64::from(c) - rest) / size) as f32);
            }
        }
    }
    for (name, unit, values) in [("spike_size", "as observed", sizes), ("tau", "s", taus_s)] {
        let values = ArrayD::from_shape_vec(vec![n_neurons], values);
        results.insert(name, unit, values.context("one number per neuron")?);
    }
    Ok(())
}

/// Results without arrays yet: where they come from.
pub fn heading(path: &Path, dt_s: f64, neuron_ids: &[String]) -> Arrays {
    let mut heading = Arrays::default();
    heading.numbers.insert("dt".into(), dt_s);
    let source = path.display().to_string();
    heading.texts.insert("source".into(), source);
    let ids = neuron_ids.to_vec();
    heading.lists.insert("neuron_ids".into(), ids);
    heading
}

#[cfg(test)]
mod tests {
    use ndarray::arr3;

    use super::*;
    use crate::testing;

    #[test]
    fn learned_calcium_is_counted_in_learned_spikes_and_gaps_are_filled_by_counts() {
        let calibration = testing::calibration(0.9);
        let learned = NeuronCalcium {
            decay: 0.8,
            rise: None,
            gain: 2.0,
            baseline: 0.1,
            noise_sd: 0.1,
        };
        let mut results = Arrays::default();
        let of_two = |a: f32, b: f32| arr3(&[[[a], [b]]]).into_dyn();
        results.insert("calcium", "spikes", of_two(0.5, 4.5));
        results.insert("rates", "Hz", of_two(4.0, 6.0));
        results.insert("spikes", "counts per frame", of_two(1.0, f32::NAN));
        add_calcium(&mut results, &calibration, 0.1, Some(&[learned])).unwrap();
        fill_missing_spikes(&mut results, 0.1);
        for (name, wanted) in [
            // At rest, 0.1 / (1 - 0.8) = 0.5; two spikes of gain 2 above that.
            ("calcium", vec![0.0, 2.0]),
            ("spike_size", vec![2.0 * calibration.spike_size[0]]),
            ("tau", vec![(-0.1 / 0.8_f64.ln()) as f32]),
            ("spikes", vec![1.0, 0.6]),
        ] {
            let found: Vec<f32> = results.require(name).unwrap().iter().copied().collect();
            assert_eq!(found.len(), wanted.len(), "{name}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(
                    (found - wanted).abs() < 1e-5,
                    "{name}: {found} for {wanted}"
                );
            }
        }
    }
}
