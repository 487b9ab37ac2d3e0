//! Eigenvectors of symmetric matrices.

use ndarray::{Array1, Array2, Axis};

/// Eigenvalues, the largest first, and their eigenvectors as columns, by cyclic Jacobi rotations.
///
/// # Source
/// Golub & Van Loan, Matrix Computations, section 8.5. Convergence is quadratic; the bound on the
/// sweeps is only there to make termination evident.
pub(crate) fn symmetric_eigen(mut matrix: Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let n = matrix.nrows();
    let mut vectors = Array2::eye(n);
    for _sweep in 0..64 {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                rotated |= rotate(&mut matrix, &mut vectors, p, q);
            }
        }
        if !rotated {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| matrix[[j, j]].total_cmp(&matrix[[i, i]]));
    (
        matrix.diag().select(Axis(0), &order),
        vectors.select(Axis(1), &order),
    )
}

/// Zeroes entry (p, q) by a rotation; false if it is zero to working precision already.
fn rotate(matrix: &mut Array2<f64>, vectors: &mut Array2<f64>, p: usize, q: usize) -> bool {
    let (pp, qq, pq) = (matrix[[p, p]], matrix[[q, q]], matrix[[p, q]]);
    if pq.abs() <= f64::EPSILON * f64::EPSILON.max((pp * qq).abs().sqrt()) {
        return false;
    }
    let half_cot = (qq - pp) / (2.0 * pq);
    let tan = half_cot.signum() / (half_cot.abs() + half_cot.hypot(1.0));
    let cos = tan.hypot(1.0).recip();
    let sin = tan * cos;
    for k in 0..matrix.nrows() {
        let (a, b) = (matrix[[k, p]], matrix[[k, q]]);
        (matrix[[k, p]], matrix[[k, q]]) = (cos * a - sin * b, sin * a + cos * b);
    }
    for k in 0..matrix.nrows() {
        let (a, b) = (matrix[[p, k]], matrix[[q, k]]);
        (matrix[[p, k]], matrix[[q, k]]) = (cos * a - sin * b, sin * a + cos * b);
        let (a, b) = (vectors[[k, p]], vectors[[k, q]]);
        (vectors[[k, p]], vectors[[k, q]]) = (cos * a - sin * b, sin * a + cos * b);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eigenvectors_rebuild_their_matrix(root in prop::collection::vec(-1.0f64..1.0, 25)) {
            let root = Array2::from_shape_vec((5, 5), root).unwrap();
            let matrix = root.t().dot(&root);
            let (values, vectors) = symmetric_eigen(matrix.clone());
            prop_assert!(values.windows(2).into_iter().all(|pair| pair[0] >= pair[1]));
            let rebuilt = (&vectors * &values).dot(&vectors.t());
            prop_assert!((rebuilt - matrix).iter().all(|d| d.abs() < 1e-13));
            let identity = vectors.t().dot(&vectors) - Array2::<f64>::eye(5);
            prop_assert!(identity.iter().all(|d| d.abs() < 1e-13));
        }
    }
}
