//! Vectors of `f32` on three instruction sets, chosen at run time, and the functions on them.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
use std::sync::OnceLock;

/// Chosen once: what one set has packed, another cannot read.
static BEST: OnceLock<Isa> = OnceLock::new();

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Isa {
    /// The set that the operations use: the fastest of this processor, or [`Self::use_portable`]'s.
    pub fn best() -> Self {
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// From now on [`Self::best`] is portable code, which computes the same bits on every processor
    /// at a fifth of the speed: to compare numbers between machines.
    ///
    /// # Panics
    /// If operations have run on another set before.
    pub fn use_portable() {
        let best = *BEST.get_or_init(|| Self(Level::Portable));
        assert!(
            best.0 == Level::Portable,
            "operations have run on {best:?} before: choose portable code first"
        );
    }

    /// Every set of this processor, fastest first; the last is portable code.
    pub fn available() -> Vec<Self> {
        let mut levels = Vec::with_capacity(3);
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                levels.push(Self(Level::Avx512));
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(Self(Level::Avx2));
            }
        }
        levels.push(Self(Level::Portable));
        levels
    }

    pub(super) fn level(self) -> Level {
        self.0
    }

    /// Columns of a tile of the matrix product: the width of a packed panel.
    pub(super) fn tile_columns(self) -> usize {
        2 * match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Avx2::LANES,
            Level::Portable => Portable::LANES,
        }
    }
}

/// Asks for memory that will be used soon: a step's products take longer than its fetch.
#[inline(always)]
pub(super) fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for index in (0..values.len()).step_by(16) {
        // SAFETY: any address may be asked for.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(values.as_ptr().wrapping_add(index).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Lanes of the widest vectors.
pub(super) const MAX_LANES: usize = 16;

/// Defines a function that runs a generic body compiled for the given instruction set.
macro_rules! dispatch {
    ($(#[$meta:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name(isa: $crate::kernels::simd::Isa, $($arg: $ty),*) {
            use $crate::kernels::simd::{Level, Portable};
            #[cfg(target_arch = "x86_64")]
            use $crate::kernels::simd::{Avx2, Avx512};
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512(token: Avx512, $($arg: $ty),*) {
                $body(token, $($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2(token: Avx2, $($arg: $ty),*) {
                $body(token, $($arg),*);
            }
            match isa.level() {
                // SAFETY: `Isa` holds a level only after its features were detected.
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => unsafe { avx512(Avx512::assume_detected(), $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2(Avx2::assume_detected(), $($arg),*) },
                Level::Portable => $body(Portable, $($arg),*),
            }
        }
    };
}
pub(crate) use dispatch;

/// Runs a block for each vector's columns of a row: whole vectors first, so that their code is
/// compiled without a tail, then what is left.
macro_rules! vectors {
    ($simd:ty, $width:expr, |$columns:ident| $body:block) => {{
        let width: usize = $width;
        let whole = width - width % <$simd>::LANES;
        let mut column = 0;
        while column < whole {
            let $columns = column..column + <$simd>::LANES;
            $body
            column += <$simd>::LANES;
        }
        if whole < width {
            let $columns = whole..width;
            $body
        }
    }};
}
pub(crate) use vectors;

/// Operations on a vector of `LANES` numbers. A value of an implementing type proves that the
/// processor has the instruction set, which makes the methods safe to call.
pub(crate) trait Simd: Copy {
    type V: Copy;
    const LANES: usize;
    /// Rows of a tile of the matrix product: as many as fit the registers.
    const TILE_ROWS: usize;

    fn splat(self, value: f32) -> Self::V;
    /// Reads `lanes` numbers, the others become 0.
    ///
    /// # Safety
    /// `from` is valid for reading `lanes` ≤ `LANES` numbers.
    unsafe fn read(self, from: *const f32, lanes: usize) -> Self::V;
    /// Writes the first `lanes` numbers.
    ///
    /// # Safety
    /// `to` is valid for writing `lanes` ≤ `LANES` numbers.
    unsafe fn write(self, value: Self::V, to: *mut f32, lanes: usize);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// a·b + c.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller; `value` if it is not a number.
    fn min(self, bound: Self::V, value: Self::V) -> Self::V;
    /// The larger; `value` if it is not a number.
    fn max(self, bound: Self::V, value: Self::V) -> Self::V;
    /// Square root of a number ≥ 0.
    fn sqrt(self, value: Self::V) -> Self::V;
    /// 2^n of 3·2²² + n, for n in −126..=127.
    fn power_of_two(self, shifted: Self::V) -> Self::V;
    /// Mantissa in [¾, 3⁄2) and exponent of a positive normal number.
    fn split(self, value: Self::V) -> (Self::V, Self::V);
    /// `yes` where a < b, else `no`.
    fn if_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;

    /// The first `LANES` numbers; lanes beyond the slice are 0.
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::V {
        // SAFETY: no more lanes than the slice has.
        unsafe { self.read(from.as_ptr(), from.len().min(Self::LANES)) }
    }

    /// Fills at most `LANES` numbers of the slice.
    #[inline(always)]
    fn store(self, value: Self::V, to: &mut [f32]) {
        // SAFETY: no more lanes than the slice has.
        unsafe { self.write(value, to.as_mut_ptr(), to.len().min(Self::LANES)) }
    }

    #[inline(always)]
    fn polynomial<const N: usize>(self, x: Self::V, coefficients: [f32; N]) -> Self::V {
        let mut sum = self.splat(coefficients[N - 1]);
        let mut index = N - 1;
        while index > 0 {
            index -= 1;
            sum = self.mul_add(sum, x, self.splat(coefficients[index]));
        }
        sum
    }

    /// e^(factor·x) = (1 + m)·2^n: returns m and 2^n. |factor·x| < 88; the factor costs nothing.
    #[inline(always)]
    fn exp_parts(self, x: Self::V, factor: f32) -> (Self::V, Self::V) {
        // Above 3·2²² a number has no bits for a fraction: n is rounded, and lies in the lowest.
        let shift = self.splat(12_582_912.0);
        let shifted = self.mul_add(x, self.splat(factor * std::f32::consts::LOG2_E), shift);
        let n = self.sub(shifted, shift);
        let r = self.mul_add(n, self.splat(-LN_2_HIGH / factor), x);
        let r = self.mul_add(n, self.splat(-LN_2_LOW / factor), r);
        let mut coefficients = EXPM1_OVER_X;
        let mut power = factor;
        for coefficient in &mut coefficients {
            *coefficient *= power;
            power *= factor;
        }
        let m = self.mul(r, self.polynomial(r, coefficients));
        (m, self.power_of_two(shifted))
    }

    /// exp(x), saturating at exp(±87.3); NaN stays NaN.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        let (m, power) = self.exp_parts(self.clamp(x, 87.3), 1.0);
        self.mul_add(m, power, power)
    }

    /// 1 / (1 + exp(−x)).
    #[inline(always)]
    fn sigmoid(self, x: Self::V) -> Self::V {
        let one = self.splat(1.0);
        let (m, power) = self.exp_parts(self.clamp(x, 87.3), -1.0);
        self.div(one, self.add(one, self.mul_add(m, power, power)))
    }

    /// exp(x) − 1, exact to the last bits also near 0; saturates as [`Self::exp`].
    #[inline(always)]
    fn expm1(self, x: Self::V) -> Self::V {
        let (m, power) = self.exp_parts(self.clamp(x, 87.3), 1.0);
        self.mul_add(m, power, self.sub(power, self.splat(1.0)))
    }

    /// tanh(x) = e / (e + 2) with e = expm1(2x).
    #[inline(always)]
    fn tanh(self, x: Self::V) -> Self::V {
        let (m, power) = self.exp_parts(self.clamp(x, 9.5), 2.0);
        let e = self.mul_add(m, power, self.sub(power, self.splat(1.0)));
        self.div(e, self.add(e, self.splat(2.0)))
    }

    /// The nearest number within ±`bound`; NaN stays NaN.
    #[inline(always)]
    fn clamp(self, x: Self::V, bound: f32) -> Self::V {
        self.max(self.splat(-bound), self.min(self.splat(bound), x))
    }

    /// Natural logarithm of a positive normal number, from the series of
    /// artanh((m − 1)/(m + 1)), |m − 1|/(m + 1) ≤ 1/5.
    #[inline(always)]
    fn ln(self, x: Self::V) -> Self::V {
        let (m, exponent) = self.split(x);
        let one = self.splat(1.0);
        let ratio = self.div(self.sub(m, one), self.add(m, one));
        let square = self.mul(ratio, ratio);
        let series = self.polynomial(
            square,
            [2.0, 2.0 / 3.0, 0.4, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0],
        );
        let small = self.mul_add(exponent, self.splat(LN_2_LOW), self.mul(ratio, series));
        self.mul_add(exponent, self.splat(LN_2_HIGH), small)
    }
}

/// ln 2 in two parts: the first has few bits, so that its products with small integers are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// (exp(x) − 1)/x on |x| ≤ ½ ln 2: Chebyshev interpolation, relative error below 3e-8.
const EXPM1_OVER_X: [f32; 6] = [
    1.0,
    0.5,
    0.166_665_05,
    0.041_666_35,
    0.008_369_223,
    0.001_394_121_6,
];

/// The bits of 1.
const ONE: u32 = 0x3f80_0000;

/// The bits of 0.75.
const THREE_QUARTERS: i32 = 0x3f40_0000;

#[cfg(test)]
mod tests {
    use super::*;

    dispatch! {
        /// exp, sigmoid, expm1, tanh and, where defined, ln of each number.
        pub fn functions(x: &[f32], out: &mut [Vec<f32>; 5]) = functions_body
    }

    #[inline(always)]
    fn functions_body<S: Simd>(simd: S, x: &[f32], out: &mut [Vec<f32>; 5]) {
        vectors!(S, x.len(), |at| {
            let x = simd.load(&x[at.clone()]);
            simd.store(simd.exp(x), &mut out[0][at.clone()]);
            simd.store(simd.sigmoid(x), &mut out[1][at.clone()]);
            simd.store(simd.expm1(x), &mut out[2][at.clone()]);
            simd.store(simd.tanh(x), &mut out[3][at.clone()]);
            simd.store(simd.ln(x), &mut out[4][at]);
        });
    }

    fn evaluate(isa: Isa, x: &[f32]) -> [Vec<f32>; 5] {
        let mut out = std::array::from_fn(|_| vec![0.0; x.len()]);
        functions(isa, x, &mut out);
        out
    }

    #[test]
    fn functions_are_within_a_few_units_in_the_last_place() {
        let step = if cfg!(miri) { 400 } else { 1 };
        let x: Vec<f32> = (1..40_001)
            .step_by(step)
            .map(|i| (i as f32 / 4000.0 - 5.0).sinh())
            .collect();
        let exact: [fn(f64) -> f64; 5] = [
            f64::exp,
            |x| 1.0 / (1.0 + (-x).exp()),
            f64::exp_m1,
            f64::tanh,
            f64::ln,
        ];
        for isa in Isa::available() {
            for (name, (got, exact)) in evaluate(isa, &x).iter().zip(exact).enumerate() {
                for (x, got) in x.iter().zip(got) {
                    let want = exact(f64::from(*x));
                    // Relative, but for ln, which is 0 at 1.
                    let size = if name == 4 {
                        want.abs().max(1.0)
                    } else {
                        want.abs()
                    };
                    let tolerance = 4.0 * f64::from(f32::EPSILON) * size + 1e-37;
                    let error = (f64::from(*got) - want).abs();
                    assert!(
                        *x <= 0.0 && name == 4 || error <= tolerance,
                        "{name}({x}): {got}, not {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn functions_keep_nan_and_saturate_at_infinity() {
        for isa in Isa::available() {
            let [exp, sigmoid, expm1, tanh, _] = evaluate(isa, &[f32::NAN; 17]);
            assert!(
                [exp, sigmoid, expm1, tanh]
                    .iter()
                    .flatten()
                    .all(|value| value.is_nan())
            );
            let [exp, sigmoid, expm1, tanh, _] = evaluate(isa, &[f32::INFINITY; 17]);
            assert!(
                exp.iter()
                    .chain(&expm1)
                    .all(|value| *value > 8e37 && value.is_finite())
            );
            assert!(
                sigmoid
                    .iter()
                    .chain(&tanh)
                    .all(|value| (value - 1.0).abs() < f32::EPSILON)
            );
            let [exp, sigmoid, expm1, tanh, _] = evaluate(isa, &[f32::NEG_INFINITY; 17]);
            assert!(
                exp.iter()
                    .chain(&sigmoid)
                    .all(|value| (0.0..2e-38).contains(value))
            );
            assert!(
                expm1
                    .iter()
                    .chain(&tanh)
                    .all(|value| (value + 1.0).abs() < f32::EPSILON)
            );
        }
    }
}
