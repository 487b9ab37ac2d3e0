//! AVX-512 and AVX2 with FMA.

use std::arch::x86_64::{
    __m256, __m512, __mmask16, _CMP_LT_OQ, _mm256_add_epi32, _mm256_add_ps, _mm256_blendv_ps,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_div_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32, _mm256_sqrt_ps, _mm256_srai_epi32,
    _mm256_storeu_ps, _mm256_sub_epi32, _mm256_sub_ps, _mm512_add_epi32, _mm512_add_ps,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps,
    _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_blend_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_slli_epi32, _mm512_sqrt_ps, _mm512_srai_epi32, _mm512_storeu_ps,
    _mm512_sub_epi32, _mm512_sub_ps,
};

use super::{ONE, Simd, THREE_QUARTERS};

#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx512 {
    /// # Safety
    /// The processor has AVX-512F.
    #[inline(always)]
    pub(crate) unsafe fn assume_detected() -> Self {
        Self(())
    }
}

impl Avx2 {
    /// # Safety
    /// The processor has AVX2 and FMA.
    #[inline(always)]
    pub(crate) unsafe fn assume_detected() -> Self {
        Self(())
    }
}

/// Methods that are one intrinsic each.
macro_rules! intrinsics {
    ($v:ty: $(fn $name:ident($($arg:ident),*) = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $v),*) -> $v {
            // SAFETY: `self` proves the instruction set.
            unsafe { $intrinsic($($arg),*) }
        }
    )*};
}

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;

    intrinsics! { __m512:
        fn add(a, b) = _mm512_add_ps;
        fn sub(a, b) = _mm512_sub_ps;
        fn mul(a, b) = _mm512_mul_ps;
        fn div(a, b) = _mm512_div_ps;
        fn sqrt(value) = _mm512_sqrt_ps;
        fn mul_add(a, b, c) = _mm512_fmadd_ps;
        fn min(bound, value) = _mm512_min_ps;
        fn max(bound, value) = _mm512_max_ps;
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
    fn power_of_two(self, shifted: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction set.
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
            let power = _mm512_add_epi32(exponent, _mm512_set1_epi32(ONE as i32));
            _mm512_castsi512_ps(power)
        }
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

#[inline(always)]
fn first(lanes: usize) -> __mmask16 {
    ((1_u32 << lanes) - 1) as __mmask16
}

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;

    intrinsics! { __m256:
        fn add(a, b) = _mm256_add_ps;
        fn sub(a, b) = _mm256_sub_ps;
        fn mul(a, b) = _mm256_mul_ps;
        fn div(a, b) = _mm256_div_ps;
        fn sqrt(value) = _mm256_sqrt_ps;
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
    fn power_of_two(self, shifted: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction set.
        unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
            let power = _mm256_add_epi32(exponent, _mm256_set1_epi32(ONE as i32));
            _mm256_castsi256_ps(power)
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
