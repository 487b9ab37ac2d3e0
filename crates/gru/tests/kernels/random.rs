//! Normal numbers from uniform ones.

use gru::kernels::{Isa, box_muller};
use proptest::prelude::*;

use crate::common::noise;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn box_muller_matches_its_definition(half in 1..70_usize, seed in 0..1000_u64) {
        // Uniform in (0, 1), now and then as near to 0 and 1 as 23 bits come.
        let uniform: Vec<f32> = noise(2 * half, seed, 1.0)
            .into_iter()
            .enumerate()
            .map(|(index, u)| match index % 11 {
                4 => 0.5_f32.powi(24),
                9 => 1.0 - 0.5_f32.powi(24),
                _ => (u.abs() as f32).clamp(1e-6, 0.999_999),
            })
            .collect();
        for isa in Isa::available() {
            let mut normal = uniform.clone();
            box_muller(isa, &mut normal);
            for index in 0..half {
                let [u, turn] = [uniform[index], uniform[half + index]].map(f64::from);
                let radius = (-2.0 * u.ln()).sqrt();
                // Half a turn further than customary.
                let (sine, cosine) = (std::f64::consts::TAU * (turn - 0.5)).sin_cos();
                for (got, want) in [(normal[index], cosine), (normal[half + index], sine)] {
                    let error = (f64::from(got) - radius * want).abs();
                    prop_assert!(error <= 3e-6, "{got} is not {} of {u}, {turn}", radius * want);
                }
            }
        }
    }
}
