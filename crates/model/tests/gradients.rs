//! The gradient of every model's bound against finite differences, parameter by parameter.

mod common;

use baselines::Moments;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use common::{
    DT_S, INDICATOR, driven_dynamics, dynamics, edgeworth, gaussian, gaussian_with, ladder_with,
};
use model::{
    Blur, CalciumModel, CountLadderConfig, DeepDraw, DeepPass, DropoutMode, DynamicsConfig,
    ExternalConfig, FluorStatistics, InputPriorKind, Ladder, Noise, Pass, SequentialVae, Stream,
    Task, Term, TermWeights,
};
use ndarray::Array2;

/// Half the distance of the two losses that make a difference.
const STEP: f64 = 1e-3;

fn device() -> Device {
    Device::flex().autodiff()
}

/// How one evaluation of a bound goes.
#[derive(Clone)]
struct Evaluation {
    x: Tensor<3>,
    weights: TermWeights,
    task: Task,
}

impl Evaluation {
    /// Of both levels at weights that no two terms share.
    fn joint(x: Tensor<3>) -> Self {
        Self {
            x,
            weights: TermWeights {
                kl_shallow: 0.7,
                kl_deep: 0.4,
            },
            task: Task::Joint,
        }
    }

    fn loss<M: SequentialVae>(&self, model: &M) -> Tensor<1> {
        // Noise with which no spike count is near zero, where its gradient jumps.
        let mut noise = Noise::new(3, Stream::Step(0), &device());
        let mut pass = Pass {
            weights: self.weights,
            dropout: DropoutMode::Training,
            noise: &mut noise,
        };
        let elbo = model.elbo(self.x.clone(), self.task.clone(), &mut pass);
        elbo.loss(self.weights)
    }

    /// Every parameter whose gradient is not the loss's slope along it. The loss's slope may be
    /// `scale(name)` of what the model says.
    fn wrong_slopes<M: SequentialVae>(
        &self,
        model: &M,
        scale: &dyn Fn(&str) -> f64,
    ) -> Vec<String> {
        let gradients = GradientsParams::from_grads(self.loss(model).backward(), model);
        let mut found = Vec::new();
        for Slope { name, id, gradient } in slopes(model, &gradients) {
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
            let norm = norm.sqrt();
            let at = |distance: f64| {
                let shifted = model.clone().map(&mut Shift {
                    id,
                    gradients: &gradients,
                    scale: distance / norm.max(1e-12),
                });
                f64::from(self.loss(&shifted).into_scalar::<f32>())
            };
            let slope = |step: f64| (at(step) - at(-step)) / (2.0 * step);
            // Without the error of third order (Richardson).
            let difference = (4.0 * slope(STEP) - slope(2.0 * STEP)) / 3.0 / scale(&name);
            if (norm - difference).abs() > 0.01 * norm.abs() + 0.1 / scale(&name) {
                found.push(format!("{name}: gradient {norm}, difference {difference}"));
            }
        }
        found
    }
}

fn check<M: SequentialVae>(model: &M, evaluation: &Evaluation) {
    let wrong = evaluation.wrong_slopes(model, &|_| 1.0);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A trainable parameter and its gradient, whose norm is the slope along it.
struct Slope {
    name: String,
    id: ParamId,
    gradient: Vec<f32>,
}

fn slopes<M: Module>(model: &M, gradients: &GradientsParams) -> Vec<Slope> {
    let mut slopes = Slopes {
        path: Vec::new(),
        gradients,
        found: Vec::new(),
    };
    model.visit(&mut slopes);
    slopes.found
}

struct Slopes<'a> {
    path: Vec<String>,
    gradients: &'a GradientsParams,
    found: Vec<Slope>,
}

impl ModuleVisitor for Slopes<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.found.push(Slope {
                name: self.path.join("."),
                id: param.id,
                gradient: gradient.into_data().iter::<f32>().collect(),
            });
        }
    }
}

/// Moves one parameter along its gradient.
struct Shift<'a> {
    id: ParamId,
    gradients: &'a GradientsParams,
    scale: f64,
}

impl ModuleMapper for Shift<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.id != self.id {
            return param;
        }
        let gradient = self.gradients.get::<D>(param.id).expect("it has one");
        let shift = Tensor::from_data(gradient.into_data(), &device()).mul_scalar(self.scale);
        param.map(|value| (value + shift).detach().require_grad())
    }
}

fn some_counts() -> Tensor<3> {
    Noise::new(2, Stream::Step(2), &device()).bernoulli([12, 4, 6], 0.3)
}

fn some_fluorescence() -> Tensor<3> {
    some_counts()
        + Noise::new(2, Stream::Step(3), &device())
            .normal([12, 4, 6])
            .mul_scalar(0.2)
}

#[test]
fn lfads() {
    check(&common::lfads(&device()), &Evaluation::joint(some_counts()));
}

/// Rates that are seen through a blur, of each neuron its own.
#[test]
fn lfads_of_expected_counts() {
    let weights = Array2::from_shape_fn((5, 6), |(k, neuron)| 0.1 + ((3 * k + neuron) % 4) as f32);
    for dynamics in [dynamics(), driven_dynamics()] {
        let model = common::lfads_with(dynamics, &device());
        let blur = Blur::new(&weights).expect("weights above 0");
        let model = model.seen_through(Some(blur)).expect("of six neurons");
        check(&model, &Evaluation::joint(some_counts()));
    }
}

#[test]
fn zero_inflated_gamma_lfads() {
    let sizes = Noise::new(2, Stream::Step(5), &device()).normal([12, 4, 6]);
    let events = some_counts() * (sizes.abs() + 0.8);
    for dynamics in [dynamics(), driven_dynamics()] {
        let model = common::zig_lfads_with(dynamics, &device());
        check(&model, &Evaluation::joint(events.clone()));
    }
}

#[test]
fn models_with_inferred_inputs() {
    for prior in [
        InputPriorKind::Autoregressive,
        InputPriorKind::Independent,
        InputPriorKind::Sparse,
    ] {
        let mut dynamics = driven_dynamics();
        dynamics.controller.prior = prior;
        let model = common::lfads_with(dynamics, &device());
        check(&model, &Evaluation::joint(some_counts()));
    }
    // With bins that lead in.
    let model = gaussian_with(driven_dynamics(), Moments::AsPublished, &device());
    check(&model, &Evaluation::joint(some_fluorescence()));
    let dynamics = DynamicsConfig {
        coordinated_dropout: 0.0,
        ..driven_dynamics()
    };
    let model = with_control(ladder_with(dynamics, &device()));
    check(&model, &Evaluation::joint(some_fluorescence()));
}

/// Known inputs beside inferred ones, and alone; read by the encoders too, and not.
#[test]
fn models_with_known_inputs() {
    let known = Noise::new(2, Stream::Step(4), &device()).normal([12, 4, 2]);
    let with_known = |x: Tensor<3>| Evaluation::joint(Tensor::cat(vec![x, known.clone()], 2));
    for (dynamics, encoders_read) in [
        (driven_dynamics(), false),
        (driven_dynamics(), true),
        (dynamics(), true),
    ] {
        let dynamics = DynamicsConfig {
            external: ExternalConfig {
                n_inputs: 2,
                encoders_read,
            },
            coordinated_dropout: 0.0,
            ..dynamics
        };
        let model = common::lfads_with(dynamics.clone(), &device());
        check(&model, &with_known(some_counts()));
        // With bins that lead in.
        let model = gaussian_with(dynamics.clone(), Moments::AsPublished, &device());
        check(&model, &with_known(some_fluorescence()));
        let model = with_control(ladder_with(dynamics, &device()));
        let joint = with_known(some_fluorescence());
        check(&model, &joint);
        for task in [Task::Shallow, Task::Deep(some_counts())] {
            let alone = Evaluation {
                task,
                ..joint.clone()
            };
            check(&model, &alone);
        }
    }
}

/// The ladder whose posterior of z already listens to the controller, which it does from zero on.
fn with_control(model: Ladder) -> Ladder {
    struct Listen(Vec<String>);
    impl ModuleMapper for Listen {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !self.0.ends_with(&["posterior_from_control".to_owned()]) {
                return param;
            }
            param.map(|value| {
                let noise = Noise::new(4, Stream::Step(1), &device()).normal(value.dims());
                noise.mul_scalar(0.2).detach().require_grad()
            })
        }
    }
    model.map(&mut Listen(Vec::new()))
}

#[test]
fn gaussian_and_edgeworth_lfads() {
    let evaluation = Evaluation::joint(some_fluorescence());
    for moments in [Moments::AsPublished, Moments::Exact] {
        check(&gaussian(moments, &device()), &evaluation);
        check(&edgeworth(moments, &device()), &evaluation);
    }
}

#[test]
fn ladder() {
    // Coordinated dropout makes the deep level's gradient an estimate that is not the slope
    // of the reported loss, by design; without it the two must agree.
    let dynamics = DynamicsConfig {
        coordinated_dropout: 0.0,
        ..dynamics()
    };
    let model = ladder_with(dynamics, &device());
    let joint = Evaluation::joint(some_fluorescence());
    check(&model, &joint);
    for task in [Task::Shallow, Task::Deep(some_counts())] {
        let alone = Evaluation {
            task,
            ..joint.clone()
        };
        check(&model, &alone);
    }
}

/// With next to no noise the posterior of the counts is a point, whatever the parameters: what the
/// model says of the bound with the posterior held fixed is then its slope.
#[test]
fn count_ladder() {
    let counts: Vec<f32> = some_counts().into_data().iter::<f32>().collect();
    let [n_bins, n_trials, n_neurons] = [12, 4, 6];
    let row = n_trials * n_neurons;
    let mut fluor = counts.clone();
    for place in row..fluor.len() {
        fluor[place] += INDICATOR.g as f32 * fluor[place - row];
    }
    let clean = Tensor::<1>::from_floats(fluor.as_slice(), &device());
    let ripple = Noise::new(2, Stream::Step(3), &device()).normal([n_bins, n_trials, n_neurons]);
    let x = clean.reshape([n_bins, n_trials, n_neurons]) + ripple.mul_scalar(0.02);
    let statistics = FluorStatistics {
        mean_counts: vec![0.3; n_neurons],
        // The noise starts at half of it.
        sd: vec![0.06; n_neurons],
    };
    let config = CountLadderConfig {
        dynamics: dynamics(),
        learn_calcium: true,
        ..CountLadderConfig::default()
    };
    let calcium = CalciumModel::shared(INDICATOR, n_neurons);
    let model = config.init(&statistics, &calcium, DT_S, 3, &device());
    // The calcium's gradient is that of one bin.
    let scale = |name: &str| {
        let of_calcium = ["decay_logit", "log_gain", "baseline"];
        match of_calcium.iter().any(|field| name.ends_with(field)) {
            true => n_bins as f64,
            false => 1.0,
        }
    };
    let wrong = Evaluation::joint(x).wrong_slopes(&model.unwrap(), &scale);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of the first neuron nothing was observed.
#[test]
fn what_is_missing_teaches_nothing() {
    let device = device();
    let without_first = |x: Tensor<3>| {
        let [n_bins, n_trials, n_neurons] = x.dims();
        let missing = Tensor::full([n_bins, n_trials, 1], f64::NAN, &device);
        Tensor::cat(vec![missing, x.narrow(2, 1, n_neurons - 1)], 2)
    };
    let [counts, fluor] = [some_counts(), some_fluorescence()].map(without_first);
    let silent = |name: &str, found: Vec<Slope>, field: &str| {
        let slope = found.iter().find(|slope| slope.name.ends_with(field));
        let gradient = &slope.unwrap_or_else(|| panic!("{name}: {field}")).gradient;
        assert!(gradient[0].abs() < 1e-6, "{name}: {gradient:?}");
        let others = &gradient[1..];
        assert!(
            others.iter().all(|g| g.abs() > 1e-6),
            "{name}: {gradient:?}"
        );
    };
    let lfads = common::lfads(&device);
    silent("LFADS", gradients(&lfads, counts), "dynamics.rates.bias");
    let model = gaussian(Moments::Exact, &device);
    let found = gradients(&model, fluor.clone());
    silent("Gaussian LFADS", found, "dynamics.rates.bias");
    let model = edgeworth(Moments::Exact, &device);
    let found = gradients(&model, fluor.clone());
    silent("Edgeworth LFADS", found, "dynamics.rates.bias");
    let model = ladder_with(dynamics(), &device);
    silent("ladder", gradients(&model, fluor.clone()), "log_noise");
    let model = common::count_ladder(&CountLadderConfig::default(), &device);
    silent("count ladder", gradients(&model, fluor), "log_noise");
}

fn gradients<M: SequentialVae>(model: &M, x: Tensor<3>) -> Vec<Slope> {
    let loss = Evaluation::joint(x).loss(model);
    slopes(model, &GradientsParams::from_grads(loss.backward(), model))
}

/// With coordinated dropout, which hides bins from the encoder, only hidden bins teach the rates.
#[test]
fn rates_learn_from_hidden_bins_alone() {
    fn check<M: SequentialVae>(name: &str, model: &M, x: Tensor<3>, term: Term) {
        let mut noise = Noise::new(3, Stream::Step(0), &device());
        let mut pass = Pass {
            weights: TermWeights::FULL,
            dropout: DropoutMode::Training,
            noise: &mut noise,
        };
        let deep = model.dynamics().pass(model.deep_input(&x), &mut pass);
        let log_rates = deep.draw.log_rates.detach().require_grad();
        let deep = DeepPass {
            draw: DeepDraw {
                log_rates: log_rates.clone(),
                ..deep.draw
            },
            ..deep
        };
        let elbo = model.observe(x, &deep, &mut pass);
        let gradients = elbo.get(term).expect("it has the term").backward();
        let slopes = log_rates.grad(&gradients).expect("rates are in the term");
        let slopes: Vec<f32> = slopes.into_data().iter::<f32>().collect();
        let hidden: Vec<f32> = deep.split.weights.into_data().iter::<f32>().collect();
        let n_hidden = hidden.iter().filter(|weight| **weight > 0.0).count();
        assert!(n_hidden > 20 && n_hidden < hidden.len() / 2, "{name}");
        for (slope, hidden) in slopes.into_iter().zip(hidden) {
            assert_eq!(slope != 0.0, hidden > 0.0, "{name}: {slope}, {hidden}");
        }
    }
    let device = device();
    let (counts, fluor) = (some_counts(), some_fluorescence());
    check(
        "LFADS",
        &common::lfads(&device),
        counts,
        Term::Reconstruction,
    );
    let model = ladder_with(dynamics(), &device);
    check("ladder", &model, fluor.clone(), Term::Spikes);
    let model = common::count_ladder(&CountLadderConfig::default(), &device);
    check("count ladder", &model, fluor, Term::Spikes);
}

/// A check that cannot fail is none: a gradient of half the size is found wrong everywhere.
#[test]
fn a_wrong_gradient_is_found() {
    let model = common::lfads(&device());
    let found = Evaluation::joint(some_counts()).wrong_slopes(&model, &|_| 2.0);
    assert!(found.len() > 5, "{found:?}");
}
