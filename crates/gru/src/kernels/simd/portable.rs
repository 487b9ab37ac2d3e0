//! Ordinary code, for every processor.

use super::{ONE, Simd, THREE_QUARTERS};

/// Four lanes of ordinary code.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

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
        fn sqrt(value) = value.sqrt();
        // Not `f32::mul_add`: without the instruction it is a slow library call.
        fn mul_add(a, b, c) = a * b + c;
        fn min(bound, value) = if bound < value { bound } else { value };
        fn max(bound, value) = if bound > value { bound } else { value };
        fn power_of_two(shifted) = f32::from_bits((shifted.to_bits() << 23).wrapping_add(ONE));
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
