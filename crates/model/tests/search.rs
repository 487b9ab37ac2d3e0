//! The search for initial conditions: better bounds, same bits, states that are kept.

mod common;

use baselines::Moments;
use burn::tensor::Device;
use common::{
    DT_S, count_ladder, counts, edgeworth, fluorescence, gaussian, ladder, lfads, training,
};
use model::{
    CountLadderConfig, Inference, KnownStates, Lfads, Noise, Pass, SearchConfig, SequentialVae,
    Stream, TrainData, fit,
};
use ndarray::{Array3, ArrayView3, Zip};

fn trained(model: Lfads, data: &TrainData) -> Lfads {
    fit(model, data, &training(60), 1, None, &mut ())
        .expect("it trains")
        .model
}

/// Nats a trial, without the factorials.
fn log_likelihood(counts: ArrayView3<'_, f32>, rates_hz: &Array3<f32>) -> f64 {
    let mut sum = 0.0;
    Zip::from(counts).and(rates_hz).for_each(|&count, &rate| {
        let mean = f64::from(rate) * DT_S;
        sum += f64::from(count) * mean.ln() - mean;
    });
    sum / counts.dim().0 as f64
}

#[test]
fn it_explains_the_trials_better_than_the_encoder_and_always_the_same() {
    let data = counts();
    let model = trained(lfads(&Device::flex().autodiff()), &data);
    let known = KnownStates::of(&model, &data);
    let rates = |n_steps: usize, n_starts: usize| {
        let config = SearchConfig {
            n_steps,
            n_starts,
            ..SearchConfig::default()
        };
        let inference = Inference::new(&model).searching(config, &known).unwrap();
        let inferred = inference.posterior_mean(data.valid(), 8, 1);
        inferred.unwrap().rates_hz
    };
    let of = |rates: &Array3<f32>| log_likelihood(data.valid(), rates);
    let encoder = of(&rates(0, 0));
    let from_encoder = of(&rates(40, 0));
    assert!(from_encoder > encoder + 0.5, "{from_encoder}, {encoder}");
    let both = rates(40, 2);
    assert!(of(&both) > encoder + 0.5, "{}, {encoder}", of(&both));
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    assert_eq!(both, one_thread.unwrap().install(|| rates(40, 2)));
}

/// Where inputs are inferred they are searched for together with the initial condition.
#[test]
fn inputs_explain_the_trials_better_than_what_the_controller_answers() {
    let data = counts();
    let driven = common::lfads_with(common::driven_dynamics(), &Device::flex().autodiff());
    let model = trained(driven, &data);
    let known = KnownStates::of(&model, &data);
    let inferred = |n_steps: usize| {
        let config = SearchConfig {
            n_steps,
            ..SearchConfig::default()
        };
        let inference = Inference::new(&model).searching(config, &known).unwrap();
        inference.posterior_mean(data.valid(), 8, 1).unwrap()
    };
    let of = |rates: &Array3<f32>| log_likelihood(data.valid(), rates);
    let (answered, found) = (inferred(0), inferred(40));
    let (before, after) = (of(&answered.rates_hz), of(&found.rates_hz));
    assert!(after > before + 0.5, "{after}, {before}");
    let means = [answered, found.clone()].map(|inferred| inferred.inputs.unwrap().mean);
    assert_ne!(means[0], means[1]);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    assert_eq!(found, one_thread.unwrap().install(|| inferred(40)));
}

/// What scores all known states at once agrees with what scores one.
#[test]
fn losses_under_several_runs_are_those_under_each() {
    let device = Device::flex();
    let (mut counts, fluor) = (
        counts().valid().to_owned(),
        fluorescence().valid().to_owned(),
    );
    counts[[1, 3, 2]] = f32::NAN;
    agree(&lfads(&device), counts);
    agree(&gaussian(Moments::Exact, &device), fluor.clone());
    agree(&edgeworth(Moments::AsPublished, &device), fluor.clone());
    agree(&ladder(&device), fluor.clone());
    agree(&count_ladder(&CountLadderConfig::default(), &device), fluor);
}

fn agree<M: SequentialVae>(model: &M, x: Array3<f32>) {
    let x = x.permuted_axes([1, 0, 2]);
    let shape: [usize; 3] = x.dim().into();
    let values = burn::tensor::TensorData::new(x.iter().copied().collect(), shape);
    let x = burn::tensor::Tensor::<3>::from_data(values, &Device::flex());
    let input = model.deep_input(&x);
    let n_bins = (shape[0], input.n_lead_in);
    let posterior = model.dynamics().encode(input.clone());
    let mut noise = Noise::new(1, Stream::Validation, &Device::flex());
    let runs = model
        .dynamics()
        .generate(&posterior, n_bins, &mut Pass::plain(&mut noise));
    let shallow = model.encode_shallow(x.clone(), &input.values);
    let evidence = model.evidence(&x, &shallow, &runs, &mut noise);
    let n_trials = shape[1];
    let of_runs = model.misfits(&evidence, &runs).into_data();
    let of_runs: Vec<f32> = of_runs.iter::<f32>().collect();
    // Each trial under its own run.
    let own = model.misfit(&evidence, &runs).into_data();
    for (trial, own) in own.iter::<f32>().enumerate() {
        let got = of_runs[trial * n_trials + trial];
        assert!(got.is_finite(), "{got}");
        assert!((got - own).abs() < 1e-3 * (1.0 + own.abs()), "{got}, {own}");
    }
}

#[test]
fn states_are_kept_and_those_of_another_model_refused() {
    let data = counts();
    let model = lfads(&Device::flex());
    let known = KnownStates::of(&model, &data);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states.ckpt");
    let of = serde_json::json!({"seed": 1});
    known.write(&path, &of).unwrap();
    assert_eq!(KnownStates::read(&path, &of).unwrap(), known);
    let error = KnownStates::read(&path, &serde_json::json!({"seed": 2}));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`of.seed` is 1 there, 2 here"), "{error}");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let error = KnownStates::read(&path, &of).unwrap_err().to_string();
    assert!(error.contains("states.ckpt"), "{error}");

    let dynamics = model::DynamicsConfig {
        n_ic: 3,
        ..common::dynamics()
    };
    let config = model::LfadsConfig { dynamics };
    let other = config.init(&[0.2; 6], DT_S, 3, &Device::flex()).unwrap();
    let error = Inference::new(&other)
        .searching(SearchConfig::default(), &known)
        .err()
        .map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains('5') && error.contains('3')));
}
