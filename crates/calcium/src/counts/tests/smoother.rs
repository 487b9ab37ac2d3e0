//! The smoother against enumeration of every sequence of counts, and against the sampler's draws, weighted.

use proptest::prelude::*;

use super::*;

fn smooth<const P: usize, S: Sensor>(
    model: &CountModel<P, S>,
    x: &[f32],
    means: &[f32],
) -> SmoothedCounts {
    let log_means = logarithms(means);
    let trace = Trace {
        x,
        log_means: &log_means,
    };
    model.smooth(trace, &mut Smoother::default())
}

/// ln p(x, counts) where calcium is `state` before the first frame.
fn log_joint<const P: usize, S: Sensor>(
    model: &CountModel<P, S>,
    x: &[f32],
    means: &[f32],
    counts: &[usize],
    mut state: State<P>,
    fluorescence: &mut [f64],
) -> f64 {
    let mut log = 0.0;
    for (bin, &count) in counts.iter().enumerate() {
        state = model.with_spikes(model.calcium.carry(state), count);
        let mean = f64::from(means[bin]);
        log += count as f64 * mean.ln() - mean - ln_factorial(count);
        if !x[bin].is_nan() {
            log += model.log_likelihood(f64::from(x[bin]), state[0]);
            log += 0.5 * (model.sensor.precision() / std::f64::consts::TAU).ln();
        }
        fluorescence[bin] = model.sensor.fluorescence(state[0]);
    }
    log
}

/// States before the first frame, and the logarithms of their probabilities.
fn starts<const P: usize, S>(model: &CountModel<P, S>) -> Vec<(State<P>, f64)> {
    const N: usize = 600;
    match model.start {
        Start::Rest => vec![([0.0; P], 0.0)],
        Start::Decaying {
            direction,
            mean,
            variance,
        } => (0..N)
            .map(|index| {
                let z = 12.0 * ((index as f64 + 0.5) / N as f64 - 0.5);
                let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
                let state = direction.map(|share| share * (mean + z * variance.sqrt()));
                (state, (density * 12.0 / N as f64).ln())
            })
            .collect(),
    }
}

/// The same by enumeration of every sequence of up to eight counts a frame.
fn enumerate<const P: usize, S: Sensor>(
    model: &CountModel<P, S>,
    x: &[f32],
    means: &[f32],
) -> SmoothedCounts {
    const MAX: usize = 9;
    let n = x.len();
    let (mut total, mut squares, mut sums) = (0.0, 0.0, vec![[0.0; 3]; n]);
    let mut fluorescence = vec![0.0; n];
    for (state, log_start) in starts(model) {
        for code in 0..MAX.pow(n as u32) {
            let counts: Vec<usize> = (0..n).map(|bin| code / MAX.pow(bin as u32) % MAX).collect();
            let log = log_joint(model, x, means, &counts, state, &mut fluorescence);
            let weight = (log_start + log).exp();
            total += weight;
            for bin in 0..n {
                let count = counts[bin] as f64;
                sums[bin][0] += weight * count;
                sums[bin][1] += weight * count * count;
                sums[bin][2] += weight * fluorescence[bin];
                let error = f64::from(x[bin]) - fluorescence[bin];
                squares += if error.is_nan() {
                    0.0
                } else {
                    weight * error * error
                };
            }
        }
    }
    let mean = |which: usize| sums.iter().map(move |sum| sum[which] / total);
    SmoothedCounts {
        expected: mean(0).map(|value| value as f32).collect(),
        variance: mean(0)
            .zip(mean(1))
            .map(|(mean, square)| (square - mean * mean) as f32)
            .collect(),
        fluorescence: mean(2).map(|value| value as f32).collect(),
        log_evidence: total.ln(),
        squared_error: squares / total,
        discarded: 0.0,
    }
}

fn agree(
    found: &SmoothedCounts,
    exact: &SmoothedCounts,
    tolerance: f32,
) -> Result<(), TestCaseError> {
    for (what, found, exact) in [
        ("counts", &found.expected, &exact.expected),
        ("variance", &found.variance, &exact.variance),
        ("fluorescence", &found.fluorescence, &exact.fluorescence),
    ] {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < tolerance * (1.0 + b.abs());
        prop_assert!(
            found.iter().zip(exact).all(near),
            "{what}: {found:?}, not {exact:?}"
        );
    }
    for (what, found, exact) in [
        ("evidence", found.log_evidence, exact.log_evidence),
        ("squared error", found.squared_error, exact.squared_error),
    ] {
        let off = (found - exact).abs() / (1.0 + exact.abs());
        prop_assert!(off < f64::from(tolerance), "{what}: {found}, not {exact}");
    }
    Ok(())
}

/// Fluorescence that the model might have made, a third of the frames missing.
fn likely_trace<const P: usize, S: Sensor>(
    model: &CountModel<P, S>,
    noise_sd: f64,
    random: &mut u64,
) -> Vec<f32> {
    let mut x = simulate(model, &means(4), noise_sd, random);
    x.iter_mut()
        .filter(|_| uniform(random) < 0.3)
        .for_each(|x| *x = f32::NAN);
    x
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn it_is_the_sum_over_all_sequences(seed: u64, noise_sd in 0.2..0.8) {
        let means = means(4);
        let mut random = seed;
        let model = simple(noise_sd);
        let x = likely_trace(&model, noise_sd, &mut random);
        agree(&smooth(&model, &x, &means), &enumerate(&model, &x, &means), 0.02)?;
        let model = rising(noise_sd);
        let x = likely_trace(&model, noise_sd, &mut random);
        agree(&smooth(&model, &x, &means), &enumerate(&model, &x, &means), 0.02)?;
        let model = saturating(noise_sd);
        let x = likely_trace(&model, noise_sd, &mut random);
        agree(&smooth(&model, &x, &means), &enumerate(&model, &x, &means), 0.02)?;
    }
}

#[test]
fn a_start_in_mid_decay_is_summed_over() {
    let means = means(2);
    for x in [[0.9, 0.7], [2.5, 3.5], [f32::NAN, 1.0], [-0.3, 0.1]] {
        let model = decaying(simple(0.3));
        agree(
            &smooth(&model, &x, &means),
            &enumerate(&model, &x, &means),
            0.02,
        )
        .unwrap();
        let model = decaying(rising(0.3));
        agree(
            &smooth(&model, &x, &means),
            &enumerate(&model, &x, &means),
            0.02,
        )
        .unwrap();
    }
}

/// What many weighted draws of the sampler say.
struct Weighted {
    expected: Vec<f64>,
    log_evidence: f64,
    /// Share of the draws that count: (Σ w)² / (n Σ w²).
    effective: f64,
    /// The draws' own means, not weighted.
    drawn: Vec<f64>,
}

fn weigh<const P: usize, S: Sensor>(
    model: &CountModel<P, S>,
    x: &[f32],
    means: &[f32],
    random: &mut u64,
) -> Weighted {
    const N: usize = 6_000;
    let log_means = logarithms(means);
    let n = x.len();
    let mut sample = CountSample::new(n);
    let (mut total, mut squares) = (0.0, 0.0);
    let (mut expected, mut drawn) = (vec![0.0; n], vec![0.0; n]);
    let mut unused = vec![0.0; n];
    for _ in 0..N {
        let uniforms: Vec<f32> = (0..n).map(|_| uniform(random) as f32).collect();
        let trace = Trace {
            x,
            log_means: &log_means,
        };
        let chance = Chance {
            uniforms: &uniforms,
            normal: 0.0,
        };
        let log_q = model.sample(trace, chance, &mut sample);
        let counts: Vec<usize> = sample.counts.iter().map(|&count| count as usize).collect();
        let log = log_joint(model, x, means, &counts, [0.0; P], &mut unused);
        let weight = (log - log_q).exp();
        total += weight;
        squares += weight * weight;
        for bin in 0..n {
            expected[bin] += weight * counts[bin] as f64;
            drawn[bin] += counts[bin] as f64 / N as f64;
        }
    }
    Weighted {
        expected: expected.into_iter().map(|sum| sum / total).collect(),
        log_evidence: (total / N as f64).ln(),
        effective: total * total / (N as f64 * squares),
        drawn,
    }
}

/// Squared errors, summed over traces of 40 frames: of the smoother and of the plain draws, against weighted draws.
fn errors<const P: usize, S: Sensor>(model: &CountModel<P, S>, noise_sd: f64) -> [f64; 2] {
    let means = means(40);
    let mut random = 7;
    let mut errors = [0.0; 2];
    for _ in 0..4 {
        let x = simulate(model, &means, noise_sd, &mut random);
        let found = smooth(model, &x, &means);
        let oracle = weigh(model, &x, &means, &mut random);
        let (evidence, exact) = (found.log_evidence, oracle.log_evidence);
        assert!(
            (evidence - exact).abs() < 0.1,
            "evidence {evidence}, not {exact}"
        );
        assert!(
            oracle.effective > 0.02,
            "too few draws count: {}",
            oracle.effective
        );
        assert!(found.discarded < 1e-3, "{}", found.discarded);
        let squares = |values: &mut dyn Iterator<Item = f64>| -> f64 {
            values
                .zip(&oracle.expected)
                .map(|(a, b)| (a - b).powi(2))
                .sum()
        };
        errors[0] += squares(&mut found.expected.iter().map(|&value| f64::from(value)));
        errors[1] += squares(&mut oracle.drawn.iter().copied());
    }
    errors
}

#[test]
fn it_is_what_weighted_draws_converge_to() {
    let models = [
        errors(&simple(0.4), 0.4),
        errors(&rising(0.4), 0.4),
        errors(&saturating(0.4), 0.4),
    ];
    for [smoothed, drawn] in models {
        assert!(smoothed < 0.02 && smoothed < 0.5 * drawn, "{models:?}");
    }
}

#[test]
fn blocks_of_a_long_trace_leave_no_seam() {
    let model = simple(0.3);
    let means = means(3_000);
    let x = simulate(&model, &means, 0.3, &mut 3);
    let log_means = logarithms(&means);
    let trace = Trace {
        x: &x,
        log_means: &log_means,
    };
    let whole = model.smooth_in_blocks(trace, &mut Smoother::default(), x.len());
    let blocks = model.smooth_in_blocks(trace, &mut Smoother::default(), 50);
    agree(&blocks, &whole, 0.02).unwrap();
}

#[test]
fn without_data_the_prior_remains() {
    let means = [0.3, 1.0, 2.0, 0.1, 4.0];
    let found = smooth(&rising(0.2), &[f32::NAN; 5], &means);
    for ((expected, variance), mean) in found.expected.iter().zip(&found.variance).zip(means) {
        assert!(
            (expected - mean).abs() < 5e-3 * mean,
            "{expected}, not {mean}"
        );
        assert!(
            (variance - mean).abs() < 2e-2 * mean,
            "{variance}, not {mean}"
        );
    }
    assert!(found.log_evidence.abs() < 1e-2);
}

#[test]
fn a_burst_far_beyond_the_prior_is_found() {
    let found = smooth(
        &simple(0.02),
        &[0.1 + 1.2 * 30.0, f32::NAN, f32::NAN],
        &[0.0025; 3],
    );
    assert!(
        (found.expected[0] - 30.0).abs() < 1e-4,
        "{:?}",
        found.expected
    );
}
