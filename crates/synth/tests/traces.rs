//! Single simulated traces: the same bits, the truth that they carry, and what is refused.

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use synth::traces::{Disturbances, Firing, Noise, Range, SimulatedTrace, TraceRecipe};

/// Nothing but one neuron, its indicator, and noise.
fn plain() -> TraceRecipe {
    let mut recipe = TraceRecipe {
        of_trials: 0.0,
        ..TraceRecipe::default()
    };
    recipe.disturbances = Disturbances {
        drift: Range([0.0, 1e-9]),
        slow_drift: Range([0.0, 0.0]),
        bleaching: 0.0,
        jumping: 0.0,
        moving: 0.0,
        neighbours: 0.0,
        with_neuropil: 0.0,
        beating: 0.0,
        ..Disturbances::default()
    };
    recipe.noise = Noise {
        shot: 0.0,
        resampled: 0.0,
        smoothed: 0.0,
        gappy: 0.0,
        ..Noise::default()
    };
    recipe.indicators.variability = Range([0.0, 0.0]);
    recipe
}

fn sd(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (values.map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}

fn frames(trace: &SimulatedTrace) -> impl Iterator<Item = (f64, f64)> + Clone + '_ {
    let pairs = trace.fluor.iter().zip(&trace.baseline);
    pairs.map(|(&y, &b)| (f64::from(y), f64::from(b)))
}

/// SHA-256 of the first eight traces of seed 1; changes with every change of the defaults.
const GOLDEN: &str = "329a75bf45ef14367f8d14826d9dff69f6b10611e9f0c5d53a926b12a10b770f";

#[test]
fn the_same_seed_gives_the_same_bits_everywhere() {
    let recipe = TraceRecipe::default();
    let mut hash = Sha256::new();
    for index in 0..8 {
        let trace = recipe.simulate(1, index).unwrap();
        for y in trace.fluor.iter().chain(&trace.baseline) {
            hash.update(y.to_le_bytes());
        }
        for time in &trace.spike_times_s {
            hash.update(time.to_le_bytes());
        }
    }
    let found = hash
        .finalize()
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(found, GOLDEN);
}

#[test]
fn every_trace_is_whole() {
    let recipe = TraceRecipe::default();
    let mut silent = 0;
    for index in 0..200 {
        let trace = recipe.simulate(2, index).unwrap();
        let n = trace.fluor.len();
        assert!(n == trace.baseline.len() && trace.trial_starts[0] == 0);
        let length_s = n as f64 * trace.dt_s;
        assert!((58.5..141.5).contains(&length_s), "{index}: {length_s} s");
        assert!(trace.spike_times_s.is_sorted());
        assert!(
            trace
                .spike_times_s
                .iter()
                .all(|&t| (-1.0..length_s + 2.0).contains(&t))
        );
        assert!(trace.baseline.iter().all(|b| b.is_finite()));
        let missing = trace.fluor.iter().filter(|y| y.is_nan()).count();
        assert!(missing < n / 2 && trace.fluor.iter().all(|y| y.is_nan() || y.is_finite()));
        assert!(trace.rise_s < trace.decay_s && trace.noise_sd > 0.0);
        silent += usize::from(trace.spike_times_s.is_empty());
    }
    assert!((1..60).contains(&silent), "{silent}");
}

#[test]
fn noise_alone_has_its_sd_and_spikes_lift_the_trace() {
    let mut recipe = plain();
    recipe.firing.silent = 1.0;
    for index in 0..20 {
        let trace = recipe.simulate(3, index).unwrap();
        let found = sd(frames(&trace).map(|(y, b)| y - b));
        let off = found / trace.noise_sd - 1.0;
        let standard_error = (0.5 / trace.fluor.len() as f64).sqrt();
        assert!(off.abs() < 5.0 * standard_error, "{index}: off by {off}");
    }
}

#[test]
fn an_isolated_spike_is_as_high_as_it_says() {
    let mut recipe = plain();
    recipe.usual_rate_hz = Range([60.0, 60.0]);
    recipe.unusual = 0.0;
    recipe.indicators.snr = Range([1e6, 1e6]);
    recipe.indicators.decay_s = Range([0.5, 0.5]);
    recipe.indicators.rise_s = Range([0.05, 0.05]);
    recipe.indicators.slow_tail = 0.0;
    recipe.firing = Firing {
        silent: 0.0,
        mean_rate_hz: Range([0.05, 0.05]),
        log_rate_sd: Range([0.0, 0.0]),
        fast_spiking: 0.0,
        bursting: 0.0,
        complex: 0.0,
        ..Firing::default()
    };
    let mut n_seen = 0;
    for index in 0..60 {
        let trace = recipe.simulate(4, index).unwrap();
        for pair in trace.spike_times_s.windows(3) {
            if pair[1] - pair[0] < 6.0 || pair[2] - pair[1] < 1.0 {
                continue;
            }
            let first = (pair[1] / trace.dt_s) as usize;
            let after = frames(&trace).skip(first).take(30);
            let peak = after.map(|(y, b)| y - b).fold(0.0, f64::max);
            assert!(
                (peak / trace.spike_size - 1.0).abs() < 0.03,
                "{index}: {}",
                peak / trace.spike_size
            );
            n_seen += 1;
        }
    }
    assert!(n_seen > 10, "{n_seen}");
}

#[test]
fn mean_rates_are_what_the_recipe_says() {
    let mut recipe = plain();
    recipe.duration_s = Range([400.0, 400.0]);
    recipe.firing = Firing {
        silent: 0.0,
        mean_rate_hz: Range([4.0, 4.0]),
        log_rate_sd: Range([0.8, 0.8]),
        correlation_s: Range([0.05, 0.5]),
        fast_spiking: 0.0,
        bursting: 0.0,
        complex: 0.0,
        ..Firing::default()
    };
    let mut rates = Vec::new();
    for index in 0..20 {
        let trace = recipe.simulate(5, index).unwrap();
        rates.push(trace.spike_times_s.len() as f64 / 400.0);
    }
    let mean = rates.iter().sum::<f64>() / 20.0;
    assert!((mean - 4.0).abs() < 0.25, "{mean} Hz");
}

#[test]
fn resampled_noise_is_correlated_and_spikes_stay_under_their_transients() {
    let mut recipe = plain();
    recipe.indicators.snr = Range([1e6, 1e6]);
    recipe.noise.resampled = 1.0;
    recipe.noise.stretch = Range([1.3, 3.0]);
    recipe.noise.cubic = 0.0;
    recipe.firing.silent = 0.0;
    recipe.firing.fast_spiking = 0.0;
    recipe.firing.mean_rate_hz = Range([0.2, 0.2]);
    recipe.firing.bursting = 0.0;
    recipe.usual_rate_hz = Range([20.0, 20.0]);
    recipe.unusual = 0.0;
    recipe.exposure = Range([0.1, 0.1]);
    recipe.indicators.rise_s = Range([0.004, 0.004]);
    recipe.indicators.double_rise = 0.0;
    recipe.indicators.supralinear = 0.0;
    for index in 0..20 {
        let trace = recipe.simulate(6, index).unwrap();
        assert!(trace.dt_s < 0.05 / 1.29);
        // Nothing rises before its spike, but for the old frame that interpolation smears.
        let above: Vec<f64> = frames(&trace)
            .map(|(y, b)| (y - b) / trace.spike_size)
            .collect();
        for (t, pair) in above.windows(2).enumerate() {
            // What fired before the first frame is not told.
            if t > 30 && pair[1] > pair[0] + 0.3 {
                let now = (t as f64 + 1.5) * trace.dt_s;
                let mut since = trace.spike_times_s.iter().map(|s| now - s);
                assert!(
                    since.any(|since| (-0.06..0.12).contains(&since)),
                    "{index}: no spike near {now} s"
                );
            }
        }
    }
}

#[test]
fn trials_begin_where_they_say() {
    let mut recipe = plain();
    recipe.of_trials = 1.0;
    recipe.duration_s = Range([59.0, 59.0]);
    recipe.trial_s = Range([10.0, 10.0]);
    recipe.trial_offset = Range([50.0, 50.0]);
    recipe.firing.silent = 1.0;
    recipe.noise.resampled = 0.5;
    recipe.noise.stretch = Range([1.0, 1.5]);
    for index in 0..10 {
        let trace = recipe.simulate(7, index).unwrap();
        assert_eq!(trace.trial_starts.len(), 6);
        for &start in &trace.trial_starts[1..] {
            // Flat on both sides of a jump.
            let base = |t: usize| f64::from(trace.baseline[t]);
            let jump = (base(start + 3) - base(start - 4)).abs();
            let before = (base(start - 4) - base(start - 5)).abs();
            assert!(
                before < 1e-5 * (1.0 + base(start).abs()) && jump > before,
                "{index}"
            );
        }
    }
}

#[test]
fn a_recipe_survives_its_text_and_bad_ones_are_named() {
    let recipe = TraceRecipe::default();
    let text = toml::to_string(&recipe).unwrap();
    assert_eq!(toml::from_str::<TraceRecipe>(&text).unwrap(), recipe);
    let partial = "duration_s = [5.0, 9.0]\n[noise]\nshot = 1.0\n";
    let partial: TraceRecipe = toml::from_str(partial).unwrap();
    assert_eq!(partial.noise.stretch, recipe.noise.stretch);
    assert!(toml::from_str::<TraceRecipe>("durations = 3").is_err());

    let refused = |change: fn(&mut TraceRecipe)| {
        let mut recipe = TraceRecipe::default();
        change(&mut recipe);
        recipe.simulate(0, 0).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|r| r.duration_s = Range([9.0, 5.0])),
        "`duration_s` is [9.0, 5.0]; it must be [low, high] with 0 < low <= high"
    );
    assert_eq!(
        refused(|r| r.firing.silent = 1.5),
        "`firing.silent` is 1.5; it must be a probability, from 0 to 1"
    );
    assert!(refused(|r| r.indicators.decay_s = Range([0.0, 1.0])).contains("indicators.decay_s"));
    assert!(
        refused(|r| r.disturbances.jump = Range([f64::NAN, 1.0])).contains("disturbances.jump")
    );
    assert!(refused(|r| r.noise.stretch = Range([0.5, 1.0])).contains("noise.stretch"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn counts_add_up(seed in 0u64..1000, n_bins in 1usize..3000) {
        let trace = TraceRecipe::default().simulate(seed, 0).unwrap();
        let counts = trace.counts(60.0 / n_bins as f64, n_bins);
        prop_assert_eq!(counts.iter().sum::<u32>() as usize, trace.spike_times_s.len());
    }

    #[test]
    fn other_noise_leaves_the_spikes_alone(seed in 0u64..1000, index in 0usize..1000) {
        let recipe = TraceRecipe::default();
        let mut noisier = recipe.clone();
        noisier.noise.shot = 1.0;
        noisier.noise.resampled = 0.0;
        let mut unchanged = recipe;
        unchanged.noise.resampled = 0.0;
        let (a, b) = (unchanged.simulate(seed, index).unwrap(), noisier.simulate(seed, index).unwrap());
        prop_assert_eq!(a.spike_times_s, b.spike_times_s);
        prop_assert_eq!(a.baseline, b.baseline);
    }
}
