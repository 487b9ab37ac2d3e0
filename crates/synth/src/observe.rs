//! From rates to what a microscope sees: Poisson counts, calcium, fluorescence.

use calcium::{Discretisation, Hill, Indicator, Kernel, SampledIndicator};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::SynthError;
use crate::error::{check_not_negative, check_positive};
use crate::seed::{RootSeed, Stream};

/// Most spikes expected in a bin: well inside the whole numbers that `f32` holds.
pub(crate) const MAX_COUNTS_PER_BIN: f64 = 1e7;

/// How the population is observed.
///
/// s(t) ~ Poisson(rate(t) · dt); y(t) = g y(t−1) + `gain` · s(t) + `baseline`, from rest (y = 0
/// before the trial); fluorescence(t) = `saturation`(y(t)) + N(0, `noise_sd`²).
///
/// # Source
/// Prince & Richards 2019, section 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observation {
    /// Rate of a neuron when its log-rate drive is 0, Hz.
    pub base_rate_hz: f64,
    /// alpha: calcium per spike, fluorescence units.
    pub gain: f64,
    /// beta: calcium added in every bin, fluorescence units.
    pub baseline: f64,
    /// Standard deviation of the noise, fluorescence units.
    pub noise_sd: f64,
    /// How calcium rises and decays.
    pub kinetics: Kernel,
    /// Saturation of the indicator; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Hill>,
    /// How neurons differ in all this; not at all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heterogeneity: Option<Heterogeneity>,
}

impl Default for Observation {
    /// The published benchmark: 1 Hz, AR(1) with tau 0.4 s (Euler), noise 0.2.
    fn default() -> Self {
        Self {
            base_rate_hz: 1.0,
            gain: 1.0,
            baseline: 0.0,
            noise_sd: 0.2,
            kinetics: Kernel::Ar1 {
                tau_s: 0.4,
                discretisation: Discretisation::Euler,
            },
            saturation: None,
            heterogeneity: None,
        }
    }
}

/// Differences between neurons: each value of a neuron is the population's times e^{sd·z}, z
/// drawn from N(0, 1) and held within ±2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heterogeneity {
    /// sd of the logarithm of the decay time.
    pub log_tau_sd: f64,
    /// sd of the logarithm of the gain.
    pub log_gain_sd: f64,
    /// sd of the logarithm of the noise.
    pub log_noise_sd: f64,
}

/// How one neuron is observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeuronIndicator {
    /// Kernel, gain, baseline and saturation.
    pub indicator: Indicator,
    /// Standard deviation of the noise, fluorescence units.
    pub noise_sd: f64,
}

/// What is seen of one trial, `[time, neuron]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedTrial {
    /// Spikes per bin.
    pub spikes: Array2<f32>,
    /// Calcium, without noise and saturation.
    pub calcium: Array2<f32>,
    /// Fluorescence.
    pub fluor: Array2<f32>,
}

impl Observation {
    pub(crate) fn validate(&self, dt_s: f64) -> Result<(), SynthError> {
        check_positive("observation.base_rate_hz", self.base_rate_hz)?;
        check_not_negative("observation.baseline", self.baseline)?;
        check_not_negative("observation.noise_sd", self.noise_sd)?;
        if let Some(heterogeneity) = &self.heterogeneity {
            heterogeneity.validate()?;
        }
        self.indicator()?.per_frame(dt_s)?;
        Ok(())
    }

    /// The indicator of a population whose neurons are alike.
    ///
    /// # Errors
    /// [`SynthError::Indicator`].
    pub fn indicator(&self) -> Result<Indicator, SynthError> {
        let linear = Indicator::new(self.kinetics, self.gain, self.baseline)?;
        Ok(linear.with_saturation(self.saturation)?)
    }

    /// How each neuron of the population that `seed` draws is observed.
    ///
    /// # Errors
    /// [`SynthError::Indicator`].
    pub fn neurons(&self, n_neurons: usize, seed: u64) -> Result<Vec<NeuronIndicator>, SynthError> {
        let spread = self.heterogeneity.unwrap_or_default();
        let neuron = |index| {
            let mut draws = RootSeed(seed).draws(Stream::Indicator, index);
            let mut factor = |sd: f64| libm::exp(sd * draws.normal().clamp(-2.0, 2.0));
            let decay_s = self.kinetics.decay_s() * factor(spread.log_tau_sd);
            let own = Self {
                kinetics: self.kinetics.with_decay_s(decay_s),
                gain: self.gain * factor(spread.log_gain_sd),
                ..self.clone()
            };
            Ok(NeuronIndicator {
                indicator: own.indicator()?,
                noise_sd: self.noise_sd * factor(spread.log_noise_sd),
            })
        };
        (0..n_neurons).map(neuron).collect()
    }

    /// An observer of your own rates or spikes in bins of `dt_s`, of neurons as `seed` draws them.
    ///
    /// # Errors
    /// [`SynthError::BadField`] and [`SynthError::Indicator`].
    /// # Example
    /// ```
    /// use ndarray::Array2;
    /// use synth::Observation;
    ///
    /// let observer = Observation::default().observer(0.1, 3, 1)?;
    /// let rates_hz = Array2::from_shape_fn((50, 3), |(t, n)| (t % (10 * (n + 1))) as f64);
    /// let seen = observer.observe(rates_hz.view(), 0)?;
    /// assert_eq!(seen.fluor.dim(), (50, 3));
    /// let again = observer.observe_spikes(seen.spikes.mapv(f64::from).view(), 0)?;
    /// assert_eq!(again, seen);
    /// # Ok::<(), synth::SynthError>(())
    /// ```
    pub fn observer(&self, dt_s: f64, n_neurons: usize, seed: u64) -> Result<Observer, SynthError> {
        check_positive("dt_s", dt_s)?;
        self.validate(dt_s)?;
        let sampled =
            |neuron: NeuronIndicator| Ok((neuron.indicator.per_frame(dt_s)?, neuron.noise_sd));
        let neurons = self.neurons(n_neurons, seed)?.into_iter().map(sampled);
        Ok(Observer {
            neurons: neurons.collect::<Result<_, SynthError>>()?,
            dt_s,
            root: RootSeed(seed),
        })
    }
}

/// An [`Observation`] at work: see [`Observation::observer`].
#[derive(Clone, Debug)]
pub struct Observer {
    /// Each with the standard deviation of its noise.
    neurons: Vec<(SampledIndicator, f64)>,
    dt_s: f64,
    root: RootSeed,
}

impl Observer {
    /// Draws spikes at these rates, and observes them as trial number `trial`.
    ///
    /// # Shapes
    /// `rates_hz`: `[time, neuron]`.
    /// # Units
    /// Hz: expected count per bin over the bin's width.
    /// # Errors
    /// [`SynthError::NeuronCount`]; [`SynthError::BadValue`] for a rate that is negative, not a
    /// number, or so high that counts are not exact in 32-bit floats.
    pub fn observe(
        &self,
        rates_hz: ArrayView2<'_, f64>,
        trial: usize,
    ) -> Result<ObservedTrial, SynthError> {
        self.check("rates_hz", rates_hz, MAX_COUNTS_PER_BIN / self.dt_s)?;
        let mut draws = self.root.draws(Stream::Spikes, trial);
        let spikes = rates_hz.map(|rate| draws.poisson(rate * self.dt_s));
        self.observe_spikes(spikes.view(), trial)
    }

    /// Observes these spikes as trial number `trial`, whose noise is its own.
    ///
    /// # Shapes
    /// `spikes`: `[time, neuron]`.
    /// # Units
    /// Spikes per bin.
    /// # Errors
    /// [`SynthError::NeuronCount`]; [`SynthError::BadValue`] for a count that is negative, not a
    /// number, or above 10⁷.
    pub fn observe_spikes(
        &self,
        spikes: ArrayView2<'_, f64>,
        trial: usize,
    ) -> Result<ObservedTrial, SynthError> {
        // A Poisson count may be some standard deviations above what was expected.
        self.check("spikes", spikes, 1.1 * MAX_COUNTS_PER_BIN)?;
        let calcium = self.calcium(spikes);
        let fluor = self.fluorescence(&calcium, trial);
        Ok(ObservedTrial {
            spikes: spikes.map(|&s| s as f32),
            calcium: calcium.map(|&y| y as f32),
            fluor,
        })
    }

    fn check(
        &self,
        array: &'static str,
        values: ArrayView2<'_, f64>,
        most: f64,
    ) -> Result<(), SynthError> {
        let (found, expected) = (values.ncols(), self.neurons.len());
        if found != expected {
            return Err(SynthError::NeuronCount {
                array,
                found,
                expected,
            });
        }
        let bad = |(_, value): &(_, &f64)| !(0.0..=most).contains(*value);
        match values.indexed_iter().find(bad) {
            None => Ok(()),
            Some(((bin, neuron), &value)) => Err(SynthError::BadValue {
                array,
                bin,
                neuron,
                value,
                most,
            }),
        }
    }

    fn calcium(&self, spikes: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut calcium = spikes.to_owned();
        for (mut trace, (indicator, _)) in calcium.axis_iter_mut(Axis(1)).zip(&self.neurons) {
            let driven = indicator.calcium(&trace.to_vec());
            trace.assign(&ArrayView1::from(&driven));
        }
        calcium
    }

    fn fluorescence(&self, calcium: &Array2<f64>, trial: usize) -> Array2<f32> {
        let mut draws = self.root.draws(Stream::Noise, trial);
        let mut fluor = Array2::zeros(calcium.dim());
        for ((place, &y), x) in calcium.indexed_iter().zip(&mut fluor) {
            let (indicator, noise_sd) = &self.neurons[place.1];
            *x = (indicator.fluorescence(y) + noise_sd * draws.normal()) as f32;
        }
        fluor
    }
}

impl Heterogeneity {
    fn validate(&self) -> Result<(), SynthError> {
        check_not_negative("observation.heterogeneity.log_tau_sd", self.log_tau_sd)?;
        check_not_negative("observation.heterogeneity.log_gain_sd", self.log_gain_sd)?;
        check_not_negative("observation.heterogeneity.log_noise_sd", self.log_noise_sd)
    }
}
