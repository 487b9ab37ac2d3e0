//! Trainings end to end: same bits, resumption, recovery from divergence and collapse.

mod common;

use burn::tensor::{Device, Tensor};
use common::{
    Fragile, count_ladder, count_ladder_from, counts, fluorescence, ladder, lfads, parameters,
    training,
};
use model::train::{Event, Observer, StepReport};
use model::{
    CountLadderConfig, Draw, Fitted, Inference, LearningRate, ModelError, SequentialVae, Term,
    TrainConfig, TrainData, WarmUp, fit, posterior_mean, sample_posterior,
};
use ndarray::{Array3, ArrayView3, Axis, concatenate};

fn device() -> Device {
    Device::flex().autodiff()
}

/// What a trained model infers, which any change of any weight would change.
fn rates<M: SequentialVae>(fitted: &Fitted<M>, x: ArrayView3<'_, f32>) -> Array3<f32> {
    posterior_mean(&fitted.model, x, 3, 1).unwrap().rates_hz
}

#[derive(Default)]
struct Events(Vec<Event>);

impl Observer for Events {
    fn on_event(&mut self, event: &Event) {
        self.0.push(event.clone());
    }
}

/// Keeps everything that a training tells.
#[derive(Default)]
struct Log {
    steps: Vec<StepReport>,
    events: Vec<Event>,
}

impl Observer for Log {
    fn on_step(&mut self, report: &StepReport) {
        self.steps.push(report.clone());
    }

    fn on_event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

/// At one rate always.
fn constant_rate(peak: f64) -> LearningRate {
    LearningRate::Cosine {
        peak,
        constant_fraction: 1.0,
        final_fraction: 1.0,
    }
}

#[test]
fn both_models_improve_their_bound() {
    let config = training(150);
    let first_and_last = |history: &[model::train::ValidationReport]| {
        let deep: Vec<f64> = history
            .iter()
            .filter(|report| {
                let has = |term| report.valid.get(term).is_some();
                has(Term::KlIc) && has(Term::Reconstruction)
            })
            .map(|report| report.valid.negative_bound())
            .collect();
        (deep[0], deep[deep.len() - 1])
    };
    let fitted = fit(lfads(&device()), &counts(), &config, 1, None, &mut ()).unwrap();
    let (first, last) = first_and_last(&fitted.history);
    assert!(last < first, "LFADS: {first} to {last}");
    let fitted = fit(
        ladder(&device()),
        &fluorescence(),
        &config,
        1,
        None,
        &mut (),
    )
    .unwrap();
    let (first, last) = first_and_last(&fitted.history);
    assert!(last < first - 10.0, "ladder: {first} to {last}");
}

#[test]
fn the_loss_weighs_every_term_as_its_warm_up_says() {
    let config = TrainConfig {
        warm_up: WarmUp {
            shallow_steps: 12,
            deep_start: 4,
            deep_alone: 4,
            deep_steps: 10,
        },
        ..training(16)
    };
    let mut log = Log::default();
    fit(
        ladder(&device()),
        &fluorescence(),
        &config,
        1,
        None,
        &mut log,
    )
    .unwrap();
    for (step, report) in log.steps.iter().enumerate() {
        let shallow = (step as f64 / 12.0).min(1.0);
        let deep = (step.saturating_sub(4) as f64 / 10.0).min(1.0);
        let weight = |term| match term {
            Term::KlShallow => shallow,
            Term::KlIc | Term::KlInputs | Term::L2 => deep,
            Term::Reconstruction | Term::Spikes => 1.0,
        };
        let terms = report.terms.iter();
        let sum: f64 = terms.map(|(term, value)| weight(term) * value).sum();
        let loss = report.loss;
        assert!(
            (loss - sum).abs() < 1e-5 * sum.abs(),
            "step {step}: {loss} is not {sum}"
        );
    }
}

#[test]
fn a_divergence_undoes_the_steps_before_it_and_halves_the_rate() {
    let config = TrainConfig {
        learning_rate: constant_rate(0.01),
        validate_every: 100,
        ..training(12)
    };
    // Four steps an epoch: the sixth is the second epoch's second.
    let model = Fragile::at(6);
    let mut log = Log::default();
    let fitted = fit(model, &counts(), &config, 1, None, &mut log).unwrap();
    assert_eq!(fitted.recoveries, 1);
    let [Event::Diverged { step: 5, term }] = &fitted.events[..] else {
        panic!("{:?}", log.events);
    };
    assert_eq!(term, "reconstruction");
    let steps: Vec<(usize, f64)> = log
        .steps
        .iter()
        .map(|report| (report.step, report.learning_rate))
        .collect();
    let (good, retried) = steps.split_at(5);
    assert_eq!(good, [1, 2, 3, 4, 5].map(|step| (step, 0.01)));
    assert_eq!(
        retried,
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map(|step| (step, 0.005))
    );
    let [first, again] = [0, 5].map(|index| log.steps[index].loss);
    assert!((first - again).abs() > 1e-3, "other trials and noise");
}

#[test]
fn a_plateau_lowers_the_rate() {
    let config = TrainConfig {
        // So low that nothing improves but by chance.
        learning_rate: LearningRate::Plateau {
            initial: 1e-12,
            factor: 0.5,
            patience_epochs: 2,
            floor: 1e-14,
        },
        warm_up: WarmUp {
            deep_steps: 0,
            ..WarmUp::default()
        },
        ..training(60)
    };
    let mut log = Log::default();
    fit(lfads(&device()), &counts(), &config, 1, None, &mut log).unwrap();
    let rates: Vec<f64> = log.steps.iter().map(|step| step.learning_rate).collect();
    assert!(rates.is_sorted_by(|a, b| a >= b), "{rates:?}");
    assert!(rates[59] <= rates[0] / 8.0, "{rates:?}");
    let halvings = (rates[0] / rates[59]).log2();
    assert!((halvings - halvings.round()).abs() < 1e-9, "{rates:?}");
}

#[test]
fn a_training_stops_early_only_if_nothing_gets_better() {
    let stopped = |peak: f64| {
        let config = TrainConfig {
            learning_rate: constant_rate(peak),
            patience: Some(2),
            average_decay: 0.0,
            warm_up: WarmUp {
                deep_steps: 0,
                ..WarmUp::default()
            },
            ..training(12)
        };
        let mut log = Log::default();
        let fitted = fit(lfads(&device()), &counts(), &config, 1, None, &mut log);
        (fitted.unwrap().steps, log.events)
    };
    // Four steps an epoch: weights that do not move are no better twice.
    // By a rate that is 0 in 32 bits: 1e-30 still moves weights that are 0.
    assert_eq!(stopped(1e-60), (12, vec![Event::StoppedEarly { step: 12 }]));
    assert_eq!(stopped(0.01), (12, Vec::new()));
}

#[test]
fn the_gradient_is_clipped_before_the_step() {
    let moved = |clip_norm: f64| {
        let config = TrainConfig {
            clip_norm,
            average_decay: 0.0,
            ..training(3)
        };
        let before = parameters(&lfads(&device()));
        let fitted = fit(lfads(&device()), &counts(), &config, 1, None, &mut ());
        let after = parameters(&fitted.unwrap().model);
        let values = |all: Vec<(String, Vec<f32>)>| all.into_iter().flat_map(|(_, values)| values);
        let squares = values(before)
            .zip(values(after))
            .map(|(a, b)| (a - b).powi(2));
        squares.sum::<f32>().sqrt()
    };
    // Adam's step of a gradient far below its ε is the gradient's size.
    let [free, clipped] = [moved(200.0), moved(1e-4)];
    assert!(free > 0.03, "{free}");
    assert!(clipped < 1e-4, "{clipped}");
}

#[test]
fn no_two_posterior_samples_are_the_same() {
    /// All values of a quantity of each sample, batch by batch.
    fn samples<M: SequentialVae>(
        model: &M,
        x: ArrayView3<'_, f32>,
        quantity: impl Fn(Draw) -> Tensor<3>,
    ) -> Vec<Vec<f32>> {
        let mut all = Vec::new();
        sample_posterior(model, x, 3, 1, |_, draw| {
            all.push(quantity(draw).into_data().iter::<f32>().collect());
        })
        .unwrap();
        all
    }
    let all_differ =
        |samples: &[Vec<f32>]| (0..samples.len()).all(|a| (0..a).all(|b| samples[a] != samples[b]));
    let device = device();
    // The first trial 65 + 65 times: two batches that differ in nothing.
    let repeated = |data: &TrainData| data.valid().select(Axis(0), &[0; 130]);
    let factors = |draw: Draw| draw.factors;
    let spikes = |draw: Draw| draw.spikes.expect("it infers them");
    let (x, fluor) = (repeated(&counts()), repeated(&fluorescence()));
    assert!(all_differ(&samples(&lfads(&device), x.view(), factors)));
    let model = ladder(&device);
    assert!(all_differ(&samples(&model, fluor.view(), factors)));
    assert!(all_differ(&samples(&model, fluor.view(), spikes)));
    let model = count_ladder(&CountLadderConfig::default(), &device);
    assert!(all_differ(&samples(&model, fluor.view(), factors)));
    assert!(all_differ(&samples(&model, fluor.view(), spikes)));
}

#[test]
fn thread_counts_do_not_change_a_bit() {
    let with_threads = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| {
            let data = fluorescence();
            let fitted = fit(ladder(&device()), &data, &training(12), 1, None, &mut ()).unwrap();
            // Batches of more trials are cut into shards.
            let many = concatenate![Axis(0), data.train(), data.train(), data.train()];
            let many = TrainData::new(many, data.valid().to_owned()).unwrap();
            let config = TrainConfig {
                batch_size: many.train().dim().0,
                ..training(12)
            };
            let sharded = fit(ladder(&device()), &many, &config, 1, None, &mut ()).unwrap();
            [fitted, sharded].map(|fitted| rates(&fitted, data.valid()))
        })
    };
    let one = with_threads(1);
    assert_eq!(one, with_threads(2));
    assert_eq!(one, with_threads(5));
}

#[test]
fn a_hopeless_learning_rate_is_named_after_every_recovery() {
    let config = TrainConfig {
        learning_rate: constant_rate(1e30),
        ..training(20)
    };
    let mut events = Events::default();
    let error = fit(
        ladder(&device()),
        &fluorescence(),
        &config,
        1,
        None,
        &mut events,
    )
    .unwrap_err();
    assert!(
        matches!(error, ModelError::Diverged { recoveries: 5, .. }),
        "{error}"
    );
    assert_eq!(events.0.len(), 5);
}

#[test]
fn a_collapsed_deep_level_is_reset_and_counted() {
    // Constant counts hold nothing for the deep level to say.
    let silent = Array3::zeros((10, 20, 6));
    let data = TrainData::new(silent.clone(), silent).unwrap();
    let config = TrainConfig {
        average_decay: 0.0,
        ..training(400)
    };
    let mut events = Events::default();
    let fitted = fit(lfads(&device()), &data, &config, 1, None, &mut events).unwrap();
    let resets = events
        .0
        .iter()
        .filter(|event| matches!(event, Event::Collapsed { reset: true, .. }))
        .count();
    assert!(resets >= 1, "{:?}", events.0);
    assert_eq!(fitted.recoveries, resets);
    assert!(fitted.steps > 400, "a reset extends the training");
}

fn fits_and_infers<M: SequentialVae>(model: M, data: &TrainData) {
    let fitted = fit(model, data, &training(20), 1, None, &mut ()).unwrap();
    assert_eq!(fitted.recoveries, 0);
    let inferred = posterior_mean(&fitted.model, data.valid(), 2, 1).unwrap();
    assert!(inferred.rates_hz.iter().all(|rate| *rate > 0.0));
    for quantity in [inferred.spikes, inferred.fluor].into_iter().flatten() {
        assert!(quantity.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn missing_frames_are_inferred_from_the_others() {
    let device = device();
    let with_gaps = |data: TrainData| {
        let gaps = |x: ArrayView3<'_, f32>| {
            let mut x = x.to_owned();
            // A gap of all neurons, a missing neuron, and trials that end early.
            x.slice_mut(ndarray::s![..2, 5..8, ..]).fill(f32::NAN);
            x.slice_mut(ndarray::s![2, .., 0]).fill(f32::NAN);
            x.slice_mut(ndarray::s![3.., 15.., ..]).fill(f32::NAN);
            x
        };
        TrainData::new(gaps(data.train()), gaps(data.valid())).unwrap()
    };
    fits_and_infers(lfads(&device), &with_gaps(counts()));
    fits_and_infers(ladder(&device), &with_gaps(fluorescence()));
    fits_and_infers(
        count_ladder(&CountLadderConfig::default(), &device),
        &with_gaps(fluorescence()),
    );
}

#[test]
fn calcium_is_learned_from_wrong_values() {
    let config = CountLadderConfig {
        learn_calcium: true,
        ..CountLadderConfig::default()
    };
    // The truth is 0.75.
    let mut model = count_ladder_from(0.5, &config, &device());
    let distance = |model: &model::CountLadder| {
        let neurons = model.calcium().unwrap();
        neurons.iter().map(|n| (n.decay - 0.75).abs()).sum::<f64>() / neurons.len() as f64
    };
    assert!(distance(&model) > 0.2);
    let training = TrainConfig {
        average_decay: 0.0,
        ..training(400)
    };
    model = fit(model, &fluorescence(), &training, 1, None, &mut ())
        .unwrap()
        .model;
    assert!(distance(&model) < 0.05, "{:?}", model.calcium());
}

#[test]
fn a_learned_gain_stays_within_its_bounds() {
    let gains = |max_gain_change| {
        let config = CountLadderConfig {
            learn_calcium: true,
            max_gain_change,
            ..CountLadderConfig::default()
        };
        let model = count_ladder_from(0.5, &config, &device());
        let fitted = fit(model, &fluorescence(), &training(60), 1, None, &mut ());
        let neurons = fitted.unwrap().model.calcium().unwrap();
        neurons
            .iter()
            .map(|n| n.gain.ln().abs())
            .collect::<Vec<_>>()
    };
    let [free, bounded] = [gains(None), gains(Some(1.02))];
    assert!(free.iter().any(|change| *change > 0.025), "{free:?}");
    let most = 1.02_f64.ln() + 1e-6;
    assert!(bounded.iter().all(|change| *change <= most), "{bounded:?}");
    assert!(bounded.iter().any(|change| *change > 0.015), "{bounded:?}");
}

#[test]
fn credible_intervals_cover_more_the_wider_they_are() {
    let truth = common::benchmark().valid.rates.unwrap();
    let data = fluorescence();
    let config = CountLadderConfig::default();
    let fitted = fit(
        count_ladder(&config, &device()),
        &data,
        &training(100),
        1,
        None,
        &mut (),
    );
    let model = fitted.unwrap().model;
    let inference = Inference::new(&model);
    let coverage = |rates| inference.rate_coverage(data.valid(), rates, 50, 1, &[0.5, 0.9]);
    let covered = coverage(truth.view()).unwrap();
    assert!(0.0 < covered[0] && covered[0] < covered[1], "{covered:?}");
    // Rates that no sample comes near are in no interval.
    let impossible = Array3::from_elem(truth.dim(), 1e6);
    assert!(
        coverage(impossible.view())
            .unwrap()
            .iter()
            .all(|&c| c < 1e-12)
    );
    let one_neuron = truth.slice(ndarray::s![.., .., ..1]);
    let error = coverage(one_neuron).unwrap_err().to_string();
    assert!(error.contains("(8, 20, 1)"), "{error}");
}

#[test]
fn bad_settings_and_observations_are_named() {
    let config = TrainConfig {
        beta_2: 1.5,
        ..training(5)
    };
    let error = fit(lfads(&device()), &counts(), &config, 1, None, &mut ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model or training setting `beta_2` is 1.5; it must be in [0, 1)"
    );
    let mut bad = Array3::zeros((2, 3, 1));
    bad[[1, 2, 0]] = f32::INFINITY;
    let error = TrainData::new(bad, Array3::zeros((1, 3, 1))).unwrap_err();
    assert!(error.to_string().contains("(1, 2, 0)"), "{error}");
    let missing = Array3::from_elem((2, 3, 1), f32::NAN);
    let error = TrainData::new(missing.clone(), missing).unwrap_err();
    assert!(error.to_string().contains("neuron 0"), "{error}");
}
