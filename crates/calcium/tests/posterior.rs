//! Expected spikes against an exact posterior, and kinetics against what was simulated.

use calcium::{Ar1, Ar2, CalciumError, Discretisation, Kinetics, SpikePrior, estimate};
use proptest::prelude::*;

const NAN: f64 = f64::NAN;

/// Uniform in [0, 1): Vigna's splitmix64.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_draw| self.next()).sum::<f64>() - 6.0
    }
}

/// E[s] and P(s > 0) of one spike under y = s + noise, by quadrature.
fn by_quadrature(y: f64, noise_sd: f64, probability: f64, amplitude: f64) -> [f64; 2] {
    let likelihood = |s: f64| (-0.5 * ((y - s) / noise_sd).powi(2)).exp();
    let (n, step) = (
        200_000,
        (y.abs() + 40.0 * (amplitude + noise_sd)) / 200_000.0,
    );
    let (mut mass, mut first) = (0.0, 0.0);
    for s in (0..n).map(|i| (f64::from(i) + 0.5) * step) {
        let weight = step * probability / amplitude * (-s / amplitude).exp() * likelihood(s);
        mass += weight;
        first += weight * s;
    }
    let total = mass + (1.0 - probability) * likelihood(0.0);
    [first / total, mass / total]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn without_memory_each_spike_has_its_exact_moments(
        y in -2.0f64..6.0, noise_sd in 0.2f64..2.0, p in 0.01f64..0.9, a in 0.3f64..3.0,
    ) {
        let prior = SpikePrior::new(Ar1::new(0.0).unwrap(), noise_sd).unwrap();
        let posterior = prior.with_spikes(p, a).unwrap().infer(&[0.0, y, NAN, y]).unwrap();
        let [mean, probability] = by_quadrature(y, noise_sd, p, a);
        for t in [1, 3] {
            prop_assert!((posterior.spikes[t] - mean).abs() < 1e-4 * (1.0 + mean), "{} {mean}", posterior.spikes[t]);
            prop_assert!((posterior.probability[t] - probability).abs() < 1e-4);
        }
        // A frame without data keeps the prior.
        prop_assert!((posterior.spikes[2] - p * a).abs() < 1e-3 * a);
        prop_assert!((posterior.probability[2] - p).abs() < 1e-3);
    }

    #[test]
    fn units_do_not_matter_and_everything_is_finite(
        g in 0.0f64..0.99, scale in 1e-3f64..1e3,
        trace in prop::collection::vec(prop_oneof![5 => -1.0f64..8.0, 1 => Just(NAN)], 1..80),
    ) {
        let ar = Ar1::new(g).unwrap();
        let plain = SpikePrior::new(ar, 0.3).unwrap().with_spikes(0.1, 1.0).unwrap();
        let scaled = SpikePrior::new(ar, 0.3 * scale).unwrap().with_spikes(0.1, scale).unwrap();
        let plain = plain.infer(&trace).unwrap();
        let larger: Vec<f64> = trace.iter().map(|y| scale * y).collect();
        let scaled = scaled.infer(&larger).unwrap();
        for t in 0..trace.len() {
            prop_assert!(plain.spikes[t] >= 0.0 && plain.calcium[t].is_finite());
            prop_assert!((0.0..=1.0).contains(&plain.probability[t]));
            prop_assert!((scale * plain.spikes[t] - scaled.spikes[t]).abs() < 1e-6 * scale);
        }
    }
}

/// Under the model itself no estimate has less squared error.
#[test]
fn the_posterior_mean_beats_the_sparse_optimum() {
    let mut uniform = Uniform(3);
    let ar = Ar1::new(0.9).unwrap();
    let spikes: Vec<f64> = (0..4000)
        .map(|t| {
            if t > 0 && uniform.next() < 0.1 {
                -uniform.next().ln()
            } else {
                0.0
            }
        })
        .collect();
    let calcium = ar.convolve(&spikes);
    let trace: Vec<f64> = calcium.iter().map(|c| c + 0.4 * uniform.normal()).collect();
    let prior = SpikePrior::new(ar, 0.4)
        .unwrap()
        .with_spikes(0.1, 1.0)
        .unwrap();
    let posterior = prior.infer(&trace).unwrap();
    let error = |found: &[f64]| -> f64 {
        found
            .iter()
            .zip(&spikes)
            .map(|(a, b)| (a - b).powi(2))
            .sum()
    };
    let ours = error(&posterior.spikes);
    for lambda in [0.0, 0.2, 0.5, 1.0] {
        let sparse = calcium::oasis::Ar1Problem::new(ar)
            .with_lambda(lambda)
            .unwrap();
        let sparse = error(&sparse.deconvolve(&trace).unwrap().spikes);
        assert!(
            ours < 0.9 * sparse,
            "{ours} against {sparse} at lambda {lambda}"
        );
    }
    // Probabilities mean what they say.
    let expected: f64 = posterior.probability.iter().sum();
    let count = spikes.iter().filter(|&&s| s > 0.0).count() as f64;
    assert!(
        (expected - count).abs() < 0.15 * count,
        "{expected} of {count}"
    );
    let estimated = prior
        .with_amplitude_of(&trace)
        .unwrap()
        .infer(&trace)
        .unwrap();
    assert!(error(&estimated.spikes) < 1.05 * ours);
}

fn recording(kinetics: Kinetics, dt_s: f64, noise_sd: f64, n_bins: usize) -> Vec<f64> {
    let mut uniform = Uniform(7);
    let ar = Ar2::from_taus(
        kinetics.rise_s,
        kinetics.decay_s,
        dt_s,
        Discretisation::Exact,
    )
    .unwrap();
    let spikes: Vec<f64> = (0..n_bins)
        .map(|_bin| f64::from(uniform.next() < dt_s))
        .collect();
    let calcium = ar.convolve(&spikes);
    let peak = calcium.iter().copied().fold(0.0, f64::max);
    calcium
        .iter()
        .map(|c| c / peak + noise_sd * uniform.normal())
        .collect()
}

#[test]
fn the_spectrum_tells_rise_and_decay() {
    let typical = Kinetics {
        rise_s: 0.01,
        decay_s: 1.0,
    };
    for (rise_s, decay_s) in [(0.05, 0.5), (0.15, 1.0), (0.1, 2.0)] {
        let trace = recording(Kinetics { rise_s, decay_s }, 0.02, 0.02, 30_000);
        let found = estimate::kinetics(&trace, 0.02, typical).unwrap();
        assert!(
            (found.rise_s / rise_s).ln().abs() < 0.3,
            "{found:?} for {rise_s}"
        );
        // Firing rates and drift are left out, and the corner of a slow decay with them: the answer
        // is on the way from the typical decay, 1 s, to the truth.
        let [low, high] = [decay_s.min(1.0), decay_s.max(1.0)].map(f64::ln);
        assert!(
            (low - 0.35..high + 0.35).contains(&found.decay_s.ln()),
            "{found:?} for {decay_s}"
        );
    }
    // Noise alone says nothing.
    let mut uniform = Uniform(1);
    let noise: Vec<f64> = (0..3000).map(|_bin| uniform.normal()).collect();
    let found = estimate::kinetics(&noise, 0.02, typical).unwrap();
    assert!(
        (found.rise_s / 0.01).ln().abs() < 1.0 && (found.decay_s).ln().abs() < 1.0,
        "{found:?}"
    );
    assert_eq!(
        estimate::kinetics(&[2.0; 50], 0.02, typical).unwrap(),
        typical
    );
}

#[test]
fn interpolated_frames_do_not_hide_the_noise() {
    let mut uniform = Uniform(5);
    let slow: Vec<f64> = (0..4000).map(|_bin| uniform.normal()).collect();
    let plain = estimate::band_noise(&slow).unwrap();
    assert!(
        plain.limit > 0.49 && (plain.sd - 1.0).abs() < 0.05,
        "{plain:?}"
    );
    // Four times the rate, by a filter that passes a quarter of the band.
    let fast: Vec<f64> = (0..16_000)
        .map(|t: i64| {
            let near = (t - 160).max(0)..(t + 160).min(15_999);
            near.filter(|i| i % 4 == 0)
                .map(|i| {
                    let x = std::f64::consts::PI * (t - i) as f64 / 4.0;
                    let taper = (0.5 * std::f64::consts::PI * (t - i) as f64 / 160.0)
                        .cos()
                        .powi(2);
                    taper * slow[(i / 4) as usize] * if i == t { 1.0 } else { x.sin() / x }
                })
                .sum()
        })
        .collect();
    let found = estimate::band_noise(&fast).unwrap();
    assert!((0.11..0.15).contains(&found.limit), "{found:?}");
    assert!((found.sd - 2.0).abs() < 0.2, "{found:?}");
    assert!(estimate::noise_sd(&fast, estimate::Average::Mean).unwrap() < 0.1);
}

#[test]
fn bad_priors_are_named() {
    let ar = Ar1::new(0.5).unwrap();
    let error = SpikePrior::new(ar, 0.0).unwrap_err();
    assert_eq!(
        error,
        CalciumError::NotPositive {
            name: "noise_sd",
            value: 0.0
        }
    );
    let prior = SpikePrior::new(ar, 0.1).unwrap();
    let error = prior.with_spikes(1.0, 1.0).unwrap_err().to_string();
    assert!(
        error.starts_with("probability = 1 is out of range"),
        "{error}"
    );
    let error = prior
        .infer_weighted(&[0.0, 1.0], &[1.0])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("`weights` has 1 frames"), "{error}");
    assert!(prior.infer_weighted(&[0.0, 1.0], &[1.0, -1.0]).is_err());
    assert_eq!(
        prior.infer::<f64>(&[]).unwrap_err(),
        CalciumError::EmptyTrace
    );
}
