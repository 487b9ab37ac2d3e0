//! Made-up numbers, comparisons and central differences.

/// Numbers in ±scale that look random.
pub fn noise(n: usize, seed: u64, scale: f64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Rounded to what f32 holds, so that both number types start from the same values.
        f64::from(((state >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0) as f32)
    };
    (0..n).map(|_| f64::from((next() * scale) as f32)).collect()
}

pub fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Fails with the first number that is further than `tolerance` of the largest from the other.
pub fn assert_close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let scale = want
        .iter()
        .fold(1.0_f64, |scale, want| scale.max(want.abs()));
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(
            error <= tolerance * scale,
            "{name}[{index}]: {got} is not {want} (of {scale})"
        );
    }
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn central_difference<const N: usize>(
    arguments: &[Vec<f64>; N],
    argument: usize,
    index: usize,
    loss: impl Fn(&[Vec<f64>; N]) -> f64,
) -> f64 {
    let step = 1e-6;
    let at = |offset: f64| {
        let mut changed = arguments.clone();
        changed[argument][index] += offset;
        loss(&changed)
    };
    (at(step) - at(-step)) / (2.0 * step)
}

pub fn differences<const N: usize>(
    arguments: &[Vec<f64>; N],
    argument: usize,
    loss: impl Fn(&[Vec<f64>; N]) -> f64,
) -> Vec<f64> {
    let indices = 0..arguments[argument].len();
    indices
        .map(|index| central_difference(arguments, argument, index, &loss))
        .collect()
}

/// Fails unless `run` gives the same on one, two and five threads.
pub fn assert_same_on_any_threads<T: PartialEq + std::fmt::Debug + Send>(
    run: impl Fn() -> T + Sync,
) {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(&run)
    };
    let one = on(1);
    assert_eq!(one, on(2));
    assert_eq!(one, on(5));
}
