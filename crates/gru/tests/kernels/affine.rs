//! Affine maps.

use gru::kernels::{AffineShape, Isa, Offset, affine, affine_gradient, reference};
use proptest::prelude::*;

use crate::common::{assert_close, assert_same_on_any_threads, noise, single};

/// An affine map with made-up arguments.
struct AffineCase {
    shape: AffineShape,
    x: Vec<f64>,
    w: Vec<f64>,
    row: Vec<f64>,
    dy: Vec<f64>,
}

impl AffineCase {
    fn new(shape: AffineShape, seed: u64) -> Self {
        let AffineShape {
            n_rows,
            n_inputs,
            n_outputs,
        } = shape;
        Self {
            shape,
            x: noise(n_rows * n_inputs, seed, 1.0),
            w: noise(n_inputs * n_outputs, seed + 1, 1.0),
            row: noise(n_outputs, seed + 2, 1.0),
            dy: noise(n_rows * n_outputs, seed + 3, 1.0),
        }
    }

    /// dx, dw and that of the row, in double precision: the map is linear in each.
    fn gradients(&self) -> [Vec<f64>; 3] {
        let AffineShape {
            n_inputs,
            n_outputs,
            ..
        } = self.shape;
        let mut gradients = [
            vec![0.0; self.x.len()],
            vec![0.0; self.w.len()],
            vec![0.0; n_outputs],
        ];
        for (row, dy) in self.dy.chunks_exact(n_outputs).enumerate() {
            for (output, dy) in dy.iter().enumerate() {
                gradients[2][output] += dy;
                for input in 0..n_inputs {
                    let weight = input * n_outputs + output;
                    gradients[0][row * n_inputs + input] += dy * self.w[weight];
                    gradients[1][weight] += dy * self.x[row * n_inputs + input];
                }
            }
        }
        gradients
    }

    fn check(&self) {
        let (x, w) = (single(&self.x), single(&self.w));
        let (row, dy) = (single(&self.row), single(&self.dy));
        let want = reference::affine_rows(&self.x, &self.w, &self.row);
        let every: Vec<f32> = row.iter().copied().cycle().take(dy.len()).collect();
        for isa in Isa::available() {
            let y = affine(isa, self.shape, &x, &w, Offset::Row(&row));
            assert_close("y", &y, &want, 1e-5);
            let added = affine(isa, self.shape, &x, &w, Offset::Every(&every));
            assert_close("y", &added, &want, 1e-5);
            let got = affine_gradient(isa, self.shape, &x, &w, &dy, true);
            for (got, want) in [got.x.unwrap(), got.w, got.row]
                .iter()
                .zip(self.gradients())
            {
                assert_close("gradient", got, &want, 1e-5);
            }
            assert!(
                affine_gradient(isa, self.shape, &x, &w, &dy, false)
                    .x
                    .is_none()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn affine_maps_and_gradients_match_the_reference(
        n_rows in 1..300_usize, n_inputs in 1..50_usize, n_outputs in 1..50_usize,
        seed in 0..1000_u64,
    ) {
        AffineCase::new(AffineShape { n_rows, n_inputs, n_outputs }, seed).check();
    }
}

/// Small enough for Miri.
#[test]
fn small_affine_maps_match_the_reference() {
    let shape = AffineShape {
        n_rows: 7,
        n_inputs: 3,
        n_outputs: 5,
    };
    AffineCase::new(shape, 3).check();
}

/// Enough rows for several tasks.
#[test]
fn affine_maps_of_many_rows_match_the_reference() {
    let shape = AffineShape {
        n_rows: 1300,
        n_inputs: 13,
        n_outputs: 20,
    };
    AffineCase::new(shape, 1).check();
}

#[test]
fn affine_maps_do_not_depend_on_the_number_of_threads() {
    let shape = AffineShape {
        n_rows: 2100,
        n_inputs: 13,
        n_outputs: 20,
    };
    let case = AffineCase::new(shape, 2);
    let (x, w) = (single(&case.x), single(&case.w));
    let (row, dy) = (single(&case.row), single(&case.dy));
    assert_same_on_any_threads(|| {
        let y = affine(Isa::best(), shape, &x, &w, Offset::Row(&row));
        let got = affine_gradient(Isa::best(), shape, &x, &w, &dy, true);
        (y, got.x, got.w, got.row)
    });
}
