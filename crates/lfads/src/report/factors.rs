//! The factors in three dimensions: their principal components, turned with the pointer.

use std::fmt::Write as _;
use std::ops::Range;

use ndarray::{Array1, Array2, Array3, Axis, s};

use super::svg::picture;
use super::{Report, section};

/// Points drawn in all.
const MAX_POINTS: usize = 6000;
/// Frames drawn before and after those of the example.
const MARGIN: usize = 300;
/// Power iterations for each component.
const N_ITERATIONS: usize = 200;
/// First view, as in the script.
const TURN: f64 = 0.6;
const TILT: f64 = 0.35;

impl Report<'_> {
    pub(super) fn orbits(&self) -> String {
        let lines = orbits(&self.quantities.factors, self.orbit_frames());
        let paths: String = lines
            .iter()
            .enumerate()
            .map(|(i, line)| path(i, line))
            .collect();
        let data = serde_json::to_string(&lines).unwrap_or_default();
        let title = "factors in three dimensions; arrow keys turn them";
        let svg = picture(1060.0, 420.0, title, &paths);
        let svg = svg.replacen("<svg ", "<svg id=\"orbits\" tabindex=\"0\" ", 1);
        let content =
            format!("{svg}<script type=\"application/json\" id=\"orbit-data\">{data}</script>\n");
        let n = self.quantities.factors.dim().2;
        section(
            "Factors",
            &format!(
                "The first three principal components of {n} factors{}. Drag to turn, or use the arrow keys; Home goes back.",
                match self.record.source.continuous {
                    true => ", some frames before and after the traces above",
                    false => ", one line per trial",
                }
            ),
            &content,
        )
    }
}

impl Report<'_> {
    /// All frames of trials; of a long recording those around the example.
    fn orbit_frames(&self) -> Range<usize> {
        let n_bins = self.quantities.factors.dim().1;
        let shown = &self.example.frames;
        shown.start.saturating_sub(MARGIN)..(shown.end + MARGIN).min(n_bins)
    }
}

/// Lines of x, y, z, x, …, whole numbers; nearly all points lie within 100 of the centre, and so in the
/// picture however it is turned.
fn orbits(factors: &Array3<f32>, frames: Range<usize>) -> Vec<Vec<i32>> {
    let (n_trials, _, n_factors) = factors.dim();
    let n_shown = (MAX_POINTS / frames.len().max(1)).clamp(1, n_trials);
    let is_finite = |row: &ndarray::ArrayView1<'_, f32>| row.iter().all(|f| f.is_finite());
    let rows: Vec<f64> = factors
        .rows()
        .into_iter()
        .filter(is_finite)
        .flat_map(|row| row.iter().map(|&f| f64::from(f)).collect::<Vec<_>>())
        .collect();
    let n_rows = rows.len() / n_factors.max(1);
    let Ok(mut all) = Array2::from_shape_vec((n_rows, n_factors), rows) else {
        return Vec::new();
    };
    let Some(mean) = all.mean_axis(Axis(0)) else {
        return Vec::new();
    };
    all -= &mean;
    let axes = principal_axes(all.t().dot(&all) / n_rows as f64);
    let place = |row: ndarray::ArrayView1<'_, f32>| -> Array1<f64> {
        axes.dot(&(row.mapv(f64::from) - &mean))
    };
    let stride = (n_trials / n_shown).max(1);
    let lines: Vec<Vec<f64>> = (0..n_trials)
        .step_by(stride)
        .take(n_shown)
        .map(|trial| {
            frames
                .clone()
                .map(|bin| factors.slice(s![trial, bin, ..]))
                .filter(is_finite)
                .flat_map(|row| place(row).to_vec())
                .collect()
        })
        .collect();
    let distance = |point: &[f64]| point.iter().map(|x| x * x).sum::<f64>().sqrt();
    let points = lines.iter().flat_map(|line| line.chunks_exact(3));
    let mut sizes: Vec<f64> = points.map(distance).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    // A few far points, such as those of a first bin, should not make all others small.
    let reach = sizes
        .get(sizes.len() * 995 / 1000)
        .map_or(1.0, |&r| r.max(1e-9));
    let scaled = |line: &Vec<f64>| {
        line.iter()
            .map(|x| (100.0 * x / reach).round() as i32)
            .collect()
    };
    lines.iter().map(scaled).collect()
}

/// The three leading eigenvectors, as rows, by power iteration; zeros where there are fewer.
fn principal_axes(mut covariance: Array2<f64>) -> Array2<f64> {
    let n = covariance.nrows();
    let mut axes = Array2::zeros((3, n));
    for mut axis in axes.outer_iter_mut().take(n) {
        let mut vector = Array1::from_shape_fn(n, |i| 1.0 / (1.0 + i as f64));
        for _ in 0..N_ITERATIONS {
            let next = covariance.dot(&vector);
            let norm = next.dot(&next).sqrt();
            if norm == 0.0 {
                break;
            }
            vector = next / norm;
        }
        let variance = vector.dot(&covariance.dot(&vector));
        for ((i, j), value) in covariance.indexed_iter_mut() {
            *value -= variance * vector[i] * vector[j];
        }
        axis.assign(&vector);
    }
    axes
}

fn path(index: usize, line: &[i32]) -> String {
    let [turn, tilt] = [TURN, TILT];
    let mut d = String::new();
    for (k, point) in line.chunks_exact(3).enumerate() {
        let [x, y, z] = [point[0], point[1], point[2]].map(f64::from);
        let across = turn.cos() * x + turn.sin() * y;
        let away = turn.cos() * y - turn.sin() * x;
        let up = tilt.cos() * z + tilt.sin() * away;
        let command = if k == 0 { 'M' } else { 'L' };
        let (x, y) = (530.0 + 1.764 * across, 210.0 - 1.764 * up);
        // Writing to a `String` cannot fail.
        let _ = write!(d, "{command}{x:.1} {y:.1}");
    }
    let class = ["a", "b", "c"][index % 3];
    format!("<path class=\"orbit {class}\" d=\"{d}\"/>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orbits_stay_in_the_picture() {
        // The corners of a cube are farther from its centre than its faces.
        let corner = |trial: usize, factor: usize| f32::from((trial >> factor) & 1 == 1);
        let factors = Array3::from_shape_fn((8, 4, 3), |(trial, _, factor)| corner(trial, factor));
        let lines = orbits(&factors, 0..4);
        assert_eq!(lines.len(), 8);
        for point in lines.iter().flat_map(|line| line.chunks_exact(3)) {
            let distance = point.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
            assert!((distance - 100.0).abs() < 1.0, "{point:?}");
        }
    }

    #[test]
    fn principal_axes_are_orthonormal_and_sorted() {
        let covariance = ndarray::array![
            [5.0, 1.0, 0.0, 0.0],
            [1.0, 3.0, 0.5, 0.0],
            [0.0, 0.5, 2.0, 0.0],
            [0.0, 0.0, 0.0, 0.1]
        ];
        let axes = principal_axes(covariance.clone());
        let gram = axes.dot(&axes.t());
        for ((i, j), value) in gram.indexed_iter() {
            assert!((value - f64::from(u8::from(i == j))).abs() < 1e-6, "{gram}");
        }
        let variance = |i: usize| axes.row(i).dot(&covariance.dot(&axes.row(i)));
        assert!(variance(0) > variance(1) && variance(1) > variance(2));
    }
}
