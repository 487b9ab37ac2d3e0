//! A trained model on another session of the same neurons.

use std::ops::Range;

use anyhow::{Result, anyhow, bail};
use burn::tensor::Device;
use calcium::estimate::median;
use data::{Arrays, Recording, Units};
use model::KnownStates;
use runs::memory;
use zoo::{ModelName, Setting};

use crate::calibration::{Calibrated, Calibration, Own};
use crate::config::{CalibrationConfig, StartConfig};
use crate::external::External;
use crate::factor_axes::FactorAxes;
use crate::observations::Observations;
use crate::run_folder::{RunFolder, RunRecord};

/// Ratios within this factor of 1 are no difference: estimates of the same neurons vary so much.
const SAME: f64 = 1.2;
/// Within this factor the spikes follow the brightness.
const FOLLOWS: f64 = 1.4;
/// Noise that differs by more, in spikes, is worth a warning.
const SAME_NOISE: f64 = 1.5;

/// How a session differs from the one that a model was trained on: medians over neurons of ratios,
/// this one's over the training's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Session {
    /// Fluorescence at rest; absent where its zero means nothing, as in dF/F.
    pub brightness: Option<f64>,
    /// Size of one spike.
    pub spike_size: f64,
    /// Noise of a frame.
    pub noise_sd: f64,
    /// Change of a constant baseline, in SDs of the noise; 0 with a rolling one.
    pub baseline_shift: f64,
}

impl Session {
    /// Compares what was measured of two sessions; nothing if no neuron was measured in both.
    pub fn compare(trained: &Calibration, now: &Calibration, units: Option<Units>) -> Option<Self> {
        let both = |neuron: &usize| {
            !trained.uncalibrated.contains(neuron) && !now.uncalibrated.contains(neuron)
        };
        let neurons: Vec<usize> = (0..trained.spike_size.len()).filter(both).collect();
        let ratio = |now: &[f32], trained: &[f32]| {
            let ratios = neurons
                .iter()
                .map(|&n| f64::from(now[n]) / f64::from(trained[n]));
            median(ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0))
        };
        let is_raw = !matches!(units, Some(Units::DeltaFOverF | Units::SpikeCounts));
        let shifts = neurons.iter().map(|&n| {
            f64::from(now.baseline[n] - trained.baseline[n]) / f64::from(trained.noise_sd[n])
        });
        Some(Self {
            brightness: ratio(&now.resting, &trained.resting).filter(|_| is_raw),
            spike_size: ratio(&now.spike_size, &trained.spike_size)?,
            noise_sd: ratio(&now.noise_sd, &trained.noise_sd)?,
            baseline_shift: match trained.rolling_window_s {
                Some(_) => 0.0,
                None => median(shifts)?,
            },
        })
    }

    /// The factor by which spikes and noise follow the brightness, as with another laser power or
    /// gain of the detector.
    pub fn gain(&self) -> Option<f64> {
        let brightness = self.brightness?;
        let follows = within(self.spike_size / brightness, FOLLOWS);
        (!within(brightness, SAME) && follows).then_some(brightness)
    }

    /// The calibration for this session, and what to say of it.
    pub fn calibration(
        &self,
        trained: &Calibration,
        now: &Calibration,
    ) -> (Calibration, Vec<String>) {
        let (mut calibration, mut notes) = (trained.clone(), Vec::new());
        let gain = self.gain();
        if let Some(gain) = gain {
            notes.push(format!(
                "brightness is {gain:.2} x that of the training, and spikes are {:.2} x as large: the size of a spike is rescaled by {gain:.2} (--as-trained keeps it)",
                self.spike_size
            ));
            for size in &mut calibration.spike_size {
                *size *= gain as f32;
            }
            calibration.baseline.clone_from(&now.baseline);
        } else if self.brightness.is_some_and(|ratio| !within(ratio, SAME)) {
            notes.push(format!(
                "brightness is {:.2} x that of the training, but spikes are {:.2} x as large: nothing is rescaled; counts and rates may be off by the ratio",
                self.brightness.unwrap_or(1.0),
                self.spike_size
            ));
        } else if !within(self.spike_size, FOLLOWS) {
            notes.push(format!(
                "spikes look {:.2} x as large as in the training: if the neurons do not fire otherwise than then, counts and rates are off by as much",
                self.spike_size
            ));
        }
        if gain.is_none() && self.baseline_shift.abs() > 1.0 {
            notes.push(format!(
                "the baseline lies {:+.1} noise SDs from that of the training: this session's own is taken (--as-trained keeps it)",
                self.baseline_shift
            ));
            calibration.baseline.clone_from(&now.baseline);
        }
        let noise = self.noise_sd / gain.unwrap_or(1.0);
        if !within(noise, SAME_NOISE) {
            notes.push(format!(
                "noise is {noise:.2} x that of the training, in spikes: what is inferred is surer or less sure than it should be"
            ));
        }
        (calibration, notes)
    }
}

fn within(ratio: f64, factor: f64) -> bool {
    (1.0 / factor..=factor).contains(&ratio)
}

/// Infers everything from `recording`, a session of the neurons that the run in `folder` was fitted
/// to. Where brightness, noise or baseline differ, it is said, and spikes rescaled if they follow the
/// brightness; with `as_trained` the training's calibration is taken as it is. A model that was fitted with known
/// inputs wants them of this session too, on its frames.
///
/// # Errors
/// Damaged weights; values that the model cannot read; other inputs than the training's.
pub fn infer(
    folder: &RunFolder,
    record: &RunRecord,
    recording: Recording,
    external: Option<&Recording>,
    n_samples: usize,
    as_trained: bool,
    device: &Device,
) -> Result<(Arrays, Observations)> {
    let external = External::of_session(external, record.external.as_ref())?;
    let calibrated = match &record.calibration {
        None => None,
        Some(trained) => Some(calibrated(record, trained, &recording, as_trained)?),
    };
    memory::give_back();
    let windows = record.config.windows.size(record.model);
    let observations = Observations::new(recording, windows, calibrated, external, record.model)?;
    let n_neurons = observations.recording.n_neurons();
    let calcium = record.calibration.as_ref().map(Calibration::calcium);
    let network = observations.network();
    let blur = network.and_then(|network| network.blur.clone());
    let setting = Setting::of_sizes(n_neurons, calcium, record.source.dt_s).with_blur(blur);
    let config = &record.model_config;
    let (of, search) = (record.identity()?, record.config.search);
    let model = config.load(&setting, device, &folder.weights(), &of, search)?;
    let states = folder.checkpoints().join(KnownStates::FILE);
    if !states.is_file() {
        tracing::warn!(
            "{}: it is not there: searches for where a trial starts know of no other trials; the same `lfads fit` makes it",
            states.display()
        );
    }
    let seed = record.config.seed;
    let mut results = observations.infer(config, model.as_ref(), n_samples, seed)?;
    let axes = folder.file(FactorAxes::FILE);
    if axes.is_file() {
        FactorAxes::read(&axes, &of)?.apply(&mut results)?;
    } else {
        tracing::warn!(
            "{}: it is not there: factors are as the model mixes them, in no order; the same `lfads fit` makes it",
            axes.display()
        );
    }
    Ok((results, observations))
}

/// The session by the training's calibration, as far as that holds for it.
fn calibrated(
    record: &RunRecord,
    trained: &Calibration,
    recording: &Recording,
    as_trained: bool,
) -> Result<Calibrated> {
    let config = CalibrationConfig {
        tau_s: Some(trained.tau_s),
        tau_rise_s: trained.rise_s,
        start: match trained.start_is_running {
            true => StartConfig::Running,
            false => StartConfig::Rest,
        },
        ..record.config.calibration
    };
    let chosen = |measured: Result<Calibration>| compared(trained, measured, recording, &config);
    if record.model == ModelName::NetworkLfads {
        // The network is asked once, whatever is made of its answer.
        // As the training was asked.
        let own = Own {
            decay: trained.tau_is_estimated,
            rise: trained.rise_is_estimated || trained.rise_s.is_none(),
        };
        return Calibrated::of_session(recording, &config, own, |measure| match as_trained {
            true => Ok(trained.clone()),
            false => Ok(chosen(measure().map(|measured| {
                lost_as_trained(measured, trained, &present(recording))
            }))),
        });
    }
    let calibration = match as_trained {
        true => trained.clone(),
        false => chosen(measured(trained, recording, &config)),
    };
    Calibrated::apply(calibration, recording)
}

/// What is measured of the neurons that are not lost or silent; the others are as in the training.
fn measured(
    trained: &Calibration,
    recording: &Recording,
    config: &CalibrationConfig,
) -> Result<Calibration> {
    let present = present(recording);
    let seen = recording.keep(&present);
    let seen = seen.map_err(|_| anyhow!("every neuron is silent"))?;
    let trials = seen.stretches();
    let all: Vec<Vec<Range<usize>>> = trials
        .iter()
        .map(|trial| std::iter::once(0..trial.nrows()).collect())
        .collect();
    let measured = Calibrated::measure(&seen, config, &all, false)?;
    Ok(with_lost(trained, &measured.calibration, &present))
}

/// The training's calibration, as far as it holds for a session of which this was `measured`.
fn compared(
    trained: &Calibration,
    measured: Result<Calibration>,
    recording: &Recording,
    config: &CalibrationConfig,
) -> Calibration {
    let now = match measured {
        Ok(now) => now,
        Err(error) => {
            tracing::warn!(
                "brightness and noise cannot be compared with the training's: {error:#}"
            );
            return trained.clone();
        }
    };
    let Some(mut session) = Session::compare(trained, &now, recording.units) else {
        tracing::warn!(
            "brightness and noise cannot be compared with the training's: no neuron shows spikes in both"
        );
        return trained.clone();
    };
    if config.spike_size.is_some() {
        // It was given and not measured; noise follows the brightness too.
        session.spike_size = session.noise_sd;
    }
    let (calibration, notes) = session.calibration(trained, &now);
    for note in notes {
        tracing::warn!("{}: {note}", recording.path.display());
    }
    calibration
}

/// Neurons with something to measure, by their place.
fn present(recording: &Recording) -> Vec<usize> {
    let silent: Vec<usize> = recording.silent().iter().map(|s| s.number).collect();
    let numbers = recording.neuron_numbers.iter().enumerate();
    numbers
        .filter(|(_, number)| !silent.contains(number))
        .map(|(place, _)| place)
        .collect()
}

/// What was measured of some neurons, by their place; the others are as in the training, and count as
/// not measured.
fn with_lost(trained: &Calibration, measured: &Calibration, present: &[usize]) -> Calibration {
    let mut all = trained.clone();
    let lost = (0..trained.spike_size.len()).filter(|neuron| !present.contains(neuron));
    all.uncalibrated = lost.collect();
    let unsure = measured.uncalibrated.iter();
    all.uncalibrated
        .extend(unsure.map(|&neuron| present[neuron]));
    all.uncalibrated.sort_unstable();
    for (from, &to) in present.iter().enumerate() {
        all.baseline[to] = measured.baseline[from];
        all.spike_size[to] = measured.spike_size[from];
        all.noise_sd[to] = measured.noise_sd[from];
        all.resting[to] = measured.resting[from];
    }
    all
}

/// What was measured of all neurons, but for those that were lost, which are as in the training.
fn lost_as_trained(
    mut measured: Calibration,
    trained: &Calibration,
    present: &[usize],
) -> Calibration {
    let lost = (0..trained.spike_size.len()).filter(|neuron| !present.contains(neuron));
    for neuron in lost {
        measured.baseline[neuron] = trained.baseline[neuron];
        measured.spike_size[neuron] = trained.spike_size[neuron];
        measured.noise_sd[neuron] = trained.noise_sd[neuron];
        measured.resting[neuron] = trained.resting[neuron];
        if !measured.uncalibrated.contains(&neuron) {
            measured.uncalibrated.push(neuron);
        }
    }
    measured.uncalibrated.sort_unstable();
    measured
}

/// Whether the recording is a session of the neurons that the run was fitted to.
///
/// # Errors
/// Another number of neurons, or another frame rate.
pub fn check(record: &RunRecord, recording: &Recording) -> Result<()> {
    let (fitted, found) = (record.source.neuron_ids.len(), recording.n_neurons());
    let path = recording.path.display();
    if fitted != found {
        bail!(
            "{path}: dataset `{}` has {found} neurons, the model was fitted to {fitted}; give the same neurons in the same order (--leave-out), or fit a new model",
            recording.dataset
        );
    }
    let (fitted, found) = (record.source.dt_s, recording.dt_s);
    if (fitted - found).abs() > 0.01 * fitted {
        let [found, fitted] = [found, fitted].map(|s| (1e5 * s).round() / 1e5);
        bail!(
            "{path}: its frames last {found} s, those of the fit {fitted} s; resample the recording, or state its rate (--rate)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration(brightness: f32) -> Calibration {
        let neurons = [1.0, 2.0, 3.0];
        Calibration {
            discretisation: calcium::Discretisation::Exact,
            tau_s: 0.7,
            tau_is_estimated: false,
            g: 0.9,
            rise_s: None,
            rise_is_estimated: false,
            rise: None,
            rolling_window_s: Some(60.0),
            baseline: neurons.map(|n| brightness * n).into(),
            spike_size: neurons.map(|n| 10.0 * brightness * n).into(),
            uncalibrated: Vec::new(),
            noise_sd: neurons.map(|n| 5.0 * brightness * n).into(),
            resting: neurons.map(|n| 100.0 * brightness * n).into(),
            start_is_running: true,
        }
    }

    #[test]
    fn spikes_follow_the_brightness_and_nothing_else() {
        let trained = calibration(1.0);
        let raw = Some(Units::Fluorescence);
        let same = Session::compare(&trained, &calibration(1.1), raw).unwrap();
        assert_eq!(
            same.calibration(&trained, &calibration(1.1)),
            (trained.clone(), Vec::new())
        );

        let dim = calibration(0.5);
        let session = Session::compare(&trained, &dim, raw).unwrap();
        let (scaled, notes) = session.calibration(&trained, &dim);
        assert_eq!(scaled.spike_size, dim.spike_size);
        assert_eq!(scaled.baseline, dim.baseline);
        assert!(notes.len() == 1 && notes[0].contains("0.50"), "{notes:?}");

        // An offset: brighter at rest, spikes and noise as they were.
        let mut offset = trained.clone();
        offset.resting.iter_mut().for_each(|rest| *rest *= 2.0);
        let session = Session::compare(&trained, &offset, raw).unwrap();
        let (kept, notes) = session.calibration(&trained, &offset);
        assert_eq!(kept, trained);
        assert!(notes[0].contains("nothing is rescaled"), "{notes:?}");
    }

    /// A neuron that was lost keeps its calibration, and is not compared.
    #[test]
    fn a_lost_neuron_is_as_in_the_training() {
        let (trained, mut measured) = (calibration(1.0), calibration(0.5));
        for values in [
            &mut measured.baseline,
            &mut measured.spike_size,
            &mut measured.noise_sd,
            &mut measured.resting,
        ] {
            values.remove(1);
        }
        measured.uncalibrated = vec![1];
        let all = with_lost(&trained, &measured, &[0, 2]);
        assert_eq!(all.uncalibrated, [1, 2]);
        assert_eq!(all.spike_size, [5.0, 20.0, 15.0]);
        let session = Session::compare(&trained, &all, Some(Units::Fluorescence)).unwrap();
        assert!((session.spike_size - 0.5).abs() < 1e-6, "{session:?}");
    }

    #[test]
    fn a_constant_baseline_that_moved_is_taken_anew_and_noise_is_said() {
        let constant = |shift: f32, noise: f32| {
            let mut calibration = calibration(1.0);
            calibration.rolling_window_s = None;
            calibration.baseline.iter_mut().for_each(|b| *b += shift);
            calibration.noise_sd.iter_mut().for_each(|sd| *sd *= noise);
            calibration
        };
        let trained = constant(0.0, 1.0);
        let moved = constant(40.0, 2.0);
        let session = Session::compare(&trained, &moved, Some(Units::DeltaFOverF)).unwrap();
        assert_eq!(session.brightness, None);
        let (calibration, notes) = session.calibration(&trained, &moved);
        assert_eq!(calibration.baseline, moved.baseline);
        assert_eq!(calibration.spike_size, trained.spike_size);
        assert!(
            notes[0].contains("baseline") && notes[1].contains("noise"),
            "{notes:?}"
        );
    }
}
