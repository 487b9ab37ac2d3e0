//! The deep level: encoder, initial condition, generator, factors and rates (LFADS).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use gru::{GruSpec, ResetGate, gru_generate};
use serde::{Deserialize, Serialize};

use crate::controller::{Controller, ControllerConfig, Driven, Surroundings, generate_known};
use crate::deep::{Coordinated, DeepDraw, DeepInput, DeepPass, DeepPosterior};
use crate::elbo::{Elbo, Term};
use crate::error::ModelError;
use crate::external::{ExternalConfig, Known, beside, led_in};
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
    /// The inputs to the generator that are known; likewise.
    #[serde(skip_serializing_if = "ExternalConfig::is_default")]
    pub external: ExternalConfig,
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
            external: ExternalConfig::default(),
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
        self.controller.validate()?;
        self.external.validate()
    }

    /// Fresh weights for `log_rates.len()` neurons, whose rates start at `log_rates` (log Hz).
    pub fn init(&self, log_rates: &[f32], noise: &mut Noise, device: &Device) -> Dynamics {
        Dynamics::new(self, Tensor::from_floats(log_rates, device), noise)
    }
}

/// The deep level: x → Q(g₀|x) → generator states → factors → log-rates, and where inputs are
/// inferred x → Q(u_t|x, f_{t−1}) → generator. Inputs that are known go to the generator beside those.
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
    /// From the known inputs to the gates, `[input, 3·generator]`.
    w_external: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: DynamicsConfig,
}

impl Dynamics {
    fn new(config: &DynamicsConfig, log_rates: Tensor<1>, noise: &mut Noise) -> Self {
        let device = log_rates.device();
        let (n_hidden, n_ic) = (config.n_generator, config.n_ic);
        let n_neurons = log_rates.dims()[0];
        let n_read = n_neurons + config.external.n_read();
        let encoder = Gru::new(2, n_read, config.n_encoder, config.encoder_spec(), noise);
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
            w_external: None,
            config: config.clone(),
        };
        let around = Surroundings {
            n_read,
            n_factors: config.n_factors,
            n_generator: n_hidden,
            spec: config.encoder_spec(),
        };
        let controls = config.controller.n_inputs > 0;
        level.controller = controls.then(|| Controller::new(&config.controller, around, noise));
        let n_external = config.external.n_inputs;
        level.w_external = (n_external > 0).then(|| {
            let weights = normal_weight([n_external, 3 * n_hidden], n_external, 1.0, noise);
            Param::from_tensor(weights)
        });
        level.project()
    }

    /// The configuration the weights were made for.
    pub fn config(&self) -> &DynamicsConfig {
        &self.config
    }

    /// Q(g₀ | x), and what drives the controller, of everything that there is to read.
    pub fn encode(&self, input: DeepInput) -> DeepPosterior {
        let DeepInput {
            values,
            external,
            n_lead_in,
        } = input;
        let read = self.read(values, external.as_ref());
        let drive = |controller: &Controller| controller.encode(read.clone(), n_lead_in, None);
        let drive = self.controller.as_ref().map(drive);
        self.posterior(self.encoder.final_states(read), drive)
            .with_external(external.map(|external| led_in(external, n_lead_in)))
    }

    /// What the encoders read of a batch.
    fn read(&self, values: Tensor<3>, external: Option<&Tensor<3>>) -> Tensor<3> {
        beside(
            values,
            external.filter(|_| self.config.external.encoders_read),
        )
    }

    /// One pass through the level: what it reads is split, encoded and sampled, with dropout as
    /// `pass` says.
    pub fn pass(&self, input: DeepInput, pass: &mut Pass<'_>) -> DeepPass {
        let DeepInput {
            values,
            external,
            n_lead_in,
        } = input;
        let n_bins = values.dims()[0];
        let split = Coordinated::split(values.clone(), self.config.coordinated_dropout, pass);
        let read = self.read(split.input.clone(), external.as_ref());
        let finals = self.encoder.final_states(read.clone());
        let finals = match pass.dropout.drops_in_encoder() {
            true => pass.noise.drop_out(finals, self.config.dropout),
            false => finals,
        };
        let drive = self.controller.as_ref().map(|controller| {
            let dropout = match pass.dropout.drops_in_encoder() {
                true => Some((self.config.dropout, &mut *pass.noise)),
                false => None,
            };
            controller.encode(read.clone(), n_lead_in, dropout)
        });
        let posterior = self
            .posterior(finals, drive)
            .with_external(external.map(|external| led_in(external, n_lead_in)));
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
            external: None,
        }
    }

    /// One sample: the generator runs from g₀ ~ Q through the bins, preceded by those that lead
    /// in, driven by u_t ~ Q where inputs are inferred and by those that are known; f_t = W_fac g_t. Dropout acts on
    /// g_t on its way to the factors only, never on the recurrent path.
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
        let known = self.known(posterior.external.as_ref());
        let (factors, inputs) = match (&self.controller, &posterior.drive, known) {
            (Some(controller), Some(drive), known) => {
                let driven = self.driven(state, dropout);
                let drive = drive.clone();
                let (factors, inputs) = controller.generate(drive, driven, known, pass.noise);
                (factors, Some(inputs))
            }
            (.., Some(known)) => (generate_known(self.driven(state, dropout), known), None),
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

    /// The known inputs with the way they take, where there are any.
    fn known(&self, external: Option<&Tensor<3>>) -> Option<Known> {
        let (values, weights) = external.zip(self.w_external.as_ref())?;
        Some(Known {
            values: values.clone(),
            w_input: weights.val(),
        })
    }

    /// The generator from `state` on, for something to drive it.
    fn driven(&self, state: Tensor<2>, dropout: Option<Vec<f32>>) -> Driven {
        Driven {
            state,
            w_rec: self.w_rec.val(),
            b_rec: self.b_rec.val(),
            w_factors: self.w_factors.val(),
            dropout,
            clip: self.config.state_clip as f32,
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
                let kl = controller.kl_of_trials(inputs).sum().div_scalar(n_trials);
                terms.with(Term::KlInputs, kl)
            }
            _ => terms,
        }
    }

    /// The states that follow on `ic`, `[trial, ic]`: `[time, trial, ic]`. None where the generator does
    /// not start from the initial condition itself, or not go on alone.
    pub(crate) fn states(&self, ic: Tensor<2>, n_bins: usize) -> Option<Tensor<3>> {
        let is_driven = self.controller.is_some() || self.w_external.is_some();
        if self.ic_to_state.is_some() || is_driven {
            return None;
        }
        let every_unit = Tensor::eye(self.config.n_generator, &ic.device());
        let (w_rec, b_rec) = (self.w_rec.val(), self.b_rec.val());
        let spec = self.config.generator_spec();
        Some(gru_generate(
            ic, w_rec, b_rec, every_unit, n_bins, spec, None,
        ))
    }

    /// KL(Q(g₀|x) ‖ P(g₀)) of each trial and, where a run has inferred inputs, KL(Q(u|x) ‖ P(u)) beside it: `[trial]`,
    /// in nats.
    pub(crate) fn surprise(&self, ic: &DiagonalGaussian<2>, run: &DeepDraw) -> Tensor<1> {
        let of_ic = ic.kl_of_rows(&self.ic_prior);
        match (&self.controller, &run.inputs) {
            (Some(controller), Some(inputs)) => of_ic + controller.kl_of_trials(inputs),
            _ => of_ic,
        }
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
