//! Spikes by the network from recordings as users have them.

use calcium::{Ar2, CalciumError, Discretisation, Inference, NamedIndicator};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};
use synth::traces::{Range, TraceRecipe};

/// Clear traces of principal neurons.
fn recipe() -> TraceRecipe {
    let mut recipe = TraceRecipe::default();
    recipe.indicators.snr = Range([4.0, 8.0]);
    recipe.firing.silent = 0.0;
    recipe.firing.fast_spiking = 0.0;
    recipe.firing.mean_rate_hz = Range([0.2, 1.0]);
    recipe.firing.log_rate_sd = Range([0.5, 1.0]);
    recipe
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum()
    };
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

/// Sums over half seconds.
fn binned(values: &[f64], dt_s: f64) -> Vec<f64> {
    let n = (0.5 / dt_s).ceil() as usize;
    values
        .chunks(n)
        .map(|bin| bin.iter().filter(|v| !v.is_nan()).sum())
        .collect()
}

#[test]
fn clear_spikes_are_found_at_any_rate() {
    let recipe = recipe();
    let mut scores = Vec::new();
    for index in 0..12 {
        let trace = recipe.simulate(8, index).unwrap();
        let samples: Vec<f64> = trace.fluor.iter().map(|&y| f64::from(y)).collect();
        let found = Inference::new(trace.dt_s).unwrap().infer(&samples).unwrap();
        assert_eq!(found.expected.len(), samples.len());
        for (e, y) in found.expected.iter().zip(&samples) {
            assert_eq!(e.is_nan(), y.is_nan());
        }
        let counts = trace.counts(trace.dt_s, samples.len());
        let counts: Vec<f64> = counts.iter().map(|&c| f64::from(c)).collect();
        let score = correlation(
            &binned(&found.expected, trace.dt_s),
            &binned(&counts, trace.dt_s),
        );
        scores.push(score);
    }
    scores.sort_unstable_by(f64::total_cmp);
    assert!(scores[6] > 0.85, "{scores:?}");
}

#[test]
fn an_indicator_narrows_what_is_known() {
    let trace = recipe().simulate(9, 3).unwrap();
    let plain = Inference::new(trace.dt_s).unwrap();
    let known = NamedIndicator::named("GCaMP6f").unwrap();
    let told = plain.clone().with_indicator(known, Some(1.0)).unwrap();
    let (plain, told) = (
        plain.infer(&trace.fluor).unwrap(),
        told.infer(&trace.fluor).unwrap(),
    );
    for (a, b) in [
        (plain.spike_size, told.spike_size),
        (plain.decay_s, told.decay_s),
        (plain.rise_s, told.rise_s),
    ] {
        assert!(b.log_sd < a.log_sd);
    }
    let between = |told: f64, plain: f64, known: f64| (told - plain) * (told - known) <= 0.0;
    assert!(between(
        told.spike_size.median,
        plain.spike_size.median,
        known.spike_dff
    ));
    // Fewer spikes of more size.
    let total = |e: &[f32]| e.iter().filter(|e| !e.is_nan()).sum::<f32>();
    let ratio = f64::from(total(&told.expected) / total(&plain.expected));
    let sizes = plain.spike_size.median / told.spike_size.median;
    assert!((ratio / sizes - 1.0).abs() < 1e-3);
    assert_eq!(NamedIndicator::named("gfp"), None);
}

#[test]
fn nothing_comes_of_nothing() {
    let inference = Inference::new(0.1).unwrap();
    let found = inference.infer(&[3.0; 100]).unwrap();
    assert!(found.expected.iter().all(|&e| e == 0.0) && !found.is_absolute());
    let error = inference.infer(&[1.0, f64::NAN, 2.0]).unwrap_err();
    assert!(
        matches!(error, CalciumError::TooFewFrames { found: 2, .. }),
        "{error}"
    );
    assert!(Inference::new(0.0).is_err());
}

/// Trials of five seconds that all start from rest, as benchmarks have them, so that each ends far above where the next begins.
#[test]
fn first_and_last_frames_of_trials_are_as_good_as_others() {
    const N_FRAMES: usize = 100;
    const EDGE: usize = 5;
    let ar = Ar2::from_taus(0.7, 0.1, 0.05, Discretisation::Exact).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let rate = Poisson::new(0.125).unwrap();
    let mut counts = Vec::new();
    let mut trace = Vec::new();
    for _ in 0..100 {
        let trial: Vec<f64> = (0..N_FRAMES).map(|_| rate.sample(&mut rng)).collect();
        let noisy = ar.convolve(&trial).into_iter().map(|c| {
            let noise: f64 = StandardNormal.sample(&mut rng);
            c + 0.8 * noise
        });
        trace.extend(noisy);
        counts.extend(trial);
    }
    let starts: Vec<usize> = (0..trace.len()).step_by(N_FRAMES).collect();
    let inference = Inference::new(0.05).unwrap().with_trials(&starts);
    let expected = inference.infer(&trace).unwrap().expected;
    assert_eq!(expected.len(), trace.len());
    let share = |values: &[f64]| {
        let is_edge = |t: usize| !(EDGE..N_FRAMES - EDGE).contains(&t);
        let at_edges = values
            .iter()
            .enumerate()
            .filter(|(t, _)| is_edge(t % N_FRAMES));
        at_edges.map(|(_, v)| v).sum::<f64>() / values.iter().sum::<f64>()
    };
    let (found, wanted) = (share(&expected), share(&counts));
    assert!(found > 0.75 * wanted, "{found} of {wanted}");
}
