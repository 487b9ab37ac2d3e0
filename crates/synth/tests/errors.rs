//! A bad recipe is refused in one line that names the field and its value.

use ndarray::Array2;
use proptest::prelude::*;
use synth::{
    Benchmark, ChaoticRnnBenchmark, Discretisation, HeldOut, Kernel, LorenzBenchmark, Observation,
    TrialDesign,
};

fn lorenz(change: impl FnOnce(&mut LorenzBenchmark)) -> String {
    let mut recipe = LorenzBenchmark {
        design: TrialDesign {
            n_conditions: 2,
            n_repeats: 2,
            held_out: HeldOut::Repeats(1),
        },
        ..LorenzBenchmark::default()
    };
    recipe.simulate(0).unwrap();
    change(&mut recipe);
    recipe.simulate(0).unwrap_err().to_string()
}

fn chaotic_rnn(change: impl FnOnce(&mut ChaoticRnnBenchmark)) -> String {
    let mut recipe = ChaoticRnnBenchmark::default();
    recipe.validate().unwrap();
    change(&mut recipe);
    recipe.simulate(0).unwrap_err().to_string()
}

#[test]
fn fields_outside_their_domain() {
    let said = lorenz(|r| r.observation.noise_sd = -0.2);
    let wanted = "`observation.noise_sd` is -0.2; it must be zero or a positive number";
    assert_eq!(said, wanted);
    let said = lorenz(|r| r.n_bins = 0);
    assert_eq!(said, "`n_bins` is 0; it must be 1 or more");
    let said = lorenz(|r| r.dt_s = f64::NAN);
    assert_eq!(said, "`dt_s` is NaN; it must be a positive number");
    let said = lorenz(|r| r.loading_magnitude = [2.0, 1.0]);
    assert!(
        said.starts_with("`loading_magnitude` is [2.0, 1.0]; it must be"),
        "{said}"
    );
    let said = lorenz(|r| r.design.held_out = HeldOut::Repeats(2));
    assert_eq!(
        said,
        "`design.held_out.repeats` is 2; it must be at least 1 and fewer than `design.n_repeats`"
    );
    let said = lorenz(|r| r.design.held_out = HeldOut::Conditions(0));
    assert!(
        said.starts_with("`design.held_out.conditions` is 0; it must be"),
        "{said}"
    );
    let said = lorenz(|r| r.lorenz.rho = f64::INFINITY);
    assert_eq!(said, "`lorenz.rho` is inf; it must be a finite number");
    let said = chaotic_rnn(|r| r.pulse.latest = 1.5);
    assert!(
        said.starts_with("`pulse.earliest, pulse.latest` is [0.25, 1.5]"),
        "{said}"
    );
    let said = chaotic_rnn(|r| r.time_constant_s = 0.01);
    assert!(
        said.starts_with("`steps_per_bin` is 2; it must be enough that"),
        "{said}"
    );
}

#[test]
fn time_constants_that_give_no_dynamics() {
    let said = lorenz(|r| {
        r.observation.kinetics = Kernel::Ar1 {
            tau_s: 0.05,
            discretisation: Discretisation::Euler,
        };
    });
    let wanted = "`observation`: tau = 0.05 s is shorter than dt = 0.1 s";
    assert!(said.starts_with(wanted), "{said}");
    let said = lorenz(|r| {
        r.observation.kinetics = Kernel::Ar2 {
            tau_rise_s: 0.5,
            tau_decay_s: 0.2,
            discretisation: Discretisation::Exact,
        };
    });
    assert!(
        said.contains("the rise time of 0.5 s is not shorter than the decay time of 0.2 s"),
        "{said}"
    );
}

#[test]
fn sizes_that_no_memory_holds() {
    let wanted = "it must be at most 2^32 values in all";
    let said = lorenz(|r| r.n_neurons = usize::MAX);
    assert!(said.contains(wanted), "{said}");
    let said = chaotic_rnn(|r| r.n_units = 1 << 40);
    assert!(said.contains(wanted), "{said}");
    let said = lorenz(|r| r.burn_in_steps = usize::MAX);
    assert!(said.ends_with("it must be at most 10 million"), "{said}");
}

#[test]
fn dynamics_that_diverge_or_stand_still() {
    let said = lorenz(|r| r.step = 1.0);
    assert!(
        said.starts_with("the dynamics of condition 0 diverge"),
        "{said}"
    );
    let said = lorenz(|r| {
        r.lorenz.rho = 0.5;
        r.burn_in_steps = 10_000;
    });
    assert!(said.starts_with("the latent state never moves"), "{said}");
}

#[test]
fn networks_that_cannot_be_chaotic() {
    let said = chaotic_rnn(|r| {
        r.n_units = 2;
        r.gain = 0.5;
    });
    assert_eq!(
        said,
        "none of 300 random networks is chaotic enough; \
         raise `gain` or `n_units`, or lower `min_lyapunov`"
    );
}

/// Of all the conditions, which many threads meet at once, the first is named.
#[test]
fn rates_too_high_to_count() {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(8).build();
    let threads = threads.unwrap();
    for _ in 0..20 {
        let said = threads.install(|| lorenz(|r| r.observation.base_rate_hz = 1e12));
        assert!(
            said.starts_with("neuron 0 of condition 0 would fire"),
            "{said}"
        );
        assert!(said.contains("in bin 0; lower the base rate"), "{said}");
    }
}

#[test]
fn fields_that_do_not_exist() {
    let said = |text| Benchmark::from_recipe(text).unwrap_err().to_string();
    let unknown = said("[lorenz]\nn_neuron = 3\n");
    assert!(unknown.contains("unknown field `n_neuron`"), "{unknown}");
    let unknown = said("[lorentz]\n");
    assert!(unknown.contains("unknown variant `lorentz`"), "{unknown}");
}

#[test]
fn recipes_may_leave_out_what_is_as_usual() {
    let recipe = "[lorenz.observation]\nkinetics = { ar1 = { tau_s = 0.5 } }\n";
    let mut wanted = LorenzBenchmark::default();
    wanted.observation.kinetics = Kernel::Ar1 {
        tau_s: 0.5,
        discretisation: Discretisation::Euler,
    };
    let read = Benchmark::from_recipe(recipe);
    assert_eq!(read, Ok(Benchmark::Lorenz(wanted)));
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        -3.0..30.0,
        prop::sample::select(vec![0.0, f64::NAN, f64::INFINITY])
    ]
}

proptest! {
    #[test]
    fn no_recipe_panics(
        numbers in prop::collection::vec(any_number(), 14),
        sizes in prop::collection::vec(0..4_usize, 7),
        by_repeat in any::<bool>(),
    ) {
        let held_out = if by_repeat { HeldOut::Repeats } else { HeldOut::Conditions };
        let design = TrialDesign {
            n_conditions: sizes[0],
            n_repeats: sizes[1],
            held_out: held_out(sizes[2]),
        };
        let mut lorenz = LorenzBenchmark {
            n_bins: sizes[3],
            steps_per_bin: sizes[4],
            burn_in_steps: sizes[5],
            n_neurons: sizes[6],
            design: design.clone(),
            dt_s: numbers[0],
            step: numbers[1],
            loading_magnitude: [numbers[2], numbers[3]],
            ..LorenzBenchmark::default()
        };
        lorenz.lorenz.rho = numbers[4];
        lorenz.observation.base_rate_hz = numbers[5];
        lorenz.observation.gain = numbers[6];
        lorenz.observation.kinetics = Kernel::Ar2 {
            tau_rise_s: numbers[7],
            tau_decay_s: numbers[8],
            discretisation: Discretisation::Exact,
        };
        let mut rnn = ChaoticRnnBenchmark {
            n_bins: sizes[3],
            steps_per_bin: sizes[4],
            burn_in_steps: sizes[5],
            n_neurons: sizes[6],
            design,
            observation: lorenz.observation.clone(),
            dt_s: numbers[0],
            gain: numbers[9],
            time_constant_s: numbers[10],
            log_rate_sd: numbers[11],
            n_units: 3,
            min_lyapunov: f64::NEG_INFINITY,
            ..ChaoticRnnBenchmark::default()
        };
        rnn.pulse.amplitude = numbers[12];
        rnn.pulse.earliest = numbers[13];
        for benchmark in [Benchmark::Lorenz(lorenz), Benchmark::ChaoticRnn(rnn)] {
            if let Err(error) = benchmark.simulate(1) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}

#[test]
fn rates_and_spikes_of_ones_own_that_cannot_be() {
    let observer = Observation::default().observer(0.1, 3, 1).unwrap();
    let rates = Array2::from_elem((4, 3), 2.0);
    let wide = Array2::from_elem((4, 2), 2.0);
    let error = observer.observe(wide.view(), 0).unwrap_err().to_string();
    assert!(
        error.starts_with("`rates_hz` has 2 neurons, but 3 are observed"),
        "{error}"
    );
    for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
        let mut bad = rates.clone();
        bad[[2, 1]] = wrong;
        for error in [
            observer.observe(bad.view(), 0).unwrap_err(),
            observer.observe_spikes(bad.view(), 0).unwrap_err(),
        ] {
            let error = error.to_string();
            let wanted = format!("is {wrong} in bin 2 of neuron 1");
            assert!(error.contains(&wanted), "{error}");
        }
    }
    let never = Observation::default().observer(0.0, 3, 1).unwrap_err();
    assert!(never.to_string().contains("`dt_s` is 0"), "{never}");
}
