//! Small data and models for the integration tests.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use baselines::{
    Data, EdgeworthLfads, EdgeworthLfadsConfig, GaussianLfads, GaussianLfadsConfig, Moments,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use calcium::Hill;
use model::{
    CalciumModel, ControllerConfig, CountLadder, CountLadderConfig, DeepDraw, DeepInput, DeepPass,
    Draw, Dynamics, DynamicsConfig, Elbo, EventStatistics, FluorStatistics, Indicator, Ladder,
    LadderConfig, LearningRate, Lfads, LfadsConfig, Noise, Pass, SequentialVae, Term, TrainConfig,
    TrainData, TrialStart, WarmUp, ZigLfads, ZigLfadsConfig,
};
use ndarray::ArrayView3;
use synth::{LorenzBenchmark, TrialDesign};

pub const DT_S: f64 = 0.1;
pub const INDICATOR: Indicator = Indicator {
    g: 0.75,
    gain: 1.0,
    baseline: 0.0,
};

pub fn benchmark() -> data::Dataset {
    let recipe = LorenzBenchmark {
        n_bins: 20,
        n_neurons: 6,
        design: TrialDesign {
            n_conditions: 4,
            n_repeats: 6,
            held_out: synth::HeldOut::Repeats(2),
        },
        ..LorenzBenchmark::default()
    };
    recipe.simulate(11).expect("the recipe is valid")
}

pub fn counts() -> TrainData {
    let benchmark = benchmark();
    TrainData::new(
        benchmark.train.spikes.expect("simulated"),
        benchmark.valid.spikes.expect("simulated"),
    )
    .expect("simulated data is finite")
}

pub fn fluorescence() -> TrainData {
    let benchmark = benchmark();
    TrainData::new(
        benchmark.train.fluor.expect("simulated"),
        benchmark.valid.fluor.expect("simulated"),
    )
    .expect("simulated data is finite")
}

pub fn dynamics() -> DynamicsConfig {
    DynamicsConfig {
        n_encoder: 9,
        n_generator: 8,
        n_ic: 5,
        ..DynamicsConfig::default()
    }
}

/// The same with two inferred inputs.
pub fn driven_dynamics() -> DynamicsConfig {
    DynamicsConfig {
        controller: ControllerConfig {
            n_inputs: 2,
            n_controller: 7,
            n_encoder: 5,
            ..ControllerConfig::default()
        },
        ..dynamics()
    }
}

pub fn lfads(device: &Device) -> Lfads {
    lfads_with(dynamics(), device)
}

pub fn lfads_with(dynamics: DynamicsConfig, device: &Device) -> Lfads {
    LfadsConfig { dynamics }
        .init(&[0.2; 6], DT_S, 3, device)
        .expect("the configuration is valid")
}

/// Counts for events, whose sizes differ.
pub fn events() -> TrainData {
    let counts = counts();
    let sizes = |counts: ArrayView3<'_, f32>| {
        let mut events = counts.to_owned();
        for ((trial, bin, neuron), event) in events.indexed_iter_mut() {
            *event *= 0.7 + 0.1 * ((3 * trial + 7 * bin + neuron) % 7) as f32;
        }
        events
    };
    TrainData::new(sizes(counts.train()), sizes(counts.valid())).expect("events are finite")
}

pub fn zig_lfads_with(dynamics: DynamicsConfig, device: &Device) -> ZigLfads {
    let config = ZigLfadsConfig {
        s_min: 0.5,
        dynamics,
    };
    let statistics = EventStatistics::measure(events().train());
    let model = config.init(&statistics, DT_S, 3, device);
    model.expect("the configuration is valid")
}

pub fn ladder(device: &Device) -> Ladder {
    ladder_with(dynamics(), device)
}

pub fn ladder_with(dynamics: DynamicsConfig, device: &Device) -> Ladder {
    let data = fluorescence();
    LadderConfig {
        dynamics,
        n_encoder: 10,
        n_controller: 7,
        n_latent: 6,
        innovation_skip: true,
        ..LadderConfig::default()
    }
    .init(
        &FluorStatistics::measure(data.train(), &INDICATOR),
        INDICATOR,
        DT_S,
        3,
        device,
    )
    .expect("the configuration is valid")
}

pub fn count_ladder(config: &CountLadderConfig, device: &Device) -> CountLadder {
    count_ladder_from(INDICATOR.g, config, device)
}

/// Starting from the decay `g`.
pub fn count_ladder_from(g: f64, config: &CountLadderConfig, device: &Device) -> CountLadder {
    let config = CountLadderConfig {
        dynamics: dynamics(),
        ..config.clone()
    };
    count_ladder_with(g, &config, device)
}

/// With the deep level of the configuration.
pub fn count_ladder_with(g: f64, config: &CountLadderConfig, device: &Device) -> CountLadder {
    let calcium = CalciumModel::shared(Indicator { g, ..INDICATOR }, 6);
    let statistics = calcium.measure(fluorescence().train());
    config
        .init(&statistics, &calcium, DT_S, 3, device)
        .expect("the configuration is valid")
}

/// Learns everything of an indicator that rises and saturates, in trials cut from a recording.
pub fn saturating_count_ladder(device: &Device) -> CountLadder {
    let calcium = CalciumModel {
        rise: Some(0.2),
        saturation: Some(Hill {
            exponent: 1.5,
            half_saturation: 4.0,
            scale: 5.0,
        }),
        ..CalciumModel::shared(INDICATOR, 6)
    };
    let config = CountLadderConfig {
        dynamics: dynamics(),
        learn_calcium: true,
        trial_start: TrialStart::Decaying,
        ..CountLadderConfig::default()
    };
    let statistics = calcium.measure(fluorescence().train());
    config
        .init(&statistics, &calcium, DT_S, 3, device)
        .expect("the configuration is valid")
}

/// What the filtered Poisson models are told.
fn told(statistics: &FluorStatistics) -> Data<'_> {
    Data {
        statistics,
        indicator: INDICATOR,
        dt_s: DT_S,
    }
}

pub fn gaussian(moments: Moments, device: &Device) -> GaussianLfads {
    gaussian_with(dynamics(), moments, device)
}

pub fn gaussian_with(dynamics: DynamicsConfig, moments: Moments, device: &Device) -> GaussianLfads {
    let statistics = FluorStatistics::measure(fluorescence().train(), &INDICATOR);
    let config = GaussianLfadsConfig { dynamics, moments };
    config
        .init(told(&statistics), 3, device)
        .expect("the configuration is valid")
}

pub fn edgeworth(moments: Moments, device: &Device) -> EdgeworthLfads {
    let statistics = FluorStatistics::measure(fluorescence().train(), &INDICATOR);
    let config = EdgeworthLfadsConfig {
        dynamics: dynamics(),
        moments,
    };
    config
        .init(told(&statistics), 3, device)
        .expect("the configuration is valid")
}

/// Every trainable parameter, by its path in the model, as numbers.
pub fn parameters<M: Module>(model: &M) -> Vec<(String, Vec<f32>)> {
    let mut all = Parameters::default();
    model.visit(&mut all);
    all.values
}

#[derive(Default)]
struct Parameters {
    path: Vec<String>,
    values: Vec<(String, Vec<f32>)>,
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val().into_data().iter::<f32>().collect();
        self.values.push((self.path.join("."), values));
    }
}

pub fn training(n_steps: usize) -> TrainConfig {
    TrainConfig {
        n_steps,
        batch_size: 5,
        learning_rate: LearningRate::Cosine {
            peak: 0.01,
            constant_fraction: 0.5,
            final_fraction: 0.1,
        },
        warm_up: WarmUp {
            shallow_steps: 4,
            deep_start: 6,
            deep_alone: 4,
            deep_steps: 4,
        },
        validate_every: 1,
        ..TrainConfig::default()
    }
}

/// LFADS whose bound is NaN at one of its evaluations.
#[derive(Module, Debug)]
pub struct Fragile {
    lfads: Lfads,
    #[module(skip)]
    left: Arc<AtomicUsize>,
}

impl Fragile {
    /// At this evaluation; those of its clones count as its own.
    pub fn at(evaluation: usize) -> Self {
        Self {
            lfads: lfads(&Device::flex().autodiff()),
            left: Arc::new(AtomicUsize::new(evaluation)),
        }
    }
}

impl SequentialVae for Fragile {
    type Shallow = ();

    fn dynamics(&self) -> &Dynamics {
        self.lfads.dynamics()
    }

    fn dynamics_mut(&mut self) -> &mut Dynamics {
        self.lfads.dynamics_mut()
    }

    fn deep_input(&self, x: &Tensor<3>) -> DeepInput {
        self.lfads.deep_input(x)
    }

    fn observe(&self, x: Tensor<3>, deep: &DeepPass, pass: &mut Pass<'_>) -> Elbo {
        let elbo = self.lfads.observe(x, deep, pass);
        if self.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return elbo;
        }
        let reconstruction = elbo.get(Term::Reconstruction).expect("LFADS has it");
        let broken = reconstruction.clone().mul_scalar(f64::NAN);
        elbo.with(Term::Reconstruction, broken)
    }

    fn encode_shallow(&self, _: Tensor<3>, _: &Tensor<3>) {}

    fn misfit(&self, evidence: &Tensor<3>, deep: &DeepDraw) -> Tensor<1> {
        self.lfads.misfit(evidence, deep)
    }

    fn complete(&self, shallow: &(), deep: DeepDraw, noise: &mut Noise) -> Draw {
        self.lfads.complete(shallow, deep, noise)
    }
}
