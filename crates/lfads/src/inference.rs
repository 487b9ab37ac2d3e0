//! What a model reads of a recording, and what it infers put back into the recording's units.

use anyhow::{Context, Result};
use data::{Arrays, Recording};
use model::{Inferred, NeuronCalcium};
use ndarray::{Array3, ArrayD, ArrayView3, Axis};
use zoo::{ModelConfig, Posterior, Reading};

use crate::calibration::{Calibration, Scaled};
use crate::config::WindowConfig;
use crate::pieces::{Cut, Innovating};
use crate::results::heading;

/// The observations of a recording, piece by piece, as a model reads them.
pub struct Observations {
    /// `[piece, time, neuron]`; NaN is missing.
    pub reading: Reading,
    /// How they were cut.
    pub cut: Cut,
    fluorescence: Option<Fluorescence>,
}

struct Fluorescence {
    scaled: Scaled,
    before: Array3<f32>,
}

impl Observations {
    /// Cuts and scales `recording` for the model of `config`; counts are taken as they are.
    ///
    /// # Errors
    /// A window that does not fit, or an infinite value.
    pub fn new(
        recording: &Recording,
        config: &ModelConfig,
        calibration: Option<&Calibration>,
        windows: WindowConfig,
    ) -> Result<Self> {
        let cut = Cut::new(recording, windows)?;
        let Some(calibration) = calibration else {
            let counts = cut.cut(&recording.stretches())?;
            return Ok(Self {
                reading: config.read(counts, None, recording.dt_s)?,
                cut,
                fluorescence: None,
            });
        };
        let scaled = calibration.apply(recording)?;
        // The count ladder infers that calcium itself.
        let running =
            calibration.start_is_running && !matches!(config, ModelConfig::CountLadder(_));
        let Innovating { fluor, before } = Innovating::new(&cut, &scaled, calibration.g, running)?;
        let calcium = calibration.calcium();
        Ok(Self {
            reading: config.read(fluor, Some(&calcium), recording.dt_s)?,
            cut,
            fluorescence: Some(Fluorescence { scaled, before }),
        })
    }

    /// Infers everything from every piece; the result has the recording's trials and units.
    ///
    /// # Errors
    /// A value that the model cannot read.
    pub fn infer(
        &self,
        model: &dyn Posterior,
        recording: &Recording,
        calibration: Option<&Calibration>,
        n_samples: usize,
        seed: u64,
    ) -> Result<Arrays> {
        let inferred = model.posterior_mean(self.reading.values.view(), n_samples, seed)?;
        let mut results = heading(&recording.path, recording.dt_s, &recording.neuron_ids);
        self.add_inferred(&mut results, inferred, calibration)?;
        if let Some(calibration) = calibration {
            add_calcium(&mut results, calibration, model.calcium().as_deref())?;
        }
        let units = recording.units.map(|units| units.to_string());
        let units = units.unwrap_or_default();
        results.insert("observed", &units, Cut::trials(recording).into_dyn());
        Ok(results)
    }

    fn add_inferred(
        &self,
        results: &mut Arrays,
        inferred: Inferred,
        calibration: Option<&Calibration>,
    ) -> Result<()> {
        let mut insert = |name, unit, pieces: ArrayView3<'_, f32>| -> Result<()> {
            let trials = self.cut.merge(pieces)?;
            results.insert(name, unit, trials.into_dyn());
            Ok(())
        };
        insert("factors", "", inferred.factors.view())?;
        insert("rates", "Hz", inferred.rates_hz.view())?;
        if let Some(spikes) = inferred.spikes.as_ref().or(self.reading.spikes()) {
            insert("spikes", "counts per frame", spikes.view())?;
        }
        let (Some(fluorescence), Some(calibration)) = (&self.fluorescence, calibration) else {
            return Ok(());
        };
        if let Some(fluor) = inferred.fluor {
            let calcium = fluor + &fluorescence.before;
            insert("calcium", "spikes", calcium.view())?;
            let calcium = self.cut.merge(calcium.view())?;
            let fluor = fluorescence.in_units(calcium, calibration);
            results.insert("fluor", "as observed", fluor.into_dyn());
        }
        Ok(())
    }
}

/// Adds what is known of each neuron's calcium, or was learned from the calibration on, and counts
/// the inferred calcium in the spikes of that.
fn add_calcium(
    results: &mut Arrays,
    calibration: &Calibration,
    learned: Option<&[NeuronCalcium]>,
) -> Result<()> {
    let n_neurons = calibration.spike_size.len();
    let mut sizes = calibration.spike_size.clone();
    let mut taus_s = vec![calibration.tau_s as f32; n_neurons];
    if let Some(learned) = learned {
        for ((neuron, size), tau_s) in learned.iter().zip(&mut sizes).zip(&mut taus_s) {
            *size *= neuron.gain as f32;
            *tau_s *= (calibration.g.ln() / neuron.decay.ln()) as f32;
        }
        if let Some(calcium) = results.arrays.get_mut("calcium") {
            let neurons = calcium.values.lanes_mut(Axis(1)).into_iter();
            for (mut trace, neuron) in neurons.zip(learned.iter().cycle()) {
                let rise = neuron.rise.unwrap_or(0.0);
                let rest = neuron.baseline / ((1.0 - neuron.decay) * (1.0 - rise));
                trace.mapv_inplace(|c| ((f64::from(c) - rest) / neuron.gain) as f32);
            }
        }
    }
    for (name, unit, values) in [("spike_size", "as observed", sizes), ("tau", "s", taus_s)] {
        let values = ArrayD::from_shape_vec(vec![n_neurons], values);
        results.insert(name, unit, values.context("one number per neuron")?);
    }
    Ok(())
}

impl Fluorescence {
    /// Calcium in units of one spike, `[trial, time, neuron]`, as fluorescence of the recording.
    fn in_units(&self, mut calcium: Array3<f32>, calibration: &Calibration) -> Array3<f32> {
        for (neuron, mut trials) in calcium.axis_iter_mut(Axis(2)).enumerate() {
            let (size, baseline) = (
                calibration.spike_size[neuron],
                &self.scaled.baseline[neuron],
            );
            let spans = self.scaled.layout.spans();
            for (mut trial, (first, length)) in trials.outer_iter_mut().zip(spans) {
                for (to, &baseline) in trial.iter_mut().zip(&baseline[first..first + length]) {
                    *to = *to * size + baseline;
                }
            }
        }
        calcium
    }
}
