//! The work is bounded, whatever gaps, rates, decays and counts.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// A sensor that counts how often it is asked.
struct Counting<S> {
    sensor: S,
    n_asked: AtomicUsize,
}

impl<S> Counting<S> {
    fn of(sensor: S) -> Self {
        Self {
            sensor,
            n_asked: AtomicUsize::new(0),
        }
    }

    fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::Relaxed)
    }
}

impl<S: Sensor> Sensor for Counting<S> {
    fn fluorescence(&self, calcium: f64) -> f64 {
        self.n_asked.fetch_add(1, Ordering::Relaxed);
        self.sensor.fluorescence(calcium)
    }

    fn slope(&self, calcium: f64) -> f64 {
        self.sensor.slope(calcium)
    }

    fn precision(&self) -> f64 {
        self.sensor.precision()
    }

    fn calcium(&self, x: f64) -> (f64, f64) {
        self.sensor.calcium(x)
    }

    fn resolution(&self) -> f64 {
        self.sensor.resolution()
    }
}

/// Draws and smooths a trace; evaluations of the sensor per frame of each.
fn work<const P: usize>(
    coefficients: [f64; P],
    sensor: impl Sensor,
    x: &[f32],
    mean: f64,
) -> Result<[usize; 2], TestCaseError> {
    let model = CountModel {
        calcium: CalciumDynamics {
            coefficients,
            gain: 1.0,
            baseline: 0.0,
        },
        sensor: Counting::of(sensor),
        start: Start::Rest,
    };
    let log_means = vec![mean.ln() as f32; x.len()];
    let trace = Trace {
        x,
        log_means: &log_means,
    };
    let chance = Chance {
        uniforms: &vec![0.5; x.len()],
        normal: 0.0,
    };
    let mut sample = CountSample::new(x.len());
    let log_q = model.sample(trace, chance, &mut sample);
    let drawn = model.sensor.n_asked();
    prop_assert!(log_q.is_finite() && sample.expected.iter().all(|count| count.is_finite()));
    let smoothed = model.smooth(trace, &mut Smoother::default());
    prop_assert!(
        smoothed.expected.iter().all(|count| count.is_finite()),
        "{smoothed:?}"
    );
    prop_assert!(
        smoothed.log_evidence.is_finite(),
        "{}",
        smoothed.log_evidence
    );
    Ok([drawn, model.sensor.n_asked() - drawn].map(|n| n / x.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn it_does_not_grow_with_gap_rate_decay_or_count(
        gap in 0_usize..60,
        log_mean in -7.0_f64..7.0,
        log_tau in -2.0_f64..7.0,
        log_count in 0.0_f64..21.0,
        log_noise in -4.0_f64..4.0,
        rise in 0.0_f64..0.9,
    ) {
        let g = (-1.0 / log_tau.exp()).exp();
        let mut x = vec![0.3; 4];
        x.extend(vec![f32::NAN; gap]);
        x.extend([log_count.exp() as f32, 0.1, 1.0]);
        let (mean, noise_sd) = (log_mean.exp(), log_noise.exp());
        let hill = Hill { exponent: 2.0, half_saturation: 4.0, scale: 8.0 };
        for [drawn, smoothed] in [
            work([g], LinearSensor::new(noise_sd), &x, mean)?,
            work([g], SaturatingSensor::new(hill, noise_sd), &x, mean)?,
            work([g + rise, -g * rise], LinearSensor::new(noise_sd), &x, mean)?,
        ] {
            prop_assert!(drawn < 200 && smoothed < 80_000, "{drawn}, {smoothed} a frame");
        }
    }
}

#[test]
fn a_gap_much_longer_than_the_decay_and_a_frame_of_a_billion_counts() {
    // 3 Hz and a decay of 0.3 s: after 60 missing frames a message about the calcium is e^-67 wide.
    let g = (-1.0_f64 / 0.9).exp();
    let mut x = vec![1.0; 5];
    x.extend(vec![f32::NAN; 60]);
    x.extend([2.0, 1e9, 3.0]);
    let [drawn, smoothed] = work([g], LinearSensor::new(0.25), &x, 5.0 / 3.0).unwrap();
    assert!(
        drawn < 100 && smoothed < 20_000,
        "{drawn}, {smoothed} a frame"
    );
}
