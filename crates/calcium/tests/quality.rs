//! Faults of traces are named, and sound traces are left in peace.

use calcium::quality::{Fault, common_beat, faults, mirrored};
use calcium::{Ar1, Discretisation, decay_seen, dimming, estimate};

struct Uniform(u64);

impl Uniform {
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.draw().ln()).sqrt() * (std::f64::consts::TAU * self.draw()).cos()
    }
}

/// A neuron at 20 Hz above its baseline, in SDs of its noise.
fn neuron(n: usize, tau_s: f64, size: f64, seed: u64) -> Vec<f64> {
    let mut uniform = Uniform(seed);
    let spikes: Vec<f64> = (0..n)
        .map(|_| f64::from(uniform.draw() < 0.3 / tau_s.max(1.0) / 20.0))
        .collect();
    let ar = Ar1::from_tau(tau_s, 0.05, Discretisation::Exact).unwrap();
    let calcium = ar.convolve(&spikes);
    calcium
        .iter()
        .map(|c| size * c + uniform.normal())
        .collect()
}

fn found(trace: &[f64]) -> Vec<Fault> {
    faults(trace, &vec![0.0; trace.len()], 1.0)
}

#[test]
fn sound_traces_have_no_faults() {
    for seed in 0..20 {
        assert_eq!(found(&neuron(4000, 0.7, 5.0, seed)), []);
        assert_eq!(found(&neuron(4000, 0.7, 0.0, seed)), []);
    }
}

#[test]
fn each_fault_is_named() {
    let sound = neuron(4000, 0.7, 8.0, 1);
    let down: Vec<f64> = sound.iter().map(|y| -y).collect();
    assert_eq!(found(&down), [Fault::GoesDown]);
    let clipped: Vec<f64> = sound.iter().map(|y| y.min(6.0)).collect();
    assert_eq!(found(&clipped), [Fault::Saturated]);
    let wrapped: Vec<f64> = sound
        .iter()
        .map(|y| (32_700.0 + 20.0 * y).round())
        .map(|y| if y > 32_767.0 { y - 65_536.0 } else { y })
        .collect();
    assert!(found(&wrapped).contains(&Fault::WrapsAround));
    let quiet: Vec<f64> = neuron(4000, 0.7, 1e4, 2);
    assert_eq!(found(&quiet), [Fault::Denoised]);
}

#[test]
fn a_common_beat_is_found_and_common_firing_is_none() {
    let (n, n_neurons) = (6000, 8);
    let plain: Vec<Vec<f64>> = (0..n_neurons)
        .map(|i| neuron(n, 0.7, 5.0, 10 + i))
        .collect();
    let noise = vec![1.0; n_neurons as usize];
    assert_eq!(common_beat(&plain, &noise, 0.05), None);
    // A heart at 6.3 Hz; a transient in everything every 4 s.
    for (period_s, shape) in [(1.0 / 6.3, 0), (4.0, 1)] {
        let beat = |t: usize| {
            let phase = (t as f64 * 0.05 / period_s).fract();
            match shape {
                0 => 0.7 * (std::f64::consts::TAU * phase).sin(),
                _ => 3.0 * (-phase * period_s / 0.4).exp(),
            }
        };
        let beating: Vec<Vec<f64>> = plain
            .iter()
            .map(|trace| trace.iter().enumerate().map(|(t, y)| y + beat(t)).collect())
            .collect();
        let seen = common_beat(&beating, &noise, 0.05).unwrap();
        assert!(
            (seen / period_s - 1.0).abs() < 0.08,
            "{seen} s for {period_s} s"
        );
    }
    // The same spikes in all of them, at random times.
    let together: Vec<Vec<f64>> = (0..8).map(|_| neuron(n, 0.7, 5.0, 99)).collect();
    assert_eq!(common_beat(&together, &noise, 0.05), None);
}

#[test]
fn a_short_recording_of_neurons_that_fire_by_themselves_has_no_beat() {
    for seed in 0..40 {
        let traces: Vec<Vec<f64>> = (0..5)
            .map(|i| neuron(1800, 0.96, 4.0, 100 * seed + i))
            .collect();
        let beat = common_beat(&traces, &[1.0; 5], 1.0 / 30.0);
        assert_eq!(beat, None, "seed {seed}");
    }
}

#[test]
fn the_neighbour_in_the_neuropil_is_named() {
    let neighbour = neuron(4000, 0.7, 10.0, 3);
    let falls: Vec<f64> = neuron(4000, 0.7, 0.0, 4)
        .iter()
        .zip(&neighbour)
        .map(|(y, other)| y - 0.7 * other)
        .collect();
    let traces = [neuron(4000, 0.7, 10.0, 5), falls, neighbour];
    assert_eq!(
        mirrored(&traces, &[1.0; 3], 1).map(|found| found.0),
        Some(2)
    );
    assert_eq!(mirrored(&traces, &[1.0; 3], 0), None);
    // It may have larger transients of its own.
    let [own, falls, neighbour] = traces;
    let pairs = own.iter().zip(falls.iter().zip(&neighbour));
    let both: Vec<f64> = pairs.map(|(a, (b, c))| 2.0 * a + b - c).collect();
    let found = mirrored(&[own, both, neighbour], &[1.0, 2.5, 1.0], 1);
    assert_eq!(found.map(|found| found.0), Some(2));
}

/// What is left of a trace by deconvolution, whatever noise its onsets are taken for.
#[test]
fn deconvolved_traces_are_denoised_and_interpolated_ones_are_not() {
    for (tau_s, seed) in [(0.3, 1), (0.7, 2), (2.0, 3)] {
        let mut uniform = Uniform(seed);
        let spikes: Vec<f64> = (0..4000)
            .map(|_| f64::from(uniform.draw() < 0.05))
            .collect();
        let ar = Ar1::from_tau(tau_s, 0.05, Discretisation::Exact).unwrap();
        let calcium = ar.convolve(&spikes);
        let noise_sd = estimate::band_noise(&calcium).unwrap().frame_sd();
        let found = faults(&calcium, &vec![0.0; 4000], noise_sd);
        assert_eq!(found, [Fault::Denoised], "{tau_s} s");
    }
    for (factor, seed) in [(1.5, 4), (2.8, 5), (6.0, 6)] {
        let slow = neuron(2000, 0.7, 5.0, seed);
        let fast = interpolated(&slow, factor);
        let noise_sd = estimate::band_noise(&fast).unwrap().frame_sd();
        assert_eq!(
            faults(&fast, &vec![0.0; fast.len()], noise_sd),
            [],
            "{factor}"
        );
    }
}

/// Straight lines between frames, at `factor` times the rate.
fn interpolated(trace: &[f64], factor: f64) -> Vec<f64> {
    let n = ((trace.len() - 1) as f64 * factor) as usize;
    let at = |t: usize| {
        let place = t as f64 / factor;
        let (before, share) = (place as usize, place.fract());
        trace[before] + share * (trace[before + 1] - trace[before])
    };
    (0..n).map(at).collect()
}

#[test]
fn noise_is_found_behind_straight_lines() {
    for factor in [1.7, 2.8, 4.0] {
        let slow = neuron(3000, 0.7, 4.0, 8);
        let fast = interpolated(&slow, factor);
        let found = estimate::band_noise(&fast).unwrap().frame_sd();
        // Between two frames straight lines average their noise: two thirds of its variance are left.
        let truth = (2.0_f64 / 3.0).sqrt();
        assert!((0.7..1.4).contains(&(found / truth)), "{factor}: {found}");
    }
}

#[test]
fn decays_are_seen_on_transients_whatever_they_are() {
    for tau_s in [0.15_f64, 0.4, 1.0, 2.5, 8.0] {
        let rate = 40.0 / tau_s.max(1.0);
        let seen = decay_seen(&neuron(20_000, tau_s, rate, 6), 0.05, 1.0);
        // Firing in between makes slow decays look slower.
        let ratio = seen.unwrap() / tau_s;
        assert!((0.6..2.2).contains(&ratio), "{tau_s}: {seen:?}");
    }
    assert_eq!(decay_seen(&neuron(20_000, 1.0, 0.0, 7), 0.05, 1.0), None);
}

#[test]
fn dimming_is_told_from_drift_around_zero() {
    let falling: Vec<f64> = (0..100).map(|t| 200.0 - f64::from(t)).collect();
    let factors = dimming(&falling, 1.0).unwrap();
    for (b, factor) in falling.iter().zip(&factors) {
        assert!((b * factor - falling[49]).abs() < 1.5);
    }
    assert_eq!(dimming(&[1.0, 1.1], 0.01), None);
    assert_eq!(dimming(&[-1.0, 1.0, 3.0], 0.01), None);
    assert_eq!(dimming(&[3.0, 9.0], 1.0), None);
}
