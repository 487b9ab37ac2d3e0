//! The deep level: encoder, initial condition, generator, factors and rates (LFADS).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use gru::{GruSpec, ResetGate, gru_generate};
use serde::{Deserialize, Serialize};

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
        Ok(())
    }

    /// Fresh weights for `log_rates.len()` neurons, whose rates start at `log_rates` (log Hz).
    pub fn init(&self, log_rates: &[f32], noise: &mut Noise, device: &Device) -> Dynamics {
        Dynamics::new(self, Tensor::from_floats(log_rates, device), noise)
    }
}

/// The deep level: x → Q(g₀|x) → generator states → factors → log-rates.
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
        Self {
            encoder,
            ic_posterior: Linear::new(2 * config.n_encoder, posterior_bias, 1.0, noise),
            ic_prior: Prior::new(n_ic, config.ic_prior_variance, false, &device),
            ic_to_state: (n_ic != n_hidden)
                .then(|| Linear::new(n_ic, Tensor::zeros([n_hidden], &device), 1.0, noise)),
            w_rec: Param::from_tensor(w_rec),
            b_rec: Param::from_tensor(b_rec),
            w_factors: Param::from_tensor(w_factors),
            rates: Linear::new(config.n_factors, log_rates, 1.0, noise),
            config: config.clone(),
        }
        .project()
    }

    /// The configuration the weights were made for.
    pub fn config(&self) -> &DynamicsConfig {
        &self.config
    }

    /// Q(g₀ | x) of everything that there is to read, `[time, trial, neuron]`.
    pub fn encode(&self, x: Tensor<3>) -> DeepPosterior {
        self.posterior(self.encoder.final_states(x))
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
        let posterior = self.posterior(finals);
        DeepPass {
            draw: self.generate(&posterior, (n_bins, n_lead_in), pass),
            input: values,
            split,
            posterior,
        }
    }

    fn posterior(&self, finals: Tensor<2>) -> DeepPosterior {
        DeepPosterior {
            ic: DiagonalGaussian::from_parameters(self.ic_posterior.forward(finals)),
        }
    }

    /// One sample: the generator runs from g₀ ~ Q through the bins, preceded by those that lead
    /// in; f_t = W_fac g_t. Dropout acts on g_t on its way to the factors only, never on the
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
        let factors = gru_generate(
            state.clone(),
            self.w_rec.val(),
            self.b_rec.val(),
            self.w_factors.val(),
            n_bins,
            self.config.generator_spec(),
            dropout,
        );
        DeepDraw {
            initial_factors: state.matmul(self.w_factors.val()),
            log_rates: self.rates.forward_sequence(factors.clone()),
            factors,
            n_lead_in,
        }
    }

    /// The level's own terms of the bound: KL(Q(g₀|x) ‖ P(g₀)), mean over trials, and the penalty
    /// ½ · l2 · (mean square of the gates' recurrent weights + that of the candidate's).
    pub fn terms(&self, posterior: &DeepPosterior) -> Elbo {
        let n_trials = posterior.ic.mean.dims()[0];
        let kl = posterior.ic.kl(&self.ic_prior).div_scalar(n_trials as f64);
        Elbo::new().with(Term::KlIc, kl).with(Term::L2, self.l2())
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
    /// Bins before the first observed one.
    pub n_lead_in: usize,
}

impl DeepDraw {
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
