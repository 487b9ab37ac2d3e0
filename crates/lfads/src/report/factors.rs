//! The factors in three dimensions: their principal components, turned with the pointer.

use std::fmt::Write as _;
use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use metrics::PrincipalComponents;
use ndarray::{Array3, ArrayView1, ArrayView2, s};
use serde_json::json;

use super::{Report, section};

/// Points drawn in all.
const MAX_POINTS: usize = 6000;
/// Frames drawn before and after those of the example.
const MARGIN: usize = 300;
/// First view, as in the script.
const TURN: f64 = 0.6;
const TILT: f64 = 0.35;

impl Report<'_> {
    pub(super) fn orbits(&self) -> Markup {
        let lines = orbits(&self.quantities.factors, self.orbit_frames());
        let data = PreEscaped(json!(lines).to_string());
        let title = "factors in three dimensions; arrow keys turn them";
        let n = self.quantities.factors.dim().2;
        let which = match self.record.source.continuous {
            true => ", some frames before and after the traces above",
            false => ", one line per trial",
        };
        section(
            "Factors",
            &html! {
                "The first three principal components of " (n) " factors" (which)
                ". Drag to turn, or use the arrow keys; Home goes back."
            },
            &html! {
                svg #orbits tabindex="0" viewBox="0 0 1060 420" role="img" aria-label=(title) {
                    @for (index, line) in lines.iter().enumerate() {
                        path class={ "orbit " (["a", "b", "c"][index % 3]) } d=(path(line)) {}
                    }
                }
                script type="application/json" #orbit-data { (data) }
            },
        )
    }

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
    let is_finite = |row: &ArrayView1<'_, f32>| row.iter().all(|f| f.is_finite());
    let rows: Vec<f32> = factors
        .rows()
        .into_iter()
        .filter(is_finite)
        .flat_map(|row| row.to_vec())
        .collect();
    let rows = ArrayView2::from_shape((rows.len() / n_factors.max(1), n_factors), &rows)
        .expect("whole rows");
    let Ok(components) = PrincipalComponents::of(rows) else {
        return Vec::new();
    };
    let place = |row: ArrayView1<'_, f32>| {
        let place = components.project(row).expect("as many factors");
        [0, 1, 2].map(|axis| place.get(axis).copied().unwrap_or(0.0))
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
                .flat_map(place)
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

/// How a line looks at first.
fn path(line: &[i32]) -> String {
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
    d
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
}
