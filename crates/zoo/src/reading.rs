//! What a model reads of observations, and what it must know of them.

use baselines::{Data, deconvolve_counts};
use calcium::Ar2;
use model::{Blur, CalciumModel, EventStatistics, FluorStatistics, Indicator, ZigLfadsConfig};
use ndarray::{Array3, ArrayView3, Axis, s};

use crate::activity::expected_spikes;
use crate::config::{ModelConfig, OasisLfadsConfig};
use crate::error::ZooError;
use crate::name::ModelName;

/// Observations as one model reads them.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Counts or fluorescence, `[trial, time, neuron]`; NaN is missing.
    pub values: Array3<f32>,
    /// Of what the model itself reads, so absent for counts.
    calcium: Option<CalciumModel>,
    dt_s: f64,
    deconvolved: bool,
    /// Of expected spikes.
    blur: Option<Blur>,
}

impl ModelConfig {
    /// Takes `observed`, `[trial, time, neuron]` in bins of `dt_s` seconds, as the model reads it:
    /// counts deconvolved where it wants those, anything else as it is. The spike network, which looks
    /// seconds far, takes trials end to end; of what was cut, see [`Reading::of_expected`].
    ///
    /// # Units
    /// `observed`: counts per bin for a model of spikes, and then without `calcium`; else
    /// fluorescence, which `calcium` describes.
    ///
    /// # Errors
    /// [`ZooError::CannotKnow`] for an indicator that the model has no place for,
    /// [`ZooError::Indicator`] if it is missing or not wanted, [`ZooError::Calcium`] for values
    /// that OASIS cannot take, [`ZooError::Trace`] for some that the spike network cannot.
    pub fn read(
        &self,
        observed: Array3<f32>,
        calcium: Option<&CalciumModel>,
        dt_s: f64,
    ) -> Result<Reading, ZooError> {
        let name = self.name();
        let wanted = !name.reads_spikes();
        if wanted != calcium.is_some() {
            return Err(unsuited(name, wanted));
        }
        if let Some(calcium) = calcium {
            calcium.validate(observed.len_of(Axis(2)))?;
        }
        self.check_indicator(calcium)?;
        let (values, deconvolved) = match (self, calcium) {
            (
                Self::OasisLfads(OasisLfadsConfig { s_min, .. })
                | Self::ZigLfads(ZigLfadsConfig { s_min, .. }),
                Some(calcium),
            ) => (deconvolve(observed, calcium, *s_min)?, true),
            (Self::NetworkLfads(_), Some(_)) => (expected_spikes(observed.view(), dt_s)?, true),
            _ => (observed, false),
        };
        Ok(Reading {
            values,
            calcium: calcium.filter(|_| !deconvolved).cloned(),
            dt_s,
            deconvolved,
            blur: None,
        })
    }

    /// Refuses what the model would have to drop.
    pub(crate) fn check_indicator(&self, calcium: Option<&CalciumModel>) -> Result<(), ZooError> {
        let Some(calcium) = calcium else {
            return Ok(());
        };
        if matches!(self, Self::NetworkLfads(_)) {
            // The network finds out for itself, neuron by neuron.
            return Ok(());
        }
        let knows_curve = matches!(self, Self::CountLadder(_));
        // OASIS takes the rise and each neuron's own numbers, but is linear.
        let knows_each = self.name().knows_rise();
        let differ = calcium.neurons.windows(2).any(|pair| pair[0] != pair[1]);
        let ladder = ModelName::CountLadder.name();
        let either = "count-ladder, oasis-lfads, zig-lfads";
        let refused = [
            (calcium.rise.is_some() && !knows_each, "a rise", either),
            (
                calcium.saturation.is_some() && !knows_curve,
                "saturation",
                ladder,
            ),
            (differ && !knows_each, "differences between neurons", either),
        ];
        match refused.into_iter().find(|(is_refused, ..)| *is_refused) {
            Some((_, what, able)) => Err(ZooError::CannotKnow {
                model: self.name(),
                what,
                able,
            }),
            None => Ok(()),
        }
    }
}

/// Counts of each neuron by its own decay and gain, above its own baseline, and the rise.
fn deconvolve(
    mut fluor: Array3<f32>,
    calcium: &CalciumModel,
    s_min: f64,
) -> Result<Array3<f32>, ZooError> {
    let rise = calcium.rise.unwrap_or(0.0);
    for (neuron, indicator) in calcium.neurons.iter().enumerate() {
        let Indicator { g, gain, baseline } = *indicator;
        let ar = Ar2::from_roots(g, rise)?;
        let mut trials = fluor.slice_mut(s![.., .., neuron..=neuron]);
        // Where the drift alone leads.
        let rest = (baseline / ((1.0 - g) * (1.0 - rise))) as f32;
        trials.mapv_inplace(|x| x - rest);
        let counts = deconvolve_counts(trials.view(), ar, gain, s_min)?;
        trials.assign(&counts);
    }
    Ok(fluor)
}

impl Reading {
    /// Spikes that [`expected_spikes`] found, `[trial, time, neuron]` in bins of `dt_s` seconds, for a model
    /// of spikes to read; and how they are blurred, where that is known.
    pub fn of_expected(spikes: Array3<f32>, dt_s: f64, blur: Option<Blur>) -> Self {
        Self {
            values: spikes,
            calcium: None,
            dt_s,
            deconvolved: true,
            blur,
        }
    }

    /// What the model must know before it is made, measured on all trials.
    pub fn setting(&self) -> Setting {
        self.setting_of(self.values.view())
    }

    /// The same, measured on trials for training, `[trial, time, neuron]`.
    pub fn setting_of(&self, train: ArrayView3<'_, f32>) -> Setting {
        Setting {
            dt_s: self.dt_s,
            statistics: match &self.calcium {
                Some(calcium) => calcium.measure(train),
                None => count_statistics(train),
            },
            events: self.deconvolved.then(|| EventStatistics::measure(train)),
            calcium: self.calcium.clone(),
            blur: self.blur.clone(),
        }
    }

    /// Spikes that were inferred before the model, `[trial, time, neuron]`: counts by OASIS, or expected ones.
    pub fn spikes(&self) -> Option<&Array3<f32>> {
        self.deconvolved.then_some(&self.values)
    }
}

fn count_statistics(counts: ArrayView3<'_, f32>) -> FluorStatistics {
    let mean = |neuron: ndarray::ArrayView2<'_, f32>| {
        let observed = neuron.iter().filter(|value| !value.is_nan());
        let (sum, n) = observed.fold((0.0, 0usize), |(sum, n), &v| (sum + f64::from(v), n + 1));
        (sum / n.max(1) as f64) as f32
    };
    let mean_counts: Vec<f32> = counts.axis_iter(Axis(2)).map(mean).collect();
    FluorStatistics {
        sd: vec![1.0; mean_counts.len()],
        mean_counts,
    }
}

/// What a model must know of its observations before it is made.
#[derive(Clone, Debug)]
pub struct Setting {
    dt_s: f64,
    /// Known where the model reads fluorescence.
    calcium: Option<CalciumModel>,
    statistics: FluorStatistics,
    /// Known where the model reads what was deconvolved.
    events: Option<EventStatistics>,
    /// Known where it reads expected spikes.
    blur: Option<Blur>,
}

impl Setting {
    /// For a model whose weights will be loaded, or one that is only tried: sizes matter,
    /// statistics do not.
    pub fn of_sizes(n_neurons: usize, calcium: Option<CalciumModel>, dt_s: f64) -> Self {
        Self {
            dt_s,
            calcium,
            statistics: FluorStatistics {
                mean_counts: vec![1.0; n_neurons],
                sd: vec![1.0; n_neurons],
            },
            events: Some(EventStatistics {
                share: vec![0.5; n_neurons],
                least: vec![0.5; n_neurons],
                mean_excess: vec![0.5; n_neurons],
            }),
            blur: None,
        }
    }

    /// The same of expected spikes that are blurred so.
    #[must_use]
    pub fn with_blur(self, blur: Option<Blur>) -> Self {
        Self { blur, ..self }
    }

    /// How what is read is blurred, where that is known.
    pub(crate) fn blur(&self) -> Option<&Blur> {
        self.blur.as_ref()
    }

    /// The events that a model of such reads.
    pub(crate) fn events(&self, model: ModelName) -> Result<&EventStatistics, ZooError> {
        self.events.as_ref().ok_or_else(|| unsuited(model, true))
    }

    pub(crate) fn dt_s(&self) -> f64 {
        self.dt_s
    }

    pub(crate) fn statistics(&self) -> &FluorStatistics {
        &self.statistics
    }

    pub(crate) fn calcium(&self) -> Option<&CalciumModel> {
        self.calcium.as_ref()
    }

    /// The indicator of a model that needs one.
    pub(crate) fn described(&self, model: ModelName) -> Result<&CalciumModel, ZooError> {
        self.calcium().ok_or_else(|| unsuited(model, true))
    }

    /// The one indicator of all neurons.
    pub(crate) fn indicator(&self, model: ModelName) -> Result<Indicator, ZooError> {
        let first = self.described(model)?.neurons.first();
        first.copied().ok_or_else(|| unsuited(model, true))
    }

    pub(crate) fn data(&self, model: ModelName) -> Result<Data<'_>, ZooError> {
        Ok(Data {
            statistics: &self.statistics,
            indicator: self.indicator(model)?,
            dt_s: self.dt_s,
        })
    }
}

fn unsuited(model: ModelName, wanted: bool) -> ZooError {
    let (reads, must) = match wanted {
        true => ("fluorescence", "be described: a decay at least"),
        false => ("spike counts", "not be"),
    };
    ZooError::Indicator { model, reads, must }
}

#[cfg(test)]
mod tests {
    use calcium::Hill;
    use ndarray::Array1;

    use super::*;

    const INDICATOR: Indicator = Indicator {
        g: 0.75,
        gain: 2.0,
        baseline: 0.0,
    };

    fn config(name: ModelName) -> ModelConfig {
        let text = match name {
            ModelName::OasisLfads | ModelName::ZigLfads => "s_min = 0.5\ndynamics = {}",
            ModelName::Lfads | ModelName::NetworkLfads => "dynamics = {}",
            _ => "",
        };
        ModelConfig::parse(name, text.parse().unwrap()).unwrap()
    }

    fn read(name: ModelName, calcium: Option<&CalciumModel>) -> Result<Reading, ZooError> {
        config(name).read(Array3::zeros((2, 8, 2)), calcium, 0.1)
    }

    #[test]
    fn what_a_model_cannot_know_is_refused_by_name() {
        let shared = CalciumModel::shared(INDICATOR, 2);
        let mut rising = shared.clone();
        rising.rise = Some(0.2);
        let mut saturating = shared.clone();
        saturating.saturation = Some(Hill {
            exponent: 2.0,
            half_saturation: 4.0,
            scale: 8.0,
        });
        let mut different = shared.clone();
        different.neurons[1].gain = 3.0;
        for name in ModelName::ALL.into_iter().skip(1) {
            assert!(read(name, Some(&shared)).is_ok(), "{name}");
            let refused = |calcium: &CalciumModel| match read(name, Some(calcium)) {
                Ok(_) => false,
                Err(error @ ZooError::CannotKnow { .. }) => error.to_string().contains(name.name()),
                Err(error) => panic!("{error}"),
            };
            let knows_curve = matches!(name, ModelName::CountLadder | ModelName::NetworkLfads);
            assert_eq!(refused(&saturating), !knows_curve, "{name}");
            let by_oasis = matches!(name, ModelName::OasisLfads | ModelName::ZigLfads);
            let knows_each = knows_curve || by_oasis;
            assert_eq!(refused(&rising), !knows_each, "{name}");
            assert_eq!(refused(&different), !knows_each, "{name}");
            assert!(read(name, None).is_err(), "{name}");
        }
        assert!(read(ModelName::Lfads, None).is_ok());
        assert!(read(ModelName::Lfads, Some(&shared)).is_err());
    }

    #[test]
    fn counts_are_deconvolved_by_each_neurons_own_indicator() {
        let counts = Array3::from_shape_fn((2, 12, 3), |(trial, bin, neuron)| {
            f32::from((trial + 2 * bin + 3 * neuron) % 5 == 0) * (1 + bin % 2) as f32
        });
        let neurons: Vec<Indicator> = [(0.5, 1.0, 0.0), (0.75, 2.0, 0.1), (0.9, 4.0, -0.2)]
            .map(|(g, gain, baseline)| Indicator { g, gain, baseline })
            .into();
        let oasis = config(ModelName::OasisLfads);
        let read = |rise: Option<f64>| {
            let mut fluor = counts.clone();
            for (neuron, indicator) in neurons.iter().enumerate() {
                let ar = Ar2::from_roots(indicator.g, rise.unwrap_or(0.0)).unwrap();
                let (gain, [a, b]) = (indicator.gain as f32, ar.g());
                let rest = (indicator.baseline / (1.0 - a - b)) as f32;
                for mut trial in fluor.index_axis_mut(Axis(2), neuron).outer_iter_mut() {
                    let calcium = ar.convolve(&trial.to_vec());
                    trial.assign(&Array1::from(calcium).mapv(|c| gain * c + rest));
                }
            }
            let calcium = CalciumModel {
                neurons: neurons.clone(),
                rise,
                saturation: None,
            };
            oasis.read(fluor, Some(&calcium), 0.1).unwrap()
        };
        assert_eq!(read(Some(0.3)).values, counts);
        let reading = read(None);
        assert_eq!(reading.values, counts);
        assert_eq!(reading.spikes(), Some(&counts));
        // The model itself reads counts: their mean is what it must know.
        let setting = reading.setting();
        assert!(setting.calcium().is_none());
        let mean = counts.index_axis(Axis(2), 1).mean().unwrap();
        assert!((setting.statistics().mean_counts[1] - mean).abs() < 1e-6);
    }
}
