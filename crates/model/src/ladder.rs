//! Ladder LFADS: fluorescence ← spikes ← rates ← factors (Prince & Richards 2019).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use gru::{
    GruSpec, ResetGate, SpikeLoop, SpikeLoopArguments, affine, ar1_filter, gaussian_log_likelihood,
    poisson_log_likelihood, poisson_log_likelihood_of_rates, spike_loop,
};
use serde::{Deserialize, Serialize};

use crate::deep::{DeepDraw, DeepInput, DeepPass};
use crate::dynamics::{Dynamics, DynamicsConfig};
use crate::elbo::{Elbo, Term};
use crate::error::{ModelError, require};
use crate::gaussian::{DiagonalGaussian, Prior};
use crate::indicator::{FluorStatistics, Indicator};
use crate::layers::{Gru, Linear, delay, innovations, normal_weight};
use crate::lfads::{log_rates_from_counts, poisson_misfit, poisson_misfits};
use crate::noise::{Noise, Stream};
use crate::observed::Observed;
use crate::pass::Pass;
use crate::vae::{Draw, SequentialVae, ShallowLevel};

/// Above this the spike nonlinearity e^a − 1 goes on linearly: about 20 spikes a bin.
const MAX_LOG_SPIKES: f32 = 3.0;

/// Sizes and regularisation of [`Ladder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LadderConfig {
    /// The deep level.
    pub dynamics: DynamicsConfig,
    /// Hidden units of each direction of the shallow encoder.
    pub n_encoder: usize,
    /// Hidden units of the shallow controller C¹.
    pub n_controller: usize,
    /// Size of the shallow latent z_t.
    pub n_latent: usize,
    /// Dropout on the controller's states.
    pub dropout: f64,
    /// Starting variance of z_t's prior; mean and variance are learned.
    pub latent_prior_variance: f64,
    /// Whether the posterior of z_t also reads the innovations x_t − γ x_{t−1} of its own and
    /// the next bins directly, past the recurrent encoder.
    pub innovation_skip: bool,
    /// Whether the observations' likelihood trains the deep level through f_t's part in s_t;
    /// otherwise only the spikes' Poisson term does.
    pub top_down_gradient: bool,
}

impl Default for LadderConfig {
    /// The sizes of the paper's Table 1.
    fn default() -> Self {
        Self {
            dynamics: DynamicsConfig::default(),
            n_encoder: 128,
            n_controller: 128,
            n_latent: 100,
            dropout: 0.0,
            latent_prior_variance: 0.1,
            innovation_skip: false,
            top_down_gradient: true,
        }
    }
}

impl LadderConfig {
    /// Fresh weights for fluorescence with the given statistics, in bins of `dt_s` seconds.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a setting outside its range.
    pub fn init(
        &self,
        statistics: &FluorStatistics,
        indicator: Indicator,
        dt_s: f64,
        seed: u64,
        device: &Device,
    ) -> Result<Ladder, ModelError> {
        self.validate()?;
        require(dt_s > 0.0, "dt_s", dt_s, "above 0")?;
        indicator.validate()?;
        let mut noise = Noise::new(seed, Stream::Weights, device);
        let log_rates = log_rates_from_counts(&statistics.mean_counts, dt_s);
        Ok(Ladder {
            dynamics: self.dynamics.init(&log_rates, &mut noise, device),
            shallow: Shallow::new(self, statistics, indicator, &mut noise, device),
            log_dt: dt_s.ln(),
            config: self.clone(),
        })
    }

    fn validate(&self) -> Result<(), ModelError> {
        self.dynamics.validate()?;
        for (field, size) in [
            ("n_encoder", self.n_encoder),
            ("n_controller", self.n_controller),
            ("n_latent", self.n_latent),
        ] {
            require((1..=4096).contains(&size), field, size, "from 1 to 4096")?;
        }
        require(
            (0.0..1.0).contains(&self.dropout),
            "dropout",
            self.dropout,
            "in [0, 1)",
        )?;
        require(
            self.latent_prior_variance > 0.0,
            "latent_prior_variance",
            self.latent_prior_variance,
            "above 0",
        )
    }
}

/// The ladder: a deep level that explains spikes, a shallow one that explains fluorescence.
#[derive(Module, Debug)]
pub struct Ladder {
    dynamics: Dynamics,
    shallow: Shallow,
    #[module(skip)]
    log_dt: f64,
    #[module(skip)]
    config: LadderConfig,
}

/// The shallow level: x → Q(z|x) → spikes → calcium.
#[derive(Module, Debug)]
struct Shallow {
    encoder: Gru,
    controller: Gru,
    initial_posterior: Linear,
    latent_prior: Prior,
    initial_prior: Prior,
    posterior_from_controller: Linear,
    posterior_from_factors: Param<Tensor<2>>,
    posterior_from_innovations: Option<Param<Tensor<2>>>,
    posterior_from_spikes: Param<Tensor<2>>,
    /// From the deep level's controller, if it has one.
    posterior_from_control: Option<Param<Tensor<2>>>,
    spikes_from_factors: Linear,
    spikes_from_latent: Param<Tensor<2>>,
    log_noise: Param<Tensor<1>>,
    #[module(skip)]
    indicator: Indicator,
}

/// What the shallow encoders make of a batch.
#[derive(Clone, Debug)]
pub struct ShallowEncoded {
    initial: DiagonalGaussian<2>,
    drive: Tensor<3>,
}

/// What the shallow level takes from a sample of the deep one.
struct Above {
    /// Factors before the first bin, `[trial, factor]`.
    initial_factors: Tensor<2>,
    /// `[time, trial, factor]`.
    factors: Tensor<3>,
    /// States of the controller, `[time, trial, unit]`, if there is one.
    control: Option<Tensor<3>>,
}

impl Above {
    fn of(deep: &DeepDraw) -> Self {
        let control = deep.inputs.as_ref().map(|inputs| inputs.control.clone());
        Self {
            initial_factors: deep.initial_factors.clone(),
            factors: deep.factors.clone(),
            control,
        }
    }

    /// The same without a way back for the gradient.
    fn detached(self) -> Self {
        Self {
            initial_factors: self.initial_factors.detach(),
            factors: self.factors.detach(),
            control: self.control.map(Tensor::detach),
        }
    }
}

/// One sample of the shallow level.
struct ShallowDraw {
    initial: DiagonalGaussian<2>,
    /// KL of z₁ … z_T.
    kl: Tensor<1>,
    spikes: Tensor<3>,
    calcium: Tensor<3>,
}

/// Samples averaged into the spikes that a search for the initial conditions explains.
const N_EVIDENCE: usize = 8;
/// Innovations that the skip connection reads per bin: its own, the next and the one after.
const SKIP_LEADS: usize = 3;

impl Shallow {
    fn new(
        config: &LadderConfig,
        statistics: &FluorStatistics,
        indicator: Indicator,
        noise: &mut Noise,
        device: &Device,
    ) -> Self {
        let n_neurons = statistics.sd.len();
        let (n_latent, n_factors) = (config.n_latent, config.dynamics.n_factors);
        let spec = GruSpec {
            reset: ResetGate::AfterProduct,
            clip: Some(config.dynamics.state_clip as f32),
        };
        let prior_width = config.latent_prior_variance.ln();
        let posterior_bias = || {
            Tensor::cat(
                vec![
                    Tensor::zeros([n_latent], device),
                    Tensor::full([n_latent], prior_width, device),
                ],
                0,
            )
        };
        let spike_bias: Vec<f32> = statistics
            .mean_counts
            .iter()
            .map(|&count| count.max(0.01).ln_1p())
            .collect();
        let log_noise = statistics.initial_log_noise();
        let encoder = Gru::new(2, n_neurons, config.n_encoder, spec, noise);
        let controller = Gru::new(1, 2 * config.n_encoder, config.n_controller, spec, noise);
        let mut weight = |n_in: usize, n_out: usize, scale: f64| {
            Param::from_tensor(normal_weight([n_in, n_out], n_in, scale, noise))
        };
        // The factors come in when the deep level joins: smoothly, from zero. The spikes' loop
        // of exponentials must not have gain before it has learned.
        let posterior_from_factors = weight(n_factors, 2 * n_latent, 0.0);
        let posterior_from_spikes = weight(n_neurons, 2 * n_latent, 0.0);
        let posterior_from_innovations = config
            .innovation_skip
            .then(|| weight(SKIP_LEADS * n_neurons, 2 * n_latent, 0.3));
        let spikes_from_latent = weight(n_latent, n_neurons, 1.0);
        let control = &config.dynamics.controller;
        let posterior_from_control =
            (control.n_inputs > 0).then(|| weight(control.n_controller, 2 * n_latent, 0.0));
        Self {
            encoder,
            controller,
            initial_posterior: Linear::new(2 * config.n_encoder, posterior_bias(), 0.1, noise),
            latent_prior: Prior::new(n_latent, config.latent_prior_variance, true, device),
            initial_prior: Prior::new(n_latent, config.latent_prior_variance, true, device),
            posterior_from_controller: Linear::new(
                config.n_controller,
                posterior_bias(),
                0.1,
                noise,
            ),
            posterior_from_factors,
            posterior_from_innovations,
            posterior_from_spikes,
            posterior_from_control,
            spikes_from_factors: Linear::new(
                n_factors,
                Tensor::from_floats(spike_bias.as_slice(), device),
                0.0,
                noise,
            ),
            spikes_from_latent,
            log_noise: Param::from_tensor(Tensor::from_floats(log_noise.as_slice(), device)),
            indicator,
        }
    }

    /// e_t = x_t − γ x_{t−1} − β, the local statistic of α s_t.
    fn innovations(&self, x: &Tensor<3>) -> Tensor<3> {
        innovations(x, self.indicator.g, self.indicator.baseline)
    }

    fn encode(
        &self,
        x: Tensor<3>,
        innovations: &Tensor<3>,
        dropout: Option<(f64, &mut Noise)>,
    ) -> ShallowEncoded {
        let (states, finals) = self.encoder.forward_with_finals(Observed::new(x).values);
        let [n_bins, n_trials, _] = states.dims();
        let n_states = n_bins * n_trials * self.controller.n_hidden();
        let dropout = dropout.and_then(|(probability, noise)| noise.dropout(n_states, probability));
        let control = self.controller.forward(states, dropout);
        let mut drive = self.posterior_from_controller.forward_sequence(control);
        if let Some(weights) = &self.posterior_from_innovations {
            drive = affine(with_leads(innovations, SKIP_LEADS), weights.val(), drive);
        }
        ShallowEncoded {
            initial: DiagonalGaussian::from_parameters(self.initial_posterior.forward(finals)),
            drive,
        }
    }

    /// Samples z, spikes and calcium given what the deep level says.
    fn draw(&self, encoded: &ShallowEncoded, above: Above, noise: &mut Noise) -> ShallowDraw {
        let Above {
            initial_factors,
            factors,
            control,
        } = above;
        let [n_bins, n_trials, _] = factors.dims();
        let previous = delay(factors.clone(), initial_factors.clone());
        let mut drive = encoded.drive.clone();
        if let (Some(weights), Some(control)) = (&self.posterior_from_control, control) {
            drive = affine(control, weights.val(), drive);
        }
        let z0 = encoded.initial.sample(noise);
        let w_spike = self.spikes_from_latent.val();
        let initial_log =
            self.spikes_from_factors.forward(initial_factors) + z0.matmul(w_spike.clone());
        let initial_spikes = spikes_from_log(initial_log);
        let n_latent = w_spike.dims()[0];
        let arguments = SpikeLoopArguments {
            drive: affine(previous, self.posterior_from_factors.val(), drive),
            spike_drive: self.spikes_from_factors.forward_sequence(factors),
            initial_spikes: initial_spikes.clone(),
            w_feedback: self.posterior_from_spikes.val(),
            w_spike,
            prior: self.latent_prior.parameters(),
            noise: noise.normal([n_bins, n_trials, n_latent]),
        };
        let SpikeLoop { spikes, kl } = spike_loop(arguments, MAX_LOG_SPIKES);
        let Indicator { g, gain, baseline } = self.indicator;
        let n_neurons = spikes.dims()[2];
        let calcium = ar1_filter(
            spikes.clone().mul_scalar(gain).add_scalar(baseline),
            initial_spikes.mul_scalar(gain),
            &vec![g as f32; n_neurons],
        );
        ShallowDraw {
            initial: encoded.initial.clone(),
            kl,
            spikes,
            calcium,
        }
    }

    /// −log N(x; y, σ²) of what was observed, with one σ per neuron, mean over trials.
    fn reconstruction(&self, x: Tensor<3>, calcium: Tensor<3>) -> Tensor<1> {
        let n_trials = x.dims()[1] as f64;
        let log_likelihood = gaussian_log_likelihood(x, calcium, self.log_noise.val());
        log_likelihood.neg().div_scalar(n_trials)
    }

    fn kl(&self, draw: &ShallowDraw) -> Tensor<1> {
        let n_trials = draw.initial.mean.dims()[0] as f64;
        let sum = draw.kl.clone() + draw.initial.kl(&self.initial_prior);
        sum.div_scalar(n_trials)
    }
}

/// ReLU(e^a − 1), linear above [`MAX_LOG_SPIKES`].
fn spikes_from_log(log: Tensor<2>) -> Tensor<2> {
    let bounded = log.clone().clamp_max(MAX_LOG_SPIKES);
    let beyond = (log - MAX_LOG_SPIKES).clamp_min(0.0);
    (bounded.exp() - 1.0).clamp_min(0.0) + beyond.mul_scalar(MAX_LOG_SPIKES.exp())
}

/// `[x_t, x_{t+1}, …]`, zeros past the end: `[time, trial, neuron]` →
/// `[time, trial, lead·neuron]`.
fn with_leads(x: &Tensor<3>, n_leads: usize) -> Tensor<3> {
    let [n_bins, n_trials, n_neurons] = x.dims();
    let shifted = (0..n_leads)
        .map(|lead| {
            let shape = [lead.min(n_bins), n_trials, n_neurons];
            let past_end = Tensor::zeros(shape, &x.device());
            match n_bins.saturating_sub(lead) {
                0 => past_end,
                n_left => Tensor::cat(vec![x.clone().narrow(0, lead, n_left), past_end], 0),
            }
        })
        .collect();
    Tensor::cat(shifted, 2)
}

impl Ladder {
    fn dropout(&self, pass: &Pass<'_>) -> f64 {
        match pass.dropout.drops_in_encoder() {
            true => self.config.dropout,
            false => 0.0,
        }
    }

    /// The terms of a sample of the shallow level, but for −log p(s | λ).
    fn terms(&self, x: Tensor<3>, draw: &ShallowDraw) -> Elbo {
        let reconstruction = self.shallow.reconstruction(x, draw.calcium.clone());
        Elbo::new()
            .with(Term::Reconstruction, reconstruction)
            .with(Term::KlShallow, self.shallow.kl(draw))
    }

    /// A sample of the shallow level as it is without factors.
    fn draw_alone(&self, x: Tensor<3>, dropout: f64, noise: &mut Noise) -> ShallowDraw {
        let [n_bins, n_trials, _] = x.dims();
        let device = x.device();
        let n_factors = self.dynamics.config().n_factors;
        let innovations = self.shallow.innovations(&x);
        let encoded = self
            .shallow
            .encode(x, &innovations, Some((dropout, &mut *noise)));
        let above = Above {
            initial_factors: Tensor::zeros([n_trials, n_factors], &device),
            factors: Tensor::zeros([n_bins, n_trials, n_factors], &device),
            control: None,
        };
        self.shallow.draw(&encoded, above, noise)
    }
}

impl ShallowLevel for Ladder {
    fn elbo_alone(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Elbo {
        let [n_bins, n_trials, n_neurons] = x.dims();
        let draw = self.draw_alone(x.clone(), self.dropout(pass), pass.noise);
        let constant_rates = self
            .dynamics
            .baseline_log_rates()
            .detach()
            .reshape([1, 1, n_neurons])
            .expand([n_bins, n_trials, n_neurons]);
        let every = Tensor::ones([1, 1, 1], &x.device());
        let spikes = draw.spikes.clone();
        let spikes = poisson_log_likelihood(constant_rates, spikes, every, self.log_dt);
        let spikes = spikes.neg().div_scalar(n_trials as f64);
        self.terms(x, &draw).with(Term::Spikes, spikes)
    }

    fn infer_spikes(&self, x: Tensor<3>, noise: &mut Noise) -> Tensor<3> {
        self.draw_alone(x, 0.0, noise).spikes
    }

    /// With the value and the spikes' gradient of the plain term, while the rates' gradient comes
    /// from the bins hidden from the deep encoder (coordinated dropout).
    fn explain(&self, deep: &DeepPass, spikes: Tensor<3>) -> Tensor<1> {
        let (log_rates, split) = (deep.draw.log_rates.clone(), &deep.split);
        let n_trials = spikes.dims()[1] as f64;
        let every = Tensor::ones([1, 1, 1], &spikes.device());
        let log_likelihood = if split.hides() {
            let hidden = poisson_log_likelihood_of_rates(
                log_rates.clone(),
                spikes.clone().detach(),
                split.weights.clone(),
                self.log_dt,
            );
            let plain = poisson_log_likelihood(log_rates.detach(), spikes, every, self.log_dt);
            plain + hidden.clone() - hidden.detach()
        } else {
            poisson_log_likelihood(log_rates, spikes, every, self.log_dt)
        };
        log_likelihood.neg().div_scalar(n_trials)
    }
}

impl SequentialVae for Ladder {
    type Shallow = ShallowEncoded;

    fn dynamics(&self) -> &Dynamics {
        &self.dynamics
    }

    fn dynamics_mut(&mut self) -> &mut Dynamics {
        &mut self.dynamics
    }

    fn deep_input(&self, x: &Tensor<3>) -> DeepInput {
        self.shallow.innovations(x).into()
    }

    fn observe(&self, x: Tensor<3>, deep: &DeepPass, pass: &mut Pass<'_>) -> Elbo {
        let above = match self.config.top_down_gradient {
            true => Above::of(&deep.draw),
            false => Above::of(&deep.draw).detached(),
        };
        let dropout = Some((self.dropout(pass), &mut *pass.noise));
        let encoded = self.shallow.encode(x.clone(), &deep.input, dropout);
        let draw = self.shallow.draw(&encoded, above, pass.noise);
        let spikes = self.explain(deep, draw.spikes.clone());
        self.terms(x, &draw).with(Term::Spikes, spikes)
    }

    fn encode_shallow(&self, x: Tensor<3>, input: &Tensor<3>) -> ShallowEncoded {
        self.shallow.encode(x, input, None)
    }

    /// Spikes, the mean of a few samples.
    fn evidence(
        &self,
        _: &Tensor<3>,
        shallow: &ShallowEncoded,
        deep: &DeepDraw,
        noise: &mut Noise,
    ) -> Tensor<3> {
        let mut draw = || self.shallow.draw(shallow, Above::of(deep), noise);
        let sum = (1..N_EVIDENCE).fold(draw().spikes, |sum, _| sum + draw().spikes);
        sum.div_scalar(N_EVIDENCE as f64)
    }

    fn misfit(&self, spikes: &Tensor<3>, deep: &DeepDraw) -> Tensor<1> {
        poisson_misfit(deep.log_rates.clone(), spikes, self.log_dt)
    }

    fn misfits(&self, spikes: &Tensor<3>, runs: &DeepDraw) -> Tensor<2> {
        poisson_misfits(runs.log_rates.clone(), spikes, self.log_dt)
    }

    fn complete(&self, shallow: &ShallowEncoded, deep: DeepDraw, noise: &mut Noise) -> Draw {
        let draw = self.shallow.draw(shallow, Above::of(&deep), noise);
        Draw {
            spikes: Some(draw.spikes),
            fluor: Some(draw.calcium),
            ..deep.into()
        }
    }

    fn shallow_level(&self) -> Option<&dyn ShallowLevel> {
        Some(self)
    }
}
