//! Random numbers of other distributions from uniform ones.

use std::f32::consts::TAU;

use super::simd::{Isa, Simd, dispatch, vectors};

/// Turns numbers uniform in (0, 1) into standard normal ones (Box & Muller 1958). Of an odd number,
/// the last stays as it is.
pub fn box_muller(isa: Isa, values: &mut [f32]) {
    let (first, second) = values.split_at_mut(values.len() / 2);
    normal(isa, first, second);
}

dispatch! {
    /// Radii come of the first numbers, angles of the second.
    pub fn normal(first: &mut [f32], second: &mut [f32]) = normal_body
}

#[inline(always)]
fn normal_body<S: Simd>(simd: S, first: &mut [f32], second: &mut [f32]) {
    vectors!(S, first.len(), |at| {
        let ln = simd.ln(simd.load(&first[at.clone()]));
        let radius = simd.sqrt(simd.mul(simd.splat(-2.0), ln));
        let (sine, cosine) = sine_and_cosine(simd, simd.load(&second[at.clone()]));
        simd.store(simd.mul(radius, cosine), &mut first[at.clone()]);
        simd.store(simd.mul(radius, sine), &mut second[at]);
    });
}

/// sin 2πu and cos 2πu, up to a common sign, for u in (0, 1).
#[inline(always)]
fn sine_and_cosine<S: Simd>(simd: S, u: S::V) -> (S::V, S::V) {
    let (zero, quarter) = (simd.splat(0.0), simd.splat(0.25));
    let turn = simd.sub(u, simd.splat(0.5));
    let from_axis = simd.sub(quarter, absolute(simd, turn));
    let sine = quarter_sine(simd, simd.sub(quarter, absolute(simd, from_axis)));
    let sine = simd.if_less(turn, zero, simd.sub(zero, sine), sine);
    (sine, quarter_sine(simd, from_axis))
}

#[inline(always)]
fn absolute<S: Simd>(simd: S, value: S::V) -> S::V {
    simd.max(value, simd.sub(simd.splat(0.0), value))
}

/// sin 2πt for |t| ≤ ¼.
#[inline(always)]
fn quarter_sine<S: Simd>(simd: S, t: S::V) -> S::V {
    simd.mul(t, simd.polynomial(simd.mul(t, t), SINE_OVER_T))
}

/// sin(2πt)/t in powers of t² on |t| ≤ ¼: Chebyshev interpolation, relative error below 7e-9.
const SINE_OVER_T: [f32; 5] = [TAU, -41.341_682, 81.602_48, -76.581_18, 39.759_827];
