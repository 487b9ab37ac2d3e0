//! What every simulated data set must satisfy, whatever its recipe.

use data::{Dataset, Quantity, Split};
use ndarray::{Array3, ArrayView1, ArrayView2, Axis, concatenate};
use proptest::prelude::*;
use synth::{
    Benchmark, ChaoticRnnBenchmark, Discretisation, HeldOut, Heterogeneity, Hill, Kernel,
    LorenzBenchmark, Observation, Pulse, TrialDesign,
};

fn small_design() -> impl Strategy<Value = TrialDesign> {
    (2..6_usize, 2..5_usize, any::<bool>()).prop_map(|(n_conditions, n_repeats, by_repeat)| {
        let held_out = if by_repeat {
            HeldOut::Repeats(n_repeats / 2)
        } else {
            HeldOut::Conditions(n_conditions / 2)
        };
        TrialDesign {
            n_conditions,
            n_repeats,
            held_out,
        }
    })
}

fn kinetics() -> impl Strategy<Value = Kernel> {
    let rule = || prop_oneof![Just(Discretisation::Euler), Just(Discretisation::Exact)];
    prop_oneof![
        (0.25..2.0, rule()).prop_map(|(tau_s, discretisation)| Kernel::Ar1 {
            tau_s,
            discretisation
        }),
        (0.25..1.0, 1.1..2.0, rule()).prop_map(|(tau_rise_s, tau_decay_s, discretisation)| {
            Kernel::Ar2 {
                tau_rise_s,
                tau_decay_s,
                discretisation,
            }
        }),
    ]
}

prop_compose! {
    fn observation()(
        base_rate_hz in 0.1..20.0,
        gain in 0.1..3.0,
        baseline in 0.0..1.0,
        noise_sd in 0.0..2.0,
        kinetics in kinetics(),
        hill in any::<bool>(),
        // So little that a decay stays longer than its rise.
        log_tau_sd in 0.0..0.04,
        (log_gain_sd, log_noise_sd) in (0.0..0.5, 0.0..0.5),
        differ in any::<bool>(),
    ) -> Observation {
        let hill_curve = Hill { exponent: 2.2, half_saturation: 1.5, scale: 3.0 };
        Observation {
            base_rate_hz, gain, baseline, noise_sd, kinetics,
            saturation: hill.then_some(hill_curve),
            heterogeneity: differ.then_some(Heterogeneity { log_tau_sd, log_gain_sd, log_noise_sd }),
        }
    }
}

prop_compose! {
    fn lorenz()(
        (n_bins, steps_per_bin, n_neurons) in (1..8_usize, 1..4_usize, 1..5_usize),
        dt_s in 0.01..0.2,
        design in small_design(),
        observation in observation(),
        is_driven in any::<bool>(),
    ) -> Benchmark {
        Benchmark::Lorenz(LorenzBenchmark {
            n_bins, steps_per_bin, n_neurons, dt_s, design, observation,
            pulse: is_driven.then(|| Pulse { amplitude: 0.5, ..Pulse::default() }),
            burn_in_steps: 50,
            ..LorenzBenchmark::default()
        })
    }
}

prop_compose! {
    fn chaotic_rnn()(
        (n_bins, steps_per_bin, n_neurons) in (1..8_usize, 1..4_usize, 1..5_usize),
        n_units in 1..9_usize,
        dt_s in 0.01..0.2,
        design in small_design(),
        observation in observation(),
    ) -> Benchmark {
        Benchmark::ChaoticRnn(ChaoticRnnBenchmark {
            n_bins, steps_per_bin, n_neurons, n_units, dt_s, design, observation,
            burn_in_steps: 10,
            min_lyapunov: f64::NEG_INFINITY,
            ..ChaoticRnnBenchmark::default()
        })
    }
}

fn any_benchmark() -> impl Strategy<Value = Benchmark> {
    prop_oneof![lorenz(), chaotic_rnn()]
}

fn parts(benchmark: &Benchmark) -> (&TrialDesign, &Observation, [usize; 3]) {
    match benchmark {
        Benchmark::Lorenz(b) => (&b.design, &b.observation, [b.n_bins, b.n_neurons, 3]),
        Benchmark::ChaoticRnn(b) => (
            &b.design,
            &b.observation,
            [b.n_bins, b.n_neurons, b.n_units],
        ),
        Benchmark::Session(_) => unreachable!("none is drawn here: see sessions.rs"),
    }
}

/// Both splits, one after the other.
fn all(dataset: &Dataset, quantity: Quantity) -> Array3<f32> {
    let [train, valid] = [&dataset.train, &dataset.valid].map(|s| s.require(quantity).unwrap());
    concatenate(Axis(0), &[train.view(), valid.view()]).unwrap()
}

fn with_threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
    pool.unwrap().install(work)
}

/// y from the file's own spikes, by the difference equation of each neuron's kinetics.
fn recursion(dataset: &Dataset, observation: &Observation) -> Array3<f64> {
    let (spikes, dt_s) = (all(dataset, Quantity::Spikes), dataset.dt_s);
    let neurons = observation
        .neurons(spikes.dim().2, dataset.seed.unwrap())
        .unwrap();
    let mut y = Array3::<f64>::zeros(spikes.dim());
    for ((i, t, n), s) in spikes.indexed_iter() {
        let earlier = |k: usize| if t < k { 0.0 } else { y[[i, t - k, n]] };
        let [g1, g2] = coefficients(neurons[n].indicator.kernel(), dt_s);
        y[[i, t, n]] = g1 * earlier(1)
            + g2 * earlier(2)
            + neurons[n].indicator.gain() * f64::from(*s)
            + observation.baseline;
    }
    y
}

fn coefficients(kinetics: Kernel, dt_s: f64) -> [f64; 2] {
    let g = |tau: f64, rule| match rule {
        Discretisation::Euler => 1.0 - dt_s / tau,
        Discretisation::Exact => (-dt_s / tau).exp(),
    };
    match kinetics {
        Kernel::Ar1 {
            tau_s,
            discretisation,
        } => [g(tau_s, discretisation), 0.0],
        Kernel::Ar2 {
            tau_rise_s,
            tau_decay_s,
            discretisation,
        } => {
            let (rise, decay) = (
                g(tau_rise_s, discretisation),
                g(tau_decay_s, discretisation),
            );
            [rise + decay, -rise * decay]
        }
    }
}

#[test]
fn neurons_differ_as_much_as_they_are_told_to() {
    let mut observation = Observation::default();
    let alike = observation.neurons(4, 3).unwrap();
    assert!(
        alike
            .iter()
            .all(|neuron| (neuron.indicator.gain() - 1.0).abs() < 1e-12
                && (neuron.noise_sd - 0.2).abs() < 1e-12)
    );
    observation.heterogeneity = Some(Heterogeneity {
        log_gain_sd: 0.3,
        ..Heterogeneity::default()
    });
    let neurons = observation.neurons(2000, 3).unwrap();
    let logs: Vec<f64> = neurons
        .iter()
        .map(|neuron| neuron.indicator.gain().ln())
        .collect();
    let square = logs.iter().map(|x| x * x).sum::<f64>() / logs.len() as f64;
    // Holding z within ±2 takes its standard deviation from 1 to 0.96.
    assert!((square.sqrt() - 0.96 * 0.3).abs() < 0.02, "{square}");
    assert!(
        neurons
            .iter()
            .all(|neuron| (neuron.noise_sd - 0.2).abs() < 1e-12)
    );
}

proptest! {
    #[test]
    fn the_data_set_is_valid_and_has_the_shapes_asked_for(
        benchmark in any_benchmark(), seed in any::<u64>(),
    ) {
        let dataset = benchmark.simulate(seed).unwrap();
        dataset.validate().unwrap();
        let (design, _, [n_bins, n_neurons, n_latents]) = parts(&benchmark);
        let n_valid = match design.held_out {
            HeldOut::Repeats(n) => n * design.n_conditions,
            HeldOut::Conditions(n) => n * design.n_repeats,
        };
        let n_train = design.n_conditions * design.n_repeats - n_valid;
        for array in dataset.arrays() {
            let n_trials = if array.split == "train" { n_train } else { n_valid };
            let last = match array.quantity {
                Quantity::Latent | Quantity::Inputs => n_latents,
                _ => n_neurons,
            };
            prop_assert_eq!(array.values.dim(), (n_trials, n_bins, last));
        }
        prop_assert_eq!(dataset.loadings.as_ref().unwrap().dim(), (n_latents, n_neurons));
        // A pulse may carry the attractor further.
        let is_kicked = matches!(&benchmark, Benchmark::Lorenz(lorenz) if lorenz.pulse.is_some());
        prop_assert!(is_kicked || all(&dataset, Quantity::Latent).iter().all(|z| z.abs() <= 1.0));
    }

    #[test]
    fn calcium_obeys_its_difference_equation(
        benchmark in any_benchmark(), seed in any::<u64>(),
    ) {
        let dataset = benchmark.simulate(seed).unwrap();
        let (_, observation, _) = parts(&benchmark);
        let wanted = recursion(&dataset, observation);
        for (y, w) in all(&dataset, Quantity::Calcium).iter().zip(&wanted) {
            prop_assert!((f64::from(*y) - w).abs() <= 1e-6 * (1.0 + w.abs()), "{} for {}", y, w);
        }
    }

    #[test]
    fn fluorescence_without_noise_is_the_indicator_curve(
        mut benchmark in lorenz(), seed in any::<u64>(),
    ) {
        if let Benchmark::Lorenz(b) = &mut benchmark {
            b.observation.noise_sd = 0.0;
        }
        let dataset = benchmark.simulate(seed).unwrap();
        let saturation = parts(&benchmark).1.saturation;
        let calcium = all(&dataset, Quantity::Calcium).mapv(f64::from);
        let wanted = calcium.map(|y| match saturation {
            None => *y,
            Some(Hill { exponent: n, half_saturation: k, scale }) => {
                scale * y.powf(n) / (y.powf(n) + k.powf(n))
            }
        });
        for (x, w) in all(&dataset, Quantity::Fluor).iter().zip(&wanted) {
            prop_assert!((f64::from(*x) - w).abs() <= 1e-6 * (1.0 + w.abs()), "{} for {}", x, w);
        }
    }

    #[test]
    fn rates_follow_from_latents_and_loadings(
        mut benchmark in any_benchmark(), seed in any::<u64>(),
    ) {
        match &mut benchmark {
            Benchmark::Lorenz(b) => b.steps_per_bin = 1,
            Benchmark::ChaoticRnn(b) => b.steps_per_bin = 1,
            Benchmark::Session(b) => b.steps_per_bin = 1,
        }
        let dataset = benchmark.simulate(seed).unwrap();
        let base = parts(&benchmark).1.base_rate_hz as f32;
        let latent = all(&dataset, Quantity::Latent);
        let loadings = dataset.loadings.as_ref().unwrap();
        let rates = all(&dataset, Quantity::Rates);
        for (trial, rates) in latent.outer_iter().zip(rates.outer_iter()) {
            let wanted = trial.dot(loadings).mapv(|x| base * x.exp());
            for (r, w) in rates.iter().zip(&wanted) {
                prop_assert!((r - w).abs() <= 1e-4 * w, "{} for {}", r, w);
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads(
        benchmark in any_benchmark(), seed in any::<u64>(),
    ) {
        let [one, two, three] =
            [1, 2, 3].map(|n| with_threads(n, || benchmark.simulate(seed).unwrap()));
        prop_assert!(one == two && two == three);
        prop_assert!(one != benchmark.simulate(seed ^ 1).unwrap());
    }

    #[test]
    fn the_recipe_in_the_file_makes_the_file_again(
        benchmark in any_benchmark(), seed in any::<u64>(),
    ) {
        let dataset = benchmark.simulate(seed).unwrap();
        let recipe = Benchmark::from_recipe(dataset.recipe.as_ref().unwrap()).unwrap();
        prop_assert_eq!(&recipe, &benchmark);
        prop_assert_eq!(recipe.simulate(dataset.seed.unwrap()).unwrap(), dataset);
    }

    #[test]
    fn louder_noise_leaves_the_spikes_alone(benchmark in lorenz(), seed in any::<u64>()) {
        let mut louder = benchmark.clone();
        if let Benchmark::Lorenz(b) = &mut louder {
            b.observation.noise_sd += 1.0;
        }
        let [quiet, loud] = [benchmark, louder].map(|b| b.simulate(seed).unwrap());
        prop_assert_eq!(&quiet.train.spikes, &loud.train.spikes);
        prop_assert!(quiet.train.fluor != loud.train.fluor);
    }
}

fn held_out(held_out: HeldOut) -> Dataset {
    let benchmark = LorenzBenchmark {
        n_bins: 10,
        design: TrialDesign {
            n_conditions: 6,
            n_repeats: 4,
            held_out,
        },
        ..LorenzBenchmark::default()
    };
    benchmark.simulate(9).unwrap()
}

/// The bits of every trial, sorted.
fn sorted_trials(array: &Array3<f32>) -> Vec<Vec<u32>> {
    let bits = |trial: ArrayView2<'_, f32>| trial.iter().map(|x| x.to_bits()).collect();
    let mut trials: Vec<Vec<u32>> = array.outer_iter().map(bits).collect();
    trials.sort();
    trials
}

fn distinct_latents(split: &Split) -> Vec<Vec<u32>> {
    let mut trials = sorted_trials(split.require(Quantity::Latent).unwrap());
    trials.dedup();
    trials
}

#[test]
fn held_out_repeats_share_their_latents_with_training() {
    let dataset = held_out(HeldOut::Repeats(1));
    let train = distinct_latents(&dataset.train);
    assert_eq!(train.len(), 6);
    assert_eq!(train, distinct_latents(&dataset.valid));
}

#[test]
fn held_out_conditions_are_never_seen_in_training() {
    let dataset = held_out(HeldOut::Conditions(2));
    let train = distinct_latents(&dataset.train);
    let valid = distinct_latents(&dataset.valid);
    assert_eq!((train.len(), valid.len()), (4, 2));
    assert!(valid.iter().all(|trial| !train.contains(trial)));
}

#[test]
fn a_trial_is_the_same_whichever_split_it_falls_in() {
    let trials = |held| sorted_trials(&all(&held_out(held), Quantity::Fluor));
    assert_eq!(trials(HeldOut::Repeats(1)), trials(HeldOut::Conditions(3)));
}

#[test]
fn one_pulse_per_trial_kicks_the_network_off_its_course() {
    let benchmark = ChaoticRnnBenchmark {
        design: TrialDesign {
            n_conditions: 2,
            n_repeats: 4,
            held_out: HeldOut::Repeats(1),
        },
        ..ChaoticRnnBenchmark::default()
    };
    let dataset = benchmark.simulate(4).unwrap();
    let inputs = dataset.train.require(Quantity::Inputs).unwrap();
    let latent = dataset.train.require(Quantity::Latent).unwrap();
    let pulse_bins: Vec<usize> = inputs.outer_iter().map(|u| pulse_bin(&u, 5.0)).collect();
    assert!(
        pulse_bins.iter().all(|bin| (25..75).contains(bin)),
        "{pulse_bins:?}"
    );
    let (first, second) = (latent.index_axis(Axis(0), 0), latent.index_axis(Axis(0), 1));
    let parting = (0..100).find(|&t| first.row(t) != second.row(t));
    assert_eq!(parting, Some(pulse_bins[0].min(pulse_bins[1])));
}

#[test]
fn a_pulse_kicks_the_attractor_by_what_the_inputs_say() {
    let still = LorenzBenchmark {
        steps_per_bin: 1,
        design: TrialDesign {
            n_conditions: 2,
            n_repeats: 4,
            held_out: HeldOut::Repeats(1),
        },
        ..LorenzBenchmark::default()
    };
    let driven = LorenzBenchmark {
        pulse: Some(Pulse {
            amplitude: 0.5,
            ..Pulse::default()
        }),
        ..still.clone()
    };
    let [still, driven] = [still, driven].map(|benchmark| benchmark.simulate(4).unwrap());
    assert!(still.train.inputs.is_none());
    let latent = |dataset: &Dataset| dataset.train.latent.clone().unwrap();
    let [still, moved] = [&still, &driven].map(latent);
    let inputs = driven.train.require(Quantity::Inputs).unwrap();
    for (trial, inputs) in inputs.outer_iter().enumerate() {
        let bin = pulse_bin(&inputs, 0.5);
        assert!((25..75).contains(&bin), "{bin}");
        let [still, moved] = [&still, &moved].map(|latent| latent.index_axis(Axis(0), trial));
        for ((t, coordinate), &input) in inputs.indexed_iter() {
            let jump = moved[[t, coordinate]] - still[[t, coordinate]];
            assert!(
                t > bin || (jump - input).abs() < 1e-5,
                "bin {t}: {jump}, {input}"
            );
        }
    }
}

/// The one bin with an input, whose root mean square must be `amplitude`.
fn pulse_bin(inputs: &ArrayView2<'_, f32>, amplitude: f32) -> usize {
    let rms = |row: ArrayView1<'_, f32>| {
        (row.iter().map(|u| u * u).sum::<f32>() / row.len() as f32).sqrt()
    };
    let rows = inputs.outer_iter().map(rms).enumerate();
    let bins: Vec<(usize, f32)> = rows.filter(|(_, rms)| *rms > 0.0).collect();
    assert!(
        bins.len() == 1 && (bins[0].1 - amplitude).abs() < 1e-4,
        "{bins:?}"
    );
    bins[0].0
}
