//! What goes into the deep level and what comes out of it.

use burn::tensor::Tensor;

use crate::controller::InferredInputs;
use crate::gaussian::DiagonalGaussian;
use crate::pass::Pass;

/// What the encoder of the deep level reads.
#[derive(Clone, Debug)]
pub struct DeepInput {
    /// `[time, trial, neuron]`.
    pub values: Tensor<3>,
    /// Known inputs to the generator, `[time, trial, input]`.
    pub external: Option<Tensor<3>>,
    /// Bins the generator runs before the first observed one.
    pub n_lead_in: usize,
}

impl From<Tensor<3>> for DeepInput {
    /// The generator's first bin is the first observed one.
    fn from(values: Tensor<3>) -> Self {
        Self {
            values,
            external: None,
            n_lead_in: 0,
        }
    }
}

/// What the encoder makes of it.
#[derive(Clone, Debug)]
pub struct DeepPosterior {
    /// Q(g₀|x).
    pub ic: DiagonalGaussian<2>,
    /// What drives the controller in each bin, if there is one: `[time, trial, 3·unit]`.
    pub drive: Option<Tensor<3>>,
    /// Known inputs to the generator, `[time, trial, input]`, those of the bins that lead in first.
    pub external: Option<Tensor<3>>,
}

impl DeepPosterior {
    /// The same beside known inputs.
    pub(crate) fn with_external(self, external: Option<Tensor<3>>) -> Self {
        Self { external, ..self }
    }
}

/// One sample of the deep level.
#[derive(Clone, Debug)]
pub struct DeepDraw {
    /// Factors before the first bin, W_fac g₀, `[trial, factor]`.
    pub initial_factors: Tensor<2>,
    /// Factors, `[time, trial, factor]`, those that lead in first.
    pub factors: Tensor<3>,
    /// Log-rates in log Hz, `[time, trial, neuron]`, those that lead in first.
    pub log_rates: Tensor<3>,
    /// The inputs that drove the generator, if they are inferred; those that lead in first.
    pub inputs: Option<InferredInputs>,
    /// Bins before the first observed one.
    pub n_lead_in: usize,
}

impl DeepDraw {
    /// What one trial has but for its inputs, as if `n_trials` had it.
    pub(crate) fn of_trial(&self, trial: usize, n_trials: usize) -> Self {
        let each = |x: &Tensor<3>| {
            let [n_bins, _, n_last] = x.dims();
            let one = x.clone().narrow(1, trial, 1);
            one.expand([n_bins, n_trials, n_last])
        };
        let initial = self.initial_factors.clone().narrow(0, trial, 1);
        let n_factors = initial.dims()[1];
        Self {
            initial_factors: initial.expand([n_trials, n_factors]),
            factors: each(&self.factors),
            log_rates: each(&self.log_rates),
            inputs: None,
            n_lead_in: self.n_lead_in,
        }
    }

    /// The same without the bins that lead in.
    #[must_use]
    pub fn observed(self) -> Self {
        if self.n_lead_in == 0 {
            return self;
        }
        let n_bins = self.factors.dims()[0] - self.n_lead_in;
        let cut = |x: Tensor<3>| x.narrow(0, self.n_lead_in, n_bins);
        Self {
            factors: cut(self.factors),
            log_rates: cut(self.log_rates),
            inputs: self.inputs.map(|inputs| inputs.since(self.n_lead_in)),
            n_lead_in: 0,
            ..self
        }
    }
}

/// A pass through the deep level.
#[derive(Clone, Debug)]
pub struct DeepPass {
    /// What there was to read, `[time, trial, neuron]`.
    pub input: Tensor<3>,
    /// How coordinated dropout split it.
    pub split: Coordinated,
    /// What the encoder made of its part.
    pub posterior: DeepPosterior,
    /// A sample.
    pub draw: DeepDraw,
}

/// A batch as coordinated dropout splits it between encoder and reconstruction
/// (Keshtkaran & Pandarinath 2019).
#[derive(Clone, Debug)]
pub struct Coordinated {
    /// What the encoder sees: hidden elements are zero, the others scaled by 1/(1 − p).
    pub input: Tensor<3>,
    /// Weights of the reconstruction: 1/p where hidden, else 0; `[1, 1, 1]`, a one, when nothing
    /// is hidden.
    pub weights: Tensor<3>,
}

impl Coordinated {
    /// Hides each element with `probability` in passes that drop units of the encoder, none in
    /// the others.
    pub fn split(x: Tensor<3>, probability: f64, pass: &mut Pass<'_>) -> Self {
        if probability == 0.0 || !pass.dropout.drops_in_encoder() {
            let weights = Tensor::ones([1, 1, 1], &x.device());
            return Self { input: x, weights };
        }
        let [visible, hidden] = pass.noise.either(x.dims(), 1.0 - probability);
        Self {
            input: x * visible,
            weights: hidden,
        }
    }

    /// Whether anything is hidden.
    pub fn hides(&self) -> bool {
        self.weights.dims() == self.input.dims()
    }

    /// Sum of `values` under the reconstruction weights.
    pub fn weigh(&self, values: Tensor<3>) -> Tensor<1> {
        match self.hides() {
            true => (values * self.weights.clone()).sum(),
            false => values.sum(),
        }
    }
}
