//! The deep level: encoder, initial condition, generator, factors and rates (LFADS).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use gru::{GruSpec, ResetGate, gru_generate};
use serde::{Deserialize, Serialize};

use crate::controller::{Controller, ControllerConfig, Driven, InferredInputs, Surroundings};
use crate::elbo::{Elbo, Term};
use crate::error::ModelError;
use crate::gaussian::{DiagonalGaussian, Prior};
use crate::layers::{Gru, Linear, normal_weight};
use crate::noise::Noise;
use crate::pass::Pass;

/// Sizes and regularisation of the deep level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DynamicsConfig {
    /// Factors per bin.
    pub n_factors: usize,
    /// Hidden units of each direction of the encoder.
    pub n_encoder: usize,
    /// Hidden units of the generator.
    pub n_generator: usize,
    /// Size of the initial condition; the generator starts from it directly if equal to
    /// `n_generator`, else through a linear map.
    pub n_ic: usize,
    /// Coordinated dropout: the probability that an input element is hidden from the encoder;
    /// only hidden elements enter the reconstruction (Keshtkaran & Pandarinath 2019).
    pub coordinated_dropout: f64,
    /// Dropout on the encoder's final states and on the generator's states before the factors.
    pub dropout: f64,
    /// Weight of the L2 penalty on the generator's recurrent weights.
    pub l2: f64,
    /// Variance of the initial condition's prior; its mean is learned.
    pub ic_prior_variance: f64,
    /// GRU states are clipped to plus or minus this.
    pub state_clip: f64,
    /// The inferred inputs to the generator; without any by default, which files need not say.
    #[serde(skip_serializing_if = "ControllerConfig::is_default")]
    pub controller: ControllerConfig,
}

impl Default for DynamicsConfig {
    /// The sizes of the paper's Table 1; the regularisation that reaches its fit soonest.
    fn default() -> Self {
        Self {
            n_factors: 3,
            n_encoder: 64,
            n_generator: 64,
            n_ic: 64,
            coordinated_dropout: 0.3,
            dropout: 0.1,
            l2: 10.0,
            ic_prior_variance: 0.1,
            state_clip: 5.0,
            controller: ControllerConfig::default(),
        }
    }
}

impl DynamicsConfig {
    /// Checks every number.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the field, the value and the valid range.
    pub fn validate(&self) -> Result<(), ModelError> {
        use crate::error::require;
        for (field, size) in [
            ("n_factors", self.n_factors),
            ("n_encoder", self.n_encoder),
            ("n_generator", self.n_generator),
            ("n_ic", self.n_ic),
        ] {
            require((1..=4096).contains(&size), field, size, "from 1 to 4096")?;
        }
        for (field, p) in [
            ("coordinated_dropout", self.coordinated_dropout),
            ("dropout", self.dropout),
        ] {
            require((0.0..1.0).contains(&p), field, p, "in [0, 1)")?;
        }
        require(self.l2 >= 0.0, "l2", self.l2, "0 or more")?;
        for (field, x) in [
            ("ic_prior_variance", self.ic_prior_variance),
            ("state_clip", self.state_clip),
        ] {
            require(x > 0.0 && x.is_finite(), field, x, "above 0 and finite")?;
        }
        self.controller.validate()
    }

    /// Fresh weights for `log_rates.len()` neurons, whose rates start at `log_rates` (log Hz).
    pub fn init(&self, log_rates: &[f32], noise: &mut Noise, device: &Device) -> Dynamics {
        Dynamics::new(self, Tensor::from_floats(log_rates, device), noise)
    }
}

/// The deep level: x → Q(g₀|x) → generator states → factors → log-rates, and where inputs are
/// inferred x → Q(u_t|x, f_{t−1}) → generator.
#[derive(Module, Debug)]
pub struct Dynamics {
    encoder: Gru,
    ic_posterior: Linear,
    ic_prior: Prior,
    ic_to_state: Option<Linear>,
    w_rec: Param<Tensor<2>>,
    b_rec: Param<Tensor<1>>,
    w_factors: Param<Tensor<2>>,
    rates: Linear,
    controller: Option<Controller>,
    #[module(skip)]
    config: DynamicsConfig,
}

impl Dynamics {
    fn new(config: &DynamicsConfig, log_rates: Tensor<1>, noise: &mut Noise) -> Self {
        let device = log_rates.device();
        let (n_hidden, n_ic) = (config.n_generator, config.n_ic);
        let n_neurons = log_rates.dims()[0];
        let encoder = Gru::new(2, n_neurons, config.n_encoder, config.encoder_spec(), noise);
        // Posterior widths start at the prior's.
        let posterior_bias = Tensor::cat(
            vec![
                Tensor::zeros([n_ic], &device),
                Tensor::full([n_ic], config.ic_prior_variance.ln(), &device),
            ],
            0,
        );
        // Gate order r, z, n; the update gate starts biased towards keeping the state.
        let b_rec = Tensor::cat(
            vec![
                Tensor::zeros([n_hidden], &device),
                Tensor::ones([n_hidden], &device),
                Tensor::zeros([n_hidden], &device),
            ],
            0,
        );
        let w_rec = normal_weight([n_hidden, 3 * n_hidden], n_hidden, 1.0, noise);
        let w_factors = normal_weight([n_hidden, config.n_factors], n_hidden, 1.0, noise);
        let mut level = Self {
            encoder,
            ic_posterior: Linear::new(2 * config.n_encoder, posterior_bias, 1.0, noise),
            ic_prior: Prior::new(n_ic, config.ic_prior_variance, false, &device),
            ic_to_state: (n_ic != n_hidden)
                .then(|| Linear::new(n_ic, Tensor::zeros([n_hidden], &device), 1.0, noise)),
            w_rec: Param::from_tensor(w_rec),
            b_rec: Param::from_tensor(b_rec),
            w_factors: Param::from_tensor(w_factors),
            rates: Linear::new(config.n_factors, log_rates, 1.0, noise),
            controller: None,
            config: config.clone(),
        };
        let around = Surroundings {
            n_neurons,
            n_factors: config.n_factors,
            n_generator: n_hidden,
            spec: config.encoder_spec(),
        };
        let controls = config.controller.n_inputs > 0;
        level.controller = controls.then(|| Controller::new(&config.controller, around, noise));
        level.project()
    }

    /// The configuration the weights were made for.
    pub fn config(&self) -> &DynamicsConfig {
        &self.config
    }

    /// Q(g₀ | x), and what drives the controller, of everything that there is to read.
    pub fn encode(&self, input: DeepInput) -> DeepPosterior {
        let DeepInput { values, n_lead_in } = input;
        let drive = |controller: &Controller| controller.encode(values.clone(), n_lead_in, None);
        let drive = self.controller.as_ref().map(drive);
        self.posterior(self.encoder.final_states(values), drive)
    }

    /// One pass through the level: what it reads is split, encoded and sampled, with dropout as
    /// `pass` says.
    pub fn pass(&self, input: DeepInput, pass: &mut Pass<'_>) -> DeepPass {
        let DeepInput { values, n_lead_in } = input;
        let n_bins = values.dims()[0];
        let split = Coordinated::split(values.clone(), self.config.coordinated_dropout, pass);
        let finals = self.encoder.final_states(split.input.clone());
        let finals = match pass.dropout.drops_in_encoder() {
            true => pass.noise.drop_out(finals, self.config.dropout),
            false => finals,
        };
        let drive = self.controller.as_ref().map(|controller| {
            let dropout = match pass.dropout.drops_in_encoder() {
                true => Some((self.config.dropout, &mut *pass.noise)),
                false => None,
            };
            controller.encode(split.input.clone(), n_lead_in, dropout)
        });
        let posterior = self.posterior(finals, drive);
        DeepPass {
            draw: self.generate(&posterior, (n_bins, n_lead_in), pass),
            input: values,
            split,
            posterior,
        }
    }

    fn posterior(&self, finals: Tensor<2>, drive: Option<Tensor<3>>) -> DeepPosterior {
        DeepPosterior {
            ic: DiagonalGaussian::from_parameters(self.ic_posterior.forward(finals)),
            drive,
        }
    }

    /// One sample: the generator runs from g₀ ~ Q through the bins, preceded by those that lead
    /// in, driven by u_t ~ Q where inputs are inferred; f_t = W_fac g_t. Dropout acts on g_t on its way to the factors only, never on the
    /// recurrent path.
    pub fn generate(
        &self,
        posterior: &DeepPosterior,
        (n_bins, n_lead_in): (usize, usize),
        pass: &mut Pass<'_>,
    ) -> DeepDraw {
        let state = self.initial_state(posterior.ic.sample(pass.noise));
        let n_bins = n_bins + n_lead_in;
        let n_states = n_bins * state.dims().iter().product::<usize>();
        let dropout = match pass.dropout.drops_in_generator() {
            true => pass.noise.dropout(n_states, self.config.dropout),
            false => None,
        };
        let initial_factors = state.clone().matmul(self.w_factors.val());
        let (factors, inputs) = match (&self.controller, &posterior.drive) {
            (Some(controller), Some(drive)) => {
                let driven = Driven {
                    state,
                    w_rec: self.w_rec.val(),
                    b_rec: self.b_rec.val(),
                    w_factors: self.w_factors.val(),
                    dropout,
                    clip: self.config.state_clip as f32,
                };
                let (factors, inputs) = controller.generate(drive.clone(), driven, pass.noise);
                (factors, Some(inputs))
            }
            _ => (self.generate_alone(state, n_bins, dropout), None),
        };
        DeepDraw {
            initial_factors,
            log_rates: self.rates.forward_sequence(factors.clone()),
            factors,
            inputs,
            n_lead_in,
        }
    }

    /// Factors of the generator left to itself.
    fn generate_alone(
        &self,
        state: Tensor<2>,
        n_bins: usize,
        dropout: Option<Vec<f32>>,
    ) -> Tensor<3> {
        gru_generate(
            state,
            self.w_rec.val(),
            self.b_rec.val(),
            self.w_factors.val(),
            n_bins,
            self.config.generator_spec(),
            dropout,
        )
    }

    /// The level's own terms of the bound: KL(Q(g₀|x) ‖ P(g₀)) and KL(Q(u|x) ‖ P(u)), mean over
    /// trials, and the penalty ½ · l2 · (mean square of the gates' recurrent weights + that of the
    /// candidate's).
    pub fn terms(&self, deep: &DeepPass) -> Elbo {
        let ic = &deep.posterior.ic;
        let n_trials = ic.mean.dims()[0] as f64;
        let kl = ic.kl(&self.ic_prior).div_scalar(n_trials);
        let terms = Elbo::new().with(Term::KlIc, kl).with(Term::L2, self.l2());
        match (&self.controller, &deep.draw.inputs) {
            (Some(controller), Some(inputs)) => {
                let kl = controller.kl(inputs).div_scalar(n_trials);
                terms.with(Term::KlInputs, kl)
            }
            _ => terms,
        }
    }

    /// The states that follow on `ic`, `[trial, ic]`: `[time, trial, ic]`. None where the generator does
    /// not start from the initial condition itself, or not go on alone.
    pub(crate) fn states(&self, ic: Tensor<2>, n_bins: usize) -> Option<Tensor<3>> {
        if self.ic_to_state.is_some() || self.controller.is_some() {
            return None;
        }
        let every_unit = Tensor::eye(self.config.n_generator, &ic.device());
        let (w_rec, b_rec) = (self.w_rec.val(), self.b_rec.val());
        let spec = self.config.generator_spec();
        Some(gru_generate(
            ic, w_rec, b_rec, every_unit, n_bins, spec, None,
        ))
    }

    /// KL(Q(g₀|x) ‖ P(g₀)) of each trial, `[trial]`, in nats.
    pub(crate) fn surprise(&self, ic: &DiagonalGaussian<2>) -> Tensor<1> {
        ic.kl_of_rows(&self.ic_prior)
    }

    fn l2(&self) -> Tensor<1> {
        let n_hidden = self.config.n_generator;
        let squares = self.w_rec.val().square().mean_dim(0);
        let gates = squares.clone().narrow(1, 0, 2 * n_hidden).mean();
        let candidate = squares.narrow(1, 2 * n_hidden, n_hidden).mean();
        (gates + candidate).mul_scalar(0.5 * self.config.l2)
    }

    /// The biases of the log-rates, `[neuron]`: the rates of a level that is not yet active.
    pub fn baseline_log_rates(&self) -> Tensor<1> {
        self.rates.bias()
    }

    /// Scales each factor's weights to unit norm.
    #[must_use]
    pub fn project(mut self) -> Self {
        self.w_factors = self.w_factors.map(|weights| {
            let norms = weights.clone().square().sum_dim(0).sqrt();
            let projected = (weights / norms.clamp_min(1e-12)).detach();
            let tracked = projected.device().is_autodiff();
            projected.set_require_grad(tracked)
        });
        self
    }

    /// Fresh weights of the same sizes, keeping the neurons' mean rates.
    #[must_use]
    pub fn reset(self, noise: &mut Noise) -> Self {
        Self::new(&self.config, self.rates.bias().detach(), noise)
    }

    fn initial_state(&self, ic: Tensor<2>) -> Tensor<2> {
        match &self.ic_to_state {
            Some(map) => map.forward(ic),
            None => ic,
        }
    }
}

/// What the encoder of the deep level reads.
#[derive(Clone, Debug)]
pub struct DeepInput {
    /// `[time, trial, neuron]`.
    pub values: Tensor<3>,
    /// Bins the generator runs before the first observed one.
    pub n_lead_in: usize,
}

impl From<Tensor<3>> for DeepInput {
    /// The generator's first bin is the first observed one.
    fn from(values: Tensor<3>) -> Self {
        Self {
            values,
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

impl DynamicsConfig {
    fn encoder_spec(&self) -> GruSpec {
        GruSpec {
            reset: ResetGate::AfterProduct,
            clip: Some(self.state_clip as f32),
        }
    }

    fn generator_spec(&self) -> GruSpec {
        GruSpec {
            reset: ResetGate::BeforeProduct,
            clip: Some(self.state_clip as f32),
        }
    }
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
