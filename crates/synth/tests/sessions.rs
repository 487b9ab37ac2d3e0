//! The committed recordings: what they hold, and their bits.

use data::{Dataset, Quantity};
use ndarray::{Array2, Array3, Axis};
use sha2::{Digest, Sha256};
use synth::{Benchmark, SessionBenchmark, SessionDynamics, SynthError};

fn of(dataset: &Dataset, quantity: Quantity) -> &Array3<f32> {
    dataset.train.require(quantity).unwrap()
}

/// Mean rate of each neuron, Hz.
fn mean_rates(dataset: &Dataset) -> Vec<f32> {
    let rates = of(dataset, Quantity::Rates);
    let by_trial = rates.mean_axis(Axis(0)).unwrap();
    by_trial.mean_axis(Axis(0)).unwrap().to_vec()
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

fn digest(arrays: &[&[f32]]) -> String {
    let mut sha = Sha256::new();
    for value in arrays.iter().copied().flatten() {
        sha.update(value.to_le_bytes());
    }
    let bytes = sha.finalize();
    let first = bytes.iter().take(8);
    let number = first.fold(0_u64, |number, &b| number << 8 | u64::from(b));
    format!("{number:016x}")
}

#[test]
fn the_ring_is_what_suite2p_would_leave_of_it() {
    let recipe = SessionBenchmark::ring();
    let dataset = recipe.simulate(1).unwrap();
    assert_eq!(of(&dataset, Quantity::Rates).dim(), (1, 12_000, 120));
    assert!(dataset.valid.rates.is_none() && dataset.tau_s.is_none());
    let rates = mean_rates(&dataset);
    assert!((mean(&rates) - 1.7).abs() < 1e-3, "{}", mean(&rates));
    let n_silent = rates.iter().filter(|&&rate| rate < 0.05).count();
    assert_eq!(n_silent, 36);
    for state in of(&dataset, Quantity::Latent)
        .index_axis(Axis(0), 0)
        .outer_iter()
    {
        let radius = state[0].hypot(state[1]);
        assert!((0.98..1.0001).contains(&radius), "{radius}");
    }

    let folder = recipe.extract(&dataset, 1).unwrap();
    let again = recipe.extract(&dataset, 1).unwrap();
    let bits = |x: &Array2<f32>| -> Vec<u32> { x.iter().map(|x| x.to_bits()).collect() };
    assert!(bits(&folder.fluorescence) == bits(&again.fluorescence));
    assert_eq!(folder.fluorescence.dim(), (132, 12_000));
    let lost: Vec<bool> = folder
        .fluorescence
        .row(0)
        .iter()
        .map(|x| x.is_nan())
        .collect();
    let share = lost.iter().filter(|&&lost| lost).count() as f64 / 12_000.0;
    assert!((0.01..0.04).contains(&share), "{share}");
    for row in folder.fluorescence.outer_iter() {
        assert!(row.iter().zip(&lost).all(|(x, &lost)| x.is_nan() == lost));
    }
    assert!(folder.neuropil.iter().all(|x| x.is_finite()));
    // Dims by a sixth, whatever the neuron does.
    let fluor = &folder.fluorescence - &(&folder.neuropil * 0.5);
    let part = |from: usize, to: usize| -> f32 {
        let cells = fluor.slice(ndarray::s![..120, from..to]);
        let present = cells.iter().filter(|x| x.is_finite());
        present.clone().sum::<f32>() / present.count() as f32
    };
    let dimmed = part(9_000, 12_000) / part(0, 3_000);
    assert!((0.8..0.95).contains(&dimmed), "{dimmed}");
}

#[test]
fn a_spike_stands_one_to_three_noise_sds_out() {
    for recipe in [
        SessionBenchmark::ring(),
        SessionBenchmark::pulses(),
        SessionBenchmark::switching(),
    ] {
        let observer = recipe.observation.observer(recipe.dt_s, 60, 5).unwrap();
        let mut spikes = Array2::zeros((80, 60));
        spikes.row_mut(3).fill(1.0);
        let seen = observer.observe_spikes(spikes.view(), 0).unwrap();
        let neurons = recipe.observation.neurons(60, 5).unwrap();
        let (mut least, mut greatest) = (f64::INFINITY, 0.0_f64);
        for (trace, neuron) in seen.calcium.columns().into_iter().zip(neurons) {
            let peak = trace.fold(0.0_f32, |peak, &x| peak.max(x));
            assert!((0.93..1.07).contains(&peak), "{peak}");
            least = least.min(f64::from(peak) / neuron.noise_sd);
            greatest = greatest.max(f64::from(peak) / neuron.noise_sd);
        }
        assert!(least > 0.95 && greatest < 3.2, "{least} {greatest}");
        assert!(greatest > 1.8 * least, "{least} {greatest}");
    }
}

#[test]
fn a_pulse_moves_the_state_by_its_jump() {
    let dataset = SessionBenchmark::pulses().simulate(1).unwrap();
    let (latent, inputs) = (
        of(&dataset, Quantity::Latent),
        of(&dataset, Quantity::Inputs),
    );
    assert_eq!(latent.dim(), (160, 100, 4));
    let valid = dataset.valid.require(Quantity::Fluor).unwrap();
    assert_eq!(valid.dim(), (40, 100, 100));
    assert!((mean(&mean_rates(&dataset)) - 2.5).abs() < 0.1);
    for (states, inputs) in latent.outer_iter().zip(inputs.outer_iter()) {
        let at: Vec<usize> = (0..100)
            .filter(|&t| inputs.row(t).iter().any(|&u| u != 0.0))
            .collect();
        let [pulse] = at[..] else {
            panic!("{} pulses", at.len())
        };
        assert!((20..=70).contains(&pulse), "{pulse}");
        let step = &states.row(pulse) - &states.row(pulse - 1);
        let left = &step - &inputs.row(pulse);
        let size = |x: &ndarray::Array1<f32>| x.iter().map(|x| x * x).sum::<f32>().sqrt();
        // What is left is one frame's turn.
        assert!(size(&left) < 0.8, "{}", size(&left));
        assert!((size(&inputs.row(pulse).to_owned()) - 2.0).abs() < 1e-4);
    }
}

#[test]
fn both_regimes_come_and_go() {
    let recipe = SessionBenchmark::switching();
    let dataset = recipe.simulate(1).unwrap();
    assert!((mean(&mean_rates(&dataset)) - 1.9).abs() < 1e-3);
    let latent = of(&dataset, Quantity::Latent);
    let states = latent.index_axis(Axis(0), 0);
    // The second regime leaves the first coordinate; the first turns in it.
    let turns: Vec<bool> = states
        .axis_chunks_iter(Axis(0), 40)
        .map(|second| second.column(0).iter().map(|x| x.abs()).fold(0.0, f32::max) > 0.6)
        .collect();
    let share = turns.iter().filter(|&&turns| turns).count() as f64 / turns.len() as f64;
    let n_switches = turns.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((0.25..0.75).contains(&share), "{share}");
    assert!((20..160).contains(&n_switches), "{n_switches}");
}

#[test]
fn the_bits_are_these() {
    let found = [
        SessionBenchmark::ring(),
        SessionBenchmark::pulses(),
        SessionBenchmark::switching(),
    ]
    .map(|recipe| {
        let dataset = recipe.simulate(1).unwrap();
        let recipe = Benchmark::from_recipe(dataset.recipe.as_ref().unwrap()).unwrap();
        assert_eq!(recipe.simulate(1).unwrap(), dataset);
        let arrays = [Quantity::Rates, Quantity::Spikes, Quantity::Fluor];
        let arrays = arrays.map(|quantity| of(&dataset, quantity).as_slice().unwrap());
        digest(&arrays)
    });
    assert_eq!(
        found,
        ["be4279d5f5a3d31d", "3bbca9c95f68646b", "aeb4c1a927264761"]
    );
}

#[test]
fn what_cannot_be_is_named() {
    let said = |change: fn(&mut SessionBenchmark)| {
        let mut recipe = SessionBenchmark::ring();
        change(&mut recipe);
        recipe.simulate(1).unwrap_err().to_string()
    };
    assert!(said(|r| r.silent = 1.0).starts_with("`silent` is 1.0"));
    assert!(said(|r| r.mean_rate_hz = 0.0).starts_with("`mean_rate_hz` is 0.0"));
    assert!(said(|r| r.n_neurons = 0).starts_with("`n_neurons` is 0"));
    assert!(said(|r| r.extraction.moved = 0.9).starts_with("`moved` is 0.9"));
    let pulsed = SessionDynamics::Pulsed(synth::Pulsed::default());
    let mut recipe = SessionBenchmark::ring();
    recipe.dynamics = pulsed;
    let error = recipe.simulate(1).unwrap_err().to_string();
    assert!(error.starts_with("`design` is None"), "{error}");

    let mut trials = SessionBenchmark::pulses();
    trials.n_bins = 20;
    let dataset = trials.simulate(1).unwrap();
    assert_eq!(trials.extract(&dataset, 1), Err(SynthError::Continuous));
    let trials = Benchmark::Session(trials);
    let refused = trials.as_suite2p(dataset, 1);
    assert!(matches!(refused, Err(SynthError::Continuous)));
}
