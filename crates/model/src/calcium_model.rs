//! What is known, or learned, of each neuron's calcium: rise, decay, gain, baseline, noise.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use calcium::counts::{CalciumDynamics, CountModel, SaturatingSensor, Sensor, Start};
use calcium::{Hill, SampledIndicator};
use ndarray::{ArrayView2, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

use crate::count_residuals::Residuals;
use crate::error::{ModelError, require};
use crate::indicator::{FluorStatistics, Indicator};

/// The calcium of every neuron, c_t = (g + h) c_{t−1} − g h c_{t−2} + gain·s_t + baseline (h = 0
/// without rise), seen as x_t ~ N(f(c_t), noise²).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalciumModel {
    /// Decay g, gain and baseline of each neuron.
    pub neurons: Vec<Indicator>,
    /// Rise per bin, h in (0, 1), of an indicator that takes longer than a bin to rise.
    pub rise: Option<f64>,
    /// f; the identity if absent.
    pub saturation: Option<Hill>,
}

impl CalciumModel {
    /// `n_neurons` neurons of one linear AR(1) indicator.
    pub fn shared(indicator: Indicator, n_neurons: usize) -> Self {
        Self {
            neurons: vec![indicator; n_neurons],
            rise: None,
            saturation: None,
        }
    }

    /// Neurons whose indicators differ in all but the saturation and whether there is a rise.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a neuron that differs in one of these, or for rises that differ.
    pub fn of(neurons: &[SampledIndicator]) -> Result<Self, ModelError> {
        let first = neurons.first();
        let rise = first.and_then(SampledIndicator::rise);
        let saturation = first.and_then(SampledIndicator::saturation);
        let differs =
            |neuron: &SampledIndicator| neuron.rise() != rise || neuron.saturation() != saturation;
        let odd = neurons.iter().position(differs);
        require(
            odd.is_none(),
            "the first neuron with another rise or saturation",
            odd.unwrap_or_default(),
            "none: all share them",
        )?;
        Ok(Self {
            neurons: neurons.iter().map(Indicator::from).collect(),
            rise,
            saturation,
        })
    }

    /// Checks every number, and that there are `n_neurons` neurons.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the field, the value and the valid range.
    pub fn validate(&self, n_neurons: usize) -> Result<(), ModelError> {
        let found = self.neurons.len();
        require(
            found == n_neurons,
            "neurons of the calcium model",
            found,
            "as many as the data have",
        )?;
        self.neurons.iter().try_for_each(Indicator::validate)?;
        if let Some(rise) = self.rise {
            require(rise > 0.0 && rise < 1.0, "rise", rise, "in (0, 1)")?;
        }
        self.saturation.as_ref().map_or(Ok(()), check_saturation)
    }

    /// Measures `fluor`, `[trial, time, neuron]`, NaN where missing: the mean of
    /// c_t − Σ_i a_i c_{t−i} − baseline is the gain times the mean count.
    pub fn measure(&self, fluor: ArrayView3<'_, f32>) -> FluorStatistics {
        let per_neuron = |(trials, indicator): (ArrayView2<'_, f32>, &Indicator)| {
            let sd = standard_deviation(trials.iter());
            let calcium = trials.mapv(self.frame_by_frame(0.5 * sd));
            let [a, b] = coefficients(indicator.g, self.rise);
            let (mut sum, mut n) = (0.0, 0.0);
            for trace in calcium.rows() {
                for window in trace.windows(3) {
                    let innovation = window[2] - a * window[1] - b * window[0];
                    if !innovation.is_nan() {
                        sum += innovation - indicator.baseline;
                        n += 1.0;
                    }
                }
            }
            let mean_count = sum / f64::max(n, 1.0) / indicator.gain;
            (mean_count as f32, sd as f32)
        };
        let neurons = fluor.axis_iter(Axis(2)).zip(&self.neurons);
        let (mean_counts, sd) = neurons.map(per_neuron).unzip();
        FluorStatistics { mean_counts, sd }
    }

    /// The calcium of a frame, as far as it alone tells.
    fn frame_by_frame(&self, noise_sd: f64) -> impl Fn(f32) -> f64 + use<> {
        let sensor = self
            .saturation
            .map(|hill| SaturatingSensor::new(hill, noise_sd.max(1e-3)));
        move |x| match &sensor {
            Some(sensor) if !x.is_nan() => sensor.calcium(f64::from(x)).0,
            _ => f64::from(x),
        }
    }
}

/// Whether the calcium of a trial starts from rest, as in the paper, or in mid-decay, as in
/// trials cut from a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialStart {
    /// No calcium before the first bin.
    #[default]
    Rest,
    /// Any calcium, inferred with the spikes.
    Decaying,
}

/// The calcium of every neuron as a trainable part of a model, `[neuron]` each.
#[derive(Module, Debug)]
pub(crate) struct CalciumParameters {
    decay_logit: Param<Tensor<1>>,
    rise_logit: Option<Param<Tensor<1>>>,
    log_gain: Param<Tensor<1>>,
    /// Least and greatest log-gain, `[neuron]`, if the gain is bounded.
    #[module(skip)]
    log_gain_bounds: Option<Vec<[f32; 2]>>,
    baseline: Param<Tensor<1>>,
    log_noise: Param<Tensor<1>>,
    #[module(skip)]
    saturation: Option<Hill>,
    start: Option<StartPrior>,
}

/// The prior of the calcium before a trial that starts in mid-decay, `[neuron]`: not learned, but
/// kept with the weights, since it was measured on the data they were trained on.
#[derive(Module, Debug)]
struct StartPrior {
    mean: Param<Tensor<1>>,
    variance: Param<Tensor<1>>,
}

/// The calcium of one neuron, as known or learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeuronCalcium {
    /// Decay per bin, g.
    pub decay: f64,
    /// Rise per bin, h, if the indicator has one.
    pub rise: Option<f64>,
    /// Calcium of one spike.
    pub gain: f64,
    /// Drift per bin.
    pub baseline: f64,
    /// Standard deviation of the noise.
    pub noise_sd: f64,
}

impl CalciumParameters {
    /// Starts at `model`; all but the noise stay there unless `learn`.
    pub fn new(
        model: &CalciumModel,
        statistics: &FluorStatistics,
        start: TrialStart,
        learn: bool,
        device: &Device,
    ) -> Self {
        let parameter = |value: &dyn Fn(&Indicator) -> f64| {
            let values: Vec<f32> = model.neurons.iter().map(|n| value(n) as f32).collect();
            Param::from_tensor(Tensor::from_floats(values.as_slice(), device))
                .set_require_grad(learn)
        };
        let log_noise = statistics.initial_log_noise();
        Self {
            decay_logit: parameter(&|neuron| logit(neuron.g)),
            rise_logit: model.rise.map(|rise| parameter(&|_| logit(rise))),
            log_gain: parameter(&|neuron| neuron.gain.ln()),
            log_gain_bounds: None,
            baseline: parameter(&|neuron| neuron.baseline),
            log_noise: Param::from_tensor(Tensor::from_floats(log_noise.as_slice(), device)),
            saturation: model.saturation,
            start: (start == TrialStart::Decaying)
                .then(|| StartPrior::stationary(model, statistics, device)),
        }
    }

    /// The same, but that [`Self::project`] keeps each gain within this factor of where it is.
    #[must_use]
    pub fn with_gain_within(mut self, factor: f64) -> Self {
        let bounds = host(&self.log_gain)
            .into_iter()
            .map(|log_gain| [-1.0, 1.0].map(|sign| (log_gain + sign * factor.ln()) as f32));
        self.log_gain_bounds = Some(bounds.collect());
        self
    }

    /// Moves gains beyond their bounds back to them.
    #[must_use]
    pub fn project(mut self) -> Self {
        if let Some(bounds) = &self.log_gain_bounds {
            let bound = |which: usize| bounds.iter().map(|bounds| bounds[which]).collect();
            let (low, high): (Vec<f32>, Vec<f32>) = (bound(0), bound(1));
            self.log_gain = self.log_gain.map(|log_gain| {
                let device = log_gain.device();
                let tracked = log_gain.is_require_grad();
                let within = log_gain
                    .max_pair(Tensor::from_floats(low.as_slice(), &device))
                    .min_pair(Tensor::from_floats(high.as_slice(), &device));
                within.detach().set_require_grad(tracked)
            });
        }
        self
    }

    /// The parameters as numbers, `[neuron]`.
    pub fn values(&self) -> Vec<NeuronCalcium> {
        let decay = host(&self.decay_logit);
        let rise = self.rise_logit.as_ref().map(host);
        let (log_gain, baseline) = (host(&self.log_gain), host(&self.baseline));
        let log_noise = host(&self.log_noise);
        (0..decay.len())
            .map(|neuron| NeuronCalcium {
                decay: sigmoid(decay[neuron]),
                rise: rise.as_ref().map(|rise| sigmoid(rise[neuron])),
                gain: log_gain[neuron].exp(),
                baseline: baseline[neuron],
                noise_sd: log_noise[neuron].exp(),
            })
            .collect()
    }

    /// The saturation of the indicator, if any.
    pub fn saturation(&self) -> Option<Hill> {
        self.saturation
    }

    /// The posterior of each neuron's spikes, through the sensor that `sensor` makes of a noise.
    pub fn posteriors<const P: usize, S: Sensor>(
        &self,
        neurons: &[NeuronCalcium],
        sensor: impl Fn(f64) -> S,
    ) -> Vec<CountModel<P, S>> {
        let start = self.start.as_ref();
        let start = start.map(|start| (host(&start.mean), host(&start.variance)));
        let posterior = |(index, neuron): (usize, &NeuronCalcium)| CountModel {
            calcium: neuron.calcium(),
            sensor: sensor(neuron.noise_sd),
            start: match &start {
                None => Start::Rest,
                Some((mean, variance)) => Start::Decaying {
                    direction: CalciumDynamics::decaying(1.0, neuron.decay),
                    mean: mean[index],
                    variance: variance[index],
                },
            },
        };
        neurons.iter().enumerate().map(posterior).collect()
    }

    /// −log N(x; f(c), noise²) of sampled counts, mean over `n_trials`, with the gradients of
    /// noise and calcium at these counts.
    ///
    /// The calcium's gradient is scaled to one bin, that of a few numbers that every bin pulls
    /// at in common: it would otherwise fill the clipped joint norm.
    pub fn reconstruction<const P: usize>(
        &self,
        neurons: &[NeuronCalcium],
        residuals: &[Residuals<P>],
        n_trials: usize,
        n_bins: usize,
    ) -> Tensor<1> {
        let device = self.log_noise.val().device();
        let column = |value: &dyn Fn(&Residuals<P>) -> f64| {
            let values: Vec<f32> = residuals.iter().map(|r| value(r) as f32).collect();
            let n_neurons = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [n_neurons]), &device)
        };
        let log_noise = self.log_noise.val();
        let precision = log_noise.clone().mul_scalar(-2.0).exp();
        let half_log_tau = 0.5 * (2.0 * std::f64::consts::PI).ln();
        let n = column(&|r| r.n);
        let noise_term = n * log_noise.add_scalar(half_log_tau)
            + column(&|r| 0.5 * r.squares) * precision.clone();
        let per_trial = 1.0 / n_trials as f64;
        let mut sum = noise_term.sum().mul_scalar(per_trial);
        for (parameter, slope) in self.slopes(neurons, residuals) {
            let parameter = parameter.val();
            let change = parameter.clone() - parameter.detach();
            let slope = Tensor::<1>::from_floats(slope.as_slice(), &device);
            let pull = change * slope * precision.clone().detach();
            sum = sum + pull.sum().mul_scalar(per_trial / n_bins as f64);
        }
        sum
    }

    /// The learned parameters, with ½ d squares / d parameter of each neuron.
    fn slopes<const P: usize>(
        &self,
        neurons: &[NeuronCalcium],
        residuals: &[Residuals<P>],
    ) -> Vec<(&Param<Tensor<1>>, Vec<f32>)> {
        if !self.decay_logit.is_require_grad() {
            return Vec::new();
        }
        let by = |slope: &dyn Fn(&NeuronCalcium, &Residuals<P>) -> f64| {
            let pairs = neurons.iter().zip(residuals);
            pairs.map(|(neuron, r)| slope(neuron, r) as f32).collect()
        };
        // d a_1/d g = 1, d a_2/d g = −h, and the same with g and h exchanged.
        let by_root = |r: &Residuals<P>, root: f64, other: f64| {
            let second = r.by_coefficients.get(1).map_or(0.0, |b| b * other);
            (r.by_coefficients[0] - second) * root * (1.0 - root)
        };
        let mut slopes = vec![
            (
                &self.decay_logit,
                by(&|neuron, r| by_root(r, neuron.decay, neuron.rise.unwrap_or(0.0))),
            ),
            (&self.log_gain, by(&|_, r| r.by_log_gain)),
            (&self.baseline, by(&|_, r| r.by_baseline)),
        ];
        if let Some(rise_logit) = &self.rise_logit {
            let by_rise = by(&|neuron, r| by_root(r, neuron.rise.unwrap_or(0.0), neuron.decay));
            slopes.push((rise_logit, by_rise));
        }
        slopes
    }

    /// What is new in each bin of `x`, `[time, trial, neuron]` flat: c_t − Σ_i a_i c_{t−i} −
    /// baseline, zero where a frame it needs is missing; c is taken from each frame alone.
    pub fn innovations(&self, neurons: &[NeuronCalcium], x: &[f32], n_traces: usize) -> Vec<f32> {
        let calcium = self.frames(neurons, x);
        let from_rest = self.start.is_none();
        let mut innovations = vec![0.0; x.len()];
        let before = |place: usize, lag: usize| match place.checked_sub(lag * n_traces) {
            Some(place) => f64::from(calcium[place]),
            None if from_rest => 0.0,
            None => f64::NAN,
        };
        for (place, innovation) in innovations.iter_mut().enumerate() {
            let neuron = &neurons[place % neurons.len()];
            let [a, b] = coefficients(neuron.decay, neuron.rise);
            let mut new = before(place, 0) - a * before(place, 1) - neuron.baseline;
            if neuron.rise.is_some() {
                new -= b * before(place, 2);
            }
            if !new.is_nan() {
                *innovation = new as f32;
            }
        }
        innovations
    }

    fn frames(&self, neurons: &[NeuronCalcium], x: &[f32]) -> Vec<f32> {
        let Some(hill) = self.saturation else {
            return x.to_vec();
        };
        let sensors: Vec<SaturatingSensor> = neurons
            .iter()
            .map(|neuron| SaturatingSensor::new(hill, neuron.noise_sd))
            .collect();
        let calcium = |(place, &x): (usize, &f32)| match x.is_nan() {
            true => x,
            false => sensors[place % neurons.len()].calcium(f64::from(x)).0 as f32,
        };
        x.iter().enumerate().map(calcium).collect()
    }
}

impl NeuronCalcium {
    fn calcium<const P: usize>(&self) -> CalciumDynamics<P> {
        let both = coefficients(self.decay, self.rise);
        CalciumDynamics {
            coefficients: std::array::from_fn(|lag| both.get(lag).copied().unwrap_or(0.0)),
            gain: self.gain,
            baseline: self.baseline,
        }
    }
}

impl StartPrior {
    /// Mean and variance of each neuron's calcium over time.
    fn stationary(model: &CalciumModel, statistics: &FluorStatistics, device: &Device) -> Self {
        let rest = 1.0 - model.rise.unwrap_or(0.0);
        let mean = |(neuron, &count): (&Indicator, &f32)| {
            let drive = neuron.gain * f64::from(count.max(0.0)) + neuron.baseline;
            (drive / ((1.0 - neuron.g) * rest)) as f32
        };
        let variance = |(neuron, &sd): (&Indicator, &f32)| {
            f64::from(sd).powi(2).max(neuron.gain.powi(2)) as f32
        };
        let parameter = |values: Vec<f32>| {
            Param::from_tensor(Tensor::from_floats(values.as_slice(), device))
                .set_require_grad(false)
        };
        let neurons = || model.neurons.iter();
        Self {
            mean: parameter(neurons().zip(&statistics.mean_counts).map(mean).collect()),
            variance: parameter(neurons().zip(&statistics.sd).map(variance).collect()),
        }
    }
}

fn check_saturation(hill: &Hill) -> Result<(), ModelError> {
    for (field, value) in [
        ("saturation.exponent", hill.exponent),
        ("saturation.half_saturation", hill.half_saturation),
        ("saturation.scale", hill.scale),
    ] {
        require(value > 0.0 && value.is_finite(), field, value, "above 0")?;
    }
    Ok(())
}

/// a_1 and a_2 of the roots g and h.
fn coefficients(g: f64, rise: Option<f64>) -> [f64; 2] {
    let h = rise.unwrap_or(0.0);
    [g + h, -g * h]
}

/// Over the values that are not missing.
fn standard_deviation<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> f64 {
    let present = values.map(|&x| f64::from(x)).filter(|x| !x.is_nan());
    let n = present.clone().count().max(1) as f64;
    let mean = present.clone().sum::<f64>() / n;
    (present.map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt()
}

fn host(parameter: &Param<Tensor<1>>) -> Vec<f64> {
    let values: Vec<f32> = parameter.val().into_data().iter::<f32>().collect();
    values.into_iter().map(f64::from).collect()
}

/// Of a probability-like number; 0, no decay at all, becomes the least that can be learned from.
fn logit(p: f64) -> f64 {
    let p = p.max(1e-6);
    (p / (1.0 - p)).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
