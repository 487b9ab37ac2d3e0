//! Vectors of `f32` on three instruction sets, chosen at run time, and the functions on them.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, __mmask16, _CMP_LT_OQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT,
    _MM_HINT_T1, _mm_prefetch, _mm256_add_epi32, _mm256_add_ps, _mm256_blendv_ps,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cvtepi32_ps,
    _mm256_cvtps_epi32, _mm256_div_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps,
    _mm256_min_ps, _mm256_mul_ps, _mm256_round_ps, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_slli_epi32, _mm256_srai_epi32, _mm256_storeu_ps, _mm256_sub_epi32, _mm256_sub_ps,
    _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask,
    _mm512_cvtepi32_ps, _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_blend_ps,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
    _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32,
    _mm512_srai_epi32, _mm512_storeu_ps, _mm512_sub_epi32, _mm512_sub_ps,
};

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
    /// The fastest set of this processor.
    pub fn best() -> Self {
        Self::available()[0]
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
pub(super) fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(16) {
        // SAFETY: any address may be asked for.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

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
    /// To the nearest integer, for |value| < 2²².
    fn round(self, value: Self::V) -> Self::V;
    /// value·2^exponent for an integer exponent in −126..=127.
    fn scale(self, value: Self::V, exponent: Self::V) -> Self::V;
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

    /// exp(x) = 2^n·(1 + m): returns m = expm1(x − n ln 2) and n. |x| < 88.
    #[inline(always)]
    fn exp_parts(self, x: Self::V) -> (Self::V, Self::V) {
        let n = self.round(self.mul(x, self.splat(std::f32::consts::LOG2_E)));
        let r = self.mul_add(n, self.splat(-LN_2_HIGH), x);
        let r = self.mul_add(n, self.splat(-LN_2_LOW), r);
        (self.mul(r, self.polynomial(r, EXPM1_OVER_X)), n)
    }

    /// exp(x), saturating at exp(±87.3); NaN stays NaN.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        let x = self.max(self.splat(-87.3), self.min(self.splat(87.3), x));
        let (m, n) = self.exp_parts(x);
        self.scale(self.add(self.splat(1.0), m), n)
    }

    /// 1 / (1 + exp(−x)).
    #[inline(always)]
    fn sigmoid(self, x: Self::V) -> Self::V {
        let one = self.splat(1.0);
        let decayed = self.exp(self.sub(self.splat(0.0), x));
        self.div(one, self.add(one, decayed))
    }

    /// exp(x) − 1, exact to the last bits also near 0; saturates as [`Self::exp`].
    #[inline(always)]
    fn expm1(self, x: Self::V) -> Self::V {
        let x = self.max(self.splat(-87.3), self.min(self.splat(87.3), x));
        let (m, n) = self.exp_parts(x);
        let one = self.splat(1.0);
        let power = self.scale(one, n);
        self.mul_add(m, power, self.sub(power, one))
    }

    /// tanh(x) = e / (e + 2) with e = expm1(2x).
    #[inline(always)]
    fn tanh(self, x: Self::V) -> Self::V {
        let bounded = self.max(self.splat(-9.5), self.min(self.splat(9.5), x));
        let e = self.expm1(self.add(bounded, bounded));
        self.div(e, self.add(e, self.splat(2.0)))
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

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Four lanes of ordinary code.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// # Safety
    /// The processor has AVX-512F.
    #[inline(always)]
    pub(crate) unsafe fn assume_detected() -> Self {
        Self(())
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// # Safety
    /// The processor has AVX2 and FMA.
    #[inline(always)]
    pub(crate) unsafe fn assume_detected() -> Self {
        Self(())
    }
}

/// Methods that are one intrinsic each.
#[cfg(target_arch = "x86_64")]
macro_rules! intrinsics {
    ($v:ty: $(fn $name:ident($($arg:ident),*) = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $v),*) -> $v {
            // SAFETY: `self` proves the instruction set.
            unsafe { $intrinsic($($arg),*) }
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;

    intrinsics! { __m512:
        fn add(a, b) = _mm512_add_ps;
        fn sub(a, b) = _mm512_sub_ps;
        fn mul(a, b) = _mm512_mul_ps;
        fn div(a, b) = _mm512_div_ps;
        fn mul_add(a, b, c) = _mm512_fmadd_ps;
        fn min(bound, value) = _mm512_min_ps;
        fn max(bound, value) = _mm512_max_ps;
        fn scale(value, exponent) = _mm512_scalef_ps;
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves the instruction set.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn read(self, from: *const f32, lanes: usize) -> __m512 {
        // SAFETY: the caller's; lanes masked off are not touched.
        unsafe {
            if lanes == Self::LANES {
                _mm512_loadu_ps(from)
            } else {
                _mm512_maskz_loadu_ps(first(lanes), from)
            }
        }
    }

    #[inline(always)]
    unsafe fn write(self, value: __m512, to: *mut f32, lanes: usize) {
        // SAFETY: the caller's; lanes masked off are not touched.
        unsafe {
            if lanes == Self::LANES {
                _mm512_storeu_ps(to, value);
            } else {
                _mm512_mask_storeu_ps(to, first(lanes), value);
            }
        }
    }

    #[inline(always)]
    fn round(self, value: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction set.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value) }
    }

    #[inline(always)]
    fn split(self, value: __m512) -> (__m512, __m512) {
        // SAFETY: `self` proves the instruction set.
        unsafe {
            let bits = _mm512_castps_si512(value);
            let from = _mm512_sub_epi32(bits, _mm512_set1_epi32(THREE_QUARTERS));
            let exponent = _mm512_srai_epi32::<23>(from);
            let mantissa = _mm512_sub_epi32(bits, _mm512_slli_epi32::<23>(exponent));
            (_mm512_castsi512_ps(mantissa), _mm512_cvtepi32_ps(exponent))
        }
    }

    #[inline(always)]
    fn if_less(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction set.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes) }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn first(lanes: usize) -> __mmask16 {
    ((1_u32 << lanes) - 1) as __mmask16
}

#[cfg(target_arch = "x86_64")]
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;

    intrinsics! { __m256:
        fn add(a, b) = _mm256_add_ps;
        fn sub(a, b) = _mm256_sub_ps;
        fn mul(a, b) = _mm256_mul_ps;
        fn div(a, b) = _mm256_div_ps;
        fn mul_add(a, b, c) = _mm256_fmadd_ps;
        fn min(bound, value) = _mm256_min_ps;
        fn max(bound, value) = _mm256_max_ps;
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` proves the instruction set.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn read(self, from: *const f32, lanes: usize) -> __m256 {
        // SAFETY: the caller's; a tail is copied number by number.
        unsafe {
            if lanes == Self::LANES {
                return _mm256_loadu_ps(from);
            }
            let mut whole = [0.0_f32; 8];
            std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), lanes);
            _mm256_loadu_ps(whole.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn write(self, value: __m256, to: *mut f32, lanes: usize) {
        // SAFETY: the caller's; a tail is copied number by number.
        unsafe {
            if lanes == Self::LANES {
                return _mm256_storeu_ps(to, value);
            }
            let mut whole = [0.0_f32; 8];
            _mm256_storeu_ps(whole.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(whole.as_ptr(), to, lanes);
        }
    }

    #[inline(always)]
    fn round(self, value: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction set.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value) }
    }

    #[inline(always)]
    fn scale(self, value: __m256, exponent: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction set.
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
            _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }

    #[inline(always)]
    fn split(self, value: __m256) -> (__m256, __m256) {
        // SAFETY: `self` proves the instruction set.
        unsafe {
            let bits = _mm256_castps_si256(value);
            let from = _mm256_sub_epi32(bits, _mm256_set1_epi32(THREE_QUARTERS));
            let exponent = _mm256_srai_epi32::<23>(from);
            let mantissa = _mm256_sub_epi32(bits, _mm256_slli_epi32::<23>(exponent));
            (_mm256_castsi256_ps(mantissa), _mm256_cvtepi32_ps(exponent))
        }
    }

    #[inline(always)]
    fn if_less(self, a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction set.
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
}

/// The bits of 0.75.
const THREE_QUARTERS: i32 = 0x3f40_0000;

/// Methods that are one scalar expression for each lane.
macro_rules! by_lane {
    ($(fn $name:ident($($arg:ident),*) = $value:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: [f32; 4]),*) -> [f32; 4] {
            std::array::from_fn(|lane| {
                $(let $arg = $arg[lane];)*
                $value
            })
        }
    )*};
}

impl Simd for Portable {
    type V = [f32; 4];
    const LANES: usize = 4;
    const TILE_ROWS: usize = 4;

    by_lane! {
        fn add(a, b) = a + b;
        fn sub(a, b) = a - b;
        fn mul(a, b) = a * b;
        fn div(a, b) = a / b;
        // Not `f32::mul_add`: without the instruction it is a slow library call.
        fn mul_add(a, b, c) = a * b + c;
        fn min(bound, value) = if bound < value { bound } else { value };
        fn max(bound, value) = if bound > value { bound } else { value };
        // Adding 3·2²² leaves no bits for a fraction.
        fn round(value) = (value + 12_582_912.0) - 12_582_912.0;
        fn scale(value, exponent) = value * f32::from_bits(((exponent as i32 + 127) << 23) as u32);
        fn if_less(a, b, yes, no) = if a < b { yes } else { no };
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 4] {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn read(self, from: *const f32, lanes: usize) -> [f32; 4] {
        let mut whole = [0.0; 4];
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), lanes) };
        whole
    }

    #[inline(always)]
    unsafe fn write(self, value: [f32; 4], to: *mut f32, lanes: usize) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), to, lanes) };
    }

    #[inline(always)]
    fn split(self, value: [f32; 4]) -> ([f32; 4], [f32; 4]) {
        let exponent = value.map(|v| (v.to_bits() as i32).wrapping_sub(THREE_QUARTERS) >> 23);
        let mantissa = std::array::from_fn(|lane| {
            f32::from_bits((value[lane].to_bits() as i32).wrapping_sub(exponent[lane] << 23) as u32)
        });
        (mantissa, exponent.map(|e| e as f32))
    }
}

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
        let x: Vec<f32> = (1..40_001)
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
